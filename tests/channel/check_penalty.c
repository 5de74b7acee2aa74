/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "channel/penalty.h"
#include "support/support.h"

#define MS INT64_C(1000000)

static mproc__penalties penalties;
static const mproc__penalty_source ours = {.pid = 17}, others = {.host = {127, 0, 0, 1}};

static int64_t wait_ms(const mproc__penalty_source *source, int64_t now_ms)
{
    return (mproc__penalty_until(&penalties, source, now_ms * MS) - now_ms * MS) / MS;
}

START_TEST(each_failure_makes_the_next_wait_longer_up_to_the_most)
{
    static const int64_t expected[] = {50, 100, 200, 400, 800, 800, 800};
    int64_t now = 1000;
    ck_assert_int_eq(wait_ms(&ours, now), 0);
    for (size_t i = 0; i < MPROC__COUNT(expected); i++, now += 1000) {
        mproc__penalty_note(&penalties, &ours, now * MS);
        ck_assert_int_eq(wait_ms(&ours, now), expected[i]);
        ck_assert_int_eq(wait_ms(&ours, now + 10), expected[i] - 10);
        ck_assert_int_eq(wait_ms(&others, now), 0);
    }
}
END_TEST

START_TEST(a_source_that_rests_is_forgotten)
{
    for (int i = 0; i < 5; i++)
        mproc__penalty_note(&penalties, &ours, 1000 * MS);
    ck_assert_int_eq(wait_ms(&ours, 1000 + MPROC__PENALTY_FORGET_MS), 0);
    mproc__penalty_note(&penalties, &ours, (1000 + MPROC__PENALTY_FORGET_MS) * MS);
    ck_assert_int_eq(wait_ms(&ours, 1000 + MPROC__PENALTY_FORGET_MS), MPROC__PENALTY_FIRST_MS);
}
END_TEST

START_TEST(many_sources_push_out_the_one_that_failed_longest_ago)
{
    mproc__penalty_source source = {.pid = 1};
    for (int64_t i = 0; i < MPROC__PENALTY_SOURCES; i++) {
        source.pid = 100 + i;
        mproc__penalty_note(&penalties, &source, (1000 + i) * MS);
    }
    source.pid = 100;
    mproc__penalty_note(&penalties, &source, 2000 * MS); /* the first one fails again */
    mproc__penalty_note(&penalties, &ours, 2001 * MS);
    ck_assert_uint_eq(penalties.count, MPROC__PENALTY_SOURCES);
    ck_assert_int_eq(wait_ms(&ours, 2001), 50);
    ck_assert_int_eq(wait_ms(&source, 2000), 100);
    source.pid = 101;
    ck_assert_int_eq(mproc__penalty_until(&penalties, &source, 1001 * MS), 1001 * MS);
    source.pid = 102;
    ck_assert_int_eq(mproc__penalty_until(&penalties, &source, 1002 * MS), 1052 * MS);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("penalty");
    TCase *one = support_case(suite, "penalty");
    tcase_add_test(one, each_failure_makes_the_next_wait_longer_up_to_the_most);
    tcase_add_test(one, a_source_that_rests_is_forgotten);
    tcase_add_test(one, many_sources_push_out_the_one_that_failed_longest_ago);
    return support_run(suite, argc, argv);
}
