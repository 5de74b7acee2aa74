/* SPDX-License-Identifier: BSD-2-Clause */
/* The barrier's private side. L3. */
#ifndef MPROC__SYNC_BARRIER_H
#define MPROC__SYNC_BARRIER_H

#include <mproc/barrier.h>
#include "data/handle.h"
#include "shm/noun.h"

enum { MPROC__BARRIER_PARTIES = 1 << 16 };

/* What the barrier is at, in one word, changed by compare and swap only. No lock anywhere: whoever is stopped or dies between
 * two steps holds up nobody but those who wait for its arrival.
 *
 *     FILLING(r) ------> [ACTING(r)] ------> DRAINING(r) ------> FILLING(r+1)
 *        |  all arrived      |                   |    all gone
 *        |                   |                   +--> BROKEN(r+1)     abort; a joined party died
 *        +--> BROKEN(r) <----+                        (its parties see a later round: theirs was completed)
 *        |        |
 *        +--> RESETTING(r) ---------> FILLING(r+1)    all gone
 *
 * Any party may make the steps that follow from the slots alone (all arrived, all gone), so a death before one loses nothing.
 */
typedef enum mproc__barrier_phase {
    MPROC__BARRIER_FILLING,
    MPROC__BARRIER_ACTING,
    MPROC__BARRIER_DRAINING,
    MPROC__BARRIER_BROKEN,
    MPROC__BARRIER_RESETTING
} mproc__barrier_phase;

typedef enum mproc__barrier_cause {
    MPROC__BARRIER_NONE,
    MPROC__BARRIER_DIED,
    MPROC__BARRIER_TIMEOUT,
    MPROC__BARRIER_ABORT,
    MPROC__BARRIER_RESET,
    MPROC__BARRIER_ACTION
} mproc__barrier_cause;

typedef struct mproc__barrier_state {
    mproc__barrier_phase phase;
    mproc__barrier_cause cause; /* BROKEN, RESETTING: why */
    pid_t pid;                  /* and whose doing; ACTING: of the one that runs the action */
    uint32_t round;             /* wraps; what is compared lies a few rounds apart */
} mproc__barrier_state;

/* One place in the round. Arriving takes one whose last party left in the round before, so a slow arriver cannot get into
 * a round that was complete without it; its number is the party's index. */
typedef struct mproc__barrier_party {
    bool arrived; /* else gone, in `round` */
    unsigned row;
    pid_t tid; /* for explain */
    uint32_t round;
} mproc__barrier_party;

typedef struct mproc__barrier_shared {
    /* mproc__barrier_state. Whoever changes it posts `event`; if it dies in between, its life word wakes the others. */
    _Atomic uint64_t state;
    mproc__eventcount_shared event;
    uint32_t parties;    /* by the creator, before anyone else has the barrier */
    uint32_t timeout_ms; /* the same */
    /* 1: the process of that row is a party. Stored by that process, cleared by it or by the sweeper of the row, as the
     * last thing: a sweeper that dies before is followed by one that finds the barrier broken already. */
    _Atomic uint8_t joined[MPROC__ROWS];
    /* mproc__barrier_party. Taken by compare and swap, which names the arriver; given back by it or its row's sweeper. */
    _Atomic uint64_t slots[];
} mproc__barrier_shared;

struct mproc_barrier {
    mproc__handle handle;
    mproc__segment *segment;
    mproc__barrier_shared *shared;
    unsigned parties; /* checked at attach; the shared one could change in memory that somebody damages */
    bool spins;       /* there are CPUs enough for all parties */
    _Atomic uint64_t joined_by; /* incarnation, or 0 */
    int (*action)(void *context);
    void *context;
};

extern const mproc__noun mproc__barrier_noun;

/* 0; -EINVAL; -ECHILD. */
int mproc__barrier_check(const mproc_barrier *barrier);

/* ---- barrier_rounds.c ---- */
static inline uint64_t mproc__barrier_state_pack(mproc__barrier_state state)
{
    return (uint64_t)state.phase | (uint64_t)state.cause << 3 | (uint64_t)(uint32_t)state.pid << 6 |
           (uint64_t)state.round << 32;
}
mproc__barrier_state mproc__barrier_state_of(uint64_t word);
mproc__barrier_party mproc__barrier_party_of(uint64_t word);
mproc__barrier_state mproc__barrier_now(const mproc__barrier_shared *shared);
uint64_t mproc__barrier_left(uint32_t round); /* a slot whose party left in that round */
/* From `from`, if it is still that; posts. */
bool mproc__barrier_change(mproc_barrier *barrier, mproc__barrier_state from, mproc__barrier_state to);
/* How many have arrived in that round. */
unsigned mproc__barrier_arrived(const mproc_barrier *barrier, uint32_t round);
/* Makes the step that follows when all of a round are gone, if they are. */
void mproc__barrier_advance(mproc_barrier *barrier);
/* Takes a slot of the round; -1: none is free. */
int mproc__barrier_arrive(mproc_barrier *barrier, unsigned row, uint32_t round);
void mproc__barrier_go(mproc_barrier *barrier, unsigned slot);
/* Breaks whatever round is on, the next one if this is complete. */
void mproc__barrier_break(mproc_barrier *barrier, mproc__barrier_cause cause, pid_t pid);
int mproc__barrier_sweep(mproc__segment *segment, unsigned row, void *context);
/* MPROC_EBROKEN with the story of that state. */
int mproc__barrier_broken(mproc_barrier *barrier, mproc__barrier_state state);

#endif
