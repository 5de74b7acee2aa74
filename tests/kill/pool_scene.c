/* SPDX-License-Identifier: BSD-2-Clause */
/* What the owner of a pool does while it, its supervisor or a worker is killed. The rule:
 *
 *     a worker was killed    one task, or one item, has died at most, and none that may be tried again; all other results are
 *                            right; the pool has all its workers again and ends in order
 *     the supervisor was     the same, for as many tasks or items as there are workers, which die with it
 *     the owner was          start_round.c looks for what is left */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kill/start_round.h"
#include "platform/platform.h"
#include "support/support.h"
#include "torture/pool_ledger.h"

enum {
    WORKERS_MOST = 2,
    TASKS_MOST = 6,
    ITEMS = 8,
    HARD_MS = 5000,
    RUN_US = 20000000, /* until it is stopped */
    LOOK_US = 20000,
    LIFE_MS = 10000,
    SUPERVISOR = 1,
    FAULT_CREATE = 11,
    FAULT_SUBMIT,
    FAULT_CODE,
    FAULT_ANSWER,
    FAULT_LOSSES,
    FAULT_CANCEL,
    FAULT_MEETING,
    FAULT_STOP,
    FAULT_ITEM
};

typedef struct world {
    mproc_shm *shm;
    pool_ledger_shared *ledger;
    mproc_pool *pool;
    unsigned workers;
    int created; /* what the creation answered */
    unsigned count;
    struct {
        mproc_future *future;
        uint32_t number, run_us;
        int code;
        unsigned attempt; /* of the answer */
        bool may_cancel, must_retry, limited, dies;
    } tasks[TASKS_MOST];
    int map_code, status[ITEMS];
    uint32_t out[ITEMS];
    bool map_retried;
    unsigned losses;
    int fault;
} world;

/* `prepare` before the window, `act` in it; the answers are judged after it. */
typedef struct pool_act {
    void (*prepare)(world *w);
    void (*act)(world *w);
    mproc_pool_options options;
    bool creates; /* in the window */
    bool stops;
} pool_act;

start_flags *start_flags_shared;

static void blame(world *w, int fault)
{
    if (w->fault == 0)
        w->fault = fault;
}

static mproc_deadline hard(void)
{
    return mproc_after_ms((uint64_t)support_ms(HARD_MS));
}

/* By the one death of the round. */
static unsigned losses_most(const world *w)
{
    int killed = atomic_load(&start_flags_shared->killed) - 1;
    return killed == SUPERVISOR ? w->workers : killed > SUPERVISOR ? 1 : 0;
}

/* ---- tasks ---- */

static void send(world *w, mproc_fn *fn, uint32_t number, uint32_t run_us, const mproc_task_options *options)
{
    pool_letter letter;
    unsigned i = w->count;
    if (!w->pool || i == TASKS_MOST)
        return;
    pool_letter_write(&letter, number, run_us);
    (void)pool_ledger_enter(w->ledger, number);
    int rc = pool_letter_send(w->pool, fn, &letter, options, &w->tasks[i].future);
    if (rc < 0) {
        blame(w, FAULT_SUBMIT);
        return;
    }
    w->tasks[i].number = number;
    w->tasks[i].run_us = run_us;
    w->tasks[i].must_retry = options && options->retries > 0;
    w->tasks[i].limited = options && options->time_limit_ms > 0;
    w->count++;
}

static void result_take(world *w, unsigned i)
{
    mproc_variant answer = mproc_null();
    w->tasks[i].code = mproc_future_result(w->tasks[i].future, hard(), &answer);
    if (w->tasks[i].code == 0)
        w->tasks[i].attempt = pool_letter_read(answer, w->tasks[i].number, w->tasks[i].run_us);
}

static void results_take(world *w)
{
    for (unsigned i = 0; i < w->count; i++)
        result_take(w, i);
}

