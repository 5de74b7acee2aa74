/* SPDX-License-Identifier: BSD-2-Clause */
/* The leash: two descriptors of the owner's by which the kernel kills a child when the owner has died. L5. */
#ifndef MPROC__PROCESS_LEASH_H
#define MPROC__PROCESS_LEASH_H

#include <sys/types.h>

#include "platform/base.h"

/* Makes a pair of sockets for the process that has this pid now: the caller knows that it lives, or hears before
 * mproc__leash_make that it did. Nothing comes of it alone. False, none made: descriptors are scarce, or the system refuses. */
bool mproc__leash_tie(pid_t pid, int ret_sockets[2]);
/* Makes a leash of a tied pair, through which nothing has gone. Closing it, too, kills the child, unless that has been waited
 * for. False: the system refuses. */
bool mproc__leash_make(const int sockets[2]);
/* Lets go of a child that has ended; -1, -1: of none. */
void mproc__leash_close(int sockets[2]);

#endif
