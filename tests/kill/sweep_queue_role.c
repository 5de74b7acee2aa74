/* SPDX-License-Identifier: BSD-2-Clause */
/* Roles, announcements and dead letters, killed at every state. Whoever waits for somebody's coming or going is told in every
 * one of them; a writer came once or not at all; a dead letter is there once. */
#include "platform/base.h"

#include <stdlib.h>
#include <unistd.h>

#include "kill/queue_scene.h"

enum { VICTIMS = 1, SURVIVORS = 2, FIRST = 3 }; /* whose item */

typedef struct scene {
    mproc_queue *queue;
    mproc_loan loan;
    pid_t controller;
} scene;

static int put_number(mproc_queue *queue, int number, mproc_deadline deadline)
{
    return mproc_queue_put(queue, &number, sizeof number, deadline);
}

static int get_number(mproc_queue *queue, mproc_deadline deadline)
{
    int number, rc = mproc_queue_get(queue, &number, sizeof number, deadline, NULL);
    return rc < 0 ? rc : number;
}

static int scene_make(const mproc_queue_options *options, void **ret_context)
{
    scene *s = calloc(1, sizeof *s);
    *ret_context = s;
    s->loan = (mproc_loan)MPROC_LOAN_INIT;
    s->controller = getpid();
    s->queue = queue_make(MPROC__HOME_HOST, options);
    return s->queue ? 0 : 1;
}

static void scene_teardown(void *context)
{
    scene *s = context;
    mproc_queue_close(&s->queue);
    free(s);
}

static int scene_meanwhile(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    if (mproc__segment_sweep(s->queue->segment) != 0)
        return 1;
    int rc = mproc_queue_join(s->queue, mproc_after_ms(KILL_SHORT_MS));
    return rc == 0 || rc == -ETIMEDOUT || rc == -EPIPE ? 0 : 2;
}

/* ---- what the words say ---- */

typedef struct tally {
    unsigned writers, readers, pending;
    uint64_t came, lost;
} tally;

static tally tally_of(const mproc_queue *queue)
{
    tally t = {0};
    for (unsigned row = 0; row < MPROC__ROWS; row++) {
        uint64_t word = queue->shared->roles.rows[row];
        t.writers += (word & MPROC_ROLE_WRITE) != 0;
        t.readers += (word & MPROC_ROLE_READ) != 0;
        t.pending += (word & MPROC__ROLE_PENDING) != 0;
        t.came += word / MPROC__ROLE_CAME_ONE & MPROC__ROLE_CAME_MOST;
        t.lost += word / MPROC__ROLE_LOST_ONE & MPROC__ROLE_LOST_MOST;
    }
    return t;
}

/* An item, or the end, or that the announced one never came. */
static int reader_wait(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    int rc = get_number(s->queue, MPROC_FOREVER);
    return rc > 0 || rc == MPROC_EEND || rc == MPROC_ENEVER ? 0 : 1;
}

/* The survivor writes, reads what is left, and is the last writer: then there is the end for all. */
static int reader_use(const scene *s)
{
    mproc_queue *queue = s->queue;
    int rc;
    if (mproc_queue_role(queue, MPROC_ROLE_BOTH) < 0 || put_number(queue, SURVIVORS, queue_hard()) < 0 ||
        mproc_queue_role(queue, MPROC_ROLE_READ) < 0)
        return 20;
    while ((rc = get_number(queue, queue_hard())) > 0)
        ;
    if (rc != MPROC_EEND && rc != MPROC_ENEVER)
        return 21;
    tally t = tally_of(queue);
    if (t.writers != 0 || t.pending != 0)
        return 22;
    return queue_verify(queue, 0) ? 23 : 0;
}

/* ---- declaring, and the first use ---- */

static const char *const first_states[] = {"declare", "declare-uncounted", "put", "reserve", NULL};

static int first_setup(unsigned state, void **ret_context)
{
    return scene_make(MPROC_WITH(mproc_queue_options, .max_bytes = 4096, .expected_writers = state != 1),
                      ret_context);
}

static int first_call(void *context, unsigned state)
{
    scene *s = context;
    if (state == 2)
        return put_number(s->queue, VICTIMS, MPROC_FOREVER) < 0;
    if (state == 3)
        return mproc_queue_reserve(s->queue, 8, MPROC_FOREVER, &s->loan) < 0;
    return mproc_queue_role(s->queue, MPROC_ROLE_WRITE) < 0;
}

/* Once it came it will never be waited for: it is dead. */
static int first_wakes(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return tally_of(s->queue).came > 0 ? 0 : 1;
}

static int first_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    if (!kill_swept(s->queue->segment))
        return 10;
    tally t = tally_of(s->queue);
    if (t.came > 1 || (returned && t.came != 1) || t.lost != 0 || t.writers != 0)
        return 11;
    return reader_use(s);
}

/* ---- the last writer goes ---- */

static const char *const last_states[] = {"give-up", "declare-read", "close", "close-after-put", NULL};

