/* SPDX-License-Identifier: BSD-2-Clause */
/* Items of an array: one by one, in slices, as text. Loop tests run once for each home: 0 host, 1 thread. */
#include "platform/base.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/place.h"
#include "support/support.h"
#include "sync/array.h"

static mproc_place *place;
static mproc_array *array;

static void array_make(int home, mproc_item item, size_t count, const void *initial)
{
    if (home == 1 && !place)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    int code =
        mproc_array_create(place, item, count, MPROC_WITH(mproc_array_options, .initial = initial), &array);
    ck_assert_msg(code == 0, "%s", mproc_error_text(mproc_last_error()));
}

static void array_drop(void)
{
    mproc_array_close(&array);
    mproc_place_close(&place);
}

typedef struct errand {
    support_fn *fn;
    int status;
} errand;

static void *errand_run(void *argument)
{
    errand *job = argument;
    job->status = job->fn(NULL);
    return NULL;
}

/* Runs fn in three processes or, for the home thread, three threads, all at once; 0: all answered 0. */
enum { CROWD = 3 };
static int crowd(int home, support_fn *fn)
{
    pid_t children[CROWD];
    pthread_t threads[CROWD];
    errand jobs[CROWD];
    int bad = 0;
    for (int i = 0; i < CROWD; i++) {
        jobs[i] = (errand){fn, -1};
        if (home == 0)
            children[i] = support_fork(fn, NULL);
        else
            ck_assert_int_eq(pthread_create(&threads[i], NULL, errand_run, &jobs[i]), 0);
    }
    for (int i = 0; i < CROWD; i++) {
        if (home == 1)
            pthread_join(threads[i], NULL);
        bad |= home == 0 ? support_reap(children[i], 20000) : jobs[i].status;
    }
    return bad;
}

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

static int64_t item_get(size_t index)
{
    int64_t value = -12345;
    ck_assert_int_eq(mproc_array_get_int(array, index, &value), 0);
    return value;
}

