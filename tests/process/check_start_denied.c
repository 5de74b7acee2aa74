/* SPDX-License-Identifier: BSD-2-Clause */
/* A sandbox that denies what starts use, by EPERM as containers do or by ENOSYS as old kernels: what can be done without the
 * call is done, the rest is an error that names it; nothing is left and nobody waits. Filters cannot be taken off again,
 * so each caller is a process of its own. */
#include "platform/base.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "process/program_support.h"
#include "process/sandbox.h"

enum { BY_PROGRAM = ALL_METHODS, KINDS };

/* Sets of kinds of start. */
enum {
    THREAD = 1 << MPROC_START_THREAD,
    SERVED = 1 << MPROC_START_FORKSERVER | 1 << BY_PROGRAM,
    OWN = 1 << MPROC_START_FORK | 1 << MPROC_START_SPAWN,
    EVERY = THREAD | SERVED | OWN
};

/* works: from the program's begin on in the sandbox; works_later: with the nursery from before. Of a start that does not, the
 * story has one of the two words. */
typedef struct scene {
    int denied, error, works, works_later;
    const char *word, *other_word;
} scene;

/* clone3: libc starts threads without it only where the kernel says ENOSYS. pidfd_open: the nursery has taken the pidfds
 * of what it starts. */
static const scene scenes[] = {
    {CLONE3, EPERM, SERVED | OWN, SERVED | OWN, "clone3", "clone3"},
    {CLONE3, ENOSYS, EVERY, EVERY, "", ""},
    {PIDFD_OPEN, EPERM, THREAD, THREAD | SERVED, "pidfd_open", "pidfd_open"},
    {PIDFD_OPEN, ENOSYS, THREAD, THREAD | SERVED, "pidfd_open", "pidfd_open"},
    {PIDFD_SEND_SIGNAL, EPERM, THREAD, THREAD, "pidfd_send_signal", "pidfd_send_signal"},
    {PIDFD_SEND_SIGNAL, ENOSYS, THREAD, THREAD, "pidfd_send_signal", "pidfd_send_signal"},
    {MEMFD_CREATE, EPERM, EVERY, EVERY, "", ""},
    {MEMFD_CREATE, ENOSYS, EVERY, EVERY, "", ""},
    {CLOSE_RANGE, EPERM, EVERY, EVERY, "", ""},
    {CLOSE_RANGE, ENOSYS, EVERY, EVERY, "", ""},
    {MEMFD_CREATE | CLOSE_RANGE | CLONE3, EPERM, SERVED | OWN, SERVED | OWN, "clone3", "clone3"},
    {ALL_CALLS, ENOSYS, THREAD, THREAD, "pidfd_open", "pidfd_send_signal"},
    {ALL_CALLS, EPERM, 0, 0, "pidfd_", "clone3"},
};

/* ---- the caller ---- */

static int begin(int kind, mproc_process **ret_process)
{
    if (kind == BY_PROGRAM)
        return mproc_process_start_program(ARGV("true"), NULL, ret_process);
    return mproc_process_start(nothing, MPROC_ARGS("text"),
                               MPROC_WITH(mproc_process_options, .start = (mproc_start)kind), ret_process);
}

/* In the caller, which must not use ck_assert: says what, and ends with 1. */
static int wrong(int kind, const char *what)
{
    fprintf(stderr, "kind %d: %s; %s\n", kind, what, mproc_error_text(mproc_last_error()));
    return 1;
}

static int starts(int kind)
{
    mproc_process *process = NULL;
    int exit_code = -1;
    if (begin(kind, &process) != 0)
        return wrong(kind, "does not start");
    if (mproc_process_join(process, limit(), &exit_code) != 0 || exit_code != 0)
        return wrong(kind, "has not run");
    mproc_process_close(&process);
    return 0;
}

static int refused(int kind, const scene *of)
{
    mproc_process *process = NULL;
    int rc = begin(kind, &process);
    const char *text = mproc_error_text(mproc_last_error());
    if (rc != -of->error || process)
        return wrong(kind, "is not refused");
    if (!strstr(text, of->word) && !strstr(text, of->other_word))
        return wrong(kind, "does not say what was denied");
    return 0;
}

