/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments: made, attached, mapped, reserved, unmapped. Who uses one is in participants.c, sleeping in eventcount.c. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/story.h"
#include "shm/named.h"
#include "shm/segment_inside.h"

#ifndef F_GET_SEALS
#define F_GET_SEALS   1034
#define F_SEAL_SHRINK 0x0002
#endif

#define ROOT_OFFSET MPROC__ROOT_OFFSET

/* With 40-byte mutexes a small object is five pages: header, rows and waiters leave its root 2176 bytes, what a semaphore
 * takes. (With 120 rows it was three; making and closing a lock then took 139-213 us, now 150-240, both on a busy machine,
 * whose spread is the greater.) */
_Static_assert(sizeof(mproc__header_shared) <= 20480,
               "header and rows stay small: every object pays for them");
_Static_assert(MPROC__ROWS < UINT8_MAX, "row + 1 fits 8 bits");

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static mproc__segment *segment_new(mproc__home home, mproc_type_id kind, const char *label)
{
    static _Atomic uint64_t serials;
    mproc__segment *segment = calloc(1, sizeof(*segment));
    if (!segment) {
        mproc__fail(-ENOMEM, "no memory for a segment's handle");
        return NULL;
    }
    segment->home = home;
    segment->kind = kind;
    snprintf(segment->label, sizeof(segment->label), "%s", label);
    segment->fd = -1;
    segment->incarnation = mproc__incarnation();
    segment->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
    atomic_store_explicit(&segment->references, 1, memory_order_relaxed);
    return segment;
}

static bool file_of(int fd, uint64_t ret_file[2])
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return false;
    ret_file[0] = status.st_dev;
    ret_file[1] = status.st_ino;
    return true;
}

static int segment_map(mproc__segment *segment, size_t bytes)
{
    if (segment->fd >= 0 && !file_of(segment->fd, segment->file))
        return mproc__fail(-errno, "shared memory: its descriptor: %s", mproc_strerror(-errno));
    int flags = segment->fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    int access = segment->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
    void *mapping = mmap(NULL, bytes, access, flags, segment->fd, 0);
    if (mapping == MAP_FAILED)
        return mproc__fail(-errno, "cannot map %zu bytes of shared memory: %s", bytes, strerror(errno));
    segment->mapping = mapping;
    segment->mapping_bytes = bytes;
    return 0;
}

/* Code that closes descriptors it does not know of (a task of a pool, say) may have closed ours, and what it opened next has
 * the number: nothing is written there, and it is not closed. */
static bool file_is_ours(const mproc__segment *segment)
{
    uint64_t now[2];
    return file_of(segment->fd, now) && memcmp(now, segment->file, sizeof now) == 0;
}

/* What cannot be looked at is closed: a kernel that refuses that look (short of memory, a filter) is likelier than a
 * stranger under the number. */
static bool file_is_anothers(const mproc__segment *segment)
{
    uint64_t now[2];
    return file_of(segment->fd, now) && memcmp(now, segment->file, sizeof now) != 0;
}

/* One that is not mapped has not come so far as to know its file, and nobody else has seen it. */
void mproc__segment_destroy(mproc__segment *segment)
{
    uint32_t kind;
    mproc__segment_unlist(segment);
    bool mapped = segment->mapping != NULL;
    if (mapped)
        munmap(segment->mapping, segment->mapping_bytes);
    if (segment->fd >= 0 && !(mapped && file_is_anothers(segment)))
        close(segment->fd);
    if (mapped && segment->published)
        mproc__named_reap(segment->label, segment->file[0], segment->file[1], &kind);
    if (segment->temporary)
        mproc__named_unlink(segment->temporary);
    free(segment->temporary);
    free(segment);
}

static int header_write(const mproc__segment *segment, const mproc__naming *naming, size_t reserve_bytes)
{
    mproc__header_shared *shared = segment->shared;
    if (naming)
        shared->flags = MPROC__FLAG_NAMED | (naming->persist ? MPROC__FLAG_PERSIST : 0);
    else if (mproc__memory_can_shrink(segment->fd))
        shared->flags = MPROC__FLAG_UNSEALED;
    shared->reserved_bytes = reserve_bytes;
    shared->magic = MPROC__SEGMENT_MAGIC;
    shared->version = MPROC__SEGMENT_VERSION;
    shared->kind = (uint32_t)segment->kind;
    shared->size_bytes = segment->size_bytes;
    memcpy(shared->label, segment->label, sizeof(shared->label));
    shared->root_offset = ROOT_OFFSET;
    shared->row_count = MPROC__ROWS;
    mproc__robust_init(&shared->watch, true);
    for (unsigned row = 0; row < MPROC__ROWS; row++)
        mproc__robust_init(&shared->rows[row].life, true);
    return mproc__namespaces(&shared->pid_namespace, &shared->time_namespace);
}

