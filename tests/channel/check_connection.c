/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <mproc/connection.h>
#include "channel/connection_common.h"
#include "channel/frame.h"
#include "platform/platform.h"
#include "support/support.h"

/* ---- messages ---- */

/* shows: CONN-02 CONN-03 */
START_TEST(messages_keep_their_boundaries_and_empty_ones_are_messages)
{
    open_pair();
    put(a, "a");
    put(a, "");
    put(a, "b");
    put(a, "cd");
    put(a, "");
    expect(b, "a");
    expect(b, "");
    expect(b, "b");
    expect(b, "cd");
    expect(b, "");
    put(b, "and back");
    expect(a, "and back");
    close_pair();
}
END_TEST

/* shows: CONN-04 */
START_TEST(a_receive_writes_the_message_and_nothing_beside_it)
{
    char buffer[16];
    size_t size;
    open_pair();
    memset(buffer, '.', sizeof buffer);
    put(a, "hello");
    ck_assert_int_eq(mproc_connection_recv(b, buffer + 3, sizeof buffer - 3, SOON, &size), 0);
    ck_assert_uint_eq(size, 5);
    ck_assert_mem_eq(buffer, "...hello........", sizeof buffer);
    close_pair();
}
END_TEST

/* shows: CONN-05 CONN-06 */
START_TEST(a_buffer_too_small_keeps_the_message_and_says_its_size)
{
    char buffer[8];
    size_t size = 0;
    open_pair();
    put(a, "a longer message");
    put(a, "next");
    ck_assert_int_eq(mproc_connection_recv(b, buffer, sizeof buffer, SOON, &size), MPROC_ETOOSMALL);
    ck_assert_uint_eq(size, 16);
    ck_assert_int_eq(mproc_connection_recv(b, NULL, 0, SOON, &size), MPROC_ETOOSMALL);
    expect(b, "a longer message");
    expect(b, "next");
    put(a, "");
    ck_assert_int_eq(mproc_connection_recv(b, NULL, 0, SOON, &size), 0);
    ck_assert_uint_eq(size, 0);
    close_pair();
}
END_TEST

/* shows: CONN-17 */
START_TEST(a_window_of_a_buffer_is_sent_by_pointer_and_size)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    open_pair();
    ck_assert_int_eq(mproc_connection_send(a, letters + 5, 21, SOON), 0);
    ck_assert_int_eq(mproc_connection_send(a, letters + 7, 8, SOON), 0);
    ck_assert_int_eq(mproc_connection_send(a, letters + 26, 0, SOON), 0);
    expect(b, letters + 5);
    expect(b, "hijklmno");
    expect(b, "");
    ck_assert_int_eq(mproc_connection_send(a, NULL, 1, SOON), -EINVAL);
    ck_assert_int_eq(mproc_connection_send(a, NULL, 0, SOON), 0);
    expect(b, "");
    close_pair();
}
END_TEST

/* shows: CONN-07 */
START_TEST(a_receive_waits_as_long_as_its_deadline_says)
{
    char buffer[8];
    size_t size;
    int64_t begin;
    open_pair();
    ck_assert_int_eq(mproc_connection_recv(b, buffer, sizeof buffer, MPROC_NOW, &size), -ETIMEDOUT);
    begin = mproc__now_ns();
    ck_assert_int_eq(mproc_connection_recv(b, buffer, sizeof buffer, mproc_after_ms(30), &size), -ETIMEDOUT);
    ck_assert_int_ge(mproc__now_ns() - begin, 30000000);
    put(a, "x");
    ck_assert_int_eq(mproc_connection_recv(b, NULL, 0, MPROC_NOW, &size), MPROC_ETOOSMALL);
    ck_assert_int_eq(mproc_connection_recv(b, buffer, sizeof buffer, MPROC_NOW, &size), 0);
    close_pair();
}
END_TEST

