/* SPDX-License-Identifier: BSD-2-Clause */
/* Deadlines of one event loop: a binary heap of timers that live inside what they end. L7. */
#ifndef MPROC__MANAGER_TIMERS_H
#define MPROC__MANAGER_TIMERS_H

#include <mproc/deadline.h>
#include "platform/base.h"

typedef struct mproc__timer mproc__timer;
struct mproc__timer {
    mproc_deadline deadline;
    size_t index;                       /* in the heap, from 1; 0: not set */
    void (*fired)(mproc__timer *timer); /* no longer set when called */
};

typedef struct mproc__timers {
    mproc__timer **heap;
    size_t count, capacity;
} mproc__timers;

void mproc__timers_fini(mproc__timers *timers);
/* A deadline of MPROC_FOREVER takes no place. -ENOMEM. */
int mproc__timers_set(mproc__timers *timers, mproc__timer *timer, mproc_deadline deadline);
void mproc__timers_unset(mproc__timers *timers, mproc__timer *timer); /* harmless when not set */
mproc_deadline mproc__timers_first(const mproc__timers *timers);      /* MPROC_FOREVER: none */
/* Fires all that were due when it began. */
void mproc__timers_run(mproc__timers *timers);

#endif
