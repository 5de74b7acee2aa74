/* SPDX-License-Identifier: BSD-2-Clause */
/* Items of an array: one by one, in slices, as text. Loop tests run once for each home: 0 host, 1 thread, 2 shm. */
#include "platform/base.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sync/array_common.h"

/* ---- single items ---- */

/* Type, least, greatest, and what follows the greatest. */
static const struct {
    mproc_item item;
    int64_t least, greatest;
} integers[] = {
    {MPROC_ITEM_INT8, INT8_MIN, INT8_MAX},    {MPROC_ITEM_UINT8, 0, UINT8_MAX},
    {MPROC_ITEM_INT16, INT16_MIN, INT16_MAX}, {MPROC_ITEM_UINT16, 0, UINT16_MAX},
    {MPROC_ITEM_INT32, INT32_MIN, INT32_MAX}, {MPROC_ITEM_UINT32, 0, UINT32_MAX},
    {MPROC_ITEM_INT64, INT64_MIN, INT64_MAX}, {MPROC_ITEM_UINT64, INT64_MIN, INT64_MAX},
};

START_TEST(integers_keep_their_range_and_wrap_when_added_to)
{
    for (size_t i = 0; i < MPROC__COUNT(integers); i++) {
        int64_t least = integers[i].least, greatest = integers[i].greatest, seen;
        array_make_of(_i, integers[i].item, 3, NULL);
        ck_assert_int_eq(mproc_array_set_int(array, 1, greatest), 0);
        ck_assert(item_get(1) == greatest && item_get(0) == 0 && item_get(2) == 0);
        ck_assert_int_eq(mproc_array_add_int(array, 1, -5, &seen), 0);
        ck_assert(seen == greatest - 5 && item_get(1) == seen);
        ck_assert_int_eq(mproc_array_add_int(array, 1, 6, &seen), 0);
        ck_assert_int_eq(seen, least);
        ck_assert(item_get(1) == least && item_get(0) == 0 && item_get(2) == 0);
        ck_assert_int_eq(mproc_array_add_int(array, 1, -1, NULL), 0);
        ck_assert_int_eq(item_get(1), greatest);
        if (least > INT64_MIN) {
            ck_assert_int_eq(mproc_array_set_int(array, 1, greatest + 1), -ERANGE);
            ck_assert_int_eq(mproc_array_set_int(array, 1, least - 1), -ERANGE);
            ck_assert_int_eq(mproc_array_compare_set_int(array, 1, greatest, greatest + 1, NULL), -ERANGE);
            ck_assert_int_eq(mproc_array_compare_set_int(array, 1, least - 1, 0, NULL), -ERANGE);
        }
        ck_assert_int_eq(item_get(1), greatest);
        mproc_array_close(&array);
    }
    array_drop();
}
END_TEST

START_TEST(a_uint64_beyond_int64_travels_as_its_bits)
{
    const uint64_t large = UINT64_MAX - 1;
    int64_t seen;
    array_make_of(_i, MPROC_ITEM_UINT64, 1, &large);
    ck_assert_int_eq(item_get(0), -2);
    ck_assert_int_eq(mproc_array_add_int(array, 0, 3, &seen), 0);
    ck_assert_int_eq(seen, 1);
    ck_assert_int_eq(mproc_array_set_int(array, 0, -2), 0);
    ck_assert(*(uint64_t *)mproc_array_data(array) == large);
    array_drop();
}
END_TEST

/* What the header does by itself where it can, and the function that a binding finds by its name. */
START_TEST(adding_by_the_macro_and_by_the_function_are_the_same)
{
    const int64_t deltas[] = {0, 1, -1, 300, INT64_MAX, INT64_MIN};
    const size_t indices[] = {0, 2, 3, SIZE_MAX, SIZE_MAX / 8 + 1};
    for (mproc_item item = MPROC_ITEM_INT8; item <= MPROC_ITEM_FLOAT; item++) {
        mproc_array *other;
        char story[200];
        array_make_of(_i, item, 3, NULL);
        ck_assert_int_eq(mproc_array_create(place, item, 3, NULL, &other), 0);
        for (size_t i = 0; i < MPROC__COUNT(indices) * MPROC__COUNT(deltas); i++) {
            size_t index = indices[i / MPROC__COUNT(deltas)];
            int64_t delta = deltas[i % MPROC__COUNT(deltas)], one = 77, two = 77;
            int code = mproc_array_add_int(array, index, delta, &one);
            snprintf(story, sizeof(story), "%s", mproc_error_text(mproc_error_of(array)));
            ck_assert_int_eq((mproc_array_add_int)(other, index, delta, &two), code);
            ck_assert_int_eq(one, two);
            if (code < 0)
                ck_assert_str_eq(mproc_error_text(mproc_error_of(other)), story);
            ck_assert_int_eq(
                memcmp(mproc_array_data(array), mproc_array_data(other), 3 * mproc_array_item_bytes(array)),
                0);
        }
        mproc_array_close(&other);
        mproc_array_close(&array);
    }
    ck_assert_int_eq((mproc_array_add_int)(NULL, 0, 1, NULL), -EINVAL);
    array_drop();
}
END_TEST

