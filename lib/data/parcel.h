/* SPDX-License-Identifier: BSD-2-Clause */
/* A parcel: one variant encoded for another process, with the descriptors that travel beside it. L1.
 *
 * Packing calls each handle's `pack`, which appends bytes and descriptors; unpacking calls the function registered for
 * (type, home). A parcel bound for a place without descriptors (a queue in shared memory, TCP) is packed with
 * allow_fds = false: a handle that would need one is refused with MPROC_ECANNOTCROSS, by name. */
#ifndef MPROC__DATA_PARCEL_H
#define MPROC__DATA_PARCEL_H

#include <mproc/variant.h>
#include "data/handle.h"

enum {
    MPROC__PARCEL_FDS = 64,         /* descriptors at most; the kernel takes 253 in one message */
    MPROC__PARCEL_BLOB_BYTES = 192, /* of one handle; a served object's holds a socket address */
    MPROC__PARCEL_REMOTE_BYTES = 8
};

/* What the blobs of handles to served objects begin with, whatever their type: their makers are above the layers that own
 * the types, so one function, registered apart, unpacks them all. */
#define MPROC__PARCEL_REMOTE "\1remote"

typedef struct mproc__parcel mproc__parcel;

/* How handles travel that are not packed but lent (pools): `lend` is called instead of the handle's pack operation and adds
 * what `borrow`, called at the other end instead of what was registered for the type, finds the handle by. */
typedef struct mproc__lending {
    int (*lend)(mproc__parcel *parcel, mproc__handle *handle);
    int (*borrow)(mproc__parcel *parcel, uint32_t type, const void *blob, size_t blob_bytes,
                  mproc__handle **ret_handle);
    void *context;
} mproc__lending;

struct mproc__parcel {
    bool allow_fds;                /* in */
    const mproc__lending *lending; /* in; NULL: handles are packed */
    uint8_t *bytes;                /* owned */
    size_t size_bytes;
    int fds[MPROC__PARCEL_FDS]; /* pack: borrowed from the handles; unpack: owned until taken (-1) */
    size_t fd_count;
    uint8_t blob[MPROC__PARCEL_BLOB_BYTES]; /* what the handle now being packed says of itself */
    size_t blob_bytes;
};

/* Encodes a variant. 0, MPROC_EARGUMENT (an INVALID inside), MPROC_ECANNOTCROSS, -ENOMEM, -EMSGSIZE (over 64 fds), -EBADF
 * (a descriptor that is not open). */
int mproc__parcel_pack(mproc__parcel *parcel, bool allow_fds, mproc_variant value);
/* The same with handles lent, and no descriptors. */
int mproc__parcel_pack_lent(mproc__parcel *parcel, const mproc__lending *lending, mproc_variant value);
/* What packing it would answer, without doing it; the value is `depth` levels down in another. Descriptors are counted in
 * `parcel`, over several values too; it holds nothing afterwards. */
int mproc__parcel_check(mproc__parcel *parcel, mproc_variant value, unsigned depth);
/* Encoded size and encoding into the caller's memory, for hot paths without handles. */
int mproc__variant_encoded_size(mproc_variant value, size_t *ret_size_bytes);
int mproc__variant_encode(mproc_variant value, void *buffer, size_t size_bytes);
/* The same in one pass, quicker when the buffer is roomy: says how much it used; -EMSGSIZE: ask for the size. */
int mproc__variant_encode_into(mproc_variant value, void *buffer, size_t capacity, size_t *ret_size_bytes);
/* Decodes bytes from anybody: every length checked, at most 32 levels deep. The result is owned. 0 or MPROC_EPROTOCOL. */
int mproc__variant_decode(const void *bytes, size_t size_bytes, mproc_variant *ret_value);
/* The same for a received parcel: takes the descriptors it uses (sets them to -1 in parcel->fds). */
int mproc__parcel_unpack(mproc__parcel *parcel, mproc_variant *ret_value);
/* Frees bytes; closes descriptors left over only when `received`. */
void mproc__parcel_clear(mproc__parcel *parcel, bool received);

/* For handle pack operations. The blob is at most MPROC__PARCEL_BLOB_BYTES; the descriptor stays the handle's. */
int mproc__parcel_add_blob(mproc__parcel *parcel, const void *blob, size_t size_bytes);
int mproc__parcel_add_fd(mproc__parcel *parcel, int fd);
/* For unpack functions: the next descriptor of this parcel, now the caller's; -1 when there is none. */
int mproc__parcel_take_fd(mproc__parcel *parcel);

/* Whether a descriptor is left that nobody took. */
bool mproc__parcel_left(const mproc__parcel *parcel);

/* Makes a handle of what pack wrote. Each noun registers its own at the first use of the library in a process
 * (lib/library.c for those above L5). Not thread-safe: called from mproc_init and from place_open under its lock. */
typedef int mproc__unpack_fn(mproc__parcel *parcel, const void *blob, size_t blob_bytes,
                             mproc__handle **ret_handle);
void mproc__parcel_register(mproc_type_id type, mproc__unpack_fn *fn);
/* The maker of handles to served objects. It must look at the type in its blob itself. */
void mproc__parcel_register_remote(mproc__unpack_fn *fn);

#endif
