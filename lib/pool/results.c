/* SPDX-License-Identifier: BSD-2-Clause */
/* Results of a map over variants, one after the other. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "data/parcel.h"
#include "platform/story.h"
#include "pool/granule.h"
#include "pool/results.h"

#define RESULTS_MAGIC 0x6d707273u /* "mprs" */

/* ---- begin and end ---- */

static void results_free(mproc_results *results)
{
    mproc_variant_clear(&results->feed.items);
    mproc_variant_clear(&results->args);
    mproc_variant_clear(&results->value);
    mproc__packed_free(&results->packed_args);
    mproc__packed_free(&results->spare);
    results->magic = 0;
    mproc__core_release(results->core);
    free(results);
}

static int results_configure(mproc_results *results, const mproc_map_options *options)
{
    results->batch = 1;
    results->task = (mproc_task_options){.size = sizeof results->task};
    if (options) {
        results->task.time_limit_ms = options->time_limit_ms;
        results->task.retries = options->retries;
        results->unordered = options->unordered;
        results->unpack = options->unpack;
        results->ahead = options->ahead;
        results->chunk = options->chunk;
        results->deadline = options->deadline;
    }
    mproc__teller_init(&results->teller, options);
    int rc = options ? mproc_variant_copy(options->args, &results->args) : 0;
    if (rc == 0 && mproc__packed_add(&results->packed_args, results->args, MPROC__BATCH_BYTES / 4) < 0)
        mproc__packed_free(&results->packed_args); /* every item goes alone, then */
    return rc;
}

static int results_new(mproc_pool *pool, mproc_fn *fn, const mproc_map_options *options,
                       mproc_results **ret_results)
{
    mproc_results *results = calloc(1, sizeof *results);
    if (!results)
        return mproc__fail(-ENOMEM, "no memory for a map's results");
    results->magic = RESULTS_MAGIC;
    results->fn = fn;
    results->core = pool->core;
    mproc__core_keep(pool->core);
    int rc = results_configure(results, options);
    if (rc < 0)
        results_free(results);
    else
        *ret_results = results;
    return rc;
}

static void spent_free(mproc_results *results)
{
    mproc_variant_clear(&results->value);
    if (results->spent)
        mproc__entry_free(results, results->spent);
    results->spent = NULL;
}

/* ---- finding one to be read ---- */

/* The first that has ended; ordered: if it is the very first. What is empty, all its items being tried again, goes. */
static mproc__entry *entry_ready(mproc_results *results)
{
    mproc__entry *entry = results->begin;
    while (entry) {
        mproc__entry *next = entry->next;
        if (mproc__entry_settle(results, entry)) {
            if (entry->shown < entry->count)
                return entry;
            next = entry->next;
            mproc__entry_remove(results, entry);
            mproc__entry_free(results, entry);
        } else if (!results->unordered) {
            return NULL;
        } else if (!entry->future) {
            (void)mproc__entry_submit(results, entry, MPROC_NOW);
        }
        entry = next;
    }
    return NULL;
}

/* Until any of them may have ended. */
static int window_sleep(mproc_results *results, mproc_deadline deadline, mproc__entry **ret_entry)
{
    mproc__pool_core *core = results->core;
    uint32_t ticket = mproc__eventcount_prepare(&core->view.shared->done);
    mproc__slots_make_room(core); /* also of what others have not read yet */
    if ((*ret_entry = entry_ready(results)))
        return 0;
    if (mproc__deadline_past(deadline))
        return mproc__fail_plain(-ETIMEDOUT);
    int slot = mproc__waiting_begin(core->view.segment, MPROC__WAIT_RESULT);
    int rc = mproc__core_wait(core, ticket, deadline);
    mproc__waiting_end(core->view.segment, slot);
    return rc == -EDEADLK ? rc : 0;
}

static int window_wait(mproc_results *results, mproc_deadline deadline, mproc__entry **ret_entry)
{
    while (!(*ret_entry = entry_ready(results)) && results->begin) {
        mproc__entry *first = results->begin;
        int rc;
        if (!first->future)
            rc = mproc__entry_submit(results, first, deadline);
        else if (!results->unordered || results->entries == 1)
            rc = mproc__future_await(first->future, deadline);
        else
            rc = window_sleep(results, deadline, ret_entry);
        if (rc < 0)
            return rc == -ETIMEDOUT ? mproc__fail_plain(rc) : rc;
        if (*ret_entry)
            return 0;
    }
    return 0;
}

