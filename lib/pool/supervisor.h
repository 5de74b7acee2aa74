/* SPDX-License-Identifier: BSD-2-Clause */
/* The process that starts a pool's workers, and stops, reaps and replaces them. L6. */
#ifndef MPROC__POOL_SUPERVISOR_H
#define MPROC__POOL_SUPERVISOR_H

#include <sys/types.h>

#include "pool/layout.h"
#include "process/limits.h"

enum { MPROC__POOL_GRACE_MS = 2000 };

typedef struct mproc__crew {
    mproc__pool_view *view;
    mproc_start start; /* not THREAD */
    mproc_fn *initializer;
    mproc_variant initializer_args;
    const char *name;
    const mproc__limits *limits; /* of each worker; NULL: none */
} mproc__crew;

/* Starts the supervisor, a child of this process; it starts the workers. 0 with its pid and pidfd. */
int mproc__supervisor_start(const mproc__crew *crew, pid_t *ret_pid, int *ret_pidfd);
/* In the supervisor: starts worker `index`, whose desk is prepared for that life. */
int mproc__crew_launch(const mproc__crew *crew, unsigned index, unsigned life, pid_t *ret_pid,
                       int *ret_pidfd);
/* The supervisor's life. */
int mproc__supervisor_run(const mproc__crew *crew);

#endif
