/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "channel/stream.h"
#include "platform/platform.h"
#include "platform/story.h"

enum {
    GROW_BYTES = 65536, /* the first piece of memory for a large message; doubled as bytes come */
    /* Header and payload up to this go out as one piece, copied: all of it or nothing, as the public header promises.
     * The kernel cuts pieces only above 32 KiB. Larger messages go as two. */
    JOIN_BYTES = 32768
};

void mproc__stream_init(mproc__stream *stream, int fd, size_t max_bytes)
{
    memset(stream, 0, sizeof *stream);
    stream->fd = fd;
    stream->max_bytes = max_bytes;
    int domain = AF_UNIX;
    socklen_t size = sizeof domain;
    stream->tcp = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
                  (domain == AF_INET || domain == AF_INET6);
}

void mproc__stream_fini(mproc__stream *stream)
{
    mproc__stream_drop(stream);
    free(stream->payload);
    stream->payload = NULL;
    close(stream->fd);
    stream->fd = -1;
}

/* ---- sending ---- */

/* The peer is gone, whatever the kernel calls it. */
static int send_failed(mproc__stream *stream, int error)
{
    if (error != EPIPE && error != ECONNRESET && error != ENOTCONN)
        return mproc__fail(-error, "cannot send: %s", mproc_strerror(-error));
    stream->send_errno = error;
    stream->send_code = -EPIPE;
    return mproc__fail(-EPIPE, "cannot send: the other end is closed");
}

/* The deadline passed inside a message. Nothing can repair the stream; the peer learns it as a truncated message. */
static int send_cut(mproc__stream *stream, size_t sent, size_t total)
{
    stream->send_code = -EPIPE;
    stream->send_errno = EPIPE;
    shutdown(stream->fd, SHUT_WR);
    return mproc__fail(-ETIMEDOUT,
                       "the deadline passed when %zu of %zu bytes were sent; this end can send no more", sent,
                       total);
}

/* Bytes without descriptors, from *sent to total, of which `sent` bytes are out already. */
static int send_rest(mproc__stream *stream, const uint8_t *data, size_t size_bytes, size_t *sent,
                     size_t total, mproc_deadline deadline)
{
    while (size_bytes > 0) {
        ssize_t n = send(stream->fd, data, size_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            data += n;
            size_bytes -= (size_t)n;
            *sent += (size_t)n;
        } else if (errno == EAGAIN) {
            int rc = mproc__fd_poll(stream->fd, POLLOUT, deadline);
            if (rc < 0)
                return *sent == 0 ? rc : send_cut(stream, *sent, total);
        } else if (errno != EINTR) {
            int rc = send_failed(stream, errno);
            if (*sent > 0) { /* as in send_cut */
                stream->send_code = -EPIPE;
                shutdown(stream->fd, SHUT_WR);
            }
            return rc;
        }
    }
    return 0;
}

int mproc__stream_send(mproc__stream *stream, unsigned kind, const void *data, size_t size_bytes,
                       const int *fds, size_t fd_count, mproc_deadline deadline)
{
    uint8_t head[MPROC__FRAME_HEADER_BYTES + JOIN_BYTES];
    size_t joined = size_bytes <= JOIN_BYTES ? size_bytes : 0, sent = 0;
    size_t head_bytes = MPROC__FRAME_HEADER_BYTES + joined, total = MPROC__FRAME_HEADER_BYTES + size_bytes;
    int rc = 0;
    if (stream->send_code < 0)
        return mproc__fail(stream->send_code,
                           "cannot send: the other end is closed, or a message was cut short before");
    if (size_bytes > MPROC__FRAME_LENGTH_MAX)
        return mproc__fail(-EMSGSIZE, "a message of %zu bytes", size_bytes);
    mproc__frame_header(head, kind, size_bytes);
    if (joined > 0)
        memcpy(head + MPROC__FRAME_HEADER_BYTES, data, joined);
    /* A piece this small goes out whole or not at all (the kernel cuts at 32 KiB), and with it the descriptors. TCP cuts
     * where its buffer ends, but calls itself writable only when a third of it is free, which is more than a piece. */
    if (stream->tcp && deadline.ns != INT64_MAX)
        rc = mproc__fd_poll(stream->fd, POLLOUT, deadline);
    if (rc < 0)
        return rc;
    if (fd_count > 0) {
        rc = mproc__fd_send(stream->fd, head, head_bytes, fds, fd_count, deadline);
        sent = head_bytes;
        if (rc == -EPIPE || rc == -ECONNRESET)
            return send_failed(stream, -rc);
    } else {
        rc = send_rest(stream, head, head_bytes, &sent, total, deadline);
    }
    if (rc == 0 && joined < size_bytes)
        rc = send_rest(stream, data, size_bytes, &sent, total, deadline);
    return rc;
}

/* ---- receiving ---- */

static int recv_ended(mproc__stream *stream, int code, const char *why)
{
    stream->recv_code = code;
    return mproc__fail(code, "%s", why);
}

/* Whether a TCP stream that has ended was closed in order, all that was sent before included. Without an error in hand
 * (a read of nothing) the end is in order if the kernel still knows the peer's goodbye, or if what it said then, here or to
 * a sender before, was "broken pipe": that is a reset after the goodbye. In doubt it was none. */
static bool tcp_ended_well(const mproc__stream *stream)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    int error = 0;
    if (getsockopt(stream->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_state != TCP_CLOSE)
        return true;
    size = sizeof error;
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error == 0)
        error = stream->send_errno;
    return error == EPIPE;
}

/* A stream that ended. Between messages that is how the other side says goodbye, also when it closed without reading all
 * that we sent, which the kernel reports as a reset: on a Unix socket all it sent has come nevertheless. TCP then throws
 * away what has not come yet. */
