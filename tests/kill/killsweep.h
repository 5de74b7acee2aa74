/* SPDX-License-Identifier: BSD-2-Clause */
/* KILLSWEEP: a process is killed at every distinct state of shared memory that one call goes through.
 *
 *     killsweep [--operation NAME] [--state NAME] [--kind kill|pair|stop] [--mark N] [--second N] [--every K]
 *               [--pairs K] [--stops K] [--short] [--jobs N] [--live-ms N] [--step]
 *
 * prints `operation <tab> states <tab> pairs <tab> stops <tab> failures`, a line an operation, last the line `all`; exits 1 when
 * there are failures. Every K-th state, pair and stop is tried (--every, --pairs, --stops; --short chooses for `make check`;
 * the first line says which). `make killsweep` runs all of it.
 *
 * Roles. The controller (tracer) makes the object in its start state, parks a waiter in it (a process of its own), forks the
 * victim, lets it prepare, and follows the victim's call from change to change (trace.h). A change of any shared mapping of
 * the victim or of its robust list head (which the kernel reads when the victim dies), and the point before and after each
 * system call that others could see (quiet.c), is a mark. Two kill points with no mark between them are the same crash for
 * everybody else, so killing at the marks is exhaustive for this binary. Then, for each mark: everything anew, to the mark,
 * and
 *
 *     kill    SIGKILL; the waiter must wake and a survivor (a new process) must find the object whole and usable, each within
 *             LIVE.
 *     pair    SIGKILL; then a recoverer (a new process) does its one call, is followed in the same way and killed at each
 *             of its own marks; then waiter and survivor as before. Cases with `recover`.
 *     stop    SIGSTOP; the calls of others must end by their deadlines and take nothing from the stopped; then SIGCONT, and
 *             the victim's call must end as if nothing had been, and all be whole. Cases with `meanwhile`.
 *
 * Blocked victims. A case with `post` has a victim whose call blocks. It is killed (and so on) at every mark on its way into
 * the sleep, asleep, and at every mark on its way out after a poster (a process of its own) made it go on; asleep also
 * with the kill and the post in a row without a pause, in both orders. The poster runs exactly once in each round, after
 * the death if the victim never woke. The case's waiter is parked behind the victim: when the victim sleeps or is dead. Such
 * cases are left out where the kernel has no debug registers for us (and with --step); without the right to SCHED_FIFO
 * those rounds are, in which the waiter was quicker than the victim.
 *
 * A file of cases (sweep_lock.c) defines `const kill_case killsweep_lock_acquire = {...}` and adds it to the table in
 * cases.h by name. All functions but setup and teardown run in a forked process and answer 0 or a code of their own
 * (1..255) that the report prints; none may use ck_assert. `context` is what setup made; handles in it are inherited over
 * fork. Keep the object small, and every size and value the same in every round. */
#ifndef MPROC__TESTS_KILLSWEEP_H
#define MPROC__TESTS_KILLSWEEP_H

#include <stdbool.h>

struct mproc__segment;

enum {
    KILL_HARD_MS = 2000,    /* deadlines inside the callbacks: longer than LIVE, so that hanging is seen as such */
    KILL_SHORT_MS = 5,      /* deadlines in `meanwhile` */
    KILL_EDGE_BYTES = 64,   /* kill_quiet */
    KILL_BESIDE_MOST = 4
};

typedef struct kill_case {
    const char *operation;          /* "queue put" */
    const char *const *states;      /* names of the start states, NULL at the end */
    bool on_request;                /* only when --operation names it: the harness's own proofs */
    bool every_state;               /* also in --short */
    bool copies;                    /* states with more than 64 KiB quiet copy there: without pairs, and left out where
                                     * each step is one */

    /* Controller: a fresh object in start state `state` (index into states). */
    int (*setup)(unsigned state, void **ret_context);
    void (*teardown)(void *context);
    /* Others, each a process of its own from before the victim is forked to the end of the round: the `number`th of them,
     * `beside_count` (KILL_BESIDE_MOST at most). It must come to rest by itself, in a sleep; what it finds wrong is for
     * check to see. Or NULL. */
    void (*beside)(void *context, unsigned state, unsigned number);
    unsigned beside_count;
    /* Victim, before the window: do the operation once (lazy set-up out of the way), hold what it has to hold. Or NULL. */
    int (*prepare)(void *context, unsigned state);
    /* Victim: the one call. Must not block, unless there is `post`. */
    int (*call)(void *context, unsigned state);
    /* Makes the blocked victim (the oldest waiter) go on: release, notify, set, put. Or NULL. */
    int (*post)(void *context, unsigned state);
    /* Waiter: one blocking call, parked before the victim is forked (behind it, with `post`); returns 0 when it woke as it
     * should. Or NULL. */
    int (*wait)(void *context, unsigned state);
    /* Recoverer: what the first who comes after the death does, one call as a rule (mproc__segment_sweep, or the noun's own
     * acquire). Dies with it undone, half done or done; check must hold in any case, so leave notes where it matters. */
    int (*recover)(void *context, unsigned state);
    /* Others, while the victim is stopped at a mark of its call: calls with deadlines of KILL_SHORT_MS, each done or
     * -ETIMEDOUT, undone again as far as they were done; nobody may be reported dead. */
    int (*meanwhile)(void *context, unsigned state);
    /* Survivor, after the death, before check: 0 when the waiter must wake by itself now (the victim's act was committed,
     * or its death frees what is waited for), 1 when it need not (then it must have woken after check). NULL: it must. */
    int (*wakes)(void *context, unsigned state);
    /* Survivor: the invariants, and the object's whole use, with deadlines of KILL_HARD_MS. `returned`: the victim's call
     * had returned 0. When there is a waiter, it may have taken its part already. */
    int (*check)(void *context, unsigned state, bool returned);
} kill_case;

/* In setup or prepare, of each round the same, addresses ascending: to these bytes only the victim writes, and nobody reads
 * them before its call has committed, so that two kills between two stores to them are the same crash. A copy of MiBs to
 * there makes marks at its first and last bytes only (KILL_EDGE_BYTES and up to as many more), and nobody compares it. */
void kill_quiet(const void *data, size_t size_bytes);

/* Sweeps until no row of the segment is a dead one's: the parked waiter may be half-way through the same sweep, and what a
 * call with MPROC_NOW then does not find is not lost. False: there still is one after KILL_HARD_MS. */
bool kill_swept(struct mproc__segment *segment);

#endif
