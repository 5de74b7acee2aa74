/* SPDX-License-Identifier: BSD-2-Clause */
/* The lock's private side. L3. */
#ifndef MPROC__SYNC_LOCK_H
#define MPROC__SYNC_LOCK_H

#include <mproc/sync.h>
#include "data/handle.h"
#include "data/parcel.h"
#include "shm/segment.h"

/* Operations of a lock, one table a home; a server place brings its own. A lock's handle.ops points to the first member
 * of such a table. */
typedef struct mproc__lock_ops {
    mproc__handle_ops handle;
    int (*acquire)(mproc_lock *lock, mproc_deadline deadline);
    int (*release)(mproc_lock *lock);
    bool (*is_held)(const mproc_lock *lock);
    int (*repair)(mproc_lock *lock);
    int (*token)(mproc_lock *lock, uint64_t *ret_token);
} mproc__lock_ops;

/* What the lock of every home begins with. */
struct mproc_lock {
    mproc__handle handle;
};

/* lock_local.c: a lock of home thread or host, unnamed. -ENOMEM, -ENOSPC, -EMFILE. */
int mproc__lock_local_create(mproc__home home, const mproc_lock_options *options, mproc_lock **ret_lock);
/* Lets parcels bring host locks; at start-up, and again wherever it is not sure whether that was. */
void mproc__lock_register(void);

#endif
