/* SPDX-License-Identifier: BSD-2-Clause */
/* Finds the control groups of this process, version 1 or 2, inside containers or not. */
#include "platform/base.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/cgroup.h"

/* A line of /proc/self/cgroup is at most a path and some names. */
enum { CGROUP_LINE_BYTES = PATH_MAX + 256 };

typedef struct mount {
    char root[PATH_MAX]; /* the part of the hierarchy that is mounted: not "/" in many containers */
    char point[PATH_MAX];
} mount;

/* Whether `word` is one of a comma-separated list. */
static bool list_has(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    }
    return false;
}

/* Reads one line without its newline; false at the end of the file. */
static bool line_read(FILE *file, char line[CGROUP_LINE_BYTES])
{
    if (!fgets(line, CGROUP_LINE_BYTES, file))
        return false;
    line[strcspn(line, "\n")] = '\0';
    return true;
}

/* The path of a process ("self", "123") in the hierarchy of `controller`; NULL for version 2's. */
static bool cgroup_path(const char *process, const char *controller, char path[PATH_MAX])
{
    char file_name[64], line[CGROUP_LINE_BYTES];
    snprintf(file_name, sizeof(file_name), "/proc/%s/cgroup", process);
    FILE *file = fopen(file_name, "re");
    bool found = false;

    while (file && !found && line_read(file, line)) {
        char *names = strchr(line, ':'); /* number:names:path */
        char *where = names ? strchr(names + 1, ':') : NULL;

        if (!where)
            continue;
        *where = '\0';
        found = controller ? list_has(names + 1, controller) : names[1] == '\0';
        if (found)
            snprintf(path, PATH_MAX, "%s", where + 1);
    }
    if (file)
        fclose(file);
    return found;
}

/* One line of mountinfo: "id parent dev root point options [fields] - type source super-options". */
static bool mount_matches(const char *line, const char *controller, mount *ret_mount)
{
    char type[32], options[512];
    const char *tail = strstr(line, " - ");

    _Static_assert(PATH_MAX == 4096, "widths below");
    if (!tail || sscanf(tail, " - %31s %*s %511s", type, options) != 2 ||
        sscanf(line, "%*s %*s %*s %4095s %4095s", ret_mount->root, ret_mount->point) != 2)
        return false;
    if (!controller)
        return strcmp(type, "cgroup2") == 0;
    return strcmp(type, "cgroup") == 0 && list_has(options, controller);
}

static bool mount_find(const char *controller, mount *ret_mount)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char line[CGROUP_LINE_BYTES];
    bool found = false;

    while (file && !found && line_read(file, line))
        found = mount_matches(line, controller, ret_mount);
    if (file)
        fclose(file);
    return found;
}

/* Where the process's group lies below the mount point: the path without the mounted root, "" for that root itself. A path
 * that is not below it cannot be seen; then the mount point, which is an ancestor, is the best there is. */
static const char *path_below(const char *path, const char *root)
{
    size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);

    if (strncmp(path, root, length) != 0 || (path[length] != '/' && path[length] != '\0') ||
        strstr(path, "/.."))
        return "";
    return path[length + (path[length] == '/')] ? path + length : "";
}

/* Visits the groups of one hierarchy that a process is in; returns whether there is one. */
static bool hierarchy_walk(const char *process, const char *controller, mproc__cgroup_visit *visit,
                           void *context)
{
    char path[PATH_MAX], directory[2 * PATH_MAX];
    mount where;
    size_t point_bytes;

    if (!cgroup_path(process, controller, path) || !mount_find(controller, &where))
        return false;
    point_bytes = strlen(where.point);
    snprintf(directory, sizeof(directory), "%s%s", where.point, path_below(path, where.root));
    for (;;) {
        visit(directory, controller == NULL, context);
        if (strlen(directory) <= point_bytes)
            return true;
        *strrchr(directory, '/') = '\0';
    }
}

/* Both: on hybrid systems some controllers are mounted as version 1, the rest as version 2, and the files that a hierarchy
 * does not have read as "no limit". */
void mproc__cgroup_walk(const char *controller, mproc__cgroup_visit *visit, void *context)
{
    hierarchy_walk("self", controller, visit, context);
    hierarchy_walk("self", NULL, visit, context);
}

static void frozen_visit(const char *directory, bool version_2, void *context)
{
    bool *frozen = context;

    if (version_2)
        *frozen |= mproc__cgroup_keyed(directory, "cgroup.events", "frozen") == 1;
    else
        *frozen |= mproc__cgroup_number(directory, "freezer.self_freezing", 0) == 1;
}

bool mproc__cgroup_frozen(pid_t pid)
{
    char process[16];
    bool frozen = false;

    snprintf(process, sizeof(process), "%d", (int)pid);
    hierarchy_walk(process, "freezer", frozen_visit, &frozen);
    hierarchy_walk(process, NULL, frozen_visit, &frozen);
    return frozen;
}

static FILE *cgroup_open(const char *directory, const char *file)
{
    char path[2 * PATH_MAX + 64];

    snprintf(path, sizeof(path), "%s/%s", directory, file);
    return fopen(path, "re");
}

int64_t mproc__cgroup_number(const char *directory, const char *file, int word)
{
    FILE *stream = cgroup_open(directory, file);
    char line[CGROUP_LINE_BYTES], *rest = line, *at = NULL, *end;
    int64_t number = INT64_MAX;

    if (stream && line_read(stream, line))
        for (at = strtok_r(line, " ", &rest); at && word > 0; word--)
            at = strtok_r(NULL, " ", &rest);
    if (stream)
        fclose(stream);
    if (at)
        number = strtoll(at, &end, 10);
    return at && end != at ? number : INT64_MAX;
}

bool mproc__cgroup_key_find(const char *directory, const char *file, const char *key, int64_t *ret_number)
{
    FILE *stream = cgroup_open(directory, file);
    char line[CGROUP_LINE_BYTES];
    size_t length = strlen(key);
    bool found = false;

    while (stream && !found && line_read(stream, line)) {
        found = strncmp(line, key, length) == 0 && line[length] == ' ';
        if (found)
            *ret_number = strtoll(line + length, NULL, 10);
    }
    if (stream)
        fclose(stream);
    return found;
}

int64_t mproc__cgroup_keyed(const char *directory, const char *file, const char *key)
{
    int64_t number = 0;

    (void)mproc__cgroup_key_find(directory, file, key, &number);
    return number;
}
