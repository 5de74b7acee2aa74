/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include <mproc.h>
#include "managerd/daemon.h"
#include "support/support.h"

#define SOON mproc_after_ms(support_ms(5000))
#define KEY  "0123456789abcdef0123456789abcdef"

static const char *key_file(void)
{
    return daemon_file("key", KEY "\n", 0600);
}

static mproc_place *place_open(const char *address)
{
    mproc_place *place = NULL;
    ck_assert_int_eq(mproc_place_open(address,
                                      MPROC_WITH(mproc_place_options, .key = KEY, .key_bytes = strlen(KEY)),
                                      &place),
                     0);
    ck_assert_int_eq(mproc_place_ping(place, SOON), 0);
    return place;
}

/* 0: somebody serves there, with our key. */
static int ping(const char *address)
{
    return RUN("managerctl", "--connect", address, "--key-file", daemon_path("key"), "ping").status;
}

#define CONTAINS(text, part) ck_assert_msg(strstr(text, part) != NULL, "'%s' is not in: %s", part, text)

/* ---- life ---- */

START_TEST(a_program_puts_and_managerctl_shows)
{
    mproc_dict *dict;
    mproc_list *list;
    const char *address = daemon_address("s");
    daemon_process daemon = START("--listen", address, "--key-file", key_file());
    mproc_place *place = place_open(address);
    ck_assert_int_eq(mproc_dict_create(place, MPROC_WITH(mproc_data_options, .name = "ages"), &dict), 0);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_text("ada"), mproc_int(36)), 0);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_int(7), mproc_text("seven")), 0);
    ck_assert_int_eq(mproc_list_create(place, MPROC_WITH(mproc_data_options, .name = "words"), &list), 0);
    ck_assert_int_eq(mproc_list_append(list, mproc_text("one")), 0);
    ck_assert_int_eq(mproc_list_append(list, mproc_double(2.5)), 0);
    outcome names = RUN("managerctl", "--connect", address, "--key-file", daemon_path("key"), "list");
    ck_assert_int_eq(names.status, 0);
    CONTAINS(names.text, "ages\tdict\t");
    CONTAINS(names.text, "words\tlist\t");
    ck_assert_str_eq(
        RUN("managerctl", "--connect", address, "--key-file", daemon_path("key"), "get", "ages").text,
        "ada\t36\n7\tseven\n");
    ck_assert_str_eq(
        RUN("managerctl", "--connect", address, "--key-file", daemon_path("key"), "get", "ages", "7").text,
        "seven\n");
    ck_assert_str_eq(
        RUN("managerctl", "--connect", address, "--key-file", daemon_path("key"), "get", "words").text,
        "one\n2.5\n");
    ck_assert_str_eq(
        RUN("managerctl", "--connect", address, "--key-file", daemon_path("key"), "get", "words", "-1").text,
        "2.5\n");
    mproc_dict_close(&dict);
    mproc_list_close(&list);
    mproc_place_close(&place);
    ck_assert_int_eq(daemon_end(&daemon, SIGTERM), EX_OK);
}
END_TEST

START_TEST(signals_stop_it_and_its_socket_goes)
{
    const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < MPROC__COUNT(signals); i++) {
        daemon_process daemon = START_ALONE("--listen", daemon_address("s"), "--key-file", key_file());
        ck_assert(daemon_exists("s"));
        ck_assert_int_eq(daemon_end(&daemon, signals[i]), EX_OK);
        ck_assert(!daemon_exists("s"));
    }
    ck_assert_str_eq(daemon_log(), "");
}
END_TEST

/* shows: DEATH-10 MGR-14 */
START_TEST(after_a_kill_the_next_one_takes_the_same_path)
{
    const char *address = daemon_address("s");
    key_file();
    for (unsigned round = 0; round < 5; round++) {
        daemon_process daemon = START("--listen", address, "--key-file", daemon_path("key"));
        ck_assert_int_eq(ping(address), 0);
        ck_assert_int_eq(daemon_end(&daemon, SIGKILL), 256 + SIGKILL);
        ck_assert(daemon_exists("s"));
    }
    ck_assert_int_eq(ping(address), 1);
    daemon_process last = START("--listen", address, "--key-file", daemon_path("key"));
    ck_assert_int_eq(ping(address), 0);
    ck_assert_int_eq(daemon_end(&last, SIGTERM), EX_OK);
    ck_assert(!daemon_exists("s"));
}
END_TEST

