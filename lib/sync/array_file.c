/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays over files: the items are the file's own pages, in every process that has the array. What the array is, and its
 * lock, are in a segment of its own, which knows nothing of the file. */
#include "platform/base.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "sync/array.h"

/* ---- mapped ---- */

/* The file as long as needed now: it may have been cut since it was opened, or packed. */
static int file_check(mproc__array_file *file, uint64_t size_bytes)
{
    struct stat now;
    if (fstat(file->fd, &now) < 0)
        return mproc__fail(-errno, "the array's file: %s", mproc_strerror(-errno));
    file->device = now.st_dev;
    file->inode = now.st_ino;
    uint64_t length = (uint64_t)now.st_size;
    if (file->offset_bytes > length || size_bytes > length - file->offset_bytes)
        return mproc__fail(-ERANGE, "the file has %llu bytes, and the items end at %llu",
                           (unsigned long long)length, (unsigned long long)(file->offset_bytes + size_bytes));
    return 0;
}

int mproc__array_file_map(mproc__array_file *file, size_t size_bytes, unsigned char **ret_data)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), before = (size_t)(file->offset_bytes % page);
    int protection = file->access == MPROC_ARRAY_READ ? PROT_READ : PROT_READ | PROT_WRITE;
    int code = file_check(file, size_bytes);
    if (code < 0)
        return code;
    file->map_bytes = before + size_bytes;
    file->map = mmap(NULL, file->map_bytes, protection,
                     file->access == MPROC_ARRAY_PRIVATE ? MAP_PRIVATE : MAP_SHARED, file->fd,
                     (off_t)(file->offset_bytes - before));
    if (file->map == MAP_FAILED)
        return mproc__fail(-errno, "mapping %zu bytes of a file: %s", file->map_bytes,
                           mproc_strerror(-errno));
    *ret_data = file->map + before;
    return 0;
}

/* 1: the descriptor is the file's; 0: another's. Code that closes descriptors it does not know of may have closed it, and what
 * it opened next has the number. -errno: it cannot be looked at, and is nobody's or ours. */
static int file_same(const mproc__array_file *file)
{
    struct stat now;
    if (fstat(file->fd, &now) < 0)
        return -errno;
    return now.st_dev == file->device && now.st_ino == file->inode;
}

void mproc__array_file_drop(mproc__array_file *file)
{
    if (file->fd < 0)
        return;
    munmap(file->map, file->map_bytes);
    if (file_same(file) != 0)
        close(file->fd);
}

int mproc_array_flush(mproc_array *array)
{
    int code = mproc__handle_check(array, MPROC_TYPE_ARRAY);
    if (code < 0)
        return code;
    if (array->file.fd < 0 || array->file.access != MPROC_ARRAY_WRITE)
        return mproc__handle_fail(&array->handle, MPROC_ESTATE, "no file has the changes of this array");
    if (msync(array->file.map, array->file.map_bytes, MS_SYNC) < 0)
        return mproc__handle_fail(&array->handle, -errno, "writing the array to its file: %s",
                                  mproc_strerror(-errno));
    return 0;
}

/* ---- given to other processes ---- */

int mproc__array_file_lend(const mproc__array_file *file, mproc__parcel *parcel)
{
    if (file_same(file) <= 0)
        return mproc__fail(MPROC_ECANNOTCROSS, "the array's file: its descriptor was closed by others");
    return mproc__parcel_add_fd(parcel, file->fd);
}

typedef struct __attribute__((packed)) packed_file {
    uint8_t version, access;
    uint64_t offset_bytes;
} packed_file;
_Static_assert(sizeof(packed_file) == MPROC__ARRAY_FILE_BYTES, "what an array's blob grows by");

int mproc__array_file_pack(const mproc__array_file *file, mproc__parcel *parcel)
{
    const packed_file packed = {1, (uint8_t)file->access, file->offset_bytes};
    return mproc__parcel_add_blob(parcel, &packed, sizeof packed);
}

int mproc__array_file_unpack(const uint8_t *blob, mproc__array_file *ret_file)
{
    packed_file packed;
    memcpy(&packed, blob, sizeof packed);
    if (packed.version != 1 || packed.access > MPROC_ARRAY_PRIVATE || packed.offset_bytes > INT64_MAX)
        return mproc__fail(MPROC_EPROTOCOL, "an array over a file, packed by another version");
    *ret_file = (mproc__array_file){
        .fd = -1, .access = (mproc_array_access)packed.access, .offset_bytes = packed.offset_bytes};
    return 0;
}

/* ---- opened ---- */

typedef struct opening {
    const char *path;
    mproc_item item;
    size_t item_bytes, count;
    mproc__array_file file;
    bool create;
    bool made; /* by us: goes away if the rest fails */
} opening;

