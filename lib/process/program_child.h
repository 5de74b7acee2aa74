/* SPDX-License-Identifier: BSD-2-Clause */
/* The first steps of a program, between the nursery and it, and how one that fails is told. L5. */
#ifndef MPROC__PROCESS_PROGRAM_CHILD_H
#define MPROC__PROCESS_PROGRAM_CHILD_H

#include "process/program.h"

typedef enum mproc__program_step {
    MPROC__STEP_SESSION,
    MPROC__STEP_GROUP,
    MPROC__STEP_DIRECTORY,
    MPROC__STEP_STREAM,
    MPROC__STEP_DESCRIPTOR,
    MPROC__STEP_USER,
    MPROC__STEP_LIMITS,
    MPROC__STEP_PARENT_DEATH,
    MPROC__STEP_EXEC
} mproc__program_step;

typedef struct mproc__program_failure {
    mproc__program_step step;
    int error;
    mproc__limit_fault fault; /* of MPROC__STEP_LIMITS */
} mproc__program_failure;

typedef struct mproc__program_request {
    mproc__program_record *record; /* mapped, this process's own copy */
    size_t mapped_bytes;
    char **argv, **environment, **paths;
    int fds[MPROC__PROGRAM_FIXED_FDS + MPROC_PROGRAM_FDS]; /* above all targets; -1: not there */
    int failure_fd;                                        /* above those */
    pid_t nursery;                                         /* that forks it */
} mproc__program_request;

/* In the child: takes the steps, and ends in the program, or tells of the one that failed. */
_Noreturn void mproc__program_child_run(const mproc__program_request *request);

#endif
