/* SPDX-License-Identifier: BSD-2-Clause */
/* How often the kernel has killed for want of memory. */
#include "platform/base.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "platform/cgroup.h"

/* Version 2 writes memory.events, version 1 memory.oom_control; both count every victim that was in the group, whether the
 * group's limit was reached, one's above it, or the machine's. */
static bool group_look(const char *directory, mproc__oom_count *ret_count)
{
    ret_count->of_group =
        mproc__cgroup_key_find(directory, "memory.events", "oom_kill", &ret_count->kills) ||
        mproc__cgroup_key_find(directory, "memory.oom_control", "oom_kill", &ret_count->kills);
    return ret_count->of_group;
}

/* The innermost group counts. Those above it would count the victims of other groups as well. */
static void group_visit(const char *directory, bool version_2, void *context)
{
    mproc__oom_count *count = context;
    (void)version_2;
    if (!count->of_group)
        (void)group_look(directory, count);
}

/* `group_fd` is of a file in the group's directory. */
static bool opened_look(int group_fd, mproc__oom_count *ret_count)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", group_fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return false;
    path[length] = 0;
    char *end = strrchr(path, '/');
    if (end)
        *end = 0;
    return end && group_look(path, ret_count);
}

mproc__oom_count mproc__oom_kills(int group_fd)
{
    mproc__oom_count count = {.kills = 0};
    if (group_fd >= 0 && opened_look(group_fd, &count))
        return count;
    mproc__cgroup_walk("memory", group_visit, &count);
    if (!count.of_group)
        (void)mproc__cgroup_key_find("/proc", "vmstat", "oom_kill", &count.kills);
    return count;
}
