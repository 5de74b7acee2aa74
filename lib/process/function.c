/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions as (build-id of their object file, offset): any function of the program or of a loaded library,
 * static ones too, without registration. The receiver finds the object with that build-id and checks that the
 * offset is code.
 *
 * Build-ids are a default of the distribution's linker, not of every linker; an object without one is
 * identified by a SHA-1 over its executable segments, which two builds share only when their code is the
 * same. A receiver that lacks the object takes the function that is registered under the same name
 * (registered.c). Results are remembered per thread (no lock, no false sharing) until the dynamic loader
 * unloads something. */
#include "platform/base.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "platform/story.h"
#include "process/launch.h"

enum { FUNCTION_CACHE = 32 }; /* a power of two; programs send few different functions */

typedef struct function_entry {
    uintptr_t address; /* 0: empty */
    unsigned long long unloads;
    mproc__function_id id;
} function_entry;

static _Thread_local function_entry function_cache[FUNCTION_CACHE];

/* ---- objects ---- */

static bool object_contains(const struct dl_phdr_info *info, uintptr_t offset)
{
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X) && offset >= segment->p_vaddr &&
            offset - segment->p_vaddr < segment->p_memsz)
            return true;
    }
    return false;
}

/* Walks one note segment; note sizes come from the file, so every step is checked against its end. */
static bool notes_find_id(const uint8_t *notes, size_t size_bytes, size_t align, uint8_t ret_id[20])
{
    align = align == 8 ? 8 : 4;
    while (size_bytes >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)notes;
        size_t name = sizeof *note, desc = mproc__round_up(name + note->n_namesz, align);
        size_t end = mproc__round_up(desc + note->n_descsz, align);
        if (note->n_namesz > size_bytes || note->n_descsz > size_bytes || desc + note->n_descsz > size_bytes)
            return false;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && !memcmp(notes + name, "GNU", 4) &&
            note->n_descsz > 0) {
            memset(ret_id, 0, 20);
            memcpy(ret_id, notes + desc, note->n_descsz < 20 ? note->n_descsz : 20);
            return true;
        }
        if (end >= size_bytes)
            return false;
        notes += end;
        size_bytes -= end;
    }
    return false;
}

static bool object_build_id(const struct dl_phdr_info *info, uint8_t ret_id[20])
{
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_NOTE && notes_find_id((const uint8_t *)(info->dlpi_addr + segment->p_vaddr),
                                                        segment->p_filesz, segment->p_align, ret_id))
            return true;
    }
    return false;
}

static bool object_hash(const struct dl_phdr_info *info, uint8_t ret_id[20])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && EVP_DigestInit_ex(context, EVP_sha1(), NULL) == 1;
    for (size_t i = 0; good && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X))
            good = EVP_DigestUpdate(context, (const void *)(info->dlpi_addr + segment->p_vaddr),
                                    segment->p_filesz) == 1;
    }
    good = good && EVP_DigestFinal_ex(context, ret_id, NULL) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

static bool object_id(const struct dl_phdr_info *info, uint8_t ret_id[20])
{
    return object_build_id(info, ret_id) || object_hash(info, ret_id);
}

/* ---- walking the loaded objects ---- */

typedef struct function_search {
    uintptr_t address;     /* pack: wanted; unpack: found */
    mproc__function_id id; /* pack: found; unpack: wanted */
    unsigned long long unloads;
    bool found;
} function_search;

static int search_address(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    function_search *search = context;
    search->unloads = info->dlpi_subs;
    if (!object_contains(info, search->address - info->dlpi_addr))
        return 0;
    search->id.offset = search->address - info->dlpi_addr;
    search->found = object_id(info, search->id.build_id);
    return 1;
}

static int search_id(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    function_search *search = context;
    uint8_t id[20];
    search->unloads = info->dlpi_subs;
    if (!object_contains(info, search->id.offset) || !object_id(info, id) ||
        memcmp(id, search->id.build_id, 20))
        return 0;
    search->address = info->dlpi_addr + search->id.offset;
    search->found = true;
    return 1;
}

