/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a map: nobody in it any more, results copied out, the earliest failure told. */
#include "platform/base.h"

#include <limits.h>
#include <string.h>

#include "platform/story.h"
#include "pool/death.h"
#include "pool/granule.h"
#include "pool/map.h"

static mproc__map_shared *map_of(const mproc_future *future)
{
    return &future->core->view.shared->maps[future->map->index];
}

bool mproc__map_started(const mproc_future *future)
{
    return atomic_load_explicit(&map_of(future)->next, memory_order_relaxed) > 0;
}

void mproc__map_progress(const mproc_future *future, uint64_t *ret_done, uint64_t *ret_total)
{
    uint64_t done = atomic_load_explicit(&map_of(future)->finished_items, memory_order_relaxed);
    *ret_total = map_of(future)->count;
    *ret_done = done < *ret_total ? done : *ret_total;
}

int mproc__map_cancel(mproc_future *future, bool even_if_running)
{
    mproc__map_shared *map = map_of(future);
    if (mproc__map_started(future) && !even_if_running)
        return -EBUSY;
    /* Also over ENDED: until it is settled, nobody has been told. */
    atomic_store(&map->state, MPROC__MAP_CANCELLED);
    atomic_store(&map->kill, 1);
    return 0;
}

enum { ABANDON_MS = 1000 };

/* ---- what came of it ---- */

typedef struct map_failure {
    uint64_t item; /* + 1; 0: none */
    int code;
    unsigned worker, life;
    const char *text;
} map_failure;

static void failure_earlier(map_failure *known, map_failure other)
{
    if (other.item && (!known->item || other.item < known->item))
        *known = other;
}

static map_failure failure_first(const mproc__pool_view *view, const mproc__map_shared *map)
{
    map_failure first = {.item = 0};
    const mproc__report_shared *reports = mproc__view_at(view, map->reports);
    const _Atomic uint64_t *losses = mproc__view_at(view, map->losses);
    for (unsigned i = 0; i < atomic_load(&map->desks); i++) {
        uint64_t loss = atomic_load(&losses[i]);
        failure_earlier(&first, (map_failure){.item = atomic_load(&reports[i].item),
                                              .code = reports[i].code,
                                              .worker = i,
                                              .text = reports[i].text});
        failure_earlier(&first, (map_failure){.item = loss >> 20,
                                              .code = mproc__loss_code((mproc__run_state)(loss & 0xf)),
                                              .worker = i,
                                              .life = (unsigned)(loss >> 4 & 0xffff)});
    }
    return first;
}

static void loss_story(mproc_future *future, const map_failure *failure)
{
    mproc__certificate_shared why;
    char end[MPROC__END_TEXT] = "died";
    if (mproc__certificate_read(&future->core->view, failure->worker, failure->life, &why)) {
        mproc__certificate_tell(&why, end, sizeof end);
        mproc__fail(failure->code, "item %llu of map %llu: worker %u (pid %d) %s",
                    (unsigned long long)(failure->item - 1), (unsigned long long)future->number,
                    failure->worker, (int)why.pid, end);
        mproc__fail_number(MPROC_ERROR_PID, why.pid);
        mproc__fail_number(why.exit_code < 0 ? MPROC_ERROR_SIGNAL : MPROC_ERROR_EXIT_CODE,
                           why.exit_code < 0 ? -why.exit_code : why.exit_code);
        if (mproc__certificate_oom(&why))
            mproc__fail_number(MPROC_ERROR_OOM, 1);
    } else {
        mproc__fail(failure->code, "item %llu of map %llu: %s", (unsigned long long)(failure->item - 1),
                    (unsigned long long)future->number,
                    failure->code == MPROC_EDIED ? "its worker died" : mproc_strerror(failure->code));
    }
}

static void failure_story(mproc_future *future, const map_failure *failure)
{
    if (!failure->text)
        loss_story(future, failure);
    else
        mproc__fail(failure->code, "%s: item %llu of map %llu in worker %u",
                    failure->text[0] ? failure->text : mproc_strerror(failure->code),
                    (unsigned long long)(failure->item - 1), (unsigned long long)future->number,
                    failure->worker);
    mproc__fail_number(MPROC_ERROR_ITEM, (int64_t)failure->item - 1);
    mproc__fail_number(MPROC_ERROR_TASK, (int64_t)future->number);
}

static void status_copy(const mproc_future *future, const mproc__map_shared *map, int open_code)
{
    if (!future->map->status)
        return;
    const int32_t *status = mproc__view_at(&future->core->view, map->status);
    for (uint64_t i = 0; i < map->count; i++)
        future->map->status[i] = status[i] == INT32_MIN ? open_code : status[i];
}

