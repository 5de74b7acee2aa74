/* SPDX-License-Identifier: BSD-2-Clause */
/* One absolute, monotonic point in time. A struct, so that a bare 250 does not compile.
 *
 * Trying, waiting for a while and waiting for ever are one call:
 *     mproc_lock_acquire(lock, MPROC_NOW);                    // -ETIMEDOUT when it is not free
 *     mproc_lock_acquire(lock, mproc_after_ms(250));
 *     mproc_lock_acquire(lock, MPROC_FOREVER);
 * Absolute, so that a loop over several calls keeps one limit: take the deadline once, before the loop. The clock is
 * CLOCK_MONOTONIC: setting the date changes nothing; time that the machine sleeps does not count. Deadlines mean the same in
 * all processes of one time namespace. Every call may return a little later than its deadline, none earlier.
 *
 * All three calls: never block, any thread, in a signal handler, after fork. */
#ifndef MPROC_DEADLINE_H
#define MPROC_DEADLINE_H

#include <mproc/base.h>

MPROC_BEGIN

typedef struct mproc_deadline { int64_t ns; } mproc_deadline;   /* passed in one register; FFI may say int64 */
#ifdef __cplusplus
#define MPROC_NOW     (mproc_deadline{ 0 })
#define MPROC_FOREVER (mproc_deadline{ INT64_MAX })
#else
#define MPROC_NOW     ((mproc_deadline){ 0 })
#define MPROC_FOREVER ((mproc_deadline){ INT64_MAX })
#endif
/* So long from now. 0 and less is MPROC_NOW; what lies beyond the clock's range is MPROC_FOREVER. */
MPROC_API mproc_deadline mproc_after_ms(int64_t ms);
MPROC_API mproc_deadline mproc_after_ns(int64_t ns);
/* Rounded up, so that a loop on it does not spin in the last millisecond; 0 when past; INT64_MAX for MPROC_FOREVER. */
MPROC_API int64_t        mproc_left_ms(mproc_deadline deadline);

MPROC_END_DECLS

#endif
