/* SPDX-License-Identifier: BSD-2-Clause */
/* Starting a child process that runs one function: what processes, the nursery and the pool's supervisor share. L5.
 *
 * MPROC_START_FORK: fork() here and now; arguments are memory the child already has.
 * MPROC_START_SPAWN: /proc/self/exe anew; function (build-id, offset) and arguments cross as a parcel over a socket, and
 * mproc_init in the child's main takes over. A caller that never called mproc_init gets MPROC_ENOINIT.
 * The child's first steps are numbered in child.c. */
#ifndef MPROC__PROCESS_LAUNCH_H
#define MPROC__PROCESS_LAUNCH_H

#include <sys/types.h>

#include <mproc/call.h>
#include <mproc/process.h>
#include "platform/base.h"

typedef struct mproc__launch_options {
    mproc_start start;              /* FORK or SPAWN */
    mproc_fn *fn;
    mproc_variant args;
    const char *name;               /* process name: mproc_process_name in the child, ps (15 bytes) */
    bool die_with_parent;           /* PR_SET_PDEATHSIG towards the calling process: only for single-threaded callers */
    bool keep_stdin;                /* else the null device */
    const int *keep_fds;            /* fork: the library's descriptors that stay open (by fork the program's own do) */
    size_t keep_count;
} mproc__launch_options;

/* 0 with pid and pidfd (both the caller's: reap with waitid), or negative with a story naming the step; no child left. */
int mproc__launch(const mproc__launch_options *options, pid_t *ret_pid, int *ret_pidfd);

/* The identity of a function that another process of the same build can resolve. */
typedef struct mproc__function_id {
    uint8_t build_id[20];           /* shorter ids are zero-padded */
    uint64_t offset;                /* from the object's load address */
} mproc__function_id;
int mproc__function_pack(mproc_fn *fn, mproc__function_id *ret_id);         /* MPROC_EFUNCTION: not in an executable segment */
int mproc__function_unpack(const mproc__function_id *id, mproc_fn **ret_fn);/* MPROC_EFUNCTION: names both builds; cached */
/* "name+0x12" when the symbol is known, else "file+0x1234"; for stories. */
void mproc__function_name(mproc_fn *fn, char *buffer, size_t size_bytes);

#endif