START_TEST(compare_set_stores_only_over_what_is_expected)
{
    for (size_t i = 0; i < MPROC__COUNT(integers); i++) {
        bool set = true;
        array_make_of(_i, integers[i].item, 1, NULL);
        ck_assert_int_eq(mproc_array_compare_set_int(array, 0, 1, 2, &set), 0);
        ck_assert(!set && item_get(0) == 0);
        ck_assert_int_eq(mproc_array_compare_set_int(array, 0, 0, integers[i].least, &set), 0);
        ck_assert(set && item_get(0) == integers[i].least);
        ck_assert_int_eq(mproc_array_compare_set_int(array, 0, integers[i].least, 3, NULL), 0);
        ck_assert_int_eq(item_get(0), 3);
        mproc_array_close(&array);
    }
    array_drop();
}
END_TEST

START_TEST(floats_and_doubles_round_add_and_compare_by_bits)
{
    bool set;
    double seen;
    array_make_of(_i, MPROC_ITEM_DOUBLE, 2, NULL);
    ck_assert_int_eq(mproc_array_set(array, 1, 0.1), 0);
    ck_assert_int_eq(mproc_array_add(array, 1, 0.2, &seen), 0);
    ck_assert(seen == 0.1 + 0.2);
    ck_assert(mproc_array_get(array, 1, &seen) == 0 && seen == 0.1 + 0.2);
    ck_assert(mproc_array_get(array, 0, &seen) == 0 && seen == 0);
    ck_assert(mproc_array_compare_set(array, 0, -0.0, 1, &set) == 0 && !set);
    ck_assert(mproc_array_compare_set(array, 0, 0.0, (double)NAN, &set) == 0 && set);
    ck_assert(mproc_array_compare_set(array, 0, (double)NAN, 4, &set) == 0 && set);
    ck_assert(mproc_array_get(array, 0, &seen) == 0 && seen == 4);
    mproc_array_close(&array);
    array_make_of(_i, MPROC_ITEM_FLOAT, 2, NULL);
    ck_assert_int_eq(mproc_array_set(array, 0, 0.1), 0);
    ck_assert(mproc_array_get(array, 0, &seen) == 0 && seen == (double)0.1f);
    ck_assert_int_eq(mproc_array_add(array, 0, 16777216, NULL), 0);
    ck_assert(mproc_array_add(array, 0, 1, &seen) == 0 && seen == 16777216);
    ck_assert(mproc_array_compare_set(array, 0, 16777216, 0.5, &set) == 0 && set);
    ck_assert(mproc_array_compare_set(array, 0, 0.25, 1, &set) == 0 && !set);
    ck_assert(mproc_array_set(array, 0, 1e300) == 0 && mproc_array_get(array, 0, &seen) == 0 && isinf(seen));
    ck_assert(mproc_array_get(array, 1, &seen) == 0 && seen == 0);
    array_drop();
}
END_TEST

START_TEST(a_call_for_items_of_another_kind_is_an_error_of_its_own)
{
    int64_t number = 5;
    double real = 5;
    bool set = true;
    array_make_of(_i, MPROC_ITEM_DOUBLE, 1, NULL);
    ck_assert_int_eq(mproc_array_get_int(array, 0, &number), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_array_set_int(array, 0, 1), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_array_add_int(array, 0, 1, &number), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_array_compare_set_int(array, 0, 0, 1, &set), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_array_set_text(array, "x"), MPROC_EARGUMENT);
    ck_assert(*(double *)mproc_array_data(array) == 0);
    mproc_array_close(&array);
    array_make_of(_i, MPROC_ITEM_INT64, 1, NULL);
    ck_assert_int_eq(mproc_array_get(array, 0, &real), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_array_set(array, 0, 1), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_array_add(array, 0, 1, &real), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_array_compare_set(array, 0, 0, 1, &set), MPROC_EARGUMENT);
    ck_assert(item_get(0) == 0 && number == 5 && real == 5 && set);
    array_drop();
}
END_TEST

