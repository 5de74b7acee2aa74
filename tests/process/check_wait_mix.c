/* SPDX-License-Identifier: BSD-2-Clause */
/* One wait over connections, listeners, events, descriptors and the ends of processes. Loops are over start methods. */
#include "platform/base.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <mproc/connection.h>
#include <mproc/sync.h>
#include <mproc/wait.h>
#include "process/process_support.h"

enum { WRITERS = 4, MESSAGES = 10 };

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LIMIT_MS));
}

static int writes_ten(mproc_call *call)
{
    mproc_connection *writer = mproc_call_connection(call, 0);
    struct timespec pause = {.tv_nsec = (long)mproc_call_int(call, 1)};
    for (int i = 0; i < MESSAGES; i++) {
        nanosleep(&pause, NULL);
        int rc = mproc_connection_send(writer, &i, sizeof i, soon());
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* One message of each that is ready, or its end: then it leaves. How many have left. */
static size_t serve(mproc_wait_item *items, size_t *count, unsigned *messages)
{
    size_t left = 0;
    for (size_t i = *count; i-- > 0;) {
        int number;
        size_t size;
        if (!items[i].ready)
            continue;
        int rc = mproc_connection_recv(items[i].handle, &number, sizeof number, MPROC_NOW, &size);
        ck_assert_msg(rc == 0 || rc == MPROC_EEND, "%s", mproc_strerror(rc));
        if (rc == 0) {
            ++*messages;
            continue;
        }
        items[i] = items[--*count];
        left++;
    }
    return left;
}

/* shows: WAIT-01 */
START_TEST(four_pipes_fed_by_four_children_bring_forty_messages_and_four_ends)
{
    static const long pauses_ns[] = {0, 5000000};
    warm();
    for (size_t speed = 0; speed < MPROC__COUNT(pauses_ns); speed++) {
        mproc_process *children[WRITERS];
        mproc_connection *readers[WRITERS];
        mproc_wait_item items[WRITERS];
        size_t count = WRITERS, ended = 0;
        unsigned messages = 0;
        for (int i = 0; i < WRITERS; i++) {
            mproc_connection *writer;
            ck_assert_int_eq(mproc_connection_one_way(&readers[i], &writer), 0);
            children[i] = start(_i, writes_ten, MPROC_ARGS(writer, (int64_t)pauses_ns[speed] * (i + 1)));
            mproc_connection_close(&writer);
            items[i] = (mproc_wait_item){.handle = readers[i]};
        }
        while (count > 0) {
            ck_assert_int_eq(mproc_wait(items, count, MPROC_WAIT_ANY, soon(), NULL), 0);
            ended += serve(items, &count, &messages);
        }
        ck_assert_uint_eq(messages, WRITERS * MESSAGES);
        ck_assert_uint_eq(ended, WRITERS);
        for (int i = 0; i < WRITERS; i++) {
            ck_assert_int_eq(join(children[i]), 0);
            mproc_process_close(&children[i]);
            mproc_connection_close(&readers[i]);
        }
    }
}
END_TEST

/* shows: WAIT-02 */
START_TEST(plain_sockets_and_descriptors_are_waited_for_beside_connections)
{
    mproc_connection *a, *b;
    int sockets[2], pipes[2];
    size_t count;
    ck_assert_int_eq(mproc_connection_pair(&a, &b), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    mproc_wait_item items[] = {{.fd = sockets[0], .events = POLLIN},
                               {.handle = a},
                               {.fd = pipes[0], .events = POLLIN},
                               {.fd = pipes[1], .events = POLLOUT}};
    ck_assert_int_eq(mproc_wait(items, 3, MPROC_WAIT_ANY, MPROC_NOW, &count), -ETIMEDOUT);
    ck_assert_int_eq(mproc_wait(items, 4, MPROC_WAIT_ANY, MPROC_NOW, &count), 0);
    ck_assert_uint_eq(items[3].ready, POLLOUT);
    ck_assert_int_eq(write(sockets[1], "s", 1), 1);
    ck_assert_int_eq(mproc_connection_send(b, "c", 1, soon()), 0);
    ck_assert_int_eq(mproc_wait(items, 3, MPROC_WAIT_ANY, soon(), &count), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert(items[0].ready && items[1].ready && !items[2].ready);
    ck_assert_int_eq(write(pipes[1], "p", 1), 1);
    ck_assert_int_eq(mproc_wait(items, 3, MPROC_WAIT_ALL, soon(), &count), 0);
    ck_assert_uint_eq(count, 3);
    mproc_connection_close(&a);
    mproc_connection_close(&b);
    close(sockets[0]), close(sockets[1]), close(pipes[0]), close(pipes[1]);
}
END_TEST

/* shows: WAIT-03 */
START_TEST(with_nothing_ready_the_wait_lasts_and_then_tells_of_the_one_with_data)
{
    mproc_connection *a, *b, *c, *d;
    size_t count = 99;
    ck_assert_int_eq(mproc_connection_pair(&a, &b), 0);
    ck_assert_int_eq(mproc_connection_pair(&c, &d), 0);
    mproc_wait_item items[] = {{.handle = a}, {.handle = c}};
    int64_t begun = mproc__now_ns();
    ck_assert_int_eq(mproc_wait(items, 2, MPROC_WAIT_ANY, mproc_after_ms(200), &count), -ETIMEDOUT);
    ck_assert_int_ge(mproc__now_ns() - begun, 200 * INT64_C(1000000));
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(mproc_connection_send(d, "", 0, soon()), 0);
    ck_assert_int_eq(mproc_wait(items, 2, MPROC_WAIT_ANY, soon(), &count), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert(!items[0].ready && items[1].ready);
    mproc_connection_close(&a), mproc_connection_close(&b);
    mproc_connection_close(&c), mproc_connection_close(&d);
}
END_TEST

static int waits_at_a_gate(mproc_call *call)
{
    return gate_pass(call, 0);
}

enum { ENDS = 50, END_CODE = 3 };

static int fails_at_a_gate(mproc_call *call)
{
    (void)gate_pass(call, 0);
    return END_CODE;
}

/* The kernel wakes the waiter of a forkserver child before the nursery has told how the child ended. */
START_TEST(what_a_wait_calls_ended_is_joined_without_waiting)
{
    warm();
    for (int i = 0; i < ENDS; i++) {
        int code = -1000;
        gate go = gate_make();
        mproc_process *child = start(_i, fails_at_a_gate, MPROC_ARGS(mproc_fd(go.read_fd)));
        mproc_wait_item item = {.handle = child};
        if (i % 2 == 0 || _i == MPROC_START_THREAD)
            gate_open(&go);
        else
            ck_assert_int_eq(mproc_process_signal(child, SIGKILL), 0);
        ck_assert_int_eq(mproc_wait(&item, 1, MPROC_WAIT_ANY, soon(), NULL), 0);
        ck_assert(!mproc_process_is_alive(child));
        ck_assert_int_eq(mproc_process_join(child, MPROC_NOW, &code), 0);
        ck_assert_int_eq(code, i % 2 == 0 || _i == MPROC_START_THREAD ? END_CODE : -SIGKILL);
        mproc_process_close(&child);
        gate_destroy(&go);
    }
}
END_TEST

START_TEST(a_wait_for_the_first_failure_sees_that_of_a_process_by_each_method)
{
    warm();
    gate never = gate_make();
    mproc_process *stays = start(_i, waits_at_a_gate, MPROC_ARGS(mproc_fd(never.read_fd)));
    for (int i = 0; i < ENDS; i++) {
        size_t count;
        gate go = gate_make();
        mproc_process *child = start(_i, fails_at_a_gate, MPROC_ARGS(mproc_fd(go.read_fd)));
        mproc_wait_item items[] = {{.handle = stays}, {.handle = child}};
        gate_open(&go);
        ck_assert_int_eq(mproc_wait(items, 2, MPROC_WAIT_FIRST_FAILURE, soon(), &count), 0);
        ck_assert_uint_eq(count, 1);
        mproc_process_close(&child);
        gate_destroy(&go);
    }
    gate_open(&never);
    ck_assert_int_eq(join(stays), 0);
    mproc_process_close(&stays);
    gate_destroy(&never);
}
END_TEST

/* shows: WAIT-04 */
START_TEST(the_end_of_a_process_is_waited_for_beside_connections)
{
    mproc_connection *a, *b, *x, *y;
    size_t count;
    warm();
    gate go = gate_make();
    mproc_process *child = start(_i, waits_at_a_gate, MPROC_ARGS(mproc_fd(go.read_fd)));
    ck_assert_int_eq(mproc_connection_pair(&a, &b), 0);
    ck_assert_int_eq(mproc_connection_pair(&x, &y), 0);
    mproc_wait_item items[] = {{.handle = a}, {.handle = child}, {.handle = x}};
    ck_assert_int_eq(mproc_wait(items, 3, MPROC_WAIT_ANY, mproc_after_ms(50), &count), -ETIMEDOUT);
    gate_open(&go);
    ck_assert_int_eq(mproc_wait(items, 3, MPROC_WAIT_ANY, soon(), &count), 0);
    ck_assert(!items[0].ready && items[1].ready && !items[2].ready);
    ck_assert_int_eq(mproc_connection_send(b, "1", 1, soon()), 0);
    ck_assert_int_eq(mproc_wait(items, 3, MPROC_WAIT_ANY, soon(), &count), 0);
    ck_assert(items[0].ready && items[1].ready && !items[2].ready);
    ck_assert_int_eq(mproc_connection_send(y, "2", 1, soon()), 0);
    ck_assert_int_eq(mproc_wait(items, 3, MPROC_WAIT_ANY, soon(), &count), 0);
    ck_assert_uint_eq(count, 3);
    ck_assert_int_eq(join(child), 0);
    ck_assert_int_eq(mproc_wait(&items[1], 1, MPROC_WAIT_ANY, MPROC_NOW, &count), 0);
    mproc_process_close(&child);
    mproc_connection_close(&a), mproc_connection_close(&b);
    mproc_connection_close(&x), mproc_connection_close(&y);
    gate_destroy(&go);
}
END_TEST

START_TEST(a_message_kept_for_a_larger_buffer_is_ready_though_its_socket_is_empty)
{
    mproc_connection *a, *b;
    mproc_variant item;
    size_t size;
    char byte;
    ck_assert_int_eq(mproc_connection_pair(&a, &b), 0);
    mproc_wait_item wait = {.handle = a};
    ck_assert_int_eq(mproc_connection_send_variant(b, mproc_text("two"), soon()), 0);
    ck_assert_int_eq(mproc_connection_recv(a, &byte, 1, MPROC_NOW, &size), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_wait(&wait, 1, MPROC_WAIT_ANY, MPROC_NOW, NULL), 0);
    ck_assert_int_eq(mproc_connection_recv_variant(a, MPROC_NOW, &item), 0);
    mproc_variant_clear(&item);
    ck_assert_int_eq(mproc_wait(&wait, 1, MPROC_WAIT_ANY, MPROC_NOW, NULL), -ETIMEDOUT);
    /* All of the next is in the connection's own memory: a variant with nothing in it to read from the socket. */
    ck_assert_int_eq(mproc_connection_send(b, "", 0, soon()), 0);
    ck_assert_int_eq(mproc_connection_recv(a, NULL, 0, MPROC_NOW, &size), 0);
    ck_assert_int_eq(mproc_wait(&wait, 1, MPROC_WAIT_ANY, MPROC_NOW, NULL), -ETIMEDOUT);
    mproc_connection_close(&b);
    ck_assert_int_eq(mproc_wait(&wait, 1, MPROC_WAIT_ANY, soon(), NULL), 0);
    ck_assert_int_eq(mproc_connection_recv(a, &byte, 1, MPROC_NOW, &size), MPROC_EEND);
    ck_assert_int_eq(mproc_wait(&wait, 1, MPROC_WAIT_ANY, MPROC_NOW, NULL), 0);
    mproc_connection_close(&a);
}
END_TEST

static const char key[] = "0123456789abcdef";

static int opens_and_says(mproc_call *call)
{
    mproc_connection_options options = {
        .size = sizeof options, .key = key, .key_bytes = mproc_call_int(call, 1) ? 16 : 0};
    if (!options.key_bytes)
        options.key = NULL;
    mproc_connection *connection;
    int rc = mproc_connection_open(mproc_call_text(call, 0), &options, soon(), &connection);
    if (rc < 0)
        return 1;
    rc = mproc_connection_send(connection, "hello", 5, soon());
    mproc_connection_close(&connection);
    return rc < 0;
}

/* Also the handshake of a client is waited for, and the greeting of a listener is no message. */
static void a_client_comes(int method, bool keyed)
{
    mproc_connection_options options = {
        .size = sizeof options, .key = keyed ? key : NULL, .key_bytes = keyed ? 16 : 0};
    mproc_listener *listener;
    mproc_connection *accepted = NULL;
    char text[8];
    size_t size;
    int rc = -ETIMEDOUT;
    ck_assert_int_eq(mproc_listener_create(NULL, &options, &listener), 0);
    mproc_wait_item items[] = {{.handle = listener}, {.handle = NULL}};
    ck_assert_int_eq(mproc_wait(items, 1, MPROC_WAIT_ANY, MPROC_NOW, NULL), -ETIMEDOUT);
    mproc_process *child =
        start(method, opens_and_says, MPROC_ARGS(mproc_listener_address(listener), (int64_t)keyed));
    while (rc == -ETIMEDOUT) {
        ck_assert_int_eq(mproc_wait(items, 1, MPROC_WAIT_ANY, soon(), NULL), 0);
        rc = mproc_listener_accept(listener, MPROC_NOW, &accepted);
    }
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    items[1].handle = accepted;
    ck_assert_int_eq(mproc_wait(&items[1], 1, MPROC_WAIT_ANY, soon(), NULL), 0);
    ck_assert_int_eq(mproc_connection_recv(accepted, text, sizeof text, MPROC_NOW, &size), 0);
    ck_assert_uint_eq(size, 5);
    ck_assert_int_eq(mproc_wait(items, 1, MPROC_WAIT_ANY, MPROC_NOW, NULL), -ETIMEDOUT);
    ck_assert_int_eq(join(child), 0);
    mproc_process_close(&child);
    mproc_connection_close(&accepted);
    mproc_listener_close(&listener);
}

START_TEST(a_listener_is_ready_when_a_client_comes_and_when_it_goes_on)
{
    warm();
    a_client_comes(_i, false);
    a_client_comes(_i, true);
}
END_TEST

START_TEST(the_greeting_of_a_listener_is_no_message_to_wait_for)
{
    mproc_listener *listener;
    mproc_connection *client, *server;
    ck_assert_int_eq(mproc_listener_create(NULL, NULL, &listener), 0);
    ck_assert_int_eq(mproc_connection_open(mproc_listener_address(listener), NULL, soon(), &client), 0);
    ck_assert_int_eq(mproc_listener_accept(listener, soon(), &server), 0);
    mproc_wait_item items[] = {{.handle = client}, {.handle = server}};
    ck_assert_int_eq(mproc_wait(items, 2, MPROC_WAIT_ANY, mproc_after_ms(50), NULL), -ETIMEDOUT);
    ck_assert_int_eq(mproc_connection_send(server, "x", 1, soon()), 0);
    ck_assert_int_eq(mproc_wait(items, 2, MPROC_WAIT_ANY, soon(), NULL), 0);
    ck_assert(items[0].ready && !items[1].ready);
    mproc_connection_close(&client);
    mproc_connection_close(&server);
    mproc_listener_close(&listener);
}
END_TEST

static int sets(mproc_call *call)
{
    return mproc_event_set(mproc_call_event(call, 0));
}

START_TEST(an_event_that_a_child_sets_is_waited_for_beside_its_end)
{
    mproc_event *event;
    size_t count;
    warm();
    ck_assert_int_eq(mproc_event_create(NULL, MPROC_WITH(mproc_event_options, .pollable = true), &event), 0);
    mproc_process *child = start(_i, sets, MPROC_ARGS(event));
    mproc_wait_item items[] = {{.handle = event}, {.handle = child}};
    ck_assert_int_eq(mproc_wait(items, 2, MPROC_WAIT_ALL, soon(), &count), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(mproc_event_clear(event), 0);
    ck_assert_int_eq(mproc_wait(items, 1, MPROC_WAIT_ANY, MPROC_NOW, &count), -ETIMEDOUT);
    ck_assert_int_eq(join(child), 0);
    mproc_process_close(&child);
    mproc_event_close(&event);
}
END_TEST

START_TEST(who_cannot_be_waited_for_says_so)
{
    mproc_wait_item self = {.handle = mproc_process_self()};
    ck_assert_int_eq(mproc_wait(&self, 1, MPROC_WAIT_ANY, MPROC_NOW, NULL), MPROC_ESTATE);
    ck_assert_int_eq(mproc_wait_fd(mproc_process_self()), MPROC_ESTATE);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("wait for a mix");
    TCase *mix = support_case(suite, "mix");
    tcase_add_loop_test(mix, four_pipes_fed_by_four_children_bring_forty_messages_and_four_ends, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_test(mix, plain_sockets_and_descriptors_are_waited_for_beside_connections);
    tcase_add_test(mix, with_nothing_ready_the_wait_lasts_and_then_tells_of_the_one_with_data);
    tcase_add_loop_test(mix, the_end_of_a_process_is_waited_for_beside_connections, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(mix, what_a_wait_calls_ended_is_joined_without_waiting, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(mix, a_wait_for_the_first_failure_sees_that_of_a_process_by_each_method, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(mix, an_event_that_a_child_sets_is_waited_for_beside_its_end, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_test(mix, who_cannot_be_waited_for_says_so);
    TCase *connections = support_case(suite, "connections");
    tcase_add_test(connections, a_message_kept_for_a_larger_buffer_is_ready_though_its_socket_is_empty);
    tcase_add_loop_test(connections, a_listener_is_ready_when_a_client_comes_and_when_it_goes_on,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_test(connections, the_greeting_of_a_listener_is_no_message_to_wait_for);
    return support_run(suite, argc, argv);
}
