/* SPDX-License-Identifier: BSD-2-Clause */
/* A worker seen from inside: the same in a process and in a thread. L6. */
#ifndef MPROC__POOL_WORKER_H
#define MPROC__POOL_WORKER_H

#include <unistd.h>

#include <mproc/pool.h>
#include "data/call.h"
#include "pool/layout.h"
#include "pool/lend.h"
#include "pool/task.h"

/* What a worker remembers of a map between two stretches of work in it. */
typedef struct mproc__stretch {
    uint64_t number;   /* of the map that this is about */
    uint64_t seen;     /* value of map->holes at the last look that found nothing */
    uint64_t under;    /* value of map->holes at the search under way, */
    uint64_t cursor;   /* which goes on here */
    uint64_t final;    /* of mproc__map_complete */
    uint64_t granules; /* how many to take at once */
    bool open;         /* the rest has been found */
    mproc_fn *fn;      /* or a mproc_map_fn */
    mproc_variant args;
    char *in, *out;
} mproc__stretch;

typedef struct mproc__worker {
    mproc__pool_view *view;
    mproc__worker_shared *desk;
    unsigned index;
    mproc__worker_word word;
    void *self; /* what the initializer set */
    const _Atomic uint64_t *incarnation_word;
    uint64_t incarnation;
    bool leave;
    uint32_t rescan_seen;   /* value of rescan at the last search that came to its end */
    uint32_t rescan_under;  /* of the search under way, */
    uint32_t rescan_cursor; /* which goes on here */
    unsigned turns;         /* tasks and stretches done */
    unsigned map_turn;
    uint64_t runs;
    int64_t limit_ns; /* as on the desk */
    mproc__task_shared *task;
    mproc__task_word claimed;
    uint32_t checkpoints[2]; /* blocks of the task's that are this worker's to free */
    mproc__map_shared *map;
    mproc__stretch stretches[MPROC__POOL_MAPS];
    mproc__borrower borrower;
    mproc_fn *functions[MPROC__POOL_FUNCTIONS];
} mproc__worker;

/* After foreign code ran: a child that it has forked, and that returns as its parent does, is no worker. It ends here. */
static inline void mproc__worker_stay(const mproc__worker *worker)
{
    if (MPROC__UNLIKELY(atomic_load_explicit(worker->incarnation_word, memory_order_relaxed) !=
                        worker->incarnation))
        _exit(0);
}

/* Runs the initializer, then serves until the pool ends, this worker's turns are used up, or its work was stopped.
 * A failing initializer breaks the pool. `life`: for which the desk was prepared; a worker that comes too late for it, because
 * its supervisor is dead, does nothing. */
void mproc__worker_serve(mproc__pool_view *view, unsigned index, unsigned life, mproc_fn *initializer,
                         mproc_variant args);

/* One task; false: none is ready. (worker_task.c) */
bool mproc__worker_task(mproc__worker *worker);
/* One stretch of one map; false: none has work. (worker_map.c) */
bool mproc__worker_map(mproc__worker *worker);
/* Lets go of the arguments of all maps; should one go on, they are found again. */
void mproc__worker_maps_close(mproc__worker *worker);
bool mproc__worker_task_waiting(const mproc__worker *worker);
bool mproc__worker_map_waiting(const mproc__worker *worker);

/* Runs a batch of items, which the worker has claimed. A failure is that of the batch as a whole, for its next item.
 * (worker_batch.c) */
int mproc__worker_batch(mproc__worker *worker, mproc_fn *fn);
/* The outcome of a call goes to the task's result. (worker_task.c) */
void mproc__worker_outcome(mproc__worker *worker, int rc, const mproc_call *call);

/* For both. */
void mproc__worker_call_init(mproc__worker *worker, mproc_call *call, mproc_variant args);
int mproc__worker_function(mproc__worker *worker, uint32_t number, mproc_fn **ret_fn);
/* The supervisor is to stop this work in time_limit_ms; 0: never. */
void mproc__worker_limit(mproc__worker *worker, uint32_t time_limit_ms);

#endif