static int echo_large(void *context)
{
    size_t size = *(size_t *)context, got = 0;
    char *buffer = malloc(size);
    mproc_connection_close(&a);
    int rc = mproc_connection_recv(b, buffer, size, SOON, &got);
    if (rc == 0)
        rc = mproc_connection_send(b, buffer, got, SOON);
    free(buffer);
    return rc == 0 ? 0 : 1;
}

/* shows: CONN-08 */
START_TEST(sixteen_mebibytes_survive_an_echo_by_a_child)
{
    size_t size = 16 << 20, got = 0;
    uint8_t *data = malloc(size), *back = malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 24);
    open_pair();
    pid_t child = support_fork(echo_large, &size);
    mproc_connection_close(&b);
    ck_assert_int_eq(mproc_connection_send(a, data, size, SOON), 0);
    ck_assert_int_eq(mproc_connection_recv(a, back, size, SOON, &got), 0);
    ck_assert_uint_eq(got, size);
    ck_assert_mem_eq(back, data, size);
    ck_assert_int_eq(support_reap(child, 2000), 0);
    mproc_connection_close(&a);
    free(data);
    free(back);
}
END_TEST

START_TEST(a_message_that_came_in_part_is_finished_by_the_next_receive)
{
    char buffer[64];
    size_t size;
    int fd;
    mproc_connection *connection = open_raw(&fd);
    uint8_t bytes[MPROC__FRAME_HEADER_BYTES + 10];
    mproc__frame_header(bytes, MPROC__FRAME_BYTES, 10);
    memcpy(bytes + MPROC__FRAME_HEADER_BYTES, "0123456789", 10);
    for (size_t i = 0; i < sizeof bytes; i++) {
        ck_assert_int_eq(mproc_connection_recv(connection, buffer, sizeof buffer, MPROC_NOW, &size),
                         -ETIMEDOUT);
        ck_assert_int_eq(send(fd, bytes + i, 1, 0), 1);
    }
    expect(connection, "0123456789");
    mproc_connection_close(&connection);
    close(fd);
}
END_TEST

/* ---- ends ---- */

/* shows: CONN-11 */
START_TEST(after_a_close_pending_messages_come_and_then_the_end)
{
    char buffer[8];
    size_t size;
    open_pair();
    put(a, "last");
    mproc_connection_close(&a);
    expect(b, "last");
    ck_assert_int_eq(mproc_connection_recv(b, buffer, sizeof buffer, SOON, &size), MPROC_EEND);
    ck_assert_int_eq(mproc_connection_recv(b, buffer, sizeof buffer, SOON, &size), MPROC_EEND);
    close_pair();
}
END_TEST

/* shows: CONN-11 */
START_TEST(a_peer_that_closes_without_reading_is_a_clean_end)
{
    char buffer[8];
    size_t size;
    open_pair();
    put(b, "never read");
    put(a, "last");
    mproc_connection_close(&a);
    expect(b, "last");
    ck_assert_int_eq(mproc_connection_recv(b, buffer, sizeof buffer, SOON, &size), MPROC_EEND);
    close_pair();
}
END_TEST

/* shows: CONN-12 */
START_TEST(an_end_inside_a_message_is_no_clean_end)
{
    char buffer[64];
    size_t size;
    for (unsigned part = 1; part < 12; part++) {
        int fd;
        mproc_connection *connection = open_raw(&fd);
        uint8_t bytes[12] = {MPROC__FRAME_BYTES, 0, 0, 0, 0, 0, 0, 40, 'a', 'b', 'c', 'd'};
        ck_assert_int_eq(send(fd, bytes, part, 0), part);
        close(fd);
        ck_assert_int_eq(mproc_connection_recv(connection, buffer, sizeof buffer, SOON, &size),
                         MPROC_EPROTOCOL);
        ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(connection)), "middle of a message"));
        ck_assert_int_eq(mproc_connection_recv(connection, buffer, sizeof buffer, SOON, &size),
                         MPROC_EPROTOCOL);
        mproc_connection_close(&connection);
    }
}
END_TEST

