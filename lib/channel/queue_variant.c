/* SPDX-License-Identifier: BSD-2-Clause */
/* Variants through a queue: encoded in put, decoded in get, outside the ring's locks. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "channel/queue.h"

int mproc__queue_decode(unsigned kind, const void *data, size_t size_bytes, mproc_variant *ret_item)
{
    if (kind == MPROC__ITEM_BYTES)
        return mproc_variant_copy(mproc_bytes(data, size_bytes), ret_item);
    mproc__parcel parcel = {.bytes = (uint8_t *)(uintptr_t)data, .size_bytes = size_bytes};
    return mproc__parcel_unpack(&parcel, ret_item);
}

static int variant_put(mproc_queue *queue, mproc_variant item, int32_t priority, mproc_deadline deadline)
{
    if (item.kind == MPROC_KIND_BYTES)
        return mproc_queue_put_priority(queue, item.data, (size_t)item.number, priority, deadline);
    int row = mproc__queue_enter(queue);
    if (row < 0)
        return row;
    int rc = mproc__order_check(queue, priority);
    if (rc < 0)
        return rc;
    mproc__parcel parcel = {0};
    rc = mproc__parcel_pack(&parcel, false, item);
    if (rc < 0)
        return mproc__handle_story(&queue->handle, rc);
    rc = mproc__queue_fits(queue, parcel.size_bytes);
    if (rc == 0)
        rc = mproc__queue_use(queue, row, MPROC_ROLE_WRITE);
    if (rc == 0)
        rc = mproc__queue_put_ranked(queue, row, MPROC__ITEM_VARIANT, parcel.bytes, parcel.size_bytes,
                                     priority, deadline);
    mproc__parcel_clear(&parcel, false);
    return mproc__queue_answer(queue, rc);
}

int mproc_queue_put_variant(mproc_queue *queue, mproc_variant item, mproc_deadline deadline)
{
    return variant_put(queue, item, 0, deadline);
}

int mproc_queue_put_priority_variant(mproc_queue *queue, mproc_variant item, int32_t priority,
                                     mproc_deadline deadline)
{
    return variant_put(queue, item, priority, deadline);
}

typedef struct variant_get {
    int row;
    mproc__queue_item item;
    uint8_t record[MPROC__RECORD_BYTES];
} variant_get;

static int get_attempt(mproc_queue *queue, void *context, mproc_deadline deadline)
{
    variant_get *get = context;
    mproc__side_slot_shared *slot;
    int rc = mproc__queue_get_begin(queue, deadline, &slot);
    if (rc < 0)
        return rc;
    rc = mproc__queue_peek(queue, &get->item);
    if (rc == 0) {
        if (get->item.block == MPROC__NO_BLOCK) {
            memcpy(get->record, get->item.data, get->item.size_bytes);
            get->item.data = get->record;
        }
        rc = mproc__queue_accept(queue, get->row, &get->item);
    }
    mproc__queue_get_end(queue, slot);
    if (rc == 0)
        mproc__queue_accepted(queue, &get->item);
    return rc;
}

/* What could not be decoded (no memory, a handle that cannot be opened here) goes back, for another consumer; counted,
 * so that nothing goes round for ever. */
static int variant_settle(mproc_queue *queue, const variant_get *get, int rc)
{
    const mproc__queue_item *item = &get->item;
    if (item->block == MPROC__NO_BLOCK) {
        if (rc < 0)
            (void)mproc__queue_bytes_return(queue, get->row, item->kind, item->data, item->size_bytes,
                                            item->position);
        return rc;
    }
    mproc__block_state state;
    if (!mproc__arena_get(&queue->arena, item->block, &state))
        return rc < 0 ? rc : MPROC_ECORRUPT;
    int settled = rc < 0 ? mproc__queue_block_return(queue, item->block, state)
                         : mproc__queue_block_finish(queue, item->block, state);
    return rc < 0 ? rc : settled;
}

int mproc_queue_get_variant(mproc_queue *queue, mproc_deadline deadline, mproc_variant *ret_item)
{
    variant_get get;
    get.row = mproc__queue_enter(queue);
    if (get.row < 0)
        return get.row;
    if (!ret_item)
        return mproc__handle_fail(&queue->handle, -EINVAL, "nowhere to put the item");
    int rc = mproc__queue_use(queue, get.row, MPROC_ROLE_READ);
    if (rc == 0)
        rc = get_attempt(queue, &get, deadline);
    if (rc == -EAGAIN)
        rc = mproc__queue_until(queue, &queue->shared->items, deadline, get_attempt, &get);
    if (mproc__queue_end_doubted(queue, rc))
        rc = get_attempt(queue, &get, deadline);
    if (rc < 0)
        return mproc__queue_answer(queue, rc);
    mproc_variant decoded = mproc_null();
    rc = mproc__queue_decode(get.item.kind, get.item.data, get.item.size_bytes, &decoded);
    rc = variant_settle(queue, &get, rc);
    if (rc == 0)
        *ret_item = decoded;
    return mproc__queue_answer(queue, rc);
}
