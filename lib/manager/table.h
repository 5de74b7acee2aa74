/* SPDX-License-Identifier: BSD-2-Clause */
/* A hash table from variants to variants that remembers the order of insertion. L7. */
#ifndef MPROC__MANAGER_TABLE_H
#define MPROC__MANAGER_TABLE_H

#include <mproc/variant.h>
#include "platform/base.h"

typedef struct mproc__table_entry {
    uint64_t hash;
    mproc_variant key; /* INVALID: removed */
    mproc_variant item;
} mproc__table_entry;

typedef struct mproc__table {
    mproc__table_entry *entries; /* in order of insertion, removed ones among them */
    size_t used, count, capacity;
    uint32_t *slots;   /* open addressing; entry index + 1, 0: never used */
    size_t slot_count; /* a power of two, 0 before the first put */
    uint64_t seed;
} mproc__table;

void mproc__table_init(mproc__table *table);
void mproc__table_fini(mproc__table *table); /* clears keys and items */

/* Bool, int, double (no NaN), text and bytes can be keys; 1, 1.0, true and "1" are four different ones. */
int mproc__table_key_check(mproc_variant key); /* 0 or MPROC_EARGUMENT */
mproc__table_entry *mproc__table_find(const mproc__table *table, mproc_variant key); /* NULL: none */
/* Room for `more` entries, so that as many puts of new keys cannot fail. -ENOMEM, MPROC_ELIMIT (2^31
 * entries). */
int mproc__table_reserve(mproc__table *table, size_t more);
/* Adds an entry for a key that is not there, at the end; takes key and item. Call reserve first. */
mproc__table_entry *mproc__table_put(mproc__table *table, mproc_variant key, mproc_variant item);
/* Removes an entry; clears the key, and the item unless it is taken. */
void mproc__table_remove(mproc__table *table, mproc__table_entry *entry, mproc_variant *ret_item);
/* The entries from the oldest on: start with *position 0; NULL: no more. */
mproc__table_entry *mproc__table_next(const mproc__table *table, size_t *position);

#endif
