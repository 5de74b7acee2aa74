/* SPDX-License-Identifier: BSD-2-Clause */
/* Serving shared objects to other processes: managerd is this and a main.
 *
 *     TRY(mproc_server_create(MPROC_WITH(mproc_server_options, .key_file = "key"), &server));
 *     TRY(mproc_server_listen(server, "unix:/run/app.sock", NULL));
 *     TRY(mproc_server_run(server, MPROC_FOREVER));        // until mproc_server_stop
 *     mproc_server_close(&server);
 *
 * Clients open the same address with mproc_place_open. One event loop serves them all; a call that has to wait (acquire)
 * waits as an entry in a list. A client's death releases its locks as recovered and drops its references, at once. A
 * client that is silent, slow or sends garbage costs its own connection and delays nobody.
 *
 * Who may come: processes of the server's own user (SO_PEERCRED), before a byte of theirs is read; and, when a key is set,
 * those that prove it (HMAC-SHA-256, both ways, bound to the server's address, so that nobody in between can pass it on). A
 * handshake takes at most 5 s; a process that failed waits for its next one, 50 ms at first, 800 ms at most, and nobody waits
 * with it. Both sides must have a key, or none.
 *
 * Objects live in memory: they go with the server. Handles from before a restart get MPROC_ESTALE. Tokens of locks grow
 * over restarts as long as the wall clock is not set back.
 *
 * | call    | blocks               | threads                       | in a signal handler | after fork                    |
 * |---------|----------------------|-------------------------------|---------------------|-------------------------------|
 * | create  | no                   | any                           | no                  | -                             |
 * | listen  | no                   | not while another one runs it | no                  | -ECHILD                       |
 * | run     | until stop, deadline | one at a time                 | no                  | -ECHILD                       |
 * | stop    | no                   | any, also while run runs      | yes                 | stops the parent's            |
 * | close   | no                   | after run has returned        | no                  | the copy only; the parent's   |
 * |         |                      |                               |                     | clients and files are untouched */
#ifndef MPROC_SERVER_H
#define MPROC_SERVER_H

#include <mproc/call.h>
#include <mproc/place.h>

MPROC_BEGIN

typedef struct mproc_server_options {
    size_t      size;
    const void *key; size_t key_bytes;  /* as in mproc_place_options; neither: the program's (mproc_set_key) ... */
    const char *key_file;               /* ... and without that one: none, and clients must have none */
    size_t      max_clients;            /* 0: 10000. One more is told so and let go (MPROC_ELIMIT) */
    size_t      max_bytes;              /* of all objects; 0: 1 GiB. Beyond it changing calls get MPROC_ELIMIT */
    size_t      max_message_bytes;      /* of one request or reply; 0: 64 MiB. A longer request ends its connection */
} mproc_server_options;
/* Fixed limits: 8 addresses; 4096 waiting calls a client; 4 MiB of replies that a client does not read, then its requests
 * wait; 1 KiB for each message of the handshake; 255 bytes for a name; 2^31 entries in a container. */

/* -EINVAL, -EACCES, -ENOENT, MPROC_EAUTH: the key (mproc_last_error says what is wrong with it). -ELIBACC: a key, and no
 * libcrypto to compute with it. -EMFILE, -ENOMEM. */
MPROC_API MPROC_CHECK int mproc_server_create(const mproc_server_options *options, mproc_server **ret_server);
/* "unix:PATH" (mode 0600; a socket that nobody serves any more is replaced) or "unix:@NAME"; NULL: a socket in a private
 * directory. *ret_address (may be NULL) is the server's, until close. -EADDRINUSE: somebody serves there. -ENOTSOCK: the
 * path is another kind of file. -EACCES, -ENOENT, -ENAMETOOLONG: the path. MPROC_EPLACE: a kind of address that is not
 * supported. MPROC_ELIMIT: 8 already. */
MPROC_API int  mproc_server_listen(mproc_server *server, const char *address, const char **ret_address);
/* Serves. 0: stopped; -ETIMEDOUT: the deadline; either way it can be run again, and clients stay connected meanwhile. */
MPROC_API int  mproc_server_run(mproc_server *server, mproc_deadline deadline);
/* Makes run return at the end of its turn, or the next run at once. Async-signal-safe. */
MPROC_API int  mproc_server_stop(mproc_server *server);
/* Disconnects the clients (their calls end with -ECONNRESET or MPROC_EUNKNOWN), removes socket files, frees the objects. */
MPROC_API void mproc_server_close(mproc_server **server);

MPROC_END_DECLS

#endif
