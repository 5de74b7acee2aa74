/* SPDX-License-Identifier: BSD-2-Clause */
/* nng, push to pull over ipc://, with buffers as deep as its options allow. */
#include "platform/base.h"

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "peer.h"

enum { DEPTH_MOST = 8192, CONNECT_TRIES = 500, CONNECT_PAUSE_MS = 2 };

static char address[64];
static nng_socket sock;
static int depth = DEPTH_MOST;

static int nng_peer_open(size_t bytes)
{
    snprintf(address, sizeof address, "ipc:///tmp/mproc-peer-%d", (int)getpid());
    if (peer_depth(bytes) < (size_t)depth)
        depth = (int)peer_depth(bytes);
    return 0;
}

/* The receiver may not listen yet. */
static int dial(void)
{
    int code = NNG_ECONNREFUSED;
    for (int i = 0; i < CONNECT_TRIES && code != 0; i++) {
        code = nng_dial(sock, address, NULL, 0);
        if (code != 0)
            poll(NULL, 0, CONNECT_PAUSE_MS);
    }
    return code != 0;
}

static int nng_peer_begin(int sends)
{
    if ((sends ? nng_push0_open(&sock) : nng_pull0_open(&sock)) != 0)
        return 1;
    (void)nng_socket_set_int(sock, sends ? NNG_OPT_SENDBUF : NNG_OPT_RECVBUF, depth);
    (void)nng_socket_set_size(sock, NNG_OPT_RECVMAXSZ, 0);
    return sends ? dial() : nng_listen(sock, address, NULL, 0) != 0;
}

static int nng_peer_send(const void *message, size_t bytes)
{
    return nng_send(sock, (void *)(uintptr_t)message, bytes, 0) != 0;
}

static int nng_peer_receive(void *message, size_t bytes)
{
    size_t size = bytes;
    return nng_recv(sock, message, &size, 0) != 0 || size != bytes;
}

/* Closing drops what is still on its way; peer_main.c has waited until that is nothing. */
static void nng_peer_end(int sends)
{
    (void)sends;
    nng_close(sock);
}

const peer_operations peer = {nng_peer_open, nng_peer_begin, nng_peer_send, nng_peer_receive, nng_peer_end};
