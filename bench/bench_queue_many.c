/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue: two producers and two consumers, beside a ring of slots under one process-shared mutex with two condition
 * variables, which is what one writes without a library. Four processes on whatever CPUs the scheduler gives them. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "bench_queue.h"

enum { SIDES = 2, MESSAGES = BENCH_MESSAGES / SIDES, SLOTS = (1 << 20) / BENCH_MESSAGE_BYTES };

/* ---- the ring ---- */

typedef struct ring_shared {
    pthread_mutex_t mutex;
    pthread_cond_t items, room;
    unsigned head, count;
    bool closed;
    char slots[SLOTS][BENCH_MESSAGE_BYTES];
} ring_shared;

static void ring_make(ring_shared *ring)
{
    pthread_mutexattr_t mutex;
    pthread_condattr_t condition;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&ring->mutex, &mutex);
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&ring->items, &condition);
    pthread_cond_init(&ring->room, &condition);
}

static void ring_put(ring_shared *ring, const char *message)
{
    pthread_mutex_lock(&ring->mutex);
    while (ring->count == SLOTS)
        pthread_cond_wait(&ring->room, &ring->mutex);
    memcpy(ring->slots[(ring->head + ring->count++) % SLOTS], message, BENCH_MESSAGE_BYTES);
    pthread_cond_signal(&ring->items);
    pthread_mutex_unlock(&ring->mutex);
}

static bool ring_get(ring_shared *ring, char *message)
{
    pthread_mutex_lock(&ring->mutex);
    while (ring->count == 0 && !ring->closed)
        pthread_cond_wait(&ring->items, &ring->mutex);
    bool got = ring->count > 0;
    if (got) {
        memcpy(message, ring->slots[ring->head], BENCH_MESSAGE_BYTES);
        ring->head = (ring->head + 1) % SLOTS;
        ring->count--;
        pthread_cond_signal(&ring->room);
    }
    pthread_mutex_unlock(&ring->mutex);
    return got;
}

static void ring_close(ring_shared *ring)
{
    pthread_mutex_lock(&ring->mutex);
    ring->closed = true;
    pthread_cond_broadcast(&ring->items);
    pthread_mutex_unlock(&ring->mutex);
}

/* ---- four processes ---- */

typedef struct four_shared {
    _Atomic bool go;
    _Atomic unsigned got;
    ring_shared ring; /* the peer */
} four_shared;

typedef struct four {
    four_shared *shared;
    mproc_queue *queue; /* NULL: the ring */
} four;

static int produce(four *f)
{
    char message[BENCH_MESSAGE_BYTES];
    mproc_deadline deadline = mproc_after_ms(BENCH_QUEUE_DEADLINE_MS);
    memset(message, 'x', sizeof message);
    for (unsigned i = 0; i < MESSAGES; i++)
        if (!f->queue)
            ring_put(&f->shared->ring, message);
        else if (mproc_queue_put(f->queue, message, sizeof message, deadline) < 0)
            return 1;
    return 0;
}

static int consume(four *f)
{
    char message[BENCH_MESSAGE_BYTES];
    unsigned got = 0;
    int rc = 0;
    mproc_deadline deadline = mproc_after_ms(BENCH_QUEUE_DEADLINE_MS);
    while (f->queue ? (rc = mproc_queue_get(f->queue, message, sizeof message, deadline, NULL)) == 0
                    : ring_get(&f->shared->ring, message))
        got++;
    atomic_fetch_add(&f->shared->got, got);
    return rc == 0 || rc == MPROC_EEND ? 0 : 1;
}

static pid_t start(four *f, int (*work)(four *f))
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (!atomic_load(&f->shared->go))
        usleep(100);
    _exit(work(f));
}

static bool ended(const pid_t *pids)
{
    bool good = true;
    for (unsigned i = 0; i < SIDES; i++) {
        int status = -1;
        good = pids[i] > 0 && waitpid(pids[i], &status, 0) == pids[i] && status == 0 && good;
    }
    return good;
}

static double run(four *f)
{
    pid_t producers[SIDES], consumers[SIDES];
    for (unsigned i = 0; i < SIDES; i++) {
        producers[i] = start(f, produce);
        consumers[i] = start(f, consume);
    }
    int64_t start_ns = bench_now_ns();
    atomic_store(&f->shared->go, true);
    bool good = ended(producers);
    if (f->queue)
        good = mproc_queue_shutdown(f->queue, false) == 0 && good;
    else
        ring_close(&f->shared->ring);
    good = ended(consumers) && good;
    double took_s = (double)(bench_now_ns() - start_ns) / 1e9;
    if (good && atomic_load(&f->shared->got) == SIDES * MESSAGES)
        return SIDES * MESSAGES / took_s;
    fprintf(stderr, "bench: %u of %d messages arrived\n", atomic_load(&f->shared->got), SIDES * MESSAGES);
    return -1;
}

static double run_with(mproc_queue *queue)
{
    four f = {.queue = queue};
    f.shared = mmap(NULL, sizeof(*f.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (f.shared == MAP_FAILED)
        return -1;
    ring_make(&f.shared->ring);
    double figure = run(&f);
    munmap(f.shared, sizeof(*f.shared));
    return figure;
}

static double ours(void)
{
    mproc_queue *queue = bench_queue_open(NULL);
    double figure = queue ? run_with(queue) : -1;
    mproc_queue_close(&queue);
    return figure;
}

static double theirs(void)
{
    return run_with(NULL);
}

const bench_group bench_queue_many = {
    "64 bytes, two producers and two consumers, unpinned",
    "libmproc",
    "messages/s",
    BENCH_MIN,
    ours,
    (const bench_row[]){{"queue-2x2", "mutex-guarded ring", 5, 2, theirs, NULL}, {0}}};
