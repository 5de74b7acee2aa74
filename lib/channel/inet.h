/* SPDX-License-Identifier: BSD-2-Clause */
/* "tcp:HOST:PORT": TCP on this machine's loopback, unencrypted, for those who say so. L4.
 *
 * HOST is a number of the loopback (127.x.x.x, [::1]) or "localhost", which stands for 127.0.0.1 and, where there is no
 * IPv4 or nobody listens there, [::1]. No name is looked up: a look-up obeys no deadline, and what it answers, another
 * machine at worst, may change between the check and the use.
 *
 * No keepalive: both ends are kernels' objects of one machine, so a peer that is gone has been closed by this very
 * kernel, and there is nobody that probes could find missing. */
#ifndef MPROC__CHANNEL_INET_H
#define MPROC__CHANNEL_INET_H

#include "channel/address.h"

enum {
    MPROC__INET_HOST_BYTES = 16, /* an IPv4 host is its IPv6-mapped form */
    MPROC__INET_TEXT_BYTES = 64  /* "tcp:[...]:65535" */
};

bool mproc__inet_is(const char *address); /* NULL: no */

/* As mproc__address_listen. Port 0: one that is free; ret_bound->address has the real one, and the host as a number.
 * -EINVAL: no such form; MPROC_EPLACE: without `plaintext`, or not of the loopback; -EADDRINUSE; -EACCES: a port below
 * 1024; -EADDRNOTAVAIL: no loopback of that family here. */
int mproc__inet_listen(const char *address, bool plaintext, unsigned backlog, mproc__bound *ret_bound);
/* As mproc__address_connect. */
int mproc__inet_connect(const char *address, bool plaintext, mproc_deadline deadline, int *ret_fd);

/* For a socket that was accepted: who it is. 0; -EACCES: not of the loopback. */
int mproc__inet_admit(int fd, uint8_t ret_host[MPROC__INET_HOST_BYTES],
                      char ret_text[MPROC__INET_TEXT_BYTES]);
/* Whether a socket has found itself: the kernel may give a connecting socket the very port that it connects to. */
bool mproc__inet_is_self(int fd);

#endif
