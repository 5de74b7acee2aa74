/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays: made, found, copied, shown, closed. Their locks, and how they are given away: array_lock.c. What is done with the
 * items: array_items.c, array_slices.c. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/story.h"
#include "shm/explain.h"
#include "sync/array.h"

static const struct {
    const char *word;
    size_t bytes;
} items[] = {
    [MPROC_ITEM_INT8] = {"int8", 1},   [MPROC_ITEM_UINT8] = {"uint8", 1},
    [MPROC_ITEM_INT16] = {"int16", 2}, [MPROC_ITEM_UINT16] = {"uint16", 2},
    [MPROC_ITEM_INT32] = {"int32", 4}, [MPROC_ITEM_UINT32] = {"uint32", 4},
    [MPROC_ITEM_INT64] = {"int64", 8}, [MPROC_ITEM_UINT64] = {"uint64", 8},
    [MPROC_ITEM_FLOAT] = {"float", 4}, [MPROC_ITEM_DOUBLE] = {"double", 8},
    [MPROC_ITEM_BYTES] = {"bytes", 0},
};

/* ---- the handle ---- */

/* The type of what is in the root, from memory that may be anybody's: 0, or what is wrong with it. */
static const char *root_fault(const mproc__array_shared *shared, size_t size_bytes)
{
    if (shared->item < MPROC_ITEM_INT8 || shared->item > MPROC_ITEM_BYTES)
        return "of no known type";
    size_t bytes = items[shared->item].bytes;
    if (shared->item_bytes == 0 || (bytes && shared->item_bytes != bytes))
        return "of another size than its type's";
    size_t room = shared->outside ? SIZE_MAX / 4 : size_bytes - MPROC__ARRAY_DATA_OFFSET;
    if (shared->count == 0 || shared->count > room / shared->item_bytes)
        return "with more items than its memory holds";
    return NULL;
}

static int array_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    mproc_array *array = mproc__array_of(handle);
    const char *name = mproc__segment_name(array->segment);
    char bytes[32] = "";
    if (array->item == MPROC_ITEM_BYTES)
        snprintf(bytes, sizeof(bytes), " %zu", array->item_bytes);
    mproc_lock *lock = mproc__array_lock(array);
    return snprintf(buffer, size_bytes, "array%s%s of %zu %s%s %s %s, %s", *name ? " " : "", name,
                    array->count, items[array->item].word, bytes, array->file.fd < 0 ? "on" : "over",
                    array->file.fd < 0 ? mproc__noun_home_text(array->segment) : "a file",
                    !lock                      ? "unlocked"
                    : mproc_lock_is_held(lock) ? "its lock held"
                                               : "its lock free");
}

static void array_destroy(mproc__handle *handle)
{
    mproc_array *array = mproc__array_of(handle);
    mproc_lock *given = atomic_load(&array->given);
    mproc__names_remove(handle);
    mproc_lock_close(&array->own);
    mproc_lock_close(&given);
    mproc__segment_release(array->segment);
    mproc__array_file_drop(&array->file);
    mproc__handle_fini(handle);
    free(array);
}

static const mproc__handle_ops array_ops = {.type = MPROC_TYPE_ARRAY,
                                            .noun = "array",
                                            .destroy = array_destroy,
                                            .describe = array_describe,
                                            .pack = mproc__array_pack};

/* The lock and the file for the array that this thread is making, from build (or unpack) to attach, which follows at once:
 * an array that others find by its name has its lock already, and attach is told of nothing but the segment. */
static _Thread_local mproc_lock *lock_to_give;
static _Thread_local const mproc__array_file *file_to_give;

void mproc__array_beside(const mproc__array_file *file)
{
    file_to_give = file;
}

/* Finds the items, here or in the file. */
static int array_find_items(mproc_array *array, const mproc__array_file *file)
{
    array->file.fd = -1;
    array->data = (unsigned char *)array->shared + MPROC__ARRAY_DATA_OFFSET;
    if (!array->shared->outside)
        return 0;
    if (!file)
        return mproc__fail(MPROC_ECORRUPT, "an array over a file, without the file");
    mproc__array_file with = *file;
    int code = mproc__array_file_map(&with, array->count * array->item_bytes, &array->data);
    if (code == 0)
        array->file = with;
    return code;
}

static void array_set_ready(mproc_array *array)
{
    bool quick = array->item == MPROC_ITEM_INT64 || array->item == MPROC_ITEM_UINT64;
    bool read_only = array->file.fd >= 0 && array->file.access == MPROC_ARRAY_READ;
    array->ready = mproc__segment_shared(array->segment) ? array->count : 0;
    array->writable = read_only ? 0 : array->ready;
    array->quick = quick ? array->writable : 0;
}

