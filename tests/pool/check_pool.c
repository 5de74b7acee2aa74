/* SPDX-License-Identifier: BSD-2-Clause */
/* Pools: made, used, described, closed, over all start methods. */
#include "platform/base.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool_common.h"

/* shows: POOL-02 POOL-34 EXEC-01 START-D */
START_TEST(a_task_gives_its_result_by_every_start_method)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *future = submit(pool, task_square, MPROC_ARGS(7));
    ck_assert_int_eq(mproc_future_wait(future, mproc_after_ms(support_ms(5000))), 0);
    ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_DONE);
    ck_assert_int_eq(result_int(future), 49);
    pool_end(&pool);
}
END_TEST

/* shows: POOL-01 */
START_TEST(a_pool_has_the_workers_asked_for)
{
    mproc_pool *pool = pool_make(METHOD, 3);
    ck_assert_int_eq(stat_of(pool, "workers"), 3);
    pool_end(&pool);
    pool = pool_make(METHOD, 0);
    ck_assert_int_eq(stat_of(pool, "workers"), mproc_cpu_count());
    pool_end(&pool);
    ck_assert_int_eq(
        mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = 1000000, .start = METHOD), &pool),
        -EINVAL);
    ck_assert_int_eq(mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = (mproc_start)77), &pool),
                     -EINVAL);
    ck_assert_int_eq(
        mproc_pool_create(MPROC_WITH(mproc_pool_options, .restarts_per_minute = UINT_MAX, .start = METHOD),
                          &pool),
        -EINVAL);
    ck_assert_int_eq(mproc_pool_create(NULL, NULL), -EINVAL);
}
END_TEST

/* shows: POOL-25 EXEC-19 */
START_TEST(the_initializer_runs_in_every_worker_before_its_first_task)
{
    mproc_pool *pool = NULL;
    int rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 3,
                                          .initializer = set_up, .initializer_args = MPROC_ARGS("hello")),
                               &pool);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    for (int i = 0; i < 30; i++) {
        mproc_future *future = submit(pool, task_self, MPROC_NONE);
        mproc_variant value;
        ck_assert_int_eq(mproc_future_result(future, mproc_after_ms(support_ms(5000)), &value), 0);
        ck_assert_str_eq(mproc_variant_get_text(value), "hello");
        mproc_future_close(&future);
    }
    pool_end(&pool);
}
END_TEST

/* shows: POOL-26 EXEC-19 WORK-5 */
START_TEST(a_failing_initializer_is_reported_to_the_creator)
{
    mproc_pool *pool = NULL;
    int rc = mproc_pool_create(
        MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 3, .initializer = set_up_fail), &pool);
    ck_assert_int_eq(rc, -ENOENT);
    ck_assert_ptr_null(pool);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "no model"));
}
END_TEST

/* shows: POOL-26 WORK-5 */
START_TEST(an_initializer_that_dies_is_reported_to_the_creator)
{
    mproc_pool *pool = NULL;
    int64_t number = 0;
    int rc = mproc_pool_create(
        MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 3, .initializer = set_up_abort), &pool);
    ck_assert_int_eq(rc, MPROC_EDIED);
    ck_assert_int_eq(mproc_error_number(mproc_last_error(), MPROC_ERROR_SIGNAL, &number), 0);
    ck_assert_int_eq(number, 6);
}
END_TEST

static bool pids_differ(mproc_pool *pool, int64_t *seen, size_t count)
{
    size_t different = 0;
    for (size_t i = 0; i < count; i++) {
        seen[i] = result_int(submit(pool, task_pid, MPROC_NONE));
        bool known = false;
        for (size_t k = 0; k < i; k++)
            known |= seen[k] == seen[i];
        different += !known;
    }
    return different > 1;
}

/* shows: POOL-22 EXEC-28 EXEC-30 */
START_TEST(workers_are_replaced_after_their_tasks)
{
    enum { TASKS = 20 };
    int64_t pids[TASKS];
    mproc_pool *pool = NULL;
    ck_assert_int_eq(
        mproc_pool_create(
            MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 1, .tasks_per_worker = 5), &pool),
        0);
    ck_assert(pids_differ(pool, pids, TASKS));
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(pids[i], pids[i / 5 * 5]);
    ck_assert_int_ne(pids[0], pids[5]);
    ck_assert_int_ne(pids[5], pids[10]);
    ck_assert_int_eq(stat_of(pool, "died"), 0);
    pool_end(&pool);
}
END_TEST

