/* SPDX-License-Identifier: BSD-2-Clause */
/* Participants of a segment: rows taken, left, judged and swept.
 *
 * Who is dead? The life word answers at once for all but one case: marked by the kernel = dead (killed, or gone by exec);
 * held = alive. Handed back (its thread ended, the process goes on) is the one that pidfd, start time and stack address
 * must answer, and in doubt it is alive. Never asked: the state letter in /proc, which calls a living process a zombie
 * when only its first thread ended; never alone: pid and start time, which survive an exec. */
#include "platform/base.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "platform/story.h"
#include "shm/segment_inside.h"

/* A sweeper holds the word of a handed-back row for microseconds; a stopped one would make its owner wait. */
enum { RETAKE_MS = 1000, GENERATION_MASK = (1 << 28) - 1 };

static uint32_t life_word(const mproc__row_shared *row)
{
    return atomic_load_explicit(mproc__robust_word(&row->life), memory_order_acquire);
}

static pid_t identity_pid(uint64_t identity)
{
    return (pid_t)(identity & UINT32_MAX);
}

void mproc__membership_changed(mproc__header_shared *shared)
{
    atomic_fetch_add_explicit(&shared->membership, 1, memory_order_seq_cst);
    mproc__futex_wake(&shared->membership, INT32_MAX, true);
}

/* ---- the dead ---- */

/* Whether the process of a row whose life word does not tell has ended or become another program. */
static bool process_gone(const mproc__row_shared *row, uint64_t identity)
{
    pid_t pid = identity_pid(identity);
    int pidfd = mproc__pidfd_open(pid);
    if (pidfd == -ESRCH)
        return true;
    if (pidfd >= 0) {
        int ended = mproc__pidfd_ended(pidfd);
        close(pidfd);
        if (ended == 1)
            return true;
    }
    uint64_t start;
    uint64_t stack;
    int code = mproc__process_times(pid, &start, &stack);
    if (code < 0) /* without a /proc, or where it hides others, all seem gone: in doubt, alive */
        return code == -ESRCH && kill(pid, 0) < 0 && errno == ESRCH;
    uint64_t known_start = atomic_load_explicit(&row->start_ticks, memory_order_relaxed);
    uint64_t known_stack =
        atomic_load_explicit(&row->stack_address, memory_order_relaxed) & ~MPROC__STACK_CROWDED;
    return (known_start && start != known_start) || (known_stack && stack && stack != known_stack);
}

/* Whether a dead row's process may have threads on their way out of a sleep. The word tells of the death of its own
 * thread only; another one, killed with it, stays on the kernel's queues until it gets a CPU, and takes the one wake-up
 * that the next death brings with it (measured: all sleep on, tests/shm/check_late.c). Then the row stays until the
 * process is gone. */
static bool row_lingers(const mproc__row_shared *row, uint64_t identity)
{
    bool crowded = atomic_load_explicit(&row->stack_address, memory_order_relaxed) & MPROC__STACK_CROWDED;
    return crowded && !process_gone(row, identity);
}

/* With the life word of a dead row held: gives back all that is the row's, then frees it. The order makes a death in
 * here harmless: before the identity is erased the next sweeper starts over (`marked`: that is so), flags or not; after it,
 * the marked word wakes a sleeper, who tells the others (eventcount.c), in case this one had not.
 *
 * What cannot be given back now (a lock of the object is held by a stopped process) keeps the row: a dead one with a free
 * life word, which makes a sleeper wake in slices and look (eventcount.c) until somebody could. Whether it lingers is asked
 * before the sweep, so that the last sweep comes after the last thread. True: something changed. */
