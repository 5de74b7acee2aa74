/* SPDX-License-Identifier: BSD-2-Clause */
/* Loans: killed while the victim reserves, commits, takes, confirms or gives back. An item is there once, or was confirmed; one
 * whose taker died comes again, marked; no block is lost.
 *
 * By size from each start state, and, of two sizes of an acknowledged queue, with deaths in recovery, too: what that does is
 * the same for all. In a plain queue the producers, in an acknowledged one the consumers. */
#include "platform/base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kill/queue_sizes.h"

typedef struct scene {
    queue_scene base;
    const queue_start *start;
    mproc_loan loan; /* the victim's */
} scene;

static const char *const states[] = {"inline", "block", NULL};
static const size_t sizes[] = {8, SCENE_BLOCK_BYTES};

/* The last one is for reserve only: what is committed there was reserved while there was room. */
#define COMMIT_STARTS(size)                                                                                  \
    size "-empty", size "-one-item", size "-one-slot-free", size "-wrap-around", size "-closed"
#define RESERVE_STARTS(size) COMMIT_STARTS(size), size "-full"
static const char *const commit_states[] = {QUEUE_STATES(COMMIT_STARTS)};
static const char *const reserve_states[] = {QUEUE_STATES(RESERVE_STARTS)};
static const queue_start put_starts[] = {
    {.preload = 0},
    {.preload = 1},
    {.preload = 1, .bounded = true},
    {.wrap = true},
    {.preload = 1, .expected = MPROC_ECLOSED}, /* closed by the victim, beforehand */
    {.preload = 2, .bounded = true, .expected = -ETIMEDOUT},
};
enum { STARTS = 5, RESERVE_STARTS_COUNT = 6 };

#define TAKE_STARTS(size)                                                                                    \
    size "-one-item", size "-one-slot-free", size "-full", size "-wrap-around", size "-closed"
static const char *const take_states[] = {QUEUE_STATES(TAKE_STARTS)};
static const queue_start take_starts[] = {
    {.preload = 1, .redeliver = true},
    {.preload = 1, .bounded = true, .redeliver = true},
    {.preload = 2, .bounded = true, .redeliver = true},
    {.preload = 1, .wrap = true, .redeliver = true},
    {.preload = 1, .closed = true, .redeliver = true},
};

static int scene_make(const queue_start *start, size_t size_bytes, void **ret_context)
{
    scene *s = calloc(1, sizeof(*s));
    *ret_context = s;
    s->start = start;
    s->loan = (mproc_loan)MPROC_LOAN_INIT;
    return queue_start_make(&s->base, start, size_bytes, NULL);
}

static int empty_setup(unsigned state, void **ret_context)
{
    static const queue_start empty = {.redeliver = true};
    return scene_make(&empty, sizes[state], ret_context);
}

static int one_setup(unsigned state, void **ret_context)
{
    return scene_make(&take_starts[0], sizes[state], ret_context);
}

static int commit_setup(unsigned state, void **ret_context)
{
    return scene_make(&put_starts[state % STARTS], queue_size(state, STARTS), ret_context);
}

static int reserve_setup(unsigned state, void **ret_context)
{
    return scene_make(&put_starts[state % RESERVE_STARTS_COUNT], queue_size(state, RESERVE_STARTS_COUNT),
                      ret_context);
}

static int take_setup(unsigned state, void **ret_context)
{
    return scene_make(&take_starts[state % STARTS], queue_size(state, STARTS), ret_context);
}

/* ---- the calls ---- */

static bool is_closed(const scene *s)
{
    return s->start->closed || s->start->expected == MPROC_ECLOSED;
}

static bool closed_now(const scene *s)
{
    return !is_closed(s) || mproc_queue_shutdown(s->base.queue, false) == 0;
}

static int enter(void *context, unsigned state)
{
    return queue_scene_enter(context, state) != 0 || !closed_now(context);
}

/* What is closed gives no loan to commit, so it is closed behind that. */
static int reserve_and_fill(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    if (mproc_queue_reserve(s->base.queue, s->base.size_bytes, MPROC_FOREVER, &s->loan) < 0)
        return 1;
    memcpy(s->loan.data, queue_item(s->start->preload), s->base.size_bytes);
    return !closed_now(s);
}

static int reserve(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    bool full = s->start->expected == -ETIMEDOUT;
    int rc =
        mproc_queue_reserve(s->base.queue, s->base.size_bytes, full ? MPROC_NOW : MPROC_FOREVER, &s->loan);
    if (full && s->base.size_bytes <= MPROC__RECORD_BYTES) /* of records: the blocks are free */
        return rc != 0;
    return rc != s->start->expected;
}

static int commit(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_commit(s->base.queue, &s->loan) != s->start->expected;
}

