/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments: memory that several processes map, with a table of who they are and a way to sleep that a death ends. L2.
 *
 * One shared object = one segment: the kernel counts the users (a sealed memfd goes with its last descriptor and
 * mapping), so nothing is left whoever dies. A segment of home MPROC__THREAD is private memory behind the same calls:
 * no descriptor, no participants, sleeping on plain futexes.
 *
 * Layout of a host segment:  header | participants | the object (mproc__segment_root) | ... up to size
 * The first use that leaves something behind makes the process a participant (mproc__segment_join): one row with its
 * identity and a life word, a robust mutex that the joining thread holds. A reader or a fork child owns no row.
 *
 * Sleeping (mproc__segment_wait) is on { an event count, the membership word, the life words of all other
 * participants, the word of who looks after rows without one }. The kernel wakes a sleeper when any of those dies. (In a
 * crowd, one sleeper looks after all rows, several times a second, instead of watching their words: eventcount.c.)
 * `membership` changes, and everyone asleep is woken, whenever the set of life words changes (join, hand-back, sweep):
 * so a sleeper never misses a life word, and a poster that is killed between its commit and its wake is covered by its
 * own death. */
#ifndef MPROC__SHM_SEGMENT_H
#define MPROC__SHM_SEGMENT_H

#include <sys/types.h>

#include <mproc/deadline.h>
#include "platform/base.h"

/* Of a place. A segment is of home host or thread; those made in a shm: place are host segments with a file name. */
typedef enum mproc__home {
    MPROC__HOME_HOST,
    MPROC__HOME_THREAD,
    MPROC__HOME_SERVER,
    MPROC__HOME_SHM
} mproc__home;

enum {
    /* A sweep's patience with a lock that is held for microseconds: a holder that lost its CPU gets it back in that time. */
    MPROC__SWEEP_MS = 10,
    MPROC__WAITERS = 128, /* threads whose waiting explain can tell of */
    MPROC__LABEL_BYTES = 256,
    /* Participants of one segment; row + 1 is kept in 8 bits. An unused row costs 64 bytes, and no time but at creation.
     * Enough for a pool's owner, supervisor and 240 workers; with two more a semaphore would be six pages. */
    MPROC__ROWS = 248
};

typedef struct mproc__segment mproc__segment;

/* ---- the event count: (sequence, someone-may-sleep bit) in 32 bits; 8-byte slot so that users can embed it ---- */
typedef struct mproc__eventcount_shared {
    /* Posters add 2 and clear bit 0 when it is set; sleepers set bit 0. A poster that dies before the add leaves bit 0
     * set: its life word wakes the sleepers. */
    _Atomic uint32_t word;
    uint32_t unused;
} mproc__eventcount_shared;

