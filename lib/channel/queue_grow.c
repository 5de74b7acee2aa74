/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue's ring grows: on into the next of the row (ring.h), which is twice as large, while max_bytes allows.
 *
 * The memory of a ring is reserved before its first byte is touched, so a system without any is an answer here and never a
 * signal; reserving twice is the same as once, so whoever dies in the middle has done no harm. The growing itself is the one
 * store of the tail that commits the record, too. The arena, where blocks lie, grows by itself (shm/arena.c).
 *
 * Rejected: to move the items to the larger ring, which takes both locks and a copy, and a death in the middle a repair; a
 * second segment, which takes a descriptor in every process. */
#include "platform/base.h"

#include "channel/queue.h"

enum {
    /* After a refusal the system is not asked again for so long: asking costs 0.1 ms, and a full queue is polled. */
    GROW_PAUSE_MS = 100
};

static size_t ring_offset(const mproc_queue *queue, uint32_t k)
{
    return (size_t)(queue->ring.bytes - (const uint8_t *)queue->shared) + mproc__ring_begin(&queue->ring, k);
}

/* Memory for ring k, all of it or none. */
static bool ring_reserve(mproc_queue *queue, uint32_t k)
{
    _Atomic int64_t *after_ns = &queue->shared->put.grow_after_ns;
    int64_t now_ns = mproc__now_ns();
    if (now_ns < atomic_load_explicit(after_ns, memory_order_relaxed))
        return false;
    size_t offset = ring_offset(queue, k), bytes = queue->ring.first_bytes << k;
    if (mproc__segment_reserve(queue->segment, offset, bytes) == 0)
        return true;
    /* Some of it may have been reserved; of others who may have tried the same, none has used it. */
    (void)mproc__segment_free_range(queue->segment, offset, bytes);
    atomic_store_explicit(after_ns, now_ns + GROW_PAUSE_MS * INT64_C(1000000), memory_order_relaxed);
    return false;
}

int mproc__queue_write_on(mproc_queue *queue, uint64_t head, uint64_t tail, unsigned kind, const void *data,
                          size_t size_bytes, uint64_t *ret_tail)
{
    if (!mproc__ring_move(&queue->put_ring, tail))
        return MPROC_ECORRUPT;
    int rc = mproc__ring_write(&queue->put_ring, head, tail, kind, data, size_bytes, ret_tail);
    uint32_t k = mproc__position_ring(tail);
    if (rc != -EAGAIN || k == queue->ring.last || mproc__ring_items(head, tail) >= queue->ring.max_items ||
        !ring_reserve(queue, k + 1))
        return rc;
    mproc__ring next = queue->put_ring;
    tail = mproc__ring_link(&next, tail);
    return mproc__ring_write(&next, head, tail, kind, data, size_bytes, ret_tail);
}

int mproc__queue_read_on(mproc_queue *queue, uint64_t head, uint64_t tail, mproc__ring_view *ret_view)
{
    atomic_store_explicit(&queue->shed_due, true, memory_order_relaxed);
    return mproc__ring_read_on(&queue->get_ring, head, tail, ret_view);
}

static void rings_release(mproc_queue *queue, uint32_t count)
{
    uint32_t shed = atomic_load_explicit(&queue->rings_shed, memory_order_relaxed);
    size_t begin = ring_offset(queue, shed), end = ring_offset(queue, count);
    (void)mproc__segment_free_range(queue->segment, begin, end - begin);
    while (shed < count && !atomic_compare_exchange_weak_explicit(&queue->rings_shed, &shed, count,
                                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

/* No producer comes back to a ring before the tail's, nobody who reads to one before the head's. Done in each process by its
 * first get behind the link, so that one does what another was killed before. */
void mproc__queue_shed(mproc_queue *queue)
{
    atomic_store_explicit(&queue->shed_due, false, memory_order_seq_cst);
    uint64_t head = atomic_load_explicit(&queue->shared->head, memory_order_acquire);
    uint32_t count = mproc__position_ring(head);
    /* Who is on its way to the next ring may have set what was just cleared, and not yet have moved the head. */
    if (mproc__position_ring(atomic_load_explicit(&queue->shared->tail, memory_order_acquire)) > count)
        atomic_store_explicit(&queue->shed_due, true, memory_order_relaxed);
    if (count <= queue->ring.last && count > atomic_load_explicit(&queue->rings_shed, memory_order_relaxed))
        rings_release(queue, count);
}