/* ---- showing it ---- */

static void story_show(mproc_results *results, const mproc_error *story, mproc_result *ret_result)
{
    mproc__story_copy(story ? story : mproc__story(), &results->error);
    results->error.code = ret_result->code;
    ret_result->error = &results->error;
    ret_result->value = mproc_null();
}

static void future_show(mproc_results *results, const mproc__entry *entry, mproc_result *ret_result)
{
    ret_result->code = mproc_future_result(entry->future, MPROC_FOREVER, &ret_result->value);
    if (ret_result->code != 0)
        story_show(results, mproc_error_of(entry->future), ret_result);
}

static void failure_show(mproc_results *results, const mproc__entry *entry, const char *text, size_t length,
                         mproc_result *ret_result)
{
    if (length == 0)
        length = strlen(text = mproc_strerror(ret_result->code));
    mproc__fail(ret_result->code, "%.*s: item %zu, task %llu, in worker %u", (int)length, text,
                ret_result->index, (unsigned long long)entry->future->number, entry->future->worker);
    mproc__fail_number(MPROC_ERROR_TASK, (int64_t)entry->future->number);
    mproc__fail_number(MPROC_ERROR_ITEM, (int64_t)ret_result->index);
    story_show(results, NULL, ret_result);
}

static void record_show(mproc_results *results, mproc__entry *entry, mproc_result *ret_result)
{
    const uint8_t *bytes;
    size_t size;
    if (!mproc__batch_record(&entry->batch, &entry->cursor, &ret_result->code, &bytes, &size)) {
        ret_result->code = mproc__fail(MPROC_ECORRUPT, "a batch's results are cut short");
        story_show(results, NULL, ret_result);
    } else if (ret_result->code != 0) {
        failure_show(results, entry, (const char *)bytes, size, ret_result);
    } else if (size && (ret_result->code = mproc__variant_decode(bytes, size, &results->value)) < 0) {
        story_show(results, NULL, ret_result);
    } else {
        ret_result->value = results->value;
    }
}

static void over_show(mproc_results *results, const mproc__entry *entry, mproc_result *ret_result)
{
    const mproc__batch *batch = &entry->batch;
    ret_result->code = batch->code;
    ret_result->value = batch->value;
    if (batch->code != 0)
        failure_show(results, entry, batch->text ? batch->text : "", batch->text ? strlen(batch->text) : 0,
                     ret_result);
}

static void entry_show(mproc_results *results, mproc__entry *entry, mproc_result *ret_result)
{
    uint32_t place = entry->shown++;
    *ret_result = (mproc_result){.index = entry->first + place, .value = mproc_null()};
    results->open--;
    if (place < entry->batch.done) {
        record_show(results, entry, ret_result);
    } else if (place == entry->batch.done && entry->batch.over) {
        over_show(results, entry, ret_result);
    } else if (entry->code) {
        ret_result->code = entry->code;
        story_show(results, entry->error, ret_result);
    } else {
        future_show(results, entry, ret_result);
    }
    if (entry->shown == entry->count) {
        mproc__entry_remove(results, entry);
        results->spent = entry;
    }
}

/* ---- next ---- */

static bool results_valid(const mproc_results *results)
{
    return results && results->magic == RESULTS_MAGIC;
}

static void window_cancel(mproc_results *results)
{
    bool mine = results->core->incarnation == mproc__incarnation();
    while (results->begin) {
        mproc__entry *entry = results->begin;
        if (entry->future && mine)
            (void)mproc_future_cancel(entry->future, true);
        mproc__entry_remove(results, entry);
        mproc__entry_free(results, entry);
    }
}

static void results_tell(mproc_results *results, bool ended)
{
    mproc_progress progress = {.done = results->read, .failed = results->failed, .ended = ended};
    progress.total = results->feed.source ? 0 : mproc_variant_count(results->feed.items);
    results->feed.calling = true;
    mproc__teller_tell(&results->teller, progress);
    results->feed.calling = false;
}

static bool results_late(const mproc_results *results)
{
    return results->deadline.ns && mproc__deadline_past(results->deadline);
}

static int results_expire(mproc_results *results)
{
    size_t open = results->open;
    results->over = true;
    results_tell(results, true);
    window_cancel(results);
    return mproc__fail(-ETIME, "the map's deadline has passed: %zu items under way were cancelled", open);
}

