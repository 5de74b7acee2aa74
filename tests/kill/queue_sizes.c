/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "kill/queue_sizes.h"

enum { BOUND = 2, ROOM = 3 };

#define STARTS(size)                                                                                         \
    size "-empty", size "-one-item", size "-one-slot-free", size "-full", size "-wrap-around", size "-closed"
const char *const queue_sizes_states[] = {QUEUE_STATES(STARTS)};

static const queue_start put_starts[QUEUE_STARTS] = {
    {.preload = 0},
    {.preload = 1},
    {.preload = 1, .bounded = true},
    {.preload = 2, .bounded = true, .expected = -ETIMEDOUT},
    {.wrap = true},
    {.preload = 1, .closed = true, .expected = MPROC_ECLOSED},
};

static const queue_start get_starts[QUEUE_STARTS] = {
    {.expected = -ETIMEDOUT},        {.preload = 1},
    {.preload = 1, .bounded = true}, {.preload = 2, .bounded = true},
    {.preload = 1, .wrap = true},    {.preload = 1, .closed = true},
};

const queue_start *queue_put_start(unsigned state)
{
    return &put_starts[state % QUEUE_STARTS];
}

const queue_start *queue_get_start(unsigned state)
{
    return &get_starts[state % QUEUE_STARTS];
}

size_t queue_size(unsigned state, unsigned starts)
{
    static const size_t sizes[] = {0, 64, 4 << 10, 64 << 10, 1 << 20, SCENE_BYTES_MOST};
    return sizes[state / starts];
}

int queue_start_make(queue_scene *s, const queue_start *start, size_t size_bytes, queue_put_fn *put)
{
    unsigned items = start->bounded ? BOUND : ROOM;
    size_t least = items * (size_bytes + sizeof(mproc__block_shared));
    int rc = queue_scene_make(
        s,
        MPROC_WITH(mproc_queue_options, .max_items = items, .redeliver = start->redeliver,
                   .max_bytes = least < MPROC__RING_BYTES_LEAST ? MPROC__RING_BYTES_LEAST : least),
        size_bytes, 0);
    if (rc == 0 && start->wrap)
        rc = queue_scene_turn(s);
    for (unsigned i = 0; rc == 0 && i < start->preload; i++)
        rc = put ? put(s, i) : queue_put_number(s, i, queue_hard());
    if (rc == 0 && start->closed)
        rc = mproc_queue_shutdown(s->queue, false);
    queue_scene_begin(s);
    queue_scene_quiet(s, items);
    return rc < 0 ? 4 : rc;
}

int queue_sizes_make(queue_scene *s, bool puts, unsigned state)
{
    const queue_start *start = puts ? queue_put_start(state) : queue_get_start(state);
    return queue_start_make(s, start, queue_size(state, QUEUE_STARTS), NULL);
}

int queue_sizes_put(const queue_scene *s, unsigned state)
{
    const queue_start *start = queue_put_start(state);
    mproc_deadline deadline = start->expected == -ETIMEDOUT ? MPROC_NOW : MPROC_FOREVER;
    return queue_put_number(s, start->preload, deadline) != start->expected;
}

int queue_sizes_get(const queue_scene *s, unsigned state)
{
    int expected = queue_get_start(state)->expected;
    return queue_get_copy(s, expected ? MPROC_NOW : MPROC_FOREVER) != expected;
}
