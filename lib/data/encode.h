/* SPDX-License-Identifier: BSD-2-Clause */
/* Between encode.c, decode.c and parcel.c. L1. */
#ifndef MPROC__DATA_ENCODE_H
#define MPROC__DATA_ENCODE_H

#include "platform/base.h"

#include "data/parcel.h"

/* Field 1 of Value, length-delimited: what stands before each node. Tag and length are ours and the node is protobuf-c's: a
 * Value message would cost an array of all nodes. */
enum { MPROC__NODE_TAG = 1 << 3 | 2 };

/* Of nodes that are no more than a number: most arguments and results, and the list around them. They are written and read
 * here in the same bytes, in a fifth of the time that the general way takes; what looks any different goes there. */
enum {
    MPROC__INTEGER_TAG = 4 << 3,
    MPROC__REAL_TAG = 5 << 3 | 1,
    MPROC__LIST_TAG = 8 << 3,
    MPROC__REAL_BYTES = 9,   /* with the tag */
    MPROC__NUMBER_BYTES = 11 /* at most */
};

/* Encodes into the parcel's bytes, which the caller frees on failure as well. */
int mproc__encode_parcel(mproc__parcel *parcel, mproc_variant value);
/* Makes the handle that a received blob describes. */
int mproc__parcel_open_handle(mproc__parcel *parcel, uint32_t type, const void *blob, size_t blob_bytes,
                              mproc__handle **ret_handle);

#endif
