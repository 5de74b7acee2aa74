/* SPDX-License-Identifier: BSD-2-Clause */
/* The handshake over a socket: frames of kind AUTH moved for the state machine of auth.h. L4. */
#ifndef MPROC__CHANNEL_HANDSHAKE_H
#define MPROC__CHANNEL_HANDSHAKE_H

#include <mproc/deadline.h>
#include "channel/auth.h"
#include "channel/frame.h"

enum { MPROC__HANDSHAKE_FRAME_BYTES = MPROC__FRAME_HEADER_BYTES + MPROC__AUTH_MESSAGE_BYTES };

/* Sends one handshake message, which fits into the buffer of a socket that carried nothing yet: never waits. */
int mproc__handshake_send(int fd, const uint8_t *message, size_t size_bytes);

/* Binds the handshake to the server's own address, as the kernel has it: both ends are told the same bytes. A pair without
 * names has none. Begin and client do it. */
void mproc__handshake_bind(mproc__auth *auth, int fd);

/* The client's whole part, blocking. On failure the peer has been told why; the caller closes. 0; MPROC_EAUTH;
 * MPROC_EPROTOCOL; -ETIMEDOUT. */
int mproc__handshake_client(int fd, const mproc__key *key, bool client_first, mproc_deadline deadline);

/* The server's part, a step at a time, for loops that serve many peers: readable once more, call step. */
typedef struct mproc__handshake {
    mproc__auth auth;
    uint8_t in[MPROC__HANDSHAKE_FRAME_BYTES];
    size_t used;
} mproc__handshake;

/* key NULL: none. client_first: auth.h. After it and after step: end, whatever they returned. */
int mproc__handshake_begin(mproc__handshake *handshake, int fd, const mproc__key *key, bool client_first);
/* Reads what is there and no byte beyond the handshake. 0: not done yet; 1: done; negative: refused, the peer has been
 * told; MPROC_EAUTH also when the peer went away. */
int mproc__handshake_step(mproc__handshake *handshake, int fd);
/* Whether it was this side that refused: the peer said something wrong, and did not just leave. */
bool mproc__handshake_refused(const mproc__handshake *handshake);
void mproc__handshake_end(mproc__handshake *handshake); /* wipes */

#endif
