/* SPDX-License-Identifier: BSD-2-Clause */
/* A worker works on a map for a stretch of about 10 microseconds, then looks around.
 *
 * Measured on 2 processors, 1e6 trivial items: one granule a claim costs 1.0-1.3 x OpenMP's dynamic schedule, several
 * granules a claim 0.8-0.9. So the number doubles while stretches are short and halves when they are long; a death
 * loses one item, or range, whatever the number. */
#include "platform/base.h"

#include <string.h>

#include "data/parcel.h"
#include "pool/death.h"
#include "pool/worker_map.h"

enum { STRETCH_SHORT_NS = 2500, STRETCH_GOOD_NS = 10000, STRETCH_LONG_NS = 20000 };

/* ---- what a worker needs of a map: found once, kept while the map lasts ---- */

/* An array: here in the pool's segment (threads: anywhere), or in one that the owner has lent. */
static int array_find(mproc__worker *worker, uint32_t lent, uint64_t offset, char **ret_array)
{
    mproc__segment *segment;
    if (!lent) {
        *ret_array = mproc__view_at(worker->view, offset);
        return 0;
    }
    int rc = mproc__borrow_segment(&worker->borrower, lent - 1, &segment);
    if (rc == 0)
        *ret_array = (char *)mproc__segment_root(segment) + offset;
    return rc;
}

static int args_find(mproc__worker *worker, const mproc__map_shared *map, mproc_variant *ret_args)
{
    *ret_args = mproc_null();
    if (!map->args)
        return 0;
    void *bytes = mproc__view_at(worker->view, map->args);
    if (!worker->view->threads)
        return mproc__borrow_variant(&worker->borrower, bytes, map->args_bytes, ret_args);
    memcpy(ret_args, bytes, sizeof *ret_args);
    return 0;
}

static void stretch_close(const mproc__worker *worker, mproc__stretch *stretch)
{
    if (stretch->open && !worker->view->threads)
        mproc_variant_clear(&stretch->args);
    stretch->open = false;
}

/* The map fails as a whole, and nothing else does. Where the worker may have used up what is missing, by what it ran before, it
 * leaves instead, and the next one has a clean start: that one fails the map. The state before the report: one worker's
 * counts, and while that is in the map nobody looks at it. */
static void map_refuse(mproc__worker *worker, int code)
{
    mproc__map_shared *map = worker->map;
    uint32_t active = MPROC__MAP_ACTIVE;
    if ((code == -EMFILE || code == -ENOMEM) && worker->turns > 0 && !worker->view->threads) {
        worker->leave = true;
        return;
    }
    if (!atomic_compare_exchange_strong(&map->state, &active, MPROC__MAP_REFUSED))
        return;
    mproc__report_shared *report =
        (mproc__report_shared *)mproc__view_at(worker->view, map->reports) + worker->index;
    const char *story = mproc__story()->text;
    size_t length = strnlen(story, sizeof report->text - 1);
    report->code = code;
    memcpy(report->text, story, length);
    report->text[length] = 0;
    atomic_store_explicit(&report->item, MPROC__REPORT_OF_ALL, memory_order_release);
}

static bool map_open(mproc__worker *worker, mproc__stretch *stretch)
{
    const mproc__map_shared *map = worker->map;
    if (stretch->open)
        return true;
    mproc__borrow_trim(&worker->borrower);
    int rc = mproc__worker_function(worker, map->function, &stretch->fn);
    if (rc == 0)
        rc = array_find(worker, map->in_lent, map->in, &stretch->in);
    if (rc == 0)
        rc = array_find(worker, map->out_lent, map->out, &stretch->out);
    if (rc == 0)
        rc = args_find(worker, map, &stretch->args);
    stretch->open = rc == 0;
    if (rc < 0)
        map_refuse(worker, rc);
    return rc == 0;
}

void mproc__worker_maps_close(mproc__worker *worker)
{
    for (unsigned i = 0; i < MPROC__POOL_MAPS; i++)
        stretch_close(worker, &worker->stretches[i]);
}

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
    if (stretch->number != map->number) {
        stretch_close(worker, stretch);
        *stretch = (mproc__stretch){.number = map->number, .granules = 1};
    }
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

/* ---- the guard ---- */

