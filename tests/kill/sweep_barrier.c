/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed inside the calls of a barrier of two, as the last to come, as the first, and beside one that waits. The victim is a
 * joined party, so its death breaks what it does not complete: who waits always goes on. A reset then makes it as new. */
#include "platform/base.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mproc/sync.h>
#include "kill/killsweep.h"
#include "support/support.h"

enum { WAIT, WAIT_ACTING };
enum { ABORT, RESET };

static const char *const wait_states[] = {"plain", "with an action", NULL};
static const char *const act_states[] = {"abort", "reset", "join again", NULL};

typedef struct barrier_context {
    mproc_barrier *barrier, *other; /* other: to get lazy set-up out of the way */
    _Atomic int *waiter_code;       /* all roles share it; 1: none yet */
} barrier_context;

static int acts(void *unused)
{
    (void)unused;
    return 0;
}

static int barrier_setup_with(int (*action)(void *), void **ret_context)
{
    barrier_context *c = calloc(1, sizeof(*c));
    *ret_context = c;
    c->waiter_code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->waiter_code == MAP_FAILED)
        return 1;
    *c->waiter_code = 1;
    return mproc_barrier_create(NULL, 2, MPROC_WITH(mproc_barrier_options, .action = action), &c->barrier) ||
                   mproc_barrier_create(NULL, 1, NULL, &c->other)
               ? 2
               : 0;
}

static int wait_setup(unsigned state, void **ret_context)
{
    return barrier_setup_with(state == WAIT_ACTING ? acts : NULL, ret_context);
}

static int act_setup(unsigned state, void **ret_context)
{
    (void)state;
    return barrier_setup_with(NULL, ret_context);
}

static void barrier_teardown(void *context)
{
    barrier_context *c = context;
    mproc_barrier_close(&c->barrier);
    mproc_barrier_close(&c->other);
    munmap((void *)(uintptr_t)c->waiter_code, 4096);
    free(c);
}

static int barrier_prepare(void *context, unsigned state)
{
    barrier_context *c = context;
    (void)state;
    return mproc_barrier_wait(c->other, MPROC_NOW, NULL) || mproc_barrier_abort(c->other) ||
           mproc_barrier_reset(c->other) || mproc_barrier_join(c->barrier);
}

/* ---- the others ---- */

static int wait_once(barrier_context *c, mproc_deadline deadline)
{
    int code = mproc_barrier_wait(c->barrier, deadline, NULL);
    return code == 0 || code == MPROC_EBROKEN ? code : 1;
}

static int barrier_wait(void *context, unsigned state)
{
    barrier_context *c = context;
    (void)state;
    *c->waiter_code = wait_once(c, MPROC_FOREVER);
    return *c->waiter_code == 1;
}

static int barrier_recover(void *context, unsigned state)
{
    barrier_context *c = context;
    (void)state;
    return mproc_barrier_status(c->barrier, NULL, NULL, NULL) != 0;
}

static int barrier_meanwhile(void *context, unsigned state)
{
    unsigned parties = 0;
    barrier_context *c = context;
    (void)state;
    return mproc_barrier_status(c->barrier, &parties, NULL, NULL) != 0 || parties != 2;
}

static int pass_twice(void *context)
{
    barrier_context *c = context;
    for (int round = 0; round < 2; round++)
        if (mproc_barrier_wait(c->barrier, mproc_after_ms(KILL_HARD_MS), NULL) != 0)
            return 1;
    return 0;
}

static int is_whole(barrier_context *c)
{
    unsigned waiting = 9;
    bool broken = true;
    if (mproc_barrier_reset(c->barrier) != 0)
        return 20;
    pid_t other = support_fork(pass_twice, c);
    int own = pass_twice(c);
    if (support_reap(other, KILL_HARD_MS) != 0 || own != 0)
        return 21;
    if (mproc_barrier_status(c->barrier, NULL, &waiting, &broken) != 0 || waiting || broken)
        return 22;
    return 0;
}

/* ---- the calls ---- */

static int wait_call(void *context, unsigned state)
{
    (void)state;
    return wait_once(context, MPROC_FOREVER) != 0;
}

static int wait_check(void *context, unsigned state, bool returned)
{
    barrier_context *c = context;
    (void)state;
    return returned && *c->waiter_code != 0 ? 10 : is_whole(c);
}

static int act_call(void *context, unsigned state)
{
    barrier_context *c = context;
    return state == ABORT   ? mproc_barrier_abort(c->barrier)
           : state == RESET ? mproc_barrier_reset(c->barrier)
                            : mproc_barrier_join(c->barrier);
}

/* After a stop, a victim that joined again still lives: its waiter waits on until the reset. */
static int act_wakes(void *context, unsigned state)
{
    barrier_context *c = context;
    unsigned waiting = 0;
    (void)state;
    return mproc_barrier_status(c->barrier, NULL, &waiting, NULL) == 0 && waiting == 0 ? 0 : 1;
}

static int act_check(void *context, unsigned state, bool returned)
{
    barrier_context *c = context;
    (void)state;
    (void)returned;
    return *c->waiter_code == 0 ? 10 : is_whole(c);
}

/* The other party. It hears of a dead victim's death; for one that was stopped before it came it waits in vain, and breaks
 * the barrier. */
static int first_post(void *context, unsigned state)
{
    barrier_context *c = context;
    (void)state;
    *c->waiter_code = mproc_barrier_wait(c->barrier, mproc_after_ms(KILL_SHORT_MS), NULL);
    return *c->waiter_code != 0 && *c->waiter_code != MPROC_EBROKEN && *c->waiter_code != -ETIMEDOUT;
}

static int first_call(void *context, unsigned state)
{
    barrier_context *c = context;
    (void)state;
    int code = wait_once(c, MPROC_FOREVER);
    return code == 0 || (code == MPROC_EBROKEN && *c->waiter_code == -ETIMEDOUT) ? 0 : 1;
}

static int first_check(void *context, unsigned state, bool returned)
{
    (void)state;
    (void)returned;
    return is_whole(context);
}

const kill_case killsweep_barrier_last = {.operation = "barrier wait, the last",
                                          .states = wait_states,
                                          .setup = wait_setup,
                                          .teardown = barrier_teardown,
                                          .prepare = barrier_prepare,
                                          .call = wait_call,
                                          .wait = barrier_wait,
                                          .recover = barrier_recover,
                                          .meanwhile = barrier_meanwhile,
                                          .check = wait_check};

const kill_case killsweep_barrier_act = {.operation = "barrier abort, reset, join",
                                         .states = act_states,
                                         .setup = act_setup,
                                         .teardown = barrier_teardown,
                                         .prepare = barrier_prepare,
                                         .call = act_call,
                                         .wait = barrier_wait,
                                         .wakes = act_wakes,
                                         .recover = barrier_recover,
                                         .meanwhile = barrier_meanwhile,
                                         .check = act_check};

const kill_case killsweep_barrier_first = {.operation = "barrier wait, blocked",
                                           .states = wait_states,
                                           .setup = wait_setup,
                                           .teardown = barrier_teardown,
                                           .prepare = barrier_prepare,
                                           .call = first_call,
                                           .post = first_post,
                                           .recover = barrier_recover,
                                           .meanwhile = barrier_meanwhile,
                                           .check = first_check};
