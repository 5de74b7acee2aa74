/* SPDX-License-Identifier: BSD-2-Clause */
/* Many items in one task: each has its own outcome, whatever becomes of the worker between two of them. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool_common.h"

enum { ITEMS = 60 };

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(10000));
}

static mproc_results *results_of_ints(mproc_pool *pool, mproc_fn *fn, const mproc_map_options *options)
{
    mproc_variant items[ITEMS];
    mproc_results *results = NULL;
    for (int i = 0; i < ITEMS; i++)
        items[i] = mproc_int(i);
    int rc = mproc_pool_map_variants(pool, fn, items, ITEMS, options, &results);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return results;
}

static mproc_result next_of(mproc_results *results)
{
    mproc_result result = {.index = SIZE_MAX};
    int rc = mproc_results_next(results, soon(), &result);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return result;
}

static int64_t int_of(mproc_result result)
{
    int64_t number = -1;
    ck_assert_msg(result.code == 0, "%s", mproc_error_text(result.error));
    ck_assert_int_eq(mproc_variant_get_int(result.value, &number), 0);
    return number;
}

/* Every tenth dies, every tenth fails, every tenth has no result; the others: (n, attempt). */
static int task_motley(mproc_call *call)
{
    int64_t n = mproc_call_int(call, 0);
    if (n % 10 == 3)
        raise(SIGKILL);
    if (n % 10 == 5)
        return mproc_call_fail(call, -EDOM, "no root of %lld", (long long)n);
    if (n % 10 == 7)
        return 0;
    return mproc_call_return(call, mproc_int(n * 100 + mproc_call_attempt(call)));
}

static bool six_died(void *pool)
{
    return stat_of(pool, "died") == ITEMS / 10;
}

/* shows: EXEC-04 DEATH-6 */
START_TEST(a_death_in_a_batch_costs_one_item)
{
    static const size_t chunks[] = {0, 7, 20, 60};
    for (size_t at = 0; at < MPROC__COUNT(chunks); at++) {
        mproc_pool *pool = pool_make(METHOD, 2);
        mproc_results *results =
            results_of_ints(pool, task_motley, MPROC_WITH(mproc_map_options, .chunk = chunks[at]));
        for (int i = 0; i < ITEMS; i++) {
            mproc_result result = next_of(results);
            ck_assert_uint_eq(result.index, i);
            if (i % 10 == 3) {
                ck_assert_int_eq(result.code, MPROC_EDIED);
            } else if (i % 10 == 5) {
                ck_assert_int_eq(result.code, -EDOM);
                ck_assert_ptr_nonnull(strstr(mproc_error_text(result.error), "no root of"));
            } else if (i % 10 == 7) {
                ck_assert_int_eq(result.code, 0);
                ck_assert_int_eq(result.value.kind, MPROC_KIND_NULL);
            } else {
                ck_assert_int_eq(int_of(result), i * 100 + 1);
            }
        }
        ck_assert_int_eq(mproc_results_next(results, soon(), &(mproc_result){.index = 0}), MPROC_EEND);
        ck_assert(support_until(six_died, pool, 5000));
        mproc_results_close(&results);
        pool_end(&pool);
    }
}
END_TEST

static int task_die_thrice(mproc_call *call)
{
    int64_t n = mproc_call_int(call, 0);
    if (n % 20 == 4 && mproc_call_attempt(call) < 3)
        raise(SIGKILL);
    return mproc_call_return(call, mproc_int(mproc_call_attempt(call)));
}

/* shows: WORK-2 */
START_TEST(an_item_of_a_batch_is_tried_again_and_no_other)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_results *results =
        results_of_ints(pool, task_die_thrice, MPROC_WITH(mproc_map_options, .chunk = 30, .retries = 2));
    for (int i = 0; i < ITEMS; i++) {
        mproc_result result = next_of(results);
        ck_assert_uint_eq(result.index, i);
        ck_assert_int_eq(int_of(result), i % 20 == 4 ? 3 : 1);
    }
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

