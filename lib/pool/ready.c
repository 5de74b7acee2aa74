/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "pool/layout.h"
#include "pool/ready.h"

static _Atomic uint32_t *ring_of(const mproc__pool_view *view, uint32_t priority)
{
    return view->ring + (size_t)priority * view->shared->plan.slot_count;
}

int mproc__ready_reserve(mproc__pool_view *view, uint32_t priority)
{
    mproc__pool_shared *shared = view->shared;
    uint32_t known = atomic_load_explicit(&shared->priorities, memory_order_relaxed);
    if (MPROC__LIKELY(known >> priority & 1))
        return 0;
    size_t bytes = shared->plan.slot_count * sizeof(uint32_t);
    int rc = mproc__segment_reserve(view->segment, shared->plan.ring + priority * bytes, bytes);
    if (rc == 0)
        atomic_fetch_or(&shared->priorities, 1u << priority);
    return rc;
}

/* Cells may be stale (a cancelled task, one found by search); when they fill the ring, workers search. */
void mproc__ready_push(mproc__pool_view *view, uint32_t slot)
{
    uint32_t priority = view->slots[slot].priority, cells = view->shared->plan.slot_count;
    mproc__ready_shared *ready = &view->shared->ready[priority];
    uint64_t tail = atomic_load_explicit(&ready->tail, memory_order_relaxed);
    uint64_t *head = &view->heads_seen[priority];
    if (tail - *head >= cells)
        *head = atomic_load_explicit(&ready->head, memory_order_acquire);
    if (tail - *head >= cells) {
        atomic_fetch_add(&view->shared->rescan, 1);
        return;
    }
    atomic_store_explicit(&ring_of(view, priority)[tail & (cells - 1)], slot, memory_order_relaxed);
    atomic_store_explicit(&ready->tail, tail + 1, memory_order_release);
}

void mproc__ready_return(mproc__pool_view *view, uint32_t slot)
{
    mproc__ready_shared *ready = &view->shared->ready[view->slots[slot].priority % MPROC__PRIORITIES];
    for (unsigned i = 0; i < MPROC__READY_RETURNED; i++) {
        uint32_t empty = 0;
        if (atomic_load_explicit(&ready->returned[i], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(&ready->returned[i], &empty, slot + 1)) {
            atomic_store(&ready->look, 1);
            return;
        }
    }
    atomic_fetch_add(&view->shared->rescan, 1);
}

/* `look` is raised again whenever one was found, for the next consumer: it looks once too often, never too seldom. */
static bool returned_pop(mproc__ready_shared *ready, uint32_t *ret_slot)
{
    if (!atomic_load_explicit(&ready->look, memory_order_relaxed) || !atomic_exchange(&ready->look, 0))
        return false;
    for (unsigned i = 0; i < MPROC__READY_RETURNED; i++) {
        uint32_t named = atomic_load_explicit(&ready->returned[i], memory_order_relaxed);
        if (named && (named = atomic_exchange(&ready->returned[i], 0))) {
            atomic_store(&ready->look, 1);
            *ret_slot = named - 1;
            return true;
        }
    }
    return false;
}

static bool ring_pop(mproc__ready_shared *ready, const _Atomic uint32_t *ring, uint32_t cells,
                     uint32_t *ret_slot)
{
    uint64_t head = atomic_load_explicit(&ready->head, memory_order_acquire);
    while (head != atomic_load_explicit(&ready->tail, memory_order_acquire)) {
        *ret_slot = atomic_load_explicit(&ring[head & (cells - 1)], memory_order_relaxed);
        if (atomic_compare_exchange_weak_explicit(&ready->head, &head, head + 1, memory_order_acq_rel,
                                                  memory_order_acquire))
            return true;
    }
    return false;
}

/* The highest priority in a mask of those that the pool has been given. */
static uint32_t priority_first(uint32_t mask)
{
    return 31 - (uint32_t)__builtin_clz(mask);
}

bool mproc__ready_pop(mproc__pool_view *view, uint32_t *ret_slot)
{
    mproc__pool_shared *shared = view->shared;
    uint32_t left = atomic_load_explicit(&shared->priorities, memory_order_acquire);
    while (left) {
        uint32_t priority = priority_first(left);
        mproc__ready_shared *ready = &shared->ready[priority];
        if (returned_pop(ready, ret_slot) ||
            ring_pop(ready, ring_of(view, priority), shared->plan.slot_count, ret_slot))
            return true;
        left &= ~(1u << priority);
    }
    return false;
}

bool mproc__ready_any(const mproc__pool_view *view)
{
    const mproc__pool_shared *shared = view->shared;
    uint32_t left = atomic_load_explicit(&shared->priorities, memory_order_acquire);
    while (left) {
        uint32_t priority = priority_first(left);
        const mproc__ready_shared *ready = &shared->ready[priority];
        if (atomic_load_explicit(&ready->look, memory_order_acquire) ||
            atomic_load_explicit(&ready->head, memory_order_acquire) !=
                atomic_load_explicit(&ready->tail, memory_order_acquire))
            return true;
        left &= ~(1u << priority);
    }
    return false;
}

void mproc__ready_hurry(mproc__pool_view *view)
{
    if (mproc__ready_any(view))
        mproc__pool_post(view, &view->shared->work);
}
