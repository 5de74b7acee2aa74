/* SPDX-License-Identifier: BSD-2-Clause */
/* The supervisor's death: at rest, at work, while the pool is stopped, again and again. */
#include "platform/base.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "pool/pool_common.h"

/* The child of this process that is called mproc-pool; 0: none (now). */
static pid_t supervisor_pid(void)
{
    char path[64], name[32];
    int pid = 0, found = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *children = fopen(path, "re");
    while (children && !found && fscanf(children, "%d", &pid) == 1) {
        snprintf(path, sizeof path, "/proc/%d/comm", pid);
        FILE *comm = fopen(path, "re");
        if (comm && fgets(name, sizeof name, comm) && strncmp(name, "mproc-pool", 10) == 0)
            found = pid;
        if (comm)
            fclose(comm);
    }
    if (children)
        fclose(children);
    return found;
}

static bool supervisor_there(void *unused)
{
    (void)unused;
    return supervisor_pid() != 0;
}

static pid_t supervisor_kill(void)
{
    ck_assert(support_until(supervisor_there, NULL, 5000));
    pid_t pid = supervisor_pid();
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    return pid;
}

/* And until it is dead. */
static pid_t supervisor_kill_now(void)
{
    siginfo_t info;
    pid_t pid = supervisor_kill();
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    return pid;
}

/* The workers of a dead supervisor have come to this process, a subreaper. */
static void end(mproc_pool **pool)
{
    pool_end(pool);
    pools_await_gone();
}

static mproc_future *submit_again(mproc_pool *pool, mproc_fn *fn, mproc_variant args, unsigned retries)
{
    mproc_future *future = NULL;
    int rc = mproc_pool_submit(pool, fn, args, MPROC_WITH(mproc_task_options, .retries = retries), &future);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return future;
}

/* shows: DEATH-1 DEATH-6 */
START_TEST(the_supervisors_death_costs_what_ran_and_nothing_else)
{
    enum { TASKS = 50 };
    mproc_future *queued[TASKS];
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *runs = submit(pool, task_hang, MPROC_NONE);
    ck_assert(support_until(is_running, runs, 5000));
    for (int i = 0; i < TASKS; i++)
        queued[i] = submit(pool, task_square, MPROC_ARGS(i));
    supervisor_kill();
    ck_assert_int_eq(result_code(runs), MPROC_EDIED);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(result_int(queued[i]), i * i);
    ck_assert_int_eq(result_code(runs), MPROC_EDIED);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(runs)), "the pool's supervisor died"));
    mproc_future_close(&runs);
    end(&pool);
}
END_TEST

static int task_second_time(mproc_call *call)
{
    return mproc_call_attempt(call) == 1 ? task_hang(call) : mproc_call_return(call, mproc_int(2));
}

/* shows: DEATH-6 WORK-2 */
START_TEST(what_ran_under_a_dead_supervisor_is_tried_again_if_it_may)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *future = submit_again(pool, task_second_time, MPROC_NONE, 1);
    ck_assert(support_until(is_running, future, 5000));
    supervisor_kill();
    ck_assert_int_eq(result_int(future), 2);
    ck_assert_int_eq(stat_of(pool, "workers"), 2);
    end(&pool);
}
END_TEST

/* Nobody is in a call when it dies. */
START_TEST(an_idle_pool_has_a_supervisor_again_with_the_next_call)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(3))), 9);
    pid_t pid = supervisor_kill_now();
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(4))), 16);
    ck_assert_int_ne(supervisor_pid(), pid);
    end(&pool);
}
END_TEST

static void *kill_soon(void *pid)
{
    usleep(20000);
    kill((pid_t)(intptr_t)pid, SIGKILL);
    return NULL;
}

static int task_nap(mproc_call *call)
{
    usleep(2000);
    return task_square(call);
}

/* shows: DEATH-1 */
START_TEST(a_stop_that_drains_goes_on_with_a_new_supervisor)
{
    enum { TASKS = 40 };
    mproc_future *futures[TASKS];
    pthread_t killer;
    size_t dropped = 0;
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit_again(pool, task_nap, MPROC_ARGS(i), 3);
    pid_t pid = supervisor_pid();
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(pthread_create(&killer, NULL, kill_soon, (void *)(intptr_t)pid), 0);
    ck_assert_int_eq(mproc_pool_stop(pool, true, mproc_after_ms(support_ms(10000)), &dropped), 0);
    ck_assert_uint_eq(dropped, 0);
    pthread_join(killer, NULL);
    mproc_pool_close(&pool);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(result_int(futures[i]), i * i);
    pools_await_gone();
}
END_TEST

static int item_one(mproc_call *call, const void *in, void *out)
{
    (void)call;
    usleep(100);
    *(char *)out = (char)(*(const char *)in + 1);
    return 0;
}

