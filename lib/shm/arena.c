/* SPDX-License-Identifier: BSD-2-Clause */
/* The arena: blocks of whole granules, each made by one store and freed by one. See arena.h for the word. */
#include "platform/base.h"

#include <limits.h>
#include <string.h>

#include "platform/robust.h"
#include "platform/story.h"
#include "shm/arena.h"

enum {
    GRANULES_MAX = (1 << 24) - 1,
    GRANULES_SHIFT = 40,
    STATE_SHIFT = 24,
    NUMBER_SHIFT = 16,
    OWNER_SHIFT = 8,
    BLOCK_VALID = 1
};

struct mproc__arena_shared {
    uint32_t
        granule_bytes; /* written by init, before anyone else has the arena; never changes; so the next three */
    uint32_t granule_count;
    uint32_t data_offset; /* of granule 0 from this struct */
    uint32_t unused;
    /* Held while a free run is looked for and its word stored. Its owner's death needs no repair: there is one store. */
    mproc__robust_shared lock;
    /* Where the next search begins: always a granule outside all blocks or the first of one. Written under the lock,
     * before the word of the block that ends there, so that it is right whichever of the two stores a death cuts off. */
    uint32_t next;
    /* Granules freed since `next` was last 0, by anyone; says when it pays to begin at the low end again. A death may
     * lose a count, which costs some locality. */
    _Atomic uint32_t freed;
    /* One a granule. From zero to a block under the lock; a block's word is then changed by its owner or whoever sweeps
     * it, by compare and swap, and freed by a plain store. Readers look without a lock and see a whole word. */
    _Atomic uint64_t words[];
};

static size_t arena_data_offset(size_t granule_count)
{
    return mproc__round_up(sizeof(mproc__arena_shared) + granule_count * sizeof(uint64_t), MPROC__LINE);
}

size_t mproc__arena_bytes(size_t granule_bytes, size_t granule_count)
{
    return arena_data_offset(granule_count) + granule_bytes * granule_count;
}

static mproc__arena_shared *shared_at(mproc__segment *segment, size_t offset)
{
    return (void *)((unsigned char *)mproc__segment_root(segment) + offset);
}

/* Not by the product, which wraps where a size_t has 32 bits. */
static bool arena_fits(size_t granule_bytes, size_t granule_count, size_t room)
{
    size_t table = arena_data_offset(granule_count);
    return table <= room && granule_count <= (room - table) / granule_bytes;
}

int mproc__arena_init(mproc__segment *segment, size_t offset, size_t granule_bytes, size_t granule_count)
{
    if (granule_bytes == 0 || granule_bytes > UINT32_MAX || granule_count == 0 ||
        granule_count > GRANULES_MAX)
        return mproc__fail(-EINVAL, "an arena of %zu granules of %zu bytes", granule_count, granule_bytes);
    size_t size = mproc__segment_size(segment);
    if (offset % MPROC__LINE || offset > size || !arena_fits(granule_bytes, granule_count, size - offset))
        return mproc__fail(-EINVAL, "an arena of %zu granules of %zu bytes does not fit at %zu of %zu",
                           granule_count, granule_bytes, offset, size);
    mproc__arena_shared *arena = shared_at(segment, offset);
    arena->granule_bytes = (uint32_t)granule_bytes;
    arena->granule_count = (uint32_t)granule_count;
    arena->data_offset = (uint32_t)arena_data_offset(granule_count);
    arena->next = 0;
    mproc__robust_init(&arena->lock, mproc__segment_shared(segment));
    return 0;
}

int mproc__arena_open(mproc__segment *segment, size_t offset, mproc__arena *ret_arena)
{
    size_t size = mproc__segment_size(segment);
    if (offset % MPROC__LINE || offset > size || size - offset < sizeof(mproc__arena_shared))
        return mproc__fail(MPROC_ECORRUPT, "an arena at %zu of %zu", offset, size);
    mproc__arena_shared *shared = shared_at(segment, offset);
    size_t granule_bytes = shared->granule_bytes, granule_count = shared->granule_count;
    if (granule_bytes == 0 || granule_count == 0 || granule_count > GRANULES_MAX ||
        shared->data_offset != arena_data_offset(granule_count) ||
        !arena_fits(granule_bytes, granule_count, size - offset))
        return mproc__fail(MPROC_ECORRUPT, "an arena of %zu granules of %zu bytes at %zu of %zu",
                           granule_count, granule_bytes, offset, size);
    *ret_arena = (mproc__arena){.shared = shared,
                                .data = (unsigned char *)shared + arena_data_offset(granule_count),
                                .granule_bytes = granule_bytes,
                                .granule_count = (uint32_t)granule_count};
    return 0;
}

/* ---- words ---- */

static uint64_t state_pack(mproc__block_state state)
{
    return (uint64_t)state.granules << GRANULES_SHIFT | (uint64_t)state.state << STATE_SHIFT |
           (uint64_t)state.number << NUMBER_SHIFT | (uint64_t)(state.owner + 1u) << OWNER_SHIFT | BLOCK_VALID;
}

static mproc__block_state state_unpack(uint64_t word)
{
    return (mproc__block_state){.granules = (uint32_t)(word >> GRANULES_SHIFT),
                                .state = (uint16_t)(word >> STATE_SHIFT),
                                .number = (uint8_t)(word >> NUMBER_SHIFT),
                                .owner = (uint8_t)((uint8_t)(word >> OWNER_SHIFT) - 1u)};
}

