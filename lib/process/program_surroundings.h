/* SPDX-License-Identifier: BSD-2-Clause */
/* What an exec in the caller would have carried over to the program, and the nursery may have otherwise, as it was made at
 * another time: taken from the caller, packed into the record, put on by the child. L5.
 *
 * Left out, so those of the moment when the nursery was made: capabilities, seccomp filters, namespaces, cgroup, scheduling
 * policy. */
#ifndef MPROC__PROCESS_PROGRAM_SURROUNDINGS_H
#define MPROC__PROCESS_PROGRAM_SURROUNDINGS_H

#include <sys/resource.h>
#include <sys/types.h>

#include <mproc/program.h>
#include "platform/base.h"

enum {
    MPROC__PROGRAM_LIMITS = 16, /* RLIM_NLIMITS, of Linux since 2.6 */
    MPROC__PROGRAM_CPU_BYTES = 1024,
    MPROC__PROGRAM_GROUPS = 512 /* who is in more groups, is in these */
};

typedef struct mproc__program_user {
    uint32_t uids[3], gids[3]; /* real, effective, saved */
    uint32_t group_count;
    uint32_t groups[MPROC__PROGRAM_GROUPS];
} mproc__program_user;

typedef struct mproc__program_surroundings {
    struct rlimit limits[MPROC__PROGRAM_LIMITS];
    int32_t umask; /* -1: not known, /proc is not there */
    int32_t nice;
    pid_t process_group;
    bool no_new_privileges;
    bool user_named; /* by the options */
    mproc__program_user
        caller;               /* put on first, so that what the caller may not, the nursery does not for it */
    mproc__program_user user; /* if named */
    uint32_t cpu_bytes;       /* 0: not known */
    unsigned char cpus[MPROC__PROGRAM_CPU_BYTES];
} mproc__program_surroundings;

/* Caller: program_surroundings.c, and program_user.c for the user. */
int mproc__program_surroundings_take(const mproc_program_options *options,
                                     mproc__program_surroundings *ret_surroundings);
int mproc__program_user_take(const mproc_program_options *options, mproc__program_surroundings *surroundings);

/* Child, between vfork and exec: system calls only. False, with errno: its user could not be put on. */
void mproc__program_surroundings_put(const mproc__program_surroundings *surroundings, bool own_group);
bool mproc__program_user_put(const mproc__program_user *user);

#endif