/* shows: DEATH-1 DEATH-6 */
START_TEST(ten_supervisors_killed_at_work_lose_nothing)
{
    enum { KILLS = 10, TASKS = 300, COUNT = 3000 };
    static mproc_future *futures[TASKS];
    static char in[COUNT], out[COUNT];
    mproc_future *map;
    mproc_pool *pool = NULL;
    ck_assert_int_eq(
        mproc_pool_create(
            MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 2, .restarts_per_minute = 100), &pool),
        0);
    ck_assert_int_eq(mproc_pool_map_start(pool, item_one, in, 1, out, 1, COUNT,
                                          MPROC_WITH(mproc_map_options, .retries = 50), &map),
                     0);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit_again(pool, task_nap, MPROC_ARGS(i), 50);
    for (int kills = 0; kills < KILLS; kills++) {
        ck_assert_int_eq(result_int(futures[kills]), kills * kills);
        usleep((useconds_t)(kills * 700));
        supervisor_kill();
    }
    for (int i = KILLS; i < TASKS; i++)
        ck_assert_int_eq(result_int(futures[i]), i * i);
    ck_assert_int_eq(result_code(map), 0);
    mproc_future_close(&map);
    int wrong = 0;
    for (int i = 0; i < COUNT; i++)
        wrong += out[i] != 1;
    ck_assert_int_eq(wrong, 0);
    end(&pool);
}
END_TEST

/* Every child that comes, as soon as it is there: most of them before they have joined the pool. */
static void *kill_newborn(void *unused)
{
    enum { KILLS = 10 };
    char path[64];
    int pid, last = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (int kills = 0; kills < KILLS;) {
        FILE *children = fopen(path, "re");
        while (children && kills < KILLS && fscanf(children, "%d", &pid) == 1)
            if (pid > last && kill(pid, SIGKILL) == 0) {
                last = pid;
                kills++;
            }
        if (children)
            fclose(children);
    }
    return unused;
}

/* shows: DEATH-1 */
START_TEST(successors_killed_in_their_first_steps_are_replaced_as_well)
{
    pthread_t killer;
    mproc_pool *pool = NULL;
    ck_assert_int_eq(mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 1,
                                                  .restarts_per_minute = 1000),
                                       &pool),
                     0);
    ck_assert_int_eq(pthread_create(&killer, NULL, kill_newborn, NULL), 0);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(result_int(submit_again(pool, task_nap, MPROC_ARGS(i), 60)), i * i);
    pthread_join(killer, NULL);
    ck_assert_int_eq(result_int(submit_again(pool, task_square, MPROC_ARGS(5), 60)), 25);
    end(&pool);
}
END_TEST

/* shows: WORK-5 */
START_TEST(too_many_dead_supervisors_break_the_pool_and_the_first_is_told)
{
    mproc_pool *pool = NULL;
    mproc_future *future = NULL;
    char first[32];
    ck_assert_int_eq(
        mproc_pool_create(
            MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 1, .restarts_per_minute = 2), &pool),
        0);
    snprintf(first, sizeof first, "(pid %d)", (int)supervisor_kill_now());
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(result_int(submit_again(pool, task_square, MPROC_ARGS(5), 10)), 25);
        supervisor_kill_now();
    }
    int rc = mproc_pool_submit(pool, task_square, MPROC_ARGS(5), NULL, &future);
    if (rc == 0) {
        rc = result_code(future);
        mproc_future_close(&future);
    }
    ck_assert_int_eq(rc, MPROC_EDIED);
    ck_assert_int_eq(mproc_pool_submit(pool, task_square, MPROC_ARGS(5), NULL, &future), MPROC_EDIED);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), first));
    mproc_pool_close(&pool);
    pools_await_gone();
}
END_TEST

/* shows: EXEC-31 */
START_TEST(a_replacement_that_cannot_be_started_fails_what_is_queued)
{
    const struct rlimit none = {.rlim_cur = 1, .rlim_max = 1};
    mproc_future *dies, *queued;
    mproc_pool *pool = pool_make(METHOD, 1);
    ck_assert(support_until(supervisor_there, NULL, 5000));
    ck_assert_int_eq(prlimit(supervisor_pid(), RLIMIT_NOFILE, &none, NULL), 0);
    dies = submit(pool, task_abort, MPROC_NONE);
    queued = submit(pool, task_square, MPROC_ARGS(2));
    ck_assert_int_eq(result_code(dies), MPROC_EDIED);
    ck_assert_int_lt(result_code(queued), 0);
    const char *story = mproc_error_text(mproc_error_of(queued));
    ck_assert_msg(strstr(story, "cannot start worker 0") != NULL, "%s", story);
    mproc_future_close(&dies);
    mproc_future_close(&queued);
    mproc_pool_close(&pool);
    pools_await_gone();
}
END_TEST

