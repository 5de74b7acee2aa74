/* SPDX-License-Identifier: BSD-2-Clause */
/* Workers: processes or threads; one pool. */
#ifndef MPROC_POOL_H
#define MPROC_POOL_H

#include <mproc/call.h>
#include <mproc/future.h>

MPROC_BEGIN

typedef struct mproc_pool_options {
    size_t      size;
    unsigned    workers;            /* 0: usable CPUs */
    mproc_start start;
    const char *name;
    mproc_fn   *initializer;        /* in every worker, before its first task */
    mproc_variant initializer_args;
    unsigned    tasks_per_worker;   /* then it is replaced; 0: no limit */
    unsigned    restarts_per_minute;/* after which mproc_pool_create or submit reports the first death; 0: 60 */
    size_t      max_queued_tasks;   /* submit blocks; 0: 65536 */
    size_t      max_queued_bytes;   /* 0: 256 MiB */
} mproc_pool_options;
typedef struct mproc_task_options {
    size_t      size;
    uint32_t    time_limit_ms;      /* of its run, not of its wait; 0: none */
    uint32_t    grace_ms;           /* flag, signal, then SIGKILL; 0: 2000 */
    unsigned    retries;            /* after confirmed death only */
    const char *label;              /* in stories and logs */
    mproc_deadline submit_deadline; /* for room; zero means forever */
} mproc_task_options;
typedef struct mproc_map_options {
    size_t      size;
    size_t      chunk;              /* 0: adapts */
    uint32_t    time_limit_ms;      /* per item */
    unsigned    retries;
    mproc_variant args;             /* further arguments, the same for every item */
    int        *status;             /* count codes, one an item; NULL: only the first failure is told */
    bool        unordered;          /* of mproc_results: as they finish */
    size_t      ahead;              /* of mproc_results: items submitted and not yet read; 0: 4 a worker */
} mproc_map_options;
typedef int mproc_map_fn(mproc_call *call, const void *in, void *out);

MPROC_API MPROC_CHECK int mproc_pool_create(const mproc_pool_options *options, mproc_pool **ret_pool);
MPROC_API MPROC_CHECK int mproc_pool_submit(mproc_pool *pool, mproc_fn *fn, mproc_variant args, const mproc_task_options *options, mproc_future **ret_future);
/* Arrays: results in place, no message an item. Waits; 0 or the first failure, after all items were tried. */
MPROC_API MPROC_CHECK int mproc_pool_map(mproc_pool *pool, mproc_map_fn *fn, const void *in, size_t in_bytes, void *out, size_t out_bytes,
                                         size_t count, const mproc_map_options *options);
MPROC_API MPROC_CHECK int mproc_pool_map_start(mproc_pool *pool, mproc_map_fn *fn, const void *in, size_t in_bytes, void *out, size_t out_bytes,
                                               size_t count, const mproc_map_options *options, mproc_future **ret_future);
/* Items and results of any size: from an array of variants, or from an endless source. */
MPROC_API MPROC_CHECK int mproc_pool_map_variants(mproc_pool *pool, mproc_fn *fn, const mproc_variant *items, size_t count,
                                                  const mproc_map_options *options, mproc_results **ret_results);
typedef struct mproc_result { size_t index; int code; mproc_variant value; const mproc_error *error; } mproc_result;
MPROC_API MPROC_CHECK int mproc_results_next(mproc_results *results, mproc_deadline deadline, mproc_result *ret_result);  /* borrowed till next; MPROC_EEND */
MPROC_API void mproc_results_close(mproc_results **results);         /* cancels what is left */
/* End. stop refuses new work; drain finishes what was accepted, else it is cancelled; by the deadline all is ended. */
MPROC_API int  mproc_pool_stop(mproc_pool *pool, bool drain, mproc_deadline deadline, size_t *ret_dropped_tasks);
MPROC_API void mproc_pool_close(mproc_pool **pool);          /* a running pool: as stop(no drain, grace) */
MPROC_API int  mproc_pool_stats(const mproc_pool *pool, mproc_variant *ret_dict);   /* workers, queued, running, died, ... */

MPROC_END_DECLS

#endif
