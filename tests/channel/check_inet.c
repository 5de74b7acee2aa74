/* SPDX-License-Identifier: BSD-2-Clause */
/* TCP addresses: what is one, what stays on this machine, ports, and what TCP does otherwise than a Unix socket. */
#include "platform/base.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/inet.h"
#include "channel/listener_common.h"
#include "platform/platform.h"
#include "support/support.h"

static int bind_code(const char *address)
{
    mproc__bound bound;
    int rc = mproc__inet_listen(address, true, 0, &bound);
    if (rc == 0)
        mproc__bound_close(&bound);
    return rc;
}

/* shows: LSTN-08 */
START_TEST(what_is_no_tcp_address_is_refused)
{
    static const char *const bad[] = {"tcp:",
                                      "tcp:localhost",
                                      "tcp::80",
                                      "tcp:localhost:",
                                      "tcp:localhost:x",
                                      "tcp:[::1]",
                                      "tcp:::1:80",
                                      "tcp:[::1]x:80",
                                      "tcp:127.0.0.1:65536",
                                      "tcp:127.0.0.1:-1",
                                      "tcp:localhost: 80",
                                      "tcp:localhost:+80",
                                      "tcp:[]:80",
                                      "tcp:127.0.0.1:99999999999999999999"};
    int fd;
    for (size_t i = 0; i < MPROC__COUNT(bad); i++) {
        ck_assert_msg(bind_code(bad[i]) == -EINVAL, "%s", bad[i]);
        ck_assert_int_eq(mproc__inet_connect(bad[i], true, SOON, &fd), -EINVAL);
    }
    ck_assert_int_eq(mproc__inet_connect("tcp:127.0.0.1:0", true, SOON, &fd), -EINVAL);
    ck_assert_int_eq(mproc_listener_create("tcp:x", with_key(NULL), &listener), -EINVAL);
    ck_assert_int_eq(mproc_connection_open("udp:localhost:1", with_key(NULL), SOON, &client_end), -EINVAL);
}
END_TEST

START_TEST(plain_tcp_needs_the_option_and_stays_on_this_machine)
{
    static const char *const far[] = {
        "tcp:0.0.0.0:0",      "tcp:[::]:0",           "tcp:10.1.2.3:80",
        "tcp:128.0.0.1:80",   "tcp:[fe80::1]:80",     "tcp:[::ffff:127.0.0.1]:80",
        "tcp:example.org:80", "tcp:ip6-localhost:80", "tcp:*:80"};
    int fd;
    for (size_t i = 0; i < MPROC__COUNT(far); i++) {
        ck_assert_msg(bind_code(far[i]) == MPROC_EPLACE, "%s", far[i]);
        ck_assert_ptr_nonnull(strstr(story(), "this machine"));
        ck_assert_int_eq(mproc__inet_connect(far[i], true, SOON, &fd), MPROC_EPLACE);
    }
    ck_assert_int_eq(mproc_listener_create("tcp:127.0.0.1:0", NULL, &listener), MPROC_EPLACE);
    ck_assert_ptr_nonnull(strstr(story(), "plaintext"));
    ck_assert_int_eq(mproc_connection_open("tcp:127.0.0.1:9", NULL, SOON, &client_end), MPROC_EPLACE);
    ck_assert_int_eq(mproc_listener_create("tls:127.0.0.1:0", with_key(NULL), &listener), MPROC_EPLACE);
    ck_assert_int_eq(mproc_connection_open("tls:127.0.0.1:9", with_key(NULL), SOON, &client_end),
                     MPROC_EPLACE);
}
END_TEST

static unsigned port_of(const char *address)
{
    return (unsigned)atoi(strrchr(address, ':') + 1);
}

/* shows: LSTN-03 */
START_TEST(port_zero_becomes_the_real_port)
{
    char address[64];
    if (!family_use(_i + 1))
        return;
    listen_with(NULL);
    ck_assert_int_eq(
        strncmp(mproc_listener_address(listener), family_address(), strlen(family_address()) - 1), 0);
    ck_assert_uint_ge(port_of(mproc_listener_address(listener)), 1);
    ck_assert_int_eq(client_open(NULL), 0);
    ck_assert_int_eq(server_accept(), 0);
    put(client_end, "at the real port");
    expect(server_end, "at the real port");
    snprintf(address, sizeof address, "%s", mproc_connection_peer(client_end));
    ck_assert_str_eq(address, mproc_listener_address(listener));
    close_all();
}
END_TEST

