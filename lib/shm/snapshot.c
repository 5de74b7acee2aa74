/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading a segment from outside, and reading sense or the want of it out of the copy. */
#include "platform/base.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/snapshot.h"

/* As many bytes as there are, up to `wanted`; fewer for any reason are fewer. */
static size_t read_at(int fd, size_t offset, void *buffer, size_t wanted)
{
    size_t done = 0;
    while (done < wanted) {
        ssize_t bytes = pread(fd, (unsigned char *)buffer + done, wanted - done, (off_t)(offset + done));
        if (bytes < 0 && errno == EINTR)
            continue;
        if (bytes <= 0)
            break;
        done += (size_t)bytes;
    }
    return done;
}

static bool all_zero(const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    return count == 0 || (at[0] == 0 && memcmp(at, at + 1, count - 1) == 0);
}

/* The checks of mproc__segment_attach, for a copy of a file that may be of any length. */
static mproc__judgement header_judge(const mproc__header_shared *header, size_t header_bytes,
                                     size_t file_bytes)
{
    if (all_zero(header, header_bytes))
        return MPROC__IS_UNMADE;
    if (header_bytes < sizeof(header->magic) || header->magic != MPROC__SEGMENT_MAGIC)
        return MPROC__IS_FOREIGN;
    if (header->version != MPROC__SEGMENT_VERSION || header->root_offset != MPROC__ROOT_OFFSET ||
        header->row_count != MPROC__ROWS)
        return MPROC__IS_OTHER;
    if (file_bytes <= MPROC__ROOT_OFFSET || header->size_bytes == 0 ||
        header->size_bytes > file_bytes - MPROC__ROOT_OFFSET)
        return MPROC__IS_DAMAGED;
    uint64_t pids, times;
    if (mproc__namespaces(&pids, &times) < 0)
        return MPROC__IS_STRANGE;
    return header->pid_namespace == pids && header->time_namespace == times ? MPROC__IS_SEGMENT
                                                                            : MPROC__IS_STRANGE;
}

mproc__judgement mproc__snapshot_read(int fd, mproc__snapshot *ret_snapshot)
{
    struct stat status;
    mproc__header_shared *header = &ret_snapshot->header;
    ret_snapshot->file_bytes = fstat(fd, &status) == 0 && status.st_size > 0 ? (size_t)status.st_size : 0;
    ret_snapshot->root_bytes = 0;
    size_t bytes = read_at(fd, 0, header, sizeof(*header));
    memset((unsigned char *)header + bytes, 0, sizeof(*header) - bytes);
    mproc__judgement judgement = header_judge(header, bytes, ret_snapshot->file_bytes);
    header->label[sizeof(header->label) - 1] = '\0';
    if (judgement == MPROC__IS_SEGMENT) {
        size_t wanted = sizeof(ret_snapshot->root);
        if (header->size_bytes < wanted)
            wanted = header->size_bytes;
        ret_snapshot->root_bytes = read_at(fd, MPROC__ROOT_OFFSET, ret_snapshot->root, wanted);
    }
    return judgement;
}

mproc__row_seen mproc__snapshot_row(const mproc__snapshot *snapshot, unsigned index)
{
    const mproc__row_shared *row = &snapshot->header.rows[index];
    uint64_t identity = atomic_load_explicit(&row->identity, memory_order_relaxed);
    uint32_t word = atomic_load_explicit(mproc__robust_word(&row->life), memory_order_relaxed);
    mproc__row_seen seen = {.pid = (pid_t)(identity & INT32_MAX),
                            .start_ticks = atomic_load_explicit(&row->start_ticks, memory_order_relaxed)};
    if (identity == 0)
        seen.state = MPROC__ROW_FREE;
    else if (seen.pid == 0)
        seen.state = MPROC__ROW_UNCLEAR;
    else if (identity & MPROC__IDENTITY_UNBURIED)
        seen.state = MPROC__ROW_DEAD;
    else if (identity & MPROC__IDENTITY_HANDED_BACK)
        seen.state = MPROC__ROW_HANDED_BACK;
    else if (word & FUTEX_TID_MASK)
        seen.state = MPROC__ROW_ALIVE;
    else
        seen.state = word & FUTEX_OWNER_DIED ? MPROC__ROW_DEAD : MPROC__ROW_UNCLEAR;
    return seen;
}

mproc__waiter_seen mproc__snapshot_waiter(const mproc__snapshot *snapshot, unsigned slot)
{
    const mproc__waiter_shared *waiter = &snapshot->header.waiters[slot];
    uint64_t word = atomic_load_explicit(&waiter->word, memory_order_relaxed);
    mproc__waiter_seen seen = {.tid = (pid_t)(uint32_t)word,
                               .kind = (mproc__wait_kind)(word >> 32),
                               .since_ns = atomic_load_explicit(&waiter->since_ns, memory_order_relaxed)};
    if (seen.tid <= 0 || word >> 32 < MPROC__WAIT_ACQUIRE || word >> 32 > MPROC__WAIT_RESULT)
        seen.tid = 0;
    return seen;
}
