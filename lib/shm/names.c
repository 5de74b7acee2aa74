/* SPDX-License-Identifier: BSD-2-Clause */
/* The directory of named objects of this process. Weak: it holds no reference, an entry goes with its object. */
#include "platform/base.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <mproc/variant.h>
#include "platform/story.h"
#include "shm/place.h"

/* Programs name tens of objects, not thousands: a list is enough. */
typedef struct name_entry {
    struct name_entry *next;
    mproc__handle *handle;
    mproc__home home;
    char name[];
} name_entry;

static name_entry *names_first;
MPROC__FORK_DATA static pthread_mutex_t names_guard = PTHREAD_MUTEX_INITIALIZER;

MPROC__FORK_TEXT static void names_lock(void)
{
    pthread_mutex_lock(&names_guard);
}

MPROC__FORK_TEXT static void names_unlock(void)
{
    pthread_mutex_unlock(&names_guard);
}

/* fork takes the guard, so that a child never finds it locked by a thread it does not have. From the program's start: a
 * handler that is registered at the first use may come while another thread forks, too late for that child. */
__attribute__((constructor(101))) static void names_start(void)
{
    pthread_atfork(names_lock, names_unlock, names_unlock);
}

static void names_enter(void)
{
    names_lock();
}

/* The link that points to the entry, or to NULL at the end. */
static name_entry **link_of_name(mproc__home home, const char *name)
{
    name_entry **link = &names_first;
    while (*link && ((*link)->home != home || strcmp((*link)->name, name) != 0))
        link = &(*link)->next;
    return link;
}

static void link_drop(name_entry **link)
{
    name_entry *gone = *link;
    *link = gone->next;
    free(gone);
}

/* A reference, unless the last one went and destroy is on its way here: then the object is as good as gone. */
static bool keep_if_alive(mproc__handle *handle)
{
    uint32_t references = atomic_load_explicit(&handle->references, memory_order_relaxed);
    while (references > 0)
        if (atomic_compare_exchange_weak(&handle->references, &references, references + 1))
            return true;
    return false;
}

static bool entry_alive(const name_entry *entry)
{
    return atomic_load_explicit(&entry->handle->references, memory_order_relaxed) > 0;
}

int mproc__names_add(mproc__home home, const char *name, mproc__handle *handle)
{
    size_t bytes = strlen(name) + 1;
    name_entry *new_entry = malloc(sizeof(*new_entry) + bytes);
    if (!new_entry)
        return mproc__fail(-ENOMEM, "no memory for the name \"%s\"", name);
    memcpy(new_entry->name, name, bytes);
    new_entry->handle = handle;
    new_entry->home = home;
    names_enter();
    name_entry **link = link_of_name(home, name);
    bool taken = *link && entry_alive(*link);
    if (*link && !taken)
        link_drop(link);
    if (!taken) {
        new_entry->next = names_first;
        names_first = new_entry;
    }
    names_unlock();
    if (!taken)
        return 0;
    free(new_entry);
    return mproc__fail(-EEXIST, "there is an object of the name \"%s\" already", name);
}

int mproc__names_find(mproc__home home, const char *name, mproc_type_id type, mproc__handle **ret_handle)
{
    int code = -ENOENT;
    names_enter();
    name_entry *found = *link_of_name(home, name);
    if (found && found->handle->type != (uint32_t)type)
        code = -EINVAL;
    else if (found && keep_if_alive(found->handle)) {
        *ret_handle = found->handle;
        code = 0;
    }
    names_unlock();
    if (code == -ENOENT)
        mproc__fail(code, "no object of the name \"%s\" here", name);
    if (code == -EINVAL)
        mproc__fail(code, "\"%s\" is an object of another type", name);
    return code;
}

void mproc__names_remove(mproc__handle *handle)
{
    names_enter();
    for (name_entry **link = &names_first; *link;) {
        if ((*link)->handle == handle)
            link_drop(link);
        else
            link = &(*link)->next;
    }
    names_unlock();
}

int mproc__names_remove_name(mproc__home home, const char *name)
{
    names_enter();
    name_entry **link = link_of_name(home, name);
    bool found = *link != NULL;
    if (found)
        link_drop(link);
    names_unlock();
    return found ? 0 : mproc__fail(-ENOENT, "no object of the name \"%s\" here", name);
}

static int list_one(mproc_variant *list, const name_entry *entry)
{
    mproc_variant dict = mproc_null();
    mproc_variant text = mproc_text(entry->name);
    if (text.kind == MPROC_KIND_INVALID) /* a text is UTF-8; a name is what it is */
        text = mproc_bytes(entry->name, strlen(entry->name));
    int code = mproc_variant_set(&dict, "name", text);
    if (code == 0)
        code = mproc_variant_set(&dict, "type", mproc_text(entry->handle->ops->noun));
    if (code == 0)
        code = mproc_variant_set(&dict, "holders", mproc_int(atomic_load(&entry->handle->references)));
    if (code == 0)
        code = mproc_variant_append(list, dict);
    mproc_variant_clear(&dict);
    return code;
}

int mproc__names_list(mproc__home home, mproc_variant *ret_list)
{
    mproc_variant list = mproc_null(); /* the first append makes it a list */
    int code = 0;
    names_enter();
    for (name_entry *each = names_first; each && code == 0; each = each->next)
        if (each->home == home && entry_alive(each))
            code = list_one(&list, each);
    names_unlock();
    if (code == 0)
        *ret_list = list.kind == MPROC_KIND_NULL ? mproc_items(NULL, 0) : list;
    else
        mproc_variant_clear(&list);
    return code;
}
