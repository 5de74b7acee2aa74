/* SPDX-License-Identifier: BSD-2-Clause */
/* The way of nearly all messages, as short as it can be: a record that lies at once where the side's ring is, and that nothing
 * else has to be done about. Whatever is unusual is left to queue_item.c, which does all of it again. L4. Of a put and a get
 * of 64 bytes these two, inlined, took away a third. */
#ifndef MPROC__CHANNEL_QUEUE_QUICK_H
#define MPROC__CHANNEL_QUEUE_QUICK_H

#include "channel/queue.h"

enum { MPROC__PREFETCH_BYTES = 256, MPROC__COPY_BYTES = 256 };

/* Small messages without a call into libc, which takes as long as the copy of 64 bytes. */
static inline void mproc__quick_copy(uint8_t *to, const uint8_t *from, size_t size_bytes)
{
    if (MPROC__UNLIKELY(size_bytes > MPROC__COPY_BYTES)) {
        memcpy(to, from, size_bytes);
        return;
    }
    for (; size_bytes >= 32; size_bytes -= 32, to += 32, from += 32)
        memcpy(to, from, 32);
    for (; size_bytes >= 8; size_bytes -= 8, to += 8, from += 8)
        memcpy(to, from, 8);
    for (; size_bytes > 0; size_bytes--)
        *to++ = *from++;
}

/* Open, and nobody counts roles. */
static inline bool mproc__quick_is_plain(const mproc__queue_shared *shared)
{
    return MPROC__LIKELY((atomic_load_explicit(&shared->state, memory_order_relaxed) |
                          atomic_load_explicit(&shared->counting, memory_order_relaxed)) == 0);
}

/* The lines that the next records go to were last read by the consumer: asked for now, they are ours when the stores of some
 * later put go there. */
static inline void mproc__quick_prefetch(const mproc__ring *ring, uint64_t tail)
{
    uint64_t ahead = (mproc__position_bytes(tail) + MPROC__PREFETCH_BYTES) & (ring->size_bytes - 1);
    __builtin_prefetch(ring->bytes + ahead, 1);
}

/* A record after *tail, in the tail's ring, if it fits there and does not wrap; the tail behind it. Else false. */
static inline bool mproc__quick_write(const mproc__ring *ring, uint64_t head, uint64_t *tail, unsigned kind,
                                      const void *data, size_t size_bytes)
{
    uint64_t need = mproc__record_bytes(size_bytes), offset = mproc__ring_offset(ring, *tail);
    bool fits = ((*tail ^ ring->number) & MPROC__RING_NUMBER) == 0 && offset + need <= ring->size_bytes &&
                mproc__ring_used_bytes(head, *tail) + need <= ring->full_bytes &&
                mproc__ring_items(head, *tail) < ring->max_items;
    if (MPROC__UNLIKELY(!fits))
        return false;
    mproc__ring_header(ring->bytes + offset, (uint32_t)size_bytes, kind);
    mproc__quick_copy(ring->bytes + offset + MPROC__RECORD_HEADER_BYTES, data, size_bytes);
    *tail = mproc__position_advance(*tail, need, 1);
    mproc__quick_prefetch(ring, *tail);
    return true;
}

/* The record at *head, if it is one of bytes, in the head's ring, and not larger than the buffer; the head behind it. Every
 * length is checked before use. */
static inline bool mproc__quick_read(const mproc__ring *ring, uint64_t *head, uint64_t tail, void *buffer,
                                     size_t capacity_bytes, size_t *ret_size_bytes)
{
    if (MPROC__UNLIKELY(*head == tail ||
                        ((*head ^ ring->number) | (tail ^ ring->number)) & MPROC__RING_NUMBER))
        return false;
    mproc__record_shared record;
    uint64_t offset = mproc__ring_offset(ring, *head), used = mproc__ring_used_bytes(*head, tail);
    memcpy(&record, ring->bytes + offset, sizeof record);
    uint64_t size_bytes = record.size_bytes, whole = mproc__record_bytes(size_bytes);
    bool good = record.check == MPROC__RECORD_CHECK && record.kind == MPROC__ITEM_BYTES &&
                size_bytes <= capacity_bytes && size_bytes <= MPROC__RECORD_BYTES && whole <= used &&
                offset + whole <= ring->size_bytes && used <= ring->size_bytes;
    if (MPROC__UNLIKELY(!good))
        return false;
    mproc__quick_copy(buffer, ring->bytes + offset + MPROC__RECORD_HEADER_BYTES, size_bytes);
    *head = mproc__position_advance(*head, whole, 1);
    *ret_size_bytes = size_bytes;
    return true;
}