START_TEST(the_end_of_the_lifeline_stops_it)
{
    daemon_process daemon = START("--listen", daemon_address("s"), "--key-file", key_file());
    ck_assert_int_eq(write(daemon.lifeline, "this means nothing", 18), 18);
    ck_assert_int_eq(ping(daemon_address("s")), 0);
    ck_assert_int_eq(daemon_end(&daemon, 0), EX_OK);
    ck_assert(!daemon_exists("s"));
}
END_TEST

/* shows: MGR-04 */
START_TEST(the_terminal_signals_are_the_owners_where_there_is_one)
{
    daemon_process daemon = START("--listen", daemon_address("s"), "--key-file", key_file());
    ck_assert_int_eq(kill(daemon.pid, SIGINT), 0);
    ck_assert_int_eq(kill(daemon.pid, SIGHUP), 0);
    ck_assert_int_eq(ping(daemon_address("s")), 0);
    ck_assert_int_eq(daemon_end(&daemon, 0), EX_OK);
    ck_assert(!daemon_exists("s"));
}
END_TEST

/* Starts a daemon, says its pid, and stays. */
static int owner_of_daemon(void *context)
{
    daemon_process daemon = START("--listen", daemon_address("s"), "--key-file", daemon_path("key"));
    if (write(*(int *)context, &daemon.pid, sizeof daemon.pid) != (ssize_t)sizeof daemon.pid)
        return 1;
    pause();
    return 0;
}

/* shows: DEATH-9 */
START_TEST(a_killed_owner_takes_its_daemon_along)
{
    int report[2];
    pid_t daemon = 0;
    key_file();
    ck_assert_int_eq(pipe2(report, O_CLOEXEC), 0);
    pid_t owner = support_fork(owner_of_daemon, &report[1]);
    close(report[1]);
    ck_assert_int_eq(read(report[0], &daemon, sizeof daemon), (ssize_t)sizeof daemon);
    close(report[0]);
    support_kill(owner);
    ck_assert_int_eq(support_reap(daemon, 5000), EX_OK); /* it came to us, the subreaper */
    ck_assert(!daemon_exists("s"));
}
END_TEST

START_TEST(several_addresses_are_served_at_once)
{
    char abstract[64];
    snprintf(abstract, sizeof abstract, "unix:@managerd-check-%d", (int)getpid());
    daemon_process daemon = START("--listen", daemon_address("s"), "--listen", abstract, "--key-file",
                                  key_file(), "--log-level", "info");
    ck_assert_int_eq(ping(daemon_address("s")), 0);
    ck_assert_int_eq(ping(abstract), 0);
    ck_assert_int_eq(daemon_end(&daemon, SIGTERM), EX_OK);
    CONTAINS(daemon_log(), "serving unix:@managerd-check-");
}
END_TEST

/* shows: MGR-24 REMOTE-3 */
START_TEST(after_a_restart_the_old_objects_are_gone_and_said_to_be)
{
    const char *address = daemon_address("s");
    mproc_dict *dict;
    mproc_variant item;
    daemon_process daemon = START("--listen", address, "--key-file", key_file());
    mproc_place *place = place_open(address);
    ck_assert_int_eq(mproc_dict_create(place, MPROC_WITH(mproc_data_options, .name = "d"), &dict), 0);
    ck_assert_int_eq(mproc_dict_set(dict, mproc_text("k"), mproc_int(1)), 0);
    ck_assert_int_eq(daemon_end(&daemon, SIGKILL), 256 + SIGKILL);
    ck_assert_int_lt(mproc_dict_get(dict, mproc_text("k"), &item), 0);
    CONTAINS(mproc_error_text(mproc_last_error()), address);
    daemon = START("--listen", address, "--key-file", daemon_path("key"));
    ck_assert_int_eq(mproc_place_ping(place, SOON), 0);
    ck_assert_int_eq(mproc_dict_get(dict, mproc_text("k"), &item), MPROC_ESTALE);
    mproc_dict_close(&dict);
    mproc_place_close(&place);
    ck_assert_int_eq(daemon_end(&daemon, SIGTERM), EX_OK);
}
END_TEST

