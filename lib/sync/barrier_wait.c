/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting at a barrier: arriving, the action, the end of a round. */
#include "platform/base.h"

#include "platform/platform.h"
#include "platform/story.h"
#include "sync/barrier.h"

typedef struct wait_call {
    mproc_barrier *barrier;
    mproc_deadline deadline;
    bool tries; /* the deadline had passed at the call */
    unsigned row;
    unsigned slot;  /* once arrived, in */
    uint32_t round; /* this round */
    int waiting;    /* for explain */
    bool slept;
} wait_call;

typedef enum outcome { PENDING, COMPLETE, BROKEN } outcome;

/* What became of a round, for one who arrived in it: later ones do not begin before that one is gone, but the next one can
 * break. */
static outcome round_outcome(mproc__barrier_state now, uint32_t round)
{
    if (now.round != round || now.phase == MPROC__BARRIER_DRAINING)
        return COMPLETE;
    return now.phase == MPROC__BARRIER_FILLING || now.phase == MPROC__BARRIER_ACTING ? PENDING : BROKEN;
}

static mproc__barrier_state step_to(mproc__barrier_state now, mproc__barrier_phase phase,
                                    mproc__barrier_cause cause)
{
    return (mproc__barrier_state){.phase = phase, .cause = cause, .pid = mproc__pid(), .round = now.round};
}

/* ---- sleeping ---- */

static bool entrance_open(const wait_call *call, mproc__barrier_state now)
{
    return now.phase == MPROC__BARRIER_BROKEN || now.phase > MPROC__BARRIER_RESETTING ||
           (now.phase == MPROC__BARRIER_FILLING &&
            mproc__barrier_arrived(call->barrier, now.round) < call->barrier->parties);
}

static bool round_over(const wait_call *call, mproc__barrier_state now)
{
    return round_outcome(now, call->round) != PENDING;
}

/* Until `done` says so of the state: 0; -ETIMEDOUT. */
static int sleep_until(wait_call *call, bool (*done)(const wait_call *call, mproc__barrier_state now))
{
    mproc_barrier *barrier = call->barrier;
    for (unsigned budget = barrier->spins ? mproc__spin_budget() : 0; budget > 0; budget--) {
        if (done(call, mproc__barrier_now(barrier->shared)))
            return 0;
        mproc__pause();
    }
    if (!call->slept)
        call->waiting = mproc__waiting_begin(barrier->segment, MPROC__WAIT_PARTIES);
    call->slept = true;
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&barrier->shared->event);
        mproc__barrier_advance(barrier); /* for the last one gone, should it have died before */
        if (done(call, mproc__barrier_now(barrier->shared)))
            return 0;
        int code = mproc__segment_wait(barrier->segment, &barrier->shared->event, ticket, call->deadline);
        if (code < 0)
            return code;
    }
}

/* ---- arriving ---- */

/* Gave up before it could arrive. The round that it was to be in will not have it: that is told to those who come. One party
 * too many breaks nothing. */
static int give_up_outside(wait_call *call)
{
    mproc__barrier_state now = mproc__barrier_now(call->barrier->shared);
    if (now.phase == MPROC__BARRIER_DRAINING || now.phase == MPROC__BARRIER_RESETTING)
        mproc__barrier_break(call->barrier, MPROC__BARRIER_TIMEOUT, mproc__pid());
    return mproc__fail_plain(-ETIMEDOUT);
}

/* No slot was free. In one round they only fill: 1, not now, unless the memory was overwritten. */
static int entrance_shut(const wait_call *call, mproc__barrier_state then)
{
    mproc_barrier *barrier = call->barrier;
    bool full = mproc__barrier_arrived(barrier, then.round) >= barrier->parties;
    mproc__barrier_state now = mproc__barrier_now(barrier->shared);
    if (full || mproc__barrier_state_pack(now) != mproc__barrier_state_pack(then))
        return 1;
    return mproc__handle_fail(&barrier->handle, MPROC_ECORRUPT, "its places are not of this round");
}

/* 0: in a slot of call->round. 1: not now. */
static int arrive_now(wait_call *call)
{
    mproc_barrier *barrier = call->barrier;
    mproc__barrier_advance(barrier);
    mproc__barrier_state now = mproc__barrier_now(barrier->shared);
    if (now.phase == MPROC__BARRIER_BROKEN)
        return mproc__barrier_broken(barrier, now);
    if (now.phase > MPROC__BARRIER_RESETTING)
        return mproc__handle_fail(&barrier->handle, MPROC_ECORRUPT, "it is in no known phase");
    if (now.phase != MPROC__BARRIER_FILLING)
        return 1;
    if (call->tries && mproc__barrier_arrived(barrier, now.round) + 1 < barrier->parties)
        return 1;
    int slot = mproc__barrier_arrive(barrier, call->row, now.round);
    if (slot < 0)
        return entrance_shut(call, now);
    call->slot = (unsigned)slot;
    call->round = now.round;
    return 0;
}

