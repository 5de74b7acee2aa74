/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/address.h"
#include "channel/connection.h"
#include "channel/handshake.h"
#include "channel/inet.h"
#include "channel/stream.h"
#include "data/parcel.h"
#include "platform/digest.h"
#include "platform/platform.h"

struct mproc_connection {
    mproc__handle handle;
    mproc__stream stream;
    bool can_send, can_recv; /* of a one-way pair each end has one */
    /* The peer's OPEN of auth.h has not come yet: only a side without a key goes on before it. Cleared by the receiving
     * thread; the sending one looks at it when a send failed. */
    _Atomic bool greeting_due;
    char peer[160];
};

static int connection_head(mproc_connection *connection, mproc_deadline deadline);

/* What crosses to another process, beside the descriptor. */
typedef struct connection_blob {
    uint64_t max_bytes;
    uint8_t can_send, can_recv, greeting_due;
    char peer[40]; /* as much as fits */
} connection_blob;

/* ---- life ---- */

static mproc_connection *connection_of(mproc__handle *handle)
{
    return MPROC__CONTAINER(handle, mproc_connection, handle);
}

static void connection_destroy(mproc__handle *handle)
{
    mproc_connection *connection = connection_of(handle);
    mproc__stream_fini(&connection->stream);
    mproc__handle_fini(handle);
    free(connection);
}

static int connection_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc_connection *connection = MPROC__CONTAINER(handle, const mproc_connection, handle);
    const char *way = !connection->can_send ? "receiving " : !connection->can_recv ? "sending " : "";
    return snprintf(buffer, size_bytes, "%sconnection with %s", way, connection->peer);
}

static int connection_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    mproc_connection *connection = connection_of(handle);
    connection_blob blob;
    memset(&blob, 0, sizeof blob); /* the padding crosses too */
    blob.max_bytes = connection->stream.max_bytes;
    blob.can_send = connection->can_send;
    blob.can_recv = connection->can_recv;
    blob.greeting_due = connection->greeting_due;
    if (mproc__stream_inside(&connection->stream))
        return mproc__handle_fail(
            handle, MPROC_ESTATE,
            "the connection with %s has received a part of a message, which would be lost", connection->peer);
    snprintf(blob.peer, sizeof blob.peer, "%.*s", (int)sizeof blob.peer - 1, connection->peer);
    int rc = mproc__parcel_add_fd(parcel, connection->stream.fd);
    return rc < 0 ? rc : mproc__parcel_add_blob(parcel, &blob, sizeof blob);
}

static int connection_wait_fd(mproc__handle *handle)
{
    return connection_of(handle)->stream.fd;
}

/* The socket does not tell of what was received and kept, and it tells of a greeting, which is no message. */
static bool connection_ready(mproc__handle *handle, bool readable)
{
    mproc_connection *connection = connection_of(handle);
    if (mproc__stream_kept(&connection->stream))
        return true;
    return readable && !(connection->can_recv && connection->greeting_due &&
                         connection_head(connection, MPROC_NOW) == -ETIMEDOUT);
}

static const mproc__handle_ops connection_ops = {
    .type = MPROC_TYPE_CONNECTION,
    .noun = "connection",
    .destroy = connection_destroy,
    .describe = connection_describe,
    .pack = connection_pack,
    .wait_fd = connection_wait_fd,
    .ready = connection_ready,
};

int mproc__connection_options_check(const mproc_connection_options *options, const char *what)
{
    return mproc__options_check(options,
                                offsetof(mproc_connection_options, backlog) + sizeof options->backlog,
                                sizeof *options, what);
}

int mproc__connection_adopt(int fd, const mproc_connection_options *options, const char *peer,
                            bool greeting_due, mproc_connection **ret_connection)
{
    size_t max_bytes = options ? options->max_message_bytes : 0;
    mproc__connection_register();
    mproc_connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        return mproc__fail(-ENOMEM, "no memory for a connection");
    mproc__handle_init(&connection->handle, &connection_ops);
    mproc__stream_init(&connection->stream, fd, max_bytes ? max_bytes : MPROC__CONNECTION_MESSAGE_BYTES);
    connection->can_send = connection->can_recv = true;
    connection->greeting_due = greeting_due;
    snprintf(connection->peer, sizeof connection->peer, "%s", peer);
    *ret_connection = connection;
    return 0;
}

