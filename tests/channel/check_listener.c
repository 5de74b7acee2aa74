/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <mproc/connection.h>
#include "channel/address.h"
#include "channel/auth.h"
#include "channel/frame.h"
#include "platform/platform.h"
#include "support/support.h"

#define SOON mproc_after_ms(support_ms(5000))
#define KEY  "0123456789abcdef"

static mproc_listener *listener;
static mproc_connection *server_end, *client_end;

static const mproc_connection_options *with_key(const char *key)
{
    static mproc_connection_options options;
    options =
        (mproc_connection_options){.size = sizeof options, .key = key, .key_bytes = key ? strlen(key) : 0};
    return &options;
}

static void listen_with(const char *key)
{
    ck_assert_int_eq(mproc_listener_create(NULL, with_key(key), &listener), 0);
}

static int client_open(const char *key)
{
    return mproc_connection_open(mproc_listener_address(listener), with_key(key), SOON, &client_end);
}

static int server_accept(void)
{
    return mproc_listener_accept(listener, SOON, &server_end);
}

static void close_all(void)
{
    mproc_connection_close(&server_end);
    mproc_connection_close(&client_end);
    mproc_listener_close(&listener);
}

static const char *story(void)
{
    return mproc_error_text(mproc_last_error());
}

/* A client that runs beside accept: opens with its key, and reports. */
typedef struct beside {
    pthread_t thread;
    const char *key;
    int rc;
    char text[400];
    mproc_connection *connection;
} beside;

static void *beside_run(void *context)
{
    beside *client = context;
    client->connection = NULL;
    client->rc = mproc_connection_open(mproc_listener_address(listener),
                                       MPROC_WITH(mproc_connection_options, .key = client->key,
                                                  .key_bytes = client->key ? strlen(client->key) : 0),
                                       SOON, &client->connection);
    snprintf(client->text, sizeof client->text, "%s", client->rc < 0 ? story() : "");
    return NULL;
}

static void beside_start(beside *client, const char *key)
{
    client->key = key;
    ck_assert_int_eq(pthread_create(&client->thread, NULL, beside_run, client), 0);
}

static int beside_end(beside *client)
{
    ck_assert_int_eq(pthread_join(client->thread, NULL), 0);
    mproc_connection_close(&client->connection);
    return client->rc;
}

static void put(mproc_connection *connection, const char *text)
{
    ck_assert_int_eq(mproc_connection_send(connection, text, strlen(text), SOON), 0);
}

static void expect(mproc_connection *connection, const char *text)
{
    char buffer[64];
    size_t size;
    ck_assert_int_eq(mproc_connection_recv(connection, buffer, sizeof buffer, SOON, &size), 0);
    ck_assert_uint_eq(size, strlen(text));
    ck_assert_mem_eq(buffer, text, size);
}

static int recv_code(mproc_connection *connection)
{
    char buffer[64];
    size_t size;
    return mproc_connection_recv(connection, buffer, sizeof buffer, SOON, &size);
}

/* ---- without a key ---- */

/* shows: LSTN-01 LSTN-07 LSTN-09 */
START_TEST(client_and_listener_meet_and_talk)
{
    char text[200];
    listen_with(NULL);
    ck_assert_int_eq(client_open(NULL), 0);
    ck_assert_int_eq(server_accept(), 0);
    put(server_end, "from the server");
    expect(client_end, "from the server");
    put(client_end, "from the client");
    expect(server_end, "from the client");
    ck_assert_str_eq(mproc_connection_peer(client_end), mproc_listener_address(listener));
    snprintf(text, sizeof text, "pid %d", (int)getpid());
    ck_assert_str_eq(mproc_connection_peer(server_end), text);
    mproc_describe(listener, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "listener at unix:/"));
    close_all();
}
END_TEST

/* shows: LSTN-06 */
START_TEST(a_client_that_has_gone_before_accept_still_delivers)
{
    listen_with(NULL);
    ck_assert_int_eq(client_open(NULL), 0);
    put(client_end, "I was here");
    mproc_connection_close(&client_end);
    ck_assert_int_eq(server_accept(), 0);
    expect(server_end, "I was here");
    ck_assert_int_eq(recv_code(server_end), MPROC_EEND);
    close_all();
}
END_TEST

