/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/address.h"
#include "platform/platform.h"
#include "support/support.h"

#define SOON mproc_after_ms(support_ms(5000))

/* unix:DIRECTORY/NAME */
static char *address_make(const char *name)
{
    char *text = NULL;
    ck_assert_int_gt(asprintf(&text, "unix:%s/%s", support_directory(), name), 0);
    return text;
}

static const char *story(void)
{
    return mproc_error_text(mproc_last_error());
}

static bool reachable(const char *address)
{
    int fd;
    if (mproc__address_connect(address, SOON, &fd) < 0)
        return false;
    close(fd);
    return true;
}

/* shows: LSTN-08 */
START_TEST(what_is_no_address_is_refused_by_name)
{
    mproc__bound bound;
    int fd;
    const char *const bad[] = {"", "unix", "unix:", "unix:@", "/run/x.sock", "udp:1:2", "UNIX:/x"};
    for (size_t i = 0; i < MPROC__COUNT(bad); i++) {
        ck_assert_int_eq(mproc__address_connect(bad[i], SOON, &fd), -EINVAL);
        ck_assert_int_eq(mproc__address_listen(bad[i], 0, &bound), -EINVAL);
    }
    ck_assert_int_eq(mproc__address_connect(NULL, SOON, &fd), -EINVAL);
    ck_assert_int_eq(mproc__address_listen("tcp:localhost:1", 0, &bound), MPROC_EPLACE);
    ck_assert_ptr_nonnull(strstr(story(), "unix:PATH"));
    ck_assert_int_eq(mproc__address_connect("tls:localhost:1", SOON, &fd), MPROC_EPLACE);
}
END_TEST

START_TEST(a_path_too_long_for_a_socket_is_refused_with_its_length)
{
    mproc__bound bound;
    char address[200] = "unix:/";
    memset(address + 6, 'x', 150);
    ck_assert_int_eq(mproc__address_listen(address, 0, &bound), -ENAMETOOLONG);
    ck_assert_ptr_nonnull(strstr(story(), "151 bytes"));
}
END_TEST

START_TEST(the_socket_file_is_private_and_goes_with_its_listener)
{
    mproc__bound bound;
    struct stat st;
    char *address = address_make("s");
    mode_t old = umask(0);
    ck_assert_int_eq(mproc__address_listen(address, 0, &bound), 0);
    umask(old);
    ck_assert_str_eq(bound.address, address);
    ck_assert_int_eq(lstat(address + 5, &st), 0);
    ck_assert_uint_eq(st.st_mode, S_IFSOCK | 0600);
    ck_assert(reachable(address));
    mproc__bound_close(&bound);
    ck_assert_int_lt(lstat(address + 5, &st), 0);
    ck_assert(!reachable(address));
    free(address);
}
END_TEST

/* shows: LSTN-12 */
START_TEST(without_an_address_there_is_a_private_directory)
{
    mproc__bound bound;
    struct stat st;
    char folder[200];
    ck_assert_int_eq(mproc__address_listen(NULL, 0, &bound), 0);
    ck_assert(reachable(bound.address));
    snprintf(folder, sizeof folder, "%s", bound.address + 5);
    *strrchr(folder, '/') = '\0';
    ck_assert_int_eq(stat(folder, &st), 0);
    ck_assert_uint_eq(st.st_mode, S_IFDIR | 0700);
    mproc__bound_close(&bound);
    ck_assert_int_lt(stat(folder, &st), 0);
}
END_TEST

/* shows: LSTN-05 */
START_TEST(an_abstract_name_needs_no_file)
{
    mproc__bound bound, second;
    char address[64];
    snprintf(address, sizeof address, "unix:@mproc-check-%d", (int)getpid());
    ck_assert_int_eq(mproc__address_listen(address, 0, &bound), 0);
    ck_assert(reachable(address));
    ck_assert_int_eq(mproc__address_listen(address, 0, &second), -EADDRINUSE);
    mproc__bound_close(&bound);
    ck_assert(!reachable(address));
}
END_TEST

/* shows: LSTN-02 */
START_TEST(a_served_socket_is_not_replaced)
{
    mproc__bound first, second;
    char *address = address_make("busy");
    ck_assert_int_eq(mproc__address_listen(address, 0, &first), 0);
    struct pollfd one = {.fd = first.fd, .events = POLLIN};
    ck_assert_int_eq(mproc__address_listen(address, 0, &second), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(story(), address));
    ck_assert_int_eq(poll(&one, 1, 0), 0); /* its owner has no client by that */
    ck_assert(reachable(address));
    mproc__bound_close(&first);
    free(address);
}
END_TEST