/* Says for what object it was; the story so far says what the system refused. */
static int allocation_failed(int code, size_t bytes, const char *label)
{
    char why[256];
    snprintf(why, sizeof(why), "%s", mproc_error_text(mproc_last_error()));
    return mproc__fail(code, "no %zu bytes of shared memory for %s: %s", bytes, label, why);
}

/* The memory behind a host segment. mproc__memory_reserve looks for room first: reserving beyond a memory cgroup's limit
 * does not fail, it brings the OOM killer (measured). */
static int segment_allocate(mproc__segment *segment, const mproc__naming *naming, size_t total,
                            size_t reserve)
{
    char label[64];
    snprintf(label, sizeof(label), "mproc:%.50s", segment->label);
    int code = mproc__robust_check();
    if (code < 0)
        return code;
    int fd = naming ? mproc__named_file(naming, total, segment) : mproc__memfd_create(label, total);
    if (fd < 0)
        return allocation_failed(fd, total, label);
    segment->fd = fd;
    code = mproc__memory_reserve(fd, 0, reserve);
    return code < 0 ? allocation_failed(code, reserve, label) : 0;
}

static int segment_build(mproc__segment *segment, const mproc__naming *naming, size_t size_bytes,
                         size_t reserve_bytes)
{
    bool host = segment->home == MPROC__HOME_HOST;
    size_t before = host ? ROOT_OFFSET : 0;
    size_t total = mproc__round_up(before + size_bytes, page_bytes());
    int code = host ? segment_allocate(segment, naming, total, before + reserve_bytes) : 0;
    if (code == 0)
        code = segment_map(segment, total);
    if (code < 0)
        return code;
    segment->size_bytes = size_bytes;
    segment->root = (unsigned char *)segment->mapping + before;
    segment->named = naming != NULL;
    if (host) {
        segment->shared = segment->mapping;
        code = header_write(segment, naming, reserve_bytes);
    }
    return code;
}

int mproc__segment_make(mproc__home home, mproc_type_id kind, const char *label, const mproc__naming *naming,
                        size_t size_bytes, size_t reserve_bytes, mproc__segment **ret_segment)
{
    if (size_bytes == 0 || size_bytes > SIZE_MAX / 4 || reserve_bytes > size_bytes)
        return mproc__fail(-EINVAL, "a segment of %zu bytes, %zu of them reserved", size_bytes,
                           reserve_bytes);
    mproc__segment *segment = segment_new(home, kind, label);
    if (!segment)
        return -ENOMEM;
    int code = segment_build(segment, naming, size_bytes, reserve_bytes ? reserve_bytes : size_bytes);
    if (code < 0) {
        mproc__segment_destroy(segment);
        return code;
    }
    if (segment->shared)
        mproc__segment_list(segment);
    *ret_segment = segment;
    return 0;
}

int mproc__segment_create(mproc__home home, mproc_type_id kind, const char *name, size_t size_bytes,
                          size_t reserve_bytes, mproc__segment **ret_segment)
{
    MPROC__ASSERT(home == MPROC__HOME_HOST || home == MPROC__HOME_THREAD);
    return mproc__segment_make(home, kind, name ? name : "", NULL, size_bytes, reserve_bytes, ret_segment);
}

