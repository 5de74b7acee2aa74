/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue's put and get, killed at every state, with somebody parked on the other side.
 *
 * Before the call there are `preload` items, 0 and up; the victim puts the next one or gets number 0; the survivor's and the
 * parked putter's have numbers of their own. Here a block is followed through each store of its copy; sweep_queue_sizes.c has
 * all sizes from all start states. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "kill/queue_scene.h"

enum { BUDGET = 4096 };

typedef enum parked { PARKED_GETTER, PARKED_PUTTER, PARKED_JOINER } parked;

typedef struct start {
    size_t size_bytes;
    unsigned preload;
    unsigned max_items;
    parked parked;
    bool redeliver;
    bool wrap; /* the next record does not fit before the ring's end */
    bool closed;
    int expected; /* of the victim's call */
} start;

typedef struct scene {
    queue_scene base;
    const start *start;
} scene;

static const char *const put_states[] = {
    "empty-1", "empty-8",     "empty-200", "empty-block", "acknowledged", "one-item", "one-slot-free",
    "full",    "wrap-around", "closed",    NULL};
static const start put_starts[] = {
    {.size_bytes = 1, .parked = PARKED_GETTER},
    {.size_bytes = 8, .parked = PARKED_GETTER},
    {.size_bytes = 200, .parked = PARKED_GETTER},
    {.size_bytes = SCENE_BLOCK_BYTES, .parked = PARKED_GETTER},
    {.size_bytes = 8, .parked = PARKED_GETTER, .redeliver = true},
    {.size_bytes = 8, .preload = 1, .parked = PARKED_JOINER},
    {.size_bytes = 8, .preload = 1, .max_items = 2, .parked = PARKED_JOINER},
    {.size_bytes = 8, .preload = 2, .max_items = 2, .parked = PARKED_JOINER, .expected = -ETIMEDOUT},
    {.size_bytes = 200, .parked = PARKED_GETTER, .wrap = true},
    {.size_bytes = 8, .preload = 1, .parked = PARKED_JOINER, .closed = true, .expected = MPROC_ECLOSED},
};

static const char *const get_states[] = {"one-1",     "one-8", "one-200",     "one-block", "acknowledged",
                                         "two-items", "full",  "wrap-around", "closed",    NULL};
static const start get_starts[] = {
    {.size_bytes = 1, .preload = 1, .parked = PARKED_JOINER},
    {.size_bytes = 8, .preload = 1, .parked = PARKED_JOINER},
    {.size_bytes = 200, .preload = 1, .parked = PARKED_JOINER},
    {.size_bytes = SCENE_BLOCK_BYTES, .preload = 1, .parked = PARKED_JOINER},
    {.size_bytes = 8, .preload = 1, .parked = PARKED_JOINER, .redeliver = true},
    {.size_bytes = 8, .preload = 2, .parked = PARKED_JOINER},
    {.size_bytes = 8, .preload = 2, .max_items = 2, .parked = PARKED_PUTTER},
    {.size_bytes = 200, .preload = 1, .parked = PARKED_JOINER, .wrap = true},
    {.size_bytes = 8, .preload = 1, .parked = PARKED_JOINER, .closed = true},
};

static int scene_make(const start *from, void **ret_context)
{
    scene *s = calloc(1, sizeof *s);
    *ret_context = s;
    s->start = from;
    int rc = queue_scene_make(&s->base,
                              MPROC_WITH(mproc_queue_options, .max_items = from->max_items,
                                         .max_bytes = BUDGET, .redeliver = from->redeliver),
                              from->size_bytes, 0);
    if (rc == 0 && from->wrap)
        rc = queue_scene_turn(&s->base);
    for (unsigned i = 0; rc == 0 && i < from->preload; i++)
        rc = queue_put_number(&s->base, i, queue_hard());
    if (rc == 0 && from->closed)
        rc = mproc_queue_shutdown(s->base.queue, false);
    queue_scene_begin(&s->base);
    return rc < 0 ? 6 : rc;
}

static int put_setup(unsigned state, void **ret_context)
{
    return scene_make(&put_starts[state], ret_context);
}

static int get_setup(unsigned state, void **ret_context)
{
    return scene_make(&get_starts[state], ret_context);
}

static int scene_wait(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    switch (s->start->parked) {
    case PARKED_GETTER: {
        int number = queue_get_number(&s->base, MPROC_FOREVER);
        return number == 0 || number == SCENE_SURVIVOR ? 0 : 1;
    }
    case PARKED_PUTTER:
        return queue_put_number(&s->base, SCENE_PARKED, MPROC_FOREVER) < 0;
    default:
        return mproc_queue_join(s->base.queue, MPROC_FOREVER) < 0;
    }
}

