/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "channel/address.h"
#include "channel/auth.h"
#include "channel/frame.h"
#include "channel/inet.h"
#include "channel/listener_common.h"
#include "platform/platform.h"
#include "support/support.h"

mproc_listener *listener;
mproc_connection *server_end, *client_end;
int family;

static const char *const addresses[FAMILIES] = {NULL, "tcp:127.0.0.1:0", "tcp:[::1]:0"};

const char *family_address(void)
{
    return addresses[family];
}

bool family_is_tcp(void)
{
    return family > 0;
}

bool family_use(int number)
{
    mproc__bound bound;
    family = number;
    if (number < 2)
        return true;
    int rc = mproc__inet_listen(addresses[number], true, 0, &bound);
    if (rc == 0)
        mproc__bound_close(&bound);
    return rc == 0;
}

const mproc_connection_options *with_key(const char *key)
{
    static _Thread_local mproc_connection_options options;
    options = (mproc_connection_options){
        .size = sizeof options, .key = key, .key_bytes = key ? strlen(key) : 0, .plaintext = true};
    return &options;
}

void listen_with(const char *key)
{
    ck_assert_int_eq(mproc_listener_create(family_address(), with_key(key), &listener), 0);
}

int client_open(const char *key)
{
    return mproc_connection_open(mproc_listener_address(listener), with_key(key), SOON, &client_end);
}

int server_accept(void)
{
    return mproc_listener_accept(listener, SOON, &server_end);
}

void close_all(void)
{
    mproc_connection_close(&server_end);
    mproc_connection_close(&client_end);
    mproc_listener_close(&listener);
}

const char *story(void)
{
    return mproc_error_text(mproc_last_error());
}

int raw_connect(void)
{
    const char *address = mproc_listener_address(listener);
    int fd = -1;
    int rc = family_is_tcp() ? mproc__inet_connect(address, true, SOON, &fd)
                             : mproc__address_connect(address, SOON, &fd);
    ck_assert_int_eq(rc, 0);
    return fd;
}

int raw_refusal(int fd)
{
    uint8_t header[MPROC__FRAME_HEADER_BYTES], body[MPROC__AUTH_MESSAGE_BYTES];
    unsigned kind;
    size_t length;
    for (;;) {
        if (mproc__fd_read_all(fd, header, sizeof header, SOON) < 0 ||
            mproc__frame_parse(header, sizeof body, &kind, &length) < 0 ||
            mproc__fd_read_all(fd, body, length, SOON) < 0)
            return -1;
        if (kind == MPROC__FRAME_AUTH && length == 3 && body[0] == 4)
            return body[2];
    }
}

static void *beside_run(void *context)
{
    beside *client = context;
    client->connection = NULL;
    client->rc = mproc_connection_open(mproc_listener_address(listener), with_key(client->key), SOON,
                                       &client->connection);
    snprintf(client->text, sizeof client->text, "%s", client->rc < 0 ? story() : "");
    return NULL;
}

void beside_start(beside *client, const char *key)
{
    client->key = key;
    ck_assert_int_eq(pthread_create(&client->thread, NULL, beside_run, client), 0);
}

int beside_end(beside *client)
{
    ck_assert_int_eq(pthread_join(client->thread, NULL), 0);
    mproc_connection_close(&client->connection);
    return client->rc;
}

void put(mproc_connection *connection, const char *text)
{
    ck_assert_int_eq(mproc_connection_send(connection, text, strlen(text), SOON), 0);
}

void expect(mproc_connection *connection, const char *text)
{
    char buffer[64];
    size_t size;
    ck_assert_int_eq(mproc_connection_recv(connection, buffer, sizeof buffer, SOON, &size), 0);
    ck_assert_uint_eq(size, strlen(text));
    ck_assert_mem_eq(buffer, text, size);
}

int recv_code(mproc_connection *connection)
{
    char buffer[64];
    size_t size;
    return mproc_connection_recv(connection, buffer, sizeof buffer, SOON, &size);
}