static int search_unloads(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    *(unsigned long long *)context = info->dlpi_subs;
    return 1;
}

/* How often anything was unloaded; a remembered address is good while this stands still. */
static unsigned long long unload_count(void)
{
    unsigned long long count = 0;
    dl_iterate_phdr(search_unloads, &count);
    return count;
}

static function_entry *cache_slot(uint64_t key)
{
    return &function_cache[(key * 0x9e3779b97f4a7c15u) >> 59];
}
_Static_assert(FUNCTION_CACHE == 32, "cache_slot takes the top five bits");

static void cache_put(uint64_t key, const function_search *search)
{
    *cache_slot(key) =
        (function_entry){.address = search->address, .unloads = search->unloads, .id = search->id};
}

/* ---- the three calls ---- */

static int identity_pack(mproc_fn *fn, mproc__function_id *ret_id)
{
    function_search search = {.address = (uintptr_t)fn};
    const function_entry *entry = cache_slot(search.address);
    if (entry->address && entry->address == search.address && entry->unloads == unload_count()) {
        *ret_id = entry->id;
        return 0;
    }
    dl_iterate_phdr(search_address, &search);
    if (!search.found)
        return mproc__fail(MPROC_EFUNCTION,
                           "%p is not a function of a loaded object (a nested or run-time made function?)",
                           (void *)search.address);
    cache_put(search.address, &search);
    *ret_id = search.id;
    return 0;
}

/* Names are looked up each time: one may be given later than the identity was remembered. */
int mproc__function_pack(mproc_fn *fn, mproc__function_id *ret_id)
{
    int rc = identity_pack(fn, ret_id);
    if (rc == 0)
        snprintf(ret_id->name, sizeof ret_id->name, "%s", mproc__registered_name(fn));
    return rc;
}

static int first_object_id(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    if (!object_id(info, context))
        memset(context, 0, 20);
    return 1;
}

static void id_text(const uint8_t id[20], char ret_text[41])
{
    for (int i = 0; i < 20; i++)
        snprintf(ret_text + 2 * i, 3, "%02x", id[i]);
}

static int function_unknown(const mproc__function_id *id)
{
    char wanted[41], own[41];
    uint8_t own_id[20] = {0};
    dl_iterate_phdr(first_object_id, own_id);
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

static int function_by_name(const mproc__function_id *id, mproc_fn **ret_fn)
{
    bool whole = id->name[0] && memchr(id->name, 0, sizeof id->name);
    mproc_fn *fn = whole ? mproc__registered_find(id->name) : NULL;
    if (!fn)
        return function_unknown(id);
    *ret_fn = fn;
    return 0;
}

int mproc__function_unpack(const mproc__function_id *id, mproc_fn **ret_fn)
{
    function_search search = {.id = *id};
    uint64_t key;
    memcpy(&key, id->build_id, sizeof key);
    key ^= id->offset;
    const function_entry *entry = cache_slot(key);
    if (entry->address && entry->id.offset == id->offset && !memcmp(entry->id.build_id, id->build_id, 20) &&
        entry->unloads == unload_count()) {
        *ret_fn = (mproc_fn *)entry->address;
        return 0;
    }
    dl_iterate_phdr(search_id, &search);
    if (!search.found)
        return function_by_name(id, ret_fn);
    cache_put(key, &search);
    *ret_fn = (mproc_fn *)search.address;
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
        mproc_fn *fn;
        unsigned long long unloads;
        char name[96];
    } last;
    unsigned long long unloads = unload_count();
    if (last.fn != fn || last.unloads != unloads) {
        name_find(fn, last.name, sizeof last.name);
        last.fn = fn;
        last.unloads = unloads;
    }
    snprintf(buffer, size_bytes, "%s", last.name);
}
