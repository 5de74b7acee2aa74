/* SPDX-License-Identifier: BSD-2-Clause */
/* The nursery: nobody outlives the owner, the death of the nursery itself, starts that fail half-way. */
#include "platform/base.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "process/process.h"
#include "process/spares_support.h"

enum { CHILDREN = 3 };

static bool ended(void *pidfd)
{
    return mproc__pidfd_ended(*(int *)pidfd) == 1;
}

static int sleeps(mproc_call *call)
{
    gate_say(call, 0);
    for (;;)
        pause();
    return 0;
}

static int sleeps_quietly(mproc_call *call)
{
    (void)call;
    for (;;)
        pause();
    return 0;
}

/* ---- its life ---- */

static int tells_its_parent(mproc_call *call)
{
    int parent = (int)getppid();
    return write((int)mproc_call_arg(call, 0).number, &parent, sizeof parent) == sizeof parent ? 0 : 1;
}

static int threads_of(pid_t pid)
{
    char path[64], line[128];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        (void)sscanf(line, "Threads: %d", &count);
    if (file)
        fclose(file);
    return count;
}

START_TEST(the_nursery_is_made_by_the_first_start_and_has_one_thread_and_serves_all_later_ones)
{
    int parent = 0;
    gate said = gate_make();
    ck_assert_int_eq(run(MPROC_START_THREAD, nothing, MPROC_NONE), 0);
    ck_assert_int_eq(nursery_pid(), -1);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(run(MPROC_START_FORKSERVER, tells_its_parent, MPROC_ARGS(mproc_fd(said.write_fd))),
                         0);
        ck_assert_int_eq(read(said.read_fd, &parent, sizeof parent), sizeof parent);
        ck_assert_int_eq(parent, nursery_pid());
        if (!SUPPORT_THREAD_SANITIZER)
            ck_assert_int_eq(threads_of(nursery_pid()), 1);
    }
    gate_destroy(&said);
    support_leaks_begin();
}
END_TEST

/* ---- the owner dies ---- */

typedef struct owner {
    int method, write_fd;
} owner;

/* A process that starts children by one method, tells their pids and its nursery's, and waits to be killed.
 * */
static int owner_main(void *context)
{
    const owner *me = context;
    int pids[CHILDREN + 1];
    for (int i = 0; i < CHILDREN; i++) {
        int fds[2];
        char byte;
        mproc_process *process;
        if (pipe(fds) != 0 ||
            mproc_process_start(sleeps, MPROC_ARGS(mproc_fd(fds[1])),
                                MPROC_WITH(mproc_process_options, .start = (mproc_start)me->method),
                                &process) != 0)
            return 1;
        if (read(fds[0], &byte, 1) != 1)
            return 2;
        pids[i] = mproc_process_pid(process);
    }
    pids[CHILDREN] = (int)nursery_pid();
    if (write(me->write_fd, pids, sizeof pids) != sizeof pids)
        return 3;
    for (;;)
        pause();
}

/* shows: DEATH-9 START-18 */
START_TEST(when_the_owner_is_killed_no_child_and_no_nursery_outlives_it)
{
    int pids[CHILDREN + 1], pidfds[CHILDREN + 1];
    gate said = gate_make();
    owner context = {_i, said.write_fd};
    pid_t pid = support_fork(owner_main, &context);
    ck_assert_int_eq(
        mproc__fd_read_all(said.read_fd, pids, sizeof pids, mproc_after_ms(support_ms(LIMIT_MS))), 0);
    for (int i = 0; i <= CHILDREN; i++) {
        ck_assert_int_gt(pids[i], 0);
        pidfds[i] = mproc__pidfd_open(pids[i]);
        ck_assert_int_ge(pidfds[i], 0);
    }
    int64_t before = mproc__now_ns();
    support_kill(pid);
    for (int i = 0; i <= CHILDREN; i++) {
        ck_assert_msg(support_until(ended, &pidfds[i], 250), "process %d lives", i);
        close(pidfds[i]);
    }
    ck_assert_int_le((mproc__now_ns() - before) / 1000000, support_ms(250));
    while (waitpid(-1, NULL, 0) > 0) /* they came to this process, a subreaper */
        ;
    gate_destroy(&said);
}
END_TEST

static int starts_for_ever(void *context)
{
    const owner *me = context;
    for (bool said = false;;) {
        mproc_process *process;
        if (mproc_process_start(sleeps_quietly, MPROC_NONE,
                                MPROC_WITH(mproc_process_options, .start = (mproc_start)me->method),
                                &process) != 0)
            return 1;
        if (!said && write(me->write_fd, "s", 1) != 1)
            return 2;
        said = true;
    }
}