int mproc__header_read(int fd, mproc__header_shared *ret_header)
{
    size_t bytes = offsetof(mproc__header_shared, membership);
    ssize_t got;
    do
        got = pread(fd, ret_header, bytes, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return mproc__fail(-errno, "cannot read descriptor %d: %s", fd, mproc_strerror(-errno));
    if (got != (ssize_t)bytes || ret_header->magic != MPROC__SEGMENT_MAGIC)
        return mproc__fail(MPROC_ECORRUPT, "descriptor %d is not a segment of libmproc", fd);
    ret_header->label[MPROC__LABEL_BYTES - 1] = '\0';
    return 0;
}

static int namespaces_check(const mproc__header_shared *header)
{
    uint64_t pids;
    uint64_t times;
    int code = mproc__namespaces(&pids, &times);
    if (code < 0)
        return code;
    if (header->pid_namespace != pids || header->time_namespace != times)
        return mproc__fail(MPROC_ENAMESPACE,
                           "segment of another pid or time namespace: share it by managerd");
    return 0;
}

/* Nothing of a foreign file is touched before this said what it is and that it is long enough. Only what says that it is a
 * file of /dev/shm may be without the seal against shrinking. */
static int descriptor_check(int fd, struct stat *ret_status, mproc__header_shared *ret_header)
{
    if (fstat(fd, ret_status) < 0)
        return mproc__fail(-errno, "cannot attach descriptor %d: %s", fd, strerror(errno));
    int seals = S_ISREG(ret_status->st_mode) ? fcntl(fd, F_GET_SEALS) : -1;
    if (seals < 0 || ret_status->st_size <= (off_t)ROOT_OFFSET)
        return mproc__fail(MPROC_ECORRUPT, "descriptor %d is not a segment of libmproc", fd);
    int code = mproc__header_read(fd, ret_header);
    if (code < 0)
        return code;
    bool named = (ret_header->flags & MPROC__FLAG_NAMED) && mproc__file_name_good(ret_header->label);
    if (!named && !(ret_header->flags & MPROC__FLAG_UNSEALED) && !(seals & F_SEAL_SHRINK))
        return mproc__fail(MPROC_ECORRUPT, "descriptor %d is not a segment of libmproc: it can shrink", fd);
    return 0;
}

static int header_check(const mproc__header_shared *header, size_t bytes, mproc_type_id kind)
{
    if (header->version != MPROC__SEGMENT_VERSION || header->root_offset != ROOT_OFFSET ||
        header->row_count != MPROC__ROWS)
        return mproc__fail(MPROC_ECORRUPT, "segment of another build of libmproc (version %u, this is %d)",
                           (unsigned)header->version, (int)MPROC__SEGMENT_VERSION);
    if (header->size_bytes == 0 || header->size_bytes > bytes - ROOT_OFFSET ||
        header->reserved_bytes > header->size_bytes)
        return mproc__fail(MPROC_ECORRUPT, "segment says %llu bytes, the descriptor holds %zu",
                           (unsigned long long)header->size_bytes, bytes - ROOT_OFFSET);
    if (header->kind != (uint32_t)kind)
        return mproc__fail(-EINVAL, "segment of an object of type %u, wanted %u", (unsigned)header->kind,
                           (unsigned)kind);
    return namespaces_check(header);
}

/* What a creator reserved is there, or somebody else made the file: in a full /dev/shm a hole is SIGBUS at first touch. */
static int holes_check(const struct stat *status, size_t reserved)
{
    if ((uint64_t)status->st_blocks * 512 >= reserved)
        return 0;
    return mproc__fail(MPROC_ECORRUPT, "a segment of whose %zu bytes some have no memory behind them",
                       reserved);
}

static int segment_attach(mproc__segment *segment, const struct stat *status,
                          const mproc__header_shared *header)
{
    segment->named = (header->flags & MPROC__FLAG_NAMED) != 0;
    bool in_file = header->flags & (MPROC__FLAG_NAMED | MPROC__FLAG_UNSEALED);
    int code = in_file ? holes_check(status, ROOT_OFFSET + header->reserved_bytes) : 0;
    if (code == 0)
        code = segment_map(segment, (size_t)status->st_size);
    if (code < 0)
        return code;
    segment->shared = segment->mapping;
    segment->root = (unsigned char *)segment->mapping + ROOT_OFFSET;
    segment->size_bytes = header->size_bytes;
    segment->published = segment->named;
    return 0;
}

int mproc__segment_attach(int fd, mproc_type_id kind, mproc__segment **ret_segment)
{
    struct stat status;
    mproc__header_shared header;
    int code = descriptor_check(fd, &status, &header);
    if (code == 0)
        code = header_check(&header, (size_t)status.st_size, kind);
    if (code < 0)
        return code;
    mproc__segment *segment = segment_new(MPROC__HOME_HOST, kind, header.label);
    if (!segment)
        return -ENOMEM;
    segment->fd = fd;
    segment->read_only = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
    code = segment_attach(segment, &status, &header);
    if (code < 0) {
        segment->fd = -1; /* stays the caller's */
        mproc__segment_destroy(segment);
        return code;
    }
    mproc__segment_list(segment);
    *ret_segment = segment;
    return 0;
}

void mproc__segment_keep(mproc__segment *segment)
{
    atomic_fetch_add_explicit(&segment->references, 1, memory_order_relaxed);
}

void mproc__segment_release(mproc__segment *segment)
{
    if (!segment || atomic_fetch_sub_explicit(&segment->references, 1, memory_order_acq_rel) != 1)
        return;
    if (!segment->shared || mproc__life_leave(segment))
        mproc__segment_destroy(segment);
}

bool mproc__segment_sole(const mproc__segment *segment)
{
    return atomic_load(&segment->references) == 1;
}

void *mproc__segment_root(mproc__segment *segment)
{
    return segment->root;
}

size_t mproc__segment_size(const mproc__segment *segment)
{
    return segment->size_bytes;
}

int mproc__segment_fd(const mproc__segment *segment)
{
    return segment->fd;
}

int mproc__segment_fd_lend(const mproc__segment *segment, int *ret_fd)
{
    if (!file_is_ours(segment))
        return mproc__fail(MPROC_ECANNOTCROSS, "%s: its descriptor was closed by others",
                           mproc__segment_name(segment));
    *ret_fd = segment->fd;
    return 0;
}

int mproc__segment_fd_take(mproc__segment *segment)
{
    int fd = segment->fd;
    segment->fd = -1;
    return fd;
}

/* Of a named one without its group. */
const char *mproc__segment_name(const mproc__segment *segment)
{
    const char *behind = mproc__segment_named(segment) ? strchr(segment->label, '%') : NULL;
    return behind ? behind + 1 : segment->label;
}

bool mproc__segment_named(const mproc__segment *segment)
{
    return segment->named;
}

bool mproc__segment_read_only(const mproc__segment *segment)
{
    return segment->read_only;
}

mproc_type_id mproc__segment_kind(const mproc__segment *segment)
{
    return segment->kind;
}

mproc__home mproc__segment_home(const mproc__segment *segment)
{
    return segment->home;
}

bool mproc__segment_shared(const mproc__segment *segment)
{
    return segment->shared != NULL;
}

static int range_check(const mproc__segment *segment, size_t offset, size_t length)
{
    if (offset > segment->size_bytes || length > segment->size_bytes - offset)
        return mproc__fail(-EINVAL, "range %zu + %zu outside a segment of %zu bytes", offset, length,
                           segment->size_bytes);
    return 0;
}

int mproc__segment_reserve(mproc__segment *segment, size_t offset, size_t length)
{
    int code = range_check(segment, offset, length);
    if (code < 0 || length == 0 || segment->fd < 0)
        return code;
    code =
        file_is_ours(segment)
            ? mproc__memory_reserve(segment->fd, ROOT_OFFSET + offset, length)
            : mproc__memory_reserve_mapped((unsigned char *)segment->mapping + ROOT_OFFSET + offset, length);
    if (code < 0)
        return mproc__fail(code, "no room for %zu more bytes of shared memory: %s", length,
                           mproc_strerror(code));
    return 0;
}

/* Memory without a descriptor: whole pages inside the range go back, the rest is zeroed, as a hole punched in a file reads. */
static int mapped_release(unsigned char *start, size_t length, int advice)
{
    size_t page = page_bytes();
    size_t head = mproc__round_up((uintptr_t)start, page) - (uintptr_t)start;
    if (head >= length) {
        memset(start, 0, length);
        return 0;
    }
    size_t whole = (length - head) / page * page;
    memset(start, 0, head);
    memset(start + head + whole, 0, length - head - whole);
    return whole && madvise(start + head, whole, advice) < 0 ? -errno : 0;
}

int mproc__segment_free_range(mproc__segment *segment, size_t offset, size_t length)
{
    int code = range_check(segment, offset, length);
    if (code < 0 || length == 0)
        return code;
    if (!segment->shared)
        return mapped_release(segment->root + offset, length, MADV_DONTNEED);
    if (segment->fd < 0 || !file_is_ours(segment))
        return mapped_release(segment->root + offset, length, MADV_REMOVE);
    return mproc__memory_release(segment->fd, ROOT_OFFSET + offset, length);
}

/* Its read_only is not set: nobody asks it of such a segment, and the write would copy a page in every child. */
MPROC__FORK_TEXT int mproc__segment_seal(const mproc__segment *segment)
{
    return mprotect(segment->mapping, segment->mapping_bytes, PROT_READ) == 0 ? 0 : -errno;
}

int mproc__segment_check(const mproc__segment *segment)
{
    if (MPROC__LIKELY(segment->shared != NULL || segment->incarnation == mproc__incarnation()))
        return 0;
    return mproc__fail(-ECHILD, "made for the threads of another process; a fork child makes its own");
}

int mproc__segment_enter(const mproc__segment *segment)
{
    if (segment->shared)
        return segment->incarnation == mproc__incarnation() ? 0 : namespaces_check(segment->shared);
    return mproc__segment_check(segment);
}
