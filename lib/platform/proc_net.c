/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's tables of sockets: which line is which inode's, and what it says. Takes any bytes. */
#include "platform/base.h"

#include <string.h>
#include <sys/socket.h>

#include "platform/proc.h"

const char *const mproc__proc_net_files[MPROC__PROC_NETS] = {"net/tcp", "net/tcp6", "net/udp", "net/udp6",
                                                             "net/unix"};

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if (byte >= 'A' && byte <= 'F')
        return byte - 'A' + 10;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Exactly `digits` hexadecimal ones. */
static bool hex_take(const char **at, const char *end, unsigned digits, uint32_t *ret_number)
{
    uint32_t number = 0;
    if (end - *at < (ptrdiff_t)digits)
        return false;
    for (unsigned i = 0; i < digits; i++) {
        int digit = hex_digit((*at)[i]);
        if (digit < 0)
            return false;
        number = number << 4 | (uint32_t)digit;
    }
    *at += digits;
    *ret_number = number;
    return true;
}

static bool byte_take(const char **at, const char *end, char byte)
{
    if (*at >= end || **at != byte)
        return false;
    (*at)++;
    return true;
}

static void blanks_skip(const char **at, const char *end)
{
    while (*at < end && **at == ' ')
        (*at)++;
}

/* Over a word and the blanks behind it; false when there is none. */
static bool word_skip(const char **at, const char *end)
{
    const char *begin = *at;
    while (*at < end && **at != ' ')
        (*at)++;
    bool some = *at > begin;
    blanks_skip(at, end);
    return some;
}

/* ---- TCP and UDP ---- */

/* Addresses are printed as 32-bit words of this machine's byte order, ports as numbers. */
static bool address_take(const char **at, const char *end, unsigned words, uint8_t address[16],
                         uint16_t *ret_port)
{
    uint32_t number = 0;
    for (unsigned i = 0; i < words; i++) {
        if (!hex_take(at, end, 8, &number))
            return false;
        memcpy(address + 4 * i, &number, sizeof number);
    }
    if (!byte_take(at, end, ':') || !hex_take(at, end, 4, &number))
        return false;
    *ret_port = (uint16_t)number;
    return byte_take(at, end, ' ');
}

/* As the kernel numbers them; UDP uses two, connected and not. */
static const char *inet_state(mproc__proc_net net, uint32_t state)
{
    static const char *const names[] = {"unknown",   "ESTABLISHED", "SYN_SENT",    "SYN_RECV",   "FIN_WAIT1",
                                        "FIN_WAIT2", "TIME_WAIT",   "CLOSE",       "CLOSE_WAIT", "LAST_ACK",
                                        "LISTEN",    "CLOSING",     "NEW_SYN_RECV"};
    if (net >= MPROC__PROC_UDP)
        return state == 1 ? "ESTABLISHED" : "NONE";
    return names[state < MPROC__COUNT(names) ? state : 0];
}

/* "  0: LOCAL:PORT REMOTE:PORT STATE queues timer retransmissions uid timeout inode ..." */
static bool inet_parse(mproc__proc_net net, mproc__proc_line line, mproc__proc_socket *ret_socket)
{
    unsigned words = net == MPROC__PROC_TCP6 || net == MPROC__PROC_UDP6 ? 4 : 1;
    const char *at = line.begin, *end = line.end;
    int64_t number;
    uint32_t state;

    if (!mproc__proc_number(&at, end, &number) || !byte_take(&at, end, ':') || !byte_take(&at, end, ' ') ||
        !address_take(&at, end, words, ret_socket->local, &ret_socket->local_port) ||
        !address_take(&at, end, words, ret_socket->remote, &ret_socket->remote_port) ||
        !hex_take(&at, end, 2, &state))
        return false;
    blanks_skip(&at, end);
    for (int i = 0; i < 5; i++) /* queues, timer, retransmissions, uid, timeout */
        if (!word_skip(&at, end))
            return false;
    if (!mproc__proc_number(&at, end, &number) || number <= 0)
        return false;
    ret_socket->inode = (uint64_t)number;
    ret_socket->state = inet_state(net, state);
    return true;
}

/* ---- Unix ---- */

static const char *unix_type(uint32_t type)
{
    switch (type) {
    case SOCK_STREAM:
        return "stream";
    case SOCK_DGRAM:
        return "datagram";
    case SOCK_SEQPACKET:
        return "seqpacket";
    default:
        return "unknown";
    }
}

static const char *unix_state(uint32_t flags, uint32_t state)
{
    if (flags & 0x10000) /* accepts connections */
        return "LISTEN";
    return state == 3 ? "CONNECTED" : "UNCONNECTED";
}

/* "address: references protocol FLAGS TYPE STATE inode path": the path is the rest of the line, blanks and all. */
static bool unix_parse(mproc__proc_line line, mproc__proc_socket *ret_socket)
{
    const char *at = line.begin, *end = line.end;
    uint32_t flags, type, state;
    int64_t inode;

    if (!word_skip(&at, end) || !word_skip(&at, end) || !word_skip(&at, end) ||
        !hex_take(&at, end, 8, &flags) || !byte_take(&at, end, ' ') || !hex_take(&at, end, 4, &type) ||
        !byte_take(&at, end, ' ') || !hex_take(&at, end, 2, &state) ||
        !mproc__proc_number(&at, end, &inode) || inode <= 0)
        return false;
    ret_socket->inode = (uint64_t)inode;
    ret_socket->type = unix_type(type);
    ret_socket->state = unix_state(flags, state);
    if (byte_take(&at, end, ' ') && at < end) {
        ret_socket->path = at;
        ret_socket->path_bytes = (size_t)(end - at);
    }
    return true;
}

bool mproc__proc_socket_parse(mproc__proc_net net, mproc__proc_line line, mproc__proc_socket *ret_socket)
{
    *ret_socket = (mproc__proc_socket){.net = net};
    return net == MPROC__PROC_UNIX ? unix_parse(line, ret_socket) : inet_parse(net, line, ret_socket);
}
