/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of reader-writer locks share: one lock, others that try it or wait for it and answer by a status. */
#ifndef MPROC__TESTS_RWLOCK_COMMON_H
#define MPROC__TESTS_RWLOCK_COMMON_H

#include "platform/base.h"

#include <pthread.h>

#include "platform/platform.h"
#include "shm/place.h"
#include "support/support.h"

/* LIVE_MS: what the guarantees call LIVE on a loaded machine. */
enum { LIVE_MS = 250, LONG_MS = 10000 };

/* What a try answers, as an exit status. */
enum { GOT, REFUSED, TOLD, POISONED };

/* Seen by all processes of a test. */
typedef struct notes {
    _Atomic int order;                /* counted up by each who got it */
    _Atomic int reader_at, writer_at; /* order of their acquires */
    _Atomic int64_t killed_at_ns;
    int one, two; /* guarded: always equal */
} notes_page;

extern mproc_place *place;
extern mproc_rwlock *rwlock;
extern notes_page *notes;

/* A fixture around each test. */
void notes_open(void);
void notes_close(void);

/* Home 0: host, 1: thread. */
void rwlock_make(int home, const mproc_rwlock_options *options);
void rwlock_drop(void);
/* The pid in the lock's story; -1: none. */
int64_t told_pid(void);

typedef struct errand {
    support_fn *fn;
    int status;
    _Atomic pid_t tid;
} errand;
void *errand_run(void *argument);
int in_thread(support_fn *fn);
int in_child(support_fn *fn);
/* In a process for a host lock, in a thread for the rest. */
int elsewhere(int home, support_fn *fn);

/* The same, left to run until it sleeps. */
typedef struct other {
    int home;
    pid_t child;
    pthread_t thread;
    errand errand;
} other;
void other_start(other *it, int home, support_fn *fn);
int other_end(other *it);

int status_of(int code);
support_fn try_read, try_write, wait_read, wait_write, read_and_die, write_and_die;
support_fn read_until_killed, write_until_killed;
/* A child that holds when this returns. */
pid_t start_holder(support_fn *fn);

#endif
