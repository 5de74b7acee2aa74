/* SPDX-License-Identifier: BSD-2-Clause */
/* Sleeping until an event, a change of the participants, or a death.
 *
 * A wake-up may be owed by a process that dies before it pays: a poster killed between commit and wake, a sweeper killed
 * half-way. So a sleeper sleeps on the event, on the membership word and on the life words of all other participants, and
 * whoever a life word wakes tells the rest. Rejected: waking up now and then to look; 25 ms slices cost 0.12-0.25 % of a
 * core per sleeper and still miss the 50 ms promise under load. Slices remain where nothing better is left: for rows
 * whose life word is handed back (no word to watch), for a full table, and without futex_waitv.
 *
 * Of the first, one sleeper looks after for all: the one that got the lock `watch` of the header. The others have its word
 * among theirs, and the kernel wakes one of them when it is given back or its holder dies. (Each for itself, 100 sleepers
 * used a quarter of a CPU.) A stopped holder is why they look as well, so seldom that it costs nothing.
 *
 * In a crowd that one sleeper watches no life words at all: to take itself off 100 queues of the kernel cost it 4 us of the
 * 10 that a wake took (a bare futex: 6), and its own look in each slice finds every death within what is promised. The
 * others watch the words as ever, so a stopped or slow one makes nobody miss a death: all of them, or, where there are more than
 * fit one sleep, those of the 125 rows after their own. So with more than 126 participants a row is watched if somebody sleeps
 * in one of the 125 before it, as where most of a crowd sleep; where few do while the watch's holder is stopped, a death
 * beyond their rows is found at the end of a slice of others, seconds late. (If each that leaves rows out took the short slice,
 * 240 idle sleepers would use a sixth of a CPU at 28 us a look.) Rejected: that they sleep on the watch alone, too; while its
 * holder is stopped all would look every 5 s. Rejected: to watch all, but only who is in a call and may owe a wake; to say so
 * before each call's commit, in an order that a sleeper can rely on, costs a fence (20 ns) in every put, for the sake of those
 * who sleep. */
#include "platform/base.h"

#include "shm/segment_inside.h"

enum {
    SLICE_MS = 20,
    SLICE_OF_WATCH_MS =
        40, /* within the 50 ms that are promised: half the cost of 20, with 100 words to sleep on */
    SLICE_OF_OTHERS_MS = 5000, /* of 100 sleepers under a thousandth of a CPU */
    CROWD = 32, /* other participants: from there on their words cost a wake 0.3 of a bare futex's and more */
    WATCHED_WATCH = 2, /* index of the watch's word, or of the first life word where that is not there */
    LIVES_MOST = MPROC__FUTEX_WORDS - 3, /* in one sleep, with the event, the membership and the watch */
    WATCHED_OF_SEVERAL = 120 /* events and memberships of several segments; beyond, looked at in slices */
};
_Static_assert((int)WATCHED_OF_SEVERAL + 2 <= (int)MPROC__FUTEX_WORDS, "fits one sleep");

/* The kernel or a sandbox lacks futex_waitv; found out at the first sleep, the same for the whole process. */
static atomic_bool waitv_missing;

/* Exactly one poster turns the bit off, and wakes. One that finds it off came after that one's commit was ordered:
 * its own commit is seen by the sleeper that is being woken. A poster that is stopped (not killed) between the two holds
 * those sleepers up until it goes on: to wake before turning the bit off would cost a second system call each time. */
void mproc__eventcount_wake(mproc__eventcount_shared *event, bool shared)
{
    uint32_t word = atomic_load_explicit(&event->word, memory_order_relaxed);
    while (word & 1u)
        if (atomic_compare_exchange_weak(&event->word, &word, word + 1)) {
            mproc__futex_wake(&event->word, INT32_MAX, shared);
            return;
        }
}

typedef struct watch_set {
    mproc__futex_word words[MPROC__FUTEX_WORDS];
    unsigned count;
    unsigned first_life; /* index of the first life word */
    bool sliced;         /* somebody's death would wake nobody */
    bool watching;       /* this sleeper holds the watch */
    bool look_again;     /* somebody is dead already */
} watch_set;

static void watch_add(watch_set *watch, const _Atomic uint32_t *word, uint32_t expected)
{
    watch->words[watch->count++] = (mproc__futex_word){.word = word, .expected = expected};
}

