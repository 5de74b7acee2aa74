/* SPDX-License-Identifier: BSD-2-Clause */
/* Fault loops: one call of the library is run again and again, and each time another thing that it asks of the system
 * fails: its first, second ... allocation, its first, second ... system call, once for every errno that this system call
 * may well answer. It must then fail with a code of its own and a story, or do without; leave nothing behind and nothing
 * changed; and the object must be usable.
 *
 * Each run is a child of its own, so that what a program does once (caches, keys) is done, and fails, in each. The child is
 * traced from just before the call to just after it (syscalls.c). close and munmap are not made to fail: the kernel has
 * closed and unmapped all the same. */
#ifndef MPROC__TESTS_FAULTLOOP_H
#define MPROC__TESTS_FAULTLOOP_H

#include "support/support.h"

enum { FAULT_SCENE_BYTES = 256 };

/* All functions run in the child; none may use ck_assert. The scene is zeroed but for its first word, `argument`. */
typedef struct fault_case {
    const char *name;                       /* "lock create" */
    const void *argument;                   /* copied to the front of the scene; a `const void *` of the case's own */
    int (*setup)(void *scene);              /* nothing fails yet. 0, or a code (1..255) that the report prints */
    int (*call)(void *scene);               /* the one call */
    /* Nothing fails any more. `rc` is what the call answered: negative, then nothing has changed. Uses the object, and
     * answers 0 or a code. */
    int (*check)(void *scene, int rc);
    void (*cleanup)(void *scene);           /* closes everything; then the hunt for leaks begins */
    int expected;                           /* what the call answers when nothing fails */
    /* Seen from outside, a blocking call may also be late: at most this, with all interruptions. 0: 3 s. */
    int limit_ms;
} fault_case;

/* All abort the test with a report that names the run. */
void fault_allocations(const fault_case *fault);
void fault_system_calls(const fault_case *fault);
/* Every system call of the window that sleeps is interrupted (EINTR), 200 times over: the answer is `expected`. */
void fault_interruptions(const fault_case *fault);

/* ---- syscalls.c ---- */
/* What to let fail in the traced child. */
typedef struct fault_plan {
    unsigned call;              /* which fallible system call, from 1; 0: none */
    unsigned variant;           /* which of its errnos, from 0 */
    unsigned interruptions;     /* instead: how many sleeping calls are interrupted */
} fault_plan;
typedef struct fault_outcome {
    bool happened;              /* the call was there; and the variant, too (`variants`) */
    unsigned variants;          /* errnos known for it */
    const char *system_call;
    int error;
} fault_outcome;
/* The child has been started by fault_child_begin and stops for the window. Traces it until the window's end, lets it go.
 * 0, or -1: it ended meanwhile, or cannot be traced. */
int fault_trace(pid_t child, const fault_plan *plan, fault_outcome *ret_outcome);
/* In the child: right before and right after the call. */
void fault_window_open(void);
void fault_window_close(void);

#endif
