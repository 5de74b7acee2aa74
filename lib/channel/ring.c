/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "channel/ring.h"

uint64_t mproc__ring_size(uint64_t max_bytes, uint32_t max_items)
{
    /* One record more than asked for: at most one padding lies between head and tail at a time, and in each further ring
     * one, and a LINK. */
    uint64_t largest = MPROC__RECORD_HEADER_BYTES + MPROC__RECORD_BYTES;
    uint64_t wanted = max_bytes;
    if (max_items > 0 && (max_items + 1) * largest < wanted) {
        wanted = (max_items + 1) * largest;
        if (wanted > MPROC__RING_WHOLE_BYTES)
            wanted += MPROC__RINGS_MOST * (largest + MPROC__RECORD_HEADER_BYTES);
    }
    uint64_t size = MPROC__RING_BYTES_LEAST;
    while (size < wanted && size < MPROC__RING_BYTES_MOST)
        size *= 2;
    return size;
}

static void ring_place(mproc__ring *ring, uint32_t k)
{
    /* No ring's number meanwhile: a fork by another thread may copy this half done, and that child must not believe it. */
    *(volatile uint64_t *)&ring->number = MPROC__RING_NUMBER;
    atomic_thread_fence(memory_order_release);
    /* As a number: who only asks for sizes has a row at NULL, and that plus 0 is undefined, too. */
    ring->bytes = (uint8_t *)((uintptr_t)ring->row + mproc__ring_begin(ring, k));
    ring->size_bytes = ring->first_bytes << k;
    ring->full_bytes = ring->size_bytes - (k < ring->last ? MPROC__RECORD_HEADER_BYTES : 0);
    atomic_thread_fence(memory_order_release);
    *(volatile uint64_t *)&ring->number = (uint64_t)k << MPROC__RING_SHIFT;
}

mproc__ring mproc__ring_first(uint8_t *bytes, uint64_t size_bytes, uint32_t max_items, bool grows)
{
    mproc__ring ring = {.row = bytes, .first_bytes = size_bytes, .max_items = max_items};
    if (grows && size_bytes > MPROC__RING_WHOLE_BYTES)
        for (; ring.first_bytes > MPROC__RING_FIRST_BYTES; ring.last++)
            ring.first_bytes /= 2;
    ring_place(&ring, 0);
    return ring;
}

bool mproc__ring_move(mproc__ring *ring, uint64_t position)
{
    uint32_t k = mproc__position_ring(position);
    if (k > ring->last)
        return false;
    ring_place(ring, k);
    return true;
}

static uint64_t link_behind(uint64_t position)
{
    return mproc__position_advance(position, MPROC__RECORD_HEADER_BYTES, 0) +
           (UINT64_C(1) << MPROC__RING_SHIFT);
}

uint64_t mproc__ring_link(mproc__ring *ring, uint64_t tail)
{
    mproc__ring_header(mproc__ring_at(ring, tail), 0, MPROC__RECORD_LINK);
    tail = mproc__position_advance(tail, MPROC__RECORD_HEADER_BYTES, 0) + (UINT64_C(1) << MPROC__RING_SHIFT);
    ring_place(ring, mproc__position_ring(tail));
    return tail;
}

int mproc__ring_read_on(mproc__ring *ring, uint64_t head, uint64_t tail, mproc__ring_view *ret_view)
{
    mproc__record_shared record;
    uint64_t most = ring->first_bytes << mproc__position_ring(tail);
    if (head == tail)
        return -EAGAIN;
    if (mproc__position_ring(tail) > ring->last || mproc__position_ring(head) > mproc__position_ring(tail) ||
        !mproc__ring_move(ring, head))
        return MPROC_ECORRUPT;
    int rc = mproc__ring_read_here(ring, most, head, tail, ret_view);
    if (rc == 0 || mproc__position_ring(head) == mproc__position_ring(tail))
        return rc;
    memcpy(&record, mproc__ring_at(ring, head), sizeof record);
    if (record.check != MPROC__RECORD_CHECK || record.kind != MPROC__RECORD_LINK || record.size_bytes != 0)
        return MPROC_ECORRUPT;
    mproc__ring next = *ring;
    ring_place(&next, mproc__position_ring(head) + 1);
    return mproc__ring_read_here(&next, most, link_behind(head), tail, ret_view);
}
