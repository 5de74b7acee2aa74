/* SPDX-License-Identifier: BSD-2-Clause */
/* Killed on the way into the sleep of a wait, asleep, and on the way out of it, with one asleep behind it who is next; and
 * killed while handing on what the dead were notified of. */
#include "platform/base.h"

#include <limits.h>
#include <signal.h>
#include <unistd.h>

#include "kill/condition_roles.h"
#include "kill/trace.h"

/* ---- wait, asleep ---- */

enum { ONE, LEVELS, GIVEN, ALL, NOTIFIER_DIES };

static const char *const blocked_names[] = {"notify one", "three levels",  "given lock",
                                            "notify all", "notifier dies", NULL};

static int blocked_setup(unsigned state, void **ret_context)
{
    roles *r;
    int code = roles_setup(state == GIVEN, &r);
    *ret_context = r;
    return code;
}

static int blocked_prepare(void *context, unsigned state)
{
    roles *r = context;
    int code = roles_warm_up(r, true);
    for (int i = 0; code == 0 && i < (state == LEVELS ? 3 : 1); i++)
        code = roles_take(r) < 0;
    return code;
}

static int blocked_call(void *context, unsigned state)
{
    roles *r = context;
    int code = mproc_condition_wait(r->condition, MPROC_FOREVER);
    return code == (state == NOTIFIER_DIES ? MPROC_RECOVERED : 0) ? 0 : 1;
}

static int notify(roles *r, unsigned count)
{
    return roles_take(r) < 0 || mproc_condition_notify(r->condition, count) != 0;
}

static int notify_and_die(void *context)
{
    if (notify(context, 1) == 0)
        kill(getpid(), SIGKILL);
    return 1;
}

static int notify_one(void *context)
{
    roles *r = context;
    return notify(r, 1) || mproc_lock_release(r->lock) != 0;
}

static int notify_all(void *context)
{
    roles *r = context;
    return notify(r, UINT_MAX) || mproc_lock_release(r->lock) != 0;
}

static bool is_held_by_a_stopped_one(const roles *r)
{
    int pid, tid;
    return mproc_lock_owner(r->lock, &pid, &tid) == 0 && pid && trace_state(pid) == 'T';
}

/* By a child, which has the poster's priority and is not waited for when it must wait for a victim that is stopped. */
static int blocked_post(void *context, unsigned state)
{
    support_fn *how = state == NOTIFIER_DIES ? notify_and_die : state == ALL ? notify_all : notify_one;
    pid_t child = support_fork(how, context);
    if (is_held_by_a_stopped_one(context))
        return 0;
    return support_reap(child, KILL_HARD_MS) != (state == NOTIFIER_DIES ? 256 + SIGKILL : 0);
}

static int blocked_wait(void *context, unsigned state)
{
    roles *r = context;
    (void)state;
    atomic_store(&r->notes->came, ROLES_WAITER);
    return roles_wait(r, ROLES_WAITER);
}

/* Whoever died without the lock had not used its notification up, and the next one has it. */
static int blocked_wakes(void *context, unsigned state)
{
    roles *r = context;
    if (state == ALL)
        return 0;
    if (roles_take(r) < 0 || mproc_lock_release(r->lock) != 0)
        return 2;
    return atomic_load(&r->notes->told) == 0 ? 0 : 1;
}

static int blocked_check(void *context, unsigned state, bool returned)
{
    roles *r = context;
    bool woke = atomic_load(&r->notes->woken) != 0;
    if (returned && state != ALL && woke)
        return 10;
    int code = roles_use(r, atomic_load(&r->notes->came));
    if (code != 0)
        return code;
    int told = atomic_load(&r->notes->told);
    if (told == 0 && (returned || state == NOTIFIER_DIES))
        return 11;
    return told > (state == NOTIFIER_DIES ? 2 : 1) ? 12 : 0;
}

