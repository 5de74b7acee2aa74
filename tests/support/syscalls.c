/* SPDX-License-Identifier: BSD-2-Clause */
/* Lets a system call of a child fail. At its entry the call's number is replaced by one that no kernel has, so that
 * nothing is done, and at its exit the answer by the errno. */
#include "platform/base.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/faultloop.h"
#include "support/tracing.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* What the kernel's pages say each may answer to a caller that made no mistake. A call that is not here never fails. */
static const fault_call calls[] = {
    {SYS_accept4, "accept4", {EMFILE, ENOMEM, ECONNABORTED}, true},
    {SYS_bind, "bind", {ENOMEM, EADDRINUSE}, false},
    {SYS_clone, "clone", {EAGAIN, ENOMEM}, false},
#ifdef SYS_clone3
    {SYS_clone3, "clone3", {EAGAIN, ENOMEM}, false},
#endif
    {SYS_connect, "connect", {ECONNREFUSED, ENOMEM}, true},
    {SYS_dup3, "dup3", {EMFILE}, false},
    {SYS_eventfd2, "eventfd2", {EMFILE, ENFILE, ENOMEM}, false},
    {SYS_fallocate, "fallocate", {ENOSPC, EINTR, ENOMEM}, true},
    {SYS_fcntl, "fcntl", {EMFILE}, false},
    {SYS_flock, "flock", {ENOLCK, EINTR}, true},
    {SYS_fstat, "fstat", {ENOMEM}, false},
    {SYS_ftruncate, "ftruncate", {ENOSPC, EINTR}, true},
    {SYS_futex, "futex", {EINTR, EAGAIN}, true},
    {SYS_futex_waitv, "futex_waitv", {EINTR, EAGAIN, ENOMEM, ENOSYS}, true},
    {SYS_getdents64, "getdents64", {ENOMEM, ENOENT}, false},
    {SYS_getrandom, "getrandom", {EINTR, ENOSYS}, true},
    {SYS_linkat, "linkat", {ENOSPC, EACCES}, false},
    {SYS_listen, "listen", {EADDRINUSE}, false},
    {SYS_madvise, "madvise", {ENOMEM, EINVAL}, false},
    {SYS_memfd_create, "memfd_create", {EMFILE, ENFILE, ENOMEM}, false},
    {SYS_mkdirat, "mkdirat", {ENOSPC, EACCES}, false},
    {SYS_mmap, "mmap", {ENOMEM, ENFILE}, false},
    {SYS_mprotect, "mprotect", {ENOMEM}, false},
    {SYS_newfstatat, "newfstatat", {ENOMEM, EACCES}, false},
    {SYS_openat, "openat", {EMFILE, ENFILE, EACCES, ENOMEM}, false},
    {SYS_pidfd_open, "pidfd_open", {EMFILE, ENFILE, ENOMEM, ENOSYS}, false},
    {SYS_ppoll, "ppoll", {EINTR, ENOMEM}, true},
    {SYS_pread64, "pread64", {EIO, EINTR}, true},
    {SYS_read, "read", {EIO, EINTR}, true},
    {SYS_readlinkat, "readlinkat", {EACCES, ENOMEM}, false},
    {SYS_recvmsg, "recvmsg", {ENOMEM, EINTR}, true},
    {SYS_renameat2, "renameat2", {ENOSPC, EACCES}, false},
    {SYS_sched_getaffinity, "sched_getaffinity", {EPERM}, false},
    {SYS_sendmsg, "sendmsg", {ENOMEM, EINTR, ENOBUFS}, true},
    {SYS_sendto, "sendto", {ENOMEM, EINTR, ENOBUFS}, true}, /* send */
    {SYS_socket, "socket", {EMFILE, ENFILE, ENOMEM}, false},
    {SYS_socketpair, "socketpair", {EMFILE, ENFILE}, false},
    {SYS_statx, "statx", {ENOMEM, EACCES}, false},
    {SYS_write, "write", {ENOSPC, EINTR}, true},
#ifdef SYS_poll /* the old ones, which newer architectures lack */
    {SYS_link, "link", {ENOSPC, EACCES}, false},
    {SYS_mkdir, "mkdir", {ENOSPC, EACCES}, false},
    {SYS_open, "open", {EMFILE, EACCES}, false},
    {SYS_poll, "poll", {EINTR, ENOMEM}, true},
    {SYS_readlink, "readlink", {EACCES}, false},
    {SYS_rename, "rename", {ENOSPC, EACCES}, false},
    {SYS_stat, "stat", {ENOMEM, EACCES}, false},
#endif
};

const fault_call *fault_call_of(const fault_stop *at)
{
    /* To wake cannot fail, nor to ask for a descriptor's flags. */
    if (at->number == SYS_futex && (at->arguments[1] & FUTEX_CMD_MASK) == FUTEX_WAKE)
        return NULL;
    if (at->number == SYS_fcntl && at->arguments[1] != F_DUPFD && at->arguments[1] != F_DUPFD_CLOEXEC)
        return NULL;
    for (size_t i = 0; i < MPROC__COUNT(calls); i++)
        if (calls[i].number == at->number)
            return &calls[i];
    return NULL;
}

