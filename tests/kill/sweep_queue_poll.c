/* SPDX-License-Identifier: BSD-2-Clause */
/* What a pollable queue's putter owes those who poll, killed at every state: the waiter is parked in mproc_wait, whose sleep
 * ends by the eventfd, or by the pidfd of who died before it wrote that. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include <mproc/wait.h>
#include "kill/queue_scene.h"

enum { LARGE_BYTES = 1100, VICTIM = 1, SURVIVOR = 2 };

typedef struct poll_start {
    size_t size_bytes;
    bool redeliver;
    bool armed; /* the victim polls as well, and has found nothing */
    mproc_role exclusive;
} poll_start;

static const char *const poll_states[] = {"record", "block", "acknowledged", "polls-too", "exclusive", NULL};
static const poll_start poll_starts[] = {
    {.size_bytes = 8},
    {.size_bytes = LARGE_BYTES},
    {.size_bytes = 8, .redeliver = true},
    {.size_bytes = 8, .armed = true},
    {.size_bytes = 8, .exclusive = MPROC_ROLE_WRITE},
};

typedef struct poll_scene {
    mproc_queue *queue;
    const poll_start *start;
} poll_scene;

static uint8_t messages[SURVIVOR + 1][LARGE_BYTES];

static int put_number(const poll_scene *s, unsigned number)
{
    return mproc_queue_put(s->queue, messages[number], s->start->size_bytes, queue_hard());
}

/* The number; -1: not whole; or an error below. */
static int get_number(const poll_scene *s, mproc_deadline deadline)
{
    uint8_t message[LARGE_BYTES];
    size_t size = 0;
    int rc = mproc_queue_get(s->queue, message, sizeof message, deadline, &size);
    if (rc < 0)
        return rc;
    bool whole = size == s->start->size_bytes && message[0] <= SURVIVOR &&
                 memcmp(message, messages[message[0]], size) == 0;
    return whole ? message[0] : -1;
}

static int poll_setup(unsigned state, void **ret_context)
{
    poll_scene *s = calloc(1, sizeof *s);
    *ret_context = s;
    if (!s)
        return 9;
    for (int i = 0; i <= SURVIVOR; i++)
        memset(messages[i], i, LARGE_BYTES);
    s->start = &poll_starts[state];
    s->queue = queue_make(MPROC__HOME_HOST,
                          MPROC_WITH(mproc_queue_options, .max_bytes = 4096, .pollable = true,
                                     .redeliver = s->start->redeliver, .exclusive = s->start->exclusive));
    return s->queue ? 0 : 1;
}

static void poll_teardown(void *context)
{
    poll_scene *s = context;
    mproc_queue_close(&s->queue);
    free(s);
}

static int poll_prepare(void *context, unsigned state)
{
    const poll_scene *s = context;
    (void)state;
    if (mproc__queue_enter(s->queue) < 0)
        return 1;
    return s->start->armed && mproc_wait_fd(s->queue) < 0 ? 2 : 0;
}

static int poll_wait(void *context, unsigned state)
{
    const poll_scene *s = context;
    mproc_wait_item item = {.handle = s->queue};
    (void)state;
    for (;;) {
        if (mproc_wait(&item, 1, MPROC_WAIT_ANY, MPROC_FOREVER, NULL) != 0)
            return 1;
        int number = get_number(s, MPROC_NOW);
        if (number != -ETIMEDOUT)
            return number == VICTIM || number == SURVIVOR || number == MPROC_EEND ? 0 : 2;
    }
}

/* ---- put ---- */

static unsigned puts_so_far(const poll_scene *s)
{
    return mproc__position_items(s->queue->shared->tail) & 0xffffff;
}

static int put_call(void *context, unsigned state)
{
    (void)state;
    return put_number(context, VICTIM);
}

static int put_wakes(void *context, unsigned state)
{
    (void)state;
    return puts_so_far(context) > 0 ? 0 : 1;
}

static int put_check(void *context, unsigned state, bool returned)
{
    const poll_scene *s = context;
    (void)state;
    unsigned committed = puts_so_far(s);
    if (committed > 1 || (returned && committed == 0))
        return 10;
    if (!kill_swept(s->queue->segment))
        return 11;
    /* Of the victim's item and ours the waiter gets one and we get the other. */
    if (put_number(s, SURVIVOR) < 0)
        return 12;
    int number = committed ? get_number(s, queue_hard()) : SURVIVOR;
    if (number != VICTIM && number != SURVIVOR)
        return 13;
    if (mproc_queue_join(s->queue, queue_hard()) < 0)
        return 14;
    if (get_number(s, MPROC_NOW) != -ETIMEDOUT)
        return 15;
    return queue_verify(s->queue, 0) ? 16 : 0;
}

const kill_case killsweep_queue_poll_put = {.operation = "queue put, polled",
                                            .states = poll_states,
                                            .setup = poll_setup,
                                            .teardown = poll_teardown,
                                            .prepare = poll_prepare,
                                            .call = put_call,
                                            .recover = queue_scene_recover,
                                            .meanwhile = queue_scene_meanwhile,
                                            .wait = poll_wait,
                                            .wakes = put_wakes,
                                            .check = put_check};

/* ---- shutdown ---- */

static int shutdown_call(void *context, unsigned state)
{
    const poll_scene *s = context;
    (void)state;
    return mproc_queue_shutdown(s->queue, false);
}

static int shutdown_wakes(void *context, unsigned state)
{
    const poll_scene *s = context;
    (void)state;
    return atomic_load(&s->queue->shared->state) != MPROC__QUEUE_OPEN ? 0 : 1;
}

static int shutdown_check(void *context, unsigned state, bool returned)
{
    const poll_scene *s = context;
    if (returned && shutdown_wakes(context, state) != 0)
        return 10;
    if (!kill_swept(s->queue->segment))
        return 11;
    if (mproc_queue_shutdown(s->queue, false) != 0 || get_number(s, queue_hard()) != MPROC_EEND)
        return 12;
    return queue_verify(s->queue, 0) ? 13 : 0;
}

const kill_case killsweep_queue_poll_shutdown = {.operation = "queue shutdown, polled",
                                                 .states = poll_states,
                                                 .setup = poll_setup,
                                                 .teardown = poll_teardown,
                                                 .prepare = poll_prepare,
                                                 .call = shutdown_call,
                                                 .recover = queue_scene_recover,
                                                 .meanwhile = queue_scene_meanwhile,
                                                 .wait = poll_wait,
                                                 .wakes = shutdown_wakes,
                                                 .check = shutdown_check};