static int connection_unpack(mproc__parcel *parcel, const void *bytes, size_t size_bytes,
                             mproc__handle **ret_handle)
{
    connection_blob blob;
    mproc_connection *connection;
    if (size_bytes != sizeof blob)
        return mproc__fail(MPROC_EPROTOCOL, "a connection in a message is damaged");
    memcpy(&blob, bytes, sizeof blob);
    blob.peer[sizeof blob.peer - 1] = '\0';
    int fd = mproc__parcel_take_fd(parcel);
    if (fd < 0)
        return mproc__fail(MPROC_EPROTOCOL, "a connection in a message came without its descriptor");
    mproc_connection_options options = {.size = sizeof options, .max_message_bytes = (size_t)blob.max_bytes};
    int rc = mproc__connection_adopt(fd, &options, blob.peer, blob.greeting_due != 0, &connection);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    connection->can_send = blob.can_send != 0;
    connection->can_recv = blob.can_recv != 0;
    *ret_handle = &connection->handle;
    return 0;
}

static void connection_register_once(void)
{
    mproc__parcel_register(MPROC_TYPE_CONNECTION, connection_unpack);
}

void mproc__connection_register(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, connection_register_once);
}

/* ---- making ---- */

int mproc_connection_pair(mproc_connection **ret_a, mproc_connection **ret_b)
{
    int fds[2];
    if (!ret_a || !ret_b)
        return mproc__fail(-EINVAL, "a pair needs room for both ends");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return mproc__fail(-errno, "no socket pair: %s", mproc_strerror(-errno));
    mproc_connection *a;
    int rc = mproc__connection_adopt(fds[0], NULL, "the other end of a pair", false, &a);
    if (rc < 0) {
        close(fds[0]);
        close(fds[1]);
        return rc;
    }
    rc = mproc__connection_adopt(fds[1], NULL, "the other end of a pair", false, ret_b);
    if (rc < 0) {
        mproc_connection_close(&a);
        close(fds[1]);
        return rc;
    }
    *ret_a = a;
    return 0;
}

int mproc_connection_one_way(mproc_connection **ret_reader, mproc_connection **ret_writer)
{
    int rc = mproc_connection_pair(ret_reader, ret_writer);
    if (rc < 0)
        return rc;
    (*ret_reader)->can_send = false;
    (*ret_writer)->can_recv = false;
    return 0;
}

int mproc__connection_key(const mproc_connection_options *options, mproc__key *ret_key)
{
    ret_key->set = false;
    if (!options)
        return 0;
    bool given = options->key || options->key_bytes > 0 || options->key_file;
    if (given && options->program_key)
        return mproc__fail(-EINVAL, "a key is given, and the program's is asked for: one of them");
    if (!given && !options->program_key)
        return 0;
    int rc = mproc__key_from_options(options->key, options->key_bytes, options->key_file, ret_key);
    if (rc == 0 && !ret_key->set)
        return mproc__fail(-EINVAL, "the program's key is asked for, and mproc_set_key has set none");
    /* Whoever cannot compute with it hears so now, and not after the other side, or in its stead. */
    return rc == 0 ? mproc__digest_load() : rc;
}

/* Without a key nothing is waited for: the listener's own greeting is read when the first message is. */
static int open_greet(int fd, const mproc__key *key, bool tcp, mproc_deadline deadline)
{
    uint8_t out[MPROC__AUTH_MESSAGE_BYTES];
    size_t out_bytes;
    mproc__auth auth;
    if (key->set)
        return mproc__handshake_client(fd, key, tcp, deadline);
    mproc__auth_init(&auth, false, NULL);
    int rc = mproc__auth_step(&auth, NULL, 0, out, &out_bytes);
    mproc__auth_fini(&auth);
    if (rc < 0)
        return rc;
    rc = mproc__handshake_send(fd, out, out_bytes);
    /* A listener that has closed already may have left messages: they are still received, then the end. */
    return rc == -EPIPE || rc == -ECONNRESET ? 0 : rc;
}

static int open_connect(const char *address, const mproc_connection_options *options, mproc_deadline deadline,
                        int *ret_fd)
{
    if (mproc__inet_is(address))
        return mproc__inet_connect(address, options && options->plaintext, deadline, ret_fd);
    return mproc__address_connect(address, deadline, ret_fd);
}

int mproc_connection_open(const char *address, const mproc_connection_options *options,
                          mproc_deadline deadline, mproc_connection **ret_connection)
{
    mproc__key key;
    int fd = -1;
    if (!ret_connection)
        return mproc__fail(-EINVAL, "ret_connection is NULL");
    int rc = mproc__connection_options_check(options, "mproc_connection_options");
    if (rc < 0)
        return rc;
    rc = mproc__connection_key(options, &key);
    if (rc == 0)
        rc = open_connect(address, options, deadline, &fd);
    if (rc == 0)
        rc = open_greet(fd, &key, mproc__inet_is(address), deadline);
    if (rc == 0)
        rc = mproc__connection_adopt(fd, options, address, !key.set, ret_connection);
    if (rc < 0 && fd >= 0)
        close(fd);
    mproc__key_clear(&key);
    return rc;
}

