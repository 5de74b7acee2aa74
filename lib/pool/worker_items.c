/* SPDX-License-Identifier: BSD-2-Clause */
/* The items of a stretch: claimed granule by granule, run one by one or as ranges, marked as done. */
#include "platform/base.h"

#include <string.h>

#include "pool/worker_map.h"

/* ---- failures ---- */

static void failure_report(const mproc__map_work *work, uint64_t item, int code)
{
    const mproc__worker *worker = work->worker;
    const mproc_call *call = work->call;
    mproc__report_shared *report =
        (mproc__report_shared *)mproc__view_at(worker->view, work->map->reports) + worker->index;
    uint64_t known = atomic_load_explicit(&report->item, memory_order_relaxed);
    if (known && known <= item + 1)
        return;
    atomic_store_explicit(&report->item, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    report->code = code;
    report->attempt = call->attempt;
    size_t length = call->code ? strnlen(call->story.text, sizeof report->text - 1) : 0;
    memcpy(report->text, call->story.text, length);
    report->text[length] = 0;
    atomic_store_explicit(&report->item, item + 1, memory_order_release);
}

static _Atomic int32_t *status_of(const mproc__map_work *work, uint64_t item)
{
    return (_Atomic int32_t *)mproc__view_at(work->worker->view, work->map->status) + item;
}

/* Of items [first, end), which the function took together. */
static void outcome_tell(const mproc__map_work *work, uint64_t first, uint64_t end, int rc)
{
    if (MPROC__UNLIKELY(work->call->code))
        rc = work->call->code;
    for (uint64_t item = first; work->map->status && item < end; item++)
        atomic_store_explicit(status_of(work, item), rc, memory_order_relaxed);
    if (MPROC__UNLIKELY(rc != 0)) {
        failure_report(work, first, rc);
        work->call->code = 0;
    }
}

/* ---- claims ---- */

bool mproc__map_going(const mproc__map_work *work)
{
    return atomic_load_explicit(&work->map->state, memory_order_relaxed) == MPROC__MAP_ACTIVE &&
           atomic_load_explicit(&work->worker->view->shared->state, memory_order_relaxed) < MPROC__POOL_QUIT;
}

static _Atomic uint64_t *word_of(const mproc__map_work *work, uint64_t granule)
{
    return mproc__map_word(work->worker->view, work->map, granule);
}

static bool claim(const mproc__map_work *work, uint64_t granule, mproc__granule_word *ret_claimed)
{
    return mproc__granule_claim(word_of(work, granule), work->worker->index, work->worker->word.life,
                                ret_claimed);
}

static uint64_t granule_end(const mproc__map_shared *map, uint64_t granule)
{
    uint64_t end = (granule + 1) * map->granule_items;
    return end < map->count ? end : map->count;
}

/* ---- items one by one ---- */

static bool item_run(const mproc__map_work *work, mproc_map_fn *fn, uint64_t item)
{
    mproc__worker *worker = work->worker;
    const mproc__map_shared *map = work->map;
    if (work->guard_items)
        mproc__run_begin(worker);
    atomic_store_explicit(&worker->desk->item, item, memory_order_release);
    int rc =
        fn(work->call, work->stretch->in + item * map->in_bytes, work->stretch->out + item * map->out_bytes);
    mproc__worker_stay(worker);
    if (MPROC__UNLIKELY(rc != 0 || work->call->code || map->status))
        outcome_tell(work, item, item + 1, rc);
    return !work->guard_items || mproc__run_end(worker);
}

static bool granule_run(mproc__map_work *work, uint64_t granule, mproc__granule_word claimed)
{
    mproc_map_fn *fn = (mproc_map_fn *)(void (*)(void))work->stretch->fn;
    uint64_t first = granule * work->map->granule_items, end = granule_end(work->map, granule);
    work->call->attempt = 1 + claimed.attempt;
    for (uint64_t item = first + claimed.resume; item < end; item++) {
        if (!mproc__map_going(work)) {
            mproc__granule_give_back(word_of(work, granule), claimed, (uint32_t)(item - first));
            return true;
        }
        if (!item_run(work, fn, item))
            return false;
        work->call->attempt = 1;
    }
    mproc__granule_finish(word_of(work, granule), claimed);
    work->finished_granules++;
    work->finished_items += end - first - claimed.resume;
    return true;
}

/* ---- ranges ---- */

/* A range is what lies together of a stretch, or where the caller chose the chunk, one granule. Those that were tried before
 * are taken alone, each with its attempt. */
static uint64_t claim_run(const mproc__map_work *work, uint64_t from, uint64_t to,
                          mproc__granule_word *ret_claimed)
{
    mproc__granule_word next;
    uint64_t end = from + 1;
    while (!work->map->fixed && ret_claimed->attempt == 0 && end < to && claim(work, end, &next)) {
        if (next.attempt > 0) {
            mproc__granule_give_back(word_of(work, end), next, next.resume);
            atomic_fetch_add(&work->map->holes, 1);
            break;
        }
        end++;
    }
    return end;
}

/* Item and end are only ever seen together, or not at all: a range that is told wrongly would cost others' items. */
static void range_tell(mproc__worker_shared *desk, uint64_t first, uint64_t end)
{
    atomic_store_explicit(&desk->item, UINT64_MAX, memory_order_release);
    atomic_store_explicit(&desk->item_end, end, memory_order_release);
    atomic_store_explicit(&desk->item, first, memory_order_release);
}

static bool range_run(mproc__map_work *work, uint64_t from, uint64_t to, mproc__granule_word claimed)
{
    mproc__worker *worker = work->worker;
    mproc_call *call = work->call;
    call->range_first = from * work->map->granule_items;
    call->range_end = granule_end(work->map, to - 1);
    call->attempt = 1 + claimed.attempt;
    if (work->guard_items)
        mproc__run_begin(worker);
    range_tell(worker->desk, call->range_first, call->range_end);
    int rc = work->stretch->fn(call);
    mproc__worker_stay(worker);
    if (MPROC__UNLIKELY(rc != 0 || call->code || work->map->status))
        outcome_tell(work, call->range_first, call->range_end, rc);
    if (work->guard_items && !mproc__run_end(worker))
        return false;
    for (uint64_t granule = from; granule < to; granule++)
        mproc__granule_finish(word_of(work, granule), claimed);
    work->finished_granules += to - from;
    work->finished_items += call->range_end - call->range_first;
    return true;
}

/* ---- both ---- */

bool mproc__map_granules(mproc__map_work *work, uint64_t from, uint64_t to)
{
    mproc__granule_word claimed;
    uint64_t granule = from;
    while (granule < to && mproc__map_going(work)) {
        if (!claim(work, granule, &claimed)) {
            granule++;
            continue;
        }
        work->any = true;
        uint64_t end = work->map->ranges ? claim_run(work, granule, to, &claimed) : granule + 1;
        if (work->map->ranges ? !range_run(work, granule, end, claimed)
                              : !granule_run(work, granule, claimed))
            return false;
        granule = end;
    }
    return true;
}
