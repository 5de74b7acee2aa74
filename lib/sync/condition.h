/* SPDX-License-Identifier: BSD-2-Clause */
/* The condition's private side. L3. */
#ifndef MPROC__SYNC_CONDITION_H
#define MPROC__SYNC_CONDITION_H

#include <mproc/condition.h>
#include "data/handle.h"
#include "shm/noun.h"
#include "sync/lock.h"

enum {
    MPROC__CONDITION_SLOTS = 240, /* the root is one page */
    MPROC__CONDITION_HEAD_BYTES = 128
};

/* The state of one wait, in one word: everything that can happen to it is one compare and swap, and nobody holds a lock
 * for it, so a stopped process stops no wait of others.
 *
 *     FREE ---> WAITING ---> NOTIFIED ---> FREE          waiter, notifier, waiter
 *               WAITING -----------------> FREE          waiter: its deadline; sweeper: it is dead
 *                            NOTIFIED ---> PASSING ---> FREE     sweeper of a dead waiter hands the notification on
 *
 * number  WAITING: the wait's ticket; they grow. NOTIFIED, PASSING: the first ticket that was not given yet when notify was
 *         called; only waits with smaller ones have a claim to this notification.
 * other   NOTIFIED: 1 + the slot that handed it on, or 0; PASSING: 1 + the slot that gets it.
 *
 * Handing on takes two words: the sweeper stores PASSING to j in the dead slot i, then makes j NOTIFIED by i, then frees i.
 * A waiter that leaves frees the slot that it was notified by before its own. So one who finds PASSING to j after a
 * sweeper's death knows: j NOTIFIED by i, it is done; else it is not (had j been notified by i and left, i would be free). */
typedef enum mproc__wait_state {
    MPROC__SLOT_FREE,
    MPROC__SLOT_WAITING,
    MPROC__SLOT_NOTIFIED,
    MPROC__SLOT_PASSING
} mproc__wait_state;

typedef struct mproc__wait_word {
    mproc__wait_state state;
    unsigned row; /* the waiter's process */
    unsigned other;
    uint64_t number; /* 46 bits: a million waits a second for two years */
} mproc__wait_word;

static inline uint64_t mproc__wait_word_pack(mproc__wait_word word)
{
    return (uint64_t)word.state | (uint64_t)word.row << 2 | (uint64_t)word.other << 10 | word.number << 18;
}

static inline mproc__wait_word mproc__wait_word_of(uint64_t bits)
{
    return (mproc__wait_word){.state = (mproc__wait_state)(bits & 3),
                              .row = (unsigned)(bits >> 2) & 0xff,
                              .other = (unsigned)(bits >> 10) & 0xff,
                              .number = bits >> 18};
}

/* One wait. */
typedef struct mproc__wait_slot_shared {
    /* mproc__wait_word. By compare and swap: see above who makes which step; WAITING names its process in the claim. */
    _Atomic uint64_t word;
    /* Posted by whoever makes it NOTIFIED. If that one dies in between, its life word wakes the waiter. */
    mproc__eventcount_shared event;
} mproc__wait_slot_shared;

typedef struct mproc__condition_shared {
    _Alignas(MPROC__LOCK_ALIGNMENT) unsigned char lock
        [MPROC__LOCK_BYTES];  /* the own one; unused when one was given */
    _Atomic uint64_t tickets; /* next one; taken by atomic add. A taker that dies leaves a gap */
    /* Highest slot ever used + 1: raised before the slot is claimed, never falls. Whoever claims holds the condition's lock,
     * and so does who notifies; a sweeper that reads an old value has its dead below it, and below it those that the
     * dead one's notification is for. */
    _Atomic uint32_t slots_used;
    uint32_t lock_given; /* by the creator, before anyone else has the condition */
    unsigned char unused[MPROC__CONDITION_HEAD_BYTES - 16];
    mproc__wait_slot_shared slots[MPROC__CONDITION_SLOTS];
} mproc__condition_shared;

struct mproc_condition {
    mproc__handle handle;
    mproc__segment *segment;
    mproc__condition_shared *shared;
    mproc_lock *lock; /* own or given; kept */
};

extern const mproc__noun mproc__condition_noun;

/* 0; -EINVAL; -ECHILD; -EPERM: the calling thread does not hold the lock. */
int mproc__condition_check(mproc_condition *condition);

/* ---- condition_slots.c ---- */
/* Claims a slot for a wait of this process, the condition's lock held. >= 0, or MPROC_ELIMIT, -ENOMEM. */
int mproc__condition_enter(mproc_condition *condition);
bool mproc__condition_notified(const mproc_condition *condition, unsigned slot);
/* Gives the slot back. True: the wait was notified, and this used the notification up. */
bool mproc__condition_leave(mproc_condition *condition, unsigned slot);
unsigned mproc__condition_waiting(const mproc__condition_shared *shared);
int mproc__condition_sweep(mproc__segment *segment, unsigned row, void *context);

#endif
