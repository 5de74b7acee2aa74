/* SPDX-License-Identifier: BSD-2-Clause */
/* How a new connection of the server proves the key: the handshake and the penalties of a listener (lib/channel), in the
 * server's loop. */
#include "platform/base.h"

#include <stdlib.h>
#include <sys/epoll.h>

#include "manager/peer.h"
#include "platform/platform.h"
#include "platform/story.h"

void mproc__peer_key_end(mproc__peer *peer)
{
    if (peer->handshake)
        mproc__handshake_end(peer->handshake);
    free(peer->handshake);
    peer->handshake = NULL;
}

static void peer_punish(mproc__peer *peer)
{
    const mproc__penalty_source source = {.pid = peer->pid};
    mproc__penalty_note(&peer->server->penalties, &source, mproc__now_ns());
}

/* Also of one that has proved the key, and then says nothing. */
static void handshake_late(mproc__timer *timer)
{
    mproc__peer *peer = MPROC__CONTAINER(timer, mproc__peer, timer);
    uint8_t message[MPROC__AUTH_MESSAGE_BYTES];
    if (peer->state == MPROC__PEER_AUTH)
        peer_punish(peer);
    size_t size = mproc__auth_refusal(MPROC__AUTH_LATE, message);
    if (mproc__wire_append_raw(&peer->out, MPROC__FRAME_AUTH, message, size) == 0)
        mproc__peer_flush(peer);
    mproc__peer_end(peer);
}

/* What a step of the key's handshake came to. Negative: the connection has to end; the peer has been told. */
static int handshake_stepped(mproc__peer *peer, int code)
{
    if (code == 1)
        return mproc__peer_greet(peer);
    if (mproc__handshake_refused(peer->handshake))
        peer_punish(peer);
    if (code < 0)
        mproc__log(MPROC_LOG_WARNING, "no handshake with process %d: %s", (int)peer->pid,
                   mproc__story()->text);
    return code;
}

void mproc__peer_key_step(mproc__peer *peer)
{
    if (handshake_stepped(peer, mproc__handshake_step(peer->handshake, peer->fd)) < 0)
        mproc__peer_end(peer);
}

/* The first words of our side. */
static void handshake_begin(mproc__peer *peer)
{
    mproc_server *server = peer->server;
    peer->timer.fired = handshake_late;
    int rc = mproc__timers_set(&server->registry.timers, &peer->timer, peer->handshake_deadline);
    if (rc == 0)
        mproc__peer_interest(peer, EPOLLIN);
    if (rc == 0 && peer->state != MPROC__PEER_DEAD)
        rc = handshake_stepped(peer, mproc__handshake_begin(peer->handshake, peer->fd, server->key, false));
    if (rc < 0)
        mproc__peer_end(peer);
}

static void handshake_due(mproc__timer *timer)
{
    handshake_begin(MPROC__CONTAINER(timer, mproc__peer, timer));
}

int mproc__peer_key_start(mproc__peer *peer)
{
    mproc_server *server = peer->server;
    const mproc__penalty_source source = {.pid = peer->pid};
    int64_t now_ns = mproc__now_ns();
    peer->handshake = calloc(1, sizeof *peer->handshake);
    if (!peer->handshake)
        return mproc__fail(-ENOMEM, "no memory for a client");
    peer->handshake_deadline = mproc_after_ms(MPROC__AUTH_SECONDS * 1000);
    peer->timer.fired = handshake_due;
    mproc_deadline begin = {.ns = mproc__penalty_until(&server->penalties, &source, now_ns)};
    if (begin.ns > now_ns)
        return mproc__timers_set(&server->registry.timers, &peer->timer, begin);
    handshake_begin(peer);
    return 0;
}
