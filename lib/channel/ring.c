/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "channel/ring.h"

uint64_t mproc__ring_size(uint64_t max_bytes, uint32_t max_items)
{
    /* One record more than asked for: at most one padding lies between head and tail at a time. */
    uint64_t largest = MPROC__RECORD_HEADER_BYTES + MPROC__RECORD_BYTES;
    uint64_t wanted = max_bytes;
    if (max_items > 0 && (max_items + 1) * largest < wanted)
        wanted = (max_items + 1) * largest;
    uint64_t size = MPROC__RING_BYTES_LEAST;
    while (size < wanted && size < MPROC__RING_BYTES_MOST)
        size *= 2;
    return size;
}
