/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <string.h>

#include "data/parcel.h"
#include "pool/payload.h"

_Static_assert(sizeof(mproc_variant) <= MPROC__POOL_INLINE, "threads keep the variant in the slot");
_Static_assert(sizeof(mproc__block_shared) == 16, "what follows a block's head stays aligned");

int mproc__payload_draw(const mproc__pool_view *view, mproc_variant value, mproc__payload_draft *ret_draft)
{
    ret_draft->size_bytes = ret_draft->block_bytes = 0;
    ret_draft->lent = NULL;
    ret_draft->lease = 0;
    if (view->threads || value.kind == MPROC_KIND_NULL)
        return 0;
    int rc =
        mproc__variant_encode_into(value, ret_draft->bytes, sizeof ret_draft->bytes, &ret_draft->size_bytes);
    if (rc != -EMSGSIZE)
        return rc;
    rc = mproc__variant_encoded_size(value, &ret_draft->size_bytes);
    ret_draft->block_bytes = ret_draft->size_bytes + sizeof(mproc__block_shared);
    return rc;
}

static int variant_keep(mproc_variant value, mproc__payload_shared *payload)
{
    mproc_variant copy = mproc_null();
    int rc = mproc_variant_copy(value, &copy);
    if (rc < 0)
        return rc;
    memcpy(payload->bytes, &copy, sizeof copy);
    payload->size_bytes = sizeof copy;
    return 0;
}

int mproc__payload_block(mproc__pool_view *view, uint32_t slot, size_t size, uint32_t *ret_block)
{
    uint32_t block;
    int rc = mproc__arena_alloc(view->segment, &view->arena, size + sizeof(mproc__block_shared),
                                MPROC_FOREVER, &block);
    if (rc < 0)
        return rc;
    rc = mproc__view_reserve_block(view, block);
    if (rc < 0) {
        mproc__arena_free(&view->arena, block);
        return rc;
    }
    mproc__block_shared *head = mproc__arena_data(&view->arena, block);
    head->slot = slot + 1;
    *ret_block = block;
    return 0;
}

static int block_make(mproc__pool_view *view, uint32_t slot, size_t size, mproc__payload_shared *payload,
                      void **ret_bytes)
{
    uint32_t block;
    int rc = mproc__payload_block(view, slot, size, &block);
    if (rc < 0)
        return rc;
    payload->block = block + 1;
    *ret_bytes = (mproc__block_shared *)mproc__arena_data(&view->arena, block) + 1;
    return 0;
}

int mproc__payload_put(mproc__pool_view *view, uint32_t slot, mproc_variant value,
                       const mproc__payload_draft *draft, mproc__payload_shared *payload)
{
    void *bytes;
    payload->block = 0;
    payload->size_bytes = 0;
    payload->kind = value.kind == MPROC_KIND_NULL ? MPROC__PAYLOAD_NONE : MPROC__PAYLOAD_VALUE;
    if (payload->kind == MPROC__PAYLOAD_NONE)
        return 0;
    if (view->threads)
        return variant_keep(value, payload);
    if (draft->lease)
        payload->kind = MPROC__PAYLOAD_LENT;
    if (!draft->block_bytes) {
        memcpy(payload->bytes, draft->bytes, draft->size_bytes);
        payload->size_bytes = draft->size_bytes;
        return 0;
    }
    int rc = block_make(view, slot, draft->size_bytes, payload, &bytes);
    if (rc < 0)
        return rc;
    payload->size_bytes = draft->size_bytes;
    if (draft->lent)
        memcpy(bytes, draft->lent, draft->size_bytes);
    else
        rc = mproc__variant_encode(value, bytes, draft->size_bytes);
    if (rc < 0)
        mproc__payload_clear(view, payload);
    return rc;
}

int mproc__payload_store_batch(mproc__pool_view *view, uint32_t slot, const mproc__batch_plan *plan,
                               mproc__payload_shared *payload)
{
    void *bytes;
    size_t packed = plan->shared->size + plan->size, size = mproc__batch_room_at(packed) + plan->room;
    payload->block = 0;
    payload->kind = MPROC__PAYLOAD_BATCH;
    int rc = block_make(view, slot, size, payload, &bytes);
    if (rc < 0)
        return rc;
    payload->size_bytes = size;
    memcpy(bytes, plan->shared->bytes, plan->shared->size);
    memcpy((uint8_t *)bytes + plan->shared->size, plan->bytes, plan->size);
    return 0;
}

int mproc__payload_store(mproc__pool_view *view, uint32_t slot, mproc_variant value,
                         mproc__payload_shared *payload)
{
    mproc__payload_draft draft;
    int rc = mproc__payload_draw(view, value, &draft);
    if (rc == 0)
        return mproc__payload_put(view, slot, value, &draft, payload);
    payload->block = 0;
    payload->size_bytes = 0;
    payload->kind = MPROC__PAYLOAD_NONE;
    return rc;
}

void mproc__payload_store_text(mproc__payload_shared *payload, const char *text)
{
    payload->block = 0;
    payload->kind = MPROC__PAYLOAD_STORY;
    payload->size_bytes = strnlen(text, MPROC__POOL_INLINE - 1);
    memcpy(payload->bytes, text, payload->size_bytes);
    payload->bytes[payload->size_bytes] = 0;
}

void *mproc__payload_bytes(mproc__pool_view *view, mproc__payload_shared *payload)
{
    if (!payload->block)
        return payload->size_bytes <= MPROC__POOL_INLINE ? payload->bytes : NULL;
    mproc__block_shared *head = mproc__arena_data(&view->arena, payload->block - 1);
    if (!head ||
        mproc__arena_block_bytes(&view->arena, payload->block - 1) < payload->size_bytes + sizeof *head)
        return NULL;
    return head + 1;
}

int mproc__payload_load(mproc__pool_view *view, mproc__payload_shared *payload, mproc_variant *ret_value)
{
    *ret_value = mproc_null();
    if (payload->kind != MPROC__PAYLOAD_VALUE)
        return 0;
    if (view->threads) {
        memcpy(ret_value, payload->bytes, sizeof *ret_value);
        return 0;
    }
    const void *bytes = mproc__payload_bytes(view, payload);
    if (!bytes)
        return mproc__fail(MPROC_ECORRUPT, "a task names a block that is none");
    return mproc__variant_decode(bytes, payload->size_bytes, ret_value);
}

void mproc__payload_clear(mproc__pool_view *view, mproc__payload_shared *payload)
{
    if (view->threads && payload->kind == MPROC__PAYLOAD_VALUE) {
        mproc_variant value;
        memcpy(&value, payload->bytes, sizeof value);
        mproc_variant_clear(&value);
    } else if (payload->block) {
        mproc__arena_free(&view->arena, payload->block - 1);
    }
    payload->block = 0;
    payload->kind = MPROC__PAYLOAD_NONE;
}
