/* SPDX-License-Identifier: BSD-2-Clause */
/* A map begins: memory for it, arrays and arguments into the segment, work announced.
 *
 * Its memory is a head (granule words | reports | losses | arguments) and a body (status | in | out). The head is in a part
 * of the segment that stays with the map's number, and stays mapped: fresh pages cost each worker a fault for every 16 of
 * them, as much as a short map takes. The body is in the region, and its pages go back at the end. Arrays that lie in a
 * segment of the library are used where they are; so are those of threads. */
#include "platform/base.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "platform/story.h"
#include "pool/map.h"

/* Granules where the caller names no chunk. Of items 16384, 128 KiB of words: a death costs an item whatever they are. A
 * range is lost whole, but each costs a call of the function, and of 1e6 items of 1 ns 16384 calls are a fifth of all. */
enum { GRANULES_OF_ITEMS = 8192, GRANULES_OF_RANGES = 4096 };

/* ---- layout ---- */

static uint64_t part(uint64_t *end, uint64_t bytes)
{
    uint64_t begin = *end;
    *end = mproc__round_up(begin + bytes, MPROC__LINE);
    return begin;
}

static void granules_choose(const mproc__map_request *request, mproc__map_shared *map)
{
    size_t chunk = request->options ? request->options->chunk : 0;
    map->fixed = chunk != 0;
    if (!chunk)
        chunk = request->count / (request->ranges ? GRANULES_OF_RANGES : GRANULES_OF_ITEMS) + 1;
    map->granule_items = chunk < INT32_MAX ? (uint32_t)chunk : INT32_MAX;
    map->granules = (request->count + map->granule_items - 1) / map->granule_items;
}

static uint64_t args_bytes(const mproc__map_request *request)
{
    if (!request->options || request->options->args.kind == MPROC_KIND_NULL)
        return 0;
    return request->core->view.threads ? sizeof(mproc_variant) : request->args.size_bytes;
}

/* Offsets relative to the head; returns its length. */
static uint64_t head_lay_out(const mproc__map_request *request, mproc__map_shared *map)
{
    uint64_t end = 0, workers = mproc__desks(request->core->view.shared);
    atomic_store(&map->desks, (uint32_t)workers);
    map->words = part(&end, map->granules * sizeof(uint64_t));
    map->losses = part(&end, workers * sizeof(uint64_t));
    map->reports = part(&end, workers * sizeof(mproc__report_shared));
    map->args_bytes = args_bytes(request);
    map->args = part(&end, map->args_bytes);
    return end;
}

/* The body lies `end` behind the beginning of its range; returns that range's length. */
static uint64_t body_lay_out(const mproc__map_request *request, mproc__map_shared *map, uint64_t end)
{
    bool threads = request->core->view.threads;
    map->status =
        request->options && request->options->status ? part(&end, request->count * sizeof(int32_t)) + 1 : 0;
    if (!map->in_lent)
        map->in = part(&end, threads ? 0 : request->count * request->in_bytes);
    if (!map->out_lent)
        map->out = part(&end, threads ? 0 : request->count * request->out_bytes);
    return mproc__round_up(end, (size_t)sysconf(_SC_PAGESIZE));
}

static void head_move(mproc__map_shared *map, uint64_t offset)
{
    map->words += offset;
    map->losses += offset;
    map->reports += offset;
    map->args = map->args_bytes ? map->args + offset : 0;
}

static void body_move(mproc__map_shared *map, uint64_t offset)
{
    if (map->status)
        map->status += offset - 1;
    if (!map->in_lent)
        map->in += offset;
    if (!map->out_lent)
        map->out += offset;
}

/* ---- memory ---- */

/* A reservation costs a system call, so the head's is kept with the map's number, and raised in steps. */
static int head_reserve(mproc__pool_core *core, unsigned index, uint64_t offset, uint64_t length)
{
    enum { STEP = 16384 };
    uint64_t wanted = mproc__round_up(length, STEP);
    if (wanted <= core->head_reserved[index])
        return 0;
    int rc = mproc__segment_reserve(core->view.segment, offset, wanted);
    if (rc == 0)
        core->head_reserved[index] = (uint32_t)wanted;
    return rc;
}

static int range_take(mproc__pool_core *core, mproc__map_job *job)
{
    if (job->length == 0)
        return 0;
    int rc = mproc__region_take(&core->region, job->length, &job->offset);
    if (rc < 0) {
        job->length = 0;
        return rc;
    }
    return mproc__segment_reserve(core->view.segment, job->offset, job->length);
}

/* What was there before is wiped where workers look before they write: words, losses, and the reports' first field. A head
 * in the region is fresh, and zero. */
static void head_wipe(mproc__pool_core *core, const mproc__map_shared *map)
{
    memset(mproc__view_at(&core->view, map->words), 0, map->reports - map->words);
    mproc__report_shared *reports = mproc__view_at(&core->view, map->reports);
    for (unsigned i = 0; i < atomic_load(&map->desks); i++)
        atomic_store_explicit(&reports[i].item, 0, memory_order_relaxed);
}

static int memory_take(const mproc__map_request *request, mproc__map_shared *map, mproc__map_job *job)
{
    mproc__pool_core *core = request->core;
    uint64_t head = core->view.shared->plan.heads + (uint64_t)job->index * MPROC__POOL_HEAD;
    uint64_t head_length = head_lay_out(request, map);
    bool small = head_length <= MPROC__POOL_HEAD;
    job->length = body_lay_out(request, map, small ? 0 : head_length);
    int rc = small ? head_reserve(core, job->index, head, head_length) : 0;
    if (rc == 0)
        rc = range_take(core, job);
    if (rc < 0)
        return rc;
    head_move(map, small ? head : job->offset);
    body_move(map, job->offset);
    if (small)
        head_wipe(core, map);
    return 0;
}

