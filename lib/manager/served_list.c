/* SPDX-License-Identifier: BSD-2-Clause */
/* The served list. Every change is a splice: a range of items goes, copies of others come, whole or not at
 * all. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "data/parcel.h"
#include "manager/served.h"
#include "platform/story.h"

enum { ITEM_BYTES = sizeof(mproc_variant) }; /* charged for an item beside its encoded bytes */

typedef struct list {
    mproc__served served;
    mproc__registry *registry;
    mproc_variant *items;
    size_t count, capacity;
} list;

static list *list_of(mproc__served *served)
{
    return MPROC__CONTAINER(served, list, served);
}

static int args_check(const mproc__request *request, size_t ints, size_t count)
{
    if (request->args.kind != MPROC_KIND_LIST || mproc_variant_count(request->args) != count)
        return mproc__fail(MPROC_EARGUMENT, "the method takes %zu arguments", count);
    for (size_t i = 0; i < ints; i++)
        if (mproc_variant_at(request->args, i).kind != MPROC_KIND_INT)
            return mproc__fail(MPROC_EARGUMENT, "argument %zu is no int", i);
    return 0;
}

static int64_t int_argument(const mproc__request *request, size_t index)
{
    return mproc_variant_at(request->args, index).number;
}

/* ---- positions ---- */

/* A position of an item, counted from the end when negative. */
static int position(const list *self, int64_t index, size_t *ret_position)
{
    int64_t count = (int64_t)self->count, at = index < 0 ? index + count : index;
    if (at < 0 || at >= count)
        return mproc__fail(MPROC_EKEY, "index %lld is outside of a list of %zu items", (long long)index,
                           self->count);
    *ret_position = (size_t)at;
    return 0;
}

/* A border between items, moved into the list. */
static size_t border(const list *self, int64_t index)
{
    int64_t count = (int64_t)self->count, at = index < 0 ? index + count : index;
    return (size_t)(at < 0 ? 0 : at > count ? count : at);
}

static void range(const list *self, const mproc__request *request, size_t *ret_first, size_t *ret_end)
{
    *ret_first = border(self, int_argument(request, 0));
    *ret_end = border(self, int_argument(request, 1));
    if (*ret_end < *ret_first)
        *ret_end = *ret_first;
}

/* ---- splice ---- */

static int reserve(list *self, size_t count)
{
    size_t capacity = self->capacity ? self->capacity : 8;
    if (count <= self->capacity)
        return 0;
    if (count > INT32_MAX)
        return mproc__fail(MPROC_ELIMIT, "a container holds at most %d entries", INT32_MAX);
    while (capacity < count)
        capacity *= 2;
    mproc_variant *items = realloc(self->items, capacity * sizeof *items);
    if (!items)
        return mproc__fail(-ENOMEM, "no memory in the server for %zu items", count);
    self->items = items;
    self->capacity = capacity;
    return 0;
}

static void items_clear(list *self, mproc_variant *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t bytes = 0;
        if (mproc__variant_encoded_size(items[i], &bytes) == 0)
            mproc__registry_refund(self->registry, bytes + ITEM_BYTES);
        mproc_variant_clear(&items[i]);
    }
}

/* Appends charged copies behind the list's items, where they are not yet part of it. */
static int items_copy(list *self, const mproc_variant *items, size_t count)
{
    int rc = reserve(self, self->count + count);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        size_t bytes = 0;
        mproc_variant *to = &self->items[self->count + i];
        rc = mproc__variant_encoded_size(items[i], &bytes);
        if (rc == 0)
            rc = mproc__registry_charge(self->registry, bytes + ITEM_BYTES);
        if (rc == 0 && (rc = mproc_variant_copy(items[i], to)) < 0)
            mproc__registry_refund(self->registry, bytes + ITEM_BYTES);
        if (rc < 0)
            items_clear(self, self->items + self->count, i);
    }
    return rc;
}

static void swap_reverse(mproc_variant *items, size_t count)
{
    for (size_t i = 0; i < count / 2; i++) {
        mproc_variant other = items[i];
        items[i] = items[count - 1 - i];
        items[count - 1 - i] = other;
    }
}

/* Moves the last `count` items before position `at`: three reversals, no memory. */
static void rotate(list *self, size_t at, size_t count)
{
    size_t total = self->count - at;
    if (count == 0 || count == total)
        return;
    swap_reverse(self->items + at, total - count);
    swap_reverse(self->items + at + total - count, count);
    swap_reverse(self->items + at, total);
}

static void cut(list *self, size_t first, size_t end)
{
    if (end > first)
        memmove(self->items + first, self->items + end, (self->count - end) * sizeof *self->items);
    self->count -= end - first;
}

