/* SPDX-License-Identifier: BSD-2-Clause */
/* A future's private side. L6. */
#ifndef MPROC__POOL_FUTURE_H
#define MPROC__POOL_FUTURE_H

#include "platform/story.h"
#include "pool/pool.h"

/* Of a map's future: where the caller's arrays are. */
typedef struct mproc__map_job {
    unsigned index;          /* in shared->maps */
    uint64_t offset, length; /* of its range in the region; length 0: none */
    mproc__lease lease;      /* what its arguments and arrays name */
    void *out;
    int *status;
    mproc_variant args; /* threads: the copy that workers borrow */
} mproc__map_job;

struct mproc_future {
    mproc__handle handle;
    mproc__pool_core *core;
    char *label;         /* owned; NULL */
    mproc__map_job *map; /* owned; NULL: a task */
    uint32_t slot;       /* of a task that is not settled */
    unsigned serial;
    mproc__batch *batch;  /* NULL, or where what comes of a batch goes; outlives the future */
    int64_t begin_by_ns;  /* of a task; 0: any time */
    uint64_t number;      /* counted by the pool, tasks and maps alike */
    _Atomic bool settled; /* what follows is final, but for the story of a death whose reason comes later */
    /* under core->lock until settled */
    mproc_future_state state;
    int code;
    mproc_variant result;
    struct mproc__reports *reports; /* owned; of attempts that died; NULL: none */
    uint64_t progress_done, progress_total;
    bool why_open;         /* under core->lock: died, and the kernel has not said why */
    unsigned worker, life; /* who died */
    unsigned attempt;
};

int mproc__future_new(mproc__pool_core *core, const char *label, mproc_future **ret_future);
/* Settled now? Looks at the slot or map, and takes what came of it. */
bool mproc__future_look(mproc_future *future);
int mproc__future_await(mproc_future *future, mproc_deadline deadline);

/* With core->lock held. The story of a failure is put on the handle. */
void mproc__future_settle(mproc_future *future, mproc_future_state state, int code);
/* From a final task word and its slot. */
void mproc__future_settle_task(mproc_future *future, mproc__task_shared *task, mproc__task_word word);
/* Nothing will come any more: the pool ended or broke. */
void mproc__future_settle_lost(mproc_future *future);

/* ---- map.c; with core->lock held ---- */
/* Settles the future if its map is over and nobody is in it any more. */
void mproc__map_look(mproc_future *future);
/* -EBUSY: runs. */
int mproc__map_cancel(mproc_future *future, bool even_if_running);
bool mproc__map_started(const mproc_future *future);
void mproc__map_progress(const mproc_future *future, uint64_t *ret_done, uint64_t *ret_total);
/* The last handle of a map goes: it is cancelled, and waited for where its arrays are the caller's. Lock not held. */
void mproc__map_abandon(mproc_future *future);

#endif
