/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "channel/handshake.h"
#include "platform/platform.h"
#include "platform/story.h"

int mproc__handshake_send(int fd, const uint8_t *message, size_t size_bytes)
{
    uint8_t frame[MPROC__HANDSHAKE_FRAME_BYTES];
    MPROC__ASSERT(size_bytes <= MPROC__AUTH_MESSAGE_BYTES);
    mproc__frame_header(frame, MPROC__FRAME_AUTH, size_bytes);
    memcpy(frame + MPROC__FRAME_HEADER_BYTES, message, size_bytes);
    return mproc__fd_write_all(fd, frame, MPROC__FRAME_HEADER_BYTES + size_bytes, MPROC_NOW);
}

void mproc__handshake_bind(mproc__auth *auth, int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name;
    socklen_t size = sizeof name;
    const void *parts[2] = {NULL, NULL};
    size_t bytes[2] = {0, 0};
    if ((auth->server ? getsockname(fd, &name.any, &size) : getpeername(fd, &name.any, &size)) < 0)
        return;
    size = size > sizeof name.local ? sizeof name.local : size; /* a path that fills all counts one more */
    if (name.any.sa_family == AF_UNIX && size > offsetof(struct sockaddr_un, sun_path)) {
        parts[0] = name.local.sun_path;
        bytes[0] = size - offsetof(struct sockaddr_un, sun_path);
    } else if (name.any.sa_family == AF_INET) {
        parts[0] = &name.v4.sin_port, parts[1] = &name.v4.sin_addr;
        bytes[0] = sizeof name.v4.sin_port, bytes[1] = sizeof name.v4.sin_addr;
    } else if (name.any.sa_family == AF_INET6) {
        parts[0] = &name.v6.sin6_port, parts[1] = &name.v6.sin6_addr;
        bytes[0] = sizeof name.v6.sin6_port, bytes[1] = sizeof name.v6.sin6_addr;
    }
    for (size_t i = 0; i < MPROC__COUNT(parts) && bytes[i] > 0; i++) {
        memcpy(auth->address + auth->address_bytes, parts[i], bytes[i]);
        auth->address_bytes += bytes[i];
    }
}

/* Sends what a step made, whatever the step came to; returns the step's code if it failed. */
static int handshake_reply(int fd, const uint8_t *message, size_t size_bytes, int step)
{
    if (size_bytes == 0)
        return step;
    if (step <
        0) { /* the refusal is a courtesy: what counts is why, and sending must not change that story */
        mproc_error why;
        mproc__story_copy(mproc__story(), &why);
        (void)mproc__handshake_send(fd, message, size_bytes);
        mproc__story_copy(&why, mproc__story());
        return step;
    }
    int rc = mproc__handshake_send(fd, message, size_bytes);
    return rc < 0 ? mproc__fail(MPROC_EAUTH, "authentication: the peer went away") : step;
}

/* Whether a header stands in front of a handshake message; fills its length, which is never 0 (0 is how the server's
 * machine is started, so an empty message from a peer must not reach it). */
static bool header_is_auth(const uint8_t *frame, size_t *ret_length)
{
    unsigned kind;
    return mproc__frame_parse(frame, MPROC__AUTH_MESSAGE_BYTES, &kind, ret_length) == 0 &&
           kind == MPROC__FRAME_AUTH && *ret_length > 0;
}

static int handshake_feed(mproc__auth *auth, int fd, const uint8_t *in, size_t in_bytes)
{
    uint8_t out[MPROC__AUTH_MESSAGE_BYTES];
    size_t out_bytes;
    int rc = mproc__auth_step(auth, in, in_bytes, out, &out_bytes);
    return handshake_reply(fd, out, out_bytes, rc);
}

/* What came is no handshake message: one byte of nothing says so to the machine, in every state. */
static int handshake_garbled(mproc__auth *auth, int fd)
{
    return handshake_feed(auth, fd, (const uint8_t *)"", 1);
}

/* ---- client ---- */

static int client_read(mproc__auth *auth, int fd, mproc_deadline deadline)
{
    uint8_t frame[MPROC__HANDSHAKE_FRAME_BYTES];
    size_t length = 0;
    int rc = mproc__fd_read_all(fd, frame, MPROC__FRAME_HEADER_BYTES, deadline);
    if (rc == 0 && !header_is_auth(frame, &length))
        return handshake_garbled(auth, fd);
    if (rc == 0)
        rc = mproc__fd_read_all(fd, frame + MPROC__FRAME_HEADER_BYTES, length, deadline);
    if (rc == -ETIMEDOUT)
        return mproc__fail(rc, "authentication: the listener did not answer by the deadline");
    if (rc < 0)
        return mproc__fail(MPROC_EAUTH, "authentication: the listener went away");
    return handshake_feed(auth, fd, frame + MPROC__FRAME_HEADER_BYTES, length);
}

int mproc__handshake_client(int fd, const mproc__key *key, bool client_first, mproc_deadline deadline)
{
    mproc__auth auth;
    mproc__auth_init(&auth, false, key);
    auth.client_first = client_first;
    mproc__handshake_bind(&auth, fd);
    int rc = client_first ? handshake_feed(&auth, fd, NULL, 0) : 0;
    while (rc == 0)
        rc = client_read(&auth, fd, deadline);
    mproc__auth_fini(&auth);
    return rc < 0 ? rc : 0;
}

/* ---- server ---- */

int mproc__handshake_begin(mproc__handshake *handshake, int fd, const mproc__key *key, bool client_first)
{
    handshake->used = 0;
    mproc__auth_init(&handshake->auth, true, key);
    handshake->auth.client_first = client_first;
    mproc__handshake_bind(&handshake->auth, fd);
    return handshake_feed(&handshake->auth, fd, NULL, 0);
}

/* What is still missing of the message; negative: it is none. */
static ssize_t handshake_missing(const mproc__handshake *handshake)
{
    size_t length;
    if (handshake->used < MPROC__FRAME_HEADER_BYTES)
        return (ssize_t)(MPROC__FRAME_HEADER_BYTES - handshake->used);
    if (!header_is_auth(handshake->in, &length))
        return -1;
    return (ssize_t)(MPROC__FRAME_HEADER_BYTES + length - handshake->used);
}

int mproc__handshake_step(mproc__handshake *handshake, int fd)
{
    for (;;) {
        ssize_t missing = handshake_missing(handshake);
        if (missing < 0)
            return handshake_garbled(&handshake->auth, fd);
        if (missing == 0) {
            size_t length = handshake->used - MPROC__FRAME_HEADER_BYTES;
            handshake->used = 0;
            return handshake_feed(&handshake->auth, fd, handshake->in + MPROC__FRAME_HEADER_BYTES, length);
        }
        ssize_t got = recv(fd, handshake->in + handshake->used, (size_t)missing, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (got <= 0)
            return mproc__fail(MPROC_EAUTH, "authentication: the peer went away");
        handshake->used += (size_t)got;
    }
}

bool mproc__handshake_refused(const mproc__handshake *handshake)
{
    return handshake->auth.refused;
}

void mproc__handshake_end(mproc__handshake *handshake)
{
    mproc__auth_fini(&handshake->auth);
}
