/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether what a queue says to hold can be true. For who waits without a deadline: in a queue that damage has made look
 * full nobody ever makes room. */
#include "platform/base.h"

#include <linux/futex.h>
#include <string.h>

#include "channel/queue.h"

static bool record_is_true(mproc_queue *queue, const mproc__ring_view *view)
{
    mproc__descriptor_shared descriptor;
    if (view->kind != MPROC__ITEM_BLOCK)
        return view->kind == MPROC__ITEM_BYTES || view->kind == MPROC__ITEM_VARIANT;
    if (view->size_bytes != sizeof descriptor)
        return false;
    memcpy(&descriptor, view->data, sizeof descriptor);
    return mproc__queue_block(queue, descriptor.block) &&
           mproc__queue_block_holds(queue, descriptor.block, descriptor.size_bytes);
}

/* From head to tail, as many records as the two count: the last one's end is the tail, in bytes and in items. */
static bool ring_is_true(mproc_queue *queue, uint64_t head, uint64_t tail)
{
    mproc__ring ring = queue->ring;
    mproc__ring_view view;
    while (head != tail) {
        if (mproc__ring_read_on(&ring, head, tail, &view) < 0 || !record_is_true(queue, &view))
            return false;
        head = view.next;
    }
    return true;
}

/* Whoever takes a lock of the queue has a row in its segment first, and leaves it last. A free row's number is 0. */
static bool is_participant(const mproc_queue *queue, pid_t pid)
{
    if (pid <= 0)
        return false;
    if (!queue->process_shared)
        return pid == mproc__pid();
    for (unsigned row = 0; row < mproc__segment_rows(queue->segment); row++)
        if (mproc__segment_row_pid(queue->segment, row) == pid)
            return true;
    return false;
}

/* A word that names a thread which does not exist is found by who waits for it; one that names another's thread looks held
 * for as long as that lives. */
static bool lock_is_true(const mproc_queue *queue, const mproc__robust_shared *lock)
{
    uint32_t word = atomic_load_explicit(mproc__robust_word(lock), memory_order_relaxed);
    pid_t tid = (pid_t)(word & FUTEX_TID_MASK), pid = tid > 0 ? mproc__process_of_thread(tid) : 0;
    if (pid == 0 || is_participant(queue, pid))
        return true;
    return atomic_load_explicit(mproc__robust_word(lock), memory_order_relaxed) != word;
}

/* The same of who is inside without the lock. */
static bool side_is_true(const mproc_queue *queue, const mproc__side_shared *side)
{
    uint64_t who = mproc__side_insider(side);
    bool good =
        who == 0 || is_participant(queue, (pid_t)(who & UINT32_MAX)) || mproc__side_insider(side) != who;
    return good && lock_is_true(queue, &side->lock);
}

int mproc__queue_lock_checked(const mproc_queue *queue, mproc__side_shared *side, mproc_deadline deadline)
{
    for (;;) {
        mproc_deadline slice = mproc_after_ms(MPROC__QUEUE_CHECK_MS);
        int rc = mproc__side_lock(queue->segment, side, slice.ns < deadline.ns ? slice : deadline);
        if (rc != -ETIMEDOUT || mproc__deadline_past(deadline))
            return rc;
        if (!side_is_true(queue, side))
            return MPROC_ECORRUPT;
    }
}

static int check_inside(mproc_queue *queue)
{
    const mproc__queue_shared *shared = queue->shared;
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&shared->tail, memory_order_acquire);
    return ring_is_true(queue, head, tail) ? 0 : MPROC_ECORRUPT;
}

int mproc__queue_check(mproc_queue *queue)
{
    mproc__queue_shared *shared = queue->shared;
    if (!side_is_true(queue, &shared->put.side) || !side_is_true(queue, &shared->get.side))
        return MPROC_ECORRUPT;
    /* Inside, no ring is given back to the system while it is read. */
    if (mproc__side_lock_by(queue->segment, &shared->get.side, MPROC_NOW) < 0)
        return 0;
    int rc = 0;
    if (queue->order == MPROC_ORDER_FIFO)
        rc = check_inside(queue);
    else
        mproc__order_doubt(queue);
    mproc__side_release(&shared->get.side);
    return rc;
}
