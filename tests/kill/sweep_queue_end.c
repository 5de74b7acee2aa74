/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a queue, of a handle and of a loan that is not committed: killed at every state of shutdown, close and drop. */
#include "platform/base.h"

#include <stdlib.h>

#include "kill/queue_scene.h"

enum { BUDGET = 8192 };

typedef struct scene {
    queue_scene base;
    mproc_loan taken, reserved; /* the victim's */
} scene;

static int scene_make(size_t size_bytes, unsigned preload, bool redeliver, void **ret_context)
{
    scene *s = calloc(1, sizeof(*s));
    *ret_context = s;
    s->taken = s->reserved = (mproc_loan)MPROC_LOAN_INIT;
    return queue_scene_make(&s->base,
                            MPROC_WITH(mproc_queue_options, .max_bytes = BUDGET, .redeliver = redeliver),
                            size_bytes, preload);
}

/* ---- shutdown ---- */

static const char *const end_states[] = {"empty", "discard", NULL};
enum { DISCARD = 1 };

static int end_setup(unsigned state, void **ret_context)
{
    (void)state;
    return scene_make(8, 0, false, ret_context);
}

static int end_call(void *context, unsigned state)
{
    const queue_scene *s = context;
    return mproc_queue_shutdown(s->queue, state == DISCARD) < 0;
}

static int end_wait(void *context, unsigned state)
{
    (void)state;
    return queue_parked_get(context) != MPROC_EEND;
}

static int end_wakes(void *context, unsigned state)
{
    const queue_scene *s = context;
    (void)state;
    return s->queue->shared->state != MPROC__QUEUE_OPEN ? 0 : 1;
}

static int end_check(void *context, unsigned state, bool returned)
{
    const queue_scene *s = context;
    if (returned && s->queue->shared->state == MPROC__QUEUE_OPEN)
        return 10;
    if (mproc_queue_shutdown(s->queue, state == DISCARD) < 0 || !queue_parked_is_back(s))
        return 11;
    if (queue_put_number(s, SCENE_SURVIVOR, queue_hard()) != MPROC_ECLOSED ||
        queue_get_number(s, queue_hard()) != MPROC_EEND)
        return 12;
    return mproc_queue_join(s->queue, queue_hard()) < 0 ? 13 : 0;
}

/* ---- drop and close ---- */

static const char *const close_states[] = {"records", "blocks", NULL};

static int close_setup(unsigned state, void **ret_context)
{
    return scene_make(state == 0 ? 8 : SCENE_BLOCK_BYTES, 1, true, ret_context);
}

static int close_prepare(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_take(s->base.queue, queue_hard(), &s->taken) < 0 ||
           mproc_queue_reserve(s->base.queue, 8, queue_hard(), &s->reserved) < 0;
}

static int close_call(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    mproc_queue_close(&s->base.queue);
    return 0;
}

static int drop_call(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_drop(s->base.queue, &s->reserved) < 0;
}

/* Whether closed or dead: the item comes again, and the unfinished one is gone. */
static int close_check(void *context, unsigned state, bool returned)
{
    const queue_scene *s = context;
    mproc_loan again = MPROC_LOAN_INIT;
    (void)state;
    (void)returned;
    if (!kill_swept(s->queue->segment))
        return 10;
    if (mproc_queue_take(s->queue, queue_hard(), &again) < 0 || again.delivery != 2 ||
        queue_item_number(s, again.data, again.data_bytes) != 0)
        return 11;
    return mproc_queue_done(s->queue, &again) < 0 ? 12 : queue_scene_use(s, false);
}

const kill_case killsweep_queue_shutdown = {.operation = "queue shutdown",
                                            .states = end_states,
                                            .setup = end_setup,
                                            .teardown = queue_scene_teardown,
                                            .prepare = queue_scene_enter,
                                            .call = end_call,
                                            .recover = queue_scene_recover,
                                            .meanwhile = queue_scene_meanwhile,
                                            .wait = end_wait,
                                            .wakes = end_wakes,
                                            .check = end_check};
const kill_case killsweep_queue_close = {.operation = "queue close",
                                         .states = close_states,
                                         .setup = close_setup,
                                         .teardown = queue_scene_teardown,
                                         .prepare = close_prepare,
                                         .call = close_call,
                                         .recover = queue_scene_recover,
                                         .check = close_check};
const kill_case killsweep_queue_drop = {.operation = "queue drop",
                                        .states = close_states,
                                        .setup = close_setup,
                                        .teardown = queue_scene_teardown,
                                        .prepare = close_prepare,
                                        .call = drop_call,
                                        .recover = queue_scene_recover,
                                        .check = close_check};
