/* SPDX-License-Identifier: BSD-2-Clause */
/* map over arrays and the loop over ranges: the public calls. */
#include "platform/base.h"

#include <stdlib.h>

#include "platform/story.h"
#include "pool/granule.h"
#include "pool/map.h"
#include "pool/progress.h"

/* ---- checking ---- */

static bool product_fits(size_t count, size_t bytes)
{
    return bytes == 0 || count <= (SIZE_MAX >> 8) / bytes;
}

static int request_check(const mproc__map_request *request)
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

/* ---- started ---- */

static int map_start(mproc__map_request *request, mproc_future **ret_future)
{
    mproc_future *future;
    int rc = mproc__future_new(request->core, NULL, &future);
    if (rc < 0)
        return rc;
    future->kind = &mproc__future_map;
    future->map = calloc(1, sizeof *future->map);
    rc = future->map ? 0 : mproc__fail(-ENOMEM, "no memory for a map");
    if (rc == 0) {
        future->map->out = request->out;
        future->map->status = request->options ? request->options->status : NULL;
        pthread_mutex_lock(&request->core->lock);
        rc = mproc__map_begin(request, future);
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

/* The arguments' encoding is only for the beginning: workers have their copy in the segment. */
static int map_ask(mproc_pool *pool, mproc__map_request *request, mproc_future **ret_future)
{
    int rc = mproc__handle_check(pool, MPROC_TYPE_POOL);
    if (rc == 0)
        rc = mproc__core_check(pool->core);
    if (rc < 0)
        return rc;
    request->core = pool->core;
    rc = mproc__options_check(request->options, sizeof *request->options, sizeof *request->options,
                              "mproc_map_options");
    if (rc == 0 && !ret_future)
        rc = mproc__fail(-EINVAL, "map: nowhere to put the future");
    if (rc == 0)
        rc = request_check(request);
    if (rc == 0)
        rc = map_start(request, ret_future);
    mproc__parcel_clear(&request->args, false);
    return rc < 0 ? mproc__handle_story(&pool->handle, rc) : 0;
}

/* To the end. */
static int map_do(mproc_pool *pool, mproc__map_request *request)
{
    mproc_future *future;
    int rc = map_ask(pool, request, &future);
    if (rc < 0)
        return rc;
    mproc__progress_await(future, request->options);
    rc = mproc_future_result(future, MPROC_FOREVER, NULL);
    mproc_future_close(&future);
    return rc < 0 ? mproc__handle_story(&pool->handle, rc) : rc;
}

/* ---- arrays ---- */

static mproc__map_request request_of_arrays(mproc_map_fn *fn, const void *in, size_t in_bytes, void *out,
                                            size_t out_bytes, size_t count, const mproc_map_options *options)
{
    return (mproc__map_request){.fn = (mproc_fn *)(void (*)(void))fn,
                                .in = in,
                                .out = out,
                                .in_bytes = in_bytes,
                                .out_bytes = out_bytes,
                                .count = count,
                                .options = options};
}

int mproc_pool_map_start(mproc_pool *pool, mproc_map_fn *fn, const void *in, size_t in_bytes, void *out,
                         size_t out_bytes, size_t count, const mproc_map_options *options,
                         mproc_future **ret_future)
{
    mproc__map_request request = request_of_arrays(fn, in, in_bytes, out, out_bytes, count, options);
    return map_ask(pool, &request, ret_future);
}

int mproc_pool_map(mproc_pool *pool, mproc_map_fn *fn, const void *in, size_t in_bytes, void *out,
                   size_t out_bytes, size_t count, const mproc_map_options *options)
{
    mproc__map_request request = request_of_arrays(fn, in, in_bytes, out, out_bytes, count, options);
    return map_do(pool, &request);
}

/* ---- ranges ---- */

int mproc_pool_for_start(mproc_pool *pool, mproc_fn *fn, size_t count, const mproc_map_options *options,
                         mproc_future **ret_future)
{
    mproc__map_request request = {.fn = fn, .ranges = true, .count = count, .options = options};
    return map_ask(pool, &request, ret_future);
}

int mproc_pool_for(mproc_pool *pool, mproc_fn *fn, size_t count, const mproc_map_options *options)
{
    mproc__map_request request = {.fn = fn, .ranges = true, .count = count, .options = options};
    return map_do(pool, &request);
}
