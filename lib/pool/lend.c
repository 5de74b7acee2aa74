/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "platform/story.h"
#include "pool/lend.h"

/* ---- entries ---- */

static bool entry_free(const mproc__lender *lender, unsigned index)
{
    return !lender->handles[index] && !lender->segments[index];
}

/* The serial goes first: a worker that opens the entry looks at it again when it has. */
static void entry_drop(mproc__lender *lender, unsigned index)
{
    mproc__handle *handle = lender->handles[index];
    mproc__segment *segment = lender->segments[index];
    atomic_store(&lender->view->shared->lent[index].serial, 0);
    lender->handles[index] = NULL;
    lender->segments[index] = NULL;
    atomic_fetch_add(&lender->view->shared->lent_epoch, 1);
    if (handle)
        mproc__handle_release(handle);
    mproc__segment_release(segment);
}

static int entry_find(mproc__lender *lender, unsigned *ret_index)
{
    for (unsigned i = 0; i < MPROC__POOL_LENT; i++)
        if (entry_free(lender, i)) {
            *ret_index = i;
            return 0;
        }
    for (unsigned i = 0; i < MPROC__POOL_LENT; i++)
        if (lender->uses[i] == 0) {
            entry_drop(lender, i);
            *ret_index = i;
            return 0;
        }
    return mproc__fail(MPROC_ELIMIT, "%d handles are in the arguments of tasks and maps that have not ended",
                       (int)MPROC__POOL_LENT);
}

/* Another process can open what is a file, by its number here. */
static int file_note(int fd, mproc__lent_file_shared *ret_file)
{
    struct stat status;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &status) < 0)
        return mproc__fail(-errno, "descriptor %d: %s", fd, mproc_strerror(-errno));
    if (!S_ISREG(status.st_mode))
        return MPROC_ECANNOTCROSS;
    *ret_file = (mproc__lent_file_shared){.fd = fd,
                                          .access = (uint32_t)(flags & O_ACCMODE),
                                          .device = (uint64_t)status.st_dev,
                                          .inode = (uint64_t)status.st_ino};
    return 0;
}

static void entry_publish(mproc__lender *lender, unsigned index)
{
    atomic_store(&lender->view->shared->lent[index].serial, ++lender->serial);
}

/* What the handle would say of itself to a process that gets its descriptors. */
static int entry_fill(mproc__lender *lender, unsigned index, mproc__handle *handle)
{
    mproc__lent_shared *to = &lender->view->shared->lent[index];
    mproc__parcel parcel = {.allow_fds = true};
    int rc = handle->ops->pack(handle, &parcel);
    if (rc == 0 && parcel.fd_count > MPROC__COUNT(to->files))
        rc = MPROC_ECANNOTCROSS;
    for (size_t i = 0; rc == 0 && i < parcel.fd_count; i++)
        rc = file_note(parcel.fds[i], &to->files[i]);
    if (rc < 0)
        return rc;
    to->type = handle->type;
    to->file_count = (uint32_t)parcel.fd_count;
    to->blob_bytes = (uint32_t)parcel.blob_bytes;
    memcpy(to->blob, parcel.blob, parcel.blob_bytes);
    mproc__handle_keep(handle);
    lender->handles[index] = handle;
    entry_publish(lender, index);
    return 0;
}

static void lease_take(mproc__lender *lender, unsigned index, mproc__lease *lease)
{
    if (!(*lease >> index & 1))
        lender->uses[index]++;
    *lease |= UINT64_C(1) << index;
}

/* ---- handles ---- */

typedef struct lend_context {
    mproc__lender *lender;
    mproc__lease lease;
} lend_context;

static int handle_entry(mproc__lender *lender, mproc__handle *handle, unsigned *ret_index)
{
    for (unsigned i = 0; i < MPROC__POOL_LENT; i++)
        if (lender->handles[i] == handle) {
            *ret_index = i;
            return 0;
        }
    int rc = entry_find(lender, ret_index);
    return rc < 0 ? rc : entry_fill(lender, *ret_index, handle);
}

static int lend_handle(mproc__parcel *parcel, mproc__handle *handle)
{
    lend_context *context = parcel->lending->context;
    unsigned index = 0;
    int rc = handle_entry(context->lender, handle, &index);
    if (rc < 0)
        return rc;
    lease_take(context->lender, index, &context->lease);
    mproc__lent_name_shared name = {.serial = context->lender->view->shared->lent[index].serial,
                                    .index = index};
    return mproc__parcel_add_blob(parcel, &name, sizeof name);
}

