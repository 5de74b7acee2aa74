/* SPDX-License-Identifier: BSD-2-Clause */
/* A state-machine fuzz of pools.
 *
 *     pool_fuzz [--sequences N] [--seed N] [--method fork|spawn|forkserver|thread] [--say]
 *
 * Each sequence is a pool of random size and limits and three threads, each of which does random things to it and to work of
 * its own: submit of every kind of task, after others too, maps, cancel, wait, close of futures, kills of workers and of the
 * supervisor, stop. What came of each piece of work is compared with what may come of it; no call may take longer than 2 s
 * (WATCH_MS, scaled), nothing may be left at the end. The seed of a failing sequence is printed; the same seed does
 * the same things
 * again (in the time the machine takes).
 * Prints `sequences <tab> operations <tab> kills <tab> failures`; exits 1 when there are failures. */
#ifndef MPROC__TESTS_POOL_FUZZ_H
#define MPROC__TESTS_POOL_FUZZ_H

#include "torture/pool_ledger.h"

enum { FUZZ_THREADS = 3, FUZZ_WORKS = 10, FUZZ_ITEMS = 200 };

typedef enum work_kind {
    WORK_ECHO,
    WORK_LOOKS, /* until it is stopped */
    WORK_FAILS,
    WORK_LIMITED, /* looks, or hangs, over its time limit */
    WORK_MAP,
    WORK_THREAD_KINDS, /* what follows is for processes */
    WORK_HANGS = WORK_THREAD_KINDS,
    WORK_DIES, /* in its first attempt */
    WORK_EXITS,
    WORK_KINDS
} work_kind;

/* What all threads of a sequence know. Facts are set before what they are about is done. */
typedef struct fuzz {
    mproc_pool *pool;
    mproc_shm *shm;
    pool_ledger_shared *ledger;
    const pid_t *before; /* children there were before its supervisor */
    unsigned before_count;
    bool threads, say;
    unsigned seed;
    _Atomic unsigned kills, stops, failures;
    _Atomic uint32_t next;
    _Atomic uint64_t operations;
} fuzz;

/* A future and what is known of it. */
typedef struct work {
    mproc_future *future; /* NULL: none */
    work_kind kind;
    uint32_t number, run_us;
    unsigned retries;
    bool cancelled; /* a cancel has returned 0 */
    bool forsakes;  /* it comes after others, and is not run when one of them fails */
    bool ended;
    mproc_future_state end; /* then */
    uint32_t in[FUZZ_ITEMS], out[FUZZ_ITEMS];
    int status[FUZZ_ITEMS];
} work;

__attribute__((format(printf, 2, 3))) void fuzz_blame(fuzz *f, const char *format, ...);

/* ---- pool_fuzz_work.c ---- */
/* Submits something, which may come after some of `works`. Full, or stopped: no work, and no failure. */
void work_begin(fuzz *f, work *w, const work works[FUZZ_WORKS], unsigned *seed);
void work_cancel(fuzz *f, work *w, bool even_if_running);
/* Looks at its state: what has ended stays as it ended. */
void work_look(fuzz *f, work *w);
/* Its result by then, judged if it has one; true: it had, and the future was closed. */
bool work_take(fuzz *f, work *w, mproc_deadline deadline);

#endif
