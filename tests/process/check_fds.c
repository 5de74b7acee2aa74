/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptors and the handles made of them, handed from process to process. Loops are over start methods. */
#include "platform/base.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <mproc/connection.h>
#include "process/process_support.h"

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LIMIT_MS));
}

/* ---- FDS-02: high numbers ---- */

enum { HIGH = 300 };

/* Takes all low numbers, then receives a descriptor and writes to it; answers its number on the way back. */
static int receives_high(mproc_call *call)
{
    mproc_connection *parent = mproc_call_connection(call, 0);
    mproc_variant item;
    while (dup(2) < HIGH - 1)
        ;
    if (mproc_connection_recv_variant(parent, soon(), &item) != 0 || item.kind != MPROC_KIND_FD)
        return 1;
    int fd = (int)item.number;
    if (fd < HIGH || write(fd, "bar", 3) != 3)
        return 2;
    mproc_variant_clear(&item);
    return mproc_connection_send(parent, &fd, sizeof fd, soon()) == 0 ? 0 : 3;
}

/* shows: FDS-02 */
START_TEST(descriptors_cross_also_from_and_to_high_numbers)
{
    mproc_connection *ours, *theirs;
    int pipes[2], number = 0;
    char text[8] = "";
    size_t size;
    warm();
    ck_assert_int_eq(mproc_connection_pair(&ours, &theirs), 0);
    mproc_process *child = start(_i, receives_high, MPROC_ARGS(theirs));
    mproc_connection_close(&theirs);
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    int high = fcntl(pipes[1], F_DUPFD_CLOEXEC, HIGH + 50);
    ck_assert_int_ge(high, HIGH + 50);
    close(pipes[1]);
    ck_assert_int_eq(mproc_connection_send_variant(ours, mproc_fd(high), soon()), 0);
    close(high); /* at once */
    ck_assert_int_eq(mproc_connection_recv(ours, &number, sizeof number, soon(), &size), 0);
    ck_assert_int_ge(number, HIGH);
    ck_assert_int_eq(read(pipes[0], text, sizeof text), 3);
    ck_assert_str_eq(text, "bar");
    ck_assert_int_eq(join(child), 0);
    ck_assert_int_eq(read(pipes[0], text, sizeof text), 0);
    mproc_process_close(&child);
    mproc_connection_close(&ours);
    close(pipes[0]);
}
END_TEST

/* ---- FDS-04: who accepts is not who reads ---- */

/* Gets connections and sockets, reads a message of each, and says what they said. */
static int reads_what_it_is_sent(mproc_call *call)
{
    mproc_connection *parent = mproc_call_connection(call, 0), *from, *wrapped = NULL;
    mproc_variant item;
    char text[32];
    size_t size;
    for (;;) {
        int rc = mproc_connection_recv_variant(parent, soon(), &item);
        if (rc < 0)
            return 1;
        if (item.kind ==
            MPROC_KIND_NULL) /* the end: a forked child has the parent's end, too, and sees no other */
            return 0;
        from = mproc_variant_get_handle(item, MPROC_TYPE_CONNECTION);
        if (!from) { /* a plain socket: ours to wrap, which takes it */
            if (mproc_connection_wrap(dup((int)item.number), &wrapped) < 0)
                return 2;
            from = wrapped;
        }
        if (mproc_connection_recv(from, text, sizeof text, soon(), &size) < 0 ||
            mproc_connection_send(from, text, size, soon()) < 0)
            return 3;
        mproc_connection_close(&wrapped);
        mproc_variant_clear(&item);
    }
}

/* A connected pair over TCP, of which `ret_accepted` was accepted here. */
static void tcp_pair(int *ret_client, int *ret_accepted)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listening, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(listening, 1), 0);
    ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&address, &size), 0);
    *ret_client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(*ret_client, (struct sockaddr *)&address, size), 0);
    *ret_accepted = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(*ret_accepted, 0);
    close(listening);
}

