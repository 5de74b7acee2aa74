/* SPDX-License-Identifier: BSD-2-Clause */
/* An array's lock: its own, one it was given, or none; and how a given one goes with it to another process. */
#include "platform/base.h"

#include <unistd.h>

#include "platform/story.h"
#include "sync/array.h"

mproc_lock *mproc__array_lock(mproc_array *array)
{
    mproc_lock *given = atomic_load_explicit(&array->given, memory_order_acquire);
    if (given)
        return given;
    return atomic_load_explicit(&array->shared->locked, memory_order_acquire) ? array->own : NULL;
}

/* A lock guards an array where both live in this process, or both on this host, with a file name or without: else one could
 * go where the other cannot. */
int mproc__array_lock_check(const mproc_lock *lock, mproc__home home)
{
    if (mproc__handle_check(lock, MPROC_TYPE_LOCK) < 0)
        return mproc__fail(-EINVAL, "what was given as the array's lock is no lock");
    mproc__segment *segment = mproc__lock_segment(lock);
    if (!segment)
        return mproc__fail(-EINVAL, "a lock of a server cannot be that of an array here");
    if ((mproc__segment_home(segment) == MPROC__HOME_THREAD) != (home == MPROC__HOME_THREAD))
        return mproc__fail(-EINVAL, "an array and its lock live together: both in thread:, or neither");
    return 0;
}

mproc_lock *mproc_array_lock(mproc_array *array)
{
    if (mproc__handle_check(array, MPROC_TYPE_ARRAY) < 0)
        return NULL;
    mproc_lock *lock = mproc__array_lock(array);
    if (!lock)
        mproc__handle_fail(&array->handle, MPROC_ESTATE, "the array was made without a lock");
    return lock;
}

static int lock_set_own(mproc_array *array)
{
    uint32_t none = 0;
    if (atomic_load(&array->given) || !atomic_compare_exchange_strong(&array->shared->locked, &none, 1))
        return mproc__handle_fail(&array->handle, MPROC_ESTATE, "the array has a lock");
    return 0;
}

static int lock_set_given(mproc_array *array, mproc_lock *lock)
{
    mproc_lock *none = NULL;
    int code = mproc__array_lock_check(lock, mproc__segment_home(array->segment));
    if (code < 0)
        return mproc__handle_story(&array->handle, code);
    if (lock == array->own)
        return mproc__handle_fail(&array->handle, -EINVAL, "the array's own lock is set with NULL");
    mproc__handle_keep(&lock->handle);
    if (atomic_load(&array->shared->locked) || !atomic_compare_exchange_strong(&array->given, &none, lock)) {
        mproc_lock_close(&lock);
        return mproc__handle_fail(&array->handle, MPROC_ESTATE, "the array has a lock");
    }
    return 0;
}

int mproc_array_set_lock(mproc_array *array, mproc_lock *lock)
{
    int code = mproc__handle_check(array, MPROC_TYPE_ARRAY);
    if (code == 0)
        code = mproc__array_range(array, 0, 0);
    if (code < 0)
        return code;
    return lock ? lock_set_given(array, lock) : lock_set_own(array);
}

/* ---- given to other processes ---- */

/* What array, file and given lock say of themselves, one behind the other; all lengths differ. */
enum { PACKED_NOUN_BYTES = 2 };

/* The file's descriptor goes first: the array is made around it. */
int mproc__array_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    mproc_array *array = mproc__array_of(handle);
    mproc_lock *given = atomic_load(&array->given);
    int code = array->file.fd >= 0 ? mproc__array_file_lend(&array->file, parcel) : 0;
    if (code == 0)
        code = mproc__noun_pack(array->segment, parcel);
    if (code == 0 && array->file.fd >= 0)
        code = mproc__array_file_pack(&array->file, parcel);
    if (code < 0 || !given)
        return code;
    return mproc__lock_pack_given(given, parcel);
}

static int unpack_over(mproc__parcel *parcel, const uint8_t *blob, mproc__handle **ret_handle)
{
    mproc__array_file file;
    int code = mproc__array_file_unpack(blob + PACKED_NOUN_BYTES, &file);
    file.fd = code == 0 ? mproc__parcel_take_fd(parcel) : -1;
    if (code == 0 && file.fd < 0)
        code = mproc__fail(MPROC_EPROTOCOL, "a packed array without its file");
    if (code < 0)
        return code;
    mproc__array_beside(&file);
    code = mproc__noun_unpack(parcel, blob, PACKED_NOUN_BYTES, ret_handle);
    mproc__array_beside(NULL);
    if (code < 0)
        close(file.fd);
    return code;
}

int mproc__array_unpack(mproc__parcel *parcel, const void *blob, size_t blob_bytes,
                        mproc__handle **ret_handle)
{
    bool over = blob_bytes >= PACKED_NOUN_BYTES + MPROC__ARRAY_FILE_BYTES;
    size_t begin_bytes = PACKED_NOUN_BYTES + (over ? MPROC__ARRAY_FILE_BYTES : 0);
    bool locked = blob_bytes == begin_bytes + MPROC__LOCK_GIVEN_BYTES;
    mproc__handle *handle;
    mproc_lock *lock = NULL;
    int code = MPROC_EPROTOCOL;
    if (!locked && blob_bytes != begin_bytes)
        return mproc__fail(code, "a packed array of another version");
    code = over ? unpack_over(parcel, blob, &handle)
                : mproc__noun_unpack(parcel, blob, PACKED_NOUN_BYTES, &handle);
    if (code < 0)
        return code;
    if (locked)
        code = mproc__lock_unpack_given(parcel, (const uint8_t *)blob + begin_bytes, &lock);
    if (code < 0) {
        mproc__handle_release(handle);
        return code;
    }
    atomic_store(&mproc__array_of(handle)->given, lock);
    *ret_handle = handle;
    return 0;
}