/* The notifier's death is to be heard of by the victim: who hears of it before dies with the lock, too. */
static int blocked_meanwhile(void *context, unsigned state)
{
    roles *r = context;
    if (state != NOTIFIER_DIES)
        return roles_meanwhile(r, state);
    int code = mproc_lock_acquire(r->lock, mproc_after_ms(KILL_SHORT_MS));
    return code == MPROC_RECOVERED || code == -ETIMEDOUT ? 0 : 5;
}

const kill_case killsweep_condition_blocked = {.operation = "condition wait, blocked",
                                               .states = blocked_names,
                                               .setup = blocked_setup,
                                               .teardown = roles_teardown,
                                               .prepare = blocked_prepare,
                                               .call = blocked_call,
                                               .post = blocked_post,
                                               .wait = blocked_wait,
                                               .recover = roles_recover,
                                               .meanwhile = blocked_meanwhile,
                                               .wakes = blocked_wakes,
                                               .check = blocked_check};

/* ---- handing on ---- */

/* The first `dead` of the extras are dead, the first `notified` were notified before; the others are stopped in their sleep, or
 * they would be the ones who sweep. */
typedef struct sweep_state {
    unsigned dead, notified, living;
} sweep_state;

static const char *const sweep_names[] = {"asleep",
                                          "notified, no heir",
                                          "notified, one heir",
                                          "notified, two heirs",
                                          "two notified, two heirs",
                                          "heir dead, too",
                                          NULL};
static const sweep_state sweep_states[] = {{1, 0, 1}, {1, 1, 0}, {1, 1, 1}, {1, 1, 2}, {2, 2, 2}, {2, 1, 1}};

static int stop_all(const roles *r, unsigned from, int signal_number)
{
    for (unsigned i = from; i < r->extra_count; i++)
        if (kill(r->extras[i], signal_number) != 0)
            return 1;
    return 0;
}

static int sweep_setup(unsigned state, void **ret_context)
{
    roles *r;
    const sweep_state *s = &sweep_states[state];
    int code = roles_setup(false, &r);
    *ret_context = r;
    for (unsigned i = 0; code == 0 && i < s->dead + s->living; i++)
        code = roles_extra(r);
    if (code != 0)
        return code;
    if (stop_all(r, 0, SIGSTOP) || notify(r, s->notified) || mproc_lock_release(r->lock) != 0)
        return 3;
    for (unsigned i = 0; i < s->dead; i++)
        support_kill(r->extras[i]);
    return 0;
}

static int sweep_prepare(void *context, unsigned state)
{
    (void)state;
    return roles_warm_up(context, true);
}

static int sweep_call(void *context, unsigned state)
{
    return roles_recover(context, state);
}

/* As many of the oldest living as were notified of the dead. */
static unsigned heirs(const sweep_state *s)
{
    unsigned count = s->notified < s->living ? s->notified : s->living;
    return ((1u << count) - 1) << s->dead;
}

static int sweep_check(void *context, unsigned state, bool returned)
{
    roles *r = context;
    const sweep_state *s = &sweep_states[state];
    if (returned && roles_taken(r) != s->living)
        return 10;
    if (stop_all(r, s->dead, SIGCONT) || !roles_until_woken(r, heirs(s)))
        return 11;
    mproc__segment_sweep(r->condition->segment);
    unsigned left = s->living - (s->notified < s->living ? s->notified : s->living);
    if (roles_waiting(r) != left || roles_taken(r) != left)
        return 12;
    int code = roles_use(r, ((1u << s->living) - 1) << s->dead);
    return code == 0 && atomic_load(&r->notes->told) != 0 ? 13 : code;
}

const kill_case killsweep_condition_sweep = {.operation = "condition sweep",
                                             .states = sweep_names,
                                             .setup = sweep_setup,
                                             .teardown = roles_teardown,
                                             .prepare = sweep_prepare,
                                             .call = sweep_call,
                                             .recover = roles_recover,
                                             .meanwhile = roles_meanwhile,
                                             .check = sweep_check};