/* shows: CONN-13 */
START_TEST(sending_to_nobody_is_a_broken_pipe_and_no_signal)
{
    open_pair();
    mproc_connection_close(&b);
    ck_assert_int_eq(mproc_connection_send(a, "x", 1, SOON), -EPIPE);
    ck_assert_int_eq(mproc_connection_send(a, "x", 1, SOON), -EPIPE);
    close_pair();
}
END_TEST

/* shows: CONN-14 */
START_TEST(a_one_way_pair_has_a_reader_and_a_writer)
{
    char buffer[8], text[128];
    size_t size;
    ck_assert_int_eq(mproc_connection_one_way(&a, &b), 0);
    put(b, "down");
    expect(a, "down");
    ck_assert_int_eq(mproc_connection_send(a, "x", 1, SOON), MPROC_ESTATE);
    ck_assert_int_eq(mproc_connection_recv(b, buffer, sizeof buffer, SOON, &size), MPROC_ESTATE);
    mproc_describe(a, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "receiving"));
    mproc_describe(b, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "sending"));
    close_pair();
}
END_TEST

/* shows: CONN-15 */
START_TEST(after_close_every_call_is_an_error_and_closing_again_is_harmless)
{
    char buffer[8];
    size_t size;
    mproc_variant item;
    open_pair();
    close_pair();
    close_pair();
    mproc_connection_close(NULL);
    ck_assert_int_eq(mproc_connection_send(a, "x", 1, SOON), -EINVAL);
    ck_assert_int_eq(mproc_connection_recv(a, buffer, sizeof buffer, SOON, &size), -EINVAL);
    ck_assert_int_eq(mproc_connection_send_variant(a, mproc_int(1), SOON), -EINVAL);
    ck_assert_int_eq(mproc_connection_recv_variant(a, SOON, &item), -EINVAL);
    ck_assert_ptr_null(mproc_connection_peer(a));
}
END_TEST

/* shows: CONN-16 */
START_TEST(a_message_above_the_limit_ends_receiving_but_not_sending)
{
    char buffer[8];
    size_t size;
    int fd;
    mproc_connection *connection = open_raw(&fd);
    raw_header(fd, MPROC__FRAME_BYTES, (UINT64_C(64) << 20) + 1);
    ck_assert_int_eq(mproc_connection_recv(connection, buffer, sizeof buffer, SOON, &size), -EMSGSIZE);
    ck_assert_int_eq(mproc_connection_recv(connection, buffer, sizeof buffer, SOON, &size), -EMSGSIZE);
    ck_assert_int_eq(mproc_connection_send(connection, "x", 1, SOON), 0);
    mproc_connection_close(&connection);
    close(fd);
}
END_TEST

/* shows: CONN-22 */
START_TEST(a_claimed_length_is_not_allocated)
{
    size_t size = 0;
    int fd;
    char *page = calloc(1, 4096);
    mproc_variant item;
    mproc_connection *connection = open_raw(&fd);
    raw_header(fd, MPROC__FRAME_VARIANT, UINT64_C(64) << 20);
    ck_assert_int_eq(send(fd, page, 4096, 0), 4096);
    support_fail_allocation(2); /* the first piece is all that is asked for */
    int rc = mproc_connection_recv_variant(connection, MPROC_NOW, &item);
    bool failed = support_allocation_failed();
    ck_assert_int_eq(rc, -ETIMEDOUT);
    ck_assert(!failed);
    ck_assert_int_eq(mproc_connection_recv(connection, NULL, 0, MPROC_NOW, &size), MPROC_EARGUMENT);
    mproc_connection_close(&connection);
    close(fd);
    free(page);
}
END_TEST

START_TEST(a_send_cut_by_its_deadline_ends_the_sending_side)
{
    size_t size = 4 << 20, got;
    char *data = calloc(1, size);
    int rc;
    open_pair();
    ck_assert_int_eq(mproc_connection_send(a, data, size, mproc_after_ms(20)), -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "can send no more"));
    ck_assert_int_eq(mproc_connection_send(a, "x", 1, SOON), -EPIPE);
    rc = mproc_connection_recv(b, data, size, SOON, &got);
    ck_assert_int_eq(rc, MPROC_EPROTOCOL);
    put(b, "the other way still works");
    expect(a, "the other way still works");
    close_pair();
    free(data);
}
END_TEST

