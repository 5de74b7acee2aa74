/* SPDX-License-Identifier: BSD-2-Clause */
/* One side of a queue, its producers or its consumers: a lock, and one thread that does without. L4.
 *
 * A thread that was alone on its side for a while is given the side: its calls then take no lock and make no fence, which
 * doubles what two processes pass on, until somebody else wants the lock. Biased locking, with the fence of Dekker's
 * algorithm paid by the one that seldom comes, by membarrier:
 *
 *     owner:    inside = 1;   (no fence)   look at `owner`: still me? then the call;   inside = 0
 *     another:  take the lock;   `owner` = revoking;   membarrier;   wait until inside == 0;   `owner` = 0
 *
 * After the barrier either the owner sees that it is revoked, or the other sees that it is inside. Rejected: owner and
 * inside in one word, which takes a compare and swap a call, and that is the lock's price; a bias that is never revoked
 * (exclusive sides alone), which leaves the default as slow as it was.
 *
 * A kill leaves this: an owner inside has stored its position or has not, as under the lock, and its `inside` is cleared by
 * who waits for it, or by the sweep, when the kernel says that the thread is gone. Who dies while it revokes leaves `revoking`
 * in the word, and the next to take the lock does all of it again. A queue where somebody may not use membarrier is never
 * biased. */
#ifndef MPROC__CHANNEL_SIDE_H
#define MPROC__CHANNEL_SIDE_H

#include "platform/base.h"
#include "platform/platform.h"
#include "platform/robust.h"
#include "shm/segment.h"

enum {
    MPROC__SIDE_SLOTS = 4,
    /* How long a try may wait for a lock that another process holds for some 100 ns: the holder may have lost its CPU.
     * Without it, MPROC_NOW would answer "empty" of a queue that is not. */
    MPROC__SIDE_PATIENCE_MS = 20,
    MPROC__SIDE_REVOKING = MPROC__SIDE_SLOTS /* as the owner, beside the slot's number: below all ids */
};

/* Where an owner says that it is inside. Not one for all: a thread that is stopped right after its first look at `owner`
 * writes `inside` when it goes on, long after it was revoked, and must not speak for the next owner then. So a slot goes to
 * another thread only when this one has taken the lock since, or is gone. */
typedef struct mproc__side_slot_shared {
    _Atomic uint64_t
        who; /* pid | tid << 32; 0: free. Under the lock; given back by its thread also without */
    _Atomic uint32_t
        row; /* of its process, * 2, + 1 where that row's life word tells of this thread; before `who` */
    _Atomic uint32_t
        inside; /* by that thread alone, and under the lock by who finds it gone or gives the slot away */
} mproc__side_slot_shared;

typedef struct mproc__side_shared {
    mproc__robust_shared lock;
    /* Id of a thread | number of its slot: it needs no lock. Written under the lock; a thread gives it up by itself, by
     * compare and swap, 0. */
    _Atomic uint64_t owner;
    _Atomic uint64_t
        seen; /* the other side's position, as last read; by who has this side. Old is safe: read again before "no" */
    /* Under the lock, to find who is alone. Any values are right. */
    _Atomic uint32_t last;   /* thread that had the lock */
    _Atomic uint32_t run;    /* times in a row */
    _Atomic uint32_t needed; /* of them, until it is given the side; more when threads come and go */
    _Atomic uint32_t never;  /* 1: no thread is given this side any more; set by anyone, never cleared */
    mproc__side_slot_shared slots[MPROC__SIDE_SLOTS];
} mproc__side_shared;

void mproc__side_init(mproc__side_shared *side, bool process_shared, bool biased);

/* The owner's way in: its slot, or NULL: this thread is not the owner, or inside already (a signal handler). */
static inline mproc__side_slot_shared *mproc__side_enter(mproc__side_shared *side)
{
    const mproc__me *me = &mproc__me_now;
    uint64_t owner = atomic_load_explicit(&side->owner, memory_order_relaxed);
    if (MPROC__UNLIKELY((owner ^ me->id) >= MPROC__SIDE_SLOTS || !mproc__me_is_true(me)))
        return NULL;
    mproc__side_slot_shared *slot = &side->slots[owner % MPROC__SIDE_SLOTS];
    if (MPROC__UNLIKELY(atomic_load_explicit(&slot->inside, memory_order_relaxed) != 0))
        return NULL;
    mproc__me_now.inside = slot;
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&slot->inside, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (MPROC__LIKELY(atomic_load_explicit(&side->owner, memory_order_acquire) == owner))
        return slot;
    atomic_store_explicit(&slot->inside, 0, memory_order_relaxed);
    mproc__me_now.inside = NULL;
    return NULL;
}

static inline void mproc__side_leave(mproc__side_slot_shared *slot)
{
    atomic_store_explicit(&slot->inside, 0, memory_order_release);
    mproc__me_now.inside = NULL;
    atomic_signal_fence(
        memory_order_seq_cst); /* the look at the sleep bit comes after: who sleeps has the kernel see to it */
}

/* The way in of everybody else; nobody has the side but the caller then. 0; -ETIMEDOUT; -EDEADLK: this thread has it;
 * MPROC_ECORRUPT. Also a try is a little patient. */
int mproc__side_lock(mproc__segment *segment, mproc__side_shared *side, mproc_deadline deadline);
/* The same exactly to the deadline. */
int mproc__side_lock_by(mproc__segment *segment, mproc__side_shared *side, mproc_deadline deadline);
/* After a call of a user of this side, who may be given it by that: then its row, else -1. `alone`: the only user that there
 * may be, at once. */
int mproc__side_unlock(mproc__segment *segment, mproc__side_shared *side, bool alone);
/* After anything else. */
void mproc__side_release(mproc__side_shared *side);

/* Whether somebody waits for this side: `slot` as enter has given it, NULL under the lock. */
bool mproc__side_is_wanted(const mproc__side_shared *side, const mproc__side_slot_shared *slot);
static inline bool mproc__side_has_owner(const mproc__side_shared *side)
{
    return atomic_load_explicit(&side->owner, memory_order_seq_cst) != 0;
}
/* What the owner of either side has stored is seen from here on, and it sees what this thread has. */
void mproc__side_fence(mproc__segment *segment, mproc__side_shared *one, mproc__side_shared *other);
/* The calling thread has nothing of this side any more. */
void mproc__side_give_up(mproc__side_shared *side);
/* For the sweep of a dead row: the thread of which its life word told is inside no more. 0; -ETIMEDOUT: the lock, which is
 * taken only where that thread was inside, is not to be had now; MPROC_ECORRUPT. */
int mproc__side_bury(const mproc__segment *segment, mproc__side_shared *side, unsigned row,
                     mproc_deadline deadline);
/* Who is said to be inside as the owner: pid | tid << 32; 0: nobody. */
uint64_t mproc__side_insider(const mproc__side_shared *side);
/* The thread that is inside, or has the lock; 0: none. For people. */
pid_t mproc__side_thread(const mproc__side_shared *side);

#endif
