/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed inside what a waiter waits for, and on the way into the sleep of an acquire, asleep, and on the way out with the
 * permit. The waiter takes one and keeps it, so that every permit is accounted for. */
#include "platform/base.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "kill/sweep_semaphore.h"
#include "support/support.h"

static int take_and_keep(void *context, unsigned state)
{
    semaphore_scene *s = context;
    (void)state;
    s->notes->waiter_pid = getpid();
    if (mproc_semaphore_acquire(s->semaphore, MPROC_FOREVER) != 0)
        return 1;
    semaphore_tell(&s->notes->waiter_has, 1);
    return 0;
}

/* The permits of a bounded one come back, whatever happened. A plain one's come only if the call had happened. */
static int waiter_wakes(void *context, unsigned state)
{
    semaphore_scene *s = context;
    unsigned value = 0;
    (void)state;
    return s->start->bounded || (mproc_semaphore_value(s->semaphore, &value) == 0 && value > 0) ? 0 : 1;
}

/* Beside a stopped victim that blocks there is no waiter. */
static bool has_waiter(const semaphore_scene *s)
{
    return s->notes->waiter_pid != 0;
}

/* One more permit for the waiter, which needs it if the call had not happened: so `with` or `without` it are free in the end. */
static int plain_rest(semaphore_scene *s, unsigned with, unsigned without, bool happened)
{
    unsigned value;
    if (has_waiter(s) &&
        (mproc_semaphore_release(s->semaphore, 1) || semaphore_await(&s->notes->waiter_has, 1)))
        return 10;
    if (mproc_semaphore_value(s->semaphore, &value))
        return 11;
    if (value != with && (happened || value != without))
        return 12;
    return semaphore_use_all(s, value);
}

static int bounded_rest(semaphore_scene *s)
{
    if (has_waiter(s) && semaphore_await(&s->notes->waiter_has, 1))
        return 20;
    return semaphore_use_all(s, s->start->permits - s->start->others - has_waiter(s));
}

/* ---- release and close, with a waiter asleep ---- */

static const char *const waited_states[] = {"plain",
                                            "plain, newcomer",
                                            "plain, three",
                                            "bounded, the last",
                                            "bounded, one of three",
                                            "bounded, all of three",
                                            NULL};
static const semaphore_start waited_starts[] = {
    {.count = 1},
    {.count = 1, .newcomer = true},
    {.count = 3},
    {.bounded = true, .permits = 1, .victim = 1, .count = 1},
    {.bounded = true, .permits = 4, .others = 1, .victim = 3, .count = 1},
    {.bounded = true, .permits = 3, .victim = 3, .count = 3},
};
_Static_assert(MPROC__COUNT(waited_states) == MPROC__COUNT(waited_starts) + 1, "a line a state");

static int waited_setup(unsigned state, void **ret_context)
{
    return semaphore_scene_make(&waited_starts[state], ret_context);
}

/* The waiter tries when the victim has all there is, and the call begins when the waiter sleeps. */
static int waited_prepare(void *context, unsigned state)
{
    semaphore_scene *s = context;
    int fault = semaphore_prepare(context, state);
    if (fault)
        return fault;
    semaphore_tell(&s->notes->victim_holds, 1);
    if (semaphore_await(&s->notes->waiter_tries, 1))
        return 4;
    return support_until_asleep(s->notes->waiter_pid, KILL_HARD_MS) ? 0 : 5;
}

static int waited_wait(void *context, unsigned state)
{
    semaphore_scene *s = context;
    s->notes->waiter_pid = getpid();
    while (semaphore_await(&s->notes->victim_holds, 1))
        ;
    semaphore_tell(&s->notes->waiter_tries, 1);
    return take_and_keep(context, state);
}

static int waited_check(void *context, unsigned state, bool returned)
{
    semaphore_scene *s = context;
    (void)state;
    return s->start->bounded ? bounded_rest(s) : plain_rest(s, s->start->count, 0, returned);
}

/* ---- close: what the process holds comes back with its last handle ---- */

static const char *const close_states[] = {"bounded, holds one", "bounded, holds three", NULL};

static int close_setup(unsigned state, void **ret_context)
{
    static const semaphore_start starts[] = {
        {.bounded = true, .permits = 1, .victim = 1, .count = 1},
        {.bounded = true, .permits = 4, .others = 1, .victim = 3, .count = 3},
    };
    return semaphore_scene_make(&starts[state], ret_context);
}

static int close_call(void *context, unsigned state)
{
    semaphore_scene *s = context;
    (void)state;
    mproc_semaphore_close(&s->semaphore);
    return 0;
}

/* ---- acquire, blocked ---- */