static bool row_bury(mproc__segment *segment, unsigned index, uint64_t identity, bool marked)
{
    mproc__row_shared *row = &segment->shared->rows[index];
    uint64_t dead = identity | MPROC__IDENTITY_UNBURIED;
    if (marked)
        dead &= ~(MPROC__IDENTITY_TOLD | MPROC__IDENTITY_SETTLED);
    bool lingers = row_lingers(row, identity);
    /* Our own number is on the word now: without this, others would take the row for a living one's meanwhile. */
    atomic_store_explicit(&row->identity, dead, memory_order_release);
    bool done = !segment->sweep || segment->sweep(segment, index, segment->sweep_context) >= 0;
    uint64_t left = dead | MPROC__IDENTITY_TOLD | (done ? MPROC__IDENTITY_SETTLED : 0);
    if (done && !lingers)
        left = 0;
    if (left != identity || marked) {
        atomic_store_explicit(&row->identity, left, memory_order_release);
        mproc__membership_changed(segment->shared);
    }
    mproc__robust_release(&row->life);
    return done && left != identity;
}

bool mproc__segment_row_told(const mproc__segment *segment, unsigned row)
{
    return segment->shared &&
           (atomic_load_explicit(&segment->shared->rows[row].identity, memory_order_relaxed) &
            MPROC__IDENTITY_TOLD);
}

/* After the life word was taken with `code`: bury the row if it is dead, else give the word back. `gone`: identity of
 * an unburied row, or of a handed-back one whose process was found gone before; 0: none. A kernel mark counts only if
 * the row's owner was on the word: on a handed-back one it tells of a visitor that died. */
static bool row_settle(mproc__segment *segment, unsigned index, int code, uint64_t gone)
{
    mproc__row_shared *row = &segment->shared->rows[index];
    uint64_t identity = atomic_load_explicit(&row->identity, memory_order_acquire);
    bool marked = code == MPROC_RECOVERED && !(identity & MPROC__IDENTITY_HANDED_BACK);
    if (identity && (marked || identity == gone))
        return row_bury(segment, index, identity, code == MPROC_RECOVERED);
    mproc__robust_release(&row->life);
    return false;
}

/* Who calls is alive, whatever its own life word says by now: to take that again would put it on a list twice. */
static bool row_is_own(const mproc__segment *segment, unsigned index)
{
    return atomic_load_explicit(&segment->joined, memory_order_acquire) == mproc__incarnation() &&
           index == segment->row;
}

static bool row_sweep(mproc__segment *segment, unsigned index)
{
    mproc__row_shared *row = &segment->shared->rows[index];
    uint64_t identity = atomic_load_explicit(&row->identity, memory_order_acquire);
    uint32_t word = life_word(row);
    if (!identity || (word & FUTEX_TID_MASK) || row_is_own(segment, index))
        return false;
    /* To sweep it again would wake everybody, and they would sweep it again. */
    bool settled = (identity & MPROC__IDENTITY_SETTLED) && !(word & FUTEX_OWNER_DIED);
    if (settled && row_lingers(row, identity))
        return false;
    uint64_t gone = 0;
    if (identity & MPROC__IDENTITY_UNBURIED)
        gone = identity;
    else if (identity & MPROC__IDENTITY_HANDED_BACK)
        gone = process_gone(row, identity) ? identity : 0;
    if (!gone && !(word & FUTEX_OWNER_DIED))
        return false;
    int code = mproc__robust_acquire(&row->life, MPROC_NOW);
    return code >= 0 && row_settle(segment, index, code, gone);
}

unsigned mproc__segment_sweep(mproc__segment *segment)
{
    unsigned swept = 0;
    unsigned rows = mproc__segment_rows(segment);
    for (unsigned index = 0; segment->shared && index < rows; index++)
        swept += row_sweep(segment, index);
    return swept;
}

void mproc__segment_on_sweep(mproc__segment *segment, mproc__sweep_fn *fn, void *context)
{
    segment->sweep = fn;
    segment->sweep_context = context;
}

void mproc__segment_on_join(mproc__segment *segment, mproc__join_fn *fn, void *context)
{
    segment->join = fn;
    segment->join_context = context;
}

