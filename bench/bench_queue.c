/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue: throughput of small messages, and the hot round trip. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include <mproc.h>

#include "bench.h"

enum {
    HOT_TRIPS = 400000, /* a tenth of a second: 20,000 would be over in 5 ms */
    DEADLINE_MS = 20000
};

typedef struct queues {
    mproc_queue *there, *back;
} queues;

/* An unpinned wait comes first: whether spinning can pay is asked once, of a process that may use all CPUs. Pinning puts
 * the two where the scheduler would have put them, it does not take a CPU away. */
static bool queues_open(queues *q)
{
    char byte;
    if (mproc_queue_create(NULL, NULL, &q->there) < 0 || mproc_queue_create(NULL, NULL, &q->back) < 0 ||
        mproc_queue_get(q->there, &byte, 1, mproc_after_ms(1), NULL) != -ETIMEDOUT) {
        fprintf(stderr, "bench: %s\n", mproc_error_text(mproc_last_error()));
        return false;
    }
    return true;
}

static void queues_close(queues *q)
{
    mproc_queue_close(&q->there);
    mproc_queue_close(&q->back);
}

static double rate_parent(void *context)
{
    queues *q = context;
    char message[BENCH_MESSAGE_BYTES];
    size_t size;
    mproc_deadline deadline = mproc_after_ms(DEADLINE_MS);
    int64_t start_ns = bench_now_ns();
    for (unsigned i = 0; i < BENCH_MESSAGES; i++)
        if (mproc_queue_get(q->there, message, sizeof message, deadline, &size) < 0)
            return -1;
    return BENCH_MESSAGES / ((double)(bench_now_ns() - start_ns) / 1e9);
}

static int rate_child(void *context)
{
    queues *q = context;
    char message[BENCH_MESSAGE_BYTES];
    mproc_deadline deadline = mproc_after_ms(DEADLINE_MS);
    memset(message, 'x', sizeof message);
    for (unsigned i = 0; i < BENCH_MESSAGES; i++)
        if (mproc_queue_put(q->there, message, sizeof message, deadline) < 0)
            return 1;
    return 0;
}

static double trip_parent(void *context)
{
    queues *q = context;
    char byte = 0;
    size_t size;
    mproc_deadline deadline = mproc_after_ms(DEADLINE_MS);
    int64_t start_ns = bench_now_ns();
    for (unsigned i = 0; i < HOT_TRIPS; i++)
        if (mproc_queue_put(q->there, &byte, 1, deadline) < 0 ||
            mproc_queue_get(q->back, &byte, 1, deadline, &size) < 0)
            return -1;
    return (double)(bench_now_ns() - start_ns) / HOT_TRIPS;
}

static int trip_child(void *context)
{
    queues *q = context;
    char byte;
    size_t size;
    mproc_deadline deadline = mproc_after_ms(DEADLINE_MS);
    for (unsigned i = 0; i < HOT_TRIPS; i++)
        if (mproc_queue_get(q->there, &byte, 1, deadline, &size) < 0 ||
            mproc_queue_put(q->back, &byte, 1, deadline) < 0)
            return 1;
    return 0;
}

static double queues_pair(double (*parent)(void *context), int (*child)(void *context))
{
    queues q = {NULL, NULL};
    double figure = queues_open(&q) ? bench_pair(parent, child, &q) : -1;
    queues_close(&q);
    return figure;
}

static double rate(void)
{
    return queues_pair(rate_parent, rate_child);
}

static double trip(void)
{
    return queues_pair(trip_parent, trip_child);
}

const bench_case bench_queue_rate = {.name = "queue-64B",
                                     .unit = "messages/s",
                                     .peer = "boost-message-queue",
                                     .ours = rate,
                                     .theirs = bench_peer_boost_rate,
                                     .goal = 3.5,
                                     .floor = 1,
                                     .sense = BENCH_MIN};

const bench_case bench_queue_round_trip = {.name = "queue-round-trip",
                                           .unit = "ns",
                                           .peer = "pipe",
                                           .ours = trip,
                                           .theirs = bench_peer_pipe_round_trip,
                                           .goal = 1.0 / 150,
                                           .floor = 1.0 / 20,
                                           .sense = BENCH_MAX};