/* No worker is in it any more: who refused it has said why, or is dead. */
static int refusal_story(const mproc_future *future, const mproc__map_shared *map)
{
    const mproc__report_shared *reports = mproc__view_at(&future->core->view, map->reports);
    for (unsigned i = 0; i < atomic_load(&map->desks); i++)
        if (atomic_load(&reports[i].item) == MPROC__REPORT_OF_ALL) {
            int rc = mproc__fail(reports[i].code, "map %llu cannot be done by worker %u: %s",
                                 (unsigned long long)future->number, i, reports[i].text);
            mproc__fail_number(MPROC_ERROR_TASK, (int64_t)future->number);
            return rc;
        }
    return mproc__fail(MPROC_EDIED, "map %llu: a worker died as it could not do it",
                       (unsigned long long)future->number);
}

static void refused_outcome(mproc_future *future, const mproc__map_shared *map)
{
    int code = refusal_story(future, map);
    status_copy(future, map, code);
    mproc__future_settle(future, MPROC_FUTURE_FAILED, code);
}

static void map_outcome(mproc_future *future, const mproc__map_shared *map, bool complete)
{
    mproc__pool_view *view = &future->core->view;
    if (!view->threads && !map->out_lent && future->map->out && map->out_bytes && map->count)
        memcpy(future->map->out, mproc__view_at(view, map->out), map->count * map->out_bytes);
    if (atomic_load(&map->state) == MPROC__MAP_REFUSED) {
        refused_outcome(future, map);
        return;
    }
    bool cancelled = atomic_load(&map->state) == MPROC__MAP_CANCELLED;
    status_copy(future, map, complete || !cancelled ? MPROC_EDIED : -ECANCELED);
    map_failure failure = failure_first(view, map);
    if (!complete) {
        if (!cancelled)
            mproc__future_settle_lost(future);
        else
            mproc__future_settle(
                future, MPROC_FUTURE_CANCELLED,
                mproc__fail(-ECANCELED, "map %llu was cancelled", (unsigned long long)future->number));
    } else if (failure.item) {
        failure_story(future, &failure);
        mproc__future_settle(future, MPROC_FUTURE_FAILED, failure.code);
    } else {
        mproc__future_settle(future, MPROC_FUTURE_DONE, 0);
    }
}

/* ---- the end ---- */

/* A worker that may touch the map's memory. Its desk says so before it looks at the map's state; here the state is stored
 * before the desk is looked at: one of the two sees the other. */
static bool map_occupied(const mproc__pool_view *view, unsigned index)
{
    for (unsigned i = 0; i < mproc__desks(view->shared); i++) {
        const mproc__worker_shared *desk = &view->shared->workers[i];
        if (atomic_load(&desk->map) == index + 1 && mproc__worker_unburied(mproc__worker_load(desk).state))
            return true;
    }
    return false;
}

static void map_done(mproc_future *future, mproc__map_shared *map)
{
    mproc__pool_core *core = future->core;
    mproc__map_job *job = future->map;
    mproc__map_free(core, job);
    atomic_store(&map->state, MPROC__MAP_FREE);
    core->maps[job->index] = NULL;
    mproc__pool_post(&core->view, &core->view.shared->done);
}

void mproc__map_look(mproc_future *future)
{
    mproc__pool_core *core = future->core;
    mproc__map_shared *map = map_of(future);
    bool complete = mproc__map_complete(&core->view, map, &future->map->final);
    bool over = complete || atomic_load(&map->state) != MPROC__MAP_ACTIVE || atomic_load(&core->ended) ||
                mproc__pool_broken(&core->view);
    if (!over)
        return;
    uint32_t active = MPROC__MAP_ACTIVE;
    (void)atomic_compare_exchange_strong(&map->state, &active, MPROC__MAP_ENDED);
    if (map_occupied(&core->view, future->map->index))
        return;
    atomic_fetch_and(&core->view.shared->active_maps, ~(1u << future->map->index));
    /* What was under way meanwhile may have been all; but a cancel has promised that it will not be done. */
    complete = atomic_load(&map->state) == MPROC__MAP_ENDED &&
               mproc__map_complete(&core->view, map, &future->map->final);
    mproc__map_progress(future, &future->progress_done, &future->progress_total);
    if (complete) /* a death cuts the count short */
        future->progress_done = future->progress_total;
    map_outcome(future, map, complete);
    map_done(future, map);
}

void mproc__map_abandon(mproc_future *future)
{
    mproc__pool_core *core = future->core;
    pthread_mutex_lock(&core->lock);
    future->map->status = NULL;
    if (!core->view.threads)
        future->map->out = NULL;
    (void)mproc__map_cancel(future, true);
    pthread_mutex_unlock(&core->lock);
    mproc__pool_post(&core->view, &core->view.shared->command);
    while (!mproc__future_await_outcome(future, mproc_after_ms(ABANDON_MS)))
        ; /* not forever: also where all workers wait for tasks, its memory is its workers' until they leave it */
}
