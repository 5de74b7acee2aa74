/* SPDX-License-Identifier: BSD-2-Clause */
/* A side's lock, given to one thread and taken back. side.h says how and why. */
#include "platform/base.h"

#include <linux/futex.h>
#include <signal.h>

#include "channel/side.h"
#include "platform/story.h"

enum {
    /* So often in a row makes an owner: the revocation that it may cost (a barrier, 3 us) is a twentieth of what those took.
     * Twice as often each time that another thread comes: who shares a side pays for no more than a few. */
    ALONE_FIRST = 64,
    ALONE_MOST = 65536,
    ALONE_AGAIN =
        1024, /* for the only user there may be, when four before it have not let go of their slots */
    /* The owner is inside for some 50 ns; longer, and it has lost its CPU, is stopped or dead. To ask which takes 20 us, so
     * the last of these pauses is a thousandth of a CPU, and a death is seen within the 50 ms that are promised. */
    INSIDE_PAUSES = 256,
    NAP_FIRST_NS = 50000,
    NAP_MOST_NS = 25000000,
    /* Where membarrier is denied: a store leaves its CPU for all to see within a microsecond, though nobody promises that. */
    SETTLE_NS = 10000000
};

void mproc__side_init(mproc__side_shared *side, bool process_shared, bool biased)
{
    mproc__robust_init(&side->lock, process_shared);
    atomic_store_explicit(&side->needed, ALONE_FIRST, memory_order_relaxed);
    atomic_store_explicit(&side->never, !biased, memory_order_relaxed);
}

/* ---- taken back ---- */

/* Not by nanosleep: that is a point where a thread can be cancelled. */
static void nap(const _Atomic uint32_t *word, uint32_t expected, int64_t ns, mproc_deadline deadline)
{
    int64_t until_ns = mproc__now_ns() + ns;
    (void)mproc__futex_wait(word, expected, true,
                            (mproc_deadline){until_ns < deadline.ns ? until_ns : deadline.ns});
}

static void side_barrier(mproc__side_shared *side)
{
    static const _Atomic uint32_t nobody_wakes;
    atomic_thread_fence(memory_order_seq_cst);
    if (mproc__barrier() == 0)
        return;
    mproc_deadline settled = {mproc__now_ns() + SETTLE_NS};
    atomic_store_explicit(&side->never, 1, memory_order_seq_cst);
    while (!mproc__deadline_past(settled))
        nap(&nobody_wakes, 0, SETTLE_NS, settled);
}

/* EINVAL: no thread ever had such numbers, so the word was overwritten. In doubt (a filter that denies the question), alive. */
static bool thread_is_gone(uint64_t who)
{
    return tgkill((pid_t)(who & UINT32_MAX), (pid_t)(who >> 32), 0) != 0 &&
           (errno == ESRCH || errno == EINVAL);
}

/* The life word tells at once, and of an exec, which leaves the numbers as they are; it tells of one thread of a process.
 * Others are asked for by number, which takes until the kernel has taken the process apart, or by the row (a process not yet
 * reaped, or another program). A row that its process left, by closing one of two handles, tells nothing of the thread, which
 * may be inside by the other. Nobody at all is inside where the word was overwritten. */
static bool user_is_gone(mproc__segment *segment, const mproc__side_slot_shared *slot)
{
    uint64_t who = atomic_load_explicit(&slot->who, memory_order_relaxed);
    uint32_t row = atomic_load_explicit(&slot->row, memory_order_relaxed);
    if (who == 0 || thread_is_gone(who))
        return true;
    if (mproc__segment_row_pid(segment, row / 2) != (pid_t)(who & UINT32_MAX))
        return false;
    return (row % 2 == 1 && !mproc__segment_row_alive(segment, row / 2)) ||
           mproc__segment_row_gone(segment, row / 2);
}

/* Lock held: else a slot that was given to somebody else just now would be freed under its hands. */
static void slot_free(mproc__side_slot_shared *slot)
{
    atomic_store_explicit(&slot->inside, 0, memory_order_release);
    atomic_store_explicit(&slot->who, 0, memory_order_release);
}

