/* SPDX-License-Identifier: BSD-2-Clause */
/* Who waits in a segment, and since when: written by the waiters themselves, for explain to read from outside. */
#include "platform/base.h"

#include <errno.h>
#include <signal.h>
#include <sys/types.h>

#include "platform/platform.h"
#include "shm/segment_inside.h"

static uint64_t waiter_word(mproc__wait_kind kind)
{
    return (uint64_t)kind << 32 | (uint32_t)mproc__tid();
}

/* A thread that died asleep leaves its slot; the number may be another's by now, then the slot stays until that one ends. */
static bool waiter_gone(uint64_t word)
{
    return kill((pid_t)(word & UINT32_MAX), 0) < 0 && errno == ESRCH;
}

static bool waiter_take(mproc__waiter_shared *slot, uint64_t word, int64_t now_ns)
{
    uint64_t found = atomic_load_explicit(&slot->word, memory_order_relaxed);
    if (found && !waiter_gone(found))
        return false;
    if (!atomic_compare_exchange_strong(&slot->word, &found, word))
        return false;
    atomic_store_explicit(&slot->since_ns, now_ns, memory_order_relaxed);
    return true;
}

int mproc__waiting_begin(mproc__segment *segment, mproc__wait_kind kind)
{
    if (!segment->shared)
        return -1;
    uint64_t word = waiter_word(kind);
    int64_t now_ns = mproc__now_ns();
    unsigned first = (uint32_t)word % MPROC__WAITERS;
    for (unsigned i = 0; i < MPROC__WAITERS; i++) {
        unsigned slot = (first + i) % MPROC__WAITERS;
        if (waiter_take(&segment->shared->waiters[slot], word, now_ns))
            return (int)slot;
    }
    return -1;
}

void mproc__waiting_end(mproc__segment *segment, int slot)
{
    if (slot >= 0)
        atomic_store_explicit(&segment->shared->waiters[slot].word, 0, memory_order_relaxed);
}
