/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory for a pool's futures: blocks of 2 MiB, which are given back when all of their futures are gone, but for a few. L6.
 *
 * A program that submits in bulk has hundreds of thousands of them for a moment, and from malloc each such moment takes the
 * memory from the kernel page by page, a fifth of the time of a small task. Blocks after the first ask for huge pages. Empty
 * ones are kept for the next burst as far as the futures of a full queue of the default length take: the kernel needs as
 * long to clear one as a thousand small tasks take. What a larger burst took goes back. */
#ifndef MPROC__POOL_FUTURE_STORE_H
#define MPROC__POOL_FUTURE_STORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum { MPROC__STORE_SPARE = 8 }; /* blocks that are kept though empty */

typedef struct mproc__store_block mproc__store_block;

typedef struct mproc__future_store {
    pthread_mutex_t lock;      /* taken last */
    mproc__store_block *roomy; /* those with room */
    size_t blocks, spare;      /* all; those that are empty */
    _Atomic size_t taken;      /* items; under the lock, but in a fork child */
    size_t item_bytes;
} mproc__future_store;

void mproc__future_store_init(mproc__future_store *store, size_t item_bytes);
/* Nothing is taken any more. */
void mproc__future_store_end(mproc__future_store *store);
/* Zeroed; NULL: no memory. *ret_first: no other is taken. */
void *mproc__future_store_take(mproc__future_store *store, bool *ret_first);
/* Keeps its first bytes, which say that it is closed, until it is taken again. True: it was the last. */
bool mproc__future_store_give(mproc__future_store *store, void *item);
/* A fork child's, where the lock may be held by nobody: one less is taken, its memory stays. */
bool mproc__future_store_forget(mproc__future_store *store);

#endif
