/* SPDX-License-Identifier: BSD-2-Clause */
/* Callbacks of futures: in order of adding, once each, before those who wait are let go.
 *
 * Rejected: to call them in the thread that happens to see the end. That is some thread which waits or submits, maybe with a
 * lock of its program's held that the callback takes as well. */
#include "platform/base.h"

#include <stdlib.h>
#include <sys/eventfd.h>

#include "pool/future.h"
#include "pool/service.h"

/* ---- calling ---- */

static void callback_call(mproc_future *future, mproc__callback *callback)
{
    int rc = callback->fn(future, callback->context);
    if (rc < 0)
        mproc__log(MPROC_LOG_ERROR, "a callback of %s %llu failed: %s", future->kind->noun,
                   (unsigned long long)future->number, mproc_strerror(rc));
    free(callback);
}

/* The next one; none is left: the future ends for all. Lock held. */
static mproc__callback *callback_next(mproc_future *future)
{
    mproc__callback *callback = future->callbacks;
    if (callback) {
        future->callbacks = callback->next;
        return callback;
    }
    future->served = false;
    if (atomic_load(&future->held)) {
        atomic_store_explicit(&future->held, false, memory_order_release);
        if (future->fd >= 0)
            (void)eventfd_write(future->fd, 1);
    }
    return NULL;
}

bool mproc__callbacks_run(mproc_future *future)
{
    for (;;) {
        pthread_mutex_lock(future->home->lock);
        mproc__callback *callback = callback_next(future);
        pthread_mutex_unlock(future->home->lock);
        if (!callback)
            break;
        callback_call(future, callback);
        if (future->incarnation != mproc__incarnation())
            return false;
    }
    mproc__future_post(future);
    return true;
}

void mproc__callbacks_free(mproc_future *future)
{
    while (future->callbacks) {
        mproc__callback *callback = future->callbacks;
        future->callbacks = callback->next;
        free(callback);
    }
}

/* ---- adding ---- */

/* Lock held. False: it has ended, the callback is for now. *ret_fresh: the first. */
static bool callback_add(mproc_future *future, mproc__callback *callback, bool *ret_fresh)
{
    *ret_fresh = false;
    if (atomic_load(&future->settled) && !atomic_load(&future->held))
        return false;
    if (future->callbacks)
        *future->callbacks_end = callback;
    else
        future->callbacks = callback;
    future->callbacks_end = &callback->next;
    atomic_store(&future->held, true);
    *ret_fresh = !future->served;
    future->served = future->cared = true;
    return true;
}

/* Of a made future the need stays until it is settled: who settles it tells the service. */
int mproc_future_on_done(mproc_future *future, mproc_future_fn *fn, void *context)
{
    bool fresh;
    int rc = mproc__future_check(future);
    if (rc == 0 && !fn)
        rc = mproc__handle_fail(&future->handle, -EINVAL, "mproc_future_on_done: no function");
    if (rc < 0)
        return rc;
    mproc__callback *callback = malloc(sizeof *callback);
    if (!callback)
        return mproc__handle_fail(&future->handle, -ENOMEM, "no memory for a callback");
    *callback = (mproc__callback){.fn = fn, .context = context};
    bool ended = mproc__future_look(future) && !atomic_load(&future->held);
    rc = ended ? 0 : mproc__service_hold();
    if (rc < 0) {
        free(callback);
        return mproc__handle_story(&future->handle, rc);
    }
    pthread_mutex_lock(future->home->lock);
    bool added = callback_add(future, callback, &fresh);
    pthread_mutex_unlock(future->home->lock);
    if (added && fresh && future->core)
        mproc__service_watch(future);
    else if (!ended && !(added && fresh))
        mproc__service_drop();
    if (!added)
        callback_call(future, callback);
    return 0;
}
