/* SPDX-License-Identifier: BSD-2-Clause */
/* Many messages of one size: one lock, one store and one wake for all that fit now. */
#include "platform/base.h"

#include <string.h>

#include "channel/queue_quick.h"

enum {
    LOCK_HOLD_BYTES = 65536 /* copied per lock hold: some 10 us, the longest that others wait */
};

typedef struct batch {
    int row;
    uint8_t *items;
    size_t item_bytes, count;
    size_t moved; /* so far */
} batch;

static size_t batch_at_once(const batch *b)
{
    size_t most = LOCK_HOLD_BYTES / mproc__record_bytes(b->item_bytes);
    size_t left = b->count - b->moved;
    return left < most ? left : most;
}

/* Inside the producers' side: as many records as fit, made visible by one store. */
static int put_inside(mproc_queue *queue, batch *b)
{
    mproc__queue_shared *shared = queue->shared;
    if (atomic_load_explicit(&shared->state, memory_order_relaxed) != MPROC__QUEUE_OPEN)
        return MPROC_ECLOSED;
    uint64_t head = atomic_load_explicit(&shared->put.side.seen, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&shared->tail, memory_order_relaxed);
    size_t n = 0, most = batch_at_once(b);
    int rc = 0;
    while (n < most && rc == 0) {
        const uint8_t *items = b->items + (b->moved + n) * b->item_bytes;
        size_t run = mproc__quick_write_run(&queue->put_ring, head, &tail, MPROC__ITEM_BYTES, items,
                                            b->item_bytes, most - n);
        n += run;
        if (run > 0)
            continue;
        head = atomic_load_explicit(&shared->head, memory_order_acquire);
        atomic_store_explicit(&shared->put.side.seen, head, memory_order_relaxed);
        rc = mproc__queue_write_on(queue, head, tail, MPROC__ITEM_BYTES, items, b->item_bytes, &tail);
        n += rc == 0;
    }
    if (n == 0)
        return rc;
    atomic_store_explicit(&shared->tail, tail, memory_order_release);
    b->moved += n;
    return 0;
}

static int put_attempt(mproc_queue *queue, void *context, mproc_deadline deadline)
{
    batch *b = context;
    mproc__side_slot_shared *slot;
    int rc = mproc__queue_put_begin(queue, deadline, &slot);
    if (rc < 0)
        return rc;
    rc = put_inside(queue, b);
    mproc__queue_put_end(queue, slot);
    if (rc == 0)
        mproc__queue_post(queue, &queue->shared->items);
    return rc;
}

static int put_block_attempt(mproc_queue *queue, void *context, mproc_deadline deadline)
{
    batch *b = context;
    int rc = mproc__queue_put_item(queue, b->row, MPROC__ITEM_BYTES, b->items + b->moved * b->item_bytes,
                                   b->item_bytes, deadline);
    b->moved += rc == 0;
    return rc;
}

/* The first by the deadline, the rest only as far as they go at once. */
static int batch_run(mproc_queue *queue, mproc__eventcount_shared *event, mproc__queue_attempt_fn *attempt,
                     batch *b, mproc_deadline deadline)
{
    int rc = attempt(queue, b, deadline);
    if (rc == -EAGAIN)
        rc = mproc__queue_until(queue, event, deadline, attempt, b);
    if (mproc__queue_end_doubted(queue, rc))
        rc = attempt(queue, b, deadline);
    while (rc == 0 && b->moved < b->count)
        rc = attempt(queue, b, MPROC_NOW);
    return b->moved > 0 ? 0 : rc;
}

static int batch_enter(mproc_queue *queue, mproc_role role, const void *items, size_t item_bytes,
                       size_t count, const size_t *ret_count)
{
    int row = mproc__queue_enter(queue);
    if (row < 0)
        return row;
    if (!ret_count || count == 0 || (!items && item_bytes > 0))
        return mproc__handle_fail(&queue->handle, -EINVAL, "no items, or nowhere to say how many");
    if (item_bytes > 0 && count > SIZE_MAX / item_bytes)
        return mproc__handle_fail(&queue->handle, -EINVAL,
                                  "%zu items of %zu bytes: more than there is memory", count, item_bytes);
    int rc = mproc__queue_fits(queue, item_bytes);
    if (rc < 0)
        return rc;
    rc = mproc__queue_use(queue, row, role);
    return rc < 0 ? mproc__queue_answer(queue, rc) : row;
}

