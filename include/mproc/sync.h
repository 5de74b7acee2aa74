/* SPDX-License-Identifier: BSD-2-Clause */
/* Lock: the same calls for threads, processes and machines. */
#ifndef MPROC_SYNC_H
#define MPROC_SYNC_H

#include <mproc/place.h>

MPROC_BEGIN

typedef struct mproc_lock_options {
    MPROC_OBJECT_OPTIONS;
    bool recursive;
    bool poison;        /* after its owner died: MPROC_EPOISONED for all until mproc_lock_repair, instead of MPROC_RECOVERED once */
} mproc_lock_options;
MPROC_API MPROC_CHECK int mproc_lock_create(mproc_place *place, const mproc_lock_options *options, mproc_lock **ret_lock);
MPROC_API MPROC_CHECK int mproc_lock_open(mproc_place *place, const char *name, mproc_lock **ret_lock);
MPROC_API void mproc_lock_close(mproc_lock **lock);
MPROC_API MPROC_CHECK int mproc_lock_acquire(mproc_lock *lock, mproc_deadline deadline);   /* 0, MPROC_RECOVERED: held; < 0: not */
MPROC_API int  mproc_lock_release(mproc_lock *lock);         /* -EPERM when not the owner */
MPROC_API bool mproc_lock_is_held(const mproc_lock *lock);   /* by anybody */
MPROC_API int  mproc_lock_repair(mproc_lock *lock);
MPROC_API int  mproc_lock_token(mproc_lock *lock, uint64_t *ret_token);       /* of my present hold; grows for ever */
/* Scope: MPROC_WITH_LOCK(lock, MPROC_FOREVER) { ... } runs the body held, also when RECOVERED; not at all when not got. */
MPROC_API mproc_lock *mproc__lock_enter(mproc_lock *lock, mproc_deadline deadline);
MPROC_API void mproc__lock_leave(mproc_lock **lock);
#define MPROC_WITH_LOCK(lock, deadline) for (mproc_lock *mproc__held __attribute__((cleanup(mproc__lock_leave))) = \
    mproc__lock_enter(lock, deadline), *mproc__once = mproc__held; mproc__once; mproc__once = NULL)

MPROC_END_DECLS

#endif