static int take(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_take(s->base.queue, MPROC_FOREVER, &s->loan) < 0;
}

static int done(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_done(s->base.queue, &s->loan) < 0;
}

static int give_back(void *context, unsigned state)
{
    scene *s = context;
    (void)state;
    return mproc_queue_give_back(s->base.queue, &s->loan) < 0;
}

/* ---- the survivor ---- */

/* Takes item `number` and confirms it: how often it was delivered; 0: it is not next; -1: something is damaged. */
static int delivered(const scene *s, unsigned number)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    int code = mproc_queue_take(s->base.queue, MPROC_NOW, &loan);
    if (code == -ETIMEDOUT || code == MPROC_EEND)
        return 0;
    if (code < 0)
        return -1;
    int came = queue_item_number(&s->base, loan.data, loan.data_bytes), times = (int)loan.delivery;
    if (came != queue_number(&s->base, number))
        return came >= 0 && mproc_queue_give_back(s->base.queue, &loan) == 0 ? 0 : -1;
    return mproc_queue_done(s->base.queue, &loan) < 0 ? -1 : times;
}

/* Items from `from` on, each for the first time, and nothing else; joined, and of use. */
static int loan_use(const scene *s, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        if (delivered(s, i) < 1)
            return 30;
    return queue_scene_use(&s->base, is_closed(s));
}

static int reserve_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    (void)returned;
    if (!kill_swept(s->base.queue->segment))
        return 15;
    return loan_use(s, 0, s->start->preload);
}

static int commit_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    unsigned committed = queue_puts_since(&s->base);
    bool may = !is_closed(s);
    (void)state;
    if (committed > may || (returned && may && committed == 0))
        return 10;
    return kill_swept(s->base.queue->segment) ? loan_use(s, 0, s->start->preload + committed) : 15;
}

/* Item 0 so often, or where it may be gone not at all; then all others. */
static int taken_check(const scene *s, int least, int most, bool gone)
{
    if (!kill_swept(s->base.queue->segment))
        return 15;
    int times = delivered(s, 0);
    bool was_next = gone && times == 1 && s->base.size_bytes == 0 && s->start->preload > 1; /* no number */
    bool good = times == 0 || was_next ? gone : times >= least && times <= most;
    return good ? loan_use(s, was_next ? 2 : 1, s->start->preload) : 10;
}

static int take_check(void *context, unsigned state, bool returned)
{
    (void)state;
    return taken_check(context, returned ? 2 : 1, 2, false);
}

static int done_check(void *context, unsigned state, bool returned)
{
    (void)state;
    return taken_check(context, 2, returned ? 0 : 2, true);
}

static int give_back_check(void *context, unsigned state, bool returned)
{
    (void)state;
    (void)returned;
    return taken_check(context, 2, 2, false);
}

#define LOAN(name, making)                                                                                   \
    .operation = (name), .states = states, .setup = (making), .teardown = queue_scene_teardown,              \
    .recover = queue_scene_recover, .meanwhile = queue_scene_meanwhile

const kill_case killsweep_queue_reserve = {LOAN("queue reserve", empty_setup), .prepare = queue_scene_enter,
                                           .call = reserve, .check = reserve_check};
const kill_case killsweep_queue_commit = {LOAN("queue commit", empty_setup), .prepare = reserve_and_fill,
                                          .call = commit, .check = commit_check};
const kill_case killsweep_queue_take = {LOAN("queue take", one_setup), .prepare = queue_scene_enter,
                                        .call = take, .check = take_check};
const kill_case killsweep_queue_done = {LOAN("queue done", one_setup), .prepare = take, .call = done,
                                        .check = done_check};
const kill_case killsweep_queue_give_back = {LOAN("queue give back", one_setup), .prepare = take,
                                             .call = give_back, .check = give_back_check};

#define SIZES(name, of)                                                                                      \
    .operation = (name " by size"), .states = of##_states, .copies = true, .setup = of##_setup,              \
    .teardown = queue_scene_teardown, .meanwhile = queue_scene_meanwhile

const kill_case killsweep_queue_reserve_sizes = {SIZES("queue reserve", reserve), .prepare = enter,
                                                 .call = reserve, .check = reserve_check};
const kill_case killsweep_queue_commit_sizes = {SIZES("queue commit", commit), .prepare = reserve_and_fill,
                                                .call = commit, .check = commit_check};
const kill_case killsweep_queue_take_sizes = {SIZES("queue take", take), .prepare = queue_scene_enter,
                                              .call = take, .check = take_check};
const kill_case killsweep_queue_done_sizes = {SIZES("queue done", take), .prepare = take, .call = done,
                                              .check = done_check};
const kill_case killsweep_queue_give_back_sizes = {SIZES("queue give back", take), .prepare = take,
                                                   .call = give_back, .check = give_back_check};