static bool is_mine(const mproc__side_slot_shared *slot)
{
    return mproc__me_is_true(&mproc__me_now) &&
           atomic_load_explicit(&slot->who, memory_order_relaxed) == mproc__me_now.who;
}

/* What it says after some pauses; 0: nobody is inside. */
static uint32_t slot_inside(const mproc__side_slot_shared *slot)
{
    uint32_t inside = 1;
    for (unsigned i = 0; i < INSIDE_PAUSES && inside != 0; i++) {
        inside = atomic_load_explicit(&slot->inside, memory_order_acquire);
        if (inside != 0)
            mproc__pause();
    }
    return inside;
}

/* Lock held. Whether nobody is inside any more. A nap is one with whatever stands there: an `inside` that was overwritten is
 * neither 0 nor 1. */
static bool slot_wait(mproc__segment *segment, mproc__side_slot_shared *slot, mproc_deadline deadline)
{
    uint32_t inside;
    for (int64_t ns = NAP_FIRST_NS; (inside = slot_inside(slot)) != 0;
         ns = ns < NAP_MOST_NS / 2 ? ns * 2 : NAP_MOST_NS) {
        if (user_is_gone(segment, slot) ||
            is_mine(slot)) /* this thread is not: overwritten, or it jumped out */
            slot_free(slot);
        else if (mproc__deadline_past(deadline))
            return false;
        else
            nap(&slot->inside, inside, ns, deadline);
    }
    return true;
}

/* Lock held. 0, -ETIMEDOUT: the owner is still inside, -EDEADLK: and it is this thread. */
static int side_revoke(mproc__segment *segment, mproc__side_shared *side, uint64_t owner,
                       mproc_deadline deadline)
{
    uint64_t number = owner % MPROC__SIDE_SLOTS;
    mproc__side_slot_shared *slot = &side->slots[number];
    atomic_store_explicit(&side->owner, MPROC__SIDE_REVOKING | number, memory_order_seq_cst);
    side_barrier(side);
    if (mproc__me_now.inside == slot && is_mine(slot))
        return mproc__fail(-EDEADLK, "this thread is in a call of the queue already");
    if (!slot_wait(segment, slot, deadline))
        return -ETIMEDOUT;
    atomic_store_explicit(&side->owner, 0, memory_order_seq_cst);
    return 0;
}

/* What this thread once had of a side is free, since it is in no call that may still look whether it is the owner. */
static void side_free_own(mproc__side_shared *side)
{
    for (unsigned i = 0; i < MPROC__SIDE_SLOTS; i++)
        if (is_mine(&side->slots[i]) && mproc__me_now.inside != &side->slots[i])
            atomic_store_explicit(&side->slots[i].who, 0, memory_order_release);
}

static int lock_take(mproc__side_shared *side, mproc_deadline deadline)
{
    int rc = mproc__robust_acquire(&side->lock, deadline);
    return rc < 0 ? rc : 0; /* MPROC_RECOVERED: nothing behind this lock is ever half done */
}

/* Fails only when the word was overwritten meanwhile; the next to lock is told. */
void mproc__side_release(mproc__side_shared *side)
{
    (void)mproc__robust_release(&side->lock);
}

/* Lock held; given back on failure. */
static int side_settle(mproc__segment *segment, mproc__side_shared *side, mproc_deadline deadline)
{
    uint64_t owner = atomic_load_explicit(&side->owner, memory_order_seq_cst);
    int rc = owner != 0 ? side_revoke(segment, side, owner, deadline) : 0;
    if (rc < 0)
        mproc__side_release(side);
    else if (mproc__me_now.has_slots)
        side_free_own(side);
    return rc;
}

int mproc__side_lock_by(mproc__segment *segment, mproc__side_shared *side, mproc_deadline deadline)
{
    int rc = lock_take(side, deadline);
    return rc == 0 ? side_settle(segment, side, deadline) : rc;
}

