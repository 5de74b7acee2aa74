/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <string.h>

#include "channel/ring.h"

uint64_t mproc__ring_size(uint64_t max_bytes, uint32_t max_items)
{
    /* One record more than asked for: at most one padding lies between head and tail at a time. */
    uint64_t largest = MPROC__RECORD_HEADER_BYTES + MPROC__RECORD_BYTES;
    uint64_t wanted = max_bytes;
    if (max_items > 0 && (max_items + 1) * largest < wanted)
        wanted = (max_items + 1) * largest;
    uint64_t size = MPROC__RING_BYTES_LEAST;
    while (size < wanted && size < MPROC__RING_BYTES_MOST)
        size *= 2;
    return size;
}

/* Whether two positions can be the ends of one ring. */
static inline bool ring_plausible(const mproc__ring *ring, uint64_t head, uint64_t tail)
{
    uint64_t used = mproc__ring_used_bytes(head, tail);
    uint32_t items = mproc__ring_items(head, tail);
    return used <= ring->size_bytes && (mproc__position_bytes(head | tail) & 7) == 0 &&
           items * UINT64_C(8) <= used && (items == 0) == (used == 0);
}

static inline void ring_header(uint8_t *at, uint32_t size_bytes, unsigned kind)
{
    mproc__record_shared record = {size_bytes, (uint16_t)kind, MPROC__RECORD_CHECK};
    memcpy(at, &record, sizeof record);
}

int mproc__ring_write(const mproc__ring *ring, uint64_t head, uint64_t tail, unsigned kind, const void *data,
                      size_t size_bytes, uint64_t *ret_tail)
{
    if (MPROC__UNLIKELY(!ring_plausible(ring, head, tail)))
        return MPROC_ECORRUPT;
    if (mproc__ring_items(head, tail) >= ring->max_items)
        return -EAGAIN;
    uint64_t offset = mproc__position_bytes(tail) & (ring->size_bytes - 1);
    uint64_t to_end = ring->size_bytes - offset;
    uint64_t need = mproc__record_bytes(size_bytes);
    uint64_t padding = need > to_end ? to_end : 0;
    if (mproc__ring_used_bytes(head, tail) + padding + need > ring->size_bytes)
        return -EAGAIN;
    if (padding > 0) {
        ring_header(ring->bytes + offset, (uint32_t)(padding - MPROC__RECORD_HEADER_BYTES),
                    MPROC__RECORD_PADDING);
        offset = 0;
    }
    ring_header(ring->bytes + offset, (uint32_t)size_bytes, kind);
    if (size_bytes > 0)
        memcpy(ring->bytes + offset + MPROC__RECORD_HEADER_BYTES, data, size_bytes);
    *ret_tail = mproc__position_advance(tail, padding + need, 1);
    return 0;
}

/* Reads a header at `offset`; false when it cannot be one of `room` bytes. */
static inline bool ring_record(const mproc__ring *ring, uint64_t offset, uint64_t room,
                               mproc__record_shared *ret_record)
{
    if (room < MPROC__RECORD_HEADER_BYTES)
        return false;
    memcpy(ret_record, ring->bytes + offset, sizeof *ret_record);
    return ret_record->check == MPROC__RECORD_CHECK && ret_record->kind >= MPROC__RECORD_PADDING &&
           mproc__record_bytes(ret_record->size_bytes) <= room;
}

int mproc__ring_read(const mproc__ring *ring, uint64_t head, uint64_t tail, mproc__ring_view *ret_view)
{
    if (head == tail)
        return -EAGAIN;
    if (MPROC__UNLIKELY(!ring_plausible(ring, head, tail)))
        return MPROC_ECORRUPT;
    uint64_t offset = mproc__position_bytes(head) & (ring->size_bytes - 1);
    uint64_t to_end = ring->size_bytes - offset;
    uint64_t used = mproc__ring_used_bytes(head, tail);
    uint64_t padding = 0;
    mproc__record_shared record;
    if (!ring_record(ring, offset, used < to_end ? used : to_end, &record))
        return MPROC_ECORRUPT;
    if (record.kind == MPROC__RECORD_PADDING) {
        /* Only ever up to the end of the ring, and never the last record. */
        padding = to_end;
        if (mproc__record_bytes(record.size_bytes) != to_end || used <= padding)
            return MPROC_ECORRUPT;
        offset = 0;
        if (!ring_record(ring, offset, used - padding, &record) || record.kind == MPROC__RECORD_PADDING)
            return MPROC_ECORRUPT;
    }
    if (record.size_bytes > MPROC__RECORD_BYTES)
        return MPROC_ECORRUPT;
    ret_view->data = ring->bytes + offset + MPROC__RECORD_HEADER_BYTES;
    ret_view->size_bytes = record.size_bytes;
    ret_view->kind = record.kind;
    ret_view->position = (mproc__position_bytes(head) + padding) & ((UINT64_C(1) << 40) - 1);
    ret_view->next = mproc__position_advance(head, padding + mproc__record_bytes(record.size_bytes), 1);
    return 0;
}