/* ---- the living ---- */

/* Takes the life word of a row that looks free. Whoever it was that died on it is buried on the way. */
static bool row_seize(mproc__segment *segment, unsigned index)
{
    mproc__row_shared *row = &segment->shared->rows[index];
    if (atomic_load_explicit(&row->identity, memory_order_acquire) || (life_word(row) & FUTEX_TID_MASK))
        return false;
    int code = mproc__robust_acquire(&row->life, MPROC_NOW);
    if (code < 0)
        return false;
    if (!atomic_load_explicit(&row->identity, memory_order_acquire))
        return true;
    row_settle(segment, index, code, 0);
    return false;
}

static int row_find(mproc__segment *segment)
{
    for (unsigned index = 0; index < MPROC__ROWS; index++)
        if (row_seize(segment, index))
            return (int)index;
    return MPROC_ELIMIT;
}

static void rows_raise(mproc__header_shared *shared, uint32_t least)
{
    uint32_t used = atomic_load_explicit(&shared->rows_used, memory_order_relaxed);
    while (used < least && !atomic_compare_exchange_weak(&shared->rows_used, &used, least))
        ;
}

uint64_t mproc__row_sign(mproc__segment *segment, unsigned index, pid_t pid, uint64_t flags)
{
    mproc__header_shared *shared = segment->shared;
    rows_raise(shared, index + 1);
    uint64_t generation =
        (atomic_fetch_add_explicit(&shared->generation, 1, memory_order_relaxed) + 1) & GENERATION_MASK;
    uint64_t identity = generation << 32 | (uint32_t)pid;
    atomic_store_explicit(&shared->rows[index].identity, identity | flags, memory_order_release);
    return identity;
}

/* Life word held. */
static void row_sign(mproc__segment *segment, unsigned index)
{
    mproc__row_shared *row = &segment->shared->rows[index];
    uint64_t start = 0;
    uint64_t stack = 0;
    (void)mproc__process_times(mproc__pid(), &start, &stack); /* unknown stays 0 */
    atomic_store_explicit(&row->start_ticks, start, memory_order_relaxed);
    atomic_store_explicit(&row->stack_address, stack, memory_order_relaxed);
    segment->row = index;
    segment->row_identity = mproc__row_sign(segment, index, mproc__pid(), 0);
    mproc__membership_changed(segment->shared);
    if (segment->join)
        segment->join(segment, segment->join_context);
}

void mproc__row_crowd(mproc__row_shared *row)
{
    if (!(atomic_load_explicit(&row->stack_address, memory_order_relaxed) & MPROC__STACK_CROWDED))
        atomic_fetch_or_explicit(&row->stack_address, MPROC__STACK_CROWDED, memory_order_seq_cst);
}

int mproc__row_claim(mproc__segment *segment)
{
    int index = row_find(segment);
    if (index < 0 && mproc__segment_sweep(segment))
        index = row_find(segment);
    if (index < 0)
        return mproc__fail(MPROC_ELIMIT, "already %d processes use this object", (int)MPROC__ROWS);
    return index;
}

int mproc__row_take(mproc__segment *segment)
{
    int index = mproc__row_claim(segment);
    if (index < 0)
        return index;
    row_sign(segment, (unsigned)index);
    return 0;
}

bool mproc__row_retake(mproc__segment *segment)
{
    mproc__row_shared *row = &segment->shared->rows[segment->row];
    if (mproc__robust_acquire(&row->life, mproc_after_ms(RETAKE_MS)) < 0)
        return false;
    uint64_t handed_back = segment->row_identity | MPROC__IDENTITY_HANDED_BACK;
    bool mine = atomic_compare_exchange_strong(&row->identity, &handed_back, segment->row_identity);
    if (mine)
        mproc__membership_changed(segment->shared);
    else
        mproc__robust_release(&row->life);
    return mine;
}

