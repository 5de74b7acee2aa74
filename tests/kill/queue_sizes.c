/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "kill/queue_sizes.h"

enum { BOUND = 2, ROOM = 3 };

static const size_t sizes[] = {0, 64, 4 << 10, 64 << 10, 1 << 20, SCENE_BYTES_MOST};

#define STARTS(size)                                                                                         \
    size "-empty", size "-one-item", size "-one-slot-free", size "-full", size "-wrap-around", size "-closed"
const char *const queue_sizes_states[] = {
    STARTS("0B"), STARTS("64B"), STARTS("4KiB"), STARTS("64KiB"), STARTS("1MiB"), STARTS("8MiB"), NULL};

static const queue_start put_starts[] = {
    {.preload = 0},
    {.preload = 1},
    {.preload = 1, .bounded = true},
    {.preload = 2, .bounded = true, .expected = -ETIMEDOUT},
    {.wrap = true},
    {.preload = 1, .closed = true, .expected = MPROC_ECLOSED},
};

static const queue_start get_starts[] = {
    {.expected = -ETIMEDOUT},        {.preload = 1},
    {.preload = 1, .bounded = true}, {.preload = 2, .bounded = true},
    {.preload = 1, .wrap = true},    {.preload = 1, .closed = true},
};

const queue_start *queue_put_start(unsigned state)
{
    return &put_starts[state % MPROC__COUNT(put_starts)];
}

const queue_start *queue_get_start(unsigned state)
{
    return &get_starts[state % MPROC__COUNT(get_starts)];
}

int queue_sizes_make(queue_scene *s, bool put, unsigned state)
{
    const queue_start *start = put ? queue_put_start(state) : queue_get_start(state);
    size_t size_bytes = sizes[state / MPROC__COUNT(put_starts)];
    unsigned items = start->bounded ? BOUND : ROOM;
    size_t least = items * (size_bytes + sizeof(mproc__block_shared));
    int rc = queue_scene_make(
        s,
        MPROC_WITH(mproc_queue_options, .max_items = items,
                   .max_bytes = least < MPROC__RING_BYTES_LEAST ? MPROC__RING_BYTES_LEAST : least),
        size_bytes, start->wrap ? 0 : start->preload);
    if (rc == 0 && start->wrap)
        rc = queue_scene_turn(s);
    for (unsigned i = 0; rc == 0 && start->wrap && i < start->preload; i++)
        rc = queue_put_number(s, i, queue_hard()) < 0 ? 4 : 0;
    if (rc == 0 && start->closed && mproc_queue_shutdown(s->queue, false) < 0)
        rc = 5;
    if (rc == 0) {
        queue_scene_begin(s);
        queue_scene_quiet(s, items);
    }
    return rc;
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
    return queue_get_number(s, expected ? MPROC_NOW : MPROC_FOREVER) != expected;
}
