/* SPDX-License-Identifier: BSD-2-Clause */
/* The owner of a pool, and its scenes. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>

#include "kill/pool_scene.h"
#include "platform/platform.h"
#include "support/support.h"

enum { LIFE_MS = 10000, SUPERVISOR = 1 };

/* `prepare` before the window, `act` in it; the answers are judged after it. */
typedef struct pool_act {
    void (*prepare)(pool_world *w);
    void (*act)(pool_world *w);
    mproc_pool_options options;
    bool creates; /* in the window */
    bool stops;
} pool_act;

start_flags *start_flags_shared;

void pool_blame(pool_world *w, pool_fault fault)
{
    if (w->fault == 0)
        w->fault = fault;
}

mproc_deadline pool_hard(void)
{
    return mproc_after_ms((uint64_t)support_ms(POOL_SCENE_MS));
}

/* By the one death of the round. */
static unsigned losses_most(const pool_world *w)
{
    int killed = atomic_load(&start_flags_shared->killed) - 1;
    return killed == SUPERVISOR ? w->workers : killed > SUPERVISOR ? 1 : 0;
}

/* ---- scenes ---- */

static const start_scene scenes[] = {
    {"fork, submit", MPROC_START_FORK, .spares = -1},
    {"fork, submit large", MPROC_START_FORK, .spares = -1},
    {"fork, submit retried", MPROC_START_FORK, .spares = -1},
    {"fork, submit when full", MPROC_START_FORK, .spares = -1},
    {"fork, submit to two", MPROC_START_FORK, .spares = -1},
    {"fork, submit by priority", MPROC_START_FORK, .spares = -1},
    {"fork, checkpoints", MPROC_START_FORK, .spares = -1},
    {"fork, checkpoints by two", MPROC_START_FORK, .spares = -1},
    {"fork, resize", MPROC_START_FORK, .spares = -1},
    {"fork, map", MPROC_START_FORK, .spares = -1},
    {"fork, map retried", MPROC_START_FORK, .spares = -1},
    {"fork, map by two", MPROC_START_FORK, .spares = -1},
    {"fork, map in place", MPROC_START_FORK, .spares = -1},
    {"fork, map of variants", MPROC_START_FORK, .spares = -1},
    {"fork, map in batches", MPROC_START_FORK, .spares = -1},
    {"fork, map in batches by two", MPROC_START_FORK, .spares = -1},
    {"fork, map of a source", MPROC_START_FORK, .spares = -1},
    {"fork, loop", MPROC_START_FORK, .spares = -1},
    {"fork, loop by two", MPROC_START_FORK, .spares = -1},
    {"fork, loop over another array", MPROC_START_FORK, .spares = -1},
    {"fork, death", MPROC_START_FORK, .spares = -1},
    {"fork, death retried", MPROC_START_FORK, .spares = -1},
    {"fork, death of one of two", MPROC_START_FORK, .spares = -1},
    {"fork, death in a map", MPROC_START_FORK, .spares = -1},
    {"fork, death of one of two in a map", MPROC_START_FORK, .spares = -1},
    {"fork, cancel what looks", MPROC_START_FORK, .spares = -1},
    {"fork, cancel what hangs", MPROC_START_FORK, .spares = -1},
    {"fork, time limit", MPROC_START_FORK, .spares = -1},
    {"fork, workers leave", MPROC_START_FORK, .spares = -1},
    {"fork, stop and drain", MPROC_START_FORK, .spares = -1},
    {"fork, stop and cancel", MPROC_START_FORK, .spares = -1},
    {"fork, after others", MPROC_START_FORK, .spares = -1},
    {"fork, after others by two", MPROC_START_FORK, .spares = -1},
    {"fork, after others retried", MPROC_START_FORK, .spares = -1},
    {"fork, after a death", MPROC_START_FORK, .spares = -1},
    {"fork, after a cancel", MPROC_START_FORK, .spares = -1},
    {"fork, create", MPROC_START_FORK, .spares = -1},
    {"spawn, create", MPROC_START_SPAWN, .spares = -1},
    {"spawn, submit", MPROC_START_SPAWN, .spares = -1},
    {"spawn, death", MPROC_START_SPAWN, .spares = -1},
    {"spawn, loop", MPROC_START_SPAWN, .spares = -1},
    {"forkserver, create", MPROC_START_FORKSERVER, .spares = -1},
    {"forkserver, submit", MPROC_START_FORKSERVER, .spares = -1},
    {"forkserver, death", MPROC_START_FORKSERVER, .spares = -1},
    {"forkserver, loop", MPROC_START_FORKSERVER, .spares = -1},
    {.name = NULL},
};
const start_scene *const start_scenes = scenes;
const char *const start_program = "poolsweep";
const char *const start_names[] = {"owner", "supervisor", "first", "second",
                                   "third", "fourth",     "fifth", "sixth"};

