/* SPDX-License-Identifier: BSD-2-Clause */
/* The served dict: a table, its memory accounted for, each call whole or not at all. */
#include "platform/base.h"

#include <stdlib.h>

#include "data/parcel.h"
#include "manager/served.h"
#include "platform/story.h"

typedef struct dict {
    mproc__served served;
    mproc__registry *registry;
    mproc__table table;
} dict;

static dict *dict_of(mproc__served *served)
{
    return MPROC__CONTAINER(served, dict, served);
}

static mproc_variant argument(const mproc__request *request, size_t index)
{
    return mproc_variant_at(request->args, index);
}

static int argument_count(const mproc__request *request, size_t count)
{
    if (request->args.kind == MPROC_KIND_LIST && mproc_variant_count(request->args) == count)
        return 0;
    return mproc__fail(MPROC_EARGUMENT, "the method takes %zu arguments", count);
}

/* A deep copy that is charged for; the entry's own cost is added by `entry_bytes`. */
static int charged_copy(dict *self, mproc_variant source, size_t entry_bytes, mproc_variant *ret_copy)
{
    size_t bytes = 0;
    int rc = mproc__variant_encoded_size(source, &bytes);
    if (rc == 0)
        rc = mproc__registry_charge(self->registry, bytes + entry_bytes);
    if (rc < 0)
        return rc;
    rc = mproc_variant_copy(source, ret_copy);
    if (rc < 0)
        mproc__registry_refund(self->registry, bytes + entry_bytes);
    return rc;
}

static void refund(dict *self, mproc_variant value, size_t entry_bytes)
{
    size_t bytes = 0;
    if (mproc__variant_encoded_size(value, &bytes) == 0)
        mproc__registry_refund(self->registry, bytes + entry_bytes);
}

static void item_clear(dict *self, mproc_variant *item)
{
    refund(self, *item, 0);
    mproc_variant_clear(item);
}

/* Takes `item`, a charged copy, also when it fails. */
static int entry_store(dict *self, mproc_variant key, mproc_variant item)
{
    mproc_variant own_key;
    mproc__table_entry *entry = mproc__table_find(&self->table, key);
    if (entry) {
        item_clear(self, &entry->item);
        entry->item = item;
        return 0;
    }
    int rc = mproc__table_reserve(&self->table, 1);
    if (rc == 0)
        rc = charged_copy(self, key, MPROC__ENTRY_BYTES, &own_key);
    if (rc < 0)
        item_clear(self, &item);
    else
        mproc__table_put(&self->table, own_key, item);
    return rc;
}

static int store(dict *self, mproc_variant key, mproc_variant item)
{
    mproc_variant copy;
    int rc = mproc__table_key_check(key);
    if (rc == 0)
        rc = charged_copy(self, item, 0, &copy);
    return rc < 0 ? rc : entry_store(self, key, copy);
}

/* ---- methods ---- */

static int missing(mproc_variant key)
{
    char text[80];
    mproc_variant_print(key, text, sizeof text);
    return mproc__fail(MPROC_EKEY, "the dict has no key %s", text);
}

static int dict_get(dict *self, const mproc__request *request, mproc__answer *answer)
{
    int rc = argument_count(request, 1);
    if (rc < 0)
        return rc;
    mproc__table_entry *entry = mproc__table_find(&self->table, argument(request, 0));
    if (!entry)
        return missing(argument(request, 0));
    answer->has_result = true;
    answer->result = entry->item;
    return 0;
}

static int dict_set(dict *self, const mproc__request *request, mproc__answer *answer)
{
    (void)answer;
    int rc = argument_count(request, 2);
    return rc < 0 ? rc : store(self, argument(request, 0), argument(request, 1));
}

static int dict_remove(dict *self, const mproc__request *request, mproc__answer *answer)
{
    int rc = argument_count(request, 1);
    if (rc < 0)
        return rc;
    mproc__table_entry *entry = mproc__table_find(&self->table, argument(request, 0));
    if (!entry)
        return missing(argument(request, 0));
    refund(self, entry->key, MPROC__ENTRY_BYTES);
    refund(self, entry->item, 0);
    answer->has_result = answer->result_owned = true;
    mproc__table_remove(&self->table, entry, &answer->result);
    return 0;
}

