/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue: throughput of small messages, one by one and in batches, and the hot round trip. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench_queue.h"

enum {
    HOT_TRIPS = 400000, /* a tenth of a second: 20,000 would be over in 5 ms */
    BATCH = 64,
    BATCHED_MESSAGES = 16 * BENCH_MESSAGES
};

mproc_queue *bench_queue_open(const mproc_queue_options *options)
{
    char byte;
    mproc_queue *queue;
    if (mproc_queue_create(NULL, options, &queue) < 0 ||
        mproc_queue_get(queue, &byte, 1, mproc_after_ms(1), NULL) != -ETIMEDOUT) {
        fprintf(stderr, "bench: %s\n", mproc_error_text(mproc_last_error()));
        return NULL;
    }
    return queue;
}

/* ---- any size, any way ---- */

typedef struct transfer {
    const bench_transfer *of;
    mproc_queue *queue;
} transfer;

int bench_queue_put(mproc_queue *queue, char *buffer, size_t bytes, mproc_deadline deadline)
{
    return mproc_queue_put(queue, buffer, bytes, deadline) == 0 ? 1 : -1;
}

int bench_queue_get(mproc_queue *queue, char *buffer, size_t bytes, mproc_deadline deadline)
{
    return mproc_queue_get(queue, buffer, bytes, deadline, NULL) == 0 ? 1 : -1;
}

static int move_all(const transfer *t, bench_queue_step *step, int64_t *ret_first_ns, unsigned *ret_first)
{
    mproc_deadline deadline = mproc_after_ms(BENCH_QUEUE_DEADLINE_MS);
    char *buffer = malloc(t->of->buffer_bytes);
    int moved = buffer ? 1 : -1;
    *ret_first = 0;
    if (buffer)
        memset(buffer, 'x', t->of->buffer_bytes);
    for (unsigned done = 0; done < t->of->messages && moved > 0; done += (unsigned)moved) {
        moved = step(t->queue, buffer, t->of->bytes, deadline);
        if (done == 0) {
            *ret_first_ns = bench_now_ns();
            *ret_first = (unsigned)moved;
        }
    }
    free(buffer);
    return moved > 0 ? 0 : 1;
}

static double transfer_parent(void *context)
{
    const transfer *t = context;
    int64_t first_ns = 0;
    unsigned first;
    if (move_all(t, t->of->receive, &first_ns, &first) != 0)
        return -1;
    return (t->of->messages - first) / ((double)(bench_now_ns() - first_ns) / 1e9);
}

static int transfer_child(void *context)
{
    const transfer *t = context;
    int64_t first_ns;
    unsigned first;
    return move_all(t, t->of->send, &first_ns, &first);
}

double bench_queue_transfer(const bench_transfer *of, bool pinned)
{
    transfer t = {of, bench_queue_open(of->options)};
    if (!t.queue)
        return -1;
    double figure = pinned ? bench_pair(transfer_parent, transfer_child, &t)
                           : bench_pair_unpinned(transfer_parent, transfer_child, &t);
    mproc_queue_close(&t.queue);
    return figure;
}

/* ---- 64 bytes: without the step's indirect call, which is felt at this size ---- */

static double rate_parent(void *context)
{
    mproc_queue *queue = context;
    char message[BENCH_MESSAGE_BYTES];
    size_t size;
    mproc_deadline deadline = mproc_after_ms(BENCH_QUEUE_DEADLINE_MS);
    int64_t start_ns = 0;
    for (unsigned i = 0; i < BENCH_MESSAGES; i++) {
        if (mproc_queue_get(queue, message, sizeof message, deadline, &size) < 0)
            return -1;
        if (i == 0)
            start_ns = bench_now_ns();
    }
    return (BENCH_MESSAGES - 1) / ((double)(bench_now_ns() - start_ns) / 1e9);
}

static int rate_child(void *context)
{
    mproc_queue *queue = context;
    char message[BENCH_MESSAGE_BYTES];
    mproc_deadline deadline = mproc_after_ms(BENCH_QUEUE_DEADLINE_MS);
    memset(message, 'x', sizeof message);
    for (unsigned i = 0; i < BENCH_MESSAGES; i++)
        if (mproc_queue_put(queue, message, sizeof message, deadline) < 0)
            return 1;
    return 0;
}

static double rate_of(const mproc_queue_options *options, bool pinned)
{
    mproc_queue *queue = bench_queue_open(options);
    if (!queue)
        return -1;
    double figure = pinned ? bench_pair(rate_parent, rate_child, queue)
                           : bench_pair_unpinned(rate_parent, rate_child, queue);
    mproc_queue_close(&queue);
    return figure;
}

static double rate(void)
{
    return rate_of(NULL, true);
}

static double rate_unpinned(void)
{
    return rate_of(NULL, false);
}

/* One user a side, who takes no lock: the consumer is it from the wait in bench_queue_open on. */
static double rate_exclusive(void)
{
    return rate_of(MPROC_WITH(mproc_queue_options, .exclusive = MPROC_ROLE_BOTH), true);
}

/* Pinned is to the only one. */
static double rate_on_one_cpu(void)
{
    return bench_ours_on_one_cpu("queue-64B");
}

static double boost_on_one_cpu(void)
{
    return bench_peer_on_one_cpu("boost 64 2000000 pinned");
}

/* ---- batches ---- */

static int put_batch(mproc_queue *queue, char *buffer, size_t bytes, mproc_deadline deadline)
{
    size_t count;
    return mproc_queue_put_many(queue, buffer, bytes, BATCH, deadline, &count) == 0 ? (int)count : -1;
}

