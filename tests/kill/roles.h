/* SPDX-License-Identifier: BSD-2-Clause */
/* The processes of a round, and how the controller waits for them. Between round.c, roles.c and patience.c. */
#ifndef MPROC__TESTS_KILL_ROLES_H
#define MPROC__TESTS_KILL_ROLES_H

#include "platform/base.h"

#include "kill/round.h"
#include "support/support.h"

/* One page that all roles share beside the object; not compared. */
enum { QUIET_MOST = 8 };

typedef struct flags_shared {
    _Atomic int returned;     /* victim: 1 + what the call answered */
    _Atomic int recovered;    /* recoverer: the same */
    _Atomic uint32_t woke;    /* waiter: 1 + what the wait answered */
    _Atomic uint32_t went_on; /* victim, after a stop: as returned, with a wake */
    unsigned quiet_count;     /* set by setup and prepare, before anything is traced; so the next */
    struct iovec quiet[QUIET_MOST];
} flags_shared;

extern flags_shared *kill_flags;

/* ---- roles.c: what the processes do; context is a round_run ---- */
int role_waiter(void *context);
int role_beside(void *context);
int role_victim(void *context);
int role_recoverer(void *context);
int role_poster(void *context);
int role_meanwhile(void *context);
int role_wakes(void *context);
int role_check(void *context);

/* ---- patience.c ---- */
/* The first failure of a round stays. */
__attribute__((format(printf, 2, 3))) void round_blame(round_run *r, const char *format, ...);
/* How long others may take, from now on. */
void patience_set(int live_ms);
/* Until the waiter sleeps, as long as nothing was posted. */
void patience_settle(void *context);
/* Until a word of the flags is not 0; false: it hangs. */
bool patience_await(_Atomic uint32_t *word);
/* A process that does fn and ends: its answer, or -1 when it hangs. Slowness is a failure of its own. */
int patience_helper(round_run *r, const char *who, support_fn *fn);
/* The same, and it has to answer 0. Not when the round has failed. */
void patience_must(round_run *r, const char *who, support_fn *fn);
/* The waiter must wake now. */
void patience_waiter(round_run *r, const char *when);

#endif
