/* SPDX-License-Identifier: BSD-2-Clause */
/* One connection of the server: greeting, requests in, replies out. Whatever its client does wrong ends this
 * connection and nothing else. */
#include "platform/base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "manager/peer.h"
#include "platform/platform.h"
#include "platform/story.h"

/* ---- ending ---- */

void mproc__peer_end(mproc__peer *peer)
{
    if (peer->state == MPROC__PEER_DEAD)
        return;
    peer->state = MPROC__PEER_DEAD;
    mproc__timers_unset(&peer->server->registry.timers, &peer->timer);
    mproc__client_gone(&peer->server->registry, &peer->client);
    close(peer->fd);
    if (peer->pidfd >= 0)
        close(peer->pidfd);
    mproc__link_remove(&peer->in_busy);
    mproc__link_remove(&peer->in_dirty);
    mproc__link_remove(&peer->in_peers);
    mproc__link_append(&peer->server->dead, &peer->in_peers);
    peer->server->peer_count--;
}

void mproc__peer_free(mproc__peer *peer)
{
    mproc__link_remove(&peer->in_peers);
    mproc__peer_key_end(peer);
    mproc__frame_reader_fini(&peer->reader);
    mproc__outbox_fini(&peer->out);
    mproc__table_fini(&peer->client.holds);
    free(peer);
}

/* ---- sending ---- */

void mproc__peer_interest(mproc__peer *peer, uint32_t interest)
{
    if (peer->interest == interest)
        return;
    struct epoll_event event = {.events = interest, .data.ptr = &peer->socket};
    if (epoll_ctl(peer->server->epoll, EPOLL_CTL_MOD, peer->fd, &event) == 0)
        peer->interest = interest;
    else
        mproc__peer_end(peer);
}

static bool reads(const mproc__peer *peer)
{
    return mproc__outbox_left(&peer->out) <= MPROC__UNREAD_BYTES;
}

void mproc__peer_flush(mproc__peer *peer)
{
    mproc__link_remove(&peer->in_dirty);
    size_t left = mproc__outbox_left(&peer->out);
    ssize_t sent = 0;
    if (left > 0) {
        sent = send(peer->fd, peer->out.bytes + peer->out.taken, left, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            mproc__peer_end(peer);
            return;
        }
        mproc__outbox_took(&peer->out, sent < 0 ? 0 : (size_t)sent);
    }
    bool more = mproc__outbox_left(&peer->out) > 0;
    mproc__peer_interest(peer, (reads(peer) ? EPOLLIN : 0) | (more ? EPOLLOUT : 0));
    if (peer->state == MPROC__PEER_DEAD || !peer->paused || !reads(peer))
        return;
    /* Requests that came before the pause are in the reader's buffer: no event will tell of them. */
    peer->paused = false;
    if (mproc__link_alone(&peer->in_busy))
        mproc__link_append(&peer->server->busy, &peer->in_busy);
}

static void peer_dirty(mproc__peer *peer)
{
    if (mproc__link_alone(&peer->in_dirty))
        mproc__link_append(&peer->server->dirty, &peer->in_dirty);
}

static int envelope_send(mproc__peer *peer, const mproc__envelope *envelope, const mproc_variant *args)
{
    int rc = mproc__wire_append(&peer->out, envelope, args, peer->max_reply_bytes);
    if (rc == 0)
        peer_dirty(peer);
    return rc;
}

/* A last message; one attempt to send it, then the end. */
static void peer_refuse(mproc__peer *peer, int code)
{
    const char *story = mproc__story()->text;
    mproc__log(MPROC_LOG_WARNING, "refused process %d: %s", (int)peer->pid,
               *story ? story : mproc_strerror(code));
    mproc__envelope refusal = {.kind = MPROC__WIRE_REFUSAL, .code = code, .story = story};
    if (mproc__wire_append(&peer->out, &refusal, NULL, MPROC__WIRE_HANDSHAKE_BYTES) == 0)
        mproc__peer_flush(peer);
    mproc__peer_end(peer);
}

void mproc__peer_turn_away(int fd, unsigned frame_kind, const void *message, size_t size_bytes)
{
    mproc__outbox out = {0};
    /* The socket is new and its buffer empty: this fits, or the client is told by the closing alone. */
    if (mproc__wire_append_raw(&out, frame_kind, message, size_bytes) == 0)
        (void)!send(fd, out.bytes, out.used, MSG_NOSIGNAL | MSG_DONTWAIT);
    mproc__outbox_fini(&out);
    close(fd);
}

