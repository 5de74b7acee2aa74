/* SPDX-License-Identifier: BSD-2-Clause */
/* Listeners without a key, and what holds with and without one. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "channel/auth.h"
#include "channel/listener_common.h"
#include "platform/platform.h"
#include "support/support.h"

/* shows: LSTN-01 LSTN-07 LSTN-09 */
START_TEST(client_and_listener_meet_and_talk)
{
    if (!family_use(_i))
        return;
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
    if (family_is_tcp())
        ck_assert_int_eq(
            strncmp(mproc_connection_peer(server_end), family_address(), strlen(family_address()) - 1), 0);
    else
        ck_assert_str_eq(mproc_connection_peer(server_end), text);
    mproc_describe(listener, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, family_is_tcp() ? "listener at tcp:" : "listener at unix:/"));
    close_all();
}
END_TEST

/* shows: LSTN-06 */
START_TEST(a_client_that_has_gone_before_accept_still_delivers)
{
    if (!family_use(_i))
        return;
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
    if (!family_use(_i))
        return;
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
    if (!family_use(_i))
        return;
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
    if (!family_use(_i))
        return;
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
    if (!family_use(_i))
        return;
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

int main(int argc, char **argv)
{
    Suite *suite = suite_create("listener");
    TCase *open_case = support_case(suite, "open");
    tcase_add_loop_test(open_case, client_and_listener_meet_and_talk, 0, FAMILIES);
    tcase_add_loop_test(open_case, a_client_that_has_gone_before_accept_still_delivers, 0, FAMILIES);
    tcase_add_test(open_case, a_closed_listener_accepts_nothing_and_leaves_no_file);
    tcase_add_loop_test(open_case, accept_ends_at_its_deadline, 0, FAMILIES);
    tcase_add_loop_test(open_case, a_signal_does_not_end_accept, 0, FAMILIES);
    tcase_add_test(open_case, a_wrong_key_argument_is_refused_before_anything_is_bound);
    tcase_add_loop_test(open_case, a_forked_child_accepts_on_its_parents_listener, 0, FAMILIES);
    tcase_add_loop_test(open_case, what_a_server_sent_before_it_closed_is_received, 0, FAMILIES);
    return support_run(suite, argc, argv);
}
