/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <string.h>

#include "platform/story.h"
#include "pool/region.h"

int mproc__region_take(mproc__region *region, uint64_t length, uint64_t *ret_offset)
{
    uint64_t at = region->offset, end = region->offset + region->length;
    unsigned place = 0;
    if (region->count == MPROC__POOL_MAPS)
        return mproc__fail(MPROC_ELIMIT, "%d maps run at the same time already", (int)MPROC__POOL_MAPS);
    while (place < region->count && region->extents[place].offset - at < length) {
        at = region->extents[place].offset + region->extents[place].length;
        place++;
    }
    if (end - at < length)
        return mproc__fail(-ENOMEM, "arrays of %llu bytes do not fit a pool's %llu beside those in use",
                           (unsigned long long)length, (unsigned long long)region->length);
    memmove(&region->extents[place + 1], &region->extents[place],
            (region->count - place) * sizeof(mproc__extent));
    region->extents[place] = (mproc__extent){.offset = at, .length = length};
    region->count++;
    *ret_offset = at;
    return 0;
}

void mproc__region_give(mproc__region *region, uint64_t offset)
{
    unsigned place = 0;
    while (place < region->count && region->extents[place].offset != offset)
        place++;
    if (place == region->count)
        return;
    region->count--;
    memmove(&region->extents[place], &region->extents[place + 1],
            (region->count - place) * sizeof(mproc__extent));
}
