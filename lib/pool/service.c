/* SPDX-License-Identifier: BSD-2-Clause */
/* The service thread: takes in what it is to watch, looks at what may have ended, calls, sleeps.
 *
 *     lock    the list of what came, the needs, whether there is a thread. Held for moments; taken last
 *     quiet   held while it looks: a fork waits for that, so that it copies no lock that the thread holds
 *
 * Rejected: a thread a pool, which would cost each pool one; and callbacks in the threads that wait, see
 * future_callback.c. */
#include "platform/base.h"

#include <pthread.h>
#include <string.h>

#include <mproc/at_exit.h>
#include "platform/platform.h"
#include "pool/service.h"
#include "process/launch.h"

enum {
    SLEEPS = 64, /* its own word and those of pools */
    LOOK_MS = 40
};

MPROC__FORK_DATA static struct {
    pthread_mutex_t lock;
    pthread_mutex_t quiet;
    mproc_future *first, **end; /* to be watched */
    unsigned needs;
    bool running;
    _Atomic bool over; /* the program is at its end */
    mproc__eventcount_shared command;
    mproc__eventcount_shared begun; /* it has said that it is not to be counted */
    _Atomic bool there;
    mproc__eventcount_shared let_go;   /* a future was left, or the thread ends */
    _Atomic uint64_t exit_incarnation; /* of the process that will end it in order */
} service = {.lock = PTHREAD_MUTEX_INITIALIZER, .quiet = PTHREAD_MUTEX_INITIALIZER};

/* The incarnation in which this thread is the service. */
static _Thread_local uint64_t serving;

static bool service_is_me(void)
{
    return serving != 0 && serving == mproc__incarnation();
}

bool mproc__service_passes(void)
{
    return service_is_me() || atomic_load(&service.over);
}

static void service_wake(void)
{
    mproc__eventcount_post(&service.command, false);
}

/* ---- fork ---- */

MPROC__FORK_TEXT static void service_before_fork(void)
{
    pthread_mutex_lock(&service.quiet);
    pthread_mutex_lock(&service.lock);
}

MPROC__FORK_TEXT static void service_in_parent(void)
{
    pthread_mutex_unlock(&service.lock);
    pthread_mutex_unlock(&service.quiet);
}

/* What was watched is the parent's. */
MPROC__FORK_TEXT static void service_in_child(void)
{
    service.first = NULL;
    service.end = NULL;
    service.needs = 0;
    service.running = false;
    service.over = false;
    mproc__launch_thread_own(0);
    service_in_parent();
}

/* Early, as at_exit.c says. */
__attribute__((constructor(103))) static void service_start(void)
{
    pthread_atfork(service_before_fork, service_in_parent, service_in_child);
}

/* ---- what it watches; the thread's own ---- */

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
    pthread_mutex_lock(&service.lock);
    bool closing = future->closing;
    future->watched = false;
    pthread_mutex_unlock(&service.lock);
    if (!closing) /* else it is released by who comes */
        mproc__handle_release(&future->handle);
    pthread_mutex_lock(&service.lock);
    service.needs--;
    if (core)
        core->service.count--;
    bool given = !core || core_give(core);
    pthread_mutex_unlock(&service.lock);
    if (!given)
        mproc__core_release(core);
    mproc__eventcount_post(&service.let_go, false);
}

/* Callbacks may keep the future, and the program may close it meanwhile: so there is a reference for as long. Where the last
 * one is gone, and who gave it up has not come to have it adopted, it stays until that one has come. */
static void future_hold(mproc_future *future)
{
    uint32_t references = atomic_load(&future->handle.references);
    pthread_mutex_lock(&service.lock);
    while (references > 0 &&
           !atomic_compare_exchange_weak(&future->handle.references, &references, references + 1))
        ;
    if (references == 0) {
        future->closing = !future->orphan;
        future->orphan = false;
        atomic_store(&future->handle.references, 1);
    }
    pthread_mutex_unlock(&service.lock);
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
    pthread_mutex_lock(&service.quiet);
    bool settled = mproc__future_look(future);
    pthread_mutex_unlock(&service.quiet);
    return settled;
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

/* Pools without futures leave the list. 1: something has ended; 0: nothing; -1: this is a fork child. */
static int hosts_look(mproc__pool_core **hosts)
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

/* ---- the thread ---- */

/* False: nobody needs it any more, or the program ends; then it counts as gone. *ret_came: what it shall watch. */
static bool service_take(const mproc__pool_core *hosts, mproc_future **ret_came)
{
    pthread_mutex_lock(&service.lock);
    *ret_came = service.first;
    service.first = NULL;
    service.end = NULL;
    bool on = !service.over && (*ret_came || hosts || service.needs > 0);
    service.running = on;
    pthread_mutex_unlock(&service.lock);
    return on;
}

/* Made futures have ended when they come. As hosts_look. */
static int service_sort(mproc__pool_core **hosts, mproc_future *came)
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
static void service_sleep(mproc__pool_core *hosts, uint32_t ticket)
{
    mproc__segment_sleep sleeps[SLEEPS] = {{.event = &service.command, .ticket = ticket}};
    mproc_deadline deadline = MPROC_FOREVER;
    unsigned count = 1;
    for (mproc__pool_core *core = hosts; core; core = core->service.next) {
        if (count == SLEEPS)
            deadline = mproc_after_ms(LOOK_MS);
        if (core->service.look_ns < deadline.ns)
            deadline.ns = core->service.look_ns;
        deadline = mproc__core_watch(core, deadline);
        if (count < SLEEPS)
            sleeps[count++] = core->service.sleep;
    }
    (void)mproc__segments_wait(sleeps, count, deadline);
    count = 1;
    for (mproc__pool_core *core = hosts; core && count < SLEEPS; core = core->service.next)
        core->service.sleep = sleeps[count++];
}

static void service_prepare(mproc__pool_core *hosts)
{
    for (mproc__pool_core *core = hosts; core; core = core->service.next) {
        mproc__segment_sleep *sleep = &core->service.sleep;
        sleep->segment = core->view.segment;
        sleep->event = &core->view.shared->done;
        sleep->ticket = mproc__eventcount_prepare(sleep->event);
        pthread_mutex_lock(&service.quiet);
        mproc__slots_make_room(core);
        pthread_mutex_unlock(&service.quiet);
    }
}

/* In a fork child that a callback made, the thread is all there is, and ends as the copy of any thread does. */
static void *service_main(void *unused)
{
    mproc__pool_core *hosts = NULL;
    mproc_future *came;
    serving = mproc__incarnation();
    mproc__launch_thread_own(mproc__tid());
    atomic_store(&service.there, true);
    mproc__eventcount_post(&service.begun, false);
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&service.command);
        if (!service_take(hosts, &came))
            break;
        int sorted = service_sort(&hosts, came);
        service_prepare(hosts);
        int ended = sorted < 0 ? sorted : hosts_look(&hosts);
        if (ended < 0)
            return unused;
        if (sorted + ended == 0)
            service_sleep(hosts, ticket);
    }
    mproc__eventcount_post(&service.let_go, false);
    return unused;
}

