/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pool/future_store.h"

/* The address sanitizer knows what malloc gave, and sees who uses it after its end. */
#if defined(__SANITIZE_ADDRESS__)
#define STORE_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STORE_WATCHED 1
#endif
#endif
#ifndef STORE_WATCHED
#define STORE_WATCHED 0
#endif

enum { BLOCK_BYTES = 2 << 20 }; /* a huge page, so that an item's address tells its block */

typedef struct free_item free_item;

/* Lies at the block's beginning. */
struct mproc__store_block {
    mproc__store_block *next, *before; /* of those with room */
    free_item *free;
    size_t given; /* bytes from the beginning that were taken since it was empty */
    size_t used;  /* the same, ever: beyond, it is as the kernel gave it */
    size_t taken; /* items */
};

/* The link of an item that is free is at its end, out of the way of the mark of a closed handle. */
struct free_item {
    free_item *next;
};

static free_item *link_of(const mproc__future_store *store, void *item)
{
    return (free_item *)((char *)item + store->item_bytes - sizeof(free_item));
}

/* ---- blocks ---- */

static void block_link(mproc__future_store *store, mproc__store_block *block)
{
    block->before = NULL;
    block->next = store->roomy;
    if (block->next)
        block->next->before = block;
    store->roomy = block;
}

static void block_unlink(mproc__future_store *store, mproc__store_block *block)
{
    if (block->next)
        block->next->before = block->before;
    if (block->before)
        block->before->next = block->next;
    else
        store->roomy = block->next;
}

/* Of twice the size, for a part that begins where it must; the rest goes back. */
static void *aligned_map(void)
{
    char *all = mmap(NULL, 2 * BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    size_t before = (BLOCK_BYTES - (uintptr_t)all % BLOCK_BYTES) % BLOCK_BYTES;
    if (before)
        (void)munmap(all, before);
    (void)munmap(all + before + BLOCK_BYTES, BLOCK_BYTES - before);
    return all + before;
}

/* Nothing of it is taken: given from the beginning again, as memory is best met. */
static void block_rewind(mproc__store_block *block)
{
    block->free = NULL;
    block->given = mproc__round_up(sizeof *block, MPROC__LINE);
}

static mproc__store_block *block_new(mproc__future_store *store)
{
    mproc__store_block *block = aligned_map();
    if (!block)
        return NULL;
    if (store->blocks++ > 0)
        (void)madvise(block, BLOCK_BYTES, MADV_HUGEPAGE);
    block_rewind(block);
    store->spare++;
    block_link(store, block);
    return block;
}

static void block_free(mproc__future_store *store, mproc__store_block *block)
{
    block_unlink(store, block);
    store->blocks--;
    (void)munmap(block, BLOCK_BYTES);
}

static bool block_full(const mproc__future_store *store, const mproc__store_block *block)
{
    return !block->free && block->given + store->item_bytes > BLOCK_BYTES;
}

/* ---- items ---- */

void mproc__future_store_init(mproc__future_store *store, size_t item_bytes)
{
    pthread_mutex_init(&store->lock, NULL);
    store->roomy = NULL;
    store->blocks = store->spare = 0;
    atomic_init(&store->taken, 0);
    store->item_bytes = mproc__round_up(item_bytes, sizeof(max_align_t));
}

void mproc__future_store_end(mproc__future_store *store)
{
    while (store->roomy)
        block_free(store, store->roomy);
    pthread_mutex_destroy(&store->lock);
}

static void *item_take(mproc__future_store *store, bool *ret_used)
{
    mproc__store_block *block = store->roomy ? store->roomy : block_new(store);
    if (!block)
        return NULL;
    void *item = (char *)block + block->given;
    *ret_used = block->free || block->given < block->used;
    if (block->free) {
        item = (char *)block->free + sizeof(free_item) - store->item_bytes;
        block->free = block->free->next;
    } else {
        block->given += store->item_bytes;
        if (block->used < block->given)
            block->used = block->given;
    }
    store->spare -= block->taken == 0;
    block->taken++;
    if (block_full(store, block))
        block_unlink(store, block);
    return item;
}

/* Lock held: no need for a locked addition. */
static size_t taken_add(mproc__future_store *store, int more)
{
    size_t taken = atomic_load_explicit(&store->taken, memory_order_relaxed) + (size_t)more;
    atomic_store_explicit(&store->taken, taken, memory_order_relaxed);
    return taken;
}

void *mproc__future_store_take(mproc__future_store *store, bool *ret_first)
{
    bool used = false;
    pthread_mutex_lock(&store->lock);
    void *item = STORE_WATCHED ? calloc(1, store->item_bytes) : item_take(store, &used);
    *ret_first = item && taken_add(store, 1) == 1;
    pthread_mutex_unlock(&store->lock);
    if (used) /* else the kernel has cleared it */
        memset(item, 0, store->item_bytes);
    return item;
}

static void item_give(mproc__future_store *store, void *item)
{
    mproc__store_block *block = (void *)((uintptr_t)item / BLOCK_BYTES * BLOCK_BYTES);
    free_item *link = link_of(store, item);
    if (block_full(store, block))
        block_link(store, block);
    link->next = block->free;
    block->free = link;
    if (--block->taken > 0)
        return;
    if (store->spare == MPROC__STORE_SPARE) {
        block_free(store, block);
    } else {
        block_rewind(block);
        store->spare++;
    }
}

bool mproc__future_store_give(mproc__future_store *store, void *item)
{
    pthread_mutex_lock(&store->lock);
    if (STORE_WATCHED)
        free(item);
    else
        item_give(store, item);
    bool last = taken_add(store, -1) == 0;
    pthread_mutex_unlock(&store->lock);
    return last;
}

bool mproc__future_store_forget(mproc__future_store *store)
{
    return atomic_fetch_sub(&store->taken, 1) == 1;
}