static int last_setup(unsigned state, void **ret_context)
{
    (void)state;
    return scene_make(MPROC_WITH(mproc_queue_options, .max_bytes = 4096, .expected_writers = 1), ret_context);
}

/* Not before the waiter is parked: it would be told of the end. */
static int last_prepare(void *context, unsigned state)
{
    const scene *s = context;
    if (mproc_queue_role(s->queue, MPROC_ROLE_WRITE) < 0)
        return 1;
    return state == 3 && put_number(s->queue, VICTIMS, MPROC_FOREVER) < 0 ? 2 : 0;
}

static int last_call(void *context, unsigned state)
{
    scene *s = context;
    if (state < 2)
        return mproc_queue_role(s->queue, state == 0 ? 0 : MPROC_ROLE_READ) < 0;
    mproc_queue *queue = s->queue;
    mproc_queue_close(&queue);
    return 0;
}

static int last_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    (void)returned;
    if (!kill_swept(s->queue->segment))
        return 10;
    tally t = tally_of(s->queue);
    return t.came != 1 || t.lost != 0 || t.writers != 0 ? 11 : reader_use(s);
}

/* ---- the first reader comes to a full queue ---- */

static const char *const reader_states[] = {"get", "take", "declare", NULL};

static int full_setup(unsigned state, void **ret_context)
{
    (void)state;
    int rc = scene_make(MPROC_WITH(mproc_queue_options, .max_bytes = 4096, .max_items = 1,
                                   .role = MPROC_ROLE_WRITE, .redeliver = true),
                        ret_context);
    scene *s = *ret_context;
    return rc == 0 && put_number(s->queue, FIRST, MPROC_NOW) < 0 ? 2 : rc;
}

static int writer_wait(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    int rc = put_number(s->queue, SURVIVORS, MPROC_FOREVER);
    return rc == 0 || rc == -EPIPE ? 0 : 1;
}

static int reader_call(void *context, unsigned state)
{
    scene *s = context;
    if (state == 0)
        return get_number(s->queue, MPROC_FOREVER) < 0;
    if (state == 1)
        return mproc_queue_take(s->queue, MPROC_FOREVER, &s->loan) < 0;
    return mproc_queue_role(s->queue, MPROC_ROLE_READ) < 0;
}

/* A reader came and is dead, or it made room. */
static int reader_wakes(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    for (unsigned row = 0; row < MPROC__ROWS; row++)
        if (s->queue->shared->roles.rows[row] & MPROC__ROLE_READ_EVER)
            return 0;
    return 1;
}

static int reader_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    bool confirmed = state == 0 && returned;
    if (!kill_swept(s->queue->segment) || tally_of(s->queue).readers != 0)
        return 10;
    int first = get_number(s->queue, MPROC_NOW); /* makes room for the parked one, if it still waits */
    if (first != FIRST && state != 0)
        return 11;
    if (confirmed && first == FIRST)
        return 12;
    while (get_number(s->queue, mproc_after_ms(KILL_SHORT_MS)) > 0)
        ;
    return queue_verify(s->queue, 0) ? 13 : 0;
}

/* ---- announced writers ---- */

static const char *const came_states[] = {"put", "declare", NULL};

static int came_setup(unsigned state, void **ret_context)
{
    (void)state;
    return scene_make(MPROC_WITH(mproc_queue_options, .max_bytes = 4096), ret_context);
}

static int came_prepare(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return mproc_queue_expect(s->queue, getpid()) < 0;
}

static int came_call(void *context, unsigned state)
{
    const scene *s = context;
    return state == 0 ? put_number(s->queue, VICTIMS, MPROC_FOREVER) < 0
                      : mproc_queue_role(s->queue, MPROC_ROLE_WRITE) < 0;
}

/* Its own row and the announcement's are swept one after the other, by whoever comes: it came, or it never will. */
static int came_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    mproc_deadline deadline = queue_hard();
    tally t = tally_of(s->queue);
    while ((t.pending > 0 || t.writers > 0) && mproc__now_ns() < deadline.ns) {
        mproc__segment_sweep(s->queue->segment);
        t = tally_of(s->queue);
    }
    if (t.pending != 0 || t.came + t.lost != 1 || (returned && t.came != 1))
        return 11;
    return reader_use(s);
}

static const char *const expect_states[] = {"announce", NULL};

static int expect_call(void *context, unsigned state)
{
    const scene *s = context;
    (void)state;
    return mproc_queue_expect(s->queue, s->controller) < 0;
}

/* The announced one lives, so whoever announces it once more finds all as it should be, and the queue goes on. */
static int expect_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    (void)state;
    if (!kill_swept(s->queue->segment))
        return 10;
    tally t = tally_of(s->queue);
    if (t.pending > 1 || (returned && t.pending != 1) || t.came != 0 || t.lost != 0)
        return 11;
    if (mproc_queue_expect(s->queue, s->controller) < 0 ||
        put_number(s->queue, SURVIVORS, queue_hard()) < 0 ||
        get_number(s->queue, queue_hard()) != SURVIVORS || mproc_queue_role(s->queue, MPROC_ROLE_READ) < 0)
        return 12;
    return get_number(s->queue, mproc_after_ms(KILL_SHORT_MS)) != -ETIMEDOUT ? 13 : 0;
}

