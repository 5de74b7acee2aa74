/* SPDX-License-Identifier: BSD-2-Clause */
/* All processes that /proc shows, and who descends from whom. */
#include "platform/base.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/proc.h"
#include "platform/story.h"

typedef struct row {
    mproc_running which;
    int64_t parent_pid;
    bool descends;
} row;

/* Called for each; not 0 ends the walk with that code. */
typedef int row_visit(const row *found, void *context);

static bool pid_parse(const char *name, int64_t *ret_pid)
{
    const char *end = name + strlen(name);
    return *name >= '1' && *name <= '9' && mproc__proc_number(&name, end, ret_pid) && name == end;
}

/* A look that was refused leaves a pid without a start; one that came too late leaves nothing. */
static int row_read(int proc_fd, int64_t pid, mproc__proc_text *text, row *ret_row)
{
    char path[40];
    mproc__proc_stat stat;
    snprintf(path, sizeof path, "%lld/stat", (long long)pid);
    int rc = mproc__proc_read_record(proc_fd, path, text);
    *ret_row = (row){.which = {.pid = pid}};
    if (rc == -EACCES)
        return 0;
    if (rc == 0 && !mproc__proc_stat_parse(text->bytes, text->length, &stat))
        rc = -ESRCH;
    if (rc == 0) {
        ret_row->which.start = stat.start_ticks + 1;
        ret_row->parent_pid = stat.parent_pid;
    }
    return rc;
}

static int entries_visit(DIR *directory, row_visit *visit, void *context)
{
    mproc__proc_text text;
    int rc = 0;
    mproc__proc_text_begin(&text);
    while (rc == 0) {
        int64_t pid;
        row found;
        errno = 0;
        struct dirent *entry = readdir(directory);
        if (!entry) {
            rc = -errno;
            break;
        }
        if (!pid_parse(entry->d_name, &pid))
            continue;
        rc = row_read(dirfd(directory), pid, &text, &found);
        rc = rc == 0 ? visit(&found, context) : rc == -ESRCH ? 0 : rc;
    }
    mproc__proc_text_end(&text);
    return rc;
}

static int processes_walk(row_visit *visit, void *context)
{
    int rc = mproc__running_namespace_check();
    if (rc < 0)
        return rc;
    DIR *directory = opendir("/proc");
    rc = directory ? entries_visit(directory, visit, context) : -errno;
    if (directory)
        closedir(directory);
    return rc == 0 ? 0 : mproc__fail(rc, "list of processes: %s", mproc_strerror(rc));
}

/* ---- all ---- */

typedef struct output {
    mproc_running *list;
    size_t capacity, count;
} output;

static void output_add(output *out, mproc_running which)
{
    if (out->count < out->capacity)
        out->list[out->count] = which;
    out->count++;
}

static int output_visit(const row *found, void *context)
{
    output_add(context, found->which);
    return 0;
}

static int output_check(const mproc_running *list, size_t capacity, const size_t *count)
{
    if (count && (list || capacity == 0))
        return 0;
    return mproc__fail(-EINVAL, "no place for the processes, or for their number");
}

int mproc_running_list(mproc_running *ret_list, size_t capacity, size_t *ret_count)
{
    output out = {.list = ret_list, .capacity = capacity};
    int rc = output_check(ret_list, capacity, ret_count);
    if (rc == 0)
        rc = processes_walk(output_visit, &out);
    if (rc == 0)
        *ret_count = out.count;
    return rc;
}

/* ---- descent ---- */

typedef struct table {
    row *rows; /* by pid */
    size_t count, capacity;
} table;

static int table_visit(const row *found, void *context)
{
    table *all = context;
    if (all->count == all->capacity) {
        size_t capacity = all->capacity ? all->capacity * 2 : 256;
        void *rows = realloc(all->rows, capacity * sizeof *all->rows);
        if (!rows)
            return -ENOMEM;
        all->rows = rows;
        all->capacity = capacity;
    }
    all->rows[all->count++] = *found;
    return 0;
}

static int row_compare(const void *a, const void *b)
{
    const row *one = a, *other = b;
    return (one->which.pid > other->which.pid) - (one->which.pid < other->which.pid);
}

static row *table_find(const table *all, int64_t pid)
{
    row key = {.which = {.pid = pid}};
    return all->count ? bsearch(&key, all->rows, all->count, sizeof key, row_compare) : NULL;
}

/* A child is not older than its parent: that pid was another's when the child came to it. A refused look has neither
 * start nor parent. */
static bool is_child_of(const row *child, const row *parent)
{
    return child->parent_pid == parent->which.pid && child->which.start >= parent->which.start &&
           child != parent;
}

/* Marks who descends; children mostly stand behind their parents, so that two rounds do for most families. */
static void descent_mark(table *all, const row *ancestor, bool recursive)
{
    bool found = true;
    while (found) {
        found = false;
        for (row *at = all->rows; at < all->rows + all->count; at++) {
            const row *parent = at->descends ? NULL : table_find(all, at->parent_pid);
            if (!parent || !is_child_of(at, parent) ||
                (parent != ancestor && !(recursive && parent->descends)))
                continue;
            at->descends = found = at != ancestor;
        }
    }
}

static int descent_find(table *all, mproc_running ancestor, bool recursive, output *out)
{
    int rc = processes_walk(table_visit, all);
    if (rc < 0)
        return rc;
    if (all->count)
        qsort(all->rows, all->count, sizeof *all->rows, row_compare);
    const row *from = table_find(all, ancestor.pid);
    if (!from || (from->which.start != ancestor.start && from->which.start != 0))
        return mproc__fail(-ESRCH, "process %lld has ended", (long long)ancestor.pid);
    descent_mark(all, from, recursive);
    for (size_t i = 0; i < all->count; i++)
        if (all->rows[i].descends)
            output_add(out, all->rows[i].which);
    return 0;
}

int mproc_running_children(mproc_running parent, bool recursive, mproc_running *ret_list, size_t capacity,
                           size_t *ret_count)
{
    table all = {0};
    output out = {.list = ret_list, .capacity = capacity};
    int rc = output_check(ret_list, capacity, ret_count);
    if (rc == 0)
        rc = mproc__running_resolve(parent, &parent);
    if (rc == 0)
        rc = descent_find(&all, parent, recursive, &out);
    free(all.rows);
    if (rc == 0)
        *ret_count = out.count;
    return rc;
}
