/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions as (build-id of their object file, offset): any function of the program or of a loaded library,
 * static ones too, without registration. The receiver finds the object with that build-id and checks that the
 * offset is code.
 *
 * A receiver that lacks the object takes the function that is registered under the same name
 * (registered.c). What was searched for is remembered per thread (no lock, no false sharing), and looked at again. */
#include "platform/base.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "platform/story.h"
#include "process/launch.h"
#include "process/object.h"

enum { FUNCTION_CACHE = 32 }; /* a power of two; programs send few different functions */

typedef struct function_entry {
    uintptr_t address; /* 0: empty */
    unsigned long long unloads;
    mproc__object_place place;
} function_entry;

static _Thread_local function_entry function_cache[FUNCTION_CACHE];

static function_entry *cache_slot(uint64_t key)
{
    return &function_cache[(key * 0x9e3779b97f4a7c15u) >> 59];
}
_Static_assert(FUNCTION_CACHE == 32, "cache_slot takes the top five bits");

/* Whether its object is still there. */
static bool entry_holds(const function_entry *entry)
{
    mproc__object_place now;
    if (mproc__object_at(entry->address, &now))
        return mproc__object_place_same(&now, &entry->place);
    return entry->unloads == mproc__object_unloads();
}

/* ---- the three calls ---- */

static int place_find(uintptr_t address, mproc__object_place *ret_place)
{
    function_entry *entry = cache_slot(address);
    if (mproc__object_at(address, ret_place))
        return 0;
    if (!address || entry->address != address || !entry_holds(entry)) {
        *entry = (function_entry){.address = address};
        int rc = mproc__object_search(address, &entry->place, &entry->unloads);
        if (rc < 0) {
            entry->address = 0;
            return rc;
        }
    }
    *ret_place = entry->place;
    return 0;
}

/* Names are looked up each time: one may be given later than the place was remembered. */
int mproc__function_pack(mproc_fn *fn, mproc__function_id *ret_id)
{
    mproc__object_place place;
    int rc = place_find((uintptr_t)fn, &place);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    if (rc < 0)
        return mproc__fail(MPROC_EFUNCTION,
                           "%p is not a function of a loaded object (a nested or run-time made function?)",
                           (void *)(uintptr_t)fn);
    memset(ret_id, 0, sizeof *ret_id);
    memcpy(ret_id->build_id, place.build_id, sizeof ret_id->build_id);
    ret_id->offset = place.offset;
    snprintf(ret_id->name, sizeof ret_id->name, "%s", mproc__registered_name(fn));
    return 0;
}

static void id_text(const uint8_t id[20], char ret_text[41])
{
    for (int i = 0; i < 20; i++)
        snprintf(ret_text + 2 * i, 3, "%02x", id[i]);
}

static int function_unknown(const mproc__function_id *id)
{
    char wanted[41], own[41];
    uint8_t own_id[20];
    mproc__object_own_id(own_id);
    id_text(id->build_id, wanted);
    id_text(own_id, own);
    if (id->name[0])
        return mproc__fail(
            MPROC_EFUNCTION,
            "no code at +0x%llx of build %s in this program (its own build is %s), and no function "
            "is registered in it as '%.63s'",
            (unsigned long long)id->offset, wanted, own, id->name);
    return mproc__fail(MPROC_EFUNCTION,
                       "no code at +0x%llx of build %s in this program (its own build is %s): sender and "
                       "receiver must be the same build, or register the function by name",
                       (unsigned long long)id->offset, wanted, own);
}

/* code: why it was not found by its place, with a story unless it is -ENOENT. */
static int function_by_name(const mproc__function_id *id, int code, mproc_fn **ret_fn)
{
    bool whole = id->name[0] && memchr(id->name, 0, sizeof id->name);
    mproc_fn *fn = whole ? mproc__registered_find(id->name) : NULL;
    if (!fn)
        return code == -ENOENT ? function_unknown(id) : code;
    *ret_fn = fn;
    return 0;
}

static int address_find(const mproc__object_place *place, uintptr_t *ret_address)
{
    uint64_t key;
    memcpy(&key, place->build_id, sizeof key);
    function_entry *entry = cache_slot(key ^ place->offset);
    if (!entry->address || !mproc__object_place_same(&entry->place, place) || !entry_holds(entry)) {
        function_entry found = {.address = mproc__object_program(place), .place = *place};
        int rc = found.address ? 0 : mproc__object_search_place(place, &found.address, &found.unloads);
        if (rc < 0)
            return rc;
        *entry = found;
    }
    *ret_address = entry->address;
    return 0;
}

MPROC__FORK_TEXT int mproc__function_unpack(const mproc__function_id *id, mproc_fn **ret_fn)
{
    mproc__object_place place = {.offset = id->offset};
    memcpy(place.build_id, id->build_id, sizeof place.build_id);
    uintptr_t address = mproc__object_noted(&place);
    int rc = address ? 0 : address_find(&place, &address);
    if (rc < 0)
        return function_by_name(id, rc, ret_fn);
    *ret_fn = (mproc_fn *)address;
    return 0;
}

/* The loader goes through an object's symbols for it. */
static void name_find(mproc_fn *fn, char *buffer, size_t size_bytes)
{
    Dl_info info;
    uintptr_t address = (uintptr_t)fn;
    if (!dladdr((void *)address, &info)) {
        snprintf(buffer, size_bytes, "%p", (void *)address);
    } else if (info.dli_sname && address == (uintptr_t)info.dli_saddr) {
        snprintf(buffer, size_bytes, "%s", info.dli_sname);
    } else {
        const char *file = strrchr(info.dli_fname, '/');
        snprintf(buffer, size_bytes, "%s+0x%llx", file ? file + 1 : info.dli_fname,
                 (unsigned long long)(address - (uintptr_t)info.dli_fbase));
    }
}

void mproc__function_name(mproc_fn *fn, char *buffer, size_t size_bytes)
{
    static _Thread_local struct {
        function_entry of;
        char name[96];
    } last;
    if (!fn || last.of.address != (uintptr_t)fn || !entry_holds(&last.of)) {
        name_find(fn, last.name, sizeof last.name);
        last.of = (function_entry){.address = (uintptr_t)fn};
        if (!mproc__object_at(last.of.address, &last.of.place))
            last.of.unloads = mproc__object_unloads();
    }
    snprintf(buffer, size_bytes, "%s", last.name);
}
