/* SPDX-License-Identifier: BSD-2-Clause */
/* Variants: making them of plain values, and reading them. */
#include "platform/base.h"

#include <string.h>

#include "data/handle.h"
#include "data/variant.h"

_Static_assert(sizeof(mproc_variant) == 32 || sizeof(void *) != 8, "the layout is frozen");

/* The reason travels in `data`, for the story of the call that refuses it. */
static mproc_variant variant_invalid(const char *reason)
{
    return (mproc_variant){.kind = MPROC_KIND_INVALID, .data = reason};
}

MPROC__FORK_TEXT mproc_variant mproc_null(void)
{
    return (mproc_variant){.kind = MPROC_KIND_NULL};
}

mproc_variant mproc_bool(bool value)
{
    return (mproc_variant){.kind = MPROC_KIND_BOOL, .number = value};
}

mproc_variant mproc_int(int64_t value)
{
    return (mproc_variant){.kind = MPROC_KIND_INT, .number = value};
}

mproc_variant mproc_uint(uint64_t value)
{
    return value > INT64_MAX ? variant_invalid("an unsigned number above 2^63 - 1")
                             : mproc_int((int64_t)value);
}

mproc_variant mproc_double(double value)
{
    return (mproc_variant){.kind = MPROC_KIND_DOUBLE, .real = value};
}

mproc_variant mproc_text(const char *text)
{
    size_t size_bytes = text ? strlen(text) : 0;

    if (!text)
        return mproc_null();
    if (!mproc__utf8_valid(text, size_bytes))
        return variant_invalid("a text that is not UTF-8 (send it as bytes)");
    return (mproc_variant){.kind = MPROC_KIND_TEXT, .number = (int64_t)size_bytes, .data = text};
}

mproc_variant mproc_bytes(const void *data, size_t size_bytes)
{
    if ((!data && size_bytes > 0) || size_bytes > INT64_MAX)
        return variant_invalid("bytes at NULL or of an impossible size");
    return (mproc_variant){.kind = MPROC_KIND_BYTES, .number = (int64_t)size_bytes, .data = data ? data : ""};
}

mproc_variant mproc_items(const mproc_variant *items, size_t count)
{
    if ((!items && count > 0) || count > INT64_MAX / sizeof(*items))
        return variant_invalid("a list at NULL or of an impossible size");
    return (mproc_variant){.kind = MPROC_KIND_LIST, .number = (int64_t)count, .data = items};
}

mproc_variant mproc_handle(const void *handle)
{
    if (!handle)
        return mproc_null();
    if (mproc_type_of(handle) == MPROC_TYPE_NONE)
        return variant_invalid("a handle that is closed or none");
    return (mproc_variant){.kind = MPROC_KIND_HANDLE, .data = handle};
}

mproc_variant mproc_fd(int fd)
{
    return fd < 0 ? variant_invalid("a negative descriptor")
                  : (mproc_variant){.kind = MPROC_KIND_FD, .number = fd};
}

mproc_variant mproc_pointer(const void *pointer)
{
    return pointer ? (mproc_variant){.kind = MPROC_KIND_POINTER, .data = pointer} : mproc_null();
}

mproc_variant mproc__same(mproc_variant variant)
{
    return variant;
}

const char *mproc__kind_name(uint32_t kind)
{
    static const char *const names[] = {"null", "bool", "int",    "double", "text",    "bytes",
                                        "list", "dict", "handle", "fd",     "pointer", "invalid"};

    return kind < MPROC__COUNT(names) ? names[kind] : "unknown kind";
}

static int kind_mismatch(mproc_variant variant, const char *wanted)
{
    return mproc__fail(MPROC_EARGUMENT, "a value is %s, %s was asked for", mproc__kind_name(variant.kind),
                       wanted);
}

static int nowhere(void)
{
    return mproc__fail(-EINVAL, "nowhere to put the value");
}

int mproc_variant_get_int(mproc_variant variant, int64_t *ret_value)
{
    if (!ret_value)
        return nowhere();
    if (variant.kind != MPROC_KIND_INT)
        return kind_mismatch(variant, "int");
    *ret_value = variant.number;
    return 0;
}

int mproc_variant_get_double(mproc_variant variant, double *ret_value)
{
    if (!ret_value)
        return nowhere();
    if (variant.kind != MPROC_KIND_DOUBLE && variant.kind != MPROC_KIND_INT)
        return kind_mismatch(variant, "double");
    *ret_value = variant.kind == MPROC_KIND_INT ? (double)variant.number : variant.real;
    return 0;
}

