/* SPDX-License-Identifier: BSD-2-Clause */
/* A worker works on a map for a stretch of about 10 microseconds, then looks around.
 *
 * Measured on 2 processors, 1e6 trivial items: one granule a claim costs 1.0-1.3 x OpenMP's dynamic schedule, several
 * granules a claim 0.8-0.9. So the number doubles while stretches are short and halves when they are long; a death
 * loses one item whatever the number. */
#include "platform/base.h"

#include <string.h>

#include "data/parcel.h"
#include "pool/death.h"
#include "pool/granule.h"
#include "pool/worker.h"

enum { STRETCH_SHORT_NS = 2500, STRETCH_GOOD_NS = 10000, STRETCH_LONG_NS = 20000 };

/* ---- entering and leaving: while desk->map names the map, its memory stays ---- */

static bool map_enter(mproc__worker *worker, unsigned index)
{
    mproc__map_shared *map = &worker->view->shared->maps[index];
    atomic_store(&worker->desk->map, index + 1);
    if (atomic_load(&map->state) != MPROC__MAP_ACTIVE) {
        atomic_store(&worker->desk->map, 0);
        mproc__pool_post(worker->view, &worker->view->shared->done);
        return false;
    }
    mproc__stretch *stretch = &worker->stretches[index];
    if (stretch->number != map->number)
        *stretch = (mproc__stretch){.number = map->number, .seen = 0, .granules = 1};
    /* Stale, it would say of the next granule that its first items are done. */
    atomic_store_explicit(&worker->desk->item, UINT64_MAX, memory_order_release);
    worker->map = map;
    return true;
}

static void map_leave(mproc__worker *worker)
{
    mproc__map_shared *map = worker->map;
    worker->map = NULL;
    atomic_store(&worker->desk->map, 0);
    if (atomic_load(&map->state) != MPROC__MAP_ACTIVE)
        mproc__pool_post(worker->view, &worker->view->shared->done);
}

/* ---- the guard: a stretch, or one item where items have a time limit, is stopped before it is signalled ---- */

static void run_begin(mproc__worker *worker)
{
    atomic_store(&worker->desk->run, ++worker->runs << 2 | MPROC__RUN_BUSY);
    mproc__worker_limit(worker, worker->map->time_limit_ms);
}

/* False: stopped, or late; a signal may be on its way, so this worker takes nothing more. Threads get no signals. */
static bool run_end(mproc__worker *worker)
{
    uint64_t busy = worker->runs << 2 | MPROC__RUN_BUSY;
    bool expired = worker->limit_ns && mproc__now_ns() >= worker->limit_ns;
    mproc__worker_limit(worker, 0);
    uint64_t next = worker->runs << 2 | (expired ? MPROC__RUN_EXPIRED : MPROC__RUN_IDLE);
    return atomic_compare_exchange_strong(&worker->desk->run, &busy, next) && !expired;
}

static void run_stopped(mproc__worker *worker)
{
    mproc__pool_bury_work(worker->view, worker->index, worker->word);
    worker->leave = !worker->view->threads;
}

/* ---- items ---- */

