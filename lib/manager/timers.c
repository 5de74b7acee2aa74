/* SPDX-License-Identifier: BSD-2-Clause */
/* A heap, because ten thousand parked requests with a deadline each must not cost a scan per turn of the
 * loop. */
#include "platform/base.h"

#include <stdlib.h>

#include "manager/timers.h"
#include "platform/platform.h"
#include "platform/story.h"

void mproc__timers_fini(mproc__timers *timers)
{
    free(timers->heap);
    *timers = (mproc__timers){0};
}

static void put(mproc__timers *timers, size_t index, mproc__timer *timer)
{
    timers->heap[index - 1] = timer;
    timer->index = index;
}

static void sift_up(mproc__timers *timers, size_t index, mproc__timer *timer)
{
    for (; index > 1; index /= 2) {
        mproc__timer *parent = timers->heap[index / 2 - 1];
        if (parent->deadline.ns <= timer->deadline.ns)
            break;
        put(timers, index, parent);
    }
    put(timers, index, timer);
}

static void sift_down(mproc__timers *timers, size_t index, mproc__timer *timer)
{
    for (size_t child; (child = 2 * index) <= timers->count; index = child) {
        if (child < timers->count && timers->heap[child]->deadline.ns < timers->heap[child - 1]->deadline.ns)
            child++;
        if (timer->deadline.ns <= timers->heap[child - 1]->deadline.ns)
            break;
        put(timers, index, timers->heap[child - 1]);
    }
    put(timers, index, timer);
}

int mproc__timers_set(mproc__timers *timers, mproc__timer *timer, mproc_deadline deadline)
{
    mproc__timers_unset(timers, timer);
    if (deadline.ns == INT64_MAX)
        return 0;
    if (timers->count == timers->capacity) {
        size_t capacity = timers->capacity ? timers->capacity * 2 : 64;
        mproc__timer **heap = realloc(timers->heap, capacity * sizeof *heap);
        if (!heap)
            return mproc__fail(-ENOMEM, "no memory for %zu timers", capacity);
        timers->heap = heap;
        timers->capacity = capacity;
    }
    timer->deadline = deadline;
    timers->count++;
    sift_up(timers, timers->count, timer);
    return 0;
}

void mproc__timers_unset(mproc__timers *timers, mproc__timer *timer)
{
    size_t index = timer->index;
    if (index == 0)
        return;
    timer->index = 0;
    mproc__timer *last = timers->heap[--timers->count];
    if (last == timer)
        return;
    if (index > 1 && timers->heap[index / 2 - 1]->deadline.ns > last->deadline.ns)
        sift_up(timers, index, last);
    else
        sift_down(timers, index, last);
}

mproc_deadline mproc__timers_first(const mproc__timers *timers)
{
    return timers->count > 0 ? timers->heap[0]->deadline : MPROC_FOREVER;
}

void mproc__timers_run(mproc__timers *timers)
{
    int64_t now = mproc__now_ns();
    while (timers->count > 0 && timers->heap[0]->deadline.ns <= now) {
        mproc__timer *timer = timers->heap[0];
        mproc__timers_unset(timers, timer);
        timer->fired(timer);
    }
}
