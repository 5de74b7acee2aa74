/* SPDX-License-Identifier: BSD-2-Clause */
/* Results of a map over variants, one after the other: a window of tasks, kept filled by whoever reads. */
#include "platform/base.h"

#include <stdlib.h>

#include "platform/story.h"
#include "pool/future.h"
#include "pool/pool.h"

#define RESULTS_MAGIC 0x6d707273u /* "mprs" */

/* One submitted and not yet read. */
typedef struct entry {
    size_t index;
    mproc_future *future; /* NULL: submitting it failed */
    mproc_error *error;   /* why; owned */
    int code;
} entry;

struct mproc_results {
    uint32_t magic;
    mproc__pool_core *core;
    mproc_fn *fn;
    mproc_variant items; /* a deep copy */
    mproc_variant args;  /* the same */
    mproc_task_options task;
    bool unordered;
    size_t next; /* item to submit */
    size_t room; /* of the window */
    size_t count;
    entry *window; /* in order of submission */
    mproc_future *shown;
    mproc_error error; /* of the result shown */
};

/* ---- begin ---- */

static void results_free(mproc_results *results)
{
    mproc_variant_clear(&results->items);
    mproc_variant_clear(&results->args);
    free(results->window);
    results->magic = 0;
    if (results->core)
        mproc__core_release(results->core);
    free(results);
}

static void results_configure(mproc_results *results, const mproc_map_options *options)
{
    results->task = (mproc_task_options){.size = sizeof results->task};
    results->room = 4 * (size_t)atomic_load(&results->core->view.shared->wanted);
    if (!options)
        return;
    results->task.time_limit_ms = options->time_limit_ms;
    results->task.retries = options->retries;
    results->unordered = options->unordered;
    if (options->ahead)
        results->room = options->ahead;
}

static int results_new(mproc__pool_core *core, const mproc_variant *items, size_t count,
                       const mproc_map_options *options, mproc_results **ret_results)
{
    mproc_results *results = calloc(1, sizeof *results);
    if (!results)
        return mproc__fail(-ENOMEM, "no memory for a map's results");
    results->magic = RESULTS_MAGIC;
    results->core = core;
    mproc__core_keep(core);
    results_configure(results, options);
    if (results->room > count)
        results->room = count ? count : 1;
    results->window = calloc(results->room, sizeof *results->window);
    int rc = results->window ? mproc_variant_copy(mproc_items(items, count), &results->items)
                             : mproc__fail(-ENOMEM, "no memory for a map's results");
    if (rc == 0 && options)
        rc = mproc_variant_copy(options->args, &results->args);
    if (rc < 0)
        results_free(results);
    else
        *ret_results = results;
    return rc;
}

/* ---- the window ---- */

/* The item, then the arguments that all have in common. */
static int item_args(const mproc_results *results, size_t index, mproc_variant *ret_args)
{
    *ret_args = mproc_null();
    int rc = mproc_variant_append(ret_args, mproc_variant_at(results->items, index));
    for (size_t i = 0; rc == 0 && i < mproc_variant_count(results->args); i++)
        rc = mproc_variant_append(ret_args, mproc_variant_at(results->args, i));
    if (rc < 0)
        mproc_variant_clear(ret_args);
    return rc;
}

/* -ETIMEDOUT: no room in the pool by then; any other failure is the item's outcome. */
static int item_submit(mproc_results *results, mproc_deadline deadline)
{
    mproc_variant args;
    entry *to = &results->window[results->count];
    *to = (entry){.index = results->next};
    results->task.submit_deadline = deadline;
    to->code = item_args(results, results->next, &args);
    if (to->code == 0) {
        mproc__order order = {.fn = results->fn, .args = args, .options = &results->task};
        to->code = mproc__core_submit(results->core, &order, &to->future);
        mproc_variant_clear(&args);
    }
    if (to->code == -ETIMEDOUT)
        return -ETIMEDOUT;
    if (to->code < 0 && (to->error = calloc(1, sizeof *to->error)))
        mproc__story_copy(mproc__story(), to->error);
    results->next++;
    results->count++;
    return 0;
}

/* A deadline that has just passed: zero would mean for ever. */
static mproc_deadline deadline_try(void)
{
    return (mproc_deadline){1};
}

static int window_fill(mproc_results *results, mproc_deadline deadline)
{
    int rc = 0;
    while (rc == 0 && results->count < results->room && results->next < mproc_variant_count(results->items)) {
        mproc_deadline until = deadline.ns ? deadline : deadline_try();
        rc = item_submit(results, results->count ? deadline_try() : until);
    }
    return results->count ? 0 : rc;
}