int mproc_connection_wrap(int fd, mproc_connection **ret_connection)
{
    int type = 0;
    socklen_t size = sizeof type;
    char peer[40];
    if (!ret_connection)
        return mproc__fail(-EINVAL, "ret_connection is NULL");
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
        return mproc__fail(-errno, "descriptor %d cannot be a connection: %s", fd, mproc_strerror(-errno));
    if (type != SOCK_STREAM)
        return mproc__fail(-EINVAL, "descriptor %d is no stream socket", fd);
    int flags = fcntl(fd, F_GETFD);
    if (flags < 0)
        return mproc__fail(-errno, "descriptor %d: %s", fd, mproc_strerror(-errno));
    snprintf(peer, sizeof peer, "the peer of descriptor %d", fd);
    int rc = mproc__connection_adopt(fd, NULL, peer, false, ret_connection);
    if (rc == 0)
        (void)fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    return rc;
}

void mproc_connection_close(mproc_connection **connection)
{
    mproc__handle_close((void **)connection, MPROC_TYPE_CONNECTION);
}

const char *mproc_connection_peer(const mproc_connection *connection)
{
    return mproc__handle_check(connection, MPROC_TYPE_CONNECTION) < 0 ? NULL : connection->peer;
}

/* ---- messages ---- */

/* What a call on a handle returns. Passed deadlines, ends and small buffers are the daily course of a receive loop: they
 * leave no story on the handle and cost nothing. */
static int connection_result(mproc_connection *connection, int rc)
{
    if (rc == 0 || rc == -ETIMEDOUT || rc == MPROC_EEND || rc == MPROC_ETOOSMALL)
        return rc;
    return mproc__handle_story(&connection->handle, rc);
}

/* The header of the next message that is the user's. A greeting in front of it is looked at and dropped; a refusal is
 * the last thing that comes. */
static int connection_head(mproc_connection *connection, mproc_deadline deadline)
{
    mproc__stream *stream = &connection->stream;
    if (!connection->can_recv)
        return mproc__fail(MPROC_ESTATE, "this end of a one-way connection only sends");
    int rc = mproc__stream_head(stream, deadline);
    while (rc == 0 && stream->kind == MPROC__FRAME_AUTH && connection->greeting_due) {
        rc = stream->length <= MPROC__AUTH_MESSAGE_BYTES ? mproc__stream_body(stream, deadline) : 0;
        if (rc < 0)
            return rc;
        rc = mproc__auth_late(stream->payload, stream->used);
        stream->recv_code = rc;
        connection->greeting_due = false;
        mproc__stream_drop(stream);
        if (rc == 0)
            rc = mproc__stream_head(stream, deadline);
    }
    if (rc == 0 && stream->kind != MPROC__FRAME_BYTES && stream->kind != MPROC__FRAME_VARIANT) {
        rc = mproc__fail(MPROC_EPROTOCOL, "a frame of kind %u came, which is no message", stream->kind);
        stream->recv_code = rc;
    }
    return rc;
}

/* A listener that refuses says why before it closes; whoever sends first would learn no more than "closed". Only peeks,
 * because another thread may be receiving; what it sees is then just as likely no greeting, and the plain code stays. */
static int connection_send_failed(const mproc_connection *connection, int rc)
{
    uint8_t frame[MPROC__HANDSHAKE_FRAME_BYTES];
    unsigned kind;
    size_t length;
    if (rc != -EPIPE || !connection->greeting_due)
        return rc;
    ssize_t n = recv(connection->stream.fd, frame, sizeof frame, MSG_PEEK | MSG_DONTWAIT);
    if (n >= MPROC__FRAME_HEADER_BYTES &&
        mproc__frame_parse(frame, MPROC__AUTH_MESSAGE_BYTES, &kind, &length) == 0 &&
        kind == MPROC__FRAME_AUTH && MPROC__FRAME_HEADER_BYTES + length <= (size_t)n &&
        mproc__auth_late(frame + MPROC__FRAME_HEADER_BYTES, length) < 0)
        return MPROC_EAUTH;
    return mproc__fail(rc, "cannot send: the other end is closed");
}

static int connection_send(mproc_connection *connection, unsigned kind, const void *data, size_t size_bytes,
                           const int *fds, size_t fd_count, mproc_deadline deadline)
{
    if (!connection->can_send)
        return mproc__fail(MPROC_ESTATE, "this end of a one-way connection only receives");
    int rc = mproc__stream_send(&connection->stream, kind, data, size_bytes, fds, fd_count, deadline);
    return connection_send_failed(connection, rc);
}

