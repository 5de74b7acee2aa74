/* SPDX-License-Identifier: BSD-2-Clause */
/* A live server: who may come in, what a bad peer costs, the limits, stop. */
#include "platform/base.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mproc/data.h>
#include <mproc/sync.h>
#include "channel/auth.h"
#include "channel/frame.h"
#include "data/parcel.h"
#include "manager/line.h"
#include "manager/manager_common.h"
#include "platform/platform.h"
#include "support/support.h"

static pid_t server;

static void begin(void)
{
    server = common_serve("s", NULL);
}

static void end(void)
{
    common_stop(server);
}

/* Opens a place with this key (NULL: none) and pings; the place's code. */
static int ping_with(const char *key, size_t key_bytes)
{
    mproc_place *place = NULL;
    const mproc_place_options options = {.size = sizeof options, .key = key, .key_bytes = key_bytes};
    ck_assert_int_eq(mproc_place_open(common_address("s"), &options, &place), 0);
    int rc = mproc_place_ping(place, mproc_after_ms(support_ms(5000)));
    mproc_place_close(&place);
    return rc;
}

static int ping(void)
{
    return ping_with(TEST_KEY, sizeof TEST_KEY - 1);
}

/* ---- who may come in ---- */

/* shows: SEC-1 MGR-13 AUTH-02 */
START_TEST(a_wrong_key_is_refused_and_the_next_one_served)
{
    ck_assert_int_eq(ping_with("a key that is quite another", 27), MPROC_EAUTH);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), common_address("s")));
    ck_assert_ptr_null(strstr(mproc_error_text(mproc_last_error()), "quite another"));
    ck_assert_int_eq(ping(), 0);
}
END_TEST

/* shows: SEC-1 */
START_TEST(no_key_is_refused_where_one_is_needed)
{
    ck_assert_int_eq(ping_with(NULL, 0), MPROC_EAUTH);
    ck_assert_int_eq(ping(), 0);
}
END_TEST

/* shows: SEC-1 */
START_TEST(a_key_is_refused_where_there_is_none)
{
    const mproc_server_options open = {.size = sizeof open};
    common_stop(server);
    server = common_serve("s", &open);
    ck_assert_int_eq(ping(), MPROC_EAUTH);
    ck_assert_int_eq(ping_with(NULL, 0), 0);
}
END_TEST

/* shows: MGR-13 */
START_TEST(where_nobody_listens_the_address_is_told)
{
    mproc_place *place = common_open("nobody");
    ck_assert_int_eq(mproc_place_ping(place, MPROC_FOREVER), -ENOENT);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(place)), "nobody"));
    mproc_place_close(&place);
}
END_TEST

static int other_pings(void *context)
{
    (void)context;
    mproc_place *place = NULL;
    const mproc_place_options options = {
        .size = sizeof options, .key = TEST_KEY, .key_bytes = sizeof TEST_KEY - 1};
    if (setresuid(65534, 65534, 65534) < 0 || mproc_place_open(common_address("@s"), &options, &place) < 0)
        return 1;
    int rc = mproc_place_ping(place, mproc_after_ms(support_ms(5000)));
    mproc_place_close(&place);
    return rc == MPROC_EAUTH || rc == -EACCES ? 0 : 2;
}

/* An abstract address, which everybody can connect to. It has the right key, but that is not asked for.
 * shows: SEC-3 */
START_TEST(another_user_is_refused_unread)
{
    if (geteuid() != 0)
        return; /* only root can be somebody else */
    pid_t open = common_serve("@s", NULL);
    ck_assert_int_eq(support_reap(support_fork(other_pings, NULL), 5000), 0);
    common_stop(open);
}
END_TEST

/* ---- bad peers ---- */