void mproc__peer_turn_away_full(int fd, size_t max_clients)
{
    mproc__outbox out = {0};
    mproc__fail(MPROC_ELIMIT, "the server has its %zu clients", max_clients);
    mproc__envelope refusal = {
        .kind = MPROC__WIRE_REFUSAL, .code = MPROC_ELIMIT, .story = mproc__story()->text};
    if (mproc__wire_append(&out, &refusal, NULL, MPROC__WIRE_HANDSHAKE_BYTES) == 0)
        (void)!send(fd, out.bytes, out.used, MSG_NOSIGNAL | MSG_DONTWAIT);
    mproc__outbox_fini(&out);
    close(fd);
}

/* ---- answers ---- */

/* A reply that cannot go becomes an error that can; when even that fails, the client would wait in vain: it
 * is disconnected instead, and learns that its calls' fate is unknown. Not ended here: requests of it may be
 * in work. */
static void answer_send(mproc__client *client, const mproc__answer *answer)
{
    mproc__peer *peer = MPROC__CONTAINER(client, mproc__peer, client);
    if (peer->state == MPROC__PEER_DEAD)
        return;
    mproc__envelope reply = {.kind = MPROC__WIRE_REPLY,
                             .id = answer->id,
                             .code = answer->code,
                             .object = answer->object,
                             .token = answer->token,
                             .story = answer->code < 0 ? mproc__story()->text : NULL};
    int rc = envelope_send(peer, &reply, answer->has_result ? &answer->result : NULL);
    if (rc == 0)
        return;
    reply = (mproc__envelope){.kind = MPROC__WIRE_REPLY,
                              .id = answer->id,
                              .code = rc == -EMSGSIZE ? MPROC_ELIMIT : rc,
                              .story = mproc__story()->text};
    if (envelope_send(peer, &reply, NULL) < 0)
        shutdown(peer->fd, SHUT_RDWR);
}

/* ---- greeting ---- */

int mproc__peer_greet(mproc__peer *peer)
{
    mproc__envelope greeting = {.kind = MPROC__WIRE_GREETING,
                                .version = MPROC__WIRE_VERSION,
                                .version_least = MPROC__WIRE_VERSION_LEAST,
                                .life = peer->server->registry.life,
                                .max_message_bytes = peer->server->max_message_bytes};
    peer->state = MPROC__PEER_HELLO;
    mproc__peer_key_end(peer);
    return envelope_send(peer, &greeting, NULL);
}

static int hello(mproc__peer *peer, const mproc__envelope *envelope)
{
    if (envelope->kind != MPROC__WIRE_HELLO)
        return mproc__fail(MPROC_EPROTOCOL, "a hello must be the first message");
    if (envelope->version < MPROC__WIRE_VERSION_LEAST || envelope->version > MPROC__WIRE_VERSION)
        return mproc__fail(MPROC_EPROTOCOL,
                           "version %u of the protocol was asked for; this server speaks %d to %d",
                           (unsigned)envelope->version, MPROC__WIRE_VERSION_LEAST, MPROC__WIRE_VERSION);
    uint64_t most = envelope->max_message_bytes;
    peer->max_reply_bytes =
        most < peer->server->max_message_bytes ? (size_t)most : peer->server->max_message_bytes;
    if (peer->max_reply_bytes < MPROC__WIRE_OVERHEAD_BYTES)
        peer->max_reply_bytes = MPROC__WIRE_OVERHEAD_BYTES;
    peer->reader.max_bytes = peer->server->max_message_bytes;
    peer->state = MPROC__PEER_READY;
    mproc__timers_unset(&peer->server->registry.timers, &peer->timer);
    mproc__envelope welcome = {.kind = MPROC__WIRE_WELCOME, .session = peer->client.session};
    return envelope_send(peer, &welcome, NULL);
}

/* ---- receiving ---- */

static int manager_message(mproc__peer *peer, const void *data, size_t size_bytes)
{
    mproc__decoder decoder;
    mproc__envelope envelope;
    int rc = mproc__wire_decode(&decoder, data, size_bytes, &envelope);
    if (rc < 0)
        return rc;
    if (peer->state == MPROC__PEER_HELLO)
        rc = hello(peer, &envelope);
    else if (envelope.kind == MPROC__WIRE_REQUEST)
        mproc__serve(&peer->server->registry, &peer->client, &envelope);
    else
        rc = mproc__fail(MPROC_EPROTOCOL, "only requests are expected from a client, not kind %d",
                         (int)envelope.kind);
    mproc__wire_decoded(&decoder);
    return rc;
}