/* Reaps what has come to this process, a subreaper. */
/* shows: DEATH-9 DEATH-10 */
START_TEST(an_owner_killed_at_any_moment_of_a_start_leaves_nobody)
{
    for (int i = 0; i < 20; i++) {
        gate said = gate_make();
        owner context = {_i, said.write_fd};
        pid_t pid = support_fork(starts_for_ever, &context);
        gate_await(&said);
        usleep((useconds_t)(i * 331)); /* nothing is ordered by this: any moment will do */
        support_kill(pid);
        ck_assert_msg(support_until(nobody_is_left, NULL, 1000), "round %d", i);
        gate_destroy(&said);
    }
}
END_TEST

static int starts_and_returns(void *context)
{
    const owner *me = context;
    mproc_process *process;
    if (mproc_process_start(nothing, MPROC_NONE,
                            MPROC_WITH(mproc_process_options, .start = (mproc_start)me->method),
                            &process) != 0)
        return 1;
    mproc_process_close(&process);
    int pids[2] = {0, (int)nursery_pid()};
    exit(write(me->write_fd, pids, sizeof pids) == sizeof pids ? 0 : 2);
}

/* shows: START-18 */
START_TEST(at_the_normal_end_of_the_program_children_are_joined_and_the_nursery_is_gone)
{
    int pids[2];
    gate said = gate_make();
    owner context = {_i, said.write_fd};
    ck_assert_int_eq(support_reap(support_fork(starts_and_returns, &context), LIMIT_MS), 0);
    ck_assert_int_eq(mproc__fd_read_all(said.read_fd, pids, sizeof pids, mproc_after_ms(LIMIT_MS)), 0);
    ck_assert_int_gt(pids[1], 0);
    ck_assert_int_eq(kill(pids[1], 0), -1);
    gate_destroy(&said);
}
END_TEST

static void *makes_the_nursery(void *context)
{
    const int *method = context;
    mproc_process **process = calloc(1, sizeof *process);
    *process = start(*method, sleeps_quietly, MPROC_NONE);
    return process;
}

/* shows: DEATH-9 */
START_TEST(no_child_dies_because_the_thread_that_started_it_ended)
{
    pthread_t thread;
    void *result;
    int method = _i;
    ck_assert_int_eq(pthread_create(&thread, NULL, makes_the_nursery, &method), 0);
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    mproc_process *process = *(mproc_process **)result;
    free(result);
    ck_assert_int_eq(mproc_process_join(process, mproc_after_ms(100), NULL), -ETIMEDOUT);
    ck_assert_int_eq(run(_i, nothing, MPROC_NONE), 0);
    ck_assert(mproc_process_is_alive(process));
    ck_assert_int_eq(mproc_process_signal(process, SIGKILL), 0);
    ck_assert_int_eq(join(process), -SIGKILL);
    mproc_process_close(&process);
    support_leaks_begin();
}
END_TEST

/* ---- the nursery dies ---- */

START_TEST(a_killed_nursery_takes_its_children_along_and_the_next_start_makes_another)
{
    int exit_code = 99;
    warm();
    gate said = gate_make();
    mproc_process *served = start(MPROC_START_FORKSERVER, sleeps, MPROC_ARGS(mproc_fd(said.write_fd)));
    mproc_process *forked = start(MPROC_START_FORK, sleeps, MPROC_ARGS(mproc_fd(said.write_fd)));
    gate_await(&said);
    gate_await(&said);
    pid_t before = nursery_pid();
    ck_assert_int_gt(before, 0);
    kill(before, SIGKILL);
    int rc = mproc_process_join(served, mproc_after_ms(support_ms(LIMIT_MS)), &exit_code);
    ck_assert_msg((rc == 0 && exit_code == -SIGKILL) || (rc == MPROC_EUNKNOWN && exit_code == 99),
                  "%s, exit code %d", mproc_errname(rc), exit_code);
    if (rc < 0)
        ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(served)), "nursery, which was killed"));
    ck_assert(mproc_process_is_alive(forked));
    ck_assert_int_eq(run(_i, nothing, MPROC_NONE), 0);
    ck_assert_int_ne(nursery_pid(), before);
    ck_assert_int_eq(mproc_process_signal(forked, SIGTERM), 0);
    ck_assert_int_eq(join(forked), -SIGTERM);
    mproc_process_close(&served);
    mproc_process_close(&forked);
    gate_destroy(&said);
    support_leaks_begin();
}
END_TEST