/* shows: POOL-23 EXEC-30 */
START_TEST(one_task_a_worker_and_an_early_stop_lose_nothing)
{
    enum { TASKS = 6 };
    mproc_future *futures[TASKS];
    mproc_pool *pool = NULL;
    ck_assert_int_eq(
        mproc_pool_create(
            MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 3, .tasks_per_worker = 1), &pool),
        0);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_square, MPROC_ARGS(i));
    pool_end(&pool);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(result_int(futures[i]), i * i);
}
END_TEST

START_TEST(threads_are_not_replaced)
{
    mproc_pool *pool = NULL;
    ck_assert_int_eq(
        mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = MPROC_START_THREAD, .tasks_per_worker = 1),
                          &pool),
        -EINVAL);
}
END_TEST

static int use_in_child(void *context)
{
    mproc_pool *pool = context;
    mproc_future *future;
    int rc = mproc_pool_submit(pool, task_square, MPROC_ARGS(1), NULL, &future);
    if (rc != -ECHILD || mproc_pool_stop(pool, true, MPROC_NOW, NULL) != -ECHILD)
        return 1;
    mproc_pool_close(&pool);
    return pool != NULL;
}

/* shows: POOL-33 */
START_TEST(a_fork_child_may_not_use_its_parents_pool)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    ck_assert_int_eq(support_reap(support_fork(use_in_child, pool), 5000), 0);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(3))), 9);
    pool_end(&pool);
}
END_TEST

/* shows: POOL-33 POOL-07 */
START_TEST(a_handle_cannot_be_an_argument_of_a_process)
{
    mproc_pool *pool = pool_make(METHOD, 1), *other = pool_make(MPROC_START_THREAD, 1);
    mproc_future *future = NULL;
    int rc = mproc_pool_submit(pool, task_echo, MPROC_ARGS(mproc_handle(other)), NULL, &future);
    ck_assert_int_eq(rc, MPROC_ECANNOTCROSS);
    ck_assert_ptr_null(future);
    ck_assert_ptr_nonnull(mproc_error_of(pool));
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(3))), 9);
    pool_end(&other);
    pool_end(&pool);
}
END_TEST

START_TEST(a_pool_describes_itself)
{
    char text[100];
    mproc_pool *pool = pool_make(MPROC_START_THREAD, 2);
    mproc_describe(pool, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "2 thread workers"));
    ck_assert_int_eq(mproc_type_of(pool), MPROC_TYPE_POOL);
    pool_end(&pool);
    ck_assert_int_eq(mproc_pool_stop(NULL, true, MPROC_NOW, NULL), -EINVAL);
    mproc_pool_close(NULL);
}
END_TEST

static void *make_from_thread(void *context)
{
    mproc_pool **pool = context;
    *pool = NULL;
    (void)!mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = MPROC_START_FORK, .workers = 2), pool);
    return NULL;
}

/* shows: DEATH-9 */
START_TEST(a_pool_outlives_the_thread_that_made_it)
{
    pthread_t thread;
    mproc_pool *pool;
    ck_assert_int_eq(pthread_create(&thread, NULL, make_from_thread, &pool), 0);
    pthread_join(thread, NULL);
    ck_assert_ptr_nonnull(pool);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(i))), i * i);
    pool_end(&pool);
}
END_TEST

START_TEST(a_default_fork_is_refused_beside_other_threads)
{
    mproc_pool *threads = pool_make(MPROC_START_THREAD, 1), *pool = NULL;
    ck_assert_int_eq(mproc_pool_create(NULL, &pool), MPROC_ETHREADS);
    pool = pool_make(MPROC_START_FORK, 1);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(3))), 9);
    pool_end(&pool);
    pool_end(&threads);
}
END_TEST

/* shows: fault loops */
START_TEST(creation_fails_cleanly_at_every_allocation)
{
    for (unsigned n = 1;; n++) {
        mproc_pool *pool = NULL;
        support_fail_allocation(n);
        int rc =
            mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 1, .name = "fault",
                                         .initializer = set_up, .initializer_args = MPROC_ARGS("x")),
                              &pool);
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        if (rc == 0)
            pool_end(&pool);
        if (!failed)
            return;
        ck_assert_msg(rc == 0 || rc == -ENOMEM, "allocation %u: %s %s", n, mproc_errname(rc),
                      mproc_error_text(mproc_last_error()));
    }
}
END_TEST

