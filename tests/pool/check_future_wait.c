/* SPDX-License-Identifier: BSD-2-Clause */
/* Futures in mproc_wait and in sets, and their descriptors. */
#include "platform/base.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool_common.h"

static mproc_future *made(void)
{
    mproc_future *future = NULL;
    ck_assert_int_eq(mproc_future_create(&future), 0);
    return future;
}

static void make_all(mproc_future **futures, size_t count)
{
    for (size_t i = 0; i < count; i++)
        futures[i] = made();
}

static void close_all(mproc_future **futures, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mproc_future_close(&futures[i]);
}

static void set_done(mproc_future *future)
{
    ck_assert_int_eq(mproc_future_set_result(future, MPROC_V(1)), 0);
}

static void set_failed(mproc_future *future)
{
    ck_assert_int_eq(mproc_future_set_failed(future, -EIO, "no"), 0);
}

static int wait_mode(mproc_future **futures, size_t count, mproc_wait_mode mode, int limit_ms,
                     size_t *ret_ready)
{
    mproc_wait_item items[8];
    for (size_t i = 0; i < count; i++)
        items[i] = (mproc_wait_item){.handle = futures[i]};
    int rc = mproc_wait(items, count, mode, mproc_after_ms(limit_ms), ret_ready);
    for (size_t i = 0; i < count && (rc == 0 || rc == -ETIMEDOUT); i++)
        ck_assert_int_eq(items[i].ready != 0, is_finished(futures[i]));
    return rc;
}

/* shows: FUT-12 */
START_TEST(all_are_waited_for_whoever_ends_them)
{
    size_t ready = 0;
    mproc_pool *processes = pool_make(METHOD, 1), *threads = pool_make(MPROC_START_THREAD, 1);
    mproc_future *f[] = {submit(processes, task_square, MPROC_ARGS(2)),
                         submit(threads, task_square, MPROC_ARGS(3)),
                         made(),
                         made(),
                         submit(processes, task_fail, MPROC_NONE),
                         NULL};
    f[5] = mproc_keep(f[2]); /* the same twice */
    ck_assert_int_eq(mproc_future_cancel(f[3], false), 0);
    set_done(f[2]);
    ck_assert_int_eq(wait_mode(f, 6, MPROC_WAIT_ALL, support_ms(10000), &ready), 0);
    ck_assert_uint_eq(ready, 6);
    ck_assert_int_eq(wait_mode(f, 6, MPROC_WAIT_ALL, 0, &ready), 0);
    close_all(f, 6);
    pool_end(&threads);
    pool_end(&processes);
}
END_TEST

static int stay(mproc_future *future, void *context)
{
    (void)future;
    mproc_future *gate = context;
    return mproc_future_wait(gate, mproc_after_ms(support_ms(10000)));
}

/* shows: FUT-13 */
START_TEST(the_first_end_is_enough)
{
    size_t ready = 0;
    mproc_future *f[3], *gate = made();
    make_all(f, 3);
    ck_assert_int_eq(wait_mode(f, 3, MPROC_WAIT_ANY, 10, &ready), -ETIMEDOUT);
    ck_assert_uint_eq(ready, 0);
    /* Cancelled, but nobody may know yet: its callback runs. */
    ck_assert_int_eq(mproc_future_on_done(f[2], stay, gate), 0);
    ck_assert_int_eq(mproc_future_cancel(f[2], false), 0);
    ck_assert_int_eq(wait_mode(f, 3, MPROC_WAIT_ANY, 10, &ready), -ETIMEDOUT);
    set_done(f[1]);
    ck_assert_int_eq(wait_mode(f, 3, MPROC_WAIT_ANY, support_ms(10000), &ready), 0);
    ck_assert_uint_eq(ready, 1);
    ck_assert(is_finished(f[1]));
    set_done(gate);
    ck_assert_int_eq(mproc_future_wait(f[2], mproc_after_ms(support_ms(10000))), 0);
    ck_assert_int_eq(wait_mode(f, 3, MPROC_WAIT_ANY, 0, &ready), 0);
    ck_assert_uint_eq(ready, 2);
    close_all(f, 3);
    mproc_future_close(&gate);
}
END_TEST