int mproc_variant_get_bool(mproc_variant variant, bool *ret_value)
{
    bool is_bit = variant.kind == MPROC_KIND_INT && (variant.number == 0 || variant.number == 1);

    if (!ret_value)
        return nowhere();
    if (variant.kind != MPROC_KIND_BOOL && !is_bit)
        return kind_mismatch(variant, "bool");
    *ret_value = variant.number != 0;
    return 0;
}

const char *mproc_variant_get_text(mproc_variant variant)
{
    return variant.kind == MPROC_KIND_TEXT ? variant.data : NULL;
}

const void *mproc_variant_get_bytes(mproc_variant variant, size_t *ret_size_bytes)
{
    bool is_bytes = variant.kind == MPROC_KIND_BYTES;

    if (ret_size_bytes)
        *ret_size_bytes = is_bytes ? (size_t)variant.number : 0;
    return is_bytes ? variant.data : NULL;
}

void *mproc_variant_get_handle(mproc_variant variant, mproc_type_id type)
{
    if (variant.kind != MPROC_KIND_HANDLE || mproc_type_of(variant.data) != type)
        return NULL;
    return (void *)variant.data;
}

size_t mproc_variant_count(mproc_variant variant)
{
    return variant.kind == MPROC_KIND_LIST || variant.kind == MPROC_KIND_DICT ? (size_t)variant.number : 0;
}

/* What callers get to see of an item: the same value, owning nothing. */
static mproc_variant variant_borrow(mproc_variant variant)
{
    variant.flags &= ~(uint32_t)MPROC__VARIANT_OWNED;
    return variant;
}

mproc_variant mproc_variant_at(mproc_variant list, size_t index)
{
    const mproc_variant *items = list.data;

    if (list.kind != MPROC_KIND_LIST || index >= (size_t)list.number)
        return variant_invalid("no such item");
    return variant_borrow(items[index]);
}

mproc_variant mproc_variant_find(mproc_variant dict, const char *key)
{
    const mproc_variant *pairs = dict.data;
    int64_t index = key ? mproc__variant_index(&dict, key, strlen(key)) : -1;

    return index < 0 ? variant_invalid("no such key") : variant_borrow(pairs[2 * index + 1]);
}

int mproc_variant_entry(mproc_variant dict, size_t index, const char **ret_key, mproc_variant *ret_item)
{
    const mproc_variant *pairs = dict.data;

    if (!ret_key || !ret_item)
        return nowhere();
    if (dict.kind != MPROC_KIND_DICT)
        return kind_mismatch(dict, "dict");
    if (index >= (size_t)dict.number)
        return mproc__fail(MPROC_EARGUMENT, "entry %zu of a dict of %zu", index, (size_t)dict.number);
    *ret_key = pairs[2 * index].data;
    *ret_item = variant_borrow(pairs[2 * index + 1]);
    return 0;
}

static bool dict_equal(mproc_variant a, mproc_variant b)
{
    const mproc_variant *pairs = a.data, *others = b.data;

    for (int64_t i = 0; i < a.number; i++) {
        int64_t at = mproc__variant_index(&b, pairs[2 * i].data, (size_t)pairs[2 * i].number);

        if (at < 0 || !mproc_variant_equal(pairs[2 * i + 1], others[2 * at + 1]))
            return false;
    }
    return true;
}

static bool list_equal(mproc_variant a, mproc_variant b)
{
    const mproc_variant *items = a.data, *others = b.data;

    for (int64_t i = 0; i < a.number; i++)
        if (!mproc_variant_equal(items[i], others[i]))
            return false;
    return true;
}

bool mproc_variant_equal(mproc_variant a, mproc_variant b)
{
    if (a.kind != b.kind || a.number != b.number)
        return false;
    switch (a.kind) {
    case MPROC_KIND_DOUBLE:
        return a.real == b.real;
    case MPROC_KIND_TEXT:
    case MPROC_KIND_BYTES:
        return a.number == 0 || memcmp(a.data, b.data, (size_t)a.number) == 0;
    case MPROC_KIND_LIST:
        return list_equal(a, b);
    case MPROC_KIND_DICT:
        return dict_equal(a, b);
    case MPROC_KIND_HANDLE:
    case MPROC_KIND_POINTER:
        return a.data == b.data;
    case MPROC_KIND_INVALID:
        return false;
    default:
        return true;
    }
}
