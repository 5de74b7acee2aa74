/* SPDX-License-Identifier: BSD-2-Clause */
/* Scenes of maps and loops. */
#include "platform/base.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "kill/pool_scene.h"

enum { ITEMS = POOL_SCENE_ITEMS, CHUNK = 3, NOT_TOLD = INT32_MIN };

static const mproc_map_options *map_options(pool_world *w, bool retried)
{
    static mproc_map_options options;
    options = (mproc_map_options){
        .size = sizeof(options), .chunk = CHUNK, .status = w->status, .retries = retried ? 2 : 0};
    w->mapped = true;
    w->map_retried = retried;
    w->map_range = 1;
    for (unsigned i = 0; i < ITEMS; i++)
        w->status[i] = NOT_TOLD;
    return &options;
}

/* A range that died has died once, however many items it has. */
static unsigned map_deaths(pool_world *w)
{
    unsigned ranges = 0, died = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        bool dead = w->status[i] == MPROC_EDIED, begins = i % w->map_range == 0;
        died += dead;
        ranges += dead && begins;
        if (w->status[i] == 0 ? w->out[i] != 2 * i + 1 : !dead)
            pool_blame(w, FAULT_ITEM);
        if (!begins && w->status[i] != w->status[i - 1])
            pool_blame(w, FAULT_ITEM);
    }
    if (w->map_code != (died ? MPROC_EDIED : 0))
        pool_blame(w, FAULT_CODE);
    return ranges;
}

void pool_map_judge(pool_world *w)
{
    unsigned deaths = w->mapped ? map_deaths(w) : 0;
    w->losses += deaths;
    if (deaths && w->map_retried)
        pool_blame(w, FAULT_LOSSES);
}

/* ---- over arrays ---- */

static int item_double(mproc_call *call, const void *in, void *out)
{
    (void)call;
    uint32_t number;
    memcpy(&number, in, sizeof(number));
    number = 2 * number + 1;
    memcpy(out, &number, sizeof(number));
    return 0;
}

static void map_run(pool_world *w, mproc_map_fn *fn, bool retried)
{
    uint32_t in[ITEMS];
    for (uint32_t i = 0; i < ITEMS; i++)
        in[i] = i;
    w->map_code =
        mproc_pool_map(w->pool, fn, in, sizeof(*in), w->out, sizeof(*w->out), ITEMS, map_options(w, retried));
}

void act_map(pool_world *w)
{
    map_run(w, item_double, false);
}

void act_map_retried(pool_world *w)
{
    map_run(w, item_double, true);
}

static int item_dies(mproc_call *call, const void *in, void *out)
{
    if (mproc_call_attempt(call) == 1 && *(const uint32_t *)in == ITEMS / 2)
        raise(SIGKILL);
    return item_double(call, in, out);
}

void act_map_death(pool_world *w)
{
    map_run(w, item_dies, true);
}

/* ---- over arrays that are lent, and loops ---- */

/* Two halves: what is read, what is written. */
static void array_make(pool_world *w)
{
    if (mproc_array_create(NULL, MPROC_ITEM_UINT32, 2UL * ITEMS, NULL, &w->array) < 0) {
        pool_blame(w, FAULT_CREATE);
        return;
    }
    uint32_t *numbers = mproc_array_data(w->array);
    for (uint32_t i = 0; i < ITEMS; i++)
        numbers[i] = i;
}

void prepare_array(pool_world *w)
{
    array_make(w);
    if (mproc_lock_create(NULL, NULL, &w->lock) < 0)
        pool_blame(w, FAULT_CREATE);
}

static void array_read(pool_world *w)
{
    memcpy(w->out, (const uint32_t *)mproc_array_data(w->array) + ITEMS, sizeof(w->out));
}

void act_map_in_place(pool_world *w)
{
    uint32_t *numbers = mproc_array_data(w->array);
    const mproc_map_options *options = map_options(w, false);
    w->map_code = mproc_pool_map(w->pool, item_double, numbers, sizeof(*numbers), numbers + ITEMS,
                                 sizeof(*numbers), ITEMS, options);
    array_read(w);
}

