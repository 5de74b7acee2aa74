/* SPDX-License-Identifier: BSD-2-Clause */
/* Loops over ranges: each item once, data by shared arrays, a death costs its range. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool_common.h"
#include "shm/place.h"

enum { COUNT = 1000, LARGE = 1000000 };

/* (array, plus): adds to each item of the range. */
static int range_add(mproc_call *call)
{
    size_t first, end;
    int64_t *items = mproc_array_data(mproc_call_array(call, 0));
    int64_t plus = mproc_call_int(call, 1);
    mproc_call_range(call, &first, &end);
    if (mproc_call_check(call) < 0)
        return mproc_call_check(call);
    for (size_t i = first; i < end; i++)
        items[i] += plus;
    return 0;
}

static mproc_array *array_make(mproc_start method, size_t count)
{
    mproc_array *array = NULL;
    mproc_place *place = NULL;
    if (method == MPROC_START_THREAD)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    int rc = mproc_array_create(place, MPROC_ITEM_INT64, count, NULL, &array);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    mproc_place_close(&place);
    return array;
}

static void loop_all(mproc_pool *pool, mproc_fn *fn, mproc_array *array, size_t count, size_t chunk)
{
    int rc = mproc_pool_for(pool, fn, count,
                            MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(array, 1), .chunk = chunk));
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
}

static size_t wrong_count(mproc_array *array, size_t count, int64_t wanted)
{
    size_t wrong = 0;
    const int64_t *items = mproc_array_data(array);
    for (size_t i = 0; i < count; i++)
        wrong += items[i] != wanted;
    return wrong;
}

START_TEST(each_item_is_in_one_range)
{
    static const size_t chunks[] = {0, 1, 7, 999, 1000, 1001, SIZE_MAX};
    mproc_pool *pool = pool_make(METHOD, 3);
    mproc_array *array = array_make(METHOD, COUNT);
    for (size_t i = 0; i < MPROC__COUNT(chunks); i++) {
        loop_all(pool, range_add, array, COUNT, chunks[i]);
        ck_assert_uint_eq(wrong_count(array, COUNT, (int64_t)i + 1), 0);
    }
    loop_all(pool, range_add, array, 0, 0);
    loop_all(pool, range_add, array, 1, 0);
    ck_assert_uint_eq(wrong_count(array, COUNT, MPROC__COUNT(chunks)), 1);
    pool_end(&pool);
    mproc_array_close(&array);
}
END_TEST

START_TEST(a_large_loop_is_whole)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_array *array = array_make(METHOD, LARGE);
    for (int round = 0; round < 4; round++)
        loop_all(pool, range_add, array, LARGE, round % 2 ? 100 : 0);
    ck_assert_uint_eq(wrong_count(array, LARGE, 4), 0);
    pool_end(&pool);
    mproc_array_close(&array);
}
END_TEST

/* Ranges of 10; of items 40 to 49 the range fails, of 70 to 79 it kills its process, in its first attempt where the second
 * argument says so. */
static int range_bad(mproc_call *call)
{
    size_t first, end;
    mproc_call_range(call, &first, &end);
    if (end - first != 10)
        return -EPROTO;
    if (first == 70 && (!mproc_call_bool(call, 1) || mproc_call_attempt(call) == 1))
        raise(SIGKILL);
    if (first == 40 && !mproc_call_bool(call, 1))
        return mproc_call_fail(call, -EDOM, "forty");
    int64_t *items = mproc_array_data(mproc_call_array(call, 0));
    for (size_t i = first; i < end; i++)
        items[i]++;
    return 0;
}

/* shows: DEATH-6 */
START_TEST(a_failure_or_death_costs_its_range)
{
    int status[COUNT];
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_array *array = array_make(METHOD, COUNT);
    int rc = mproc_pool_for(
        pool, range_bad, COUNT,
        MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(array, false), .chunk = 10, .status = status));
    int64_t item = -1;
    ck_assert_int_eq(rc, -EDOM);
    ck_assert_int_eq(mproc_error_number(mproc_last_error(), MPROC_ERROR_ITEM, &item), 0);
    ck_assert_int_eq(item, 40);
    const int64_t *items = mproc_array_data(array);
    for (int i = 0; i < COUNT; i++) {
        int code = i / 10 == 4 ? -EDOM : i / 10 == 7 ? MPROC_EDIED : 0;
        ck_assert_msg(status[i] == code, "status %d is %d", i, status[i]);
        ck_assert_int_eq(items[i], code == 0);
    }
    pool_end(&pool);
    mproc_array_close(&array);
}
END_TEST