static void task_judge(world *w, unsigned i)
{
    int code = w->tasks[i].code;
    bool retried = w->tasks[i].must_retry;
    w->losses += code == MPROC_EDIED && !w->tasks[i].dies;
    if (w->tasks[i].dies && !retried) {
        if (code != MPROC_EDIED)
            blame(w, FAULT_CODE);
    } else if (code == 0 &&
               (w->tasks[i].attempt == 0 || w->tasks[i].attempt > 1u + retried + w->tasks[i].dies))
        blame(w, FAULT_ANSWER);
    else if (code == MPROC_EDIED && retried)
        blame(w, FAULT_LOSSES);
    else if (code == -ECANCELED ? !w->tasks[i].may_cancel
             : code == -ETIME   ? !w->tasks[i].limited
                                : code != 0 && code != MPROC_EDIED)
        blame(w, FAULT_CODE);
}

/* ---- maps ---- */

static int item_double(mproc_call *call, const void *in, void *out)
{
    (void)call;
    uint32_t number;
    memcpy(&number, in, sizeof(number));
    number = 2 * number + 1;
    memcpy(out, &number, sizeof(number));
    return 0;
}

static void map_judge(world *w)
{
    unsigned died = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        died += w->status[i] == MPROC_EDIED;
        if (w->status[i] == 0 ? w->out[i] != 2 * i + 1 : w->status[i] != MPROC_EDIED)
            blame(w, FAULT_ITEM);
    }
    w->losses += died;
    if (w->map_code != (died ? MPROC_EDIED : 0))
        blame(w, FAULT_CODE);
    if (died && w->map_retried)
        blame(w, FAULT_LOSSES);
}

/* ---- acts ---- */

/* Asleep, so that the harness can wait until all are. */
static int task_looks(mproc_call *call)
{
    pool_ledger_shared *ledger = mproc_call_self(call);
    size_t size = 0;
    const pool_letter *letter = mproc_call_bytes(call, 0, &size);
    atomic_fetch_add(&ledger->entries[letter->number].begun, 1);
    while (!mproc_call_stopping(call))
        usleep(LOOK_US);
    pool_letter answer;
    memcpy(&answer, letter, size);
    answer.attempt = mproc_call_attempt(call);
    return mproc_call_return(call, mproc_bytes(&answer, size));
}

static int task_hangs(mproc_call *call)
{
    pool_ledger_shared *ledger = mproc_call_self(call);
    size_t size = 0;
    const pool_letter *letter = mproc_call_bytes(call, 0, &size);
    atomic_fetch_add(&ledger->entries[letter->number].begun, 1);
    while (pause() < 0)
        ;
    return 0;
}

static void act_submit(world *w)
{
    for (uint32_t i = 0; i < 3; i++)
        send(w, pool_task_echo, 2 * i, 0, NULL);
    results_take(w);
}

static void act_submit_large(world *w)
{
    for (uint32_t i = 0; i < 3; i++)
        send(w, pool_task_echo, 2 * i + 1, 0, NULL);
    results_take(w);
}

static void act_submit_retried(world *w)
{
    for (uint32_t i = 0; i < 3; i++)
        send(w, pool_task_echo, i, 0, MPROC_WITH(mproc_task_options, .retries = 2));
    results_take(w);
}

/* Two at a time. */
static void act_submit_full(world *w)
{
    for (uint32_t i = 0; i < 5; i++)
        send(w, pool_task_echo, 2 * i, 0, MPROC_WITH(mproc_task_options, .submit_deadline = hard()));
    results_take(w);
}

static void map_run(world *w, mproc_map_fn *fn, bool retried)
{
    uint32_t in[ITEMS];
    for (uint32_t i = 0; i < ITEMS; i++)
        in[i] = i;
    w->map_retried = retried;
    w->map_code = mproc_pool_map(
        w->pool, fn, in, sizeof(*in), w->out, sizeof(*w->out), ITEMS,
        MPROC_WITH(mproc_map_options, .chunk = 3, .status = w->status, .retries = retried ? 2 : 0));
}

static void act_map(world *w)
{
    map_run(w, item_double, false);
}

static void act_map_retried(world *w)
{
    map_run(w, item_double, true);
}

static int variant_echo(mproc_call *call)
{
    return mproc_call_return(call, mproc_call_arg(call, 0));
}

