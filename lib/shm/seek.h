/* SPDX-License-Identifier: BSD-2-Clause */
/* Seek: all the memory on this host that may be a segment, found from outside, by its users and in /dev/shm. L2. */
#ifndef MPROC__SHM_SEEK_H
#define MPROC__SHM_SEEK_H

#include <sys/types.h>

#include "platform/base.h"

typedef enum mproc__sight_kind {
    MPROC__SIGHT_FILE,       /* a name in /dev/shm; first, because its name is worth most */
    MPROC__SIGHT_DESCRIPTOR, /* open in a process */
    MPROC__SIGHT_MAPPING /* mapped in a process; opened by root only, and by nobody else after the last close */
} mproc__sight_kind;

/* One way to one piece of memory. */
typedef struct mproc__sight {
    uint64_t device, inode; /* the same for all sights of one piece */
    mproc__sight_kind kind;
    pid_t pid;           /* 0: a file */
    uint64_t start, end; /* the mapping; or start is the descriptor */
    char *
        name; /* of a file in /dev/shm, or the kernel's name of the rest; owned; printable but for the file */
} mproc__sight;

typedef struct mproc__sights {
    mproc__sight *items; /* those of one piece beside each other */
    size_t count, capacity;
    unsigned hidden; /* processes that this user may not look into */
} mproc__sights;

/* -ENOMEM; -errno: no /proc. Processes that end meanwhile are as if they had ended before. */
int mproc__seek(mproc__sights *ret_sights);
void mproc__sights_free(mproc__sights *sights);
/* How many from `first` on are of the same piece. */
size_t mproc__sights_same(const mproc__sights *sights, size_t first);
/* For reading only. -errno; -ESTALE: it is another file by now. */
int mproc__sight_open(const mproc__sight *sight);

#endif
