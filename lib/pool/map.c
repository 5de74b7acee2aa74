/* SPDX-License-Identifier: BSD-2-Clause */
/* map over arrays, the caller's side: arrays into the segment, work announced, results out again.
 *
 * A map's memory in the region:  granule words | reports | losses | status | arguments | in | out
 * Threads work in the caller's own arrays. */
#include "platform/base.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/parcel.h"
#include "platform/story.h"
#include "pool/future.h"
#include "pool/granule.h"
#include "pool/pool.h"

enum {
    GRANULES = 16384
}; /* where the caller names no chunk: 128 KiB of words, and stretches of any length */

typedef struct map_request {
    mproc__pool_core *core;
    mproc_map_fn *fn;
    const void *in;
    void *out;
    size_t in_bytes, out_bytes, count;
    const mproc_map_options *options;
    size_t args_bytes;
} map_request;

/* ---- checking ---- */

static bool product_fits(size_t count, size_t bytes)
{
    return bytes == 0 || count <= (SIZE_MAX >> 8) / bytes;
}

static int request_check(const map_request *request)
{
    if (!request->fn)
        return mproc__fail(-EINVAL, "map: no function");
    if ((!request->in && request->in_bytes && request->count) ||
        (!request->out && request->out_bytes && request->count))
        return mproc__fail(-EINVAL, "map: %zu items of an array that is NULL", request->count);
    if (!product_fits(request->count, request->in_bytes) ||
        !product_fits(request->count, request->out_bytes) || !product_fits(request->count, 64))
        return mproc__fail(-EMSGSIZE, "map: %zu items are more than an address space", request->count);
    const mproc_map_options *options = request->options;
    if (options && options->retries >= MPROC__GRANULE_ATTEMPTS)
        return mproc__fail(-EINVAL, "map: %u retries; %d are the most", options->retries,
                           MPROC__GRANULE_ATTEMPTS - 1);
    return 0;
}

/* ---- layout ---- */

static uint64_t part(uint64_t *end, uint64_t bytes)
{
    uint64_t begin = *end;
    *end = mproc__round_up(begin + bytes, MPROC__LINE);
    return begin;
}

static void granules_choose(const map_request *request, mproc__map_shared *map)
{
    size_t chunk = request->options ? request->options->chunk : 0;
    map->fixed = chunk != 0;
    if (!chunk)
        chunk = request->count / GRANULES + 1;
    map->granule_items = chunk < INT32_MAX ? (uint32_t)chunk : INT32_MAX;
    map->granules = (request->count + map->granule_items - 1) / map->granule_items;
}

/* Offsets relative to the map's own range; returns its length. */
static uint64_t map_lay_out(const map_request *request, mproc__map_shared *map)
{
    bool threads = request->core->view.threads;
    uint64_t end = 0;
    map->words = part(&end, map->granules * sizeof(uint64_t));
    map->reports = part(&end, request->core->view.shared->plan.workers * sizeof(mproc__report_shared));
    map->losses = part(&end, request->core->view.shared->plan.workers * sizeof(uint64_t));
    map->status =
        request->options && request->options->status ? part(&end, request->count * sizeof(int32_t)) : 0;
    map->args = part(&end, request->args_bytes);
    map->in = part(&end, threads ? 0 : request->count * request->in_bytes);
    map->out = part(&end, threads ? 0 : request->count * request->out_bytes);
    return mproc__round_up(end, (size_t)sysconf(_SC_PAGESIZE));
}

static void map_move(mproc__map_shared *map, uint64_t offset)
{
    uint64_t *parts[] = {&map->words, &map->reports, &map->losses, &map->args, &map->in, &map->out};
    for (size_t i = 0; i < MPROC__COUNT(parts); i++)
        *parts[i] += offset;
    if (map->status)
        map->status += offset;
}

/* ---- beginning ---- */

static int args_put(const map_request *request, mproc__map_shared *map, mproc__map_job *job)
{
    mproc__pool_view *view = &request->core->view;
    map->args_bytes = request->args_bytes;
    if (request->args_bytes == 0) {
        map->args = 0;
        return 0;
    }
    if (!view->threads)
        return mproc__variant_encode(request->options->args, mproc__view_at(view, map->args),
                                     map->args_bytes);
    int rc = mproc_variant_copy(request->options->args, &job->args);
    if (rc == 0)
        memcpy(mproc__view_at(view, map->args), &job->args, sizeof job->args);
    return rc;
}

static void arrays_put(const map_request *request, mproc__map_shared *map)
{
    mproc__pool_view *view = &request->core->view;
    map->count = request->count;
    map->in_bytes = request->in_bytes;
    map->out_bytes = request->out_bytes;
    if (view->threads) {
        map->in = mproc__view_offset(view, request->in);
        map->out = mproc__view_offset(view, request->out);
    } else if (request->in_bytes && request->count) {
        memcpy(mproc__view_at(view, map->in), request->in, request->count * request->in_bytes);
    }
    int32_t *status = map->status ? mproc__view_at(view, map->status) : NULL;
    for (size_t i = 0; status && i < request->count; i++)
        status[i] = INT32_MIN; /* nobody has been at it */
}

static int map_index_find(mproc__pool_core *core, unsigned *ret_index)
{
    for (unsigned i = 0; i < MPROC__POOL_MAPS; i++)
        if (!core->maps[i]) {
            *ret_index = i;
            return 0;
        }
    return mproc__fail(MPROC_ELIMIT, "%d maps run at the same time already", (int)MPROC__POOL_MAPS);
}

