/* SPDX-License-Identifier: BSD-2-Clause */
/* How variants own what they point to: between the variant files, and for layers that build large ones. L1. */
#ifndef MPROC__DATA_VARIANT_H
#define MPROC__DATA_VARIANT_H

#include "platform/base.h"

#include <mproc/variant.h>

enum {
    MPROC__VARIANT_DEPTH = 32, /* levels of lists and dicts, so that recursion on foreign bytes has a bound */
    /* flags */
    MPROC__VARIANT_OWNED = 1, /* data (or the descriptor) is this variant's, and goes with it */
    MPROC__VARIANT_MADE = 2   /* a list or dict of ours: an mproc__items begins before its data */
};

/* A list or dict that the library made. Dicts hold pairs: item 2i is the key, a text; item 2i + 1 the value. */
typedef struct mproc__items {
    size_t capacity;   /* variants that fit */
    uint32_t *slots;   /* dicts of more than a few entries: hash table of entry number + 1; 0 is empty */
    size_t slot_count; /* a power of two; 0 without table */
    mproc_variant item[];
} mproc__items;

/* As append and set, but take over `item` instead of copying it; on failure it stays the caller's.
 * With `fresh`, an existing key is -EEXIST instead of being replaced. */
int mproc__variant_append_owned(mproc_variant *list, mproc_variant item);
int mproc__variant_set_owned(mproc_variant *dict, const char *key, size_t key_bytes, mproc_variant item,
                             bool fresh);
/* An empty owned list or dict with room for `count` items or entries. */
int mproc__variant_make(mproc_kind kind, size_t count, mproc_variant *ret_variant);
/* An owned text or bytes: a copy with a NUL behind it. */
int mproc__variant_own_bytes(mproc_kind kind, const void *data, size_t size_bytes,
                             mproc_variant *ret_variant);

/* The place of `key` in a dict (entry number), or -1. */
int64_t mproc__variant_index(const mproc_variant *dict, const char *key, size_t key_bytes);
const char *mproc__kind_name(uint32_t kind);
/* Whether these bytes are UTF-8 without NUL, overlong forms and surrogates. */
bool mproc__utf8_valid(const char *text, size_t size_bytes);

#endif
