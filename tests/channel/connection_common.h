/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of connections share: a pair, and an end whose other end says what no connection would. */
#ifndef MPROC__TESTS_CONNECTION_COMMON_H
#define MPROC__TESTS_CONNECTION_COMMON_H

#include <stdint.h>

#include <mproc/connection.h>

/* A test that waits longer than this has failed. */
#define SOON mproc_after_ms(support_ms(5000))

extern mproc_connection *a, *b;

void open_pair(void);
void close_pair(void);
void expect(mproc_connection *connection, const char *text);
void put(mproc_connection *connection, const char *text);
/* A connection whose other end is a bare socket. */
mproc_connection *open_raw(int *ret_fd);
void raw_header(int fd, unsigned kind, uint64_t length);

#endif
