/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <poll.h>
#include <unistd.h>

#include "channel/address.h"
#include "platform/platform.h"
#include "platform/story.h"

#define PREFIX "unix:"

/* How long another process may hold a directory's lock before we give up: it is held for a few system calls, so only a
 * process that holds it on purpose, or is stopped there, keeps us that long. */
#define FOLDER_LOCK_NS INT64_C(2000000000)

typedef struct socket_name {
    struct sockaddr_un unix_name;
    socklen_t size_bytes;
    bool abstract;
} socket_name;

static int name_unsupported(const char *address)
{
    static const char *const later[] = {"tcp:", "tls:"};
    for (size_t i = 0; i < MPROC__COUNT(later); i++)
        if (strncmp(address, later[i], strlen(later[i])) == 0)
            return mproc__fail(MPROC_EPLACE, "%s: not supported here; unix:PATH and unix:@NAME are", address);
    return mproc__fail(-EINVAL, "'%s' is no address: unix:PATH or unix:@NAME is one", address);
}

static int name_parse(const char *address, socket_name *ret_name)
{
    if (!address)
        return mproc__fail(-EINVAL, "the address is NULL");
    if (strncmp(address, PREFIX, sizeof PREFIX - 1) != 0)
        return name_unsupported(address);
    const char *path = address + sizeof PREFIX - 1;
    size_t length = strlen(path);
    *ret_name = (socket_name){.unix_name.sun_family = AF_UNIX, .abstract = path[0] == '@'};
    if (length < 1 + (size_t)ret_name->abstract)
        return mproc__fail(-EINVAL, "'%s' has no path", address);
    /* A path needs its NUL in there, an abstract name has its length. */
    if (length > sizeof ret_name->unix_name.sun_path - 1)
        return mproc__fail(-ENAMETOOLONG, "%s: %zu bytes are too long for a socket, %zu is the most", address,
                           length, sizeof ret_name->unix_name.sun_path - 1);
    memcpy(ret_name->unix_name.sun_path, path, length);
    if (ret_name->abstract)
        ret_name->unix_name.sun_path[0] = '\0';
    ret_name->size_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + !ret_name->abstract);
    return 0;
}

static const struct sockaddr *name_sockaddr(const socket_name *name)
{
    return (const struct sockaddr *)(const void *)&name->unix_name;
}

/* ---- listening ---- */

/* The directory of a socket file, locked against others who are about to bind there. The lock is on the directory itself,
 * so that no lock file is left behind, and the kernel drops it when we die. */
static int folder_lock(const char *path, int *ret_fd)
{
    char folder[sizeof((struct sockaddr_un *)NULL)->sun_path];
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (slash == path ? 1 : (size_t)(slash - path)) : 1;
    memcpy(folder, slash ? path : ".", length);
    folder[length] = '\0';
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return mproc__fail(-errno, "cannot make a socket in %s: %s", folder, mproc_strerror(-errno));
    mproc_deadline deadline = mproc_after_ns(FOLDER_LOCK_NS);
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            break; /* a file system without locks: go on as everybody there must */
        if (mproc__deadline_past(deadline)) {
            close(fd);
            return mproc__fail(-EBUSY, "another process holds the lock of the directory %s", folder);
        }
        poll(NULL, 0, 1);
    }
    *ret_fd = fd;
    return 0;
}

/* Whether somebody has this socket. Asked by a socket of another type: EPROTOTYPE is alive, and its owner notices nothing,
 * while a connect of its own type would be a client that has gone. */
static bool name_is_served(const socket_name *name)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return true; /* in doubt, alive */
    bool served =
        connect(fd, name_sockaddr(name), name->size_bytes) == 0 || (errno != ECONNREFUSED && errno != ENOENT);
    close(fd);
    return served;
}

/* Makes way for a bind: removes a socket that nobody serves. Under the directory's lock, so that what is removed here was
 * not bound a moment ago by one who is about to listen. */
static int path_clear(const socket_name *name)
{
    const char *path = name->unix_name.sun_path;
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : mproc__fail(-errno, "%s: %s", path, mproc_strerror(-errno));
    if (!S_ISSOCK(st.st_mode))
        return mproc__fail(-ENOTSOCK, "%s exists and is no socket", path);
    if (name_is_served(name))
        return mproc__fail(-EADDRINUSE, "unix:%s is in use by a living process", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return mproc__fail(-errno, "cannot remove the dead socket %s: %s", path, mproc_strerror(-errno));
    return 0;
}

/* Remembers the file that bind has just made, so that what fails from here on removes it again. */
static int bound_file(mproc__bound *bound, const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0) {
        int rc = -errno;
        unlink(path); /* ours: we hold the directory's lock since we found the name free */
        return rc;
    }
    bound->remove_file = true;
    bound->device = st.st_dev;
    bound->inode = st.st_ino;
    return 0;
}

static int bound_bind(mproc__bound *bound, const socket_name *name, const char *address, unsigned backlog)
{
    int rc = 0, most = backlog == 0 || backlog > SOMAXCONN ? SOMAXCONN : (int)backlog;
    /* Linux gives the file the mode of the socket, so that it never exists with another one; umask is the whole
     * process's and not ours to change. */
    if (fchmod(bound->fd, 0600) < 0 || bind(bound->fd, name_sockaddr(name), name->size_bytes) < 0)
        rc = -errno;
    if (rc == 0 && !name->abstract)
        rc = bound_file(bound, name->unix_name.sun_path);
    if (rc == 0 && listen(bound->fd, most) < 0)
        rc = -errno;
    return rc < 0 ? mproc__fail(rc, "cannot listen at %s: %s", address, mproc_strerror(rc)) : 0;
}

