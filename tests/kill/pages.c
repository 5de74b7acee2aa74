/* SPDX-License-Identifier: BSD-2-Clause */
/* A pool's segment is gibibytes of addresses and some hundred kilobytes of memory. A process cannot have changed a page that its
 * page table does not have; which those are costs one read of /proc/PID/pagemap, 2-4 us. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kill/trace.h"

static const uint64_t in_memory = UINT64_C(1) << 63, swapped = UINT64_C(1) << 62;

static bool pagemap_open(trace *t)
{
    char path[64];
    if (t->pagemap > 0)
        return true;
    snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)t->how.pid);
    t->pagemap = open(path, O_RDONLY | O_CLOEXEC) + 1;
    return t->pagemap > 0;
}

static int pages_look(const trace *t, const struct trace_mapping *mapping, uint8_t *ret_present)
{
    uint64_t words[TRACE_PAGES];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = mapping->pages * sizeof(*words);
    if (pread(t->pagemap - 1, words, bytes, (off_t)(mapping->start / page * sizeof(*words))) !=
        (ssize_t)bytes)
        return -1;
    for (unsigned i = 0; i < mapping->pages; i++)
        ret_present[i] = (words[i] & (in_memory | swapped)) != 0;
    return 0;
}

int trace_pages_add(trace *t, uintptr_t start, uintptr_t end)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (end - start) / page;
    if (t->mapping_count == TRACE_MAPPINGS || !pagemap_open(t))
        return -1;
    struct trace_mapping *mapping = &t->mappings[t->mapping_count++];
    *mapping =
        (struct trace_mapping){.start = start, .pages = pages < TRACE_PAGES ? (unsigned)pages : TRACE_PAGES};
    int rc = pages_look(t, mapping, mapping->present);
    for (unsigned i = 0, next; rc == 0 && i < mapping->pages; i = next) {
        for (next = i; next < mapping->pages && mapping->present[next]; next++)
            ;
        if (next > i)
            rc = trace_add_range(t, start + i * page, (next - i) * page);
        else
            next++;
    }
    return rc;
}

bool trace_pages_changed(trace *t)
{
    uint8_t present[TRACE_PAGES];
    for (unsigned i = 0; i < t->mapping_count; i++) {
        const struct trace_mapping *mapping = &t->mappings[i];
        if (pages_look(t, mapping, present) == 0 && memcmp(present, mapping->present, mapping->pages) != 0)
            return true;
    }
    return false;
}