static bool closed(void *context)
{
    char bytes[4096];
    ssize_t n = recv(*(int *)context, bytes, sizeof bytes, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

static void send_all(int fd, const void *data, size_t size_bytes)
{
    /* A server that has had enough may close before it has read all. */
    for (size_t sent = 0; sent < size_bytes;) {
        ssize_t n = send(fd, (const char *)data + sent, size_bytes - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        sent += (size_t)n;
    }
}

/* shows: MGR-25 */
START_TEST(garbage_ends_its_own_connection)
{
    static const char garbage[] = "GET / HTTP/1.0\r\n\r\nand so on, which is no frame of ours";
    int fd = common_connect("s");
    send_all(fd, garbage, sizeof garbage);
    ck_assert(support_until(closed, &fd, 2000));
    ck_assert_int_eq(ping(), 0);
    close(fd);
}
END_TEST

START_TEST(a_hostile_length_ends_its_own_connection)
{
    uint8_t header[MPROC__FRAME_HEADER_BYTES];
    int fd = common_connect("s");
    mproc__frame_header(header, MPROC__FRAME_AUTH, (uint64_t)1 << 50);
    send_all(fd, header, sizeof header);
    ck_assert(support_until(closed, &fd, 2000));
    ck_assert_int_eq(ping(), 0);
    close(fd);
}
END_TEST

/* shows: SEC-1 AUTH-12 */
START_TEST(silence_ends_after_five_seconds)
{
    int silent = common_connect("s"), half = common_connect("s");
    int64_t start = mproc__now_ns();
    send_all(half, "\x03\x00\x00", 3);
    ck_assert_int_eq(ping(), 0);
    ck_assert(support_until(closed, &silent, 8000));
    ck_assert(support_until(closed, &half, 1000));
    ck_assert_int_ge(mproc__now_ns() - start, INT64_C(4900000000));
    close(silent);
    close(half);
}
END_TEST

/* shows: REMOTE-6 */
START_TEST(silent_and_dripping_peers_delay_nobody)
{
    enum { EACH = 100 };
    int fds[2 * EACH];
    for (int i = 0; i < 2 * EACH; i++)
        fds[i] = common_connect("s");
    mproc_place *place = common_open("s");
    ck_assert_int_eq(mproc_place_ping(place, MPROC_FOREVER), 0);
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < EACH; i++)
            send_all(fds[i], round == 0 ? "\x03" : "\x00", 1);
        int64_t start = mproc__now_ns();
        ck_assert_int_eq(mproc_place_ping(place, MPROC_FOREVER), 0);
        ck_assert_int_lt(mproc__now_ns() - start, support_ms(100) * INT64_C(1000000));
    }
    mproc_place_close(&place);
    for (int i = 0; i < 2 * EACH; i++)
        close(fds[i]);
}
END_TEST

/* A connection that has proved the key. */
static mproc__line *line_new(void)
{
    mproc__line *line = NULL;
    mproc__key key = {.size_bytes = sizeof TEST_KEY - 1, .set = true};
    memcpy(key.bytes, TEST_KEY, sizeof TEST_KEY - 1);
    ck_assert_int_eq(mproc__line_open(common_address("s"), &key, mproc_after_ms(support_ms(5000)), &line), 0);
    return line;
}

/* shows: SEC-5 MGR-25 */
START_TEST(random_messages_from_a_client_hurt_only_itself)
{
    uint8_t bytes[MPROC__FRAME_HEADER_BYTES + 200];
    mproc_place *place = common_open("s");
    srandom(5);
    for (int round = 0; round < 150; round++) {
        mproc__line *line = line_new();
        for (int n = 0; n < 20; n++) {
            size_t size = (size_t)random() % 200;
            mproc__frame_header(bytes, random() % 20 ? MPROC__FRAME_MANAGER : 1 + (unsigned)random() % 255,
                                size);
            for (size_t i = 0; i < size; i++)
                bytes[MPROC__FRAME_HEADER_BYTES + i] = (uint8_t)random();
            send_all(line->fd, bytes, MPROC__FRAME_HEADER_BYTES + size);
        }
        mproc__line_release(line);
    }
    ck_assert_int_eq(mproc_place_ping(place, mproc_after_ms(support_ms(5000))), 0);
    mproc_place_close(&place);
}
END_TEST

/* Well-formed requests with random contents reach the objects themselves.
 * shows: SEC-5 MGR-25 */
START_TEST(random_requests_are_answered_or_end_the_connection)
{
    mproc__line *line = line_new();
    mproc__line_end how;
    mproc__reply reply;
    srandom(6);
    for (int round = 0; round < 3000; round++) {
        mproc_variant inner[] = {mproc_int(random() % 5 - 2), mproc_text("x")};
        mproc_variant args[] = {mproc_int(random() % 7 - 3), mproc_text("k"), mproc_items(inner, 2),
                                mproc_null()};
        mproc_variant list = mproc_items(args + random() % 3, (size_t)random() % 3);
        mproc__envelope request = {.method = (mproc__method)(random() % 100),
                                   .type = (uint32_t)random() % 20,
                                   .object = (uint64_t)random() % 6,
                                   .life = line->life,
                                   .holder = (uint64_t)random() % 2,
                                   .target = (uint64_t)random() % 50,
                                   .hold = random() % 2,
                                   .name = random() % 2 ? "n" : NULL};
        mproc__line_call(line, &request, &list, mproc_after_ms(support_ms(5000)), &how, &reply);
        ck_assert_int_eq(how, MPROC__LINE_ANSWERED);
        mproc_variant_clear(&reply.result);
    }
    mproc__line_release(line);
    ck_assert_int_eq(ping(), 0);
}
END_TEST

/* Requests by the thousand, replies never read: the server's memory for it is bounded, others are served. */
START_TEST(a_client_that_does_not_read_is_left_waiting)
{
    mproc_place *place = common_open("s");
    mproc_list *list = NULL;
    mproc__line *line = line_new();
    mproc__outbox out = {0};
    mproc_variant item = mproc_null();
    char *text = malloc(1 << 20);
    memset(text, 't', (1 << 20) - 1);
    text[(1 << 20) - 1] = '\0';
    ck_assert_int_eq(mproc_list_create(place, MPROC_WITH(mproc_data_options, .name = "big"), &list), 0);
    ck_assert_int_eq(mproc_list_append(list, mproc_text(text)), 0);
    const mproc__envelope slice = {
        .id = 9, .kind = MPROC__WIRE_REQUEST, .method = MPROC__LIST_SLICE, .object = 1, .life = line->life};
    mproc_variant args = MPROC_ARGS(0, INT64_MAX);
    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(mproc__wire_append(&out, &slice, &args, 1000), 0);
    send_all(line->fd, out.bytes, out.used);
    ck_assert_int_eq(mproc_list_get(list, 0, &item), 0);
    mproc_variant_clear(&item);
    ck_assert_int_eq(mproc_place_ping(place, mproc_after_ms(support_ms(5000))), 0);
    /* Now it reads after all, and gets every one. */
    size_t got = 0, all = 0;
    while (got < 200) {
        ck_assert_int_eq(mproc__fd_poll(line->fd, POLLIN, mproc_after_ms(support_ms(5000))), 0);
        void *space = NULL;
        const void *data;
        size_t size = 0;
        unsigned kind;
        ck_assert_int_eq(mproc__frame_reader_space(&line->reader, &space, &size), 0);
        ssize_t n = recv(line->fd, space, size, MSG_DONTWAIT);
        ck_assert_int_gt(n, 0);
        all += (size_t)n;
        mproc__frame_reader_fed(&line->reader, (size_t)n);
        while (mproc__frame_reader_next(&line->reader, &kind, &data, &size) == 0)
            got++;
    }
    ck_assert_uint_gt(all, (size_t)200 << 20);
    mproc__outbox_fini(&out);
    free(text);
    mproc__line_release(line);
    mproc_list_close(&list);
    mproc_place_close(&place);
}
END_TEST

/* ---- limits ---- */

/* shows: REMOTE-7 */
START_TEST(one_client_too_many_is_told_so)
{
    const mproc_server_options few = {
        .size = sizeof few, .key = TEST_KEY, .key_bytes = sizeof TEST_KEY - 1, .max_clients = 2};
    common_stop(server);
    server = common_serve("s", &few);
    mproc__line *first = line_new(), *second = line_new();
    ck_assert_int_eq(ping(), MPROC_ELIMIT);
    mproc__line_release(first);
    mproc_deadline limit = mproc_after_ms(support_ms(2000));
    int rc;
    do
        rc = ping(); /* until the server has seen the first one leave */
    while (rc == MPROC_ELIMIT && !mproc__deadline_past(limit));
    ck_assert_int_eq(rc, 0);
    mproc__line_release(second);
}
END_TEST

/* shows: REMOTE-7 WORK-3 WORK-8 */
START_TEST(messages_above_the_limit_are_refused_before_they_are_sent)
{
    const mproc_server_options small = {
        .size = sizeof small, .key = TEST_KEY, .key_bytes = sizeof TEST_KEY - 1, .max_message_bytes = 10000};
    common_stop(server);
    server = common_serve("s", &small);
    mproc_place *place = common_open("s");
    mproc_dict *dict = NULL;
    mproc_variant all = mproc_null();
    char text[10001];
    memset(text, 't', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_int_eq(mproc_dict_create(place, NULL, &dict), 0);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_int(1), mproc_text(text)), -EMSGSIZE);
    text[6000] = '\0';
    ck_assert_int_eq(mproc_dict_set(dict, mproc_int(1), mproc_text(text)), 0);
    ck_assert_int_eq(mproc_dict_copy(dict, &all), 0);
    mproc_variant_clear(&all);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_int(2), mproc_text(text)), 0);
    ck_assert_int_eq(mproc_dict_copy(dict, &all), MPROC_ELIMIT);
    ck_assert_int_eq(mproc_dict_get(dict, mproc_int(1), &all), 0);
    mproc_variant_clear(&all);
    mproc_dict_close(&dict);
    mproc_place_close(&place);
}
END_TEST