static int array_attach(mproc__segment *segment, mproc__handle **ret_handle)
{
    mproc__array_shared *shared = mproc__segment_root(segment);
    mproc_lock *given = lock_to_give;
    const mproc__array_file *file = file_to_give;
    lock_to_give = NULL;
    file_to_give = NULL;
    const char *fault = root_fault(shared, mproc__segment_size(segment));
    if (fault)
        return mproc__fail(MPROC_ECORRUPT, "an array %s", fault);
    mproc_array *array = calloc(1, sizeof(*array));
    if (!array)
        return mproc__fail(-ENOMEM, "no memory for an array");
    array->segment = segment;
    array->shared = shared;
    array->item = (mproc_item)shared->item;
    array->item_bytes = shared->item_bytes;
    array->count = shared->count;
    int code = mproc__lock_at(segment, MPROC__ARRAY_LOCK_OFFSET, &array->own);
    if (code == 0)
        code = array_find_items(array, file);
    if (code < 0) {
        mproc_lock_close(&array->own);
        free(array);
        return code;
    }
    mproc__handle_init(&array->handle, &array_ops);
    array_set_ready(array);
    if (given)
        mproc__handle_keep(&given->handle);
    atomic_init(&array->given, given);
    *ret_handle = &array->handle;
    return 0;
}

int mproc__array_range(mproc_array *array, size_t first, size_t count)
{
    int code = mproc__segment_check(array->segment);
    if (code < 0)
        return mproc__handle_story(&array->handle, code);
    if (first <= array->count && count <= array->count - first)
        return 0;
    if (count == 1)
        return mproc__handle_fail(&array->handle, -ERANGE, "item %zu of an array of %zu", first,
                                  array->count);
    return mproc__handle_fail(&array->handle, -ERANGE, "%zu items from item %zu of an array of %zu", count,
                              first, array->count);
}

int mproc__array_range_write(mproc_array *array, size_t first, size_t count)
{
    int code = mproc__array_range(array, first, count);
    if (code == 0 && array->file.fd >= 0 && array->file.access == MPROC_ARRAY_READ)
        return mproc__handle_fail(&array->handle, -EACCES, "the array's file was opened to be read");
    return code;
}

static void array_explain(const void *root, size_t size_bytes, struct mproc__report *report)
{
    const mproc__array_shared *shared = root;
    if (shared->item < MPROC_ITEM_INT8 || shared->item > MPROC_ITEM_BYTES) {
        mproc__report_state(report, "damaged: items of no known type");
        return;
    }
    uint32_t locked = atomic_load_explicit(&shared->locked, memory_order_relaxed);
    mproc__report_state(report, "%llu items of %llu bytes, %s%s", (unsigned long long)shared->count,
                        (unsigned long long)shared->item_bytes, items[shared->item].word,
                        locked ? "" : ", no lock of its own");
    if (locked && mproc__lock_noun.explain)
        mproc__lock_noun.explain((const unsigned char *)root + MPROC__ARRAY_LOCK_OFFSET,
                                 size_bytes - MPROC__ARRAY_LOCK_OFFSET, report);
}

const mproc__noun mproc__array_noun = {
    .type = MPROC_TYPE_ARRAY,
    .word = "array",
    .least_bytes = MPROC__ARRAY_DATA_OFFSET,
    .attach = array_attach,
    .explain = array_explain,
    .unpack = mproc__array_unpack,
};

/* ---- made ---- */

typedef struct array_making {
    mproc_item item;
    size_t item_bytes;
    size_t count;
    const void *initial; /* or */
    mproc_array *source;
    bool unlocked;
    mproc_lock *lock;
    const mproc__array_file *file;
} array_making;

static int array_build(mproc__segment *segment, const void *how)
{
    const array_making *making = how;
    mproc__array_shared *shared = mproc__segment_root(segment);
    shared->item = (uint32_t)making->item;
    shared->item_bytes = making->item_bytes;
    shared->count = making->count;
    shared->outside = making->file != NULL;
    mproc__lock_build(segment, MPROC__ARRAY_LOCK_OFFSET, MPROC_WITH(mproc_lock_options, .recursive = true));
    atomic_store_explicit(&shared->locked, !making->unlocked && !making->lock, memory_order_relaxed);
    if (making->initial)
        memcpy((unsigned char *)shared + MPROC__ARRAY_DATA_OFFSET, making->initial,
               making->count * making->item_bytes);
    if (making->source) {
        int code = mproc_array_read(making->source, 0, making->count,
                                    (unsigned char *)shared + MPROC__ARRAY_DATA_OFFSET);
        if (code < 0)
            return code;
    }
    lock_to_give = making->lock;
    file_to_give = making->file;
    return 0;
}

int mproc__array_shape(mproc_item item, size_t item_bytes, size_t count, size_t *ret_item_bytes)
{
    if (item < MPROC_ITEM_INT8 || item > MPROC_ITEM_BYTES)
        return mproc__fail(-EINVAL, "%d is no item type; they are int8 to uint64, float, double and bytes",
                           (int)item);
    size_t bytes = items[item].bytes;
    if (item_bytes == 0)
        item_bytes = bytes;
    if (item_bytes == 0 || (bytes && item_bytes != bytes))
        return mproc__fail(-EINVAL, "items of %zu bytes in an array of %s", item_bytes, items[item].word);
    if (count == 0)
        return mproc__fail(-EINVAL, "an array of no items");
    if (count > (SIZE_MAX / 4 - MPROC__ARRAY_DATA_OFFSET) / item_bytes)
        return mproc__fail(-EOVERFLOW, "%zu items of %zu bytes", count, item_bytes);
    *ret_item_bytes = item_bytes;
    return 0;
}

