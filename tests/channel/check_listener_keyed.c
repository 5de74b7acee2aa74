/* SPDX-License-Identifier: BSD-2-Clause */
/* Listeners with a key: who is let in, who is not, and that nobody waits for those. */
#include "platform/base.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mproc/wait.h>
#include "channel/address.h"
#include "channel/auth.h"
#include "channel/frame.h"
#include "channel/listener_common.h"
#include "platform/platform.h"
#include "support/support.h"

/* shows: AUTH-01 AUTH-03 LSTN-01 */
START_TEST(the_same_key_lets_both_talk)
{
    if (!family_use(_i))
        return;
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
    if (!family_use(_i))
        return;
    beside client;
    listen_with(KEY);
    beside_start(&client, "another key, also long");
    ck_assert_int_eq(server_accept(), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(story(), "another key"));
    ck_assert_ptr_nonnull(strstr(story(), family_is_tcp() ? "(tcp:" : "(pid "));
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
    if (!family_use(_i))
        return;
    listen_with(KEY);
    ck_assert_int_eq(client_open(NULL), 0);
    ck_assert_int_eq(server_accept(), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(story(), "has no key"));
    /* TCP takes the first words to one who has gone. */
    int rc = mproc_connection_send(client_end, "x", 1, SOON);
    ck_assert(rc == MPROC_EAUTH || (family_is_tcp() && rc == 0));
    ck_assert_int_eq(recv_code(client_end), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(client_end)), "needs a key"));
    ck_assert_int_eq(recv_code(client_end), MPROC_EAUTH);
    close_all();
}
END_TEST

/* shows: SEC-1 */
START_TEST(a_key_at_the_client_only_is_told_to_both)
{
    if (!family_use(_i))
        return;
    beside client;
    listen_with(NULL);
    beside_start(&client, KEY);
    if (family_is_tcp()) {
        ck_assert_int_eq(server_accept(), MPROC_EAUTH);
        ck_assert_ptr_nonnull(strstr(story(), "needs a key"));
    } else {
        ck_assert_int_eq(server_accept(), 0);
        ck_assert_int_eq(recv_code(server_end), MPROC_EAUTH);
        ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(server_end)), "needs a key"));
    }
    ck_assert_int_eq(beside_end(&client), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(client.text, "has no key"));
    close_all();
}
END_TEST

