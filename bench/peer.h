/* SPDX-License-Identifier: BSD-2-Clause */
/* A peer of the queue as a program of its own, so that its library's threads and fork handlers meet nobody else's.
 *
 *     peer_NAME BYTES MESSAGES pinned|unpinned [fill]
 *
 * A child sends MESSAGES of BYTES, or as many as go in half a second if those are fewer; this process receives them and
 * prints how many came a second, counted from the first one. pinned: to the first two CPUs we may use, each side to one.
 * fill: the sender writes every byte of each message and the receiver reads it; else what is sent is the same memory over
 * and over. Exit status 77: this peer carries no messages of that size here.
 *
 * peer_main.c does all that but for the five operations that each peer_NAME.c defines. */
#ifndef MPROC__PEER_H
#define MPROC__PEER_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PEER_CANNOT = 77 };

/* Each answers 0, or an exit status. */
typedef struct peer_operations {
    int (*open)(size_t bytes); /* before the fork */
    int (*begin)(int sends);   /* after it, on each side; NULL: nothing to do */
    int (*send)(const void *message, size_t bytes);
    int (*receive)(void *message, size_t bytes);
    /* On each side, when all was received; the receiver removes what open left. */
    void (*end)(int sends);
} peer_operations;

extern const peer_operations peer;

/* As many messages of a size as lie in a queue of ours of the same bench: 1 MiB, or 16 MiB of large ones. */
static inline size_t peer_depth(size_t bytes)
{
    return bytes < 65536 ? 1048576 / bytes : 16;
}

#ifdef __cplusplus
}
#endif

#endif
