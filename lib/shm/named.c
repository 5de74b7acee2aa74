/* SPDX-License-Identifier: BSD-2-Clause */
/* One named segment: its file made, published, opened, taken away. */
#include "platform/base.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "platform/story.h"
#include "shm/named.h"
#include "shm/segment_inside.h"

#define DIRECTORY        "/dev/shm"
#define TEMPORARY_PREFIX ".mproc-"

enum {
    PATH_BYTES = sizeof(DIRECTORY) + MPROC__FILE_BYTES,
    LOCK_WAIT_MS = 1000, /* a cleaner needs microseconds; one that was stopped is not waited for */
    LOCK_PAUSE_US = 100
};

_Static_assert(MPROC__FILE_BYTES == NAME_MAX + 1 && (int)MPROC__LABEL_BYTES == (int)MPROC__FILE_BYTES,
               "a label has room for a file name");

static const char *path_of(const char *file, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, DIRECTORY "/%.255s", file);
    return path;
}

/* ---- names ---- */

int mproc__file_part_check(const char *part, const char *what)
{
    if (part[0] == '\0' || strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
        return mproc__fail(-EINVAL, "\"%s\" cannot be the name of %s", part, what);
    if (strpbrk(part, "/%") || strncmp(part, TEMPORARY_PREFIX, strlen(TEMPORARY_PREFIX)) == 0)
        return mproc__fail(-EINVAL, "the name of %s has neither / nor %% and does not begin with %s", what,
                           TEMPORARY_PREFIX);
    return strlen(part) < MPROC__FILE_BYTES
               ? 0
               : mproc__fail(-ENAMETOOLONG, "the name of %s has more than %d bytes", what,
                             MPROC__FILE_BYTES - 1);
}

static int random_text(const char *prefix, char *buffer, size_t size_bytes)
{
    uint64_t number;
    int code = mproc__random(&number, sizeof(number));
    snprintf(buffer, size_bytes, "%s%016llx", prefix, (unsigned long long)number);
    return code < 0 ? mproc__fail(code, "no random numbers for a name") : 0;
}

int mproc__file_name(const char *group, const char *name, char ret_file[MPROC__FILE_BYTES])
{
    char random[32];
    int code =
        name ? mproc__file_part_check(name, "an object") : random_text("mproc-", random, sizeof(random));
    if (code < 0)
        return code;
    int bytes =
        snprintf(ret_file, MPROC__FILE_BYTES, "%s%s%s", group, *group ? "%" : "", name ? name : random);
    if (bytes >= MPROC__FILE_BYTES)
        return mproc__fail(-ENAMETOOLONG, "a place's and an object's names have more than %d bytes together",
                           MPROC__FILE_BYTES - 2);
    return 0;
}

bool mproc__file_name_good(const char *label)
{
    return label[0] != '\0' && !strchr(label, '/') && strcmp(label, ".") != 0 && strcmp(label, "..") != 0;
}

int mproc__file_key(int fd, char ret_key[MPROC__FILE_KEY_BYTES])
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return mproc__fail(-errno, "cannot look at descriptor %d: %s", fd, mproc_strerror(-errno));
    snprintf(ret_key, MPROC__FILE_KEY_BYTES, "%llx:%llx", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    return 0;
}

/* Whether the name leads to that very file at this moment. */
static bool leads_to(const char *path, const struct stat *file)
{
    struct stat found;
    return lstat(path, &found) == 0 && found.st_dev == file->st_dev && found.st_ino == file->st_ino;
}

/* ---- made ---- */

static int file_failed(const char *what)
{
    int code = -errno;
    return mproc__fail(code, "cannot make a file in " DIRECTORY ": %s: %s", what, mproc_strerror(code));
}

/* -EAGAIN: a cleaner came between making the file and locking it. */
static int temporary_open(const char *name)
{
    char path[PATH_BYTES];
    struct stat status;
    int fd = open(path_of(name, path), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno == EEXIST ? -EAGAIN : file_failed("open");
    bool locked = flock(fd, LOCK_SH | LOCK_NB) == 0;
    if (locked && fstat(fd, &status) == 0 && status.st_nlink == 1)
        return fd;
    int code = locked || errno == EWOULDBLOCK ? -EAGAIN : file_failed("flock");
    unlink(path);
    close(fd);
    return code;
}

/* A file without a name needs /proc to get one later; where there is none, it has a temporary name, which cleaners know. */
static int file_with_temporary_name(char **ret_name)
{
    char name[32];
    int fd;
    *ret_name = malloc(sizeof(name));
    if (!*ret_name)
        return mproc__fail(-ENOMEM, "no memory for the name of a file");
    do {
        fd = random_text(TEMPORARY_PREFIX, name, sizeof(name));
        if (fd == 0)
            fd = temporary_open(name);
    } while (fd == -EAGAIN);
    memcpy(*ret_name, name, sizeof(name));
    if (fd < 0) {
        free(*ret_name);
        *ret_name = NULL;
    }
    return fd;
}

static int file_without_name(void)
{
    int fd = open(DIRECTORY, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EOPNOTSUPP || errno == EISDIR ? -EOPNOTSUPP : file_failed("open");
    if (flock(fd, LOCK_SH | LOCK_NB) == 0)
        return fd;
    int code = file_failed("flock");
    close(fd);
    return code;
}

static int file_open(mproc__segment *segment)
{
    int fd = access("/proc/self/fd", X_OK) == 0 ? file_without_name() : -EOPNOTSUPP;
    if (fd == -EOPNOTSUPP) /* before Linux 3.11, which took it for a directory opened to write */
        fd = file_with_temporary_name(&segment->temporary);
    return fd;
}

/* The mode is set in full: a umask is for files that are opened with a mode in mind. */
int mproc__named_file(const mproc__naming *naming, size_t size_bytes, mproc__segment *segment)
{
    if (size_bytes > (size_t)INT64_MAX)
        return mproc__fail(-EFBIG, "a segment of %zu bytes", size_bytes);
    int fd = file_open(segment);
    if (fd == -ENOENT || fd == -ENOTDIR) /* which would be taken for a missing name */
        return mproc__fail(MPROC_EPLACE, "there is no directory " DIRECTORY);
    if (fd < 0)
        return fd;
    if (fchmod(fd, naming->mode ? naming->mode : 0600) == 0 && ftruncate(fd, (off_t)size_bytes) == 0)
        return fd;
    int code = file_failed("fchmod or ftruncate");
    close(fd);
    return code;
}

int mproc__named_create(const mproc__naming *naming, mproc_type_id kind, size_t size_bytes,
                        size_t reserve_bytes, mproc__segment **ret_segment)
{
    return mproc__segment_make(MPROC__HOME_HOST, kind, naming->file, naming, size_bytes, reserve_bytes,
                               ret_segment);
}

/* From one name to the other in one step: a death leaves one of them. */
static int temporary_publish(mproc__segment *segment, const char *path)
{
    char old[PATH_BYTES];
    if (renameat2(AT_FDCWD, path_of(segment->temporary, old), AT_FDCWD, path, RENAME_NOREPLACE) < 0)
        return -errno;
    free(segment->temporary);
    segment->temporary = NULL;
    return 0;
}

int mproc__named_publish(mproc__segment *segment)
{
    char from[40];
    char path[PATH_BYTES];
    int code = 0;
    path_of(segment->label, path);
    snprintf(from, sizeof(from), "/proc/self/fd/%d", segment->fd);
    if (segment->temporary)
        code = temporary_publish(segment, path);
    else if (linkat(AT_FDCWD, from, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0)
        code = -errno;
    if (code == -EEXIST)
        return mproc__fail(code, "there is an object of the name \"%s\" already",
                           mproc__segment_name(segment));
    if (code < 0)
        return mproc__fail(code, "cannot make %s: %s: %s", path, segment->temporary ? "renameat2" : "linkat",
                           mproc_strerror(code));
    segment->published = true;
    return 0;
}

/* ---- opened ---- */

static int open_failed(const char *file, int error)
{
    switch (error) {
    case ENOENT:
        return mproc__fail(-ENOENT, "no object of the name \"%s\" in " DIRECTORY, file);
    case ELOOP:
    case EISDIR:
    case ENXIO:
        return mproc__fail(MPROC_ECORRUPT, DIRECTORY "/%s is no segment of libmproc", file);
    default:
        return mproc__fail(-error, "cannot open " DIRECTORY "/%s: %s", file, mproc_strerror(-error));
    }
}

/* Exclusive holders are cleaners, for microseconds. There is no flock with a deadline. */
static int lock_shared(int fd, const char *file)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_US * 1000L};
    mproc_deadline deadline = mproc_after_ms(LOCK_WAIT_MS);
    while (flock(fd, LOCK_SH | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            return mproc__fail(-errno, "cannot lock " DIRECTORY "/%s: %s", file, mproc_strerror(-errno));
        if (mproc__deadline_past(deadline))
            return mproc__fail(-EBUSY, "somebody holds a lock on " DIRECTORY "/%s, perhaps a stopped cleaner",
                               file);
        nanosleep(&pause, NULL);
    }
    return 0;
}

/* What no user can hold open is not locked: it is not ours. */
static int check_and_lock(int fd, const char *file, struct stat *ret_status)
{
    mproc__header_shared header;
    if (fstat(fd, ret_status) < 0)
        return mproc__fail(-errno, "cannot look at " DIRECTORY "/%s: %s", file, mproc_strerror(-errno));
    int code = S_ISREG(ret_status->st_mode) ? mproc__header_read(fd, &header) : MPROC_ECORRUPT;
    if (code < 0 && code != MPROC_ECORRUPT)
        return code;
    if (code < 0 || !(header.flags & MPROC__FLAG_NAMED))
        return mproc__fail(MPROC_ECORRUPT, DIRECTORY "/%s is no segment of libmproc", file);
    return lock_shared(fd, file);
}

/* Once we hold the shared lock, no cleaner takes the name; if one did before, or a user, it is looked for again. */
int mproc__named_open(const char *file, bool writable, int *ret_fd)
{
    char path[PATH_BYTES];
    int access = writable ? O_RDWR : O_RDONLY;
    path_of(file, path);
    for (;;) {
        struct stat status;
        int fd = open(path, access | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
            return open_failed(file, errno);
        int code = check_and_lock(fd, file, &status);
        if (code == 0 && leads_to(path, &status)) {
            *ret_fd = fd;
            return 0;
        }
        close(fd);
        if (code < 0)
            return code;
    }
}

/* ---- taken away ---- */

/* Whoever has a file of ours locked exclusively has seen that nobody uses it and takes its name away next. If we took it
 * first and somebody gave it to a new object, that one would lose it. So the cleaner goes first, and none begins while we
 * hold the shared lock. ret_fd: with that lock, or -1: not ours, or not to be opened, so no cleaner touches it. */
static int keep_cleaners_off(const char *file, const char *path, int *ret_fd)
{
    *ret_fd = -1;
    for (;;) {
        mproc__header_shared header;
        struct stat status;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
            return 0;
        bool ours = fstat(fd, &status) == 0 && mproc__header_read(fd, &header) == 0;
        int code = ours ? lock_shared(fd, file) : 0;
        if (ours && code == 0 && leads_to(path, &status)) {
            *ret_fd = fd;
            return 0;
        }
        if (ours && code == 0)
            flock(fd, LOCK_UN); /* a cleaner was faster: the name may lead to another file now */
        close(fd);
        if (!ours || code < 0)
            return code;
    }
}

int mproc__named_unlink(const char *file)
{
    char path[PATH_BYTES];
    int fd;
    int code = keep_cleaners_off(file, path_of(file, path), &fd);
    if (code < 0)
        return code;
    code = unlink(path) == 0 ? 0 : -errno;
    if (fd >= 0) {
        flock(fd, LOCK_UN); /* by hand: a child forked meanwhile shares this open file */
        close(fd);
    }
    if (code == -ENOENT)
        return mproc__fail(code, "no object of the name \"%s\" in " DIRECTORY, file);
    return code == 0 ? 0 : mproc__fail(code, "cannot remove %s: %s", path, mproc_strerror(code));
}

/* Of a segment of this build: how many living processes are in its rows. Those of another pid namespace say nothing
 * here. Read, not mapped, because a stranger may cut the file short. -errno: nobody can tell. */
static int rows_in_use(int fd, const mproc__header_shared *header)
{
    mproc__header_shared all;
    uint64_t pids;
    uint64_t times;
    int used = 0;
    int code = mproc__namespaces(&pids, &times);
    if (code < 0 || header->pid_namespace != pids || header->time_namespace != times)
        return code;
    if (pread(fd, &all, sizeof(all), 0) != (ssize_t)sizeof(all))
        return 0;
    for (unsigned row = 0; row < MPROC__ROWS; row++)
        used += mproc__row_in_use(&all.rows[row]);
    return used;
}

static bool of_this_build(const mproc__header_shared *header)
{
    return header->version == MPROC__SEGMENT_VERSION && header->root_offset == MPROC__ROOT_OFFSET &&
           header->row_count == MPROC__ROWS && (header->flags & MPROC__FLAG_NAMED);
}

/* Half made ones have no header yet. Segments of other builds are for those to judge. The last word is the exclusive
 * lock: nobody has the file open; the rows are asked as well, for users whose lock was dropped by hand. */
static bool abandoned(int fd, const char *file, uint32_t *ret_kind)
{
    mproc__header_shared header;
    *ret_kind = 0;
    if (strncmp(file, TEMPORARY_PREFIX, strlen(TEMPORARY_PREFIX)) == 0)
        return true;
    if (mproc__header_read(fd, &header) < 0 || !of_this_build(&header))
        return false;
    *ret_kind = header.kind;
    return !(header.flags & MPROC__FLAG_PERSIST) && rows_in_use(fd, &header) == 0;
}

/* Unlocks by hand at the end: a child that another thread forked meanwhile shares this open file. */
static int reap_locked(int fd, const char *file, const char *path, const struct stat *status,
                       uint32_t *ret_kind)
{
    int removed = leads_to(path, status) && abandoned(fd, file, ret_kind) && unlink(path) == 0;
    flock(fd, LOCK_UN);
    return removed;
}

int mproc__named_reap(const char *file, dev_t device, ino_t inode, uint32_t *ret_kind)
{
    char path[PATH_BYTES];
    struct stat status;
    int removed = 0;
    int fd = open(path_of(file, path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return 0;
    bool wanted = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
                  (!inode || (status.st_dev == device && status.st_ino == inode));
    if (wanted && abandoned(fd, file, ret_kind) && flock(fd, LOCK_EX | LOCK_NB) == 0)
        removed = reap_locked(fd, file, path, &status, ret_kind);
    close(fd);
    return removed;
}

bool mproc__named_look(const char *file, mproc__named_facts *ret_facts)
{
    char path[PATH_BYTES];
    struct stat status;
    mproc__header_shared header;
    int fd = open(path_of(file, path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return false;
    bool ours = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && mproc__header_read(fd, &header) == 0 &&
                of_this_build(&header);
    if (ours) {
        ret_facts->kind = header.kind;
        int used = rows_in_use(fd, &header);
        ret_facts->participants = used > 0 ? (unsigned)used : 0;
    }
    close(fd);
    return ours;
}