/* The kernel wakes a sleeper on a dead owner's word only if FUTEX_WAITERS stands in it; libc keeps the bit. */
static void watch_life(watch_set *watch, mproc__row_shared *row)
{
    _Atomic uint32_t *life = mproc__robust_word(&row->life);
    uint32_t word = atomic_load_explicit(life, memory_order_acquire);
    for (;;) {
        if (word == 0 || atomic_load_explicit(&row->identity, memory_order_acquire) == 0) {
            watch->sliced |= word == 0 && atomic_load_explicit(&row->identity, memory_order_acquire) != 0;
            return;
        }
        if (word & FUTEX_OWNER_DIED) {
            watch->look_again = true;
            return;
        }
        if (atomic_load_explicit(&row->identity, memory_order_acquire) & MPROC__IDENTITY_UNBURIED) {
            /* By a sweeper. It gives the word back in a moment, changed or not, and its own death is told by its own word. */
            watch->sliced = true;
            return;
        }
        if ((word & FUTEX_WAITERS) || atomic_compare_exchange_weak(life, &word, word | FUTEX_WAITERS)) {
            watch_add(watch, life, word | FUTEX_WAITERS);
            return;
        }
    }
}

static void watch_others(watch_set *watch, mproc__segment *segment, unsigned own_row)
{
    unsigned rows = mproc__segment_rows(segment), first = watch->count;
    for (unsigned i = 1; i < rows; i++) {
        unsigned row = (own_row + i) % rows;
        if (mproc__segment_row_pid(segment, row) == 0)
            continue;
        if (watch->count - first == LIVES_MOST) {
            watch->sliced = true;
            return;
        }
        watch_life(watch, &segment->shared->rows[row]);
    }
}

/* ---- the watch ---- */

static bool watch_take(watch_set *watch, mproc__header_shared *shared)
{
    watch->watching = mproc__robust_acquire(&shared->watch, MPROC_NOW) >= 0;
    if (watch->watching) /* who slept on it still does */
        atomic_fetch_or_explicit(mproc__robust_word(&shared->watch), FUTEX_WAITERS, memory_order_relaxed);
    return watch->watching;
}

static void watch_begin(watch_set *watch, mproc__header_shared *shared)
{
    if (watch_take(watch, shared))
        return;
    _Atomic uint32_t *word = mproc__robust_word(&shared->watch);
    uint32_t owner = atomic_load_explicit(word, memory_order_acquire);
    while ((owner & FUTEX_TID_MASK) && !(owner & FUTEX_WAITERS))
        if (atomic_compare_exchange_weak(word, &owner, owner | FUTEX_WAITERS))
            owner |= FUTEX_WAITERS;
    watch->look_again |= !(owner & FUTEX_TID_MASK);
    watch->words[watch->count++] = watch->words[WATCHED_WATCH];
    watch->words[WATCHED_WATCH] = (mproc__futex_word){.word = word, .expected = owner};
    watch->first_life = WATCHED_WATCH + 1;
}

static bool is_crowd(const mproc__segment *segment, unsigned own_row)
{
    unsigned rows = mproc__segment_rows(segment), others = 0;
    for (unsigned row = 0; row < rows; row++)
        others += row != own_row && mproc__segment_row_pid(segment, row) != 0;
    return others > CROWD;
}

/* The watch was given back and this sleeper is the one that the kernel woke; it may not come back to take it. */
static void watch_pass_on(mproc__header_shared *shared)
{
    const _Atomic uint32_t *word = mproc__robust_word(&shared->watch);
    if (!(atomic_load_explicit(word, memory_order_acquire) & FUTEX_TID_MASK))
        mproc__futex_wake(word, 1, true);
}

/* ---- the sleep ---- */

static mproc_deadline slice_of(mproc_deadline deadline, int slice_ms)
{
    mproc_deadline slice = mproc_after_ms(slice_ms);
    return slice.ns < deadline.ns ? slice : deadline;
}

/* The end of a slice, or an event that was there before the sleep, is "look again"; but not beyond the caller's deadline. A
 * sweep posts the event: beside a dead row that cannot go yet (its process lingers, or damage made it up) every look is
 * followed by one more, and a caller that asks nothing else than this code would look for ever. */
static int look_code(int code, mproc_deadline deadline)
{
    if (code != -ETIMEDOUT && code != -EAGAIN)
        return code;
    return mproc__deadline_past(deadline) ? -ETIMEDOUT : 0;
}

