/* SPDX-License-Identifier: BSD-2-Clause */
/* A pool whose tasks write down when they begin and end, and wait at gates. */
#ifndef MPROC__TESTS_AFTER_COMMON_H
#define MPROC__TESTS_AFTER_COMMON_H

#include "pool/pool_common.h"

enum { TURNS = 1024 };

/* In shared memory. Times are numbers from one counter. */
typedef struct board {
    _Atomic int64_t clock;
    _Atomic int64_t begun[TURNS], ended[TURNS]; /* 0: not; of the last attempt */
    _Atomic int64_t open[TURNS];
} board;

typedef struct scene {
    mproc_pool *pool;
    mproc_array *array;
    board *board;
} scene;

/* options: of the pool; workers and start are to be set. */
void scene_make(scene *s, mproc_pool_options options);
/* The pool ends by draining, if it is there still. */
void scene_end(scene *s);

int turn(mproc_call *call);          /* (number): -> number */
int turn_at_gate(mproc_call *call);  /* (number): waits until it is open, or stopped */
int turn_fail(mproc_call *call);     /* (number): -ERANGE, "too big" */
int turn_die(mproc_call *call);      /* (number) */
int turn_die_once(mproc_call *call); /* (number): in its first attempt */

/* `after` NULL or of `count`. */
mproc_future *turn_submit(scene *s, mproc_fn *fn, int number, mproc_future *const *after, size_t count);
mproc_future *turn_submit_with(scene *s, mproc_fn *fn, int number, const mproc_task_options *options);
void gate_open(scene *s, int number);
/* The second began after the first had ended. */
void order_check(const scene *s, int first, int second);
/* Its code is `code`, its story says both (NULL: nothing asked); closed. */
void failure_check(mproc_future **future, int code, const char *says, const char *says_too);

#endif
