/* SPDX-License-Identifier: BSD-2-Clause */
/* The semaphore's private side. L3.
 *
 * semaphore.c has the public calls, what plain and bounded ones share, and the plain kind; semaphore_bounded.c the ledger;
 * semaphore_posix.c the sem_t. */
#ifndef MPROC__SYNC_SEMAPHORE_H
#define MPROC__SYNC_SEMAPHORE_H

#include <mproc/semaphore.h>
#include "platform/robust.h"
#include "shm/noun.h"

typedef struct mproc__semaphore_ops {
    mproc__handle_ops handle;
    int (*acquire)(mproc_semaphore *semaphore, mproc_deadline deadline);
    int (*release)(mproc_semaphore *semaphore, unsigned count);
    int (*value)(mproc_semaphore *semaphore, unsigned *ret_value);
} mproc__semaphore_ops;

/* What the semaphore of every kind begins with; handle.ops is the first member of such a table. */
struct mproc_semaphore {
    mproc__handle handle;
};

typedef enum mproc__semaphore_kind { MPROC__SEMAPHORE_PLAIN, MPROC__SEMAPHORE_BOUNDED } mproc__semaphore_kind;

/* The root of a segment. Nothing here needs repair after a death: each field is one word whose every value is right, and
 * no two of them have to agree. */
typedef struct mproc__semaphore_shared {
    /* mproc__semaphore_kind; like the next written by the creator before anyone else has the segment. */
    uint32_t kind;
    uint32_t bound; /* bounded: all the permits there are */
    /* Plain: the permits that are free. Anyone, by compare and swap. One that dies after taking has taken; one that dies
     * after giving has given, and its death wakes those who sleep. */
    _Atomic uint32_t free;
    mproc__eventcount_shared sleepers;
    /* Bounded: makes {add up, take one} one step. Guards no data: what is under it is whole at every instant, so whoever
     * gets it after a death goes on as usual. */
    _Alignas(64) mproc__robust_shared taking;
    /* Bounded: the only truth about who holds what. pid << 32 | permits of the participant in that row; 0: none. Added to
     * by its process under `taking`, taken from by its process without it, both by compare and swap; set to 0 by whoever
     * buries the process, life word held, or by its last close. Free is bound minus the sum: it is not stored, so a death
     * between two stores cannot make them disagree. Read by anyone. A process that dies holding is found in its row. */
    _Alignas(64) _Atomic uint64_t held[MPROC__ROWS];
} mproc__semaphore_shared;
_Static_assert(sizeof(mproc__semaphore_shared) <= 2176, "five pages, with the header and the rows before it");

typedef struct mproc__local_semaphore {
    mproc_semaphore base;
    mproc__semaphore_shared *shared;
    mproc__segment *segment;
    /* Bounded: the incarnation of the process that last acquired by this handle; of a fork child's parent, then the
     * child holds nothing. 0: none. */
    _Atomic uint64_t acquirer;
} mproc__local_semaphore;

static inline mproc__local_semaphore *mproc__semaphore_local(const mproc_semaphore *semaphore)
{
    return (mproc__local_semaphore *)(uintptr_t)semaphore;
}

extern const mproc__noun mproc__semaphore_noun;

/* ---- semaphore.c ---- */
int mproc__semaphore_story(mproc__local_semaphore *semaphore, int code);
/* -ECHILD: of the home thread, and this is a fork child. */
int mproc__semaphore_check(mproc__local_semaphore *semaphore);
/* 0: a permit was taken. -EAGAIN: there was none. Others: told already. The deadline is for what the try itself waits for. */
typedef int mproc__semaphore_try(mproc__local_semaphore *semaphore, mproc_deadline deadline);
/* Tries, sleeps, tries again until the deadline, with the last try after it. */
int mproc__semaphore_wait(mproc__local_semaphore *semaphore, mproc__semaphore_try *attempt,
                          mproc_deadline deadline);
/* Permits are free again: wakes all, because one that is woken may be killed before it takes, and then the next would not
 * know. */
void mproc__semaphore_freed(mproc__local_semaphore *semaphore);
void mproc__semaphore_destroy(mproc__handle *handle);
int mproc__semaphore_pack(mproc__handle *handle, mproc__parcel *parcel);

/* ---- semaphore_bounded.c ---- */
extern const mproc__semaphore_ops mproc__semaphore_bounded_ops;
/* For a new handle: whoever buries a process gives back what it held. */
void mproc__semaphore_bounded_attach(mproc__local_semaphore *semaphore);
/* At the last close: gives back what this process holds. */
void mproc__semaphore_bounded_settle(mproc__local_semaphore *semaphore);
/* Permits held in all rows of a root. */
uint64_t mproc__semaphore_held(const mproc__semaphore_shared *shared, unsigned rows);

/* ---- semaphore_posix.c ---- */
int mproc__semaphore_posix_create(const char *name, unsigned value, bool and_open,
                                  mproc_semaphore **ret_semaphore);

#endif
