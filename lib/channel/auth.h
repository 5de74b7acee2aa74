/* SPDX-License-Identifier: BSD-2-Clause */
/* The mutual challenge on the authkey, as a pure state machine: frames in, frames out; and the program's key. L4.
 *
 * HMAC-SHA-256 both ways over both nonces, the role and the digest's name, so that a reflected or replayed answer fails.
 * Nothing but its result leaves this file; keys are wiped from memory when done. */
#ifndef MPROC__CHANNEL_AUTH_H
#define MPROC__CHANNEL_AUTH_H

#include "platform/base.h"

enum {
    MPROC__AUTH_MESSAGE_BYTES = 256,    /* no handshake message is longer */
    MPROC__KEY_BYTES = 1024             /* no key is longer */
};

typedef struct mproc__key {             /* wipe with mproc__key_clear */
    size_t size_bytes;                  /* 0: a key all the same (AUTH-09) when `set` */
    bool set;
    uint8_t bytes[MPROC__KEY_BYTES];
} mproc__key;

/* From options: key bytes, else key_file (regular, owner's, mode without group and other: SEC-2; -EACCES, -ENOENT,
 * MPROC_EAUTH for under 16 bytes), else the program's key (mproc_set_key), else not set. */
int mproc__key_from_options(const void *key, size_t key_bytes, const char *key_file, mproc__key *ret_key);
int mproc__key_program(mproc__key *ret_key);
void mproc__key_clear(mproc__key *key);

typedef struct mproc__auth {
    bool server;
    int state;
    mproc__key key;
    uint8_t own_nonce[32], peer_nonce[32];
} mproc__auth;

void mproc__auth_init(mproc__auth *auth, bool server, const mproc__key *key);
void mproc__auth_fini(mproc__auth *auth);
/* One step. `in` is the peer's message (size 0 at the very first call of the side that speaks first: the server).
 * Fills `out` with what to send (*ret_bytes may be 0). 0: more to come; 1: done, the peer is who it says;
 * MPROC_EAUTH: refused; `out` then says so to the peer; MPROC_EPROTOCOL. */
int mproc__auth_step(mproc__auth *auth, const void *in, size_t in_bytes, uint8_t out[MPROC__AUTH_MESSAGE_BYTES],
                     size_t *ret_bytes);

#endif