static uint64_t word_at(const mproc__arena *arena, uint32_t index)
{
    return atomic_load_explicit(&arena->shared->words[index], memory_order_acquire);
}

/* How many granules the block that starts at `index` has; 0: none starts there (also: a damaged word). */
static uint32_t block_granules(const mproc__arena *arena, uint32_t index, uint64_t word)
{
    uint32_t granules = (uint32_t)(word >> GRANULES_SHIFT);
    bool live = (word & BLOCK_VALID) && granules > 0 && granules <= arena->granule_count - index;
    return live ? granules : 0;
}

/* ---- making ---- */

/* The first run of `wanted` free granules in [from, to), which must not begin inside a block. UINT32_MAX: none. Blocks
 * may be freed meanwhile, only this thread makes any. */
static uint32_t run_find(const mproc__arena *arena, uint32_t from, uint32_t to, uint32_t wanted)
{
    uint32_t start = from;
    for (uint32_t index = from; index < to && index - start < wanted;) {
        uint32_t granules = block_granules(arena, index, word_at(arena, index));
        index += granules ? granules : 1;
        if (granules)
            start = index;
        else if (index - start == wanted)
            return start;
    }
    return UINT32_MAX;
}

/* Where to search: on from the last block, but from the low end when half of what lies below has been freed. So an
 * arena of which little is in use touches little memory, and a granule is looked at twice at most on the way. */
static uint32_t search_begin(const mproc__arena *arena)
{
    uint32_t next = arena->shared->next < arena->granule_count ? arena->shared->next : 0;
    if (atomic_load_explicit(&arena->shared->freed, memory_order_relaxed) <= next / 2)
        return next;
    atomic_store_explicit(&arena->shared->freed, 0, memory_order_relaxed);
    return 0;
}

static int block_make(const mproc__arena *arena, uint32_t granules, unsigned owner, uint32_t *ret_block)
{
    uint32_t next = search_begin(arena);
    uint32_t block = run_find(arena, next, arena->granule_count, granules);
    if (block == UINT32_MAX)
        block = run_find(arena, 0, arena->granule_count, granules);
    if (block == UINT32_MAX)
        return mproc__fail_plain(-ENOSPC);
    uint64_t word = state_pack((mproc__block_state){.granules = granules, .owner = (uint8_t)owner});
    arena->shared->next = block + granules;
    atomic_store_explicit(&arena->shared->words[block], word, memory_order_release);
    *ret_block = block;
    return 0;
}

int mproc__arena_alloc(mproc__segment *segment, const mproc__arena *arena, size_t size_bytes,
                       mproc_deadline deadline, uint32_t *ret_block)
{
    if (size_bytes > arena->granule_bytes * arena->granule_count)
        return mproc__fail(-EMSGSIZE, "%zu bytes, the whole arena has %zu", size_bytes,
                           arena->granule_bytes * arena->granule_count);
    size_t granules = size_bytes ? (size_bytes - 1) / arena->granule_bytes + 1 : 1;
    int row = mproc__segment_join(segment);
    if (row < 0)
        return row;
    int code = mproc__robust_acquire(&arena->shared->lock, deadline);
    if (code < 0)
        return code;
    code = block_make(arena, (uint32_t)granules, (unsigned)row, ret_block);
    mproc__robust_release(&arena->shared->lock);
    return code;
}

/* ---- using ---- */

void mproc__arena_free(const mproc__arena *arena, uint32_t block)
{
    mproc__block_state state;
    if (!mproc__arena_get(arena, block, &state))
        return;
    atomic_fetch_add_explicit(&arena->shared->freed, state.granules, memory_order_relaxed);
    atomic_store_explicit(&arena->shared->words[block], 0, memory_order_release);
}

bool mproc__arena_get(const mproc__arena *arena, uint32_t block, mproc__block_state *ret_state)
{
    uint64_t word = block < arena->granule_count ? word_at(arena, block) : 0;
    if (word == 0 || block_granules(arena, block, word) == 0)
        return false;
    *ret_state = state_unpack(word);
    return true;
}

void *mproc__arena_data(const mproc__arena *arena, uint32_t block)
{
    mproc__block_state state;
    if (!mproc__arena_get(arena, block, &state))
        return NULL;
    return arena->data + (size_t)block * arena->granule_bytes;
}

size_t mproc__arena_block_bytes(const mproc__arena *arena, uint32_t block)
{
    mproc__block_state state;
    return mproc__arena_get(arena, block, &state) ? (size_t)state.granules * arena->granule_bytes : 0;
}

bool mproc__arena_swap(const mproc__arena *arena, uint32_t block, mproc__block_state from,
                       mproc__block_state to)
{
    if (block >= arena->granule_count || from.granules != to.granules)
        return false;
    uint64_t expected = state_pack(from);
    return atomic_compare_exchange_strong(&arena->shared->words[block], &expected, state_pack(to));
}

void mproc__arena_each(const mproc__arena *arena, mproc__block_fn *fn, void *context)
{
    for (uint32_t block = 0; block < arena->granule_count;) {
        mproc__block_state state;
        bool live = mproc__arena_get(arena, block, &state);
        if (live && !fn(arena, block, state, context))
            return;
        block += live ? state.granules : 1;
    }
}
