/* SPDX-License-Identifier: BSD-2-Clause */
/* Single items of an array: each call one atomic step on the item itself. */
#include "platform/base.h"

#include <string.h>

#include "platform/story.h"
#include "sync/array.h"

#undef mproc_array_add_int /* the function itself is here */

/* Every integer type: item, C type, the unsigned one of its size, least and greatest number as an int64 (a uint64 is
 * carried as its bits, so every int64 is one). */
#define INTEGERS(X)                                                                                          \
    X(MPROC_ITEM_INT8, int8_t, uint8_t, INT8_MIN, INT8_MAX)                                                  \
    X(MPROC_ITEM_UINT8, uint8_t, uint8_t, 0, UINT8_MAX)                                                      \
    X(MPROC_ITEM_INT16, int16_t, uint16_t, INT16_MIN, INT16_MAX)                                             \
    X(MPROC_ITEM_UINT16, uint16_t, uint16_t, 0, UINT16_MAX)                                                  \
    X(MPROC_ITEM_INT32, int32_t, uint32_t, INT32_MIN, INT32_MAX)                                             \
    X(MPROC_ITEM_UINT32, uint32_t, uint32_t, 0, UINT32_MAX)                                                  \
    X(MPROC_ITEM_INT64, int64_t, uint64_t, INT64_MIN, INT64_MAX)                                             \
    X(MPROC_ITEM_UINT64, uint64_t, uint64_t, INT64_MIN, INT64_MAX)

/* What else but an index that `ready` lets through: a wrong one, or a home that asks first. */
static int index_check(mproc_array *array, size_t index)
{
    return MPROC__LIKELY(index < array->ready) ? 0 : mproc__array_range(array, index, 1);
}

static int index_check_write(mproc_array *array, size_t index)
{
    return MPROC__LIKELY(index < array->writable) ? 0 : mproc__array_range_write(array, index, 1);
}

static int wrong_item(mproc_array *array, const char *wanted)
{
    return mproc__handle_fail(&array->handle, MPROC_EARGUMENT, "the items of this array are no %s", wanted);
}

static int nowhere(mproc_array *array)
{
    return mproc__handle_fail(&array->handle, -EINVAL, "nowhere to put the item");
}

/* ---- integers ---- */

static int no_such_number(mproc_array *array, int64_t value)
{
    return mproc__handle_fail(&array->handle, -ERANGE, "%lld does not fit an item of %zu bytes",
                              (long long)value, array->item_bytes);
}

static bool is_integer(const mproc_array *array)
{
    return array->item <= MPROC_ITEM_UINT64;
}

static bool number_fits(mproc_item item, int64_t value)
{
    switch (item) {
#define X(ITEM, type, bits, least, greatest)                                                                 \
    case ITEM:                                                                                               \
        return value >= (least) && value <= (greatest);
        INTEGERS(X)
#undef X
    default:
        return false;
    }
}

int mproc_array_get_int(mproc_array *array, size_t index, int64_t *ret_value)
{
    int code = mproc__handle_check(array, MPROC_TYPE_ARRAY);
    if (MPROC__LIKELY(code == 0))
        code = index_check(array, index);
    if (MPROC__UNLIKELY(code < 0))
        return code;
    if (MPROC__UNLIKELY(!ret_value))
        return nowhere(array);
    switch (array->item) {
#define X(ITEM, type, bits, least, greatest)                                                                 \
    case ITEM:                                                                                               \
        *ret_value = (int64_t)atomic_load_explicit((_Atomic type *)(void *)array->data + index,              \
                                                   memory_order_acquire);                                    \
        return 0;
        INTEGERS(X)
#undef X
    default:
        return wrong_item(array, "integers");
    }
}

int mproc_array_set_int(mproc_array *array, size_t index, int64_t value)
{
    int code = mproc__handle_check(array, MPROC_TYPE_ARRAY);
    if (MPROC__LIKELY(code == 0))
        code = index_check_write(array, index);
    if (MPROC__UNLIKELY(code < 0))
        return code;
    if (MPROC__UNLIKELY(!is_integer(array)))
        return wrong_item(array, "integers");
    if (MPROC__UNLIKELY(!number_fits(array->item, value)))
        return no_such_number(array, value);
    switch (array->item) {
#define X(ITEM, type, bits, least, greatest)                                                                 \
    case ITEM:                                                                                               \
        atomic_store_explicit((_Atomic type *)(void *)array->data + index, (type)value,                      \
                              memory_order_release);                                                         \
        return 0;
        INTEGERS(X)
#undef X
    default:
        return 0;
    }
}

/* All that it reads is as the handle was made, and stays so while it is open: that is what makes `const` true. */
int64_t *mproc__array_quick(const mproc_array *array, size_t index)
{
    if (MPROC__LIKELY(array && array->handle.magic == MPROC__HANDLE_MAGIC &&
                      array->handle.type == (uint32_t)MPROC_TYPE_ARRAY && index < array->quick))
        return (int64_t *)(void *)array->data + index;
    return NULL;
}