START_TEST(integers_keep_their_range_and_wrap_when_added_to)
{
    for (size_t i = 0; i < MPROC__COUNT(integers); i++) {
        int64_t least = integers[i].least, greatest = integers[i].greatest, seen;
        array_make(_i, integers[i].item, 3, NULL);
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
    array_make(_i, MPROC_ITEM_UINT64, 1, &large);
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
        array_make(_i, item, 3, NULL);
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
        array_make(_i, integers[i].item, 1, NULL);
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
    array_make(_i, MPROC_ITEM_DOUBLE, 2, NULL);
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
    array_make(_i, MPROC_ITEM_FLOAT, 2, NULL);
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
    array_make(_i, MPROC_ITEM_DOUBLE, 1, NULL);
    ck_assert_int_eq(mproc_array_get_int(array, 0, &number), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_array_set_int(array, 0, 1), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_array_add_int(array, 0, 1, &number), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_array_compare_set_int(array, 0, 0, 1, &set), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_array_set_text(array, "x"), MPROC_EARGUMENT);
    ck_assert(*(double *)mproc_array_data(array) == 0);
    mproc_array_close(&array);
    array_make(_i, MPROC_ITEM_INT64, 1, NULL);
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
    array_make(_i, MPROC_ITEM_INT16, 4, NULL);
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
    array_make(_i, MPROC_ITEM_INT64, 1, NULL);
    ck_assert_int_eq(crowd(_i, adds), 0);
    ck_assert_int_eq(item_get(0), 3 * ADDS * CROWD);
    ck_assert_int_eq(mproc_array_set_int(array, 0, 0), 0);
    ck_assert_int_eq(crowd(_i, adds_by_compare), 0);
    ck_assert_int_eq(item_get(0), ADDS / 10 * CROWD);
    mproc_array_close(&array);
    array_make(_i, MPROC_ITEM_UINT16, 1, NULL);
    ck_assert_int_eq(crowd(_i, adds), 0);
    ck_assert_int_eq(item_get(0), 3 * ADDS * CROWD % 65536);
    mproc_array_close(&array);
    array_make(_i, MPROC_ITEM_DOUBLE, 1, NULL);
    ck_assert_int_eq(crowd(_i, adds), 0);
    ck_assert(mproc_array_get(array, 0, &real) == 0 && real == 0.5 * ADDS * CROWD);
    array_drop();
}
END_TEST

/* ---- slices ---- */

static int makes_prefix_sums(void *unused)
{
    (void)unused;
    int32_t items[7];
    size_t count = mproc_array_count(array);
    if (count != 7 || mproc_array_read(array, 0, count, items) != 0)
        return 1;
    for (size_t i = 1; i < count; i++)
        items[i] += items[i - 1];
    return mproc_array_write(array, 0, count, items);
}

/* shows: SCTY-05 */
START_TEST(slices_are_read_assigned_and_summed_up_by_a_child)
{
    const int32_t initial[7] = {680, 626, 934, 821, 150, 233, 548}, two[2] = {1, 2};
    int32_t seen[7];
    int home = _i % 2;
    if (home == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    ck_assert_int_eq(
        mproc_array_create(place, MPROC_ITEM_INT32, 7,
                           MPROC_WITH(mproc_array_options, .initial = initial, .unlocked = _i >= 2), &array),
        0);
    ck_assert_uint_eq(mproc_array_count(array), 7);
    for (size_t i = 0; i < 7; i++)
        ck_assert_int_eq(item_get(i), initial[i]);
    ck_assert_int_eq(mproc_array_read(array, 2, 4, seen), 0);
    ck_assert_int_eq(memcmp(seen, initial + 2, 4 * sizeof(int32_t)), 0);
    ck_assert_int_eq(mproc_array_write(array, 4, 2, two), 0);
    ck_assert(item_get(3) == 821 && item_get(4) == 1 && item_get(5) == 2 && item_get(6) == 548);
    ck_assert_int_eq(mproc_array_write(array, 0, 7, initial), 0);
    if (home == 0)
        ck_assert_int_eq(support_reap(support_fork(makes_prefix_sums, NULL), 10000), 0);
    else
        ck_assert_int_eq(makes_prefix_sums(NULL), 0);
    for (int32_t i = 0, sum = 0; i < 7; i++) {
        sum += initial[i];
        ck_assert_int_eq(item_get((size_t)i), sum);
    }
    array_drop();
}
END_TEST

START_TEST(slices_of_every_item_size_go_to_and_from_memory_that_is_not_aligned)
{
    const size_t sizes[] = {1, 2, 4, 8, 24};
    const mproc_item types[] = {MPROC_ITEM_INT8, MPROC_ITEM_UINT16, MPROC_ITEM_FLOAT, MPROC_ITEM_UINT64,
                                MPROC_ITEM_BYTES};
    unsigned char out[24 * 5 + 1], in[24 * 5 + 1];
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (unsigned char)(i * 7 + 1);
    for (size_t i = 0; i < MPROC__COUNT(sizes); i++) {
        const mproc_array_options *options = MPROC_WITH(
            mproc_array_options, .item_bytes = types[i] == MPROC_ITEM_BYTES ? sizes[i] : 0, .unlocked = true);
        ck_assert_int_eq(mproc_array_create(NULL, types[i], 7, options, &array), 0);
        memset(in, 0, sizeof(in));
        ck_assert_int_eq(mproc_array_write(array, 1, 5, out + 1), 0);
        ck_assert_int_eq(mproc_array_read(array, 1, 5, in + 1), 0);
        ck_assert_int_eq(memcmp(in + 1, out + 1, 5 * sizes[i]), 0);
        const unsigned char *data = mproc_array_data(array);
        ck_assert_int_eq(memcmp(data + sizes[i], out + 1, 5 * sizes[i]), 0);
        for (size_t b = 0; b < sizes[i]; b++)
            ck_assert(data[b] == 0 && data[6 * sizes[i] + b] == 0);
        mproc_array_close(&array);
    }
}
END_TEST

/* Half a pattern must never be seen in one item. The reader stops the writer. */
static int writes_patterns(void *unused)
{
    (void)unused;
    uint64_t items[64];
    for (uint64_t n = 1; item_get(64) == 0; n++) {
        for (size_t i = 0; i < 64; i++)
            items[i] = (n & 1) ? UINT64_MAX : 0;
        if (mproc_array_write(array, 0, 64, items) != 0)
            return 1;
    }
    return 0;
}

START_TEST(an_item_is_never_seen_half_written)
{
    array_make(0, MPROC_ITEM_UINT64, 65, NULL);
    pid_t writer = support_fork(writes_patterns, NULL);
    uint64_t items[64];
    for (int round = 0; round < 20000; round++) {
        ck_assert_int_eq(mproc_array_read(array, 0, 64, items), 0);
        for (size_t i = 0; i < 64; i++)
            ck_assert(items[i] == 0 || items[i] == UINT64_MAX);
    }
    ck_assert_int_eq(mproc_array_set_int(array, 64, 1), 0);
    ck_assert_int_eq(support_reap(writer, 10000), 0);
    array_drop();
}
END_TEST

/* ---- text ---- */

/* shows: SCTY-09 */
START_TEST(bytes_are_a_text_up_to_the_first_nul_and_one_that_does_not_fit_is_refused)
{
    char text[32], twice[64];
    size_t length = 99;
    array_make(_i, MPROC_ITEM_INT8, 20, NULL);
    ck_assert_int_eq(mproc_array_set_text(array, "hello"), 0);
    ck_assert_int_eq(mproc_array_get_text(array, text, sizeof(text), &length), 0);
    ck_assert_str_eq(text, "hello");
    snprintf(twice, sizeof(twice), "%s%s", text, text);
    ck_assert_int_eq(mproc_array_set_text(array, twice), 0);
    ck_assert_int_eq(mproc_array_get_text(array, text, 11, &length), 0);
    ck_assert_str_eq(text, "hellohello");
    ck_assert_uint_eq(length, 10);
    ck_assert_int_eq(mproc_array_set_text(array, "123456789012345678901"), -ERANGE);
    ck_assert_int_eq(mproc_array_get_text(array, text, 10, &length), MPROC_ETOOSMALL);
    ck_assert_uint_eq(length, 10);
    ck_assert_str_eq(text, "hellohello");
    ck_assert_int_eq(mproc_array_set_text(array, "x"), 0);
    ck_assert_int_eq(mproc_array_get_text(array, text, sizeof(text), NULL), 0);
    ck_assert_str_eq(text, "x");
    ck_assert_int_eq(memcmp(mproc_array_data(array), "x\0llohello\0\0\0\0\0\0\0\0\0\0", 20), 0);
    ck_assert_int_eq(mproc_array_set_text(array, "12345678901234567890"), 0);
    ck_assert_int_eq(mproc_array_get_text(array, text, 21, &length), 0);
    ck_assert_str_eq(text, "12345678901234567890");
    ck_assert_int_eq(mproc_array_get_text(array, text, 0, &length), MPROC_ETOOSMALL);
    ck_assert_int_eq(mproc_array_set_text(array, NULL), -EINVAL);
    ck_assert_int_eq(mproc_array_get_text(array, NULL, 5, NULL), -EINVAL);
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
    array_make(1, MPROC_ITEM_INT8, 4, NULL);
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
    array_make(1, MPROC_ITEM_INT8, 4, NULL);
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
    array_make(1, MPROC_ITEM_FLOAT, 1, NULL);
    ck_assert_int_eq(mproc_array_get(array, 0, NULL), -EINVAL);
    array_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("array_items");
    TCase *single = support_case(suite, "single");
    tcase_add_loop_test(single, integers_keep_their_range_and_wrap_when_added_to, 0, 2);
    tcase_add_loop_test(single, a_uint64_beyond_int64_travels_as_its_bits, 0, 2);
    tcase_add_loop_test(single, adding_by_the_macro_and_by_the_function_are_the_same, 0, 2);
    tcase_add_loop_test(single, compare_set_stores_only_over_what_is_expected, 0, 2);
    tcase_add_loop_test(single, floats_and_doubles_round_add_and_compare_by_bits, 0, 2);
    tcase_add_loop_test(single, a_call_for_items_of_another_kind_is_an_error_of_its_own, 0, 2);
    tcase_add_loop_test(single, outside_the_array_every_call_is_refused, 0, 2);
    tcase_add_loop_test(single, adds_from_everywhere_are_all_counted_without_a_lock, 0, 2);
    TCase *slices = support_case(suite, "slices");
    tcase_add_loop_test(slices, slices_are_read_assigned_and_summed_up_by_a_child, 0, 4);
    tcase_add_test(slices, slices_of_every_item_size_go_to_and_from_memory_that_is_not_aligned);
    tcase_add_test(slices, an_item_is_never_seen_half_written);
    tcase_add_loop_test(slices, bytes_are_a_text_up_to_the_first_nul_and_one_that_does_not_fit_is_refused, 0,
                        2);
    TCase *bad = support_case(suite, "bad input");
    tcase_add_test(bad, an_array_of_threads_answers_echild_in_a_fork_child);
    tcase_add_test(bad, what_is_no_array_or_no_memory_is_refused);
    return support_run(suite, argc, argv);
}
