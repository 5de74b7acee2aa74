/* SPDX-License-Identifier: BSD-2-Clause */
/* The lock, beside a bare robust process-shared mutex: alone, and between two processes.
 *
 * Two that contend must both run. On a busy machine one of them often does not, and then the other measures the lock
 * alone: so contention comes in bursts of a few milliseconds, each begins when both are on a CPU, ends when the first is
 * through, and counts when neither had to wait for its CPU meanwhile. */
#include "platform/base.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>

#include <mproc.h>

#include "bench.h"

enum {
    ALONE_ROUNDS = 4000000,
    BURST_ROUNDS = 20000, /* of one side: 2 to 5 ms, less than a scheduler's slice */
    BURST_STEP = 16,      /* between two looks whether the other is through */
    BURSTS = 25,
    BURSTS_TRIED_MAX = 100,
    MEET_LOOKS = 4096 /* before the CPU is offered to somebody else */
};

/* Of a burst, that a side may wait for its CPU. */
static const double WAITED_SHARE_MAX = 0.03;

typedef struct bench_lock_shared {
    pthread_mutex_t mutex; /* the peer's lock */
    _Alignas(MPROC__LINE) volatile uint64_t counter;
    _Alignas(MPROC__LINE) _Atomic uint32_t arrived; /* 1 added by each side at each meeting */
    _Alignas(MPROC__LINE) _Atomic uint32_t over;    /* number of the last burst that is, from 1 */
    _Alignas(MPROC__LINE) _Atomic bool failed, enough;
    double waited_ns[2];
} bench_lock_shared;

typedef struct bench_lock {
    mproc_lock *ours; /* NULL: the mutex */
    bench_lock_shared *shared;
    unsigned side;     /* 0 or 1 */
    unsigned meetings; /* so far */
} bench_lock;

static bool mutex_make(pthread_mutex_t *mutex, bool recursive)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (recursive)
        pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
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

static bool bench_lock_open(bench_lock *b, bool ours, bool recursive)
{
    *b = (bench_lock){.ours = NULL};
    b->shared = mmap(NULL, sizeof(*b->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (b->shared == MAP_FAILED || !mutex_make(&b->shared->mutex, recursive))
        return false;
    return !ours ||
           (wait_unpinned() &&
            mproc_lock_create(NULL, MPROC_WITH(mproc_lock_options, .recursive = recursive), &b->ours) == 0);
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

static double alone(bool ours, bool recursive)
{
    bench_lock b;
    double figure = -1;
    if (bench_lock_open(&b, ours, recursive)) {
        int64_t start_ns = bench_now_ns();
        if (loop(&b, ALONE_ROUNDS) == 0)
            figure = (double)(bench_now_ns() - start_ns) / ALONE_ROUNDS;
    }
    bench_lock_close(&b);
    return figure;
}

/* ---- two of them ---- */

/* False: the other side failed. */
static bool meet(bench_lock *b)
{
    bench_lock_shared *shared = b->shared;
    b->meetings++;
    atomic_fetch_add(&shared->arrived, 1);
    for (unsigned i = 1; atomic_load(&shared->arrived) < 2 * b->meetings; i++) {
        if (i % MEET_LOOKS == 0)
            sched_yield();
        if (atomic_load(&shared->failed))
            return false;
    }
    return true;
}

/* For how long this process could have run and was not let, since its start; 0 where the kernel does not say. */
static double waited_for_cpu_ns(void)
{
    double ran_ns, waited_ns = 0;
    FILE *file = fopen("/proc/self/schedstat", "re");
    if (file && fscanf(file, "%lf %lf", &ran_ns, &waited_ns) != 2)
        waited_ns = 0;
    if (file)
        fclose(file);
    return waited_ns;
}

static bool hold_until_one_is_through(bench_lock *b, unsigned number)
{
    bench_lock_shared *shared = b->shared;
    for (unsigned held = 0; held < BURST_ROUNDS; held += BURST_STEP) {
        if (atomic_load_explicit(&shared->over, memory_order_relaxed) == number)
            return true;
        if (loop(b, BURST_STEP) != 0) {
            atomic_store(&shared->failed, true);
            return false;
        }
    }
    atomic_store(&shared->over, number);
    return true;
}

/* Both sides, together. False: failed. */
static bool burst(bench_lock *b, unsigned number, double *ret_holds, double *ret_ns)
{
    bench_lock_shared *shared = b->shared;
    if (!meet(b))
        return false;
    double waited_ns = waited_for_cpu_ns();
    if (!meet(b))
        return false;
    uint64_t counter = shared->counter;
    int64_t start_ns = bench_now_ns();
    if (!hold_until_one_is_through(b, number))
        return false;
    *ret_ns = (double)(bench_now_ns() - start_ns);
    *ret_holds = (double)(shared->counter - counter);
    shared->waited_ns[b->side] = waited_for_cpu_ns() - waited_ns;
    return meet(b);
}

static int contend(void *context)
{
    bench_lock *b = context;
    double holds, ns;
    b->side = 1;
    for (unsigned number = 1; burst(b, number, &holds, &ns); number++)
        if (!meet(b) || atomic_load(&b->shared->enough))
            return atomic_load(&b->shared->failed);
    return 1;
}

typedef struct bursts {
    unsigned count;
    double holds, ns;
} bursts;

static void bursts_add(bursts *sum, double holds, double ns)
{
    sum->count++;
    sum->holds += holds;
    sum->ns += ns;
}

/* Holds a second of the bursts in which both ran; of all, said on stderr, when these are too few. */
static double contended_rate(void *context)
{
    bench_lock *b = context;
    bursts all = {0}, calm = {0};
    bool enough = false;
    while (!enough) {
        double holds, ns;
        if (!burst(b, all.count + 1, &holds, &ns))
            return -1;
        bursts_add(&all, holds, ns);
        if (b->shared->waited_ns[0] + b->shared->waited_ns[1] <= WAITED_SHARE_MAX * ns)
            bursts_add(&calm, holds, ns);
        enough = calm.count == BURSTS || all.count == BURSTS_TRIED_MAX;
        atomic_store(&b->shared->enough, enough);
        if (!meet(b))
            return -1;
    }
    if (calm.count == BURSTS)
        return calm.holds / (calm.ns / 1e9);
    fprintf(stderr, "bench:   a busy machine: only %u of %u bursts were left alone\n", calm.count, all.count);
    return all.holds / (all.ns / 1e9);
}

static double contended(bool ours)
{
    bench_lock b;
    double figure = bench_lock_open(&b, ours, false) ? bench_pair(contended_rate, contend, &b) : -1;
    bench_lock_close(&b);
    return figure;
}

/* ---- the cases ---- */

static double ours_alone(void)
{
    return alone(true, false);
}

static double theirs_alone(void)
{
    return alone(false, false);
}

static double ours_recursive(void)
{
    return alone(true, true);
}

static double theirs_recursive(void)
{
    return alone(false, true);
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

const bench_case bench_sync_lock_recursive = {.name = "sync-lock-recursive",
                                              .unit = "ns an acquire and release",
                                              .peer = "robust recursive pthread mutex",
                                              .ours = ours_recursive,
                                              .theirs = theirs_recursive,
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