int mproc__side_lock(mproc__segment *segment, mproc__side_shared *side, mproc_deadline deadline)
{
    int rc = lock_take(side, MPROC_NOW);
    if (MPROC__LIKELY(rc == 0 && !mproc__side_has_owner(side))) {
        if (mproc__me_now.has_slots)
            side_free_own(side);
        return 0;
    }
    mproc_deadline patience = mproc_after_ms(MPROC__SIDE_PATIENCE_MS);
    if (deadline.ns < patience.ns)
        deadline = patience;
    if (rc == -ETIMEDOUT)
        rc = lock_take(side, deadline);
    return rc == 0 ? side_settle(segment, side, deadline) : rc;
}

/* ---- given ---- */

/* A free slot, this thread's, or that of one that is gone. */
static mproc__side_slot_shared *slot_find(mproc__side_shared *side)
{
    for (unsigned i = 0; i < MPROC__SIDE_SLOTS; i++) {
        uint64_t who = atomic_load_explicit(&side->slots[i].who, memory_order_acquire);
        if (who == 0 || who == mproc__me_now.who || thread_is_gone(who))
            return &side->slots[i];
    }
    return NULL;
}

/* The row that this process is in; no joining here, which may have to sweep, with the lock held. */
static int row_now(const mproc__segment *segment)
{
    const _Atomic uint64_t *joined;
    const unsigned *row;
    if (!mproc__segment_shared(segment))
        return 0;
    mproc__segment_seat(segment, &joined, &row);
    return atomic_load_explicit(joined, memory_order_acquire) == mproc__me_now.incarnation ? (int)*row : -1;
}

/* Lock held. The row, or -1: not now. */
static int side_grant(mproc__segment *segment, mproc__side_shared *side)
{
    mproc__me *me = &mproc__me_now;
    int row = row_now(segment);
    mproc__side_slot_shared *slot = row < 0 ? NULL : slot_find(side);
    if (!slot)
        return -1;
    me->has_slots = true;
    atomic_store_explicit(&slot->inside, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->row, (uint32_t)row * 2 + mproc__segment_keeps_life(segment, (unsigned)row),
                          memory_order_relaxed);
    atomic_store_explicit(&slot->who, me->who, memory_order_release);
    uint64_t number = (uint64_t)(slot - side->slots);
    atomic_store_explicit(&side->owner, me->id | number, memory_order_seq_cst);
    return row;
}

/* Whether this thread, which has the lock, is alone here, as far as can be told. Each time that another comes, it takes twice
 * as long until anybody is given the side. */
static bool side_is_due(mproc__side_shared *side, bool alone)
{
    uint32_t tid = mproc__me_tid(&mproc__me_now), run = 0;
    uint32_t needed = atomic_load_explicit(&side->needed, memory_order_relaxed);
    if (atomic_load_explicit(&side->last, memory_order_relaxed) == tid) {
        run = atomic_load_explicit(&side->run, memory_order_relaxed) + 1;
    } else {
        atomic_store_explicit(&side->last, tid, memory_order_relaxed);
        if (needed < ALONE_MOST)
            atomic_store_explicit(&side->needed, needed * 2, memory_order_relaxed);
    }
    atomic_store_explicit(&side->run, run, memory_order_relaxed);
    return MPROC__UNLIKELY((alone ? run % ALONE_AGAIN == 0 : run >= needed) &&
                           !atomic_load_explicit(&side->never, memory_order_seq_cst) &&
                           mproc__me_is_true(&mproc__me_now));
}

/* Lock held, and this thread is due. */
static int side_give(mproc__segment *segment, mproc__side_shared *side, bool alone, bool joined)
{
    int row = joined ? side_grant(segment, side) : -1;
    uint32_t needed = atomic_load_explicit(&side->needed, memory_order_relaxed);
    if (row >= 0 && needed / 2 >= ALONE_FIRST)
        atomic_store_explicit(&side->needed, needed / 2, memory_order_relaxed);
    /* Who is alone is given it again at the next call under the lock: after a revocation, or now that it has joined. */
    bool again = alone && (row >= 0 || !joined);
    atomic_store_explicit(&side->run, again ? UINT32_MAX : 0, memory_order_relaxed);
    return row;
}

