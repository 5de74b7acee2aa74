/* SPDX-License-Identifier: BSD-2-Clause */
/* What the nursery is told of a program: its arguments, its environment and where it may lie, packed by the caller. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/boot.h"
#include "process/own_fds.h"
#include "process/program.h"

#define DEFAULT_PATH "/bin:/usr/bin" /* confstr(_CS_PATH): what execvp takes where PATH is not set */

/* The record as it grows: the arrays are laid out first, as long as they may become, then strings are added. */
typedef struct packer {
    char *bytes;
    size_t size_bytes, capacity_bytes;
} packer;

static mproc__program_record *packer_record(const packer *pack)
{
    return (mproc__program_record *)(void *)pack->bytes;
}

static int packer_grow(packer *pack, size_t more_bytes)
{
    if (pack->capacity_bytes - pack->size_bytes >= more_bytes)
        return 0;
    size_t capacity = (pack->size_bytes + more_bytes) * 2;
    char *bytes = realloc(pack->bytes, capacity);
    if (!bytes)
        return mproc__fail(-ENOMEM, "start_program: no memory for arguments and environment");
    pack->bytes = bytes;
    pack->capacity_bytes = capacity;
    return 0;
}

/* Adds a string of up to three pieces, as the next of an array. */
static int packer_add(packer *pack, uint64_t array, uint32_t *count, const char *a, size_t a_bytes,
                      const char *b, const char *c)
{
    size_t b_bytes = strlen(b), c_bytes = strlen(c);
    int rc = packer_grow(pack, a_bytes + b_bytes + c_bytes + 1);
    if (rc < 0)
        return rc;
    uint64_t *items = (uint64_t *)(void *)(pack->bytes + array);
    char *at = pack->bytes + pack->size_bytes;
    items[*count] = pack->size_bytes;
    *count += 1;
    memcpy(at, a, a_bytes);
    memcpy(at + a_bytes, b, b_bytes);
    memcpy(at + a_bytes + b_bytes, c, c_bytes + 1);
    pack->size_bytes += a_bytes + b_bytes + c_bytes + 1;
    return 0;
}

static size_t list_count(const char *const list[])
{
    size_t count = 0;
    while (list && list[count])
        count++;
    return count;
}

/* ---- environment ---- */

static size_t name_bytes(const char *item)
{
    return strcspn(item, "=");
}

/* Whether one of the list, from `first` on, is of the same name. */
static bool list_names(const char *const list[], size_t first, const char *item)
{
    size_t bytes = name_bytes(item);
    for (size_t i = first; list && list[i]; i++)
        if (name_bytes(list[i]) == bytes && memcmp(list[i], item, bytes) == 0)
            return true;
    return false;
}

static int environment_add(packer *pack, const char *item)
{
    mproc__program_record *record = packer_record(pack);
    uint32_t count = record->environment_count;
    int rc = packer_add(pack, record->environment, &count, item, strlen(item), "", "");
    packer_record(pack)->environment_count = count;
    return rc;
}

/* Of variables named twice the last holds. */
static int environment_pack(packer *pack, const char *const base[], const char *const variables[])
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && base && base[i]; i++)
        if (!list_names(variables, 0, base[i]))
            rc = environment_add(pack, base[i]);
    for (size_t i = 0; rc == 0 && variables && variables[i]; i++) {
        if (name_bytes(variables[i]) == 0)
            return mproc__fail(-EINVAL, "start_program: variable %zu has no name", i);
        if (strchr(variables[i], '=') && !list_names(variables, i + 1, variables[i]))
            rc = environment_add(pack, variables[i]);
    }
    return rc;
}

/* ---- where the program may lie ---- */

/* Points into the packed environment: good until the next string is added. */
static const char *packed_path(const packer *pack)
{
    const mproc__program_record *record = packer_record(pack);
    const uint64_t *items = (const uint64_t *)(const void *)(pack->bytes + record->environment);
    for (uint32_t i = 0; i < record->environment_count; i++)
        if (strncmp(pack->bytes + items[i], "PATH=", 5) == 0)
            return pack->bytes + items[i] + 5;
    return DEFAULT_PATH;
}

static int path_add(packer *pack, const char *directory, size_t directory_bytes, const char *name)
{
    uint32_t count = packer_record(pack)->path_count;
    int rc = packer_add(pack, packer_record(pack)->paths, &count, directory, directory_bytes,
                        directory_bytes ? "/" : "", name);
    packer_record(pack)->path_count = count;
    return rc;
}

