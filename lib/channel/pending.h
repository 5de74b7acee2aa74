/* SPDX-License-Identifier: BSD-2-Clause */
/* The clients of a listener that are in their handshake, all at once. L4.
 *
 * Nothing here waits: the listener polls for all of them. Not locked; the listener's lock guards it. */
#ifndef MPROC__CHANNEL_PENDING_H
#define MPROC__CHANNEL_PENDING_H

#include <poll.h>

#include "channel/handshake.h"
#include "channel/inet.h"
#include "channel/penalty.h"

enum {
    /* Handshakes at a time. A further client takes the place of the one that came first. */
    MPROC__PENDING_MOST = 128
};

typedef struct mproc__origin { /* who a client is */
    bool tcp;
    char text[MPROC__INET_TEXT_BYTES]; /* "pid 4711", "tcp:127.0.0.1:40312" */
    mproc__penalty_source source;
} mproc__origin;

typedef struct mproc__pending_peer {
    int fd; /* owned */
    mproc__origin origin;
    int64_t begin_ns;        /* when its handshake may begin (penalty.h); INT64_MIN: it has begun */
    mproc_deadline deadline; /* of the whole handshake */
    mproc__handshake handshake;
} mproc__pending_peer;

typedef struct mproc__pending {
    mproc__pending_peer *peer[MPROC__PENDING_MOST]; /* in the order in which they came */
    size_t count;
    mproc__penalties penalties;
    int watch;        /* an epoll: readable when accept has something to do; -1: none */
    int timer;        /* in it: for what becomes due; -1: none */
    int64_t timer_ns; /* what it is set to; INT64_MAX: off */
} mproc__pending;

/* Fills who is at the other end of an accepted socket. 0; -EACCES: one that may not come in (SEC-3). */
int mproc__origin_get(int fd, bool tcp, mproc__origin *ret_origin);

void mproc__pending_init(mproc__pending *pending);
/* So that the listener can be waited for: one descriptor for its socket, its handshakes and what becomes due. */
int mproc__pending_watch(mproc__pending *pending, int listening_fd);
/* Sets the timer of the watch, after each change. */
void mproc__pending_arm(mproc__pending *pending);

/* Takes fd, also when it fails. key NULL: there is none, and the peer says that it has none either. There must be room. */
int mproc__pending_add(mproc__pending *pending, int fd, const mproc__origin *origin, const mproc__key *key);
/* What to poll for peer number i at ret_items[i]. */
void mproc__pending_poll(const mproc__pending *pending, struct pollfd *ret_items);
/* Until when to sleep at most. */
mproc_deadline mproc__pending_wake(const mproc__pending *pending, mproc_deadline deadline);
/* Goes on with number i: begins what may begin, reads when `readable`. 0: done, *ret_fd is the caller's; -EAGAIN: not yet;
 * else why the peer was refused and forgotten. It leaves in the first and the last case: later ones move down. */
int mproc__pending_step(mproc__pending *pending, size_t i, const mproc__key *key, bool readable, int *ret_fd,
                        mproc__origin *ret_origin);
/* Refuses the first one if its time is up, or in any case to make room: MPROC_EAUTH; -EAGAIN: not necessary. */
int mproc__pending_late(mproc__pending *pending);
int mproc__pending_evict(mproc__pending *pending);
/* Forgets and closes all, without a word, the watch too. A forked copy does it first of all: it shares the watch with its
 * parent, who goes on watching. */
void mproc__pending_clear(mproc__pending *pending);

/* Tells a peer why it is not let in; it is on its way out, so whether it hears does not matter. */
void mproc__pending_refuse(int fd, mproc__auth_reason reason);

#endif
