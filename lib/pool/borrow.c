/* SPDX-License-Identifier: BSD-2-Clause */
/* A worker opens what the pool's owner has lent. lend.h says how. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/encode.h"
#include "platform/story.h"
#include "pool/lend.h"

static int gone(void)
{
    return mproc__fail(MPROC_ECANNOTCROSS, "a handle among the arguments was taken back by the pool's owner");
}

/* The descriptor's number may be another file's by now: that of the entry is told by the kernel's number for it. */
static int file_open(const mproc__borrower *borrower, const mproc__lent_file_shared *file)
{
    char path[64];
    struct stat status;
    const mproc__pool_view *view = borrower->view;
    snprintf(path, sizeof path, "/proc/%d/fd/%d",
             (int)mproc__segment_row_pid(view->segment, view->shared->plan.owner_row), (int)file->fd);
    int fd = open(path, (int)file->access | O_CLOEXEC);
    int rc = fd < 0 ? -errno : 0;
    if (rc == -EMFILE || rc == -ENOMEM) /* the worker's own trouble: the handle could cross */
        return mproc__fail(rc, "a worker cannot open %s: %s", path, mproc_strerror(rc));
    if (rc < 0)
        return mproc__fail(MPROC_ECANNOTCROSS, "a worker cannot open %s: %s", path, mproc_strerror(rc));
    if (fstat(fd, &status) == 0 && (uint64_t)status.st_dev == file->device &&
        (uint64_t)status.st_ino == file->inode)
        return fd;
    close(fd);
    return gone();
}

static int files_open(const mproc__borrower *borrower, const mproc__lent_shared *entry, mproc__parcel *parcel)
{
    uint32_t count = entry->file_count;
    for (uint32_t i = 0; i < count && i < MPROC__COUNT(entry->files); i++) {
        int fd = file_open(borrower, &entry->files[i]);
        if (fd < 0)
            return fd;
        parcel->fds[parcel->fd_count++] = fd;
    }
    return 0;
}

static int handle_open(const mproc__borrower *borrower, const mproc__lent_shared *entry,
                       mproc__handle **ret_handle)
{
    mproc__parcel parcel = {.allow_fds = true};
    int rc = files_open(borrower, entry, &parcel);
    if (rc == 0 && entry->blob_bytes > sizeof entry->blob)
        rc = mproc__fail(MPROC_ECORRUPT, "the table of lent handles is damaged");
    if (rc == 0)
        rc = mproc__parcel_open_handle(&parcel, entry->type, entry->blob, entry->blob_bytes, ret_handle);
    mproc__parcel_clear(&parcel, true);
    return rc;
}

static int segment_open(const mproc__borrower *borrower, const mproc__lent_shared *entry,
                        mproc__segment **ret_segment)
{
    int fd = file_open(borrower, &entry->files[0]);
    if (fd < 0)
        return fd;
    int rc = mproc__segment_attach(fd, (mproc_type_id)entry->kind, ret_segment);
    if (rc < 0)
        close(fd);
    return rc;
}

static void entry_forget(mproc__borrowed *kept)
{
    mproc__borrowed old = *kept;
    *kept = (mproc__borrowed){.serial = 0};
    if (old.handle)
        mproc__handle_release(old.handle);
    mproc__segment_release(old.segment);
}

/* ---- handles ---- */

static int borrow_handle(mproc__parcel *parcel, uint32_t type, const void *blob, size_t blob_bytes,
                         mproc__handle **ret_handle)
{
    mproc__borrower *borrower = parcel->lending->context;
    mproc__lent_name_shared name;
    if (blob_bytes != sizeof name)
        return mproc__fail(MPROC_EPROTOCOL, "a handle of type %u that was not lent", (unsigned)type);
    memcpy(&name, blob, sizeof name);
    if (name.index >= MPROC__POOL_LENT)
        return mproc__fail(MPROC_EPROTOCOL, "a handle of type %u has no entry", (unsigned)type);
    mproc__borrowed *kept = &borrower->kept[name.index];
    if (kept->serial == name.serial && kept->handle) {
        mproc__handle_keep(kept->handle);
        *ret_handle = kept->handle;
        return 0;
    }
    const mproc__lent_shared *entry = &borrower->view->shared->lent[name.index];
    if (atomic_load(&entry->serial) != name.serial)
        return gone();
    int rc = handle_open(borrower, entry, ret_handle);
    if (rc < 0 || !mproc__lend_keeps(entry->type))
        return rc;
    entry_forget(kept);
    mproc__handle_keep(*ret_handle);
    *kept = (mproc__borrowed){.serial = name.serial, .handle = *ret_handle};
    return 0;
}

int mproc__borrow_variant(mproc__borrower *borrower, const void *bytes, size_t size_bytes,
                          mproc_variant *ret_value)
{
    mproc__lending lending = {.borrow = borrow_handle, .context = borrower};
    mproc__parcel parcel = {
        .lending = &lending, .bytes = (uint8_t *)(uintptr_t)bytes, .size_bytes = size_bytes};
    return mproc__parcel_unpack(&parcel, ret_value);
}

/* ---- segments ---- */

int mproc__borrow_segment(mproc__borrower *borrower, unsigned index, mproc__segment **ret_segment)
{
    const mproc__lent_shared *entry = &borrower->view->shared->lent[index % MPROC__POOL_LENT];
    mproc__borrowed *kept = &borrower->kept[index % MPROC__POOL_LENT];
    uint64_t serial = atomic_load(&entry->serial);
    if (serial && kept->serial == serial && kept->segment) {
        *ret_segment = kept->segment;
        return 0;
    }
    int rc = serial ? segment_open(borrower, entry, ret_segment) : gone();
    if (rc < 0)
        return rc;
    entry_forget(kept);
    *kept = (mproc__borrowed){.serial = serial, .segment = *ret_segment};
    return 0;
}

/* ---- back ---- */

void mproc__borrow_trim(mproc__borrower *borrower)
{
    const mproc__pool_shared *shared = borrower->view->shared;
    uint32_t epoch = atomic_load(&shared->lent_epoch);
    if (epoch == borrower->epoch_seen)
        return;
    borrower->epoch_seen = epoch;
    for (unsigned i = 0; i < MPROC__POOL_LENT; i++)
        if (borrower->kept[i].serial && borrower->kept[i].serial != atomic_load(&shared->lent[i].serial))
            entry_forget(&borrower->kept[i]);
}

void mproc__borrow_end(mproc__borrower *borrower)
{
    for (unsigned i = 0; i < MPROC__POOL_LENT; i++)
        if (borrower->kept[i].serial)
            entry_forget(&borrower->kept[i]);
}