/* How many records of `whole` bytes each lie or fit from `offset` of a ring on without wrapping, in `room` bytes. */
static inline size_t mproc__quick_run(const mproc__ring *ring, uint64_t offset, uint64_t room, uint64_t whole,
                                      size_t most)
{
    uint64_t to_end = ring->size_bytes - offset;
    uint64_t n = (room < to_end ? room : to_end) / whole;
    return n < most ? n : most;
}

/* As many items of one size after *tail as fit in one piece of the tail's ring; the tail behind them. How many. */
static inline size_t mproc__quick_write_run(const mproc__ring *ring, uint64_t head, uint64_t *tail,
                                            unsigned kind, const uint8_t *items, size_t item_bytes,
                                            size_t most)
{
    uint64_t used = mproc__ring_used_bytes(head, *tail), whole = mproc__record_bytes(item_bytes);
    uint32_t count = mproc__ring_items(head, *tail);
    if (((*tail ^ ring->number) & MPROC__RING_NUMBER) || used > ring->full_bytes || count >= ring->max_items)
        return 0;
    if (most > ring->max_items - count)
        most = ring->max_items - count;
    uint64_t offset = mproc__ring_offset(ring, *tail);
    size_t n = mproc__quick_run(ring, offset, ring->full_bytes - used, whole, most);
    uint8_t *at = ring->bytes + offset;
    for (size_t i = 0; i < n; i++, at += whole, items += item_bytes) {
        __builtin_prefetch((const void *)((uintptr_t)at + MPROC__PREFETCH_BYTES), 1);
        mproc__ring_header(at, (uint32_t)item_bytes, kind);
        mproc__quick_copy(at + MPROC__RECORD_HEADER_BYTES, items, item_bytes);
    }
    *tail = mproc__position_advance(*tail, n * whole, (uint32_t)n);
    return n;
}

/* As many records of bytes of one size from *head on as lie in one piece of the head's ring; the head behind them. How
 * many: 0 also when the first is another. */
static inline size_t mproc__quick_read_run(const mproc__ring *ring, uint64_t *head, uint64_t tail,
                                           uint8_t *items, size_t item_bytes, size_t most)
{
    uint64_t used = mproc__ring_used_bytes(*head, tail), whole = mproc__record_bytes(item_bytes);
    uint32_t count = mproc__ring_items(*head, tail);
    if ((((*head ^ ring->number) | (tail ^ ring->number)) & MPROC__RING_NUMBER) || used > ring->size_bytes)
        return 0;
    uint64_t offset = mproc__ring_offset(ring, *head);
    size_t n = mproc__quick_run(ring, offset, used, whole, most < count ? most : count), i = 0;
    const uint8_t *at = ring->bytes + offset;
    uint8_t header[MPROC__RECORD_HEADER_BYTES];
    mproc__ring_header(header, (uint32_t)item_bytes, MPROC__ITEM_BYTES);
    for (; i < n && memcmp(at, header, sizeof header) == 0; i++, at += whole, items += item_bytes)
        mproc__quick_copy(items, at + MPROC__RECORD_HEADER_BYTES, item_bytes);
    *head = mproc__position_advance(*head, i * whole, (uint32_t)i);
    return i;
}

/* Inside the producers' side. False: not this way, nothing was done. */
static inline bool mproc__quick_put(mproc_queue *queue, unsigned kind, const void *data, size_t size_bytes)
{
    mproc__queue_shared *shared = queue->shared;
    uint64_t tail = atomic_load_explicit(&shared->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&shared->put.side.seen, memory_order_relaxed);
    if (MPROC__UNLIKELY(!mproc__quick_write(&queue->put_ring, head, &tail, kind, data, size_bytes)))
        return false;
    atomic_store_explicit(&shared->tail, tail, memory_order_release);
    return true;
}

/* Nothing was given back that would have to be taken first. */
static inline bool mproc__quick_in_order(const mproc__queue_shared *shared)
{
    return MPROC__LIKELY(atomic_load_explicit(&shared->returned_marks, memory_order_acquire) ==
                         atomic_load_explicit(&shared->get.marks_seen, memory_order_relaxed));
}

/* Inside the consumers' side: the oldest record into a buffer. *ret_last: the last of those that this side knows of. False:
 * not this way, nothing was done. */
static inline bool mproc__quick_get(mproc_queue *queue, void *buffer, size_t capacity_bytes,
                                    size_t *ret_size_bytes, bool *ret_last)
{
    mproc__queue_shared *shared = queue->shared;
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&shared->get.side.seen, memory_order_relaxed);
    if (!mproc__quick_in_order(shared) ||
        !mproc__quick_read(&queue->get_ring, &head, tail, buffer, capacity_bytes, ret_size_bytes))
        return false;
    atomic_store_explicit(&shared->head, head, memory_order_release);
    *ret_last = head == tail;
    return true;
}

#endif