static void failure_report(mproc__worker *worker, mproc_call *call, uint64_t item, int code)
{
    mproc__report_shared *report =
        (mproc__report_shared *)mproc__view_at(worker->view, worker->map->reports) + worker->index;
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

typedef struct map_work {
    mproc__worker *worker;
    mproc_map_fn *fn;
    mproc_call *call;
    bool guard_items;
} map_work;

static void item_run(const map_work *work, uint64_t item)
{
    mproc__worker *worker = work->worker;
    const mproc__map_shared *map = worker->map;
    atomic_store_explicit(&worker->desk->item, item, memory_order_release);
    int rc = work->fn(work->call, mproc__view_at(worker->view, map->in + item * map->in_bytes),
                      mproc__view_at(worker->view, map->out + item * map->out_bytes));
    if (MPROC__UNLIKELY(work->call->code))
        rc = work->call->code;
    if (map->status)
        atomic_store_explicit((_Atomic int32_t *)mproc__view_at(worker->view, map->status) + item, rc,
                              memory_order_relaxed);
    if (MPROC__UNLIKELY(rc != 0)) {
        failure_report(worker, work->call, item, rc);
        work->call->code = 0;
    }
}

static bool map_going(const mproc__worker *worker)
{
    return atomic_load_explicit(&worker->map->state, memory_order_relaxed) == MPROC__MAP_ACTIVE &&
           atomic_load_explicit(&worker->view->shared->state, memory_order_relaxed) < MPROC__POOL_QUIT;
}

/* False: stopped, nothing of it may be touched any more. */
static bool granule_run(const map_work *work, uint64_t granule, mproc__granule_word claimed)
{
    mproc__worker *worker = work->worker;
    mproc__map_shared *map = worker->map;
    _Atomic uint64_t *word = mproc__map_word(worker->view, map, granule);
    uint64_t first = granule * map->granule_items, left = map->count - first;
    uint32_t items = left < map->granule_items ? (uint32_t)left : map->granule_items;
    for (uint32_t i = claimed.resume; i < items; i++) {
        if (!map_going(worker)) {
            mproc__granule_give_back(word, claimed, i);
            return true;
        }
        work->call->attempt = 1 + (i == claimed.resume ? claimed.attempt : 0);
        if (work->guard_items)
            run_begin(worker);
        item_run(work, first + i);
        if (work->guard_items && !run_end(worker))
            return false;
    }
    mproc__granule_finish(word, claimed);
    atomic_fetch_add_explicit(&map->finished_items, items - claimed.resume, memory_order_relaxed);
    atomic_fetch_add_explicit(&map->finished_granules, 1, memory_order_acq_rel);
    return true;
}

/* ---- a stretch ---- */

static uint64_t stretch_next(const mproc__worker *worker, const mproc__stretch *stretch, int64_t took_ns)
{
    const mproc__map_shared *map = worker->map;
    uint64_t next = atomic_load_explicit(&map->next, memory_order_relaxed);
    uint64_t left = next < map->granules ? map->granules - next : 0;
    uint64_t share = left / (4 * worker->view->shared->plan.workers) + 1;
    uint64_t take = stretch->granules;
    if (map->fixed)
        return 1;
    if (took_ns < STRETCH_SHORT_NS)
        take *= 4;
    else if (took_ns < STRETCH_GOOD_NS)
        take *= 2;
    else if (took_ns > STRETCH_LONG_NS && take > 1)
        take /= 2;
    return take < share ? take : share;
}

static bool granules_work(const map_work *work, uint64_t from, uint64_t to, bool *ret_any)
{
    mproc__worker *worker = work->worker;
    for (uint64_t granule = from; granule < to && map_going(worker); granule++) {
        mproc__granule_word claimed;
        if (!mproc__granule_claim(mproc__map_word(worker->view, worker->map, granule), worker->index,
                                  worker->word.life, &claimed))
            continue;
        *ret_any = true;
        if (!granule_run(work, granule, claimed))
            return false;
    }
    return true;
}

/* Granules that the counter will not name again; at most one of them is taken. */
static bool holes_work(const map_work *work, mproc__stretch *stretch, bool *ret_any)
{
    mproc__worker *worker = work->worker;
    uint64_t holes = atomic_load(&worker->map->holes);
    bool going = true;
    for (uint64_t granule = 0; holes != stretch->seen && granule < worker->map->granules; granule++) {
        going = granules_work(work, granule, granule + 1, ret_any);
        if (*ret_any || !going)
            return going;
    }
    stretch->seen = holes;
    return true;
}

static bool stretch_run(const map_work *work, mproc__stretch *stretch, bool *ret_any)
{
    mproc__map_shared *map = work->worker->map;
    uint64_t from = map->granules;
    if (atomic_load_explicit(&map->next, memory_order_relaxed) < map->granules)
        from = atomic_fetch_add_explicit(&map->next, stretch->granules, memory_order_relaxed);
    if (from >= map->granules)
        return holes_work(work, stretch, ret_any);
    uint64_t to = from + stretch->granules;
    return granules_work(work, from, to < map->granules ? to : map->granules, ret_any);
}

static bool map_stretch(mproc__worker *worker, mproc_map_fn *fn, mproc_variant args)
{
    mproc__map_shared *map = worker->map;
    mproc__stretch *stretch = &worker->stretches[map - worker->view->shared->maps];
    mproc_call call;
    map_work work = {.worker = worker, .fn = fn, .call = &call, .guard_items = map->time_limit_ms != 0};
    bool any = false;
    int64_t began = mproc__now_ns();
    mproc__worker_call_init(worker, &call, args);
    if (!work.guard_items)
        run_begin(worker);
    bool going = stretch_run(&work, stretch, &any);
    if (!work.guard_items && !run_end(worker))
        going = false;
    if (!going)
        run_stopped(worker);
    mproc__call_fini(&call);
    stretch->granules = stretch_next(worker, stretch, mproc__now_ns() - began);
    if (mproc__map_complete(worker->view, map))
        mproc__pool_post(worker->view, &worker->view->shared->done);
    return any;
}

static bool map_open(mproc__worker *worker, mproc_fn **ret_fn, mproc_variant *ret_args)
{
    const mproc__map_shared *map = worker->map;
    int rc = mproc__worker_function(worker, map->function, ret_fn);
    *ret_args = mproc_null();
    if (rc == 0 && worker->view->threads && map->args)
        memcpy(ret_args, mproc__view_at(worker->view, map->args), sizeof *ret_args);
    else if (rc == 0 && map->args)
        rc = mproc__variant_decode(mproc__view_at(worker->view, map->args), map->args_bytes, ret_args);
    if (rc == 0)
        return true;
    mproc__breakage_shared reason = {.code = rc, .worker = worker->index, .pid = worker->word.pid};
    const char *story = mproc__story()->text;
    memcpy(reason.text, story, strnlen(story, sizeof reason.text - 1)); /* the rest is zero */
    mproc__pool_break(worker->view, &reason);
    return false;
}

static bool map_work_on(mproc__worker *worker)
{
    mproc_fn *fn;
    mproc_variant args;
    if (!map_open(worker, &fn, &args))
        return false;
    bool any = map_stretch(worker, (mproc_map_fn *)(void (*)(void))fn, args);
    if (!worker->view->threads)
        mproc_variant_clear(&args);
    return any;
}

static bool map_waiting(const mproc__worker *worker, unsigned index)
{
    const mproc__map_shared *map = &worker->view->shared->maps[index];
    const mproc__stretch *stretch = &worker->stretches[index];
    if (atomic_load(&map->state) != MPROC__MAP_ACTIVE)
        return false;
    uint64_t seen = stretch->number == map->number ? stretch->seen : 0;
    return atomic_load_explicit(&map->next, memory_order_relaxed) < map->granules ||
           atomic_load(&map->holes) != seen;
}

bool mproc__worker_map_waiting(const mproc__worker *worker)
{
    uint32_t active = atomic_load_explicit(&worker->view->shared->active_maps, memory_order_acquire);
    for (unsigned i = 0; active && i < MPROC__POOL_MAPS; i++)
        if ((active >> i & 1) && map_waiting(worker, i))
            return true;
    return false;
}

bool mproc__worker_map(mproc__worker *worker)
{
    uint32_t active = atomic_load_explicit(&worker->view->shared->active_maps, memory_order_acquire);
    for (unsigned turn = 0; active && turn < MPROC__POOL_MAPS; turn++) {
        unsigned index = (worker->map_turn + turn) % MPROC__POOL_MAPS;
        if (!(active >> index & 1) || !map_waiting(worker, index) || !map_enter(worker, index))
            continue;
        bool any = map_work_on(worker);
        map_leave(worker);
        worker->map_turn = index + 1;
        if (any)
            return true;
    }
    return false;
}
