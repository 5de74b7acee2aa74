/* SPDX-License-Identifier: BSD-2-Clause */
/* Two ends, whole messages; listeners and authentication. */
#ifndef MPROC_CONNECTION_H
#define MPROC_CONNECTION_H

#include <mproc/deadline.h>
#include <mproc/variant.h>

MPROC_BEGIN

typedef struct mproc_connection_options {
    size_t      size;
    const void *key; size_t key_bytes; const char *key_file;                 /* NULL: no handshake */
    size_t      max_message_bytes;  /* received; 0: 64 MiB */
    uint32_t    backlog;            /* listener */
} mproc_connection_options;
MPROC_API MPROC_CHECK int mproc_connection_pair(mproc_connection **ret_a, mproc_connection **ret_b);        /* Pipe() */
MPROC_API MPROC_CHECK int mproc_connection_one_way(mproc_connection **ret_reader, mproc_connection **ret_writer);
MPROC_API MPROC_CHECK int mproc_connection_open(const char *address, const mproc_connection_options *options,
                                                mproc_deadline deadline, mproc_connection **ret_connection);
MPROC_API MPROC_CHECK int mproc_connection_wrap(int fd, mproc_connection **ret_connection);                 /* takes fd */
MPROC_API void mproc_connection_close(mproc_connection **connection);
MPROC_API MPROC_CHECK int mproc_connection_send(mproc_connection *connection, const void *data, size_t size_bytes, mproc_deadline deadline);
MPROC_API MPROC_CHECK int mproc_connection_recv(mproc_connection *connection, void *buffer, size_t capacity_bytes,
                                                mproc_deadline deadline, size_t *ret_size_bytes);
MPROC_API MPROC_CHECK int mproc_connection_send_variant(mproc_connection *connection, mproc_variant item, mproc_deadline deadline);
MPROC_API MPROC_CHECK int mproc_connection_recv_variant(mproc_connection *connection, mproc_deadline deadline, mproc_variant *ret_item);
MPROC_API const char *mproc_connection_peer(const mproc_connection *connection);
MPROC_API MPROC_CHECK int mproc_listener_create(const char *address /* NULL: private Unix socket */, const mproc_connection_options *options, mproc_listener **ret_listener);
MPROC_API void mproc_listener_close(mproc_listener **listener);
MPROC_API MPROC_CHECK int mproc_listener_accept(mproc_listener *listener, mproc_deadline deadline, mproc_connection **ret_connection);
MPROC_API const char *mproc_listener_address(const mproc_listener *listener);

MPROC_END_DECLS

#endif