unsigned fault_error_count(const fault_call *call)
{
    unsigned count = 0;
    while (count < FAULT_ERRORS_MAX && call->errors[count])
        count++;
    return count;
}

/* ---- registers ---- */

#if defined(__x86_64__)
int fault_suppress(pid_t child)
{
    struct user_regs_struct registers;
    struct iovec io = {&registers, sizeof(registers)};
    if (ptrace(PTRACE_GETREGSET, child, (void *)(uintptr_t)NT_PRSTATUS, &io) != 0)
        return -1;
    registers.orig_rax = UINT64_MAX;
    return (int)ptrace(PTRACE_SETREGSET, child, (void *)(uintptr_t)NT_PRSTATUS, &io);
}
#define RESULT_REGISTER rax
#elif defined(__aarch64__)
int fault_suppress(pid_t child)
{
    int none = -1;
    struct iovec io = {&none, sizeof(none)};
    return (int)ptrace(PTRACE_SETREGSET, child, (void *)(uintptr_t)NT_ARM_SYSTEM_CALL, &io);
}
#define RESULT_REGISTER regs[0]
#else
#error "say how a system call is suppressed and where its result lies"
#endif

int fault_result_set(pid_t child, int64_t result)
{
    struct user_regs_struct registers;
    struct iovec io = {&registers, sizeof(registers)};
    if (ptrace(PTRACE_GETREGSET, child, (void *)(uintptr_t)NT_PRSTATUS, &io) != 0)
        return -1;
    registers.RESULT_REGISTER = (uint64_t)result;
    return (int)ptrace(PTRACE_SETREGSET, child, (void *)(uintptr_t)NT_PRSTATUS, &io);
}

/* ---- the window ---- */

/* Two stops of the child by itself enclose it. */
void fault_window_open(void)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
}

void fault_window_close(void)
{
    raise(SIGSTOP);
}

typedef struct tracing {
    pid_t child;
    const fault_plan *plan;
    fault_outcome *outcome;
    unsigned calls, interruptions; /* so far */
    int pending;                   /* the errno of the call that is now suppressed, 0: none */
} tracing;

int fault_look_at(pid_t child, fault_stop *ret_stop)
{
    struct __ptrace_syscall_info info;
    memset(&info, 0, sizeof(info));
    if (ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof(info), &info) <= 0)
        return -1;
    *ret_stop = (fault_stop){.op = info.op, .number = (long)info.entry.nr};
    memcpy(ret_stop->arguments, info.entry.args, sizeof(ret_stop->arguments));
    return 0;
}

/* Which errno the call that begins here is to fail with; 0: none. */
static int chosen(tracing *t, const fault_stop *at)
{
    const fault_call *call = fault_call_of(at);
    if (!call)
        return 0;
    if (t->plan->interruptions)
        return call->sleeps && t->interruptions++ < t->plan->interruptions ? EINTR : 0;
    if (++t->calls != t->plan->call)
        return 0;
    *t->outcome =
        (fault_outcome){.happened = true, .variants = fault_error_count(call), .system_call = call->name};
    t->outcome->error = call->errors[t->plan->variant];
    return t->outcome->error;
}

static int at_system_call(tracing *t)
{
    fault_stop at;
    if (fault_look_at(t->child, &at) != 0)
        return -1;
    if (at.op == PTRACE_SYSCALL_INFO_EXIT) {
        int error = t->pending;
        t->pending = 0;
        return error ? fault_result_set(t->child, -error) : 0;
    }
    t->pending = chosen(t, &at);
    return t->pending ? fault_suppress(t->child) : 0;
}

/* The next stop: its signal (SIGTRAP | 0x80: a system call), or -1: the child has ended. */
static int next_stop(pid_t child)
{
    int status;
    if (waitpid(child, &status, __WALL) != child || !WIFSTOPPED(status))
        return -1;
    return WSTOPSIG(status);
}

int fault_trace(pid_t child, const fault_plan *plan, fault_outcome *ret_outcome)
{
    tracing t = {.child = child, .plan = plan, .outcome = ret_outcome};
    *ret_outcome = (fault_outcome){0};
    if (next_stop(child) != SIGSTOP)
        return -1;
    uintptr_t options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)options) != 0)
        return -1;
    uintptr_t signal_number = 0;
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, child, NULL, (void *)signal_number) != 0)
            return -1;
        int reason = next_stop(child);
        if (reason < 0)
            return -1;
        if (reason == SIGSTOP)
            break;
        bool system_call = reason == (SIGTRAP | 0x80);
        signal_number = system_call ? 0 : (uintptr_t)reason;
        if (system_call && at_system_call(&t) != 0)
            return -1;
    }
    return (int)ptrace(PTRACE_DETACH, child, NULL, NULL);
}
