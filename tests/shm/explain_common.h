/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of explain share: a noun of their own, whose holders and waiters are whoever a child says it is. */
#ifndef MPROC__TESTS_EXPLAIN_COMMON_H
#define MPROC__TESTS_EXPLAIN_COMMON_H

#include "platform/base.h"

#include <sys/types.h>

#include "shm/explain.h"
#include "shm/segment_inside.h"
#include "support/support.h"

/* The root of a toy: a lock that nobody checks. */
typedef struct toy_shared {
    _Atomic pid_t owner_tid; /* 0: free */
    _Atomic pid_t owner_pid; /* told when the thread is not */
    _Atomic int ready;       /* children count up */
} toy_shared;

/* Registers the noun, of the type of locks. */
void toy_register(void);
/* Called in the place of the toy's explain function first, when set. */
extern void (*toy_on_explain)(void);
mproc__segment *toy_make(const char *name);
toy_shared *toy_of(mproc__segment *segment);

/* What explain says of this process's objects (those that it has open), and the numbers found. Fails the test unless it is
 * done. The text is the caller's to free. */
char *toy_explain(void);
int toy_found(const char *key);
bool toy_says(const char *text); /* the last toy_explain */

/* A child that joins `joins`, owns `owns` and waits, as explain sees it, for `waits` (each may be NULL), and stays until it
 * is killed. Returns once it is so far. */
typedef struct toy_child {
    mproc__segment *joins, *owns, *waits;
    mproc__wait_kind kind; /* 0: to acquire */
} toy_child;
pid_t toy_start(toy_child child);
bool toy_stop(pid_t child); /* SIGSTOP, and it is seen stopped */

#endif
