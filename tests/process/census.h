/* SPDX-License-Identifier: BSD-2-Clause */
/* What a program with children has, counted: where the first start makes what stays, lists of what is new would only show
 * that. */
#ifndef MPROC__TESTS_CENSUS_H
#define MPROC__TESTS_CENSUS_H

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What there is, counted. */
typedef struct census {
    int descriptors, threads, mappings, children, grandchildren, childrens_descriptors;
} census;

static int entries(int pid, const char *of)
{
    char path[64];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/%s", pid, of);
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    if (directory)
        closedir(directory);
    return count;
}

/* Mappings of what is shared; "mem" of memfd, "/dev/shm". */
static int mappings(void)
{
    char line[4352];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof line, maps))
        count += strstr(line, "/memfd:") || strstr(line, "/dev/shm/") || strstr(line, "/dev/zero");
    if (maps)
        fclose(maps);
    return count;
}

static int children_of(int pid, int *ret_pids, int capacity)
{
    char path[64];
    int count = 0, child;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    FILE *list = fopen(path, "re");
    while (list && fscanf(list, "%d", &child) == 1)
        if (count++ < capacity)
            ret_pids[count - 1] = child;
    if (list)
        fclose(list);
    return count;
}

static census census_take(void)
{
    int pids[16], none;
    census now = {
        .descriptors = entries(getpid(), "fd"), .threads = entries(getpid(), "task"), .mappings = mappings()};
    now.children = children_of(getpid(), pids, 16);
    for (int i = 0; i < now.children && i < 16; i++) {
        now.grandchildren += children_of(pids[i], &none, 0);
        now.childrens_descriptors += entries(pids[i], "fd");
    }
    return now;
}

#endif
