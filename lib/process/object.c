/* SPDX-License-Identifier: BSD-2-Clause */
/* The object files of this program by their build-ids: of an address, and back. object.h.
 *
 * Build-ids are a default of the distribution's linker, not of every linker; an object without one is identified by a SHA-1
 * over its executable segments, which two builds share only when their code is the same. */
#include "platform/base.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include "platform/digest.h"
#include "platform/story.h"
#include "process/object.h"

/* ---- what it is ---- */

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
    mproc__sha1 *sum = mproc__sha1_begin();
    bool good = sum != NULL;
    for (size_t i = 0; good && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X))
            good =
                mproc__sha1_add(sum, (const void *)(info->dlpi_addr + segment->p_vaddr), segment->p_filesz);
    }
    return sum && mproc__sha1_end(sum, ret_id) && good;
}

/* 0, -EAGAIN: what hashes it is not loaded, -ELIBACC. */
static int object_id(const struct dl_phdr_info *info, uint8_t ret_id[20])
{
    if (object_build_id(info, ret_id))
        return 0;
    if (!mproc__digest_loaded())
        return -EAGAIN;
    return object_hash(info, ret_id) ? 0 : -ELIBACC;
}

/* ---- without the loader's list ---- */

#ifdef HAVE__DL_FIND_OBJECT
/* The program headers lie behind the file's header at the beginning of the first mapping, as linkers lay files out. */
static bool object_headers(const struct dl_find_object *found, struct dl_phdr_info *ret_info)
{
    enum { PAGE_BYTES = 4096 };
    const ElfW(Ehdr) *file = found->dlfo_map_start;
    if (memcmp(file->e_ident, ELFMAG, SELFMAG) || file->e_phentsize != sizeof(ElfW(Phdr)) ||
        file->e_phoff > PAGE_BYTES || file->e_phoff + file->e_phnum * sizeof(ElfW(Phdr)) > PAGE_BYTES)
        return false;
    *ret_info = (struct dl_phdr_info){.dlpi_addr = found->dlfo_link_map->l_addr,
                                      .dlpi_phdr =
                                          (const void *)((const char *)found->dlfo_map_start + file->e_phoff),
                                      .dlpi_phnum = file->e_phnum};
    return true;
}

static bool object_find(uintptr_t address, struct dl_phdr_info *ret_info)
{
    struct dl_find_object found;
    return _dl_find_object((void *)address, &found) == 0 && object_headers(&found, ret_info);
}
#else
static bool object_find(uintptr_t address, struct dl_phdr_info *ret_info)
{
    (void)address;
    (void)ret_info;
    return false;
}
#endif

bool mproc__object_at(uintptr_t address, mproc__object_place *ret_place)
{
    struct dl_phdr_info info;
    if (!object_find(address, &info) || !object_contains(&info, address - info.dlpi_addr))
        return false;
    ret_place->offset = address - info.dlpi_addr;
    return object_build_id(&info, ret_place->build_id);
}

uintptr_t mproc__object_program(const mproc__object_place *place)
{
    struct dl_phdr_info info;
    mproc__object_place found;
    if (!object_find(getauxval(AT_ENTRY), &info))
        return 0;
    uintptr_t address = info.dlpi_addr + place->offset;
    return mproc__object_at(address, &found) && mproc__object_place_same(&found, place) ? address : 0;
}

/* ---- by the loader's list ---- */

typedef struct object_search {
    mproc__object_place place; /* by address: found; by place: wanted */
    uintptr_t address;         /* wanted, or found */
    unsigned long long unloads;
    int code; /* 0: found; -ENOENT; of object_id: one that could be it has no build-id */
} object_search;

/* Twice, when an object that matters has no build-id: what hashes is loaded in between, because the walk holds the one of the
 * loader's locks that loading takes last. */
static int objects_walk(int (*look)(struct dl_phdr_info *info, size_t size, void *context),
                        object_search *search)
{
    search->code = -ENOENT;
    dl_iterate_phdr(look, search);
    if (search->code == -EAGAIN) {
        int rc = mproc__digest_load();
        if (rc < 0)
            return rc;
        search->code = -ENOENT;
        dl_iterate_phdr(look, search);
    }
    if (search->code == -ELIBACC)
        return mproc__fail(-ELIBACC,
                           "libcrypto computes no SHA-1, by which an object without a build-id is known");
    return search->code;
}

static int search_address(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    object_search *search = context;
    search->unloads = info->dlpi_subs;
    if (!object_contains(info, search->address - info->dlpi_addr))
        return 0;
    search->place.offset = search->address - info->dlpi_addr;
    search->code = object_id(info, search->place.build_id);
    return 1;
}

static int search_place(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    object_search *search = context;
    uint8_t id[20];
    search->unloads = info->dlpi_subs;
    if (!object_contains(info, search->place.offset))
        return 0;
    int code = object_id(info, id);
    if (code == 0 && memcmp(id, search->place.build_id, 20))
        return 0;
    search->code = code;
    search->address = info->dlpi_addr + search->place.offset;
    return code == 0;
}

static int search_unloads(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    *(unsigned long long *)context = info->dlpi_subs;
    return 1;
}

int mproc__object_search(uintptr_t address, mproc__object_place *ret_place, unsigned long long *ret_unloads)
{
    object_search search = {.address = address};
    int rc = objects_walk(search_address, &search);
    *ret_place = search.place;
    *ret_unloads = search.unloads;
    return rc;
}

int mproc__object_search_place(const mproc__object_place *place, uintptr_t *ret_address,
                               unsigned long long *ret_unloads)
{
    object_search search = {.place = *place};
    int rc = objects_walk(search_place, &search);
    *ret_unloads = search.unloads;
    *ret_address = rc == 0 ? search.address : 0;
    return rc;
}

unsigned long long mproc__object_unloads(void)
{
    unsigned long long count = 0;
    dl_iterate_phdr(search_unloads, &count);
    return count;
}

void mproc__object_own_id(uint8_t ret_id[20])
{
    object_search search = {.address = getauxval(AT_ENTRY)};
    memset(ret_id, 0, 20);
    if (mproc__object_at(search.address, &search.place) || objects_walk(search_address, &search) == 0)
        memcpy(ret_id, search.place.build_id, 20);
}

/* ---- noted ---- */

MPROC__FORK_DATA static struct {
    uintptr_t base;
    uint64_t first, end; /* offsets; end 0: nothing is noted */
    uint8_t build_id[20];
} program;

/* The first object is the program. */
static int note_first(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    object_search *search = context;
    search->code = object_id(info, program.build_id);
    for (size_t i = 0; search->code == 0 && i < info->dlpi_phnum && program.end == 0; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X))
            continue;
        program.base = info->dlpi_addr;
        program.first = segment->p_vaddr;
        program.end = segment->p_vaddr + segment->p_memsz;
    }
    return 1;
}

void mproc__object_note(void)
{
    object_search unused = {.address = 0};
    (void)objects_walk(note_first, &unused);
}

MPROC__FORK_TEXT uintptr_t mproc__object_noted(const mproc__object_place *place)
{
    bool in = place->offset >= program.first && place->offset < program.end &&
              memcmp(place->build_id, program.build_id, sizeof program.build_id) == 0;
    return in ? program.base + place->offset : 0;
}
