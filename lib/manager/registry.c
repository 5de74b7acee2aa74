/* SPDX-License-Identifier: BSD-2-Clause */
/* The objects of one server life: found by id or name, alive while a session or a name holds them. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "manager/served.h"
#include "platform/story.h"

enum { OBJECT_BYTES = 512 }; /* charged for an object itself, its name and a place in two tables */

static const mproc__served_type *const types[] = {&mproc__served_dict, &mproc__served_list,
                                                  &mproc__served_lock};

void mproc__registry_init(mproc__registry *registry, uint64_t life, size_t max_bytes)
{
    *registry = (mproc__registry){.life = life, .max_bytes = max_bytes};
    mproc__table_init(&registry->objects);
    mproc__table_init(&registry->names);
}

static mproc__served *entry_served(const mproc__table_entry *entry)
{
    return (mproc__served *)(uintptr_t)entry->item.data;
}

static void served_free(mproc__registry *registry, mproc__served *served)
{
    char *name = served->name;
    served->type->destroy(registry, served);
    free(name);
    mproc__registry_refund(registry, OBJECT_BYTES);
}

void mproc__registry_fini(mproc__registry *registry)
{
    size_t position = 0;
    for (mproc__table_entry *entry; (entry = mproc__table_next(&registry->objects, &position));)
        served_free(registry, entry_served(entry));
    mproc__table_fini(&registry->names);
    mproc__table_fini(&registry->objects);
    mproc__timers_fini(&registry->timers);
}

uint64_t mproc__registry_token(mproc__registry *registry)
{
    return registry->life + ++registry->grants;
}

int mproc__registry_charge(mproc__registry *registry, size_t bytes)
{
    if (bytes > registry->max_bytes - registry->used_bytes)
        return mproc__fail(MPROC_ELIMIT,
                           "the server's objects use %zu of the %zu bytes allowed to them, and %zu more "
                           "were asked for",
                           registry->used_bytes, registry->max_bytes, bytes);
    registry->used_bytes += bytes;
    return 0;
}

void mproc__registry_refund(mproc__registry *registry, size_t bytes)
{
    MPROC__ASSERT(bytes <= registry->used_bytes);
    registry->used_bytes -= bytes;
}

/* ---- references ---- */

static void served_drop(mproc__registry *registry, mproc__served *served)
{
    if (--served->references > 0)
        return;
    mproc__table_remove(&registry->objects,
                        mproc__table_find(&registry->objects, mproc_int((int64_t)served->id)), NULL);
    mproc__parked_fail_all(served, MPROC_ESTALE, "the object went away while the request waited");
    served_free(registry, served);
}

int mproc__registry_hold(mproc__registry *registry, mproc__client *client, mproc__served *served)
{
    mproc__table_entry *entry = mproc__table_find(&client->holds, mproc_int((int64_t)served->id));
    if (entry) {
        entry->item.number++;
        served->references++;
        return 0;
    }
    int rc = mproc__registry_charge(registry, MPROC__ENTRY_BYTES);
    if (rc < 0)
        return rc;
    rc = mproc__table_reserve(&client->holds, 1);
    if (rc < 0) {
        mproc__registry_refund(registry, MPROC__ENTRY_BYTES);
        return rc;
    }
    mproc__table_put(&client->holds, mproc_int((int64_t)served->id), mproc_int(1));
    served->references++;
    return 0;
}

static void hold_forget(mproc__registry *registry, mproc__client *client, mproc__table_entry *entry)
{
    mproc__table_remove(&client->holds, entry, NULL);
    mproc__registry_refund(registry, MPROC__ENTRY_BYTES);
}

void mproc__registry_release(mproc__registry *registry, mproc__client *client, uint64_t id)
{
    mproc__table_entry *entry = mproc__table_find(&client->holds, mproc_int((int64_t)id));
    if (!entry)
        return;
    mproc__served *served = entry_served(mproc__table_find(&registry->objects, mproc_int((int64_t)id)));
    if (--entry->item.number == 0)
        hold_forget(registry, client, entry);
    served_drop(registry, served);
}

/* ---- making and finding ---- */

static const mproc__served_type *type_find(uint32_t id)
{
    for (size_t i = 0; i < MPROC__COUNT(types); i++)
        if ((uint32_t)types[i]->id == id)
            return types[i];
    mproc__fail(MPROC_EKEY, "the server knows no type number %u", (unsigned)id);
    return NULL;
}

/* Empty is no name, and fits. */
static int name_check(const char *name)
{
    if (strlen(name) > MPROC__WIRE_NAME_BYTES)
        return mproc__fail(-EINVAL, "an object's name has at most %d bytes", MPROC__WIRE_NAME_BYTES);
    if (mproc_text(name).kind != MPROC_KIND_TEXT)
        return mproc__fail(-EINVAL, "an object's name is UTF-8 text");
    return 0;
}

static mproc__served *name_find(mproc__registry *registry, const char *name)
{
    mproc__table_entry *entry = mproc__table_find(&registry->names, mproc_text(name));
    return entry ? entry_served(entry) : NULL;
}

