/* SPDX-License-Identifier: BSD-2-Clause */
/* KILLSWEEP: a process is killed at every distinct state of shared memory that one call goes through.
 *
 *     killsweep [--operation NAME] [--state NAME] [--mark N] [--every K] [--live-ms N]
 *
 * prints `operation <tab> states <tab> failures`, a line an operation, last the line `all`; exits 1 when there are failures.
 * `make killsweep` runs all of it.
 *
 * Roles. The controller (tracer) makes the object in its start state, parks a waiter in it (a process of its own), forks the
 * victim, lets it prepare, and single-steps the victim's call. After each step it compares every shared mapping of the
 * victim and its robust list head (which the kernel reads when the victim dies) with what they were a step before. A
 * change, and the point before and after each system call, is a mark. Two kill points with no mark between them are the
 * same crash for everybody else, so killing at the marks is exhaustive for this binary. Then, for each mark: everything
 * anew, step to it, SIGKILL; the waiter must wake and a survivor (a new process) must find the object whole and usable,
 * each within LIVE. Marks are found by counting changes, not steps: the vDSO's clock makes step counts vary.
 *
 * A file of cases (sweep_lock.c) defines `const kill_case killsweep_lock_acquire = {...}` and adds it to the table in
 * killsweep.c by name. All functions but setup and teardown run in a forked process and answer 0 or a code of their own
 * (1..255) that the report prints; none may use ck_assert. `context` is what setup made; handles in it are inherited over
 * fork. Keep the object small: it is compared as a whole after every instruction. */
#ifndef MPROC__TESTS_KILLSWEEP_H
#define MPROC__TESTS_KILLSWEEP_H

#include <stdbool.h>

enum { KILL_HARD_MS = 2000 };   /* deadlines inside the callbacks: longer than LIVE, so that hanging is seen as such */

typedef struct kill_case {
    const char *operation;          /* "queue put" */
    const char *const *states;      /* names of the start states, NULL at the end */
    bool on_request;                /* only when --operation names it: the harness's own proofs */

    /* Controller: a fresh object in start state `state` (index into states). */
    int (*setup)(unsigned state, void **ret_context);
    void (*teardown)(void *context);
    /* Victim, before the window: do the operation once (lazy set-up out of the way), hold what it has to hold. Or NULL. */
    int (*prepare)(void *context, unsigned state);
    /* Victim: the one call. Must not block. */
    int (*call)(void *context, unsigned state);
    /* Waiter: one blocking call, parked before the victim is forked; returns 0 when it woke as it should. Or NULL. */
    int (*wait)(void *context, unsigned state);
    /* Survivor, after the death, before check: 0 when the waiter must wake by itself now (the victim's act was committed,
     * or its death frees what is waited for), 1 when it need not (then it must have woken after check). NULL: it must. */
    int (*wakes)(void *context, unsigned state);
    /* Survivor: the invariants, and the object's whole use, with deadlines of KILL_HARD_MS. `returned`: the victim's call
     * had returned 0. When there is a waiter, it may have taken its part already. */
    int (*check)(void *context, unsigned state, bool returned);
} kill_case;

#endif
