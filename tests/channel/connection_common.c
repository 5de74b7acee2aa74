/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <string.h>
#include <sys/socket.h>

#include "channel/connection_common.h"
#include "channel/frame.h"
#include "platform/platform.h"
#include "support/support.h"

mproc_connection *a, *b;

void open_pair(void)
{
    ck_assert_int_eq(mproc_connection_pair(&a, &b), 0);
}

void close_pair(void)
{
    mproc_connection_close(&a);
    mproc_connection_close(&b);
}

void expect(mproc_connection *connection, const char *text)
{
    char buffer[256];
    size_t size = 999;
    ck_assert_int_eq(mproc_connection_recv(connection, buffer, sizeof buffer, SOON, &size), 0);
    ck_assert_uint_eq(size, strlen(text));
    ck_assert_mem_eq(buffer, text, size);
}

void put(mproc_connection *connection, const char *text)
{
    ck_assert_int_eq(mproc_connection_send(connection, text, strlen(text), SOON), 0);
}

mproc_connection *open_raw(int *ret_fd)
{
    int fds[2];
    mproc_connection *connection;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(mproc_connection_wrap(fds[0], &connection), 0);
    *ret_fd = fds[1];
    return connection;
}

void raw_header(int fd, unsigned kind, uint64_t length)
{
    uint8_t header[MPROC__FRAME_HEADER_BYTES];
    mproc__frame_header(header, kind, length);
    ck_assert_int_eq(mproc__fd_write_all(fd, header, sizeof header, SOON), 0);
}
