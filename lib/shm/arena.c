/* SPDX-License-Identifier: BSD-2-Clause */
/* The arena: blocks of whole granules, each made by one store and freed by one. See arena.h for the word. */
#include "platform/base.h"

#include <limits.h>
#include <string.h>

#include "platform/platform.h"
#include "platform/robust.h"
#include "platform/story.h"
#include "shm/arena.h"

enum {
    GRANULES_MAX = (1 << 24) - 1,
    GRANULES_SHIFT = 40,
    STATE_SHIFT = 24,
    NUMBER_SHIFT = 16,
    OWNER_SHIFT = 8,
    BLOCK_VALID = 1,
    GROW_STEP_BYTES = 16 << 20, /* at most so much more than is needed: some 5 ms */
    GROW_PAUSE_MS = 100         /* after a refusal; asking the system costs 0.1 ms */
};

struct mproc__arena_shared {
    uint32_t
        granule_bytes; /* written by init, before anyone else has the arena; never changes; so the next two */
    uint32_t granule_count;
    uint32_t data_offset; /* of granule 0 from this struct */
    /* So many granules, and their words, have memory behind them, and the tiles end there; no others are touched. Grows,
     * under the lock, with release after the memory was reserved: who dies before that leaves memory that the next one
     * finds reserved already. Readers need no lock: what a number or a word names lay below it before that could be seen.
     * On a line that seldom changes. */
    _Atomic uint32_t backed;
    /* Held while a free run is looked for and its word stored. Its owner's death needs no repair: there is one store. */
    _Alignas(MPROC__LINE) mproc__robust_shared lock;
    /* Where the next search begins: always where a tile does. Written under the lock: first where the block to be made
     * begins, which is the beginning of a tile before and after, then, when its word is stored, where it ends. A death in
     * between leaves the first. */
    uint32_t next;
    /* A block made since a search last began at the low end, below `next` and mostly above half of it; when it is free, so,
     * mostly, is what lies below. Written under the lock; only a hint. */
    uint32_t mark;
    /* On the clock: the system had no memory to grow before. Under the lock; any value is harmless. */
    int64_t grow_after_ns;
    /* One a granule, of which only those count that begin a tile (arena.h). Changed under the lock where the tiles change;
     * a block's word also by its owner or whoever sweeps it, by compare and swap, and freed by a plain store: no tile
     * changes by that. Readers look without a lock and see a whole word. */
    _Alignas(MPROC__LINE) _Atomic uint64_t words[];
};

static uint64_t tile_free(uint32_t granules)
{
    return (uint64_t)granules << GRANULES_SHIFT;
}

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

static int arena_check(const mproc__segment *segment, size_t offset, size_t granule_bytes,
                       size_t granule_count)
{
    if (granule_bytes == 0 || granule_bytes > UINT32_MAX || granule_count == 0 ||
        granule_count > GRANULES_MAX)
        return mproc__fail(-EINVAL, "an arena of %zu granules of %zu bytes", granule_count, granule_bytes);
    size_t size = mproc__segment_size(segment);
    if (offset % MPROC__LINE || offset > size || !arena_fits(granule_bytes, granule_count, size - offset))
        return mproc__fail(-EINVAL, "an arena of %zu granules of %zu bytes does not fit at %zu of %zu",
                           granule_count, granule_bytes, offset, size);
    return 0;
}

static void arena_build(mproc__segment *segment, size_t offset, size_t granule_bytes, size_t granule_count,
                        size_t backed)
{
    mproc__arena_shared *arena = shared_at(segment, offset);
    arena->granule_bytes = (uint32_t)granule_bytes;
    arena->granule_count = (uint32_t)granule_count;
    arena->data_offset = (uint32_t)arena_data_offset(granule_count);
    arena->next = arena->mark = 0;
    atomic_store_explicit(&arena->backed, (uint32_t)backed, memory_order_relaxed);
    atomic_store_explicit(&arena->words[0], tile_free((uint32_t)backed), memory_order_relaxed);
    mproc__robust_init(&arena->lock, mproc__segment_shared(segment));
}

int mproc__arena_init(mproc__segment *segment, size_t offset, size_t granule_bytes, size_t granule_count)
{
    int code = arena_check(segment, offset, granule_bytes, granule_count);
    if (code == 0)
        arena_build(segment, offset, granule_bytes, granule_count, granule_count);
    return code;
}

