/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a pool that nobody waits for: behind the caller's back, and with the program.
 *
 * A pool that finishes has a thread for it, because what is left to do is what a caller of stop does: take results out of the
 * segment so that workers have room, replace a dead supervisor, reap it. It is gone when the pool is. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>

#include <mproc/at_exit.h>
#include "platform/story.h"
#include "pool/pool.h"

enum { EXIT_PRIORITY = 100 }; /* the program's own functions, most of them at 0, find its pools ended */

/* Pools that have finished, a stack. Not released by their finishers: what maps a segment is unmapped by the thread whose life
 * word is in it, which is most likely the one that made the pool. */
static _Atomic(mproc__pool_core *) finished;

static void finished_push(mproc__pool_core *core)
{
    core->next_finished = atomic_load(&finished);
    while (!atomic_compare_exchange_weak(&finished, &core->next_finished, core))
        ;
}

void mproc__finished_collect(void)
{
    mproc__supervisors_collect();
    mproc__pool_core *core = atomic_load_explicit(&finished, memory_order_relaxed);
    if (MPROC__LIKELY(!core))
        return;
    core = atomic_exchange(&finished, NULL);
    while (core) {
        mproc__pool_core *next = core->next_finished;
        mproc__core_release(core);
        core = next;
    }
}

/* ---- with the program ---- */

static void exit_stop(mproc__pool_core *core)
{
    size_t dropped = 0;
    mproc_deadline deadline = core->finish_at_exit ? MPROC_FOREVER : mproc_after_ms(MPROC__POOL_GRACE_MS);
    if (atomic_load(&core->ended))
        return;
    int rc = mproc__core_stop(core, core->finish_at_exit, deadline, &dropped);
    if (!core->finish_at_exit || rc < 0)
        mproc__log(MPROC_LOG_WARNING,
                   "pool %s was not closed when the program ended: %zu tasks were dropped%s",
                   core->name ? core->name : "", dropped, rc < 0 ? ", some run on" : "");
}

static int core_at_exit(mproc_call *call)
{
    mproc__pool_core *core = (mproc__pool_core *)mproc_call_arg(call, 0).data;
    pthread_mutex_lock(&core->lock);
    bool finishing = core->finishing;
    pthread_mutex_unlock(&core->lock);
    if (finishing)
        pthread_join(core->finisher, NULL);
    else
        exit_stop(core);
    mproc__core_release(core);
    mproc__finished_collect();
    return 0;
}

int mproc__core_exit_arm(mproc__pool_core *core)
{
    int rc = mproc_at_exit(core_at_exit, MPROC_ARGS(mproc_pointer(core)), EXIT_PRIORITY, &core->exit_id);
    if (rc == 0)
        mproc__core_keep(core);
    return rc;
}

bool mproc__core_exit_disarm(mproc__pool_core *core)
{
    if (!core->exit_id || mproc_at_exit_cancel(core->exit_id) < 0)
        return false;
    core->exit_id = 0;
    mproc__core_release(core);
    return true;
}

/* ---- behind the caller's back ---- */

static void *finisher_main(void *argument)
{
    mproc__pool_core *core = argument;
    pthread_setname_np(pthread_self(), "mproc-finish");
    (void)mproc__core_stop(core, true, MPROC_FOREVER, NULL);
    if (mproc__core_exit_disarm(core)) /* else the program is at its end, and joins */
        pthread_detach(pthread_self());
    finished_push(core);
    return NULL;
}

/* With the lock held: the thread sees `finishing` when it asks. */
static int finisher_start(mproc__pool_core *core)
{
    sigset_t mask;
    mproc__core_keep(core);
    mproc__signals_block(&mask);
    int rc = -pthread_create(&core->finisher, NULL, finisher_main, core);
    mproc__signals_restore(&mask);
    core->finishing = rc == 0;
    if (rc == 0)
        core->refusing = true;
    else
        mproc__core_release(core);
    return rc == 0 ? 0 : mproc__fail(rc, "no thread to finish a pool: %s", mproc_strerror(rc));
}

int mproc_pool_finish(mproc_pool **pool)
{
    int rc =
        pool ? mproc__handle_check(*pool, MPROC_TYPE_POOL) : mproc__fail(-EINVAL, "mproc_pool_finish: NULL");
    if (rc == 0)
        rc = mproc__core_check((*pool)->core);
    if (rc < 0)
        return rc;
    mproc__finished_collect();
    mproc__pool_core *core = (*pool)->core;
    pthread_mutex_lock(&core->lock);
    if (!core->finishing && !atomic_load(&core->ended))
        rc = finisher_start(core);
    pthread_mutex_unlock(&core->lock);
    if (rc < 0)
        return mproc__handle_story(&(*pool)->handle, rc);
    mproc_pool_close(pool);
    return 0;
}
