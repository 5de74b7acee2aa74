/* SPDX-License-Identifier: BSD-2-Clause */
/* What a task of a map over variants left: measured, and what it did not do given to the pool again. */
#include "platform/base.h"

#include <stdlib.h>

#include "platform/story.h"
#include "pool/results.h"

enum { GROWTH = 2 };

/* Batches grow until one is half a millisecond of work, by no more than double, as the first ones tell least. */
static void results_adapt(mproc_results *results, const mproc__batch *batch)
{
    uint32_t done = batch->done + batch->over;
    if (done == 0)
        return;
    uint64_t item_ns = batch->busy_ns / done + 1;
    results->item_ns = results->item_ns ? (3 * results->item_ns + item_ns) / 4 : item_ns;
    uint64_t items = MPROC__RESULTS_BATCH_NS / results->item_ns + 1;
    results->grown = items <= GROWTH * (uint64_t)results->batch;
    if (!results->grown)
        items = GROWTH * (uint64_t)results->batch;
    results->batch = items < MPROC__BATCH_ITEMS ? (uint32_t)items : MPROC__BATCH_ITEMS;
    size_t bytes = batch->done ? 2 * batch->size / batch->done : 0;
    if (batch->over && bytes < 4 * results->item_bytes + MPROC__BATCH_ROOM)
        bytes = 4 * results->item_bytes + MPROC__BATCH_ROOM; /* one did not fit */
    results->item_bytes = bytes > results->item_bytes ? bytes : (results->item_bytes * 7 + bytes) / 8;
}

/* Items from `at` on become an entry of their own, right behind, to be given to the pool again. */
static void entry_split(mproc_results *results, mproc__entry *entry, uint32_t at, unsigned attempt)
{
    uint32_t size;
    mproc__entry *rest = calloc(1, sizeof *rest);
    if (!rest) {
        mproc__entry_fail(entry, mproc__fail(-ENOMEM, "no memory for a map's items"));
        return;
    }
    const uint8_t *cursor = entry->packed.bytes + entry->offset;
    for (uint32_t i = 0; i < at; i++)
        (void)mproc__packed_next(&cursor, entry->packed.bytes + entry->packed.size, &size);
    rest->packed = entry->packed;
    rest->offset = (size_t)(cursor - entry->packed.bytes);
    rest->first = entry->first + at;
    rest->count = entry->count - at;
    rest->attempt = attempt;
    entry->packed = (mproc__packed){.bytes = NULL};
    entry->count = at;
    mproc__entry_insert(results, rest, entry);
    (void)mproc__entry_submit(results, rest, MPROC_NOW);
}

/* A batch that was not done to its end. Items that were cancelled, or lost with the pool, stay the entry's, which tells its
 * future's failure for each; a death is told for one, unless that is tried again. */
static void batch_settle(mproc_results *results, mproc__entry *entry)
{
    const mproc__batch *batch = &entry->batch;
    uint32_t done = batch->done + batch->over;
    int code = entry->future->code;
    unsigned attempt = done == 0 ? entry->attempt : 1;
    results_adapt(results, batch);
    if (batch->failed)
        mproc__entry_fail(entry, mproc__fail(batch->failed, "the results of %u items could not be taken",
                                             (unsigned)entry->count));
    else if (done < entry->count && code == MPROC_EDIED && attempt <= results->task.retries)
        entry_split(results, entry, done, attempt + 1);
    else if (done + (code != 0) < entry->count && (code == 0 || code == MPROC_EDIED || code == -ETIME))
        entry_split(results, entry, done + (code != 0), 1);
}

bool mproc__entry_settle(mproc_results *results, mproc__entry *entry)
{
    if (entry->settled)
        return true;
    if (!entry->future || !mproc__future_look(entry->future))
        return false;
    entry->settled = true;
    if (entry->batch.taken)
        batch_settle(results, entry);
    return true;
}
