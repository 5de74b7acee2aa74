/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "channel/heap.h"

enum { CHILDREN = 4 };

void mproc__heap_push(mproc__entry_shared *entries, size_t count, mproc__entry_shared entry)
{
    size_t at = count;
    while (at > 0) {
        size_t parent = (at - 1) / CHILDREN;
        if (!mproc__entry_before(&entry, &entries[parent]))
            break;
        entries[at] = entries[parent];
        at = parent;
    }
    entries[at] = entry;
}

static size_t first_child(const mproc__entry_shared *entries, size_t count, size_t parent)
{
    size_t from = parent * CHILDREN + 1;
    size_t to = from + CHILDREN < count ? from + CHILDREN : count;
    size_t first = from;
    for (size_t child = from + 1; child < to; child++)
        if (mproc__entry_before(&entries[child], &entries[first]))
            first = child;
    return first;
}

/* Puts `entry` where it belongs at or below the free place `at`. */
static void heap_sink(mproc__entry_shared *entries, size_t count, size_t at, mproc__entry_shared entry)
{
    while (at * CHILDREN + 1 < count) {
        size_t child = first_child(entries, count, at);
        if (!mproc__entry_before(&entries[child], &entry))
            break;
        entries[at] = entries[child];
        at = child;
    }
    entries[at] = entry;
}

void mproc__heap_pop(mproc__entry_shared *entries, size_t count)
{
    if (count > 1)
        heap_sink(entries, count - 1, 0, entries[count - 1]);
}

void mproc__heap_make(mproc__entry_shared *entries, size_t count)
{
    for (size_t at = count / CHILDREN + 1; at-- > 0;)
        if (at < count)
            heap_sink(entries, count, at, entries[at]);
}