static void thread_await(void)
{
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&service.begun);
        if (atomic_load(&service.there))
            return;
        (void)mproc__futex_wait(&service.begun.word, ticket, false, MPROC_FOREVER);
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
    atomic_store(&service.there, false);
    mproc__signals_block(&mask);
    int rc = -pthread_create(&thread, &attributes, service_main, NULL);
    if (rc == 0)
        pthread_setname_np(thread, "mproc-service");
    mproc__signals_restore(&mask);
    pthread_attr_destroy(&attributes);
    if (rc < 0)
        return mproc__fail(rc, "cannot start the service thread: %s", mproc_strerror(rc));
    service.running = true;
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
        uint32_t ticket = mproc__eventcount_prepare(&service.let_go);
        pthread_mutex_lock(&service.lock);
        service.over = true;
        bool running = service.running;
        pthread_mutex_unlock(&service.lock);
        service_wake();
        if (!running || service_is_me() || mproc__deadline_past(limit))
            return 0;
        (void)mproc__futex_wait(&service.let_go.word, ticket, false, limit);
    }
}

/* After all others: until then futures may end, and their callbacks be called. */
static int exit_arm(void)
{
    uint64_t now = mproc__incarnation(), before = atomic_load(&service.exit_incarnation);
    if (before == now || !atomic_compare_exchange_strong(&service.exit_incarnation, &before, now))
        return 0;
    int rc = mproc_at_exit(service_exit, MPROC_NONE, MPROC_AT_EXIT_NEVER + 1, NULL);
    if (rc < 0)
        atomic_store(&service.exit_incarnation, 0);
    return rc;
}

/* ---- calls ---- */

int mproc__service_hold(void)
{
    int rc = exit_arm();
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&service.lock);
    if (service.over)
        rc = mproc__fail(MPROC_ECLOSED, "the program is at its end: no callback would be called");
    else if (!service.running)
        rc = thread_begin();
    if (rc == 0)
        service.needs++;
    pthread_mutex_unlock(&service.lock);
    return rc;
}

void mproc__service_drop(void)
{
    pthread_mutex_lock(&service.lock);
    service.needs--;
    pthread_mutex_unlock(&service.lock);
    service_wake();
}

void mproc__service_watch(mproc_future *future)
{
    mproc__pool_core *core = future->core;
    pthread_mutex_lock(&service.lock);
    if (future->watched) {
        service.needs--;
    } else {
        future->watched = true;
        future->served_next = NULL;
        if (!service.end)
            service.end = &service.first;
        *service.end = future;
        service.end = &future->served_next;
        if (core)
            core->service.count++;
    }
    if (core && !core->service.lingers && !atomic_load(&core->ended)) {
        core->service.lingers = true;
        service.needs++;
    }
    pthread_mutex_unlock(&service.lock);
    service_wake();
}

bool mproc__service_adopts(mproc_future *future)
{
    pthread_mutex_lock(&service.lock);
    bool adopts = future->watched;
    if (!future->closing)
        future->orphan = adopts;
    else if (!adopts) /* it was held for this call only, unless a callback has kept it */
        adopts = atomic_fetch_sub(&future->handle.references, 1) > 1;
    future->closing = false;
    pthread_mutex_unlock(&service.lock);
    if (adopts)
        service_wake();
    return adopts;
}

static bool core_let_go(mproc__pool_core *core)
{
    pthread_mutex_lock(&service.lock);
    bool lingers = core->service.lingers;
    core->service.lingers = false;
    service.needs -= lingers;
    bool over = core->service.count == 0 || !service.running;
    pthread_mutex_unlock(&service.lock);
    if (lingers)
        service_wake();
    return over;
}

void mproc__service_core_ended(mproc__pool_core *core, mproc_deadline deadline)
{
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&service.let_go);
        if (core_let_go(core) || service_is_me() || mproc__deadline_past(deadline))
            return;
        (void)mproc__futex_wait(&service.let_go.word, ticket, false, deadline);
    }
}
