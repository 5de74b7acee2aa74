/* SPDX-License-Identifier: BSD-2-Clause */
/* The readers' side of the reader-writer lock. */
#include "platform/base.h"

#include "sync/rwlock_inside.h"

/* Of one process. A claim beyond it is taken back; between the two the fields have room for as many again. */
enum { READERS_MAX = INT16_MAX };

static _Atomic mproc__readers *row_of(mproc_rwlock *rwlock, mproc__seat seat)
{
    return &rwlock->shared->rows[seat.row].word;
}

/* ---- the seat ---- */

static int seat_lost(void)
{
    return mproc__fail(MPROC_ESTATE, "the others took this process for dead");
}

static int seat_take(mproc_rwlock *rwlock, unsigned row, mproc__seat *ret_seat)
{
    mproc__rwlock_row_shared *mine = &rwlock->shared->rows[row];
    ret_seat->row = row;
    ret_seat->generation = mproc__readers_generation(atomic_load_explicit(&mine->word, memory_order_acquire));
    atomic_store_explicit(&mine->pid, (uint32_t)mproc__pid(), memory_order_relaxed);
    atomic_store_explicit(&rwlock->seat, (row + 1) | (uint64_t)ret_seat->generation << 32,
                          memory_order_relaxed);
    atomic_store_explicit(&rwlock->seat_in, mproc__incarnation(), memory_order_release);
    return 0;
}

int mproc__rwlock_sit(mproc_rwlock *rwlock, mproc__seat *ret_seat)
{
    int row = mproc__segment_join(rwlock->segment);
    if (row < 0)
        return row;
    uint64_t in = atomic_load_explicit(&rwlock->seat_in, memory_order_acquire);
    uint64_t seat = atomic_load_explicit(&rwlock->seat, memory_order_relaxed);
    if (MPROC__UNLIKELY(in != mproc__incarnation() || (uint32_t)seat != (unsigned)row + 1))
        return seat_take(rwlock, (unsigned)row, ret_seat);
    *ret_seat = (mproc__seat){(unsigned)row, (unsigned)(seat >> 32)};
    return 0;
}

/* ---- counting ---- */

/* Adds `delta` to the row's word and says what it was before. MPROC_ESTATE: swept meanwhile, nothing is counted. */
static int row_add(mproc_rwlock *rwlock, mproc__seat seat, uint64_t delta, mproc__readers *ret_before)
{
    _Atomic mproc__readers *row = row_of(rwlock, seat);
    mproc__readers word = atomic_load_explicit(row, memory_order_relaxed);
    do {
        *ret_before = word;
        if (MPROC__UNLIKELY(mproc__readers_generation(word) != seat.generation))
            return seat_lost();
    } while (!atomic_compare_exchange_weak_explicit(row, &word, word + delta, memory_order_seq_cst,
                                                    memory_order_relaxed));
    return 0;
}

/* Not counted as waiting any more. 0: too late, it was let in. */
static int give_up(mproc_rwlock *rwlock, mproc__seat seat, unsigned grants, int code)
{
    _Atomic mproc__readers *row = row_of(rwlock, seat);
    mproc__readers word = atomic_load_explicit(row, memory_order_acquire);
    do {
        if (mproc__readers_generation(word) != seat.generation)
            return code;
        if (mproc__grants(word) != grants)
            return 0;
    } while (!atomic_compare_exchange_weak(row, &word, word - MPROC__WAITING));
    return code;
}

/* One more thread reads or waits to. -EAGAIN: too many. */
static int row_claim(mproc_rwlock *rwlock, mproc__seat seat, uint64_t delta, mproc__readers *ret_before)
{
    int code = row_add(rwlock, seat, delta, ret_before);
    if (code == 0 &&
        MPROC__UNLIKELY(mproc__reading(*ret_before) + mproc__readers_waiting(*ret_before) >= READERS_MAX)) {
        /* As one that read: a writer may have seen it, or let it in meanwhile. */
        if (delta == MPROC__READING || give_up(rwlock, seat, mproc__grants(*ret_before), -EAGAIN) == 0)
            mproc__rwlock_leave(rwlock, seat);
        code = mproc__fail(-EAGAIN, "%d threads of this process read or wait to", READERS_MAX);
    }
    return code;
}

