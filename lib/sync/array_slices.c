/* SPDX-License-Identifier: BSD-2-Clause */
/* Many items of an array at once, and items of one byte as text. */
#include "platform/base.h"

#include <string.h>

#include "platform/story.h"
#include "sync/array.h"

/* Items of 2, 4 and 8 bytes go one by one, each by an atomic load or store, because memcpy may move a part of one; the
 * caller's memory need not be aligned. Single bytes cannot be torn and structs are the lock's. */
#define COPIERS(type)                                                                                        \
    static void read_##type(const void *from, unsigned char *to, size_t count)                               \
    {                                                                                                        \
        const _Atomic type *items = from;                                                                    \
        for (size_t i = 0; i < count; i++) {                                                                 \
            type item = atomic_load_explicit(&items[i], memory_order_relaxed);                               \
            memcpy(to + i * sizeof(type), &item, sizeof(type));                                              \
        }                                                                                                    \
    }                                                                                                        \
    static void write_##type(void *to, const unsigned char *from, size_t count)                              \
    {                                                                                                        \
        _Atomic type *items = to;                                                                            \
        for (size_t i = 0; i < count; i++) {                                                                 \
            type item;                                                                                       \
            memcpy(&item, from + i * sizeof(type), sizeof(type));                                            \
            atomic_store_explicit(&items[i], item, memory_order_relaxed);                                    \
        }                                                                                                    \
    }
COPIERS(uint16_t)
COPIERS(uint32_t)
COPIERS(uint64_t)
#undef COPIERS

/* Bytes of a number item; 1 for the bytes of all others. */
static size_t unit_bytes(const mproc_array *array)
{
    return array->item == MPROC_ITEM_BYTES ? 1 : array->item_bytes;
}

static int slice_check(mproc_array *array, size_t first, size_t count, const void *memory, bool write)
{
    int code = mproc__handle_check(array, MPROC_TYPE_ARRAY);
    if (code == 0 && !memory && count > 0)
        code = mproc__handle_fail(&array->handle, -EINVAL, "no memory for the items");
    if (code < 0)
        return code;
    return write ? mproc__array_range_write(array, first, count) : mproc__array_range(array, first, count);
}

int mproc_array_read(mproc_array *array, size_t first, size_t count, void *ret_items)
{
    int code = slice_check(array, first, count, ret_items, false);
    if (code < 0 || count == 0)
        return code;
    const unsigned char *from = array->data + first * array->item_bytes;
    switch (unit_bytes(array)) {
    case 2:
        read_uint16_t(from, ret_items, count);
        break;
    case 4:
        read_uint32_t(from, ret_items, count);
        break;
    case 8:
        read_uint64_t(from, ret_items, count);
        break;
    default:
        memcpy(ret_items, from, count * array->item_bytes);
    }
    return 0;
}

int mproc_array_write(mproc_array *array, size_t first, size_t count, const void *items)
{
    int code = slice_check(array, first, count, items, true);
    if (code < 0 || count == 0)
        return code;
    unsigned char *to = array->data + first * array->item_bytes;
    switch (unit_bytes(array)) {
    case 2:
        write_uint16_t(to, items, count);
        break;
    case 4:
        write_uint32_t(to, items, count);
        break;
    case 8:
        write_uint64_t(to, items, count);
        break;
    default:
        memcpy(to, items, count * array->item_bytes);
    }
    return 0;
}

/* ---- text ---- */

static int text_check(mproc_array *array, const void *text, bool write)
{
    int code = slice_check(array, 0, 1, text, write);
    if (code == 0 && array->item_bytes != 1)
        code = mproc__handle_fail(&array->handle, MPROC_EARGUMENT, "items of %zu bytes are no text",
                                  array->item_bytes);
    return code;
}

int mproc_array_set_text(mproc_array *array, const char *text)
{
    int code = text_check(array, text, true);
    if (code < 0)
        return code;
    size_t length = strlen(text);
    if (length > array->count)
        return mproc__handle_fail(&array->handle, -ERANGE, "a text of %zu bytes in an array of %zu", length,
                                  array->count);
    memcpy(array->data, text, length < array->count ? length + 1 : length);
    return 0;
}

/* The length is looked for once: a writer beside us may move the NUL, not where we copy to. */
int mproc_array_get_text(mproc_array *array, char *buffer, size_t size_bytes, size_t *ret_length)
{
    int code = text_check(array, buffer, false);
    if (code < 0)
        return code;
    size_t length = strnlen((const char *)array->data, array->count);
    if (ret_length)
        *ret_length = length;
    if (length >= size_bytes)
        return mproc__handle_fail(&array->handle, MPROC_ETOOSMALL, "a text of %zu bytes for a buffer of %zu",
                                  length, size_bytes);
    memcpy(buffer, array->data, length);
    buffer[length] = '\0';
    return 0;
}
