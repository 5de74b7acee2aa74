/* SPDX-License-Identifier: BSD-2-Clause */
/* Futures, what all kinds share: settled by whoever looks at them next after the end. Nothing runs on their behalf, unless
 * they have callbacks or a descriptor. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pool/future.h"
#include "pool/reports.h"
#include "pool/service.h"

enum { WHY_MS = 25 }; /* how long mproc_future_result waits for the reason of a death it already knows of */

/* ---- life ---- */

static void future_free(mproc_future *future)
{
    mproc__pool_core *core = future->core;
    mproc_variant_clear(&future->result);
    if (future->reports)
        mproc__reports_free(future->reports);
    if (future->cared)
        mproc__callbacks_free(future);
    if (future->fd >= 0)
        close(future->fd);
    if (future->label)
        free(future->label);
    if (future->kind == &mproc__future_map)
        free(future->map);
    mproc__handle_fini(&future->handle);
    if (!core) {
        pthread_mutex_destroy(&future->own->lock);
        free(future->own);
        free(future);
        return;
    }
    bool child = future->incarnation != mproc__incarnation();
    if (child ? mproc__future_store_forget(&core->store) : mproc__future_store_give(&core->store, future))
        mproc__core_release(core);
}

/* Callbacks are called although nobody has the future any more: the service takes it over, and comes back here. A fork
 * child's copy has no service. */
static void future_destroy(mproc__handle *handle)
{
    mproc_future *future = MPROC__CONTAINER(handle, mproc_future, handle);
    if (future->incarnation == mproc__incarnation()) {
        if (!atomic_load(&future->settled))
            future->kind->abandon(future, atomic_load(&future->held));
        if (future->cared && mproc__service_adopts(future))
            return;
    }
    future_free(future);
}

static const char *state_name(mproc_future_state state)
{
    static const char *const names[] = {"pending", "running", "done", "failed", "cancelled"};
    return names[state];
}

static int future_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc_future *future = MPROC__CONTAINER(handle, const mproc_future, handle);
    mproc_future_state state = mproc_future_get_state(future);
    if (state == MPROC_FUTURE_FAILED)
        return snprintf(buffer, size_bytes, "future %llu failed (%s)", (unsigned long long)future->number,
                        mproc_errname(future->code));
    return snprintf(buffer, size_bytes, "future %llu %s", (unsigned long long)future->number,
                    state_name(state));
}

/* Of one that has not ended: the service thread, or who settles it, makes it readable. Lock held. */
static int future_fd_make(mproc_future *future)
{
    bool over = atomic_load(&future->settled) && !atomic_load(&future->held);
    int fd = eventfd(over, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return mproc__fail(-errno, "no descriptor for a future: eventfd: %s", strerror(errno));
    future->fd = fd;
    return 0;
}

/* A made future is settled by a call, which needs no service to see it. */
static int future_wait_fd(mproc__handle *handle)
{
    mproc_future *future = MPROC__CONTAINER(handle, mproc_future, handle);
    int rc = mproc__future_check(future);
    bool watch = rc == 0 && future->core && !mproc__future_look(future);
    if (watch)
        rc = mproc__service_hold();
    if (rc < 0)
        return mproc__handle_story(handle, rc);
    pthread_mutex_lock(future->home->lock);
    bool fresh = watch && !future->served && !atomic_load(&future->settled);
    if (future->fd < 0)
        rc = future_fd_make(future);
    if (rc == 0 && fresh)
        future->served = future->cared = true;
    pthread_mutex_unlock(future->home->lock);
    if (rc == 0 && fresh)
        mproc__service_watch(future);
    else if (watch)
        mproc__service_drop();
    return rc < 0 ? mproc__handle_story(handle, rc) : future->fd;
}

static bool future_failed(mproc__handle *handle)
{
    return mproc_future_get_state(MPROC__CONTAINER(handle, mproc_future, handle)) == MPROC_FUTURE_FAILED;
}

static const mproc__handle_ops future_ops = {.type = MPROC_TYPE_FUTURE,
                                             .noun = "future",
                                             .destroy = future_destroy,
                                             .describe = future_describe,
                                             .wait_fd = future_wait_fd,
                                             .failed = future_failed,
                                             .once = true};

/* In zeroed memory; NULL: there was none. */
static int future_init(mproc_future *future, const mproc__future_kind *kind, const mproc__future_home *home,
                       mproc_future **ret_future)
{
    if (!future)
        return mproc__fail(-ENOMEM, "no memory for a future");
    mproc__handle_init(&future->handle, &future_ops);
    future->kind = kind;
    future->home = home;
    future->incarnation = mproc__incarnation();
    future->fd = -1;
    future->attempt = 1;
    *ret_future = future;
    return 0;
}

int mproc__future_make(const mproc__future_kind *kind, const mproc__future_home *home,
                       mproc_future **ret_future)
{
    return future_init(calloc(1, sizeof(mproc_future)), kind, home, ret_future);
}

int mproc__future_new(mproc__pool_core *core, const char *label, mproc_future **ret_future)
{
    char *copy = label ? strdup(label) : NULL;
    if (label && !copy)
        return mproc__fail(-ENOMEM, "no memory for a future");
    bool first;
    mproc_future *future = mproc__future_store_take(&core->store, &first);
    int rc = future_init(future, &mproc__future_task, &core->home, ret_future);
    if (rc < 0) {
        free(copy);
        return rc;
    }
    future->core = core;
    future->label = copy;
    if (first)
        mproc__core_keep(core); /* for all futures that there will be until the last of them is closed */
    return 0;
}

void mproc_future_close(mproc_future **future)
{
    mproc__handle_close((void **)future, MPROC_TYPE_FUTURE);
}

int mproc__future_check(const mproc_future *future)
{
    int rc = mproc__handle_check(future, MPROC_TYPE_FUTURE);
    if (rc < 0 || MPROC__LIKELY(future->incarnation == mproc__incarnation()))
        return rc;
    return mproc__fail(-ECHILD, "the future belongs to the process that made it; a fork child makes its own");
}

/* ---- the end ---- */

void mproc__future_post(const mproc_future *future)
{
    mproc__eventcount_post(future->home->done,
                           future->home->segment && mproc__segment_shared(future->home->segment));
}

void mproc__future_settle(mproc_future *future, mproc_future_state state, int code)
{
    future->state = state;
    future->code = code;
    if (code != 0)
        (void)mproc__handle_story(&future->handle, code);
    atomic_store_explicit(&future->settled, true, memory_order_release);
    if (future->fd >= 0 && !future->held)
        (void)eventfd_write(future->fd, 1);
}

bool mproc__future_look(mproc_future *future)
{
    if (atomic_load_explicit(&future->settled, memory_order_acquire))
        return true;
    pthread_mutex_lock(future->home->lock);
    if (!atomic_load(&future->settled))
        future->kind->look(future);
    bool settled = atomic_load(&future->settled);
    pthread_mutex_unlock(future->home->lock);
    return settled;
}

bool mproc__future_ended(mproc_future *future)
{
    return mproc__future_look(future) &&
           (MPROC__LIKELY(!atomic_load_explicit(&future->held, memory_order_acquire)) ||
            mproc__service_passes());
}

/* ---- waiting ---- */

/* Not for a map, which may have a use for every CPU, nor for what a person may be asked for. */
static bool future_spin(mproc_future *future)
{
    if (future->kind != &mproc__future_task)
        return false;
    for (unsigned spins = mproc__spin_budget(); spins > 0 && future->kind->goes_on(future); spins--)
        mproc__spin_once(spins);
    return mproc__future_ended(future);
}

static int future_doze(const mproc_future *future, uint32_t ticket, mproc_deadline deadline)
{
    return future->core ? mproc__core_wait(future->core, ticket, deadline)
                        : mproc__futex_wait(&future->home->done->word, ticket, false, deadline);
}

static int future_sleep(mproc_future *future, bool (*over)(mproc_future *), mproc_deadline deadline)
{
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(future->home->done);
        if (future->core)
            mproc__slots_make_room(future->core);
        if (over(future))
            return 0;
        if (mproc__deadline_past(deadline))
            return mproc__fail_plain(-ETIMEDOUT);
        bool late_first = future->begin_by_ns > mproc__now_ns() && future->begin_by_ns < deadline.ns;
        mproc_deadline until = late_first ? (mproc_deadline){future->begin_by_ns} : deadline;
        if (future_doze(future, ticket, until) == -EDEADLK)
            return -EDEADLK;
    }
}

