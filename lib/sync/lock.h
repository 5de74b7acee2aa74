/* SPDX-License-Identifier: BSD-2-Clause */
/* The lock's private side. L3. */
#ifndef MPROC__SYNC_LOCK_H
#define MPROC__SYNC_LOCK_H

#include <pthread.h>

#include <mproc/sync.h>
#include "data/handle.h"
#include "shm/segment.h"

/* Operations of a lock, one table a home; a server place brings its own. */
typedef struct mproc__lock_ops {
    mproc__handle_ops handle;
    int (*acquire)(mproc_lock *lock, mproc_deadline deadline);
    int (*release)(mproc_lock *lock);
    bool (*is_held)(const mproc_lock *lock);
    int (*repair)(mproc_lock *lock);
    int (*token)(mproc_lock *lock, uint64_t *ret_token);
} mproc__lock_ops;

#endif
