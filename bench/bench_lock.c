/* SPDX-License-Identifier: BSD-2-Clause */
/* The lock, beside a bare robust process-shared mutex: alone, and between two processes. */
#include "platform/base.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>

#include <mproc.h>

#include "bench.h"

enum { ALONE_ROUNDS = 4000000, CONTENDED_ROUNDS = 2000000 };

typedef struct bench_lock_shared {
    pthread_mutex_t mutex; /* the peer's lock */
    _Alignas(MPROC__LINE) volatile uint64_t counter;
    _Alignas(MPROC__LINE) _Atomic uint32_t ready; /* 1 added by each side: both begin at 2 */
} bench_lock_shared;

typedef struct bench_lock {
    mproc_lock *ours; /* NULL: the mutex */
    bench_lock_shared *shared;
} bench_lock;

static bool mutex_make(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    int error = pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return error == 0;
}

/* Whether spinning can pay is asked once, at a first wait, and must be asked of a process that may use all CPUs: pinning
 * puts the two where the scheduler would have put them, it does not take a CPU away. */
static bool wait_unpinned(void)
{
    mproc_queue *queue;
    char byte;
    if (mproc_queue_create(NULL, NULL, &queue) < 0)
        return false;
    int code = mproc_queue_get(queue, &byte, 1, mproc_after_ms(1), NULL);
    mproc_queue_close(&queue);
    return code == -ETIMEDOUT;
}

static bool bench_lock_open(bench_lock *b, bool ours)
{
    b->ours = NULL;
    b->shared = mmap(NULL, sizeof(*b->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (b->shared == MAP_FAILED || !mutex_make(&b->shared->mutex))
        return false;
    return !ours || (wait_unpinned() && mproc_lock_create(NULL, NULL, &b->ours) == 0);
}

static void bench_lock_close(bench_lock *b)
{
    mproc_lock_close(&b->ours);
    munmap(b->shared, sizeof(*b->shared));
}

static int ours_loop(bench_lock *b, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        if (mproc_lock_acquire(b->ours, MPROC_FOREVER) != 0)
            return 1;
        b->shared->counter = b->shared->counter + 1;
        if (mproc_lock_release(b->ours) != 0)
            return 2;
    }
    return 0;
}

static int theirs_loop(bench_lock *b, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        if (pthread_mutex_lock(&b->shared->mutex) != 0)
            return 1;
        b->shared->counter = b->shared->counter + 1;
        if (pthread_mutex_unlock(&b->shared->mutex) != 0)
            return 2;
    }
    return 0;
}

static int loop(bench_lock *b, unsigned rounds)
{
    return b->ours ? ours_loop(b, rounds) : theirs_loop(b, rounds);
}

static double alone(bool ours)
{
    bench_lock b;
    double figure = -1;
    if (bench_lock_open(&b, ours)) {
        int64_t start_ns = bench_now_ns();
        if (loop(&b, ALONE_ROUNDS) == 0)
            figure = (double)(bench_now_ns() - start_ns) / ALONE_ROUNDS;
    }
    bench_lock_close(&b);
    return figure;
}

static int contend(void *context)
{
    bench_lock *b = context;
    atomic_fetch_add(&b->shared->ready, 1);
    while (atomic_load(&b->shared->ready) < 2)
        ;
    return loop(b, CONTENDED_ROUNDS);
}

static double contend_timed(void *context)
{
    bench_lock *b = context;
    int64_t start_ns = bench_now_ns();
    if (contend(b) != 0)
        return -1;
    return (double)(bench_now_ns() - start_ns);
}

/* Of the counter when the first is through: the rest of the other's rounds is without contention. */
static double contended_rate(void *context)
{
    bench_lock *b = context;
    double ns = contend_timed(b);
    return ns < 0 ? -1 : (double)b->shared->counter / (ns / 1e9);
}

static double contended(bool ours)
{
    bench_lock b;
    double figure = bench_lock_open(&b, ours) ? bench_pair(contended_rate, contend, &b) : -1;
    bench_lock_close(&b);
    return figure;
}

static double ours_alone(void)
{
    return alone(true);
}

static double theirs_alone(void)
{
    return alone(false);
}

static double ours_contended(void)
{
    return contended(true);
}

static double theirs_contended(void)
{
    return contended(false);
}

const bench_case bench_sync_lock = {.name = "sync-lock",
                                    .unit = "ns an acquire and release",
                                    .peer = "robust pthread mutex",
                                    .ours = ours_alone,
                                    .theirs = theirs_alone,
                                    .goal = 1.15,
                                    .floor = 1.3,
                                    .sense = BENCH_MAX};

const bench_case bench_sync_lock_contended = {.name = "sync-lock-contended",
                                              .unit = "holds/s",
                                              .peer = "robust pthread mutex",
                                              .ours = ours_contended,
                                              .theirs = theirs_contended,
                                              .goal = 1.5,
                                              .floor = 1.0,
                                              .sense = BENCH_MIN};
