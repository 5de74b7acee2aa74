/* SPDX-License-Identifier: BSD-2-Clause */
/* Snapshot: a private copy of a segment's beginning, and what it says of its participants and waiters. L2.
 *
 * Read, not mapped: a file whose name anybody may shrink would be SIGBUS, a touched hole would take memory, and what
 * was checked in a mapping may be otherwise at the next look. */
#ifndef MPROC__SHM_SNAPSHOT_H
#define MPROC__SHM_SNAPSHOT_H

#include "platform/platform.h"
#include "shm/explain.h"
#include "shm/segment_inside.h"

typedef struct mproc__snapshot {
    mproc__header_shared header;
    _Alignas(MPROC__LINE) unsigned char root[MPROC__EXPLAIN_BYTES];
    size_t root_bytes; /* of root[] that were read */
    size_t file_bytes;
} mproc__snapshot;

typedef enum mproc__judgement {
    MPROC__IS_SEGMENT,
    MPROC__IS_FOREIGN, /* no magic number: not ours, or its first bytes are lost */
    MPROC__IS_UNMADE,  /* all zeros so far: somebody makes it, or died at that */
    MPROC__IS_STRANGE, /* of a pid or time namespace in which its numbers mean something else */
    MPROC__IS_OTHER,   /* of another build of the library: header.version */
    MPROC__IS_DAMAGED, /* its sizes cannot be true */
    MPROC__IS_GONE,    /* meanwhile */
    MPROC__IS_CLOSED   /* to this user */
} mproc__judgement;
mproc__judgement mproc__snapshot_read(int fd, mproc__snapshot *ret_snapshot);

typedef enum mproc__row_state {
    MPROC__ROW_FREE,
    MPROC__ROW_ALIVE,       /* its thread holds the life word */
    MPROC__ROW_HANDED_BACK, /* the thread that joined has ended; the process, if it lives, goes on */
    MPROC__ROW_DEAD,        /* marked by the kernel or by a sweep that could not finish */
    MPROC__ROW_UNCLEAR      /* none of these: it changes just now, or is damaged */
} mproc__row_state;
typedef struct mproc__row_seen {
    mproc__row_state state;
    pid_t pid;
    uint64_t start_ticks; /* 0: unknown */
} mproc__row_seen;
mproc__row_seen mproc__snapshot_row(const mproc__snapshot *snapshot, unsigned row);

typedef struct mproc__waiter_seen {
    pid_t tid; /* 0: nobody, or garbage */
    mproc__wait_kind kind;
    int64_t since_ns;
} mproc__waiter_seen;
mproc__waiter_seen mproc__snapshot_waiter(const mproc__snapshot *snapshot, unsigned slot);

#endif