static int future_sleep_told(mproc_future *future, bool (*over)(mproc_future *), mproc_deadline deadline)
{
    mproc__segment *segment = future->home->segment;
    int slot = segment ? mproc__waiting_begin(segment, MPROC__WAIT_RESULT) : -1;
    int rc = future_sleep(future, over, deadline);
    if (segment)
        mproc__waiting_end(segment, slot);
    return rc;
}

int mproc__future_await(mproc_future *future, mproc_deadline deadline)
{
    if (mproc__future_ended(future))
        return 0;
    if (mproc__deadline_past(deadline))
        return mproc__fail_plain(-ETIMEDOUT);
    return future_spin(future) ? 0 : future_sleep_told(future, mproc__future_ended, deadline);
}

bool mproc__future_await_outcome(mproc_future *future, mproc_deadline deadline)
{
    return mproc__future_look(future) || future_sleep_told(future, mproc__future_look, deadline) == 0;
}

int mproc_future_wait(mproc_future *future, mproc_deadline deadline)
{
    int rc = mproc__future_check(future);
    return rc < 0 ? rc : mproc__future_await(future, deadline);
}

/* ---- result ---- */

static void why_wait(mproc_future *future, mproc_deadline deadline)
{
    mproc_deadline limit = mproc_after_ms(WHY_MS);
    if (deadline.ns < limit.ns)
        limit = deadline;
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(future->home->done);
        if (mproc__future_why(future) || mproc__deadline_past(limit))
            return;
        (void)future_doze(future, ticket, limit);
    }
}

/* As this thread's story. */
static int failure_tell(mproc_future *future)
{
    const mproc_error *story = mproc_error_of(future);
    if (story)
        mproc__story_copy(story, mproc__story());
    return future->code;
}

int mproc_future_result(mproc_future *future, mproc_deadline deadline, mproc_variant *ret_borrowed)
{
    int rc = mproc__future_check(future);
    if (rc == 0)
        rc = mproc__future_await(future, deadline);
    if (rc < 0)
        return rc;
    if (future->code == 0) {
        if (ret_borrowed)
            *ret_borrowed = future->result;
        return 0;
    }
    if (future->core)
        why_wait(future, deadline);
    return failure_tell(future);
}

/* ---- cancelled ---- */

int mproc_future_cancel(mproc_future *future, bool even_if_running)
{
    int rc = mproc__future_check(future);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(future->home->lock);
    if (!atomic_load(&future->settled))
        future->kind->look(future);
    rc = atomic_load(&future->settled) ? -EALREADY : future->kind->cancel(future, even_if_running);
    pthread_mutex_unlock(future->home->lock);
    if (rc == -EBUSY)
        return mproc__fail(-EBUSY, "it runs; cancel with even_if_running to stop it");
    if (rc != -EALREADY || (mproc__future_look(future) && future->state == MPROC_FUTURE_CANCELLED))
        return rc == -EALREADY ? 0 : rc;
    return mproc__fail(MPROC_ESTATE, "it has ended");
}
