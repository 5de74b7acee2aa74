/* SPDX-License-Identifier: BSD-2-Clause */
/* The heap of an ordered queue as pure arithmetic, as ring.h is the ring's: no lock, no wait, no memory of its own. L4.
 *
 * Of four children each: half the depth of a binary one, and the four lie together in one or two lines. The keys stand in
 * the entries themselves, so that no comparison touches a block. Every loop is bounded by `count`, which the caller has
 * checked, whatever the entries say. */
#ifndef MPROC__CHANNEL_HEAP_H
#define MPROC__CHANNEL_HEAP_H

#include "platform/base.h"

/* One queued block. Written under the queue's lock; only a copy of what the block itself says, so that whoever dies while
 * these are moved leaves nothing that cannot be made again. */
typedef struct mproc__entry_shared {
    uint64_t order; /* among equals of rank: smaller first */
    uint32_t rank;  /* smaller first */
    uint32_t block;
} mproc__entry_shared;

static inline bool mproc__entry_before(const mproc__entry_shared *a, const mproc__entry_shared *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->order < b->order;
}

/* Adds an entry to `count` others; there is room for it. */
void mproc__heap_push(mproc__entry_shared *entries, size_t count, mproc__entry_shared entry);
/* Removes the first of `count`, at least one. */
void mproc__heap_pop(mproc__entry_shared *entries, size_t count);
/* Makes a heap of `count` entries in any order. */
void mproc__heap_make(mproc__entry_shared *entries, size_t count);

#endif