/* shows: LSTN-04 */
START_TEST(a_closed_listener_accepts_nothing_and_leaves_no_file)
{
    struct stat st;
    char path[200];
    listen_with(NULL);
    snprintf(path, sizeof path, "%s", mproc_listener_address(listener) + 5);
    ck_assert_int_eq(stat(path, &st), 0);
    mproc_listener_close(&listener);
    ck_assert_int_lt(stat(path, &st), 0);
    ck_assert_int_eq(mproc_listener_accept(listener, SOON, &server_end), -EINVAL);
    ck_assert_ptr_null(mproc_listener_address(listener));
    mproc_listener_close(&listener);
    mproc_listener_close(NULL);
}
END_TEST

START_TEST(accept_ends_at_its_deadline)
{
    listen_with(NULL);
    ck_assert_int_eq(mproc_listener_accept(listener, MPROC_NOW, &server_end), -ETIMEDOUT);
    int64_t begin = mproc__now_ns();
    ck_assert_int_eq(mproc_listener_accept(listener, mproc_after_ms(30), &server_end), -ETIMEDOUT);
    ck_assert_int_ge(mproc__now_ns() - begin, 30000000);
    ck_assert_int_eq(client_open(NULL), 0);
    ck_assert_int_eq(mproc_listener_accept(listener, MPROC_NOW, &server_end), 0);
    close_all();
}
END_TEST

static void on_alarm(int number)
{
    (void)number;
}