/* Starts one child, outlives the nursery that watches it, and starts another, which makes the next nursery. */
static int owner_of_two_nurseries(void *context)
{
    const owner *me = context;
    mproc_process *first, *second;
    mproc_process_options options = {.size = sizeof options, .start = (mproc_start)me->method};
    if (mproc_process_start(sleeps_quietly, MPROC_NONE, &options, &first) != 0)
        return 1;
    pid_t pid = nursery_pid();
    int pidfd = mproc__pidfd_open(pid);
    kill(pid, SIGKILL);
    if (pidfd < 0 || mproc__fd_poll(pidfd, POLLIN, mproc_after_ms(LIMIT_MS)) != 0)
        return 2;
    close(pidfd);
    if (mproc_process_start(sleeps_quietly, MPROC_NONE, &options, &second) != 0 || nursery_pid() == pid)
        return 3;
    if (write(me->write_fd, "s", 1) != 1)
        return 4;
    for (;;)
        pause();
}

/* shows: DEATH-9 DEATH-10 */
START_TEST(the_next_nursery_watches_the_children_of_the_killed_one)
{
    gate said = gate_make();
    owner context = {_i, said.write_fd};
    pid_t pid = support_fork(owner_of_two_nurseries, &context);
    gate_await(&said);
    support_kill(pid);
    ck_assert(support_until(nobody_is_left, NULL, 1000));
    gate_destroy(&said);
}
END_TEST

/* shows: START-17 */
START_TEST(the_nursery_survives_interrupts_and_its_children_do_not)
{
    warm();
    gate said = gate_make();
    pid_t pid = nursery_pid();
    kill(pid, SIGINT);
    kill(pid, SIGTERM);
    kill(pid, SIGHUP);
    mproc_process *process = start(MPROC_START_FORKSERVER, sleeps, MPROC_ARGS(mproc_fd(said.write_fd)));
    gate_await(&said);
    ck_assert_int_eq(nursery_pid(), pid);
    ck_assert_int_eq(mproc_process_signal(process, SIGINT), 0);
    ck_assert_int_eq(join(process), -SIGINT);
    mproc_process_close(&process);
    gate_destroy(&said);
}
END_TEST

static void check_frozen(pid_t pid, mproc_process *process, int pidfd)
{
    kill(pid, SIGSTOP);
    ck_assert_int_eq(mproc_process_signal(process, SIGKILL), 0);
    ck_assert(support_until(ended, &pidfd, LIMIT_MS));
    ck_assert(!mproc_process_is_alive(process));
    ck_assert_int_eq(mproc_process_join(process, mproc_after_ms(30), NULL), -ETIMEDOUT);
    kill(pid, SIGCONT);
    ck_assert_int_eq(join(process), -SIGKILL);
}

START_TEST(deadlines_hold_while_the_nursery_is_stopped)
{
    warm();
    mproc_process *process = start(MPROC_START_FORKSERVER, sleeps_quietly, MPROC_NONE);
    int pidfd = mproc__pidfd_open(mproc_process_pid(process));
    check_frozen(nursery_pid(), process, pidfd);
    close(pidfd);
    mproc_process_close(&process);
}
END_TEST

static void *joins(void *process)
{
    return (void *)(intptr_t)join(process);
}

START_TEST(many_threads_join_one_process)
{
    enum { JOINERS = 6 };
    pthread_t threads[JOINERS];
    void *exit_code;
    warm();
    for (int round = 0; round < 10; round++) {
        mproc_process *process = start(_i, sleeps_quietly, MPROC_NONE);
        for (int i = 0; i < JOINERS; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, joins, process), 0);
        ck_assert_int_eq(mproc_process_signal(process, SIGKILL), 0);
        ck_assert_int_eq(run(_i, nothing, MPROC_NONE), 0); /* may get the slot of the dead one */
        for (int i = 0; i < JOINERS; i++) {
            ck_assert_int_eq(pthread_join(threads[i], &exit_code), 0);
            ck_assert_int_eq((intptr_t)exit_code, -SIGKILL);
        }
        mproc_process_close(&process);
    }
}
END_TEST

/* ---- many ---- */

/* shows: PROC-35 */
START_TEST(many_short_children_all_end_with_0_and_many_sleepers_with_minus_15)
{
    enum { MANY = 100 };
    static mproc_process *processes[MANY];
    int count = _i == MPROC_START_SPAWN ? 5 : MANY;
    warm();
    for (int i = 0; i < count; i++)
        processes[i] = start(_i, nothing, MPROC_NONE);
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(join(processes[i]), 0);
        mproc_process_close(&processes[i]);
    }
    for (int i = 0; i < count; i++)
        processes[i] = start(_i, sleeps_quietly, MPROC_NONE);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(mproc_process_signal(processes[i], SIGTERM), 0);
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(join(processes[i]), -SIGTERM);
        mproc_process_close(&processes[i]);
    }
}
END_TEST

