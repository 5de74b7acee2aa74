/* SPDX-License-Identifier: BSD-2-Clause */
/* A put that makes a queue grow, and the gets behind that, killed at every state.
 *
 * The queue of 2 MiB begins with a ring of 256 KiB and blocks of 256 KiB. Items are numbered from 0; before the call there
 * are as many as fit, so that the victim's put needs the next ring or more blocks; or so few left that the victim's get
 * is the last one before the link, finds it, or is the first behind it. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "kill/queue_scene.h"

enum {
    BUDGET = 2 << 20,
    RECORD = 400, /* few stores, so few states */
    BLOCK = 2000,
    AFTER = 1500, /* items of the survivor: more than the first ring holds */
    AFTER_BLOCKS = 300,
    MANY = 4, /* of a batch */
    LOOKED_AT = 64 << 10
};

typedef struct start {
    size_t size_bytes;
    unsigned behind; /* so many were put behind the link */
    unsigned stay;   /* so many are there when the call comes; 0: all */
    unsigned batch;  /* 0: one by one */
} start;

typedef struct scene {
    mproc_queue *queue;
    const start *start;
    uint32_t first, count; /* numbers of what is there before the call */
    uint32_t head_items, tail_items;
} scene;

static const char *const put_states[] = {"ring", "ring-batch", "blocks", NULL};
static const start put_starts[] = {
    {.size_bytes = RECORD},
    {.size_bytes = RECORD, .batch = MANY},
    {.size_bytes = BLOCK},
};

static const char *const get_states[] = {"before-the-link", "link", "link-and-more", "link-batch",
                                         "behind-the-link", NULL};
static const start get_starts[] = {
    {.size_bytes = RECORD, .behind = 1, .stay = 2},
    {.size_bytes = RECORD, .behind = 1, .stay = 1},
    {.size_bytes = RECORD, .behind = 2, .stay = 2},
    {.size_bytes = RECORD, .behind = 2, .stay = MANY, .batch = MANY},
    {.size_bytes = RECORD, .behind = 2, .stay = 1},
};

static void number_write(uint8_t *item, size_t size_bytes, uint32_t number)
{
    memset(item, (int)(number % 251), size_bytes);
    memcpy(item, &number, sizeof(number));
}

static int put_number(const scene *s, uint32_t number, mproc_deadline deadline)
{
    static uint8_t item[BLOCK];
    number_write(item, s->start->size_bytes, number);
    return mproc_queue_put(s->queue, item, s->start->size_bytes, deadline);
}

static bool number_is(const uint8_t *item, size_t size_bytes, uint32_t number)
{
    static uint8_t wanted[BLOCK];
    number_write(wanted, size_bytes, number);
    return memcmp(item, wanted, size_bytes) == 0;
}

/* 0, or what was wrong. */
static int get_number(const scene *s, uint32_t number, mproc_deadline deadline)
{
    static uint8_t item[BLOCK];
    size_t got = 0;
    int rc = mproc_queue_get(s->queue, item, sizeof(item), deadline, &got);
    if (rc < 0)
        return rc;
    return got == s->start->size_bytes && number_is(item, got, number) ? 0 : 1;
}

static bool has_grown(const scene *s)
{
    return mproc__position_ring(s->queue->shared->tail) > 0;
}

/* As many as fit without growing. */
static int scene_fill(scene *s)
{
    uint64_t each = mproc__record_bytes(RECORD), granule = s->queue->arena.granule_bytes;
    uint64_t records = (s->queue->ring.full_bytes - 1) / each;
    uint64_t blocks = MPROC__RING_FIRST_BYTES / mproc__round_up(BLOCK + sizeof(mproc__block_shared), granule);
    s->count = (uint32_t)(s->start->size_bytes == RECORD ? records : blocks);
    for (uint32_t i = 0; i < s->count; i++)
        if (put_number(s, i, queue_hard()) < 0)
            return 2;
    return has_grown(s) ? 3 : 0;
}

static int scene_empty(scene *s)
{
    for (unsigned i = 0; i < s->start->behind; i++)
        if (put_number(s, s->count++, queue_hard()) < 0)
            return 4;
    for (; s->count > s->start->stay; s->first++, s->count--)
        if (get_number(s, s->first, queue_hard()) != 0)
            return 5;
    return has_grown(s) ? 0 : 6;
}

/* Of rings and blocks only what the calls come to is looked at: the rest of 6 MiB made a round take 60 ms. Behind the link
 * bytes count on, so that the second ring begins in its middle. */
static void scene_quiet(const scene *s)
{
    const mproc__ring *ring = &s->queue->ring;
    const mproc__arena *arena = &s->queue->arena;
    uint64_t first = ring->first_bytes, all = mproc__ring_begin(ring, ring->last + 1);
    size_t blocks = (size_t)arena->granule_bytes * arena->granule_count;
    kill_quiet(ring->row, first - LOOKED_AT);
    kill_quiet(ring->row + first, first - LOOKED_AT);
    kill_quiet(ring->row + 2 * first + LOOKED_AT, all - 2 * first - LOOKED_AT);
    kill_quiet(arena->data, MPROC__RING_FIRST_BYTES - LOOKED_AT);
    kill_quiet(arena->data + MPROC__RING_FIRST_BYTES + LOOKED_AT,
               blocks - MPROC__RING_FIRST_BYTES - LOOKED_AT);
}

