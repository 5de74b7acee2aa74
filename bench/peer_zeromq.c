/* SPDX-License-Identifier: BSD-2-Clause */
/* ZeroMQ, PUSH to PULL over ipc://. Its high-water mark counts messages: the default thousand, or fewer large ones. */
#include "platform/base.h"

#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

#include "peer.h"

static char endpoint[64];
static void *context, *sock;
static int depth = 1000;

static int zeromq_open(size_t bytes)
{
    snprintf(endpoint, sizeof endpoint, "ipc:///tmp/mproc-peer-%d", (int)getpid());
    if (peer_depth(bytes) < (size_t)depth)
        depth = (int)peer_depth(bytes);
    return 0;
}

static int zeromq_begin(int sends)
{
    context = zmq_ctx_new();
    sock = context ? zmq_socket(context, sends ? ZMQ_PUSH : ZMQ_PULL) : NULL;
    if (!sock)
        return 1;
    zmq_setsockopt(sock, sends ? ZMQ_SNDHWM : ZMQ_RCVHWM, &depth, sizeof depth);
    return (sends ? zmq_connect(sock, endpoint) : zmq_bind(sock, endpoint)) != 0;
}

static int zeromq_send(const void *message, size_t bytes)
{
    return zmq_send(sock, message, bytes, 0) != (int)bytes;
}

static int zeromq_receive(void *message, size_t bytes)
{
    return zmq_recv(sock, message, bytes, 0) != (int)bytes;
}

/* Closing the context waits until all is sent. */
static void zeromq_end(int sends)
{
    (void)sends;
    zmq_close(sock);
    zmq_ctx_term(context);
}

const peer_operations peer = {zeromq_open, zeromq_begin, zeromq_send, zeromq_receive, zeromq_end};
