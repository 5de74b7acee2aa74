/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the reader-writer lock share, and nobody else includes: rwlock.c (the public calls), rwlock_read.c and
 * rwlock_write.c (the two sides), rwlock_holds.c (what a thread holds). L3.
 *
 *     gate       one word: open, or closed by the writer that holds `writer`; and what a dead writer left
 *     rows[n]    one word a participant: how many of its threads read, how many wait to
 *
 * A reader adds one to its own row, then looks at the gate: open, it is in. A writer closes the gate, then looks at the
 * rows: none reads, it is in. Each writes before it looks, so they never miss each other, and readers of different processes
 * touch nothing in common. A writer that leaves opens the gate and moves every waiting reader into the reading count of its
 * row (the grant), all while it holds `writer`, so the next writer finds them reading. */
#ifndef MPROC__SYNC_RWLOCK_INSIDE_H
#define MPROC__SYNC_RWLOCK_INSIDE_H

#include "platform/platform.h"
#include "platform/robust.h"
#include "platform/story.h"
#include "sync/rwlock.h"

enum {
    MPROC__GATE_CLOSED = 1,   /* a writer is in or waits for readers to leave */
    MPROC__GATE_WRITING = 2,  /* it is in: its death is news */
    MPROC__GATE_NEWS = 4,     /* a writer died in here, and no writer that was told has left since */
    MPROC__GATE_POISONED = 8, /* the same with the poison option: nobody is let in */
    MPROC__RWLOCK_POISON = 1,
    MPROC__ROW_BYTES = 64
};

/* A row's word, 16 bits each, lowest first: reading, waiting, grants, generation. Changed by compare and swap only. */
typedef uint64_t mproc__readers;
#define MPROC__READING (UINT64_C(1))
#define MPROC__WAITING (UINT64_C(1) << 16)

static inline unsigned mproc__reading(mproc__readers word)
{
    return (uint16_t)word;
}
static inline unsigned mproc__readers_waiting(mproc__readers word)
{
    return (uint16_t)(word >> 16);
}
static inline unsigned mproc__grants(mproc__readers word)
{
    return (uint16_t)(word >> 32);
}
static inline unsigned mproc__readers_generation(mproc__readers word)
{
    return (uint16_t)(word >> 48);
}

typedef struct mproc__rwlock_row_shared {
    /* `reading` and `waiting` are changed by the row's process; a writer that leaves turns waiting into reading and adds a
     * grant; the sweeper of a dead row zeroes both and adds a generation, so that a thread which is killed a little later
     * than the row was swept changes nothing any more. One word: whoever dies before or after the swap leaves it right. */
    _Alignas(MPROC__ROW_BYTES) _Atomic mproc__readers word;
    /* Of the row's process; written before its first change of the word, read to explain. */
    _Atomic uint32_t pid;
} mproc__rwlock_row_shared;

typedef struct mproc__rwlock_shared {
    /* Held by the writer from before it closes the gate until it has opened it and granted; by a repairer and by whoever
     * puts a dead writer's gate right. All but `rows` and the events is written with it held. */
    mproc__robust_shared writer;
    /* MPROC__GATE_*. Each value says all there is to know, each change is one store. Closed by a dead one: `owner` and
     * `owner_seat` name it, and the kernel gives `writer` to the next, marked. */
    _Atomic uint32_t gate;
    uint32_t options;  /* written by the creator before anyone else has it */
    uint64_t identity; /* the same; random: tells a thread with two handles that they are of one lock */
    /* Who closed the gate: process id | thread id << 32, and its row | generation << 32. Written before it is closed, and
     * meant only while it is. */
    _Atomic uint64_t owner;
    _Atomic uint64_t owner_seat;
    _Atomic uint64_t
        dead; /* the last writer that died in here, as in `owner`; written before the gate says so */
    mproc__eventcount_shared
        opened; /* waiting readers sleep on it; posted when the gate was opened or a row swept */
    mproc__eventcount_shared
        drained; /* the writer sleeps on it; posted by readers that leave a closed gate, and sweepers */
    mproc__rwlock_row_shared rows[MPROC__ROWS];
} mproc__rwlock_shared;

/* Where this process counts its readers. */
typedef struct mproc__seat {
    unsigned row, generation;
} mproc__seat;

struct mproc_rwlock {
    mproc__handle handle;
    mproc__rwlock_shared *shared;
    mproc__segment *segment;
    uint32_t options;
    _Atomic uint64_t
        checked_in; /* the last incarnation that was found to be of the creator's namespaces or process */
    /* The incarnation that took the seat, and row + 1 | generation << 32. Threads that race for it store the same. */
    _Atomic uint64_t seat_in, seat;
};

/* What this thread holds of one lock. */
typedef struct mproc__rwhold {
    uint64_t identity;
    mproc_rwlock *rwlock; /* the handle, and so the mapping, that it was acquired through */
    mproc__seat seat;
    unsigned reads; /* 0: it writes */
} mproc__rwhold;

static inline uint64_t mproc__rwlock_who(void)
{
    return (uint32_t)mproc__pid() | (uint64_t)mproc__tid() << 32;
}

/* ---- rwlock_holds.c ---- */
/* NULL: this thread holds nothing of it. Valid until the next call of these. */
mproc__rwhold *mproc__rwhold_find(uint64_t identity);
/* Makes room for one more, and sees to it that the end of this thread gives everything back. -ENOMEM. */
int mproc__rwhold_reserve(void);
void mproc__rwhold_add(const mproc__rwhold *hold);
void mproc__rwhold_drop(mproc__rwhold *hold);

/* ---- rwlock_read.c ---- */
/* The seat of this process. MPROC_ELIMIT, -ENOMEM; MPROC_ESTATE: this process was taken for dead. */
int mproc__rwlock_sit(mproc_rwlock *rwlock, mproc__seat *ret_seat);
int mproc__rwlock_read(mproc_rwlock *rwlock, mproc_deadline deadline);
void mproc__rwlock_leave(mproc_rwlock *rwlock, mproc__seat seat);
mproc__sweep_fn mproc__rwlock_sweep;

/* ---- rwlock_write.c ---- */
int mproc__rwlock_write(mproc_rwlock *rwlock, mproc_deadline deadline);
void mproc__rwlock_unwrite(mproc_rwlock *rwlock);
/* The thread ends with it. */
void mproc__rwlock_abandon(mproc_rwlock *rwlock);
/* Whether the one that closed the gate is a swept row's: then nothing wakes who waits for it to open but `writer`. */
bool mproc__rwlock_is_orphaned(const mproc__rwlock_shared *shared);
/* Opens the gate of a dead writer, once the kernel has given up `writer` for it. 0; -ETIMEDOUT; MPROC_ECORRUPT. */
int mproc__rwlock_adopt(mproc_rwlock *rwlock, mproc_deadline deadline);
/* After somebody is in or was refused: 0, or what a dead writer left to tell, with the story. */
int mproc__rwlock_news(mproc_rwlock *rwlock, uint32_t gate);
int mproc__rwlock_repair(mproc_rwlock *rwlock);

#endif