START_TEST(an_item_of_a_batch_that_dies_too_often_fails)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_results *results =
        results_of_ints(pool, task_die_thrice, MPROC_WITH(mproc_map_options, .chunk = 30, .retries = 1));
    for (int i = 0; i < ITEMS; i++)
        ck_assert_int_eq(next_of(results).code, i % 20 == 4 ? MPROC_EDIED : 0);
    ck_assert(support_until(six_died, pool, 5000));
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

/* (n) -> n * 1000 bytes, for n divisible by 9; else n. */
static int task_uneven(mproc_call *call)
{
    int64_t n = mproc_call_int(call, 0);
    if (n % 9)
        return mproc_call_return(call, mproc_int(n));
    char *bytes = calloc(1, (size_t)n * 1000 + 1);
    int rc = mproc_call_return(call, mproc_bytes(bytes, (size_t)n * 1000));
    free(bytes);
    return rc;
}

START_TEST(a_result_that_does_not_fit_the_room_arrives_whole)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_results *results = results_of_ints(pool, task_uneven, MPROC_WITH(mproc_map_options, .chunk = 25));
    for (int i = 0; i < ITEMS; i++) {
        size_t size = 0;
        mproc_result result = next_of(results);
        ck_assert_uint_eq(result.index, i);
        if (i % 9) {
            ck_assert_int_eq(int_of(result), i);
            continue;
        }
        ck_assert_msg(result.code == 0, "%s", mproc_error_text(result.error));
        ck_assert_ptr_nonnull(mproc_variant_get_bytes(result.value, &size));
        ck_assert_uint_eq(size, (size_t)i * 1000);
    }
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

/* 13 runs for ever. */
static int task_thirteen(mproc_call *call)
{
    int64_t n = mproc_call_int(call, 0);
    if (n == 13)
        return task_until_stopped(call);
    return mproc_call_return(call, mproc_int(n));
}

START_TEST(the_time_limit_is_an_items_own)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_results *results = results_of_ints(
        pool, task_thirteen, MPROC_WITH(mproc_map_options, .chunk = 30, .time_limit_ms = 100));
    for (int i = 0; i < ITEMS; i++) {
        mproc_result result = next_of(results);
        ck_assert_uint_eq(result.index, i);
        ck_assert_int_eq(result.code, i == 13 ? -ETIME : 0);
    }
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

/* shows: EXEC-05 */
START_TEST(a_maps_deadline_counts_from_the_call_and_cancels_the_rest)
{
    static const size_t chunks[] = {1, 0, 30};
    for (size_t at = 0; at < MPROC__COUNT(chunks); at++) {
        mproc_result result;
        mproc_pool *pool = pool_make(METHOD, 2);
        mproc_results *results =
            results_of_ints(pool, task_thirteen,
                            MPROC_WITH(mproc_map_options, .chunk = chunks[at],
                                       .deadline = mproc_after_ms(support_ms(400)), .unordered = _i % 2));
        int rc, read = 0;
        while ((rc = mproc_results_next(results, MPROC_FOREVER, &result)) == 0)
            read += result.code == 0;
        ck_assert_int_eq(rc, -ETIME);
        ck_assert_int_lt(read, ITEMS);
        ck_assert_int_eq(mproc_results_next(results, MPROC_FOREVER, &result), MPROC_EEND);
        mproc_results_close(&results);
        ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(3))), 9);
        pool_end(&pool);
    }
}
END_TEST

static int task_timed_out(mproc_call *call)
{
    return mproc_call_int(call, 0) == 2 ? mproc_call_fail(call, -ETIME, "mine") : 0;
}

/* shows: EXEC-05 */
START_TEST(a_tasks_own_timeout_is_a_result)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_results *results = results_of_ints(
        pool, task_timed_out, MPROC_WITH(mproc_map_options, .deadline = mproc_after_ms(support_ms(20000))));
    for (int i = 0; i < ITEMS; i++)
        ck_assert_int_eq(next_of(results).code, i == 2 ? -ETIME : 0);
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

static int task_sum(mproc_call *call)
{
    int64_t sum = 0;
    for (size_t i = 0; i < mproc_call_count(call); i++)
        sum = sum * 10 + mproc_call_int(call, i);
    return mproc_call_return(call, mproc_int(sum));
}

