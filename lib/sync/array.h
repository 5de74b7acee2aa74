/* SPDX-License-Identifier: BSD-2-Clause */
/* The array's private side: between array.c (made, found, closed), array_file.c (over a file), array_lock.c (its lock, given
 * away), array_items.c and array_slices.c. L3. */
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
 * single store; the items come last, or are in a file, which only comes with the handle.
 * The creator writes item, item_bytes, count and outside before anyone else has the array; they never change. The items are what
 * the users make them: one of up to 8 bytes is stored whole, and no death can make the library trip over any content. */
typedef struct mproc__array_shared {
    uint32_t item; /* mproc_item */
    /* 0 or 1: whether the own lock counts. By the creator, or once by compare and swap in set_lock: nothing before or after
     * that store belongs to it, so a death there is before or after. */
    _Atomic uint32_t locked;
    uint64_t item_bytes;
    uint64_t count;
    uint64_t outside; /* 1: the items are in a file */
} mproc__array_shared;

/* A file and how its items are mapped here. fd -1: there is none. */
typedef struct mproc__array_file {
    int fd;                 /* the array's */
    uint64_t device, inode; /* of the mapped file, to know it again */
    mproc_array_access access;
    uint64_t offset_bytes;
    unsigned char *map; /* whole pages */
    size_t map_bytes;
} mproc__array_file;

struct mproc_array {
    mproc__handle handle;
    unsigned char *data;
    /* Items that a call may touch without more ado: count, or 0 in a home whose calls ask mproc__segment_check. */
    size_t ready;
    size_t writable; /* the same for calls that change items: 0 also where they may only be read */
    size_t quick;    /* the same for mproc__array_quick: 0 unless they are of 64 bits */
    mproc_item item;
    size_t item_bytes;
    size_t count;
    mproc__array_shared *shared;
    mproc__segment *segment;
    mproc__array_file file;
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
/* The same, and whether they may be changed: -EACCES. */
int mproc__array_range_write(mproc_array *array, size_t first, size_t count);

/* Bytes of an item of that type (or item_bytes, for MPROC_ITEM_BYTES) if `count` of them can be: 0, -EINVAL, -EOVERFLOW. */
int mproc__array_shape(mproc_item item, size_t item_bytes, size_t count, size_t *ret_item_bytes);
/* A new array whose items are in the file; it takes file->fd on success. */
int mproc__array_make_over(const mproc__array_file *file, mproc_item item, size_t item_bytes, size_t count,
                           mproc_array **ret_array);
/* The file of the array that this thread unpacks next; NULL: none. */
void mproc__array_beside(const mproc__array_file *file);

/* ---- array_file.c ---- */
/* Maps that many bytes: map and map_bytes, and where the first item is. -errno, -ERANGE: the file is shorter. */
int mproc__array_file_map(mproc__array_file *file, size_t size_bytes, unsigned char **ret_data);
/* Unmaps it and closes the descriptor. */
void mproc__array_file_drop(mproc__array_file *file);
/* Its descriptor, for another process. MPROC_ECANNOTCROSS: it is not there any more. */
int mproc__array_file_lend(const mproc__array_file *file, mproc__parcel *parcel);
int mproc__array_file_pack(const mproc__array_file *file, mproc__parcel *parcel);
enum { MPROC__ARRAY_FILE_BYTES = 10 };
/* From that many bytes; the descriptor was taken before. */
int mproc__array_file_unpack(const uint8_t *blob, mproc__array_file *ret_file);

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
