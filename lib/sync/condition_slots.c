/* SPDX-License-Identifier: BSD-2-Clause */
/* The slots of a condition: who waits, who is notified, and what becomes of both when somebody dies. */
#include "platform/base.h"

#include <limits.h>

#include "platform/story.h"
#include "sync/condition.h"

static mproc__wait_word slot_word(const mproc__condition_shared *shared, unsigned slot)
{
    return mproc__wait_word_of(atomic_load_explicit(&shared->slots[slot].word, memory_order_acquire));
}

static bool slot_change(mproc__condition_shared *shared, unsigned slot, mproc__wait_word from,
                        mproc__wait_word to)
{
    uint64_t expected = mproc__wait_word_pack(from);
    return atomic_compare_exchange_strong(&shared->slots[slot].word, &expected, mproc__wait_word_pack(to));
}

static bool slot_free(mproc__condition_shared *shared, unsigned slot, mproc__wait_word from)
{
    return slot_change(shared, slot, from, (mproc__wait_word){.state = MPROC__SLOT_FREE});
}

/* The memory may be anybody's. */
static unsigned slots_used(const mproc__condition_shared *shared)
{
    uint32_t used = atomic_load_explicit(&shared->slots_used, memory_order_acquire);
    return used < MPROC__CONDITION_SLOTS ? used : MPROC__CONDITION_SLOTS;
}

unsigned mproc__condition_waiting(const mproc__condition_shared *shared)
{
    unsigned count = 0;
    for (unsigned slot = 0; slot < slots_used(shared); slot++)
        count += slot_word(shared, slot).state == MPROC__SLOT_WAITING;
    return count;
}

/* ---- a wait begins and ends ---- */

static void slots_raise(mproc__condition_shared *shared, uint32_t least)
{
    uint32_t used = atomic_load_explicit(&shared->slots_used, memory_order_relaxed);
    while (used < least && !atomic_compare_exchange_weak(&shared->slots_used, &used, least))
        ;
}

/* The lowest free slot, so that those in use lie together. -1: none. */
static int slot_claim(mproc__condition_shared *shared, unsigned row)
{
    const mproc__wait_word none = {.state = MPROC__SLOT_FREE};
    mproc__wait_word mine = {
        .state = MPROC__SLOT_WAITING,
        .row = row,
        .number = atomic_fetch_add_explicit(&shared->tickets, 1, memory_order_relaxed),
    };
    for (unsigned slot = 0; slot < MPROC__CONDITION_SLOTS; slot++) {
        if (slot_word(shared, slot).state != MPROC__SLOT_FREE)
            continue;
        slots_raise(shared, slot + 1);
        if (slot_change(shared, slot, none, mine))
            return (int)slot;
    }
    return -1;
}

int mproc__condition_enter(mproc_condition *condition)
{
    int row = mproc__segment_join(condition->segment);
    if (row < 0)
        return row;
    int slot = slot_claim(condition->shared, (unsigned)row);
    if (slot < 0 && mproc__segment_sweep(condition->segment))
        slot = slot_claim(condition->shared, (unsigned)row);
    if (slot < 0)
        return mproc__fail(MPROC_ELIMIT, "%d threads wait for this condition already",
                           (int)MPROC__CONDITION_SLOTS);
    return slot;
}

bool mproc__condition_notified(const mproc_condition *condition, unsigned slot)
{
    return slot_word(condition->shared, slot).state == MPROC__SLOT_NOTIFIED;
}

/* Says to a sweeper that comes after the one who notified this slot that it need not do it again. */
static void settle_giver(mproc__condition_shared *shared, unsigned slot, mproc__wait_word mine)
{
    if (mine.other == 0 || mine.other > MPROC__CONDITION_SLOTS)
        return;
    unsigned from = mine.other - 1;
    mproc__wait_word giver = slot_word(shared, from);
    if (giver.state == MPROC__SLOT_PASSING && giver.other == slot + 1 && giver.number == mine.number)
        slot_free(shared, from, giver);
}

bool mproc__condition_leave(mproc_condition *condition, unsigned slot)
{
    mproc__condition_shared *shared = condition->shared;
    mproc__wait_word mine = slot_word(shared, slot);
    if (mine.state == MPROC__SLOT_WAITING && slot_free(shared, slot, mine))
        return false;
    mine = slot_word(shared, slot); /* notified, if only just now */
    settle_giver(shared, slot, mine);
    slot_free(shared, slot, mine);
    return true;
}

/* ---- notifying ---- */

/* The oldest wait with a ticket below `limit`; -1: none. */
static int oldest_waiting(const mproc__condition_shared *shared, uint64_t limit, mproc__wait_word *ret_word)
{
    int oldest = -1;
    unsigned used = slots_used(shared);
    for (unsigned slot = 0; slot < used; slot++) {
        mproc__wait_word word = slot_word(shared, slot);
        if (word.state == MPROC__SLOT_WAITING && word.number < limit) {
            oldest = (int)slot;
            limit = word.number;
            *ret_word = word;
        }
    }
    return oldest;
}

