/* SPDX-License-Identifier: BSD-2-Clause */
/* The reader-writer lock's private side. L3. */
#ifndef MPROC__SYNC_RWLOCK_H
#define MPROC__SYNC_RWLOCK_H

#include <mproc/sync.h>
#include "shm/noun.h"

extern const mproc__noun mproc__rwlock_noun;

#endif
