/* SPDX-License-Identifier: BSD-2-Clause */
/* Futures: states, waiting, results, failures with their stories, cancelling. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool_common.h"

/* shows: POOL-15 POOL-16 FUT-03 EXEC-24 */
START_TEST(a_result_can_be_waited_for_again_and_again)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, task_progress, MPROC_NONE);
    mproc_variant value;
    ck_assert_int_eq(mproc_future_result(future, MPROC_NOW, &value), -ETIMEDOUT);
    ck_assert_int_eq(mproc_future_wait(future, mproc_after_ms(20)), -ETIMEDOUT);
    ck_assert(support_until(is_running, future, 5000));
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    ck_assert_int_eq(result_code(future), -ECANCELED);
    ck_assert_int_eq(result_code(future), -ECANCELED);
    mproc_future_close(&future);
    future = submit(pool, task_square, MPROC_ARGS(5));
    for (int i = 0; i < 3; i++) {
        int64_t number;
        ck_assert_int_eq(mproc_future_result(future, mproc_after_ms(support_ms(5000)), &value), 0);
        ck_assert_int_eq(mproc_variant_get_int(value, &number), 0);
        ck_assert_int_eq(number, 25);
    }
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

static bool three_done(void *future)
{
    uint64_t done = 0, total = 0;
    return mproc_future_progress(future, &done, &total) == 0 && done == 3 && total == 10;
}

/* shows: FUT-01 FUT-02 */
START_TEST(states_follow_the_task)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *running = submit(pool, task_progress, MPROC_NONE),
                 *pending = submit(pool, task_square, MPROC_ARGS(2));
    ck_assert(support_until(is_running, running, 5000));
    ck_assert(support_until(three_done, running, 5000));
    ck_assert_int_eq(mproc_future_get_state(pending), MPROC_FUTURE_PENDING);
    ck_assert_int_eq(mproc_future_cancel(running, false), -EBUSY);
    ck_assert_int_eq(mproc_future_get_state(running), MPROC_FUTURE_RUNNING);
    ck_assert_int_eq(mproc_future_cancel(pending, false), 0);
    ck_assert_int_eq(mproc_future_get_state(pending), MPROC_FUTURE_CANCELLED);
    ck_assert_int_eq(mproc_future_cancel(pending, false), 0);
    ck_assert_int_eq(result_code(pending), -ECANCELED);
    ck_assert_int_eq(mproc_future_cancel(running, true), 0);
    ck_assert_int_eq(result_code(running), -ECANCELED);
    mproc_future_close(&running);
    mproc_future_close(&pending);
    running = submit(pool, task_fail, MPROC_NONE);
    ck_assert_int_eq(result_code(running), -ERANGE);
    ck_assert_int_eq(mproc_future_get_state(running), MPROC_FUTURE_FAILED);
    ck_assert_int_eq(mproc_future_cancel(running, true), MPROC_ESTATE);
    ck_assert_int_eq(mproc_future_get_state(running), MPROC_FUTURE_FAILED);
    mproc_future_close(&running);
    pool_end(&pool);
}
END_TEST

/* shows: POOL-06 EXEC-24 */
START_TEST(a_failure_tells_its_story)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = NULL;
    int64_t task = 0;
    ck_assert_int_eq(mproc_pool_submit(pool, task_fail, MPROC_NONE,
                                       MPROC_WITH(mproc_task_options, .label = "size"), &future),
                     0);
    ck_assert_int_eq(result_code(future), -ERANGE);
    const mproc_error *story = mproc_error_of(future);
    ck_assert_int_eq(mproc_error_code(story), -ERANGE);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(story), "too big"));
    ck_assert_ptr_nonnull(strstr(mproc_error_text(story), "size"));
    ck_assert_int_eq(mproc_error_number(story, MPROC_ERROR_TASK, &task), 0);
    ck_assert_int_eq(task, 1);
    mproc_future_close(&future);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(4))), 16);
    pool_end(&pool);
}
END_TEST

static int task_wrong_argument(mproc_call *call)
{
    return (int)mproc_call_int(call, 3) * 0;
}

START_TEST(a_missing_argument_is_named)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, task_wrong_argument, MPROC_ARGS("x"));
    ck_assert_int_eq(result_code(future), MPROC_EARGUMENT);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(future)), "argument 3"));
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

static int task_return_handle(mproc_call *call)
{
    mproc_pool *pool = NULL;
    int rc =
        mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = MPROC_START_THREAD, .workers = 1), &pool);
    if (rc == 0)
        rc = mproc_call_return(call, mproc_handle(pool));
    mproc_pool_close(&pool);
    return rc;
}

/* shows: POOL-08 WORK-4 */
START_TEST(a_result_that_cannot_be_carried_fails_its_future_alone)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < 20; i++) {
        mproc_future *future = submit(pool, task_return_handle, MPROC_NONE);
        ck_assert_int_eq(result_code(future), MPROC_ECANNOTCROSS);
        mproc_future_close(&future);
    }
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(4))), 16);
    ck_assert_int_eq(stat_of(pool, "died"), 0);
    pool_end(&pool);
}
END_TEST

