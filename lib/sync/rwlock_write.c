/* SPDX-License-Identifier: BSD-2-Clause */
/* The writers' side of the reader-writer lock, and what happens when one dies. All but the first two calls and the news
 * run with `writer` held. */
#include "platform/base.h"

#include "sync/rwlock_inside.h"

static uint32_t gate_of(const mproc__rwlock_shared *shared)
{
    return atomic_load_explicit(&shared->gate, memory_order_seq_cst);
}

bool mproc__rwlock_is_orphaned(const mproc__rwlock_shared *shared)
{
    if (!(gate_of(shared) & MPROC__GATE_CLOSED))
        return false;
    uint64_t seat = atomic_load_explicit(&shared->owner_seat, memory_order_relaxed);
    unsigned row = (uint32_t)seat;
    if (row >= MPROC__ROWS)
        return true;
    mproc__readers word = atomic_load_explicit(&shared->rows[row].word, memory_order_acquire);
    return mproc__readers_generation(word) != (unsigned)(seat >> 32);
}

int mproc__rwlock_news(mproc_rwlock *rwlock, uint32_t gate)
{
    if (!(gate & (MPROC__GATE_NEWS | MPROC__GATE_POISONED)))
        return 0;
    int code = gate & MPROC__GATE_POISONED ? MPROC_EPOISONED : MPROC_RECOVERED;
    uint64_t dead = atomic_load_explicit(&rwlock->shared->dead, memory_order_relaxed);
    mproc__fail(code, "process %u died or its thread %u ended while writing", (unsigned)(uint32_t)dead,
                (unsigned)(dead >> 32));
    mproc__fail_number(MPROC_ERROR_PID, (uint32_t)dead);
    return mproc__handle_story(&rwlock->handle, code);
}

/* ---- the gate ---- */

/* Every reader that waits is in from here on. */
static void grant(mproc_rwlock *rwlock)
{
    unsigned rows = mproc__segment_rows(rwlock->segment);
    for (unsigned i = 0; i < rows; i++) {
        _Atomic mproc__readers *row = &rwlock->shared->rows[i].word;
        mproc__readers word = atomic_load_explicit(row, memory_order_seq_cst);
        mproc__readers granted;
        do {
            uint64_t waiting = mproc__readers_waiting(word);
            if (waiting == 0)
                break;
            granted = (word & ~(UINT64_C(0xffff) << 32)) | (uint64_t)(uint16_t)(mproc__grants(word) + 1)
                                                               << 32;
            granted += waiting * MPROC__READING - waiting * MPROC__WAITING;
        } while (!atomic_compare_exchange_weak(row, &word, granted));
    }
}

/* The store is what ends a hold: a writer killed before it died writing, one killed after it has left. Readers that it
 * did not come to grant or wake are woken by its death, and go in by themselves. */
static void gate_open(mproc_rwlock *rwlock, uint32_t left)
{
    mproc__rwlock_shared *shared = rwlock->shared;
    atomic_store_explicit(&shared->gate, left, memory_order_seq_cst);
    grant(rwlock);
    mproc__eventcount_post(&shared->opened, mproc__segment_shared(rwlock->segment));
}

/* What a writer that died leaves for the others to know. The gate stays closed if it was. */
static uint32_t bequest(mproc_rwlock *rwlock)
{
    mproc__rwlock_shared *shared = rwlock->shared;
    uint32_t gate = gate_of(shared);
    if (!(gate & MPROC__GATE_WRITING))
        return gate;
    atomic_store_explicit(&shared->dead, atomic_load_explicit(&shared->owner, memory_order_relaxed),
                          memory_order_relaxed);
    return MPROC__GATE_CLOSED |
           (rwlock->options & MPROC__RWLOCK_POISON ? MPROC__GATE_POISONED : MPROC__GATE_NEWS);
}

static bool gate_close(mproc_rwlock *rwlock, mproc__seat seat)
{
    mproc__rwlock_shared *shared = rwlock->shared;
    uint32_t gate = bequest(rwlock);
    if (gate & MPROC__GATE_POISONED) {
        gate_open(rwlock, gate & ~MPROC__GATE_CLOSED);
        return false;
    }
    /* Before the owner's name: a death in between must not be told as ours. */
    atomic_store_explicit(&shared->gate, gate, memory_order_release);
    atomic_store_explicit(&shared->owner, mproc__rwlock_who(), memory_order_relaxed);
    atomic_store_explicit(&shared->owner_seat, seat.row | (uint64_t)seat.generation << 32,
                          memory_order_relaxed);
    atomic_exchange(&shared->gate, gate | MPROC__GATE_CLOSED);
    return true;
}

/* ---- waiting for the readers to leave ---- */

static bool anybody_reads(const mproc_rwlock *rwlock)
{
    unsigned rows = mproc__segment_rows(rwlock->segment);
    for (unsigned i = 0; i < rows; i++)
        if (mproc__reading(atomic_load_explicit(&rwlock->shared->rows[i].word, memory_order_seq_cst)))
            return true;
    return false;
}

static int drain_asleep(mproc_rwlock *rwlock, mproc_deadline deadline)
{
    mproc__rwlock_shared *shared = rwlock->shared;
    int slot = mproc__waiting_begin(rwlock->segment, MPROC__WAIT_ACQUIRE);
    int code = 0;
    do {
        uint32_t ticket = mproc__eventcount_prepare(&shared->drained);
        if (!anybody_reads(rwlock))
            break;
        code = mproc__segment_wait(rwlock->segment, &shared->drained, ticket, deadline);
    } while (code == 0);
    mproc__waiting_end(rwlock->segment, slot);
    return code;
}

