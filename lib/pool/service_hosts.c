/* SPDX-License-Identifier: BSD-2-Clause */
/* What the service thread watches: futures, by the pools they are of. All of it runs in that thread. */
#include "platform/base.h"

#include "platform/platform.h"
#include "pool/service_inside.h"
#include "process/launch.h"

enum {
    SLEEPS = 64, /* its own word and those of pools */
    LOOK_MS = 40
};

/* ---- one future ---- */

/* False: nobody else has the pool any more. */
static bool core_give(mproc__pool_core *core)
{
    uint32_t references = atomic_load(&core->references);
    while (references > 1)
        if (atomic_compare_exchange_weak(&core->references, &references, references - 1))
            return true;
    return false;
}

/* A future that it has no longer to watch loses the reference it had while its callbacks ran. Whoever stops the pool waits for
 * that, so that the pool's memory goes in that thread: in this one it would have to stay mapped, see life.c. */
static void future_leave(mproc_future *future)
{
    mproc__pool_core *core = future->core;
    if (core)
        mproc__core_keep(core);
    pthread_mutex_lock(&mproc__service_now.lock);
    bool closing = future->closing;
    future->watched = false;
    pthread_mutex_unlock(&mproc__service_now.lock);
    if (!closing) /* else it is released by who comes */
        mproc__handle_release(&future->handle);
    pthread_mutex_lock(&mproc__service_now.lock);
    mproc__service_now.needs--;
    if (core)
        core->service.count--;
    bool given = !core || core_give(core);
    pthread_mutex_unlock(&mproc__service_now.lock);
    if (!given)
        mproc__core_release(core);
    mproc__eventcount_post(&mproc__service_now.let_go, false);
}

/* Callbacks may keep the future, and the program may close it meanwhile: so there is a reference for as long. Where the last
 * one is gone, and who gave it up has not come to have it adopted, it stays until that one has come. */
static void future_hold(mproc_future *future)
{
    uint32_t references = atomic_load(&future->handle.references);
    pthread_mutex_lock(&mproc__service_now.lock);
    while (references > 0 &&
           !atomic_compare_exchange_weak(&future->handle.references, &references, references + 1))
        ;
    if (references == 0) {
        future->closing = !future->orphan;
        future->orphan = false;
        atomic_store(&future->handle.references, 1);
    }
    pthread_mutex_unlock(&mproc__service_now.lock);
}

/* False: this is a fork child. */
static bool future_finish(mproc_future *future)
{
    future_hold(future);
    mproc__launch_thread_own(0);
    if (!mproc__callbacks_run(future))
        return false;
    mproc__launch_thread_own(mproc__tid());
    future_leave(future);
    return true;
}

static bool future_look(mproc_future *future)
{
    if (!atomic_load_explicit(&future->settled, memory_order_acquire) && future->kind->goes_on(future))
        return false;
    pthread_mutex_lock(&mproc__service_now.quiet);
    bool settled = mproc__future_look(future);
    pthread_mutex_unlock(&mproc__service_now.quiet);
    return settled;
}

/* ---- a pool's ---- */

static void host_add(mproc__pool_core **hosts, mproc_future *future)
{
    mproc__service_host *host = &future->core->service;
    if (!host->first) {
        host->end = &host->first;
        host->next = *hosts;
        *hosts = future->core;
    }
    future->served_next = NULL;
    *host->end = future;
    host->end = &future->served_next;
}

static bool future_runs(const mproc_future *future)
{
    return future->kind->state(future) == MPROC_FUTURE_RUNNING;
}

/* The next one of a pool that has ended, from *at on, taken off. NULL: none. One that must have begun by some time is
 * looked at then. */
static mproc_future *host_next(mproc__service_host *host, mproc_future ***at)
{
    while (**at) {
        mproc_future *future = **at;
        if (!future_look(future)) {
            if (future->begin_by_ns && future->begin_by_ns < host->look_ns && !future_runs(future))
                host->look_ns = future->begin_by_ns;
            *at = &future->served_next;
            continue;
        }
        **at = future->served_next;
        if (!**at)
            host->end = *at;
        return future;
    }
    return NULL;
}

/* ---- all ---- */

int mproc__hosts_look(mproc__pool_core **hosts)
{
    int ended = 0;
    while (*hosts) {
        mproc__service_host *host = &(*hosts)->service;
        mproc_future *future, *last = NULL, **at = &host->first;
        host->look_ns = INT64_MAX;
        while ((future = host_next(host, &at))) {
            ended = 1;
            if (host->first) {
                if (!future_finish(future))
                    return -1;
            } else {
                last = future;
                break;
            }
        }
        if (host->first)
            hosts = &host->next;
        else /* the core may go with its last future */
            *hosts = host->next;
        if (last && !future_finish(last))
            return -1;
    }
    return ended;
}

int mproc__hosts_add(mproc__pool_core **hosts, mproc_future *came)
{
    int ended = 0;
    while (came) {
        mproc_future *future = came;
        came = future->served_next;
        if (future->core) {
            host_add(hosts, future);
            continue;
        }
        ended = 1;
        if (!future_finish(future))
            return -1;
    }
    return ended;
}

/* Those it has no room for are looked at several times a second. */
void mproc__hosts_sleep(mproc__pool_core *hosts, uint32_t ticket)
{
    mproc__segment_sleep sleeps[SLEEPS] = {{.event = &mproc__service_now.command, .ticket = ticket}};
    mproc_deadline deadline = MPROC_FOREVER;
    unsigned count = 1;
    for (mproc__pool_core *core = hosts; core; core = core->service.next) {
        if (count == SLEEPS)
            deadline = mproc_after_ms(LOOK_MS);
        if (core->service.look_ns < deadline.ns)
            deadline.ns = core->service.look_ns;
        deadline = mproc__core_watch(core, deadline);
        mproc__ready_hurry(&core->view);
        if (count < SLEEPS)
            sleeps[count++] = core->service.sleep;
    }
    (void)mproc__segments_wait(sleeps, count, deadline);
    count = 1;
    for (mproc__pool_core *core = hosts; core && count < SLEEPS; core = core->service.next)
        core->service.sleep = sleeps[count++];
}

void mproc__hosts_prepare(mproc__pool_core *hosts)
{
    for (mproc__pool_core *core = hosts; core; core = core->service.next) {
        mproc__segment_sleep *sleep = &core->service.sleep;
        sleep->segment = core->view.segment;
        sleep->event = &core->view.shared->done;
        sleep->ticket = mproc__eventcount_prepare(sleep->event);
        pthread_mutex_lock(&mproc__service_now.quiet);
        mproc__slots_make_room(core);
        pthread_mutex_unlock(&mproc__service_now.quiet);
    }
}
