/* SPDX-License-Identifier: BSD-2-Clause */
/* Arguments and results of tasks: in the slot when small, else in a block of the arena. L6. */
#ifndef MPROC__POOL_PAYLOAD_H
#define MPROC__POOL_PAYLOAD_H

#include <mproc/variant.h>
#include "pool/batch.h"
#include "pool/layout.h"

/* What a result block begins with, so that one whose worker died can be told from one that a finished task names. */
typedef struct mproc__block_shared {
    uint32_t slot; /* + 1 */
    uint32_t unused;
    uint64_t unused_too;
} mproc__block_shared;

/* A value encoded for a slot, before it is known in which. */
typedef struct mproc__payload_draft {
    size_t size_bytes; /* encoded */
    size_t
        block_bytes; /* that it takes in the arena, not yet encoded; 0: it is in bytes[]. Threads: always 0 */
    uint8_t *lent;   /* owned; or NULL: it has no handles, or needs no block */
    uint64_t lease;  /* of its handles; 0: none */
    uint8_t bytes[MPROC__POOL_INLINE];
} mproc__payload_draft;

/* In one pass where it is small, as most are. MPROC_ECANNOTCROSS, MPROC_EARGUMENT. */
int mproc__payload_draw(const mproc__pool_view *view, mproc_variant value, mproc__payload_draft *ret_draft);
/* The value goes where the draft says; answers as store. */
int mproc__payload_put(mproc__pool_view *view, uint32_t slot, mproc_variant value,
                       const mproc__payload_draft *draft, mproc__payload_shared *payload);
/* Both. 0, -ENOSPC: no block free now; -EMSGSIZE: never; or as above. Threads keep a copy of the variant. */
int mproc__payload_store(mproc__pool_view *view, uint32_t slot, mproc_variant value,
                         mproc__payload_shared *payload);
/* A block of the arena for `size` bytes behind its head, which names the slot. -ENOSPC, -EMSGSIZE, -ENOMEM. */
int mproc__payload_block(mproc__pool_view *view, uint32_t slot, size_t size, uint32_t *ret_block);
/* Arguments of a batch: a block with these bytes and `room` more. 0, -ENOSPC, -EMSGSIZE, -ENOMEM. */
int mproc__payload_store_batch(mproc__pool_view *view, uint32_t slot, const mproc__batch_plan *plan,
                               mproc__payload_shared *payload);
/* Where the bytes are; NULL: the payload names no block of that size. */
void *mproc__payload_bytes(mproc__pool_view *view, mproc__payload_shared *payload);
/* Text of a failure; cut to what fits. */
void mproc__payload_store_text(mproc__payload_shared *payload, const char *text);
/* Threads: borrowed from the payload. Else owned by the caller. Null when there is none. */
int mproc__payload_load(mproc__pool_view *view, mproc__payload_shared *payload, mproc_variant *ret_value);
/* Frees what the payload holds; it is empty then. */
void mproc__payload_clear(mproc__pool_view *view, mproc__payload_shared *payload);

#endif
