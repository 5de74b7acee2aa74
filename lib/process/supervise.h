/* SPDX-License-Identifier: BSD-2-Clause */
/* What both supervisors (the program's nursery, a pool's) are made of: a single-threaded process that sleeps
 * until a command comes, a child ends, or its owner dies. L5. It touches atomics, never a lock.
 *
 * The command word and the owner's participation live in a segment that owner and supervisor share: the
 * supervisor sleeps by mproc__segment_wait on the command event count, so the owner's (and the workers') life
 * words wake it at once, long before a pidfd would. A SIGCHLD handler posts the same event count, so that a
 * signal between look and sleep is not lost. */
#ifndef MPROC__PROCESS_SUPERVISE_H
#define MPROC__PROCESS_SUPERVISE_H

#include "shm/segment.h"

/* Call first in the supervisor, which must be a direct child of the owner: blocks what must be blocked,
 * installs the SIGCHLD handler (this process is the library's own), becomes subreaper, joins the segment.
 * `owner_row`: the row to watch. Children inherit the blocked mask and two handlers: their first steps
 * (child.c) undo both. */
int mproc__supervise_begin(mproc__segment *segment, mproc__eventcount_shared *command, unsigned owner_row);
/* Before that, for those that fork often: their signals have a stack of their own, which children lack. */
void mproc__supervise_stack(void);
/* The dispositions and the mask again, after foreign code ran here. */
void mproc__supervise_signals(void);
/* In a child: the two handlers go, the mask is empty. */
void mproc__supervised_signals(void);
/* In a child: the segment can only be looked at, for the one after. Negative, with a story. */
int mproc__supervised_begin(void);
/* In a child: whether the supervisor's owner has died. */
bool mproc__supervised_orphan(void);
/* Sleeps until something may have happened. 0; -ETIMEDOUT; -EOWNERDEAD: the owner is gone: kill the children
 * and exit. */
int mproc__supervise_wait(uint32_t ticket, mproc_deadline deadline);
uint32_t mproc__supervise_prepare(void);
/* One ended child, reaped: pid (> 0) with its status and rusage; 0: none now. Unknown pids are orphans that
 * came to the subreaper. */
struct rusage;
pid_t mproc__supervise_reap(int *ret_exit_code, struct rusage *ret_usage); /* exit code: -N for signal N */
/* Kills every child of this process, also orphans that come while it does, and reaps them. */
void mproc__supervise_kill_all(void);
/* For a process that only kills yet: the standard descriptors go, and as many are allowed as may be. A set limit keeps nobody
 * from looking for those whom it has to kill. In a signal handler, too. */
void mproc__supervise_free_fds(void);

#endif
