/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed while making, opening, closing, unlinking and cleaning names in /dev/shm: afterwards the name is there or not, the
 * next one can open or make it, a name in use stays, and one cleaning leaves nothing. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kill/killsweep.h"
#include "shm/shm.h"
#include "support/support.h"

enum { ALONE, IN_USE };

static const char *const states[] = {"alone", "in use by another", NULL};

typedef struct named_context {
    mproc_place *place;
    mproc_shm *held;    /* the controller's, in use; inherited by all */
    mproc_shm *victims; /* opened in prepare */
    char address[40];
} named_context;

static int open_or_make(named_context *c, mproc_shm **ret_shm)
{
    return mproc_shm_create(c->place, 64, MPROC_WITH(mproc_shm_options, .name = "one", .and_open = true),
                            ret_shm);
}

static int named_setup(unsigned state, void **ret_context)
{
    named_context *c = calloc(1, sizeof(*c));
    *ret_context = c;
    if (!c)
        return 1;
    mproc__noun_register(&mproc__shm_noun);
    snprintf(c->address, sizeof(c->address), "shm:/sweep%d", (int)getpid());
    if (mproc__place_shm(c->address, NULL, &c->place) < 0)
        return 2;
    if (state == IN_USE) {
        if (open_or_make(c, &c->held) < 0)
            return 3;
        strcpy(mproc_shm_data(c->held), "held");
    }
    return 0;
}

static void named_teardown(void *context)
{
    named_context *c = context;
    mproc_shm_close(&c->held);
    (void)mproc_place_unlink(c->place, "one"); /* of a round that failed */
    mproc_place_close(&c->place);
    free(c);
}

static int names_left(const named_context *c)
{
    mproc_variant list;
    if (mproc_place_names(c->place, &list) < 0)
        return -1;
    int count = (int)mproc_variant_count(list);
    mproc_variant_clear(&list);
    return count;
}

/* Rounds run beside each other: while another one's cleaner holds a file to take it away, ours goes on without it. */
static bool none_left(void *context)
{
    return names_left(context) == 0;
}

static int use_alone(named_context *c)
{
    mproc_shm *mine, *again;
    if (mproc_cleanup(NULL) < 0 || !support_until(none_left, c, KILL_HARD_MS))
        return 20;
    if (open_or_make(c, &mine) < 0)
        return 21;
    strcpy(mproc_shm_data(mine), "survivor");
    if (mproc_shm_open_to_read(c->place, "one", &again) < 0 || strcmp(mproc_shm_data(again), "survivor") != 0)
        return 22;
    mproc_shm_close(&again);
    mproc_shm_close(&mine);
    return support_until(none_left, c, KILL_HARD_MS) ? 0 : 23;
}

static int use_in_use(named_context *c)
{
    mproc_shm *mine;
    if (mproc_cleanup(NULL) < 0 || names_left(c) != 1)
        return 30;
    if (mproc_shm_open_to_read(c->place, "one", &mine) < 0)
        return 31;
    int code = strcmp(mproc_shm_data(mine), "held") == 0 ? 0 : 32;
    mproc_shm_close(&mine);
    return code == 0 && names_left(c) != 1 ? 33 : code;
}

static int named_check(void *context, unsigned state, bool returned)
{
    (void)returned;
    return state == IN_USE ? use_in_use(context) : use_alone(context);
}

/* The first who comes cleans. */
static int named_recover(void *context, unsigned state)
{
    (void)context;
    (void)state;
    return mproc_cleanup(NULL) < 0 ? 1 : 0;
}

/* Not of the name that matters: gets lazy set-up out of the way. */
static int warm_up(named_context *c)
{
    mproc_shm *mine;
    int code = mproc_shm_create(c->place, 64, NULL, &mine);
    if (code == 0)
        mproc_shm_close(&mine);
    return code;
}

static int make_prepare(void *context, unsigned state)
{
    (void)state;
    return warm_up(context);
}

static int make_call(void *context, unsigned state)
{
    (void)state;
    return open_or_make(context, &((named_context *)context)->victims) == 0 ? 0 : 1;
}

static int open_prepare(void *context, unsigned state)
{
    named_context *c = context;
    return warm_up(c) || (state == ALONE && open_or_make(c, &c->held)) ? 1 : 0;
}

static int open_call(void *context, unsigned state)
{
    (void)state;
    return mproc_shm_open_to_read(((named_context *)context)->place, "one",
                                  &((named_context *)context)->victims) == 0
               ? 0
               : 1;
}

static int close_prepare(void *context, unsigned state)
{
    named_context *c = context;
    (void)state;
    return warm_up(c) || open_or_make(c, &c->victims) ? 1 : 0;
}

static int close_call(void *context, unsigned state)
{
    named_context *c = context;
    (void)state;
    mproc_shm_close(&c->victims);
    return 0;
}

static int unlink_call(void *context, unsigned state)
{
    (void)state;
    return mproc_place_unlink(((named_context *)context)->place, "one") == 0 ? 0 : 1;
}

/* In use, an unlinked name is gone for good; what is mapped is not. */
static int unlink_check(void *context, unsigned state, bool returned)
{
    named_context *c = context;
    if (state == ALONE)
        return use_alone(c);
    if (strcmp(mproc_shm_data(c->held), "held") != 0)
        return 40;
    int left = names_left(c);
    if (left > 1 || (returned && left != 0))
        return 41;
    return left == 1 ? use_in_use(c) : use_alone(c);
}

static int dies_with_it(void *context)
{
    mproc_shm *mine;
    if (open_or_make(context, &mine) == 0)
        raise(SIGKILL);
    return 1;
}

static int cleanup_setup(unsigned state, void **ret_context)
{
    int code = named_setup(state, ret_context);
    if (code == 0 && support_reap(support_fork(dies_with_it, *ret_context), KILL_HARD_MS) != 256 + SIGKILL)
        return 9;
    return code;
}

static int cleanup_call(void *context, unsigned state)
{
    (void)context;
    (void)state;
    return mproc_cleanup(NULL) == 0 ? 0 : 1;
}

const kill_case killsweep_named_make = {.operation = "name make or open",
                                        .states = states,
                                        .setup = named_setup,
                                        .teardown = named_teardown,
                                        .prepare = make_prepare,
                                        .call = make_call,
                                        .recover = named_recover,
                                        .check = named_check};

const kill_case killsweep_named_open = {.operation = "name open to read",
                                        .states = states,
                                        .setup = named_setup,
                                        .teardown = named_teardown,
                                        .prepare = open_prepare,
                                        .call = open_call,
                                        .recover = named_recover,
                                        .check = named_check};

const kill_case killsweep_named_close = {.operation = "name close",
                                         .states = states,
                                         .setup = named_setup,
                                         .teardown = named_teardown,
                                         .prepare = close_prepare,
                                         .call = close_call,
                                         .recover = named_recover,
                                         .check = named_check};

const kill_case killsweep_named_unlink = {.operation = "name unlink",
                                          .states = states,
                                          .setup = named_setup,
                                          .teardown = named_teardown,
                                          .prepare = open_prepare,
                                          .call = unlink_call,
                                          .recover = named_recover,
                                          .check = unlink_check};

const kill_case killsweep_named_cleanup = {.operation = "name cleanup",
                                           .states = states,
                                           .setup = cleanup_setup,
                                           .teardown = named_teardown,
                                           .call = cleanup_call,
                                           .recover = named_recover,
                                           .check = named_check};