void mproc__map_free(mproc__pool_core *core, mproc__map_job *job)
{
    if (job->length) {
        (void)mproc__segment_free_range(core->view.segment, job->offset, job->length);
        mproc__region_give(&core->region, job->offset);
    }
    job->length = 0;
    mproc__lend_return(&core->lender, job->lease);
    job->lease = 0;
    mproc_variant_clear(&job->args);
}

/* ---- arrays ---- */

/* An array in a segment that workers can open is lent as it is. When it cannot be, it is copied: that always works. */
static uint32_t array_lend(mproc__pool_core *core, const void *array, size_t bytes, bool written,
                           mproc__map_job *job, uint64_t *ret_offset)
{
    unsigned index;
    if (core->view.threads || bytes == 0)
        return 0;
    mproc__segment *segment = mproc__segment_at(array, bytes);
    if (!segment)
        return 0;
    size_t offset = (uintptr_t)array - (uintptr_t)mproc__segment_root(segment);
    if ((written && mproc__segment_read_only(segment)) ||
        mproc__lend_segment(&core->lender, segment, &job->lease, &index) < 0) {
        mproc__segment_release(segment);
        return 0;
    }
    *ret_offset = offset;
    return index + 1;
}

static void arrays_lend(const mproc__map_request *request, mproc__map_shared *map, mproc__map_job *job)
{
    mproc__pool_core *core = request->core;
    map->in_lent = array_lend(core, request->in, request->count * request->in_bytes, false, job, &map->in);
    map->out_lent = array_lend(core, request->out, request->count * request->out_bytes, true, job, &map->out);
}

static void arrays_put(const mproc__map_request *request, mproc__map_shared *map)
{
    mproc__pool_view *view = &request->core->view;
    map->count = request->count;
    map->in_bytes = request->in_bytes;
    map->out_bytes = request->out_bytes;
    if (view->threads) {
        map->in = mproc__view_offset(view, request->in);
        map->out = mproc__view_offset(view, request->out);
    } else if (request->in_bytes && request->count && !map->in_lent) {
        memcpy(mproc__view_at(view, map->in), request->in, request->count * request->in_bytes);
    }
    int32_t *status = map->status ? mproc__view_at(view, map->status) : NULL;
    for (size_t i = 0; status && i < request->count; i++)
        status[i] = INT32_MIN; /* nobody has been at it */
}

/* ---- arguments ---- */

static int args_pack(mproc__map_request *request, mproc__map_job *job)
{
    if (!request->options || request->options->args.kind == MPROC_KIND_NULL)
        return 0;
    if (request->core->view.threads)
        return mproc_variant_copy(request->options->args, &job->args);
    mproc__lender *lender = &request->core->lender;
    int rc = mproc__lend_variant(lender, request->options->args, &request->args, &job->lease);
    if (rc != MPROC_ELIMIT)
        return rc;
    mproc__core_harvest(request->core); /* what has ended and nobody has looked at */
    return mproc__lend_variant(lender, request->options->args, &request->args, &job->lease);
}

static void args_put(const mproc__map_request *request, mproc__map_shared *map, const mproc__map_job *job)
{
    mproc__pool_view *view = &request->core->view;
    if (map->args && view->threads)
        memcpy(mproc__view_at(view, map->args), &job->args, sizeof job->args);
    else if (map->args)
        memcpy(mproc__view_at(view, map->args), request->args.bytes, map->args_bytes);
}

/* ---- beginning ---- */

static bool map_index_free(const mproc__pool_core *core, unsigned *ret_index)
{
    for (unsigned i = 0; i < MPROC__POOL_MAPS; i++)
        if (!core->maps[i]) {
            *ret_index = i;
            return true;
        }
    return false;
}

static int map_index_find(mproc__pool_core *core, unsigned *ret_index)
{
    if (map_index_free(core, ret_index))
        return 0;
    mproc__core_harvest(core);
    if (map_index_free(core, ret_index))
        return 0;
    return mproc__fail(MPROC_ELIMIT, "%d maps run at the same time already", (int)MPROC__POOL_MAPS);
}

static int map_prepare(mproc__map_request *request, mproc__map_shared *map, mproc__map_job *job)
{
    (void)mproc__lend_trim(&request->core->lender);
    int rc = args_pack(request, job);
    if (rc == 0) {
        granules_choose(request, map);
        arrays_lend(request, map, job);
        rc = memory_take(request, map, job);
    }
    if (rc < 0) {
        mproc__map_free(request->core, job);
        return rc;
    }
    args_put(request, map, job);
    arrays_put(request, map);
    return 0;
}

static void map_announce(const mproc__map_request *request, mproc__map_shared *map, uint64_t number)
{
    const mproc_map_options *options = request->options;
    map->ranges = request->ranges;
    map->time_limit_ms = options ? options->time_limit_ms : 0;
    map->max_attempts = options ? options->retries + 1 : 1;
    map->number = number;
    atomic_store_explicit(&map->next, 0, memory_order_relaxed);
    atomic_store_explicit(&map->holes, 0, memory_order_relaxed);
    atomic_store_explicit(&map->deaths, 0, memory_order_relaxed);
    atomic_store_explicit(&map->kill, 0, memory_order_relaxed);
    atomic_store_explicit(&map->finished_granules, 0, memory_order_relaxed);
    atomic_store_explicit(&map->finished_items, 0, memory_order_relaxed);
    atomic_store(&map->state, MPROC__MAP_ACTIVE);
}

int mproc__map_begin(mproc__map_request *request, mproc_future *future)
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
    rc = mproc__core_function(core, request->fn, &map->function);
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
