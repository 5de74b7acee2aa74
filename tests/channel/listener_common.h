/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of listeners share: one listener, a client and what became of it, over each family of addresses. */
#ifndef MPROC__TESTS_LISTENER_COMMON_H
#define MPROC__TESTS_LISTENER_COMMON_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <mproc/connection.h>

#define SOON mproc_after_ms(support_ms(5000))
#define KEY  "0123456789abcdef"

extern mproc_listener *listener;
extern mproc_connection *server_end, *client_end;

/* A loop test runs once for each: a Unix socket, TCP over IPv4 and over IPv6. */
enum { FAMILIES = 3 };
extern int family;
/* Chooses one for all below; false: this machine lacks it. */
bool family_use(int number);
/* NULL, or an address with port 0. */
const char *family_address(void);
bool family_is_tcp(void);

const mproc_connection_options *with_key(const char *key);
void listen_with(const char *key);
int client_open(const char *key);
int server_accept(void);
void close_all(void);
const char *story(void);
/* A bare socket, connected to the listener; dies when it cannot be had. */
int raw_connect(void);
/* Reads frames until one that is a refusal; returns its reason, or -1. */
int raw_refusal(int fd);

/* A client that runs beside accept: opens with its key, and reports. */
typedef struct beside {
    pthread_t thread;
    const char *key;
    int rc;
    char text[400];
    mproc_connection *connection;
} beside;
void beside_start(beside *client, const char *key);
int beside_end(beside *client);

void put(mproc_connection *connection, const char *text);
void expect(mproc_connection *connection, const char *text);
int recv_code(mproc_connection *connection);

#endif