/* ---- put ---- */

static int put_call(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    mproc_deadline deadline = s->start->expected == -ETIMEDOUT ? MPROC_NOW : MPROC_FOREVER;
    return queue_put_number(&s->base, s->start->preload, deadline) != s->start->expected;
}

static int put_wakes(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return s->start->parked == PARKED_GETTER && queue_puts_since(&s->base) > 0 ? 0 : 1;
}

static int put_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    unsigned committed = queue_puts_since(&s->base);
    unsigned wanted = s->start->expected == 0 && returned ? 1 : 0;
    if (committed > 1 || committed < wanted || (committed && s->start->expected != 0))
        return 10;
    if (!kill_swept(s->base.queue->segment))
        return 15;
    if (s->start->parked == PARKED_GETTER) {
        /* Of the victim's item and ours the parked one gets one and we get the other. */
        if (queue_put_number(&s->base, SCENE_SURVIVOR, queue_hard()) < 0)
            return 11;
        int number = committed ? queue_get_number(&s->base, queue_hard()) : SCENE_SURVIVOR;
        if (number != 0 && number != SCENE_SURVIVOR)
            return 12;
        /* The parked one has its item when the ring is empty. */
        if (mproc_queue_join(s->base.queue, queue_hard()) < 0)
            return 13;
    } else {
        for (unsigned i = 0; i < s->start->preload + committed; i++)
            if (queue_get_number(&s->base, queue_hard()) != (int)i)
                return 14;
    }
    return queue_scene_use(&s->base, s->start->closed);
}

/* ---- get ---- */

static int get_call(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (s->start->redeliver)
        return mproc_queue_get(s->base.queue, s->base.notes->got, SCENE_GOT_BYTES, MPROC_FOREVER, NULL) < 0;
    return queue_get_number(&s->base, MPROC_FOREVER) != 0;
}

static int get_wakes(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (s->start->parked == PARKED_PUTTER)
        return queue_gets_since(&s->base) > 0 ? 0 : 1;
    /* A joiner: a plain queue is joined when it is empty; an acknowledged one may yet get its item back. */
    return !s->start->redeliver && s->base.queue->shared->head == s->base.queue->shared->tail ? 0 : 1;
}

static int get_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    unsigned taken = queue_gets_since(&s->base);
    if (taken > 1 || (returned && taken == 0))
        return 10;
    if (!kill_swept(s->base.queue->segment))
        return 15;
    unsigned next = taken;
    int number = queue_get_number(&s->base, MPROC_NOW);
    if (taken && s->start->redeliver && !returned) {
        if (number == 0) /* given back by the victim's death */
            number = queue_get_number(&s->base, MPROC_NOW);
        else if (memcmp(s->base.notes->got, queue_item(0), s->start->size_bytes) != 0)
            return 13; /* neither given back nor had */
    }
    for (; number == (int)next; next++)
        number = queue_get_number(&s->base, MPROC_NOW);
    if (next != s->start->preload)
        return 11;
    if (s->start->parked == PARKED_PUTTER && number == -ETIMEDOUT)
        number = queue_get_number(&s->base, queue_hard());
    int last = s->start->parked == PARKED_PUTTER ? SCENE_PARKED : s->start->closed ? MPROC_EEND : -ETIMEDOUT;
    return number != last ? 12 : queue_scene_use(&s->base, s->start->closed);
}

const kill_case killsweep_queue_put = {.operation = "queue put",
                                       .states = put_states,
                                       .every_state = true,
                                       .setup = put_setup,
                                       .teardown = queue_scene_teardown,
                                       .prepare = queue_scene_enter,
                                       .call = put_call,
                                       .recover = queue_scene_recover,
                                       .meanwhile = queue_scene_meanwhile,
                                       .wait = scene_wait,
                                       .wakes = put_wakes,
                                       .check = put_check};

const kill_case killsweep_queue_get = {.operation = "queue get",
                                       .states = get_states,
                                       .every_state = true,
                                       .setup = get_setup,
                                       .teardown = queue_scene_teardown,
                                       .prepare = queue_scene_enter,
                                       .call = get_call,
                                       .recover = queue_scene_recover,
                                       .meanwhile = queue_scene_meanwhile,
                                       .wait = scene_wait,
                                       .wakes = get_wakes,
                                       .check = get_check};
