/* SPDX-License-Identifier: BSD-2-Clause */
/* What will come of a task, a map, or a pipelined remote call. Reference counted; any thread of its process. */
#ifndef MPROC_FUTURE_H
#define MPROC_FUTURE_H

#include <mproc/deadline.h>
#include <mproc/variant.h>

MPROC_BEGIN

typedef enum mproc_future_state { MPROC_FUTURE_PENDING, MPROC_FUTURE_RUNNING, MPROC_FUTURE_DONE, MPROC_FUTURE_FAILED, MPROC_FUTURE_CANCELLED } mproc_future_state;
MPROC_API int  mproc_future_wait(mproc_future *future, mproc_deadline deadline);   /* 0 once it ended, however */
/* 0, the task's own code, -ECANCELED, MPROC_EDIED, or -ETIMEDOUT (state still pending or running). */
MPROC_API int  mproc_future_result(mproc_future *future, mproc_deadline deadline, mproc_variant *ret_borrowed);
MPROC_API mproc_future_state mproc_future_get_state(const mproc_future *future);
/* The story of a failure: mproc_error_of(future). */
MPROC_API int  mproc_future_progress(const mproc_future *future, uint64_t *ret_done, uint64_t *ret_total);
MPROC_API int  mproc_future_cancel(mproc_future *future, bool even_if_running);    /* -EBUSY: runs and was not to be stopped */
MPROC_API void mproc_future_close(mproc_future **future);                          /* the task goes on */

MPROC_END_DECLS

#endif
