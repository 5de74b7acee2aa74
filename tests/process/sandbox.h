/* SPDX-License-Identifier: BSD-2-Clause */
/* Denies system calls that starts use. */
#ifndef MPROC__TESTS_SANDBOX_H
#define MPROC__TESTS_SANDBOX_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum {
    CLONE3 = 1 << 0,
    PIDFD_OPEN = 1 << 1,
    PIDFD_SEND_SIGNAL = 1 << 2,
    MEMFD_CREATE = 1 << 3,
    CLOSE_RANGE = 1 << 4,
    ALL_CALLS = (1 << 5) - 1,
    CALLS = 5
};
static const long numbers[CALLS] = {SYS_clone3, SYS_pidfd_open, SYS_pidfd_send_signal, SYS_memfd_create,
                                    SYS_close_range};

/* For this process and its children to come; cannot be taken back. 0, or -errno. */
static int deny(int denied, int error)
{
    struct sock_filter code[2 * CALLS + 2];
    unsigned short count = 0;
    code[count++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0; i < CALLS; i++)
        if (denied & 1 << i) {
            code[count++] =
                (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)numbers[i], 0, 1);
            code[count++] =
                (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((unsigned)error & 0xfff));
        }
    code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = count, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -errno;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : -errno;
}

#endif
