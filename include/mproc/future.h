/* SPDX-License-Identifier: BSD-2-Clause */
/* What will come of a task or a map, or of work of your own.
 *
 * A future belongs to the process whose pool gave it or that created it (a fork child: -ECHILD), may be used by any of its
 * threads, keeps what it needs of the pool after that is closed, and is closed once.
 *
 *     state       ended  result                                       cancel(false)   cancel(true)
 *     PENDING     no     -ETIMEDOUT                                   0: CANCELLED    0: CANCELLED
 *     RUNNING     no     -ETIMEDOUT                                   -EBUSY          0: is stopped, then CANCELLED
 *     DONE        yes    0                                            MPROC_ESTATE    MPROC_ESTATE
 *     FAILED      yes    the task's own code; MPROC_EDIED: its worker MPROC_ESTATE    MPROC_ESTATE
 *                        died; -ETIME: stopped after its time limit
 *     CANCELLED   yes    -ECANCELED                                   0               0
 *
 * A future with callbacks is RUNNING until the last of them has returned, and then ends for all: who waits finds done what
 * they do. (Cancelling it in that time answers as its outcome says.) Callbacks run one after the other on one thread, the
 * service thread, with all signals blocked; it starts with the first need and ends with the last pool that needed it. A
 * callback may call anything: submit, close, stop, set other futures' results; for it, futures end before their callbacks
 * run. One that takes long keeps other callbacks waiting, and who waits for a future that has some; nobody else. It must not
 * wait for a thread that waits for such a future. Stopping and closing a pool wait, to their deadline, for the callbacks of its
 * futures. A pool's futures that are waited for through a descriptor (mproc_wait, mproc_waitset, mproc_wait_fd) need the service
 * thread, too; those that wait and result wait for do not. A fork waits until the thread sleeps or is in a callback; it counts as a thread of the program (MPROC_ETHREADS) only there.
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
/* 0; negative: it failed, which the log is told, and nobody else. */
typedef int mproc_future_fn(mproc_future *future, void *context);

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
/* All at once, as one moment saw it. */
typedef struct mproc_future_view {
    mproc_future_state state;
    int                code;        /* as mproc_future_result at this moment: -ETIMEDOUT: not ended */
    mproc_variant      value;       /* of DONE; else null. The future's until it is closed */
    const mproc_error *error;       /* of FAILED and CANCELLED; else NULL. As mproc_error_of gives it */
    uint64_t           progress_done, progress_total;
} mproc_future_view;
MPROC_API int  mproc_future_snapshot(const mproc_future *future, mproc_future_view *ret_view);
/* Of a task: what it last told by mproc_call_progress (0, 0: nothing). Of a map: items done, items. NULL: not wanted. */
MPROC_API int  mproc_future_progress(const mproc_future *future, uint64_t *ret_done, uint64_t *ret_total);
/* Of an ended task, an owned list: a dict for each attempt whose worker died, oldest first, the last 8 of them. Ints: attempt,
 * worker; and when the kernel has told, pid, exit_code (-N: signal N). MPROC_ESTATE: it has not ended. */
MPROC_API int  mproc_future_deaths(const mproc_future *future, mproc_variant *ret_list);
/* What an ended task without a result kept last (mproc_call_checkpoint); null: nothing. The future's. MPROC_ESTATE. */
MPROC_API int  mproc_future_checkpoint(const mproc_future *future, mproc_variant *ret_borrowed);
/* 0: it will not become DONE. What runs in a process is stopped as grace_ms says and is CANCELLED when it has ended; in a
 * thread when it looks at mproc_call_stopping. */
MPROC_API int  mproc_future_cancel(mproc_future *future, bool even_if_running);
/* fn(future, context) shall be called once when the future ends, however; after those that were given before. It has ended
 * already: fn is called now, by this thread. The future may be closed before: fn is called all the same, and borrows it.
 * -EINVAL: no function. -ENOMEM, -EAGAIN: no memory, no thread. MPROC_ECLOSED: the program is at its end, as mproc_at_exit
 * says it, when callbacks that have not begun are not called any more. */
MPROC_API int  mproc_future_on_done(mproc_future *future, mproc_future_fn *fn, void *context);
/* A task goes on without it. A map that has not ended is cancelled, and waited for: its arrays are the caller's. A created one
 * that has callbacks and has not ended is cancelled. */
MPROC_API void mproc_future_close(mproc_future **future);

/* ---- the other side, for executors of your own ---- */

/* A PENDING one. What follows is for such futures only: -EINVAL for a pool's. One handle may serve both sides: whoever waits
 * may close it as soon as it has ended, also while the other thread's call that ended it is still on its way back. -ENOMEM. */
MPROC_API MPROC_CHECK int mproc_future_create(mproc_future **ret_future);
/* PENDING becomes RUNNING, which only cancel(true) cancels, at once: whoever works for it is told by the calls that follow.
 * -ECANCELED: it was cancelled, leave the work. MPROC_ESTATE: it is not PENDING. */
MPROC_API int  mproc_future_set_running(mproc_future *future);
/* MPROC_ESTATE: it has ended. */
MPROC_API int  mproc_future_set_progress(mproc_future *future, uint64_t done, uint64_t total);
/* Ends it as DONE with a copy of the value; as FAILED with a negative code and a sentence, which may be NULL or empty.
 * MPROC_ESTATE: it has ended, and stays as it is. -EINVAL: a code that is not negative. MPROC_EARGUMENT, -ENOMEM: the value
 * cannot be copied. */
MPROC_API int  mproc_future_set_result(mproc_future *future, mproc_variant result);
MPROC_API int  mproc_future_set_failed(mproc_future *future, int code, const char *text);

MPROC_END_DECLS

#endif