/* Atomic types wrap around, signed ones too; the sum is made again of the unsigned type for the same reason. */
int mproc_array_add_int(mproc_array *array, size_t index, int64_t delta, int64_t *ret_new)
{
    int64_t sum;
    int code = mproc__handle_check(array, MPROC_TYPE_ARRAY);
    if (MPROC__LIKELY(code == 0))
        code = index_check_write(array, index);
    if (MPROC__UNLIKELY(code < 0))
        return code;
    switch (array->item) {
#define X(ITEM, type, bits, least, greatest)                                                                 \
    case ITEM:                                                                                               \
        sum = (int64_t)(type)((bits)atomic_fetch_add((_Atomic type *)(void *)array->data + index,            \
                                                     (type)delta) +                                          \
                              (bits)delta);                                                                  \
        break;
        INTEGERS(X)
#undef X
    default:
        return wrong_item(array, "integers");
    }
    if (ret_new)
        *ret_new = sum;
    return 0;
}

static bool compare_set_bits(mproc_item item, void *data, size_t index, int64_t expected, int64_t value)
{
    switch (item) {
#define X(ITEM, type, bits, least, greatest)                                                                 \
    case ITEM: {                                                                                             \
        type seen = (type)expected;                                                                          \
        return atomic_compare_exchange_strong((_Atomic type *)data + index, &seen, (type)value);             \
    }
        INTEGERS(X)
#undef X
    default:
        return false;
    }
}

int mproc_array_compare_set_int(mproc_array *array, size_t index, int64_t expected, int64_t value,
                                bool *ret_set)
{
    int code = mproc__handle_check(array, MPROC_TYPE_ARRAY);
    if (code == 0)
        code = index_check_write(array, index);
    if (code < 0)
        return code;
    if (!is_integer(array))
        return wrong_item(array, "integers");
    if (!number_fits(array->item, expected) || !number_fits(array->item, value))
        return no_such_number(array, number_fits(array->item, value) ? expected : value);
    bool set = compare_set_bits(array->item, array->data, index, expected, value);
    if (ret_set)
        *ret_set = set;
    return 0;
}

/* ---- float and double: as the unsigned integer of their size ---- */

static uint32_t bits_of_float(double value)
{
    float rounded = (float)value;
    uint32_t bits;
    memcpy(&bits, &rounded, sizeof(bits));
    return bits;
}

static uint64_t bits_of_double(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static double float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return (double)value;
}

static double double_of_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static int real_check(mproc_array *array, size_t index, bool write)
{
    int code = mproc__handle_check(array, MPROC_TYPE_ARRAY);
    if (MPROC__LIKELY(code == 0))
        code = write ? index_check_write(array, index) : index_check(array, index);
    if (MPROC__LIKELY(code == 0) && array->item != MPROC_ITEM_DOUBLE && array->item != MPROC_ITEM_FLOAT)
        code = wrong_item(array, "floats or doubles");
    return code;
}

static inline _Atomic uint32_t *float_at(const mproc_array *array, size_t index)
{
    return (_Atomic uint32_t *)(void *)array->data + index;
}

static inline _Atomic uint64_t *double_at(const mproc_array *array, size_t index)
{
    return (_Atomic uint64_t *)(void *)array->data + index;
}

int mproc_array_get(mproc_array *array, size_t index, double *ret_value)
{
    int code = real_check(array, index, false);
    if (code < 0)
        return code;
    if (!ret_value)
        return nowhere(array);
    if (array->item == MPROC_ITEM_DOUBLE)
        *ret_value = double_of_bits(atomic_load_explicit(double_at(array, index), memory_order_acquire));
    else
        *ret_value = float_of_bits(atomic_load_explicit(float_at(array, index), memory_order_acquire));
    return 0;
}

int mproc_array_set(mproc_array *array, size_t index, double value)
{
    int code = real_check(array, index, true);
    if (code < 0)
        return code;
    if (array->item == MPROC_ITEM_DOUBLE)
        atomic_store_explicit(double_at(array, index), bits_of_double(value), memory_order_release);
    else
        atomic_store_explicit(float_at(array, index), bits_of_float(value), memory_order_release);
    return 0;
}

static double add_to_double(_Atomic uint64_t *item, double delta)
{
    uint64_t before = atomic_load_explicit(item, memory_order_relaxed), after;
    do
        after = bits_of_double(double_of_bits(before) + delta);
    while (!atomic_compare_exchange_weak(item, &before, after));
    return double_of_bits(after);
}

static double add_to_float(_Atomic uint32_t *item, double delta)
{
    uint32_t before = atomic_load_explicit(item, memory_order_relaxed), after;
    do
        after = bits_of_float(float_of_bits(before) + delta);
    while (!atomic_compare_exchange_weak(item, &before, after));
    return float_of_bits(after);
}

int mproc_array_add(mproc_array *array, size_t index, double delta, double *ret_new)
{
    int code = real_check(array, index, true);
    if (code < 0)
        return code;
    double sum = array->item == MPROC_ITEM_DOUBLE ? add_to_double(double_at(array, index), delta)
                                                  : add_to_float(float_at(array, index), delta);
    if (ret_new)
        *ret_new = sum;
    return 0;
}

int mproc_array_compare_set(mproc_array *array, size_t index, double expected, double value, bool *ret_set)
{
    int code = real_check(array, index, true);
    if (code < 0)
        return code;
    bool set;
    if (array->item == MPROC_ITEM_DOUBLE) {
        uint64_t seen = bits_of_double(expected);
        set = atomic_compare_exchange_strong(double_at(array, index), &seen, bits_of_double(value));
    } else {
        uint32_t seen = bits_of_float(expected);
        set = atomic_compare_exchange_strong(float_at(array, index), &seen, bits_of_float(value));
    }
    if (ret_set)
        *ret_set = set;
    return 0;
}