void mproc__run_begin(mproc__worker *worker)
{
    atomic_store(&worker->desk->run, ++worker->runs << 2 | MPROC__RUN_BUSY);
    mproc__worker_limit(worker, worker->map->time_limit_ms);
}

bool mproc__run_end(mproc__worker *worker)
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

/* ---- a stretch ---- */

static uint64_t stretch_next(const mproc__worker *worker, const mproc__stretch *stretch, int64_t took_ns)
{
    const mproc__map_shared *map = worker->map;
    uint64_t next = atomic_load_explicit(&map->next, memory_order_relaxed);
    uint64_t left = next < map->granules ? map->granules - next : 0;
    uint64_t share =
        left / (4 * atomic_load_explicit(&worker->view->shared->wanted, memory_order_relaxed)) + 1;
    uint64_t take = stretch->granules;
    if (took_ns < STRETCH_SHORT_NS)
        take *= 4;
    else if (took_ns < STRETCH_GOOD_NS)
        take *= 2;
    else if (took_ns > STRETCH_LONG_NS && take > 1)
        take /= 2;
    return take < share ? take : share;
}

/* Granules that the counter will not name again; at most one of them is taken. The search goes on behind it, lest a million
 * of them cost a search each; what becomes free behind that has changed the count of holes. */
static bool holes_work(mproc__map_work *work, mproc__stretch *stretch)
{
    uint64_t holes = atomic_load(&work->map->holes);
    if (holes == stretch->seen)
        return true;
    if (holes != stretch->under)
        stretch->cursor = 0;
    stretch->under = holes;
    while (stretch->cursor < work->map->granules) {
        uint64_t granule = stretch->cursor++;
        bool going = mproc__map_granules(work, granule, granule + 1);
        if (work->any || !going)
            return going;
    }
    stretch->seen = holes;
    return true;
}

static bool stretch_run(mproc__map_work *work, mproc__stretch *stretch)
{
    mproc__map_shared *map = work->map;
    uint64_t from = map->granules;
    if (atomic_load_explicit(&map->next, memory_order_relaxed) < map->granules)
        from = atomic_fetch_add_explicit(&map->next, stretch->granules, memory_order_relaxed);
    if (from >= map->granules)
        return holes_work(work, stretch);
    uint64_t to = from + stretch->granules;
    return mproc__map_granules(work, from, to < map->granules ? to : map->granules);
}

/* Once a stretch: a counter that all workers write costs a cache line's way each time. */
static void finished_count(const mproc__map_work *work)
{
    mproc__map_shared *map = work->map;
    if (work->finished_granules == 0)
        return;
    atomic_fetch_add_explicit(&map->finished_items, work->finished_items, memory_order_relaxed);
    atomic_fetch_add_explicit(&map->finished_granules, work->finished_granules, memory_order_acq_rel);
}

static bool map_stretch(mproc__worker *worker, mproc__stretch *stretch)
{
    mproc__map_shared *map = worker->map;
    mproc_call call;
    mproc__map_work work = {.worker = worker,
                            .map = map,
                            .stretch = stretch,
                            .call = &call,
                            .guard_items = map->time_limit_ms != 0};
    int64_t began = mproc__now_ns();
    mproc__worker_call_init(worker, &call, stretch->args);
    if (!work.guard_items)
        mproc__run_begin(worker);
    bool going = stretch_run(&work, stretch);
    if (!work.guard_items && !mproc__run_end(worker))
        going = false;
    finished_count(&work);
    if (!going)
        run_stopped(worker);
    mproc__call_fini(&call);
    stretch->granules = stretch_next(worker, stretch, mproc__now_ns() - began);
    if (mproc__map_complete(worker->view, map, &stretch->final))
        mproc__pool_post(worker->view, &worker->view->shared->done);
    return work.any;
}

/* ---- which map ---- */

static bool map_waiting(const mproc__worker *worker, unsigned index)
{
    const mproc__map_shared *map = &worker->view->shared->maps[index];
    const mproc__stretch *stretch = &worker->stretches[index];
    if (atomic_load(&map->state) != MPROC__MAP_ACTIVE || worker->index >= atomic_load(&map->desks))
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
        mproc__stretch *stretch = &worker->stretches[index];
        bool any = map_open(worker, stretch) && map_stretch(worker, stretch);
        map_leave(worker);
        worker->map_turn = index + 1;
        if (any)
            return true;
    }
    return false;
}