static int lock_choice_check(const array_making *making, mproc__home home)
{
    if (!making->lock)
        return 0;
    if (making->unlocked)
        return mproc__fail(-EINVAL, "both unlocked and with a lock");
    return mproc__array_lock_check(making->lock, home);
}

static int array_make(mproc_place *place, array_making *how, const mproc_array_options *options,
                      mproc_array **ret_array)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(place, &home);
    if (code == 0 && home == MPROC__HOME_SERVER)
        code = mproc__fail(MPROC_EPLACE, "servers have no arrays; a list there can hold the numbers");
    if (code == 0)
        code = mproc__array_shape(how->item, how->item_bytes, how->count, &how->item_bytes);
    if (code == 0)
        code = lock_choice_check(how, home);
    if (code < 0)
        return code;
    const mproc__making making = {
        .noun = &mproc__array_noun,
        .place = place,
        .name = options ? options->name : NULL,
        .and_open = options && options->and_open,
        .size_bytes = MPROC__ARRAY_DATA_OFFSET + (how->file ? 0 : how->count * how->item_bytes),
        .build = array_build,
        .how = how,
    };
    mproc__handle *handle;
    code = mproc__noun_create(&making, &handle);
    if (code == 0)
        *ret_array = mproc__array_of(handle);
    return code;
}

static int options_check(const mproc_array_options *options, mproc_array **ret_array)
{
    int code = mproc__options_check(options, sizeof(*options), sizeof(*options), "mproc_array_options");
    return code == 0 && !ret_array ? mproc__fail(-EINVAL, "nowhere to put the array") : code;
}

int mproc__array_make_over(const mproc__array_file *file, mproc_item item, size_t item_bytes, size_t count,
                           mproc_array **ret_array)
{
    array_making how = {
        .item = item, .item_bytes = item_bytes, .count = count, .unlocked = true, .file = file};
    return array_make(NULL, &how, NULL, ret_array);
}

int mproc_array_create(mproc_place *place, mproc_item item, size_t count, const mproc_array_options *options,
                       mproc_array **ret_array)
{
    int code = options_check(options, ret_array);
    if (code < 0)
        return code;
    array_making how = {.item = item, .count = count};
    if (options) {
        how.item_bytes = options->item_bytes;
        how.initial = options->initial;
        how.unlocked = options->unlocked;
        how.lock = options->lock;
    }
    return array_make(place, &how, options, ret_array);
}

/* Items are copied by read: whole ones, also beside a writer. */
int mproc_array_copy(mproc_array *array, mproc_place *place, const mproc_array_options *options,
                     mproc_array **ret_copy)
{
    int code = mproc__handle_check(array, MPROC_TYPE_ARRAY);
    if (code == 0)
        code = options_check(options, ret_copy);
    if (code == 0 && options && (options->item_bytes || options->initial || options->and_open))
        code = mproc__fail(-EINVAL, "a copy is new and has its items and their size from its source");
    if (code == 0)
        code = mproc__array_range(array, 0, 0);
    if (code < 0)
        return code;
    array_making how = {.item = array->item, .item_bytes = array->item_bytes, .count = array->count};
    how.source = array;
    how.unlocked = options && options->unlocked;
    how.lock = options ? options->lock : NULL;
    return array_make(place, &how, options, ret_copy);
}

int mproc_array_open(mproc_place *place, const char *name, mproc_array **ret_array)
{
    mproc__home home = MPROC__HOME_HOST;
    mproc__handle *handle;
    int code = mproc__place_home(place, &home);
    if (code == 0 && (!name || !ret_array))
        code = mproc__fail(-EINVAL, "no name, or nowhere to put the array");
    if (code == 0 && home == MPROC__HOME_SERVER)
        code = mproc__fail(MPROC_EPLACE, "servers have no arrays");
    if (code == 0)
        code = mproc__noun_open(&mproc__array_noun, place, name, &handle);
    if (code == 0)
        *ret_array = mproc__array_of(handle);
    return code;
}

void mproc_array_close(mproc_array **array)
{
    mproc__handle_close((void **)array, MPROC_TYPE_ARRAY);
}

/* ---- asked ---- */

void *mproc_array_data(mproc_array *array)
{
    if (mproc__handle_check(array, MPROC_TYPE_ARRAY) < 0 || mproc__array_range(array, 0, 0) < 0)
        return NULL;
    return array->data;
}

size_t mproc_array_count(const mproc_array *array)
{
    return mproc__handle_check(array, MPROC_TYPE_ARRAY) == 0 ? array->count : 0;
}

mproc_item mproc_array_item(const mproc_array *array)
{
    return mproc__handle_check(array, MPROC_TYPE_ARRAY) == 0 ? array->item : (mproc_item)0;
}

size_t mproc_array_item_bytes(const mproc_array *array)
{
    return mproc__handle_check(array, MPROC_TYPE_ARRAY) == 0 ? array->item_bytes : 0;
}
