/* SPDX-License-Identifier: BSD-2-Clause */
/* The rounds of a barrier: arriving, going, breaking, and what a death does. */
#include "platform/base.h"

#include "platform/platform.h"
#include "platform/story.h"
#include "sync/barrier.h"

enum { PID_BITS = 26, TID_BITS = 23 }; /* the kernel's pids have 22 */

mproc__barrier_state mproc__barrier_state_of(uint64_t word)
{
    return (mproc__barrier_state){.phase = (mproc__barrier_phase)(word & 7),
                                  .cause = (mproc__barrier_cause)(word >> 3 & 7),
                                  .pid = (pid_t)(word >> 6 & ((1u << PID_BITS) - 1)),
                                  .round = (uint32_t)(word >> 32)};
}

mproc__barrier_state mproc__barrier_now(const mproc__barrier_shared *shared)
{
    return mproc__barrier_state_of(atomic_load(&shared->state));
}

mproc__barrier_party mproc__barrier_party_of(uint64_t word)
{
    return (mproc__barrier_party){.arrived = word & 1,
                                  .row = (unsigned)(word >> 1) & 0xff,
                                  .tid = (pid_t)(word >> 9 & ((1u << TID_BITS) - 1)),
                                  .round = (uint32_t)(word >> 32)};
}

static uint64_t party_pack(mproc__barrier_party party)
{
    return (uint64_t)party.arrived | (uint64_t)party.row << 1 | (uint64_t)(uint32_t)party.tid << 9 |
           (uint64_t)party.round << 32;
}

uint64_t mproc__barrier_left(uint32_t round)
{
    return party_pack((mproc__barrier_party){.round = round});
}

static mproc__barrier_party party_at(const mproc_barrier *barrier, unsigned slot)
{
    return mproc__barrier_party_of(atomic_load(&barrier->shared->slots[slot]));
}

static bool slot_change(mproc_barrier *barrier, unsigned slot, mproc__barrier_party from, uint64_t to)
{
    uint64_t expected = party_pack(from);
    return atomic_compare_exchange_strong(&barrier->shared->slots[slot], &expected, to);
}

bool mproc__barrier_change(mproc_barrier *barrier, mproc__barrier_state from, mproc__barrier_state to)
{
    uint64_t expected = mproc__barrier_state_pack(from);
    if (!atomic_compare_exchange_strong(&barrier->shared->state, &expected, mproc__barrier_state_pack(to)))
        return false;
    mproc__eventcount_post(&barrier->shared->event, mproc__segment_shared(barrier->segment));
    return true;
}

/* ---- arriving and going ---- */

unsigned mproc__barrier_arrived(const mproc_barrier *barrier, uint32_t round)
{
    unsigned count = 0;
    for (unsigned slot = 0; slot < barrier->parties; slot++) {
        mproc__barrier_party party = party_at(barrier, slot);
        count += party.arrived && party.round == round;
    }
    return count;
}

int mproc__barrier_arrive(mproc_barrier *barrier, unsigned row, uint32_t round)
{
    const mproc__barrier_party mine = {.arrived = true, .row = row, .tid = mproc__tid(), .round = round};
    for (unsigned slot = 0; slot < barrier->parties; slot++) {
        mproc__barrier_party party = party_at(barrier, slot);
        if (!party.arrived && party.round == round - 1 && slot_change(barrier, slot, party, party_pack(mine)))
            return (int)slot;
    }
    return -1;
}

/* Whether nobody is in a slot. Slots of a round that was broken before all had arrived are brought to that round, which shuts
 * out arrivers who looked at the barrier before it broke. */
static bool all_gone(mproc_barrier *barrier, uint32_t round)
{
    for (unsigned slot = 0; slot < barrier->parties; slot++) {
        mproc__barrier_party party = party_at(barrier, slot);
        if (party.arrived)
            return false;
        if (party.round != round && !slot_change(barrier, slot, party, mproc__barrier_left(round)))
            return false;
    }
    return true;
}

