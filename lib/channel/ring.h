/* SPDX-License-Identifier: BSD-2-Clause */
/* The byte ring as pure arithmetic: no lock, no wait, no memory of its own. L4. Inline, because put and get are made of
 * it and each call saved is 2 ns of some 50.
 *
 * A position is one 64-bit word: bytes in units of 8 (35 bits, count on for ever), number of the ring (5 bits) and item
 * count (24 bits), so that a single release store of the tail or the head moves all: the number of items can never
 * disagree with the bytes. A ring's size is a power of two, at most 2^36, so a wrapped byte position still lands on the
 * right byte.
 *
 * A record is an 8-byte header and its bytes, rounded up to 8, and never wraps: what does not fit before the end of the
 * ring is preceded by a padding record, which moves with it in the same store.
 *
 * A ring that can grow is a row of rings, each twice the size of the one before, and each used once. When the tail's ring
 * is full, a LINK record, for which 8 bytes are always kept, says that the next record lies in the next ring; it, too,
 * moves with that record in the same store. Bytes count on across it, from whatever offset they land on, so that head and
 * tail differ by all that lies between them, in whichever rings; and what lies between them fits the tail's ring, so that
 * the tail cannot run into itself there. The budget is the last ring's size, as if there were no other. */
#ifndef MPROC__CHANNEL_RING_H
#define MPROC__CHANNEL_RING_H

#include <string.h>

#include "platform/base.h"

enum {
    MPROC__RECORD_HEADER_BYTES = 8,
    MPROC__RECORD_BYTES = 1024, /* the largest record; larger messages travel as descriptors of blocks */
    MPROC__RECORD_PADDING = 1,  /* 0, what fresh memory holds, is damage */
    MPROC__RECORD_LINK = 2,     /* kinds above are the queue's */
    MPROC__RECORD_CHECK = 0x6d71,
    MPROC__RINGS_MOST = 32, /* in a row: 5 bits */
    MPROC__RING_BYTES_LEAST =
        4096 /* more than twice the largest record: with padding it always fits in the end */
};
#define MPROC__RING_BYTES_MOST (UINT64_C(1) << 36)
/* Up to this size a ring is there from the beginning. */
#define MPROC__RING_WHOLE_BYTES (UINT64_C(1) << 20)
/* A larger one begins with this: what two processes that stream keep in their caches; smaller costs speed. */
#define MPROC__RING_FIRST_BYTES (UINT64_C(1) << 18)
#define MPROC__RING_ITEMS_MOST  0xfffffeu

/* Written by the producer, under the producers' lock, before the tail store that makes it visible; read by a consumer
 * only between head and tail. A producer that dies here leaves bytes that the next one overwrites. */
typedef struct mproc__record_shared {
    uint32_t size_bytes;
    uint16_t kind;
    uint16_t check; /* MPROC__RECORD_CHECK */
} mproc__record_shared;

/* One ring of a row, the one that a side is in. Which that is changes seldom, so it is kept, and compared, and not worked
 * out anew each time. */
typedef struct mproc__ring {
    uint8_t *bytes;      /* 8-byte aligned */
    uint64_t size_bytes; /* a power of two */
    uint64_t full_bytes; /* so much may lie between head and tail: 8 bytes less when there is a next ring */
    uint64_t number;     /* of the ring, as it stands in a position */
    uint32_t max_items;  /* at most MPROC__RING_ITEMS_MOST */
    uint32_t last;       /* ring of the row */
    uint8_t *row;        /* ring 0; ring k begins (2^k - 1) * first_bytes behind it */
    uint64_t first_bytes;
} mproc__ring;

#define MPROC__RING_SHIFT  24
#define MPROC__RING_NUMBER ((uint64_t)(MPROC__RINGS_MOST - 1) << MPROC__RING_SHIFT)

