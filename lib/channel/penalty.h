/* SPDX-License-Identifier: BSD-2-Clause */
/* Patience with those who fail to prove the key: each failure of a source makes its next handshake wait longer. L4.
 *
 * Pure bookkeeping: the time comes from outside (the monotonic one), nothing here sleeps. A source is a process (Unix
 * sockets, where the kernel tells) or a host (TCP). What is gained is a bound on guesses and on the noise of a client that
 * tries again at once, for ever; what is paid is that the honest clients of a source wait with it, 800 ms at most.
 * Rejected: one handshake at a time for each source, which lets one bad client of a host shut the others out. */
#ifndef MPROC__CHANNEL_PENALTY_H
#define MPROC__CHANNEL_PENALTY_H

#include "platform/base.h"

enum {
    MPROC__PENALTY_SOURCES = 64, /* remembered; the one that failed longest ago makes room */
    MPROC__PENALTY_FIRST_MS = 50,
    MPROC__PENALTY_MOST_MS = 800, /* 50 doubled four times; well below MPROC__AUTH_SECONDS */
    MPROC__PENALTY_FORGET_MS = 30000
};

typedef struct mproc__penalty_source { /* compared as bytes; no padding */
    uint8_t host[16];                  /* TCP; zeros for a process */
    int64_t pid;                       /* Unix; 0 for a host */
} mproc__penalty_source;

typedef struct mproc__penalty {
    mproc__penalty_source source;
    unsigned failures;
    int64_t failed_ns; /* the last time */
} mproc__penalty;

typedef struct mproc__penalties { /* zeros to begin with */
    mproc__penalty of[MPROC__PENALTY_SOURCES];
    size_t count;
} mproc__penalties;

void mproc__penalty_note(mproc__penalties *penalties, const mproc__penalty_source *source, int64_t now_ns);
/* Until when a handshake of this source that begins now is to wait; now_ns or less: not at all. */
int64_t mproc__penalty_until(const mproc__penalties *penalties, const mproc__penalty_source *source,
                             int64_t now_ns);

#endif
