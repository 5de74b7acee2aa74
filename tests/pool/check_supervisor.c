/* SPDX-License-Identifier: BSD-2-Clause */
/* Deaths: of workers at work and idle, of the owner, of the supervisor; time limits; replacement and its limit. */
#include "platform/base.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "pool/pool_common.h"

static mproc_future *submit_with(mproc_pool *pool, mproc_fn *fn, const mproc_task_options *options)
{
    mproc_future *future = NULL;
    int rc = mproc_pool_submit(pool, fn, MPROC_NONE, options, &future);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return future;
}

static bool one_died(void *pool)
{
    return stat_of(pool, "died") == 1;
}

static bool forty_died(void *pool)
{
    return stat_of(pool, "died") >= 40;
}

/* shows: DEATH-6 POOL-29 */
START_TEST(nine_hundred_and_ninety_nine_tasks_do_not_notice)
{
    enum { TASKS = 1000, VICTIM = 500 };
    mproc_future *futures[TASKS];
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < TASKS; i++)
        futures[i] =
            i == VICTIM ? submit(pool, task_abort, MPROC_NONE) : submit(pool, task_square, MPROC_ARGS(i));
    for (int i = 0; i < TASKS; i++) {
        if (i != VICTIM) {
            ck_assert_int_eq(result_int(futures[i]), i * i);
            continue;
        }
        ck_assert_int_eq(result_code(futures[i]), MPROC_EDIED);
        mproc_future_close(&futures[i]);
    }
    ck_assert(support_until(one_died, pool, 5000));
    pool_end(&pool);
}
END_TEST

static bool pid_died(void *pool)
{
    return stat_of(pool, "restarted") == 1;
}

/* shows: POOL-29 */
START_TEST(a_worker_killed_while_idle_is_replaced)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    pid_t pid = (pid_t)result_int(submit(pool, task_pid, MPROC_NONE));
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert(support_until(pid_died, pool, 5000));
    ck_assert_int_ne(result_int(submit(pool, task_pid, MPROC_NONE)), pid);
    pool_end(&pool);
}
END_TEST

/* shows: WORK-2 DEATH-6 */
START_TEST(a_task_is_tried_again_after_a_death)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    ck_assert_int_eq(
        result_int(submit_with(pool, task_die_once, MPROC_WITH(mproc_task_options, .retries = 3))), 2);
    mproc_future *future = submit_with(pool, task_abort, MPROC_WITH(mproc_task_options, .retries = 2));
    int64_t attempt = 0;
    ck_assert_int_eq(result_code(future), MPROC_EDIED);
    ck_assert_int_eq(mproc_error_number(mproc_error_of(future), MPROC_ERROR_ATTEMPT, &attempt), 0);
    ck_assert_int_eq(attempt, 3);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

static bool twelve_died(void *pool)
{
    return stat_of(pool, "died") == 12;
}

/* All at one desk, before anyone asks. */
/* shows: DEATH-6 */
START_TEST(how_each_of_many_died_is_told_though_nobody_asked_meanwhile)
{
    enum { DEATHS = 12 };
    mproc_future *futures[DEATHS];
    mproc_pool *pool = pool_make(METHOD, 1);
    for (int i = 0; i < DEATHS; i++)
        futures[i] = submit(pool, task_exit, MPROC_ARGS(i + 1));
    ck_assert(support_until(twelve_died, pool, 20000));
    for (int i = 0; i < DEATHS; i++) {
        int64_t code = 0;
        ck_assert_int_eq(result_code(futures[i]), MPROC_EDIED);
        ck_assert_int_eq(mproc_error_number(mproc_error_of(futures[i]), MPROC_ERROR_EXIT_CODE, &code), 0);
        ck_assert_int_eq(code, i + 1);
        mproc_future_close(&futures[i]);
    }
    pool_end(&pool);
}
END_TEST

static int item_one(mproc_call *call, const void *in, void *out)
{
    (void)call;
    (void)in;
    *(char *)out = 1;
    return 0;
}

/* One task in eight kills its worker in its first attempt, whatever that was doing. */
static int task_killed_often(mproc_call *call)
{
    int64_t n = mproc_call_int(call, 0);
    if (n % 8 == 3 && mproc_call_attempt(call) == 1)
        raise(SIGKILL);
    if (n % 16 == 5)
        return task_large(call);
    return mproc_call_return(call, mproc_int(n));
}

