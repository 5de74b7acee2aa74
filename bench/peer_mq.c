/* SPDX-License-Identifier: BSD-2-Clause */
/* POSIX message queues, with the ten messages that the system's default limit gives everybody. Messages above 8 KiB need
 * root; who is not is told so by the exit status. */
#include "platform/base.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "peer.h"

enum { DEPTH = 10 };

static mqd_t queue;

static int mq_peer_open(size_t bytes)
{
    char name[64];
    struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    struct mq_attr attributes = {.mq_maxmsg = DEPTH, .mq_msgsize = (long)bytes};
    snprintf(name, sizeof name, "/mproc-peer-%d", (int)getpid());
    setrlimit(RLIMIT_MSGQUEUE, &none); /* root: the limit is in bytes, too */
    queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    if (queue == (mqd_t)-1)
        return errno == EINVAL || errno == EMFILE || errno == ENOSYS || errno == EACCES ? PEER_CANNOT : 1;
    mq_unlink(name); /* the descriptor crosses the fork */
    return 0;
}

static int mq_peer_send(const void *message, size_t bytes)
{
    return mq_send(queue, message, bytes, 0) != 0;
}

static int mq_peer_receive(void *message, size_t bytes)
{
    return mq_receive(queue, message, bytes, NULL) != (ssize_t)bytes;
}

static void mq_peer_end(int sends)
{
    (void)sends;
    mq_close(queue);
}

const peer_operations peer = {mq_peer_open, NULL, mq_peer_send, mq_peer_receive, mq_peer_end};