/* Alone: what it would take with it when it is killed, nobody would miss. */
static int wait_sliced(mproc__segment *segment, mproc__eventcount_shared *event, uint32_t ticket,
                       mproc_deadline deadline)
{
    int code = mproc__futex_wait(&event->word, ticket, true, slice_of(deadline, SLICE_MS));
    mproc__segment_sweep(segment);
    return look_code(code == 0 ? -EAGAIN : code, deadline);
}

/* A life word woke us, and its wake reached only one sleeper. */
static void spread(mproc__segment *segment)
{
    mproc__segment_sweep(segment);
    mproc__membership_changed(segment->shared);
}

/* One slice after the other, for a sweep in between; the watch stays in one hand, since to give it back wakes another
 * sleeper. */
static int sleep_on(mproc__segment *segment, const watch_set *watch, mproc_deadline deadline)
{
    int slice_ms = watch->watching ? SLICE_OF_WATCH_MS : SLICE_OF_OTHERS_MS;
    int code;
    do
        code = mproc__futex_waitv(watch->words, watch->count,
                                  watch->sliced ? slice_of(deadline, slice_ms) : deadline);
    while (code == -ETIMEDOUT && !mproc__deadline_past(deadline) && !mproc__segment_sweep(segment));
    return code;
}

/* The index of the last word that woke us counts: with a life word among them, it is that of one. */
static int wait_watching(mproc__segment *segment, const watch_set *watch, mproc_deadline deadline)
{
    int code = sleep_on(segment, watch, deadline);
    if (watch->watching)
        mproc__robust_release(&segment->shared->watch);
    if (code >= (int)watch->first_life)
        spread(segment);
    else if (code == WATCHED_WATCH)
        watch_pass_on(segment->shared);
    return code >= 0 ? 0 : look_code(code, deadline);
}

/* The membership that this thread saw when it last left mproc__segment_wait: read before the caller's latest look. */
static _Thread_local struct {
    uint64_t serial; /* of the segment's handle */
    uint32_t membership;
} looked;

/* Whether a death may have been dealt with since the caller looked: then there is nothing left here that would wake it,
 * and it must look again. So the first wait of a thread on a segment never sleeps. */
static bool look_is_old(const mproc__segment *segment, uint32_t membership)
{
    bool old = looked.serial != segment->serial || looked.membership != membership;
    looked.serial = segment->serial;
    looked.membership = membership;
    return old;
}

/* With all the words that a sleep of this thread ends by. */
static void watch_fill(watch_set *watch, mproc__segment *segment, unsigned own_row, uint32_t membership)
{
    mproc__row_shared *own = &segment->shared->rows[own_row];
    if (!mproc__robust_is_mine(&own->life))
        mproc__row_crowd(own);
    watch_add(watch, &segment->shared->membership, membership);
    if (is_crowd(segment, own_row) && watch_take(watch, segment->shared)) {
        watch->sliced = true;
        return;
    }
    watch_others(watch, segment, own_row);
    if (watch->sliced && !watch->look_again)
        watch_begin(watch, segment->shared);
}

int mproc__segment_wait(mproc__segment *segment, mproc__eventcount_shared *event, uint32_t ticket,
                        mproc_deadline deadline)
{
    if (!segment->shared)
        return mproc__futex_wait(&event->word, ticket, false, deadline);
    /* A sleeper may be handed the only wake-up and die with it: its own life word must be watched too. */
    int own_row = mproc__segment_join(segment);
    uint32_t membership = atomic_load_explicit(&segment->shared->membership, memory_order_seq_cst);
    if (look_is_old(segment, membership) || mproc__segment_sweep(segment))
        return 0;
    if (own_row < 0 || atomic_load_explicit(&waitv_missing, memory_order_relaxed))
        return wait_sliced(segment, event, ticket, deadline);
    watch_set watch;
    watch.count = 0;
    watch.first_life = WATCHED_WATCH;
    watch.sliced = watch.watching = watch.look_again = false;
    watch_add(&watch, &event->word, ticket);
    watch_fill(&watch, segment, (unsigned)own_row, membership);
    /* Dead since the sweep above; or nobody can bury it, because its life word was overwritten. */
    if (watch.look_again)
        return mproc__segment_sweep(segment) ? 0 : wait_sliced(segment, event, ticket, deadline);
    int code = wait_watching(segment, &watch, deadline);
    if (code != -ENOSYS && code != -ENOMEM)
        return code;
    if (code == -ENOSYS)
        atomic_store_explicit(&waitv_missing, true, memory_order_relaxed);
    return wait_sliced(segment, event, ticket, deadline);
}