/* In the order of the scenes. With one worker nobody else takes what it was about to take. */
static const pool_act acts[] = {
    {.act = act_submit},
    {.act = act_submit_large},
    {.act = act_submit_retried},
    {.act = act_submit_full, .options = {.max_queued_tasks = 2}},
    {.act = act_submit_large, .options = {.workers = 2}},
    {.act = act_submit_ranked},
    {.act = act_checkpoint},
    {.act = act_checkpoint, .options = {.workers = 2}},
    {.act = act_resize},
    {.act = act_map},
    {.act = act_map_retried},
    {.act = act_map, .options = {.workers = 2}},
    {.prepare = prepare_array, .act = act_map_in_place},
    {.act = act_map_variants},
    {.act = act_map_batches},
    {.act = act_map_batches_retried, .options = {.workers = 2}},
    {.act = act_map_source},
    {.prepare = prepare_array, .act = act_for},
    {.prepare = prepare_array, .act = act_for_retried, .options = {.workers = 2}},
    {.prepare = prepare_array, .act = act_for_again},
    {.act = act_death},
    {.act = act_death_retried},
    {.act = act_death, .options = {.workers = 2}},
    {.act = act_map_death},
    {.act = act_map_death, .options = {.workers = 2}},
    {.prepare = prepare_looks, .act = act_cancel},
    {.prepare = prepare_hangs, .act = act_cancel},
    {.act = act_limit},
    {.act = act_submit, .options = {.tasks_per_worker = 1}},
    {.prepare = prepare_echo, .act = act_stop_drain, .stops = true},
    {.prepare = prepare_looks, .act = act_stop_cancel, .stops = true, .options = {.workers = 2}},
    {.act = act_after},
    {.act = act_after, .options = {.workers = 2}},
    {.act = act_after_retried},
    {.act = act_after_death},
    {.prepare = prepare_looks, .act = act_after_cancel},
    {.act = act_submit, .creates = true, .options = {.workers = 2}},
    {.act = act_submit, .creates = true, .options = {.workers = 2}},
    {.act = act_submit_large},
    {.act = act_death},
    {.prepare = prepare_array, .act = act_for},
    {.act = act_submit, .creates = true, .options = {.workers = 2}},
    {.act = act_submit_large},
    {.act = act_death},
    {.prepare = prepare_array, .act = act_for},
};
_Static_assert(MPROC__COUNT(acts) + 1 == MPROC__COUNT(scenes), "an act for each scene");

/* ---- the owner ---- */

static void pool_begin(pool_world *w, const start_scene *scene, const pool_act *act)
{
    mproc_pool_options options = act->options;
    options.workers = w->workers = options.workers ? options.workers : 1;
    options.restarts_per_minute = 1000;
    if (!options.max_queued_tasks)
        options.max_queued_tasks = 16;
    options.max_queued_bytes = 16 << 10;
    w->created = pool_ledger_pool(w->shm, (mproc_start)scene->method, &options, &w->pool);
}

/* Every function known, every page touched that has been touched when a pool has worked a while. */
static void pool_warm(pool_world *w)
{
    if (w->created < 0 || pool_meet(w->pool, w->ledger, w->workers, LIFE_MS) < 0)
        pool_blame(w, FAULT_CREATE);
}

static void pool_judge(pool_world *w, const pool_act *act)
{
    /* Who dies before all are ready is the creator's failure. */
    if (w->created < 0 && !(w->created == MPROC_EDIED && atomic_load(&start_flags_shared->killed) > 1))
        pool_blame(w, FAULT_CREATE);
    pool_tasks_judge(w);
    pool_map_judge(w);
    if (w->losses > losses_most(w))
        pool_blame(w, FAULT_LOSSES);
    if (w->created < 0 || act->stops)
        return;
    int rc = pool_meet(w->pool, w->ledger, w->workers, support_ms(POOL_SCENE_MS));
    if (rc < 0)
        pool_blame(w, FAULT_MEETING);
    if (mproc_pool_stop(w->pool, true, pool_hard(), NULL) < 0)
        pool_blame(w, FAULT_STOP);
}

_Noreturn void start_parent(const start_scene *scene, int life_fd)
{
    static pool_world w;
    const pool_act *act = &acts[scene - scenes];
    (void)life_fd;
    if (pool_ledger_make(&w.shm, &w.ledger) < 0)
        pool_blame(&w, FAULT_CREATE);
    if (!act->creates) {
        pool_begin(&w, scene, act);
        pool_warm(&w);
    }
    if (w.fault == 0 && act->prepare)
        act->prepare(&w);
    if (w.fault)
        exit(w.fault);
    raise(SIGSTOP);
    if (act->creates)
        pool_begin(&w, scene, act);
    act->act(&w);
    raise(SIGSTOP);
    pool_judge(&w, act);
    for (unsigned i = 0; i < w.count; i++)
        mproc_future_close(&w.tasks[i].future);
    mproc_pool_close(&w.pool);
    mproc_array_close(&w.array);
    mproc_lock_close(&w.lock);
    mproc_shm_close(&w.shm);
    exit(w.fault);
}