int mproc_connection_send(mproc_connection *connection, const void *data, size_t size_bytes,
                          mproc_deadline deadline)
{
    int rc = mproc__handle_check(connection, MPROC_TYPE_CONNECTION);
    if (rc < 0)
        return rc;
    if (!data && size_bytes > 0)
        return mproc__handle_fail(&connection->handle, -EINVAL, "data is NULL with %zu bytes", size_bytes);
    rc = connection_send(connection, MPROC__FRAME_BYTES, data, size_bytes, NULL, 0, deadline);
    return connection_result(connection, rc);
}

int mproc_connection_recv(mproc_connection *connection, void *buffer, size_t capacity_bytes,
                          mproc_deadline deadline, size_t *ret_size_bytes)
{
    int rc = mproc__handle_check(connection, MPROC_TYPE_CONNECTION);
    if (rc < 0)
        return rc;
    if ((!buffer && capacity_bytes > 0) || !ret_size_bytes)
        return mproc__handle_fail(&connection->handle, -EINVAL, "buffer or ret_size_bytes is NULL");
    rc = connection_head(connection, deadline);
    if (rc < 0)
        return connection_result(connection, rc);
    size_t length = connection->stream.length;
    if (connection->stream.kind != MPROC__FRAME_BYTES)
        return mproc__handle_fail(
            &connection->handle, MPROC_EARGUMENT,
            "the next message is a variant: receive it with mproc_connection_recv_variant");
    if (length > capacity_bytes) {
        *ret_size_bytes = length;
        return mproc__fail_plain(MPROC_ETOOSMALL);
    }
    rc = mproc__stream_body_into(&connection->stream, buffer, deadline);
    if (rc == 0)
        *ret_size_bytes = length;
    return connection_result(connection, rc);
}

int mproc_connection_send_variant(mproc_connection *connection, mproc_variant item, mproc_deadline deadline)
{
    mproc__parcel parcel = {0};
    int rc = mproc__handle_check(connection, MPROC_TYPE_CONNECTION);
    if (rc < 0)
        return rc;
    rc = mproc__parcel_pack(&parcel, !connection->stream.tcp, item);
    if (rc == 0)
        rc = connection_send(connection, MPROC__FRAME_VARIANT, parcel.bytes, parcel.size_bytes, parcel.fds,
                             parcel.fd_count, deadline);
    mproc__parcel_clear(&parcel, false);
    return connection_result(connection, rc);
}

/* Hands the whole message at the front to a parcel and unpacks it. The message is gone also when it makes no sense: the
 * one behind it can still be received (CONN-23). Only one that memory ran out for stays, unless it carried descriptors,
 * some of which may have been taken. */
static int connection_unpack_message(mproc__stream *stream, mproc_variant *ret_item)
{
    mproc__parcel parcel = {.allow_fds = true, .bytes = stream->payload, .size_bytes = stream->length};
    memcpy(parcel.fds, stream->fds, stream->fd_count * sizeof *stream->fds);
    parcel.fd_count = stream->fd_count;
    stream->fd_count = 0;
    int rc = mproc__parcel_unpack(&parcel, ret_item);
    if (rc == -ENOMEM && parcel.fd_count == 0)
        return rc;
    if (rc == 0 && mproc__parcel_left(&parcel)) {
        mproc_variant_clear(ret_item);
        rc = mproc__fail(MPROC_EPROTOCOL, "a message came with more descriptors than it uses");
    }
    parcel.bytes = NULL; /* the stream's, which uses it again */
    mproc__parcel_clear(&parcel, true);
    mproc__stream_drop(stream);
    return rc;
}

int mproc_connection_recv_variant(mproc_connection *connection, mproc_deadline deadline,
                                  mproc_variant *ret_item)
{
    int rc = mproc__handle_check(connection, MPROC_TYPE_CONNECTION);
    if (rc < 0)
        return rc;
    if (!ret_item)
        return mproc__handle_fail(&connection->handle, -EINVAL, "ret_item is NULL");
    mproc__stream *stream = &connection->stream;
    rc = connection_head(connection, deadline);
    if (rc == 0)
        rc = mproc__stream_body(stream, deadline);
    if (rc < 0)
        return connection_result(connection, rc);
    if (stream->kind == MPROC__FRAME_VARIANT)
        return connection_result(connection, connection_unpack_message(stream, ret_item));
    rc = mproc_variant_copy(mproc_bytes(stream->payload, stream->length), ret_item);
    if (rc == 0) /* without memory the message stays */
        mproc__stream_drop(stream);
    return connection_result(connection, rc);
}