/* shows: LSTN-11 */
START_TEST(a_signal_does_not_end_accept)
{
    struct sigaction action = {.sa_handler = on_alarm}, old;
    struct itimerval often = {.it_interval.tv_usec = 2000, .it_value.tv_usec = 2000}, never = {0};
    sigaction(SIGALRM, &action, &old);
    listen_with(NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    int rc = mproc_listener_accept(listener, mproc_after_ms(40), &server_end);
    setitimer(ITIMER_REAL, &never, NULL);
    ck_assert_int_eq(rc, -ETIMEDOUT);
    sigaction(SIGALRM, &old, NULL);
    close_all();
}
END_TEST

/* shows: LSTN-13 */
START_TEST(a_wrong_key_argument_is_refused_before_anything_is_bound)
{
    struct stat st;
    char address[200];
    snprintf(address, sizeof address, "unix:%s/unbound", support_directory());
    ck_assert_int_eq(mproc_listener_create(
                         address, MPROC_WITH(mproc_connection_options, .key_file = "/nowhere"), &listener),
                     -ENOENT);
    ck_assert_int_eq(
        mproc_listener_create(address, MPROC_WITH(mproc_connection_options, .key_bytes = 3), &listener),
        -EINVAL);
    ck_assert_int_lt(stat(address + 5, &st), 0);
}
END_TEST

static int forked_server(void *context)
{
    (void)context;
    if (mproc_listener_accept(listener, SOON, &server_end) < 0)
        return 1;
    int rc = mproc_connection_send(server_end, "child", 5, SOON);
    mproc_connection_close(&server_end);
    mproc_listener_close(&listener);
    return rc == 0 ? 0 : 2;
}

START_TEST(a_forked_child_accepts_on_its_parents_listener)
{
    listen_with(NULL);
    pid_t child = support_fork(forked_server, NULL);
    ck_assert_int_eq(client_open(NULL), 0);
    expect(client_end, "child");
    ck_assert_int_eq(support_reap(child, 2000), 0);
    mproc_connection_close(&client_end);
    ck_assert_int_eq(client_open(NULL), 0); /* the child's close removed nothing */
    close_all();
}
END_TEST

enum { HASTY_ROUNDS = 300 };

static int hasty_server(void *context)
{
    int rc = 0;
    (void)context;
    for (int i = 0; i < HASTY_ROUNDS && rc == 0; i++)
        if ((rc = mproc_listener_accept(listener, SOON, &server_end)) == 0) {
            rc = mproc_connection_send(server_end, "last words", 10, SOON);
            mproc_connection_close(&server_end);
        }
    return rc == 0 ? 0 : 1;
}

/* Some of the closes come before the client has sent its greeting. */
START_TEST(what_a_server_sent_before_it_closed_is_received)
{
    listen_with(NULL);
    pid_t child = support_fork(hasty_server, NULL);
    for (int i = 0; i < HASTY_ROUNDS; i++) {
        ck_assert_int_eq(client_open(NULL), 0);
        expect(client_end, "last words");
        mproc_connection_close(&client_end);
    }
    ck_assert_int_eq(support_reap(child, support_ms(5000)), 0);
    close_all();
}
END_TEST

/* ---- with a key ---- */

/* shows: AUTH-01 AUTH-03 LSTN-01 */
START_TEST(the_same_key_lets_both_talk)
{
    beside client;
    listen_with(KEY);
    beside_start(&client, KEY);
    ck_assert_int_eq(server_accept(), 0);
    pthread_join(client.thread, NULL);
    ck_assert_int_eq(client.rc, 0);
    put(server_end, "welcome");
    expect(client.connection, "welcome");
    put(client.connection, "thanks");
    expect(server_end, "thanks");
    mproc_connection_close(&client.connection);
    close_all();
}
END_TEST

/* shows: AUTH-02 SEC-1 */
START_TEST(a_wrong_key_is_refused_on_both_sides_and_the_next_client_is_served)
{
    beside client;
    listen_with(KEY);
    beside_start(&client, "another key, also long");
    ck_assert_int_eq(server_accept(), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(story(), "another key"));
    ck_assert_ptr_nonnull(strstr(story(), "pid "));
    ck_assert_int_eq(beside_end(&client), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(client.text, "key is another"));
    beside_start(&client, KEY);
    ck_assert_int_eq(server_accept(), 0);
    ck_assert_int_eq(beside_end(&client), 0);
    close_all();
}
END_TEST

/* shows: SEC-1 */
START_TEST(a_key_at_the_listener_only_is_told_to_both)
{
    listen_with(KEY);
    ck_assert_int_eq(client_open(NULL), 0);
    ck_assert_int_eq(server_accept(), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(story(), "has no key"));
    ck_assert_int_eq(mproc_connection_send(client_end, "x", 1, SOON), MPROC_EAUTH);
    ck_assert_int_eq(recv_code(client_end), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(client_end)), "needs a key"));
    ck_assert_int_eq(recv_code(client_end), MPROC_EAUTH);
    close_all();
}
END_TEST

/* shows: SEC-1 */
START_TEST(a_key_at_the_client_only_is_told_to_both)
{
    beside client;
    listen_with(NULL);
    beside_start(&client, KEY);
    ck_assert_int_eq(server_accept(), 0);
    ck_assert_int_eq(beside_end(&client), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(client.text, "has no key"));
    ck_assert_int_eq(recv_code(server_end), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(server_end)), "needs a key"));
    close_all();
}
END_TEST

/* shows: AUTH-12 REMOTE-6 */
START_TEST(silent_clients_delay_nobody)
{
    int silent[20];
    beside client;
    listen_with(KEY);
    for (size_t i = 0; i < MPROC__COUNT(silent); i++)
        ck_assert_int_eq(mproc__address_connect(mproc_listener_address(listener), SOON, &silent[i]), 0);
    int64_t begin = mproc__now_ns();
    beside_start(&client, KEY);
    ck_assert_int_eq(server_accept(), 0);
    ck_assert_int_lt(mproc__now_ns() - begin, support_ms(1000) * INT64_C(1000000));
    ck_assert_int_eq(beside_end(&client), 0);
    for (size_t i = 0; i < MPROC__COUNT(silent); i++)
        close(silent[i]);
    close_all();
}
END_TEST

