/* SPDX-License-Identifier: BSD-2-Clause */
/* map over variants: one result after the other, in order or as they finish. */
#include "platform/base.h"

#include <errno.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool_common.h"

static int task_scale(mproc_call *call)
{
    return mproc_call_return(call, mproc_int(mproc_call_int(call, 0) * mproc_call_int(call, 1)));
}

/* 0 waits until it is stopped, 5 fails, 7 dies, all others come back. */
static int task_mixed(mproc_call *call)
{
    int64_t n = mproc_call_int(call, 0);
    if (n == 5)
        return mproc_call_fail(call, -EDOM, "five");
    if (n == 7)
        return task_abort(call);
    if (n == 0)
        return task_until_stopped(call);
    return mproc_call_return(call, mproc_int(n));
}

enum { ITEMS = 100 };

static void items_fill(mproc_variant *items, int first)
{
    for (int i = 0; i < ITEMS; i++)
        items[i] = mproc_int(first + i);
}

static mproc_results *results_make(mproc_pool *pool, mproc_fn *fn, const mproc_variant *items, size_t count,
                                   const mproc_map_options *options)
{
    mproc_results *results = NULL;
    int rc = mproc_pool_map_variants(pool, fn, items, count, options, &results);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return results;
}

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(10000));
}

/* shows: POOL-11 POOL-03 EXEC-02 */
START_TEST(results_come_in_order_then_the_end)
{
    mproc_variant items[ITEMS];
    mproc_result result;
    mproc_pool *pool = pool_make(METHOD, 3);
    items_fill(items, 1);
    mproc_results *results =
        results_make(pool, task_scale, items, ITEMS, MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(10)));
    for (int i = 0; i < ITEMS; i++) {
        int64_t number;
        ck_assert_int_eq(mproc_results_next(results, soon(), &result), 0);
        ck_assert_uint_eq(result.index, i);
        ck_assert_int_eq(result.code, 0);
        ck_assert_ptr_null(result.error);
        ck_assert_int_eq(mproc_variant_get_int(result.value, &number), 0);
        ck_assert_int_eq(number, (i + 1) * 10);
    }
    ck_assert_int_eq(mproc_results_next(results, soon(), &result), MPROC_EEND);
    ck_assert_int_eq(mproc_results_next(results, soon(), &result), MPROC_EEND);
    mproc_results_close(&results);
    ck_assert_ptr_null(results);
    pool_end(&pool);
}
END_TEST

/* shows: POOL-13 */
START_TEST(unordered_gives_each_once_and_does_not_wait_for_the_slow)
{
    mproc_variant items[ITEMS];
    bool seen[ITEMS] = {false};
    mproc_result result;
    mproc_pool *pool = pool_make(METHOD, 2);
    items_fill(items, 100);
    items[0] = mproc_int(0);
    mproc_results *results =
        results_make(pool, task_mixed, items, ITEMS, MPROC_WITH(mproc_map_options, .unordered = true));
    for (int i = 1; i < ITEMS; i++) {
        ck_assert_int_eq(mproc_results_next(results, soon(), &result), 0);
        ck_assert_uint_gt(result.index, 0);
        ck_assert(!seen[result.index]);
        seen[result.index] = true;
    }
    ck_assert_int_eq(mproc_results_next(results, MPROC_NOW, &result), -ETIMEDOUT);
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

/* shows: EXEC-04 DEATH-6 */
START_TEST(a_failing_item_stands_in_its_place_and_reading_goes_on)
{
    mproc_variant items[ITEMS];
    mproc_result result;
    mproc_pool *pool = pool_make(METHOD, 2);
    items_fill(items, 1);
    mproc_results *results = results_make(pool, task_mixed, items, 20, NULL);
    for (int i = 0; i < 20; i++) {
        int code = i == 4 ? -EDOM : i == 6 ? MPROC_EDIED : 0;
        ck_assert_int_eq(mproc_results_next(results, soon(), &result), 0);
        ck_assert_uint_eq(result.index, i);
        ck_assert_int_eq(result.code, code);
        ck_assert_int_eq(result.error != NULL, code != 0);
        if (i == 4)
            ck_assert_ptr_nonnull(strstr(mproc_error_text(result.error), "five"));
    }
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

/* shows: POOL-14 */
START_TEST(a_deadline_loses_nothing)
{
    mproc_variant items[2] = {mproc_int(0), mproc_int(1)};
    mproc_result result;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_results *results =
        results_make(pool, task_mixed, items, 2, MPROC_WITH(mproc_map_options, .time_limit_ms = 200));
    ck_assert_int_eq(mproc_results_next(results, MPROC_NOW, &result), -ETIMEDOUT);
    ck_assert_int_eq(mproc_results_next(results, mproc_after_ms(10), &result), -ETIMEDOUT);
    ck_assert_int_eq(mproc_results_next(results, soon(), &result), 0);
    ck_assert_uint_eq(result.index, 0);
    ck_assert_int_eq(result.code, -ETIME);
    ck_assert_int_eq(mproc_results_next(results, soon(), &result), 0);
    ck_assert_int_eq(result.code, 0);
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

/* shows: EXEC-07 WORK-3 */
START_TEST(no_more_than_ahead_are_submitted)
{
    mproc_variant items[ITEMS];
    mproc_result result;
    mproc_pool *pool = pool_make(METHOD, 1);
    items_fill(items, 100);
    mproc_results *results =
        results_make(pool, task_mixed, items, ITEMS, MPROC_WITH(mproc_map_options, .ahead = 3));
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(mproc_results_next(results, soon(), &result), 0);
        ck_assert_int_le(stat_of(pool, "completed"), i + 1 + 3);
    }
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

/* shows: EXEC-06 */
START_TEST(closing_early_cancels_the_rest)
{
    mproc_variant items[ITEMS];
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < ITEMS; i++)
        items[i] = mproc_int(0);
    mproc_results *results = results_make(pool, task_mixed, items, ITEMS, NULL);
    mproc_results_close(&results);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(3))), 9);
    pool_end(&pool);
}
END_TEST

