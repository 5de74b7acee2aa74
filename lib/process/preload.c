/* SPDX-License-Identifier: BSD-2-Clause */
/* Preloading: the owner's list, and its run in the nursery. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "data/call.h"
#include "platform/platform.h"
#include "platform/story.h"
#include "process/preload.h"

typedef struct preload_entry {
    mproc__function_id function;
    uint32_t policy; /* mproc_preload_policy */
} preload_entry;

/* Plain memory: written in main before the first start, as the header says. A fork child has the list too, and may add to
 * it until it makes a nursery of its own. */
static struct {
    preload_entry entries[MPROC__PRELOADS];
    size_t count;
    uint64_t taken_incarnation; /* of the process whose nursery has it; 0: none */
} preload;

/* ---- owner ---- */

static preload_entry *entry_find(const mproc__function_id *id)
{
    for (size_t i = 0; i < preload.count; i++)
        if (preload.entries[i].function.offset == id->offset &&
            memcmp(preload.entries[i].function.build_id, id->build_id, sizeof id->build_id) == 0)
            return &preload.entries[i];
    return NULL;
}

int mproc_preload(mproc_fn *fn, mproc_preload_policy policy)
{
    mproc__function_id id;
    if (!fn || policy < MPROC_PRELOAD_IGNORE || policy > MPROC_PRELOAD_FAIL)
        return mproc__fail(-EINVAL, "mproc_preload: %s", fn ? "no such policy" : "NULL");
    if (!mproc__process_main_called())
        return mproc__fail(MPROC_ENOINIT, "mproc_preload: mproc_init(&argc, &argv) comes first in main");
    if (preload.taken_incarnation == mproc__incarnation())
        return mproc__fail(MPROC_ESTATE, "mproc_preload: the nursery was made by an earlier start");
    int rc = mproc__function_pack(fn, &id);
    if (rc < 0)
        return rc;
    preload_entry *entry = entry_find(&id);
    if (!entry && preload.count == MPROC__PRELOADS)
        return mproc__fail(MPROC_ELIMIT, "mproc_preload: %d functions are the most", MPROC__PRELOADS);
    if (!entry)
        entry = &preload.entries[preload.count++];
    *entry = (preload_entry){.function = id, .policy = policy};
    return 0;
}

mproc_variant mproc__preload_take(void)
{
    preload.taken_incarnation = mproc__incarnation();
    return mproc_bytes(preload.entries, preload.count * sizeof *preload.entries);
}

/* ---- nursery ---- */

static int entry_call(mproc_fn *fn, const char *name)
{
    mproc_call call;
    mproc__call_init(&call, mproc_null());
    call.name = name;
    int code = mproc__call_run(&call, fn);
    if (code < 0)
        code = mproc__fail(code, "start: the preloaded function %s failed: %s", name,
                           mproc_error_text(&call.story));
    else if (code > 0)
        code = mproc__fail(MPROC_EEXIT, "start: the preloaded function %s returned %d", name, code);
    mproc__call_fini(&call);
    return code;
}

static int entry_run(const preload_entry *entry)
{
    char name[96];
    mproc_fn *fn;
    int code = mproc__function_unpack(&entry->function, &fn);
    if (code == 0) {
        mproc__function_name(fn, name, sizeof name);
        code = entry_call(fn, name);
    }
    if (code < 0 && entry->policy == MPROC_PRELOAD_WARN)
        fprintf(stderr, "mproc_preload: %s\n", mproc_error_text(mproc_last_error()));
    return entry->policy == MPROC_PRELOAD_FAIL ? code : 0;
}

int mproc__preload_run(mproc_variant list)
{
    size_t size_bytes = 0;
    const preload_entry *entries = mproc_variant_get_bytes(list, &size_bytes);
    int code = 0;
    for (size_t i = 0; code == 0 && i < size_bytes / sizeof *entries; i++)
        code = entry_run(&entries[i]);
    fflush(NULL); /* or each child would write it again */
    return code;
}
