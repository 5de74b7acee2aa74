/* SPDX-License-Identifier: BSD-2-Clause */
/* Two ends, whole messages; listeners and authentication.
 *
 * A connection carries messages both ways, as bytes or as variants, between threads, processes and unrelated programs of
 * one machine. What is sent as one piece is received as one piece; an empty message is a message. A pair of them replaces
 * Pipe(), a listener and mproc_connection_open replace Listener and Client.
 *
 * Addresses are "unix:PATH", "unix:@NAME" (a name without a file, gone with its listener), and, with the option plaintext,
 * "tcp:HOST:PORT" on the loopback of this machine: HOST is a number, 127.0.0.1 or [::1], or localhost (127.0.0.1, or [::1]
 * where that has no answer; a listener takes the first). No name is looked up. A tcp: address without plaintext or of another
 * machine, and "tls:", are MPROC_EPLACE; text of another form is -EINVAL.
 *
 * The end. When the other end is closed, or every process that has it is dead, what it sent is still received, then
 * MPROC_EEND. An end in the middle of a message is MPROC_EPROTOCOL. Sending to a closed end is -EPIPE and raises no signal.
 * TCP differs: an end that is closed before it has received all resets the connection; what is here already is still received,
 * then -ECONNRESET, which says that something may be missing; and the first message to an end that is closed may still be taken.
 * Close the ends you do not use: an end is closed when its last copy is, and a forked child has copies of all.
 *
 * Security. A Unix socket made by a listener has mode 0600, and a peer whose uid is not ours is refused before its first
 * byte is looked at. With a key both sides prove that they know it (HMAC-SHA-256, both ways, fresh random numbers); the
 * key itself never travels. Another key, or a key on one side only: MPROC_EAUTH at both, with the reason. Whoever failed waits
 * before its next try is answered: 50 ms, doubling to 800 ms, until it has not failed for 30 s; on a Unix socket each process
 * for itself, over TCP all of one address. Data is not encrypted; it stays in the kernel of this machine.
 * The first open or listener with a key loads OpenSSL's libcrypto into the process: -ELIBACC where that is not to be had (a
 * program that gives up the sight of its libraries loads it before, by any of both), also in a process that was forked while
 * another thread loaded it; starts by fork wait for that thread.
 * Over TCP any user of the machine may knock, and the kernel does not tell who it is: the key is the only guard. A tcp:
 * listener without one serves everybody.
 *
 *                      blocks    threads                     processes     in a signal  after fork
 * ..._pair, one_way    no        any                         own           no           -
 * ..._open             deadline  any                         own           no           -
 * ..._wrap             no        any                         own           no           -
 * ..._send, _recv      deadline  one sends and one receives  one and one   no           works, shared with the parent
 * ..._peer, _address   no        any                         own           no           works
 * listener_create      no (1)    any                         own           no           -
 * listener_accept      deadline  any, one after another      any           no           works, shared with the parent
 * ..._close            no        last user                   own           no           closes this process's copy
 *
 * (1) up to 2 s while another process is making a socket in the same directory.
 * "one and one": several processes may have the same end, but two that send (or receive) at the same time tear each other's
 * messages: give each its own connection, or use a queue. */
#ifndef MPROC_CONNECTION_H
#define MPROC_CONNECTION_H

#include <mproc/deadline.h>
#include <mproc/variant.h>

MPROC_BEGIN

typedef struct mproc_connection_options {
    size_t      size;
    /* None of these: no handshake, and MPROC_EAUTH when the other side wants one. */
    const void *key;                /* any number of bytes up to 1024, also none: an empty key is a key */
    size_t      key_bytes;
    const char *key_file;           /* instead: a file of this user, mode 0600, 16 bytes or more; a line end does not count */
    size_t      max_message_bytes;  /* longest message received; 0: 64 MiB. Told from its header, nothing is allocated */
    uint32_t    backlog;            /* listener: clients that wait for accept; 0: the system's most */
    bool        plaintext;          /* needed for "tcp:": yes, it may go unencrypted; it never leaves this machine */
    bool        program_key;        /* instead of a key here: the one of mproc_set_key; -EINVAL when there is none */
} mproc_connection_options;

/* Makes two connected ends. No key, no name: they are given to children, or by a message over another connection.
 * -EMFILE, -ENFILE, -ENOMEM. */
MPROC_API MPROC_CHECK int mproc_connection_pair(mproc_connection **ret_a, mproc_connection **ret_b);
/* The same with one direction: the reader's send and the writer's recv answer MPROC_ESTATE. */
MPROC_API MPROC_CHECK int mproc_connection_one_way(mproc_connection **ret_reader, mproc_connection **ret_writer);

/* Connects to a listener; with a key, also waits until both sides have proved it, which takes an accept on the other side.
 * -ENOENT, -ECONNREFUSED: nobody listens there; at once. -ETIMEDOUT: the deadline passed. MPROC_EAUTH: refused, by them or by
 * us; the story says why. -EACCES, -ENOENT, MPROC_EAUTH for the key file, naming it. MPROC_EPLACE, -EINVAL: the address. */
