/* SPDX-License-Identifier: BSD-2-Clause */
/* From notify to the waiter's return with the lock, beside glibc's process-shared condition variable and mutex: beside 14
 * other participants and beside 98. The peer has no participants; others do not make it slower. */
#include "platform/base.h"

#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include <mproc.h>

#include "bench.h"
#include "bench_wake.h"

enum { FEW = 14, MANY = 98, DEADLINE_MS = 20000 };

/* ---- ours ---- */

typedef struct ours {
    mproc_condition *condition;
    mproc_lock *lock;
    _Atomic int *posted; /* the predicate: written with the lock held */
} ours;

static int ours_wait(void *context)
{
    ours *o = context;
    int code = mproc_lock_acquire(o->lock, MPROC_FOREVER);
    while (code == 0 && !atomic_load_explicit(o->posted, memory_order_relaxed))
        code = mproc_condition_wait(o->condition, mproc_after_ms(DEADLINE_MS));
    return code == 0 && mproc_lock_release(o->lock) == 0 ? 0 : 1;
}

static int ours_post(void *context)
{
    ours *o = context;
    int code = mproc_lock_acquire(o->lock, MPROC_FOREVER);
    atomic_store_explicit(o->posted, 1, memory_order_relaxed);
    if (code == 0)
        code = mproc_condition_notify(o->condition, 1);
    return code == 0 ? mproc_lock_release(o->lock) : code;
}

static int ours_rearm(void *context)
{
    atomic_store_explicit(((ours *)context)->posted, 0, memory_order_relaxed);
    return 0;
}

/* A wait that is over at once makes a process a participant. */
static int ours_join(void *context)
{
    ours *o = context;
    int code = mproc_lock_acquire(o->lock, MPROC_FOREVER);
    if (code == 0 && mproc_condition_wait(o->condition, MPROC_NOW) != -ETIMEDOUT)
        code = 1;
    return code == 0 ? mproc_lock_release(o->lock) : code;
}

static void *shared_page(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? NULL : page;
}

static double ours_ns(unsigned others)
{
    ours o = {.posted = shared_page()};
    bench_crowd crowd = {.count = 0};
    double figure = -1;
    if (!o.posted || mproc_condition_create(NULL, NULL, &o.condition) < 0)
        return -1;
    o.lock = mproc_condition_lock(o.condition);
    if (bench_crowd_start(others, ours_join, &o, &crowd))
        figure = bench_wake_ns(
            &(bench_wake){.wait = ours_wait, .rearm = ours_rearm, .post = ours_post, .context = &o});
    bench_crowd_end(&crowd);
    mproc_condition_close(&o.condition);
    munmap(o.posted, 4096);
    return figure;
}

static double ours_few(void)
{
    return ours_ns(FEW);
}

static double ours_many(void)
{
    return ours_ns(MANY);
}

/* ---- glibc's ---- */

typedef struct theirs {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    int posted;
} theirs;

static int theirs_wait(void *context)
{
    theirs *t = context;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += DEADLINE_MS / 1000;
    int error = pthread_mutex_lock(&t->mutex);
    while (error == 0 && !t->posted)
        error = pthread_cond_timedwait(&t->condition, &t->mutex, &until);
    return error == 0 && pthread_mutex_unlock(&t->mutex) == 0 ? 0 : 1;
}

static int theirs_post(void *context)
{
    theirs *t = context;
    int error = pthread_mutex_lock(&t->mutex);
    t->posted = 1;
    if (error == 0)
        error = pthread_cond_signal(&t->condition);
    return error == 0 ? pthread_mutex_unlock(&t->mutex) : error;
}

static int theirs_rearm(void *context)
{
    ((theirs *)context)->posted = 0;
    return 0;
}

/* Robust, as ours is; the deadline on the same clock. */
static bool theirs_make(theirs *t)
{
    pthread_mutexattr_t mutex;
    pthread_condattr_t condition;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_condattr_setclock(&condition, CLOCK_MONOTONIC);
    bool made =
        pthread_mutex_init(&t->mutex, &mutex) == 0 && pthread_cond_init(&t->condition, &condition) == 0;
    pthread_mutexattr_destroy(&mutex);
    pthread_condattr_destroy(&condition);
    return made;
}

static double theirs_ns(void)
{
    theirs *t = shared_page();
    if (!t || !theirs_make(t))
        return -1;
    double figure = bench_wake_ns(
        &(bench_wake){.wait = theirs_wait, .rearm = theirs_rearm, .post = theirs_post, .context = t});
    munmap(t, 4096);
    return figure;
}

/* 16 participants with waiter and notifier. */
const bench_case bench_condition = {.name = "sync-condition",
                                    .unit = "ns",
                                    .peer = "pthread_cond_t",
                                    .ours = ours_few,
                                    .theirs = theirs_ns,
                                    .goal = 1.05,
                                    .floor = 1.2,
                                    .sense = BENCH_MAX};

const bench_case bench_condition_100 = {.name = "sync-condition-100",
                                        .unit = "ns",
                                        .peer = "pthread_cond_t",
                                        .ours = ours_many,
                                        .theirs = theirs_ns,
                                        .goal = 1.5,
                                        .floor = 2.5,
                                        .sense = BENCH_MAX};