static int calls_kinds(const scene *of, int works)
{
    for (int again = 0; again < 2; again++)
        for (int kind = FIRST_METHOD; kind < KINDS; kind++)
            if (works & 1 << kind ? starts(kind) : refused(kind, of))
                return 1;
    return 0;
}

/* A thread makes what stays (the stop words), and no nursery. */
static int from_the_begin_on(void *context)
{
    const scene *of = context;
    char left[1024];
    if (starts(MPROC_START_THREAD))
        return 1;
    support_leaks_begin();
    if (deny(of->denied, of->error) != 0)
        return wrong(0, "no sandbox");
    if (calls_kinds(of, of->works))
        return 1;
    bool has_nursery = of->works & SERVED;
    return !has_nursery && support_leaks_find(left, sizeof left) > 0 ? wrong(0, left) : 0;
}

static int later(void *context)
{
    const scene *of = context;
    char left[1024];
    mproc_set_spares(0);
    if (starts(MPROC_START_FORK) || starts(MPROC_START_FORKSERVER))
        return 1;
    support_leaks_begin();
    if (deny(of->denied, of->error) != 0)
        return wrong(0, "no sandbox");
    if (calls_kinds(of, of->works_later))
        return 1;
    return support_leaks_find(left, sizeof left) > 0 ? wrong(0, left) : 0;
}

/* Runs it in a process of its own, with which all that it has started must end. */
static void ck_runs(support_fn *fn, const void *context)
{
    ck_assert_int_eq(support_reap(support_fork(fn, (void *)(uintptr_t)context), LIMIT_MS), 0);
    ck_assert(support_until(nobody_is_left, NULL, LIMIT_MS));
}

START_TEST(a_program_in_a_sandbox_starts_what_it_can_and_names_what_is_denied)
{
    ck_runs(from_the_begin_on, &scenes[_i]);
}
END_TEST

START_TEST(so_does_one_that_enters_the_sandbox_later)
{
    ck_runs(later, &scenes[_i]);
}
END_TEST

/* ---- stopping ---- */

static int sleeps(mproc_call *call)
{
    (void)call;
    while (pause() < 0) {
    }
    return 0;
}

/* It has been told, and will die with its caller: the nursery lives outside the sandbox. */
static int cannot_stop(void *context)
{
    int method = *(const int *)context;
    mproc_process *process = NULL;
    if (mproc_process_start(sleeps, MPROC_NONE,
                            MPROC_WITH(mproc_process_options, .start = (mproc_start)method, .grace_ms = 10),
                            &process) != 0)
        return wrong(method, "does not start");
    if (deny(PIDFD_SEND_SIGNAL, EPERM) != 0)
        return wrong(method, "no sandbox");
    if (mproc_process_signal(process, SIGTERM) != -EPERM)
        return wrong(method, "a signal has got through");
    if (mproc_process_stop(process, MPROC_FOREVER) != -EPERM)
        return wrong(method, "has been stopped");
    return 0;
}

START_TEST(where_signals_are_denied_stop_says_so_and_does_not_wait)
{
    ck_runs(cannot_stop, &_i);
}
END_TEST

/* ---- what a failed start leaves ---- */

/* main of a child that does not come to mproc_init. */
#define STRAYS "CHECK_START_STRAYS"

static int spawns_a_stray(void *unused)
{
    mproc_process *process = NULL;
    (void)unused;
    if (starts(MPROC_START_FORK) || deny(PIDFD_OPEN, EPERM) != 0 || setenv(STRAYS, "1", 1) != 0)
        return 1;
    int rc = mproc_process_start(nothing, MPROC_NONE,
                                 MPROC_WITH(mproc_process_options, .start = MPROC_START_SPAWN), &process);
    return rc == -EPERM ? 0 : wrong(MPROC_START_SPAWN, "is not refused");
}

