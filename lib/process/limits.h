/* SPDX-License-Identifier: BSD-2-Clause */
/* What a child is held to by the options of its start: checked and taken by the caller, put on by the child. L5.
 *
 * One struct for functions by every method and for programs; it crosses in the boot record and in a program's record as it lies
 * in memory. Putting it on is demanded, not tried: whoever asks for a limit counts on it. */
#ifndef MPROC__PROCESS_LIMITS_H
#define MPROC__PROCESS_LIMITS_H

#include <mproc/process.h>
#include "platform/base.h"

enum { MPROC__LIMIT_CPUS = 8192 }; /* the most that Linux can be built for */

/* In the order in which they are put on: the group decides which CPUs there are, and what each later one refuses, the ones
 * before have not hidden. */
typedef enum mproc__limit {
    MPROC__LIMIT_CGROUP,
    MPROC__LIMIT_AFFINITY,
    MPROC__LIMIT_NICE,
    MPROC__LIMIT_CPU_TIME,
    MPROC__LIMIT_CORE,
    MPROC__LIMIT_DESCRIPTORS,
    MPROC__LIMIT_MEMORY,
    MPROC__LIMITS
} mproc__limit;

typedef struct mproc__limits {
    uint32_t asked;    /* bit n: the limit of that number */
    int32_t nice;      /* the child's, not what is added: a nursery's own is of another moment */
    int32_t cgroup_fd; /* open for writing; -1: none. A receiver puts in the number that it got */
    uint32_t cpu_seconds, descriptors;
    uint64_t memory_bytes;
    uint8_t cpus[MPROC__LIMIT_CPUS / 8];
    bool
        soft_descriptors; /* the child's: it has one to send, and calls mproc__limits_descriptors about that */
} mproc__limits;

/* What went wrong. */
typedef struct mproc__limit_fault {
    int32_t limit;
    int32_t cpu; /* the first that cannot be had; -1: not that */
} mproc__limit_fault;

/* Caller. `of` NULL: none. `thread`: only those are taken that a thread can have for itself. -EINVAL, or the system's. */
int mproc__limits_take(const mproc_limits *of, bool thread, mproc__limits *ret_limits);
void mproc__limits_clear(mproc__limits *limits); /* closes the group */
/* Child, or thread: 0 or -errno. System calls only, so also between vfork and exec. */
int mproc__limits_put(const mproc__limits *limits, mproc__limit_fault *ret_fault);
/* The same with a story, and a look whether the memory suffices to go on. */
int mproc__limits_step(const mproc__limits *limits);
/* The kernel compares what all processes of the user have under way in sockets with the limit of descriptors of who sends one.
 * Not `on`: as much as this process may have, for as long as that takes; `on`: the limit, for good. 0 or -errno. */
int mproc__limits_descriptors(const mproc__limits *limits, bool on);
/* The story for a fault: "`step`: limits.nice: ...". */
int mproc__limits_fail(const char *step, int code, const mproc__limit_fault *fault);

#endif
