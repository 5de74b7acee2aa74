/* SPDX-License-Identifier: BSD-2-Clause */
/* Proving the key to a server: bound to its address, and slower for who fails. */
#include "platform/base.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/address.h"
#include "channel/auth.h"
#include "channel/frame.h"
#include "channel/penalty.h"
#include "manager/manager_common.h"
#include "platform/platform.h"
#include "support/support.h"

static const char wrong_key[] = "a key that is quite another";

static pid_t server;

static void begin(void)
{
    server = common_serve("k", NULL);
}

static void end(void)
{
    common_stop(server);
}

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(5000));
}

static int64_t ms_since(int64_t begin_ns)
{
    return (mproc__now_ns() - begin_ns) / 1000000;
}

/* Opens a place at the address with this key and pings; the place's code. */
static int ping_at(const char *address, const char *key)
{
    mproc_place *place = NULL;
    const mproc_place_options options = {.size = sizeof options, .key = key, .key_bytes = strlen(key)};
    int rc = mproc_place_open(address, &options, &place);
    if (rc == 0)
        rc = mproc_place_ping(place, soon());
    mproc_place_close(&place);
    return rc;
}

static int ping_with(const char *key)
{
    return ping_at(common_address("k"), key);
}

/* After that, this process's next handshake waits for 400 ms. */
static void fail_four_times(void)
{
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(ping_with(wrong_key), MPROC_EAUTH);
}

/* ---- somebody in between ---- */

typedef struct relay {
    pthread_t thread;
    mproc__bound bound;
} relay;

/* Takes a client and passes all words on to the server and back, until either side closes. */
static void *relay_run(void *context)
{
    relay *between = context;
    if (mproc__fd_poll(between->bound.fd, POLLIN, soon()) < 0)
        return NULL;
    int ends[2] = {accept4(between->bound.fd, NULL, NULL, SOCK_CLOEXEC), common_connect("k")};
    for (bool open = true; open;) {
        struct pollfd items[2] = {{.fd = ends[0], .events = POLLIN}, {.fd = ends[1], .events = POLLIN}};
        open = poll(items, 2, support_ms(5000)) > 0;
        for (int i = 0; i < 2 && open; i++) {
            char buffer[1024];
            ssize_t got = items[i].revents ? recv(ends[i], buffer, sizeof buffer, 0) : -2;
            if (got > 0)
                (void)send(ends[1 - i], buffer, (size_t)got, MSG_NOSIGNAL);
            open = got == -2 || got > 0;
        }
    }
    close(ends[0]);
    close(ends[1]);
    return NULL;
}

/* Both know the key, and neither trusts the words that came by way of another address.
 * shows: SEC-1 */
START_TEST(a_relayed_handshake_is_refused)
{
    relay between;
    ck_assert_int_eq(ping_with(TEST_KEY), 0);
    ck_assert_int_eq(mproc__address_listen(NULL, 0, &between.bound), 0);
    ck_assert_int_eq(pthread_create(&between.thread, NULL, relay_run, &between), 0);
    ck_assert_int_eq(ping_at(between.bound.address, TEST_KEY), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "its address"));
    pthread_join(between.thread, NULL);
    mproc__bound_close(&between.bound);
    ck_assert_int_eq(ping_with(TEST_KEY), 0);
}
END_TEST

/* ---- penalties ---- */

START_TEST(who_fails_waits_and_then_is_let_in)
{
    int64_t begin_ns = mproc__now_ns(), waits_ms = 0;
    for (int64_t wait_ms = 0; wait_ms <= 200; wait_ms = wait_ms ? 2 * wait_ms : MPROC__PENALTY_FIRST_MS) {
        waits_ms += wait_ms;
        ck_assert_int_eq(ping_with(wrong_key), MPROC_EAUTH);
        ck_assert_int_ge(ms_since(begin_ns), waits_ms);
    }
    ck_assert_int_eq(ping_with(TEST_KEY), 0);
    ck_assert_int_ge(ms_since(begin_ns), waits_ms + 400);
}
END_TEST

static int other_pings(void *unused)
{
    (void)unused;
    int64_t begin_ns = mproc__now_ns();
    if (ping_with(TEST_KEY) < 0)
        return 1;
    return ms_since(begin_ns) < support_ms(300) ? 0 : 2;
}

