/* SPDX-License-Identifier: BSD-2-Clause */
/* The descriptor of a pollable queue: readable from when an item, the end or an error waits for a get until a get finds
 * nothing. It costs a put nothing while nobody polls: who polls sets the sleep bit of `items`, as who sleeps does, so only
 * the slow half of a wake looks for pollers. */
#include "platform/base.h"

#include "channel/queue.h"

void mproc__queue_wake(const mproc_queue *queue, mproc__eventcount_shared *event)
{
    mproc__eventcount_wake(event, queue->process_shared);
    if (event == &queue->shared->items)
        mproc__bell_ring(&queue->bell);
}

/* Nobody is left who could put anything. */
static bool queue_over(mproc_queue *queue)
{
    return mproc__queue_over(queue, &queue->shared->items) != -EAGAIN;
}

int mproc__queue_quiet(mproc_queue *queue, mproc__queue_attempt_fn *attempt, void *context,
                       mproc_deadline deadline)
{
    if (!mproc__bell_quiet(&queue->bell))
        return -EAGAIN;
    (void)mproc__queue_prepare(queue, &queue->shared->items);
    int rc = attempt(queue, context, deadline);
    if (rc != -EAGAIN || queue_over(queue))
        mproc__bell_again(&queue->bell); /* there may be more than what was got */
    return rc;
}

static int look_attempt(mproc_queue *queue, void *context, mproc_deadline deadline)
{
    (void)context;
    mproc__queue_item item;
    mproc__side_slot_shared *slot;
    int rc = mproc__queue_get_begin(queue, deadline, &slot);
    if (rc < 0)
        return rc;
    rc = mproc__queue_peek(queue, &item);
    mproc__queue_get_end(queue, slot);
    return rc;
}

/* Unreadable, nothing is there: it was made so by a try that found nothing, and whatever came since has rung.
 * -ETIMEDOUT: a consumer that is stopped has the lock, and a get would answer so, too. */
bool mproc__queue_ready(mproc__handle *handle, bool readable)
{
    mproc_queue *queue = MPROC__CONTAINER(handle, mproc_queue, handle);
    if (!readable)
        return false;
    int rc = look_attempt(queue, NULL, MPROC_NOW);
    if (rc == -EAGAIN)
        rc = mproc__queue_quiet(queue, look_attempt, NULL, MPROC_NOW);
    return (rc != -EAGAIN && rc != -ETIMEDOUT) || queue_over(queue);
}

int mproc__queue_wait_fd(mproc__handle *handle)
{
    mproc_queue *queue = MPROC__CONTAINER(handle, mproc_queue, handle);
    bool fresh;
    int fd = mproc__queue_enter(queue);
    if (fd < 0)
        return mproc__handle_story(handle, fd);
    if (!mproc__bell_pollable(&queue->bell))
        return mproc__handle_fail(handle, -EINVAL, "the queue was made without the option pollable");
    fd = mproc__bell_fd(&queue->bell, &fresh);
    if (fd < 0)
        return mproc__handle_story(handle, fd);
    if (fresh)
        (void)mproc__queue_ready(handle, true);
    return fd;
}
