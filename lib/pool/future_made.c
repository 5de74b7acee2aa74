/* SPDX-License-Identifier: BSD-2-Clause */
/* Futures that the user's program ends: for executors of its own. Nothing of them is shared with another process. */
#include "platform/base.h"

#include <stdlib.h>

#include "pool/future.h"
#include "pool/service.h"

static _Atomic uint64_t made_number;

/* ---- the kind ---- */

static bool made_goes_on(const mproc_future *future)
{
    return !atomic_load_explicit(&future->settled, memory_order_acquire);
}

static void made_look(mproc_future *future)
{
    (void)future; /* settled by calls only */
}

static mproc_future_state made_state(const mproc_future *future)
{
    mproc_future *seen = (mproc_future *)future;
    pthread_mutex_lock(seen->home->lock);
    mproc_future_state state = seen->state;
    pthread_mutex_unlock(seen->home->lock);
    return state > MPROC_FUTURE_RUNNING ? MPROC_FUTURE_RUNNING : state;
}

static void made_progress(const mproc_future *future, uint64_t *ret_done, uint64_t *ret_total)
{
    *ret_done = future->progress_done;
    *ret_total = future->progress_total;
}

/* Lock held. */
static void made_settle(mproc_future *future, mproc_future_state state, int code)
{
    mproc__future_settle(future, state, code);
    if (future->served)
        mproc__service_watch(future);
    mproc__future_post(future);
}

static int made_cancel(mproc_future *future, bool even_if_running)
{
    if (future->state == MPROC_FUTURE_RUNNING && !even_if_running)
        return -EBUSY;
    (void)mproc__fail(-ECANCELED, "future %llu was cancelled", (unsigned long long)future->number);
    made_settle(future, MPROC_FUTURE_CANCELLED, -ECANCELED);
    return 0;
}

/* Nobody can end it any more. */
static void made_abandon(mproc_future *future, bool callbacks)
{
    if (callbacks)
        (void)mproc_future_cancel(future, true);
}

static const mproc__future_kind made_kind = {.noun = "future",
                                             .goes_on = made_goes_on,
                                             .look = made_look,
                                             .state = made_state,
                                             .progress = made_progress,
                                             .cancel = made_cancel,
                                             .abandon = made_abandon};

/* ---- calls ---- */

int mproc_future_create(mproc_future **ret_future)
{
    if (!ret_future)
        return mproc__fail(-EINVAL, "mproc_future_create: nowhere to put the future");
    mproc__future_own *own = calloc(1, sizeof *own);
    if (!own)
        return mproc__fail(-ENOMEM, "no memory for a future");
    pthread_mutex_init(&own->lock, NULL);
    own->home = (mproc__future_home){.lock = &own->lock, .done = &own->done};
    int rc = mproc__future_make(&made_kind, &own->home, ret_future);
    if (rc < 0) {
        pthread_mutex_destroy(&own->lock);
        free(own);
        return rc;
    }
    (*ret_future)->own = own;
    (*ret_future)->number = atomic_fetch_add(&made_number, 1) + 1;
    return 0;
}

/* One handle serves who ends the future and who waits for it, and that one may close it as soon as it has ended: until the
 * call is through, it has a reference of its own. */
static int made_enter(mproc_future *future, const char *call)
{
    int rc = mproc__future_check(future);
    if (rc == 0 && future->kind != &made_kind)
        rc =
            mproc__fail(-EINVAL, "%s: a future of mproc_future_create, not a %s's", call, future->kind->noun);
    if (rc < 0)
        return rc;
    mproc__handle_keep(&future->handle);
    pthread_mutex_lock(future->home->lock);
    return 0;
}

static int made_leave(mproc_future *future, int rc)
{
    pthread_mutex_unlock(future->home->lock);
    mproc__handle_release(&future->handle);
    return rc;
}

/* Lock held. */
static int made_refuse(const mproc_future *future)
{
    static const char *const states[] = {"is pending", "runs", "is done", "has failed", "was cancelled"};
    return mproc__fail(MPROC_ESTATE, "future %llu %s", (unsigned long long)future->number,
                       states[future->state]);
}

int mproc_future_set_running(mproc_future *future)
{
    int rc = made_enter(future, "mproc_future_set_running");
    if (rc < 0)
        return rc;
    if (future->state == MPROC_FUTURE_PENDING)
        future->state = MPROC_FUTURE_RUNNING;
    else if (future->state == MPROC_FUTURE_CANCELLED)
        rc = mproc__fail(-ECANCELED, "future %llu was cancelled", (unsigned long long)future->number);
    else
        rc = made_refuse(future);
    return made_leave(future, rc);
}

int mproc_future_set_progress(mproc_future *future, uint64_t done, uint64_t total)
{
    int rc = made_enter(future, "mproc_future_set_progress");
    if (rc < 0)
        return rc;
    if (atomic_load(&future->settled))
        return made_leave(future, made_refuse(future));
    future->progress_done = done;
    future->progress_total = total;
    return made_leave(future, 0);
}

int mproc_future_set_result(mproc_future *future, mproc_variant result)
{
    mproc_variant copy;
    int rc = mproc_variant_copy(result, &copy);
    if (rc == 0 && (rc = made_enter(future, "mproc_future_set_result")) < 0)
        mproc_variant_clear(&copy);
    if (rc < 0)
        return rc;
    if (atomic_load(&future->settled)) {
        rc = made_refuse(future);
    } else {
        future->result = copy;
        made_settle(future, MPROC_FUTURE_DONE, 0);
    }
    made_leave(future, rc);
    if (rc < 0)
        mproc_variant_clear(&copy);
    return rc;
}

int mproc_future_set_failed(mproc_future *future, int code, const char *text)
{
    if (code >= 0)
        return mproc__fail(-EINVAL, "mproc_future_set_failed: %d is no failure", code);
    int rc = made_enter(future, "mproc_future_set_failed");
    if (rc < 0)
        return rc;
    if (atomic_load(&future->settled))
        return made_leave(future, made_refuse(future));
    (void)mproc__fail(code, "%s", text ? text : "");
    made_settle(future, MPROC_FUTURE_FAILED, code);
    return made_leave(future, 0);
}