static int bound_open(mproc__bound *bound, const socket_name *name, const char *address, unsigned backlog)
{
    int folder = -1, rc = 0;
    bound->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bound->fd < 0)
        return mproc__fail(-errno, "no socket for %s: %s", address, mproc_strerror(-errno));
    if (!name->abstract)
        rc = folder_lock(name->unix_name.sun_path, &folder);
    if (rc == 0 && !name->abstract)
        rc = path_clear(name);
    if (rc == 0)
        rc = bound_bind(bound, name, address, backlog);
    if (folder >= 0)
        close(folder);
    return rc;
}

/* "unix:" and a path that stays right when the program changes its directory. */
static int address_absolute(const char *address, char **ret_address)
{
    const char *path = address + sizeof PREFIX - 1;
    char here[4096];
    int n;
    if (path[0] == '/' || path[0] == '@')
        n = asprintf(ret_address, "%s", address);
    else if (getcwd(here, sizeof here))
        n = asprintf(ret_address, PREFIX "%s/%s", here, path);
    else
        return mproc__fail(-errno, "no name for the working directory: %s", mproc_strerror(-errno));
    return n < 0 ? mproc__fail(-ENOMEM, "no memory for an address") : 0;
}

static int address_private(mproc__bound *bound)
{
    static const char file[] = "/socket";
    char folder[sizeof((struct sockaddr_un *)NULL)->sun_path - sizeof file + 1];
    int rc = mproc__private_directory(folder, sizeof folder);
    if (rc < 0)
        return rc;
    if (asprintf(&bound->address, PREFIX "%s%s", folder, file) < 0) {
        bound->address = NULL;
        rmdir(folder);
        return mproc__fail(-ENOMEM, "no memory for an address");
    }
    bound->remove_folder = true;
    return 0;
}

int mproc__address_listen(const char *address, unsigned backlog, mproc__bound *ret_bound)
{
    *ret_bound = (mproc__bound){.fd = -1, .incarnation = mproc__incarnation()};
    socket_name name;
    int rc = address ? name_parse(address, &name) : address_private(ret_bound);
    if (rc == 0 && address)
        rc = address_absolute(address, &ret_bound->address);
    if (rc == 0 && !address)
        rc = name_parse(ret_bound->address, &name);
    if (rc == 0)
        rc = bound_open(ret_bound, &name, ret_bound->address, backlog);
    if (rc < 0)
        mproc__bound_close(ret_bound);
    return rc;
}

/* The file goes before the socket: as long as we listen nobody takes it for a dead one, so it is still the one we made
 * unless somebody moved another there by hand; that one stays. */
static void bound_remove(const mproc__bound *bound)
{
    char *path = bound->address + sizeof PREFIX - 1;
    struct stat st;
    if (bound->remove_file && lstat(path, &st) == 0 && st.st_dev == bound->device &&
        st.st_ino == bound->inode)
        unlink(path);
    if (!bound->remove_folder)
        return;
    *strrchr(path, '/') = '\0';
    rmdir(path);
}

void mproc__bound_close(mproc__bound *bound)
{
    if (bound->address && bound->incarnation == mproc__incarnation())
        bound_remove(bound);
    if (bound->fd >= 0)
        close(bound->fd);
    free(bound->address);
    *bound = (mproc__bound){.fd = -1};
}

/* ---- connecting ---- */

/* A Unix connect waits only for room in the backlog, and no poll tells of that: the socket's own send time-out bounds it. */
static void connect_set_limit(int fd, mproc_deadline deadline)
{
    struct timeval limit = {0};
    if (deadline.ns != INT64_MAX) {
        int64_t us = (deadline.ns - mproc__now_ns()) / 1000;
        us = us < 1 ? 1 : us; /* 0 would be no limit */
        limit = (struct timeval){.tv_sec = us / 1000000, .tv_usec = us % 1000000};
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static int connect_until(int fd, const socket_name *name, const char *address, mproc_deadline deadline)
{
    int rc;
    do {
        connect_set_limit(fd, deadline);
        rc = connect(fd, name_sockaddr(name), name->size_bytes) < 0 ? -errno : 0;
    } while (rc == -EINTR);
    connect_set_limit(fd, MPROC_FOREVER);
    if (rc == -EAGAIN)
        return mproc__fail(-ETIMEDOUT, "%s: its backlog stayed full until the deadline", address);
    if (rc == -ECONNREFUSED || rc == -ENOENT)
        return mproc__fail(rc, "nobody listens at %s", address);
    return rc < 0 ? mproc__fail(rc, "cannot connect to %s: %s", address, mproc_strerror(rc)) : 0;
}

int mproc__address_connect(const char *address, mproc_deadline deadline, int *ret_fd)
{
    socket_name name;
    int rc = name_parse(address, &name);
    if (rc < 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return mproc__fail(-errno, "no socket to connect to %s: %s", address, mproc_strerror(-errno));
    rc = connect_until(fd, &name, address, deadline);
    if (rc == 0)
        *ret_fd = fd;
    else
        close(fd);
    return rc;
}

int mproc__peer_check(int fd, pid_t *ret_pid, uid_t *ret_uid)
{
    struct ucred who;
    socklen_t size = sizeof who;
    *ret_pid = 0;
    *ret_uid = (uid_t)-1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
        return mproc__fail(-EACCES, "the kernel does not say who the peer is: %s", mproc_strerror(-errno));
    *ret_pid = who.pid;
    *ret_uid = who.uid;
    if (who.uid == geteuid())
        return 0;
    return mproc__fail(-EACCES, "refused the peer with pid %d: its uid %u is not %u, this process's own",
                       (int)who.pid, (unsigned)who.uid, (unsigned)geteuid());
}