/* Reads frames until one that is a refusal; returns its reason. */
static int raw_refusal(int fd)
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

/* shows: AUTH-12 SEC-1 */
START_TEST(a_silent_client_is_refused_after_five_seconds)
{
    int silent;
    listen_with(KEY);
    ck_assert_int_eq(mproc__address_connect(mproc_listener_address(listener), SOON, &silent), 0);
    int64_t begin = mproc__now_ns();
    ck_assert_int_eq(mproc_listener_accept(listener, mproc_after_ms(30000), &server_end), MPROC_EAUTH);
    ck_assert_int_ge(mproc__now_ns() - begin, INT64_C(4900000000));
    ck_assert_int_lt(mproc__now_ns() - begin, INT64_C(5000000000) + support_ms(1000) * INT64_C(1000000));
    ck_assert_int_eq(raw_refusal(silent), MPROC__AUTH_LATE);
    close(silent);
    close_all();
}
END_TEST

/* shows: AUTH-12 */
START_TEST(a_client_that_leaves_in_its_handshake_is_reported_and_forgotten)
{
    int leaver;
    listen_with(KEY);
    ck_assert_int_eq(mproc__address_connect(mproc_listener_address(listener), SOON, &leaver), 0);
    ck_assert_int_eq(mproc_listener_accept(listener, mproc_after_ms(10), &server_end), -ETIMEDOUT);
    close(leaver);
    ck_assert_int_eq(server_accept(), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(story(), "went away"));
    close_all();
}
END_TEST

/* shows: AUTH-05 AUTH-08 */
START_TEST(garbage_instead_of_a_handshake_is_refused)
{
    const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 18}, /* no frame */
        {"\3\0\0\0\0\0\1\1", 8},        /* a handshake message of 257 bytes */
        {"\3\0\0\0\0\0\0\0", 8},        /* an empty one */
        {"\3\0\0\0\0\0\0\2\2\1", 10},   /* an answer cut short */
        {"\1\0\0\0\0\0\0\5hello", 13},  /* a message before the handshake */
        {"\3\0\0\0\0\0\0\2\377\1", 10}, /* an unknown type */
    };
    listen_with(KEY);
    for (size_t i = 0; i < MPROC__COUNT(cases); i++) {
        int fd;
        ck_assert_int_eq(mproc__address_connect(mproc_listener_address(listener), SOON, &fd), 0);
        ck_assert_int_eq(send(fd, cases[i].bytes, cases[i].size, MSG_NOSIGNAL), (ssize_t)cases[i].size);
        ck_assert_int_eq(server_accept(), MPROC_EAUTH);
        ck_assert_int_eq(raw_refusal(fd), MPROC__AUTH_GARBLED);
        close(fd);
    }
    close_all();
}
END_TEST

static int distrusting_client(void *context)
{
    int rc = mproc_connection_open(context, with_key(KEY), SOON, &client_end);
    mproc_connection_close(&client_end);
    return rc == 0 ? 0 : rc == MPROC_EAUTH ? 1 : 2;
}