static int recv_end(mproc__stream *stream, bool reset)
{
    if (mproc__stream_inside(stream))
        return recv_ended(stream, MPROC_EPROTOCOL, "the other end was closed in the middle of a message");
    if (stream->tcp && (reset || !tcp_ended_well(stream)))
        return recv_ended(stream, -ECONNRESET,
                          "the other end was closed before it had received all; what it sent may be lost");
    return recv_ended(stream, MPROC_EEND, "the other end is closed");
}

/* One read, waiting for it. Returns the bytes (> 0) or a negative code; end of file is one. */
static ssize_t recv_some(mproc__stream *stream, void *buffer, size_t size_bytes, mproc_deadline deadline)
{
    for (;;) {
        ssize_t n = recv(stream->fd, buffer, size_bytes, MSG_DONTWAIT);
        if (n > 0)
            return n;
        if (n == 0 || errno == ECONNRESET)
            return recv_end(stream, n < 0);
        if (errno == EAGAIN) {
            int rc = mproc__fd_poll(stream->fd, POLLIN, deadline);
            if (rc < 0)
                return rc;
        } else if (errno != EINTR) {
            return mproc__fail(-errno, "cannot receive: %s", mproc_strerror(-errno));
        }
    }
}

/* Descriptors travel with a message's first byte. */
static int head_begin(mproc__stream *stream, mproc_deadline deadline)
{
    ssize_t n = mproc__fd_recv(stream->fd, stream->header, sizeof stream->header, stream->fds,
                               MPROC__PARCEL_FDS, &stream->fd_count, deadline);
    if (n == 0 || n == -ECONNRESET)
        return recv_end(stream, n < 0);
    if (n == -ETIMEDOUT)
        return (int)n;
    if (n < 0) {
        stream->recv_code = (int)n; /* the bytes are gone, or the socket is: its story is told already */
        return (int)n;
    }
    stream->header_used = (size_t)n;
    return 0;
}

int mproc__stream_head(mproc__stream *stream, mproc_deadline deadline)
{
    if (stream->recv_code < 0)
        return mproc__fail(stream->recv_code, "nothing more can be received: %s",
                           mproc_strerror(stream->recv_code));
    if (stream->headed)
        return 0;
    int rc = stream->header_used == 0 ? head_begin(stream, deadline) : 0;
    while (rc == 0 && stream->header_used < sizeof stream->header) {
        ssize_t n = recv_some(stream, stream->header + stream->header_used,
                              sizeof stream->header - stream->header_used, deadline);
        rc = n < 0 ? (int)n : 0;
        stream->header_used += n > 0 ? (size_t)n : 0;
    }
    if (rc < 0)
        return rc;
    rc = mproc__frame_parse(stream->header, stream->max_bytes, &stream->kind, &stream->length);
    stream->recv_code = rc; /* what follows cannot be told from the message that is not taken */
    stream->headed = rc == 0;
    return rc;
}

/* Room for at least one more byte, at most for the whole message. */
static int payload_grow(mproc__stream *stream)
{
    size_t capacity = stream->capacity < GROW_BYTES ? GROW_BYTES : 2 * stream->capacity;
    if (capacity > stream->length)
        capacity = stream->length;
    uint8_t *payload = realloc(stream->payload, capacity);
    if (!payload)
        return mproc__fail(-ENOMEM, "no memory to receive a message of %zu bytes", stream->length);
    stream->payload = payload;
    stream->capacity = capacity;
    return 0;
}

int mproc__stream_body(mproc__stream *stream, mproc_deadline deadline)
{
    while (stream->used < stream->length) {
        if (stream->used == stream->capacity) {
            int rc = payload_grow(stream);
            if (rc < 0)
                return rc;
        }
        size_t room = stream->capacity < stream->length ? stream->capacity : stream->length;
        ssize_t n = recv_some(stream, stream->payload + stream->used, room - stream->used, deadline);
        if (n < 0)
            return (int)n;
        stream->used += (size_t)n;
    }
    return 0;
}

/* Puts by what came into the caller's memory before the deadline, or before an error that may pass. */
static int body_keep(mproc__stream *stream, const uint8_t *data, size_t got, int code)
{
    if (stream->recv_code < 0)
        return code;
    while (stream->capacity < got)
        if (payload_grow(stream) < 0)
            return recv_ended(stream, -ENOMEM, "no memory to keep a message that had come in part");
    if (got > 0) {
        memcpy(stream->payload, data, got);
        stream->used = got;
    }
    return code;
}

int mproc__stream_body_into(mproc__stream *stream, void *buffer, mproc_deadline deadline)
{
    uint8_t *data = buffer;
    size_t got = stream->used;
    if (got > 0)
        memcpy(data, stream->payload, got);
    while (got < stream->length) {
        ssize_t n = recv_some(stream, data + got, stream->length - got, deadline);
        if (n < 0)
            return body_keep(stream, data, got, (int)n);
        got += (size_t)n;
    }
    mproc__stream_drop(stream);
    return 0;
}

void mproc__stream_drop(mproc__stream *stream)
{
    for (size_t i = 0; i < stream->fd_count; i++)
        if (stream->fds[i] >= 0)
            close(stream->fds[i]);
    stream->fd_count = 0;
    if (stream->capacity > GROW_BYTES) {
        free(stream->payload);
        stream->payload = NULL;
        stream->capacity = 0;
    }
    stream->header_used = stream->used = stream->length = 0;
    stream->headed = false;
}

bool mproc__stream_kept(const mproc__stream *stream)
{
    return stream->recv_code < 0 || (stream->headed && stream->used == stream->length);
}

bool mproc__stream_inside(const mproc__stream *stream)
{
    return stream->header_used > 0;
}