START_TEST(closed_children_are_collected_by_a_later_start)
{
    warm();
    gate hold = gate_make();
    mproc_process *process = start(_i, sleeps_quietly, MPROC_NONE);
    int pidfd = mproc__pidfd_open(mproc_process_pid(process));
    pid_t pid = mproc_process_pid(process);
    ck_assert_int_eq(mproc_process_signal(process, SIGKILL), 0);
    mproc_process_close(&process);
    ck_assert(support_until(ended, &pidfd, LIMIT_MS));
    /* The fork server's nursery tells a moment after the kernel: in any case before it tells the end of a later child. */
    if (_i == MPROC_START_FORKSERVER)
        ck_assert_int_eq(run(_i, nothing, MPROC_NONE), 0);
    ck_assert_int_eq(run(_i, nothing, MPROC_NONE), 0);
    ck_assert_int_eq(kill(pid, 0), -1);
    close(pidfd);
    gate_destroy(&hold);
}
END_TEST

/* ---- faults ---- */

/* shows: START-27 */
START_TEST(without_descriptors_start_fails_cleanly_at_every_step)
{
    struct rlimit before, low;
    int failures = 0, rc = -1;
    warm();
    getrlimit(RLIMIT_NOFILE, &before);
    int first_free = dup(0);
    close(first_free);
    for (int more = 0; rc < 0 && more < 40; more++) {
        mproc_process *process = NULL;
        low = (struct rlimit){(rlim_t)(first_free + more), before.rlim_max};
        setrlimit(RLIMIT_NOFILE, &low);
        rc = mproc_process_start(nothing, MPROC_NONE,
                                 MPROC_WITH(mproc_process_options, .start = (mproc_start)_i), &process);
        setrlimit(RLIMIT_NOFILE, &before);
        ck_assert_int_eq(process != NULL, rc == 0);
        failures += rc < 0;
        if (rc == 0) {
            ck_assert_int_eq(join(process), 0);
            mproc_process_close(&process);
        }
    }
    ck_assert_int_eq(rc, 0);
    ck_assert_int_gt(failures, 0);
    ck_assert_int_eq(run(_i, nothing, MPROC_NONE), 0);
}
END_TEST

/* shows: START-27 */
START_TEST(without_memory_start_fails_cleanly_at_every_step)
{
    warm();
    for (unsigned n = 1; n < 200; n++) {
        mproc_process *process = NULL;
        support_fail_allocation(n);
        int rc = mproc_process_start(nothing, MPROC_ARGS("text", 1),
                                     MPROC_WITH(mproc_process_options, .start = (mproc_start)_i), &process);
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        ck_assert_msg(rc == 0 || (failed && rc == -ENOMEM), "allocation %u: %s", n,
                      mproc_error_text(mproc_last_error()));
        if (rc == 0) {
            int exit_code = join(process);
            ck_assert(exit_code == 0 || failed);
            mproc_process_close(&process);
        }
        if (!failed)
            return;
    }
    ck_abort_msg("never came to an end");
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("nursery");
    TCase *death = support_case(suite, "deaths");
    tcase_add_loop_test(death, when_the_owner_is_killed_no_child_and_no_nursery_outlives_it, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(death, an_owner_killed_at_any_moment_of_a_start_leaves_nobody, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(death, at_the_normal_end_of_the_program_children_are_joined_and_the_nursery_is_gone,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(death, no_child_dies_because_the_thread_that_started_it_ended, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(death, a_killed_nursery_takes_its_children_along_and_the_next_start_makes_another,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(death, the_next_nursery_watches_the_children_of_the_killed_one, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_test(death, the_nursery_survives_interrupts_and_its_children_do_not);
    tcase_add_test(death,
                   the_nursery_is_made_by_the_first_start_and_has_one_thread_and_serves_all_later_ones);
    tcase_add_test(death, deadlines_hold_while_the_nursery_is_stopped);
    TCase *many = support_case(suite, "many");
    tcase_add_loop_test(many, many_threads_join_one_process, FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(many, many_short_children_all_end_with_0_and_many_sleepers_with_minus_15,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(many, closed_children_are_collected_by_a_later_start, FIRST_METHOD, PROCESS_METHODS);
    TCase *faults = support_case(suite, "faults");
    tcase_add_loop_test(faults, without_descriptors_start_fails_cleanly_at_every_step, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(faults, without_memory_start_fails_cleanly_at_every_step, FIRST_METHOD, ALL_METHODS);
    return support_run(suite, argc, argv);
}
