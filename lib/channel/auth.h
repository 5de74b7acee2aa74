/* SPDX-License-Identifier: BSD-2-Clause */
/* The mutual challenge on the authkey, as a pure state machine: frames in, frames out; and the program's key. L4.
 *
 * HMAC-SHA-256 both ways over both nonces, the role, the digest's name and the server's address, so that a reflected,
 * replayed or relayed answer fails.
 * Nothing but its result leaves this file; keys are wiped from memory when done.
 *
 *      server                                          client
 *      CHALLENGE digest, nonce S           ->
 *                                          <-          ANSWER digest, nonce C, HMAC(key, client, S, C)
 *      WELCOME HMAC(key, server, S, C)     ->          done when this is right
 *      OPEN (has no key)                   ->
 *                                          <-          OPEN (has no key either)
 *      REFUSED reason                     <->          at any point, then the sender closes
 *
 * A side whose key is not set says OPEN, never nothing: both sides learn at once that only one of them has a key.
 *
 * Over TCP the client speaks first, KEYED or OPEN, and a server without a key that hears OPEN answers nothing: a client
 * that sends and closes would leave its answer unread, and TCP then resets the connection, messages and all. */
#ifndef MPROC__CHANNEL_AUTH_H
#define MPROC__CHANNEL_AUTH_H

#include "platform/base.h"

enum {
    MPROC__AUTH_MESSAGE_BYTES = 256, /* no handshake message is longer */
    MPROC__AUTH_ADDRESS_BYTES = 112, /* the longest name of a socket, and 2 */
    MPROC__AUTH_SECONDS = 5,         /* a handshake takes no longer (SEC-1) */
    MPROC__KEY_BYTES = 1024,         /* no key is longer */
    MPROC__KEY_LEAST_BYTES = 16      /* of key files and the program's key (SEC-2) */
};

typedef struct mproc__key { /* wipe with mproc__key_clear */
    size_t size_bytes;      /* 0: a key all the same (AUTH-09) when `set` */
    bool set;
    uint8_t bytes[MPROC__KEY_BYTES];
} mproc__key;

/* From options: key bytes, else key_file (regular, owner's, mode without group and other: SEC-2; -EACCES, -ENOENT,
 * MPROC_EAUTH for under 16 bytes; line ends at its end do not count), else the program's key (mproc_set_key), else not
 * set. */
int mproc__key_from_options(const void *key, size_t key_bytes, const char *key_file, mproc__key *ret_key);
int mproc__key_program(mproc__key *ret_key);
void mproc__key_clear(mproc__key *key);
/* For keys that are held long: a cleared one on a page of its own that core dumps leave out (SEC-4); NULL: no memory. */
mproc__key *mproc__key_create(void);
void mproc__key_destroy(mproc__key *key); /* NULL is allowed */

typedef struct mproc__auth {
    bool server;
    bool client_first; /* over TCP */
    bool announced;    /* server: KEYED has come */
    bool refused;      /* this side refused the other */
    int state;
    mproc__key key;
    uint8_t own_nonce[32], peer_nonce[32];
    /* Where the server is, as the kernel tells both sides; under the MAC, so that a handshake that somebody passes on
     * from one address to another fails. None: whoever uses the machine does not look. */
    uint8_t address[MPROC__AUTH_ADDRESS_BYTES];
    size_t address_bytes;
} mproc__auth;

/* Set client_first and the address after init where they hold. */
void mproc__auth_init(mproc__auth *auth, bool server, const mproc__key *key);
void mproc__auth_fini(mproc__auth *auth);
/* One step. `in` is the peer's message (size 0 at the very first call of the side that speaks first: the server).
 * Fills `out` with what to send (*ret_bytes may be 0). 0: more to come; 1: done, the peer is who it says;
 * MPROC_EAUTH: refused; `out` then says so to the peer; MPROC_EPROTOCOL: another version, or a step after the end.
 *
 * A client without a key may also speak first (size 0): it says OPEN and is done; what the server then says goes to
 * mproc__auth_late. One with a key may only with client_first: it says KEYED and goes on. */
int mproc__auth_step(mproc__auth *auth, const void *in, size_t in_bytes,
                     uint8_t out[MPROC__AUTH_MESSAGE_BYTES], size_t *ret_bytes);

/* A handshake message that comes when this side, without a key, has already gone on. 0: the peer has none either;
 * MPROC_EAUTH with the peer's reason. */
int mproc__auth_late(const void *in, size_t in_bytes);

typedef enum mproc__auth_reason { /* numbers are on the wire */
                                  MPROC__AUTH_WRONG_KEY = 1,
                                  MPROC__AUTH_HAS_KEY, /* the sender has a key, the receiver none */
                                  MPROC__AUTH_NO_KEY,  /* the other way round */
                                  MPROC__AUTH_GARBLED,
                                  MPROC__AUTH_VERSION,
                                  MPROC__AUTH_USER, /* the peer's uid is not allowed (SEC-3) */
                                  MPROC__AUTH_LATE  /* not done in MPROC__AUTH_SECONDS */
} mproc__auth_reason;

/* The message that tells the peer why; for refusals decided outside this machine. Returns its size. */
size_t mproc__auth_refusal(mproc__auth_reason reason, uint8_t out[MPROC__AUTH_MESSAGE_BYTES]);

#endif
