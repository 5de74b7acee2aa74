/* SPDX-License-Identifier: BSD-2-Clause */
/* System calls that no other process can see: the crash before is the crash after. Without them half of the marks of most
 * operations would be looks into /proc. In doubt, a call is seen. */
#include "platform/base.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <unistd.h>

#include "kill/trace.h"

static bool only_looks(long number)
{
    static const long numbers[] = {
        SYS_read,          SYS_pread64,         SYS_lseek,          SYS_fstat,
        SYS_newfstatat,    SYS_readlinkat,      SYS_getdents64,     SYS_getpid,
        SYS_getppid,       SYS_gettid,          SYS_getuid,         SYS_geteuid,
        SYS_clock_gettime, SYS_getrandom,       SYS_pidfd_open,     SYS_sched_getaffinity,
        SYS_sched_yield,   SYS_get_robust_list, SYS_rt_sigprocmask, SYS_ppoll,
    };
    for (size_t i = 0; i < MPROC__COUNT(numbers); i++)
        if (numbers[i] == number)
            return true;
    return false;
}

/* Of files in /proc, which nobody locks: a close gives back the locks of others. */
static bool closes_proc(pid_t pid, int fd)
{
    char path[64], target[16] = "";
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    return length > 0 && strncmp(target, "/proc/", 6) == 0;
}

bool trace_call_is_quiet(pid_t pid)
{
    struct user_regs_struct registers;
    struct iovec io = {.iov_base = &registers, .iov_len = sizeof(registers)};
    if (ptrace(PTRACE_GETREGSET, pid, (void *)(uintptr_t)NT_PRSTATUS, &io) != 0)
        return false;
#if defined(__x86_64__)
    /* Stopped at the instruction, the number is still where the program put it; inside, where the kernel keeps it. */
    long number = (long)registers.orig_rax >= 0 ? (long)registers.orig_rax : (long)registers.rax;
    unsigned long first = registers.rdi, third = registers.rdx;
#else
    long number = (long)registers.regs[8];
    unsigned long first = registers.regs[0], third = registers.regs[2];
#endif
    if (number == SYS_openat)
        return (third & (O_CREAT | O_TRUNC)) == 0;
    return number == SYS_close ? closes_proc(pid, (int)first) : only_looks(number);
}