static bool entry_ended(const entry *of)
{
    return !of->future || mproc__future_look(of->future);
}

static size_t window_ready(mproc_results *results)
{
    size_t looked = results->unordered ? results->count : 1;
    for (size_t i = 0; i < looked; i++)
        if (entry_ended(&results->window[i]))
            return i;
    return SIZE_MAX;
}

static int window_wait(mproc_results *results, mproc_deadline deadline, size_t *ret_place)
{
    mproc__pool_view *view = &results->core->view;
    for (;;) {
        if ((*ret_place = window_ready(results)) != SIZE_MAX)
            return 0;
        if (!results->unordered || results->count == 1) {
            int rc = mproc__future_await(results->window[0].future, deadline);
            if (rc < 0)
                return rc;
            continue;
        }
        uint32_t ticket = mproc__eventcount_prepare(&view->shared->done);
        if ((*ret_place = window_ready(results)) != SIZE_MAX)
            return 0;
        if (mproc__deadline_past(deadline))
            return mproc__fail_plain(-ETIMEDOUT);
        int slot = mproc__waiting_begin(view->segment, MPROC__WAIT_RESULT);
        (void)mproc__core_wait(results->core, ticket, deadline);
        mproc__waiting_end(view->segment, slot);
    }
}

static entry window_take(mproc_results *results, size_t place)
{
    entry taken = results->window[place];
    results->count--;
    for (size_t i = place; i < results->count; i++)
        results->window[i] = results->window[i + 1];
    return taken;
}

/* ---- next ---- */

static void entry_show(mproc_results *results, entry *of, mproc_result *ret_result)
{
    *ret_result = (mproc_result){.index = of->index, .code = of->code, .value = mproc_null()};
    results->shown = of->future;
    if (of->future)
        ret_result->code = mproc_future_result(of->future, MPROC_FOREVER, &ret_result->value);
    const mproc_error *story = of->future && ret_result->code ? mproc_error_of(of->future) : of->error;
    if (ret_result->code == 0)
        return;
    mproc__story_copy(story ? story : mproc__story(), &results->error);
    results->error.code = ret_result->code;
    ret_result->error = &results->error;
    ret_result->value = mproc_null();
    free(of->error);
}

static bool results_valid(const mproc_results *results)
{
    return results && results->magic == RESULTS_MAGIC;
}

int mproc_results_next(mproc_results *results, mproc_deadline deadline, mproc_result *ret_result)
{
    size_t place;
    if (!results_valid(results) || !ret_result)
        return mproc__fail(-EINVAL, "mproc_results_next: no open results");
    int rc = mproc__core_check(results->core);
    if (rc < 0)
        return rc;
    mproc_future_close(&results->shown);
    rc = window_fill(results, deadline);
    if (rc < 0)
        return rc;
    if (results->count == 0)
        return mproc__fail_plain(MPROC_EEND);
    rc = window_wait(results, deadline, &place);
    if (rc < 0)
        return rc;
    entry taken = window_take(results, place);
    entry_show(results, &taken, ret_result);
    (void)window_fill(results, deadline_try()); /* the workers go on while the caller looks at this one */
    return 0;
}

void mproc_results_close(mproc_results **results)
{
    if (!results || !results_valid(*results))
        return;
    mproc_results *closed = *results;
    *results = NULL;
    bool mine = closed->core->incarnation == mproc__incarnation();
    for (size_t i = 0; i < closed->count; i++) {
        if (closed->window[i].future && mine)
            (void)mproc_future_cancel(closed->window[i].future, true);
        mproc_future_close(&closed->window[i].future);
        free(closed->window[i].error);
    }
    mproc_future_close(&closed->shown);
    results_free(closed);
}

int mproc_pool_map_variants(mproc_pool *pool, mproc_fn *fn, const mproc_variant *items, size_t count,
                            const mproc_map_options *options, mproc_results **ret_results)
{
    int rc = mproc__handle_check(pool, MPROC_TYPE_POOL);
    if (rc == 0)
        rc = mproc__core_check(pool->core);
    if (rc < 0)
        return rc;
    if (!fn || (!items && count) || !ret_results)
        return mproc__handle_fail(&pool->handle, -EINVAL,
                                  "mproc_pool_map_variants: no function, items or results");
    rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_map_options");
    if (rc == 0)
        rc = results_new(pool->core, items, count, options, ret_results);
    if (rc < 0)
        return mproc__handle_story(&pool->handle, rc);
    (*ret_results)->fn = fn;
    (void)window_fill(*ret_results, deadline_try());
    return 0;
}
