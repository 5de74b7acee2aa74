/* SPDX-License-Identifier: BSD-2-Clause */
/* What the queue's files offer one another beside the way of an item, which is in queue.h, the only one to include this. L4. */
#ifndef MPROC__CHANNEL_QUEUE_PARTS_H
#define MPROC__CHANNEL_QUEUE_PARTS_H

#include "channel/queue.h"

/* ---- queue_dead.c ---- */
/* The oldest dead letter; inside the consumers' side. -EAGAIN: none; MPROC_EEND: none, and nothing there that may become one. */
int mproc__queue_dead_peek(mproc_queue *queue, mproc__queue_item *ret_item);
/* It becomes LEASED by row. MPROC_ECORRUPT. */
int mproc__queue_dead_accept(mproc_queue *queue, int row, const mproc__queue_item *item);
/* Whether a LEASED block was taken as a dead letter: not to be joined, and dead again if its taker dies. */
static inline bool mproc__queue_was_dead(const mproc_queue *queue, mproc__block_state leased)
{
    return leased.number > queue->max_deliveries;
}

/* ---- queue_check.c ---- */
/* So often a call without a deadline asks whether what keeps it can be true; not before a lock that nobody can hold has been
 * told from one that is held. */
enum { MPROC__QUEUE_CHECK_MS = MPROC__ROBUST_SLICE_MS + 100 };
/* mproc__side_lock, and MPROC_ECORRUPT of a lock that names somebody who never had it. */
int mproc__queue_lock_checked(const mproc_queue *queue, mproc__side_shared *side, mproc_deadline deadline);
/* MPROC_ECORRUPT: what is said to be queued cannot be, or a lock is as above. Waits for nobody; in doubt, 0. */
int mproc__queue_check(mproc_queue *queue);

/* ---- queue_loan.c ---- */
/* Before the first: a fork finds the guard free. 0, -ENOMEM. */
int mproc__queue_copies_begin(void);
void mproc__queue_copies_free(mproc_queue *queue);

/* ---- queue_order.c: not for FIFO ---- */
/* -EINVAL for a priority other than 0 in a queue that has none. */
int mproc__order_check(mproc_queue *queue, int32_t priority);
/* PRIVATE to QUEUED, and into the heap; waits for room. On failure the block is PRIVATE as before. */
int mproc__order_put(mproc_queue *queue, uint32_t block, mproc_deadline deadline);
/* LEASED to RETURNED and into the heap; MPROC_ESTATE. -EAGAIN: the lock is not to be had now, or the caller's. */
int mproc__order_return(mproc_queue *queue, uint32_t block, mproc__block_state from);
/* As mproc__queue_peek, but -EAGAIN also when it is closed; inside the consumers' side. */
int mproc__order_peek(mproc_queue *queue, mproc__queue_item *ret_item);
/* Takes what peek found: its block's word becomes `leased`; inside the consumers' side. */
int mproc__order_accept(mproc_queue *queue, const mproc__queue_item *item, mproc__block_state leased);
/* Makes heap and count true again if a death or a give back left them behind; inside the consumers' side. MPROC_ECORRUPT. */
int mproc__order_ready(mproc_queue *queue);
/* Has the next who asks for that do so, whatever they say now; inside the consumers' side. */
void mproc__order_doubt(mproc_queue *queue);
/* How many are queued; no lock. At rest exact. */
size_t mproc__order_items(const mproc_queue *queue);

/* ---- queue_poll.c ---- */
/* An attempt to get has found nothing: makes the descriptor unreadable, then tries once more. */
int mproc__queue_quiet(mproc_queue *queue, mproc__queue_attempt_fn *attempt, void *context,
                       mproc_deadline deadline);
int mproc__queue_wait_fd(mproc__handle *handle);
bool mproc__queue_ready(mproc__handle *handle, bool readable);

/* ---- queue_variant.c ---- */
/* An owned variant of an item's bytes. */
int mproc__queue_decode(unsigned kind, const void *data, size_t size_bytes, mproc_variant *ret_item);

#endif
