/* SPDX-License-Identifier: BSD-2-Clause */
/* Put and get of items from 0 bytes to 8 MiB from each start state, killed at every state: one producer, one consumer, one of
 * them the victim and the other one parked if it has to wait, else in join. */
#include "platform/base.h"

#include <stdlib.h>

#include "kill/queue_sizes.h"

typedef struct scene {
    queue_scene base;
    const queue_start *start;
} scene;

static int put_setup(unsigned state, void **ret_context)
{
    scene *s = calloc(1, sizeof *s);
    *ret_context = s;
    s->start = queue_put_start(state);
    return queue_sizes_make(&s->base, true, state);
}

static int get_setup(unsigned state, void **ret_context)
{
    scene *s = calloc(1, sizeof *s);
    *ret_context = s;
    s->start = queue_get_start(state);
    return queue_sizes_make(&s->base, false, state);
}

/* Everything that was put and not taken, in order, then the end or nothing. */
static bool drains(const queue_scene *s, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        if (queue_get_number(s, queue_hard()) != queue_number(s, i))
            return false;
    return true;
}

/* ---- put ---- */

static bool put_has_getter(const scene *s)
{
    return s->start->preload == 0;
}

static int put_wait(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (!put_has_getter(s))
        return mproc_queue_join(s->base.queue, MPROC_FOREVER) < 0;
    int number = queue_get_number(&s->base, MPROC_FOREVER);
    return number != 0 && number != SCENE_SURVIVOR;
}

static int put_call(void *context, unsigned state)
{
    const scene *s = context;
    return queue_sizes_put(&s->base, state);
}

static int put_wakes(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return put_has_getter(s) && queue_puts_since(&s->base) > 0 ? 0 : 1;
}

static int put_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    const queue_scene *base = &s->base;
    unsigned committed = queue_puts_since(base);
    (void)state;
    bool may = s->start->expected == 0;
    if (committed > may || (returned && may && committed == 0))
        return 10;
    if (!kill_swept(base->queue->segment))
        return 15;
    if (!put_has_getter(s))
        return drains(base, 0, s->start->preload + committed) ? queue_scene_use(base, s->start->closed) : 14;
    /* Of the victim's item and ours the parked one gets one and we get the other. */
    if (queue_put_number(base, SCENE_SURVIVOR, queue_hard()) < 0)
        return 11;
    int number = committed ? queue_get_number(base, queue_hard()) : queue_number(base, SCENE_SURVIVOR);
    if (number != 0 && number != queue_number(base, SCENE_SURVIVOR))
        return 12;
    /* The parked one has its item when the ring is empty. */
    return mproc_queue_join(base->queue, queue_hard()) < 0 ? 13 : queue_scene_use(base, false);
}

/* ---- get ---- */

static bool get_has_putter(const scene *s)
{
    return s->start->bounded && s->start->preload > 1;
}

/* In an empty queue a second consumer, for a joiner would not wait. */
static bool get_has_getter(const scene *s)
{
    return s->start->preload == 0;
}

static int get_wait(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (get_has_putter(s))
        return queue_put_number(&s->base, SCENE_PARKED, MPROC_FOREVER) < 0;
    if (get_has_getter(s))
        return queue_get_number(&s->base, MPROC_FOREVER) != queue_number(&s->base, SCENE_SURVIVOR);
    return mproc_queue_join(s->base.queue, MPROC_FOREVER) < 0;
}

static int get_call(void *context, unsigned state)
{
    const scene *s = context;
    return queue_sizes_get(&s->base, state);
}

static int get_wakes(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    const mproc__queue_shared *shared = s->base.queue->shared;
    bool drained = !get_has_getter(s) && shared->head == shared->tail;
    return (get_has_putter(s) ? queue_gets_since(&s->base) > 0 : drained) ? 0 : 1;
}

static int get_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    const queue_scene *base = &s->base;
    unsigned taken = queue_gets_since(base);
    (void)state;
    bool may = s->start->expected == 0;
    if (taken > may || (returned && may && taken == 0))
        return 10;
    if (!kill_swept(base->queue->segment))
        return 15;
    if (!drains(base, taken, s->start->preload))
        return 11;
    if (get_has_putter(s) && queue_get_number(base, queue_hard()) != queue_number(base, SCENE_PARKED))
        return 12;
    if (get_has_getter(s) && (queue_put_number(base, SCENE_SURVIVOR, queue_hard()) < 0 ||
                              mproc_queue_join(base->queue, queue_hard()) < 0))
        return 13;
    return queue_scene_use(base, s->start->closed);
}

#define SIZES(title, of)                                                                                     \
    .operation = (title), .states = queue_sizes_states, .copies = true, .setup = of##_setup,                 \
    .teardown = queue_scene_teardown, .prepare = queue_scene_enter, .call = of##_call,                       \
    .recover = queue_scene_recover, .meanwhile = queue_scene_meanwhile, .wait = of##_wait,                   \
    .wakes = of##_wakes, .check = of##_check

const kill_case killsweep_queue_put_sizes = {SIZES("queue put by size", put)};
const kill_case killsweep_queue_get_sizes = {SIZES("queue get by size", get)};
