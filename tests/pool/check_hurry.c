/* SPDX-License-Identifier: BSD-2-Clause */
/* A task is left to the worker that spins, and that one is stopped: whoever sleeps for the pool's work has others begin it,
 * in whatever way it waits. */
#include "platform/base.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "pool/pool.h"
#include "pool/pool_common.h"

enum { WORKERS = 2 };

static mproc__pool_shared *shared_of(mproc_pool *pool)
{
    return pool->core->view.shared;
}

static bool is_idle(void *pool)
{
    return atomic_load(&shared_of(pool)->spinner) == 0 && stat_of(pool, "idle") == WORKERS;
}

static pid_t worker_pid(mproc_pool *pool)
{
    return mproc__worker_load(&shared_of(pool)->workers[0]).pid;
}

/* The word is the first worker's from here on, which does not look. The other one sleeps, or does so soon. */
static mproc_pool *stopped_make(mproc_start start, size_t max_queued_tasks)
{
    mproc_pool *pool = NULL;
    int rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = start, .workers = WORKERS,
                                          .max_queued_tasks = max_queued_tasks),
                               &pool);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    ck_assert(support_until(is_idle, pool, 5000));
    ck_assert_int_eq(kill(worker_pid(pool), SIGSTOP), 0);
    ck_assert(support_until(is_idle, pool, 5000));
    return pool;
}

/* Nobody is woken for it. */
static mproc_future *submit_left(mproc_pool *pool)
{
    atomic_store(&shared_of(pool)->spinner, 1);
    return submit(pool, task_square, MPROC_ARGS(3));
}

static void stopped_end(mproc_pool *pool)
{
    ck_assert_int_eq(kill(worker_pid(pool), SIGCONT), 0);
    pool_end(&pool);
}

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(5000));
}

START_TEST(a_result_is_waited_for)
{
    mproc_pool *pool = stopped_make(METHOD, 0);
    mproc_future *future = submit_left(pool);
    ck_assert_int_eq(mproc_future_wait(future, soon()), 0);
    ck_assert_int_eq(result_int(future), 9);
    stopped_end(pool);
}
END_TEST

START_TEST(its_descriptor_is_waited_for)
{
    size_t count = 0;
    mproc_pool *pool = stopped_make(METHOD, 0);
    mproc_future *future = submit_left(pool);
    mproc_wait_item item = {.handle = future};
    ck_assert_int_eq(mproc_wait(&item, 1, MPROC_WAIT_ANY, soon(), &count), 0);
    ck_assert_int_eq(result_int(future), 9);
    stopped_end(pool);
}
END_TEST

static bool is_counted(void *calls)
{
    return atomic_load((_Atomic unsigned *)calls) == 1;
}

START_TEST(its_callback_is_waited_for)
{
    _Atomic unsigned calls = 0;
    mproc_pool *pool = stopped_make(METHOD, 0);
    mproc_future *future = submit_left(pool);
    on_done(future, count_it, &calls);
    ck_assert(support_until(is_counted, &calls, 5000));
    ck_assert_int_eq(result_int(future), 9);
    stopped_end(pool);
}
END_TEST

START_TEST(its_place_is_waited_for)
{
    mproc_future *second = NULL;
    mproc_pool *pool = stopped_make(METHOD, 1);
    mproc_future *first = submit_left(pool);
    ck_assert_int_eq(mproc_pool_submit(pool, task_square, MPROC_ARGS(2),
                                       MPROC_WITH(mproc_task_options, .submit_deadline = soon()), &second),
                     0);
    ck_assert_int_eq(result_int(first), 9);
    ck_assert_int_eq(result_int(second), 4);
    stopped_end(pool);
}
END_TEST

/* The stopped worker has to leave, too: once the task is done it may. */
START_TEST(the_end_of_all_work_is_waited_for)
{
    mproc_pool *pool = stopped_make(METHOD, 0);
    pid_t pid = worker_pid(pool);
    mproc_future *future = submit_left(pool);
    size_t dropped = 0;
    (void)mproc_pool_stop(pool, true, mproc_after_ms(support_ms(1000)), &dropped);
    ck_assert_uint_eq(dropped, 0);
    ck_assert_int_eq(result_int(future), 9);
    (void)kill(pid, SIGCONT);
    mproc_pool_close(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_result_is_waited_for, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, its_descriptor_is_waited_for, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, its_callback_is_waited_for, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, its_place_is_waited_for, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, the_end_of_all_work_is_waited_for, METHODS_FIRST, METHODS_OF_PROCESSES);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "hurry", add);
}
