/* SPDX-License-Identifier: BSD-2-Clause */
/* Loans of an acknowledged queue: killed while it reserves, commits, takes, confirms or gives back. An item is there once, or
 * was confirmed; one whose taker died comes again, marked; no block is lost. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "channel/queue_common.h"
#include "kill/killsweep.h"

enum { BUDGET = 4096, SIZE_MOST = 1100 };

static const char *const states[] = {"inline", "block", NULL};
static const size_t sizes[] = {8, SIZE_MOST};

typedef struct scene {
    mproc_queue *queue;
    size_t size_bytes;
    mproc_loan loan; /* the victim's */
} scene;

static uint8_t item[SIZE_MOST];

static mproc_deadline hard(void)
{
    return mproc_after_ms(KILL_HARD_MS);
}

static int loan_setup_with(unsigned state, unsigned preload, void **ret_context)
{
    scene *s = calloc(1, sizeof(*s));
    *ret_context = s;
    s->size_bytes = sizes[state];
    s->loan = (mproc_loan)MPROC_LOAN_INIT;
    for (size_t i = 0; i < sizeof(item); i++)
        item[i] = (uint8_t)(i * 7 + 1);
    s->queue =
        queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .max_bytes = BUDGET, .redeliver = true));
    if (!s->queue)
        return 1;
    return preload && mproc_queue_put(s->queue, item, s->size_bytes, hard()) < 0 ? 2 : 0;
}

static int empty_setup(unsigned state, void **ret_context)
{
    return loan_setup_with(state, 0, ret_context);
}

static int one_setup(unsigned state, void **ret_context)
{
    return loan_setup_with(state, 1, ret_context);
}

static void loan_teardown(void *context)
{
    scene *s = context;
    mproc_queue_close(&s->queue);
    free(s);
}

/* ---- the calls ---- */

static int enter(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc__queue_enter(s->queue) < 0;
}

static int reserve(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_reserve(s->queue, s->size_bytes, MPROC_FOREVER, &s->loan) < 0;
}

static int reserve_and_fill(void *context, unsigned state)
{
    scene *s = context;
    if (reserve(context, state) != 0)
        return 1;
    memcpy(s->loan.data, item, s->size_bytes);
    return 0;
}

static int commit(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_commit(s->queue, &s->loan) < 0;
}

static int take(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_take(s->queue, MPROC_FOREVER, &s->loan) < 0;
}

static int done(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_done(s->queue, &s->loan) < 0;
}

static int give_back(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_give_back(s->queue, &s->loan) < 0;
}

static int loan_recover(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    mproc__segment_sweep(s->queue->segment);
    return 0;
}

static int loan_meanwhile(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    if (mproc__segment_sweep(s->queue->segment) != 0)
        return 1;
    int code = mproc_queue_join(s->queue, mproc_after_ms(KILL_SHORT_MS));
    return code == 0 || code == -ETIMEDOUT ? 0 : 2;
}

/* ---- the survivor ---- */

/* Takes what is there and confirms it: how often it was delivered; 0: nothing there; -1: it is damaged. */
static int delivered(scene *s)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    int code = mproc_queue_take(s->queue, MPROC_NOW, &loan);
    if (code == -ETIMEDOUT)
        return 0;
    if (code < 0 || loan.data_bytes != s->size_bytes || memcmp(loan.data, item, s->size_bytes) != 0)
        return -1;
    int times = (int)loan.delivery;
    return mproc_queue_done(s->queue, &loan) < 0 ? -1 : times;
}

/* Empty, joined, and of use: one more goes through. */
static int loan_use(scene *s)
{
    if (delivered(s) != 0 || mproc_queue_join(s->queue, hard()) < 0)
        return 20;
    if (mproc_queue_put(s->queue, item, s->size_bytes, hard()) < 0 || delivered(s) != 1)
        return 21;
    return queue_verify(s->queue, 0) ? 22 : 0;
}

static int reserve_check(void *context, unsigned state, bool returned)
{
    scene *s = context;
    (void)state;
    (void)returned;
    mproc__segment_sweep(s->queue->segment);
    return loan_use(s);
}

static int commit_check(void *context, unsigned state, bool returned)
{
    scene *s = context;
    (void)state;
    mproc__segment_sweep(s->queue->segment);
    int times = delivered(s);
    return times == 1 || (times == 0 && !returned) ? loan_use(s) : 10;
}

static int take_check(void *context, unsigned state, bool returned)
{
    scene *s = context;
    (void)state;
    mproc__segment_sweep(s->queue->segment);
    int times = delivered(s);
    return times == 2 || (times == 1 && !returned) ? loan_use(s) : 10;
}

static int done_check(void *context, unsigned state, bool returned)
{
    scene *s = context;
    (void)state;
    mproc__segment_sweep(s->queue->segment);
    int times = delivered(s);
    return times == 0 || (times == 2 && !returned) ? loan_use(s) : 10;
}

static int give_back_check(void *context, unsigned state, bool returned)
{
    scene *s = context;
    (void)state;
    (void)returned;
    mproc__segment_sweep(s->queue->segment);
    int times = delivered(s);
    return times >= 1 ? loan_use(s) : 10;
}

#define LOAN(name, making)                                                                                   \
    .operation = (name), .states = states, .setup = (making), .teardown = loan_teardown,                     \
    .recover = loan_recover, .meanwhile = loan_meanwhile

const kill_case killsweep_queue_reserve = {LOAN("queue reserve", empty_setup), .prepare = enter,
                                           .call = reserve, .check = reserve_check};
const kill_case killsweep_queue_commit = {LOAN("queue commit", empty_setup), .prepare = reserve_and_fill,
                                          .call = commit, .check = commit_check};
const kill_case killsweep_queue_take = {LOAN("queue take", one_setup), .prepare = enter, .call = take,
                                        .check = take_check};
const kill_case killsweep_queue_done = {LOAN("queue done", one_setup), .prepare = take, .call = done,
                                        .check = done_check};
const kill_case killsweep_queue_give_back = {LOAN("queue give back", one_setup), .prepare = take,
                                             .call = give_back, .check = give_back_check};