static void *fail_second(void *context)
{
    mproc_future **f = context;
    (void)mproc_future_cancel(f[0], false);
    (void)mproc_future_set_failed(f[1], -EIO, "no");
    return NULL;
}

/* shows: FUT-14 */
START_TEST(the_first_failure_is_enough)
{
    size_t ready = 0;
    pthread_t thread;
    mproc_future *f[3];
    make_all(f, 3);
    ck_assert_int_eq(pthread_create(&thread, NULL, fail_second, f), 0);
    ck_assert_int_eq(wait_mode(f, 3, MPROC_WAIT_FIRST_FAILURE, support_ms(10000), &ready), 0);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(ready, 2); /* the cancelled one as well, which alone would not have been enough */
    ck_assert_int_eq(wait_mode(f, 3, MPROC_WAIT_FIRST_FAILURE, 0, &ready), 0);
    ck_assert_int_eq(wait_mode((mproc_future *[]){f[0], f[2]}, 2, MPROC_WAIT_FIRST_FAILURE, 0, &ready),
                     -ETIMEDOUT);
    ck_assert_uint_eq(ready, 1);
    set_done(f[2]);
    ck_assert_int_eq(wait_mode((mproc_future *[]){f[0], f[2]}, 2, MPROC_WAIT_FIRST_FAILURE, 0, &ready), 0);
    ck_assert_uint_eq(ready, 2);
    close_all(f, 3);
}
END_TEST

/* shows: FUT-14 */
START_TEST(a_failing_task_ends_the_wait_for_the_others)
{
    size_t ready = 0;
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *f[] = {submit(pool, task_until_stopped, MPROC_NONE), submit(pool, task_fail, MPROC_NONE)};
    ck_assert_int_eq(wait_mode(f, 2, MPROC_WAIT_FIRST_FAILURE, support_ms(10000), &ready), 0);
    ck_assert_uint_eq(ready, 1);
    ck_assert(is_finished(f[1]));
    ck_assert_int_eq(mproc_future_cancel(f[0], true), 0);
    close_all(f, 2);
    pool_end(&pool);
}
END_TEST

/* shows: FUT-15 */
START_TEST(a_deadline_tells_both_sets)
{
    size_t ready = 0;
    mproc_future *f[5];
    make_all(f, 5);
    set_done(f[1]);
    set_failed(f[3]);
    ck_assert_int_eq(wait_mode(f, 5, MPROC_WAIT_ALL, 20, &ready), -ETIMEDOUT);
    ck_assert_uint_eq(ready, 2);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "3 of 5"));
    ck_assert_int_eq(wait_mode(f, 5, (mproc_wait_mode)17, 0, &ready), -EINVAL);
    close_all(f, 5);
}
END_TEST

/* All end in the moment in which the wait begins. shows: FUT-15 */
START_TEST(a_hundred_that_end_at_once_are_all_seen)
{
    enum { MANY = 100 };
    static mproc_future *futures[MANY];
    mproc_wait_item items[MANY];
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int round = 0; round < 3; round++) {
        size_t ready = 0;
        for (int i = 0; i < MANY; i++) {
            futures[i] = submit(pool, task_square, MPROC_ARGS(i));
            items[i] = (mproc_wait_item){.handle = futures[i]};
        }
        ck_assert_int_eq(mproc_wait(items, MANY, MPROC_WAIT_ALL, mproc_after_ms(support_ms(10000)), &ready),
                         0);
        ck_assert_uint_eq(ready, MANY);
        for (int i = 0; i < MANY; i++)
            ck_assert_int_eq(result_int(futures[i]), i * i);
    }
    pool_end(&pool);
}
END_TEST

/* ---- one after the other ---- */

