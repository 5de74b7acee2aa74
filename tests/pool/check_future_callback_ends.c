/* SPDX-License-Identifier: BSD-2-Clause */
/* Callbacks of futures where something dies, ends or forks. */
#include "platform/base.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/pool_common.h"

/* ---- deaths and ends ---- */

START_TEST(a_death_calls_back)
{
    int64_t code = 0;
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < 5; i++) {
        mproc_future *future = submit(pool, task_abort, MPROC_NONE);
        on_done(future, note_outcome, &code);
        ck_assert_int_eq(result_code(future), MPROC_EDIED);
        ck_assert_int_eq(code, MPROC_EDIED);
        mproc_future_close(&future);
    }
    pool_end(&pool);
}
END_TEST

/* Nobody waits but the service thread, for several pools at once. */
START_TEST(deaths_in_several_pools_call_back_without_waiters)
{
    enum { POOLS = 4 };
    _Atomic unsigned calls = 0;
    mproc_pool *pools[POOLS];
    mproc_future *futures[POOLS];
    for (int i = 0; i < POOLS; i++) {
        pools[i] = pool_make(METHOD, 1);
        futures[i] = submit(pools[i], i % 2 ? task_abort : task_square, MPROC_ARGS(2));
        on_done(futures[i], count_it, &calls);
    }
    for (int i = 0; i < POOLS; i++)
        ck_assert_int_eq(result_code(futures[i]), i % 2 ? MPROC_EDIED : 0);
    ck_assert_uint_eq(calls, POOLS);
    for (int i = 0; i < POOLS; i++) {
        mproc_future_close(&futures[i]);
        pool_end(&pools[i]);
    }
}
END_TEST

START_TEST(what_a_pool_drops_calls_back)
{
    _Atomic unsigned calls = 0;
    mproc_future *futures[50];
    size_t dropped = 0;
    mproc_pool *pool = pool_make(METHOD, 1);
    for (int i = 0; i < 50; i++) {
        futures[i] = submit(pool, task_until_stopped, MPROC_NONE);
        on_done(futures[i], count_it, &calls);
    }
    ck_assert_int_eq(mproc_pool_stop(pool, false, mproc_after_ms(support_ms(5000)), &dropped), 0);
    for (int i = 0; i < 50; i++) {
        wait_for(futures[i]);
        mproc_future_close(&futures[i]);
    }
    ck_assert_uint_eq(calls, 50);
    mproc_pool_close(&pool);
}
END_TEST

START_TEST(a_closed_pool_calls_back)
{
    int64_t code = 0;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, task_until_stopped, MPROC_NONE);
    on_done(future, note_outcome, &code);
    ck_assert(support_until(is_running, future, 5000));
    mproc_pool_close(&pool);
    wait_for(future);
    ck_assert_int_ne(code, 0);
    mproc_future_close(&future);
}
END_TEST

/* ---- fork and threads ---- */

static int child_uses_pools(void *context)
{
    mproc_future *inherited = context, *future = NULL;
    mproc_pool *pool = NULL;
    _Atomic unsigned calls = 0;
    if (mproc_future_on_done(inherited, count_it, &calls) != -ECHILD || mproc_wait_fd(inherited) != -ECHILD)
        return 1;
    if (mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = MPROC_START_THREAD, .workers = 1), &pool) !=
        0)
        return 2;
    if (mproc_pool_submit(pool, task_square, MPROC_ARGS(3), NULL, &future) != 0 ||
        mproc_future_on_done(future, count_it, &calls) != 0)
        return 3;
    if (mproc_future_wait(future, mproc_after_ms(support_ms(5000))) != 0 || calls != 1)
        return 4;
    mproc_future_close(&future);
    mproc_future_close(&inherited);
    mproc_pool_close(&pool);
    return 0;
}

START_TEST(a_fork_child_has_callbacks_of_its_own)
{
    _Atomic unsigned calls = 0;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, task_until_stopped, MPROC_NONE);
    on_done(future, count_it, &calls);
    pid_t child = support_fork(child_uses_pools, future);
    ck_assert_int_eq(support_reap(child, 20000), 0);
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    wait_for(future);
    ck_assert_uint_eq(calls, 1);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

/* The thread is the library's, not the program's: it does not keep a program from forking. */
START_TEST(the_service_thread_does_not_forbid_forks)
{
    _Atomic unsigned calls = 0;
    mproc_pool *pool = pool_make(MPROC_START_FORK, 1), *second = NULL;
    mproc_future *future = submit(pool, task_until_stopped, MPROC_NONE);
    on_done(future, count_it, &calls);
    ck_assert_int_eq(mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = 1), &second), 0);
    ck_assert_int_eq(result_int(submit(second, task_square, MPROC_ARGS(2))), 4);
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    wait_for(future);
    mproc_future_close(&future);
    pool_end(&second);
    pool_end(&pool);
}
END_TEST

typedef struct crowd {
    mproc_pool *pool;
    _Atomic unsigned calls, added;
    unsigned seed;
} crowd;

static int fork_and_reap(void)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0 ? 0 : -1;
}

static void *crowd_run(void *context)
{
    crowd *of = context;
    unsigned seed = atomic_fetch_add(&of->seed, 1) + 1;
    for (int i = 0; i < 100; i++) {
        mproc_future *future = NULL;
        if (mproc_pool_submit(of->pool, rand_r(&seed) % 8 ? task_square : task_until_stopped, MPROC_ARGS(2),
                              NULL, &future) != 0)
            return (void *)"submit";
        for (int n = rand_r(&seed) % 3; n > 0; n--) {
            atomic_fetch_add(&of->added, 1);
            if (mproc_future_on_done(future, count_it, &of->calls) != 0)
                return (void *)"on_done";
        }
        if (rand_r(&seed) % 16 == 0 && fork_and_reap() < 0)
            return (void *)"fork";
        (void)mproc_future_cancel(future, true);
        if (rand_r(&seed) % 2 && mproc_future_wait(future, mproc_after_ms(support_ms(10000))) != 0)
            return (void *)"wait";
        mproc_future_close(&future);
    }
    return NULL;
}

START_TEST(threads_race_with_callbacks_cancels_closes_and_forks)
{
    pthread_t threads[3];
    crowd all = {.pool = pool_make(METHOD, 2)};
    void *failure;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, crowd_run, &all), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], &failure);
        ck_assert_msg(failure == NULL, "%s", (char *)failure);
    }
    mproc_future *last = submit(all.pool, task_square, MPROC_ARGS(2));
    on_done(last, count_it, &all.calls);
    wait_for(last);
    mproc_future_close(&last);
    pool_end(&all.pool);
    mproc_future *end = NULL;
    ck_assert_int_eq(mproc_future_create(&end), 0);
    on_done(end, count_it, &all.calls);
    ck_assert_int_eq(mproc_future_set_result(end, MPROC_NONE), 0);
    wait_for(end);
    mproc_future_close(&end);
    ck_assert_uint_eq(all.calls, all.added + 2);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_death_calls_back, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, deaths_in_several_pools_call_back_without_waiters, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, what_a_pool_drops_calls_back, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_closed_pool_calls_back, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_fork_child_has_callbacks_of_its_own, METHODS_FIRST, METHODS);
    if (!SUPPORT_THREAD_SANITIZER)
        tcase_add_test(all, the_service_thread_does_not_forbid_forks);
    tcase_add_loop_test(all, threads_race_with_callbacks_cancels_closes_and_forks, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "future_callback_ends", add);
}