/* shows: DEATH-1 DEATH-6 WORK-2 */
START_TEST(forty_deaths_among_tasks_and_maps_lose_nothing)
{
    enum { TASKS = 320, COUNT = 5000 };
    static mproc_future *futures[TASKS];
    static char in[COUNT], out[COUNT];
    mproc_pool *pool = NULL;
    mproc_future *map;
    ck_assert_int_eq(mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 3,
                                                  .restarts_per_minute = 1000, .max_queued_tasks = 64),
                                       &pool),
                     0);
    ck_assert_int_eq(mproc_pool_map_start(pool, item_one, in, 1, out, 1, COUNT,
                                          MPROC_WITH(mproc_map_options, .retries = 50), &map),
                     0);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(mproc_pool_submit(pool, task_killed_often, MPROC_ARGS(i),
                                           MPROC_WITH(mproc_task_options, .retries = 50), &futures[i]),
                         0);
    for (int i = 0; i < TASKS; i++) {
        ck_assert_msg(result_code(futures[i]) == 0, "task %d: %s", i,
                      mproc_error_text(mproc_error_of(futures[i])));
        mproc_future_close(&futures[i]);
    }
    ck_assert_int_eq(result_code(map), 0);
    mproc_future_close(&map);
    int wrong = 0;
    for (int i = 0; i < COUNT; i++)
        wrong += out[i] != 1;
    ck_assert_int_eq(wrong, 0);
    ck_assert(support_until(forty_died, pool, 5000)); /* counted when reaped, later than buried */
    pool_end(&pool);
}
END_TEST

/* shows: WORK-1 */
START_TEST(a_time_limit_ends_a_task_that_looks)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future =
        submit_with(pool, task_until_stopped, MPROC_WITH(mproc_task_options, .time_limit_ms = 50));
    ck_assert_int_eq(result_code(future), -ETIME);
    ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_FAILED);
    mproc_future_close(&future);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(4))), 16);
    ck_assert_int_eq(stat_of(pool, "died"), 0);
    pool_end(&pool);
}
END_TEST

/* shows: WORK-1 */
START_TEST(a_time_limit_kills_a_task_that_does_not_look)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    int64_t began = mproc__now_ns();
    mproc_future *future =
        submit_with(pool, task_hang, MPROC_WITH(mproc_task_options, .time_limit_ms = 50, .grace_ms = 50));
    ck_assert_int_eq(result_code(future), -ETIME);
    ck_assert_int_lt((mproc__now_ns() - began) / 1000000, support_ms(1000));
    mproc_future_close(&future);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(4))), 16);
    pool_end(&pool);
}
END_TEST

/* shows: WORK-1 */
START_TEST(cancelling_kills_a_task_that_does_not_look)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *future = submit_with(pool, task_hang, MPROC_WITH(mproc_task_options, .grace_ms = 50));
    ck_assert(support_until(is_running, future, 5000));
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    ck_assert_int_eq(result_code(future), -ECANCELED);
    mproc_future_close(&future);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(i))), i * i);
    pool_end(&pool);
}
END_TEST

static int task_with_child(mproc_call *call)
{
    int ends[2];
    pid_t child, grandchild = 0;
    if (pipe(ends) < 0)
        return -errno;
    child = fork();
    if (child == 0) {
        grandchild = fork();
        if (grandchild > 0 && write(ends[1], &grandchild, sizeof grandchild) < 0)
            _exit(1);
        return task_hang(call);
    }
    if (child > 0 && read(ends[0], &grandchild, sizeof grandchild) > 0)
        mproc_call_progress(call, (uint64_t)child, (uint64_t)grandchild);
    return task_hang(call);
}

static bool child_gone(void *pid)
{
    return kill(*(pid_t *)pid, 0) < 0;
}

static bool child_known(void *future)
{
    uint64_t pid = 0, total;
    return mproc_future_progress(future, &pid, &total) == 0 && pid != 0;
}

/* shows: WORK-1 */
START_TEST(a_killed_tasks_children_are_killed)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit_with(pool, task_with_child, MPROC_WITH(mproc_task_options, .grace_ms = 50));
    uint64_t child = 0, grandchild = 0;
    ck_assert(support_until(child_known, future, 5000));
    ck_assert_int_eq(mproc_future_progress(future, &child, &grandchild), 0);
    pid_t pid = (pid_t)child, its = (pid_t)grandchild;
    ck_assert_int_eq(kill(pid, 0), 0);
    ck_assert_int_eq(kill(its, 0), 0);
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    ck_assert_int_eq(result_code(future), -ECANCELED);
    ck_assert(support_until(child_gone, &pid, 5000));
    ck_assert(support_until(child_gone, &its, 5000));
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

