/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory that can be shared, and whether there is room for it. */
#include "platform/base.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/cgroup.h"
#include "platform/platform.h"
#include "platform/story.h"

#ifndef MFD_NOEXEC_SEAL /* since Linux 6.3; headers may be older than the kernel */
#define MFD_NOEXEC_SEAL 0x0008U
#endif

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

int64_t mproc__memory_left(void)
{
    int64_t available_kib = mproc__cgroup_keyed("/proc", "meminfo", "MemAvailable:");
    int64_t room = available_kib > 0 ? available_kib * 1024 : INT64_MAX;

    mproc__cgroup_walk("memory", room_visit, &room);
    return room;
}

int mproc__memory_room(size_t bytes)
{
    int64_t room = mproc__memory_left();

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

/* Not to be executed, where the kernel knows that wish (Linux 6.3) and may insist on it (vm.memfd_noexec = 2). */
static int memfd_open(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

    return fd < 0 && errno == EINVAL ? memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING) : fd;
}

/* How sandboxes and old kernels refuse a call; the other errors are of this one attempt. */
static bool is_denied(int error)
{
    return error == ENOSYS || error == EPERM || error == EACCES;
}

/* What stands in for a memfd: a file of /dev/shm that never has a name, and so goes with its last user as well. Rejected:
 * shm_open and unlink, which leaves a name if the process dies between the two. */
static int nameless_file_open(void)
{
    int fd = open("/dev/shm", O_RDWR | O_TMPFILE | O_EXCL | O_CLOEXEC, 0600);

    return fd >= 0
               ? fd
               : mproc__fail(-ENOSYS,
                             "memfd_create is denied here, and /dev/shm, which would do instead, has no room "
                             "for files without a name: %s",
                             mproc_strerror(-errno));
}

static int memory_failed(int fd, size_t size_bytes, const char *what)
{
    int code = -errno;

    if (fd >= 0)
        close(fd);
    return mproc__fail(code, "%s for %zu bytes: %s", what, size_bytes, mproc_strerror(code));
}

int mproc__memfd_create(const char *name, size_t size_bytes)
{
    bool sealable;
    int fd;

    if (size_bytes > (size_t)INT64_MAX)
        return mproc__fail(-EFBIG, "a segment of %zu bytes", size_bytes);
    fd = memfd_open(name);
    sealable = fd >= 0;
    if (!sealable && !is_denied(errno))
        return memory_failed(-1, size_bytes, "memfd_create");
    if (!sealable && (fd = nameless_file_open()) < 0)
        return fd;
    if ((fd = mproc__fd_above_standard(fd)) < 0)
        return memory_failed(-1, size_bytes, "fcntl(F_DUPFD_CLOEXEC)");
    if (truncate_whole(fd, size_bytes) != 0)
        return memory_failed(fd, size_bytes, "ftruncate");
    /* Sealed, so that no peer can take pages away under a reader, which would be SIGBUS. */
    if (sealable && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return memory_failed(fd, size_bytes, "fcntl(F_ADD_SEALS)");
    return fd;
}

bool mproc__memory_can_shrink(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);

    return seals < 0 || !(seals & F_SEAL_SHRINK);
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
            mproc__fail(code, "fallocate for %zu bytes of shared memory: %s", length, mproc_strerror(code));
        done += step;
    }
    return code;
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

int mproc__memory_reserve_mapped(void *begin, size_t length)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = (uintptr_t)begin / page * page, end = mproc__round_up((uintptr_t)begin + length, page);
    int code = mproc__memory_room(length), result = -1;

    while (code == 0 && (result = madvise((void *)from, end - from, MADV_POPULATE_WRITE)) < 0 &&
           errno == EINTR)
        ;
    if (code == 0 && result < 0)
        code = errno == EFAULT ? -ENOMEM : -errno;
    return code;
}

int mproc__file_reserve(int fd, uint64_t offset, uint64_t length)
{
    int code = 0;
    for (uint64_t done = 0; code == 0 && done < length;) {
        uint64_t step = length - done < RESERVE_STEP_BYTES ? length - done : RESERVE_STEP_BYTES;
        code = fallocate_whole(fd, 0, offset + done, step);
        done += step;
    }
    if (code != -EOPNOTSUPP)
        return code;
    struct stat now;
    if (fstat(fd, &now) < 0)
        return -errno;
    if ((uint64_t)now.st_size >= offset + length)
        return 0;
    return truncate_whole(fd, offset + length) == 0 ? 0 : -errno;
}

int mproc__memory_release(int fd, size_t offset, size_t length)
{
    int code = length ? fallocate_whole(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) : 0;

    return code == 0 ? 0 : mproc__fail(code, "giving shared memory back: %s", mproc_strerror(code));
}

void *mproc__memory_unforked(size_t size_bytes)
{
    void *at = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return NULL;
    (void)madvise(at, size_bytes, MADV_DONTFORK);
    return at;
}
