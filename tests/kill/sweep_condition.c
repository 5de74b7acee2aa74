/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed while notifying, and in waits that do not sleep: past their deadline, interrupted, into a full table. The lock is held
 * by the victim all the time or on both ends, so its death is told to one. */
#include "platform/base.h"

#include <signal.h>
#include <unistd.h>

#include "kill/condition_roles.h"

/* ---- notify ---- */

/* Beside the sweep's own waiter, which is the youngest. */
typedef struct notify_state {
    unsigned extras, count;
    bool newcomer;
} notify_state;

static const char *const notify_names[] = {"one of one",   "newcomer, one of one", "one of three",
                                           "two of three", "all of three",         NULL};
static const notify_state notify_states[] = {
    {0, 1, false}, {0, 1, true}, {2, 1, false}, {2, 2, false}, {2, UINT32_MAX, false}};

static int notify_setup(unsigned state, void **ret_context)
{
    roles *r;
    int code = roles_setup(false, &r);
    *ret_context = r;
    for (unsigned i = 0; code == 0 && i < notify_states[state].extras; i++)
        code = roles_extra(r);
    return code;
}

static int notify_prepare(void *context, unsigned state)
{
    int code = roles_warm_up(context, !notify_states[state].newcomer);
    return code ? code : roles_take(context) < 0;
}

static int notify_call(void *context, unsigned state)
{
    roles *r = context;
    return mproc_condition_notify(r->condition, notify_states[state].count) == 0 ? 0 : 1;
}

static int notify_wait(void *context, unsigned state)
{
    (void)state;
    return roles_wait(context, ROLES_WAITER);
}

/* The youngest is notified when nobody is left. */
static int notify_wakes(void *context, unsigned state)
{
    (void)state;
    return roles_waiting(context) == 0 ? 0 : 1;
}

/* Who was notified are the oldest, and as many as wait no more. */
static unsigned oldest(const roles *r, unsigned count)
{
    unsigned all = (1u << r->extra_count) - 1;
    return count > r->extra_count ? all | ROLES_WAITER : (1u << count) - 1;
}

static int notify_check(void *context, unsigned state, bool returned)
{
    roles *r = context;
    unsigned total = r->extra_count + 1;
    unsigned most = notify_states[state].count < total ? notify_states[state].count : total;
    unsigned notified = total - roles_waiting(r);
    if (notified > most || (returned && notified != most))
        return 10;
    if (!roles_until_woken(r, oldest(r, notified)))
        return 11;
    int code = roles_use(r, oldest(r, total));
    return code == 0 && atomic_load(&r->notes->told) != 1 ? 12 : code;
}

/* The victim holds the lock. */
static int notify_meanwhile(void *context, unsigned state)
{
    roles *r = context;
    (void)state;
    return mproc_lock_acquire(r->lock, mproc_after_ms(KILL_SHORT_MS)) == -ETIMEDOUT ? 0 : 1;
}

const kill_case killsweep_condition_notify = {.operation = "condition notify",
                                              .states = notify_names,
                                              .setup = notify_setup,
                                              .teardown = roles_teardown,
                                              .prepare = notify_prepare,
                                              .call = notify_call,
                                              .wait = notify_wait,
                                              .recover = roles_recover,
                                              .meanwhile = notify_meanwhile,
                                              .wakes = notify_wakes,
                                              .check = notify_check};

/* ---- wait, without sleeping ---- */

enum { PAST, RECURSIVE, NEWCOMER, GIVEN, INTERRUPTED };

static const char *const wait_names[] = {"past deadline", "three levels", "newcomer",
                                         "given lock",    "interrupted",  NULL};

static int wait_setup(unsigned state, void **ret_context)
{
    roles *r;
    int code = roles_setup(state == GIVEN, &r);
    *ret_context = r;
    return code;
}

static int wait_prepare(void *context, unsigned state)
{
    roles *r = context;
    int code = roles_warm_up(r, state != NEWCOMER);
    for (int i = 0; code == 0 && i < (state == RECURSIVE ? 3 : 1); i++)
        code = roles_take(r) < 0;
    return code;
}

/* As a signal handler would. */
static bool interrupts(void *unused)
{
    (void)unused;
    mproc_interrupt();
    return false;
}

static int wait_call(void *context, unsigned state)
{
    roles *r = context;
    if (state == INTERRUPTED)
        return mproc_condition_wait_for(r->condition, interrupts, NULL, MPROC_FOREVER) == -EINTR ? 0 : 1;
    return mproc_condition_wait(r->condition, MPROC_NOW) == -ETIMEDOUT ? 0 : 1;
}

static int wakes_not(void *context, unsigned state)
{
    (void)context;
    (void)state;
    return 1;
}

/* The dead one was younger than the waiter, which gets the only notification. */
static int wait_check(void *context, unsigned state, bool returned)
{
    roles *r = context;
    (void)state;
    if (atomic_load(&r->notes->woken) != 0)
        return 10;
    if (roles_take(r) < 0 || mproc_condition_notify(r->condition, 1) != 0 || mproc_lock_release(r->lock) != 0)
        return 11;
    if (!roles_until_woken(r, ROLES_WAITER))
        return 12;
    int told = atomic_load(&r->notes->told);
    if (told > 1 || (returned && told != 1))
        return 13;
    return roles_use(r, ROLES_WAITER);
}

const kill_case killsweep_condition_wait = {.operation = "condition wait",
                                            .states = wait_names,
                                            .setup = wait_setup,
                                            .teardown = roles_teardown,
                                            .prepare = wait_prepare,
                                            .call = wait_call,
                                            .wait = notify_wait,
                                            .recover = roles_recover,
                                            .meanwhile = roles_meanwhile,
                                            .wakes = wakes_not,
                                            .check = wait_check};

/* ---- wait, when all slots are those of the dead ---- */

static int takes_all_and_dies(void *context)
{
    roles *r = context;
    while (mproc__condition_enter(r->condition) >= 0)
        ;
    kill(getpid(), SIGKILL);
    return 1;
}

static const char *const full_names[] = {"all dead", NULL};

static int full_setup(unsigned state, void **ret_context)
{
    roles *r;
    (void)state;
    int code = roles_setup(false, &r);
    *ret_context = r;
    if (code == 0 && support_reap(support_fork(takes_all_and_dies, r), KILL_HARD_MS) != 256 + SIGKILL)
        code = 3;
    return code;
}

static int full_check(void *context, unsigned state, bool returned)
{
    roles *r = context;
    (void)state;
    (void)returned;
    return roles_use(r, 0);
}

const kill_case killsweep_condition_full = {.operation = "condition wait, table full",
                                            .states = full_names,
                                            .setup = full_setup,
                                            .teardown = roles_teardown,
                                            .prepare = wait_prepare,
                                            .call = wait_call,
                                            .meanwhile = roles_meanwhile,
                                            .check = full_check};
