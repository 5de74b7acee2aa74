/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptors that starts work with: sockets to children and to the nursery, pidfds. L5.
 *
 * A child by fork has the program's descriptors, and must not have these (START-B): not those of finished starts, nor of
 * one that another thread is in the midst of, whose peer would wait for an end that a stranger holds open. So they are
 * noted from their making to their closing, and any fork of the process, the program's own too, closes them in the
 * child. The making itself stands between begin and end, which a fork waits for. */
#ifndef MPROC__PROCESS_OWN_FDS_H
#define MPROC__PROCESS_OWN_FDS_H

#include <stddef.h>
#include <sys/types.h>

void mproc__own_fds_begin(void);
void mproc__own_fds_end(void);
/* Between the two. Negative: nothing. */
void mproc__own_fd_note(int fd);
/* A process's, made, kept away from the standard streams and noted; or negative. */
int mproc__own_pidfd_open(pid_t pid);
/* It is an ordinary descriptor from now on. */
void mproc__own_fd_release(int fd);
/* Closes one that was noted, or was not. */
void mproc__own_fd_close(int fd);
/* The child of this thread's next fork keeps this one and those of a list, which must stay until then; -1, NULL, 0: none. */
void mproc__own_fd_keep(int fd, const int *more, size_t more_count);

#endif