/* ---- several segments ---- */

/* Whether the caller must look again before it sleeps, as look_is_old says it. */
static bool several_look(mproc__segment_sleep *sleeps, unsigned count)
{
    bool again = false;
    for (unsigned i = 0; i < count; i++) {
        mproc__segment *segment = sleeps[i].segment;
        if (!segment || !segment->shared)
            continue;
        sleeps[i].row = mproc__segment_join(segment);
        uint32_t membership = atomic_load_explicit(&segment->shared->membership, memory_order_seq_cst);
        again |= !sleeps[i].looked || membership != sleeps[i].membership;
        sleeps[i].looked = true;
        sleeps[i].membership = membership;
        again |= mproc__segment_sweep(segment) > 0;
    }
    return again;
}

static void several_events(watch_set *watch, const mproc__segment_sleep *sleeps, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const mproc__segment *segment = sleeps[i].segment;
        bool shared = segment && segment->shared;
        if (watch->count >= WATCHED_OF_SEVERAL) {
            watch->sliced = true;
            return;
        }
        watch_add(watch, &sleeps[i].event->word, sleeps[i].ticket);
        watch->words[watch->count - 1].local = !shared;
        if (shared)
            watch_add(watch, &segment->shared->membership, sleeps[i].membership);
    }
}

/* Life words as far as there is room; this sleeper's own look in each slice finds the deaths of the rest. */
static void several_lives(watch_set *watch, const mproc__segment_sleep *sleeps, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        mproc__segment *segment = sleeps[i].segment;
        if (!segment || !segment->shared)
            continue;
        if (sleeps[i].row < 0 || watch->count + mproc__segment_rows(segment) > MPROC__FUTEX_WORDS) {
            watch->sliced = true;
            continue;
        }
        mproc__row_shared *own = &segment->shared->rows[sleeps[i].row];
        if (!mproc__robust_is_mine(&own->life))
            mproc__row_crowd(own);
        watch_others(watch, segment, (unsigned)sleeps[i].row);
    }
}

static bool several_sweep(const mproc__segment_sleep *sleeps, unsigned count, bool tell)
{
    unsigned dead = 0;
    for (unsigned i = 0; i < count; i++) {
        mproc__segment *segment = sleeps[i].segment;
        if (!segment || !segment->shared)
            continue;
        dead += mproc__segment_sweep(segment);
        if (tell)
            mproc__membership_changed(segment->shared);
    }
    return dead > 0;
}

static int several_sliced(const mproc__segment_sleep *sleeps, unsigned count, mproc_deadline deadline)
{
    const mproc__segment *segment = sleeps[0].segment;
    int code = mproc__futex_wait(&sleeps[0].event->word, sleeps[0].ticket, segment && segment->shared,
                                 slice_of(deadline, SLICE_MS));
    (void)several_sweep(sleeps, count, false);
    return look_code(code == 0 ? -EAGAIN : code, deadline);
}

int mproc__segments_wait(mproc__segment_sleep sleeps[], unsigned count, mproc_deadline deadline)
{
    watch_set watch;
    watch.count = watch.first_life = 0;
    watch.sliced = watch.watching = watch.look_again = false;
    if (several_look(sleeps, count))
        return 0;
    if (atomic_load_explicit(&waitv_missing, memory_order_relaxed))
        return several_sliced(sleeps, count, deadline);
    several_events(&watch, sleeps, count);
    watch.first_life = watch.count;
    several_lives(&watch, sleeps, count);
    if (watch.look_again)
        return several_sweep(sleeps, count, false) ? 0 : several_sliced(sleeps, count, deadline);
    mproc_deadline until = watch.sliced ? slice_of(deadline, SLICE_OF_WATCH_MS) : deadline;
    int code = mproc__futex_waitv(watch.words, watch.count, until);
    if (code == -ENOSYS)
        atomic_store_explicit(&waitv_missing, true, memory_order_relaxed);
    if (code == -ENOSYS || code == -ENOMEM)
        return several_sliced(sleeps, count, deadline);
    if (code >= (int)watch.first_life)
        (void)several_sweep(sleeps, count, true);
    return code >= 0 ? 0 : look_code(code, deadline);
}
