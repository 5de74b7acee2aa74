/* SPDX-License-Identifier: BSD-2-Clause */
/* The client's half of the handshake: prove the key, agree on version and limits. */
#include "platform/base.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/address.h"
#include "channel/handshake.h"
#include "manager/line.h"
#include "platform/digest.h"
#include "platform/platform.h"
#include "platform/story.h"

/* As much as the server's default, so that what one client stored another can read. */
#define REPLY_BYTES ((size_t)64 * 1024 * 1024)

typedef struct handshake {
    mproc__line *line;
    mproc__auth auth;
    bool authenticated;
    mproc_deadline deadline;
} handshake;

static int send_out(handshake *shake)
{
    mproc__outbox *out = &shake->line->out;
    int rc = mproc__fd_write_all(shake->line->fd, out->bytes + out->taken, mproc__outbox_left(out),
                                 shake->deadline);
    mproc__outbox_took(out, mproc__outbox_left(out));
    if (rc == -EPIPE || rc == -ECONNRESET)
        return 0; /* it has closed, and its last message, which we read next, says why */
    return rc;
}

/* The next frame, waited for. */
static int receive(handshake *shake, unsigned *ret_kind, const void **ret_data, size_t *ret_bytes)
{
    mproc__line *line = shake->line;
    for (;;) {
        int rc = mproc__frame_reader_next(&line->reader, ret_kind, ret_data, ret_bytes);
        if (rc != -EAGAIN)
            return rc;
        void *space = NULL;
        size_t size_bytes = 0;
        rc = mproc__frame_reader_space(&line->reader, &space, &size_bytes);
        if (rc == 0)
            rc = mproc__fd_poll(line->fd, POLLIN, shake->deadline);
        if (rc < 0)
            return mproc__fail(rc, "the server at %s did not finish the handshake: %s", line->address,
                               mproc_strerror(rc));
        ssize_t n = recv(line->fd, space, size_bytes, MSG_DONTWAIT);
        if (n > 0)
            mproc__frame_reader_fed(&line->reader, (size_t)n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return mproc__fail(-ECONNRESET, "the server at %s closed the connection during the handshake",
                               line->address);
    }
}

static int refused(const mproc__line *line, const mproc__envelope *refusal)
{
    return mproc__fail(refusal->code < 0 ? refusal->code : MPROC_EPROTOCOL, "the server at %s refused: %s",
                       line->address, refusal->story);
}

static int auth_failed(const mproc__line *line, int code)
{
    mproc_error story;
    mproc__story_copy(mproc__story(), &story);
    return mproc__fail(code, "%.250s (at %s)", story.text, line->address);
}

/* A frame of the key's handshake, which is over once `authenticated`. */
static int auth_frame(handshake *shake, const void *data, size_t size_bytes)
{
    uint8_t out[MPROC__AUTH_MESSAGE_BYTES];
    size_t out_bytes = 0;
    int rc = 0, code = shake->authenticated
                           ? mproc__auth_late(data, size_bytes)
                           : mproc__auth_step(&shake->auth, data, size_bytes, out, &out_bytes);
    if (code < 0)
        auth_failed(shake->line, code);
    if (out_bytes > 0)
        rc = mproc__wire_append_raw(&shake->line->out, MPROC__FRAME_AUTH, out, out_bytes);
    if (rc == 0 && out_bytes > 0)
        rc = send_out(shake);
    shake->authenticated = shake->authenticated || code == 1;
    return code < 0 ? code : rc;
}

static int greeted(handshake *shake, const mproc__envelope *greeting)
{
    mproc__line *line = shake->line;
    if (greeting->version < MPROC__WIRE_VERSION_LEAST || greeting->version_least > MPROC__WIRE_VERSION)
        return mproc__fail(MPROC_EPROTOCOL,
                           "the server at %s speaks versions %u to %u of the protocol, this library %d "
                           "to %d",
                           line->address, (unsigned)greeting->version_least, (unsigned)greeting->version,
                           MPROC__WIRE_VERSION_LEAST, MPROC__WIRE_VERSION);
    line->life = greeting->life;
    line->max_request_bytes =
        greeting->max_message_bytes < SIZE_MAX ? (size_t)greeting->max_message_bytes : SIZE_MAX;
    mproc__envelope hello = {.kind = MPROC__WIRE_HELLO,
                             .version = greeting->version < MPROC__WIRE_VERSION ? greeting->version
                                                                                : MPROC__WIRE_VERSION,
                             .incarnation = mproc__incarnation(),
                             .pid = (uint32_t)mproc__pid(),
                             .max_message_bytes = REPLY_BYTES};
    int rc = mproc__wire_append(&line->out, &hello, NULL, MPROC__WIRE_HANDSHAKE_BYTES);
    return rc < 0 ? rc : send_out(shake);
}

/* 1: welcome. */
static int manager_frame(handshake *shake, const void *data, size_t size_bytes)
{
    mproc__decoder decoder;
    mproc__envelope envelope;
    int rc = mproc__wire_decode(&decoder, data, size_bytes, &envelope);
    if (rc < 0)
        return rc;
    if (envelope.kind == MPROC__WIRE_REFUSAL) {
        rc = refused(shake->line, &envelope);
    } else if (envelope.kind == MPROC__WIRE_GREETING && shake->authenticated && shake->line->life == 0) {
        rc = greeted(shake, &envelope);
    } else if (envelope.kind == MPROC__WIRE_WELCOME && shake->line->life != 0) {
        shake->line->session = envelope.session;
        rc = 1;
    } else {
        rc = mproc__fail(MPROC_EPROTOCOL, "the server at %s does not keep to the handshake",
                         shake->line->address);
    }
    mproc__wire_decoded(&decoder);
    return rc;
}

static int shake_hands(handshake *shake)
{
    int rc = 0;
    while (rc == 0) {
        unsigned kind = 0;
        const void *data = NULL;
        size_t size_bytes = 0;
        rc = receive(shake, &kind, &data, &size_bytes);
        if (rc < 0)
            break;
        if (kind == MPROC__FRAME_AUTH)
            rc = auth_frame(shake, data, size_bytes);
        else if (kind == MPROC__FRAME_MANAGER)
            rc = manager_frame(shake, data, size_bytes);
        else
            rc = mproc__fail(MPROC_EPROTOCOL, "what listens at %s is no libmproc server",
                             shake->line->address);
    }
    return rc == 1 ? 0 : rc;
}

static int line_connect(mproc__line *line, const char *address, const mproc__key *key,
                        mproc_deadline deadline)
{
    handshake shake = {.line = line, .deadline = deadline};
    line->address = strdup(address);
    if (!line->address)
        return mproc__fail(-ENOMEM, "no memory for a connection");
    int rc = key && key->set ? mproc__digest_load() : 0;
    if (rc == 0)
        rc = mproc__address_connect(address, deadline, &line->fd);
    if (rc < 0)
        return rc;
    mproc__auth_init(&shake.auth, false, key);
    mproc__handshake_bind(&shake.auth, line->fd);
    rc = shake_hands(&shake);
    mproc__auth_fini(&shake.auth);
    line->reader.max_bytes = REPLY_BYTES;
    return rc;
}

int mproc__line_open(const char *address, const mproc__key *key, mproc_deadline deadline,
                     mproc__line **ret_line)
{
    mproc__line *line = calloc(1, sizeof *line);
    if (!line)
        return mproc__fail(-ENOMEM, "no memory for a connection");
    atomic_init(&line->references, 1);
    line->fd = -1;
    pthread_mutex_init(&line->state, NULL);
    mproc__line_condition(&line->sendable);
    mproc__link_init(&line->calls);
    mproc__frame_reader_init(&line->reader, MPROC__WIRE_HANDSHAKE_BYTES);
    int rc = line_connect(line, address, key, deadline);
    if (rc < 0)
        mproc__line_release(line);
    else
        *ret_line = line;
    return rc;
}

/* ---- life ---- */

static void line_free(mproc__line *line)
{
    if (line->fd >= 0)
        close(line->fd);
    mproc__frame_reader_fini(&line->reader);
    mproc__outbox_fini(&line->out);
    free(line->address);
    free(line);
}

void mproc__line_keep(mproc__line *line)
{
    atomic_fetch_add_explicit(&line->references, 1, memory_order_relaxed);
}

void mproc__line_release(mproc__line *line)
{
    if (!line || atomic_fetch_sub_explicit(&line->references, 1, memory_order_acq_rel) > 1)
        return;
    pthread_mutex_destroy(&line->state);
    pthread_cond_destroy(&line->sendable);
    line_free(line);
}

void mproc__line_forget(mproc__line *line)
{
    if (line)
        line_free(line);
}
