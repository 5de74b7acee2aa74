/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory that can be shared, and whether there is room for it. */
#include "platform/base.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

#include "platform/cgroup.h"
#include "platform/platform.h"
#include "platform/story.h"

#define ROOM_NO_LIMIT (INT64_C(1) << 62)

enum {
    ROOM_MARGIN_BYTES = 16 << 20, /* what stays free for everything else */
    RESERVE_STEP_BYTES = 16 << 20 /* one fallocate: a signal undoes only this much */
};

/* What a group may still take, its caches given back; lowers *context (bytes). The caches are asked for only when they
 * matter: that file is the dearest of the three. */
static void room_visit(const char *directory, bool version_2, void *context)
{
    int64_t *room = context;
    int64_t limit = mproc__cgroup_number(directory, version_2 ? "memory.max" : "memory.limit_in_bytes", 0);
    int64_t used, left;

    /* Version 1 says "no limit" as the largest number of whole pages. */
    if (limit >= ROOM_NO_LIMIT)
        return;
    used = mproc__cgroup_number(directory, version_2 ? "memory.current" : "memory.usage_in_bytes", 0);
    left = used == INT64_MAX ? INT64_MAX : limit - used;
    if (left < *room)
        left += mproc__cgroup_keyed(directory, "memory.stat",
                                    version_2 ? "inactive_file" : "total_inactive_file");
    if (left < *room)
        *room = left;
}

int mproc__memory_room(size_t bytes)
{
    int64_t available_kib = mproc__cgroup_keyed("/proc", "meminfo", "MemAvailable:");
    int64_t room = available_kib > 0 ? available_kib * 1024 : INT64_MAX;

    mproc__cgroup_walk("memory", room_visit, &room);
    room -= ROOM_MARGIN_BYTES;
    if (room >= 0 && bytes <= (uint64_t)room)
        return 0;
    return mproc__fail(-ENOMEM, "%zu bytes of memory are wanted, %lld are to be had", bytes,
                       room > 0 ? (long long)room : 0LL);
}

static int truncate_whole(int fd, size_t size_bytes)
{
    int result;

    do
        result = ftruncate(fd, (off_t)size_bytes);
    while (result != 0 && errno == EINTR);
    return result;
}

int mproc__memfd_create(const char *name, size_t size_bytes)
{
    int fd = -1, code;

    if (size_bytes > (size_t)INT64_MAX)
        return mproc__fail(-EFBIG, "a segment of %zu bytes", size_bytes);
    fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* Sealed, so that no peer can take pages away under a reader, which would be SIGBUS. */
    if (fd >= 0 && truncate_whole(fd, size_bytes) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    code = -errno;
    if (fd >= 0)
        close(fd);
    return mproc__fail(code, "memfd of %zu bytes: %s", size_bytes, mproc_strerror(code));
}

static int fallocate_whole(int fd, int mode, size_t offset, size_t length)
{
    int result;

    do
        result = fallocate(fd, mode, (off_t)offset, (off_t)length);
    while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : -errno;
}

/* In steps, because the kernel undoes a fallocate that a signal interrupts: with a timer ticking, a large one in a single
 * call would never end. */
int mproc__memory_reserve(int fd, size_t offset, size_t length)
{
    int code = mproc__memory_room(length);

    for (size_t done = 0; code == 0 && done < length;) {
        size_t step = length - done < RESERVE_STEP_BYTES ? length - done : RESERVE_STEP_BYTES;

        code = fallocate_whole(fd, 0, offset + done, step);
        if (code < 0)
            mproc__fail(code, "%zu bytes of shared memory: %s", length, mproc_strerror(code));
        done += step;
    }
    return code;
}

int mproc__memory_release(int fd, size_t offset, size_t length)
{
    int code = length ? fallocate_whole(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) : 0;

    return code == 0 ? 0 : mproc__fail(code, "giving shared memory back: %s", mproc_strerror(code));
}
