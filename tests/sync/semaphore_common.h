/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of semaphores share: one semaphore, and others that use it from elsewhere. */
#ifndef MPROC__TESTS_SEMAPHORE_COMMON_H
#define MPROC__TESTS_SEMAPHORE_COMMON_H

#include <pthread.h>

#include "shm/place.h"
#include "support/support.h"
#include "sync/semaphore.h"

/* Told from a hang, no more: where strangers run as well, a waiter that was woken may have to wait for a CPU for half a second.
 * That others go on within 50 ms of a death is for KILLSWEEP to say, and within 10 ms where there is a CPU for torture. */
enum { PROMPT_MS = 1000, LONG_MS = 10000 };

extern mproc_place *place; /* NULL: host */
extern mproc_semaphore *semaphore;

/* home: 0 host, 1 thread, 2 shm. */
void semaphore_make(int home, int64_t value, const mproc_semaphore_options *options);
void semaphore_drop(void);
unsigned free_permits(void);
int64_t since_ms(int64_t start_ns);
mproc_deadline soon(void);

/* ---- things others do; they answer by status ---- */
int take_now(void *unused);     /* 0: got one and keeps it, 1: none */
int take_soon(void *unused);    /* the same, and waits */
int pass_through(void *unused); /* takes one, waiting, and gives it back */
int give_one(void *unused);
int value_is(void *expected);   /* an unsigned; 0: yes */
int take_and_die(void *count);  /* an int; ends by SIGKILL */
int hold_for_ever(void *count); /* never answers; 1: did not get them */

/* ---- others ---- */
int in_child(support_fn *fn, void *context);
int in_thread(support_fn *fn, void *context);
/* Another thread for a thread home, another process for the rest. */
int elsewhere(int home, support_fn *fn, void *context);

typedef struct sleeper {
    support_fn *fn;
    bool is_process;
    pid_t pid;
    pthread_t thread;
    _Atomic pid_t tid;
    int status;
} sleeper;

/* Starts it, and waits until it sleeps. */
void sleeper_start(bool is_process, support_fn *fn, sleeper *ret_sleeper);
int sleeper_end(sleeper *s);

#endif
