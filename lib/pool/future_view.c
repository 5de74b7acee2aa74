/* SPDX-License-Identifier: BSD-2-Clause */
/* What can be seen of a future without waiting: state, progress, all at once. */
#include "platform/base.h"

#include "pool/future.h"

/* Settled, but not ended for this thread: its callbacks run. */
static mproc_future_state state_look(mproc_future *future)
{
    if (mproc__future_ended(future))
        return future->state;
    if (atomic_load_explicit(&future->settled, memory_order_acquire))
        return MPROC_FUTURE_RUNNING;
    mproc_future_state state = future->kind->state(future);
    if (state == MPROC_FUTURE_PENDING || future->kind->goes_on(future))
        return state;
    return mproc__future_ended(future) ? future->state : MPROC_FUTURE_RUNNING;
}

mproc_future_state mproc_future_get_state(const mproc_future *future)
{
    if (mproc__future_check(future) < 0)
        return MPROC_FUTURE_FAILED;
    if (future->core)
        mproc__core_guard(future->core);
    return state_look((mproc_future *)future);
}

int mproc_future_progress(const mproc_future *future, uint64_t *ret_done, uint64_t *ret_total)
{
    mproc_future *seen = (mproc_future *)future;
    int rc = mproc__future_check(future);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(seen->home->lock); /* a slot or a map may be another's right after the end */
    if (!atomic_load(&seen->settled))
        seen->kind->look(seen);
    uint64_t done = seen->progress_done, total = seen->progress_total;
    if (!atomic_load(&seen->settled))
        seen->kind->progress(seen, &done, &total);
    if (ret_done)
        *ret_done = done;
    if (ret_total)
        *ret_total = total;
    pthread_mutex_unlock(seen->home->lock);
    return 0;
}

int mproc_future_snapshot(const mproc_future *future, mproc_future_view *ret_view)
{
    mproc_future *seen = (mproc_future *)future;
    int rc = mproc__future_check(future);
    if (rc == 0 && !ret_view)
        rc = mproc__fail(-EINVAL, "mproc_future_snapshot: nowhere to put it");
    if (rc < 0)
        return rc;
    mproc_future_state state = state_look(seen);
    *ret_view = (mproc_future_view){.state = state, .code = -ETIMEDOUT};
    (void)mproc_future_progress(future, &ret_view->progress_done, &ret_view->progress_total);
    if (state <= MPROC_FUTURE_RUNNING)
        return 0;
    ret_view->code = seen->code;
    if (seen->code == 0)
        ret_view->value = seen->result;
    else
        ret_view->error = mproc_error_of(future);
    return 0;
}