START_TEST(who_fails_makes_nobody_else_wait)
{
    fail_four_times();
    int waiting = common_connect("k");
    ck_assert_int_eq(support_reap(support_fork(other_pings, NULL), 5000), 0);
    ck_assert_int_eq(mproc__fd_poll(waiting, POLLIN, MPROC_NOW), -ETIMEDOUT);
    close(waiting);
}
END_TEST

/* ---- raw peers ---- */

/* Descriptors of the server. */
static int server_fds(void)
{
    char path[40];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)server);
    DIR *folder = opendir(path);
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static bool server_has_no_more(void *most)
{
    return server_fds() <= *(int *)most;
}

/* What waits costs a socket, and no longer than its peer stays; at the end of the server another one waits. */
START_TEST(one_that_waits_may_leave)
{
    int before = server_fds();
    fail_four_times();
    ck_assert(support_until(server_has_no_more, &before, 5000));
    int64_t begin_ns = mproc__now_ns();
    int leaver = common_connect("k");
    ck_assert_int_eq(mproc__fd_poll(leaver, POLLIN, mproc_after_ms(20)), -ETIMEDOUT);
    ck_assert_int_gt(server_fds(), before);
    close(leaver);
    ck_assert(support_until(server_has_no_more, &before, 5000));
    ck_assert_int_eq(ping_with(TEST_KEY), 0);
    ck_assert_int_lt(ms_since(begin_ns), 5000);
    fail_four_times();
    leaver = common_connect("k");
    ck_assert_int_eq(mproc__fd_poll(leaver, POLLIN, mproc_after_ms(20)), -ETIMEDOUT);
    end();
    begin();
    close(leaver);
}
END_TEST

/* The reason of the refusal that follows the challenge; 0: another message, or none. */
static unsigned refusal(int fd)
{
    uint8_t bytes[MPROC__FRAME_HEADER_BYTES + MPROC__AUTH_MESSAGE_BYTES];
    for (;;) {
        unsigned kind;
        size_t length;
        if (mproc__fd_read_all(fd, bytes, MPROC__FRAME_HEADER_BYTES, mproc_after_ms(support_ms(9000))) < 0 ||
            mproc__frame_parse(bytes, MPROC__AUTH_MESSAGE_BYTES, &kind, &length) < 0 ||
            kind != MPROC__FRAME_AUTH || mproc__fd_read_all(fd, bytes, length, soon()) < 0)
            return 0;
        if (length == 3)
            return bytes[2];
    }
}

/* shows: SEC-1 */
START_TEST(garbage_instead_of_a_handshake_is_refused_by_name)
{
    const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 18}, /* no frame */
        {"\3\0\0\0\0\0\1\1", 8},        /* a handshake message of 257 bytes */
        {"\3\0\0\0\0\0\0\0", 8},        /* an empty one */
        {"\3\0\0\0\0\0\0\2\2\1", 10},   /* an answer cut short */
        {"\20\0\0\0\0\0\0\5hello", 13}, /* a request before the handshake */
    };
    for (size_t i = 0; i < MPROC__COUNT(cases); i++) {
        int fd = common_connect("k");
        ck_assert_int_eq(send(fd, cases[i].bytes, cases[i].size, MSG_NOSIGNAL), (ssize_t)cases[i].size);
        ck_assert_uint_eq(refusal(fd), MPROC__AUTH_GARBLED);
        close(fd);
    }
}
END_TEST

/* shows: SEC-1 */
START_TEST(silence_is_a_failure_too)
{
    int silent = common_connect("k");
    ck_assert_uint_eq(refusal(silent), MPROC__AUTH_LATE);
    int64_t begin_ns = mproc__now_ns();
    ck_assert_int_eq(ping_with(TEST_KEY), 0);
    ck_assert_int_ge(ms_since(begin_ns), MPROC__PENALTY_FIRST_MS / 2);
    close(silent);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("peer_key");
    TCase *key = support_case(suite, "key");
    tcase_add_checked_fixture(key, begin, end);
    tcase_add_test(key, a_relayed_handshake_is_refused);
    tcase_add_test(key, who_fails_waits_and_then_is_let_in);
    tcase_add_test(key, who_fails_makes_nobody_else_wait);
    tcase_add_test(key, one_that_waits_may_leave);
    tcase_add_test(key, garbage_instead_of_a_handshake_is_refused_by_name);
    tcase_add_test(key, silence_is_a_failure_too);
    return support_run(suite, argc, argv);
}
