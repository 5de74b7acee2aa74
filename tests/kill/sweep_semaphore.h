/* SPDX-License-Identifier: BSD-2-Clause */
/* What the sweeps of semaphores share: a semaphore in a start state that a line of a table describes. */
#ifndef MPROC__TESTS_SWEEP_SEMAPHORE_H
#define MPROC__TESTS_SWEEP_SEMAPHORE_H

#include <mproc/semaphore.h>
#include <mproc/deadline.h>
#include "kill/killsweep.h"
#include "platform/base.h"

/* A line a state. Who is no newcomer is a participant before the swept call. */
typedef struct semaphore_start {
    bool bounded, newcomer;
    unsigned permits; /* at creation */
    unsigned others;  /* of these, held by the controller, who lives */
    unsigned dead;    /* by one who died in set-up and was not found yet */
    unsigned victim;  /* by the victim, before its call */
    unsigned count;   /* that the call releases; 0: it acquires one */
    int wanted;       /* what the call answers */
} semaphore_start;

/* Beside the semaphore, in memory that all roles share. */
typedef struct semaphore_notes {
    _Atomic uint32_t victim_holds;
    _Atomic uint32_t waiter_tries;
    _Atomic uint32_t waiter_has;
    _Atomic uint32_t holder; /* 1: holds; 2: shall release; 3: has */
    _Atomic int waiter_pid;
} semaphore_notes;

typedef struct semaphore_scene {
    const semaphore_start *start;
    mproc_semaphore *semaphore;
    mproc_semaphore *other; /* to get lazy set-up out of the way */
    semaphore_notes *notes;
    pid_t holder; /* 0: none */
} semaphore_scene;

static inline mproc_deadline hard(void)
{
    return mproc_after_ms(KILL_HARD_MS);
}

/* ---- sweep_semaphore.c ---- */
int semaphore_scene_make(const semaphore_start *start, void **ret_context);
void semaphore_teardown(void *context);
/* The victim becomes a participant, unless it is a newcomer, and takes what it has to hold. */
int semaphore_prepare(void *context, unsigned state);
int semaphore_call(void *context, unsigned state);
/* Plain: only looks for the dead, since a permit that it took would stay taken. Bounded: takes one and dies with it. */
int semaphore_recover(void *context, unsigned state);
int semaphore_meanwhile(void *context, unsigned state);
int semaphore_acquire_many(mproc_semaphore *semaphore, unsigned count);
/* `expected` are free, and every one of them can be had, no more, and given back. */
int semaphore_use_all(semaphore_scene *s, unsigned expected);
/* Sets a note, and waits for one; 0, or 1 when it did not come in time. */
void semaphore_tell(_Atomic uint32_t *note, uint32_t value);
int semaphore_await(_Atomic uint32_t *note, uint32_t value);

#endif
