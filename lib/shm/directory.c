/* SPDX-License-Identifier: BSD-2-Clause */
/* All names in /dev/shm: listed, taken away by group, cleaned. The kernel's directory is the only list. */
#include "platform/base.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <mproc/shm.h>
#include <mproc/variant.h>
#include "platform/story.h"
#include "shm/named.h"
#include "shm/noun.h"
#include "shm/segment_inside.h"

#define DIRECTORY "/dev/shm"

/* Devices, pipes and directories are not opened to be looked at. */
static bool may_be_ours(const struct dirent *entry)
{
    return entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN;
}

/* Calls fn for every name that may be a file, until it answers negative. No /dev/shm: no names. */
static int directory_each(mproc__named_fn *fn, void *context)
{
    int code = 0;
    DIR *directory = opendir(DIRECTORY);
    if (!directory)
        return errno == ENOENT ? 0
                               : mproc__fail(-errno, "cannot read " DIRECTORY ": %s", mproc_strerror(-errno));
    for (struct dirent *entry; code >= 0 && (entry = readdir(directory));)
        if (may_be_ours(entry))
            code = fn(entry->d_name, entry->d_name, context);
    closedir(directory);
    return code < 0 ? code : 0;
}

typedef struct group_walk {
    const char *group;
    mproc__named_fn *fn;
    void *context;
} group_walk;

static int group_visit(const char *file, const char *name, void *context)
{
    const group_walk *walk = context;
    size_t length = strlen(walk->group);
    const char *mark = strchr(file, '%');
    if (length == 0 && !mark)
        return walk->fn(file, name, walk->context);
    if (length > 0 && mark == file + length && memcmp(file, walk->group, length) == 0)
        return walk->fn(file, mark + 1, walk->context);
    return 0;
}

int mproc__named_each(const char *group, mproc__named_fn *fn, void *context)
{
    group_walk walk = {.group = group, .fn = fn, .context = context};
    return directory_each(group_visit, &walk);
}

/* ---- listed ---- */

static int list_one(const char *file, const char *name, void *context)
{
    mproc__named_facts facts;
    if (!mproc__named_look(file, &facts))
        return 0;
    const mproc__noun *noun = mproc__noun_of(facts.kind);
    mproc_variant dict = mproc_null();
    mproc_variant text = mproc_text(name);
    if (text.kind == MPROC_KIND_INVALID) /* a text is UTF-8; a file name is what it is */
        text = mproc_bytes(name, strlen(name));
    int code = mproc_variant_set(&dict, "name", text);
    if (code == 0)
        code = mproc_variant_set(&dict, "type", mproc_text(noun ? noun->word : "unknown"));
    if (code == 0)
        code = mproc_variant_set(&dict, "holders", mproc_int(facts.participants));
    if (code == 0)
        code = mproc_variant_append(context, dict);
    mproc_variant_clear(&dict);
    return code;
}

int mproc__named_list(const char *group, mproc_variant *ret_list)
{
    mproc_variant list = mproc_null(); /* the first append makes it a list */
    int code = mproc__named_each(group, list_one, &list);
    if (code < 0)
        mproc_variant_clear(&list);
    else
        *ret_list = list.kind == MPROC_KIND_NULL ? mproc_items(NULL, 0) : list;
    return code;
}

/* ---- taken away ---- */

/* One that somebody else took away meanwhile, or that is not this user's, does not keep the others. */
static int unlink_one(const char *file, const char *name, void *context)
{
    mproc__named_facts facts;
    (void)name;
    (void)context;
    if (mproc__named_look(file, &facts))
        (void)mproc__named_unlink(file);
    return 0;
}

int mproc__named_unlink_group(const char *group)
{
    return mproc__named_each(group, unlink_one, NULL);
}

static const char *kind_word(uint32_t kind)
{
    const mproc__noun *noun = mproc__noun_of(kind);
    if (kind == 0)
        return "half made object";
    return noun ? noun->word : "object";
}

/* A name may have newlines in it, a line of the log has none. */
static void log_removal(const char *file, uint32_t kind)
{
    char text[MPROC__FILE_BYTES];
    size_t length = 0;
    for (; file[length] && length < sizeof(text) - 1; length++)
        text[length] = iscntrl((unsigned char)file[length]) ? '?' : file[length];
    text[length] = '\0';
    mproc__log(MPROC_LOG_WARNING, "removed the %s in " DIRECTORY "/%s: all that used it are gone",
               kind_word(kind), text);
}

static int clean_one(const char *file, const char *name, void *context)
{
    uint32_t kind;
    (void)name;
    if (mproc__named_reap(file, 0, 0, &kind) == 1) {
        ++*(unsigned *)context;
        log_removal(file, kind);
    }
    return 0;
}

int mproc_cleanup(unsigned *ret_removed)
{
    unsigned removed = 0;
    int code = directory_each(clean_one, &removed);
    if (code == 0 && ret_removed)
        *ret_removed = removed;
    return code;
}