static int get_batch(mproc_queue *queue, char *buffer, size_t bytes, mproc_deadline deadline)
{
    size_t count;
    return mproc_queue_get_many(queue, buffer, bytes, BATCH, deadline, &count) == 0 ? (int)count : -1;
}

static double batch_rate(void)
{
    return bench_queue_transfer(&(bench_transfer){.bytes = BENCH_MESSAGE_BYTES,
                                                  .buffer_bytes = BATCH * BENCH_MESSAGE_BYTES,
                                                  .messages = BATCHED_MESSAGES,
                                                  .send = put_batch,
                                                  .receive = get_batch},
                                true);
}

/* ---- there and back ---- */

typedef struct queues {
    mproc_queue *there, *back;
} queues;

static double trip_parent(void *context)
{
    queues *q = context;
    char byte = 0;
    size_t size;
    mproc_deadline deadline = mproc_after_ms(BENCH_QUEUE_DEADLINE_MS);
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
    mproc_deadline deadline = mproc_after_ms(BENCH_QUEUE_DEADLINE_MS);
    for (unsigned i = 0; i < HOT_TRIPS; i++)
        if (mproc_queue_get(q->there, &byte, 1, deadline, &size) < 0 ||
            mproc_queue_put(q->back, &byte, 1, deadline) < 0)
            return 1;
    return 0;
}

static double trip(void)
{
    queues q = {bench_queue_open(NULL), bench_queue_open(NULL)};
    double figure = q.there && q.back ? bench_pair(trip_parent, trip_child, &q) : -1;
    mproc_queue_close(&q.there);
    mproc_queue_close(&q.back);
    return figure;
}

/* ---- the cases. Where nobody has set a goal it is not to be slower ---- */

const bench_group bench_queue_rate = {
    "64 bytes, two processes pinned to two CPUs",
    "libmproc",
    "messages/s",
    BENCH_MIN,
    rate,
    (const bench_row[]){{"queue-64B", "boost-message-queue", 3.5, 2, NULL, "boost 64 2000000 pinned"},
                        {"queue-64B-zeromq", "zeromq-ipc", 5, 3, NULL, "zeromq 64 2000000 pinned"},
                        {"queue-64B-pipe", "pipe", 6, 3.5, NULL, "pipe 64 2000000 pinned"},
                        {"queue-64B-unix", "unix-seqpacket", 1, 1, NULL, "unix 64 2000000 pinned"},
                        {"queue-64B-mq", "posix-mq", 30, 15, NULL, "mq 64 2000000 pinned"},
                        {"queue-64B-nng", "nng-ipc", 1, 1, NULL, "nng 64 2000000 pinned"},
                        {"queue-64B-python", "python-queue", 100, 40, NULL, "python 64 2000000 pinned"},
                        {0}}};

const bench_group bench_queue_exclusive = {
    "64 bytes, two processes pinned to two CPUs",
    "libmproc, exclusive sides",
    "messages/s",
    BENCH_MIN,
    rate_exclusive,
    (const bench_row[]){{"queue-64B-exclusive", "boost-message-queue", 6, 3, NULL, "boost 64 2000000 pinned"},
                        {0}}};

const bench_group bench_queue_rate_unpinned = {
    "64 bytes, unpinned",
    "libmproc",
    "messages/s",
    BENCH_MIN,
    rate_unpinned,
    (const bench_row[]){
        {"queue-64B-unpinned", "boost-message-queue", 3, 1.5, NULL, "boost 64 2000000 unpinned"},
        {"queue-64B-unpinned-zeromq", "zeromq-ipc", 5, 3, NULL, "zeromq 64 2000000 unpinned"},
        {"queue-64B-unpinned-pipe", "pipe", 6, 3.5, NULL, "pipe 64 2000000 unpinned"},
        {"queue-64B-unpinned-unix", "unix-seqpacket", 1, 1, NULL, "unix 64 2000000 unpinned"},
        {"queue-64B-unpinned-mq", "posix-mq", 30, 15, NULL, "mq 64 2000000 unpinned"},
        {"queue-64B-unpinned-nng", "nng-ipc", 1, 1, NULL, "nng 64 2000000 unpinned"},
        {"queue-64B-unpinned-python", "python-queue", 100, 40, NULL, "python 64 2000000 unpinned"},
        {0}}};

const bench_group bench_queue_one_cpu = {
    "64 bytes, both on one CPU",
    "libmproc",
    "messages/s",
    BENCH_MIN,
    rate_on_one_cpu,
    (const bench_row[]){{"queue-one-cpu", "boost-message-queue", 1, 1, boost_on_one_cpu, NULL}, {0}}};

const bench_group bench_queue_batch = {
    "64 bytes, two processes pinned to two CPUs",
    "libmproc, batches of 64",
    "messages/s",
    BENCH_MIN,
    batch_rate,
    (const bench_row[]){{"queue-batch", "libmproc", 6, 3, rate, NULL}, {0}}};

const bench_group bench_queue_round_trip = {
    NULL,
    "libmproc",
    "ns",
    BENCH_MAX,
    trip,
    (const bench_row[]){{"queue-round-trip", "pipe", 1.0 / 150, 1.0 / 50, bench_peer_pipe_round_trip, NULL},
                        {"queue-round-trip-line", "cache-line", 2, 3, bench_line_ns, NULL},
                        {0}}};
