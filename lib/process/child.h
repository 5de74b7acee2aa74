/* SPDX-License-Identifier: BSD-2-Clause */
/* The child's side of a start: its first steps, the function, the end. L5. */
#ifndef MPROC__PROCESS_CHILD_H
#define MPROC__PROCESS_CHILD_H

#include "process/launch.h"
#include "process/self.h"

#define MPROC__CHILD_MARKER "MPROC_CHILD" /* environment of an exec'd child: the pid of its parent */
enum { MPROC__CHILD_SOCKET = 3 };         /* where its boot socket is */

/* In the child of a fork, all signals blocked: takes the steps, runs the function, exits. patience_ms: patience.h; 0: the
 * parent had no other threads. */
_Noreturn void mproc__child_forked(const mproc__launch_options *options, const mproc__self *self, int socket,
                                   unsigned patience_ms);
/* In a process that the nursery forked or the kernel exec'd: the same by what comes over the socket. SERVED and
 * SPARE are the nursery's: exit handlers that were there before do not run. */
typedef enum mproc__child_origin {
    MPROC__CHILD_EXECD,
    MPROC__CHILD_SERVED, /* asked for: says who it is */
    MPROC__CHILD_SPARE   /* its pid and pidfd are known to who will send it a load, if anybody does */
} mproc__child_origin;
_Noreturn void mproc__child_received(int socket, pid_t parent, mproc__child_origin origin);

/* ---- child_streams.c: of all streams that this process has ---- */
bool mproc__child_streams_unwritten(void); /* any has something to flush */
/* What other threads of the parent had written and not flushed at the fork comes out of the parent. */
void mproc__child_streams_forget(void);
/* What standard input has read ahead is the parent's. */
void mproc__child_stdin_forget(void);

/* ---- child_call.c ---- */
/* Runs a process's function, also in a thread: its exit code. A negative one is printed to stderr, as the
 * reference prints a traceback, and becomes 1. */
int mproc__child_call(const char *process_name, const char *fn_name, const _Atomic uint32_t *stop_word,
                      mproc_fn *fn, mproc_variant args);

/* ---- main.c ---- */
/* The arguments of this program as main got them. */
char **mproc__process_argv(void);

#endif
