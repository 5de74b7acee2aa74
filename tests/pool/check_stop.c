/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a pool, with work of every kind still there. */
#include "platform/base.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/platform.h"
#include "pool/pool_common.h"

/* shows: POOL-19 POOL-21 EXEC-11 EXEC-12 */
START_TEST(draining_finishes_what_was_accepted_and_refuses_the_rest)
{
    enum { TASKS = 50 };
    mproc_future *futures[TASKS], *late = NULL;
    size_t dropped = 77;
    int value = 1;
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_square, MPROC_ARGS(i));
    ck_assert_int_eq(mproc_pool_stop(pool, true, mproc_after_ms(support_ms(10000)), &dropped), 0);
    ck_assert_uint_eq(dropped, 0);
    ck_assert_int_eq(mproc_pool_submit(pool, task_square, MPROC_ARGS(1), NULL, &late), MPROC_ECLOSED);
    ck_assert_int_eq(
        mproc_pool_map(pool, (mproc_map_fn *)(void (*)(void))task_square, &value, 4, &value, 4, 1, NULL),
        MPROC_ECLOSED);
    ck_assert_int_eq(mproc_pool_stop(pool, true, mproc_after_ms(1000), &dropped), 0);
    mproc_pool_close(&pool);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(result_int(futures[i]), i * i);
}
END_TEST

/* shows: EXEC-14 */
START_TEST(without_draining_the_pending_are_cancelled_and_counted)
{
    enum { TASKS = 50 };
    mproc_future *futures[TASKS];
    size_t dropped = 0, cancelled = 0;
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_until_stopped, MPROC_NONE);
    ck_assert(support_until(is_running, futures[0], 5000));
    ck_assert(support_until(is_running, futures[1], 5000));
    ck_assert_int_eq(mproc_pool_stop(pool, false, mproc_after_ms(support_ms(5000)), &dropped), 0);
    for (int i = 0; i < TASKS; i++) {
        mproc_future_state state = mproc_future_get_state(futures[i]);
        ck_assert_int_eq(state, i < 2 ? MPROC_FUTURE_DONE : MPROC_FUTURE_CANCELLED);
        cancelled += state == MPROC_FUTURE_CANCELLED;
        mproc_future_close(&futures[i]);
    }
    ck_assert_uint_eq(dropped, cancelled);
    mproc_pool_close(&pool);
}
END_TEST

/* shows: POOL-20 EXEC-32 WORK-6 */
START_TEST(ten_thousand_long_tasks_are_ended_at_once)
{
    enum { TASKS = 10000 };
    mproc_future **futures = calloc(TASKS, sizeof *futures);
    size_t dropped = 0;
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_hang, MPROC_NONE);
    ck_assert(support_until(is_running, futures[0], 5000));
    int64_t began = mproc__now_ns();
    ck_assert_int_eq(mproc_pool_stop(pool, true, mproc_after_ms(50), &dropped), 0);
    ck_assert_int_lt((mproc__now_ns() - began) / 1000000, support_ms(1000));
    ck_assert_uint_eq(dropped, TASKS);
    mproc_pool_close(&pool);
    for (int i = 0; i < TASKS; i++) {
        ck_assert_int_eq(result_code(futures[i]), -ECANCELED);
        mproc_future_close(&futures[i]);
    }
    free(futures);
}
END_TEST

/* shows: WORK-6 */
START_TEST(closing_stops_what_looks_and_kills_what_does_not)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *looks = submit(pool, task_until_stopped, MPROC_NONE);
    ck_assert(support_until(is_running, looks, 5000));
    mproc_pool_close(&pool);
    ck_assert_int_eq(mproc_future_get_state(looks), MPROC_FUTURE_DONE);
    mproc_future_close(&looks);
    pool = pool_make(METHOD, 2);
    mproc_future *hangs = submit(pool, task_hang, MPROC_NONE);
    ck_assert(support_until(is_running, hangs, 5000));
    mproc_pool_close(&pool);
    ck_assert_int_eq(mproc_future_get_state(hangs), MPROC_FUTURE_CANCELLED);
    mproc_future_close(&hangs);
}
END_TEST

static _Atomic bool thread_go_on;

static int task_stubborn(mproc_call *call)
{
    (void)call;
    while (!thread_go_on)
        usleep(500);
    return 0;
}

static bool thread_gone(void *unused)
{
    char left[1000];
    (void)unused;
    return support_leaks_find(left, sizeof left) == 0;
}

/* shows: WORK-6 */
START_TEST(a_thread_that_does_not_look_is_reported_and_not_waited_for)
{
    mproc_pool *pool = pool_make(MPROC_START_THREAD, 2);
    mproc_future *future = submit(pool, task_stubborn, MPROC_NONE);
    ck_assert(support_until(is_running, future, 5000));
    ck_assert_int_eq(mproc_pool_stop(pool, false, mproc_after_ms(20), NULL), -EBUSY);
    ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_CANCELLED);
    mproc_future_close(&future);
    mproc_pool_close(&pool);
    thread_go_on = true;
    ck_assert(support_until(thread_gone, NULL, 5000));
}
END_TEST

