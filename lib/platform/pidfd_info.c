/* SPDX-License-Identifier: BSD-2-Clause */
/* How a process ended, asked of the kernel after somebody else has reaped it (Linux 6.15 on; before:
 * unknown). */
#include "platform/base.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "platform/platform.h"

/* As in the kernel's pidfd.h of 6.15; the headers to build with are often older than the kernel to run on. */
typedef struct pidfd_info {
    uint64_t mask;
    uint64_t cgroup_id;
    uint32_t ids[11]; /* pid, tgid, ppid, and eight of users and groups */
    int32_t exit_code;
} pidfd_info;
_Static_assert(sizeof(pidfd_info) == 64, "size is part of the request's number");

#define PIDFD_INFO_EXIT_BIT UINT64_C(8)
#define PIDFD_GET_INFO_CALL _IOWR(0xff, 11, pidfd_info)

int mproc__pidfd_exit_code(int pidfd, int *ret_exit_code)
{
    pidfd_info info = {.mask = PIDFD_INFO_EXIT_BIT};
    if (ioctl(pidfd, PIDFD_GET_INFO_CALL, &info) < 0)
        return -errno;
    if (!(info.mask & PIDFD_INFO_EXIT_BIT))
        return -ENODATA;
    *ret_exit_code = WIFSIGNALED(info.exit_code) ? -WTERMSIG(info.exit_code) : WEXITSTATUS(info.exit_code);
    return 0;
}