/* ---- many ---- */

static int client_counts(void *context)
{
    (void)context;
    mproc_place *place = NULL;
    mproc_dict *dict = NULL;
    const mproc_place_options options = {
        .size = sizeof options, .key = TEST_KEY, .key_bytes = sizeof TEST_KEY - 1};
    if (mproc_place_open(common_address("s"), &options, &place) < 0 ||
        mproc_dict_create(place, MPROC_WITH(mproc_data_options, .name = "n", .and_open = true), &dict) < 0)
        return 1;
    for (int i = 0; i < 10; i++)
        if (mproc_dict_add(dict, mproc_text("n"), mproc_int(1), NULL) < 0)
            return 2;
    mproc_dict_close(&dict);
    mproc_place_close(&place);
    return 0;
}

/* shows: MGR-21 */
START_TEST(a_hundred_clients_at_once_are_served)
{
    enum { CLIENTS = 100 };
    pid_t clients[CLIENTS];
    mproc_place *place = common_open("s");
    mproc_dict *dict = NULL;
    mproc_variant sum = mproc_null();
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = support_fork(client_counts, NULL);
    for (int i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(support_reap(clients[i], 15000), 0);
    ck_assert_int_eq(mproc_dict_open(place, "n", &dict), 0);
    ck_assert_int_eq(mproc_dict_get(dict, mproc_text("n"), &sum), 0);
    ck_assert_int_eq(sum.number, 10 * CLIENTS);
    mproc_dict_close(&dict);
    mproc_place_close(&place);
}
END_TEST

/* The child keeps a copy of its parent's socket, so only the parent's own death can tell. */
static int child_forks_and_dies(void *context)
{
    int *fds = context;
    mproc_place *place = NULL;
    mproc_lock *lock = NULL;
    const mproc_place_options options = {
        .size = sizeof options, .key = TEST_KEY, .key_bytes = sizeof TEST_KEY - 1};
    if (mproc_place_open(common_address("s"), &options, &place) < 0 ||
        mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = "l"), &lock) < 0 ||
        mproc_lock_acquire(lock, MPROC_NOW) != 0)
        return 1;
    if (fork() == 0) {
        char byte;
        _exit(read(fds[0], &byte, 1) == 1 ? 0 : 1);
    }
    raise(SIGKILL);
    return 2;
}