static void echoed(mproc_connection *client, const char *text)
{
    char answer[32] = "";
    size_t size;
    ck_assert_int_eq(mproc_connection_recv(client, answer, sizeof answer, soon(), &size), 0);
    ck_assert_str_eq(answer, text);
    mproc_connection_close(&client);
}

/* A client of `address` whose accepted end goes to the child. */
static void accept_and_hand_over(const char *address, const mproc_connection_options *options,
                                 mproc_connection *to)
{
    mproc_listener *listener;
    mproc_connection *client, *accepted;
    ck_assert_int_eq(mproc_listener_create(address, options, &listener), 0);
    ck_assert_int_eq(mproc_connection_open(mproc_listener_address(listener), options, soon(), &client), 0);
    ck_assert_int_eq(mproc_listener_accept(listener, soon(), &accepted), 0);
    ck_assert_int_eq(mproc_connection_send_variant(to, mproc_handle(accepted), soon()), 0);
    mproc_connection_close(&accepted);
    mproc_listener_close(&listener);
    ck_assert_int_eq(mproc_connection_send(client, "accepted", 9, soon()), 0);
    echoed(client, "accepted");
}

/* shows: FDS-04 */
START_TEST(a_connection_or_socket_accepted_here_is_read_by_another_process)
{
    mproc_connection *ours, *theirs, *client;
    int fds[2], accepted;
    warm();
    ck_assert_int_eq(mproc_connection_pair(&ours, &theirs), 0);
    mproc_process *child = start(_i, reads_what_it_is_sent, MPROC_ARGS(theirs));
    mproc_connection_close(&theirs);
    accept_and_hand_over(NULL, NULL, ours);
    accept_and_hand_over("tcp:127.0.0.1:0", MPROC_WITH(mproc_connection_options, .plaintext = true), ours);
    /* A plain socket, Unix and TCP. */
    for (int i = 0; i < 2; i++) {
        if (i == 0) {
            ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
            accepted = fds[1];
        } else {
            tcp_pair(&fds[0], &accepted);
        }
        ck_assert_int_eq(mproc_connection_send_variant(ours, mproc_fd(accepted), soon()), 0);
        close(accepted);
        ck_assert_int_eq(mproc_connection_wrap(fds[0], &client), 0);
        ck_assert_int_eq(mproc_connection_send(client, "plain", 6, soon()), 0);
        echoed(client, "plain");
    }
    ck_assert_int_eq(mproc_connection_send_variant(ours, mproc_null(), soon()), 0);
    ck_assert_int_eq(join(child), 0);
    mproc_process_close(&child);
    mproc_connection_close(&ours);
}
END_TEST

/* ---- FDS-05: directions ---- */

/* Arguments: the reading and the writing end of a pipe, of a one-way connection, and who is told. */
static int keeps_directions(mproc_call *call)
{
    mproc_connection *reader = mproc_call_connection(call, 2), *writer = mproc_call_connection(call, 3);
    int read_fd = (int)mproc_call_arg(call, 0).number, write_fd = (int)mproc_call_arg(call, 1).number;
    char byte;
    size_t size;
    if ((fcntl(read_fd, F_GETFL) & O_ACCMODE) != O_RDONLY ||
        (fcntl(write_fd, F_GETFL) & O_ACCMODE) != O_WRONLY)
        return 1;
    if (write(read_fd, "x", 1) != -1 || read(write_fd, &byte, 1) != -1)
        return 2;
    if (mproc_connection_send(reader, "x", 1, soon()) != MPROC_ESTATE ||
        mproc_connection_recv(writer, &byte, 1, soon(), &size) != MPROC_ESTATE)
        return 3;
    if (mproc_connection_recv(reader, &byte, 1, soon(), &size) != 0 || byte != 'd')
        return 4;
    return mproc_connection_send(writer, "u", 1, soon()) == 0 && write(write_fd, "p", 1) == 1 ? 0 : 5;
}