/* ---- keys ---- */

/* shows: SEC-1 MGR-13 */
START_TEST(a_wrong_key_or_none_is_refused_and_both_are_told)
{
    const char *address = daemon_address("s");
    daemon_process daemon = START("--listen", address, "--key-file", key_file());
    outcome wrong = RUN("managerctl", "--connect", address, "--key-file",
                        daemon_file("other", "another key of good length\n", 0600), "ping");
    ck_assert_int_eq(wrong.status, 1);
    CONTAINS(wrong.text, "key is another");
    outcome none = RUN("managerctl", "--connect", address, "ping");
    ck_assert_int_eq(none.status, 1);
    CONTAINS(none.text, "needs a key");
    ck_assert_int_eq(ping(address), 0);
    CONTAINS(daemon_log(), "another key");
    CONTAINS(daemon_log(), "no key");
    ck_assert_int_eq(daemon_end(&daemon, SIGTERM), EX_OK);
}
END_TEST

/* shows: SEC-1 */
START_TEST(a_client_with_a_key_refuses_a_daemon_without)
{
    const char *address = daemon_address("s");
    key_file();
    daemon_process daemon = START("--listen", address);
    outcome refused = RUN("managerctl", "--connect", address, "--key-file", daemon_path("key"), "ping");
    ck_assert_int_eq(refused.status, 1);
    CONTAINS(refused.text, "has no key");
    ck_assert_int_eq(RUN("managerctl", "--connect", address, "ping").status, 0);
    ck_assert_int_eq(daemon_end(&daemon, SIGTERM), EX_OK);
}
END_TEST

/* shows: SEC-4 */
START_TEST(the_key_is_in_no_log_command_line_or_environment)
{
    char path[64], text[4096];
    const char *address = daemon_address("s");
    daemon_process daemon = START("--listen", address, "--key-file", key_file(), "--log-level", "debug");
    ck_assert_int_eq(ping(address), 0);
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)daemon.pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    ck_assert_int_gt(n, 0);
    ck_assert_ptr_null(memmem(text, (size_t)n, KEY, strlen(KEY)));
    ck_assert_int_eq(daemon_end(&daemon, SIGTERM), EX_OK);
    ck_assert_ptr_null(strstr(daemon_log(), KEY));
}
END_TEST

/* shows: SEC-2 */
START_TEST(a_bad_key_file_is_named_and_nothing_is_left)
{
    const char *address = daemon_address("s");
    outcome missing = RUN("managerd", "--listen", address, "--key-file", daemon_path("missing"));
    outcome open_to_all = RUN("managerd", "--listen", address, "--key-file", daemon_file("open", KEY, 0644));
    outcome too_short =
        RUN("managerd", "--listen", address, "--key-file", daemon_file("short", "short", 0600));
    outcome directory = RUN("managerd", "--listen", address, "--key-file", support_directory());
    ck_assert_int_eq(missing.status, EX_NOINPUT);
    CONTAINS(missing.text, daemon_path("missing"));
    ck_assert_int_eq(open_to_all.status, EX_NOPERM);
    CONTAINS(open_to_all.text, daemon_path("open"));
    ck_assert_int_eq(too_short.status, EX_CONFIG);
    CONTAINS(too_short.text, daemon_path("short"));
    ck_assert_int_eq(directory.status, EX_NOPERM);
    ck_assert(!daemon_exists("s"));
}
END_TEST

/* ---- wrong usage ---- */

/* shows: LSTN-02 */
START_TEST(a_busy_address_is_refused_and_goes_on_being_served)
{
    const char *address = daemon_address("s");
    daemon_process daemon = START("--listen", address, "--key-file", key_file());
    outcome second = RUN("managerd", "--listen", address, "--key-file", daemon_path("key"));
    ck_assert_int_eq(second.status, EX_UNAVAILABLE);
    CONTAINS(second.text, address);
    ck_assert_int_eq(ping(address), 0);
    ck_assert_int_eq(daemon_end(&daemon, SIGTERM), EX_OK);
}
END_TEST

