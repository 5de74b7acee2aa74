/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of events share: one event in any home, and sleepers that are threads or processes. */
#ifndef MPROC__TESTS_EVENT_COMMON_H
#define MPROC__TESTS_EVENT_COMMON_H

#include <pthread.h>

#include "shm/place.h"
#include "support/support.h"
#include "sync/event.h"

/* What the guarantees call LIVE on a loaded machine, which one that runs tests is; KILLSWEEP holds to the 50 ms. */
enum { LIVE_MS = 250, LONG_MS = 10000 };

extern mproc_place *place; /* NULL: host */
extern mproc_event *event;

/* home: 0 host, 1 thread. */
void event_make(int home, const mproc_event_options *options);
void event_drop(void);
int64_t since_ms(int64_t start_ns);

/* ---- things others do; they answer by status ---- */
int wait_long(void *unused);
int wait_now(void *unused); /* 0: set, 1: not, 2: something else */
int set_it(void *unused);

/* ---- others ---- */
int in_child(support_fn *fn);

typedef struct errand {
    support_fn *fn;
    _Atomic pid_t tid;
    int status;
} errand;

void *errand_run(void *job);

typedef struct sleeper {
    bool is_process;
    pid_t pid;
    pthread_t thread;
    errand job;
} sleeper;

/* One that waits for the event in another process (home 0) or thread; returns when it sleeps. */
void sleeper_start(int home, sleeper *ret_sleeper);
int sleeper_end(sleeper *s);

#endif
