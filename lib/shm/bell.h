/* SPDX-License-Identifier: BSD-2-Clause */
/* The descriptor of a pollable object: readable from when there is something until a try that finds nothing. L2.
 *
 * All handles of the object, in all processes, share one eventfd, which travels beside the segment's descriptor. It is only
 * ever written, never read: what "unreadable again" means is each process's own affair, and one that takes its time over it
 * keeps nothing from another. So each process polls an epoll of its own, in which the eventfd is edge triggered (each write
 * is an edge for all) and in which stand the pidfds of the other participants: the death of one that was killed between its
 * commit and its write, or that held what others now may have, is an edge as well. A pidfd tells when the kernel has taken
 * the process apart, which a gigabyte delays by some 85 ms; only the futex of a sleeper hears it at once.
 *
 *     poster:  commit | full fence | bell_ring         (or by way of an event count, as the queue does)
 *     poller:  poll   | a try finds nothing | bell_quiet | try again: something? bell_again
 *
 * A process that becomes another program by exec in the middle of a call is not noticed by a poll. */
#ifndef MPROC__SHM_BELL_H
#define MPROC__SHM_BELL_H

#include "data/handle.h"
#include "data/parcel.h"
#include "shm/segment.h"

typedef struct mproc__bell_shared {
    uint32_t pollable; /* written by the creator before anyone else has the object */
    /* 1 from the first time that anybody asked for the descriptor: before that nobody need hear of new participants. */
    _Atomic uint32_t polled;
    /* 1: somebody has found nothing and may sleep in a poll. The poster that takes it away writes the descriptor; one that
     * dies in between is a participant whose death those pollers hear; one that is stopped in between holds those pollers up, as
     * in eventcount.c. A poller that dies leaves it: one write too many. */
    _Atomic uint32_t armed;
} mproc__bell_shared;

typedef struct mproc__bell_net mproc__bell_net;

typedef struct mproc__bell {
    mproc__bell_shared *shared; /* NULL: not pollable */
    mproc__segment *segment;
    int fd;                         /* the eventfd; owned */
    _Atomic(mproc__bell_net *) net; /* what this process polls; NULL: nobody has asked here */
} mproc__bell;

/* For attach: a pollable object's bell gets an eventfd, before anybody can find the object by name; of another one it is
 * silent. -EMFILE, -ENFILE. */
int mproc__bell_open(mproc__bell *bell, mproc__bell_shared *shared, mproc__segment *segment);
void mproc__bell_close(mproc__bell *bell);
/* Beside mproc__noun_pack; and beside the handle that mproc__noun_unpack made, whose eventfd is replaced by its siblings'. */
int mproc__bell_pack(const mproc__bell *bell, mproc__parcel *parcel);
int mproc__bell_unpack(mproc__bell *bell, mproc__parcel *parcel);

static inline bool mproc__bell_pollable(const mproc__bell *bell)
{
    return bell->shared != NULL;
}

/* After a commit and a full fence. */
void mproc__bell_ring_now(const mproc__bell *bell);
static inline void mproc__bell_ring(const mproc__bell *bell)
{
    if (bell->shared && atomic_load_explicit(&bell->shared->armed, memory_order_seq_cst) &&
        atomic_exchange(&bell->shared->armed, 0))
        mproc__bell_ring_now(bell);
}

/* What to poll, for wait_fd of a pollable object. *ret_fresh: it was made now and is readable: try. -EMFILE, -ENFILE, -ENOMEM. */
int mproc__bell_fd(mproc__bell *bell, bool *ret_fresh);
/* A try has found nothing: takes the edge away, buries the dead, gets to know who is new, and arms. False: nobody polls in
 * this process, and nothing was done. True: the caller tries once more, and calls again if there is something after all. */
bool mproc__bell_quiet(mproc__bell *bell);
void mproc__bell_again(const mproc__bell *bell);

#endif
