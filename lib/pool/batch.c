/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "data/parcel.h"
#include "platform/story.h"
#include "pool/batch.h"
#include "pool/payload.h"

enum { PACKED_FIRST = 1024, SIZE_BYTES = sizeof(uint32_t) };

/* ---- packed bytes ---- */

static int packed_grow(mproc__packed *packed, size_t limit)
{
    size_t capacity = packed->capacity ? packed->capacity * 2 : PACKED_FIRST;
    capacity = capacity < limit ? capacity : limit;
    if (capacity == packed->capacity)
        return mproc__fail_plain(-EMSGSIZE);
    uint8_t *bytes = realloc(packed->bytes, capacity);
    if (!bytes)
        return mproc__fail(-ENOMEM, "no memory for a map's items");
    packed->bytes = bytes;
    packed->capacity = capacity;
    return 0;
}

int mproc__packed_add(mproc__packed *packed, mproc_variant value, size_t limit)
{
    for (;;) {
        size_t used = 0, at = packed->size + SIZE_BYTES;
        int rc = -EMSGSIZE;
        if (packed->capacity > at)
            rc = mproc__variant_encode_into(value, packed->bytes + at, packed->capacity - at, &used);
        if (rc == 0) {
            uint32_t size = (uint32_t)used;
            memcpy(packed->bytes + packed->size, &size, SIZE_BYTES);
            packed->size = at + used;
            return 0;
        }
        if (rc == -EMSGSIZE)
            rc = packed_grow(packed, limit);
        if (rc < 0)
            return rc;
    }
}

void mproc__packed_free(mproc__packed *packed)
{
    free(packed->bytes);
    *packed = (mproc__packed){.bytes = NULL};
}

const uint8_t *mproc__packed_next(const uint8_t **cursor, const uint8_t *end, uint32_t *ret_size)
{
    const uint8_t *at = *cursor;
    if ((size_t)(end - at) < SIZE_BYTES)
        return NULL;
    memcpy(ret_size, at, SIZE_BYTES);
    at += SIZE_BYTES;
    if ((size_t)(end - at) < *ret_size)
        return NULL;
    *cursor = at + *ret_size;
    return at;
}

/* ---- arguments of one item ---- */

size_t mproc__item_count(mproc_variant item, mproc_variant shared, bool unpack)
{
    return (unpack ? mproc_variant_count(item) : 1) + mproc_variant_count(shared);
}

int mproc__item_args(mproc_variant item, mproc_variant shared, bool unpack, mproc_variant *ret_args)
{
    size_t own = unpack ? mproc_variant_count(item) : 1;
    if (unpack && item.kind != MPROC_KIND_LIST)
        return mproc__fail(MPROC_EARGUMENT, "the item is to be unpacked and is no list");
    for (size_t i = 0; i < own; i++)
        ret_args[i] = unpack ? mproc_variant_at(item, i) : item;
    for (size_t i = 0; i < mproc_variant_count(shared); i++)
        ret_args[own + i] = mproc_variant_at(shared, i);
    return 0;
}

/* ---- what came of it ---- */

/* The outcome of the item that did not fit; the task is done with it. */
static void over_take(mproc__batch *batch, mproc__pool_view *view, mproc__task_shared *task)
{
    batch->over = true;
    batch->code = task->code;
    if (task->code == 0) {
        batch->code = mproc__payload_load(view, &task->result, &batch->value);
        if (view->threads)
            task->result.kind = MPROC__PAYLOAD_NONE; /* the variant itself moved */
    } else if (task->result.kind == MPROC__PAYLOAD_STORY) {
        batch->text = strndup((const char *)task->result.bytes, MPROC__POOL_INLINE);
    }
}

static int records_take(mproc__batch *batch, mproc__pool_view *view, mproc__task_shared *task)
{
    uint64_t committed = atomic_load_explicit(&task->committed, memory_order_acquire);
    size_t size = mproc__committed_bytes(committed), room_at = mproc__batch_room_at(task->packed_bytes);
    const uint8_t *bytes = mproc__payload_bytes(view, &task->args);
    if (!bytes || room_at > task->args.size_bytes || size > task->args.size_bytes - room_at ||
        mproc__committed_items(committed) > task->items)
        return MPROC_ECORRUPT;
    batch->results = malloc(size + 1);
    if (!batch->results)
        return -ENOMEM;
    memcpy(batch->results, bytes + room_at, size);
    batch->size = size;
    batch->done = mproc__committed_items(committed);
    return 0;
}

void mproc__batch_take(mproc__batch *batch, mproc__pool_view *view, mproc__task_shared *task,
                       mproc__task_word word)
{
    batch->taken = true;
    batch->busy_ns = task->busy_ns;
    batch->failed = records_take(batch, view, task);
    if (!batch->failed && word.state == MPROC__TASK_DONE && batch->done < task->items)
        over_take(batch, view, task);
}

void mproc__batch_free(mproc__batch *batch)
{
    free(batch->results);
    free(batch->text);
    mproc_variant_clear(&batch->value);
    *batch = (mproc__batch){.taken = false};
}

bool mproc__batch_record(const mproc__batch *batch, size_t *cursor, int *ret_code, const uint8_t **ret_bytes,
                         size_t *ret_size)
{
    int32_t code;
    uint32_t size;
    if (batch->size < *cursor || batch->size - *cursor < MPROC__BATCH_RECORD)
        return false;
    memcpy(&code, batch->results + *cursor, sizeof code);
    memcpy(&size, batch->results + *cursor + sizeof code, sizeof size);
    *ret_bytes = batch->results + *cursor + MPROC__BATCH_RECORD;
    if (batch->size - *cursor - MPROC__BATCH_RECORD < size)
        return false;
    *cursor += MPROC__BATCH_RECORD + size;
    *ret_code = code;
    *ret_size = size;
    return true;
}
