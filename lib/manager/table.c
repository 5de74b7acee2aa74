/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries in an array in order of insertion, and beside it an index of 32-bit entry numbers: copies come out
 * oldest first without sorting, and the index, where probing jumps about, stays small. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "manager/table.h"
#include "platform/platform.h"
#include "platform/story.h"

enum { ENTRIES_LEAST = 8 };

void mproc__table_init(mproc__table *table)
{
    *table = (mproc__table){0};
    /* Without randomness the order of probing is guessable, nothing more: those who may ask have proved the
     * key. */
    if (mproc__random(&table->seed, sizeof table->seed) < 0)
        table->seed = (uintptr_t)table;
}

void mproc__table_fini(mproc__table *table)
{
    for (size_t i = 0; i < table->used; i++) {
        mproc_variant_clear(&table->entries[i].key);
        mproc_variant_clear(&table->entries[i].item);
    }
    free(table->entries);
    free(table->slots);
    *table = (mproc__table){0};
}

/* ---- keys ---- */

int mproc__table_key_check(mproc_variant key)
{
    switch (key.kind) {
    case MPROC_KIND_BOOL:
    case MPROC_KIND_INT:
    case MPROC_KIND_TEXT:
    case MPROC_KIND_BYTES:
        return 0;
    case MPROC_KIND_DOUBLE:
        if (key.real == key.real)
            return 0;
        return mproc__fail(MPROC_EARGUMENT, "not-a-number cannot be a key: it equals nothing");
    default:
        return mproc__fail(MPROC_EARGUMENT, "a key must be a bool, an int, a double, a text or bytes");
    }
}

static uint64_t mix(uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio, odd: spreads neighbouring numbers over all bits */
    return hash ^ (hash >> 29);
}

static uint64_t hash_bytes(uint64_t hash, const uint8_t *bytes, size_t size)
{
    uint64_t word;
    for (; size >= sizeof word; bytes += sizeof word, size -= sizeof word) {
        memcpy(&word, bytes, sizeof word);
        hash = mix(hash ^ word);
    }
    word = 0;
    if (size > 0)
        memcpy(&word, bytes, size);
    return mix(hash ^ word);
}

static uint64_t hash_key(const mproc__table *table, mproc_variant key)
{
    uint64_t hash = mix(table->seed ^ key.kind), bits = (uint64_t)key.number;
    if (key.kind == MPROC_KIND_TEXT || key.kind == MPROC_KIND_BYTES)
        return hash_bytes(mix(hash ^ bits), key.data, (size_t)key.number);
    if (key.kind == MPROC_KIND_DOUBLE) {
        double real = key.real == 0.0 ? 0.0 : key.real; /* -0.0 is the same key as 0.0 */
        memcpy(&bits, &real, sizeof bits);
    }
    return mix(mix(hash ^ bits));
}

static bool key_equal(mproc_variant a, mproc_variant b)
{
    if (a.kind != b.kind)
        return false;
    if (a.kind == MPROC_KIND_DOUBLE)
        return a.real == b.real;
    if (a.number != b.number)
        return false;
    bool sized = a.kind == MPROC_KIND_TEXT || a.kind == MPROC_KIND_BYTES;
    return !sized || a.number == 0 || memcmp(a.data, b.data, (size_t)a.number) == 0;
}

/* ---- finding ---- */

mproc__table_entry *mproc__table_find(const mproc__table *table, mproc_variant key)
{
    if (table->count == 0 || key.kind == MPROC_KIND_INVALID)
        return NULL;
    uint64_t hash = hash_key(table, key);
    size_t mask = table->slot_count - 1;
    for (size_t at = hash & mask; table->slots[at] != 0; at = (at + 1) & mask) {
        mproc__table_entry *entry = &table->entries[table->slots[at] - 1];
        if (entry->hash == hash && key_equal(entry->key, key))
            return entry;
    }
    return NULL;
}

mproc__table_entry *mproc__table_next(const mproc__table *table, size_t *position)
{
    while (*position < table->used) {
        mproc__table_entry *entry = &table->entries[(*position)++];
        if (entry->key.kind != MPROC_KIND_INVALID)
            return entry;
    }
    return NULL;
}

/* ---- changing ---- */

static void slot_fill(mproc__table *table, size_t index)
{
    size_t mask = table->slot_count - 1, at = table->entries[index].hash & mask;
    while (table->slots[at] != 0)
        at = (at + 1) & mask;
    table->slots[at] = (uint32_t)index + 1;
}

/* Squeezes the removed entries out and builds the index anew. */
static void table_compact(mproc__table *table)
{
    size_t to = 0;
    for (size_t from = 0; from < table->used; from++)
        if (table->entries[from].key.kind != MPROC_KIND_INVALID)
            table->entries[to++] = table->entries[from];
    table->used = to;
    memset(table->slots, 0, table->slot_count * sizeof *table->slots);
    for (size_t i = 0; i < table->used; i++)
        slot_fill(table, i);
}

/* The index has at least two slots for each entry, removed ones included: probes stay short. */
static int table_grow(mproc__table *table, size_t capacity)
{
    size_t slot_count = 2 * ENTRIES_LEAST;
    while (slot_count < 2 * capacity)
        slot_count *= 2;
    uint32_t *slots = calloc(slot_count, sizeof *slots);
    if (!slots)
        return mproc__fail(-ENOMEM, "no memory for %zu entries", capacity);
    mproc__table_entry *entries = realloc(table->entries, capacity * sizeof *entries);
    if (!entries) {
        free(slots);
        return mproc__fail(-ENOMEM, "no memory for %zu entries", capacity);
    }
    free(table->slots);
    table->slots = slots;
    table->slot_count = slot_count;
    table->entries = entries;
    table->capacity = capacity;
    table_compact(table);
    return 0;
}

int mproc__table_reserve(mproc__table *table, size_t more)
{
    if (table->capacity - table->used >= more)
        return 0;
    if (more > INT32_MAX - table->count)
        return mproc__fail(MPROC_ELIMIT, "a container holds at most %d entries", INT32_MAX);
    size_t needed = table->count + more, capacity = ENTRIES_LEAST;
    /* A quarter more than needed, so that a table full of removed entries is not compacted at every put. */
    while (capacity < needed + needed / 4)
        capacity *= 2;
    if (capacity <= table->capacity) {
        table_compact(table);
        return 0;
    }
    return table_grow(table, capacity);
}

mproc__table_entry *mproc__table_put(mproc__table *table, mproc_variant key, mproc_variant item)
{
    mproc__table_entry *entry = &table->entries[table->used];
    *entry = (mproc__table_entry){.hash = hash_key(table, key), .key = key, .item = item};
    slot_fill(table, table->used);
    table->used++;
    table->count++;
    return entry;
}

void mproc__table_remove(mproc__table *table, mproc__table_entry *entry, mproc_variant *ret_item)
{
    mproc_variant_clear(&entry->key);
    entry->key.kind = MPROC_KIND_INVALID;
    if (ret_item)
        *ret_item = entry->item;
    else
        mproc_variant_clear(&entry->item);
    entry->item = mproc_null();
    table->count--;
}