/* Not blocked by a FIFO, and not deceived by a device. */
static int file_open(opening *of, int flags)
{
    struct stat what;
    of->file.fd = open(of->path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    if (of->file.fd >= 0)
        of->file.fd = mproc__fd_above_standard(of->file.fd);
    if (of->file.fd < 0)
        return -errno;
    int code = fstat(of->file.fd, &what) < 0 ? -errno
               : S_ISDIR(what.st_mode)       ? -EISDIR
               : !S_ISREG(what.st_mode)      ? -ENODEV
                                             : 0;
    if (code < 0)
        close(of->file.fd);
    return code;
}

static int file_open_or_make(opening *of)
{
    int flags = of->file.access == MPROC_ARRAY_WRITE ? O_RDWR : O_RDONLY, code;
    do {
        of->made = false;
        code = file_open(of, flags);
        if (code == -ENOENT && of->create) {
            of->made = true;
            code = file_open(of, flags | O_CREAT | O_EXCL);
        }
    } while (code == -EEXIST && of->made);
    return code < 0 ? mproc__fail(code, "%s: %s", of->path, mproc_strerror(code)) : 0;
}

/* All whole items from the offset to the end. */
static int count_find(opening *of)
{
    struct stat now;
    if (of->count > 0)
        return 0;
    if (fstat(of->file.fd, &now) < 0)
        return mproc__fail(-errno, "%s: %s", of->path, mproc_strerror(-errno));
    if ((uint64_t)now.st_size > of->file.offset_bytes)
        of->count = (size_t)(((uint64_t)now.st_size - of->file.offset_bytes) / of->item_bytes);
    return of->count > 0 ? 0 : mproc__fail(-ERANGE, "%s: no whole item in it", of->path);
}

/* Room on the disk comes before anything is mapped: a page that has none is SIGBUS when it is touched. A file that only has
 * become longer stays so if the rest fails: to cut it could take away what others have written there meanwhile. */
static int room_make(const opening *of)
{
    int code = mproc__file_reserve(of->file.fd, of->file.offset_bytes, (uint64_t)of->count * of->item_bytes);
    return code < 0
               ? mproc__fail(code, "%s: room for %zu items: %s", of->path, of->count, mproc_strerror(code))
               : 0;
}

static int opened(opening *of, mproc_array **ret_array)
{
    int code = count_find(of);
    if (code == 0)
        code = mproc__array_shape(of->item, of->item_bytes, of->count, &of->item_bytes);
    if (code == 0 && (uint64_t)of->count * of->item_bytes > (uint64_t)INT64_MAX - of->file.offset_bytes)
        code = mproc__fail(-EOVERFLOW, "%s: %zu items of %zu bytes", of->path, of->count, of->item_bytes);
    if (code == 0 && !of->create)
        code = file_check(&of->file, (uint64_t)of->count * of->item_bytes);
    if (code == 0 && of->file.access == MPROC_ARRAY_WRITE)
        code = room_make(of);
    if (code == 0)
        code = mproc__array_make_over(&of->file, of->item, of->item_bytes, of->count, ret_array);
    return code;
}

static int opening_check(opening *of, const mproc_array_file_options *options)
{
    size_t one;
    int code = mproc__array_shape(of->item, of->item_bytes, of->count ? of->count : 1, &one);
    if (code < 0)
        return code;
    of->item_bytes = one;
    if (of->file.access < MPROC_ARRAY_READ || of->file.access > MPROC_ARRAY_PRIVATE)
        return mproc__fail(-EINVAL, "%d is no access; they are READ, WRITE and PRIVATE",
                           (int)of->file.access);
    if (of->create && (of->file.access != MPROC_ARRAY_WRITE || of->count == 0))
        return mproc__fail(-EINVAL, "a file is made for a number of items that will be written");
    if (of->file.offset_bytes > INT64_MAX ||
        (of->item != MPROC_ITEM_BYTES && options && options->offset_bytes % one != 0))
        return mproc__fail(-EINVAL, "items of %zu bytes cannot begin at byte %llu", one,
                           (unsigned long long)of->file.offset_bytes);
    return 0;
}

int mproc_array_open_file(const char *path, mproc_item item, size_t count,
                          const mproc_array_file_options *options, mproc_array **ret_array)
{
    opening of = {.path = path, .item = item, .count = count, .file.fd = -1};
    int code = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_array_file_options");
    if (code == 0 && (!path || !ret_array))
        code = mproc__fail(-EINVAL, "no path, or nowhere to put the array");
    if (code == 0 && options) {
        of.item_bytes = options->item_bytes;
        of.file.access = options->access;
        of.file.offset_bytes = options->offset_bytes;
        of.create = options->create;
    }
    if (code == 0)
        code = opening_check(&of, options);
    if (code == 0)
        code = file_open_or_make(&of);
    if (code < 0)
        return code;
    code = opened(&of, ret_array);
    if (code < 0) {
        close(of.file.fd);
        if (of.made)
            unlink(path);
    }
    return code;
}