MPROC_API MPROC_CHECK int mproc_connection_open(const char *address, const mproc_connection_options *options,
                                                mproc_deadline deadline, mproc_connection **ret_connection);
/* Makes a connection of a connected stream socket, for which the other side must do the same. On success fd belongs to the
 * connection and is close-on-exec; on failure it stays yours. -EBADF; -ENOTSOCK (also a pipe); -EINVAL: no stream socket. */
MPROC_API MPROC_CHECK int mproc_connection_wrap(int fd, mproc_connection **ret_connection);
/* Closes this end, sets *connection to NULL; NULL is allowed. Messages already sent are still received. */
MPROC_API void mproc_connection_close(mproc_connection **connection);

/* Sends size_bytes (0 and more) at data (NULL when 0) as one message. Returns when the kernel has all of it: the other side
 * need not be receiving yet, as long as the socket's buffer (about 200 KiB, TCP more) has room. Up to 32 KiB are one write.
 * -ETIMEDOUT: up to 32 KiB, nothing was sent. Above, a part may be out already: then this end can send no more (-EPIPE) and
 * the other one will see MPROC_EPROTOCOL; give large messages a deadline that they can keep. -EPIPE: nobody will receive it.
 * MPROC_EAUTH: the listener has refused us since. */
MPROC_API MPROC_CHECK int mproc_connection_send(mproc_connection *connection, const void *data, size_t size_bytes,
                                                mproc_deadline deadline);
/* Receives one message into buffer; the rest of the buffer is not touched once the call has returned 0.
 * MPROC_ETOOSMALL: *ret_size_bytes is what is needed, the message is kept (buffer NULL with capacity 0 asks for the size).
 * -ETIMEDOUT: nothing whole was there; what has come in part is kept. MPROC_EARGUMENT: the message is a variant, and is kept.
 * Final, the next call says the same: MPROC_EEND; -ECONNRESET; MPROC_EPROTOCOL; -EMSGSIZE (above max_message_bytes);
 * MPROC_EAUTH. */
MPROC_API MPROC_CHECK int mproc_connection_recv(mproc_connection *connection, void *buffer, size_t capacity_bytes,
                                                mproc_deadline deadline, size_t *ret_size_bytes);
/* The same with a value. Handles and descriptors inside travel too, as copies: yours stays open. A value that cannot travel is
 * MPROC_EARGUMENT or MPROC_ECANNOTCROSS (over TCP all that needs a descriptor), and nothing is sent. */
MPROC_API MPROC_CHECK int mproc_connection_send_variant(mproc_connection *connection, mproc_variant item, mproc_deadline deadline);
/* *ret_item is owned (mproc_variant_clear). A message of bytes comes as bytes. MPROC_EPROTOCOL for one that makes no sense: it
 * is gone, the next can be received. */
MPROC_API MPROC_CHECK int mproc_connection_recv_variant(mproc_connection *connection, mproc_deadline deadline,
                                                        mproc_variant *ret_item);
/* Who is there, for messages: the address that was opened; for one that came to a listener "pid 4711", or
 * "tcp:127.0.0.1:40312". Valid until close; NULL for a wrong handle. */
MPROC_API const char *mproc_connection_peer(const mproc_connection *connection);

/* Listens. address NULL: a socket of its own in a private directory (mproc_listener_address tells). A socket file that a
 * killed process left is replaced; one that is served is -EADDRINUSE. -ENOTSOCK: the path is another kind of file. -EACCES,
 * -ENOENT: the directory, or the key file. -ENAMETOOLONG: over 107 bytes. Close removes the file, unless a forked child calls.
 * tcp: port 0 is one that is free; -EADDRINUSE; -EACCES: a port below 1024; a port can be bound again right after a close. */
MPROC_API MPROC_CHECK int mproc_listener_create(const char *address, const mproc_connection_options *options,
                                                mproc_listener **ret_listener);
/* Stops listening; NULL is allowed. Connections accepted before live on. */
MPROC_API void mproc_listener_close(mproc_listener **listener);
/* The next client. With a key the handshakes of all that wait run side by side, and one that is silent is refused after 5 s:
 * it delays nobody. 128 at a time: a further one takes the place of the first. Without a key the same holds over TCP, where the
 * client's first words are waited for. -ETIMEDOUT. MPROC_EAUTH, MPROC_EPROTOCOL, -EACCES: *one* client was refused, the story
 * says which and why; call again. -EMFILE, -ENFILE: the client waits on. -ENOMEM: it may have been turned away. */
MPROC_API MPROC_CHECK int mproc_listener_accept(mproc_listener *listener, mproc_deadline deadline,
                                                mproc_connection **ret_connection);
/* What a client opens: "unix:" and an absolute path, the abstract name, or "tcp:" with the real port. Valid until close; NULL for a wrong handle. */
MPROC_API const char *mproc_listener_address(const mproc_listener *listener);

MPROC_END_DECLS

#endif
