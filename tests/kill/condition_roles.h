/* SPDX-License-Identifier: BSD-2-Clause */
/* What the sweeps of conditions share: a condition, waiters that are there before the victim, and what all roles do. */
#ifndef MPROC__TESTS_KILL_CONDITION_ROLES_H
#define MPROC__TESTS_KILL_CONDITION_ROLES_H

#include <sys/types.h>

#include "kill/killsweep.h"
#include "platform/platform.h"
#include "support/support.h"
#include "sync/condition.h"

enum {
    ROLES_EXTRAS = 4,
    ROLES_WAITER = 1 << ROLES_EXTRAS /* the sweep's own waiter in `woken` */
};

/* Beside the condition, in memory that all roles share. */
typedef struct roles_notes {
    _Atomic unsigned woken; /* who was notified: a bit each */
    _Atomic unsigned came;  /* the same of the sweep's own waiter, if there is one in this round */
    _Atomic int told;       /* how often anybody heard of a death with the lock */
} roles_notes;

typedef struct roles {
    mproc_condition *condition;
    mproc_condition *other; /* to get lazy set-up out of the way */
    mproc_lock *lock;
    roles_notes *notes;
    pid_t extras[ROLES_EXTRAS]; /* oldest first */
    unsigned extra_count;
} roles;

static inline mproc_deadline roles_hard(void)
{
    return mproc_after_ms(KILL_HARD_MS);
}

/* `given`: with a plain lock beside it; else with its own. */
int roles_setup(bool given, roles **ret_roles);
void roles_teardown(void *context);
/* Does everything once, elsewhere; joins the condition. */
int roles_warm_up(roles *r, bool join);

/* The lock; whoever gets it notes what it was told. 0, or negative. */
int roles_take(roles *r);
/* Waits, lets go and sets its bit. 0, or a code of its own. */
int roles_wait(roles *r, unsigned bit);
/* One more process that does that, asleep now. 0, or a code. */
int roles_extra(roles *r);

unsigned roles_waiting(const roles *r);
/* Slots that belong to anybody, dead or alive. */
unsigned roles_taken(const roles *r);
/* Until exactly these have woken, and nobody else. */
bool roles_until_woken(roles *r, unsigned bits);
/* Notifies whoever still waits, in the end all of `bits` have woken; nothing is left; and the condition can all it should.
 * 0, or a code from 20. */
int roles_use(roles *r, unsigned bits);
/* Beside a stopped process: the lock and a wait, each to its deadline. */
int roles_meanwhile(void *context, unsigned state);
/* The first who comes by. */
int roles_recover(void *context, unsigned state);

#endif