static int arrive(wait_call *call)
{
    for (;;) {
        int code = arrive_now(call);
        if (code <= 0)
            return code;
        if (call->tries)
            return mproc__fail_plain(-ETIMEDOUT);
        if (sleep_until(call, entrance_open) < 0)
            return give_up_outside(call);
    }
}

/* ---- the round ---- */

/* In the one party that found all arrived. Others may break or reset the barrier meanwhile. */
static int act(wait_call *call, mproc__barrier_state acting)
{
    mproc_barrier *barrier = call->barrier;
    int code = barrier->action(barrier->context);
    bool failed = code != 0;
    mproc__barrier_change(barrier, acting,
                          failed ? step_to(acting, MPROC__BARRIER_BROKEN, MPROC__BARRIER_ACTION)
                                 : step_to(acting, MPROC__BARRIER_DRAINING, MPROC__BARRIER_NONE));
    if (!failed)
        return 0;
    return mproc__handle_fail(&barrier->handle, code < 0 ? code : -ECANCELED, "the action answered %d", code);
}

/* Makes the round complete if it is. What the action answered, if it ran here; else 0. */
static int complete(wait_call *call)
{
    mproc_barrier *barrier = call->barrier;
    mproc__barrier_state now = mproc__barrier_now(barrier->shared);
    if (now.phase != MPROC__BARRIER_FILLING || now.round != call->round ||
        mproc__barrier_arrived(barrier, call->round) < barrier->parties)
        return 0;
    if (!barrier->action) {
        mproc__barrier_change(barrier, now, step_to(now, MPROC__BARRIER_DRAINING, MPROC__BARRIER_NONE));
        return 0;
    }
    mproc__barrier_state acting = step_to(now, MPROC__BARRIER_ACTING, MPROC__BARRIER_NONE);
    return mproc__barrier_change(barrier, now, acting) ? act(call, acting) : 0;
}

/* The deadline passed. True: and this call broke the round. */
static bool round_break(wait_call *call)
{
    mproc__barrier_state now;
    do {
        now = mproc__barrier_now(call->barrier->shared);
        if (round_outcome(now, call->round) != PENDING)
            return false;
    } while (!mproc__barrier_change(call->barrier, now,
                                    step_to(now, MPROC__BARRIER_BROKEN, MPROC__BARRIER_TIMEOUT)));
    return true;
}

/* From the arrival to the end of the round. */
static int attend(wait_call *call)
{
    mproc_barrier *barrier = call->barrier;
    int code = complete(call);
    if (code < 0)
        return code;
    if (sleep_until(call, round_over) < 0 && round_break(call))
        return mproc__fail_plain(-ETIMEDOUT);
    mproc__barrier_state now = mproc__barrier_now(barrier->shared);
    return round_outcome(now, call->round) == COMPLETE ? 0 : mproc__barrier_broken(barrier, now);
}

static int wait_in(wait_call *call, unsigned *ret_index)
{
    int row = mproc__segment_join(call->barrier->segment);
    if (row < 0)
        return mproc__handle_story(&call->barrier->handle, row);
    call->row = (unsigned)row;
    mproc__segment_sweep(call->barrier->segment); /* who died after arriving does not complete a round */
    int code = arrive(call);
    if (code < 0)
        return code;
    code = attend(call);
    mproc__barrier_go(call->barrier, call->slot);
    if (code == 0 && ret_index)
        *ret_index = call->slot;
    return code;
}

static mproc_deadline own_or_default(const mproc_barrier *barrier, mproc_deadline deadline)
{
    uint32_t timeout_ms = barrier->shared->timeout_ms;
    return deadline.ns == INT64_MAX && timeout_ms ? mproc_after_ms(timeout_ms) : deadline;
}

/* Keeps the handle: its owner may close it meanwhile. */
int mproc_barrier_wait(mproc_barrier *barrier, mproc_deadline deadline, unsigned *ret_index)
{
    int code = mproc__barrier_check(barrier);
    if (code < 0)
        return code;
    wait_call call = {.barrier = barrier,
                      .deadline = own_or_default(barrier, deadline),
                      .tries = mproc__deadline_past(deadline),
                      .waiting = -1};
    mproc__handle_keep(&barrier->handle);
    code = wait_in(&call, ret_index);
    mproc__waiting_end(barrier->segment, call.waiting);
    mproc__handle_release(&barrier->handle);
    return code;
}