static int existing_hold(const mproc__request *request, mproc__served *served, const mproc__served_type *type,
                         mproc__served **ret_served)
{
    if (served->type != type)
        return mproc__fail(-EINVAL, "\"%s\" is a %s, not a %s", served->name, served->type->name, type->name);
    int rc = mproc__registry_hold(request->registry, request->client, served);
    if (rc == 0)
        *ret_served = served;
    return rc;
}

/* Into the tables, with one hold. Everything that can fail comes before the first change. */
static int served_enter(const mproc__request *request, mproc__served *served, const char *name)
{
    mproc__registry *registry = request->registry;
    char *copy = NULL;
    int rc = mproc__table_reserve(&registry->objects, 1);
    if (rc == 0 && *name) {
        rc = mproc__table_reserve(&registry->names, 1);
        copy = rc == 0 ? strdup(name) : NULL;
        if (rc == 0 && !copy)
            rc = mproc__fail(-ENOMEM, "no memory for the name \"%s\"", name);
    }
    served->id = ++registry->last_id;
    if (rc == 0)
        rc = mproc__registry_hold(registry, request->client, served);
    if (rc < 0) {
        free(copy);
        return rc;
    }
    mproc__table_put(&registry->objects, mproc_int((int64_t)served->id), mproc_pointer(served));
    served->name = copy;
    if (copy) {
        mproc__table_put(&registry->names, mproc_text(copy), mproc_pointer(served));
        served->references++;
    }
    return 0;
}

static int served_make(const mproc__request *request, const mproc__served_type *type, const char *name,
                       mproc__served **ret_served)
{
    mproc__served *served = NULL;
    int rc = mproc__registry_charge(request->registry, OBJECT_BYTES);
    if (rc < 0)
        return rc;
    rc = type->create(request->registry, request->args, &served);
    if (rc < 0) {
        mproc__registry_refund(request->registry, OBJECT_BYTES);
        return rc;
    }
    served->type = type;
    served->name = NULL;
    served->references = 0;
    mproc__link_init(&served->waiting);
    rc = served_enter(request, served, name);
    if (rc < 0)
        served_free(request->registry, served);
    else
        *ret_served = served;
    return rc;
}

int mproc__registry_create(const mproc__request *request, uint32_t type_id, const char *name, bool and_open,
                           mproc__served **ret_served)
{
    const mproc__served_type *type = type_find(type_id);
    if (!type)
        return MPROC_EKEY;
    int rc = name_check(name);
    if (rc < 0)
        return rc;
    mproc__served *existing = *name ? name_find(request->registry, name) : NULL;
    if (existing && and_open)
        return existing_hold(request, existing, type, ret_served);
    if (existing)
        return mproc__fail(-EEXIST, "the server has a %s named \"%s\" already", existing->type->name, name);
    return served_make(request, type, name, ret_served);
}

int mproc__registry_open(const mproc__request *request, uint32_t type_id, const char *name,
                         mproc__served **ret_served)
{
    const mproc__served_type *type = type_find(type_id);
    if (!type)
        return MPROC_EKEY;
    mproc__served *served = name_find(request->registry, name);
    if (!served)
        return mproc__fail(-ENOENT, "the server has nothing named \"%.*s\"", MPROC__WIRE_NAME_BYTES, name);
    return existing_hold(request, served, type, ret_served);
}

int mproc__registry_find(mproc__registry *registry, uint64_t id, uint64_t life, mproc__served **ret_served)
{
    if (life != registry->life)
        return mproc__fail(MPROC_ESTALE, "the object belongs to an earlier life of the server");
    mproc__table_entry *entry = mproc__table_find(&registry->objects, mproc_int((int64_t)id));
    if (!entry)
        return mproc__fail(MPROC_ESTALE, "the object is gone: nobody held it any more");
    *ret_served = entry_served(entry);
    return 0;
}

/* ---- names ---- */

int mproc__registry_unlink(mproc__registry *registry, const char *name)
{
    mproc__table_entry *entry = mproc__table_find(&registry->names, mproc_text(name));
    if (!entry)
        return mproc__fail(-ENOENT, "the server has nothing named \"%.*s\"", MPROC__WIRE_NAME_BYTES, name);
    mproc__served *served = entry_served(entry);
    mproc__table_remove(&registry->names, entry, NULL);
    free(served->name);
    served->name = NULL;
    served_drop(registry, served);
    return 0;
}

static int name_append(mproc_variant *list, const mproc__served *served)
{
    mproc_variant row = mproc_null();
    int rc = mproc_variant_set(&row, "name", mproc_text(served->name));
    if (rc == 0)
        rc = mproc_variant_set(&row, "type", mproc_text(served->type->name));
    if (rc == 0)
        rc = mproc_variant_set(&row, "holders", mproc_int((int64_t)served->references - 1));
    if (rc == 0)
        rc = mproc_variant_append(list, row);
    mproc_variant_clear(&row);
    return rc;
}

int mproc__registry_names(mproc__registry *registry, mproc_variant *ret_list)
{
    mproc_variant list = mproc_null();
    size_t position = 0;
    int rc = 0;
    for (mproc__table_entry *entry; rc == 0 && (entry = mproc__table_next(&registry->names, &position));)
        rc = name_append(&list, entry_served(entry));
    if (rc < 0) {
        mproc_variant_clear(&list);
        return rc;
    }
    *ret_list = list.kind == MPROC_KIND_NULL ? mproc_items(NULL, 0) : list;
    return 0;
}
