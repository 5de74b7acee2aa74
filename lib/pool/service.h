/* SPDX-License-Identifier: BSD-2-Clause */
/* The service thread: sees to the ends of futures that have callbacks or a descriptor. L6.
 *
 * One a process, and none in a program that asks for neither. It starts with the first need and ends with the last;
 * all signals are blocked in it. It sleeps on the event words of the pools whose futures it watches and on their life
 * words, so that an end by death is heard as fast as by anyone who waits. A fork waits until it sleeps or is in a
 * callback; the child has none until it needs its own. */
#ifndef MPROC__POOL_SERVICE_H
#define MPROC__POOL_SERVICE_H

#include "pool/future.h"

/* One need more: there is a thread until it is given up. MPROC_ECLOSED: the program is at its end; -errno: no thread. */
int mproc__service_hold(void);
void mproc__service_drop(void);
/* It sees to the future's end from now on; a need of the caller's goes with it. At once if that has come already. */
void mproc__service_watch(mproc_future *future);
/* The last handle has gone. True: it has the future, and frees it. */
bool mproc__service_adopts(mproc_future *future);
/* The pool has ended, and needs the thread no longer than its futures do. Waits until their callbacks have returned. */
void mproc__service_core_ended(mproc__pool_core *core, mproc_deadline deadline);
/* Whether callbacks hold nothing from this thread: it is the service thread, or the program is at its end, and none is
 * called any more. */
bool mproc__service_passes(void);

#endif