START_TEST(a_try_to_send_into_a_full_socket_changes_nothing)
{
    char data[1000] = {0}, back[1000];
    unsigned sent = 0, got = 0;
    size_t size;
    open_pair();
    while (mproc_connection_send(a, data, sizeof data, MPROC_NOW) == 0)
        sent++;
    ck_assert_int_eq(mproc_error_code(mproc_last_error()), -ETIMEDOUT);
    while (mproc_connection_recv(b, back, sizeof back, MPROC_NOW, &size) == 0)
        got += size == sizeof data;
    ck_assert_uint_eq(got, sent);
    put(a, "still whole");
    expect(b, "still whole");
    close_pair();
}
END_TEST

/* As above with messages that leave the socket's buffer at every state of fullness, a little room for a header among them. */
START_TEST(a_try_to_send_up_to_32_kib_changes_nothing)
{
    static char data[32768], back[sizeof data];
    unsigned random = 1;
    for (int round = 0; round < 300; round++) {
        unsigned sent = 0;
        size_t size, length;
        open_pair();
        do {
            random = random * 1103515245 + 12345;
            length = 2049 + (random >> 8) % (sizeof data - 2048);
        } while (mproc_connection_send(a, data, length, MPROC_NOW) == 0 && ++sent);
        for (; sent > 0; sent--)
            ck_assert_int_eq(mproc_connection_recv(b, back, sizeof back, MPROC_NOW, &size), 0);
        put(a, "still whole");
        expect(b, "still whole");
        close_pair();
    }
}
END_TEST

