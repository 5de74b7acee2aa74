/* SPDX-License-Identifier: BSD-2-Clause */
/* What is told of a process as values. Each part is read for itself, and may be denied for itself; all of them through the one
 * directory descriptor, so that they are of one process. */
#include "platform/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/running_detail.h"

/* A list of CPUs is as long as it says, so what it says is bounded; more than the kernel can be built for. */
enum { CPUS_MAX = 65536 };

mproc_variant mproc__look_word(const char *word)
{
    mproc_variant text = mproc_text(word);
    return text.kind == MPROC_KIND_INVALID ? mproc_bytes(word, strlen(word)) : text;
}

int mproc__look_entry(mproc_variant *list, const char *const *keys, const mproc_variant *items, size_t count)
{
    mproc_variant entry = mproc_null();
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = mproc_variant_set(&entry, keys[i], items[i]);
    if (rc == 0)
        rc = mproc_variant_append(list, entry);
    mproc_variant_clear(&entry);
    return rc;
}

/* ---- words ---- */

static int command_look(mproc__look *look, mproc_variant *ret_value)
{
    mproc__proc_text *text = look->text;
    int rc = mproc__proc_read(look->view->directory_fd, "cmdline", text);
    for (size_t at = 0; rc == 0 && at < text->length; at += strlen(text->bytes + at) + 1)
        rc = mproc_variant_append(ret_value, mproc__look_word(text->bytes + at));
    return rc;
}

static int link_look(mproc__look *look, const char *file, mproc_variant *ret_value)
{
    int rc = mproc__proc_link(look->view->directory_fd, file, look->text);
    return rc < 0 ? rc : mproc_variant_copy(mproc__look_word(look->text->bytes), ret_value);
}

static int executable_look(mproc__look *look, mproc_variant *ret_value)
{
    return link_look(look, "exe", ret_value);
}

static int directory_look(mproc__look *look, mproc_variant *ret_value)
{
    return link_look(look, "cwd", ret_value);
}

/* Of equal names the first, as getenv finds it. */
static int variable_add(char *variable, mproc_variant *dict)
{
    char *equals = strchr(variable, '=');
    if (!equals || equals == variable)
        return 0;
    *equals = '\0';
    if (mproc_text(variable).kind == MPROC_KIND_INVALID ||
        mproc_variant_find(*dict, variable).kind != MPROC_KIND_INVALID)
        return 0;
    return mproc_variant_set(dict, variable, mproc__look_word(equals + 1));
}

static int environment_look(mproc__look *look, mproc_variant *ret_value)
{
    mproc__proc_text *text = look->text;
    int rc = mproc__proc_read(look->view->directory_fd, "environ", text);
    for (size_t at = 0, next; rc == 0 && at < text->length; at = next) {
        next = at + strlen(text->bytes + at) + 1;
        rc = variable_add(text->bytes + at, ret_value);
    }
    return rc;
}

/* ---- numbers ---- */

static int memory_look(mproc__look *look, mproc_variant *ret_value)
{
    static const char *const private[] = {"Private_Clean", "Private_Dirty", "Private_Hugetlb"};
    const mproc__proc_text *text = look->text;
    int rc = mproc__proc_read(look->view->directory_fd, "smaps_rollup", look->text);
    if (rc < 0)
        return rc;
    int64_t uss = 0;
    for (size_t i = 0; i < MPROC__COUNT(private); i++)
        uss += mproc__proc_key_number(text->bytes, text->length, private[i], 0);
    rc = mproc_variant_set(ret_value, "uss_bytes", mproc_int(uss));
    if (rc == 0)
        rc = mproc_variant_set(ret_value, "pss_bytes",
                               mproc_int(mproc__proc_key_number(text->bytes, text->length, "Pss", 0)));
    if (rc == 0)
        rc = mproc_variant_set(ret_value, "swap_bytes",
                               mproc_int(mproc__proc_key_number(text->bytes, text->length, "Swap", 0)));
    return rc;
}

/* "0-1,4" */
static int cpus_look(mproc__look *look, mproc_variant *ret_value)
{
    mproc__proc_line value;
    int64_t first, last, count = 0;
    int rc = 0;
    if (!mproc__proc_key_find(look->status->bytes, look->status->length, "Cpus_allowed_list", &value))
        return -ENODATA;
    for (const char *at = value.begin; rc == 0 && mproc__proc_number(&at, value.end, &first);) {
        last = first;
        if (at < value.end && *at == '-') {
            at++;
            (void)mproc__proc_number(&at, value.end, &last);
        }
        for (; first <= last && count < CPUS_MAX && rc == 0; first++, count++)
            rc = mproc_variant_append(ret_value, mproc_int(first));
        at += at < value.end && *at == ',';
    }
    return rc;
}