/* To join the barrier can take a process with many threads 10 ms: not under the lock, so it is given next time. */
int mproc__side_unlock(mproc__segment *segment, mproc__side_shared *side, bool alone)
{
    bool due = side_is_due(side, alone), joined = due && mproc__barrier_joined();
    int row = due ? side_give(segment, side, alone, joined) : -1;
    mproc__side_release(side);
    if (due && !joined && mproc__barrier_join() < 0)
        atomic_store_explicit(&side->never, 1, memory_order_seq_cst);
    return row;
}

void mproc__side_give_up(mproc__side_shared *side)
{
    uint64_t owner = atomic_load_explicit(&side->owner, memory_order_relaxed);
    if ((owner ^ mproc__me_now.id) < MPROC__SIDE_SLOTS && mproc__me_is_true(&mproc__me_now))
        (void)atomic_compare_exchange_strong(&side->owner, &owner, 0);
    if (mproc__me_now.has_slots)
        side_free_own(side);
}

/* ---- looked at ---- */

bool mproc__side_is_wanted(const mproc__side_shared *side, const mproc__side_slot_shared *slot)
{
    if (slot)
        return atomic_load_explicit(&side->owner, memory_order_relaxed) ==
               (MPROC__SIDE_REVOKING | (uint64_t)(slot - side->slots));
    return atomic_load_explicit(mproc__robust_word(&side->lock), memory_order_relaxed) & FUTEX_WAITERS;
}

/* Where membarrier is denied. */
static void side_end_owning(mproc__segment *segment, mproc__side_shared *side)
{
    atomic_store_explicit(&side->never, 1, memory_order_seq_cst);
    if (mproc__side_lock(segment, side, MPROC_NOW) == 0)
        mproc__side_release(side);
}

void mproc__side_fence(mproc__segment *segment, mproc__side_shared *one, mproc__side_shared *other)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (mproc__barrier() == 0)
        return;
    side_end_owning(segment, one);
    side_end_owning(segment, other);
}

/* Whether the thread that the row's life word told of, which is dead, was inside. */
static bool slot_is_left(const mproc__side_slot_shared *slot, unsigned row, pid_t pid)
{
    return atomic_load_explicit(&slot->inside, memory_order_acquire) != 0 &&
           atomic_load_explicit(&slot->row, memory_order_relaxed) == row * 2 + 1 &&
           (pid_t)(atomic_load_explicit(&slot->who, memory_order_relaxed) & UINT32_MAX) == pid;
}

/* Slots with nobody inside are found free when somebody needs one. */
int mproc__side_bury(const mproc__segment *segment, mproc__side_shared *side, unsigned row,
                     mproc_deadline deadline)
{
    pid_t pid = mproc__segment_row_pid(segment, row);
    bool left = false;
    for (unsigned i = 0; i < MPROC__SIDE_SLOTS; i++)
        left = left || slot_is_left(&side->slots[i], row, pid);
    int rc = left ? lock_take(side, deadline) : 0;
    if (!left || rc < 0)
        return rc;
    for (unsigned i = 0; i < MPROC__SIDE_SLOTS; i++)
        if (slot_is_left(&side->slots[i], row, pid))
            slot_free(&side->slots[i]);
    mproc__side_release(side);
    return 0;
}

uint64_t mproc__side_insider(const mproc__side_shared *side)
{
    uint64_t owner = atomic_load_explicit(&side->owner, memory_order_acquire);
    const mproc__side_slot_shared *slot = &side->slots[owner % MPROC__SIDE_SLOTS];
    bool inside = owner != 0 && atomic_load_explicit(&slot->inside, memory_order_acquire) != 0;
    return inside ? atomic_load_explicit(&slot->who, memory_order_relaxed) : 0;
}

pid_t mproc__side_thread(const mproc__side_shared *side)
{
    for (unsigned i = 0; i < MPROC__SIDE_SLOTS; i++)
        if (atomic_load_explicit(&side->slots[i].inside, memory_order_relaxed) != 0)
            return (pid_t)(atomic_load_explicit(&side->slots[i].who, memory_order_relaxed) >> 32);
    return (pid_t)(atomic_load_explicit(mproc__robust_word(&side->lock), memory_order_relaxed) &
                   FUTEX_TID_MASK);
}
