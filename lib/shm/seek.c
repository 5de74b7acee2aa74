/* SPDX-License-Identifier: BSD-2-Clause */
/* Finding segments: descriptors and mappings of all processes, and the files in /dev/shm. */
#include "platform/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "platform/story.h"
#include "shm/report.h"
#include "shm/seek.h"

/* What the kernel calls our memory: the first by mproc__memfd_create's name, the second where shm_open puts its files. */
static const char memfd_prefix[] = "/memfd:mproc:";
static const char file_prefix[] = "/dev/shm/";

enum { LINK_BYTES = 512 };

static bool name_wanted(const char *name)
{
    return strncmp(name, memfd_prefix, sizeof(memfd_prefix) - 1) == 0 ||
           strncmp(name, file_prefix, sizeof(file_prefix) - 1) == 0;
}

/* The list takes over sight->name, also when it fails. */
static int sight_add(mproc__sights *sights, mproc__sight *sight)
{
    if (sight->name && sights->count == sights->capacity) {
        size_t capacity = sights->capacity ? 2 * sights->capacity : 64;
        mproc__sight *items = realloc(sights->items, capacity * sizeof(*items));
        if (!items) {
            free(sight->name);
            sight->name = NULL;
        } else {
            sights->items = items;
            sights->capacity = capacity;
        }
    }
    if (!sight->name)
        return mproc__fail(-ENOMEM, "no memory for a list of %zu segments", sights->count + 1);
    sights->items[sights->count++] = *sight;
    return 0;
}

/* A name of the kernel's, for people: as in "/memfd:mproc:jobs (deleted)". */
static char *name_printable(const char *text)
{
    char *name = strdup(text);
    if (name)
        mproc__report_clean(name);
    return name;
}

/* ---- descriptors ---- */

static int descriptor_look(mproc__sights *sights, pid_t pid, int directory, const char *number)
{
    char link[LINK_BYTES];
    struct stat status;
    ssize_t bytes = readlinkat(directory, number, link, sizeof(link) - 1);
    link[bytes > 0 ? bytes : 0] = '\0';
    if (!name_wanted(link) || fstatat(directory, number, &status, 0) < 0 || !S_ISREG(status.st_mode))
        return 0;
    mproc__sight sight = {.device = status.st_dev,
                          .inode = status.st_ino,
                          .kind = MPROC__SIGHT_DESCRIPTOR,
                          .pid = pid,
                          .start = strtoull(number, NULL, 10),
                          .name = name_printable(link)};
    return sight_add(sights, &sight);
}

static DIR *directory_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !directory)
        close(fd);
    return directory;
}

/* 0; -errno: the process cannot be looked into, or has ended (-ENOENT). */
static int descriptors_look(mproc__sights *sights, pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *directory = directory_open(path);
    if (!directory)
        return -errno;
    int code = 0;
    for (struct dirent *entry; code == 0 && (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] != '.')
            code = descriptor_look(sights, pid, dirfd(directory), entry->d_name);
    closedir(directory);
    return code;
}

/* ---- mappings ---- */

/* "start-end rights offset major:minor inode  name" */
static int mapping_look(mproc__sights *sights, pid_t pid, char *line)
{
    unsigned long long start, end, inode;
    unsigned major_number, minor_number;
    int name_at = 0;
    line[strcspn(line, "\n")] = '\0';
    if (!strstr(line, "mproc:") && !strstr(line, file_prefix)) /* most lines: sscanf is slow */
        return 0;
    if (sscanf(line, "%llx-%llx %*s %*s %x:%x %llu %n", &start, &end, &major_number, &minor_number, &inode,
               &name_at) != 5 ||
        name_at == 0 || !name_wanted(line + name_at))
        return 0;
    mproc__sight sight = {.device = makedev(major_number, minor_number),
                          .inode = inode,
                          .kind = MPROC__SIGHT_MAPPING,
                          .pid = pid,
                          .start = start,
                          .end = end,
                          .name = name_printable(line + name_at)};
    return sight_add(sights, &sight);
}

static int mappings_look(mproc__sights *sights, pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    char *line = NULL;
    size_t line_bytes = 0;
    int code = 0;
    while (code == 0 && getline(&line, &line_bytes, file) > 0)
        code = mapping_look(sights, pid, line);
    free(line);
    fclose(file);
    return code;
}

