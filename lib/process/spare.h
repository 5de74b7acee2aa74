/* SPDX-License-Identifier: BSD-2-Clause */
/* Spares: blank children of the nursery, forked before anybody asks, so that a forkserver start is one message
 * and one wake-up. L5.
 *
 *      nursery                                      owner
 *      forks, spare waits on its boot socket
 *      word = IDLE; message: pid, number,      ->   the command socket's queue is the list of ready ones;
 *        the owner's end, a pidfd                    taking one is one receive, atomic for any thread
 *      (adopts it when it looks next)          <-   word: IDLE to the slot that the child is of
 *                                       spare  <-   boot load: as for any child that the nursery forks
 *      fills up after a short quiet
 *
 * An idle spare costs the owner no descriptor: both are in the socket's queue until one is taken. It ends by the nursery's
 * hand, and with the nursery by the parent-death signal. */
#ifndef MPROC__PROCESS_SPARE_H
#define MPROC__PROCESS_SPARE_H

#include <sys/types.h>

#include "process/nursery.h"

/* What a spare's message says of it, beside the owner's end of its socket and a pidfd. */
typedef struct mproc__spare_note {
    int32_t pid;
    uint32_t number, generation;
} mproc__spare_note;

/* A spare's word: generation << 32 | state. The generation tells a spare from the next one of its number, so
 * that a note read late takes nothing. */
#define MPROC__SPARE_WORD(generation, state) ((uint64_t)(generation) << 32 | (uint32_t)(state))
enum {
    MPROC__SPARE_NONE,     /* not made, or found dead by the nursery while nobody had it */
    MPROC__SPARE_IDLE,     /* to be had */
    MPROC__SPARE_GIVEN_UP, /* is to end */
    MPROC__SPARE_TAKEN     /* + slot: a child of the program */
};

/* ---- owner (spare.c) ---- */
/* The nursery shall keep as many as the program wants from now on. */
void mproc__spares_want(mproc__nursery *nursery);
/* Takes one for a slot: pid, the end of its socket and a pidfd, the caller's; false: none is ready. */
bool mproc__spare_take(mproc__nursery *nursery, unsigned slot, pid_t *ret_pid, int *ret_socket,
                       int *ret_pidfd);
/* After a start: the nursery is woken when it is time to make more. */
void mproc__spares_poke(mproc__nursery *nursery);

/* In a fork child. */
void mproc__spares_forget(void);

/* ---- nursery (spare_keep.c) ---- */
bool mproc__spares_begin(void); /* false: no memory */
/* When the next one is due, with nothing happening until then. */
mproc_deadline mproc__spares_due(mproc__nursery_shared *shared);
/* Makes one, in answer to that. */
void mproc__spare_add(mproc__nursery_shared *shared, int command_socket);
/* One that the owner has taken since: its slot and pid, told once. */
bool mproc__spare_adopt(mproc__nursery_shared *shared, unsigned *ret_slot, pid_t *ret_pid);
/* A child has ended: whether it was one that nobody had. */
bool mproc__spare_lost(mproc__nursery_shared *shared, pid_t pid);
/* At the program's end: kills those that nobody has taken, and waits for them. */
void mproc__spares_end(void);

#endif