static int uses_a_pool(mproc_call *call)
{
    char byte;
    mproc_pool *pool;
    mproc_variant squares = mproc_null();
    mproc_start method = (mproc_start)mproc_call_int(call, 0);
    if (read(0, &byte, 1) != 0)
        return 1;
    if (mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = 2, .start = method), &pool) < 0)
        return 2;
    mproc_future *future;
    int rc = mproc_pool_submit(pool, task_square, MPROC_ARGS(7), NULL, &future);
    if (rc == 0) {
        rc = mproc_future_result(future, mproc_after_ms(support_ms(5000)), &squares);
        rc = rc == 0 && mproc_variant_equal(squares, mproc_int(49)) ? 0 : 3;
        mproc_future_close(&future);
    }
    mproc_pool_close(&pool);
    return rc == 0 ? 0 : 4;
}

/* The first start leaves the nursery and the stop words, which live as long as the program. */
static void first_start(void)
{
    mproc_process *process = NULL;
    ck_assert_int_eq(mproc_process_start(task_square, MPROC_ARGS(0),
                                         MPROC_WITH(mproc_process_options, .start = MPROC_START_FORK),
                                         &process),
                     0);
    ck_assert_int_eq(mproc_process_join(process, mproc_after_ms(support_ms(10000)), NULL), 0);
    mproc_process_close(&process);
    support_leaks_begin();
}

/* shows: PROC-22 */
START_TEST(a_child_without_input_has_a_pool_of_its_own)
{
    mproc_process *process = NULL;
    int exit_code = 99;
    first_start();
    int rc = mproc_process_start(uses_a_pool, MPROC_ARGS((int)METHOD),
                                 MPROC_WITH(mproc_process_options, .start = METHOD), &process);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    ck_assert_int_eq(mproc_process_join(process, mproc_after_ms(support_ms(10000)), &exit_code), 0);
    ck_assert_int_eq(exit_code, 0);
    mproc_process_close(&process);
}
END_TEST

static int has_threads_only(mproc_call *call)
{
    mproc_pool *pool = NULL;
    mproc_start start = (mproc_start)mproc_call_int(call, 0);
    int rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = 1, .start = start), &pool);
    if (rc != -EPERM || pool)
        return 1;
    rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = 1, .start = MPROC_START_THREAD), &pool);
    if (rc != 0)
        return 2;
    mproc_pool_close(&pool);
    return 0;
}

START_TEST(a_daemonic_process_may_have_a_pool_of_threads_only)
{
    mproc_process *process = NULL;
    int exit_code = -1;
    first_start();
    int rc =
        mproc_process_start(has_threads_only, MPROC_ARGS((int)METHOD),
                            MPROC_WITH(mproc_process_options, .start = METHOD, .daemon = true), &process);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    ck_assert_int_eq(mproc_process_join(process, mproc_after_ms(support_ms(10000)), &exit_code), 0);
    ck_assert_int_eq(exit_code, 0);
    mproc_process_close(&process);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_task_gives_its_result_by_every_start_method, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_pool_has_the_workers_asked_for, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, the_initializer_runs_in_every_worker_before_its_first_task, METHODS_FIRST,
                        METHODS);
    tcase_add_loop_test(all, a_failing_initializer_is_reported_to_the_creator, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, an_initializer_that_dies_is_reported_to_the_creator, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, workers_are_replaced_after_their_tasks, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, one_task_a_worker_and_an_early_stop_lose_nothing, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_test(all, threads_are_not_replaced);
    tcase_add_loop_test(all, a_fork_child_may_not_use_its_parents_pool, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_handle_cannot_be_an_argument_of_a_process, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_child_without_input_has_a_pool_of_its_own, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_daemonic_process_may_have_a_pool_of_threads_only, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_test(all, a_pool_describes_itself);
    tcase_add_loop_test(all, a_pool_outlives_the_thread_that_made_it, METHODS_FIRST, 1);
    tcase_add_loop_test(all, a_default_fork_is_refused_beside_other_threads, METHODS_FIRST, 1);
    tcase_add_loop_test(all, creation_fails_cleanly_at_every_allocation, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "pool", add);
}