/* Nothing is under way and no item is left. */
static int results_end(mproc_results *results)
{
    results->over = true;
    results_tell(results, true);
    if (!results->feed.code)
        return mproc__fail_plain(MPROC_EEND);
    mproc__story_copy(&results->feed.error, mproc__story());
    return results->feed.code;
}

/* Until one can be read; woken in between to tell how far the map is. */
static int entry_await(mproc_results *results, mproc_deadline deadline, mproc__entry **ret_entry)
{
    for (;;) {
        int64_t until = mproc__teller_next_ns(&results->teller);
        if (results->deadline.ns && results->deadline.ns < until)
            until = results->deadline.ns;
        if (deadline.ns < until)
            until = deadline.ns;
        int rc = window_wait(results, (mproc_deadline){until}, ret_entry);
        if (rc != -ETIMEDOUT || mproc__deadline_past(deadline) || results_late(results))
            return rc;
        results_tell(results, false);
    }
}

static int result_next(mproc_results *results, mproc_deadline deadline, mproc_result *ret_result)
{
    mproc__entry *entry = NULL;
    if (results->over)
        return mproc__fail_plain(MPROC_EEND);
    if (results_late(results))
        return results_expire(results);
    mproc__results_fill(results);
    int rc = entry_await(results, deadline, &entry);
    if (rc == -ETIMEDOUT && results_late(results))
        return results_expire(results);
    if (rc < 0)
        return rc;
    if (!entry)
        return results_end(results);
    entry_show(results, entry, ret_result);
    results->read++;
    results->failed += ret_result->code != 0;
    results_tell(results, false);
    if (!results->feed.source)
        mproc__results_fill(results); /* the workers go on while the caller looks at this one */
    return 0;
}

int mproc_results_next(mproc_results *results, mproc_deadline deadline, mproc_result *ret_result)
{
    if (!results_valid(results) || !ret_result)
        return mproc__fail(-EINVAL, "mproc_results_next: no open results");
    int rc = mproc__core_check(results->core);
    if (rc < 0)
        return rc;
    if (results->feed.calling)
        return mproc__fail(MPROC_ESTATE, "mproc_results_next: called by what it calls itself");
    spent_free(results);
    return result_next(results, deadline, ret_result);
}

void mproc_results_close(mproc_results **results)
{
    if (!results || !results_valid(*results) || (*results)->feed.calling)
        return;
    mproc_results *closed = *results;
    *results = NULL;
    spent_free(closed);
    window_cancel(closed);
    results_free(closed);
}

/* ---- begin ---- */

static int map_check(mproc_pool *pool, bool complete, const mproc_map_options *options)
{
    int rc = mproc__handle_check(pool, MPROC_TYPE_POOL);
    if (rc == 0)
        rc = mproc__core_check(pool->core);
    if (rc < 0)
        return rc;
    if (!complete)
        return mproc__handle_fail(&pool->handle, -EINVAL, "a map without a function, items or results");
    rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_map_options");
    if (rc == 0 && options && options->retries >= MPROC__GRANULE_ATTEMPTS)
        rc = mproc__fail(-EINVAL, "map: %u retries; %d are the most", options->retries,
                         MPROC__GRANULE_ATTEMPTS - 1);
    return rc < 0 ? mproc__handle_story(&pool->handle, rc) : 0;
}

int mproc_pool_map_variants(mproc_pool *pool, mproc_fn *fn, const mproc_variant *items, size_t count,
                            const mproc_map_options *options, mproc_results **ret_results)
{
    mproc_results *results;
    int rc = map_check(pool, fn && (items || !count) && ret_results, options);
    if (rc < 0)
        return rc;
    rc = results_new(pool, fn, options, &results);
    if (rc == 0 && (rc = mproc_variant_copy(mproc_items(items, count), &results->feed.items)) < 0)
        results_free(results);
    if (rc < 0)
        return mproc__handle_story(&pool->handle, rc);
    mproc__results_fill(results);
    *ret_results = results;
    return 0;
}

int mproc_pool_map_source(mproc_pool *pool, mproc_fn *fn, mproc_source_fn *source, void *context,
                          const mproc_map_options *options, mproc_results **ret_results)
{
    mproc_results *results;
    int rc = map_check(pool, fn && source && ret_results, options);
    if (rc < 0)
        return rc;
    rc = results_new(pool, fn, options, &results);
    if (rc < 0)
        return mproc__handle_story(&pool->handle, rc);
    results->feed.source = source;
    results->feed.context = context;
    mproc__results_fill(results);
    *ret_results = results;
    return 0;
}