/* shows: CONN-20 */
START_TEST(what_is_no_stream_socket_is_not_wrapped)
{
    mproc_connection *connection = NULL;
    int fds[2];
    ck_assert_int_eq(mproc_connection_wrap(-1, &connection), -EBADF);
    ck_assert_int_eq(mproc_connection_wrap(999, &connection), -EBADF);
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    ck_assert_int_eq(mproc_connection_wrap(fds[0], &connection), -ENOTSOCK);
    ck_assert_ptr_null(connection);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(without_memory_a_socket_is_not_wrapped_and_stays_as_it_was)
{
    mproc_connection *connection = NULL;
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    support_fail_allocation(1);
    ck_assert_int_eq(mproc_connection_wrap(fds[0], &connection), -ENOMEM);
    ck_assert(support_allocation_failed());
    ck_assert_ptr_null(connection);
    ck_assert_int_eq(fcntl(fds[0], F_GETFD), 0);
    ck_assert_int_eq(mproc_connection_wrap(fds[0], &connection), 0);
    ck_assert_int_eq(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    mproc_connection_close(&connection);
    close(fds[1]);
}
END_TEST

/* ---- processes ---- */

static int reads_second(void *context)
{
    char buffer[64];
    size_t size;
    (void)context;
    return mproc_connection_recv(b, buffer, sizeof buffer, SOON, &size) == 0 && size == 6 &&
                   memcmp(buffer, "second", 6) == 0
               ? 0
               : 1;
}

/* shows: CONN-10 */
START_TEST(two_processes_at_one_end_get_whole_messages)
{
    open_pair();
    put(a, "first");
    put(a, "second");
    put(a, "third");
    expect(b, "first");
    ck_assert_int_eq(support_reap(support_fork(reads_second, NULL), 2000), 0);
    expect(b, "third");
    close_pair();
}
END_TEST

static int dies_with_the_end(void *context)
{
    (void)context;
    mproc_connection_close(&a);
    put(b, "ready");
    pause();
    return 0;
}

/* shows: CONN-11 DEATH-7 */
START_TEST(a_killed_peer_is_an_end)
{
    char buffer[8];
    size_t size;
    open_pair();
    pid_t child = support_fork(dies_with_the_end, NULL);
    mproc_connection_close(&b);
    expect(a, "ready");
    support_kill(child);
    ck_assert_int_eq(mproc_connection_recv(a, buffer, sizeof buffer, SOON, &size), MPROC_EEND);
    mproc_connection_close(&a);
}
END_TEST

static volatile sig_atomic_t alarms;

static void on_alarm(int number)
{
    (void)number;
    alarms++;
}

static int slow_reader(void *context)
{
    size_t size = 8 << 20, got = 0;
    char *buffer = malloc(size);
    (void)context;
    mproc_connection_close(&a);
    /* The sender has filled the socket, and is interrupted while it waits. */
    bool waits = support_until_asleep(getppid(), 5000);
    int rc = mproc_connection_recv(b, buffer, size, SOON, &got);
    for (size_t i = 0; rc == 0 && i < got; i++)
        rc = buffer[i] == (char)(i % 251) ? 0 : 1;
    free(buffer);
    return waits && rc == 0 && got == size ? 0 : 1;
}

/* shows: CONN-19 */
START_TEST(signals_during_a_long_send_lose_nothing)
{
    struct sigaction action = {.sa_handler = on_alarm}, old;
    struct itimerval often = {.it_interval.tv_usec = 500, .it_value.tv_usec = 500}, never = {0};
    size_t size = 8 << 20;
    char *data = malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i % 251);
    open_pair();
    pid_t child = support_fork(slow_reader, NULL);
    mproc_connection_close(&b);
    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &often, NULL);
    int rc = mproc_connection_send(a, data, size, SOON);
    setitimer(ITIMER_REAL, &never, NULL);
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(support_reap(child, 5000), 0);
    ck_assert_int_gt(alarms, 0);
    sigaction(SIGALRM, &old, NULL);
    mproc_connection_close(&a);
    free(data);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("connection");
    TCase *messages = support_case(suite, "messages");
    tcase_add_test(messages, messages_keep_their_boundaries_and_empty_ones_are_messages);
    tcase_add_test(messages, a_receive_writes_the_message_and_nothing_beside_it);
    tcase_add_test(messages, a_buffer_too_small_keeps_the_message_and_says_its_size);
    tcase_add_test(messages, a_window_of_a_buffer_is_sent_by_pointer_and_size);
    tcase_add_test(messages, a_receive_waits_as_long_as_its_deadline_says);
    tcase_add_test(messages, sixteen_mebibytes_survive_an_echo_by_a_child);
    tcase_add_test(messages, a_message_that_came_in_part_is_finished_by_the_next_receive);
    TCase *ends = support_case(suite, "ends");
    tcase_add_test(ends, after_a_close_pending_messages_come_and_then_the_end);
    tcase_add_test(ends, a_peer_that_closes_without_reading_is_a_clean_end);
    tcase_add_test(ends, an_end_inside_a_message_is_no_clean_end);
    tcase_add_test(ends, sending_to_nobody_is_a_broken_pipe_and_no_signal);
    tcase_add_test(ends, a_one_way_pair_has_a_reader_and_a_writer);
    tcase_add_test(ends, after_close_every_call_is_an_error_and_closing_again_is_harmless);
    tcase_add_test(ends, a_message_above_the_limit_ends_receiving_but_not_sending);
    tcase_add_test(ends, a_claimed_length_is_not_allocated);
    tcase_add_test(ends, a_send_cut_by_its_deadline_ends_the_sending_side);
    tcase_add_test(ends, a_try_to_send_into_a_full_socket_changes_nothing);
    tcase_add_test(ends, a_try_to_send_up_to_32_kib_changes_nothing);
    tcase_add_test(ends, what_is_no_stream_socket_is_not_wrapped);
    tcase_add_test(ends, without_memory_a_socket_is_not_wrapped_and_stays_as_it_was);
    TCase *processes = support_case(suite, "processes");
    tcase_add_test(processes, two_processes_at_one_end_get_whole_messages);
    tcase_add_test(processes, a_killed_peer_is_an_end);
    tcase_add_test(processes, signals_during_a_long_send_lose_nothing);
    return support_run(suite, argc, argv);
}
