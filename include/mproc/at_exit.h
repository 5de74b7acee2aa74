/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions that run at the normal end of this process: exit, return from main, and a started child's function
 * that returns.
 *
 *     mproc_at_exit(remove_file, MPROC_ARGS(path), 0, &id);
 *
 * From the highest priority to the lowest, within one priority the latest first; where among the ends of children,
 * process.h says. A process that a signal ends runs none. Each belongs to the process that gave it, whatever thread
 * that was in: a fork child begins with none, and what a thread of start method "thread" gives runs at the end of
 * the process. One that fails does not stop the others; the log has its story.
 *
 *                      blocks       threads  processes     in a signal handler  after fork
 *   at_exit            no           any      each its own  no                   -ENOENT for what the parent gave
 *   at_exit_run        as fn does   any      each its own  no                   -ENOENT for what the parent gave
 *   at_exit_cancel     no           any      each its own  no                   -ENOENT for what the parent gave
 */
#ifndef MPROC_AT_EXIT_H
#define MPROC_AT_EXIT_H

#include <mproc/call.h>

MPROC_BEGIN

/* The priority of a function that only mproc_at_exit_run runs. */
#define MPROC_AT_EXIT_NEVER (-2147483647 - 1)

/* fn(call) with a copy of `args` shall run at the end, at most once. It must not call exit. *ret_id (may be NULL)
 * names it for the other two calls, never 0, never used again. -EINVAL: fn is NULL. MPROC_EARGUMENT: an argument
 * that cannot be copied. -ENOMEM. */
MPROC_API int mproc_at_exit(mproc_fn *fn, mproc_variant args, int priority, uint64_t *ret_id);
/* Runs it now, instead of at the end: what it returns. -ENOENT: it ran, runs, was cancelled, or is the parent's. */
MPROC_API int mproc_at_exit_run(uint64_t id);
/* It shall not run. -ENOENT as above. */
MPROC_API int mproc_at_exit_cancel(uint64_t id);

MPROC_END_DECLS

#endif
