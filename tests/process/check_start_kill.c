/* SPDX-License-Identifier: BSD-2-Clause */
/* A caller that is killed anywhere in a start leaves no process behind: neither the child nor the nursery.
 *
 * What others can see of a start changes at its system calls, so the caller is killed before and after each of them, in
 * turn, from the start call's begin to its end; once with a nursery that is made in the call, once with one that is there.
 * This process is the subreaper of all: what is left of a round comes to it, and must end by itself. */
#include "platform/base.h"

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

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("start kill");
    TCase *kill_case = support_case(suite, "kill");
    tcase_set_timeout(kill_case, 100);
    tcase_add_loop_test(kill_case, a_caller_killed_in_a_start_leaves_no_process, 0, MPROC__COUNT(scenes));
    return support_run(suite, argc, argv);
}