/* A client with a key against a server that is none: it says these bytes, or closes when there are none. */
static int client_against(const char *bytes, size_t size)
{
    mproc__bound bound;
    ck_assert_int_eq(mproc__address_listen(NULL, 0, &bound), 0);
    pid_t child = support_fork(distrusting_client, bound.address);
    ck_assert_int_eq(mproc__fd_poll(bound.fd, POLLIN, SOON), 0);
    int fd = accept4(bound.fd, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    int status = support_reap(child, 5000);
    close(fd);
    mproc__bound_close(&bound);
    return status;
}

/* shows: AUTH-05 AUTH-03 */
START_TEST(a_client_trusts_no_listener_that_does_not_prove_the_key)
{
    ck_assert_int_eq(client_against("hello, just come in", 19), 1);
    ck_assert_int_eq(client_against("\3\0\0\0\0\0\0\42\3\1abcdefghijklmnopqrstuvwxyzabcdef", 42),
                     1);                                             /* a welcome at once */
    ck_assert_int_eq(client_against("\3\0\0\0\0\0\0\2\5\1", 10), 1); /* "no key here" */
    ck_assert_int_eq(client_against("", 0), 1);
}
END_TEST

static int other_user(void *context)
{
    mproc_connection *connection = NULL;
    if (setgid(65534) < 0 || setuid(65534) < 0)
        return 77;
    int rc = mproc_connection_open(context, with_key(KEY), SOON, &connection);
    mproc_connection_close(&connection);
    return rc == MPROC_EAUTH && strstr(story(), "user") ? 0 : 1;
}

/* shows: SEC-3 */
START_TEST(another_user_is_refused_before_its_first_byte)
{
    char address[64];
    if (geteuid() != 0)
        return; /* only root can be somebody else; file modes keep others out as well, abstract names do not */
    snprintf(address, sizeof address, "unix:@mproc-check-user-%d", (int)getpid());
    ck_assert_int_eq(mproc_listener_create(address, with_key(KEY), &listener), 0);
    pid_t child = support_fork(other_user, address);
    ck_assert_int_eq(server_accept(), -EACCES);
    ck_assert_ptr_nonnull(strstr(story(), "65534"));
    ck_assert_int_eq(support_reap(child, 5000), 0);
    close_all();
}
END_TEST

START_TEST(more_handshakes_than_there_is_room_for_push_out_the_oldest)
{
    enum { MANY = 130 };
    int fds[MANY];
    int refused = 0;
    listen_with(KEY);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(mproc__address_connect(mproc_listener_address(listener), SOON, &fds[i]), 0);
    for (int i = 0; i < 4 * MANY && refused == 0; i++)
        refused += mproc_listener_accept(listener, mproc_after_ms(20), &server_end) == MPROC_EAUTH;
    ck_assert_int_eq(refused, 1);
    ck_assert_int_eq(raw_refusal(fds[0]), MPROC__AUTH_LATE);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    close_all();
}
END_TEST

static int slow_server(void *context)
{
    int *go = context;
    char byte;
    if (read(*go, &byte, 1) != 1)
        return 1;
    int rc = mproc_listener_accept(listener, SOON, &server_end);
    mproc_connection_close(&server_end);
    mproc_listener_close(&listener);
    return rc == 0 ? 0 : 2;
}

START_TEST(a_client_waits_for_a_busy_listener_until_its_deadline)
{
    int go[2];
    listen_with(KEY);
    ck_assert_int_eq(pipe(go), 0);
    pid_t child = support_fork(slow_server, &go[0]);
    ck_assert_int_eq(mproc_connection_open(mproc_listener_address(listener), with_key(KEY),
                                           mproc_after_ms(30), &client_end),
                     -ETIMEDOUT);
    ck_assert_int_eq(write(go[1], "g", 1), 1);
    /* The child meets the client that gave up first, and reports it. */
    ck_assert_int_eq(support_reap(child, 5000), 2);
    close(go[0]);
    close(go[1]);
    close_all();
}
END_TEST

START_TEST(without_memory_no_listener_and_nothing_left)
{
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        support_fail_allocation(n);
        int rc = mproc_listener_create(NULL, with_key(KEY), &listener);
        failed = support_allocation_failed();
        ck_assert_int_eq(rc, failed ? -ENOMEM : 0);
    }
    close_all();
}
END_TEST

/* ---- size ---- */

enum { WINDOW_BYTES = 1 << 20 };

