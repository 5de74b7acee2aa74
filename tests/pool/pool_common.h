/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of pools share: functions that run in workers, and how a test runs over the start methods. */
#ifndef MPROC__TESTS_POOL_COMMON_H
#define MPROC__TESTS_POOL_COMMON_H

#include <mproc.h>

#include "support/support.h"

enum { METHODS = 4, METHODS_OF_PROCESSES = 3 };
/* The thread sanitizer holds back signal handlers while a thread sleeps in a system call it does not know, and sees one
 * process only: there, threads are tested. */
#ifdef __SANITIZE_THREAD__
enum { METHODS_FIRST = METHODS_OF_PROCESSES };
#else
enum { METHODS_FIRST = 0 };
#endif
extern const mproc_start pool_methods[METHODS]; /* fork, spawn, forkserver, thread */

/* A pool of `workers`, or the test fails with its story. */
mproc_pool *pool_make(mproc_start start, unsigned workers);
/* Stops it by draining, closes it. */
void pool_end(mproc_pool **pool);

/* Until no process, name or file is left of pools that were finished or killed, 5 s (scaled): what is left then, is told.
 * Reaps children that came to this process. */
void pools_await_gone(void);

/* A task with default options, or the test fails with the story. */
mproc_future *submit(mproc_pool *pool, mproc_fn *fn, mproc_variant args);
/* Its result, which must be an int; the future is closed. */
int64_t result_int(mproc_future *future);
/* The code it ends with within 10 s (scaled), not -ETIMEDOUT. */
int result_code(mproc_future *future);
/* An entry of mproc_pool_stats. */
int64_t stat_of(mproc_pool *pool, const char *key);
bool is_running(void *future); /* for support_until */
bool is_finished(void *future);
void wait_for(mproc_future *future); /* 10 s (scaled) */
void on_done(mproc_future *future, mproc_future_fn *fn, void *context);
int count_it(mproc_future *future, void *context);     /* callback: one more in an _Atomic unsigned */
int note_outcome(mproc_future *future, void *context); /* callback: its int or its code into an int64_t */

/* ---- tasks ---- */
int task_square(mproc_call *call); /* (int) -> int */
int task_echo(mproc_call *call);   /* (anything) -> the same */
int task_fail(mproc_call *call);   /* -ERANGE, "too big" */
int task_pid(mproc_call *call);    /* -> pid */
int task_abort(mproc_call *call);
int task_exit(mproc_call *call);          /* (code) */
int task_until_stopped(mproc_call *call); /* -> how often it looked */
int task_hang(mproc_call *call);          /* never returns, never looks */
int task_large(mproc_call *call);         /* (bytes) -> that many bytes */
int task_self(mproc_call *call);          /* -> text that set_up has set */
int task_progress(mproc_call *call);      /* tells 3 of 10, then waits to be stopped */
int task_die_once(mproc_call *call);      /* killed in its first attempt, then -> attempt */
int set_up(mproc_call *call);             /* initializer (text) */
int set_up_fail(mproc_call *call);        /* initializer: -ENOENT, "no model" */
int set_up_abort(mproc_call *call);

/* One start method per test run: tcase_add_loop_test(..., METHODS_FIRST, METHODS). */
#define METHOD pool_methods[_i]

int pool_tests_main(int argc, char **argv, const char *name, void (*add)(TCase *));

#endif