static void act_map_variants(world *w)
{
    mproc_variant items[ITEMS];
    mproc_results *results = NULL;
    mproc_result one;
    int rc;
    for (int i = 0; i < ITEMS; i++)
        items[i] = mproc_int(i);
    w->map_code = mproc_pool_map_variants(w->pool, variant_echo, items, ITEMS, NULL, &results);
    for (int i = 0; i < ITEMS; i++)
        w->status[i] = INT32_MIN;
    while (w->map_code == 0 && (rc = mproc_results_next(results, hard(), &one)) != MPROC_EEND) {
        int64_t number = -1;
        if (rc < 0 || one.index >= ITEMS) {
            w->map_code = rc;
            break;
        }
        w->status[one.index] = one.code;
        if (mproc_variant_get_int(one.value, &number) == 0)
            w->out[one.index] = (uint32_t)(2 * number + 1);
    }
    for (int i = 0; i < ITEMS; i++)
        if (w->status[i] == MPROC_EDIED)
            w->map_code = MPROC_EDIED;
    mproc_results_close(&results);
}

static bool begun(void *context)
{
    const world *w = context;
    for (unsigned i = 0; i < w->workers; i++)
        if (atomic_load(&w->ledger->entries[w->tasks[i].number].begun) == 0)
            return false;
    return true;
}

/* As many as there are workers run, and one waits. */
static void busy_with(world *w, mproc_fn *fn)
{
    const mproc_task_options *options = MPROC_WITH(mproc_task_options, .grace_ms = 1);
    for (uint32_t i = 0; i < w->workers; i++)
        send(w, fn, 2 * i, RUN_US, options);
    if (!support_until(begun, w, HARD_MS))
        blame(w, FAULT_SUBMIT);
    send(w, pool_task_echo, 2 * WORKERS_MOST, 0, NULL);
}

static void prepare_looks(world *w)
{
    busy_with(w, task_looks);
}

static void prepare_hangs(world *w)
{
    busy_with(w, task_hangs);
}

static void cancel(world *w, unsigned i, bool even_if_running)
{
    w->tasks[i].may_cancel = true;
    int rc = mproc_future_cancel(w->tasks[i].future, even_if_running);
    result_take(w, i);
    if (rc == 0 ? w->tasks[i].code != -ECANCELED : rc != MPROC_ESTATE && !(rc == -EBUSY && !even_if_running))
        blame(w, FAULT_CANCEL);
}

static void act_cancel(world *w)
{
    for (unsigned i = w->count; i-- > 0;)
        cancel(w, i, true);
}

static void prepare_echo(world *w)
{
    for (uint32_t i = 0; i < 3; i++)
        send(w, pool_task_echo, i, 0, NULL);
}

static void stop(world *w, bool drain)
{
    size_t dropped = 0, cancelled = 0;
    for (unsigned i = 0; i < w->count; i++)
        w->tasks[i].may_cancel = !drain;
    int rc = mproc_pool_stop(w->pool, drain, hard(), &dropped);
    results_take(w);
    for (unsigned i = 0; i < w->count; i++)
        cancelled += w->tasks[i].code == -ECANCELED;
    if (rc < 0 || dropped != cancelled)
        blame(w, FAULT_STOP);
}

static void act_stop_drain(world *w)
{
    stop(w, true);
}

static void act_stop_cancel(world *w)
{
    stop(w, false);
}

static void act_limit(world *w)
{
    send(w, task_hangs, 0, RUN_US, MPROC_WITH(mproc_task_options, .time_limit_ms = 1, .grace_ms = 1));
    results_take(w);
}

/* Once, if it may be tried again. */
static int task_dies(mproc_call *call)
{
    if (mproc_call_attempt(call) == 1)
        raise(SIGKILL);
    return pool_task_echo(call);
}

static void death(world *w, unsigned retries)
{
    send(w, task_dies, 0, 0, MPROC_WITH(mproc_task_options, .retries = retries));
    w->tasks[0].dies = true;
    for (uint32_t i = 1; i < 3; i++)
        send(w, pool_task_echo, 2 * i, 0, NULL);
    results_take(w);
}