START_TEST(localhost_is_either_loopback)
{
    char address[64];
    ck_assert_int_eq(mproc_listener_create("tcp:LocalHost:0", with_key(NULL), &listener), 0);
    ck_assert_int_eq(strncmp(mproc_listener_address(listener), "tcp:127.0.0.1:", 14), 0);
    snprintf(address, sizeof address, "tcp:localhost:%u", port_of(mproc_listener_address(listener)));
    ck_assert_int_eq(mproc_connection_open(address, with_key(NULL), SOON, &client_end), 0);
    close_all();
    if (!family_use(2))
        return;
    listen_with(NULL);
    snprintf(address, sizeof address, "tcp:localhost:%u", port_of(mproc_listener_address(listener)));
    ck_assert_int_eq(mproc_connection_open(address, with_key(NULL), SOON, &client_end), 0);
    close_all();
}
END_TEST

/* shows: LSTN-02 */
START_TEST(a_port_in_use_is_refused)
{
    if (!family_use(_i + 1))
        return;
    listen_with(NULL);
    ck_assert_int_eq(bind_code(mproc_listener_address(listener)), -EADDRINUSE);
    close_all();
}
END_TEST

/* The side that closes first keeps the port in TIME_WAIT. */
/* shows: LSTN-13 */
START_TEST(a_port_can_be_bound_again_right_after_the_close)
{
    char address[64];
    if (!family_use(_i + 1))
        return;
    listen_with(NULL);
    snprintf(address, sizeof address, "%s", mproc_listener_address(listener));
    ck_assert_int_eq(client_open(NULL), 0);
    ck_assert_int_eq(server_accept(), 0);
    mproc_connection_close(&server_end);
    ck_assert_int_eq(recv_code(client_end), MPROC_EEND);
    close_all();
    ck_assert_int_eq(mproc_listener_create(address, with_key(NULL), &listener), 0);
    ck_assert_str_eq(mproc_listener_address(listener), address);
    ck_assert_int_eq(client_open(NULL), 0);
    ck_assert_int_eq(server_accept(), 0);
    close_all();
}
END_TEST

/* shows: LSTN-10 */
START_TEST(connecting_to_nobody_is_refused_at_once)
{
    char address[64];
    if (!family_use(_i + 1))
        return;
    listen_with(NULL);
    snprintf(address, sizeof address, "%s", mproc_listener_address(listener));
    close_all();
    ck_assert_int_eq(mproc_connection_open(address, with_key(NULL), MPROC_FOREVER, &client_end),
                     -ECONNREFUSED);
}
END_TEST

START_TEST(a_socket_that_found_itself_is_known)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (void *)&name, size), 0);
    ck_assert_int_eq(getsockname(fd, (void *)&name, &size), 0);
    ck_assert_int_eq(connect(fd, (void *)&name, size), 0); /* nobody listens: it meets its own call */
    ck_assert(mproc__inet_is_self(fd));
    close(fd);
    ck_assert(family_use(1));
    listen_with(NULL);
    fd = raw_connect();
    ck_assert(!mproc__inet_is_self(fd));
    close(fd);
    close_all();
}
END_TEST

/* A backlog of one holds two clients; the next waits for a place as long as it may. */
START_TEST(a_full_backlog_is_waited_for_until_the_deadline)
{
    mproc__bound bound;
    int fds[8], count = 0, rc = 0;
    ck_assert_int_eq(mproc__inet_listen("tcp:127.0.0.1:0", true, 1, &bound), 0);
    while (count < 8 && rc == 0) {
        rc = mproc__inet_connect(bound.address, true, mproc_after_ms(50), &fds[count]);
        count += rc == 0;
    }
    ck_assert_int_eq(rc, -ETIMEDOUT);
    ck_assert_int_ge(count, 1);
    for (int i = 0; i < count; i++)
        close(fds[i]);
    mproc__bound_close(&bound);
}
END_TEST

START_TEST(sockets_are_close_on_exec_blocking_and_undelayed)
{
    int value = 0;
    socklen_t size = sizeof value;
    ck_assert(family_use(1));
    listen_with(NULL);
    int fd = raw_connect();
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    ck_assert_int_ne(value, 0);
    close(fd);
    close_all();
}
END_TEST

/* ---- what TCP does otherwise ---- */

static void open_both(void)
{
    ck_assert(family_use(1));
    listen_with(NULL);
    ck_assert_int_eq(client_open(NULL), 0);
    ck_assert_int_eq(server_accept(), 0);
}

/* shows: CONN-13 */
START_TEST(sending_to_one_who_has_gone_ends_as_a_broken_pipe)
{
    int rc = 0;
    open_both();
    mproc_connection_close(&server_end);
    for (int i = 0; i < 100 && rc == 0; i++) /* the first ones are taken */
        rc = mproc_connection_send(client_end, "anybody?", 8, SOON);
    ck_assert_int_eq(rc, -EPIPE);
    ck_assert_int_eq(recv_code(client_end), MPROC_EEND); /* its goodbye came first */
    close_all();
}
END_TEST

