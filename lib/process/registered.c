/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions registered by name, for receivers of another build.
 *
 * A list that only grows at its head, by compare-and-swap: no lock that a fork could find taken, and readers in any thread at
 * any time. Who adds has looked at all that is behind the head that it replaces, so no name comes in twice. Entries stay for
 * the program's life: one that was taken away could be in a reader's hand. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "platform/story.h"
#include "process/launch.h"

typedef struct registry_entry {
    struct registry_entry *next; /* set before it is in the list */
    mproc_fn *fn;
    char name[MPROC__REGISTERED_BYTES];
} registry_entry;

static _Atomic(registry_entry *) registry;

static registry_entry *entry_named(registry_entry *first, const char *name)
{
    while (first && strcmp(first->name, name) != 0)
        first = first->next;
    return first;
}

const char *mproc__registered_name(mproc_fn *fn)
{
    registry_entry *entry = atomic_load_explicit(&registry, memory_order_acquire);
    while (entry && entry->fn != fn)
        entry = entry->next;
    return entry ? entry->name : "";
}

mproc_fn *mproc__registered_find(const char *name)
{
    registry_entry *entry = entry_named(atomic_load_explicit(&registry, memory_order_acquire), name);
    return entry ? entry->fn : NULL;
}

static int name_check(const char *name, mproc_fn *fn)
{
    mproc__function_id id;
    if (!name || !fn)
        return mproc__fail(-EINVAL, "mproc_register: NULL");
    if (!name[0])
        return mproc__fail(-EINVAL, "mproc_register: an empty name");
    if (strlen(name) >= MPROC__REGISTERED_BYTES)
        return mproc__fail(-ENAMETOOLONG, "mproc_register: a name of %zu bytes, %d are the most",
                           strlen(name), MPROC__REGISTERED_BYTES - 1);
    return mproc__function_pack(fn, &id);
}

int mproc_register(const char *name, mproc_fn *fn)
{
    int rc = name_check(name, fn);
    if (rc < 0)
        return rc;
    registry_entry *entry = calloc(1, sizeof *entry), *first = atomic_load(&registry), *known;
    if (!entry)
        return mproc__fail(-ENOMEM, "mproc_register: no memory for '%s'", name);
    entry->fn = fn;
    memcpy(entry->name, name, strlen(name));
    do {
        known = entry_named(first, name);
        if (known) {
            free(entry);
            return known->fn == fn ? 0
                                   : mproc__fail(-EEXIST, "mproc_register: '%s' is another function", name);
        }
        entry->next = first;
    } while (!atomic_compare_exchange_weak(&registry, &first, entry));
    return 0;
}
