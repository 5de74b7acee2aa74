/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "pool/granule.h"
#include "support/support.h"

enum { WORKER = 3, LIFE = 70000, ITEMS = 10 };

static mproc__granule_word now(_Atomic uint64_t *word)
{
    return mproc__granule_unpack(atomic_load(word));
}

/* Whether the piece was lost. */
static bool bury_piece(_Atomic uint64_t *word, unsigned worker, unsigned life,
                       const mproc__granule_death *death)
{
    bool lost = mproc__granule_loses(word, worker, life, death);
    mproc__granule_bury(word, worker, life, death);
    return lost;
}

/* A death at one item; NOT_STARTED is none. */
static bool bury(_Atomic uint64_t *word, unsigned worker, unsigned life, int64_t at, unsigned max_attempts)
{
    mproc__granule_death death = {
        .at = at, .end = (uint32_t)at + 1, .items = ITEMS, .max_attempts = max_attempts};
    return bury_piece(word, worker, life, &death);
}

START_TEST(a_word_survives_packing)
{
    mproc__granule_word granule = {
        .resume = UINT32_MAX, .attempt = MPROC__GRANULE_ATTEMPTS, .final = true, .owner = 255, .life = 65535};
    mproc__granule_word back = mproc__granule_unpack(mproc__granule_pack(granule));
    ck_assert_uint_eq(mproc__granule_pack(back), mproc__granule_pack(granule));
    ck_assert_uint_eq(back.resume, granule.resume);
    ck_assert_uint_eq(back.life, granule.life);
}
END_TEST

START_TEST(one_worker_gets_it_once)
{
    _Atomic uint64_t word = 0;
    mproc__granule_word claimed, other;
    ck_assert(mproc__granule_claim(&word, WORKER, LIFE, &claimed));
    ck_assert(!mproc__granule_claim(&word, WORKER + 1, 1, &other));
    mproc__granule_finish(&word, claimed);
    ck_assert(now(&word).final);
    ck_assert(!mproc__granule_claim(&word, WORKER + 1, 1, &other));
    ck_assert(!bury(&word, WORKER, LIFE, 3, 1));
    ck_assert(now(&word).final);
}
END_TEST

/* shows: DEATH-6 */
START_TEST(a_death_loses_the_item_under_way_and_no_other)
{
    _Atomic uint64_t word = 0;
    mproc__granule_word claimed;
    ck_assert(mproc__granule_claim(&word, WORKER, LIFE, &claimed));
    ck_assert(bury(&word, WORKER, LIFE, 4, 1));
    ck_assert(!bury(&word, WORKER, LIFE, 4, 1));
    ck_assert(mproc__granule_claim(&word, WORKER, LIFE + 1, &claimed));
    ck_assert_uint_eq(claimed.resume, 5);
    ck_assert(bury(&word, WORKER, LIFE + 1, ITEMS - 1, 1));
    ck_assert(now(&word).final);
}
END_TEST

START_TEST(a_granule_not_begun_goes_back_whole)
{
    _Atomic uint64_t word = 0;
    mproc__granule_word claimed;
    ck_assert(mproc__granule_claim(&word, WORKER, LIFE, &claimed));
    ck_assert(!bury(&word, WORKER, LIFE, MPROC__GRANULE_NOT_STARTED, 1));
    ck_assert_uint_eq(atomic_load(&word) & 0xffffffffff, 0);
    ck_assert(mproc__granule_claim(&word, WORKER + 1, 1, &claimed));
    mproc__granule_give_back(&word, claimed, 6);
    ck_assert(mproc__granule_claim(&word, WORKER + 1, 1, &claimed));
    ck_assert_uint_eq(claimed.resume, 6);
}
END_TEST

/* shows: WORK-2 */
START_TEST(attempts_are_counted_by_item)
{
    _Atomic uint64_t word = 0;
    mproc__granule_word claimed;
    ck_assert(mproc__granule_claim(&word, WORKER, 1, &claimed));
    ck_assert(!bury(&word, WORKER, 1, 4, 2));
    ck_assert(mproc__granule_claim(&word, WORKER, 2, &claimed));
    ck_assert_uint_eq(claimed.resume, 4);
    ck_assert_uint_eq(claimed.attempt, 1);
    /* Item 4 went well this time, 5 is at its first death. */
    ck_assert(!bury(&word, WORKER, 2, 5, 2));
    ck_assert(mproc__granule_claim(&word, WORKER, 3, &claimed));
    ck_assert_uint_eq(claimed.resume, 5);
    ck_assert(bury(&word, WORKER, 3, 5, 2));
    ck_assert_uint_eq(now(&word).resume, 6);
}
END_TEST

START_TEST(the_living_are_not_buried)
{
    _Atomic uint64_t word = 0;
    mproc__granule_word claimed;
    ck_assert(mproc__granule_claim(&word, WORKER, LIFE, &claimed));
    ck_assert(!bury(&word, WORKER + 1, LIFE, 2, 1));
    ck_assert(!bury(&word, WORKER, LIFE + 1, 2, 1));
    ck_assert_uint_eq(now(&word).owner, WORKER + 1);
}
END_TEST

/* shows: DEATH-6 */
START_TEST(a_range_is_lost_or_tried_again_whole)
{
    _Atomic uint64_t word = 0;
    mproc__granule_word claimed;
    mproc__granule_death death = {.at = 0, .end = ITEMS, .items = ITEMS, .max_attempts = 2};
    ck_assert(mproc__granule_claim(&word, WORKER, 1, &claimed));
    ck_assert(!bury_piece(&word, WORKER, 1, &death));
    ck_assert(mproc__granule_claim(&word, WORKER, 2, &claimed));
    ck_assert_uint_eq(claimed.resume, 0);
    ck_assert_uint_eq(claimed.attempt, 1);
    ck_assert(bury_piece(&word, WORKER, 2, &death));
    ck_assert(now(&word).final);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("granule");
    TCase *all = support_case(suite, "granule");
    tcase_add_test(all, a_word_survives_packing);
    tcase_add_test(all, one_worker_gets_it_once);
    tcase_add_test(all, a_death_loses_the_item_under_way_and_no_other);
    tcase_add_test(all, a_granule_not_begun_goes_back_whole);
    tcase_add_test(all, attempts_are_counted_by_item);
    tcase_add_test(all, a_range_is_lost_or_tried_again_whole);
    tcase_add_test(all, the_living_are_not_buried);
    return support_run(suite, argc, argv);
}
