/* SPDX-License-Identifier: BSD-2-Clause */
/* From items to tasks: fetched, packed into batches of the right size, submitted. */
#include "platform/base.h"

#include <stdlib.h>

#include "platform/story.h"
#include "pool/results.h"

enum {
    BATCHES_AHEAD = 4, /* a worker: one runs, others wait, while the reader is busy with what came before */
    ROOM_SPARE = 64,
    ARGUMENTS_INLINE = 16
};

/* ---- the window ---- */

void mproc__entry_insert(mproc_results *results, mproc__entry *entry, mproc__entry *behind)
{
    entry->previous = behind;
    entry->next = behind ? behind->next : results->begin;
    *(entry->previous ? &entry->previous->next : &results->begin) = entry;
    *(entry->next ? &entry->next->previous : &results->end) = entry;
    results->entries++;
}

void mproc__entry_remove(mproc_results *results, mproc__entry *entry)
{
    *(entry->previous ? &entry->previous->next : &results->begin) = entry->next;
    *(entry->next ? &entry->next->previous : &results->end) = entry->previous;
    results->entries--;
}

void mproc__entry_free(mproc_results *results, mproc__entry *entry)
{
    mproc_future_close(&entry->future);
    mproc__batch_free(&entry->batch);
    if (entry->item_owned)
        mproc_variant_clear(&entry->item);
    if (!results->spare.bytes) {
        results->spare = entry->packed;
        results->spare.size = 0;
    } else {
        mproc__packed_free(&entry->packed);
    }
    free(entry->error);
    free(entry);
}

void mproc__entry_fail(mproc__entry *entry, int code)
{
    entry->code = code;
    entry->settled = true;
    if ((entry->error = calloc(1, sizeof *entry->error)))
        mproc__story_copy(mproc__story(), entry->error);
}

/* ---- items ---- */

/* A source that tells its failure by mproc_... has left a story; of another there is only the code. */
static void feed_end(mproc__feed *feed, int code)
{
    feed->ended = true;
    if (code == MPROC_EEND)
        return;
    feed->code = code < 0 ? code : -EINVAL;
    if (mproc__story()->code != feed->code)
        mproc__fail(feed->code, "the source failed at item %zu: %s", feed->next, mproc_strerror(feed->code));
    mproc__story_copy(mproc__story(), &feed->error);
}

static bool item_peek(mproc__feed *feed)
{
    if (feed->held || feed->ended)
        return feed->held;
    if (!feed->source) {
        feed->ended = feed->next >= mproc_variant_count(feed->items);
        feed->item = mproc_variant_at(feed->items, feed->next);
    } else {
        feed->item = mproc_null();
        feed->calling = true;
        int code = feed->source(feed->context, &feed->item);
        feed->calling = false;
        if (code != 0)
            feed_end(feed, code);
    }
    feed->held = !feed->ended;
    return feed->held;
}

static void item_consume(mproc__feed *feed)
{
    feed->held = false;
    feed->next++;
}

/* ---- how many ---- */

static size_t results_workers(const mproc_results *results)
{
    return atomic_load(&results->core->view.shared->wanted);
}

/* A chosen `ahead` is shared out to the workers, two batches each. */
static size_t batch_items(const mproc_results *results)
{
    size_t items = results->chunk ? results->chunk : results->batch;
    size_t share = results->chunk ? results->ahead : results->ahead / (2 * results_workers(results));
    if (results->ahead && items > share)
        items = share ? share : 1;
    return items < MPROC__BATCH_ITEMS ? items : MPROC__BATCH_ITEMS;
}

static bool window_room(const mproc_results *results)
{
    bool few = results->entries < BATCHES_AHEAD * results_workers(results);
    if (!results->ahead)
        return few;
    /* Ten thousand batches of one, at the beginning, would be ten thousand tasks. */
    return results->open + batch_items(results) <= results->ahead &&
           (few || results->chunk || results->grown);
}

static size_t bytes_most(const mproc_results *results)
{
    size_t quarter = results->core->bytes_limit / 4;
    return quarter < MPROC__BATCH_BYTES ? quarter : MPROC__BATCH_BYTES;
}

/* ---- building ---- */

static mproc__entry *entry_new(mproc_results *results)
{
    mproc__entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->first = results->feed.next;
    entry->attempt = 1;
    entry->packed = results->spare;
    results->spare = (mproc__packed){.bytes = NULL};
    return entry;
}

