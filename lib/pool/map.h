/* SPDX-License-Identifier: BSD-2-Clause */
/* A map as its caller wants it, between map.c (public calls), map_begin.c (memory, arguments, announced) and map_end.c. L6. */
#ifndef MPROC__POOL_MAP_H
#define MPROC__POOL_MAP_H

#include "pool/future.h"

typedef struct mproc__map_request {
    mproc__pool_core *core;
    mproc_fn *fn; /* a mproc_map_fn where it takes items */
    bool ranges;  /* it takes ranges: no arrays */
    const void *in;
    void *out;
    size_t in_bytes, out_bytes, count;
    const mproc_map_options *options;
    mproc__parcel args; /* encoded; threads: empty */
    mproc__lease lease; /* what the arguments name */
} mproc__map_request;

/* With core->lock held: memory, arrays and arguments, and workers told. */
int mproc__map_begin(mproc__map_request *request, mproc_future *future);
/* Gives back what a map has, but for its entry in core->maps. With the lock held. */
void mproc__map_free(mproc__pool_core *core, mproc__map_job *job);

#endif
