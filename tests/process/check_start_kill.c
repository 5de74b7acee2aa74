/* SPDX-License-Identifier: BSD-2-Clause */
/* A caller that is killed anywhere in a start leaves no process behind: neither the child nor the nursery. A nursery that is
 * killed there is an error or is replaced, and nothing runs twice.
 *
 * What others can see of a start changes at its system calls, so the caller is killed before and after each of them, in
 * turn, from the start call's begin to its end; once with a nursery that is made in the call, once with one that is there.
 * This process is the subreaper of all: what is left of a round comes to it, and must end by itself. */
#include "platform/base.h"

#include <poll.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "process/program_support.h"

enum { BY_PROGRAM = ALL_METHODS, MOST_STOPS = 2000 };

typedef struct scene {
    int method; /* or BY_PROGRAM */
    bool warm;
} scene;

static const scene scenes[] = {
    {MPROC_START_FORK, false},      {MPROC_START_FORK, true}, {MPROC_START_SPAWN, false},
    {MPROC_START_SPAWN, true},      {BY_PROGRAM, false},      {MPROC_START_FORKSERVER, false},
    {MPROC_START_FORKSERVER, true}, {BY_PROGRAM, true},
};

static int sleeper(mproc_call *call)
{
    (void)call;
    while (pause() < 0) {
    }
    return 0;
}

static int begin(int method, mproc_fn *fn, mproc_process **ret_process)
{
    if (method == BY_PROGRAM)
        return mproc_process_start_program(fn == nothing ? ARGV("true") : ARGV("sleep", "1000"),
                                           OPTIONS(.capture = true), ret_process);
    return mproc_process_start(fn, MPROC_NONE,
                               MPROC_WITH(mproc_process_options, .start = (mproc_start)method), ret_process);
}

/* Stops before and after the window. */
static int victim(void *context)
{
    const scene *of = context;
    mproc_process *process;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        return 1;
    if (of->warm &&
        (begin(of->method, nothing, &process) < 0 || mproc_process_join(process, MPROC_FOREVER, NULL) < 0))
        return 2;
    raise(SIGSTOP);
    int rc = begin(of->method, sleeper, &process);
    raise(SIGSTOP);
    return rc < 0 ? 3 : 4;
}

/* The victim's next stop: its signal; 0 at a system call, -1 when it is gone. */
static int stop_await(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
        return -1;
    return WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
}

/* Kills it at its n-th stop in the window: whether there was one. */
static bool victim_kill(const scene *of, int n)
{
    pid_t pid = support_fork(victim, (void *)(uintptr_t)of);
    int got = 0;
    while ((got = stop_await(pid)) != SIGSTOP) { /* SIGCHLD, of a warm start */
        ck_assert_int_gt(got, 0);
        ptrace(PTRACE_CONT, pid, NULL, (void *)(uintptr_t)got);
    }
    ck_assert_int_eq(
        ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)), 0);
    int pass = 0, stops = 0;
    while (stops < n) {
        ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(uintptr_t)pass), 0);
        got = stop_await(pid);
        ck_assert_int_ge(got, 0);
        if (got == SIGSTOP)
            break;
        pass = got;
        stops += got == 0;
    }
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(stop_await(pid), -1);
    return stops == n;
}

static bool nobody_left(void *unused)
{
    (void)unused;
    while (waitpid(-1, NULL, WNOHANG | __WALL) > 0) {
    }
    return waitpid(-1, NULL, WNOHANG | __WALL) < 0 && errno == ECHILD;
}

START_TEST(a_caller_killed_in_a_start_leaves_no_process)
{
    enum { LIVE_MS = 250 };
    const scene *of = &scenes[_i];
    int n = 1;
    for (bool more = true; more; n++) {
        ck_assert_int_lt(n, MOST_STOPS);
        more = victim_kill(of, n);
        ck_assert_msg(support_until(nobody_left, NULL, LIVE_MS), "method %d, %s, stop %d: a process is left",
                      of->method, of->warm ? "warm" : "cold", n);
    }
    ck_assert_int_gt(n, 20);
    if (getenv("START_KILL_VERBOSE"))
        fprintf(stderr, "method %d %s: killed at %d stops\n", of->method, of->warm ? "warm" : "cold", n - 2);
}
END_TEST

/* ---- the nursery is killed ---- */

typedef struct surgeon {
    pid_t nursery;
    int stop; /* at which to kill */
    gate ready, killed;
} surgeon;

