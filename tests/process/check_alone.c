/* SPDX-License-Identifier: BSD-2-Clause */
/* What the library asks of the kernel in the program's process is followed, call by call, over the lives of children of
 * every method: it must leave everything alone that is not its own. */
#include "platform/base.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/ptrace.h>

#include <mproc/program.h>
#include "process/process_support.h"

/* What was seen. */
typedef struct tally {
    unsigned calls, waits, signals; /* waits by pidfd; signals by pidfd */
    char fault[128];                /* the first call that is none of the library's business; "": none */
} tally;

/* ---- the program that is watched ---- */

static int sleeps(mproc_call *call)
{
    while (!mproc_call_stopping(call))
        usleep(500);
    return 0;
}

static int live(int method)
{
    mproc_process *process;
    mproc_variant list;
    const mproc_process_options options = {.size = sizeof options, .start = (mproc_start)method};
    if (mproc_process_start(nothing, MPROC_NONE, &options, &process) < 0 ||
        mproc_process_join(process, MPROC_FOREVER, NULL) < 0)
        return 1;
    mproc_process_close(&process);
    if (mproc_process_start(sleeps, MPROC_NONE, &options, &process) < 0 ||
        mproc_process_children(&list) < 0 || mproc_process_signal(process, SIGTERM) < 0 ||
        mproc_process_stop(process, MPROC_FOREVER) < 0)
        return 2;
    mproc_variant_clear(&list);
    mproc_process_close(&process);
    if (mproc_process_start(sleeps, MPROC_NONE,
                            MPROC_WITH(mproc_process_options, .start = (mproc_start)method, .daemon = true),
                            &process) < 0)
        return 3;
    mproc_process_close(&process); /* ended at exit */
    return 0;
}

static int live_program(void)
{
    static const char *const argv[] = {"sleep", "1000", NULL};
    mproc_process *process;
    if (mproc_process_start_program(argv, NULL, &process) < 0 ||
        mproc_process_stop(process, MPROC_FOREVER) < 0)
        return 4;
    mproc_process_close(&process);
    return 0;
}

static int program(void *unused)
{
    int fault = 0;
    (void)unused;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
        return 10;
    pid_t stranger = fork();
    if (stranger == 0)
        _exit(3);
    raise(SIGSTOP);
    for (int method = FIRST_METHOD; fault == 0 && method < ALL_METHODS; method++)
        fault = live(method);
    if (fault == 0)
        fault = live_program();
    int status = 0;
    /* A call that ends the window, as no kernel has it; then its own child is there for it. */
    syscall(-1L);
    if (fault == 0 && (waitpid(stranger, &status, 0) != stranger || WEXITSTATUS(status) != 3))
        fault = 5;
    exit(fault);
}

/* ---- the watcher ---- */

static void complain(tally *seen, const struct ptrace_syscall_info *call, const char *what)
{
    if (!seen->fault[0])
        snprintf(seen->fault, sizeof seen->fault, "%s: call %llu(%lld, %lld, ...)", what,
                 (unsigned long long)call->entry.nr, (long long)call->entry.args[0],
                 (long long)call->entry.args[1]);
}

static void judge(tally *seen, const struct ptrace_syscall_info *call, pid_t pid)
{
    const __u64 *args = call->entry.args;
    seen->calls++;
    switch ((long)call->entry.nr) {
    case SYS_kill:
    case SYS_tkill:
    case SYS_rt_sigqueueinfo:
        complain(seen, call, "a signal by number");
        break;
    case SYS_tgkill: /* abort and raise */
        if ((pid_t)args[0] != pid)
            complain(seen, call, "a signal by number");
        break;
    case SYS_wait4:
        complain(seen, call, "a wait by number");
        break;
    case SYS_waitid:
        if ((idtype_t)args[0] != P_PIDFD)
            complain(seen, call, "a wait by number");
        seen->waits++;
        break;
    case SYS_pidfd_send_signal:
        seen->signals++;
        break;
    case SYS_rt_sigaction:
        if (args[1] && args[0] != 32 && args[0] != 33) /* libc's own two, with the first thread */
            complain(seen, call, "a signal's disposition");
        break;
    case SYS_prctl: /* no subreaper, no parent-death signal of the program's */
        if ((int)args[0] == 36 || (int)args[0] == 1)
            complain(seen, call, "the program's own attributes");
        break;
    }
}

/* Follows all threads of the program, none of its children, from the first stop to the last call. */
static void watch(pid_t pid, tally *seen)
{
    bool open = true;
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    ck_assert_int_eq(ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)options), 0);
    ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
    for (;;) {
        struct ptrace_syscall_info call;
        pid_t tid = waitpid(-1, &status, __WALL);
        ck_assert_int_gt(tid, 0);
        if (!WIFSTOPPED(status)) {
            if (tid != pid)
                continue; /* a thread */
            ck_assert_int_eq(status, 0);
            return;
        }
        int number = WSTOPSIG(status), pass = 0;
        if (number == (SIGTRAP | 0x80)) {
            ck_assert_int_gt(ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof call, &call), 0);
            if (call.op == PTRACE_SYSCALL_INFO_ENTRY && call.entry.nr == (__u64)-1)
                open = false;
            if (open && call.op == PTRACE_SYSCALL_INFO_ENTRY)
                judge(seen, &call, pid);
        } else if (number != SIGTRAP && number != SIGSTOP) {
            pass = number;
        }
        (void)ptrace(PTRACE_SYSCALL, tid, NULL, (void *)(intptr_t)pass);
    }
}

/* shows: START-C */
START_TEST(the_library_waits_and_signals_by_process_handles_only_and_handles_no_signal)
{
    tally seen = {0};
    watch(support_fork(program, NULL), &seen);
    ck_assert_str_eq(seen.fault, "");
    ck_assert_uint_gt(seen.calls, 100);
    /* fork and spawn: two joined children each, two signals to a child each; what exit does is not in the window */
    ck_assert_uint_ge(seen.waits, 4);
    ck_assert_uint_ge(seen.signals, 6);
}
END_TEST

/* With sanitizers: the hunt for leaks at exit cannot be traced. */
#ifdef MPROC__SANITIZED
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("alone");
    TCase *alone = support_case(suite, "alone");
    if (!SANITIZED) {
        tcase_add_test(alone, the_library_waits_and_signals_by_process_handles_only_and_handles_no_signal);
    }
    return support_run(suite, argc, argv);
}
