/* SPDX-License-Identifier: BSD-2-Clause */
/* A future's deaths and checkpoint, outliving the task's slot. L6. */
#ifndef MPROC__POOL_REPORTS_H
#define MPROC__POOL_REPORTS_H

#include <mproc/future.h>
#include "pool/extra.h"

typedef struct mproc__reports {
    unsigned count;
    mproc__death deaths[MPROC__POOL_DEATHS]; /* completed under core->lock, when the kernel has told */
    mproc_variant checkpoint;                /* owned; of a task that did not return */
} mproc__reports;

/* With core->lock held, the slot final. */
void mproc__reports_take(mproc_future *future, uint32_t slot, mproc__task_word word);
void mproc__reports_free(mproc__reports *reports);
/* "; so did attempts 1 (pid 70, signal 9), 2": the deaths before the last one, for its story. Bytes written. */
size_t mproc__reports_text(const mproc_future *future, char *buffer, size_t size_bytes);

#endif
