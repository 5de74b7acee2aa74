/* SPDX-License-Identifier: BSD-2-Clause */
/* Submitting: many, large, and more than fits. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pool/pool.h"
#include "pool/pool_common.h"

/* shows: EXEC-12 POOL-03 */
START_TEST(ten_thousand_tasks_give_their_results_in_order)
{
    enum { TASKS = 10000 };
    mproc_future **futures = calloc(TASKS, sizeof *futures);
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_square, MPROC_ARGS(i));
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(result_int(futures[i]), (int64_t)i * i);
    ck_assert_int_eq(stat_of(pool, "completed"), TASKS);
    pool_end(&pool);
    free(futures);
}
END_TEST

static mproc_pool *pool_small(mproc_start start, size_t tasks, size_t bytes)
{
    mproc_pool *pool = NULL;
    int rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = start, .workers = 1,
                                          .max_queued_tasks = tasks, .max_queued_bytes = bytes),
                               &pool);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return pool;
}

/* shows: WORK-3 */
START_TEST(a_full_pool_lets_submit_wait)
{
    mproc_future *futures[3] = {NULL}, *refused = NULL;
    mproc_pool *pool = pool_small(METHOD, 3, 0);
    futures[0] = submit(pool, task_until_stopped, MPROC_NONE);
    for (int i = 1; i < 3; i++)
        futures[i] = submit(pool, task_square, MPROC_ARGS(i));
    ck_assert_int_eq(mproc_pool_submit(pool, task_square, MPROC_ARGS(5),
                                       MPROC_WITH(mproc_task_options, .submit_deadline = mproc_after_ms(20)),
                                       &refused),
                     -ETIMEDOUT);
    ck_assert_int_eq(mproc_pool_submit(pool, task_square, MPROC_ARGS(5),
                                       MPROC_WITH(mproc_task_options, .no_wait = true), &refused),
                     -ETIMEDOUT);
    ck_assert_ptr_null(refused);
    ck_assert_int_eq(mproc_future_cancel(futures[1], false), 0);
    mproc_future *late = submit(pool, task_square, MPROC_ARGS(5));
    ck_assert(support_until(is_running, futures[0], 5000));
    ck_assert_int_eq(mproc_future_cancel(futures[0], true), 0);
    ck_assert_int_eq(result_int(late), 25);
    ck_assert_int_eq(result_int(futures[2]), 4);
    mproc_future_close(&futures[0]);
    mproc_future_close(&futures[1]);
    pool_end(&pool);
}
END_TEST

/* shows: WORK-3 */
START_TEST(more_tasks_than_fit_pass_through_unread)
{
    enum { TASKS = 2000 };
    mproc_future **futures = calloc(TASKS, sizeof *futures);
    mproc_pool *pool = pool_small(METHOD, 16, 0);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_square, MPROC_ARGS(i));
    for (int i = TASKS - 1; i >= 0; i--)
        ck_assert_int_eq(result_int(futures[i]), (int64_t)i * i);
    pool_end(&pool);
    free(futures);
}
END_TEST

/* Of ended tasks that nobody has asked for; a few fresh ones are taken where one has been seen running. */
START_TEST(slots_of_ended_tasks_are_used_again_before_others)
{
    enum { TASKS = 1000, FEW = 9 * 16 };
    static mproc_future *futures[2 * TASKS];
    mproc_pool *pool = pool_small(METHOD, 0, 0);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_square, MPROC_ARGS(i));
    ck_assert_int_eq(mproc_future_wait(futures[TASKS - 1], mproc_after_ms(support_ms(10000))), 0);
    int given = (int)pool->core->given_count;
    ck_assert_int_le(given, TASKS);
    for (int i = 0; i < given / 2; i++)
        futures[TASKS + i] = submit(pool, task_square, MPROC_ARGS(i));
    ck_assert_int_le((int)pool->core->given_count, given + FEW);
    for (int i = 0; i < TASKS + given / 2; i++)
        ck_assert_int_eq(result_int(futures[i]), (int64_t)(i % TASKS) * (i % TASKS));
    pool_end(&pool);
}
END_TEST

/* shows: WORK-3 POOL-07 */
START_TEST(bytes_are_bounded_and_large_arguments_pass)
{
    enum { TASKS = 40, BYTES = 100000, LIMIT = 300000 };
    char *data = malloc(BYTES);
    memset(data, 'x', BYTES);
    mproc_future *futures[TASKS], *refused = NULL;
    mproc_pool *pool = pool_small(METHOD, 0, LIMIT);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_echo, MPROC_ARGS(mproc_bytes(data, BYTES)));
    for (int i = 0; i < TASKS; i++) {
        mproc_variant value;
        size_t size = 0;
        ck_assert_int_eq(mproc_future_result(futures[i], mproc_after_ms(support_ms(10000)), &value), 0);
        ck_assert_ptr_nonnull(mproc_variant_get_bytes(value, &size));
        ck_assert_uint_eq(size, BYTES);
        mproc_future_close(&futures[i]);
    }
    char *huge = calloc(1, LIMIT * 2);
    ck_assert_int_eq(
        mproc_pool_submit(pool, task_echo, MPROC_ARGS(mproc_bytes(huge, LIMIT * 2)), NULL, &refused),
        -EMSGSIZE);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(3))), 9);
    pool_end(&pool);
    free(data);
    free(huge);
}
END_TEST