/* The writer looks at the rows after it closed the gate, a reader at the gate after it left its row: one of the two sees
 * the other. */
void mproc__rwlock_leave(mproc_rwlock *rwlock, mproc__seat seat)
{
    mproc__rwlock_shared *shared = rwlock->shared;
    mproc__readers before;
    if (row_add(rwlock, seat, -MPROC__READING, &before) == 0 && mproc__reading(before) == 1 &&
        (atomic_load_explicit(&shared->gate, memory_order_seq_cst) & MPROC__GATE_CLOSED))
        mproc__eventcount_post(&shared->drained, mproc__segment_shared(rwlock->segment));
}

int mproc__rwlock_sweep(mproc__segment *segment, unsigned index, void *context)
{
    mproc__rwlock_shared *shared = mproc__segment_root(segment);
    _Atomic mproc__readers *row = &shared->rows[index].word;
    mproc__readers word = atomic_load_explicit(row, memory_order_relaxed);
    (void)context;
    while (!atomic_compare_exchange_weak(row, &word,
                                         (uint64_t)(uint16_t)(mproc__readers_generation(word) + 1) << 48))
        ;
    mproc__eventcount_post(&shared->drained, true);
    mproc__eventcount_post(&shared->opened, true);
    return 0;
}

/* ---- in ---- */

/* Counts this thread and looks at the gate. 0: in. -EBUSY: closed; not counted. */
static int enter(mproc_rwlock *rwlock, mproc__seat seat, uint32_t *ret_gate)
{
    mproc__rwlock_shared *shared = rwlock->shared;
    if (atomic_load_explicit(&shared->gate, memory_order_relaxed) & MPROC__GATE_CLOSED)
        return -EBUSY;
    mproc__readers before;
    int code = row_claim(rwlock, seat, MPROC__READING, &before);
    if (code < 0)
        return code;
    *ret_gate = atomic_load_explicit(&shared->gate, memory_order_seq_cst);
    if (MPROC__LIKELY(!(*ret_gate & MPROC__GATE_CLOSED)))
        return 0;
    mproc__rwlock_leave(rwlock, seat);
    return -EBUSY;
}

/* One that waits, found the gate open and goes in by itself: its writer was killed before it granted. False: look again. */
static bool enter_from_waiting(mproc_rwlock *rwlock, mproc__seat seat, mproc__readers word, unsigned *grants)
{
    mproc__rwlock_shared *shared = rwlock->shared;
    mproc__readers before;
    if (!atomic_compare_exchange_strong(row_of(rwlock, seat), &word, word + MPROC__READING - MPROC__WAITING))
        return false;
    if (!(atomic_load_explicit(&shared->gate, memory_order_seq_cst) & MPROC__GATE_CLOSED))
        return true;
    if (row_add(rwlock, seat, MPROC__WAITING - MPROC__READING, &before) == 0)
        *grants = mproc__grants(before);
    mproc__eventcount_post(&shared->drained, mproc__segment_shared(rwlock->segment));
    return false;
}

/* One look of a reader that is counted as waiting. 0: in. -EBUSY: not yet. -EAGAIN: look again. */
static int look(mproc_rwlock *rwlock, mproc__seat seat, unsigned *grants)
{
    mproc__readers word = atomic_load_explicit(row_of(rwlock, seat), memory_order_seq_cst);
    if (mproc__readers_generation(word) != seat.generation)
        return seat_lost();
    if (mproc__grants(word) != *grants)
        return 0;
    if (atomic_load_explicit(&rwlock->shared->gate, memory_order_seq_cst) & MPROC__GATE_CLOSED)
        return -EBUSY;
    return enter_from_waiting(rwlock, seat, word, grants) ? 0 : -EAGAIN;
}

static int look_awake(mproc_rwlock *rwlock, mproc__seat seat, unsigned *grants)
{
    int code = look(rwlock, seat, grants);
    for (unsigned budget = mproc__spin_budget(); budget > 0 && (code == -EBUSY || code == -EAGAIN);
         budget--) {
        mproc__pause();
        code = look(rwlock, seat, grants);
    }
    return code;
}