/* ---- files ---- */

static int files_look(mproc__sights *sights)
{
    DIR *directory = directory_open(file_prefix);
    int code = 0;
    for (struct dirent *entry; directory && code == 0 && (entry = readdir(directory)) != NULL;) {
        struct stat status;
        if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(status.st_mode))
            continue;
        mproc__sight sight = {.device = status.st_dev,
                              .inode = status.st_ino,
                              .kind = MPROC__SIGHT_FILE,
                              .name = strdup(entry->d_name)};
        code = sight_add(sights, &sight);
    }
    if (directory)
        closedir(directory);
    return code;
}

/* ---- all ---- */

/* Kernel threads and zombies have no command line, and nothing of ours. */
static bool has_memory(pid_t pid)
{
    char path[64];
    char byte;
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool some = fd >= 0 && read(fd, &byte, 1) == 1;
    if (fd >= 0)
        close(fd);
    return some;
}

/* Ended meanwhile: nothing to tell. */
static int process_look(mproc__sights *sights, pid_t pid)
{
    int code = descriptors_look(sights, pid);
    if (code == 0)
        code = mappings_look(sights, pid);
    if ((code == -EACCES || code == -EPERM) && has_memory(pid))
        sights->hidden++;
    return code == -ENOMEM ? code : 0;
}

static int processes_look(mproc__sights *sights)
{
    DIR *directory = directory_open("/proc");
    if (!directory)
        return mproc__fail(-errno, "cannot look for processes in /proc: %s", mproc_strerror(-errno));
    int code = 0;
    for (struct dirent *entry; code == 0 && (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            code = process_look(sights, (pid_t)strtol(entry->d_name, NULL, 10));
    closedir(directory);
    return code;
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int sight_compare(const void *left, const void *right)
{
    const mproc__sight *a = left, *b = right;
    int order = compare_u64(a->device, b->device);
    if (order == 0)
        order = compare_u64(a->inode, b->inode);
    if (order == 0)
        order = (int)a->kind - (int)b->kind;
    if (order == 0)
        order = compare_u64((uint64_t)a->pid, (uint64_t)b->pid);
    return order ? order : compare_u64(a->start, b->start);
}

int mproc__seek(mproc__sights *ret_sights)
{
    *ret_sights = (mproc__sights){0};
    int code = processes_look(ret_sights);
    if (code == 0)
        code = files_look(ret_sights);
    if (code < 0)
        mproc__sights_free(ret_sights);
    else if (ret_sights->count > 1)
        qsort(ret_sights->items, ret_sights->count, sizeof(*ret_sights->items), sight_compare);
    return code;
}

void mproc__sights_free(mproc__sights *sights)
{
    for (size_t i = 0; i < sights->count; i++)
        free(sights->items[i].name);
    free(sights->items);
    *sights = (mproc__sights){0};
}

size_t mproc__sights_same(const mproc__sights *sights, size_t first)
{
    size_t next = first + 1;
    while (next < sights->count && sights->items[next].device == sights->items[first].device &&
           sights->items[next].inode == sights->items[first].inode)
        next++;
    return next - first;
}

/* First as a mere place, because a number of a process may name a device by now, and opening one of those can do
 * things. */
int mproc__sight_open(const mproc__sight *sight)
{
    char path[LINK_BYTES];
    struct stat status;
    if (sight->kind == MPROC__SIGHT_FILE)
        snprintf(path, sizeof(path), "%s%s", file_prefix, sight->name);
    else if (sight->kind == MPROC__SIGHT_DESCRIPTOR)
        snprintf(path, sizeof(path), "/proc/%d/fd/%llu", (int)sight->pid, (unsigned long long)sight->start);
    else
        snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", (int)sight->pid,
                 (unsigned long long)sight->start, (unsigned long long)sight->end);
    int place = open(path, O_PATH | O_CLOEXEC | (sight->kind == MPROC__SIGHT_FILE ? O_NOFOLLOW : 0));
    if (place < 0)
        return -errno;
    bool same = fstat(place, &status) == 0 && S_ISREG(status.st_mode) && status.st_dev == sight->device &&
                status.st_ino == sight->inode;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", place);
    int fd = same ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1; /* a lease holds up nobody */
    int code = same ? -errno : -ESTALE;
    close(place);
    return fd < 0 ? code : fd;
}
