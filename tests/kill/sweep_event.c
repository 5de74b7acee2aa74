/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed inside set, clear and wait of an event, with a waiter asleep in it where one would be. */
#include "platform/base.h"

#include <poll.h>
#include <stdlib.h>

#include <mproc/event.h>
#include <mproc/wait.h>
#include "kill/killsweep.h"
#include "platform/platform.h"
#include "support/support.h"

/* What a start state is made of. A newcomer becomes a participant inside the swept call. */
enum { IS_SET = 1, IS_POLLED = 2, IS_NEWCOMER = 4 };

static const char *const names[] = {"not set", "not set, polled", "newcomer, not set",
                                    "set",     "set, polled",     NULL};
static const unsigned bits_of[] = {0, IS_POLLED, IS_NEWCOMER, IS_SET, IS_SET | IS_POLLED};
/* A waiter sleeps only while the event is not set: the first three. */
static const char *const waited_names[] = {"not set", "not set, polled", "newcomer, not set", NULL};

typedef struct event_context {
    mproc_event *event;
    mproc_event *other; /* to get lazy set-up out of the way */
    unsigned bits;
} event_context;

static mproc_deadline hard(void)
{
    return mproc_after_ms(KILL_HARD_MS);
}

static int event_setup(unsigned state, void **ret_context)
{
    event_context *c = calloc(1, sizeof(*c));
    *ret_context = c;
    if (!c)
        return 9;
    c->bits = bits_of[state];
    bool polled = c->bits & IS_POLLED;
    if (mproc_event_create(NULL, MPROC_WITH(mproc_event_options, .set = c->bits & IS_SET, .pollable = polled),
                           &c->event) ||
        mproc_event_create(NULL, NULL, &c->other))
        return 1;
    return polled && mproc_wait_fd(c->event) < 0 ? 2 : 0;
}

static void event_teardown(void *context)
{
    event_context *c = context;
    mproc_event_close(&c->event);
    mproc_event_close(&c->other);
    free(c);
}

static int event_prepare(void *context, unsigned state)
{
    event_context *c = context;
    (void)state;
    if (mproc_event_set(c->other) || mproc_event_clear(c->other))
        return 1;
    if (c->bits & IS_NEWCOMER)
        return 0;
    int code = c->bits & IS_SET ? mproc_event_set(c->event) : mproc_event_clear(c->event);
    return code == 0 ? 0 : 2;
}

static bool readable(const event_context *c)
{
    struct pollfd one = {.fd = mproc_wait_fd(c->event), .events = POLLIN};
    return poll(&one, 1, 0) == 1;
}

/* The event can still do all it should. */
static int use_all(event_context *c)
{
    if (mproc_event_clear(c->event) || mproc_event_wait(c->event, MPROC_NOW) != -ETIMEDOUT)
        return 20;
    if ((c->bits & IS_POLLED) && readable(c))
        return 21;
    if (mproc_event_set(c->event) || !mproc_event_is_set(c->event) || mproc_event_wait(c->event, hard()))
        return 22;
    return (c->bits & IS_POLLED) && !readable(c) ? 23 : 0;
}

static int event_wait(void *context, unsigned state)
{
    event_context *c = context;
    (void)state;
    return mproc_event_wait(c->event, MPROC_FOREVER) == 0 ? 0 : 1;
}

/* The commit is what the waiter waits for, whoever pays the wake. */
static int event_wakes(void *context, unsigned state)
{
    event_context *c = context;
    (void)state;
    return mproc_event_is_set(c->event) ? 0 : 1;
}

/* ---- set ---- */

static int set_call(void *context, unsigned state)
{
    event_context *c = context;
    (void)state;
    return mproc_event_set(c->event) == 0 ? 0 : 1;
}

static int set_check(void *context, unsigned state, bool returned)
{
    event_context *c = context;
    (void)state;
    bool must = returned || (c->bits & IS_SET);
    if (must && (!mproc_event_is_set(c->event) || mproc_event_wait(c->event, MPROC_NOW)))
        return 10;
    if (returned && (c->bits & IS_POLLED) && !readable(c))
        return 11;
    return use_all(c);
}

/* ---- clear ---- */

static int clear_call(void *context, unsigned state)
{
    event_context *c = context;
    (void)state;
    return mproc_event_clear(c->event) == 0 ? 0 : 1;
}

