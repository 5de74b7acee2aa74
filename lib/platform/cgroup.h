/* SPDX-License-Identifier: BSD-2-Clause */
/* The control groups this process is in: limits that hold though the machine has more. L0. */
#ifndef MPROC__PLATFORM_CGROUP_H
#define MPROC__PLATFORM_CGROUP_H

#include <sys/types.h>

#include "platform/base.h"

/* Called for the process's own group and each ancestor that is visible, innermost first. */
typedef void mproc__cgroup_visit(const char *directory, bool version_2, void *context);

/* Visits the groups of one controller ("memory", "cpu"), in whichever version it is mounted. Nothing is visited where there
 * are no control groups. */
void mproc__cgroup_walk(const char *controller, mproc__cgroup_visit *visit, void *context);

/* Whether a process is frozen, by its group or one above: it stands still as if stopped. False for what cannot be seen. */
bool mproc__cgroup_frozen(pid_t pid);

/* The word-th number (from 0) of directory/file; INT64_MAX for "max", a missing word or a missing file. */
int64_t mproc__cgroup_number(const char *directory, const char *file, int word);
/* The number after `key` in a file of "key number" lines; 0 when missing. */
int64_t mproc__cgroup_keyed(const char *directory, const char *file, const char *key);
/* The same. False, and *ret_number as it was: missing. */
bool mproc__cgroup_key_find(const char *directory, const char *file, const char *key, int64_t *ret_number);

/* ---- oom.c ---- */
typedef struct mproc__oom_count {
    int64_t kills; /* ever */
    bool of_group; /* not: of the whole machine */
} mproc__oom_count;
/* How many processes the kernel has killed for want of memory: of the group in whose directory the file open as `group_fd` is
 * (-1: of this process's); where no such group counts, of the machine. */
mproc__oom_count mproc__oom_kills(int group_fd);

#endif