START_TEST(a_bad_address_is_named)
{
    outcome tcp = RUN("managerd", "--listen", "tcp:localhost:1");
    outcome word = RUN("managerd", "--listen", "somewhere");
    outcome folder = RUN("managerd", "--listen", "unix:/nowhere/at/all");
    daemon_file("file", "not a socket", 0600);
    outcome file = RUN("managerd", "--listen", daemon_address("file"));
    ck_assert_int_eq(tcp.status, EX_USAGE);
    CONTAINS(tcp.text, "unix:PATH");
    ck_assert_int_eq(word.status, EX_USAGE);
    CONTAINS(word.text, "somewhere");
    ck_assert_int_eq(folder.status, EX_CANTCREAT);
    CONTAINS(folder.text, "/nowhere/at");
    ck_assert_int_eq(file.status, EX_CANTCREAT);
    CONTAINS(file.text, daemon_path("file"));
    ck_assert(daemon_exists("file"));
}
END_TEST

START_TEST(the_first_address_goes_when_the_second_fails)
{
    outcome second = RUN("managerd", "--listen", daemon_address("s"), "--listen", "unix:/nowhere/at/all");
    ck_assert_int_eq(second.status, EX_CANTCREAT);
    ck_assert(!daemon_exists("s"));
}
END_TEST

START_TEST(wrong_options_are_told)
{
    ck_assert_int_eq(RUN("managerd", "--listen").status, EX_USAGE);
    ck_assert_int_eq(RUN("managerd", "--no-such-option").status, EX_USAGE);
    ck_assert_int_eq(RUN("managerd", "word").status, EX_USAGE);
    ck_assert_int_eq(RUN("managerd", "--listen", daemon_address("s"), "--log-level", "loud").status,
                     EX_USAGE);
    ck_assert_int_eq(RUN("managerd", "--listen", daemon_address("s"), "--ready-fd", "x").status, EX_USAGE);
    ck_assert_int_eq(RUN("managerd", "--listen", daemon_address("s"), "--lifeline-fd", "99").status,
                     EX_USAGE);
    outcome nothing = daemon_run("managerd", (const char *const[]){NULL});
    ck_assert_int_eq(nothing.status, EX_USAGE);
    CONTAINS(nothing.text, "--listen");
    ck_assert(!daemon_exists("s"));
}
END_TEST

START_TEST(help_and_version_are_no_errors)
{
    outcome usage = RUN("managerd", "--help"), version = RUN("managerd", "--version");
    ck_assert_int_eq(usage.status, EX_OK);
    CONTAINS(usage.text, "--lifeline-fd");
    ck_assert_int_eq(version.status, EX_OK);
    ck_assert_str_eq(version.text, "managerd " MPROC_VERSION_TEXT "\n");
    ck_assert_int_eq(RUN("managerctl", "--help").status, 0);
    ck_assert_int_eq(RUN("managerctl", "--version").status, 0);
}
END_TEST

/* ---- strangers ---- */

/* A bare client. */
static int stranger(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", daemon_path(name));
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)(const void *)&address, sizeof address), 0);
    return fd;
}

/* shows: REMOTE-6 SEC-5 MGR-25 */
START_TEST(garbage_and_silence_disturb_nobody)
{
    int fds[40];
    const char *address = daemon_address("s");
    daemon_process daemon = START("--listen", address, "--key-file", key_file());
    srand(3);
    for (size_t i = 0; i < MPROC__COUNT(fds); i++) {
        char noise[300];
        fds[i] = stranger("s");
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (char)rand();
        if (i % 2)
            (void)!send(fds[i], noise, 1 + (size_t)rand() % sizeof noise, MSG_NOSIGNAL);
    }
    ck_assert_int_eq(ping(address), 0);
    for (size_t i = 0; i < MPROC__COUNT(fds); i++)
        close(fds[i]);
    ck_assert_int_eq(ping(address), 0);
    ck_assert_int_eq(daemon_end(&daemon, SIGTERM), EX_OK);
}
END_TEST

/* ---- managerctl ---- */

