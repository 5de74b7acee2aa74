/* SPDX-License-Identifier: BSD-2-Clause */
/* Between worker_map.c (which map, its function and arrays, stretches) and worker_items.c (the items of a stretch). L6. */
#ifndef MPROC__POOL_WORKER_MAP_H
#define MPROC__POOL_WORKER_MAP_H

#include "data/call.h"
#include "pool/granule.h"
#include "pool/worker.h"

/* A stretch of work in a map. */
typedef struct mproc__map_work {
    mproc__worker *worker;
    mproc__map_shared *map;
    const mproc__stretch *stretch;
    mproc_call *call;
    bool guard_items; /* each item, or range, has a time limit; else the stretch is guarded as a whole */
    bool any;         /* something was done */
    /* Finished and not yet counted in the map. A worker that dies with them is found out by looking at the words. */
    uint64_t finished_granules, finished_items;
} mproc__map_work;

/* Granules of [from, to) that nobody has. False: stopped, nothing of the map may be touched any more. */
bool mproc__map_granules(mproc__map_work *work, uint64_t from, uint64_t to);
/* The map is neither cancelled nor the pool at its end. */
bool mproc__map_going(const mproc__map_work *work);

/* What is about to run is stopped before it is signalled: between these two it may be. */
void mproc__run_begin(mproc__worker *worker);
/* False: stopped, or late; a signal may be on its way, so this worker takes nothing more. Threads get no signals. */
bool mproc__run_end(mproc__worker *worker);

#endif
