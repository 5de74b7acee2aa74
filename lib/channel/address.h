/* SPDX-License-Identifier: BSD-2-Clause */
/* Socket addresses as text: binding one safely, connecting to one, and who is at the other end. L4.
 *
 * "unix:PATH" and "unix:@NAME" (Linux's abstract names: no file, gone with the socket). Everything else is refused by
 * name. */
#ifndef MPROC__CHANNEL_ADDRESS_H
#define MPROC__CHANNEL_ADDRESS_H

#include <sys/types.h>

#include <mproc/deadline.h>
#include "platform/base.h"

/* A listening socket and what closing it has to remove. */
typedef struct mproc__bound {
    int fd;               /* non-blocking, close-on-exec */
    char *address;        /* "unix:..." with an absolute path; owned */
    bool remove_file;     /* the socket file is this process's to remove ... */
    bool remove_folder;   /* ... and so is its private directory */
    uint64_t incarnation; /* that made it: a forked copy removes nothing */
    dev_t device;
    ino_t inode;
} mproc__bound;

/* Binds and listens. The socket file has mode 0600 from its first moment on; one that a killed process left behind is
 * replaced, one that is served is not. NULL: a socket in a private directory, below the runtime directory where possible.
 * backlog 0: the system's most. 0; -EADDRINUSE; -ENOTSOCK: the path is a file of another kind; -EACCES, -ENOENT: the
 * directory; -ENAMETOOLONG; MPROC_EPLACE: a kind of address that is not supported; -EINVAL: no address. */
int mproc__address_listen(const char *address, unsigned backlog, mproc__bound *ret_bound);
/* Removes what is ours and closes. */
void mproc__bound_close(mproc__bound *bound);

/* A connected, blocking, close-on-exec stream socket. -ECONNREFUSED, -ENOENT: nobody listens; -ETIMEDOUT; and as above. */
int mproc__address_connect(const char *address, mproc_deadline deadline, int *ret_fd);

/* Who connected, or who listens, as the kernel noted it then. 0; -EACCES when it is not this process's own user
 * (SEC-3); pid and uid are set in both cases. */
int mproc__peer_check(int fd, pid_t *ret_pid, uid_t *ret_uid);

#endif
