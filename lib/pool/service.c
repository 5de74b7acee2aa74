/* SPDX-License-Identifier: BSD-2-Clause */
/* The service thread: begun with the first need, gone with the last or with the program. What it watches is in
 * service_hosts.c.
 *
 * Rejected: a thread a pool, which would cost each pool one; and callbacks in the threads that wait, see
 * future_callback.c. */
#include "platform/base.h"

#include <pthread.h>

#include <mproc/at_exit.h>
#include "platform/platform.h"
#include "pool/service_inside.h"
#include "process/launch.h"

MPROC__FORK_DATA mproc__service mproc__service_now = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                                      .quiet = PTHREAD_MUTEX_INITIALIZER};

/* The incarnation in which this thread is the service. */
static _Thread_local uint64_t serving;

static bool service_is_me(void)
{
    return serving != 0 && serving == mproc__incarnation();
}

bool mproc__service_passes(void)
{
    return service_is_me() || atomic_load(&mproc__service_now.over);
}

static void service_wake(void)
{
    mproc__eventcount_post(&mproc__service_now.command, false);
}

/* ---- fork ---- */

MPROC__FORK_TEXT static void service_before_fork(void)
{
    pthread_mutex_lock(&mproc__service_now.quiet);
    pthread_mutex_lock(&mproc__service_now.lock);
}

MPROC__FORK_TEXT static void service_in_parent(void)
{
    pthread_mutex_unlock(&mproc__service_now.lock);
    pthread_mutex_unlock(&mproc__service_now.quiet);
}

/* What was watched is the parent's. */
MPROC__FORK_TEXT static void service_in_child(void)
{
    mproc__service_now.first = NULL;
    mproc__service_now.end = NULL;
    mproc__service_now.needs = 0;
    mproc__service_now.running = false;
    mproc__service_now.over = false;
    mproc__launch_thread_own(0);
    service_in_parent();
}

/* Early, as at_exit.c says. */
__attribute__((constructor(103))) static void service_start(void)
{
    pthread_atfork(service_before_fork, service_in_parent, service_in_child);
}

/* ---- the thread ---- */

/* False: nobody needs it any more, or the program ends; then it counts as gone. *ret_came: what it shall watch. */
static bool service_take(const mproc__pool_core *hosts, mproc_future **ret_came)
{
    pthread_mutex_lock(&mproc__service_now.lock);
    *ret_came = mproc__service_now.first;
    mproc__service_now.first = NULL;
    mproc__service_now.end = NULL;
    bool on = !mproc__service_now.over && (*ret_came || hosts || mproc__service_now.needs > 0);
    mproc__service_now.running = on;
    pthread_mutex_unlock(&mproc__service_now.lock);
    return on;
}

/* In a fork child that a callback made, the thread is all there is, and ends as the copy of any thread does. */
static void *service_main(void *unused)
{
    mproc__pool_core *hosts = NULL;
    mproc_future *came;
    serving = mproc__incarnation();
    mproc__launch_thread_own(mproc__tid());
    atomic_store(&mproc__service_now.there, true);
    mproc__eventcount_post(&mproc__service_now.begun, false);
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&mproc__service_now.command);
        if (!service_take(hosts, &came))
            break;
        int sorted = mproc__hosts_add(&hosts, came);
        mproc__hosts_prepare(hosts);
        int ended = sorted < 0 ? sorted : mproc__hosts_look(&hosts);
        if (ended < 0)
            return unused;
        if (sorted + ended == 0)
            mproc__hosts_sleep(hosts, ticket);
    }
    mproc__eventcount_post(&mproc__service_now.let_go, false);
    return unused;
}

static void thread_await(void)
{
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&mproc__service_now.begun);
        if (atomic_load(&mproc__service_now.there))
            return;
        (void)mproc__futex_wait(&mproc__service_now.begun.word, ticket, false, MPROC_FOREVER);
    }
}

/* Lock held. Detached: nobody waits for its last steps. */
static int thread_begin(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t mask;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    atomic_store(&mproc__service_now.there, false);
    mproc__signals_block(&mask);
    int rc = -pthread_create(&thread, &attributes, service_main, NULL);
    if (rc == 0)
        pthread_setname_np(thread, "mproc-service");
    mproc__signals_restore(&mask);
    pthread_attr_destroy(&attributes);
    if (rc < 0)
        return mproc__fail(rc, "cannot start the service thread: %s", mproc_strerror(rc));
    mproc__service_now.running = true;
    thread_await();
    return 0;
}

