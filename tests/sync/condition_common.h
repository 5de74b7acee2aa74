/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of conditions share: a condition in any home, and sleepers that are threads or processes. */
#ifndef MPROC__TESTS_CONDITION_COMMON_H
#define MPROC__TESTS_CONDITION_COMMON_H

#include <pthread.h>

#include "shm/place.h"
#include "support/support.h"
#include "sync/condition.h"

enum { CREW_MAX = 8, CREW_LIMIT_MS = 10000 };

/* The condition of the running test, its lock, and what its sleepers write; the page is shared with fork children. */
extern mproc_place *place;
extern mproc_condition *condition;
extern mproc_lock *lock;
typedef struct crew_page {
    _Atomic unsigned woken, timed_out, failed;
    _Atomic int number; /* for predicates */
} crew_page;
extern crew_page *page;

/* 0: host, 1: thread, 2: shm. */
enum { HOMES = 3 };
void condition_make(int home, const mproc_condition_options *options);
void condition_drop(void);

typedef struct crew {
    unsigned processes, threads;
    pid_t pid[CREW_MAX];
    pthread_t thread[CREW_MAX];
    mproc_deadline deadline; /* of each sleeper's wait */
} crew;

/* `count` sleepers, every other one a process where the home has them; returns when all wait or did. */
void crew_start(crew *them, int home, unsigned count, mproc_deadline deadline);
/* All have woken and ended, none with an error. */
void crew_end(crew *them);

/* Waits that are neither notified nor over. */
unsigned waiting(void);
bool waiting_are(void *count);
bool woken_are(void *count);
/* Acquires the lock, notifies and lets go; checks that `left` go on waiting. */
void notify_and_leave(unsigned count, unsigned left);
void lock_now(void);
void unlock_now(void);
/* A predicate. */
bool always(void *unused);
/* One wait with the lock acquired and released around it. */
int wait_locked(mproc_deadline deadline);

#endif