/* shows: FDS-05 */
START_TEST(read_only_and_write_only_ends_keep_their_direction)
{
    mproc_connection *down_reader, *down_writer, *up_reader, *up_writer;
    int pipes[2];
    char byte = 0;
    size_t size;
    warm();
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    ck_assert_int_eq(mproc_connection_one_way(&down_reader, &down_writer), 0);
    ck_assert_int_eq(mproc_connection_one_way(&up_reader, &up_writer), 0);
    mproc_process *child = start(_i, keeps_directions,
                                 MPROC_ARGS(mproc_fd(pipes[0]), mproc_fd(pipes[1]), down_reader, up_writer));
    ck_assert_int_eq(mproc_connection_send(down_writer, "d", 1, soon()), 0);
    ck_assert_int_eq(join(child), 0);
    ck_assert_int_eq(mproc_connection_recv(up_reader, &byte, 1, soon(), &size), 0);
    ck_assert_int_eq(byte, 'u');
    ck_assert_int_eq(read(pipes[0], &byte, 1), 1);
    mproc_process_close(&child);
    mproc_connection_close(&down_reader), mproc_connection_close(&down_writer);
    mproc_connection_close(&up_reader), mproc_connection_close(&up_writer);
    close(pipes[0]), close(pipes[1]);
}
END_TEST

/* ---- FDS-06: between processes with no socket in common ----
 *
 * Who gives makes a listener with a key and tells its address, by any way that bytes go; who takes opens it and receives.
 * Two lines each, no thread: the giver serves in its own time, by a deadline, once. */

static const char key[] = "between us alone";

static int give(mproc_listener *listener, mproc_variant what, mproc_deadline deadline)
{
    mproc_connection *taker;
    int rc = mproc_listener_accept(listener, deadline, &taker);
    if (rc < 0)
        return rc;
    rc = mproc_connection_send_variant(taker, what, deadline);
    mproc_connection_close(&taker);
    return rc;
}

static int take(const char *address, const void *with_key, mproc_deadline deadline, mproc_variant *ret_what)
{
    mproc_connection *giver;
    int rc = mproc_connection_open(
        address, MPROC_WITH(mproc_connection_options, .key = with_key, .key_bytes = with_key ? 16 : 0),
        deadline, &giver);
    if (rc < 0)
        return rc;
    rc = mproc_connection_recv_variant(giver, deadline, ret_what);
    mproc_connection_close(&giver);
    return rc;
}

/* Has nothing of the parent but an address in text. */
static int takes_and_answers(mproc_call *call)
{
    mproc_variant what;
    if (take(mproc_call_text(call, 0), NULL, soon(), &what) != MPROC_EAUTH ||
        take(mproc_call_text(call, 0), "sixteen others..", soon(), &what) != MPROC_EAUTH)
        return 1;
    if (take(mproc_call_text(call, 0), key, soon(), &what) != 0)
        return 2;
    mproc_connection *end = mproc_variant_get_handle(what, MPROC_TYPE_CONNECTION);
    int rc = end ? mproc_connection_send(end, "taken", 5, soon()) : -1;
    mproc_variant_clear(&what);
    return rc == 0 ? 0 : 3;
}

static mproc_listener *offer(void)
{
    mproc_listener *listener;
    ck_assert_int_eq(mproc_listener_create(
                         NULL, MPROC_WITH(mproc_connection_options, .key = key, .key_bytes = 16), &listener),
                     0);
    return listener;
}