/* Notifies the oldest wait below `limit`. The slot; -1: nobody waits. */
static int notify_oldest(mproc__condition_shared *shared, uint64_t limit, mproc__wait_word *ret_was)
{
    for (;;) {
        int slot = oldest_waiting(shared, limit, ret_was);
        mproc__wait_word notified = {.state = MPROC__SLOT_NOTIFIED, .row = ret_was->row, .number = limit};
        if (slot < 0 || slot_change(shared, (unsigned)slot, *ret_was, notified))
            return slot;
    }
}

static void slot_wake(mproc__segment *segment, mproc__condition_shared *shared, unsigned slot)
{
    mproc__eventcount_post(&shared->slots[slot].event, mproc__segment_shared(segment));
}

static int notify_some(mproc_condition *condition, unsigned count)
{
    mproc__condition_shared *shared = condition->shared;
    uint64_t limit = atomic_load_explicit(&shared->tickets, memory_order_relaxed);
    bool dead = false;
    for (unsigned done = 0; done < count; done++) {
        mproc__wait_word was = {.state = MPROC__SLOT_FREE};
        int slot = notify_oldest(shared, limit, &was);
        if (slot < 0)
            break;
        slot_wake(condition->segment, shared, (unsigned)slot);
        dead |= !mproc__segment_row_alive(condition->segment, was.row);
    }
    if (dead) /* passes on what they cannot use */
        mproc__segment_sweep(condition->segment);
    return 0;
}

int mproc_condition_notify(mproc_condition *condition, unsigned count)
{
    int code = mproc__condition_check(condition);
    if (code < 0 || mproc__condition_waiting(condition->shared) == 0)
        return code;
    /* A participant: its death between a mark and a wake must wake. */
    code = mproc__segment_join(condition->segment);
    return code < 0 ? mproc__handle_story(&condition->handle, code) : notify_some(condition, count);
}

/* ---- the dead ---- */

/* Whether the notification of slot `from` is where its word says that it goes. */
static bool passed_on(const mproc__condition_shared *shared, unsigned from, mproc__wait_word word)
{
    if (word.state != MPROC__SLOT_PASSING || word.other == 0 || word.other > MPROC__CONDITION_SLOTS)
        return false;
    mproc__wait_word heir = slot_word(shared, word.other - 1);
    return heir.state == MPROC__SLOT_NOTIFIED && heir.other == from + 1;
}

/* One attempt to hand the notification of the dead wait in slot `from` on. True: the slot is free now. */
static bool pass_on(mproc__segment *segment, mproc__condition_shared *shared, unsigned from)
{
    mproc__wait_word word = slot_word(shared, from);
    if (word.state == MPROC__SLOT_FREE)
        return true; /* by the heir, who left */
    mproc__wait_word was = {.state = MPROC__SLOT_FREE};
    int heir = passed_on(shared, from, word) ? -1 : oldest_waiting(shared, word.number, &was);
    if (heir < 0) {
        if (word.state == MPROC__SLOT_PASSING && word.other && word.other <= MPROC__CONDITION_SLOTS)
            slot_wake(segment, shared, word.other - 1);
        return slot_free(shared, from, word);
    }
    mproc__wait_word passing = {
        .state = MPROC__SLOT_PASSING, .row = word.row, .other = (unsigned)heir + 1, .number = word.number};
    mproc__wait_word notified = {
        .state = MPROC__SLOT_NOTIFIED, .row = was.row, .other = from + 1, .number = word.number};
    if (!slot_change(shared, from, word, passing))
        return false;
    if (slot_change(shared, (unsigned)heir, was, notified)) {
        slot_wake(segment, shared, (unsigned)heir);
        slot_free(shared, from, passing);
        return true;
    }
    return false;
}

static void slot_bury(mproc__segment *segment, mproc__condition_shared *shared, unsigned slot, unsigned row)
{
    mproc__wait_word word = slot_word(shared, slot);
    while (word.state != MPROC__SLOT_FREE && word.row == row) {
        if (word.state == MPROC__SLOT_WAITING)
            slot_free(shared, slot, word);
        else if (word.state == MPROC__SLOT_NOTIFIED)
            settle_giver(shared, slot, word);
        if (word.state != MPROC__SLOT_WAITING && pass_on(segment, shared, slot))
            return;
        word = slot_word(shared, slot);
    }
}

/* Nobody else sweeps the same row meanwhile; others, and the living, may be at it at the same time. */
int mproc__condition_sweep(mproc__segment *segment, unsigned row, void *context)
{
    mproc__condition_shared *shared = mproc__segment_root(segment);
    (void)context;
    for (unsigned slot = 0; slot < slots_used(shared); slot++)
        slot_bury(segment, shared, slot, row);
    return 0;
}