START_TEST(a_child_without_a_pidfd_is_ended_also_on_its_way_to_the_entry_hook)
{
    ck_runs(spawns_a_stray, NULL);
}
END_TEST

/* The numbers of the failed start's are the program's own then. */
static int opens_and_forks(void *unused)
{
    enum { OPENED = 40 };
    mproc_process *process = NULL;
    int fds[OPENED], status = -1;
    (void)unused;
    if (starts(BY_PROGRAM) || deny(PIDFD_SEND_SIGNAL, EPERM) != 0)
        return 1;
    if (mproc_process_start_program(ARGV("true"), NULL, &process) != -EPERM)
        return wrong(BY_PROGRAM, "is not refused");
    for (int i = 0; i < OPENED; i++)
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pid_t pid = fork();
    for (int i = 0; pid == 0 && i < OPENED; i++)
        if (fds[i] < 0 || fcntl(fds[i], F_GETFD) < 0)
            _exit(2);
    if (pid == 0)
        _exit(0);
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : wrong(BY_PROGRAM, "a fork lost descriptors");
}

START_TEST(a_fork_after_a_refused_program_has_all_of_the_programs_descriptors)
{
    ck_runs(opens_and_forks, NULL);
}
END_TEST

/* ---- descriptors ---- */

enum { HIGH_FD = 600, LOW_LIMIT = 100 };

static int has_no_high_fd(mproc_call *call)
{
    (void)call;
    return fcntl(HIGH_FD, F_GETFD) < 0 && errno == EBADF ? 0 : 1;
}

/* Above a limit that was lowered since: closing one by one up to the limit would miss it. */
static int closes(void *context)
{
    const int *error = context;
    struct rlimit low;
    mproc_process *process = NULL;
    int exit_code = -1;
    if (dup2(0, HIGH_FD) != HIGH_FD || getrlimit(RLIMIT_NOFILE, &low) != 0)
        return 1;
    low.rlim_cur = LOW_LIMIT;
    if (setrlimit(RLIMIT_NOFILE, &low) != 0 || deny(CLOSE_RANGE, *error) != 0)
        return 2;
    for (int method = MPROC_START_SPAWN; method < PROCESS_METHODS; method++) {
        if (mproc_process_start(has_no_high_fd, MPROC_NONE,
                                MPROC_WITH(mproc_process_options, .start = (mproc_start)method), &process) ||
            mproc_process_join(process, limit(), &exit_code) || exit_code != 0)
            return wrong(method, "has a descriptor too many");
        mproc_process_close(&process);
    }
    if (mproc_run(SHELL("test ! -e /proc/self/fd/600"), NULL, NULL, limit(), &process) != 0 ||
        mproc_process_join(process, limit(), &exit_code) || exit_code != 0)
        return wrong(BY_PROGRAM, "has a descriptor too many");
    mproc_process_close(&process);
    return 0;
}

START_TEST(without_close_range_no_descriptor_comes_along)
{
    int error = _i ? ENOSYS : EPERM;
    ck_runs(closes, &error);
}
END_TEST

int main(int argc, char **argv)
{
    if (getenv(STRAYS)) {
        alarm(60);
        pause();
    }
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("start_denied");
    TCase *denied = support_case(suite, "denied");
    tcase_add_loop_test(denied, a_program_in_a_sandbox_starts_what_it_can_and_names_what_is_denied, 0,
                        MPROC__COUNT(scenes));
    tcase_add_loop_test(denied, so_does_one_that_enters_the_sandbox_later, 0, MPROC__COUNT(scenes));
    tcase_add_loop_test(denied, where_signals_are_denied_stop_says_so_and_does_not_wait, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_test(denied, a_child_without_a_pidfd_is_ended_also_on_its_way_to_the_entry_hook);
    tcase_add_test(denied, a_fork_after_a_refused_program_has_all_of_the_programs_descriptors);
    tcase_add_loop_test(denied, without_close_range_no_descriptor_comes_along, 0, 2);
    return support_run(suite, argc, argv);
}
