/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/named_common.h"
#include "support/support.h"

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

static bool map_itself(const char *file, unsigned id)
{
    char map[64];
    snprintf(map, sizeof(map), "%u %u 1", id, id);
    return write_text(file, map);
}

/* Not root: root of a user namespace in which only this user and this group exist. Without its group no file can be made
 * there (EOVERFLOW). */
static bool namespace_own(void)
{
    unsigned user = geteuid(), group = getegid();
    if (user == 0)
        return unshare(CLONE_NEWNS) == 0;
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && map_itself("/proc/self/uid_map", user) &&
           write_text("/proc/self/setgroups", "deny") && map_itself("/proc/self/gid_map", group);
}

bool named_own_directory(const char *options)
{
    return namespace_own() && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", "/dev/shm", "tmpfs", 0, options) == 0 && chmod("/dev/shm", 01777) == 0;
}

void named_skipped(const char *why)
{
    printf("not shown here: %s\n", why);
}

unsigned named_count(const char *prefix)
{
    unsigned count = 0;
    DIR *directory = opendir("/dev/shm");
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && strcmp(entry->d_name, ".") != 0 &&
                 strcmp(entry->d_name, "..") != 0;
    if (directory)
        closedir(directory);
    return count;
}

char *named_path(const char *file, char path[300])
{
    snprintf(path, 300, "/dev/shm/%s", file);
    return path;
}

bool named_exists(const char *file)
{
    char path[300];
    struct stat status;
    return lstat(named_path(file, path), &status) == 0;
}

void named_write(const char *file, const void *data, size_t bytes)
{
    char path[300];
    int fd = open(named_path(file, path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, bytes), (ssize_t)bytes);
    close(fd);
}

void named_damage(const char *file, off_t offset, const void *data, size_t bytes, off_t size_bytes)
{
    char path[300];
    int fd = open(named_path(file, path), O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, data, bytes, offset), (ssize_t)bytes);
    if (size_bytes >= 0)
        ck_assert_int_eq(ftruncate(fd, size_bytes), 0);
    close(fd);
}

static void log_collect(mproc_log_level level, const char *text, void *context)
{
    named_log *log = context;
    (void)level;
    log->count++;
    snprintf(log->last, sizeof(log->last), "%s", text);
}

void named_log_begin(named_log *log)
{
    memset(log, 0, sizeof(*log));
    mproc_set_log(log_collect, MPROC_LOG_DEBUG, log);
}
