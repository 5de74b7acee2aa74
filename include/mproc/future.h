/* SPDX-License-Identifier: BSD-2-Clause */
/* What will come of a task or a map.
 *
 * A future belongs to the process whose pool gave it (a fork child: -ECHILD), may be used by any of its threads, keeps what it
 * needs of the pool after that is closed, and is closed once.
 *
 *     state       ended  result                                       cancel(false)   cancel(true)
 *     PENDING     no     -ETIMEDOUT                                   0: CANCELLED    0: CANCELLED
 *     RUNNING     no     -ETIMEDOUT                                   -EBUSY          0: is stopped, then CANCELLED
 *     DONE        yes    0                                            MPROC_ESTATE    MPROC_ESTATE
 *     FAILED      yes    the task's own code; MPROC_EDIED: its worker MPROC_ESTATE    MPROC_ESTATE
 *                        died; -ETIME: stopped after its time limit
 *     CANCELLED   yes    -ECANCELED                                   0               0
 *
 *               blocks           threads  processes     in a signal handler  after fork
 * wait, result  to its deadline  yes      creator only  no                   -ECHILD
 * the others    no               yes      creator only  no                   -ECHILD
 * close         maps: see below  last use any           no                   frees the copy */
#ifndef MPROC_FUTURE_H
#define MPROC_FUTURE_H

#include <mproc/deadline.h>
#include <mproc/variant.h>

MPROC_BEGIN

typedef enum mproc_future_state { MPROC_FUTURE_PENDING, MPROC_FUTURE_RUNNING, MPROC_FUTURE_DONE, MPROC_FUTURE_FAILED, MPROC_FUTURE_CANCELLED } mproc_future_state;

/* 0 once it ended, however; -ETIMEDOUT. -EDEADLK: without a deadline, in a task of a pool of threads whose other workers all
 * wait for tasks of that pool, too. */
MPROC_API int  mproc_future_wait(mproc_future *future, mproc_deadline deadline);
/* By the table. The value (null where the task returned none; NULL: not wanted) is the future's until it is closed; may be asked
 * for again. The story of a failure is mproc_error_of(future): task, attempt, item, and after a death pid, signal or exit code and
 * resource usage. A death is known at once, its reason when the kernel has freed the memory: result waits 25 ms
 * for it, calls later than that complete the story. */
MPROC_API int  mproc_future_result(mproc_future *future, mproc_deadline deadline, mproc_variant *ret_borrowed);
/* FAILED also for what is no future. */
MPROC_API mproc_future_state mproc_future_get_state(const mproc_future *future);
/* Of a task: what it last told by mproc_call_progress (0, 0: nothing). Of a map: items done, items. */
MPROC_API int  mproc_future_progress(const mproc_future *future, uint64_t *ret_done, uint64_t *ret_total);
/* Of an ended task, an owned list: a dict for each attempt whose worker died, oldest first, the last 8 of them. Ints: attempt,
 * worker; and when the kernel has told, pid, exit_code (-N: signal N). MPROC_ESTATE: it has not ended. */
MPROC_API int  mproc_future_deaths(const mproc_future *future, mproc_variant *ret_list);
/* What an ended task without a result kept last (mproc_call_checkpoint); null: nothing. The future's. MPROC_ESTATE. */
MPROC_API int  mproc_future_checkpoint(const mproc_future *future, mproc_variant *ret_borrowed);
/* 0: it will not become DONE. What runs in a process is stopped as grace_ms says and is CANCELLED when it has ended; in a
 * thread when it looks at mproc_call_stopping. */
MPROC_API int  mproc_future_cancel(mproc_future *future, bool even_if_running);
/* A task goes on without it. A map that has not ended is cancelled, and waited for: its arrays are the caller's. */
MPROC_API void mproc_future_close(mproc_future **future);

MPROC_END_DECLS

#endif
