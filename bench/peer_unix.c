/* SPDX-License-Identifier: BSD-2-Clause */
/* A pair of Unix sockets: SOCK_SEQPACKET, which keeps the messages' boundaries; above 64 KiB, where the default send buffer
 * takes no packet in one piece, SOCK_STREAM. */
#include "platform/base.h"

#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

enum { PACKET_MOST = 65536 };

static int ends[2];

static int unix_open(size_t bytes)
{
    int type = bytes <= PACKET_MOST ? SOCK_SEQPACKET : SOCK_STREAM;
    return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0;
}

static int unix_begin(int sends)
{
    return close(ends[!sends]);
}

static int unix_send(const void *message, size_t bytes)
{
    const char *at = message;
    while (bytes > 0) {
        ssize_t sent = send(ends[1], at, bytes, MSG_NOSIGNAL);
        if (sent <= 0)
            return 1;
        at += sent;
        bytes -= (size_t)sent;
    }
    return 0;
}

static int unix_receive(void *message, size_t bytes)
{
    char *at = message;
    while (bytes > 0) {
        ssize_t got = recv(ends[0], at, bytes, 0);
        if (got <= 0)
            return 1;
        at += got;
        bytes -= (size_t)got;
    }
    return 0;
}

static void unix_end(int sends)
{
    close(ends[sends]);
}

const peer_operations peer = {unix_open, unix_begin, unix_send, unix_receive, unix_end};