/* shows: AUTH-12 */
START_TEST(silent_clients_delay_nobody)
{
    if (!family_use(_i))
        return;
    int silent[20];
    beside client;
    listen_with(KEY);
    for (size_t i = 0; i < MPROC__COUNT(silent); i++)
        silent[i] = raw_connect();
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

START_TEST(a_client_that_has_gone_before_accept_is_named)
{
    char who[40];
    snprintf(who, sizeof who, "(pid %d)", (int)getpid());
    family = 0;
    listen_with(KEY);
    close(raw_connect());
    ck_assert_int_eq(server_accept(), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(story(), who));
    int64_t pid = 0;
    ck_assert_int_eq(mproc_error_number(mproc_last_error(), MPROC_ERROR_PID, &pid), 0);
    ck_assert_int_eq(pid, getpid());
    close_all();
}
END_TEST

/* shows: AUTH-12 SEC-1 */
START_TEST(a_silent_client_is_refused_after_five_seconds)
{
    listen_with(KEY);
    int silent = raw_connect();
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
    if (!family_use(_i))
        return;
    listen_with(KEY);
    int leaver = raw_connect();
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
    if (!family_use(_i))
        return;
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
        int fd = raw_connect();
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
    if (!family_use(_i))
        return;
    enum { MANY = 130 };
    int fds[MANY];
    int refused = 0;
    listen_with(KEY);
    for (int i = 0; i < MANY; i++)
        fds[i] = raw_connect();
    for (int i = 0; i < 4 * MANY && refused == 0; i++)
        refused += mproc_listener_accept(listener, mproc_after_ms(20), &server_end) == MPROC_EAUTH;
    ck_assert_int_eq(refused, 1);
    ck_assert_int_eq(raw_refusal(fds[0]), MPROC__AUTH_LATE);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    close_all();
}
END_TEST

static void *program_key_client(void *context)
{
    beside *client = context;
    client->connection = NULL;
    client->rc =
        mproc_connection_open(mproc_listener_address(listener),
                              MPROC_WITH(mproc_connection_options, .program_key = true, .plaintext = true),
                              SOON, &client->connection);
    return NULL;
}

/* shows: AUTH-10 */
START_TEST(the_programs_key_serves_where_it_is_asked_for)
{
    beside client;
    mproc_connection_options both = {.size = sizeof both, .key = KEY, .key_bytes = 16, .program_key = true};
    if (!family_use(_i))
        return;
    mproc_connection_options program = {.size = sizeof program, .program_key = true, .plaintext = true};
    ck_assert_int_eq(mproc_listener_create(family_address(), &program, &listener), -EINVAL);
    ck_assert_int_eq(mproc_set_key(KEY, 16), 0);
    ck_assert_int_eq(mproc_listener_create(family_address(), &both, &listener), -EINVAL);
    ck_assert_int_eq(mproc_listener_create(family_address(), &program, &listener), 0);
    ck_assert_int_eq(pthread_create(&client.thread, NULL, program_key_client, &client), 0);
    ck_assert_int_eq(server_accept(), 0);
    ck_assert_int_eq(beside_end(&client), 0);
    mproc_connection_close(&server_end);
    beside_start(&client, NULL); /* who does not ask for it has none */
    ck_assert_int_eq(server_accept(), MPROC_EAUTH);
    (void)beside_end(&client);
    ck_assert_int_eq(mproc_set_key(NULL, 0), 0);
    close_all();
}
END_TEST

static int64_t ms_since(int64_t begin_ns)
{
    return (mproc__now_ns() - begin_ns) / 1000000;
}

/* Each refusal makes the next try of this source wait longer, and it is let in all the same once it knows the key. */
START_TEST(who_fails_waits_and_then_is_let_in)
{
    beside client;
    if (!family_use(_i))
        return;
    listen_with(KEY);
    int64_t begin = mproc__now_ns(), waits_ms = 0;
    for (int64_t wait_ms = 0; wait_ms <= 200; wait_ms = wait_ms ? 2 * wait_ms : 50) {
        waits_ms += wait_ms;
        beside_start(&client, "another key, also long");
        ck_assert_int_eq(server_accept(), MPROC_EAUTH);
        ck_assert_int_ge(ms_since(begin), waits_ms);
        ck_assert_int_eq(beside_end(&client), MPROC_EAUTH);
    }
    beside_start(&client, KEY);
    ck_assert_int_eq(server_accept(), 0);
    ck_assert_int_eq(beside_end(&client), 0);
    ck_assert_int_ge(ms_since(begin), waits_ms + 400);
    close_all();
}
END_TEST

static int failing_client(void *context)
{
    mproc_connection *connection = NULL;
    int rc = mproc_connection_open(context, with_key("another key, also long"), SOON, &connection);
    mproc_connection_close(&connection);
    return rc == MPROC_EAUTH ? 0 : 1;
}

/* On a Unix socket a source is a process. */
START_TEST(who_fails_makes_nobody_else_wait)
{
    void *address;
    beside client;
    listen_with(KEY);
    address = (void *)(uintptr_t)mproc_listener_address(listener);
    for (int i = 0; i < 6; i++) {
        pid_t child = support_fork(failing_client, address);
        int64_t begin = mproc__now_ns();
        ck_assert_int_eq(server_accept(), MPROC_EAUTH);
        ck_assert_int_eq(support_reap(child, 5000), 0);
        ck_assert_int_lt(ms_since(begin), support_ms(1000));
    }
    int64_t begin = mproc__now_ns();
    beside_start(&client, KEY);
    ck_assert_int_eq(server_accept(), 0);
    ck_assert_int_eq(beside_end(&client), 0);
    ck_assert_int_lt(ms_since(begin), support_ms(700));
    close_all();
}
END_TEST

/* One who waits for a listener, and does not sit in accept, learns when a penalty is over. */
START_TEST(the_descriptor_tells_when_a_penalty_is_over)
{
    beside client;
    if (!family_use(_i))
        return;
    listen_with(KEY);
    for (int i = 0; i < 3; i++) {
        beside_start(&client, "another key, also long");
        ck_assert_int_eq(server_accept(), MPROC_EAUTH);
        ck_assert_int_eq(beside_end(&client), MPROC_EAUTH);
    }
    int fd = mproc_wait_fd(listener), rc, turns = 0;
    ck_assert_int_ge(fd, 0);
    beside_start(&client, KEY);
    do {
        ck_assert_int_eq(mproc__fd_poll(fd, POLLIN, SOON), 0);
        rc = mproc_listener_accept(listener, MPROC_NOW, &server_end);
        turns++;
    } while (rc == -ETIMEDOUT);
    ck_assert_int_eq(rc, 0);
    ck_assert_int_lt(turns, 50); /* and is not called while there is nothing to do */
    ck_assert_int_eq(beside_end(&client), 0);
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
    if (!family_use(_i))
        return;
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
    if (!family_use(_i))
        return;
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

int main(int argc, char **argv)
{
    Suite *suite = suite_create("listener_keyed");
    TCase *keyed = support_case(suite, "keyed");
    tcase_add_loop_test(keyed, the_same_key_lets_both_talk, 0, FAMILIES);
    tcase_add_loop_test(keyed, a_wrong_key_is_refused_on_both_sides_and_the_next_client_is_served, 0,
                        FAMILIES);
    tcase_add_loop_test(keyed, a_key_at_the_listener_only_is_told_to_both, 0, FAMILIES);
    tcase_add_loop_test(keyed, a_key_at_the_client_only_is_told_to_both, 0, FAMILIES);
    tcase_add_loop_test(keyed, silent_clients_delay_nobody, 0, FAMILIES);
    tcase_add_test(keyed, a_client_that_has_gone_before_accept_is_named);
    tcase_add_test(keyed, a_silent_client_is_refused_after_five_seconds);
    tcase_add_loop_test(keyed, a_client_that_leaves_in_its_handshake_is_reported_and_forgotten, 0, FAMILIES);
    tcase_add_loop_test(keyed, garbage_instead_of_a_handshake_is_refused, 0, FAMILIES);
    tcase_add_test(keyed, a_client_trusts_no_listener_that_does_not_prove_the_key);
    tcase_add_test(keyed, another_user_is_refused_before_its_first_byte);
    tcase_add_loop_test(keyed, more_handshakes_than_there_is_room_for_push_out_the_oldest, 0, FAMILIES);
    tcase_add_loop_test(keyed, the_programs_key_serves_where_it_is_asked_for, 0, FAMILIES);
    tcase_add_loop_test(keyed, who_fails_waits_and_then_is_let_in, 0, FAMILIES);
    tcase_add_test(keyed, who_fails_makes_nobody_else_wait);
    tcase_add_loop_test(keyed, the_descriptor_tells_when_a_penalty_is_over, 0, FAMILIES);
    tcase_add_loop_test(keyed, a_client_waits_for_a_busy_listener_until_its_deadline, 0, FAMILIES);
    tcase_add_loop_test(keyed, without_memory_no_listener_and_nothing_left, 0, FAMILIES);
    return support_run(suite, argc, argv);
}