static int clear_check(void *context, unsigned state, bool returned)
{
    event_context *c = context;
    (void)state;
    bool must = returned || !(c->bits & IS_SET);
    if (must && (mproc_event_is_set(c->event) || mproc_event_wait(c->event, MPROC_NOW) != -ETIMEDOUT))
        return 10;
    return use_all(c);
}

/* ---- wait: it changes nothing for anybody else ---- */

static int wait_call(void *context, unsigned state)
{
    event_context *c = context;
    (void)state;
    int code = mproc_event_wait(c->event, MPROC_NOW);
    return code == ((c->bits & IS_SET) ? 0 : -ETIMEDOUT) ? 0 : 1;
}

static int wait_check(void *context, unsigned state, bool returned)
{
    event_context *c = context;
    (void)state;
    (void)returned;
    if (mproc_event_is_set(c->event) != ((c->bits & IS_SET) != 0))
        return 10;
    if (c->bits == (IS_SET | IS_POLLED) && !readable(c))
        return 11;
    return use_all(c);
}

/* ---- whoever comes by, after a death or beside a stopped process: becomes a participant and changes nothing ---- */

static int visit(const event_context *c, int limit_ms)
{
    int code = mproc_event_wait(c->event, mproc_after_ms(limit_ms));
    return code == 0 || code == -ETIMEDOUT ? 0 : 1;
}

static int event_recover(void *context, unsigned state)
{
    (void)state;
    return visit(context, 1);
}

static int event_meanwhile(void *context, unsigned state)
{
    (void)state;
    return visit(context, KILL_SHORT_MS);
}

/* ---- wait, asleep: a set reaches all who live ---- */

static int event_post(void *context, unsigned state)
{
    return set_call(context, state);
}

static int blocked_check(void *context, unsigned state, bool returned)
{
    event_context *c = context;
    (void)state;
    (void)returned;
    return mproc_event_is_set(c->event) ? use_all(c) : 10;
}

const kill_case killsweep_event_set = {.operation = "event set",
                                       .states = names,
                                       .setup = event_setup,
                                       .teardown = event_teardown,
                                       .prepare = event_prepare,
                                       .recover = event_recover,
                                       .meanwhile = event_meanwhile,
                                       .call = set_call,
                                       .check = set_check};

const kill_case killsweep_event_set_waited = {.operation = "event set, one waits",
                                              .states = waited_names,
                                              .setup = event_setup,
                                              .teardown = event_teardown,
                                              .prepare = event_prepare,
                                              .recover = event_recover,
                                              .meanwhile = event_meanwhile,
                                              .call = set_call,
                                              .wait = event_wait,
                                              .wakes = event_wakes,
                                              .check = set_check};

const kill_case killsweep_event_clear = {.operation = "event clear",
                                         .states = names,
                                         .setup = event_setup,
                                         .teardown = event_teardown,
                                         .prepare = event_prepare,
                                         .recover = event_recover,
                                         .meanwhile = event_meanwhile,
                                         .call = clear_call,
                                         .check = clear_check};

const kill_case killsweep_event_clear_waited = {.operation = "event clear, one waits",
                                                .states = waited_names,
                                                .setup = event_setup,
                                                .teardown = event_teardown,
                                                .prepare = event_prepare,
                                                .recover = event_recover,
                                                .meanwhile = event_meanwhile,
                                                .call = clear_call,
                                                .wait = event_wait,
                                                .wakes = event_wakes,
                                                .check = clear_check};

const kill_case killsweep_event_wait = {.operation = "event wait",
                                        .states = names,
                                        .setup = event_setup,
                                        .teardown = event_teardown,
                                        .prepare = event_prepare,
                                        .recover = event_recover,
                                        .meanwhile = event_meanwhile,
                                        .call = wait_call,
                                        .check = wait_check};

const kill_case killsweep_event_blocked = {.operation = "event wait, blocked",
                                           .states = waited_names,
                                           .setup = event_setup,
                                           .teardown = event_teardown,
                                           .prepare = event_prepare,
                                           .recover = event_recover,
                                           .meanwhile = event_meanwhile,
                                           .call = event_wait,
                                           .post = event_post,
                                           .wait = event_wait,
                                           .check = blocked_check};
