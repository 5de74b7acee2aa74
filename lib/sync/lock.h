/* SPDX-License-Identifier: BSD-2-Clause */
/* The lock's private side. L3. */
#ifndef MPROC__SYNC_LOCK_H
#define MPROC__SYNC_LOCK_H

#include <mproc/sync.h>
#include "data/handle.h"
#include "shm/noun.h"

/* Operations of a lock, one table a home; a server place brings its own. A lock's handle.ops points to the first member
 * of such a table. */
typedef struct mproc__lock_ops {
    mproc__handle_ops handle;
    int (*acquire)(mproc_lock *lock, mproc_deadline deadline);
    int (*release)(mproc_lock *lock);
    bool (*is_held)(const mproc_lock *lock);
    int (*owner)(mproc_lock *lock, int *ret_pid, int *ret_tid); /* NULL: not known there */
    int (*repair)(mproc_lock *lock);
    int (*token)(mproc_lock *lock, uint64_t *ret_token);
} mproc__lock_ops;

/* What the lock of every home begins with. */
struct mproc_lock {
    mproc__handle handle;
};

extern const mproc__noun mproc__lock_noun;

/* ---- lock_make.c: locks of the homes thread, host and shm ---- */
int mproc__lock_local_create(mproc_place *place, const mproc_lock_options *options, mproc_lock **ret_lock);
int mproc__lock_local_open(mproc_place *place, const char *name, mproc_lock **ret_lock);

/* A lock inside the segment of another object (an array, a condition), at an offset of its root. */
enum { MPROC__LOCK_BYTES = 128, MPROC__LOCK_ALIGNMENT = 64 };
void mproc__lock_build(mproc__segment *segment, size_t offset, const mproc_lock_options *options);
/* A handle on it, which keeps the segment. The offset is checked against the segment's size: MPROC_ECORRUPT. -ENOMEM. */
int mproc__lock_at(mproc__segment *segment, size_t offset, mproc_lock **ret_lock);

/* ---- lock_local.c: the same locks ---- */
/* The lock's segment; NULL: of a server. Two locks are the same object when the roots' addresses and offsets are. */
mproc__segment *mproc__lock_segment(const mproc_lock *lock);
/* Where in its segment's root; of locks that have a segment. */
size_t mproc__lock_offset(const mproc_lock *lock);
/* Whether the calling thread holds it; false also for locks of a server. */
bool mproc__lock_is_mine(const mproc_lock *lock);
/* Gives up all levels of a recursive lock that the calling thread holds and says how many acquires it was (at least 1);
 * -EPERM: it does not hold it. Acquiring it again and setting the levels back are for the same thread: conditions. */
int mproc__lock_release_all(mproc_lock *lock, unsigned *ret_levels);
int mproc__lock_acquire_all(mproc_lock *lock, unsigned levels, mproc_deadline deadline);

/* ---- lock_given.c ---- */
enum { MPROC__LOCK_GIVEN_BYTES = 9 };
/* Adds to the parcel of an object what takes the lock along that it was given: that many bytes and one descriptor. */
int mproc__lock_pack_given(const mproc_lock *lock, mproc__parcel *parcel);
/* From the first MPROC__LOCK_GIVEN_BYTES of `blob` and the next descriptor. MPROC_EPROTOCOL; -EACCES: it may only be read;
 * MPROC_ECORRUPT: it does not lie in its segment; and what attaching answers. */
int mproc__lock_unpack_given(mproc__parcel *parcel, const void *blob, mproc_lock **ret_lock);

#endif
