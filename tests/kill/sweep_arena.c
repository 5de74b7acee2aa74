/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed while it makes, frees or stamps a block of an arena. The dead one's blocks are freed by the sweep of its row, others
 * keep theirs, and no granule is lost. */
#include "platform/base.h"

#include <stdlib.h>
#include <unistd.h>

#include "kill/killsweep.h"
#include "shm/arena.h"
#include "shm/segment_inside.h"

enum { GRANULE = 64, GRANULES = 24, STATE_LISTED = 7 };

typedef struct start {
    unsigned kept;     /* blocks of two granules that the controller keeps */
    unsigned own;      /* of the victim, of one granule */
    unsigned granules; /* that the victim's call wants */
    bool holes;        /* every second of the controller's is freed again */
    unsigned low;      /* so many of them are, from the low end */
    unsigned high;     /* or from the high end */
    int expected;
} start;

static const char *const alloc_states[] = {"empty",         "one used", "holes", "full", "several tiles, cut",
                                           "over the next", NULL};
static const start alloc_starts[] = {{.granules = 1},
                                     {.kept = 1, .own = 1, .granules = 3},
                                     {.kept = 10, .granules = 2, .holes = true},
                                     {.kept = 12, .granules = 1, .expected = -ENOSPC},
                                     {.kept = 11, .granules = 5, .low = 4},
                                     {.kept = 11, .granules = 9, .high = 4}};
static const char *const own_states[] = {"alone", "among others", NULL};
static const start own_starts[] = {{.own = 1}, {.kept = 4, .own = 2}};

typedef struct arena_context {
    mproc__segment *segment;
    mproc__arena view;
    const mproc__arena *arena;
    const start *start;
    unsigned kept;  /* granules of the controller */
    uint32_t block; /* the victim's last one, in the victim */
} arena_context;

static bool free_if_dead(const mproc__arena *arena, uint32_t block, mproc__block_state state, void *context)
{
    if (state.owner == *(const unsigned *)context)
        mproc__arena_free(arena, block);
    return true;
}

static int give_back(mproc__segment *segment, unsigned row, void *context)
{
    const arena_context *c = context;
    (void)segment;
    mproc__arena_each(c->arena, free_if_dead, &row);
    return 0;
}

static int take(arena_context *c, unsigned granules)
{
    return mproc__arena_alloc(c->segment, c->arena, (size_t)granules * GRANULE, mproc_after_ms(KILL_HARD_MS),
                              &c->block);
}

static int arena_make(const start *from, void **ret_context)
{
    arena_context *c = calloc(1, sizeof(*c));
    size_t size = MPROC__LINE + mproc__arena_bytes(GRANULE, GRANULES);
    *ret_context = c;
    c->start = from;
    if (mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "arena", size, 0, &c->segment) < 0 ||
        mproc__arena_init(c->segment, MPROC__LINE, GRANULE, GRANULES) < 0 ||
        mproc__arena_open(c->segment, MPROC__LINE, &c->view) < 0)
        return 1;
    c->arena = &c->view;
    mproc__segment_on_sweep(c->segment, give_back, c);
    for (unsigned i = 0; i < from->kept; i++)
        if (take(c, 2) < 0)
            return 2;
    for (uint32_t block = 0; from->holes && block < 2 * from->kept; block += 4)
        mproc__arena_free(c->arena, block);
    for (uint32_t i = 0; i < from->low; i++)
        mproc__arena_free(c->arena, 2 * i);
    for (uint32_t i = 0; i < from->high; i++)
        mproc__arena_free(c->arena, 2 * (from->kept - 1 - i));
    c->kept = from->holes ? from->kept : 2 * (from->kept - from->low - from->high);
    return 0;
}

static int alloc_setup(unsigned state, void **ret_context)
{
    return arena_make(&alloc_starts[state], ret_context);
}

static int own_setup(unsigned state, void **ret_context)
{
    return arena_make(&own_starts[state], ret_context);
}

static void arena_teardown(void *context)
{
    arena_context *c = context;
    mproc__segment_release(c->segment);
    free(c);
}

static int arena_prepare(void *context, unsigned state)
{
    arena_context *c = context;
    (void)state;
    if (mproc__segment_join(c->segment) < 0)
        return 1;
    for (unsigned i = 0; i < c->start->own; i++)
        if (take(c, 1) < 0)
            return 2;
    return 0;
}

static int alloc_call(void *context, unsigned state)
{
    arena_context *c = context;
    (void)state;
    return take(c, c->start->granules) != c->start->expected;
}

static int free_call(void *context, unsigned state)
{
    arena_context *c = context;
    (void)state;
    mproc__arena_free(c->arena, c->block);
    return 0;
}

static int swap_call(void *context, unsigned state)
{
    arena_context *c = context;
    mproc__block_state from, to;
    (void)state;
    if (!mproc__arena_get(c->arena, c->block, &from))
        return 1;
    to = from;
    to.state = STATE_LISTED;
    to.number++;
    return !mproc__arena_swap(c->arena, c->block, from, to);
}

static int arena_recover(void *context, unsigned state)
{
    arena_context *c = context;
    (void)state;
    mproc__segment_sweep(c->segment);
    return 0;
}

static bool count_granules(const mproc__arena *arena, uint32_t block, mproc__block_state state, void *context)
{
    (void)arena;
    (void)block;
    *(unsigned *)context += state.granules;
    return true;
}

static unsigned used(const arena_context *c)
{
    unsigned granules = 0;
    mproc__arena_each(c->arena, count_granules, &granules);
    return granules;
}

/* All that is not the controller's can be had again, and given back. */
static int arena_check(void *context, unsigned state, bool returned)
{
    arena_context *c = context;
    unsigned got = 0;
    (void)state;
    (void)returned;
    mproc__segment_sweep(c->segment);
    if (used(c) != c->kept)
        return 10;
    while (take(c, 1) == 0)
        got++;
    if (got != GRANULES - c->kept || used(c) != GRANULES)
        return 11;
    unsigned row = c->segment->row;
    mproc__arena_each(c->arena, free_if_dead, &row);
    return used(c) == c->kept ? 0 : 12;
}

/* While somebody is stopped on the arena's lock, others time out, and free without it. */
static int arena_meanwhile(void *context, unsigned state)
{
    arena_context *c = context;
    (void)state;
    int code = mproc__arena_alloc(c->segment, c->arena, GRANULE, mproc_after_ms(KILL_SHORT_MS), &c->block);
    if (code == 0)
        mproc__arena_free(c->arena, c->block);
    int swept = (int)mproc__segment_sweep(c->segment);
    mproc__segment_release(c->segment);
    return swept == 0 && (code == 0 || code == -ETIMEDOUT || code == -ENOSPC) ? 0 : 1;
}

#define ARENA(name, of_states, making)                                                                       \
    .operation = (name), .states = (of_states), .setup = (making), .teardown = arena_teardown,               \
    .prepare = arena_prepare, .recover = arena_recover, .meanwhile = arena_meanwhile, .check = arena_check

const kill_case killsweep_arena_alloc = {ARENA("arena alloc", alloc_states, alloc_setup), .call = alloc_call};
const kill_case killsweep_arena_free = {ARENA("arena free", own_states, own_setup), .call = free_call};
const kill_case killsweep_arena_swap = {ARENA("arena swap", own_states, own_setup), .call = swap_call};
