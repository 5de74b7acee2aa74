/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "pool/future_store.h"
#include "support/support.h"

enum { ITEM_BYTES = 300, MANY = 100000 /* some thirty megabytes */ };

static mproc__future_store store;

static void setup(void)
{
    mproc__future_store_init(&store, ITEM_BYTES);
}

static void teardown(void)
{
    mproc__future_store_end(&store);
}

static bool is_own(const unsigned char *item, size_t number)
{
    return item[0] == number % 255 + 1 && item[ITEM_BYTES - 1] == number % 255 + 1;
}

static void take(unsigned char **items, size_t count)
{
    static const unsigned char zeros[ITEM_BYTES];
    size_t good = 0;
    bool first;
    for (size_t i = 0; i < count; i++) {
        items[i] = mproc__future_store_take(&store, &first);
        ck_assert(first == (i == 0));
        if (!items[i])
            break;
        good += memcmp(items[i], zeros, ITEM_BYTES) == 0 && (uintptr_t)items[i] % _Alignof(max_align_t) == 0;
        memset(items[i], (int)(i % 255 + 1), ITEM_BYTES);
    }
    ck_assert_uint_eq(good, count);
}

/* Of those that are there: every `step`th, from `first` on. */
static void look(unsigned char *const *items, size_t first, size_t step)
{
    size_t bad = 0;
    for (size_t i = first; i < MANY; i += step)
        bad += !is_own(items[i], i);
    ck_assert_uint_eq(bad, 0);
}

START_TEST(items_are_zeroed_and_do_not_overlap)
{
    static unsigned char *items[MANY];
    take(items, MANY);
    look(items, 0, 1);
    for (size_t i = 0; i < MANY; i += 2)
        mproc__future_store_give(&store, items[i]);
    look(items, 1, 2);
    for (size_t i = 1; i < MANY; i += 2)
        mproc__future_store_give(&store, items[i]);
}
END_TEST

START_TEST(what_is_given_back_is_taken_again)
{
    static unsigned char *items[MANY];
    for (unsigned round = 0; round < 3; round++) {
        take(items, MANY);
        look(items, 0, 1);
        for (size_t i = 0; i < MANY; i++)
            mproc__future_store_give(&store, items[round == 1 ? MANY - 1 - i : i]);
    }
}
END_TEST

/* Pools are made by the thousand in some programs, and many have had a burst. */
START_TEST(memory_goes_back_when_it_is_not_needed)
{
    static unsigned char *items[MANY];
    take(items, MANY);
#ifndef __SANITIZE_ADDRESS__ /* there, it is malloc's */
    ck_assert_uint_gt(store.blocks, MPROC__STORE_SPARE + 1);
#endif
    for (size_t i = 0; i < MANY; i++)
        ck_assert(mproc__future_store_give(&store, items[i]) == (i + 1 == MANY));
    ck_assert_uint_le(store.blocks, MPROC__STORE_SPARE);
    ck_assert_uint_eq(store.blocks, store.spare);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("future_store");
    TCase *all = support_case(suite, "future store");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, items_are_zeroed_and_do_not_overlap);
    tcase_add_test(all, what_is_given_back_is_taken_again);
    tcase_add_test(all, memory_goes_back_when_it_is_not_needed);
    return support_run(suite, argc, argv);
}