/* Ints stay ints and must not overflow; a double on either side makes a double. */
static int sum(mproc_variant old, mproc_variant delta, mproc_variant *ret_sum)
{
    double a, b;
    int64_t total;
    if (old.kind == MPROC_KIND_INT && delta.kind == MPROC_KIND_INT) {
        if (__builtin_add_overflow(old.number, delta.number, &total))
            return mproc__fail(-EOVERFLOW, "the sum does not fit 64 bits");
        *ret_sum = mproc_int(total);
        return 0;
    }
    bool numbers = (old.kind == MPROC_KIND_INT || old.kind == MPROC_KIND_DOUBLE) &&
                   (delta.kind == MPROC_KIND_INT || delta.kind == MPROC_KIND_DOUBLE);
    if (!numbers || mproc_variant_get_double(old, &a) < 0 || mproc_variant_get_double(delta, &b) < 0)
        return mproc__fail(MPROC_EARGUMENT, "only ints and doubles can be added");
    *ret_sum = mproc_double(a + b);
    return 0;
}

static int dict_add(dict *self, const mproc__request *request, mproc__answer *answer)
{
    int rc = argument_count(request, 2);
    if (rc < 0)
        return rc;
    mproc__table_entry *entry = mproc__table_find(&self->table, argument(request, 0));
    rc = sum(entry ? entry->item : mproc_int(0), argument(request, 1), &answer->result);
    if (rc == 0)
        rc = store(self, argument(request, 0), answer->result);
    answer->has_result = rc == 0;
    return rc;
}

static int dict_compare_set(dict *self, const mproc__request *request, mproc__answer *answer)
{
    int rc = argument_count(request, 3);
    if (rc < 0)
        return rc;
    mproc__table_entry *entry = mproc__table_find(&self->table, argument(request, 0));
    bool equal = mproc_variant_equal(entry ? entry->item : mproc_null(), argument(request, 1));
    rc = equal ? store(self, argument(request, 0), argument(request, 2)) : 0;
    answer->has_result = rc == 0;
    answer->result = mproc_bool(equal);
    return rc;
}

static int dict_count(dict *self, const mproc__request *request, mproc__answer *answer)
{
    (void)request;
    answer->has_result = true;
    answer->result = mproc_int((int64_t)self->table.count);
    return 0;
}

/* A list over lists over the entries themselves: nothing is copied but 32 bytes a variant. */
static int dict_copy(dict *self, const mproc__request *request, mproc__answer *answer)
{
    (void)request;
    size_t count = self->table.count, position = 0, n = 0;
    mproc_variant *rows = malloc((3 * count + 1) * sizeof *rows), *cells = rows + count;
    if (!rows)
        return mproc__fail(-ENOMEM, "no memory in the server to copy %zu entries", count);
    for (mproc__table_entry *entry; (entry = mproc__table_next(&self->table, &position)); n++) {
        cells[2 * n] = entry->key;
        cells[2 * n + 1] = entry->item;
        rows[n] = mproc_items(cells + 2 * n, 2);
    }
    answer->memory = rows;
    answer->has_result = true;
    answer->result = mproc_items(rows, count);
    return 0;
}

/* ---- update: many entries or none ---- */

static int pair_at(mproc_variant pairs, size_t index, mproc_variant *ret_key, mproc_variant *ret_item)
{
    if (pairs.kind == MPROC_KIND_DICT) {
        const char *text = NULL;
        int rc = mproc_variant_entry(pairs, index, &text, ret_item);
        *ret_key = mproc_text(text);
        return rc;
    }
    mproc_variant pair = mproc_variant_at(pairs, index);
    if (pair.kind != MPROC_KIND_LIST || mproc_variant_count(pair) != 2)
        return mproc__fail(MPROC_EARGUMENT, "entry %zu of the pairs is no list of a key and an item", index);
    *ret_key = mproc_variant_at(pair, 0);
    *ret_item = mproc_variant_at(pair, 1);
    return mproc__table_key_check(*ret_key);
}

