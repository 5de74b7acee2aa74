/* SPDX-License-Identifier: BSD-2-Clause */
/* The pipe, as it is made: 64 KiB. Messages up to 4 KiB go in one piece by themselves; larger ones in several reads. */
#include "platform/base.h"

#include <signal.h>
#include <unistd.h>

#include "peer.h"

static int ends[2];

static int pipe_open(size_t bytes)
{
    (void)bytes;
    signal(SIGPIPE, SIG_IGN);
    return pipe(ends) != 0;
}

static int pipe_begin(int sends)
{
    return close(ends[!sends]);
}

static int pipe_send(const void *message, size_t bytes)
{
    const char *at = message;
    while (bytes > 0) {
        ssize_t written = write(ends[1], at, bytes);
        if (written <= 0)
            return 1;
        at += written;
        bytes -= (size_t)written;
    }
    return 0;
}

static int pipe_receive(void *message, size_t bytes)
{
    char *at = message;
    while (bytes > 0) {
        ssize_t got = read(ends[0], at, bytes);
        if (got <= 0)
            return 1;
        at += got;
        bytes -= (size_t)got;
    }
    return 0;
}

static void pipe_end(int sends)
{
    close(ends[sends]);
}

const peer_operations peer = {pipe_open, pipe_begin, pipe_send, pipe_receive, pipe_end};
