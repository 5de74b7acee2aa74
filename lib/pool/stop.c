/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a pool: no new work, what there is finished or cancelled, workers gone by the deadline. */
#include "platform/base.h"

#include <pthread.h>

#include "platform/story.h"
#include "pool/future.h"
#include "pool/pool.h"
#include "pool/service.h"

/* ---- work ---- */

static size_t maps_cancel(mproc__pool_core *core, bool even_if_running)
{
    size_t cancelled = 0;
    for (unsigned i = 0; i < MPROC__POOL_MAPS; i++)
        if (core->maps[i] && atomic_load(&core->view.shared->maps[i].state) == MPROC__MAP_ACTIVE)
            cancelled += mproc__map_cancel(core->maps[i], even_if_running) == 0;
    return cancelled;
}

static bool maps_idle(mproc__pool_core *core)
{
    const mproc__worker_shared *own = mproc__core_own_desk(core);
    uint32_t inside = own ? atomic_load(&own->map) : 0;
    bool idle = true;
    for (unsigned i = 0; i < MPROC__POOL_MAPS; i++) {
        if (core->maps[i])
            mproc__map_look(core->maps[i]);
        idle &= !core->maps[i] || i + 1 == inside;
    }
    return idle;
}

/* Called by one of its own tasks, a stop does not wait for that. */
static uint32_t own_tasks(mproc__pool_core *core)
{
    const mproc__worker_shared *own = mproc__core_own_desk(core);
    return own && atomic_load(&own->slot) != 0;
}

static bool core_idle(mproc__pool_core *core)
{
    pthread_mutex_lock(&core->lock);
    mproc__slots_harvest(core);
    bool idle = maps_idle(core) && mproc__slots_busy(core) == own_tasks(core);
    pthread_mutex_unlock(&core->lock);
    return idle;
}

/* Nothing is left but what comes after the caller's own task, and so could never begin. One that ends between the harvest
 * and this look is not WAITING, and keeps its slot while the lock is held. */
static bool awaits_caller(mproc__pool_core *core)
{
    const mproc__worker_shared *own = mproc__core_own_desk(core);
    uint32_t slot = own ? atomic_load(&own->slot) : 0, waiting = 0;
    if (slot == 0)
        return false;
    pthread_mutex_lock(&core->lock);
    mproc__slots_harvest(core);
    bool only = maps_idle(core);
    for (uint32_t i = 0; only && i < core->given_count; i++)
        if (core->busy[i] && i + 1 != slot) {
            only = mproc__task_load(&core->view.slots[i].word).state == MPROC__TASK_WAITING;
            waiting++;
        }
    pthread_mutex_unlock(&core->lock);
    return only && waiting > 0;
}

static size_t work_cancel(mproc__pool_core *core, bool even_if_running)
{
    pthread_mutex_lock(&core->lock);
    size_t dropped = mproc__slots_cancel(core, even_if_running) + maps_cancel(core, even_if_running);
    pthread_mutex_unlock(&core->lock);
    mproc__pool_post(&core->view, &core->view.shared->done);
    return dropped;
}

/* 0: all is done; -ETIMEDOUT: not by the deadline, or never; -EDEADLK: it waits for the caller's own task. */
static int work_await(mproc__pool_core *core, mproc_deadline deadline)
{
    mproc__eventcount_shared *done = &core->view.shared->done;
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(done);
        if (core_idle(core))
            return 0;
        if (mproc__pool_broken(&core->view) || mproc__deadline_past(deadline))
            return -ETIMEDOUT;
        if (awaits_caller(core))
            return mproc__fail(-EDEADLK, "what is left comes after the task that stops the pool");
        if (mproc__core_wait(core, ticket, deadline) == -EDEADLK)
            return -ETIMEDOUT;
    }
}

/* ---- workers ---- */

static void state_set(mproc__pool_core *core, mproc__pool_state state)
{
    mproc__pool_shared *shared = core->view.shared;
    atomic_store(&shared->state, state);
    mproc__pool_post(&core->view, &shared->work);
    mproc__pool_post(&core->view, &shared->command);
    mproc__pool_post(&core->view, &shared->room);
}

/* ---- stop ---- */

static int core_end(mproc__pool_core *core, bool idle, mproc_deadline deadline)
{
    int rc = 0;
    state_set(core, idle || core->view.threads ? MPROC__POOL_QUIT : MPROC__POOL_KILL);
    if (core->view.threads)
        rc = core->threads ? mproc__threads_end(core, deadline) : 0;
    else
        mproc__core_supervisor_end(core, idle ? deadline : MPROC_NOW);
    (void)mproc__segment_sweep(core->view.segment);
    pthread_mutex_lock(&core->lock);
    mproc__slots_harvest(core);
    atomic_store(&core->ended, true);
    pthread_mutex_unlock(&core->lock);
    mproc__pool_post(&core->view, &core->view.shared->done);
    mproc__service_core_ended(core, deadline);
    return rc;
}

/* One at a time; who comes later waits for the end of the first. 0: the caller's turn. */
static int stop_enter(mproc__pool_core *core, mproc_deadline deadline)
{
    mproc__eventcount_shared *done = &core->view.shared->done;
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(done);
        pthread_mutex_lock(&core->lock);
        bool mine = !core->stopping;
        core->stopping = true;
        core->refusing = true;
        pthread_mutex_unlock(&core->lock);
        if (mine)
            return 0;
        if (mproc__core_own_desk(core))
            return mproc__fail(-EDEADLK, "another thread stops the pool, and waits for this task");
        if (mproc__deadline_past(deadline))
            return mproc__fail(-ETIMEDOUT, "another thread is stopping the pool");
        (void)mproc__core_wait(core, ticket, deadline);
    }
}

/* One that was not done leaves the pool as it was, unless another's stop or finish goes on. */
static void stop_leave(mproc__pool_core *core, int rc)
{
    pthread_mutex_lock(&core->lock);
    core->stopping = false;
    core->refusing = rc != -EDEADLK || core->finishing;
    pthread_mutex_unlock(&core->lock);
    mproc__pool_post(&core->view, &core->view.shared->done);
}

static int stop_run(mproc__pool_core *core, bool drain, mproc_deadline deadline, size_t *ret_dropped)
{
    if (atomic_load(&core->ended))
        return 0;
    if (!drain) {
        *ret_dropped +=
            work_cancel(core, false); /* first: a worker whose task sees the flag would take the next */
        atomic_store(&core->view.shared->state, MPROC__POOL_STOPPING);
    }
    int rc = work_await(core, deadline);
    if (rc == -EDEADLK)
        return rc;
    bool idle = rc == 0;
    if (!idle)
        *ret_dropped += work_cancel(core, true);
    return core_end(core, idle, deadline);
}

int mproc__core_stop(mproc__pool_core *core, bool drain, mproc_deadline deadline, size_t *ret_dropped)
{
    size_t dropped = 0;
    int rc = stop_enter(core, deadline);
    if (rc == 0) {
        rc = stop_run(core, drain, deadline, &dropped);
        stop_leave(core, rc);
    }
    if (ret_dropped)
        *ret_dropped = dropped;
    return rc;
}

int mproc_pool_stop(mproc_pool *pool, bool drain, mproc_deadline deadline, size_t *ret_dropped_tasks)
{
    int rc = mproc__handle_check(pool, MPROC_TYPE_POOL);
    if (rc == 0)
        rc = mproc__core_check(pool->core);
    if (rc < 0)
        return rc;
    rc = mproc__core_stop(pool->core, drain, deadline, ret_dropped_tasks);
    return rc < 0 ? mproc__handle_story(&pool->handle, rc) : 0;
}