START_TEST(a_full_backlog_is_alive)
{
    mproc__bound first, second;
    int fds[8], count = 0;
    char *address = address_make("full");
    ck_assert_int_eq(mproc__address_listen(address, 1, &first), 0);
    while (count < 8 && mproc__address_connect(address, MPROC_NOW, &fds[count]) == 0)
        count++;
    ck_assert_int_lt(count, 8);
    ck_assert_int_eq(mproc_error_code(mproc_last_error()), -ETIMEDOUT);
    ck_assert_int_eq(mproc__address_listen(address, 0, &second), -EADDRINUSE);
    while (count > 0)
        close(fds[--count]);
    mproc__bound_close(&first);
    free(address);
}
END_TEST

static int listen_and_stay(void *context)
{
    mproc__bound bound;
    if (mproc__address_listen(context, 0, &bound) < 0)
        return 1;
    pause();
    return 0;
}

static bool is_reachable(void *context)
{
    return reachable(context);
}

/* shows: DEATH-10 */
START_TEST(a_socket_of_a_killed_process_is_replaced)
{
    mproc__bound bound;
    struct stat st;
    char *address = address_make("stale");
    pid_t child = support_fork(listen_and_stay, address);
    ck_assert(support_until(is_reachable, address, 2000));
    support_kill(child);
    ck_assert_int_eq(lstat(address + 5, &st), 0);
    ck_assert(!reachable(address));
    ck_assert_int_eq(mproc__address_listen(address, 0, &bound), 0);
    ck_assert(reachable(address));
    mproc__bound_close(&bound);
    free(address);
}
END_TEST