/* shows: FUT-16 */
START_TEST(a_set_gives_futures_as_they_end)
{
    mproc_ready ready;
    mproc_waitset *set = NULL;
    mproc_pool *pool = pool_make(METHOD, 3);
    mproc_future *done = submit(pool, task_square, MPROC_ARGS(1)), *dropped = made(), *late = made(),
                 *early = made();
    ck_assert_int_eq(mproc_future_wait(done, mproc_after_ms(support_ms(10000))), 0);
    ck_assert_int_eq(mproc_future_cancel(dropped, false), 0);
    mproc_future *all[] = {late, early, done, dropped, late, done, late};
    ck_assert_int_eq(mproc_waitset_create(&set), 0);
    for (size_t i = 0; i < MPROC__COUNT(all); i++)
        ck_assert_int_eq(mproc_waitset_add(set, all[i], all[i]), i < 4 ? 0 : -EEXIST);
    mproc_future *order[4];
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(mproc_waitset_next(set, mproc_after_ms(support_ms(10000)), &ready), 0);
        ck_assert_ptr_eq(ready.handle, ready.context);
        ck_assert(is_finished(ready.handle));
        order[i] = ready.handle;
        if (i == 1 || i == 2) /* the next end, once the one before was told */
            ck_assert_int_eq(mproc_future_set_result(i == 1 ? early : late, MPROC_V(i)), 0);
    }
    ck_assert_int_eq(mproc_waitset_next(set, MPROC_FOREVER, &ready), MPROC_EEND);
    ck_assert((order[0] == done && order[1] == dropped) || (order[0] == dropped && order[1] == done));
    ck_assert_ptr_eq(order[2], early);
    ck_assert_ptr_eq(order[3], late);
    mproc_waitset_close(&set);
    close_all((mproc_future *[]){done, dropped, late, early}, 4);
    pool_end(&pool);
}
END_TEST

/* shows: FUT-17 */
START_TEST(a_set_tells_how_many_have_not_ended)
{
    static const int limits_ms[] = {0, 100};
    for (size_t n = 0; n < MPROC__COUNT(limits_ms); n++) {
        mproc_ready ready;
        mproc_waitset *set = NULL;
        mproc_future *f[3];
        make_all(f, 3);
        ck_assert_int_eq(mproc_waitset_create(&set), 0);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(mproc_waitset_add(set, f[i], NULL), 0);
        set_done(f[1]);
        ck_assert_int_eq(mproc_waitset_next(set, mproc_after_ms(limits_ms[n]), &ready), 0);
        ck_assert_ptr_eq(ready.handle, f[1]);
        ck_assert_int_eq(mproc_waitset_next(set, mproc_after_ms(limits_ms[n]), &ready), -ETIMEDOUT);
        ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "2 of 3"));
        set_done(f[0]);
        set_done(f[2]);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(mproc_waitset_next(set, mproc_after_ms(support_ms(5000)), &ready), 0);
        ck_assert_int_eq(mproc_waitset_next(set, MPROC_FOREVER, &ready), MPROC_EEND);
        mproc_waitset_close(&set);
        close_all(f, 3);
    }
}
END_TEST

/* What has been given out is the user's alone: closing it frees it. shows: FUT-18 */
START_TEST(a_set_keeps_nothing_of_what_it_gave)
{
    mproc_ready ready;
    mproc_waitset *set = NULL;
    mproc_future *future = made();
    ck_assert_int_eq(mproc_waitset_create(&set), 0);
    ck_assert_int_eq(mproc_waitset_add(set, future, NULL), 0);
    set_done(future);
    ck_assert_int_eq(mproc_waitset_next(set, MPROC_NOW, &ready), 0);
    int fd = mproc_wait_fd(future);
    mproc_future_close(&future);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    mproc_waitset_close(&set);
}
END_TEST

/* ---- descriptors ---- */

static bool readable(int fd, int limit_ms)
{
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, limit_ms) == 1;
}

/* shows: WAIT-1 */
START_TEST(a_descriptor_is_readable_from_the_end_on)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, task_until_stopped, MPROC_NONE);
    int fd = mproc_wait_fd(future);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(mproc_wait_fd(future), fd);
    ck_assert(!readable(fd, 0));
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    ck_assert(readable(fd, support_ms(10000)));
    ck_assert_int_eq(mproc_future_result(future, MPROC_NOW, NULL), -ECANCELED);
    ck_assert(readable(fd, 0));
    mproc_future_close(&future);
    future = submit(pool, task_square, MPROC_ARGS(2));
    ck_assert_int_eq(mproc_future_wait(future, mproc_after_ms(support_ms(10000))), 0);
    ck_assert(readable(mproc_wait_fd(future), 0));
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

