/* SPDX-License-Identifier: BSD-2-Clause */
/* Ends that nobody waits for, ends with the program, ends from inside. */
#include "platform/base.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "pool/pool_common.h"

static int task_nap(mproc_call *call)
{
    usleep(20000);
    return task_square(call);
}

START_TEST(finishing_does_not_wait_and_loses_nothing)
{
    enum { TASKS = 20 };
    mproc_future *futures[TASKS];
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_nap, MPROC_ARGS(i));
    ck_assert_int_eq(mproc_pool_finish(&pool), 0);
    ck_assert_ptr_null(pool);
    ck_assert_int_lt(mproc_future_get_state(futures[TASKS - 1]), MPROC_FUTURE_DONE);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(result_int(futures[i]), i * i);
    pools_await_gone();
}
END_TEST

START_TEST(what_is_finished_or_closed_is_refused)
{
    mproc_pool *pool = pool_make(METHOD, 1), *other;
    mproc_future *future = NULL;
    ck_assert_int_eq(mproc_pool_finish(NULL), -EINVAL);
    ck_assert_int_eq(mproc_pool_stop(pool, true, mproc_after_ms(support_ms(5000)), NULL), 0);
    ck_assert_int_eq(mproc_pool_finish(&pool), 0);
    pool = other = pool_make(METHOD, 1);
    mproc_variant copy;
    ck_assert_int_eq(mproc_variant_copy(mproc_handle(pool), &copy), 0); /* an owner more */
    ck_assert_int_eq(mproc_pool_finish(&pool), 0);
    ck_assert_int_eq(mproc_pool_submit(other, task_square, MPROC_ARGS(1), NULL, &future), MPROC_ECLOSED);
    mproc_variant_clear(&copy);
    pools_await_gone();
}
END_TEST

/* ---- the program's end; the exit code says what happened ---- */

typedef struct exiting {
    mproc_start start;
    bool finish_at_exit;
    bool finish;
    bool hang;
    int report;
} exiting;

static _Thread_local struct {
    exiting of;
    mproc_future *future;
    mproc_pool *pool;
    int warnings;
} program;

static void hear(mproc_log_level level, const char *text, void *context)
{
    (void)context;
    program.warnings +=
        level == MPROC_LOG_WARNING && strstr(text, "was not closed when the program ended") != NULL;
}

typedef struct told {
    int state, warnings, late;
    int64_t value;
} told;

/* Runs when the pool has ended. */
static int tell(mproc_call *call)
{
    (void)call;
    mproc_variant value;
    mproc_future *late = NULL;
    told of = {
        .state = (int)mproc_future_get_state(program.future), .warnings = program.warnings, .value = -1};
    if (mproc_future_result(program.future, MPROC_NOW, &value) == 0)
        (void)mproc_variant_get_int(value, &of.value);
    if (program.pool)
        of.late = mproc_pool_submit(program.pool, task_square, MPROC_ARGS(1), NULL, &late);
    return write(program.of.report, &of, sizeof of) == sizeof of ? 0 : -EIO;
}

static int program_run(void *context)
{
    program.of = *(const exiting *)context;
    mproc_set_log(hear, MPROC_LOG_WARNING, NULL);
    if (mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = program.of.start, .workers = 2,
                                     .finish_at_exit = program.of.finish_at_exit),
                          &program.pool) < 0)
        return 1;
    if (mproc_pool_submit(program.pool, program.of.hang ? task_until_stopped : task_nap, MPROC_ARGS(9), NULL,
                          &program.future) < 0)
        return 2;
    if (program.of.hang && !support_until(is_running, program.future, 5000))
        return 3;
    if (program.of.finish && mproc_pool_finish(&program.pool) < 0)
        return 4;
    if (mproc_at_exit(tell, MPROC_NONE, 0, NULL) < 0)
        return 5;
    exit(0);
}

static told program_end(exiting of)
{
    int ends[2];
    told heard = {.state = -1};
    ck_assert_int_eq(pipe(ends), 0);
    of.report = ends[1];
    ck_assert_int_eq(support_reap(support_fork(program_run, &of), 10000), 0);
    ck_assert_int_eq(read(ends[0], &heard, sizeof heard), sizeof heard);
    close(ends[0]);
    close(ends[1]);
    pools_await_gone();
    return heard;
}

/* shows: POOL-31 */
START_TEST(a_pool_that_was_not_closed_ends_with_the_program_and_a_warning)
{
    told heard = program_end((exiting){.start = METHOD, .hang = true});
    ck_assert_int_eq(heard.warnings, 1);
    ck_assert_int_eq(heard.state, MPROC_FUTURE_DONE); /* it looked at mproc_call_stopping */
}
END_TEST

/* shows: EXEC-16 */
START_TEST(a_pool_may_finish_its_work_at_the_programs_end)
{
    told heard = program_end((exiting){.start = METHOD, .finish_at_exit = true});
    ck_assert_int_eq(heard.warnings, 0);
    ck_assert_int_eq(heard.value, 81);
    ck_assert_int_eq(heard.late, MPROC_ECLOSED);
}
END_TEST

/* shows: EXEC-13 */
START_TEST(the_program_does_not_end_before_a_pool_that_finishes)
{
    told heard = program_end((exiting){.start = METHOD, .finish = true});
    ck_assert_int_eq(heard.warnings, 0);
    ck_assert_int_eq(heard.value, 81);
}
END_TEST

