/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections of a process, also beside socket names that look like lines of the kernel's table. */
#include "platform/base.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <mproc/running.h>
#include <mproc/variant.h>
#include "support/support.h"

static mproc_variant connections(mproc_variant *ret_dict)
{
    int rc = mproc_running_detail((mproc_running){0}, MPROC_RUNNING_CONNECTIONS, ret_dict);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return mproc_variant_find(*ret_dict, "connections");
}

static mproc_variant of_fd(mproc_variant list, int fd)
{
    for (size_t i = 0; i < mproc_variant_count(list); i++)
        if (mproc_variant_find(mproc_variant_at(list, i), "fd").number == fd)
            return mproc_variant_at(list, i);
    return mproc_null();
}

static void says(mproc_variant entry, const char *key, const char *text)
{
    const char *found = mproc_variant_get_text(mproc_variant_find(entry, key));
    ck_assert_msg(found && strcmp(found, text) == 0, "%s: %s, not %s", key, found ? found : "nothing", text);
}

static int64_t port_of(mproc_variant entry, const char *key)
{
    int64_t port = -1;
    (void)mproc_variant_get_int(mproc_variant_find(entry, key), &port);
    return port;
}

/* A listener at a free port of the loopback; the port. */
static int listener(int family, uint16_t *ret_port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const void *address = family == AF_INET ? (const void *)&four : &six;
    socklen_t bytes = family == AF_INET ? sizeof four : sizeof six;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, address, bytes) != 0 || listen(fd, 4) != 0 || getsockname(fd, (void *)&six, &bytes) != 0) {
        close(fd);
        return -1;
    }
    *ret_port = ntohs(six.sin6_port); /* stands where the other family has it */
    return fd;
}

START_TEST(both_ends_of_a_tcp_connection_are_told)
{
    uint16_t port;
    int fd = listener(AF_INET, &port);
    ck_assert_int_ge(fd, 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(client, (void *)&to, sizeof to), 0);
    int server = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    int copy = fcntl(server, F_DUPFD_CLOEXEC, 0);
    mproc_variant dict = mproc_null(), list = connections(&dict);
    says(of_fd(list, fd), "kind", "tcp");
    says(of_fd(list, fd), "state", "LISTEN");
    says(of_fd(list, fd), "local_address", "127.0.0.1");
    ck_assert_int_eq(port_of(of_fd(list, fd), "local_port"), port);
    ck_assert_int_eq(port_of(of_fd(list, fd), "remote_port"), -1);
    says(of_fd(list, client), "state", "ESTABLISHED");
    says(of_fd(list, client), "remote_address", "127.0.0.1");
    ck_assert_int_eq(port_of(of_fd(list, client), "remote_port"), port);
    ck_assert_int_eq(port_of(of_fd(list, server), "remote_port"), port_of(of_fd(list, client), "local_port"));
    ck_assert_int_eq(port_of(of_fd(list, copy), "remote_port"), port_of(of_fd(list, client), "local_port"));
    mproc_variant_clear(&dict);
    close(copy);
    close(server);
    close(client);
    close(fd);
}
END_TEST

START_TEST(version_six_and_datagrams_are_told)
{
    uint16_t port;
    int six = listener(AF_INET6, &port); /* -1: this machine has no version 6 */
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(udp, (void *)&to, sizeof to), 0);
    mproc_variant dict = mproc_null(), list = connections(&dict);
    says(of_fd(list, udp), "kind", "udp");
    says(of_fd(list, udp), "state", "NONE");
    if (six >= 0) {
        says(of_fd(list, six), "kind", "tcp6");
        says(of_fd(list, six), "local_address", "::1");
        ck_assert_int_eq(port_of(of_fd(list, six), "local_port"), port);
    }
    mproc_variant_clear(&dict);
    close(udp);
    if (six >= 0)
        close(six);
}
END_TEST

static int unix_listener(const char *name, size_t bytes)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, name, bytes);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (void *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes)),
                     0);
    ck_assert_int_eq(listen(fd, 1), 0);
    return fd;
}

START_TEST(unix_sockets_have_names_types_and_states)
{
    char path[100];
    int pair[2];
    snprintf(path, sizeof path, "%s/s o", support_directory());
    int named = unix_listener(path, strlen(path)), hidden = unix_listener("\0mproc running", 14);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    mproc_variant dict = mproc_null(), list = connections(&dict);
    says(of_fd(list, named), "kind", "unix");
    says(of_fd(list, named), "state", "LISTEN");
    says(of_fd(list, named), "type", "stream");
    says(of_fd(list, named), "path", path);
    says(of_fd(list, hidden), "path", "@mproc running");
    says(of_fd(list, pair[0]), "type", "seqpacket");
    says(of_fd(list, pair[0]), "state", "CONNECTED");
    ck_assert_int_eq(mproc_variant_find(of_fd(list, pair[0]), "path").kind, MPROC_KIND_INVALID);
    mproc_variant_clear(&dict);
    unlink(path);
    close(named);
    close(hidden);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

/* A name that goes on, behind a newline, as a line about another socket. */
static int forger(int victim, const char *claim)
{
    struct stat status;
    char name[108] = "\0f\n";
    ck_assert_int_eq(fstat(victim, &status), 0);
    int bytes = snprintf(name + 3, sizeof name - 3, "1: 2 0 %s 0001 01 %llu /forged", claim,
                         (unsigned long long)status.st_ino);
    return unix_listener(name, 3 + (size_t)bytes);
}

START_TEST(a_name_that_forges_lines_is_not_believed)
{
    uint16_t port;
    char path[100];
    snprintf(path, sizeof path, "%s/real", support_directory());
    int tcp = listener(AF_INET, &port), named = unix_listener(path, strlen(path));
    int forgers[2] = {forger(tcp, "00000000"), forger(named, "00000000")};
    mproc_variant dict = mproc_null(), list = connections(&dict);
    says(of_fd(list, tcp), "kind", "tcp");
    says(of_fd(list, tcp), "state", "LISTEN");
    says(of_fd(list, named), "kind", "unix");
    says(of_fd(list, named), "state", "unknown");
    ck_assert_int_eq(mproc_variant_find(of_fd(list, named), "path").kind, MPROC_KIND_INVALID);
    mproc_variant_clear(&dict);
    unlink(path);
    for (int i = 0; i < 2; i++)
        close(forgers[i]);
    close(named);
    close(tcp);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("running_sockets");
    TCase *all = support_case(suite, "sockets");
    tcase_add_test(all, both_ends_of_a_tcp_connection_are_told);
    tcase_add_test(all, version_six_and_datagrams_are_told);
    tcase_add_test(all, unix_sockets_have_names_types_and_states);
    tcase_add_test(all, a_name_that_forges_lines_is_not_believed);
    return support_run(suite, argc, argv);
}