/* As execvp: an empty part of PATH is the program's directory. */
static int paths_pack(packer *pack, const char *name, const char *search)
{
    if (strchr(name, '/'))
        return path_add(pack, "", 0, name);
    int rc = 0;
    for (const char *part = search; rc == 0; part++) {
        size_t bytes = strcspn(part, ":");
        rc = path_add(pack, part, bytes, name);
        part += bytes;
        if (!*part)
            break;
    }
    return rc;
}

static size_t paths_most(const char *search)
{
    size_t count = 1;
    for (; *search; search++)
        count += *search == ':';
    return count;
}

/* ---- the whole ---- */

/* PATH may come from the caller's environment or from either list. */
static size_t paths_room(const char *const *lists[], size_t list_count_of)
{
    size_t most = paths_most(DEFAULT_PATH);
    for (size_t l = 0; l < list_count_of; l++)
        for (size_t i = 0; lists[l] && lists[l][i]; i++)
            if (strncmp(lists[l][i], "PATH=", 5) == 0 && paths_most(lists[l][i]) > most)
                most = paths_most(lists[l][i]);
    return most;
}

static int record_begin(packer *pack, size_t arguments, size_t variables, size_t paths)
{
    size_t bytes = sizeof(mproc__program_record) + (arguments + variables + paths + 3) * sizeof(uint64_t);
    int rc = packer_grow(pack, bytes);
    if (rc < 0)
        return rc;
    memset(pack->bytes, 0, bytes);
    pack->size_bytes = bytes;
    mproc__program_record *record = packer_record(pack);
    record->magic = MPROC__PROGRAM_MAGIC;
    record->size_bytes = sizeof *record;
    record->argv = sizeof *record;
    record->environment = record->argv + (arguments + 1) * sizeof(uint64_t);
    record->paths = record->environment + (variables + 1) * sizeof(uint64_t);
    return 0;
}

static int strings_pack(packer *pack, const char *const argv[], const mproc_program_options *options)
{
    const char *const *base =
        options && options->environment ? options->environment : (const char *const *)environ;
    const char *const *variables = options ? options->variables : NULL;
    const char *const *lists[] = {base, variables};
    int rc = record_begin(pack, list_count(argv), list_count(base) + list_count(variables),
                          paths_room(lists, MPROC__COUNT(lists)));
    for (size_t i = 0; rc == 0 && argv[i]; i++) {
        uint32_t count = packer_record(pack)->argv_count;
        rc = packer_add(pack, packer_record(pack)->argv, &count, argv[i], strlen(argv[i]), "", "");
        packer_record(pack)->argv_count = count;
    }
    if (rc == 0)
        rc = environment_pack(pack, base, variables);
    if (rc < 0)
        return rc;
    char *search = strdup(packed_path(pack));
    if (!search)
        return mproc__fail(-ENOMEM, "start_program: no memory for a copy of PATH");
    rc = paths_pack(pack, options && options->program ? options->program : argv[0], search);
    free(search);
    return rc;
}

static int memfd_fill(const packer *pack, int *ret_memfd)
{
    mproc__own_fds_begin();
    int fd = mproc__memfd_create("mproc:program", pack->size_bytes);
    mproc__own_fd_note(fd);
    mproc__own_fds_end();
    if (fd < 0)
        return mproc__fail(fd, "start_program: no memory to tell the nursery: %s", mproc_strerror(fd));
    for (size_t at = 0; at < pack->size_bytes;) {
        ssize_t put = pwrite(fd, pack->bytes + at, pack->size_bytes - at, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            int code = put < 0 ? -errno : -ENOSPC;
            mproc__own_fd_close(fd);
            return mproc__fail(code, "start_program: no memory to tell the nursery: %s",
                               mproc_strerror(code));
        }
        at += (size_t)put;
    }
    *ret_memfd = fd;
    return 0;
}

int mproc__program_record_make(const char *const argv[], const mproc_program_options *options,
                               const mproc__program_fds *fds, const mproc__limits *limits, int *ret_memfd)
{
    packer pack = {0};
    int rc = strings_pack(&pack, argv, options);
    if (rc == 0) {
        mproc__program_record *record = packer_record(&pack);
        for (unsigned i = 0; i < MPROC__PROGRAM_FIXED_FDS; i++)
            record->fd_mask |= fds->fixed[i] >= 0 ? 1u << i : 0;
        record->pass_count = fds->pass_count;
        memcpy(record->pass, fds->pass, sizeof record->pass);
        record->group = options ? (uint32_t)options->group : MPROC_GROUP_SAME;
        record->total_bytes = pack.size_bytes;
        record->limits = *limits;
        rc = mproc__program_surroundings_take(options, &record->surroundings);
    }
    if (rc == 0)
        rc = memfd_fill(&pack, ret_memfd);
    free(pack.bytes);
    return rc;
}