/* Memory for words and granules of [from, to), all or none. */
static int granules_reserve(mproc__segment *segment, size_t offset, size_t data_offset, size_t granule_bytes,
                            size_t from, size_t to)
{
    size_t words = offset + offsetof(mproc__arena_shared, words) + from * sizeof(uint64_t);
    size_t data = offset + data_offset + from * granule_bytes;
    size_t words_bytes = (to - from) * sizeof(uint64_t), data_bytes = (to - from) * granule_bytes;
    int code = mproc__segment_reserve(segment, words, words_bytes);
    if (code == 0)
        code = mproc__segment_reserve(segment, data, data_bytes);
    if (code < 0) { /* nobody has used any of it */
        (void)mproc__segment_free_range(segment, words, words_bytes);
        (void)mproc__segment_free_range(segment, data, data_bytes);
    }
    return code;
}

int mproc__arena_init_growing(mproc__segment *segment, size_t offset, size_t granule_bytes,
                              size_t granule_count, size_t first_granules)
{
    size_t first = first_granules < granule_count ? first_granules : granule_count;
    int code = arena_check(segment, offset, granule_bytes, granule_count);
    if (code == 0)
        code = mproc__segment_reserve(segment, offset, sizeof(mproc__arena_shared));
    if (code == 0)
        code = granules_reserve(segment, offset, arena_data_offset(granule_count), granule_bytes, 0, first);
    if (code == 0)
        arena_build(segment, offset, granule_bytes, granule_count, first);
    return code;
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

/* How many granules have memory. */
static inline uint32_t backed_count(const mproc__arena *arena)
{
    uint32_t backed = atomic_load_explicit(&arena->shared->backed, memory_order_acquire);
    return MPROC__LIKELY(backed <= arena->granule_count) ? backed : arena->granule_count;
}

/* How many granules the block that starts at `index`, of `count`, has; 0: none starts there (also: a damaged word). */
static uint32_t block_granules(uint32_t index, uint32_t count, uint64_t word)
{
    uint32_t granules = (uint32_t)(word >> GRANULES_SHIFT);
    bool live = (word & BLOCK_VALID) && granules > 0 && granules <= count - index;
    return live ? granules : 0;
}

/* ---- making ---- */

/* How far it is from the beginning of a tile to the next one. A damaged word is a tile of one granule. */
static uint32_t tile_granules(uint32_t index, uint32_t count, uint64_t word)
{
    uint32_t granules = (uint32_t)(word >> GRANULES_SHIFT);
    return granules > 0 && granules <= count - index ? granules : 1;
}

typedef struct arena_run {
    uint32_t begin, end; /* of whole free tiles */
} arena_run;

/* The first free run of at least `wanted` granules from `from` on, where a tile begins, of those that have memory. Blocks
 * may be freed meanwhile, only this thread makes any. False: none. */
static bool run_find(const mproc__arena *arena, uint32_t from, uint32_t backed, uint32_t wanted,
                     arena_run *ret_run)
{
    uint32_t begin = from;
    for (uint32_t index = from; index < backed;) {
        uint64_t word = word_at(arena, index);
        bool live = block_granules(index, backed, word) > 0;
        index += tile_granules(index, backed, word);
        if (live)
            begin = index;
        else if (index - begin >= wanted) {
            *ret_run = (arena_run){begin, index};
            return true;
        }
    }
    return false;
}

/* Where to search: on from the last block, but from the low end when what lies below has been freed and the last walk
 * from there is paid for. So an arena of which little is in use touches little memory, some three times that while blocks
 * are freed in the order made, and a granule is looked at some three times. A count of what was freed did the same, and
 * cost a line that went to and fro between those who make and those who free. */
static uint32_t search_begin(const mproc__arena *arena, uint32_t backed)
{
    const mproc__arena_shared *shared = arena->shared;
    uint32_t next = shared->next < backed ? shared->next : 0;
    uint32_t mark = shared->mark < backed ? shared->mark : 0;
    bool live = block_granules(mark, backed, word_at(arena, mark)) > 0;
    return live || next < mark + mark / 2 ? next : 0;
}

/* Memory for so many granules more. What was reserved is one free tile, stored before anybody counts it. */
static bool arena_back(mproc__segment *segment, const mproc__arena *arena, uint32_t backed, uint32_t more)
{
    mproc__arena_shared *shared = arena->shared;
    size_t offset = (size_t)((unsigned char *)shared - (unsigned char *)mproc__segment_root(segment));
    size_t data = (size_t)(arena->data - (unsigned char *)shared);
    if (granules_reserve(segment, offset, data, arena->granule_bytes, backed, backed + more) < 0)
        return false;
    atomic_store_explicit(&shared->words[backed], tile_free(more), memory_order_relaxed);
    atomic_store_explicit(&shared->backed, backed + more, memory_order_release);
    return true;
}

/* As many granules again, in bounds, or what is wanted if there is no more. How many have memory then. */
static uint32_t arena_grow(mproc__segment *segment, const mproc__arena *arena, uint32_t backed,
                           uint32_t wanted)
{
    size_t step = GROW_STEP_BYTES / arena->granule_bytes;
    uint32_t left = arena->granule_count - backed;
    uint32_t least = wanted < left ? wanted : left;
    uint32_t more = backed < step ? backed : (uint32_t)step;
    more = more < least ? least : more < left ? more : left;
    if (left == 0 || mproc__now_ns() < arena->shared->grow_after_ns)
        return backed;
    if (arena_back(segment, arena, backed, more))
        return backed + more;
    if (least < more && arena_back(segment, arena, backed, least))
        return backed + least;
    arena->shared->grow_after_ns = mproc__now_ns() + GROW_PAUSE_MS * INT64_C(1000000);
    return backed;
}

/* Makes a block of the first granules of a run. What is left of the run becomes a tile first; nobody comes there before the
 * block's word is stored. */
static void block_store(const mproc__arena *arena, const arena_run *run, uint32_t granules, unsigned owner)
{
    mproc__arena_shared *shared = arena->shared;
    uint32_t rest = run->begin + granules;
    uint64_t word = state_pack((mproc__block_state){.granules = granules, .owner = (uint8_t)owner});
    shared->next = run->begin;
    atomic_signal_fence(memory_order_seq_cst); /* not for other CPUs: for who dies here */
    if (rest < run->end)
        atomic_store_explicit(&shared->words[rest], tile_free(run->end - rest), memory_order_relaxed);
    atomic_store_explicit(&shared->words[run->begin], word, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    shared->next = rest;
}

/* On from `from`, then from the low end; then with more memory, which joins what is free right below it. */
static bool run_anywhere(mproc__segment *segment, const mproc__arena *arena, uint32_t from, uint32_t wanted,
                         arena_run *ret_run)
{
    uint32_t backed = backed_count(arena);
    if (run_find(arena, from, backed, wanted, ret_run) ||
        (from > 0 && run_find(arena, 0, backed, wanted, ret_run)))
        return true;
    uint32_t grown = arena_grow(segment, arena, backed, wanted);
    return grown > backed && (run_find(arena, from, grown, wanted, ret_run) ||
                              (from > 0 && run_find(arena, 0, grown, wanted, ret_run)));
}

static int block_make(mproc__segment *segment, const mproc__arena *arena, uint32_t granules, unsigned owner,
                      uint32_t *ret_block)
{
    uint32_t from = search_begin(arena, backed_count(arena));
    arena_run run;
    if (!run_anywhere(segment, arena, from, granules, &run))
        return mproc__fail_plain(-ENOSPC);
    block_store(arena, &run, granules, owner);
    if (from == 0 || run.begin < from || run.begin / 2 >= arena->shared->mark)
        arena->shared->mark = run.begin;
    *ret_block = run.begin;
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
    code = block_make(segment, arena, (uint32_t)granules, (unsigned)row, ret_block);
    mproc__robust_release(&arena->shared->lock);
    return code;
}

/* ---- using ---- */

void mproc__arena_free(const mproc__arena *arena, uint32_t block)
{
    mproc__block_state state;
    if (!mproc__arena_get(arena, block, &state))
        return;
    atomic_store_explicit(&arena->shared->words[block], tile_free(state.granules), memory_order_release);
}

bool mproc__arena_release(const mproc__arena *arena, uint32_t block, mproc__block_state from)
{
    if (block >= backed_count(arena))
        return false;
    uint64_t expected = state_pack(from);
    return atomic_compare_exchange_strong(&arena->shared->words[block], &expected, tile_free(from.granules));
}

bool mproc__arena_get(const mproc__arena *arena, uint32_t block, mproc__block_state *ret_state)
{
    uint32_t backed = backed_count(arena);
    uint64_t word = block < backed ? word_at(arena, block) : 0;
    if (word == 0 || block_granules(block, backed, word) == 0)
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
    if (block >= backed_count(arena) || from.granules != to.granules)
        return false;
    uint64_t expected = state_pack(from);
    return atomic_compare_exchange_strong(&arena->shared->words[block], &expected, state_pack(to));
}

void mproc__arena_each(const mproc__arena *arena, mproc__block_fn *fn, void *context)
{
    uint32_t backed = backed_count(arena); /* what grows meanwhile is of the living */
    for (uint32_t block = 0; block < backed;) {
        mproc__block_state state;
        bool live = mproc__arena_get(arena, block, &state);
        if (live && !fn(arena, block, state, context))
            return;
        block += live ? state.granules : 1; /* the lengths of free tiles hold under the lock only */
    }
}
