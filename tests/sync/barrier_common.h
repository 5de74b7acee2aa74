/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of barriers share: a barrier in any home, and parties that are threads or processes. */
#ifndef MPROC__TESTS_BARRIER_COMMON_H
#define MPROC__TESTS_BARRIER_COMMON_H

#include <pthread.h>

#include "shm/place.h"
#include "support/support.h"
#include "sync/barrier.h"

enum { PARTIES = 5, ROUNDS_MAX = 1001, TEAM_LIMIT_MS = 15000, CODES = 16 };

/* Shared with fork children. */
typedef struct team_page {
    _Atomic unsigned arrived[ROUNDS_MAX + 2]; /* parties that came to a round */
    _Atomic unsigned indexes[ROUNDS_MAX + 2]; /* bits */
    _Atomic unsigned acted;
    _Atomic int action_code;
    _Atomic int codes[CODES]; /* of waits; count in `answers` */
    _Atomic int64_t told_pid[CODES];
    _Atomic unsigned answers;
    _Atomic int64_t at_ns; /* of the last noted answer */
    _Atomic unsigned ready;
    _Atomic pid_t victim;
} team_page;

extern mproc_place *place;
extern mproc_barrier *barrier;
extern team_page *page;

/* 0: host, 1: thread, 2: shm. */
void barrier_make(int home, unsigned parties, const mproc_barrier_options *options);
void barrier_drop(void);

typedef struct team {
    support_fn *fn;
    void *context;
    unsigned processes, threads;
    pid_t pid[CODES];
    pthread_t thread[CODES];
} team;

/* `count` parties running fn, every other one a process where the home has them. */
void team_start(team *them, int home, unsigned count, support_fn *fn, void *context);
/* All have returned 0. */
void team_end(team *them);
/* A support_fn: one wait without a limit, its answer noted in the page. */
int waits_once(void *deadline_or_null);
/* One round of PARTIES; all noted answers are 0. */
void all_pass(int home);
/* How many of the noted answers are `code`. */
unsigned answered(int code);
/* Until so many of the present round have arrived. */
void until_arrived(unsigned count);

unsigned arrived_now(void);
bool broken_now(void);

#endif