/* shows: POOL-03 */
START_TEST(lists_are_unpacked_to_arguments)
{
    static const size_t chunks[] = {0, 1, 4};
    mproc_variant four[] = {mproc_int(1), mproc_int(2), mproc_int(3), mproc_int(4)};
    mproc_variant items[] = {mproc_items(four, 2), mproc_items(four, 0), mproc_int(5), mproc_items(four, 4)};
    static const int64_t sums[] = {129, 9, -1, 12349};
    mproc_pool *pool = pool_make(METHOD, 2);
    for (size_t at = 0; at < MPROC__COUNT(chunks); at++) {
        mproc_results *results = NULL;
        ck_assert_int_eq(mproc_pool_map_variants(pool, task_sum, items, MPROC__COUNT(items),
                                                 MPROC_WITH(mproc_map_options, .unpack = true,
                                                            .args = MPROC_ARGS(9), .chunk = chunks[at]),
                                                 &results),
                         0);
        for (size_t i = 0; i < MPROC__COUNT(items); i++) {
            mproc_result result = next_of(results);
            if (sums[i] < 0)
                ck_assert_int_eq(result.code, MPROC_EARGUMENT);
            else
                ck_assert_int_eq(int_of(result), sums[i]);
        }
        mproc_results_close(&results);
    }
    pool_end(&pool);
}
END_TEST

/* Zero is "the library chooses" here, so there is no chunk size below 1 to refuse. */
/* shows: EXEC-02 */
START_TEST(any_chunk_gives_the_same_results)
{
    static const size_t chunks[] = {0, 1, 6, 59, 60, 61, 1000, SIZE_MAX};
    mproc_pool *pool = pool_make(METHOD, 2);
    for (size_t at = 0; at < MPROC__COUNT(chunks); at++) {
        mproc_results *results =
            results_of_ints(pool, task_square, MPROC_WITH(mproc_map_options, .chunk = chunks[at]));
        for (int i = 0; i < ITEMS; i++)
            ck_assert_int_eq(int_of(next_of(results)), i * i);
        ck_assert_int_eq(mproc_results_next(results, soon(), &(mproc_result){.index = 0}), MPROC_EEND);
        mproc_results_close(&results);
    }
    pool_end(&pool);
}
END_TEST

static bool all_completed(void *context)
{
    return stat_of(context, "completed") == ITEMS;
}

/* shows: EXEC-03 */
START_TEST(what_is_submitted_runs_though_nobody_reads)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_results *results =
        results_of_ints(pool, task_square, MPROC_WITH(mproc_map_options, .ahead = ITEMS, .chunk = 1));
    ck_assert(support_until(all_completed, pool, 10000));
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

static int task_fail_large(mproc_call *call)
{
    char *text = malloc(1 << 20);
    memset(text, 'x', 1 << 20);
    text[(1 << 20) - 1] = 0;
    int rc = mproc_call_int(call, 0) == 0 ? mproc_call_fail(call, -EDOM, "%s", text) : 0;
    free(text);
    return rc;
}

/* shows: POOL-18 */
START_TEST(a_failure_stops_nothing_and_a_huge_text_blocks_nothing)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_results *results = results_of_ints(pool, task_fail_large, NULL);
    for (int i = 0; i < ITEMS; i++)
        ck_assert_int_eq(next_of(results).code, i == 0 ? -EDOM : 0);
    mproc_results_close(&results);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(3))), 9);
    pool_end(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_death_in_a_batch_costs_one_item, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, an_item_of_a_batch_is_tried_again_and_no_other, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, an_item_of_a_batch_that_dies_too_often_fails, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_result_that_does_not_fit_the_room_arrives_whole, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, the_time_limit_is_an_items_own, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_maps_deadline_counts_from_the_call_and_cancels_the_rest, METHODS_FIRST,
                        METHODS);
    tcase_add_loop_test(all, a_tasks_own_timeout_is_a_result, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, lists_are_unpacked_to_arguments, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, any_chunk_gives_the_same_results, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, what_is_submitted_runs_though_nobody_reads, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_failure_stops_nothing_and_a_huge_text_blocks_nothing, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "batch", add);
}
