/* SPDX-License-Identifier: BSD-2-Clause */
/* What the owner of a pool does while it, its supervisor or a worker is killed. The rule:
 *
 *     a worker was killed    one task, one item or one range has died at most, and none that may be tried again; all other
 *                            results are right; the pool has all its workers again and ends in order
 *     the supervisor was     the same, for as many of them as there are workers, which die with it
 *     the owner was          start_round.c looks for what is left */
#ifndef MPROC__TESTS_KILL_POOL_SCENE_H
#define MPROC__TESTS_KILL_POOL_SCENE_H

#include <stdbool.h>
#include <stdint.h>

#include <mproc.h>

#include "kill/start_round.h"
#include "torture/pool_ledger.h"

enum {
    POOL_SCENE_TASKS = 6,
    POOL_SCENE_ITEMS = 8,
    POOL_SCENE_WORKERS = 2,
    POOL_SCENE_MS = 5000 /* of anything that may not hang */
};

typedef enum pool_fault {
    FAULT_CREATE = 11,
    FAULT_SUBMIT,
    FAULT_CODE,
    FAULT_ANSWER,
    FAULT_LOSSES,
    FAULT_CANCEL,
    FAULT_MEETING,
    FAULT_STOP,
    FAULT_ITEM
} pool_fault;

typedef struct pool_world {
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
        unsigned after; /* which ones it comes after, a bit each, */
        bool anyhow;    /* even if they fail */
    } tasks[POOL_SCENE_TASKS];
    bool mapped;
    int map_code, status[POOL_SCENE_ITEMS];
    uint32_t out[POOL_SCENE_ITEMS];
    unsigned map_range; /* items that die together */
    bool map_retried;
    mproc_array *array; /* lent to the workers */
    mproc_lock *lock;
    unsigned losses;
    int fault;
} pool_world;

/* ---- pool_scene.c ---- */
/* The first fault counts. */
void pool_blame(pool_world *w, pool_fault fault);
mproc_deadline pool_hard(void);

/* ---- pool_tasks.c ---- */
void pool_tasks_judge(pool_world *w);
void prepare_looks(pool_world *w);
void prepare_hangs(pool_world *w);
void prepare_echo(pool_world *w);
void act_submit(pool_world *w);
void act_submit_large(pool_world *w);
void act_submit_retried(pool_world *w);
void act_submit_full(pool_world *w);
void act_submit_ranked(pool_world *w);
void act_checkpoint(pool_world *w);
void act_resize(pool_world *w);
void act_cancel(pool_world *w);
void act_limit(pool_world *w);
void act_death(pool_world *w);
void act_death_retried(pool_world *w);
void act_stop_drain(pool_world *w);
void act_stop_cancel(pool_world *w);
void act_after(pool_world *w);
void act_after_retried(pool_world *w);
void act_after_death(pool_world *w);
void act_after_cancel(pool_world *w);

/* ---- pool_maps.c ---- */
void pool_map_judge(pool_world *w);
void prepare_array(pool_world *w);
void act_map(pool_world *w);
void act_map_retried(pool_world *w);
void act_map_in_place(pool_world *w);
void act_map_death(pool_world *w);
void act_map_variants(pool_world *w);
void act_map_batches(pool_world *w);
void act_map_batches_retried(pool_world *w);
void act_map_source(pool_world *w);
void act_for(pool_world *w);
void act_for_retried(pool_world *w);
void act_for_again(pool_world *w);

#endif