/* ---- the end of the program ---- */

/* Callbacks that have not begun are not called; the one that runs has the grace of a pool's tasks. */
static int service_exit(mproc_call *call)
{
    (void)call;
    mproc_deadline limit = mproc_after_ms(MPROC__POOL_GRACE_MS);
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&mproc__service_now.let_go);
        pthread_mutex_lock(&mproc__service_now.lock);
        mproc__service_now.over = true;
        bool running = mproc__service_now.running;
        pthread_mutex_unlock(&mproc__service_now.lock);
        service_wake();
        if (!running || service_is_me() || mproc__deadline_past(limit))
            return 0;
        (void)mproc__futex_wait(&mproc__service_now.let_go.word, ticket, false, limit);
    }
}

/* After all others: until then futures may end, and their callbacks be called. */
static int exit_arm(void)
{
    uint64_t now = mproc__incarnation(), before = atomic_load(&mproc__service_now.exit_incarnation);
    if (before == now || !atomic_compare_exchange_strong(&mproc__service_now.exit_incarnation, &before, now))
        return 0;
    int rc = mproc_at_exit(service_exit, MPROC_NONE, MPROC_AT_EXIT_NEVER + 1, NULL);
    if (rc < 0)
        atomic_store(&mproc__service_now.exit_incarnation, 0);
    return rc;
}

/* ---- calls ---- */

int mproc__service_hold(void)
{
    int rc = exit_arm();
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&mproc__service_now.lock);
    if (mproc__service_now.over)
        rc = mproc__fail(MPROC_ECLOSED, "the program is at its end: no callback would be called");
    else if (!mproc__service_now.running)
        rc = thread_begin();
    if (rc == 0)
        mproc__service_now.needs++;
    pthread_mutex_unlock(&mproc__service_now.lock);
    return rc;
}

void mproc__service_drop(void)
{
    pthread_mutex_lock(&mproc__service_now.lock);
    mproc__service_now.needs--;
    pthread_mutex_unlock(&mproc__service_now.lock);
    service_wake();
}

void mproc__service_watch(mproc_future *future)
{
    mproc__pool_core *core = future->core;
    pthread_mutex_lock(&mproc__service_now.lock);
    if (future->watched) {
        mproc__service_now.needs--;
    } else {
        future->watched = true;
        future->served_next = NULL;
        if (!mproc__service_now.end)
            mproc__service_now.end = &mproc__service_now.first;
        *mproc__service_now.end = future;
        mproc__service_now.end = &future->served_next;
        if (core)
            core->service.count++;
    }
    if (core && !core->service.lingers && !atomic_load(&core->ended)) {
        core->service.lingers = true;
        mproc__service_now.needs++;
    }
    pthread_mutex_unlock(&mproc__service_now.lock);
    service_wake();
}

bool mproc__service_adopts(mproc_future *future)
{
    pthread_mutex_lock(&mproc__service_now.lock);
    bool adopts = future->watched;
    if (!future->closing)
        future->orphan = adopts;
    else if (!adopts) /* it was held for this call only, unless a callback has kept it */
        adopts = atomic_fetch_sub(&future->handle.references, 1) > 1;
    future->closing = false;
    pthread_mutex_unlock(&mproc__service_now.lock);
    if (adopts)
        service_wake();
    return adopts;
}

static bool core_let_go(mproc__pool_core *core)
{
    pthread_mutex_lock(&mproc__service_now.lock);
    bool lingers = core->service.lingers;
    core->service.lingers = false;
    mproc__service_now.needs -= lingers;
    bool over = core->service.count == 0 || !mproc__service_now.running;
    pthread_mutex_unlock(&mproc__service_now.lock);
    if (lingers)
        service_wake();
    return over;
}

void mproc__service_core_ended(mproc__pool_core *core, mproc_deadline deadline)
{
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&mproc__service_now.let_go);
        if (core_let_go(core) || service_is_me() || mproc__deadline_past(deadline))
            return;
        (void)mproc__futex_wait(&mproc__service_now.let_go.word, ticket, false, deadline);
    }
}
