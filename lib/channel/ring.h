/* SPDX-License-Identifier: BSD-2-Clause */
/* The byte ring as pure arithmetic: no lock, no wait, no memory of its own. L4. Inline, because put and get are made of
 * it and each call saved is 2 ns of some 50.
 *
 * A position is one 64-bit word: byte position (40 bits, counts on for ever) and item count (24 bits), so that a single
 * release store of the tail or the head moves both: the number of items can never disagree with the bytes. The ring's
 * size is a power of two, at most 2^36, so a wrapped byte position still lands on the right byte.
 *
 * A record is an 8-byte header and its bytes, rounded up to 8, and never wraps: what does not fit before the end of the
 * ring is preceded by a padding record, which moves with it in the same store. */
#ifndef MPROC__CHANNEL_RING_H
#define MPROC__CHANNEL_RING_H

#include <string.h>

#include "platform/base.h"

enum {
    MPROC__RECORD_HEADER_BYTES = 8,
    MPROC__RECORD_BYTES = 1024, /* the largest record; larger messages travel as descriptors of blocks */
    MPROC__RECORD_PADDING = 1,  /* kinds from 2 up are the queue's; 0, what fresh memory holds, is damage */
    MPROC__RECORD_CHECK = 0x6d71,
    MPROC__RING_BYTES_LEAST =
        4096 /* more than twice the largest record: with padding it always fits in the end */
};
#define MPROC__RING_BYTES_MOST (UINT64_C(1) << 36)
#define MPROC__RING_ITEMS_MOST 0xfffffeu

/* Written by the producer, under the producers' lock, before the tail store that makes it visible; read by a consumer
 * only between head and tail. A producer that dies here leaves bytes that the next one overwrites. */
typedef struct mproc__record_shared {
    uint32_t size_bytes;
    uint16_t kind;
    uint16_t check; /* MPROC__RECORD_CHECK */
} mproc__record_shared;

typedef struct mproc__ring {
    uint8_t *bytes;      /* the caller's; 8-byte aligned */
    uint64_t size_bytes; /* a power of two */
    uint32_t max_items;  /* at most MPROC__RING_ITEMS_MOST */
} mproc__ring;

static inline uint64_t mproc__position_bytes(uint64_t position)
{
    return position >> 24;
}
static inline uint32_t mproc__position_items(uint64_t position)
{
    return (uint32_t)(position & 0xffffffu);
}
static inline uint64_t mproc__position_advance(uint64_t position, uint64_t bytes, uint32_t items)
{
    return ((mproc__position_bytes(position) + bytes) << 24) |
           ((mproc__position_items(position) + items) & 0xffffffu);
}
static inline uint64_t mproc__ring_used_bytes(uint64_t head, uint64_t tail)
{
    return (mproc__position_bytes(tail) - mproc__position_bytes(head)) & ((UINT64_C(1) << 40) - 1);
}
static inline uint32_t mproc__ring_items(uint64_t head, uint64_t tail)
{
    return (mproc__position_items(tail) - mproc__position_items(head)) & 0xffffffu;
}
static inline size_t mproc__record_bytes(size_t size_bytes)
{
    return MPROC__RECORD_HEADER_BYTES + mproc__round_up(size_bytes, 8);
}

/* The size of a ring for `max_bytes` of messages and at most `max_items` of them (0: no such limit). */
uint64_t mproc__ring_size(uint64_t max_bytes, uint32_t max_items);

/* Whether two positions can be the ends of one ring. */
static inline bool mproc__ring_plausible(const mproc__ring *ring, uint64_t head, uint64_t tail)
{
    uint64_t used = mproc__ring_used_bytes(head, tail);
    uint32_t items = mproc__ring_items(head, tail);
    return used <= ring->size_bytes && (mproc__position_bytes(head | tail) & 7) == 0 &&
           items * UINT64_C(8) <= used && (items == 0) == (used == 0);
}

static inline void mproc__ring_header(uint8_t *at, uint32_t size_bytes, unsigned kind)
{
    mproc__record_shared record = {size_bytes, (uint16_t)kind, MPROC__RECORD_CHECK};
    memcpy(at, &record, sizeof record);
}

/* Writes a record after `tail` and returns the position after it; nothing is visible until the caller stores that.
 * 0; -EAGAIN: no room now; MPROC_ECORRUPT: head and tail cannot be true. size_bytes <= MPROC__RECORD_BYTES. */
static inline int mproc__ring_write(const mproc__ring *ring, uint64_t head, uint64_t tail, unsigned kind,
                                    const void *data, size_t size_bytes, uint64_t *ret_tail)
{
    if (MPROC__UNLIKELY(!mproc__ring_plausible(ring, head, tail)))
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
        mproc__ring_header(ring->bytes + offset, (uint32_t)(padding - MPROC__RECORD_HEADER_BYTES),
                           MPROC__RECORD_PADDING);
        offset = 0;
    }
    mproc__ring_header(ring->bytes + offset, (uint32_t)size_bytes, kind);
    if (size_bytes > 0)
        memcpy(ring->bytes + offset + MPROC__RECORD_HEADER_BYTES, data, size_bytes);
    *ret_tail = mproc__position_advance(tail, padding + need, 1);
    return 0;
}

/* A record in place. */
typedef struct mproc__ring_view {
    const void *data;
    size_t size_bytes;
    unsigned kind;
    uint64_t position; /* in bytes: which message this is, and older than a larger one */
    uint64_t next;     /* the head after it */
} mproc__ring_view;

/* Reads a header at `offset`; false when it cannot be one of `room` bytes. */
static inline bool mproc__ring_record(const mproc__ring *ring, uint64_t offset, uint64_t room,
                                      mproc__record_shared *ret_record)
{
    if (room < MPROC__RECORD_HEADER_BYTES)
        return false;
    memcpy(ret_record, ring->bytes + offset, sizeof *ret_record);
    return ret_record->check == MPROC__RECORD_CHECK && ret_record->kind >= MPROC__RECORD_PADDING &&
           mproc__record_bytes(ret_record->size_bytes) <= room;
}

/* The record at `head`. 0; -EAGAIN: empty; MPROC_ECORRUPT. Every length is checked before use. */
static inline int mproc__ring_read(const mproc__ring *ring, uint64_t head, uint64_t tail,
                                   mproc__ring_view *ret_view)
{
    if (head == tail)
        return -EAGAIN;
    if (MPROC__UNLIKELY(!mproc__ring_plausible(ring, head, tail)))
        return MPROC_ECORRUPT;
    uint64_t offset = mproc__position_bytes(head) & (ring->size_bytes - 1);
    uint64_t to_end = ring->size_bytes - offset;
    uint64_t used = mproc__ring_used_bytes(head, tail);
    uint64_t padding = 0;
    mproc__record_shared record;
    if (!mproc__ring_record(ring, offset, used < to_end ? used : to_end, &record))
        return MPROC_ECORRUPT;
    if (record.kind == MPROC__RECORD_PADDING) {
        /* Only ever up to the end of the ring, and never the last record. */
        padding = to_end;
        if (mproc__record_bytes(record.size_bytes) != to_end || used <= padding)
            return MPROC_ECORRUPT;
        offset = 0;
        if (!mproc__ring_record(ring, offset, used - padding, &record) ||
            record.kind == MPROC__RECORD_PADDING)
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

#endif