START_TEST(keygen_makes_a_private_key_once)
{
    outcome made = RUN("managerctl", "keygen", daemon_path("new"));
    ck_assert_int_eq(made.status, 0);
    outcome again = RUN("managerctl", "keygen", daemon_path("new"));
    ck_assert_int_eq(again.status, 1);
    CONTAINS(again.text, daemon_path("new"));
    ck_assert_int_eq(RUN("managerctl", "keygen", "/nowhere/key").status, 1);
    outcome first = RUN("managerctl", "keygen"), second = RUN("managerctl", "keygen");
    ck_assert_uint_eq(strlen(first.text), 65);
    ck_assert_uint_eq(strspn(first.text, "0123456789abcdef"), 64);
    ck_assert_str_ne(first.text, second.text);
    daemon_process daemon = START("--listen", daemon_address("s"), "--key-file", daemon_path("new"));
    ck_assert_int_eq(
        RUN("managerctl", "--connect", daemon_address("s"), "--key-file", daemon_path("new"), "ping").status,
        0);
    ck_assert_int_eq(daemon_end(&daemon, SIGTERM), EX_OK);
}
END_TEST

START_TEST(managerctl_names_what_is_wrong)
{
    const char *address = daemon_address("s");
    outcome nobody = RUN("managerctl", "--connect", address, "ping");
    ck_assert_int_eq(nobody.status, 1);
    CONTAINS(nobody.text, address);
    ck_assert_int_eq(RUN("managerctl", "--connect", address).status, 2);
    ck_assert_int_eq(RUN("managerctl", "--connect", address, "dance").status, 2);
    ck_assert_int_eq(RUN("managerctl", "--connect", address, "get").status, 2);
    ck_assert_int_eq(RUN("managerctl", "--connect", address, "ping", "pong").status, 2);
    ck_assert_int_eq(RUN("managerctl", "--no-such-option").status, 2);
    daemon_process daemon = START("--listen", address);
    outcome absent = RUN("managerctl", "--connect", address, "get", "nothing");
    ck_assert_int_eq(absent.status, 1);
    CONTAINS(absent.text, "nothing");
    ck_assert_int_eq(setenv("MPROC_PLACE", address, 1), 0);
    ck_assert_int_eq(RUN("managerctl", "ping").status, 0);
    ck_assert_int_eq(unsetenv("MPROC_PLACE"), 0);
    ck_assert_int_eq(RUN("managerctl", "ping").status, 2);
    ck_assert_int_eq(daemon_end(&daemon, SIGTERM), EX_OK);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("managerd");
    TCase *life = support_case(suite, "life");
    tcase_add_test(life, a_program_puts_and_managerctl_shows);
    tcase_add_test(life, signals_stop_it_and_its_socket_goes);
    tcase_add_test(life, after_a_kill_the_next_one_takes_the_same_path);
    tcase_add_test(life, the_end_of_the_lifeline_stops_it);
    tcase_add_test(life, the_terminal_signals_are_the_owners_where_there_is_one);
    tcase_add_test(life, a_killed_owner_takes_its_daemon_along);
    tcase_add_test(life, several_addresses_are_served_at_once);
    tcase_add_test(life, after_a_restart_the_old_objects_are_gone_and_said_to_be);
    TCase *keys = support_case(suite, "keys");
    tcase_add_test(keys, a_wrong_key_or_none_is_refused_and_both_are_told);
    tcase_add_test(keys, a_client_with_a_key_refuses_a_daemon_without);
    tcase_add_test(keys, the_key_is_in_no_log_command_line_or_environment);
    tcase_add_test(keys, a_bad_key_file_is_named_and_nothing_is_left);
    TCase *usage = support_case(suite, "usage");
    tcase_add_test(usage, a_busy_address_is_refused_and_goes_on_being_served);
    tcase_add_test(usage, a_bad_address_is_named);
    tcase_add_test(usage, the_first_address_goes_when_the_second_fails);
    tcase_add_test(usage, wrong_options_are_told);
    tcase_add_test(usage, help_and_version_are_no_errors);
    TCase *strangers = support_case(suite, "strangers");
    tcase_add_test(strangers, garbage_and_silence_disturb_nobody);
    TCase *control = support_case(suite, "managerctl");
    tcase_add_test(control, keygen_makes_a_private_key_once);
    tcase_add_test(control, managerctl_names_what_is_wrong);
    return support_run(suite, argc, argv);
}