typedef struct holder {
    pid_t supervisor;
    int held;        /* pipe: written when the supervisor is held */
    int ended;       /* pipe: read to see whether the stop has returned */
    unsigned for_ms; /* at most */
} holder;

/* Holds the supervisor between SIGKILL and its end, where one with much memory is for long, until the stop has returned. 0: it
 * has not for all the time; 4: it has. */
static int hold_dying(void *context)
{
    const holder *of = context;
    int status;
    if (ptrace(PTRACE_SEIZE, of->supervisor, NULL, (void *)PTRACE_O_TRACEEXIT) < 0 ||
        ptrace(PTRACE_INTERRUPT, of->supervisor, NULL, NULL) < 0 ||
        waitpid(of->supervisor, &status, __WALL) < 0 || !WIFSTOPPED(status) || write(of->held, "", 1) != 1)
        return 1;
    if (waitpid(of->supervisor, &status, __WALL) < 0 || status >> 8 != (SIGTRAP | PTRACE_EVENT_EXIT << 8))
        return 2;
    return mproc__fd_poll(of->ended, POLLIN, mproc_after_ms(of->for_ms)) == -ETIMEDOUT ? 0 : 4;
}

/* A pool whose supervisor is held so, by a child, when it is stopped. */
static mproc_pool *pool_make_held(mproc_start start, unsigned for_ms, int ended[2], pid_t *ret_child)
{
    char byte;
    int held[2];
    mproc_pool *pool = pool_make(start, 1);
    ck_assert(support_until(supervisor_there, NULL, 5000));
    ck_assert(pipe(held) == 0 && pipe(ended) == 0);
    holder of = {.supervisor = supervisor_pid(), .held = held[1], .ended = ended[0], .for_ms = for_ms};
    *ret_child = support_fork(hold_dying, &of);
    close(held[1]);
    ck_assert_int_eq(read(held[0], &byte, 1), 1);
    close(held[0]);
    return pool;
}

START_TEST(a_killed_supervisor_that_ends_slowly_is_reaped_even_without_time)
{
    int ended[2];
    pid_t child;
    mproc_pool *pool = pool_make_held(METHOD, 400, ended, &child);
    ck_assert_int_eq(mproc_pool_stop(pool, false, MPROC_NOW, NULL), 0);
    ck_assert_int_eq(supervisor_pid(), 0);
    ck_assert_int_eq(write(ended[1], "", 1), 1);
    ck_assert_int_eq(support_reap(child, 5000), 0);
    mproc_pool_close(&pool);
    close(ended[0]);
    close(ended[1]);
    pools_await_gone();
}
END_TEST

static bool supervisor_ended(void *pid)
{
    siginfo_t info = {.si_pid = 0};
    return waitid(P_PID, (id_t)(intptr_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

START_TEST(one_that_does_not_end_at_all_is_left_to_a_later_call)
{
    int ended[2];
    pid_t child;
    mproc_pool *pool = pool_make_held(METHOD, 60000, ended, &child);
    pid_t supervisor = supervisor_pid();
    ck_assert_int_eq(mproc_pool_stop(pool, false, MPROC_NOW, NULL), 0);
    mproc_pool_close(&pool);
    ck_assert_int_eq(kill(supervisor, 0), 0);
    ck_assert_int_eq(write(ended[1], "", 1), 1);
    ck_assert_int_eq(support_reap(child, 5000), 4);
    ck_assert(support_until(supervisor_ended, (void *)(intptr_t)supervisor, 5000));
    mproc_pool_close(&pool);
    ck_assert_int_lt(kill(supervisor, 0), 0);
    close(ended[0]);
    close(ended[1]);
    pools_await_gone();
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, the_supervisors_death_costs_what_ran_and_nothing_else, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, what_ran_under_a_dead_supervisor_is_tried_again_if_it_may, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, an_idle_pool_has_a_supervisor_again_with_the_next_call, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_stop_that_drains_goes_on_with_a_new_supervisor, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, ten_supervisors_killed_at_work_lose_nothing, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_replacement_that_cannot_be_started_fails_what_is_queued, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, successors_killed_in_their_first_steps_are_replaced_as_well, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, too_many_dead_supervisors_break_the_pool_and_the_first_is_told, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_killed_supervisor_that_ends_slowly_is_reaped_even_without_time, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    /* Its stop takes the whole time that the kernel is given. */
    tcase_add_loop_test(all, one_that_does_not_end_at_all_is_left_to_a_later_call, METHODS_FIRST,
                        METHODS_FIRST ? METHODS_FIRST : 1);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "renew", add);
}