/* (array, lock) */
static int range_double(mproc_call *call)
{
    size_t first, end;
    uint32_t *numbers = mproc_array_data(mproc_call_array(call, 0));
    mproc_lock *lock = mproc_call_lock(call, 1);
    int rc = mproc_call_check(call);
    if (rc == 0)
        rc = mproc_lock_acquire(lock, pool_hard());
    if (rc < 0)
        return rc;
    mproc_call_range(call, &first, &end);
    for (size_t i = first; i < end; i++)
        numbers[ITEMS + i] = 2 * numbers[i] + 1;
    return mproc_lock_release(lock);
}

static void for_run(pool_world *w, bool retried)
{
    mproc_map_options options = *map_options(w, retried);
    options.args = MPROC_ARGS(w->array, w->lock);
    w->map_range = CHUNK;
    w->map_code = mproc_pool_for(w->pool, range_double, ITEMS, &options);
    array_read(w);
}

void act_for(pool_world *w)
{
    for_run(w, false);
}

void act_for_retried(pool_world *w)
{
    for_run(w, true);
}

/* The workers let go of the first array and open another. */
void act_for_again(pool_world *w)
{
    for_run(w, true);
    if (w->map_code < 0)
        return;
    mproc_array_close(&w->array);
    array_make(w);
    if (w->array)
        for_run(w, true);
}

/* ---- over variants ---- */

static int variant_double(mproc_call *call)
{
    return mproc_call_return(call, mproc_int(2 * mproc_call_int(call, 0) + 1));
}

static void results_read(pool_world *w, mproc_results *results)
{
    mproc_result one;
    for (int rc; w->map_code == 0 && (rc = mproc_results_next(results, pool_hard(), &one)) != MPROC_EEND;) {
        int64_t number = -1;
        if (rc < 0 || one.index >= ITEMS || w->status[one.index] != NOT_TOLD) {
            w->map_code = rc < 0 ? rc : -EPROTO;
            break;
        }
        w->status[one.index] = one.code;
        (void)mproc_variant_get_int(one.value, &number);
        w->out[one.index] = (uint32_t)number;
    }
    for (int i = 0; i < ITEMS; i++)
        if (w->map_code == 0 && w->status[i] == MPROC_EDIED)
            w->map_code = MPROC_EDIED;
}

static void variants_run(pool_world *w, size_t chunk, bool retried)
{
    mproc_variant items[ITEMS];
    mproc_results *results = NULL;
    mproc_map_options options = *map_options(w, retried);
    for (int i = 0; i < ITEMS; i++)
        items[i] = mproc_int(i);
    options.status = NULL;
    options.chunk = chunk;
    options.unordered = retried;
    w->map_code = mproc_pool_map_variants(w->pool, variant_double, items, ITEMS, &options, &results);
    results_read(w, results);
    mproc_results_close(&results);
}

void act_map_variants(pool_world *w)
{
    variants_run(w, 0, false);
}

void act_map_batches(pool_world *w)
{
    variants_run(w, CHUNK, false);
}

void act_map_batches_retried(pool_world *w)
{
    variants_run(w, CHUNK, true);
}

static int source_next(void *context, mproc_variant *ret_item)
{
    int64_t *next = context;
    if (*next == ITEMS)
        return MPROC_EEND;
    *ret_item = mproc_int((*next)++);
    return 0;
}

void act_map_source(pool_world *w)
{
    int64_t next = 0;
    mproc_results *results = NULL;
    mproc_map_options options = *map_options(w, false);
    options.status = NULL;
    options.chunk = 1;
    options.ahead = 2;
    w->map_code = mproc_pool_map_source(w->pool, variant_double, source_next, &next, &options, &results);
    results_read(w, results);
    mproc_results_close(&results);
}
