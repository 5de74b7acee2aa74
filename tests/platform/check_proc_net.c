/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines of the tables of sockets. */
#include "platform/base.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "platform/proc.h"
#include "support/support.h"

static bool parse(mproc__proc_net net, const char *text, mproc__proc_socket *ret_socket)
{
    return mproc__proc_socket_parse(net, (mproc__proc_line){text, text + strlen(text)}, ret_socket);
}

/* As the kernel prints it: the address's four bytes as one number of this machine. */
static void tcp_line(const char *local, unsigned state, char line[256])
{
    uint32_t address;
    inet_pton(AF_INET, local, &address);
    snprintf(
        line, 256,
        "   0: %08X:07E8 0100007F:0050 %02X 00000000:00000000 00:00000000 00000000     0        0 1659 1 x",
        address, state);
}

START_TEST(an_internet_socket_has_addresses_ports_and_a_state)
{
    mproc__proc_socket socket;
    char line[256], text[INET_ADDRSTRLEN];
    tcp_line("192.168.2.3", 10, line);
    ck_assert(parse(MPROC__PROC_TCP, line, &socket));
    ck_assert_str_eq(inet_ntop(AF_INET, socket.local, text, sizeof text), "192.168.2.3");
    ck_assert_int_eq(socket.local_port, 2024);
    ck_assert_int_eq(socket.remote_port, 80);
    ck_assert_str_eq(socket.state, "LISTEN");
    ck_assert_uint_eq(socket.inode, 1659);
    tcp_line("192.168.2.3", 1, line);
    ck_assert(parse(MPROC__PROC_UDP, line, &socket));
    ck_assert_str_eq(socket.state, "ESTABLISHED");
    tcp_line("192.168.2.3", 7, line);
    ck_assert(parse(MPROC__PROC_UDP, line, &socket));
    ck_assert_str_eq(socket.state, "NONE");
    tcp_line("192.168.2.3", 255, line);
    ck_assert(parse(MPROC__PROC_TCP, line, &socket));
    ck_assert_str_eq(socket.state, "unknown");
    ck_assert(!parse(MPROC__PROC_TCP6, line, &socket));
}
END_TEST

START_TEST(a_unix_path_is_the_rest_of_its_line)
{
    mproc__proc_socket socket;
    ck_assert(
        parse(MPROC__PROC_UNIX, "0000000000000000: 00000002 00000000 00010000 0001 01 77 /a b/ c", &socket));
    ck_assert_uint_eq(socket.inode, 77);
    ck_assert_str_eq(socket.state, "LISTEN");
    ck_assert_str_eq(socket.type, "stream");
    ck_assert_uint_eq(socket.path_bytes, 7);
    ck_assert_mem_eq(socket.path, "/a b/ c", 7);
    ck_assert(parse(MPROC__PROC_UNIX, "00000000eca2bf57: 00000003 00000000 00000000 0005 03  1655", &socket));
    ck_assert_ptr_null(socket.path);
    ck_assert_str_eq(socket.state, "CONNECTED");
    ck_assert_str_eq(socket.type, "seqpacket");
    ck_assert(parse(MPROC__PROC_UNIX, "x: 1 0 00000000 0002 01 9 @\x01\xff", &socket));
    ck_assert_str_eq(socket.type, "datagram");
    ck_assert_str_eq(socket.state, "UNCONNECTED");
    ck_assert_uint_eq(socket.path_bytes, 3);
}
END_TEST

START_TEST(headlines_and_broken_lines_are_no_sockets)
{
    static const char *const lines[] = {
        "",
        " ",
        "Num       RefCount Protocol Flags    Type St Inode Path",
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
        "0: 00000000:07E8",
        "0: 0000000G:07E8 00000000:0000 0A 0 0 0 0 0 5",
        "x: 1 0 0000000 0001 01 9",
        "x: 1 0 00000000 0001 01 -9",
        "x: 1 0 00000000 0001 01"};
    mproc__proc_socket socket;
    for (size_t i = 0; i < MPROC__COUNT(lines); i++)
        for (int net = 0; net < MPROC__PROC_NETS; net++)
            ck_assert_msg(!parse((mproc__proc_net)net, lines[i], &socket), "table %d: %s", net, lines[i]);
    char line[256];
    tcp_line("1.2.3.4", 1, line);
    char *inode = strstr(line, "1659");
    for (char *end = line; end <= inode; end++)
        ck_assert(!mproc__proc_socket_parse(MPROC__PROC_TCP, (mproc__proc_line){line, end}, &socket));
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("proc_net");
    TCase *lines = support_case(suite, "lines");
    tcase_add_test(lines, an_internet_socket_has_addresses_ports_and_a_state);
    tcase_add_test(lines, a_unix_path_is_the_rest_of_its_line);
    tcase_add_test(lines, headlines_and_broken_lines_are_no_sockets);
    return support_run(suite, argc, argv);
}
