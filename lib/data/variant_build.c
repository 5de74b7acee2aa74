/* SPDX-License-Identifier: BSD-2-Clause */
/* Variants that own what they hold: growing, copying, clearing. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/handle.h"
#include "data/variant.h"

enum {
    ITEMS_FIRST = 8, /* variants in a list that begins by growing */
    DICT_LINEAR = 8  /* entries up to which a look at each is quicker than a table */
};

static int no_memory(void)
{
    return mproc__fail(-ENOMEM, "no memory for a value");
}

static mproc__items *items_of(const mproc_variant *variant)
{
    return variant->flags & MPROC__VARIANT_MADE ? MPROC__CONTAINER(variant->data, mproc__items, item) : NULL;
}

static size_t items_used(const mproc_variant *variant)
{
    return (size_t)variant->number * (variant->kind == MPROC_KIND_DICT ? 2 : 1);
}

/* Makes room for `capacity` variants; the variant is unchanged when that fails. */
static int items_reserve(mproc_variant *variant, size_t capacity)
{
    mproc__items *items = items_of(variant), *grown;

    if (items && items->capacity >= capacity)
        return 0;
    if (capacity > (SIZE_MAX - sizeof(*items)) / sizeof(mproc_variant))
        return no_memory();
    grown = realloc(items, sizeof(*items) + capacity * sizeof(mproc_variant));
    if (!grown)
        return no_memory();
    if (!items) {
        grown->slots = NULL;
        grown->slot_count = 0;
    }
    grown->capacity = capacity;
    variant->data = grown->item;
    variant->flags |= MPROC__VARIANT_MADE | MPROC__VARIANT_OWNED;
    return 0;
}

int mproc__variant_make(mproc_kind kind, size_t count, mproc_variant *ret_variant)
{
    mproc_variant made = {.kind = (uint32_t)kind};
    int code = -ENOMEM;

    if (count <= SIZE_MAX / 2)
        code = items_reserve(&made, kind == MPROC_KIND_DICT ? 2 * count : count);
    if (code == 0)
        *ret_variant = made;
    return code;
}

int mproc__variant_own_bytes(mproc_kind kind, const void *data, size_t size_bytes, mproc_variant *ret_variant)
{
    char *copy = size_bytes < SIZE_MAX ? malloc(size_bytes + 1) : NULL;

    if (!copy)
        return no_memory();
    if (size_bytes > 0)
        memcpy(copy, data, size_bytes);
    copy[size_bytes] = '\0';
    *ret_variant = (mproc_variant){
        .kind = (uint32_t)kind, .flags = MPROC__VARIANT_OWNED, .number = (int64_t)size_bytes, .data = copy};
    return 0;
}

/* ---- the hash table of a dict ---- */