/* shows: CONN-12 */
START_TEST(a_reset_is_no_clean_end)
{
    open_both();
    put(client_end, "read by nobody");
    put(server_end, "last words");
    mproc_connection_close(&server_end);
    expect(client_end, "last words");
    ck_assert_int_eq(recv_code(client_end), -ECONNRESET);
    ck_assert_int_eq(recv_code(client_end), -ECONNRESET);
    close_all();
}
END_TEST

START_TEST(a_reset_is_known_also_when_a_send_saw_it_first)
{
    open_both();
    put(client_end, "read by nobody");
    mproc_connection_close(&server_end);
    ck_assert_int_eq(mproc_connection_send(client_end, "x", 1, SOON), -EPIPE);
    ck_assert_int_eq(recv_code(client_end), -ECONNRESET);
    close_all();
}
END_TEST

START_TEST(an_end_inside_a_message_is_a_broken_protocol_over_tcp)
{
    open_both();
    mproc_connection_close(&client_end);
    ck_assert_int_eq(recv_code(server_end), MPROC_EEND);
    mproc_connection_close(&server_end);
    int fd = raw_connect();
    ck_assert_int_eq(send(fd, "\3\0\0\0\0\0\0\2\5\1\1\0\0\0\0\0\0\11half", 22, MSG_NOSIGNAL), 22);
    close(fd);
    ck_assert_int_eq(server_accept(), 0);
    ck_assert_int_eq(recv_code(server_end), MPROC_EPROTOCOL);
    close_all();
}
END_TEST

START_TEST(a_descriptor_does_not_travel_over_tcp)
{
    mproc_connection *a, *b;
    open_both();
    ck_assert_int_eq(mproc_connection_pair(&a, &b), 0);
    ck_assert_int_eq(mproc_connection_send_variant(client_end, mproc_handle(a), SOON), MPROC_ECANNOTCROSS);
    put(client_end, "nothing went before");
    expect(server_end, "nothing went before");
    mproc_connection_close(&a);
    mproc_connection_close(&b);
    close_all();
}
END_TEST

/* Sends until nothing more goes, at once; then all that was taken comes, whole, and sending goes on. */
START_TEST(a_small_message_goes_whole_or_not_at_all)
{
    static char buffer[32768];
    size_t size = (size_t[]){1, 100, 5000, sizeof buffer}[_i], got;
    int sent = 0, rc;
    memset(buffer, 'x', sizeof buffer);
    open_both();
    while ((rc = mproc_connection_send(client_end, buffer, size, MPROC_NOW)) == 0)
        sent++;
    ck_assert_int_eq(rc, -ETIMEDOUT);
    for (int i = 0; i < sent; i++) {
        ck_assert_int_eq(mproc_connection_recv(server_end, buffer, sizeof buffer, SOON, &got), 0);
        ck_assert_uint_eq(got, size);
    }
    ck_assert_int_eq(mproc_connection_recv(server_end, buffer, sizeof buffer, MPROC_NOW, &got), -ETIMEDOUT);
    put(client_end, "goes on");
    expect(server_end, "goes on");
    close_all();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("inet");
    TCase *address = support_case(suite, "address");
    tcase_add_test(address, what_is_no_tcp_address_is_refused);
    tcase_add_test(address, plain_tcp_needs_the_option_and_stays_on_this_machine);
    tcase_add_loop_test(address, port_zero_becomes_the_real_port, 0, FAMILIES - 1);
    tcase_add_test(address, localhost_is_either_loopback);
    tcase_add_loop_test(address, a_port_in_use_is_refused, 0, FAMILIES - 1);
    tcase_add_loop_test(address, a_port_can_be_bound_again_right_after_the_close, 0, FAMILIES - 1);
    tcase_add_loop_test(address, connecting_to_nobody_is_refused_at_once, 0, FAMILIES - 1);
    tcase_add_test(address, a_socket_that_found_itself_is_known);
    tcase_add_test(address, a_full_backlog_is_waited_for_until_the_deadline);
    tcase_add_test(address, sockets_are_close_on_exec_blocking_and_undelayed);
    TCase *end = support_case(suite, "end");
    tcase_add_test(end, sending_to_one_who_has_gone_ends_as_a_broken_pipe);
    tcase_add_test(end, a_reset_is_no_clean_end);
    tcase_add_test(end, a_reset_is_known_also_when_a_send_saw_it_first);
    tcase_add_test(end, an_end_inside_a_message_is_a_broken_protocol_over_tcp);
    tcase_add_test(end, a_descriptor_does_not_travel_over_tcp);
    tcase_add_loop_test(end, a_small_message_goes_whole_or_not_at_all, 0, 4);
    return support_run(suite, argc, argv);
}