typedef struct stopper {
    mproc_pool *pool;
    size_t dropped;
    int code, refused;
    _Atomic bool go;
} stopper;

static int task_stop(mproc_call *call)
{
    stopper *of = (stopper *)mproc_call_arg(call, 0).data;
    mproc_future *late = NULL;
    while (!of->go)
        usleep(500);
    of->code = mproc_pool_stop(of->pool, true, MPROC_FOREVER, &of->dropped);
    of->refused = mproc_pool_submit(of->pool, task_square, MPROC_ARGS(3), NULL, &late);
    mproc_future_close(&late);
    return 0;
}

/* All the others are done before it says so, and the pool goes on. */
START_TEST(what_comes_after_the_task_that_stops_is_not_waited_for)
{
    mproc_future *follower, *last, *first;
    stopper of = {.pool = pool_make(MPROC_START_THREAD, 2), .dropped = 77, .code = 1, .refused = 1};
    mproc_future *own = submit(of.pool, task_stop, MPROC_ARGS(mproc_pointer(&of)));
    first = submit(of.pool, task_square, MPROC_ARGS(4));
    ck_assert_int_eq(mproc_pool_submit(of.pool, task_square, MPROC_ARGS(5),
                                       MPROC_WITH(mproc_task_options, .after = &own, .after_count = 1),
                                       &follower),
                     0);
    ck_assert_int_eq(mproc_pool_submit(of.pool, task_square, MPROC_ARGS(6),
                                       MPROC_WITH(mproc_task_options, .after = &follower, .after_count = 1),
                                       &last),
                     0);
    of.go = true;
    ck_assert_int_eq(result_code(own), 0);
    ck_assert_int_eq(of.code, -EDEADLK);
    ck_assert_uint_eq(of.dropped, 0);
    ck_assert_int_eq(of.refused, 0);
    ck_assert_int_eq(result_int(first), 16);
    ck_assert_int_eq(result_int(follower), 25);
    ck_assert_int_eq(result_int(last), 36);
    mproc_future_close(&own);
    pool_end(&of.pool);
}
END_TEST

static int item_slow(mproc_call *call, const void *in, void *out)
{
    (void)call;
    (void)in;
    usleep(2000);
    *(char *)out = 1;
    return 0;
}

START_TEST(a_map_is_drained_or_cancelled)
{
    enum { COUNT = 20 };
    char in[COUNT] = {0}, out[COUNT] = {0};
    mproc_future *future;
    for (int drain = 1; drain >= 0; drain--) {
        mproc_pool *pool = pool_make(METHOD, 2);
        memset(out, 0, sizeof out);
        ck_assert_int_eq(mproc_pool_map_start(pool, item_slow, in, 1, out, 1, COUNT,
                                              MPROC_WITH(mproc_map_options, .chunk = 1), &future),
                         0);
        ck_assert_int_eq(
            mproc_pool_stop(pool, drain, drain ? mproc_after_ms(support_ms(5000)) : MPROC_NOW, NULL), 0);
        ck_assert_int_eq(mproc_future_get_state(future), drain ? MPROC_FUTURE_DONE : MPROC_FUTURE_CANCELLED);
        for (int i = 0; i < COUNT && drain; i++)
            ck_assert_int_eq(out[i], 1);
        mproc_future_close(&future);
        mproc_pool_close(&pool);
    }
}
END_TEST

static void *stop_now(void *pool)
{
    return (void *)(intptr_t)mproc_pool_stop(pool, false, mproc_after_ms(support_ms(5000)), NULL);
}

START_TEST(two_threads_may_stop_it)
{
    pthread_t threads[2];
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *future = submit(pool, task_until_stopped, MPROC_NONE);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, stop_now, pool), 0);
    for (int i = 0; i < 2; i++) {
        void *rc;
        pthread_join(threads[i], &rc);
        ck_assert_ptr_null(rc);
    }
    mproc_future_close(&future);
    mproc_pool_close(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, draining_finishes_what_was_accepted_and_refuses_the_rest, METHODS_FIRST,
                        METHODS);
    tcase_add_loop_test(all, without_draining_the_pending_are_cancelled_and_counted, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, ten_thousand_long_tasks_are_ended_at_once, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, closing_stops_what_looks_and_kills_what_does_not, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_test(all, a_thread_that_does_not_look_is_reported_and_not_waited_for);
    tcase_add_test(all, what_comes_after_the_task_that_stops_is_not_waited_for);
    tcase_add_loop_test(all, a_map_is_drained_or_cancelled, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, two_threads_may_stop_it, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "stop", add);
}
