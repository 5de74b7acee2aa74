/* SPDX-License-Identifier: BSD-2-Clause */
/* The server's insides that server.c (the loop) and peer.c (one connection) share. L7. */
#ifndef MPROC__MANAGER_PEER_H
#define MPROC__MANAGER_PEER_H

#include <sys/types.h>

#include <mproc/server.h>
#include "channel/address.h"
#include "channel/frame.h"
#include "channel/handshake.h"
#include "channel/penalty.h"
#include "data/handle.h"
#include "manager/served.h"

enum {
    MPROC__LISTENERS = 8,
    MPROC__FRAMES_A_TURN = 64, /* of one connection, before others have their turn */
    /* Replies that a client has not read: above it no further request of that client is read. So what a
     * client can pile up is this, one reply more, and the small answers to its parked requests. */
    MPROC__UNREAD_BYTES = 4 * 1024 * 1024
};

/* What an epoll event points to. */
typedef enum mproc__source_kind {
    MPROC__SOURCE_STOP,
    MPROC__SOURCE_LISTENER,
    MPROC__SOURCE_SOCKET,
    MPROC__SOURCE_PROCESS
} mproc__source_kind;
typedef struct mproc__source {
    mproc__source_kind kind;
} mproc__source;

typedef struct mproc__server_listener {
    mproc__source source;
    mproc__bound bound;
} mproc__server_listener;

struct mproc_server {
    mproc__handle handle;
    uint64_t incarnation; /* of the process that may run it */
    mproc__key *key;
    size_t max_clients, max_message_bytes;
    int epoll, stop; /* stop: an eventfd, so that a signal handler can write it */
    mproc__source stop_source;
    mproc__server_listener listeners[MPROC__LISTENERS];
    size_t listener_count;
    mproc__penalties penalties; /* of those who failed to prove the key */
    mproc__timer accept_timer;  /* set while accepting pauses for want of descriptors */
    mproc__registry registry;
    /* All living; with requests left over; with replies to send; to be freed. */
    mproc__link peers, busy, dirty, dead;
    size_t peer_count;
    uint64_t last_session;
};

typedef enum mproc__peer_state {
    MPROC__PEER_AUTH,
    MPROC__PEER_HELLO,
    MPROC__PEER_READY,
    MPROC__PEER_DEAD
} mproc__peer_state;

typedef struct mproc__peer {
    mproc__source socket, process;
    mproc_server *server;
    mproc__client client;
    mproc__peer_state state;
    int fd;
    int pidfd; /* of who connected; -1: not to be had */
    pid_t pid;
    uint32_t interest;  /* what epoll watches fd for */
    mproc__timer timer; /* the handshake's: when it may begin, then when it must be over */
    mproc_deadline handshake_deadline;
    bool paused;                 /* requests are left unread until the client has read more replies */
    mproc__handshake *handshake; /* until the key is proved */
    mproc__frame_reader reader;
    mproc__outbox out;
    size_t max_reply_bytes;
    mproc__link in_peers, in_busy, in_dirty;
} mproc__peer;

/* Takes fd, already checked to be of an allowed user. On failure fd is closed and the server goes on. */
int mproc__peer_create(mproc_server *server, int fd, pid_t pid);
/* Tells a socket that is no peer yet why it will not become one, and closes it. */
void mproc__peer_turn_away(int fd, unsigned frame_kind, const void *message, size_t size_bytes);
void mproc__peer_turn_away_full(int fd, size_t max_clients);
void mproc__peer_event(mproc__peer *peer, uint32_t events);
/* Goes on with requests that were left over. */
void mproc__peer_continue(mproc__peer *peer);
void mproc__peer_flush(mproc__peer *peer);
void mproc__peer_interest(mproc__peer *peer, uint32_t interest);
/* The key is proved: who the server is, and what it allows. */
int mproc__peer_greet(mproc__peer *peer);
/* Ends the session now; the memory stays until mproc__peer_free, because events of this turn may still name
 * it. */
void mproc__peer_end(mproc__peer *peer);
void mproc__peer_free(mproc__peer *peer);

/* ---- peer_key.c ---- */
/* Begins the handshake, or waits first: a process that failed lately does so until its penalty is over, unread. When it
 * leaves meanwhile, the socket tells. -ENOMEM: the connection has to end. */
int mproc__peer_key_start(mproc__peer *peer);
/* Something can be read, and the key is not proved yet. */
void mproc__peer_key_step(mproc__peer *peer);
void mproc__peer_key_end(mproc__peer *peer); /* wipes; harmless when it is over */

#endif