static int scene_make(const start *from, void **ret_context)
{
    scene *s = calloc(1, sizeof *s);
    *ret_context = s;
    s->start = from;
    s->queue = queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .max_bytes = BUDGET));
    if (!s->queue)
        return 1;
    int code = scene_fill(s);
    if (code == 0 && from->stay > 0)
        code = scene_empty(s);
    scene_quiet(s);
    s->head_items = mproc__position_items(s->queue->shared->head);
    s->tail_items = mproc__position_items(s->queue->shared->tail);
    return code;
}

static int put_setup(unsigned state, void **ret_context)
{
    return scene_make(&put_starts[state], ret_context);
}

static int get_setup(unsigned state, void **ret_context)
{
    return scene_make(&get_starts[state], ret_context);
}

static void scene_teardown(void *context)
{
    scene *s = context;
    mproc_queue_close(&s->queue);
    free(s);
}

static int scene_wait(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return mproc_queue_join(s->queue, MPROC_FOREVER) < 0;
}

static int scene_wakes(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return s->queue->shared->head == s->queue->shared->tail ? 0 : 1;
}

/* What is there from `first` on comes out, in order, and nothing else; then the queue grows once more, or for the first
 * time, and gives all back. */
static int scene_use(const scene *s, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (get_number(s, first + i, queue_hard()) != 0)
            return 20;
    if (get_number(s, 0, MPROC_NOW) != -ETIMEDOUT)
        return 21;
    uint32_t after = s->start->size_bytes == RECORD ? AFTER : AFTER_BLOCKS;
    for (uint32_t i = 0; i < after; i++)
        if (put_number(s, i, MPROC_NOW) < 0)
            return 22;
    if (s->start->size_bytes == RECORD && !has_grown(s))
        return 23;
    for (uint32_t i = 0; i < after; i++)
        if (get_number(s, i, MPROC_NOW) != 0)
            return 24;
    if (mproc_queue_join(s->queue, queue_hard()) < 0)
        return 25;
    return queue_verify(s->queue, 0) ? 26 : 0;
}

static int put_call(void *context, unsigned state)
{
    const scene *s = context;
    static uint8_t items[MANY * RECORD];
    size_t put = 0;
    (void)state;
    if (s->start->batch == 0)
        return put_number(s, s->count, MPROC_FOREVER) < 0;
    for (uint32_t i = 0; i < MANY; i++)
        number_write(items + i * RECORD, RECORD, s->count + i);
    return mproc_queue_put_many(s->queue, items, RECORD, MANY, MPROC_FOREVER, &put) < 0 || put != MANY;
}

static int put_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    uint32_t wanted = s->start->batch ? s->start->batch : 1;
    uint32_t committed = (mproc__position_items(s->queue->shared->tail) - s->tail_items) & 0xffffff;
    if ((committed != 0 && committed != wanted) || (returned && committed == 0))
        return 10;
    if (!kill_swept(s->queue->segment))
        return 11;
    return scene_use(s, s->first, s->count + committed);
}

static int get_call(void *context, unsigned state)
{
    const scene *s = context;
    static uint8_t items[MANY * RECORD];
    size_t got = 0;
    (void)state;
    if (s->start->batch == 0)
        return get_number(s, s->first, MPROC_FOREVER);
    if (mproc_queue_get_many(s->queue, items, RECORD, MANY, MPROC_FOREVER, &got) < 0 || got != MANY)
        return 1;
    for (uint32_t i = 0; i < MANY; i++)
        if (!number_is(items + i * RECORD, RECORD, s->first + i))
            return 2;
    return 0;
}

static int get_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    uint32_t most = s->start->batch ? s->start->batch : 1;
    uint32_t taken = (mproc__position_items(s->queue->shared->head) - s->head_items) & 0xffffff;
    if (taken > most || (returned && taken == 0))
        return 10;
    if (!kill_swept(s->queue->segment))
        return 11;
    return scene_use(s, s->first + taken, s->count - taken);
}

const kill_case killsweep_queue_grow_put = {.operation = "queue grow put",
                                            .states = put_states,
                                            .setup = put_setup,
                                            .teardown = scene_teardown,
                                            .prepare = queue_scene_enter,
                                            .call = put_call,
                                            .recover = queue_scene_recover,
                                            .meanwhile = queue_scene_meanwhile,
                                            .wait = scene_wait,
                                            .wakes = scene_wakes,
                                            .check = put_check};

const kill_case killsweep_queue_grow_get = {.operation = "queue grow get",
                                            .states = get_states,
                                            .setup = get_setup,
                                            .teardown = scene_teardown,
                                            .prepare = queue_scene_enter,
                                            .call = get_call,
                                            .recover = queue_scene_recover,
                                            .meanwhile = queue_scene_meanwhile,
                                            .wait = scene_wait,
                                            .wakes = scene_wakes,
                                            .check = get_check};
