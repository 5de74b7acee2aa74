/* SPDX-License-Identifier: BSD-2-Clause */
/* What the cases of the queue share: one producer, one consumer, a queue between them. */
#ifndef MPROC__BENCH_QUEUE_H
#define MPROC__BENCH_QUEUE_H

#include <mproc.h>

enum { BENCH_QUEUE_DEADLINE_MS = 60000, BENCH_LARGE_BYTES = 1 << 20, BENCH_PAGE_BYTES = 4096 };

/* Moves some of the messages: how many, or negative. `buffer` is the side's own, of the case's size. */
typedef int bench_queue_step(mproc_queue *queue, char *buffer, size_t bytes, mproc_deadline deadline);

typedef struct bench_transfer {
    const mproc_queue_options *options; /* NULL: the defaults */
    size_t bytes;        /* of one message */
    size_t buffer_bytes; /* of a side's buffer */
    unsigned messages;
    bench_queue_step *send, *receive;
} bench_transfer;

/* Messages a second, the consumer here and the producer in a forked process; counted from the first one received. */
double bench_queue_transfer(const bench_transfer *of, bool pinned);
/* put and get of one message. */
bench_queue_step bench_queue_put, bench_queue_get;

/* A queue, or NULL with a message. An unpinned wait comes first: whether spinning can pay is asked once, of a process that
 * may use all CPUs. Pinning puts the two where the scheduler would have put them, it does not take a CPU away. */
mproc_queue *bench_queue_open(const mproc_queue_options *options);

#endif