static int splice(list *self, size_t first, size_t end, const mproc_variant *items, size_t count)
{
    int rc = items_copy(self, items, count);
    if (rc < 0)
        return rc;
    items_clear(self, self->items + first, end - first);
    self->count += count;
    rotate(self, end, count);
    cut(self, first, end);
    return 0;
}

/* Any list variant's items as an array: its memory is one. */
static int splice_list(list *self, size_t first, size_t end, mproc_variant items)
{
    if (items.kind != MPROC_KIND_LIST)
        return mproc__fail(MPROC_EARGUMENT, "the new items are no list");
    return splice(self, first, end, items.data, mproc_variant_count(items));
}

/* ---- methods ---- */

static int list_get(list *self, const mproc__request *request, mproc__answer *answer)
{
    size_t at = 0;
    int rc = args_check(request, 1, 1);
    if (rc == 0)
        rc = position(self, int_argument(request, 0), &at);
    if (rc < 0)
        return rc;
    answer->has_result = true;
    answer->result = self->items[at];
    return 0;
}

static int list_set(list *self, const mproc__request *request, mproc__answer *answer)
{
    (void)answer;
    size_t at = 0;
    int rc = args_check(request, 1, 2);
    if (rc == 0)
        rc = position(self, int_argument(request, 0), &at);
    if (rc < 0)
        return rc;
    mproc_variant item = mproc_variant_at(request->args, 1);
    return splice(self, at, at + 1, &item, 1);
}

static int list_append(list *self, const mproc__request *request, mproc__answer *answer)
{
    (void)answer;
    int rc = args_check(request, 0, 1);
    return rc < 0 ? rc : splice_list(self, self->count, self->count, request->args);
}

static int list_insert(list *self, const mproc__request *request, mproc__answer *answer)
{
    (void)answer;
    int rc = args_check(request, 1, 2);
    if (rc < 0)
        return rc;
    size_t at = border(self, int_argument(request, 0));
    mproc_variant item = mproc_variant_at(request->args, 1);
    return splice(self, at, at, &item, 1);
}

static int list_remove(list *self, const mproc__request *request, mproc__answer *answer)
{
    size_t at = 0, bytes = 0;
    int rc = args_check(request, 1, 1);
    if (rc == 0)
        rc = position(self, int_argument(request, 0), &at);
    if (rc < 0)
        return rc;
    answer->has_result = answer->result_owned = true;
    answer->result = self->items[at];
    if (mproc__variant_encoded_size(answer->result, &bytes) == 0)
        mproc__registry_refund(self->registry, bytes + ITEM_BYTES);
    cut(self, at, at + 1);
    return 0;
}

static int list_count(list *self, const mproc__request *request, mproc__answer *answer)
{
    (void)request;
    answer->has_result = true;
    answer->result = mproc_int((int64_t)self->count);
    return 0;
}

static int list_slice(list *self, const mproc__request *request, mproc__answer *answer)
{
    size_t first, end;
    int rc = args_check(request, 2, 2);
    if (rc < 0)
        return rc;
    range(self, request, &first, &end);
    answer->has_result = true;
    answer->result = mproc_items(end > first ? self->items + first : NULL, end - first);
    return 0;
}

static int list_splice(list *self, const mproc__request *request, mproc__answer *answer)
{
    (void)answer;
    size_t first, end;
    int rc = args_check(request, 2, 3);
    if (rc < 0)
        return rc;
    range(self, request, &first, &end);
    return splice_list(self, first, end, mproc_variant_at(request->args, 2));
}

/* ---- the type ---- */

static void list_destroy(mproc__registry *registry, mproc__served *served)
{
    (void)registry;
    list *self = list_of(served);
    items_clear(self, self->items, self->count);
    free(self->items);
    free(self);
}

static int list_create(mproc__registry *registry, mproc_variant args, mproc__served **ret_served)
{
    list *self = calloc(1, sizeof *self);
    if (!self)
        return mproc__fail(-ENOMEM, "no memory in the server for a list");
    self->registry = registry;
    int rc = args.kind == MPROC_KIND_NULL ? 0 : splice_list(self, 0, 0, args);
    if (rc < 0)
        list_destroy(registry, &self->served);
    else
        *ret_served = &self->served;
    return rc;
}

static int list_call(mproc__served *served, const mproc__request *request, mproc__answer *answer)
{
    static int (*const methods[])(list *, const mproc__request *, mproc__answer *) = {
        list_get, list_set, list_append, list_insert, list_remove, list_count, list_slice, list_splice};
    size_t method = (size_t)request->method - MPROC__LIST_GET;
    if (request->method < MPROC__LIST_GET || method >= MPROC__COUNT(methods))
        return mproc__fail(MPROC_EKEY, "a list has no method number %d", (int)request->method);
    return methods[method](list_of(served), request, answer);
}

const mproc__served_type mproc__served_list = {MPROC_TYPE_LIST, "list",    list_create,
                                               list_destroy,    list_call, NULL};