START_TEST(results_of_any_size_come_back)
{
    static const int sizes[] = {0, 1, 180, 200, 4000, 5000, 100000, 3000000};
    mproc_pool *pool = pool_make(METHOD, 2);
    for (size_t i = 0; i < MPROC__COUNT(sizes); i++) {
        mproc_future *future = submit(pool, task_large, MPROC_ARGS(sizes[i]));
        mproc_variant value;
        size_t size = 1;
        ck_assert_int_eq(mproc_future_result(future, mproc_after_ms(support_ms(5000)), &value), 0);
        const char *bytes = mproc_variant_get_bytes(value, &size);
        ck_assert_uint_eq(size, sizes[i]);
        size_t wrong = 0;
        for (size_t k = 0; k < size; k++)
            wrong += bytes[k] != 'x';
        ck_assert_uint_eq(wrong, 0);
        mproc_future_close(&future);
    }
    pool_end(&pool);
}
END_TEST

/* shows: POOL-29 EXEC-21 EXEC-22 DEATH-6 */
START_TEST(a_death_fails_the_task_it_ran_and_says_why)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *future = submit(pool, task_abort, MPROC_NONE);
    int64_t number = 0;
    ck_assert_int_eq(result_code(future), MPROC_EDIED);
    ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_FAILED);
    const mproc_error *story = mproc_error_of(future);
    ck_assert_int_eq(mproc_error_number(story, MPROC_ERROR_SIGNAL, &number), 0);
    ck_assert_int_eq(number, SIGABRT);
    ck_assert_int_eq(mproc_error_number(story, MPROC_ERROR_PID, &number), 0);
    ck_assert_int_gt(number, 1);
    ck_assert_int_eq(mproc_error_number(story, MPROC_ERROR_ATTEMPT, &number), 0);
    ck_assert_int_eq(number, 1);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(story), "signal 6"));
    mproc_future_close(&future);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(i))), i * i);
    pool_end(&pool);
}
END_TEST

/* shows: EXEC-23 */
START_TEST(a_task_that_calls_exit_is_a_death)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    for (int code = 0; code < 4; code += 3) {
        mproc_future *future = submit(pool, task_exit, MPROC_ARGS(code));
        int64_t number = -1;
        ck_assert_int_eq(result_code(future), MPROC_EDIED);
        ck_assert_int_eq(mproc_error_number(mproc_error_of(future), MPROC_ERROR_EXIT_CODE, &number), 0);
        ck_assert_int_eq(number, code);
        mproc_future_close(&future);
    }
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(4))), 16);
    pool_end(&pool);
}
END_TEST

static void *cancel_soon(void *future)
{
    support_until(is_running, future, 5000);
    (void)mproc_future_cancel(future, true);
    return NULL;
}

/* shows: FUT-04 */
START_TEST(a_blocked_result_wakes_when_another_thread_cancels)
{
    pthread_t thread;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, task_until_stopped, MPROC_NONE);
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_soon, future), 0);
    ck_assert_int_eq(result_code(future), -ECANCELED);
    pthread_join(thread, NULL);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

/* shows: FUT-18 */
START_TEST(a_dropped_future_leaves_its_task_running)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    for (int i = 0; i < 200; i++) {
        mproc_future *future = submit(pool, task_large, MPROC_ARGS(5000));
        mproc_future_close(&future);
    }
    pool_end(&pool);
}
END_TEST

START_TEST(futures_outlive_their_pool)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *done = submit(pool, task_square, MPROC_ARGS(6)), *never = NULL;
    ck_assert_int_eq(mproc_future_wait(done, mproc_after_ms(support_ms(5000))), 0);
    never = submit(pool, task_until_stopped, MPROC_NONE);
    mproc_pool_close(&pool);
    ck_assert(is_finished(never));
    mproc_future_close(&never);
    ck_assert_int_eq(result_int(done), 36);
}
END_TEST

/* shows: FUT-11 */
START_TEST(a_future_describes_itself)
{
    char text[100];
    mproc_pool *pool = pool_make(MPROC_START_THREAD, 1);
    mproc_future *future = submit(pool, task_fail, MPROC_NONE);
    ck_assert_int_eq(result_code(future), -ERANGE);
    mproc_describe(future, text, sizeof text);
    ck_assert_str_eq(text, "future 1 failed (ERANGE)");
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_result_can_be_waited_for_again_and_again, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, states_follow_the_task, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_failure_tells_its_story, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_missing_argument_is_named, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_result_that_cannot_be_carried_fails_its_future_alone, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, results_of_any_size_come_back, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_death_fails_the_task_it_ran_and_says_why, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_task_that_calls_exit_is_a_death, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_blocked_result_wakes_when_another_thread_cancels, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_dropped_future_leaves_its_task_running, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, futures_outlive_their_pool, METHODS_FIRST, METHODS);
    tcase_add_test(all, a_future_describes_itself);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "future", add);
}