static inline uint64_t mproc__position_bytes(uint64_t position)
{
    return position >> 29 << 3;
}
static inline uint32_t mproc__position_ring(uint64_t position)
{
    return (uint32_t)(position >> MPROC__RING_SHIFT) & (MPROC__RINGS_MOST - 1);
}
static inline uint32_t mproc__position_items(uint64_t position)
{
    return (uint32_t)(position & 0xffffffu);
}
/* `bytes` is a multiple of 8. */
static inline uint64_t mproc__position_advance(uint64_t position, uint64_t bytes, uint32_t items)
{
    return ((position & ~UINT64_C(0xffffff)) + (bytes << 26)) | ((position + items) & 0xffffffu);
}
/* From one byte position to a later one. */
static inline uint64_t mproc__bytes_between(uint64_t from_bytes, uint64_t to_bytes)
{
    return (to_bytes - from_bytes) & ((UINT64_C(1) << 38) - 1);
}
static inline uint64_t mproc__ring_used_bytes(uint64_t head, uint64_t tail)
{
    return ((tail >> 29) - (head >> 29)) << 29 >> 26;
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
/* Ring 0 of a row that ends with one of `size_bytes`, a power of two; with `grows` unset that is the only one. The
 * row's memory begins at `bytes`. */
mproc__ring mproc__ring_first(uint8_t *bytes, uint64_t size_bytes, uint32_t max_items, bool grows);
/* Where ring k of the row begins; with last + 1 how long it is. */
static inline uint64_t mproc__ring_begin(const mproc__ring *ring, uint32_t k)
{
    return (ring->first_bytes << k) - ring->first_bytes;
}
/* Makes `ring` the one of its row that the position is in. False: there is no such. */
bool mproc__ring_move(mproc__ring *ring, uint64_t position);
/* Where in `ring` a position lies. */
static inline uint64_t mproc__ring_offset(const mproc__ring *ring, uint64_t position)
{
    return (position >> 26) & (ring->size_bytes - 8);
}
static inline uint8_t *mproc__ring_at(const mproc__ring *ring, uint64_t position)
{
    return ring->bytes + mproc__ring_offset(ring, position);
}

/* The same in whichever ring of the row it is, also of positions that cannot be true: to prefetch, no more. */
static inline const void *mproc__ring_hint(const mproc__ring *ring, uint64_t position)
{
    uint64_t size_bytes = ring->first_bytes << mproc__position_ring(position);
    uint64_t offset = (size_bytes - ring->first_bytes) + ((position >> 26) & (size_bytes - 8));
    return (const void *)((uintptr_t)ring->row + offset);
}

/* Whether two positions can be the ends of what lies in a row whose ring at the tail has `size_bytes`. */
static inline bool mproc__ring_plausible(uint64_t size_bytes, uint64_t head, uint64_t tail)
{
    uint64_t used = mproc__ring_used_bytes(head, tail);
    uint32_t items = mproc__ring_items(head, tail);
    return used <= size_bytes && items * UINT64_C(8) <= used && (items == 0) == (used == 0);
}

static inline void mproc__ring_header(uint8_t *at, uint32_t size_bytes, unsigned kind)
{
    mproc__record_shared record = {size_bytes, (uint16_t)kind, MPROC__RECORD_CHECK};
    memcpy(at, &record, sizeof record);
}

/* Writes a record after `tail` and returns the position after it; nothing is visible until the caller stores that.
 * 0; -EAGAIN: no room now; MPROC_ECORRUPT: the tail is in another ring, or head and tail cannot be true.
 * size_bytes <= MPROC__RECORD_BYTES. */
static inline int mproc__ring_write(const mproc__ring *ring, uint64_t head, uint64_t tail, unsigned kind,
                                    const void *data, size_t size_bytes, uint64_t *ret_tail)
{
    if (MPROC__UNLIKELY((tail & MPROC__RING_NUMBER) != ring->number ||
                        !mproc__ring_plausible(ring->size_bytes, head, tail)))
        return MPROC_ECORRUPT;
    if (mproc__ring_items(head, tail) >= ring->max_items)
        return -EAGAIN;
    uint64_t offset = mproc__ring_offset(ring, tail);
    uint64_t to_end = ring->size_bytes - offset;
    uint64_t need = mproc__record_bytes(size_bytes);
    uint64_t padding = need > to_end ? to_end : 0;
    if (mproc__ring_used_bytes(head, tail) + padding + need > ring->full_bytes)
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

/* The tail's ring, which `ring` is, is full for a record, and not the last of the row: writes a LINK there, makes `ring` the
 * next one and returns the position in it, where the record will fit. Nothing is visible until the caller stores the
 * position behind that. */
uint64_t mproc__ring_link(mproc__ring *ring, uint64_t tail);

/* A record in place. */
typedef struct mproc__ring_view {
    const void *data;
    size_t size_bytes;
    unsigned kind;
    uint64_t position; /* in bytes, 38 bits: which message this is, and older than a later one */
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

/* The record at `head`, which is in `ring`; the tail's ring has `most` bytes. 0; MPROC_ECORRUPT. Every length is checked
 * before use. */
static inline int mproc__ring_read_here(const mproc__ring *ring, uint64_t most, uint64_t head, uint64_t tail,
                                        mproc__ring_view *ret_view)
{
    if (MPROC__UNLIKELY(!mproc__ring_plausible(most, head, tail)))
        return MPROC_ECORRUPT;
    uint64_t offset = mproc__ring_offset(ring, head);
    uint64_t to_end = ring->size_bytes - offset;
    uint64_t used = mproc__ring_used_bytes(head, tail);
    uint64_t padding = 0;
    mproc__record_shared record;
    if (!mproc__ring_record(ring, offset, used < to_end ? used : to_end, &record))
        return MPROC_ECORRUPT;
    if (record.kind <= MPROC__RECORD_LINK) {
        /* Only ever up to the end of the ring, and never the last record. */
        padding = to_end;
        if (record.kind == MPROC__RECORD_LINK || mproc__record_bytes(record.size_bytes) != to_end ||
            used <= padding)
            return MPROC_ECORRUPT;
        offset = 0;
        if (!mproc__ring_record(ring, offset, used - padding, &record) || record.kind <= MPROC__RECORD_LINK)
            return MPROC_ECORRUPT;
    }
    if (record.size_bytes > MPROC__RECORD_BYTES)
        return MPROC_ECORRUPT;
    ret_view->data = ring->bytes + offset + MPROC__RECORD_HEADER_BYTES;
    ret_view->size_bytes = record.size_bytes;
    ret_view->kind = record.kind;
    ret_view->position = mproc__bytes_between(0, mproc__position_bytes(head) + padding);
    ret_view->next = mproc__position_advance(head, padding + mproc__record_bytes(record.size_bytes), 1);
    return 0;
}

/* The record at `head`. 0; -EAGAIN: empty; MPROC_ECORRUPT: may be so, or one of the positions is in another ring than `ring`:
 * ask ring_read_on. */
static inline int mproc__ring_read(const mproc__ring *ring, uint64_t head, uint64_t tail,
                                   mproc__ring_view *ret_view)
{
    if (head == tail)
        return -EAGAIN;
    if (MPROC__UNLIKELY(((head ^ ring->number) | (tail ^ ring->number)) & MPROC__RING_NUMBER))
        return MPROC_ECORRUPT;
    return mproc__ring_read_here(ring, ring->size_bytes, head, tail, ret_view);
}

/* The same for positions in whichever rings of the row; makes `ring` the head's. */
int mproc__ring_read_on(mproc__ring *ring, uint64_t head, uint64_t tail, mproc__ring_view *ret_view);

#endif