/* Copies all keys and items and makes room for them: what follows cannot fail. */
static int pairs_copy(dict *self, mproc_variant pairs, size_t count, mproc_variant *copies, size_t *ret_made)
{
    int rc = mproc__table_reserve(&self->table, count);
    for (*ret_made = 0; rc == 0 && *ret_made < 2 * count; *ret_made += 2) {
        mproc_variant key, item;
        mproc_variant *to = copies + *ret_made;
        rc = pair_at(pairs, *ret_made / 2, &key, &item);
        if (rc == 0)
            rc = charged_copy(self, key, MPROC__ENTRY_BYTES, &to[0]);
        if (rc < 0)
            break;
        rc = charged_copy(self, item, 0, &to[1]);
        if (rc < 0) {
            refund(self, to[0], MPROC__ENTRY_BYTES);
            mproc_variant_clear(&to[0]);
            break;
        }
    }
    return rc;
}

static void key_clear(dict *self, mproc_variant *key)
{
    refund(self, *key, MPROC__ENTRY_BYTES);
    mproc_variant_clear(key);
}

static void pair_store(dict *self, mproc_variant key, mproc_variant item)
{
    mproc__table_entry *entry = mproc__table_find(&self->table, key);
    if (!entry) {
        mproc__table_put(&self->table, key, item);
        return;
    }
    key_clear(self, &key);
    item_clear(self, &entry->item);
    entry->item = item;
}

static int update(dict *self, mproc_variant pairs)
{
    size_t count = mproc_variant_count(pairs), made = 0;
    if (pairs.kind == MPROC_KIND_NULL)
        return 0;
    if (pairs.kind != MPROC_KIND_LIST && pairs.kind != MPROC_KIND_DICT)
        return mproc__fail(MPROC_EARGUMENT, "entries come as a list of pairs or as a dict");
    mproc_variant *copies = calloc(2 * count + 1, sizeof *copies);
    if (!copies)
        return mproc__fail(-ENOMEM, "no memory in the server for %zu entries", count);
    int rc = pairs_copy(self, pairs, count, copies, &made);
    for (size_t i = 0; i < made; i += 2) {
        if (rc == 0) {
            pair_store(self, copies[i], copies[i + 1]);
        } else {
            key_clear(self, &copies[i]);
            item_clear(self, &copies[i + 1]);
        }
    }
    free(copies);
    return rc;
}

static int dict_update(dict *self, const mproc__request *request, mproc__answer *answer)
{
    (void)answer;
    int rc = argument_count(request, 1);
    return rc < 0 ? rc : update(self, argument(request, 0));
}

/* ---- the type ---- */

static void dict_destroy(mproc__registry *registry, mproc__served *served)
{
    (void)registry;
    dict *self = dict_of(served);
    size_t position = 0;
    for (mproc__table_entry *entry; (entry = mproc__table_next(&self->table, &position));) {
        refund(self, entry->key, MPROC__ENTRY_BYTES);
        refund(self, entry->item, 0);
    }
    mproc__table_fini(&self->table);
    free(self);
}

static int dict_create(mproc__registry *registry, mproc_variant args, mproc__served **ret_served)
{
    dict *self = calloc(1, sizeof *self);
    if (!self)
        return mproc__fail(-ENOMEM, "no memory in the server for a dict");
    self->registry = registry;
    mproc__table_init(&self->table);
    int rc = update(self, args);
    if (rc < 0)
        dict_destroy(registry, &self->served);
    else
        *ret_served = &self->served;
    return rc;
}

static int dict_call(mproc__served *served, const mproc__request *request, mproc__answer *answer)
{
    static int (*const methods[])(dict *, const mproc__request *, mproc__answer *) = {
        dict_get, dict_set, dict_remove, dict_add, dict_compare_set, dict_count, dict_copy, dict_update};
    size_t method = (size_t)request->method - MPROC__DICT_GET;
    if (request->method < MPROC__DICT_GET || method >= MPROC__COUNT(methods))
        return mproc__fail(MPROC_EKEY, "a dict has no method number %d", (int)request->method);
    return methods[method](dict_of(served), request, answer);
}

const mproc__served_type mproc__served_dict = {MPROC_TYPE_DICT, "dict",    dict_create,
                                               dict_destroy,    dict_call, NULL};
