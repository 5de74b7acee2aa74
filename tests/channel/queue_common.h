/* SPDX-License-Identifier: BSD-2-Clause */
/* What the queue's tests and its kill sweep share: queues at both homes, and the invariants. */
#ifndef MPROC__TESTS_QUEUE_COMMON_H
#define MPROC__TESTS_QUEUE_COMMON_H

#include "channel/queue.h"
#include "shm/place.h"

/* The order of a queue whose options name none. With plain puts a priority queue does what a FIFO queue does: programs
 * compiled with another value show that. */
#ifndef QUEUE_ORDER
#define QUEUE_ORDER MPROC_ORDER_FIFO
#endif

/* A queue at `home`; NULL when it could not be made. */
mproc_queue *queue_make(mproc__home home, const mproc_queue_options *options);
/* Every invariant, with nobody in a call: the ring readable from head to tail, the blocks it names alive and named once,
 * no block that is neither named nor taken nor returned, counts that agree. NULL, or what is wrong. `open_blocks`: how
 * many PRIVATE blocks of the living there may be. */
const char *queue_verify(mproc_queue *queue, size_t open_blocks);

#endif