/* shows: WORK-5 */
START_TEST(too_many_deaths_break_the_pool_and_say_so)
{
    mproc_pool *pool = NULL;
    mproc_future *future = NULL;
    int rc = mproc_pool_create(
        MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 1, .restarts_per_minute = 3), &pool);
    ck_assert_int_eq(rc, 0);
    for (int i = 0; i < 4; i++) {
        future = submit(pool, task_abort, MPROC_NONE);
        ck_assert_int_eq(result_code(future), MPROC_EDIED);
        mproc_future_close(&future);
    }
    mproc_deadline limit = mproc_after_ms(support_ms(5000));
    while ((rc = mproc_pool_submit(pool, task_square, MPROC_ARGS(1), NULL, &future)) == 0 &&
           mproc_left_ms(limit) > 0) {
        rc = mproc_future_result(future, limit, NULL);
        mproc_future_close(&future);
        if (rc < 0)
            break;
    }
    ck_assert_int_eq(rc, MPROC_EDIED);
    ck_assert_int_eq(mproc_pool_submit(pool, task_square, MPROC_ARGS(1), NULL, &future), MPROC_EDIED);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()),
                                 "too many workers died within a minute, the first one: worker 0"));
    mproc_pool_close(&pool);
}
END_TEST

static int task_parent(mproc_call *call)
{
    return mproc_call_return(call, mproc_int(getppid()));
}

/* The supervisor may open nothing more. */
static int limit_supervisor(mproc_pool *pool)
{
    const struct rlimit few = {3, 3};
    mproc_future *future = NULL;
    mproc_variant pid;
    if (mproc_pool_submit(pool, task_parent, MPROC_NONE, NULL, &future) < 0 ||
        mproc_future_result(future, mproc_after_ms(support_ms(5000)), &pid) < 0)
        return 5;
    mproc_future_close(&future);
    return prlimit((pid_t)pid.number, RLIMIT_NOFILE, &few, NULL) < 0 ? 6 : 0;
}

typedef struct ownership {
    mproc_start start;
    bool limited;
} ownership;

static int own_a_pool(void *context)
{
    const ownership *how = context;
    mproc_pool *pool = NULL;
    mproc_future *future = NULL;
    if (mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = how->start, .workers = 2), &pool) < 0)
        return 1;
    if (mproc_pool_submit(pool, task_hang, MPROC_NONE, NULL, &future) < 0)
        return 2;
    if (!support_until(is_running, future, 5000))
        return 3;
    int rc = how->limited ? limit_supervisor(pool) : 0;
    if (rc == 0)
        raise(SIGKILL);
    return rc;
}

/* shows: DEATH-9 DEATH-10 */
START_TEST(a_killed_owner_leaves_no_process)
{
    ownership how = {.start = METHOD};
    ck_assert_int_eq(support_reap(support_fork(own_a_pool, &how), 10000), 256 + SIGKILL);
    pools_await_gone();
}
END_TEST

/* shows: DEATH-9 */
START_TEST(nor_does_one_whose_supervisor_can_open_nothing)
{
    ownership how = {.start = METHOD, .limited = true};
    ck_assert_int_eq(support_reap(support_fork(own_a_pool, &how), 10000), 256 + SIGKILL);
    pools_await_gone();
}
END_TEST

static int leave_a_pool(void *context)
{
    mproc_pool *pool = NULL;
    if (mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = *(mproc_start *)context, .workers = 2),
                          &pool) < 0)
        return 1;
    return 0;
}

START_TEST(a_program_may_end_without_closing_its_pool)
{
    mproc_start start = METHOD;
    ck_assert_int_eq(support_reap(support_fork(leave_a_pool, &start), 10000), 0);
    pools_await_gone();
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, nine_hundred_and_ninety_nine_tasks_do_not_notice, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, how_each_of_many_died_is_told_though_nobody_asked_meanwhile, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_worker_killed_while_idle_is_replaced, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_task_is_tried_again_after_a_death, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, forty_deaths_among_tasks_and_maps_lose_nothing, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_time_limit_ends_a_task_that_looks, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_time_limit_kills_a_task_that_does_not_look, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, cancelling_kills_a_task_that_does_not_look, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_killed_tasks_children_are_killed, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, too_many_deaths_break_the_pool_and_say_so, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_killed_owner_leaves_no_process, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, nor_does_one_whose_supervisor_can_open_nothing, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_program_may_end_without_closing_its_pool, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "supervisor", add);
}
