/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "platform/story.h"
#include "pool/future.h"
#include "pool/pool.h"

static int task_from_options(const mproc_task_options *options, mproc__task_shared *ret_task)
{
    *ret_task = (mproc__task_shared){.max_attempts = 1};
    if (!options)
        return 0;
    if (options->retries >= MPROC__TASK_ATTEMPTS)
        return mproc__fail(-EINVAL, "%u retries; %d are the most", options->retries,
                           MPROC__TASK_ATTEMPTS - 1);
    ret_task->time_limit_ms = options->time_limit_ms;
    ret_task->grace_ms = options->grace_ms;
    ret_task->max_attempts = options->retries + 1;
    return 0;
}

/* With the lock held. */
static int submit_try(mproc__pool_core *core, mproc_fn *fn, mproc_variant args, mproc__task_shared *task,
                      mproc_future *future)
{
    if (core->refusing)
        return mproc__fail(MPROC_ECLOSED, "the pool has been stopped");
    if (mproc__pool_broken(&core->view))
        return mproc__core_breakage(core);
    int rc = mproc__core_function(core, fn, &task->function);
    if (rc < 0)
        return rc;
    task->number = core->next_number + 1;
    future->number = task->number;
    rc = mproc__slots_put(core, args, task, future);
    if (rc == 0)
        core->next_number++;
    return rc;
}

/* Room comes when a task ends: `done` is posted then. */
static int submit_wait(mproc__pool_core *core, mproc_fn *fn, mproc_variant args, mproc__task_shared *task,
                       mproc_deadline deadline, mproc_future *future)
{
    mproc__pool_shared *shared = core->view.shared;
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&shared->done);
        pthread_mutex_lock(&core->lock);
        int rc = submit_try(core, fn, args, task, future);
        pthread_mutex_unlock(&core->lock);
        if (rc != -EAGAIN)
            return rc;
        if (mproc__deadline_past(deadline))
            return mproc__fail(-ETIMEDOUT,
                               "the pool is full: max_queued_tasks or max_queued_bytes is reached");
        int slot = mproc__waiting_begin(core->view.segment, MPROC__WAIT_ROOM);
        (void)mproc__core_wait(core, ticket, deadline);
        mproc__waiting_end(core->view.segment, slot);
    }
}

int mproc__core_submit(mproc__pool_core *core, mproc_fn *fn, mproc_variant args,
                       const mproc_task_options *options, mproc_future **ret_future)
{
    mproc__task_shared task;
    mproc_future *future;
    int rc = task_from_options(options, &task);
    if (rc == 0)
        rc = mproc__future_new(core, options ? options->label : NULL, &future);
    if (rc < 0)
        return rc;
    mproc__core_guard(core);
    pthread_mutex_lock(&core->lock);
    rc = submit_try(core, fn, args, &task, future);
    pthread_mutex_unlock(&core->lock);
    if (rc == -EAGAIN) {
        mproc_deadline deadline = options ? options->submit_deadline : MPROC_NOW;
        rc = submit_wait(core, fn, args, &task, deadline.ns ? deadline : MPROC_FOREVER, future);
    }
    if (rc < 0) {
        mproc_future_close(&future);
        return rc;
    }
    mproc__pool_post(&core->view, &core->view.shared->work);
    *ret_future = future;
    return 0;
}

int mproc_pool_submit(mproc_pool *pool, mproc_fn *fn, mproc_variant args, const mproc_task_options *options,
                      mproc_future **ret_future)
{
    int rc = mproc__handle_check(pool, MPROC_TYPE_POOL);
    if (rc == 0)
        rc = mproc__core_check(pool->core);
    if (rc < 0)
        return rc;
    if (!fn || !ret_future)
        return mproc__handle_fail(&pool->handle, -EINVAL,
                                  "mproc_pool_submit: no function, or nowhere to put the future");
    rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_task_options");
    if (rc == 0)
        rc = mproc__core_submit(pool->core, fn, args, options, ret_future);
    return rc < 0 ? mproc__handle_story(&pool->handle, rc) : 0;
}
