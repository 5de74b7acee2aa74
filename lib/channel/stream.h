/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole messages, with descriptors, over a stream socket: the part of a connection that moves bytes. L4.
 *
 * Reads no byte beyond the message it is asked for, because the socket may be shared with other processes (CONN-10). A
 * receive that its deadline cuts short keeps what has come and goes on next time. One thread sends and one receives at
 * a time; the two sides share nothing but the descriptor. */
#ifndef MPROC__CHANNEL_STREAM_H
#define MPROC__CHANNEL_STREAM_H

#include <mproc/deadline.h>
#include "channel/frame.h"
#include "data/parcel.h"

typedef struct mproc__stream {
    int fd; /* owned */
    bool tcp;
    /* sending */
    int send_code; /* negative: why nothing can be sent any more */
    /* TCP: what the kernel said to a send that failed for good (it says it once, to whoever asks first); then the receiving
     * thread finds a plain end and looks here whether it was a reset. */
    _Atomic int send_errno;
    /* receiving: the message at the front, as far as it has come */
    int recv_code; /* negative: why nothing can be received any more */
    size_t max_bytes;
    uint8_t header[MPROC__FRAME_HEADER_BYTES];
    size_t header_used;
    bool headed; /* kind and length are valid */
    unsigned kind;
    size_t length;
    uint8_t *payload; /* grows as bytes come (CONN-22) */
    size_t used, capacity;
    int fds[MPROC__PARCEL_FDS]; /* owned until taken */
    size_t fd_count;
} mproc__stream;

void mproc__stream_init(mproc__stream *stream, int fd, size_t max_bytes);
void mproc__stream_fini(mproc__stream *stream); /* closes */

/* Sends one message. 0; -ETIMEDOUT; -EPIPE: nobody can receive it any more. A deadline that passes when a part is already
 * out ends the sending side: the peer will see a truncated message. */
int mproc__stream_send(mproc__stream *stream, unsigned kind, const void *data, size_t size_bytes,
                       const int *fds, size_t fd_count, mproc_deadline deadline);

/* Receives the header of the message at the front, if it has not come yet. 0: kind and length are valid; -ETIMEDOUT;
 * MPROC_EEND: no message will come; -ECONNRESET: the same over TCP, and perhaps not all came; MPROC_EPROTOCOL: the end came
 * inside a message; -EMSGSIZE: above the limit. The last four are final. */
int mproc__stream_head(mproc__stream *stream, mproc_deadline deadline);
/* After head: receives the rest, into stream->payload. */
int mproc__stream_body(mproc__stream *stream, mproc_deadline deadline);
/* The same into the caller's memory, of at least stream->length bytes; then drops the message. */
int mproc__stream_body_into(mproc__stream *stream, void *buffer, mproc_deadline deadline);
/* Done with the message at the front: closes descriptors nobody took. */
void mproc__stream_drop(mproc__stream *stream);
/* Whether a receive would end without the socket: a whole message is here, or none will come any more. */
bool mproc__stream_kept(const mproc__stream *stream);
/* Whether a message has begun and was not dropped: then the stream cannot be given away. */
bool mproc__stream_inside(const mproc__stream *stream);

#endif