void mproc__row_leave(mproc__segment *segment)
{
    mproc__row_shared *row = &segment->shared->rows[segment->row];
    uint64_t left = segment->unsettled ? segment->row_identity | MPROC__IDENTITY_UNBURIED : 0;
    /* The last user: nobody sleeps here any more, and the row need not wait for the end of this process. */
    atomic_fetch_and_explicit(&row->stack_address, ~MPROC__STACK_CROWDED, memory_order_relaxed);
    atomic_store_explicit(&row->identity, left, memory_order_release);
    mproc__membership_changed(segment->shared);
    mproc__robust_release(&row->life);
}

void mproc__segment_leave_unburied(mproc__segment *segment)
{
    segment->unsettled = true;
}

void mproc__row_hand_back(mproc__segment *segment)
{
    mproc__row_shared *row = &segment->shared->rows[segment->row];
    atomic_store_explicit(&row->identity, segment->row_identity | MPROC__IDENTITY_HANDED_BACK,
                          memory_order_release);
    mproc__robust_release(&row->life);
    mproc__membership_changed(segment->shared);
}

unsigned mproc__segment_rows(const mproc__segment *segment)
{
    if (!segment->shared)
        return 1;
    uint32_t used = atomic_load_explicit(&segment->shared->rows_used, memory_order_acquire);
    return used < MPROC__ROWS ? used : MPROC__ROWS;
}

pid_t mproc__segment_row_pid(const mproc__segment *segment, unsigned row)
{
    if (!segment->shared)
        return row == 0 ? mproc__pid() : 0;
    if (row >= MPROC__ROWS)
        return 0;
    return identity_pid(atomic_load_explicit(&segment->shared->rows[row].identity, memory_order_acquire));
}

uint64_t mproc__segment_row_start(const mproc__segment *segment, unsigned row)
{
    if (!segment->shared || row >= MPROC__ROWS)
        return 0;
    return atomic_load_explicit(&segment->shared->rows[row].start_ticks, memory_order_relaxed);
}

static bool row_alive(const mproc__row_shared *row, uint64_t identity)
{
    uint32_t word = life_word(row);
    if (!identity || (identity & MPROC__IDENTITY_UNBURIED))
        return false;
    if (word & FUTEX_TID_MASK)
        return true;
    if (identity & MPROC__IDENTITY_HANDED_BACK)
        return !process_gone(row, identity);
    return !(word & FUTEX_OWNER_DIED);
}

bool mproc__segment_row_alive(mproc__segment *segment, unsigned index)
{
    if (!segment->shared)
        return index == 0;
    if (index >= MPROC__ROWS)
        return false;
    const mproc__row_shared *row = &segment->shared->rows[index];
    return row_alive(row, atomic_load_explicit(&row->identity, memory_order_acquire));
}

pid_t mproc__segment_row_keeper(const mproc__segment *segment, unsigned row)
{
    return segment->shared && row < MPROC__ROWS
               ? (pid_t)(life_word(&segment->shared->rows[row]) & FUTEX_TID_MASK)
               : 0;
}

bool mproc__segment_keeps_life(const mproc__segment *segment, unsigned row)
{
    return segment->shared && row < MPROC__ROWS && mproc__robust_is_mine(&segment->shared->rows[row].life);
}

bool mproc__segment_row_gone(const mproc__segment *segment, unsigned index)
{
    if (!segment->shared || index >= MPROC__ROWS)
        return false;
    const mproc__row_shared *row = &segment->shared->rows[index];
    uint64_t identity = atomic_load_explicit(&row->identity, memory_order_acquire);
    return identity_pid(identity) == 0 || process_gone(row, identity);
}

/* The process is asked for as well: of a thread with more robust words than the kernel walks, some stay held for ever. */
bool mproc__row_in_use(const mproc__row_shared *row)
{
    uint64_t identity = atomic_load_explicit(&row->identity, memory_order_acquire);
    return row_alive(row, identity) && !process_gone(row, identity);
}