/* Follows the nursery from system call to system call, kills it at the n-th stop, and says so. */
static int nursery_kill(void *context)
{
    const surgeon *of = context;
    if (ptrace(PTRACE_SEIZE, of->nursery, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) < 0 ||
        ptrace(PTRACE_INTERRUPT, of->nursery, NULL, NULL) < 0 || stop_await(of->nursery) < 0)
        return 1;
    gate_open(&of->ready);
    for (int stops = 0, pass = 0, got; stops < of->stop; stops += got == 0) {
        if (ptrace(PTRACE_SYSCALL, of->nursery, NULL, (void *)(uintptr_t)pass) < 0 ||
            (got = stop_await(of->nursery)) < 0)
            return 2;
        pass = got == SIGTRAP ? 0 : got; /* the stop of PTRACE_INTERRUPT is none of the program's */
    }
    kill(of->nursery, SIGKILL);
    int rc = stop_await(of->nursery) == -1 ? 0 : 3;
    gate_open(&of->killed);
    return rc;
}

/* The nursery's pid: whose child a program is. */
static pid_t nursery_find(void)
{
    char path[64];
    int parent = 0;
    mproc_process *process = launch(ARGV("sleep", "1000"), NULL);
    snprintf(path, sizeof path, "/proc/%d/stat", mproc_process_pid(process));
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%*d (%*[^)]) %*c %d", &parent), 1);
    fclose(file);
    ck_done(mproc_process_stop(process, limit()));
    mproc_process_close(&process);
    return parent;
}

static void program_check(int rc, mproc_process *process, const gate *life)
{
    char ran[4];
    ck_assert_msg(rc == 0 || rc == MPROC_EDIED, "%s", mproc_error_text(mproc_last_error()));
    if (rc == 0) { /* by the next nursery it lives, by the killed one it dies */
        ck_assert_int_ge(mproc_process_stop(process, limit()), 0);
        mproc_process_close(&process);
    }
    ck_assert_int_eq(mproc__fd_poll(life->read_fd, POLLIN, limit()), 0);
    ssize_t got = read(life->read_fd, ran, sizeof ran);
    ck_assert_int_le(got, 1);
    if (got == 1) {
        ck_assert_int_eq(mproc__fd_poll(life->read_fd, POLLIN, limit()), 0);
        ck_assert_int_eq(read(life->read_fd, ran, sizeof ran), 0); /* not twice, and nobody is left */
    }
}

/* Whether it was killed before the start returned. */
static bool nursery_round(int stop)
{
    surgeon of = {.nursery = nursery_find(), .stop = stop, .ready = gate_make(), .killed = gate_make()};
    gate life = gate_make();
    mproc_process *process = NULL;
    char script[80];
    snprintf(script, sizeof script, "printf r >/proc/self/fd/%d; exec sleep 1000", life.write_fd);
    pid_t tracer = support_fork(nursery_kill, &of);
    gate_await(&of.ready);
    int rc =
        mproc_process_start_program(SHELL(script), OPTIONS(.fds = &life.write_fd, .fd_count = 1), &process);
    close(life.write_fd);
    bool killed = mproc__fd_poll(of.killed.read_fd, POLLIN, rc < 0 ? limit() : MPROC_NOW) == 0;
    support_kill(tracer); /* and the nursery, if it is not dead */
    program_check(rc, process, &life);
    ck_assert_int_eq(run(MPROC_START_FORK, nothing, MPROC_NONE), 0);
    close(life.read_fd);
    gate_destroy(&of.ready);
    gate_destroy(&of.killed);
    return killed;
}

START_TEST(a_nursery_killed_in_a_programs_start_lets_it_run_once_at_most)
{
    int n = 1;
    warm();
    while (nursery_round(n))
        ck_assert_int_lt(++n, MOST_STOPS);
    ck_assert_int_gt(n, 20);
    support_leaks_begin(); /* another nursery than the one excused */
    if (getenv("START_KILL_VERBOSE"))
        fprintf(stderr, "nursery: killed at %d stops\n", n - 1);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("start kill");
    TCase *kill_case = support_case(suite, "kill");
    tcase_set_timeout(kill_case, 100);
    tcase_add_loop_test(kill_case, a_caller_killed_in_a_start_leaves_no_process, 0, MPROC__COUNT(scenes));
    tcase_add_test(kill_case, a_nursery_killed_in_a_programs_start_lets_it_run_once_at_most);
    return support_run(suite, argc, argv);
}
