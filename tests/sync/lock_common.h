/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of locks share: one lock in any home, and others that use it from elsewhere. */
#ifndef MPROC__TESTS_LOCK_COMMON_H
#define MPROC__TESTS_LOCK_COMMON_H

#include "shm/place.h"
#include "support/support.h"
#include "sync/lock.h"

/* What the guarantees call LIVE on a loaded machine, which one that runs tests is; KILLSWEEP holds to the 50 ms. */
enum { LIVE_MS = 250, LONG_MS = 10000 };

extern mproc_place *place; /* NULL: host */
extern mproc_lock *lock;

/* home: 0 host, 1 thread. */
void lock_make(int home, const mproc_lock_options *options);
void lock_drop(void);
int64_t live_ns(void);
/* What the lock's story names; -1: none. */
int64_t told_pid(void);

/* ---- things others do; they answer by status ---- */
int try_now(void *unused);     /* 0: got it and gave it back, 1: held, 2: something else */
int die_holding(void *unused); /* ends by SIGKILL */
int end_holding(void *unused);

/* ---- others ---- */
typedef struct errand {
    support_fn *fn;
    int status;
} errand;

void *errand_run(void *job);
int in_child(support_fn *fn);
int in_thread(support_fn *fn);
/* Another process for a host lock, another thread for the rest. */
int elsewhere(int home, support_fn *fn);

#endif
