/* SPDX-License-Identifier: BSD-2-Clause */
/* What goes beside the bytes of a variant: descriptors, and what handles say of themselves. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/encode.h"
#include "data/parcel.h"

/* Written at start-up, before any parcel is unpacked. */
static mproc__unpack_fn *unpack_fns[MPROC_TYPE_SHM_LIST + 1];
static mproc__unpack_fn *unpack_remote;

void mproc__parcel_register(mproc_type_id type, mproc__unpack_fn *fn)
{
    MPROC__ASSERT((unsigned)type < MPROC__COUNT(unpack_fns));
    unpack_fns[type] = fn;
}

void mproc__parcel_register_remote(mproc__unpack_fn *fn)
{
    unpack_remote = fn;
}

int mproc__parcel_open_handle(mproc__parcel *parcel, uint32_t type, const void *blob, size_t blob_bytes,
                              mproc__handle **ret_handle)
{
    if (parcel->lending)
        return parcel->lending->borrow(parcel, type, blob, blob_bytes, ret_handle);
    if (unpack_remote && blob_bytes >= MPROC__PARCEL_REMOTE_BYTES &&
        memcmp(blob, MPROC__PARCEL_REMOTE, MPROC__PARCEL_REMOTE_BYTES) == 0)
        return unpack_remote(parcel, blob, blob_bytes, ret_handle);
    if (type >= MPROC__COUNT(unpack_fns) || !unpack_fns[type])
        return mproc__fail(MPROC_EPROTOCOL, "a handle of type %u came, which nobody here can open",
                           (unsigned)type);
    return unpack_fns[type](parcel, blob, blob_bytes, ret_handle);
}

int mproc__parcel_pack(mproc__parcel *parcel, bool allow_fds, mproc_variant value)
{
    int code;

    *parcel = (mproc__parcel){.allow_fds = allow_fds};
    code = mproc__encode_parcel(parcel, value);
    if (code < 0)
        mproc__parcel_clear(parcel, false);
    return code;
}

int mproc__parcel_pack_lent(mproc__parcel *parcel, const mproc__lending *lending, mproc_variant value)
{
    int code;

    *parcel = (mproc__parcel){.lending = lending};
    code = mproc__encode_parcel(parcel, value);
    if (code < 0)
        mproc__parcel_clear(parcel, false);
    return code;
}

MPROC__FORK_TEXT void mproc__parcel_clear(mproc__parcel *parcel, bool received)
{
    for (size_t i = 0; received && i < parcel->fd_count; i++)
        if (parcel->fds[i] >= 0)
            close(parcel->fds[i]);
    if (parcel->bytes) /* a call less, and the page it is on, in a child that got none */
        free(parcel->bytes);
    parcel->bytes = NULL;
    parcel->size_bytes = 0;
    parcel->fd_count = 0;
}

int mproc__parcel_add_blob(mproc__parcel *parcel, const void *blob, size_t size_bytes)
{
    if (size_bytes > sizeof(parcel->blob) - parcel->blob_bytes)
        return mproc__fail(-EMSGSIZE, "a handle describes itself in more than %zu bytes",
                           sizeof(parcel->blob));
    memcpy(parcel->blob + parcel->blob_bytes, blob, size_bytes);
    parcel->blob_bytes += size_bytes;
    return 0;
}

int mproc__parcel_add_fd(mproc__parcel *parcel, int fd)
{
    if (!parcel->allow_fds)
        return mproc__fail_plain(MPROC_ECANNOTCROSS);
    if (parcel->fd_count == MPROC__PARCEL_FDS)
        return mproc__fail(-EMSGSIZE, "more than %d descriptors in one value", MPROC__PARCEL_FDS);
    parcel->fds[parcel->fd_count++] = fd;
    return 0;
}

int mproc__parcel_take_fd(mproc__parcel *parcel)
{
    for (size_t i = 0; i < parcel->fd_count; i++) {
        int fd = parcel->fds[i];

        if (fd >= 0) {
            parcel->fds[i] = -1;
            return fd;
        }
    }
    return -1;
}

bool mproc__parcel_left(const mproc__parcel *parcel)
{
    for (size_t i = 0; i < parcel->fd_count; i++)
        if (parcel->fds[i] >= 0)
            return true;
    return false;
}
