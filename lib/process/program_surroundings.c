/* SPDX-License-Identifier: BSD-2-Clause */
/* A program's umask, limits, priority, CPUs and process group: the caller's, not the nursery's.
 *
 * Putting them on is tried, not demanded: what the caller lowered can be lowered again, and that is what matters; what
 * somebody with more rights raised for the caller alone, the nursery's child cannot raise. */
#include "platform/base.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/story.h"
#include "process/own_fds.h"
#include "process/program_surroundings.h"

/* ---- in the caller ---- */

/* umask() itself can only be asked by changing it, for all threads. */
static int umask_read(void)
{
    char text[512] = "";
    mproc__own_fds_begin(); /* no other thread's child gets what is open here */
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    mproc__own_fds_end();
    const char *at = got > 0 ? strstr(text, "\nUmask:") : NULL;
    return at ? (int)strtol(at + 7, NULL, 8) : -1;
}

static void cpus_take(mproc__program_surroundings *of)
{
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof of->cpus, of->cpus);
    of->cpu_bytes = bytes > 0 ? (uint32_t)bytes : 0;
}

int mproc__program_surroundings_take(const mproc_program_options *options,
                                     mproc__program_surroundings *ret_surroundings)
{
    mproc__program_surroundings *of = ret_surroundings;
    memset(of, 0, sizeof *of);
    for (int i = 0; i < MPROC__PROGRAM_LIMITS; i++)
        if (getrlimit((__rlimit_resource_t)i, &of->limits[i]) < 0)
            return mproc__fail(-errno, "start_program: reading limit %d: %s", i, mproc_strerror(-errno));
    if (options && options->set_umask && options->umask > 0777)
        return mproc__fail(-EINVAL, "start_program: a umask of 0%o", options->umask);
    of->umask = options && options->set_umask ? (int32_t)options->umask : umask_read();
    of->nice = getpriority(PRIO_PROCESS, 0);
    of->process_group = getpgrp();
    of->no_new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
    cpus_take(of);
    return mproc__program_user_take(options, of);
}

/* ---- in the child ---- */

static void limits_put(const mproc__program_surroundings *of)
{
    struct rlimit now;
    for (int i = 0; i < MPROC__PROGRAM_LIMITS; i++)
        if (getrlimit((__rlimit_resource_t)i, &now) == 0 &&
            (now.rlim_cur != of->limits[i].rlim_cur || now.rlim_max != of->limits[i].rlim_max))
            (void)setrlimit((__rlimit_resource_t)i, &of->limits[i]);
}

static void cpus_put(const mproc__program_surroundings *of)
{
    unsigned char now[MPROC__PROGRAM_CPU_BYTES];
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof now, now);
    if (of->cpu_bytes && (bytes != (long)of->cpu_bytes || memcmp(now, of->cpus, of->cpu_bytes) != 0))
        (void)syscall(SYS_sched_setaffinity, 0, of->cpu_bytes, of->cpus);
}

void mproc__program_surroundings_put(const mproc__program_surroundings *of, bool own_group)
{
    if (!own_group && getpgrp() != of->process_group)
        (void)setpgid(0, of->process_group); /* in another session by now: it stays in the nursery's */
    if (of->umask >= 0)
        umask((mode_t)of->umask);
    limits_put(of);
    cpus_put(of);
    if (getpriority(PRIO_PROCESS, 0) != of->nice)
        (void)setpriority(PRIO_PROCESS, 0, of->nice);
    if (of->no_new_privileges)
        (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