/* shows: WORK-2 */
START_TEST(a_range_is_tried_again_after_a_death)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_array *array = array_make(METHOD, COUNT);
    int rc = mproc_pool_for(
        pool, range_bad, COUNT,
        MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(array, true), .chunk = 10, .retries = 1));
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    ck_assert_uint_eq(wrong_count(array, COUNT, 1), 0);
    pool_end(&pool);
    mproc_array_close(&array);
}
END_TEST

/* The first range, or with an argument any, goes on until it is stopped. */
static int range_slow(mproc_call *call)
{
    size_t first, end;
    mproc_call_range(call, &first, &end);
    while ((first == 0 || mproc_call_count(call) > 0) && !mproc_call_stopping(call))
        usleep(1000);
    return 0;
}

START_TEST(a_range_past_its_time_limit_fails_alone)
{
    int status[COUNT];
    mproc_pool *pool = pool_make(METHOD, 2);
    int rc = mproc_pool_for(pool, range_slow, COUNT,
                            MPROC_WITH(mproc_map_options, .chunk = 10, .status = status,
                                       .time_limit_ms = (uint32_t)support_ms(100)));
    ck_assert_int_eq(rc, -ETIME);
    for (int i = 0; i < COUNT; i++)
        ck_assert_msg(status[i] == (i < 10 ? -ETIME : 0), "status %d is %d", i, status[i]);
    pool_end(&pool);
}
END_TEST

START_TEST(started_it_can_be_cancelled)
{
    mproc_future *future;
    mproc_pool *pool = pool_make(METHOD, 2);
    ck_assert_int_eq(mproc_pool_for_start(pool, range_slow, COUNT,
                                          MPROC_WITH(mproc_map_options, .chunk = 10, .args = MPROC_ARGS(1)),
                                          &future),
                     0);
    ck_assert(support_until(is_running, future, 5000));
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    ck_assert_int_eq(mproc_future_result(future, mproc_after_ms(support_ms(5000)), NULL), -ECANCELED);
    ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_CANCELLED);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

START_TEST(bad_input_is_refused)
{
    mproc_future *future;
    mproc_pool *pool = pool_make(METHOD, 1);
    ck_assert_int_eq(mproc_pool_for(NULL, range_add, 1, NULL), -EINVAL);
    ck_assert_int_eq(mproc_pool_for(pool, NULL, 1, NULL), -EINVAL);
    ck_assert_int_eq(mproc_pool_for(pool, range_add, SIZE_MAX, NULL), -EMSGSIZE);
    ck_assert_int_eq(mproc_pool_for(pool, range_add, 1, MPROC_WITH(mproc_map_options, .retries = 63)),
                     -EINVAL);
    ck_assert_int_eq(mproc_pool_for_start(pool, range_add, 1, NULL, NULL), -EINVAL);
    /* No argument where the function wants an array: its own failure. */
    ck_assert_int_eq(mproc_pool_for(pool, range_add, 1, NULL), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_pool_stop(pool, true, MPROC_FOREVER, NULL), 0);
    ck_assert_int_eq(mproc_pool_for(pool, range_add, 1, NULL), MPROC_ECLOSED);
    ck_assert_int_eq(mproc_pool_for_start(pool, range_add, 1, NULL, &future), MPROC_ECLOSED);
    mproc_pool_close(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, each_item_is_in_one_range, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_large_loop_is_whole, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_failure_or_death_costs_its_range, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_range_is_tried_again_after_a_death, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_range_past_its_time_limit_fails_alone, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, started_it_can_be_cancelled, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, bad_input_is_refused, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "for", add);
}