static void act_death(world *w)
{
    death(w, 0);
}

static void act_death_retried(world *w)
{
    death(w, 2);
}

static int item_dies(mproc_call *call, const void *in, void *out)
{
    if (mproc_call_attempt(call) == 1 && *(const uint32_t *)in == ITEMS / 2)
        raise(SIGKILL);
    return item_double(call, in, out);
}

static void act_map_death(world *w)
{
    map_run(w, item_dies, true);
}

/* ---- scenes ---- */

static const start_scene scenes[] = {
    {"fork, submit", MPROC_START_FORK, .spares = -1},
    {"fork, submit large", MPROC_START_FORK, .spares = -1},
    {"fork, submit retried", MPROC_START_FORK, .spares = -1},
    {"fork, submit when full", MPROC_START_FORK, .spares = -1},
    {"fork, submit to two", MPROC_START_FORK, .spares = -1},
    {"fork, map", MPROC_START_FORK, .spares = -1},
    {"fork, map retried", MPROC_START_FORK, .spares = -1},
    {"fork, map by two", MPROC_START_FORK, .spares = -1},
    {"fork, map of variants", MPROC_START_FORK, .spares = -1},
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
    {"fork, create", MPROC_START_FORK, .spares = -1},
    {"spawn, create", MPROC_START_SPAWN, .spares = -1},
    {"spawn, submit", MPROC_START_SPAWN, .spares = -1},
    {"spawn, death", MPROC_START_SPAWN, .spares = -1},
    {"forkserver, create", MPROC_START_FORKSERVER, .spares = -1},
    {"forkserver, submit", MPROC_START_FORKSERVER, .spares = -1},
    {"forkserver, death", MPROC_START_FORKSERVER, .spares = -1},
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
    {.act = act_map},
    {.act = act_map_retried},
    {.act = act_map, .options = {.workers = 2}},
    {.act = act_map_variants},
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
    {.act = act_submit, .creates = true, .options = {.workers = 2}},
    {.act = act_submit, .creates = true, .options = {.workers = 2}},
    {.act = act_submit_large},
    {.act = act_death},
    {.act = act_submit, .creates = true, .options = {.workers = 2}},
    {.act = act_submit_large},
    {.act = act_death},
};
_Static_assert(MPROC__COUNT(acts) + 1 == MPROC__COUNT(scenes), "an act for each scene");

/* ---- the owner ---- */

static void pool_begin(world *w, const start_scene *scene, const pool_act *act)
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
static void pool_warm(world *w)
{
    if (w->created < 0 || pool_meet(w->pool, w->ledger, w->workers, LIFE_MS) < 0)
        blame(w, FAULT_CREATE);
}

static void pool_judge(world *w, const pool_act *act)
{
    /* Who dies before all are ready is the creator's failure. */
    if (w->created < 0 && !(w->created == MPROC_EDIED && atomic_load(&start_flags_shared->killed) > 1))
        blame(w, FAULT_CREATE);
    for (unsigned i = 0; i < w->count; i++)
        task_judge(w, i);
    if (act->act == act_map || act->act == act_map_retried || act->act == act_map_variants ||
        act->act == act_map_death)
        map_judge(w);
    if (w->losses > losses_most(w))
        blame(w, FAULT_LOSSES);
    if (w->created < 0 || act->stops)
        return;
    int rc = pool_meet(w->pool, w->ledger, w->workers, support_ms(HARD_MS));
    if (rc < 0)
        blame(w, FAULT_MEETING);
    if (mproc_pool_stop(w->pool, true, hard(), NULL) < 0)
        blame(w, FAULT_STOP);
}

_Noreturn void start_parent(const start_scene *scene, int life_fd)
{
    static world w;
    const pool_act *act = &acts[scene - scenes];
    (void)life_fd;
    if (pool_ledger_make(&w.shm, &w.ledger) < 0)
        blame(&w, FAULT_CREATE);
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
    mproc_shm_close(&w.shm);
    exit(w.fault);
}
