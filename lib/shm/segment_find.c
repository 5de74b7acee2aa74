/* SPDX-License-Identifier: BSD-2-Clause */
/* Which segment an address of this process belongs to: a list of the host segments that are mapped here. Programs have
 * tens of them, and who asks is about to start a map over an array. */
#include "platform/base.h"

#include <pthread.h>

#include "shm/segment_inside.h"

static mproc__segment *found_first;
MPROC__FORK_DATA static pthread_mutex_t found_guard = PTHREAD_MUTEX_INITIALIZER;

MPROC__FORK_TEXT static void found_lock(void)
{
    pthread_mutex_lock(&found_guard);
}

MPROC__FORK_TEXT static void found_unlock(void)
{
    pthread_mutex_unlock(&found_guard);
}

/* As names.c does, and why. */
__attribute__((constructor(101))) static void found_start(void)
{
    pthread_atfork(found_lock, found_unlock, found_unlock);
}

void mproc__segment_list(mproc__segment *segment)
{
    found_lock();
    segment->found_next = found_first;
    segment->found_link = &found_first;
    if (found_first)
        found_first->found_link = &segment->found_next;
    found_first = segment;
    found_unlock();
}

void mproc__segment_unlist(mproc__segment *segment)
{
    found_lock();
    if (segment->found_link) {
        *segment->found_link = segment->found_next;
        if (segment->found_next)
            segment->found_next->found_link = segment->found_link;
        segment->found_link = NULL;
    }
    found_unlock();
}

/* One whose last reference goes at this moment is on its way to unlist: it is left alone. */
static bool keep_if_used(mproc__segment *segment)
{
    uint32_t references = atomic_load_explicit(&segment->references, memory_order_relaxed);
    while (references > 0)
        if (atomic_compare_exchange_weak(&segment->references, &references, references + 1))
            return true;
    return false;
}

mproc__segment *mproc__segment_at(const void *address, size_t length)
{
    mproc__segment *known = NULL;
    found_lock();
    for (mproc__segment *one = found_first; one && !known; one = one->found_next) {
        size_t offset = (uintptr_t)address - (uintptr_t)one->root;
        if ((uintptr_t)address >= (uintptr_t)one->root && offset <= one->size_bytes &&
            length <= one->size_bytes - offset && keep_if_used(one))
            known = one;
    }
    found_unlock();
    return known;
}
