/* SPDX-License-Identifier: BSD-2-Clause */
/* What lock_local.c (acquire, release) and lock_make.c (made, found, shown, embedded) share, and nobody else includes. L3. */
#ifndef MPROC__SYNC_LOCK_INSIDE_H
#define MPROC__SYNC_LOCK_INSIDE_H

#include <linux/futex.h>
#include <sys/types.h>

#include "platform/platform.h"
#include "platform/robust.h"
#include "sync/lock.h"

enum { MPROC__LOCK_RECURSIVE = 1, MPROC__LOCK_POISON = 2 };

/* No field needs repair after a death: each is one word whose every value is right. */
typedef struct mproc__lock_shared {
    /* Made consistent in the call that learns of the death: ENOTRECOVERABLE would be final, which is why poison is a
     * word of ours. */
    mproc__robust_shared robust;
    /* Number of the present hold, written under the lock right after acquiring as the old one + 1. An owner that dies
     * before that store leaves its number to the next, which nobody has seen. */
    _Atomic uint64_t token;
    /* The owner, process id | thread id << 32: written after acquiring, zeroed before releasing, so a successor of the
     * dead never names the one before. 0 after a death: it died inside acquire or release. Read without the lock only
     * to describe. */
    _Atomic uint64_t owner;
    /* Acquires beyond the first. Only the owner writes it, and each hold begins by setting it to 0, so what a dead owner
     * leaves is never read. Shared and not the handle's, so that a thread with two handles on one lock counts right. */
    _Atomic uint32_t depth;
    /* Under the lock: 1 from the first acquire after a death until the repair; a recoverer that dies before the store
     * leaves the kernel's mark to the next one. */
    _Atomic uint32_t poisoned;
    _Atomic uint64_t dead; /* who did it, as in `owner`; written before `poisoned` */
    uint32_t options;      /* written by the creator before anyone else has the lock */
} mproc__lock_shared;

typedef struct mproc__local_lock {
    mproc_lock base;
    mproc__lock_shared *shared;
    /* The incarnation that may acquire and release without a further look: made or inherited by this process, in the
     * creator's namespaces. 0: none yet. Any thread sets it, to the same value. */
    _Atomic uint64_t checked_in;
    uint32_t options;
    mproc__segment *segment;
    bool embedded; /* in the segment of another object, which is what crosses */
} mproc__local_lock;

extern const mproc__lock_ops mproc__lock_host_ops, mproc__lock_thread_ops;

static inline mproc__local_lock *mproc__lock_local_of(const mproc_lock *base)
{
    return (mproc__local_lock *)(uintptr_t)base;
}

/* Who holds it. False: nobody, at this instant. The process is 0 if the owner is inside acquire or release. */
bool mproc__lock_holder(const mproc__lock_shared *shared, pid_t *ret_pid, pid_t *ret_tid);
/* Releases whatever the depth; the calling thread must hold it. */
void mproc__lock_release_whole(mproc__local_lock *lock);

/* ---- lock_make.c, for the operations tables ---- */
void mproc__lock_destroy(mproc__handle *handle);
int mproc__lock_describe(const mproc__handle *handle, char *buffer, size_t size_bytes);
int mproc__lock_pack(mproc__handle *handle, mproc__parcel *parcel);

#endif
