/* SPDX-License-Identifier: BSD-2-Clause */
/* More workers, or fewer, while the pool runs. The number wanted is one word: workers beyond it leave when they have ended
 * what they are at, the supervisor fills the desks below it. */
#include "platform/base.h"

#include "platform/story.h"
#include "pool/pool.h"

/* Desks that have ever been in use: only grows, before anything sits there. */
static void desks_cover(mproc__pool_shared *shared, unsigned workers)
{
    if (workers > atomic_load(&shared->desks))
        atomic_store(&shared->desks, workers);
}

/* With the lock held. A thread that cannot be started is told here; what was wanted before is wanted again. */
static int core_resize(mproc__pool_core *core, unsigned workers)
{
    mproc__pool_shared *shared = core->view.shared;
    if (core->refusing)
        return mproc__fail(MPROC_ECLOSED, "the pool has been stopped");
    if (mproc__pool_broken(&core->view))
        return mproc__core_breakage(core);
    desks_cover(shared, workers);
    unsigned before = atomic_exchange(&shared->wanted, workers);
    int rc = core->view.threads ? mproc__threads_start(core) : 0;
    if (rc < 0)
        atomic_store(&shared->wanted, before);
    return rc;
}

int mproc_pool_resize(mproc_pool *pool, unsigned workers)
{
    int rc = mproc__handle_check(pool, MPROC_TYPE_POOL);
    if (rc == 0)
        rc = mproc__core_check(pool->core);
    if (rc < 0)
        return rc;
    mproc__pool_core *core = pool->core;
    if (workers > MPROC__POOL_WORKERS)
        return mproc__handle_fail(&pool->handle, -EINVAL, "mproc_pool_resize: %u workers; %d are the most",
                                  workers, (int)MPROC__POOL_WORKERS);
    mproc__core_guard(core);
    pthread_mutex_lock(&core->lock);
    rc = core_resize(core, workers ? workers : mproc__pool_workers_default());
    pthread_mutex_unlock(&core->lock);
    mproc__pool_post(&core->view, &core->view.shared->work);
    mproc__pool_post(&core->view, &core->view.shared->command);
    return rc < 0 ? mproc__handle_story(&pool->handle, rc) : 0;
}
