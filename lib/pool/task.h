/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of a task, all of it in one 64-bit word, so that whoever is killed leaves a whole state behind. L6.
 *
 *              submit        claim          finish
 *      FREE ----------> READY -----> RUNNING ------> DONE
 *                         |  ^          |  \
 *                  cancel |  | bury,    |   \ bury, no attempt left
 *                         |  | attempts |    `-----> DIED
 *                         v  | left     | stop (cancel or time limit)
 *       CANCELLED or EXPIRED `----------+--> STOPPING ------> CANCELLED or EXPIRED
 *         (forgo: too late)                           bury
 *
 * One that comes after others is WAITING before it is READY, and until then CANCELLED or EXPIRED as that is (after.h).
 *
 * Every arrow is one compare-and-swap. The one that claims carries who claimed (worker and its life), so a death is
 * laid at exactly one task's door. STOPPING comes before any signal: a worker whose finish fails takes no further task,
 * so a signal sent late cannot hit the next one. */
#ifndef MPROC__POOL_TASK_H
#define MPROC__POOL_TASK_H

#include "platform/base.h"

typedef enum mproc__task_state {
    MPROC__TASK_FREE,
    MPROC__TASK_WAITING,
    MPROC__TASK_READY,
    MPROC__TASK_RUNNING,
    MPROC__TASK_STOPPING,
    MPROC__TASK_DONE, /* its function returned; this and all that follow are final */
    MPROC__TASK_DIED,
    MPROC__TASK_CANCELLED,
    MPROC__TASK_EXPIRED /* its time limit passed; or, by no reason, the time to begin by */
} mproc__task_state;

typedef enum mproc__task_reason {
    MPROC__TASK_NOT_STOPPED,
    MPROC__TASK_BY_CANCEL,
    MPROC__TASK_BY_LIMIT
} mproc__task_reason;

/* The word, unpacked. */
typedef struct mproc__task_word {
    mproc__task_state state;   /* 4 bits */
    mproc__task_reason reason; /* 2 bits; of STOPPING */
    unsigned attempt;          /* 10 bits, from 1: the present one, or of READY the next */
    unsigned worker;           /* 8 bits */
    unsigned life;             /* 16 bits: which incarnation of that worker */
    unsigned serial;           /* 24 bits: which use of this slot */
} mproc__task_word;

enum { MPROC__TASK_ATTEMPTS = 1023, MPROC__TASK_SERIALS = 1 << 24 };

uint64_t mproc__task_pack(mproc__task_word task);
mproc__task_word mproc__task_unpack(uint64_t word);
mproc__task_word mproc__task_load(const _Atomic uint64_t *word);
static inline bool mproc__task_final(mproc__task_state state)
{
    return state >= MPROC__TASK_DONE;
}

/* The serial of a free slot's next use. */
unsigned mproc__task_serial(const _Atomic uint64_t *word);
/* FREE to READY or WAITING, by the submitter, who alone writes a free slot. Everything written to the slot before is visible to
 * the one who claims it. Returns the slot's new serial. */
unsigned mproc__task_publish(_Atomic uint64_t *word, bool waits);
/* WAITING to READY. False: not waiting (any more), or another. */
bool mproc__task_release(_Atomic uint64_t *word, mproc__task_word waiting);
/* READY to RUNNING. False: not ready (any more). */
bool mproc__task_claim(_Atomic uint64_t *word, unsigned worker, unsigned life, mproc__task_word *ret_claimed);
/* RUNNING to DONE, by the worker; false: stopped meanwhile, the result must not be used. */
bool mproc__task_finish(_Atomic uint64_t *word, mproc__task_word claimed);
/* READY or WAITING to CANCELLED, RUNNING to STOPPING. 0: it will not end as DONE; -EBUSY: runs and must not be stopped;
 * -EALREADY: had ended, or the slot is used for another task now. */
int mproc__task_cancel(_Atomic uint64_t *word, unsigned serial, bool even_if_running);
/* WAITING, or READY for the first time, to EXPIRED: it has not begun by its time. */
bool mproc__task_forgo(_Atomic uint64_t *word, unsigned serial);
/* RUNNING to STOPPING because the time limit passed. */
bool mproc__task_expire(_Atomic uint64_t *word, mproc__task_word running);
/* After the death of (worker, life): what it ran becomes READY again while `max_attempts` allows it, else final. May be
 * repeated, and run by several at once. Returns the state after it; the given worker's only: else FREE. */
mproc__task_state mproc__task_bury(_Atomic uint64_t *word, unsigned worker, unsigned life,
                                   unsigned max_attempts);
/* A final slot becomes FREE, by the submitter. */
void mproc__task_clear(_Atomic uint64_t *word);

#endif