/* A buffer above 2 GiB that costs one MiB: the same pages, again and again. */
static uint8_t *large_map(size_t size_bytes)
{
    int fd = mproc__memfd_create("window", WINDOW_BYTES);
    uint8_t *data = mmap(NULL, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (size_t at = 0; fd >= 0 && data != MAP_FAILED && at < size_bytes; at += WINDOW_BYTES)
        if (mmap(data + at, WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
            MAP_FAILED)
            return NULL;
    close(fd);
    return data == MAP_FAILED ? NULL : data;
}

static const size_t large_bytes = ((size_t)1 << 31) + WINDOW_BYTES;

static int sends_large(void *context)
{
    mproc_connection *connection = NULL;
    uint8_t *data = large_map(large_bytes);
    for (size_t i = 0; data && i < WINDOW_BYTES; i++)
        data[i] = (uint8_t)(i >> 12);
    int rc = data ? mproc_connection_open(context, NULL, SOON, &connection) : -ENOMEM;
    if (rc == 0)
        rc = mproc_connection_send(connection, data, large_bytes, mproc_after_ms(support_ms(60000)));
    if (rc == 0)
        rc = mproc_connection_send(connection, "after", 5, SOON);
    mproc_connection_close(&connection);
    if (data)
        munmap(data, large_bytes);
    return rc == 0 ? 0 : 1;
}

/* shows: CONN-09 WORK-8 */
START_TEST(a_message_above_two_gibibytes_arrives_whole)
{
    size_t got = 0;
    uint8_t *data = large_map(large_bytes);
    ck_assert_ptr_nonnull(data);
    ck_assert_int_eq(
        mproc_listener_create(NULL, MPROC_WITH(mproc_connection_options, .max_message_bytes = large_bytes),
                              &listener),
        0);
    pid_t child = support_fork(sends_large, (void *)(uintptr_t)mproc_listener_address(listener));
    ck_assert_int_eq(server_accept(), 0);
    ck_assert_int_eq(
        mproc_connection_recv(server_end, data, large_bytes, mproc_after_ms(support_ms(60000)), &got), 0);
    ck_assert_uint_eq(got, large_bytes);
    for (size_t i = 0; i < WINDOW_BYTES; i += 4096)
        ck_assert_uint_eq(data[i], (uint8_t)(i >> 12));
    expect(server_end, "after");
    ck_assert_int_eq(support_reap(child, 5000), 0);
    munmap(data, large_bytes);
    close_all();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("listener");
    TCase *open_case = support_case(suite, "open");
    tcase_add_test(open_case, client_and_listener_meet_and_talk);
    tcase_add_test(open_case, a_client_that_has_gone_before_accept_still_delivers);
    tcase_add_test(open_case, a_closed_listener_accepts_nothing_and_leaves_no_file);
    tcase_add_test(open_case, accept_ends_at_its_deadline);
    tcase_add_test(open_case, a_signal_does_not_end_accept);
    tcase_add_test(open_case, a_wrong_key_argument_is_refused_before_anything_is_bound);
    tcase_add_test(open_case, a_forked_child_accepts_on_its_parents_listener);
    tcase_add_test(open_case, what_a_server_sent_before_it_closed_is_received);
    TCase *keyed = support_case(suite, "keyed");
    tcase_add_test(keyed, the_same_key_lets_both_talk);
    tcase_add_test(keyed, a_wrong_key_is_refused_on_both_sides_and_the_next_client_is_served);
    tcase_add_test(keyed, a_key_at_the_listener_only_is_told_to_both);
    tcase_add_test(keyed, a_key_at_the_client_only_is_told_to_both);
    tcase_add_test(keyed, silent_clients_delay_nobody);
    tcase_add_test(keyed, a_silent_client_is_refused_after_five_seconds);
    tcase_add_test(keyed, a_client_that_leaves_in_its_handshake_is_reported_and_forgotten);
    tcase_add_test(keyed, garbage_instead_of_a_handshake_is_refused);
    tcase_add_test(keyed, a_client_trusts_no_listener_that_does_not_prove_the_key);
    tcase_add_test(keyed, another_user_is_refused_before_its_first_byte);
    tcase_add_test(keyed, more_handshakes_than_there_is_room_for_push_out_the_oldest);
    tcase_add_test(keyed, a_client_waits_for_a_busy_listener_until_its_deadline);
    tcase_add_test(keyed, without_memory_no_listener_and_nothing_left);
    TCase *size = support_case(suite, "size");
    tcase_set_timeout(size, 120);
    tcase_add_test(size, a_message_above_two_gibibytes_arrives_whole);
    return support_run(suite, argc, argv);
}
