/* SPDX-License-Identifier: BSD-2-Clause */
/* A descriptor to poll, for programs with an event loop of their own.
 *
 *     struct pollfd one = {.fd = mproc_wait_fd(stop), .events = POLLIN};
 *     poll(&one, 1, -1);
 *     if (mproc_event_wait(stop, MPROC_NOW) == 0) ...
 *
 *              blocks  threads  processes  in a signal handler  in a fork child
 *   wait_fd    no      any      any        no                   works; thread home: -ECHILD
 *
 *   handle   has one                                   readable
 *   event    made with .pollable, on thread: or host:  while it is set
 *   others   no: MPROC_EPLACE
 *
 * A poll learns of what others do because they write the descriptor after they did it. One that is killed between the two
 * leaves it unwritten until the event is set again, the descriptor is asked for again, or the death wakes somebody in
 * mproc_event_wait; that call has no such gap. */
#ifndef MPROC_WAIT_H
#define MPROC_WAIT_H

#include <mproc/base.h>

MPROC_BEGIN

/* A descriptor that is readable when the handle may have something. The handle owns it: never read, write or close it. Level
 * triggered; may be readable too early: try with MPROC_NOW; the try that finds nothing makes it unreadable. It empties the
 * descriptor and writes it again if there is something after all; one that is stopped in between holds up polls until it goes on.
 * Negative: MPROC_EPLACE: such a handle has none. -EINVAL: no handle, or made without .pollable. -ECHILD: see above. */
MPROC_API int  mproc_wait_fd(void *handle);

MPROC_END_DECLS

#endif
