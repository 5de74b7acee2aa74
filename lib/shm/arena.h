/* SPDX-License-Identifier: BSD-2-Clause */
/* An allocator inside a segment that a kill cannot damage. L2.
 *
 * Granules of one size. They are covered by tiles, each a block or free; the 64-bit word of a tile's first granule says
 *     granules (24 bits) | user state (16 bits) | user number (8) | owner row + 1 (8) | 1 (valid: a block)
 * and zero, as in fresh memory, is a free tile of one granule. A word inside a tile says nothing, and never that there is
 * a block. One store of a word makes a block, one store frees it: everything before is private, everything after is
 * repair-free. Finding a free run goes from tile to tile, under a robust lock; freeing takes none. Whoever sweeps a dead
 * row frees its blocks, except those that the object's own structure names (mproc__arena_each shows them).
 *
 * A growing arena begins with memory for some granules only. Whoever finds no run free among those that have memory reserves
 * more, for as many again at a time, before any of it is touched. */
#ifndef MPROC__SHM_ARENA_H
#define MPROC__SHM_ARENA_H

#include "shm/segment.h"

typedef struct mproc__arena_shared mproc__arena_shared;

/* One process's view of an arena. Its sizes were checked when it was opened and are not read from shared memory again. */
typedef struct mproc__arena {
    mproc__arena_shared *shared;
    unsigned char *data; /* granule 0 */
    size_t granule_bytes;
    uint32_t granule_count;
} mproc__arena;

/* What a block's word says. Changed by one atomic operation on the word. */
typedef struct mproc__block_state {
    uint32_t granules;
    uint16_t state;         /* the user's; 0: private to its owner */
    uint8_t number;         /* the user's: a delivery count, say */
    uint8_t owner;          /* row */
} mproc__block_state;

/* Bytes of table and granules for `granule_count` granules, to lay out a root. */
size_t mproc__arena_bytes(size_t granule_bytes, size_t granule_count);
/* Builds an arena at `offset` of the segment's root (128-byte aligned). */
int mproc__arena_init(mproc__segment *segment, size_t offset, size_t granule_bytes, size_t granule_count);
/* The same, and reserves memory for its table and granules itself: for `first_granules` now (at least one), for the others
 * when they are needed. Errors of mproc__segment_reserve. */
int mproc__arena_init_growing(mproc__segment *segment, size_t offset, size_t granule_bytes, size_t granule_count,
                              size_t first_granules);
/* 0; MPROC_ECORRUPT: what lies there cannot be one. */
int mproc__arena_open(mproc__segment *segment, size_t offset, mproc__arena *ret_arena);

/* Claims a block for this process's row. Block numbers (of the first granule) are what travels. -ENOSPC: no run free now,
 * nor memory to grow into; -EMSGSIZE: larger than the whole arena; -ETIMEDOUT: somebody, perhaps stopped, holds the
 * arena's lock (a try may fail for one who has just lost its CPU). Joins the segment. */
int mproc__arena_alloc(mproc__segment *segment, const mproc__arena *arena, size_t size_bytes, mproc_deadline deadline,
                       uint32_t *ret_block);
void mproc__arena_free(const mproc__arena *arena, uint32_t block);
/* Frees a block whose word still is `from`, by one compare and swap, which is a full fence; false: somebody was first. */
bool mproc__arena_release(const mproc__arena *arena, uint32_t block, mproc__block_state from);
/* Checked: NULL when block is not the start of a live block. */
void *mproc__arena_data(const mproc__arena *arena, uint32_t block);
size_t mproc__arena_block_bytes(const mproc__arena *arena, uint32_t block);
bool mproc__arena_get(const mproc__arena *arena, uint32_t block, mproc__block_state *ret_state);
/* Changes the word from `from` to `to` (compare and swap; granules must be equal); false: somebody else did. */
bool mproc__arena_swap(const mproc__arena *arena, uint32_t block, mproc__block_state from, mproc__block_state to);
/* Calls fn for every live block in ascending order until it returns false. */
typedef bool mproc__block_fn(const mproc__arena *arena, uint32_t block, mproc__block_state state, void *context);
void mproc__arena_each(const mproc__arena *arena, mproc__block_fn *fn, void *context);

#endif