static void map_memory_free(mproc__pool_core *core, mproc__map_job *job)
{
    (void)mproc__segment_free_range(core->view.segment, job->offset, job->length);
    mproc__region_give(&core->region, job->offset);
    mproc_variant_clear(&job->args);
}

/* Memory, laid out and filled. */
static int map_prepare(const map_request *request, mproc__map_shared *map, mproc__map_job *job)
{
    mproc__pool_core *core = request->core;
    granules_choose(request, map);
    job->length = map_lay_out(request, map);
    int rc = mproc__region_take(&core->region, job->length, &job->offset);
    if (rc < 0)
        return rc;
    map_move(map, job->offset);
    rc = mproc__segment_reserve(core->view.segment, job->offset, job->length);
    if (rc == 0)
        rc = args_put(request, map, job);
    if (rc < 0)
        map_memory_free(core, job);
    else
        arrays_put(request, map);
    return rc;
}

static void map_announce(const map_request *request, mproc__map_shared *map, uint64_t number)
{
    const mproc_map_options *options = request->options;
    map->time_limit_ms = options ? options->time_limit_ms : 0;
    map->max_attempts = options ? options->retries + 1 : 1;
    map->number = number;
    atomic_store(&map->next, 0);
    atomic_store(&map->holes, 0);
    atomic_store(&map->deaths, 0);
    atomic_store(&map->kill, 0);
    atomic_store(&map->finished_granules, 0);
    atomic_store(&map->finished_items, 0);
    atomic_store(&map->state, MPROC__MAP_ACTIVE);
}

/* With the lock held. */
static int map_begin(const map_request *request, mproc_future *future)
{
    mproc__pool_core *core = request->core;
    if (core->refusing)
        return mproc__fail(MPROC_ECLOSED, "the pool has been stopped");
    if (mproc__pool_broken(&core->view))
        return mproc__core_breakage(core);
    mproc__map_job *job = future->map;
    int rc = map_index_find(core, &job->index);
    if (rc < 0)
        return rc;
    mproc__map_shared *map = &core->view.shared->maps[job->index];
    rc = mproc__core_function(core, (mproc_fn *)(void (*)(void))request->fn, &map->function);
    if (rc == 0)
        rc = map_prepare(request, map, job);
    if (rc < 0)
        return rc;
    future->number = ++core->next_number;
    future->progress_total = request->count;
    core->maps[job->index] = future;
    map_announce(request, map, future->number);
    atomic_fetch_or(&core->view.shared->active_maps, 1u << job->index);
    mproc__pool_post(&core->view, &core->view.shared->work);
    return 0;
}

static int map_start(const map_request *request, mproc_future **ret_future)
{
    mproc_future *future;
    int rc = mproc__future_new(request->core, NULL, &future);
    if (rc < 0)
        return rc;
    future->map = calloc(1, sizeof *future->map);
    rc = future->map ? 0 : mproc__fail(-ENOMEM, "no memory for a map");
    if (rc == 0) {
        future->map->out = request->out;
        future->map->status = request->options ? request->options->status : NULL;
        pthread_mutex_lock(&request->core->lock);
        rc = map_begin(request, future);
        pthread_mutex_unlock(&request->core->lock);
    }
    if (rc < 0) {
        atomic_store(&future->settled, true);
        mproc_future_close(&future);
        return rc;
    }
    *ret_future = future;
    return 0;
}

static int args_size(map_request *request)
{
    const mproc_map_options *options = request->options;
    request->args_bytes = 0;
    if (!options || options->args.kind == MPROC_KIND_NULL)
        return 0;
    if (!request->core->view.threads)
        return mproc__variant_encoded_size(options->args, &request->args_bytes);
    request->args_bytes = sizeof(mproc_variant);
    return 0;
}

int mproc_pool_map_start(mproc_pool *pool, mproc_map_fn *fn, const void *in, size_t in_bytes, void *out,
                         size_t out_bytes, size_t count, const mproc_map_options *options,
                         mproc_future **ret_future)
{
    int rc = mproc__handle_check(pool, MPROC_TYPE_POOL);
    if (rc == 0)
        rc = mproc__core_check(pool->core);
    if (rc < 0)
        return rc;
    map_request request = {.core = pool->core,
                           .fn = fn,
                           .in = in,
                           .out = out,
                           .in_bytes = in_bytes,
                           .out_bytes = out_bytes,
                           .count = count,
                           .options = options};
    rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_map_options");
    if (rc == 0)
        rc = request_check(&request);
    if (rc == 0)
        rc = args_size(&request);
    if (rc == 0)
        rc = map_start(&request, ret_future);
    return rc < 0 ? mproc__handle_story(&pool->handle, rc) : 0;
}

int mproc_pool_map(mproc_pool *pool, mproc_map_fn *fn, const void *in, size_t in_bytes, void *out,
                   size_t out_bytes, size_t count, const mproc_map_options *options)
{
    mproc_future *future;
    int rc = mproc_pool_map_start(pool, fn, in, in_bytes, out, out_bytes, count, options, &future);
    if (rc < 0)
        return rc;
    rc = mproc_future_result(future, MPROC_FOREVER, NULL);
    mproc_future_close(&future);
    return rc < 0 ? mproc__handle_story(&pool->handle, rc) : rc;
}
