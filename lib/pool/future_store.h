/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory for a pool's futures: blocks of 2 MiB, each given back when all of its futures are gone. L6.
 *
 * A program that submits in bulk has hundreds of thousands of them for a moment, and from malloc each such moment takes the
 * memory from the kernel page by page, a fifth of the time of a small task. Blocks after the first ask for huge pages. Not
 * kept for later: what a pool once needed is nobody's for as long as it lives. */
#ifndef MPROC__POOL_FUTURE_STORE_H
#define MPROC__POOL_FUTURE_STORE_H

#include <pthread.h>
#include <stddef.h>

typedef struct mproc__store_block mproc__store_block;

typedef struct mproc__future_store {
    pthread_mutex_t lock;      /* taken last */
    mproc__store_block *roomy; /* those with room; one of them may be empty */
    size_t blocks;             /* all */
    size_t item_bytes;
} mproc__future_store;

void mproc__future_store_init(mproc__future_store *store, size_t item_bytes);
/* Nothing is taken any more. */
void mproc__future_store_end(mproc__future_store *store);
/* Zeroed; NULL: no memory. */
void *mproc__future_store_take(mproc__future_store *store);
/* Keeps its first bytes, which say that it is closed, until it is taken again. */
void mproc__future_store_give(mproc__future_store *store, void *item);

#endif
