/* SPDX-License-Identifier: BSD-2-Clause */
/* The leash: two descriptors of the owner's by which the kernel kills a child when the owner has died. L5. */
#ifndef MPROC__PROCESS_LEASH_H
#define MPROC__PROCESS_LEASH_H

#include <sys/types.h>

#include "platform/base.h"

/* Ties a connected pair of sockets to the process that has this pid now: the caller knows that it lives, or hears before
 * mproc__leash_make that it did. Nothing comes of it alone. False: the descriptors are scarce, or the system refuses. */
bool mproc__leash_tie(const int sockets[2], pid_t pid);
/* Makes a leash of a tied pair through which nothing goes any more, and whose ends no other process has. Closing it, too, kills
 * the child, unless that has been waited for. False: the system refuses. */
bool mproc__leash_make(const int sockets[2]);
/* Lets go of a child that has ended; -1, -1: of none. */
void mproc__leash_close(int sockets[2]);

#endif