/* shows: SCTY-07 */
START_TEST(outside_the_array_every_call_is_refused)
{
    int64_t number = 5;
    double real;
    int16_t items[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const struct {
        size_t first, count;
    } outside[] = {{4, 1}, {5, 0}, {0, 5}, {3, 2}, {SIZE_MAX, 1}, {1, SIZE_MAX}, {SIZE_MAX, SIZE_MAX}};
    array_make_of(_i, MPROC_ITEM_INT16, 4, NULL);
    for (size_t i = 0; i < MPROC__COUNT(outside); i++) {
        ck_assert_int_eq(mproc_array_write(array, outside[i].first, outside[i].count, items), -ERANGE);
        ck_assert_int_eq(mproc_array_read(array, outside[i].first, outside[i].count, items), -ERANGE);
    }
    ck_assert_int_eq(mproc_array_write(array, 4, 0, NULL), 0);
    ck_assert_int_eq(items[0], 1);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(item_get(i), 0);
    for (int i = 0; i < 2; i++) {
        size_t index = i == 0 ? 4 : SIZE_MAX;
        ck_assert_int_eq(mproc_array_get_int(array, index, &number), -ERANGE);
        ck_assert_int_eq(mproc_array_set_int(array, index, 1), -ERANGE);
        ck_assert_int_eq(mproc_array_add_int(array, index, 1, &number), -ERANGE);
        ck_assert_int_eq(mproc_array_compare_set_int(array, index, 0, 1, NULL), -ERANGE);
        ck_assert_int_eq(mproc_array_get(array, index, &real), -ERANGE);
        ck_assert_int_eq(mproc_array_set(array, index, 1), -ERANGE);
        ck_assert_int_eq(mproc_array_add(array, index, 1, NULL), -ERANGE);
        ck_assert_int_eq(mproc_array_compare_set(array, index, 0, 1, NULL), -ERANGE);
    }
    ck_assert_int_eq(number, 5);
    ck_assert_int_eq(mproc_error_code(mproc_error_of(array)), -ERANGE);
    array_drop();
}
END_TEST

enum { ADDS = 20000 };

static int adds(void *unused)
{
    (void)unused;
    for (int i = 0; i < ADDS; i++) {
        int code = array->item == MPROC_ITEM_DOUBLE ? mproc_array_add(array, 0, 0.5, NULL)
                                                    : mproc_array_add_int(array, 0, 3, NULL);
        if (code != 0)
            return 1;
    }
    return 0;
}

static int adds_by_compare(void *unused)
{
    (void)unused;
    for (int i = 0; i < ADDS / 10; i++) {
        bool set = false;
        int64_t seen;
        while (!set)
            if (mproc_array_get_int(array, 0, &seen) < 0 ||
                mproc_array_compare_set_int(array, 0, seen, seen + 1, &set) < 0)
                return 1;
    }
    return 0;
}

START_TEST(adds_from_everywhere_are_all_counted_without_a_lock)
{
    double real;
    array_make_of(_i, MPROC_ITEM_INT64, 1, NULL);
    ck_assert_int_eq(crowd(_i, adds), 0);
    ck_assert_int_eq(item_get(0), 3 * ADDS * CROWD);
    ck_assert_int_eq(mproc_array_set_int(array, 0, 0), 0);
    ck_assert_int_eq(crowd(_i, adds_by_compare), 0);
    ck_assert_int_eq(item_get(0), ADDS / 10 * CROWD);
    mproc_array_close(&array);
    array_make_of(_i, MPROC_ITEM_UINT16, 1, NULL);
    ck_assert_int_eq(crowd(_i, adds), 0);
    ck_assert_int_eq(item_get(0), 3 * ADDS * CROWD % 65536);
    mproc_array_close(&array);
    array_make_of(_i, MPROC_ITEM_DOUBLE, 1, NULL);
    ck_assert_int_eq(crowd(_i, adds), 0);
    ck_assert(mproc_array_get(array, 0, &real) == 0 && real == 0.5 * ADDS * CROWD);
    array_drop();
}
END_TEST

/* ---- bad input ---- */

static int all_answer_child(void *unused)
{
    (void)unused;
    int64_t number;
    char text[8] = "";
    if (mproc_array_get_int(array, 0, &number) != -ECHILD || mproc_array_set_int(array, 0, 1) != -ECHILD)
        return 1;
    if (mproc_array_add_int(array, 0, 1, NULL) != -ECHILD ||
        mproc_array_compare_set_int(array, 0, 0, 1, NULL) != -ECHILD)
        return 2;
    if (mproc_array_read(array, 0, 1, text) != -ECHILD || mproc_array_write(array, 0, 1, text) != -ECHILD)
        return 3;
    if (mproc_array_set_text(array, "x") != -ECHILD || mproc_array_get_text(array, text, 8, NULL) != -ECHILD)
        return 4;
    if (mproc_array_data(array) || mproc_array_set_lock(array, NULL) != -ECHILD)
        return 5;
    mproc_array *copy;
    return mproc_array_copy(array, NULL, NULL, &copy) == -ECHILD ? 0 : 6;
}

START_TEST(an_array_of_threads_answers_echild_in_a_fork_child)
{
    array_make_of(1, MPROC_ITEM_INT8, 4, NULL);
    ck_assert_int_eq(support_reap(support_fork(all_answer_child, NULL), 10000), 0);
    ck_assert_int_eq(item_get(0), 0);
    array_drop();
}
END_TEST

START_TEST(what_is_no_array_or_no_memory_is_refused)
{
    int64_t number;
    double real;
    char text[4];
    array_make_of(1, MPROC_ITEM_INT8, 4, NULL);
    for (int i = 0; i < 2; i++) {
        mproc_array *bad = i == 0 ? NULL : (mproc_array *)(void *)place;
        ck_assert_int_eq(mproc_array_get(bad, 0, &real), -EINVAL);
        ck_assert_int_eq(mproc_array_set(bad, 0, 1), -EINVAL);
        ck_assert_int_eq(mproc_array_add(bad, 0, 1, NULL), -EINVAL);
        ck_assert_int_eq(mproc_array_compare_set(bad, 0, 0, 1, NULL), -EINVAL);
        ck_assert_int_eq(mproc_array_get_int(bad, 0, &number), -EINVAL);
        ck_assert_int_eq(mproc_array_set_int(bad, 0, 1), -EINVAL);
        ck_assert_int_eq(mproc_array_add_int(bad, 0, 1, NULL), -EINVAL);
        ck_assert_int_eq(mproc_array_compare_set_int(bad, 0, 0, 1, NULL), -EINVAL);
        ck_assert_int_eq(mproc_array_read(bad, 0, 1, text), -EINVAL);
        ck_assert_int_eq(mproc_array_write(bad, 0, 1, text), -EINVAL);
        ck_assert_int_eq(mproc_array_set_text(bad, "x"), -EINVAL);
        ck_assert_int_eq(mproc_array_get_text(bad, text, 4, NULL), -EINVAL);
    }
    ck_assert_int_eq(mproc_array_get_int(array, 0, NULL), -EINVAL);
    ck_assert_int_eq(mproc_array_read(array, 0, 1, NULL), -EINVAL);
    ck_assert_int_eq(mproc_array_write(array, 0, 1, NULL), -EINVAL);
    mproc_array_close(&array);
    array_make_of(1, MPROC_ITEM_FLOAT, 1, NULL);
    ck_assert_int_eq(mproc_array_get(array, 0, NULL), -EINVAL);
    array_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("array_items");
    TCase *single = support_case(suite, "single");
    tcase_add_loop_test(single, integers_keep_their_range_and_wrap_when_added_to, 0, 3);
    tcase_add_loop_test(single, a_uint64_beyond_int64_travels_as_its_bits, 0, 3);
    tcase_add_loop_test(single, adding_by_the_macro_and_by_the_function_are_the_same, 0, 3);
    tcase_add_loop_test(single, compare_set_stores_only_over_what_is_expected, 0, 3);
    tcase_add_loop_test(single, floats_and_doubles_round_add_and_compare_by_bits, 0, 3);
    tcase_add_loop_test(single, a_call_for_items_of_another_kind_is_an_error_of_its_own, 0, 3);
    tcase_add_loop_test(single, outside_the_array_every_call_is_refused, 0, 3);
    tcase_add_loop_test(single, adds_from_everywhere_are_all_counted_without_a_lock, 0, 3);
    TCase *bad = support_case(suite, "bad input");
    tcase_add_test(bad, an_array_of_threads_answers_echild_in_a_fork_child);
    tcase_add_test(bad, what_is_no_array_or_no_memory_is_refused);
    return support_run(suite, argc, argv);
}