static int numbers_set(const mproc__look *look, const char *line_key, const char *key, mproc_variant *dict)
{
    mproc__proc_line value;
    mproc_variant list = mproc_null();
    int64_t number;
    int rc = 0;
    if (mproc__proc_key_find(look->status->bytes, look->status->length, line_key, &value))
        for (const char *at = value.begin; rc == 0 && mproc__proc_number(&at, value.end, &number);)
            rc = mproc_variant_append(&list, mproc_int(number));
    if (rc == 0)
        rc = mproc_variant_set(dict, key, list.kind == MPROC_KIND_NULL ? mproc_items(NULL, 0) : list);
    mproc_variant_clear(&list);
    return rc;
}

static int names_look(mproc__look *look, mproc_variant *ret_value)
{
    int rc = numbers_set(look, "NSpid", "pids", ret_value);
    return rc < 0 ? rc : numbers_set(look, "Groups", "groups", ret_value);
}

/* ---- folders of numbers ---- */

static bool number_parse(const char *name, int64_t *ret_number)
{
    const char *end = name + strlen(name);
    return *name >= '0' && *name <= '9' && mproc__proc_number(&name, end, ret_number) && name == end;
}

static int folder_open(const mproc__look *look, const char *folder, DIR **ret_directory)
{
    int fd = openat(look->view->directory_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *ret_directory = fd < 0 ? NULL : fdopendir(fd);
    if (*ret_directory)
        return 0;
    int error = errno;
    if (fd >= 0)
        close(fd);
    return error == ENOENT ? -ESRCH : error == EPERM ? -EACCES : -error;
}

static int folder_walk(mproc__look *look, const char *folder, mproc__look_fd_visit *visit, void *context)
{
    DIR *directory;
    int64_t number;
    bool own = look->view->stat.pid == mproc__pid();
    int rc = folder_open(look, folder, &directory);
    while (rc == 0) {
        errno = 0;
        struct dirent *entry = readdir(directory);
        if (!entry) {
            rc = errno == ENOENT ? -ESRCH : -errno;
            break;
        }
        if (!number_parse(entry->d_name, &number) ||
            (own && (number == dirfd(directory) || number == look->view->directory_fd)))
            continue;
        rc = visit(look, dirfd(directory), number, context);
    }
    if (directory)
        closedir(directory);
    return rc;
}

int mproc__look_fds(mproc__look *look, mproc__look_fd_visit *visit, void *context)
{
    return folder_walk(look, "fd", visit, context);
}

/* One that was closed meanwhile is left out. */
static int file_visit(mproc__look *look, int directory_fd, int64_t fd, void *context)
{
    static const char *const keys[] = {"fd", "path"};
    char name[24];
    snprintf(name, sizeof name, "%lld", (long long)fd);
    int rc = mproc__proc_link(directory_fd, name, look->text);
    if (rc < 0)
        return rc == -ESRCH ? 0 : rc;
    const mproc_variant items[] = {mproc_int(fd), mproc__look_word(look->text->bytes)};
    return mproc__look_entry(context, keys, items, MPROC__COUNT(items));
}

static int files_look(mproc__look *look, mproc_variant *ret_value)
{
    return mproc__look_fds(look, file_visit, ret_value);
}

static int thread_visit(mproc__look *look, int directory_fd, int64_t tid, void *context)
{
    static const char *const keys[] = {"tid", "name", "state", "user_ns", "system_ns"};
    char path[40];
    mproc__proc_stat stat;
    snprintf(path, sizeof path, "%lld/stat", (long long)tid);
    int rc = mproc__proc_read_record(directory_fd, path, look->text);
    if (rc < 0 || !mproc__proc_stat_parse(look->text->bytes, look->text->length, &stat))
        return rc == -ESRCH ? 0 : rc;
    const char state[2] = {stat.state, '\0'};
    const mproc_variant items[] = {mproc_int(tid), mproc__look_word(stat.name), mproc__look_word(state),
                                   mproc_int(mproc__proc_ticks_ns(stat.user_ticks)),
                                   mproc_int(mproc__proc_ticks_ns(stat.system_ticks))};
    return mproc__look_entry(context, keys, items, MPROC__COUNT(items));
}

static int threads_look(mproc__look *look, mproc_variant *ret_value)
{
    return folder_walk(look, "task", thread_visit, ret_value);
}

/* ---- all parts ---- */

typedef struct part {
    uint32_t bit;
    const char *key;
    int (*look)(mproc__look *look, mproc_variant *ret_value); /* from null; -ESRCH: it has none */
    mproc_kind empty;                                         /* what nothing found is */
} part;

static const part parts_known[] = {
    {MPROC_RUNNING_COMMAND, "command", command_look, MPROC_KIND_LIST},
    {MPROC_RUNNING_EXECUTABLE, "executable", executable_look, MPROC_KIND_NULL},
    {MPROC_RUNNING_DIRECTORY, "directory", directory_look, MPROC_KIND_NULL},
    {MPROC_RUNNING_ENVIRONMENT, "environment", environment_look, MPROC_KIND_DICT},
    {MPROC_RUNNING_MEMORY, "memory", memory_look, MPROC_KIND_DICT},
    {MPROC_RUNNING_THREADS, "threads", threads_look, MPROC_KIND_LIST},
    {MPROC_RUNNING_FILES, "files", files_look, MPROC_KIND_LIST},
    {MPROC_RUNNING_CONNECTIONS, "connections", mproc__look_connections, MPROC_KIND_LIST},
    {MPROC_RUNNING_CPUS, "cpus", cpus_look, MPROC_KIND_LIST},
    {MPROC_RUNNING_NAMES, "names", names_look, MPROC_KIND_DICT},
};

/* No memory and no descriptors are our own lack, and fail the call; the rest is the part's. */
static bool is_ours(int code)
{
    return code == -ENOMEM || code == -EMFILE || code == -ENFILE;
}

static int part_take(const part *which, mproc__look *look, mproc_variant *dict, mproc_variant *denied)
{
    mproc_variant value = mproc_null();
    int rc = which->look(look, &value);
    if (rc < 0)
        mproc_variant_clear(&value);
    if (rc < 0 && rc != -ESRCH) {
        if (is_ours(rc))
            return rc;
        rc = mproc_variant_set(denied, which->key, mproc_int(rc));
    } else {
        rc = 0;
        if (value.kind == MPROC_KIND_NULL)
            value.kind = which->empty;
    }
    if (rc == 0)
        rc = mproc_variant_set(dict, which->key, value);
    mproc_variant_clear(&value);
    return rc;
}

static int parts_take(uint32_t parts, mproc__look *look, mproc_variant *ret_dict)
{
    mproc_variant denied = mproc_null();
    int rc = 0;
    for (size_t i = 0; i < MPROC__COUNT(parts_known) && rc == 0; i++)
        if (parts & parts_known[i].bit)
            rc = part_take(&parts_known[i], look, ret_dict, &denied);
    if (rc == 0 && denied.kind != MPROC_KIND_NULL)
        rc = mproc_variant_set(ret_dict, "denied", denied);
    mproc_variant_clear(&denied);
    /* Parts of one that ended meanwhile are empty: that is not what it was. */
    if (rc == 0 &&
        (mproc__proc_read_record(look->view->directory_fd, "stat", look->text) < 0 || !look->text->length))
        rc = -ESRCH;
    return rc;
}

static int detail_get(mproc_running which, uint32_t parts, mproc__proc_text texts[2], mproc_variant *ret_dict)
{
    mproc__running_view view;
    int rc = mproc__running_open(which, &texts[0], &view);
    if (rc < 0)
        return rc;
    mproc__look look = {.view = &view, .status = &texts[0], .text = &texts[1]};
    rc = parts_take(parts, &look, ret_dict);
    close(view.directory_fd);
    if (rc == -ESRCH)
        return mproc__fail(rc, "process %lld ended while it was looked at", (long long)view.stat.pid);
    return rc < 0 ? mproc__fail(rc, "process %lld: %s", (long long)view.stat.pid, mproc_strerror(rc)) : 0;
}

int mproc_running_detail(mproc_running which, uint32_t parts, mproc_variant *ret_dict)
{
    mproc__proc_text texts[2];
    mproc_variant dict = mproc_null();
    if (!ret_dict)
        return mproc__fail(-EINVAL, "no place for the parts");
    if (parts == 0 || (parts & ~(uint32_t)MPROC_RUNNING_EVERYTHING) != 0)
        return mproc__fail(-EINVAL, "parts 0x%x: none, or one that is not known", parts);
    for (int i = 0; i < 2; i++)
        mproc__proc_text_begin(&texts[i]);
    int rc = detail_get(which, parts, texts, &dict);
    for (int i = 0; i < 2; i++)
        mproc__proc_text_end(&texts[i]);
    if (rc < 0)
        mproc_variant_clear(&dict);
    else
        *ret_dict = dict;
    return rc;
}
