/* SPDX-License-Identifier: BSD-2-Clause */
/* What a pool is doing and has done. */
#include "platform/base.h"

#include "platform/story.h"
#include "pool/pool.h"

typedef struct census {
    uint32_t queued, running;
    unsigned alive, idle;
    uint64_t completed;
} census;

typedef struct entry {
    const char *key;
    uint64_t value;
} entry;

static bool is_idle(const mproc__worker_shared *desk, mproc__worker_word word)
{
    return word.state == MPROC__WORKER_READY &&
           atomic_load_explicit(&desk->slot, memory_order_relaxed) == 0 &&
           atomic_load_explicit(&desk->map, memory_order_relaxed) == 0;
}

static void desks_count(const mproc__pool_shared *shared, census *of)
{
    for (unsigned i = 0; i < mproc__desks(shared); i++) {
        const mproc__worker_shared *desk = &shared->workers[i];
        mproc__worker_word word = mproc__worker_load(desk);
        of->alive += mproc__worker_unburied(word.state);
        of->idle += is_idle(desk, word);
        of->completed += atomic_load_explicit(&desk->completed, memory_order_relaxed);
    }
}

static void slots_count(const mproc__pool_core *core, census *of)
{
    for (uint32_t slot = 0; slot < core->given_count; slot++) {
        mproc__task_state state = mproc__task_load(&core->view.slots[slot].word).state;
        of->queued += state == MPROC__TASK_READY || state == MPROC__TASK_WAITING;
        of->running += state == MPROC__TASK_RUNNING || state == MPROC__TASK_STOPPING;
    }
}

static int entries_set(mproc_variant *dict, const entry *entries, size_t count)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = mproc_variant_set(dict, entries[i].key, mproc_int((int64_t)entries[i].value));
    return rc;
}

/* ---- each worker ---- */

static const char *worker_state(const mproc__worker_shared *desk, mproc__worker_word word)
{
    if (word.state == MPROC__WORKER_STARTING)
        return "starting";
    if (word.state == MPROC__WORKER_LEAVING)
        return "leaving";
    return is_idle(desk, word) ? "idle" : "busy";
}

static int worker_add(const mproc__pool_shared *shared, unsigned index, mproc_variant *list)
{
    const mproc__worker_shared *desk = &shared->workers[index];
    mproc__worker_word word = mproc__worker_load(desk);
    if (!mproc__worker_unburied(word.state))
        return 0;
    const entry entries[] = {{"worker", index},
                             {"pid", (uint64_t)word.pid},
                             {"life", word.life},
                             {"completed", atomic_load_explicit(&desk->completed, memory_order_relaxed)}};
    mproc_variant one = mproc_null();
    int rc = entries_set(&one, entries, MPROC__COUNT(entries));
    if (rc == 0)
        rc = mproc_variant_set(&one, "state", mproc_text(worker_state(desk, word)));
    if (rc == 0)
        rc = mproc_variant_append(list, one);
    mproc_variant_clear(&one);
    return rc;
}

static int workers_set(const mproc__pool_shared *shared, mproc_variant *dict)
{
    mproc_variant list = mproc_null();
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < mproc__desks(shared); i++)
        rc = worker_add(shared, i, &list);
    if (rc == 0)
        rc = mproc_variant_set(dict, "each", list);
    mproc_variant_clear(&list);
    return rc;
}

/* ---- all ---- */

static int stats_fill(mproc__pool_core *core, mproc_variant *dict)
{
    const mproc__pool_shared *shared = core->view.shared;
    census of = {.queued = 0};
    pthread_mutex_lock(&core->lock);
    mproc__slots_harvest(core);
    slots_count(core, &of);
    uint64_t accepted = core->accepted, failed = core->failed, cancelled = core->cancelled;
    pthread_mutex_unlock(&core->lock);
    desks_count(shared, &of);
    const entry entries[] = {{"workers", atomic_load(&shared->wanted)},
                             {"alive", of.alive},
                             {"idle", of.idle},
                             {"accepted", accepted},
                             {"queued", of.queued},
                             {"running", of.running},
                             {"completed", of.completed},
                             {"failed", failed},
                             {"cancelled", cancelled},
                             {"died", atomic_load(&shared->died)},
                             {"restarted", atomic_load(&shared->restarted)}};
    int rc = entries_set(dict, entries, MPROC__COUNT(entries));
    return rc == 0 ? workers_set(shared, dict) : rc;
}

int mproc_pool_stats(const mproc_pool *pool, mproc_variant *ret_dict)
{
    int rc = mproc__handle_check(pool, MPROC_TYPE_POOL);
    if (rc == 0)
        rc = mproc__core_check(pool->core);
    if (rc == 0 && !ret_dict)
        rc = mproc__fail(-EINVAL, "mproc_pool_stats: nowhere to put them");
    if (rc < 0)
        return rc;
    mproc__core_guard(pool->core);
    *ret_dict = mproc_null();
    rc = stats_fill(pool->core, ret_dict);
    if (rc < 0)
        mproc_variant_clear(ret_dict);
    return rc;
}