/* ---- from inside ---- */

static int task_stop(mproc_call *call)
{
    mproc_variant handle = mproc_call_arg(call, 0);
    mproc_pool *pool = mproc_variant_get_handle(handle, MPROC_TYPE_POOL);
    return mproc_pool_stop(pool, true, MPROC_FOREVER, NULL);
}

/* shows: WORK-6 */
START_TEST(a_task_of_threads_may_stop_its_own_pool)
{
    mproc_pool *pool = pool_make(MPROC_START_THREAD, 2);
    mproc_future *others[10], *stops;
    for (int i = 0; i < 5; i++)
        others[i] = submit(pool, task_nap, MPROC_ARGS(i));
    stops = submit(pool, task_stop, MPROC_ARGS(mproc_handle(pool)));
    for (int i = 5; i < 10; i++)
        if (mproc_pool_submit(pool, task_nap, MPROC_ARGS(i), NULL, &others[i]) < 0)
            others[i] = NULL;
    for (int i = 0; i < 10; i++)
        if (others[i])
            ck_assert_int_eq(result_int(others[i]), i * i);
    int rc = result_code(stops);
    ck_assert_msg(rc == 0 || rc == -ECANCELED, "%d", rc);
    mproc_future_close(&stops);
    mproc_pool_close(&pool);
    pools_await_gone();
}
END_TEST

static int task_wait_inner(mproc_call *call)
{
    mproc_pool *pool = mproc_variant_get_handle(mproc_call_arg(call, 0), MPROC_TYPE_POOL);
    mproc_future *inner = NULL;
    int rc = mproc_pool_submit(pool, task_square, MPROC_ARGS(3), NULL, &inner);
    if (rc == 0)
        rc = mproc_future_result(inner, MPROC_FOREVER, NULL);
    mproc_future_close(&inner);
    return rc;
}

static int task_wait_inner_later(mproc_call *call)
{
    mproc_event *all_submitted = mproc_variant_get_handle(mproc_call_arg(call, 1), MPROC_TYPE_EVENT);
    int rc = mproc_event_wait(all_submitted, mproc_after_ms(20000));
    return rc == 0 ? task_wait_inner(call) : rc;
}

/* shows: EXEC-35 */
START_TEST(a_pool_of_threads_that_waits_for_itself_is_told)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        enum { TASKS = 6 };
        mproc_future *futures[TASKS];
        int deadlocks = 0;
        mproc_pool *pool = pool_make(MPROC_START_THREAD, workers);
        mproc_event *all_submitted;
        ck_assert_int_eq(mproc_event_create(NULL, NULL, &all_submitted), 0);
        for (int i = 0; i < TASKS; i++)
            futures[i] = submit(pool, task_wait_inner_later,
                                MPROC_ARGS(mproc_handle(pool), mproc_handle(all_submitted)));
        /* Only now: an inner task that a free worker takes before it is behind the outer ones needs no help. */
        ck_assert_int_eq(mproc_event_set(all_submitted), 0);
        for (int i = 0; i < TASKS; i++) {
            int rc = result_code(futures[i]);
            ck_assert_msg(rc == 0 || rc == -EDEADLK, "%d", rc);
            deadlocks += rc == -EDEADLK;
            mproc_future_close(&futures[i]);
        }
        ck_assert_int_gt(deadlocks, 0);
        mproc_event_close(&all_submitted);
        pool_end(&pool);
    }
}
END_TEST

/* A pool that is not deadlocked is never told it is: one worker waits, the other works. */
START_TEST(a_task_may_wait_for_another_while_somebody_works)
{
    mproc_pool *pool = pool_make(MPROC_START_THREAD, 2);
    for (int i = 0; i < 300; i++) {
        mproc_future *future = submit(pool, task_wait_inner, MPROC_ARGS(mproc_handle(pool)));
        ck_assert_int_eq(result_code(future), 0);
        mproc_future_close(&future);
    }
    pool_end(&pool);
}
END_TEST

static int task_fork(mproc_call *call)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        support_sanitizer_skip();
        exit(0);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return mproc_call_return(call, mproc_int(status));
}

/* shows: EXEC-33 */
START_TEST(a_task_may_fork_and_its_child_ends_in_peace)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *busy = submit(pool, task_until_stopped, MPROC_NONE);
    ck_assert(support_until(is_running, busy, 5000));
    ck_assert_int_eq(result_int(submit(pool, task_fork, MPROC_NONE)), 0);
    ck_assert_int_eq(mproc_pool_stop(pool, false, mproc_after_ms(support_ms(5000)), NULL), 0);
    mproc_future_close(&busy);
    mproc_pool_close(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, finishing_does_not_wait_and_loses_nothing, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, what_is_finished_or_closed_is_refused, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_pool_that_was_not_closed_ends_with_the_program_and_a_warning, METHODS_FIRST,
                        METHODS);
    tcase_add_loop_test(all, a_pool_may_finish_its_work_at_the_programs_end, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, the_program_does_not_end_before_a_pool_that_finishes, METHODS_FIRST, METHODS);
    tcase_add_test(all, a_task_of_threads_may_stop_its_own_pool);
    tcase_add_test(all, a_pool_of_threads_that_waits_for_itself_is_told);
    tcase_add_test(all, a_task_may_wait_for_another_while_somebody_works);
    tcase_add_loop_test(all, a_task_may_fork_and_its_child_ends_in_peace, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "finish", add);
}
