/* SPDX-License-Identifier: BSD-2-Clause */
/* What every handle begins with, and the calls that work on any handle. L1, because variants own handles.
 *
 * Operations are per kind and home (thread, host, server), constant tables in the file that owns the noun; never in
 * shared memory. A public call checks its handle with mproc__handle_check first. */
#ifndef MPROC__DATA_HANDLE_H
#define MPROC__DATA_HANDLE_H

#include "platform/base.h"
#include "platform/story.h"

#define MPROC__HANDLE_MAGIC 0x6d70726fu /* "mpro" */
#define MPROC__HANDLE_DEAD  0x64656164u /* "dead": closed, memory not yet reused */

typedef struct mproc__handle mproc__handle;
struct mproc__parcel;

typedef struct mproc__handle_ops {
    mproc_type_id type;
    const char *noun;                       /* "queue" */
    void (*destroy)(mproc__handle *handle); /* last reference gone: frees everything */
    int (*describe)(const mproc__handle *handle, char *buffer,
                    size_t size_bytes); /* as snprintf; NULL: the noun */
    /* Appends what another process needs to `parcel` (data/parcel.h); NULL: MPROC_ECANNOTCROSS. */
    int (*pack)(mproc__handle *handle, struct mproc__parcel *parcel);
    int (*wait_fd)(mproc__handle *handle); /* a descriptor to poll, or negative; NULL: MPROC_EPLACE */
    /* Of one with wait_fd: whether the call that one waits for would return at once, also with an error. `readable`: what
     * poll has just said of the descriptor; false asks, cheaply, for what it does not tell of. NULL: it tells all. No: the
     * descriptor is unreadable now, unless something is on its way to it. */
    bool (*ready)(mproc__handle *handle, bool readable);
    bool (*failed)(mproc__handle *handle); /* of one that is ready: as a failure. NULL: never */
    bool once;                             /* a set tells of it once, and it leaves */
} mproc__handle_ops;

struct mproc__handle {
    uint32_t magic;
    uint32_t type; /* mproc_type_id, a copy of ops->type */
    const mproc__handle_ops *ops;
    _Atomic uint32_t references;
    _Atomic(struct mproc__handle_story *)
        story; /* last failure on this handle; allocated at the first, freed with it */
};

void mproc__handle_init(mproc__handle *handle, const mproc__handle_ops *ops); /* one reference */
/* Frees the story and marks the memory dead; destroy calls it before free. */
void mproc__handle_fini(mproc__handle *handle);
void mproc__handle_keep(mproc__handle *handle);
void mproc__handle_release(mproc__handle *handle);
/* What every mproc_X_close does: NULL-safe, takes the pointer away, releases. Wrong type: does nothing. */
void mproc__handle_close(void **handle, mproc_type_id type);

/* 0, or -EINVAL: NULL, closed, or of another type. A load and a compare. */
static inline int mproc__handle_check(const void *handle, mproc_type_id type)
{
    const mproc__handle *h = handle;
    if (MPROC__LIKELY(h && h->magic == MPROC__HANDLE_MAGIC && h->type == (uint32_t)type))
        return 0;
    return mproc__fail(-EINVAL, "not an open handle of the right type");
}

/* Sets the thread's story and the handle's; returns code. */
int mproc__handle_fail(mproc__handle *handle, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Copies the thread's present story to the handle; returns code. */
int mproc__handle_story(mproc__handle *handle, int code);

#endif