static int drain(mproc_rwlock *rwlock, mproc_deadline deadline)
{
    for (unsigned budget = deadline.ns > 0 ? mproc__spin_budget() : 0; budget > 0; budget--) {
        if (!anybody_reads(rwlock))
            return 0;
        mproc__pause();
    }
    if (!anybody_reads(rwlock))
        return 0;
    if (deadline.ns > 0)
        return drain_asleep(rwlock, deadline);
    mproc__segment_sweep(rwlock->segment); /* the dead do not read */
    return anybody_reads(rwlock) ? mproc__fail_plain(-ETIMEDOUT) : 0;
}

/* ---- write ---- */

static int writer_acquire(mproc_rwlock *rwlock, mproc_deadline deadline)
{
    mproc__robust_shared *writer = &rwlock->shared->writer;
    int code = mproc__robust_acquire_awake(writer, deadline);
    if (code == -EBUSY && deadline.ns <= 0)
        return mproc__fail_plain(-ETIMEDOUT);
    if (code == -EBUSY) {
        int slot = mproc__waiting_begin(rwlock->segment, MPROC__WAIT_ACQUIRE);
        code = mproc__robust_acquire_asleep(writer, deadline);
        mproc__waiting_end(rwlock->segment, slot);
    }
    return code < 0 ? code : 0;
}

/* Whoever gets `writer`, marked or not, reads in the gate what happened. */
static void adopt(mproc_rwlock *rwlock)
{
    uint32_t gate = bequest(rwlock);
    if (gate & MPROC__GATE_CLOSED)
        gate_open(rwlock, gate & ~MPROC__GATE_CLOSED);
}

int mproc__rwlock_adopt(mproc_rwlock *rwlock, mproc_deadline deadline)
{
    int code = writer_acquire(rwlock, deadline);
    if (code < 0)
        return code;
    adopt(rwlock);
    mproc__robust_release(&rwlock->shared->writer);
    return 0;
}

/* `writer` is held, the gate is closed, nobody reads: the store makes it a hold. */
static int write_begin(mproc_rwlock *rwlock, const mproc__rwhold *hold)
{
    uint32_t gate = gate_of(rwlock->shared);
    atomic_store_explicit(&rwlock->shared->gate, gate | MPROC__GATE_WRITING, memory_order_seq_cst);
    mproc__rwhold_add(hold);
    return mproc__rwlock_news(rwlock, gate);
}

int mproc__rwlock_write(mproc_rwlock *rwlock, mproc_deadline deadline)
{
    mproc__rwlock_shared *shared = rwlock->shared;
    mproc__rwhold hold = {.identity = shared->identity, .rwlock = rwlock};
    int code = mproc__rwhold_reserve();
    if (code == 0)
        code = mproc__rwlock_sit(rwlock, &hold.seat);
    if (code == 0)
        code = writer_acquire(rwlock, deadline);
    if (code < 0)
        return code;
    if (!gate_close(rwlock, hold.seat)) {
        code = mproc__rwlock_news(rwlock, gate_of(shared));
    } else {
        code = drain(rwlock, deadline);
        if (code == 0)
            return write_begin(rwlock, &hold);
        gate_open(rwlock, gate_of(shared) & ~MPROC__GATE_CLOSED);
    }
    mproc__robust_release(&shared->writer);
    return code;
}

void mproc__rwlock_unwrite(mproc_rwlock *rwlock)
{
    gate_open(rwlock, 0);
    mproc__robust_release(&rwlock->shared->writer);
}

void mproc__rwlock_abandon(mproc_rwlock *rwlock)
{
    gate_open(rwlock, bequest(rwlock) & ~MPROC__GATE_CLOSED);
    mproc__robust_release(&rwlock->shared->writer);
}

/* A poisoned one's `writer` is held for instants only, but somebody else may repair it meanwhile and a third one write for as
 * long as it likes: hence slices, with a look in between; the later ones are long enough to find damage. */
static int acquire_to_repair(mproc_rwlock *rwlock)
{
    int64_t slice_ms = MPROC__SWEEP_MS;
    int code;
    do {
        if (!(gate_of(rwlock->shared) & MPROC__GATE_POISONED))
            return mproc__fail(MPROC_ESTATE, "it is not poisoned");
        code = writer_acquire(rwlock, mproc_after_ms(slice_ms));
        slice_ms = MPROC__ROBUST_SLICE_MS;
    } while (code == -ETIMEDOUT);
    return code;
}

/* What adopting poisons anew is not what the caller has repaired. */
int mproc__rwlock_repair(mproc_rwlock *rwlock)
{
    mproc__rwlock_shared *shared = rwlock->shared;
    int code = acquire_to_repair(rwlock);
    if (code < 0)
        return code;
    bool poisoned = gate_of(shared) & MPROC__GATE_POISONED;
    adopt(rwlock);
    if (poisoned)
        atomic_store_explicit(&shared->gate, 0, memory_order_seq_cst);
    mproc__robust_release(&shared->writer);
    return poisoned ? 0 : mproc__fail(MPROC_ESTATE, "somebody else repaired it");
}
