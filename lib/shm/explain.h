/* SPDX-License-Identifier: BSD-2-Clause */
/* Explain: what the segments on this host hold, who holds it, who waits, told from outside. L2.
 *
 * Nothing is locked, joined or written: it works when every participant is stopped, and on a segment that changes or is
 * damaged while it is read. A noun's explain function (shm/noun.h) says its part by the calls below. */
#ifndef MPROC__SHM_EXPLAIN_H
#define MPROC__SHM_EXPLAIN_H

#include <sys/types.h>

#include "platform/base.h"

typedef struct mproc__report mproc__report;

/* One line about the object: "recursive, poisoned by process 123". */
void mproc__report_state(mproc__report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Somebody holds it. 0: unknown; with the thread known, waits for this object count as waits for that thread. `as`:
 * "owner", "reader", "3 permits". */
void mproc__report_holder(mproc__report *report, pid_t pid, pid_t tid, const char *as);

#endif
