/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "platform/story.h"
#include "pool/future.h"
#include "pool/pool.h"

static int terms_from_options(const mproc_task_options *options, mproc__task_terms *ret_terms)
{
    *ret_terms = (mproc__task_terms){.max_attempts = 1, .priority = mproc__priority_index(0)};
    if (!options)
        return 0;
    if (options->retries >= MPROC__TASK_ATTEMPTS)
        return mproc__fail(-EINVAL, "%u retries; %d are the most", options->retries,
                           MPROC__TASK_ATTEMPTS - 1);
    if (options->priority < -MPROC__PRIORITY_MOST || options->priority > MPROC__PRIORITY_MOST)
        return mproc__fail(-EINVAL, "priority %d; it is from %d to %d", options->priority,
                           -MPROC__PRIORITY_MOST, MPROC__PRIORITY_MOST);
    ret_terms->priority = mproc__priority_index(options->priority);
    ret_terms->begin_by_ns = options->begin_by.ns == INT64_MAX ? 0 : options->begin_by.ns;
    ret_terms->time_limit_ms = options->time_limit_ms;
    ret_terms->grace_ms = options->grace_ms;
    ret_terms->max_attempts = options->retries + 1;
    ret_terms->even_if_failed = options->even_if_failed;
    return 0;
}

/* With the lock held. */
static int submit_try(mproc__pool_core *core, const mproc__order *order, mproc__task_terms *terms,
                      mproc_future *future)
{
    if (core->refusing)
        return mproc__fail(MPROC_ECLOSED, "the pool has been stopped");
    if (mproc__pool_broken(&core->view))
        return mproc__core_breakage(core);
    int rc = order->name ? mproc__core_function_name(core, order->name, &terms->function)
                         : mproc__core_function(core, order->fn, &terms->function);
    if (rc < 0)
        return rc;
    terms->number = core->next_number + 1;
    future->number = terms->number;
    rc = mproc__slots_put(core, order, terms, future);
    if (rc == 0)
        core->next_number++;
    return rc;
}

/* Room comes when a task ends: `done` is posted then. */
static int submit_wait(mproc__pool_core *core, const mproc__order *order, mproc__task_terms *terms,
                       mproc_deadline deadline, mproc_future *future)
{
    mproc__pool_shared *shared = core->view.shared;
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&shared->done);
        pthread_mutex_lock(&core->lock);
        int rc = submit_try(core, order, terms, future);
        const char *full_of = core->full_of;
        pthread_mutex_unlock(&core->lock);
        if (rc != -EAGAIN)
            return rc;
        if (mproc__deadline_past(deadline))
            return mproc__fail(-ETIMEDOUT, "the pool is full: %s", full_of);
        int slot = mproc__waiting_begin(core->view.segment, MPROC__WAIT_ROOM);
        rc = mproc__core_wait(core, ticket, deadline);
        mproc__waiting_end(core->view.segment, slot);
        if (rc == -EDEADLK)
            return rc;
    }
}

static mproc_deadline room_deadline(const mproc_task_options *options)
{
    if (options && options->no_wait)
        return MPROC_NOW;
    return options && options->submit_deadline.ns ? options->submit_deadline : MPROC_FOREVER;
}

int mproc__core_submit(mproc__pool_core *core, const mproc__order *order, mproc_future **ret_future)
{
    mproc__task_terms terms;
    mproc_future *future;
    const mproc_task_options *options = order->options;
    int rc = terms_from_options(options, &terms);
    if (rc == 0)
        rc = mproc__future_new(core, options ? options->label : NULL, &future);
    if (rc < 0)
        return rc;
    future->begin_by_ns = terms.begin_by_ns;
    future->batch = order->batch;
    mproc__core_guard(core);
    pthread_mutex_lock(&core->lock);
    rc = submit_try(core, order, &terms, future);
    pthread_mutex_unlock(&core->lock);
    if (rc == -EAGAIN) {
        rc = submit_wait(core, order, &terms, room_deadline(options), future);
    }
    if (rc < 0) {
        mproc_future_close(&future);
        return rc;
    }
    mproc__pool_post_task(&core->view);
    *ret_future = future;
    return 0;
}

static int order_submit(mproc_pool *pool, const mproc__order *order, mproc_future **ret_future)
{
    int rc = mproc__handle_check(pool, MPROC_TYPE_POOL);
    if (rc == 0)
        rc = mproc__core_check(pool->core);
    if (rc < 0)
        return rc;
    if ((!order->fn && !order->name) || !ret_future)
        return mproc__handle_fail(&pool->handle, -EINVAL,
                                  "mproc_pool_submit: no function, or nowhere to put the future");
    rc = mproc__options_check(order->options, sizeof *order->options, sizeof *order->options,
                              "mproc_task_options");
    if (rc == 0)
        rc = mproc__after_check(pool->core, order->options);
    if (rc == 0)
        rc = mproc__core_submit(pool->core, order, ret_future);
    return rc < 0 ? mproc__handle_story(&pool->handle, rc) : 0;
}

int mproc_pool_submit(mproc_pool *pool, mproc_fn *fn, mproc_variant args, const mproc_task_options *options,
                      mproc_future **ret_future)
{
    mproc__order order = {.fn = fn, .args = args, .options = options};
    return order_submit(pool, &order, ret_future);
}

int mproc_pool_submit_name(mproc_pool *pool, const char *name, mproc_variant args,
                           const mproc_task_options *options, mproc_future **ret_future)
{
    mproc__order order = {.name = name, .args = args, .options = options};
    return order_submit(pool, &order, ret_future);
}