/* ---- dead letters ---- */

static const char *const dead_states[] = {"give-back", "take-dead", "done", NULL};

static int dead_setup(unsigned state, void **ret_context)
{
    int rc = scene_make(MPROC_WITH(mproc_queue_options, .max_bytes = 4096, .redeliver = true,
                                   .max_deliveries = 1, .keep_dead = true),
                        ret_context);
    scene *s = *ret_context;
    if (rc == 0 && put_number(s->queue, FIRST, MPROC_NOW) < 0)
        return 2;
    if (rc < 0 || state == 0)
        return rc;
    return mproc_queue_take(s->queue, MPROC_NOW, &s->loan) < 0 ||
                   mproc_queue_give_back(s->queue, &s->loan) < 0
               ? 3
               : 0;
}

static int dead_prepare(void *context, unsigned state)
{
    scene *s = context;
    if (state == 1)
        return mproc__queue_enter(s->queue) < 0;
    return state == 0 ? mproc_queue_take(s->queue, MPROC_NOW, &s->loan) < 0
                      : mproc_queue_take_dead(s->queue, MPROC_NOW, &s->loan) < 0;
}

static int dead_call(void *context, unsigned state)
{
    scene *s = context;
    return state == 0   ? mproc_queue_give_back(s->queue, &s->loan) < 0
           : state == 1 ? mproc_queue_take_dead(s->queue, MPROC_FOREVER, &s->loan) < 0
                        : mproc_queue_done(s->queue, &s->loan) < 0;
}

static int dead_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    mproc_loan loan = MPROC_LOAN_INIT;
    size_t kept, dropped;
    if (!kill_swept(s->queue->segment) || mproc_queue_count_dead(s->queue, &kept, &dropped) < 0)
        return 10;
    if (kept > 1 || dropped != 0 || (kept != 1 && state != 2) || (state == 2 && returned && kept != 0))
        return 11;
    if (mproc_queue_join(s->queue, queue_hard()) < 0)
        return 12;
    if (kept == 1 && (mproc_queue_take_dead(s->queue, queue_hard(), &loan) < 0 ||
                      *(const int *)loan.data != FIRST || mproc_queue_done(s->queue, &loan) < 0))
        return 13;
    if (mproc_queue_take_dead(s->queue, MPROC_NOW, &loan) != -ETIMEDOUT)
        return 14;
    if (put_number(s->queue, SURVIVORS, queue_hard()) < 0 || get_number(s->queue, queue_hard()) != SURVIVORS)
        return 15;
    return queue_verify(s->queue, 0) ? 16 : 0;
}

static const char *const died_states[] = {"awaited", NULL};

static int died_wait(void *context, unsigned state)
{
    const scene *s = context;
    mproc_loan loan = MPROC_LOAN_INIT;
    (void)state;
    return mproc_queue_take_dead(s->queue, MPROC_FOREVER, &loan) < 0 || *(const int *)loan.data != FIRST ||
           mproc_queue_done(s->queue, &loan) < 0;
}

/* The parked one has it, and nobody else. */
static int died_check(void *context, unsigned state, bool returned)
{
    const scene *s = context;
    mproc_loan loan = MPROC_LOAN_INIT;
    (void)state;
    (void)returned;
    return mproc_queue_join(s->queue, queue_hard()) < 0 ||
                   mproc_queue_take_dead(s->queue, mproc_after_ms(KILL_SHORT_MS), &loan) != -ETIMEDOUT
               ? 10
               : 0;
}

/* The same with somebody who waits for it. */
#define died_setup   dead_setup
#define died_call    dead_call
#define expect_setup came_setup
#define reader_setup full_setup

#define ROLE(name, of)                                                                                       \
    .operation = (name), .states = of##_states, .setup = of##_setup, .teardown = scene_teardown,             \
    .recover = queue_scene_recover, .meanwhile = scene_meanwhile, .call = of##_call, .check = of##_check

const kill_case killsweep_queue_writer = {ROLE("queue first writer", first), .prepare = queue_scene_enter,
                                          .wait = reader_wait, .wakes = first_wakes};
const kill_case killsweep_queue_last = {ROLE("queue last writer", last), .prepare = last_prepare,
                                        .wait = reader_wait};
const kill_case killsweep_queue_reader = {ROLE("queue first reader", reader), .prepare = queue_scene_enter,
                                          .wait = writer_wait, .wakes = reader_wakes};
const kill_case killsweep_queue_came = {ROLE("queue announced writer", came), .prepare = came_prepare,
                                        .wait = reader_wait};
const kill_case killsweep_queue_expect = {ROLE("queue expect", expect), .prepare = queue_scene_enter};
const kill_case killsweep_queue_dead = {ROLE("queue dead letter", dead), .prepare = dead_prepare};
const kill_case killsweep_queue_died = {ROLE("queue awaited dead letter", died), .prepare = dead_prepare,
                                        .wait = died_wait};