int mproc__lend_variant(mproc__lender *lender, mproc_variant value, mproc__parcel *parcel,
                        mproc__lease *ret_lease)
{
    lend_context context = {.lender = lender};
    mproc__lending lending = {.lend = lend_handle, .context = &context};
    int rc = mproc__parcel_pack_lent(parcel, &lending, value);
    if (rc < 0)
        mproc__lend_return(lender, context.lease);
    else
        *ret_lease = context.lease;
    parcel->lending = NULL;
    return rc;
}

static bool entries_used(const mproc__lender *lender)
{
    for (unsigned i = 0; i < MPROC__POOL_LENT; i++)
        if (lender->uses[i] > 0)
            return true;
    return false;
}

int mproc__lend_draft(mproc__lender *lender, mproc_variant value, mproc__payload_draft *ret_draft,
                      bool *ret_room)
{
    mproc__parcel parcel;
    mproc__lease lease = 0;
    (void)mproc__lend_trim(lender);
    int rc = mproc__lend_variant(lender, value, &parcel, &lease);
    *ret_room = rc == MPROC_ELIMIT && entries_used(lender);
    if (rc < 0)
        return rc;
    *ret_draft = (mproc__payload_draft){.size_bytes = parcel.size_bytes, .lease = lease};
    if (parcel.size_bytes <= sizeof ret_draft->bytes) {
        memcpy(ret_draft->bytes, parcel.bytes, parcel.size_bytes);
        mproc__parcel_clear(&parcel, false);
    } else {
        ret_draft->block_bytes = parcel.size_bytes + sizeof(mproc__block_shared);
        ret_draft->lent = parcel.bytes;
    }
    return 0;
}

/* ---- segments ---- */

static int segment_entry(mproc__lender *lender, mproc__segment *segment, unsigned *ret_index)
{
    int fd = -1;
    int rc = mproc__segment_fd_lend(segment, &fd);
    if (rc == 0)
        rc = entry_find(lender, ret_index);
    if (rc < 0)
        return rc;
    mproc__lent_shared *to = &lender->view->shared->lent[*ret_index];
    rc = file_note(fd, &to->files[0]);
    if (rc < 0)
        return rc;
    to->type = MPROC_TYPE_NONE;
    to->kind = (uint32_t)mproc__segment_kind(segment);
    to->file_count = 1;
    lender->segments[*ret_index] = segment;
    entry_publish(lender, *ret_index);
    return 0;
}

int mproc__lend_segment(mproc__lender *lender, mproc__segment *segment, mproc__lease *lease,
                        unsigned *ret_index)
{
    for (unsigned i = 0; i < MPROC__POOL_LENT; i++)
        if (lender->segments[i] == segment) {
            lease_take(lender, i, lease);
            *ret_index = i;
            mproc__segment_release(segment);
            return 0;
        }
    int rc = segment_entry(lender, segment, ret_index);
    if (rc == 0)
        lease_take(lender, *ret_index, lease);
    return rc;
}

/* ---- back ---- */

/* A table entry is the only one that still has it. Nobody can take a reference meanwhile: who has none has no pointer. */
static bool entry_abandoned(const mproc__lender *lender, unsigned index)
{
    const mproc__handle *handle = lender->handles[index];
    if (lender->uses[index] > 0 || entry_free(lender, index))
        return false;
    return handle ? atomic_load(&handle->references) == 1 : mproc__segment_sole(lender->segments[index]);
}

bool mproc__lend_trim(mproc__lender *lender)
{
    bool any = false;
    for (unsigned i = 0; i < MPROC__POOL_LENT; i++)
        if (entry_abandoned(lender, i)) {
            entry_drop(lender, i);
            any = true;
        }
    return any;
}

void mproc__lend_return(mproc__lender *lender, mproc__lease lease)
{
    for (unsigned i = 0; i < MPROC__POOL_LENT && lease >> i; i++) {
        if (!(lease >> i & 1) || --lender->uses[i] > 0)
            continue;
        const mproc__handle *handle = lender->handles[i];
        if (handle && !mproc__lend_keeps(handle->type))
            entry_drop(lender, i);
    }
}

void mproc__lend_end(mproc__lender *lender)
{
    for (unsigned i = 0; i < MPROC__POOL_LENT; i++)
        if (!entry_free(lender, i))
            entry_drop(lender, i);
}
