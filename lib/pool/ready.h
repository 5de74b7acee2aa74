/* SPDX-License-Identifier: BSD-2-Clause */
/* Which slots are ready, in the order in which they shall begin: a ring for each priority. L6.
 *
 * All of it is a hint. A task is taken by the swap of its own word, so a cell may name a slot that is no longer ready, and a
 * slot that no cell names is found by a search, which a change of pool->rescan asks for. That is why nothing here needs to
 * be repaired after a death.
 *
 * A ring has one producer, the submitter. What a burial puts back, and what becomes ready by the end of another task, comes
 * from any process: it goes to a few cells beside the ring of its priority, and is taken before what the ring holds, having
 * waited for longer. A heap would order more than 15 priorities, but cannot be written by one store. */
#ifndef MPROC__POOL_READY_H
#define MPROC__POOL_READY_H

#include "platform/platform.h"

enum {
    MPROC__PRIORITY_MOST = 7, /* and -7 the least */
    MPROC__PRIORITIES = 2 * MPROC__PRIORITY_MOST + 1,
    MPROC__READY_RETURNED = 64
};

typedef struct mproc__pool_view mproc__pool_view;

typedef struct mproc__ready_shared {
    /* Consumers: a swap takes one cell. One that dies then leaves a ready task in no cell, and its burial asks for a search. */
    _Alignas(MPROC__LINE) _Atomic uint64_t head;
    /* The submitter, after the cell; its death ends the pool. */
    _Alignas(MPROC__LINE) _Atomic uint64_t tail;
    /* Slot + 1, or 0. Filled by a swap from 0, emptied by an exchange, by anybody. Who dies after filling one and before it
     * has raised `look` leaves it for the next look. */
    _Atomic uint32_t returned[MPROC__READY_RETURNED];
    /* Not 0: a cell may be filled. Raised after the cell was, taken down before the cells are looked at. */
    _Atomic uint32_t look;
} mproc__ready_shared;

/* The index of a priority: higher begins first. */
static inline uint32_t mproc__priority_index(int priority)
{
    return (uint32_t)(priority + MPROC__PRIORITY_MOST);
}

/* Submitter: the ring of this priority has memory. */
int mproc__ready_reserve(mproc__pool_view *view, uint32_t priority);
/* Submitter: the slot's word says READY. */
void mproc__ready_push(mproc__pool_view *view, uint32_t slot);
/* Anybody: a slot is READY that the submitter has not pushed, or not for this attempt. */
void mproc__ready_return(mproc__pool_view *view, uint32_t slot);
/* A slot that may be ready. False: none is named. */
bool mproc__ready_pop(mproc__pool_view *view, uint32_t *ret_slot);
bool mproc__ready_any(const mproc__pool_view *view);
/* By whoever is about to sleep until work is done. Nobody was woken for a task while a worker spun (mproc__pool_post_task);
 * if that one has been stopped meanwhile, others begin it now. */
void mproc__ready_hurry(mproc__pool_view *view);

#endif