/* Whoever has `writer` may grant to this thread at any time, and the next to have it waits until this thread leaves: so it
 * is not slept for without a look in between. Rejected: a look at the grants in the mutex's own wait; libc has none. */
static int adopt_for_a_while(mproc_rwlock *rwlock, mproc_deadline deadline)
{
    mproc_deadline slice = mproc_after_ms(MPROC__SWEEP_MS);
    if (deadline.ns <= slice.ns)
        return mproc__rwlock_adopt(rwlock, deadline);
    int code = mproc__rwlock_adopt(rwlock, slice);
    return code == -ETIMEDOUT ? 0 : code;
}

/* The ticket comes before the look, and the look at the closer's row after the one at the gate: a sweep between that look
 * and the sleep changes the membership, which segment_wait notices. */
static int look_asleep(mproc_rwlock *rwlock, mproc__seat seat, unsigned *grants, mproc_deadline deadline)
{
    mproc__rwlock_shared *shared = rwlock->shared;
    int code;
    do {
        uint32_t ticket = mproc__eventcount_prepare(&shared->opened);
        code = look(rwlock, seat, grants);
        if (code != -EBUSY)
            continue;
        code = mproc__rwlock_is_orphaned(shared)
                   ? adopt_for_a_while(rwlock, deadline)
                   : mproc__segment_wait(rwlock->segment, &shared->opened, ticket, deadline);
        if (code == 0)
            code = -EAGAIN;
    } while (code == -EAGAIN);
    return code;
}

static int wait_turn(mproc_rwlock *rwlock, mproc__seat seat, mproc_deadline deadline)
{
    mproc__readers before;
    int code = row_claim(rwlock, seat, MPROC__WAITING, &before);
    if (code < 0)
        return code;
    unsigned grants = mproc__grants(before);
    code = look_awake(rwlock, seat, &grants);
    if (code != -EBUSY && code != -EAGAIN)
        return code;
    int slot = mproc__waiting_begin(rwlock->segment, MPROC__WAIT_READ);
    code = look_asleep(rwlock, seat, &grants, deadline);
    mproc__waiting_end(rwlock->segment, slot);
    return code < 0 ? give_up(rwlock, seat, grants, code) : code;
}

/* A dead writer's gate is no reason to be refused, also when somebody else opens it meanwhile. */
static int try_turn(mproc_rwlock *rwlock, mproc__seat seat, uint32_t *ret_gate)
{
    mproc__segment_sweep(rwlock->segment);
    if (mproc__rwlock_is_orphaned(rwlock->shared))
        (void)mproc__rwlock_adopt(rwlock, MPROC_NOW); /* not now: somebody else does it */
    return enter(rwlock, seat, ret_gate);
}

int mproc__rwlock_read(mproc_rwlock *rwlock, mproc_deadline deadline)
{
    mproc__rwhold hold = {.identity = rwlock->shared->identity, .rwlock = rwlock, .reads = 1};
    uint32_t gate = 0;
    int code = mproc__rwhold_reserve();
    if (code == 0)
        code = mproc__rwlock_sit(rwlock, &hold.seat);
    if (code < 0)
        return code;
    code = enter(rwlock, hold.seat, &gate);
    if (code == -EBUSY && deadline.ns <= 0)
        code = try_turn(rwlock, hold.seat, &gate);
    else if (code == -EBUSY) {
        code = wait_turn(rwlock, hold.seat, deadline);
        gate = atomic_load_explicit(&rwlock->shared->gate, memory_order_acquire);
    }
    if (code < 0)
        return code == -EBUSY ? mproc__fail_plain(-ETIMEDOUT) : code;
    if (MPROC__UNLIKELY(gate & (MPROC__GATE_NEWS | MPROC__GATE_POISONED)))
        code = mproc__rwlock_news(rwlock, gate);
    if (code < 0)
        mproc__rwlock_leave(rwlock, hold.seat);
    else
        mproc__rwhold_add(&hold);
    return code;
}
