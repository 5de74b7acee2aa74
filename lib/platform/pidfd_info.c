/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel tells of a process by its pidfd: how it ended, also after somebody else has reaped it (Linux 6.15
 * on; before: unknown), and a number that no other process has ever had. */
#include "platform/base.h"

#include <limits.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
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
#define PIDFS_MAGIC         0x50494446

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

/* In pidfs (Linux 6.9 on) the inode's number is counted up since boot, with 64 bits; where longs are shorter, stat
 * shows a part of it. Pidfds before were all one inode. */
int mproc__pidfd_id(int pidfd, uint64_t *ret_id)
{
    struct statfs system;
    struct stat status;
    if (sizeof status.st_ino < sizeof *ret_id || ULONG_MAX < UINT64_MAX)
        return -ENOSYS;
    if (fstatfs(pidfd, &system) < 0 || fstat(pidfd, &status) < 0)
        return -errno;
    if (system.f_type != PIDFS_MAGIC)
        return -ENOSYS;
    *ret_id = status.st_ino;
    return 0;
}
