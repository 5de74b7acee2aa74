/* SPDX-License-Identifier: BSD-2-Clause */
/* The client's end of one connection to a server: calls of many threads over one socket, answered in any
 * order. L7.
 *
 * There is no reader thread: of the threads that wait, one reads for all and wakes the others by request id;
 * when its own reply is there, it hands the reading on. */
#ifndef MPROC__MANAGER_LINE_H
#define MPROC__MANAGER_LINE_H

#include <pthread.h>

#include <mproc/deadline.h>
#include "channel/auth.h"
#include "channel/frame.h"
#include "manager/links.h"
#include "manager/wire.h"

typedef struct mproc__line {
    _Atomic uint32_t references;
    int fd;
    char *address;          /* for stories; owned */
    uint64_t life, session; /* the server's, and ours in it */
    size_t max_request_bytes;
    pthread_mutex_t state; /* guards what follows; never held while the socket is waited for */
    bool sending;          /* one thread sends its frame, so that frames do not mix; `out` is that thread's */
    pthread_cond_t sendable; /* it has */
    mproc__outbox out;
    bool reading; /* one of the waiting threads has the reader */
    int broken;   /* a code: the connection is over */
    char broken_story[MPROC__WIRE_STORY_BYTES];
    uint64_t last_id;
    mproc__link calls;          /* in flight */
    mproc__frame_reader reader; /* the reading thread's */
} mproc__line;

typedef struct mproc__reply {
    uint64_t object, token;
    mproc_variant result; /* owned by the caller */
} mproc__reply;

/* Connects and shakes hands. Errors of mproc__address_connect; MPROC_EAUTH, MPROC_EPROTOCOL, MPROC_ELIMIT
 * (the server is full), -ETIMEDOUT. One reference. */
int mproc__line_open(const char *address, const mproc__key *key, mproc_deadline deadline,
                     mproc__line **ret_line);
/* A condition whose timed waits use our clock; timedwait with it, because race detectors know that one. */
void mproc__line_condition(pthread_cond_t *ret_condition);
void mproc__line_keep(mproc__line *line);
void mproc__line_release(mproc__line *line); /* the last one closes */
bool mproc__line_works(mproc__line *line);

/* How a call came to its end, beside its code. */
typedef enum mproc__line_end {
    MPROC__LINE_ANSWERED, /* the code is the server's */
    MPROC__LINE_NOT_SENT, /* nothing happened: it may be tried again, elsewhere */
    MPROC__LINE_LATE,     /* the deadline passed before the answer */
    MPROC__LINE_BROKE     /* the connection did */
} mproc__line_end;

/* Sends a request and waits for the reply. Its id is chosen here, and stays in it. Errors leave a story. */
int mproc__line_call(mproc__line *line, mproc__envelope *request, const mproc_variant *args,
                     mproc_deadline deadline, mproc__line_end *ret_end, mproc__reply *ret_reply);
/* Sends a request that wants no reply. A server that does not take it within a second loses the connection,
 * and with it everything this session holds: what was to be given back is given back. */
void mproc__line_tell(mproc__line *line, mproc__envelope *request);
/* In a fork child: closes its copy of the parent's socket and frees the memory. The locks' state is the
 * parent's, so they are neither taken nor destroyed. */
void mproc__line_forget(mproc__line *line);

#endif