/* shows: POOL-09 EXEC-07 */
START_TEST(no_items_are_at_their_end)
{
    mproc_result result;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_results *results = results_make(pool, task_mixed, NULL, 0, NULL);
    ck_assert_int_eq(mproc_results_next(results, soon(), &result), MPROC_EEND);
    mproc_results_close(&results);
    mproc_results_close(&results);
    ck_assert_int_eq(mproc_results_next(NULL, MPROC_NOW, &result), -EINVAL);
    pool_end(&pool);
}
END_TEST

/* shows: POOL-07 WORK-4 */
START_TEST(an_item_that_cannot_cross_fails_in_its_place)
{
    mproc_result result;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_variant items[] = {mproc_int(3), mproc_handle(pool), mproc_int(4)};
    mproc_results *results = results_make(pool, task_echo, items, 3, NULL);
    ck_assert_int_eq(mproc_results_next(results, soon(), &result), 0);
    ck_assert_int_eq(result.code, 0);
    ck_assert_int_eq(mproc_results_next(results, soon(), &result), 0);
    ck_assert_uint_eq(result.index, 1);
    ck_assert_int_eq(result.code, MPROC_ECANNOTCROSS);
    ck_assert_ptr_nonnull(result.error);
    ck_assert_int_eq(mproc_results_next(results, soon(), &result), 0);
    ck_assert_int_eq(result.code, 0);
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

enum { UNREAD = 8, LARGE = 500000 };

/* Results that nobody reads fill the pool's memory: workers with one more wait for some. */
static mproc_pool *full_pool(mproc_start start, mproc_future **unread)
{
    mproc_pool *pool;
    const mproc_pool_options *small =
        MPROC_WITH(mproc_pool_options, .start = start, .workers = 2, .max_queued_bytes = 1 << 20);
    ck_assert_int_eq(mproc_pool_create(small, &pool), 0);
    for (int i = 0; i < UNREAD; i++)
        unread[i] = submit(pool, task_large, MPROC_ARGS(LARGE));
    return pool;
}

static void full_pool_end(mproc_pool **pool, mproc_future **unread)
{
    for (int i = 0; i < UNREAD; i++)
        mproc_future_close(&unread[i]);
    pool_end(pool);
}

START_TEST(unread_results_of_others_hold_up_no_reader)
{
    enum { READ = 10 };
    mproc_future *unread[UNREAD];
    mproc_variant items[READ];
    mproc_result result;
    mproc_pool *pool = full_pool(METHOD, unread);
    for (int i = 0; i < READ; i++)
        items[i] = mproc_int(LARGE / 5);
    mproc_results *results =
        results_make(pool, task_large, items, READ, MPROC_WITH(mproc_map_options, .unordered = true));
    for (int i = 0; i < READ; i++) {
        ck_assert_int_eq(mproc_results_next(results, soon(), &result), 0);
        ck_assert_int_eq(result.code, 0);
    }
    mproc_results_close(&results);
    full_pool_end(&pool, unread);
}
END_TEST

static int called(mproc_future *future, void *context)
{
    (void)future;
    atomic_store((_Atomic bool *)context, true);
    return 0;
}

static bool is_called(void *context)
{
    return atomic_load((_Atomic bool *)context);
}

START_TEST(unread_results_of_others_hold_up_no_callback)
{
    static _Atomic bool over;
    mproc_future *unread[UNREAD];
    mproc_pool *pool = full_pool(METHOD, unread);
    mproc_future *future = submit(pool, task_square, MPROC_ARGS(3));
    atomic_store(&over, false);
    ck_assert_int_eq(mproc_future_on_done(future, called, (void *)&over), 0);
    ck_assert(support_until(is_called, (void *)&over, 10000));
    mproc_future_close(&future);
    full_pool_end(&pool, unread);
}
END_TEST

static mproc_pool *inner;

/* In the only worker: the results that it waits for are for itself to make. */
static int task_map_inside(mproc_call *call)
{
    mproc_results *results;
    mproc_result one;
    mproc_variant items[] = {mproc_int(1), mproc_int(2)};
    (void)call;
    int rc = mproc_pool_map_variants(inner, task_square, items, 2,
                                     MPROC_WITH(mproc_map_options, .unordered = true, .chunk = 1), &results);
    if (rc == 0) {
        rc = mproc_results_next(results, MPROC_FOREVER, &one);
        mproc_results_close(&results);
    }
    return rc;
}

START_TEST(results_that_only_the_waiting_thread_could_make_are_refused)
{
    inner = pool_make(MPROC_START_THREAD, 1);
    mproc_future *future = submit(inner, task_map_inside, MPROC_NONE);
    ck_assert_int_eq(result_code(future), -EDEADLK);
    mproc_future_close(&future);
    pool_end(&inner);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_test(all, results_that_only_the_waiting_thread_could_make_are_refused);
    tcase_add_loop_test(all, results_come_in_order_then_the_end, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, unordered_gives_each_once_and_does_not_wait_for_the_slow, METHODS_FIRST,
                        METHODS);
    tcase_add_loop_test(all, a_failing_item_stands_in_its_place_and_reading_goes_on, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_deadline_loses_nothing, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, no_more_than_ahead_are_submitted, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, closing_early_cancels_the_rest, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, unread_results_of_others_hold_up_no_reader, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, unread_results_of_others_hold_up_no_callback, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, no_items_are_at_their_end, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, an_item_that_cannot_cross_fails_in_its_place, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "results", add);
}
