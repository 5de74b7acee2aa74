/* SPDX-License-Identifier: BSD-2-Clause */
/* A lock that was given to another object (an array, a condition) goes with that object to another process: where it lies, and
 * the descriptor of the segment that it lies in, whose ever that is. */
#include "platform/base.h"

#include <string.h>
#include <unistd.h>

#include "platform/story.h"
#include "sync/lock.h"

typedef struct packed_lock {
    uint8_t kind;      /* of the segment that the lock is in */
    uint8_t offset[8]; /* in its root; in this machine's order */
} packed_lock;

_Static_assert(sizeof(packed_lock) == MPROC__LOCK_GIVEN_BYTES, "what an object's blob grows by");

int mproc__lock_pack_given(const mproc_lock *lock, mproc__parcel *parcel)
{
    mproc__segment *segment = mproc__lock_segment(lock);
    uint64_t offset = mproc__lock_offset(lock);
    packed_lock packed = {.kind = (uint8_t)mproc__segment_kind(segment)};
    memcpy(packed.offset, &offset, sizeof(offset));
    int fd = -1;
    int code = mproc__segment_fd_lend(segment, &fd);
    if (code == 0)
        code = mproc__parcel_add_blob(parcel, &packed, sizeof(packed));
    return code < 0 ? code : mproc__parcel_add_fd(parcel, fd);
}

int mproc__lock_unpack_given(mproc__parcel *parcel, const void *blob, mproc_lock **ret_lock)
{
    packed_lock packed;
    uint64_t offset;
    memcpy(&packed, blob, sizeof(packed));
    memcpy(&offset, packed.offset, sizeof(offset));
    int fd = mproc__parcel_take_fd(parcel);
    if (fd < 0 || offset % MPROC__LOCK_ALIGNMENT) {
        if (fd >= 0)
            close(fd);
        return mproc__fail(MPROC_EPROTOCOL, "a packed object without the lock that it was given");
    }
    mproc__segment *segment;
    int code = mproc__segment_attach(fd, (mproc_type_id)packed.kind, &segment);
    if (code < 0) {
        close(fd);
        return code;
    }
    if (mproc__segment_read_only(segment))
        code = mproc__fail(-EACCES, "a lock that may only be read");
    else if (offset > mproc__segment_size(segment))
        code = mproc__fail(MPROC_ECORRUPT, "a lock outside of its segment");
    else
        code = mproc__lock_at(segment, (size_t)offset, ret_lock);
    mproc__segment_release(segment);
    return code;
}