enum { FROM_OUTSIDE, FROM_HOLDER, TWO_FROM_HOLDER, HOLDER_DIES };

static const char *const blocked_states[] = {"plain",
                                             "bounded",
                                             "bounded, two are released",
                                             "bounded, the holder dies",
                                             "bounded, the holder of two dies",
                                             "bounded, newcomer",
                                             NULL};
static const int posts[] = {FROM_OUTSIDE, FROM_HOLDER, TWO_FROM_HOLDER,
                            HOLDER_DIES,  HOLDER_DIES, FROM_HOLDER};
static const semaphore_start blocked_starts[] = {
    {.permits = 0},
    {.bounded = true, .permits = 1},
    {.bounded = true, .permits = 2},
    {.bounded = true, .permits = 1},
    {.bounded = true, .permits = 2},
    {.bounded = true, .permits = 1, .newcomer = true},
};
_Static_assert(MPROC__COUNT(blocked_states) == MPROC__COUNT(blocked_starts) + 1, "a line a state");

/* Has all permits from before the victim comes until the post. */
static int hold_all(void *context)
{
    semaphore_scene *s = context;
    unsigned all = s->start->permits;
    if (semaphore_acquire_many(s->semaphore, all))
        return 1;
    semaphore_tell(&s->notes->holder, 1);
    while (semaphore_await(&s->notes->holder, 2))
        ;
    if (mproc_semaphore_release(s->semaphore, all) != 0)
        return 2;
    semaphore_tell(&s->notes->holder, 3);
    for (;;)
        pause();
}

static int blocked_setup(unsigned state, void **ret_context)
{
    int fault = semaphore_scene_make(&blocked_starts[state], ret_context);
    semaphore_scene *s = *ret_context;
    if (fault || posts[state] == FROM_OUTSIDE)
        return fault;
    s->holder = support_fork(hold_all, s);
    return semaphore_await(&s->notes->holder, 1) ? 8 : 0;
}

static int blocked_call(void *context, unsigned state)
{
    semaphore_scene *s = context;
    (void)state;
    return mproc_semaphore_acquire(s->semaphore, MPROC_FOREVER) == 0 ? 0 : 1;
}

/* Before the waiter, who is woken together with the victim, like the poster itself (round.c). */
static void go_first(pid_t pid)
{
    if (sched_getscheduler(0) == SCHED_FIFO)
        sched_setscheduler(pid, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
}

static int blocked_post(void *context, unsigned state)
{
    semaphore_scene *s = context;
    if (posts[state] == FROM_OUTSIDE)
        return mproc_semaphore_release(s->semaphore, 1) == 0 ? 0 : 1;
    if (posts[state] == HOLDER_DIES)
        return kill(s->holder, SIGKILL);
    go_first(s->holder);
    semaphore_tell(&s->notes->holder, 2);
    return semaphore_await(&s->notes->holder, 3);
}

/* Plain: a victim that returned took the posted permit, and so may have one that was killed. */
static int blocked_check(void *context, unsigned state, bool returned)
{
    semaphore_scene *s = context;
    (void)state;
    return s->start->bounded ? bounded_rest(s) : plain_rest(s, 0, 1, returned);
}

const kill_case killsweep_semaphore_release_waited = {.operation = "semaphore release, one waits",
                                                      .states = waited_states,
                                                      .setup = waited_setup,
                                                      .teardown = semaphore_teardown,
                                                      .prepare = waited_prepare,
                                                      .call = semaphore_call,
                                                      .wait = waited_wait,
                                                      .wakes = waiter_wakes,
                                                      .recover = semaphore_recover,
                                                      .meanwhile = semaphore_meanwhile,
                                                      .check = waited_check};

const kill_case killsweep_semaphore_close = {.operation = "semaphore close, one waits",
                                             .states = close_states,
                                             .setup = close_setup,
                                             .teardown = semaphore_teardown,
                                             .prepare = waited_prepare,
                                             .call = close_call,
                                             .wait = waited_wait,
                                             .wakes = waiter_wakes,
                                             .recover = semaphore_recover,
                                             .meanwhile = semaphore_meanwhile,
                                             .check = waited_check};

const kill_case killsweep_semaphore_blocked = {.operation = "semaphore acquire, blocked",
                                               .states = blocked_states,
                                               .setup = blocked_setup,
                                               .teardown = semaphore_teardown,
                                               .prepare = semaphore_prepare,
                                               .call = blocked_call,
                                               .post = blocked_post,
                                               .wait = take_and_keep,
                                               .wakes = waiter_wakes,
                                               .recover = semaphore_recover,
                                               .meanwhile = semaphore_meanwhile,
                                               .check = blocked_check};
