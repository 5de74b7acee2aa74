/* SPDX-License-Identifier: BSD-2-Clause */
/* Which parts of the segment's region the running maps have: a few extents, sorted. Private to the submitter. L6. */
#ifndef MPROC__POOL_REGION_H
#define MPROC__POOL_REGION_H

#include "pool/layout.h"

typedef struct mproc__extent {
    uint64_t offset, length;
} mproc__extent;

typedef struct mproc__region {
    uint64_t offset, length; /* the whole */
    unsigned count;
    mproc__extent extents[MPROC__POOL_MAPS];
} mproc__region;

/* The first gap that is long enough. -ENOMEM: none; MPROC_ELIMIT: too many extents. */
int mproc__region_take(mproc__region *region, uint64_t length, uint64_t *ret_offset);
void mproc__region_give(mproc__region *region, uint64_t offset);

#endif
