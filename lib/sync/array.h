/* SPDX-License-Identifier: BSD-2-Clause */
/* The array's private side: between array.c (made, found, closed), array_lock.c (its lock, given away), array_items.c and
 * array_slices.c. L3. */
#ifndef MPROC__SYNC_ARRAY_H
#define MPROC__SYNC_ARRAY_H

#include <mproc/array.h>
#include "data/handle.h"
#include "shm/noun.h"
#include "sync/lock.h"

enum {
    MPROC__ARRAY_LOCK_OFFSET = 128,
    MPROC__ARRAY_DATA_OFFSET = MPROC__ARRAY_LOCK_OFFSET + MPROC__LOCK_BYTES
};

/* Root of an array's segment. Its own lock is built in every array, so that giving it to one that was made without is a
 * single store; the items come last.
 * The creator writes item, item_bytes and count before anyone else has the array; they never change. The items are what
 * the users make them: one of up to 8 bytes is stored whole, and no death can make the library trip over any content. */
typedef struct mproc__array_shared {
    uint32_t item; /* mproc_item */
    /* 0 or 1: whether the own lock counts. By the creator, or once by compare and swap in set_lock: nothing before or after
     * that store belongs to it, so a death there is before or after. */
    _Atomic uint32_t locked;
    uint64_t item_bytes;
    uint64_t count;
} mproc__array_shared;

struct mproc_array {
    mproc__handle handle;
    unsigned char *data;
    /* Items that a call may touch without more ado: count, or 0 in a home whose calls ask mproc__segment_check. */
    size_t ready;
    size_t quick; /* the same for mproc__array_quick: 0 unless they are of 64 bits */
    mproc_item item;
    size_t item_bytes;
    size_t count;
    mproc__array_shared *shared;
    mproc__segment *segment;
    mproc_lock *own;             /* the one inside, which counts only when shared->locked says so */
    _Atomic(mproc_lock *) given; /* or NULL; kept */
};

extern const mproc__noun mproc__array_noun;

static inline mproc_array *mproc__array_of(const mproc__handle *handle)
{
    return MPROC__CONTAINER((uintptr_t)handle, mproc_array, handle);
}

/* Whether items [first, first + count) may be touched by this process: 0, -ERANGE, -ECHILD. */
int mproc__array_range(mproc_array *array, size_t first, size_t count);

/* ---- array_lock.c ---- */
/* The array's lock or NULL, without a story. */
mproc_lock *mproc__array_lock(mproc_array *array);
/* Whether this may be the lock of an array in that home: 0, -EINVAL. */
int mproc__array_lock_check(const mproc_lock *lock, mproc__home home);
/* Of the array and the lock that it was given. */
int mproc__array_pack(mproc__handle *handle, mproc__parcel *parcel);
int mproc__array_unpack(mproc__parcel *parcel, const void *blob, size_t blob_bytes,
                        mproc__handle **ret_handle);

#endif