/* shows: REMOTE-1 */
START_TEST(a_forked_child_does_not_keep_its_dead_parents_lock)
{
    int fds[2];
    mproc_place *place = common_open("s");
    mproc_lock *lock = NULL;
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(support_reap(support_fork(child_forks_and_dies, fds), 5000), 256 + SIGKILL);
    ck_assert_int_eq(mproc_lock_open(place, "l", &lock), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, mproc_after_ms(support_ms(2000))), MPROC_RECOVERED);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    support_children_kill();
    server = common_serve("t", NULL); /* the first was among the children */
    mproc_lock_close(&lock);
    mproc_place_close(&place);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* ---- in one process ---- */

static void *run(void *context)
{
    return (void *)(intptr_t)mproc_server_run(context, MPROC_FOREVER);
}

/* shows: MGR-15 */
START_TEST(a_server_runs_in_a_thread_until_it_is_stopped)
{
    mproc_server *own = NULL;
    const char *address = NULL;
    pthread_t thread;
    void *result = NULL;
    mproc_place *place = NULL;
    mproc_dict *dict = NULL;
    ck_assert_int_eq(mproc_server_create(NULL, &own), 0);
    ck_assert_int_eq(mproc_server_listen(own, NULL, &address), 0);
    ck_assert_int_eq(mproc_server_run(own, mproc_after_ms(1)), -ETIMEDOUT);
    ck_assert_int_eq(pthread_create(&thread, NULL, run, own), 0);
    ck_assert_int_eq(mproc_place_open(address, NULL, &place), 0);
    ck_assert_int_eq(mproc_dict_create(place, NULL, &dict), 0);
    ck_assert_int_eq(mproc_server_stop(own), 0);
    pthread_join(thread, &result);
    ck_assert_ptr_null(result);
    ck_assert_int_eq(mproc_server_stop(own), 0);
    ck_assert_int_eq(mproc_server_run(own, MPROC_FOREVER), 0);
    mproc_server_close(&own);
    mproc_server_close(&own);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_int(1), mproc_int(1)), -ENOENT);
    mproc_dict_close(&dict);
    mproc_place_close(&place);
    ck_assert_int_eq(mproc_server_stop(NULL), -EINVAL);
}
END_TEST

