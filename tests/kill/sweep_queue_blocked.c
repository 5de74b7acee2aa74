/* SPDX-License-Identifier: BSD-2-Clause */
/* A put into a full queue and a get from an empty one, killed on their way into the sleep, asleep and on their way out. */
#include "platform/base.h"

#include <stdlib.h>

#include "kill/queue_scene.h"

enum { BUDGET = 8192 };

static int scene_make(unsigned preload, unsigned max_items, bool redeliver, void **ret_context)
{
    queue_scene *s = calloc(1, sizeof(*s));
    *ret_context = s;
    return queue_scene_make(
        s,
        MPROC_WITH(mproc_queue_options, .max_items = max_items, .max_bytes = BUDGET, .redeliver = redeliver),
        8, preload);
}

/* The poster, who has ended with its handle open, is found dead, and nobody else. */
static int meanwhile(void *context, unsigned state)
{
    const queue_scene *s = context;
    (void)state;
    if (mproc__segment_sweep(s->queue->segment) > 1)
        return 1;
    int code = mproc_queue_join(s->queue, mproc_after_ms(KILL_SHORT_MS));
    return code == 0 || code == -ETIMEDOUT ? 0 : 2;
}

/* ---- get ---- */

static const char *const get_states[] = {"records", "acknowledged", NULL};

static int get_setup(unsigned state, void **ret_context)
{
    return scene_make(0, 0, state == 1, ret_context);
}

static int get_call(void *context, unsigned state)
{
    (void)state;
    return queue_get_number(context, MPROC_FOREVER) < 0;
}

static int get_post(void *context, unsigned state)
{
    (void)state;
    return queue_put_number(context, 0, queue_hard()) < 0;
}

static int get_wait(void *context, unsigned state)
{
    (void)state;
    return queue_parked_get(context) < 0;
}

/* The item is there and was taken by nobody: then the one behind must wake. */
static int get_wakes(void *context, unsigned state)
{
    (void)state;
    return queue_puts_since(context) == 1 && queue_gets_since(context) == 0 ? 0 : 1;
}

/* One item for the victim or the one behind it; the survivor's for whom there was none. */
static int get_check(void *context, unsigned state, bool returned)
{
    const queue_scene *s = context;
    (void)state;
    (void)returned;
    if (queue_puts_since(s) != 1 || !kill_swept(s->queue->segment) ||
        queue_put_number(s, SCENE_SURVIVOR, queue_hard()) < 0 || !queue_parked_is_back_or_none(s))
        return 10;
    return queue_drain(s) < 0 ? 11 : queue_scene_use(s, false);
}

/* ---- put ---- */

static const char *const put_states[] = {"full", NULL};

static int put_setup(unsigned state, void **ret_context)
{
    (void)state;
    return scene_make(1, 1, false, ret_context);
}

static int put_call(void *context, unsigned state)
{
    (void)state;
    return queue_put_number(context, 1, MPROC_FOREVER) < 0;
}

static int put_post(void *context, unsigned state)
{
    (void)state;
    return queue_get_number(context, queue_hard()) != 0;
}

static int put_wait(void *context, unsigned state)
{
    (void)state;
    return queue_parked_put(context) < 0;
}

static int put_wakes(void *context, unsigned state)
{
    (void)state;
    return queue_gets_since(context) == 1 && queue_puts_since(context) == 0 ? 0 : 1;
}

/* The victim's item, if it is in, then the parked one's. */
static int put_check(void *context, unsigned state, bool returned)
{
    const queue_scene *s = context;
    (void)state;
    if (!kill_swept(s->queue->segment))
        return 10;
    int number = queue_get_number(s, queue_hard());
    bool came = number == 1;
    if ((returned && !came && number != SCENE_PARKED) || (number != 1 && number != SCENE_PARKED))
        return 11;
    if (came && atomic_load(&s->notes->parked) && queue_get_number(s, queue_hard()) != SCENE_PARKED)
        return 12;
    if (!queue_parked_is_back_or_none(s))
        return 13;
    return queue_drain(s) < 0 ? 14 : queue_scene_use(s, false);
}

#define BLOCKED(title, of)                                                                                   \
    .operation = (title), .states = of##_states, .setup = of##_setup, .teardown = queue_scene_teardown,      \
    .prepare = queue_scene_enter, .call = of##_call, .check = of##_check, .recover = queue_scene_recover,    \
    .meanwhile = meanwhile, .post = of##_post, .wait = of##_wait, .wakes = of##_wakes

const kill_case killsweep_queue_get_blocked = {BLOCKED("queue get blocked", get)};
const kill_case killsweep_queue_put_blocked = {BLOCKED("queue put blocked", put)};