START_TEST(a_death_makes_the_descriptor_readable)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    for (int i = 0; i < 3; i++) {
        mproc_future *future = submit(pool, task_abort, MPROC_NONE);
        int fd = mproc_wait_fd(future);
        ck_assert(readable(fd, support_ms(10000)));
        ck_assert_int_eq(mproc_future_result(future, MPROC_NOW, NULL), MPROC_EDIED);
        mproc_future_close(&future);
    }
    pool_end(&pool);
}
END_TEST

START_TEST(a_polled_future_may_be_closed_at_any_time)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    for (int i = 0; i < 200; i++) {
        mproc_future *future = submit(pool, task_square, MPROC_ARGS(i));
        ck_assert_int_ge(mproc_wait_fd(future), 0);
        if (i % 3 == 0)
            (void)mproc_future_cancel(future, true);
        mproc_future_close(&future);
    }
    pool_end(&pool);
}
END_TEST

START_TEST(callbacks_run_before_the_descriptor_is_readable)
{
    mproc_future *future = made(), *gate = made();
    ck_assert_int_eq(mproc_future_on_done(future, stay, gate), 0);
    int fd = mproc_wait_fd(future);
    set_done(future);
    ck_assert(!readable(fd, 20));
    set_done(gate);
    ck_assert(readable(fd, support_ms(10000)));
    close_all((mproc_future *[]){future, gate}, 2);
}
END_TEST

static int nothing(mproc_call *call)
{
    (void)call;
    return 0;
}

/* What the program keeps for its children until its end is made before the hunt for leaks. */
static void children_begin(void)
{
    mproc_process *process = NULL;
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE,
                                         MPROC_WITH(mproc_process_options, .start = MPROC_START_THREAD),
                                         &process),
                     0);
    ck_assert_int_eq(mproc_process_join(process, mproc_after_ms(support_ms(5000)), NULL), 0);
    mproc_process_close(&process);
    support_leaks_begin();
}

START_TEST(futures_mix_with_anything)
{
    int pipe_fds[2];
    size_t ready = 0;
    mproc_event *event = NULL;
    mproc_process *process = NULL;
    children_begin();
    mproc_pool *pool = pool_make(METHOD, 1);
    ck_assert_int_eq(pipe(pipe_fds), 0);
    ck_assert_int_eq(mproc_event_create(NULL, MPROC_WITH(mproc_event_options, .pollable = true), &event), 0);
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE,
                                         MPROC_WITH(mproc_process_options, .start = MPROC_START_THREAD),
                                         &process),
                     0);
    mproc_wait_item items[] = {{.handle = submit(pool, task_square, MPROC_ARGS(3))},
                               {.handle = event},
                               {.handle = process},
                               {.fd = pipe_fds[0], .events = POLLIN},
                               {.handle = made()}};
    ck_assert_int_eq(write(pipe_fds[1], "x", 1), 1);
    ck_assert_int_eq(mproc_event_set(event), 0);
    set_done(items[4].handle);
    ck_assert_int_eq(mproc_wait(items, 5, MPROC_WAIT_ALL, mproc_after_ms(support_ms(10000)), &ready), 0);
    ck_assert_uint_eq(ready, 5);
    mproc_future_close((mproc_future **)&items[0].handle);
    mproc_future_close((mproc_future **)&items[4].handle);
    mproc_event_close(&event);
    mproc_process_close(&process);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    pool_end(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, all_are_waited_for_whoever_ends_them, METHODS_FIRST, METHODS);
    tcase_add_test(all, the_first_end_is_enough);
    tcase_add_test(all, the_first_failure_is_enough);
    tcase_add_loop_test(all, a_failing_task_ends_the_wait_for_the_others, METHODS_FIRST, METHODS);
    tcase_add_test(all, a_deadline_tells_both_sets);
    tcase_add_loop_test(all, a_hundred_that_end_at_once_are_all_seen, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_set_gives_futures_as_they_end, METHODS_FIRST, METHODS);
    tcase_add_test(all, a_set_tells_how_many_have_not_ended);
    tcase_add_test(all, a_set_keeps_nothing_of_what_it_gave);
    tcase_add_loop_test(all, a_descriptor_is_readable_from_the_end_on, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_death_makes_the_descriptor_readable, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_polled_future_may_be_closed_at_any_time, METHODS_FIRST, METHODS);
    tcase_add_test(all, callbacks_run_before_the_descriptor_is_readable);
    tcase_add_loop_test(all, futures_mix_with_anything, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "future_wait", add);
}
