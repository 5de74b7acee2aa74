/* SPDX-License-Identifier: BSD-2-Clause */
/* KILLRAND: workers at full load, killed at random moments, and a ledger that must balance at the end.
 *
 *     torture [--kills N] [--seed N] [CASE...]
 *
 * prints `case <tab> kills <tab> failures`, last the line `all`; exits 1 when there are failures. `make torture` is the whole,
 * check_torture a fiftieth. Where KILLSWEEP kills one process that is alone in its call, this kills under real concurrency.
 *
 * A torture_<noun>.c defines `const torture_case torture_queue = {...}` and adds it to cases.h by name. */
#ifndef MPROC__TESTS_TORTURE_H
#define MPROC__TESTS_TORTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { TORTURE_WORKERS = 6, TORTURE_CALL_MS = 2000 };

/* What every case's shared memory begins with. */
typedef struct torture_shared {
    _Atomic int stop; /* set by the controller at the end; workers look at it between two calls */
    _Atomic unsigned long progress; /* counted up by the workers */
    /* Set by the controller for a quiet point: workers then call torture_park between two calls. */
    _Atomic uint32_t pause;
    _Atomic uint32_t parked;
} torture_shared;

typedef struct torture_case {
    const char *name;
    unsigned kills; /* 0: the program's default */
    bool stops;     /* one in four is stopped for a while instead, before its death */
    int (*setup)(void **ret_context);
    torture_shared *(*shared)(void *context);
    /* Worker, a process of its own: works until stop; returns 0, or a code (1..255) that is a failure. */
    int (*work)(void *context, unsigned worker);
    /* Controller: that worker is about to be killed; from here on it may be dead. Or NULL. */
    void (*doomed)(void *context, unsigned worker);
    /* Controller: that worker is dead and reaped; a new one takes its place after this. */
    void (*killed)(void *context, unsigned worker);
    /* Controller, all workers gone: the number of failures, each with a line on stderr. */
    unsigned (*judge)(void *context);
    void (*teardown)(void *context);
    /* Controller, all workers parked or dead, now and then: the number of failures. Or NULL. */
    unsigned (*quiet)(void *context);
    /* Instead of everything above but name and kills: a torture of its own kind; the number of failures. */
    unsigned (*run)(unsigned kills, unsigned *seed);
} torture_case;

/* In a worker: waits out a quiet point, with nothing held. */
void torture_park(torture_shared *shared);

#endif
