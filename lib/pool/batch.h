/* SPDX-License-Identifier: BSD-2-Clause */
/* Many small items of a map as one task: packed into one block, their results written behind them in the same block. L6.
 *
 *     [size, arguments that all share] [size, item] ... | room: [code, size, result] ...
 *
 * The worker runs one item after the other and commits each by one store of `committed`. When it dies, is stopped, or an
 * item's result does not fit, the committed ones stand, the one under way is known (it is the first that is not committed),
 * and the submitter gives the rest to the pool again: so a death costs one item here too, and none is run twice. */
#ifndef MPROC__POOL_BATCH_H
#define MPROC__POOL_BATCH_H

#include <mproc/error.h>
#include "pool/layout.h"
#include "pool/task.h"

enum {
    MPROC__BATCH_ITEMS = 4096,      /* at most; committed has 20 bits */
    MPROC__BATCH_BYTES = 64 * 1024, /* of packed items, and of room, at most */
    MPROC__BATCH_ROOM = 64,         /* bytes of an item's result, until some are known */
    MPROC__BATCH_RECORD = 8         /* bytes before each result */
};

/* ---- packed bytes ---- */

typedef struct mproc__packed {
    uint8_t *bytes; /* owned by who fills it */
    size_t size, capacity;
} mproc__packed;

/* Appends one value, if it fits below `limit` bytes. -EMSGSIZE: it does not; else what encoding answers, or -ENOMEM. */
int mproc__packed_add(mproc__packed *packed, mproc_variant value, size_t limit);
void mproc__packed_free(mproc__packed *packed);
/* The next packed value at *cursor, which moves behind it. NULL: none. */
const uint8_t *mproc__packed_next(const uint8_t **cursor, const uint8_t *end, uint32_t *ret_size);

/* ---- arguments of one item ---- */

/* How many arguments: the item, or with `unpack` what it lists; then the shared ones. */
size_t mproc__item_count(mproc_variant item, mproc_variant shared, bool unpack);
/* Fills them in, borrowed. MPROC_EARGUMENT: to be unpacked, and no list. */
int mproc__item_args(mproc_variant item, mproc_variant shared, bool unpack, mproc_variant *ret_args);

/* ---- the submitter's side ---- */

/* What is to be run. */
typedef struct mproc__batch_plan {
    const mproc__packed *shared; /* the arguments that all items have in common, packed */
    const uint8_t *bytes;        /* the items */
    size_t size;
    uint32_t items;
    uint32_t room;          /* bytes for results */
    uint32_t first_attempt; /* of the first item; that of the others is 1 */
    bool unpack;
} mproc__batch_plan;

/* What came of it; filled in when the task's slot is harvested. */
typedef struct mproc__batch {
    bool taken;
    uint8_t *results; /* owned: the committed records */
    size_t size;
    uint32_t done;
    bool over;           /* item `done` has run too, its outcome did not fit the room: */
    int code;            /* 0: value */
    mproc_variant value; /* owned */
    char *text;          /* owned; of a failure */
    int failed;          /* not 0: nothing of it could be taken */
    uint64_t busy_ns;
} mproc__batch;

/* With core->lock held, the slot final. */
void mproc__batch_take(mproc__batch *batch, mproc__pool_view *view, mproc__task_shared *task,
                       mproc__task_word word);
void mproc__batch_free(mproc__batch *batch);
/* The record at *cursor, which moves behind it. */
bool mproc__batch_record(const mproc__batch *batch, size_t *cursor, int *ret_code, const uint8_t **ret_bytes,
                         size_t *ret_size);

/* ---- the committed word: how many items, how many bytes of room ---- */

static inline uint64_t mproc__committed_pack(uint64_t items, uint64_t bytes)
{
    return items << 40 | bytes;
}
static inline uint32_t mproc__committed_items(uint64_t word)
{
    return (uint32_t)(word >> 40);
}
static inline size_t mproc__committed_bytes(uint64_t word)
{
    return (size_t)(word & ((UINT64_C(1) << 40) - 1));
}

/* Where the room begins, from the beginning of the packed bytes. */
static inline size_t mproc__batch_room_at(size_t packed_bytes)
{
    return mproc__round_up(packed_bytes, 8);
}

#endif