/* shows: FDS-06 */
START_TEST(a_handle_goes_by_address_and_key_to_a_process_with_no_socket_in_common)
{
    mproc_connection *ours, *theirs;
    mproc_variant again;
    char text[8], address[128];
    size_t size;
    int rc;
    warm();
    mproc_listener *listener = offer();
    ck_assert_int_eq(give(listener, mproc_null(), mproc_after_ms(20)), -ETIMEDOUT); /* stoppable */
    ck_assert_int_eq(mproc_connection_pair(&ours, &theirs), 0);
    mproc_process *child = start(_i, takes_and_answers, MPROC_ARGS(mproc_listener_address(listener)));
    unsigned refused = 0;
    while ((rc = give(listener, mproc_handle(theirs), soon())) == MPROC_EAUTH)
        refused++;
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    ck_assert_uint_eq(refused, 2);
    mproc_connection_close(&theirs);
    ck_assert_int_eq(mproc_connection_recv(ours, text, sizeof text, soon(), &size), 0);
    ck_assert_uint_eq(size, 5);
    snprintf(address, sizeof address, "%s", mproc_listener_address(listener));
    mproc_listener_close(&listener); /* one-shot */
    ck_assert_int_eq(take(address, key, soon(), &again), -ENOENT);
    ck_assert_int_eq(join(child), 0);
    mproc_process_close(&child);
    mproc_connection_close(&ours);
}
END_TEST

static int sleeps_as_a_copy(void *context)
{
    const gate *go = context;
    char byte;
    return read(go->read_fd, &byte, 1) == 1 ? 0 : 1;
}

/* A child that was forked meanwhile does not keep the offer alive, whose name its parent takes away.
 * shows: FDS-06 */
START_TEST(an_offer_is_forgotten_in_forked_children)
{
    mproc_variant what;
    char address[128];
    gate go = gate_make();
    mproc_listener *listener = offer();
    pid_t child = support_fork(sleeps_as_a_copy, &go);
    snprintf(address, sizeof address, "%s", mproc_listener_address(listener));
    mproc_listener_close(&listener);
    ck_assert_int_eq(take(address, key, soon(), &what), -ENOENT);
    gate_open(&go);
    ck_assert_int_eq(support_reap(child, LIMIT_MS), 0);
    gate_destroy(&go);
}
END_TEST

/* ---- CONN-21 ---- */

/* Uses its end only when the parent has closed its copy of it. */
static int answers(mproc_call *call)
{
    mproc_connection *end = mproc_call_connection(call, 0);
    char text[8];
    size_t size;
    int rc = mproc_connection_recv(end, text, sizeof text, soon(), &size);
    return rc < 0 ? rc : mproc_connection_send(end, "mine", 4, soon());
}

/* shows: CONN-21 */
START_TEST(the_parent_closes_the_childs_end_as_soon_as_start_has_returned)
{
    warm();
    for (int i = 0; i < 10; i++) {
        mproc_connection *ours, *theirs;
        char text[8];
        size_t size;
        ck_assert_int_eq(mproc_connection_pair(&ours, &theirs), 0);
        mproc_process *child = start(_i, answers, MPROC_ARGS(theirs));
        mproc_connection_close(&theirs);
        ck_assert_int_eq(mproc_connection_send(ours, "closed", 6, soon()), 0);
        ck_assert_int_eq(mproc_connection_recv(ours, text, sizeof text, soon(), &size), 0);
        ck_assert_uint_eq(size, 4);
        ck_assert_int_eq(join(child), 0);
        mproc_process_close(&child);
        ck_assert_int_eq(mproc_connection_recv(ours, text, sizeof text, soon(), &size), MPROC_EEND);
        mproc_connection_close(&ours);
    }
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("descriptors handed over");
    TCase *handed = support_case(suite, "handed over");
    tcase_add_loop_test(handed, descriptors_cross_also_from_and_to_high_numbers, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(handed, a_connection_or_socket_accepted_here_is_read_by_another_process, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(handed, read_only_and_write_only_ends_keep_their_direction, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(handed, a_handle_goes_by_address_and_key_to_a_process_with_no_socket_in_common,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_test(handed, an_offer_is_forgotten_in_forked_children);
    tcase_add_loop_test(handed, the_parent_closes_the_childs_end_as_soon_as_start_has_returned, FIRST_METHOD,
                        ALL_METHODS);
    return support_run(suite, argc, argv);
}