static int child_runs(void *context)
{
    mproc_server *own = context;
    int rc = mproc_server_run(own, MPROC_NOW);
    mproc_server_close(&own);
    return rc == -ECHILD ? 0 : 1;
}

START_TEST(a_forked_copy_of_a_server_does_not_run_and_removes_nothing)
{
    mproc_server *own = NULL;
    const char *address = NULL;
    ck_assert_int_eq(mproc_server_create(NULL, &own), 0);
    ck_assert_int_eq(mproc_server_listen(own, NULL, &address), 0);
    ck_assert_int_eq(support_reap(support_fork(child_runs, own), 5000), 0);
    ck_assert_int_eq(access(address + strlen("unix:"), F_OK), 0);
    mproc_server_close(&own);
}
END_TEST

START_TEST(bad_addresses_and_options_are_refused)
{
    mproc_server *own = NULL;
    ck_assert_int_eq(mproc_server_create(MPROC_WITH(mproc_server_options, .key_file = "/none"), &own),
                     -ENOENT);
    ck_assert_int_eq(mproc_server_create(&(mproc_server_options){.size = 0}, &own), -EINVAL);
    ck_assert_int_eq(mproc_server_create(NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_server_create(NULL, &own), 0);
    ck_assert_int_eq(mproc_server_listen(own, "tcp:127.0.0.1:0", NULL), MPROC_EPLACE);
    ck_assert_int_eq(mproc_server_listen(own, "nonsense", NULL), -EINVAL);
    ck_assert_int_eq(mproc_server_listen(own, common_address("s"), NULL), -EADDRINUSE);
    mproc_server_close(&own);
}
END_TEST

/* Without descriptors accepting pauses, and goes on when there are some again. */
START_TEST(a_server_without_descriptors_recovers)
{
    mproc_server *own = NULL;
    const char *address = NULL;
    struct rlimit was, none;
    pthread_t thread;
    mproc_place *place = NULL;
    ck_assert_int_eq(mproc_server_create(NULL, &own), 0);
    ck_assert_int_eq(mproc_server_listen(own, NULL, &address), 0);
    ck_assert_int_eq(mproc_place_open(address, MPROC_WITH(mproc_place_options, .connect_ms = 300), &place),
                     0);
    int top = dup(0); /* the lowest free number: the client may take it, the server gets none */
    close(top);
    getrlimit(RLIMIT_NOFILE, &was);
    none = was;
    none.rlim_cur = (rlim_t)top + 1;
    setrlimit(RLIMIT_NOFILE, &none);
    ck_assert_int_eq(pthread_create(&thread, NULL, run, own), 0);
    ck_assert_int_lt(mproc_place_ping(place, MPROC_FOREVER), 0);
    setrlimit(RLIMIT_NOFILE, &was);
    mproc_deadline limit = mproc_after_ms(support_ms(3000));
    int rc;
    do
        rc = mproc_place_ping(place, MPROC_FOREVER);
    while (rc < 0 && !mproc__deadline_past(limit));
    ck_assert_int_eq(rc, 0);
    mproc_server_stop(own);
    pthread_join(thread, NULL);
    mproc_place_close(&place);
    mproc_server_close(&own);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("server");
    TCase *door = support_case(suite, "door");
    tcase_add_checked_fixture(door, begin, end);
    tcase_add_test(door, a_wrong_key_is_refused_and_the_next_one_served);
    tcase_add_test(door, no_key_is_refused_where_one_is_needed);
    tcase_add_test(door, a_key_is_refused_where_there_is_none);
    tcase_add_test(door, where_nobody_listens_the_address_is_told);
    tcase_add_test(door, another_user_is_refused_unread);
    TCase *bad = support_case(suite, "bad");
    tcase_add_checked_fixture(bad, begin, end);
    tcase_add_test(bad, garbage_ends_its_own_connection);
    tcase_add_test(bad, a_hostile_length_ends_its_own_connection);
    tcase_add_test(bad, silence_ends_after_five_seconds);
    tcase_add_test(bad, silent_and_dripping_peers_delay_nobody);
    tcase_add_test(bad, random_messages_from_a_client_hurt_only_itself);
    tcase_add_test(bad, random_requests_are_answered_or_end_the_connection);
    tcase_add_test(bad, a_client_that_does_not_read_is_left_waiting);
    TCase *many = support_case(suite, "many");
    tcase_add_checked_fixture(many, begin, end);
    tcase_add_test(many, one_client_too_many_is_told_so);
    tcase_add_test(many, messages_above_the_limit_are_refused_before_they_are_sent);
    tcase_add_test(many, a_hundred_clients_at_once_are_served);
    tcase_add_test(many, a_forked_child_does_not_keep_its_dead_parents_lock);
    tcase_add_test(many, bad_addresses_and_options_are_refused);
    TCase *own = support_case(suite, "own");
    tcase_add_test(own, a_server_runs_in_a_thread_until_it_is_stopped);
    tcase_add_test(own, a_forked_copy_of_a_server_does_not_run_and_removes_nothing);
    tcase_add_test(own, a_server_without_descriptors_recovers);
    return support_run(suite, argc, argv);
}