static void peer_frame(mproc__peer *peer, unsigned kind, const void *data, size_t size_bytes)
{
    int rc = kind == MPROC__FRAME_MANAGER
                 ? manager_message(peer, data, size_bytes)
                 : mproc__fail(MPROC_EPROTOCOL, "frames of kind %u are not expected here", kind);
    if (rc < 0)
        peer_refuse(peer, rc);
}

void mproc__peer_continue(mproc__peer *peer)
{
    mproc__link_remove(&peer->in_busy);
    for (unsigned n = 0; peer->state != MPROC__PEER_DEAD; n++) {
        unsigned kind = 0;
        const void *data = NULL;
        size_t size_bytes = 0;
        peer->paused = !reads(peer);
        if (peer->paused)
            return;
        if (n == MPROC__FRAMES_A_TURN) {
            mproc__link_append(&peer->server->busy, &peer->in_busy);
            return;
        }
        int rc = mproc__frame_reader_next(&peer->reader, &kind, &data, &size_bytes);
        if (rc == -EAGAIN)
            return;
        if (rc < 0)
            peer_refuse(peer, rc);
        else
            peer_frame(peer, kind, data, size_bytes);
    }
}

static void peer_read(mproc__peer *peer)
{
    void *space = NULL;
    size_t size_bytes = 0;
    if (mproc__frame_reader_space(&peer->reader, &space, &size_bytes) < 0) {
        mproc__peer_end(peer);
        return;
    }
    ssize_t n = recv(peer->fd, space, size_bytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        mproc__peer_end(peer);
        return;
    }
    mproc__frame_reader_fed(&peer->reader, (size_t)n);
    mproc__peer_continue(peer);
}

void mproc__peer_event(mproc__peer *peer, uint32_t events)
{
    if (peer->state == MPROC__PEER_DEAD)
        return;
    if (events & EPOLLOUT)
        peer_dirty(peer);
    if (!mproc__link_alone(&peer->in_busy))
        return; /* has requests left over: they come first */
    if ((events & EPOLLIN) && peer->state == MPROC__PEER_AUTH)
        mproc__peer_key_step(peer);
    else if (events & EPOLLIN)
        peer_read(peer);
    else if (events & (EPOLLHUP | EPOLLERR))
        mproc__peer_end(peer);
}

/* ---- beginning ---- */

static int watch(mproc_server *server, int fd, mproc__source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return mproc__fail(-errno, "cannot watch a client's descriptor: %s", mproc_strerror(-errno));
    return 0;
}

/* The socket's end tells of a death, unless a forked child of the client keeps a copy of it: then only the
 * process itself tells. Not to be had for a client of another pid namespace: then the socket has to do. */
static void watch_process(mproc__peer *peer)
{
    peer->pidfd = peer->pid > 0 ? mproc__pidfd_open(peer->pid) : -1;
    if (peer->pidfd >= 0 && watch(peer->server, peer->pidfd, &peer->process, EPOLLIN) < 0) {
        close(peer->pidfd);
        peer->pidfd = -1;
    }
}

static int peer_start(mproc__peer *peer)
{
    int rc = watch(peer->server, peer->fd, &peer->socket, 0);
    if (rc < 0)
        return rc;
    watch_process(peer);
    return mproc__peer_key_start(peer);
}

int mproc__peer_create(mproc_server *server, int fd, pid_t pid)
{
    mproc__peer *peer = calloc(1, sizeof *peer);
    if (!peer) {
        close(fd);
        return mproc__fail(-ENOMEM, "no memory for a client");
    }
    peer->server = server;
    peer->socket.kind = MPROC__SOURCE_SOCKET;
    peer->process.kind = MPROC__SOURCE_PROCESS;
    peer->fd = fd;
    peer->pidfd = -1;
    peer->pid = pid;
    peer->max_reply_bytes = MPROC__WIRE_HANDSHAKE_BYTES;
    mproc__client_init(&peer->client, ++server->last_session, answer_send);
    mproc__frame_reader_init(&peer->reader, MPROC__WIRE_HANDSHAKE_BYTES);
    mproc__link_init(&peer->in_busy);
    mproc__link_init(&peer->in_dirty);
    mproc__link_append(&server->peers, &peer->in_peers);
    server->peer_count++;
    int rc = peer_start(peer);
    if (rc < 0)
        mproc__peer_end(peer);
    return rc;
}