/* What cannot be packed with others, for its size or because it means something in this process only, goes alone. */
static void entry_pack(mproc_results *results, mproc__entry *entry)
{
    size_t items = batch_items(results), limit = bytes_most(results);
    if (results->chunk == 1 || !results->packed_args.bytes)
        return;
    while (entry->count < items && item_peek(&results->feed) &&
           mproc__packed_add(&entry->packed, results->feed.item, limit) == 0) {
        item_consume(&results->feed);
        entry->count++;
    }
}

static mproc__entry *entry_build(mproc_results *results)
{
    if (!item_peek(&results->feed))
        return NULL;
    mproc__entry *entry = entry_new(results);
    if (!entry) {
        feed_end(&results->feed, mproc__fail(-ENOMEM, "no memory for a map's items"));
        return NULL;
    }
    entry_pack(results, entry);
    if (entry->count == 0) {
        entry->single = true;
        entry->item = results->feed.item;
        entry->count = 1;
        item_consume(&results->feed);
    }
    results->open += entry->count;
    return entry;
}

/* ---- submitting ---- */

static uint32_t batch_room(const mproc_results *results, uint32_t items)
{
    size_t each = results->item_bytes > MPROC__BATCH_ROOM ? results->item_bytes : MPROC__BATCH_ROOM;
    size_t room = items * (each + MPROC__BATCH_RECORD) + ROOM_SPARE, most = bytes_most(results);
    return (uint32_t)(room < most ? room : most);
}

static int batch_submit(mproc_results *results, mproc__entry *entry)
{
    mproc_task_options options = results->task;
    options.retries = 0; /* of its items, not of it: settled by who reads */
    mproc__batch_plan plan = {.shared = &results->packed_args,
                              .bytes = entry->packed.bytes + entry->offset,
                              .size = entry->packed.size - entry->offset,
                              .items = entry->count,
                              .room = batch_room(results, entry->count),
                              .first_attempt = entry->attempt,
                              .unpack = results->unpack};
    mproc__order order = {.fn = results->fn, .options = &options, .plan = &plan, .batch = &entry->batch};
    return mproc__core_submit(results->core, &order, &entry->future);
}

static int single_submit(mproc_results *results, mproc__entry *entry)
{
    mproc_variant few[ARGUMENTS_INLINE], *args = few;
    size_t count = mproc__item_count(entry->item, results->args, results->unpack);
    if (count > ARGUMENTS_INLINE && !(args = calloc(count, sizeof *args)))
        return mproc__fail(-ENOMEM, "no memory for %zu arguments", count);
    mproc__order order = {.fn = results->fn, .args = mproc_items(args, count), .options = &results->task};
    int rc = mproc__item_args(entry->item, results->args, results->unpack, args);
    if (rc == 0)
        rc = mproc__core_submit(results->core, &order, &entry->future);
    if (args != few)
        free(args);
    return rc;
}

/* An item that must wait for room outlives the source's next call. */
static int item_keep(const mproc_results *results, mproc__entry *entry)
{
    mproc_variant copy;
    if (!entry->single || entry->item_owned || !results->feed.source)
        return 0;
    int rc = mproc_variant_copy(entry->item, &copy);
    if (rc == 0) {
        entry->item = copy;
        entry->item_owned = true;
    }
    return rc;
}

int mproc__entry_submit(mproc_results *results, mproc__entry *entry, mproc_deadline deadline)
{
    results->task.submit_deadline = deadline;
    results->task.no_wait = deadline.ns == 0;
    int rc = entry->single ? single_submit(results, entry) : batch_submit(results, entry);
    if (rc == -ETIMEDOUT) {
        int kept = item_keep(results, entry);
        if (kept == 0)
            return -ETIMEDOUT;
        rc = kept;
    }
    if (rc < 0) {
        mproc__entry_fail(entry, rc);
        if (results->feed.source && (rc == MPROC_ECLOSED || mproc__pool_broken(&results->core->view)))
            feed_end(&results->feed, rc); /* a source without end would fail without end */
    }
    return 0;
}

void mproc__results_fill(mproc_results *results)
{
    while (window_room(results)) {
        mproc__entry *last = results->end;
        if (last && !last->future && !last->settled) /* the pool is full */
            return;
        mproc__entry *entry = entry_build(results);
        if (!entry)
            return;
        mproc__entry_insert(results, entry, last);
        if (mproc__entry_submit(results, entry, MPROC_NOW) < 0)
            return;
    }
}