/* Wakes all sleepers if there may be some. Call it after the commit store. The full fence orders commit before look. */
static inline void mproc__eventcount_post(mproc__eventcount_shared *event, bool shared);
void mproc__eventcount_wake(mproc__eventcount_shared *event, bool shared); /* the slow half */
static inline void mproc__eventcount_post(mproc__eventcount_shared *event, bool shared)
{
#if MPROC__THREAD_SANITIZER /* does not understand fences; this is one, too, but it would dirty the line of every post */
    atomic_fetch_add_explicit(&event->word, 0, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
    if (MPROC__UNLIKELY(atomic_load_explicit(&event->word, memory_order_relaxed) & 1u))
        mproc__eventcount_wake(event, shared);
}
/* Says "I may sleep" and returns the ticket for mproc__segment_wait. Look at the condition again between the two. */
static inline uint32_t mproc__eventcount_prepare(mproc__eventcount_shared *event)
{
    return atomic_fetch_or_explicit(&event->word, 1u, memory_order_seq_cst) | 1u;
}

/* ---- life of a segment ---- */
/* `name`: for people, cut at MPROC__LABEL_BYTES - 1; NULL: none. `size_bytes`: of the object area (root). `reserve_bytes`
 * of it is reserved now (0: all), the rest by mproc__segment_reserve. `kind`: the object's type id, checked at attach. Root
 * is zeroed, 128-byte aligned.
 * -ENOMEM, -ENOSPC: no room (story says how much was asked); -EMFILE. */
int mproc__segment_create(mproc__home home, mproc_type_id kind, const char *name, size_t size_bytes,
                          size_t reserve_bytes, mproc__segment **ret_segment);
/* Host only. Maps what the descriptor holds, read-only if that is; duplicates nothing: takes `fd` on success. Checks magic,
 * version, size, kind and namespaces: MPROC_ECORRUPT, MPROC_ENAMESPACE, -EINVAL. */
int mproc__segment_attach(int fd, mproc_type_id kind, mproc__segment **ret_segment);
void mproc__segment_keep(mproc__segment *segment);
/* Drops a reference; the last one leaves the table (if this process had joined) and unmaps, unless a life word in it is
 * held by another living thread: then that thread's exit unmaps it (an unmapped word on a robust list would strand
 * every robust lock taken before it). */
void mproc__segment_release(mproc__segment *segment);
/* The caller's reference is the only one. */
bool mproc__segment_sole(const mproc__segment *segment);
/* The host segment that has these addresses of this process in its object area, kept for the caller; NULL: none has. */
mproc__segment *mproc__segment_at(const void *address, size_t length);

void *mproc__segment_root(mproc__segment *segment);
size_t mproc__segment_size(const mproc__segment *segment); /* of the object area */
int mproc__segment_fd(const mproc__segment *segment);      /* borrowed; -1 in a thread home */
/* The same, to be handed to another process. MPROC_ECANNOTCROSS: the program has closed it, and the number may be another
 * file's, which that process shall not get; or there is none. */
int mproc__segment_fd_lend(const mproc__segment *segment, int *ret_fd);
/* Gives the descriptor away, the caller's from then on: nothing more is reserved, nor handed to others. */
int mproc__segment_fd_take(mproc__segment *segment);
const char *mproc__segment_name(const mproc__segment *segment); /* the object's; "" when none */
mproc_type_id mproc__segment_kind(const mproc__segment *segment);
mproc__home mproc__segment_home(const mproc__segment *segment);
bool mproc__segment_shared(const mproc__segment *segment); /* host: futexes are process-shared */
bool mproc__segment_named(const mproc__segment *segment);  /* made in a shm: place; has or had a file name */
bool mproc__segment_read_only(const mproc__segment *segment);
/* Offsets count from root. */
int mproc__segment_reserve(mproc__segment *segment, size_t offset, size_t length);
int mproc__segment_free_range(mproc__segment *segment, size_t offset, size_t length);
/* In a fork child: this copy of a host segment can only be looked at from now on, and who writes into it gets SIGSEGV. -errno */
int mproc__segment_seal(const mproc__segment *segment);
/* 0; -ECHILD: of a thread home and this is a fork child. The first line of every call on a local object. */
int mproc__segment_check(const mproc__segment *segment);
/* The same, and MPROC_ENAMESPACE: a host segment inherited by a fork child in another pid or time namespace, where owner
 * ids and start times are not what they were. Costs two system calls: once an incarnation; mproc__segment_join does it. */
int mproc__segment_enter(const mproc__segment *segment);

/* ---- participants ---- */
/* The row of this process, taken now if need be; the thread that took it having ended, the life word is taken again.
 * >= 0, or MPROC_ELIMIT (table full), -ENOMEM. Thread home: always 0. Cheap when joined: a few loads. */
int mproc__segment_join(mproc__segment *segment);
/* For a caller that cannot afford the call: as long as *ret_joined is the incarnation of this process, join would answer
 * *ret_row. Both live as long as the segment. Not of a thread home. */
void mproc__segment_seat(const mproc__segment *segment, const _Atomic uint64_t **ret_joined,
                         const unsigned **ret_row);
/* Called by whoever finds row dead, with the row's life word held: give back everything stamped with `row`. Must be
 * idempotent: its runner may be killed and another starts over. May take the object's own locks, but waits only
 * MPROC__SWEEP_MS for one (its holder may be stopped, and every caller's deadline holds); never calls
 * mproc__segment_wait. 0: done. Negative: not done; the row stays dead and nobody's, and the next sweeper tries again:
 * sleepers do so several times a second. */
typedef int mproc__sweep_fn(mproc__segment *segment, unsigned row, void *context);
void mproc__segment_on_sweep(mproc__segment *segment, mproc__sweep_fn *fn, void *context);
/* Within a sweep: an earlier one of the row came to its end, could not do all, and has woken whom the row owed a wake. What
 * changes nothing then wakes nobody: else those who sleep would look, sweep and wake each other until it can be done. */
bool mproc__segment_row_told(const mproc__segment *segment, unsigned row);
/* Called when this process has taken a row, before the call that took it does anything else; must neither wait nor join.
 * NULL: nothing is called. */
typedef void mproc__join_fn(mproc__segment *segment, void *context);
void mproc__segment_on_join(mproc__segment *segment, mproc__join_fn *fn, void *context);
/* Looks at all life words and sweeps the dead rows. Returns how many. Cheap: one load a used row. */
unsigned mproc__segment_sweep(mproc__segment *segment);
/* This process leaves things stamped with its row behind when it lets go of the segment, because it could not have the
 * lock that guards them: the row is then left as a dead one's, for the next sweeper. */
void mproc__segment_leave_unburied(mproc__segment *segment);
/* Who is in a row: pid (0: nobody) and whether its process lives; in doubt, alive. */
pid_t mproc__segment_row_pid(const mproc__segment *segment, unsigned row);
bool mproc__segment_row_alive(mproc__segment *segment, unsigned row);
/* The thread that a row's life word names: the row's own, or who sweeps it; 0: none. */
pid_t mproc__segment_row_keeper(const mproc__segment *segment, unsigned row);
/* Whether the calling thread is the one whose death the life word of this process's row tells. */
bool mproc__segment_keeps_life(const mproc__segment *segment, unsigned row);
/* Whether a row's process has ended, all its threads, or become another program; in doubt, no. */
bool mproc__segment_row_gone(const mproc__segment *segment, unsigned row);
/* When the process of a row started, in clock ticks; 0: unknown. */
uint64_t mproc__segment_row_start(const mproc__segment *segment, unsigned row);
/* Rows in use: highest + 1. */
unsigned mproc__segment_rows(const mproc__segment *segment);

/* ---- announced.c: rows for processes that have not called yet ---- */
typedef bool mproc__mark_fn(mproc__segment *segment, unsigned row, void *context);
/* Takes a row in the name of a process, which will join by another as if this were not there: only so that sleepers look
 * after its life. When it dies, the row is swept as a dead one's. `mark` is called while nobody else can take the row; who
 * dies before it leaves a row that means nothing. Host home only. The row; -ESRCH: there is no such process; MPROC_ELIMIT. */
int mproc__segment_announce(mproc__segment *segment, pid_t pid, mproc__mark_fn *mark, void *context);
/* Frees such a row when `unmark` says that it had been marked; does nothing when it is being swept, or another process's
 * by now. */
void mproc__segment_unannounce(mproc__segment *segment, unsigned row, pid_t pid, mproc__mark_fn *unmark,
                               void *context);

/* ---- sleeping ---- */
/* Sleeps until `event` is posted after `ticket`, the membership changes, a signal handler without SA_RESTART ran, or the
 * deadline passes; sweeps the dead before it sleeps and when a death woke it. 0: look again, also at once: at a thread's
 * first wait on a segment, and when the membership changed since its last one; -ETIMEDOUT. Joins. */
int mproc__segment_wait(mproc__segment *segment, mproc__eventcount_shared *event, uint32_t ticket,
                        mproc_deadline deadline);

/* The same for events of several segments, and of none. `looked` is false at the first sleep of a caller; then the struct is
 * kept from one sleep to the next, with a new ticket. */
typedef struct mproc__segment_sleep {
    mproc__segment *segment; /* NULL: the event is of this process only */
    mproc__eventcount_shared *event;
    uint32_t ticket;
    uint32_t membership; /* of the caller's latest look */
    int row;
    bool looked;
} mproc__segment_sleep;
int mproc__segments_wait(mproc__segment_sleep sleeps[], unsigned count, mproc_deadline deadline);

/* ---- waiting.c: who waits, for explain ---- */
typedef enum mproc__wait_kind {
    MPROC__WAIT_ACQUIRE = 1, /* a lock, a permit, a writer's turn */
    MPROC__WAIT_READ,        /* a reader's turn */
    MPROC__WAIT_NOTIFY,
    MPROC__WAIT_SET,
    MPROC__WAIT_PARTIES,
    MPROC__WAIT_ITEM,
    MPROC__WAIT_ROOM,
    MPROC__WAIT_DONE,  /* what was taken to be done */
    MPROC__WAIT_RESULT /* of a task */
} mproc__wait_kind;
/* The calling thread is about to sleep for this segment's object; it has stopped to. Around the whole wait, after any
 * spinning. -1: the table is full, or this is a thread home; then explain does not know of it. */
int mproc__waiting_begin(mproc__segment *segment, mproc__wait_kind kind);
void mproc__waiting_end(mproc__segment *segment, int slot);

#endif
