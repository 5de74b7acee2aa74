/* SPDX-License-Identifier: BSD-2-Clause */
/* Batches, killed at every state. Items are numbered from 0, those that are there before the call and those put by it. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "kill/queue_scene.h"

enum { BATCH = 3, BUDGET = 8192 };

typedef struct start {
    size_t size_bytes;
    unsigned preload;
    unsigned max_items;
    bool redeliver;
} start;

typedef struct scene {
    queue_scene base;
    const start *start;
} scene;

static int scene_make(const start *from, void **ret_context)
{
    scene *s = calloc(1, sizeof(*s));
    *ret_context = s;
    s->start = from;
    int rc = queue_scene_make(&s->base,
                              MPROC_WITH(mproc_queue_options, .max_items = from->max_items,
                                         .max_bytes = BUDGET, .redeliver = from->redeliver),
                              from->size_bytes, from->preload);
    queue_scene_quiet(&s->base, BATCH + 1);
    return rc;
}

/* ---- put ---- */

static const char *const put_states[] = {"records", "blocks", "acknowledged", "room-for-one", NULL};
static const start put_starts[] = {{.size_bytes = 8},
                                   {.size_bytes = SCENE_BLOCK_BYTES},
                                   {.size_bytes = 8, .redeliver = true},
                                   {.size_bytes = 8, .max_items = 1}};

static int put_setup(unsigned state, void **ret_context)
{
    return scene_make(&put_starts[state], ret_context);
}

static int put_call(void *context, unsigned state)
{
    static uint8_t items[BATCH * SCENE_BLOCK_BYTES];
    const scene *s = context;
    size_t size_bytes = s->base.size_bytes, count = 0;
    (void)state;
    for (unsigned i = 0; i < BATCH; i++)
        memcpy(items + i * size_bytes, queue_item(i), size_bytes);
    int rc = mproc_queue_put_many(s->base.queue, items, size_bytes, BATCH, MPROC_FOREVER, &count);
    return rc < 0 || count == 0;
}

static int put_wait(void *context, unsigned state)
{
    (void)state;
    return queue_parked_get(context) < 0;
}

static int put_wakes(void *context, unsigned state)
{
    (void)state;
    return queue_puts_since(context) > 0 ? 0 : 1;
}

/* Records become visible by one store; blocks and what has no room come one by one. */
static int put_check(void *context, unsigned state, bool returned)
{
    const queue_scene *s = context;
    unsigned committed = queue_puts_since(s);
    bool torn = state == 0 && committed != 0 && committed != BATCH;
    if (committed > BATCH || torn || (returned && committed == 0) || !kill_swept(s->queue->segment))
        return 10;
    if (committed == 0 && queue_put_number(s, SCENE_SURVIVOR, queue_hard()) < 0)
        return 11;
    if (!queue_parked_is_back(s))
        return 12;
    /* A victim that went on after a stop may have found room for more. */
    int left = queue_drain(s);
    return left < 0 || left + 1 < (int)committed ? 13 : queue_scene_use(s, false);
}

/* ---- get ---- */

static const char *const get_states[] = {"records", "blocks", "acknowledged", NULL};
static const start get_starts[] = {{.size_bytes = 8, .preload = BATCH + 1},
                                   {.size_bytes = SCENE_BLOCK_BYTES, .preload = BATCH + 1},
                                   {.size_bytes = 8, .preload = BATCH + 1, .redeliver = true}};

static int get_setup(unsigned state, void **ret_context)
{
    return scene_make(&get_starts[state], ret_context);
}

static int get_call(void *context, unsigned state)
{
    static uint8_t items[BATCH * SCENE_BLOCK_BYTES];
    const queue_scene *s = context;
    size_t count = 0;
    (void)state;
    int rc = mproc_queue_get_many(s->queue, items, s->size_bytes, BATCH, MPROC_FOREVER, &count);
    return rc < 0 || count != BATCH;
}

/* What comes is the end of what there was: all that was not taken, and of an acknowledged queue what was not done. */
static int get_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    const queue_scene *base = &s->base;
    unsigned taken = queue_gets_since(base);
    if (taken > BATCH || (state == 0 && taken != 0 && taken != BATCH) || (returned && taken != BATCH) ||
        !kill_swept(base->queue->segment))
        return 10;
    unsigned left = s->start->preload - taken;
    int first = queue_get_number(base, queue_hard());
    if (first != (int)taken && !(s->start->redeliver && taken > 0 && first == (int)taken - 1))
        return 11;
    int rest = queue_drain(base);
    if (rest < 0 || (unsigned)rest + (first == (int)taken) != left)
        return 12;
    return queue_scene_use(base, false);
}

#define BATCHES(title, of)                                                                                   \
    .operation = (title), .states = of##_states, .setup = of##_setup, .teardown = queue_scene_teardown,      \
    .prepare = queue_scene_enter, .call = of##_call, .check = of##_check, .recover = queue_scene_recover,    \
    .meanwhile = queue_scene_meanwhile

const kill_case killsweep_queue_put_many = {BATCHES("queue put many", put), .wait = put_wait,
                                            .wakes = put_wakes};
const kill_case killsweep_queue_get_many = {BATCHES("queue get many", get)};