START_TEST(a_file_that_is_no_socket_stays)
{
    mproc__bound bound;
    char *address = address_make("file");
    int fd = open(address + 5, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(mproc__address_listen(address, 0, &bound), -ENOTSOCK);
    ck_assert_int_eq(unlink(address + 5), 0);
    free(address);
}
END_TEST

START_TEST(a_directory_that_is_missing_is_named)
{
    mproc__bound bound;
    ck_assert_int_eq(mproc__address_listen("unix:/nowhere/at/all", 0, &bound), -ENOENT);
    ck_assert_ptr_nonnull(strstr(story(), "/nowhere/at"));
}
END_TEST

static int closes_copy(void *context)
{
    mproc__bound_close(context);
    return 0;
}

START_TEST(a_forked_copy_removes_nothing)
{
    mproc__bound bound;
    char *address = address_make("forked");
    ck_assert_int_eq(mproc__address_listen(address, 0, &bound), 0);
    ck_assert_int_eq(support_reap(support_fork(closes_copy, &bound), 2000), 0);
    ck_assert(reachable(address));
    mproc__bound_close(&bound);
    free(address);
}
END_TEST

START_TEST(a_socket_that_somebody_moved_there_stays)
{
    mproc__bound bound, other;
    char *address = address_make("one"), *second = address_make("two");
    ck_assert_int_eq(mproc__address_listen(address, 0, &bound), 0);
    ck_assert_int_eq(mproc__address_listen(second, 0, &other), 0);
    ck_assert_int_eq(rename(second + 5, address + 5), 0);
    mproc__bound_close(&bound);
    ck_assert(reachable(address));
    mproc__bound_close(&other);
    ck_assert_int_eq(unlink(address + 5), 0);
    free(address);
    free(second);
}
END_TEST

START_TEST(a_relative_path_is_reported_as_absolute)
{
    mproc__bound bound;
    char *here = getcwd(NULL, 0), *expected = address_make("relative");
    ck_assert_int_eq(chdir(support_directory()), 0);
    ck_assert_int_eq(mproc__address_listen("unix:relative", 0, &bound), 0);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_str_eq(bound.address, expected);
    mproc__bound_close(&bound);
    ck_assert(!reachable(expected));
    ck_assert_int_eq(chdir(here), 0);
    free(here);
    free(expected);
}
END_TEST

enum { RACERS = 4 };

typedef struct race_track {
    const char *address;
    int report[2]; /* each racer writes a byte: 'w' for won, 'l' for lost, '?' */
    int gate[2];   /* the winner stays until this is closed */
} race_track;

static int race(void *context)
{
    race_track *track = context;
    mproc__bound bound;
    char byte;
    close(track->gate[1]);
    int rc = mproc__address_listen(track->address, 0, &bound);
    byte = rc == 0 ? 'w' : rc == -EADDRINUSE ? 'l' : '?';
    if (write(track->report[1], &byte, 1) != 1)
        return 1;
    if (rc == 0 && read(track->gate[0], &byte, 1) == 0)
        mproc__bound_close(&bound);
    return 0;
}

/* shows: LSTN-02 */
START_TEST(of_many_who_find_a_dead_socket_one_gets_it)
{
    char *address = address_make("raced"), verdicts[RACERS + 1] = "";
    race_track track = {.address = address};
    pid_t children[RACERS];
    int won = 0, lost = 0;
    ck_assert_int_eq(pipe2(track.report, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(track.gate, O_CLOEXEC), 0);
    pid_t victim = support_fork(listen_and_stay, address);
    ck_assert(support_until(is_reachable, address, 2000));
    support_kill(victim);
    for (int i = 0; i < RACERS; i++)
        children[i] = support_fork(race, &track);
    ck_assert_int_eq(mproc__fd_read_all(track.report[0], verdicts, RACERS, SOON), 0);
    for (int i = 0; i < RACERS; i++) {
        won += verdicts[i] == 'w';
        lost += verdicts[i] == 'l';
    }
    ck_assert_int_eq(won, 1);
    ck_assert_int_eq(lost, RACERS - 1);
    ck_assert(reachable(address));
    for (int i = 0; i < 2; i++) {
        close(track.report[i]);
        close(track.gate[1 - i]);
    }
    for (int i = 0; i < RACERS; i++)
        ck_assert_int_eq(support_reap(children[i], 2000), 0);
    ck_assert(!reachable(address));
    free(address);
}
END_TEST

START_TEST(the_peer_is_known_before_it_speaks)
{
    mproc__bound bound;
    int client;
    pid_t pid;
    uid_t uid;
    char *address = address_make("who");
    ck_assert_int_eq(mproc__address_listen(address, 0, &bound), 0);
    ck_assert_int_eq(mproc__address_connect(address, SOON, &client), 0);
    int server = accept4(bound.fd, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_eq(mproc__peer_check(server, &pid, &uid), 0);
    ck_assert_int_eq(pid, getpid());
    ck_assert_uint_eq(uid, geteuid());
    close(server);
    close(client);
    mproc__bound_close(&bound);
    free(address);
}
END_TEST

/* shows: LSTN-10 */
START_TEST(connecting_to_nobody_fails_at_once)
{
    int fd;
    ck_assert_int_eq(mproc__address_connect("unix:/nowhere/socket", MPROC_FOREVER, &fd), -ENOENT);
    ck_assert_ptr_nonnull(strstr(story(), "nobody listens at unix:/nowhere/socket"));
    ck_assert_int_eq(mproc__address_connect("unix:@mproc-nobody", MPROC_FOREVER, &fd), -ECONNREFUSED);
}
END_TEST

START_TEST(without_memory_nothing_is_left)
{
    mproc__bound bound;
    char *address = address_make("memory");
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        support_fail_allocation(n);
        int rc = mproc__address_listen(n % 2 ? address : NULL, 0, &bound);
        failed = support_allocation_failed();
        ck_assert_int_eq(rc, failed ? -ENOMEM : 0);
    }
    mproc__bound_close(&bound);
    free(address);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("address");
    TCase *addresses = support_case(suite, "addresses");
    tcase_add_test(addresses, what_is_no_address_is_refused_by_name);
    tcase_add_test(addresses, a_path_too_long_for_a_socket_is_refused_with_its_length);
    tcase_add_test(addresses, the_socket_file_is_private_and_goes_with_its_listener);
    tcase_add_test(addresses, without_an_address_there_is_a_private_directory);
    tcase_add_test(addresses, an_abstract_name_needs_no_file);
    tcase_add_test(addresses, a_served_socket_is_not_replaced);
    tcase_add_test(addresses, a_full_backlog_is_alive);
    tcase_add_test(addresses, a_socket_of_a_killed_process_is_replaced);
    tcase_add_test(addresses, a_file_that_is_no_socket_stays);
    tcase_add_test(addresses, a_directory_that_is_missing_is_named);
    tcase_add_test(addresses, a_forked_copy_removes_nothing);
    tcase_add_test(addresses, a_socket_that_somebody_moved_there_stays);
    tcase_add_test(addresses, a_relative_path_is_reported_as_absolute);
    tcase_add_test(addresses, of_many_who_find_a_dead_socket_one_gets_it);
    tcase_add_test(addresses, the_peer_is_known_before_it_speaks);
    tcase_add_test(addresses, connecting_to_nobody_fails_at_once);
    tcase_add_test(addresses, without_memory_nothing_is_left);
    return support_run(suite, argc, argv);
}