/* Seeded by where the program was loaded, so that keys from outside cannot be chosen to collide. */
static uint64_t key_hash(const char *key, size_t size_bytes)
{
    uint64_t hash = (uint64_t)(uintptr_t)&key_hash ^ size_bytes;

    for (size_t at = 0; at < size_bytes; at += 8) {
        uint64_t word = 0;

        memcpy(&word, key + at, size_bytes - at < 8 ? size_bytes - at : 8);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return hash ^ hash >> 32;
}

static bool key_is(const mproc_variant *key, const char *text, size_t size_bytes)
{
    return (size_t)key->number == size_bytes && memcmp(key->data, text, size_bytes) == 0;
}

/* The slot where `key` is or would be. The table is never full, so the search ends. */
static uint32_t *slot_find(mproc__items *items, const char *key, size_t key_bytes)
{
    size_t at = key_hash(key, key_bytes) & (items->slot_count - 1);

    while (items->slots[at] && !key_is(&items->item[2 * (items->slots[at] - 1)], key, key_bytes))
        at = (at + 1) & (items->slot_count - 1);
    return &items->slots[at];
}

/* Builds a table at most half full for the present entries and as many again. */
static int slots_rebuild(mproc__items *items, size_t entry_count)
{
    size_t slot_count = 64;
    uint32_t *slots;

    while (slot_count < entry_count * 4)
        slot_count *= 2;
    slots = entry_count < UINT32_MAX ? calloc(slot_count, sizeof(*slots)) : NULL;
    if (!slots)
        return no_memory();
    free(items->slots);
    items->slots = slots;
    items->slot_count = slot_count;
    for (size_t i = 0; i < entry_count; i++)
        *slot_find(items, items->item[2 * i].data, (size_t)items->item[2 * i].number) = (uint32_t)i + 1;
    return 0;
}

int64_t mproc__variant_index(const mproc_variant *dict, const char *key, size_t key_bytes)
{
    const mproc_variant *pairs = dict->data;
    mproc__items *items;

    if (dict->kind != MPROC_KIND_DICT || dict->number == 0)
        return -1;
    items = items_of(dict);
    if (items && items->slots)
        return (int64_t)*slot_find(items, key, key_bytes) - 1;
    for (int64_t i = 0; i < dict->number; i++)
        if (key_is(&pairs[2 * i], key, key_bytes))
            return i;
    return -1;
}

/* ---- growing ---- */

/* Whether *variant can grow as a `kind`; a null becomes an empty one. */
static int container_check(mproc_variant *variant, mproc_kind kind)
{
    if (!variant)
        return mproc__fail(-EINVAL, "no variant");
    if (variant->kind == MPROC_KIND_NULL)
        return 0;
    if (variant->kind != (uint32_t)kind)
        return mproc__fail(MPROC_EARGUMENT, "a value is %s, %s was asked for",
                           mproc__kind_name(variant->kind), mproc__kind_name(kind));
    if (!(variant->flags & MPROC__VARIANT_OWNED))
        return mproc__fail(MPROC_EARGUMENT, "a borrowed %s does not grow (copy it first)",
                           mproc__kind_name(kind));
    return 0;
}

/* Room for `more` variants behind the present ones, at least doubling. */
static int container_grow(mproc_variant *variant, mproc_kind kind, size_t more)
{
    mproc_variant grown = *variant;
    mproc__items *items;
    size_t used, capacity;
    int code;

    if (grown.kind == MPROC_KIND_NULL)
        grown = (mproc_variant){.kind = (uint32_t)kind};
    items = items_of(&grown);
    used = items_used(&grown);
    if (items && items->capacity - used >= more)
        return 0;
    capacity = used < ITEMS_FIRST ? ITEMS_FIRST : 2 * used;
    code = items_reserve(&grown, capacity < used + more ? used + more : capacity);
    if (code == 0)
        *variant = grown;
    return code;
}

int mproc__variant_append_owned(mproc_variant *list, mproc_variant item)
{
    int code = container_check(list, MPROC_KIND_LIST);

    if (code == 0)
        code = container_grow(list, MPROC_KIND_LIST, 1);
    if (code == 0)
        items_of(list)->item[list->number++] = item;
    return code;
}

static int dict_add(mproc_variant *dict, const char *key, size_t key_bytes, mproc_variant item)
{
    mproc_variant name;
    mproc__items *items;
    size_t entry;
    int code = container_grow(dict, MPROC_KIND_DICT, 2);

    if (code < 0)
        return code;
    items = items_of(dict);
    entry = (size_t)dict->number;
    if (entry >= DICT_LINEAR && items->slot_count < 2 * (entry + 1))
        code = slots_rebuild(items, entry);
    if (code == 0)
        code = mproc__variant_own_bytes(MPROC_KIND_TEXT, key, key_bytes, &name);
    if (code < 0)
        return code;
    items->item[2 * entry] = name;
    items->item[2 * entry + 1] = item;
    if (items->slots)
        *slot_find(items, key, key_bytes) = (uint32_t)entry + 1;
    dict->number++;
    return 0;
}

int mproc__variant_set_owned(mproc_variant *dict, const char *key, size_t key_bytes, mproc_variant item,
                             bool fresh)
{
    int code = container_check(dict, MPROC_KIND_DICT);
    int64_t index;
    mproc_variant *value;

    if (code == 0 && !mproc__utf8_valid(key, key_bytes))
        code = mproc__fail(MPROC_EARGUMENT, "a key is not UTF-8");
    if (code < 0)
        return code;
    index = mproc__variant_index(dict, key, key_bytes);
    if (index < 0)
        return dict_add(dict, key, key_bytes, item);
    if (fresh)
        return mproc__fail(-EEXIST, "a dict has the same key twice");
    value = &items_of(dict)->item[2 * index + 1];
    mproc_variant_clear(value);
    *value = item;
    return 0;
}

/* ---- copying ---- */

static int variant_copy_at(mproc_variant source, unsigned depth, mproc_variant *ret_copy);

static int items_copy(mproc_variant source, unsigned depth, mproc_variant *ret_copy)
{
    const mproc_variant *from = source.data;
    mproc_variant made, item;
    int code;

    if (depth >= MPROC__VARIANT_DEPTH)
        return mproc__fail(MPROC_EARGUMENT, "a value is deeper than %d levels", MPROC__VARIANT_DEPTH);
    code = mproc__variant_make((mproc_kind)source.kind, (size_t)source.number, &made);
    if (code < 0)
        return code;
    for (int64_t i = 0; i < source.number && code == 0; i++) {
        bool dict = source.kind == MPROC_KIND_DICT;

        code = variant_copy_at(from[dict ? 2 * i + 1 : i], depth + 1, &item);
        if (code < 0)
            break;
        code = dict
                   ? mproc__variant_set_owned(&made, from[2 * i].data, (size_t)from[2 * i].number, item, true)
                   : mproc__variant_append_owned(&made, item);
        if (code < 0)
            mproc_variant_clear(&item);
    }
    if (code < 0)
        mproc_variant_clear(&made);
    else
        *ret_copy = made;
    return code;
}

static int fd_copy(mproc_variant source, mproc_variant *ret_copy)
{
    int fd = fcntl((int)source.number, F_DUPFD_CLOEXEC, 0);

    if (fd < 0)
        return mproc__fail(-errno, "descriptor %d: %s", (int)source.number, mproc_strerror(-errno));
    *ret_copy = mproc_fd(fd);
    ret_copy->flags = MPROC__VARIANT_OWNED;
    return 0;
}

static int variant_copy_at(mproc_variant source, unsigned depth, mproc_variant *ret_copy)
{
    switch (source.kind) {
    case MPROC_KIND_TEXT:
    case MPROC_KIND_BYTES:
        return mproc__variant_own_bytes((mproc_kind)source.kind, source.data, (size_t)source.number,
                                        ret_copy);
    case MPROC_KIND_LIST:
    case MPROC_KIND_DICT:
        return items_copy(source, depth, ret_copy);
    case MPROC_KIND_HANDLE:
        mproc__handle_keep((mproc__handle *)source.data);
        *ret_copy = source;
        ret_copy->flags = MPROC__VARIANT_OWNED;
        return 0;
    case MPROC_KIND_FD:
        return fd_copy(source, ret_copy);
    case MPROC_KIND_INVALID:
        return mproc__fail(MPROC_EARGUMENT, "%s",
                           source.data ? (const char *)source.data : "an invalid value");
    default:
        *ret_copy = source;
        ret_copy->flags = 0;
        return 0;
    }
}

int mproc_variant_copy(mproc_variant source, mproc_variant *ret_copy)
{
    if (!ret_copy)
        return mproc__fail(-EINVAL, "nowhere to put the copy");
    return variant_copy_at(source, 0, ret_copy);
}

/* One level less than a copy by itself: the list or dict it goes into is the first. */
static int variant_copy_into(mproc_variant source, mproc_variant *ret_copy)
{
    return variant_copy_at(source, 1, ret_copy);
}

int mproc_variant_append(mproc_variant *list, mproc_variant item)
{
    mproc_variant copy;
    int code = container_check(list, MPROC_KIND_LIST);

    if (code == 0)
        code = variant_copy_into(item, &copy);
    if (code < 0)
        return code;
    code = mproc__variant_append_owned(list, copy);
    if (code < 0)
        mproc_variant_clear(&copy);
    return code;
}

int mproc_variant_set(mproc_variant *dict, const char *key, mproc_variant item)
{
    mproc_variant copy;
    int code = container_check(dict, MPROC_KIND_DICT);

    if (code == 0 && !key)
        code = mproc__fail(-EINVAL, "no key");
    if (code == 0)
        code = variant_copy_into(item, &copy);
    if (code < 0)
        return code;
    code = mproc__variant_set_owned(dict, key, strlen(key), copy, false);
    if (code < 0)
        mproc_variant_clear(&copy);
    return code;
}

/* ---- clearing ---- */

static void items_clear(mproc_variant *variant)
{
    mproc__items *items = items_of(variant);

    for (size_t i = 0; i < items_used(variant); i++)
        mproc_variant_clear(&items->item[i]);
    free(items->slots);
    free(items);
}

MPROC__FORK_TEXT void mproc_variant_clear(mproc_variant *variant)
{
    if (!variant)
        return;
    if (variant->flags & MPROC__VARIANT_OWNED) {
        if (variant->kind == MPROC_KIND_LIST || variant->kind == MPROC_KIND_DICT)
            items_clear(variant);
        else if (variant->kind == MPROC_KIND_HANDLE)
            mproc__handle_release((mproc__handle *)variant->data);
        else if (variant->kind == MPROC_KIND_FD)
            close((int)variant->number);
        else
            free((void *)variant->data);
    }
    *variant = mproc_null();
}