/* shows: WORK-3 */
START_TEST(results_nobody_reads_do_not_stop_the_pool)
{
    enum { TASKS = 60, BYTES = 50000 };
    mproc_future *futures[TASKS];
    mproc_pool *pool = pool_small(METHOD, 0, 200000);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_large, MPROC_ARGS(BYTES));
    ck_assert_int_eq(mproc_future_wait(futures[TASKS - 1], mproc_after_ms(support_ms(10000))), 0);
    for (int i = 0; i < TASKS; i++) {
        ck_assert_int_eq(result_code(futures[i]), 0);
        mproc_future_close(&futures[i]);
    }
    pool_end(&pool);
}
END_TEST

START_TEST(a_result_larger_than_the_pool_fails_its_future)
{
    mproc_pool *pool = pool_small(METHOD, 0, 200000);
    mproc_future *future = submit(pool, task_large, MPROC_ARGS(5000000));
    ck_assert_int_eq(result_code(future), -EMSGSIZE);
    mproc_future_close(&future);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(3))), 9);
    pool_end(&pool);
}
END_TEST

/* shows: EXEC-01 */
START_TEST(bad_submissions_are_refused)
{
    mproc_future *future = NULL;
    mproc_pool *pool = pool_small(METHOD, 0, 0);
    ck_assert_int_eq(mproc_pool_submit(pool, NULL, MPROC_NONE, NULL, &future), -EINVAL);
    ck_assert_int_eq(mproc_pool_submit(pool, task_square, MPROC_NONE, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_pool_submit(NULL, task_square, MPROC_NONE, NULL, &future), -EINVAL);
    ck_assert_int_eq(mproc_pool_submit(pool, task_square, MPROC_NONE,
                                       MPROC_WITH(mproc_task_options, .retries = 5000), &future),
                     -EINVAL);
    mproc_task_options stale = {.size = 3};
    ck_assert_int_eq(mproc_pool_submit(pool, task_square, MPROC_NONE, &stale, &future), -EINVAL);
    ck_assert_ptr_null(future);
    pool_end(&pool);
}
END_TEST

/* CPU time of the pool's workers. */
static int64_t workers_used_us(mproc_pool *pool)
{
    mproc_variant stats;
    int64_t used_us = 0, pid;
    ck_assert_int_eq(mproc_pool_stats(pool, &stats), 0);
    mproc_variant each = mproc_variant_find(stats, "each");
    for (size_t i = 0; i < mproc_variant_count(each); i++) {
        clockid_t clock;
        struct timespec used;
        ck_assert_int_eq(mproc_variant_get_int(mproc_variant_find(mproc_variant_at(each, i), "pid"), &pid),
                         0);
        ck_assert_int_eq(clock_getcpuclockid((pid_t)pid, &clock), 0);
        ck_assert_int_eq(clock_gettime(clock, &used), 0);
        used_us += used.tv_sec * 1000000 + used.tv_nsec / 1000;
    }
    mproc_variant_clear(&stats);
    return used_us;
}

/* They look for tasks for some 20 us after the last one, one after the other, and that is all.
 * shows: IDLE-1 */
START_TEST(workers_without_work_use_no_processor)
{
    enum { IDLE_MS = 500, SETTLE_MS = 20 };
    const struct timespec settle = {.tv_nsec = SETTLE_MS * 1000000}, idle = {.tv_nsec = IDLE_MS * 1000000};
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(i))), i * i);
    nanosleep(&settle, NULL);
    int64_t before_us = workers_used_us(pool);
    nanosleep(&idle, NULL);
    ck_assert_int_le(workers_used_us(pool) - before_us, 2 * IDLE_MS); /* a thousandth of a core, each */
    pool_end(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, workers_without_work_use_no_processor, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, ten_thousand_tasks_give_their_results_in_order, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_full_pool_lets_submit_wait, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, more_tasks_than_fit_pass_through_unread, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, slots_of_ended_tasks_are_used_again_before_others, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, bytes_are_bounded_and_large_arguments_pass, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, results_nobody_reads_do_not_stop_the_pool, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_result_larger_than_the_pool_fails_its_future, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, bad_submissions_are_refused, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "submit", add);
}