int mproc_queue_put_many(mproc_queue *queue, const void *items, size_t item_bytes, size_t count,
                         mproc_deadline deadline, size_t *ret_count)
{
    batch b = {.items = (uint8_t *)(uintptr_t)items, .item_bytes = item_bytes, .count = count};
    b.row = batch_enter(queue, MPROC_ROLE_WRITE, items, item_bytes, count, ret_count);
    if (b.row < 0)
        return b.row;
    bool records = mproc__queue_is_inline(queue, item_bytes);
    int rc = batch_run(queue, &queue->shared->room, records ? put_attempt : put_block_attempt, &b, deadline);
    if (rc == 0)
        *ret_count = b.moved;
    return mproc__queue_answer(queue, rc);
}

/* inside the consumers' side: the item at the front, if it is of the batch's size. */
static int get_peek(mproc_queue *queue, const batch *b, mproc__queue_item *ret_item)
{
    int rc = mproc__queue_peek(queue, ret_item);
    if (rc < 0)
        return rc;
    if (ret_item->kind == MPROC__ITEM_BYTES && ret_item->size_bytes > b->item_bytes)
        return MPROC_ETOOSMALL;
    if (ret_item->kind != MPROC__ITEM_BYTES || ret_item->size_bytes < b->item_bytes)
        return mproc__fail(MPROC_EARGUMENT, "the next message is not one of %zu bytes", b->item_bytes);
    return 0;
}

/* inside the consumers' side: records from the front while they are of this size, taken by one store. */
static int get_records(mproc_queue *queue, batch *b, mproc__queue_item *first)
{
    mproc__queue_shared *shared = queue->shared;
    uint64_t tail = atomic_load_explicit(&shared->get.side.seen, memory_order_relaxed);
    uint64_t head = first->next;
    uint8_t *at = b->items + b->moved * b->item_bytes;
    if (b->item_bytes > 0)
        memcpy(at, first->data, b->item_bytes);
    /* What is of another size, or lies behind the ring's end, is for the next call to look at. */
    size_t n = 1 + mproc__quick_read_run(&queue->get_ring, &head, tail, at + b->item_bytes, b->item_bytes,
                                         batch_at_once(b) - 1);
    first->next = head;
    atomic_store_explicit(&shared->head, head, memory_order_release);
    b->moved += n;
    return 0;
}

/* A block is copied after the unlock, leased by this process until then. */
static int get_block(mproc_queue *queue, batch *b, const mproc__queue_item *item)
{
    if (b->item_bytes > 0)
        memcpy(b->items + b->moved * b->item_bytes, item->data, b->item_bytes);
    b->moved++;
    mproc__block_state state;
    if (!mproc__arena_get(&queue->arena, item->block, &state))
        return MPROC_ECORRUPT;
    return mproc__queue_block_finish(queue, item->block, state);
}

static int get_attempt(mproc_queue *queue, void *context, mproc_deadline deadline)
{
    batch *b = context;
    mproc__queue_item item;
    mproc__side_slot_shared *slot;
    int rc = mproc__queue_get_begin(queue, deadline, &slot);
    if (rc < 0)
        return rc;
    rc = get_peek(queue, b, &item);
    if (rc == 0)
        rc = item.block == MPROC__NO_BLOCK ? get_records(queue, b, &item)
                                           : mproc__queue_accept(queue, b->row, &item);
    mproc__queue_get_end(queue, slot);
    if (rc < 0)
        return rc;
    mproc__queue_accepted(queue, &item);
    return item.block == MPROC__NO_BLOCK ? 0 : get_block(queue, b, &item);
}

int mproc_queue_get_many(mproc_queue *queue, void *items, size_t item_bytes, size_t count,
                         mproc_deadline deadline, size_t *ret_count)
{
    batch b = {.items = items, .item_bytes = item_bytes, .count = count};
    b.row = batch_enter(queue, MPROC_ROLE_READ, items, item_bytes, count, ret_count);
    if (b.row < 0)
        return b.row;
    int rc = batch_run(queue, &queue->shared->items, get_attempt, &b, deadline);
    if (rc == 0)
        *ret_count = b.moved;
    return mproc__queue_answer(queue, rc);
}