void mproc__barrier_advance(mproc_barrier *barrier)
{
    mproc__barrier_state state = mproc__barrier_now(barrier->shared);
    if (state.phase != MPROC__BARRIER_DRAINING && state.phase != MPROC__BARRIER_RESETTING)
        return;
    if (all_gone(barrier, state.round))
        mproc__barrier_change(
            barrier, state,
            (mproc__barrier_state){.phase = MPROC__BARRIER_FILLING, .round = state.round + 1});
}

static void party_go(mproc_barrier *barrier, unsigned slot, mproc__barrier_party party)
{
    slot_change(barrier, slot, party, mproc__barrier_left(party.round));
}

void mproc__barrier_go(mproc_barrier *barrier, unsigned slot)
{
    party_go(barrier, slot, party_at(barrier, slot));
    mproc__barrier_advance(barrier);
}

/* ---- breaking ---- */

static mproc__barrier_state broken_state(mproc__barrier_state now, mproc__barrier_cause cause, pid_t pid)
{
    bool complete = now.phase == MPROC__BARRIER_DRAINING;
    return (mproc__barrier_state){
        .phase = MPROC__BARRIER_BROKEN, .cause = cause, .pid = pid, .round = now.round + complete};
}

void mproc__barrier_break(mproc_barrier *barrier, mproc__barrier_cause cause, pid_t pid)
{
    mproc__barrier_state now;
    do
        now = mproc__barrier_now(barrier->shared);
    while (now.phase != MPROC__BARRIER_BROKEN &&
           !mproc__barrier_change(barrier, now, broken_state(now, cause, pid)));
}

int mproc__barrier_broken(mproc_barrier *barrier, mproc__barrier_state state)
{
    static const char *const deeds[] = {
        [MPROC__BARRIER_NONE] = "broke it",
        [MPROC__BARRIER_DIED] = "was a party, and died",
        [MPROC__BARRIER_TIMEOUT] = "waited until its deadline, and gave up",
        [MPROC__BARRIER_ABORT] = "aborted it",
        [MPROC__BARRIER_RESET] = "reset it",
        [MPROC__BARRIER_ACTION] = "ran the action, and that failed",
    };
    unsigned cause = state.cause < MPROC__COUNT(deeds) ? state.cause : MPROC__BARRIER_NONE;
    mproc__fail(MPROC_EBROKEN, "process %d %s", (int)state.pid, deeds[cause]);
    mproc__fail_number(MPROC_ERROR_PID, state.pid);
    return mproc__handle_story(&barrier->handle, MPROC_EBROKEN);
}

/* ---- the dead ---- */

/* Whether a process that is in `row` is one of those whom the present round waits for or counts on. */
static bool row_counts(const mproc_barrier *barrier, unsigned row, mproc__barrier_state now)
{
    if (atomic_load(&barrier->shared->joined[row]))
        return true;
    if (now.phase != MPROC__BARRIER_FILLING && now.phase != MPROC__BARRIER_ACTING)
        return false;
    for (unsigned slot = 0; slot < barrier->parties; slot++) {
        mproc__barrier_party party = party_at(barrier, slot);
        if (party.arrived && party.row == row && party.round == now.round)
            return true;
    }
    return false;
}

static void row_break(mproc_barrier *barrier, unsigned row, pid_t pid)
{
    mproc__barrier_state now;
    do
        now = mproc__barrier_now(barrier->shared);
    while (now.phase != MPROC__BARRIER_BROKEN && row_counts(barrier, row, now) &&
           !mproc__barrier_change(barrier, now, broken_state(now, MPROC__BARRIER_DIED, pid)));
}

/* First the break, then the dead one's places, last its membership: a sweeper that is followed by another is repeated by it
 * without another effect. */
int mproc__barrier_sweep(mproc__segment *segment, unsigned row, void *context)
{
    mproc_barrier *barrier = context;
    row_break(barrier, row, mproc__segment_row_pid(segment, row));
    for (unsigned slot = 0; slot < barrier->parties; slot++) {
        mproc__barrier_party party = party_at(barrier, slot);
        if (party.arrived && party.row == row)
            party_go(barrier, slot, party);
    }
    atomic_store(&barrier->shared->joined[row], 0);
    mproc__barrier_advance(barrier);
    return 0;
}
