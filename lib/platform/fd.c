/* SPDX-License-Identifier: BSD-2-Clause */
/* Descriptors: whole reads and writes with a deadline, passing them on, closing the others.
 *
 * Works on blocking and non-blocking descriptors alike, and leaves their flags alone: O_NONBLOCK belongs to the open file,
 * which other processes may share. Sockets are asked per call not to block; others are polled first. */
#include "platform/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"

enum {
    FD_PASS_MAX = 72
}; /* descriptors in one message: a parcel's 64 and some; the kernel's own limit is 253 */

int mproc__fd_poll(int fd, short events, mproc_deadline deadline)
{
    struct pollfd item = {.fd = fd, .events = events};

    for (;;) {
        int count = poll(&item, 1, mproc__deadline_poll_ms(deadline));

        if (count > 0)
            return item.revents & POLLNVAL ? mproc__fail(-EBADF, "descriptor %d is not open", fd) : 0;
        if (count < 0 && errno != EINTR)
            return mproc__fail(-errno, "poll: %s", mproc_strerror(-errno));
        /* A poll of more than INT_MAX ms, or one cut short by a signal, goes on. */
        if (mproc__deadline_past(deadline))
            return mproc__fail_plain(-ETIMEDOUT);
    }
}

/* What a step that got -1 does next: 0 try again, else the code. */
MPROC__FORK_TEXT static int fd_step_failed(int fd, short events, mproc_deadline deadline)
{
    if (errno == EINTR)
        return 0;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return deadline.ns == MPROC_NOW.ns ? mproc__fail_plain(-ETIMEDOUT)
                                           : mproc__fd_poll(fd, events, deadline);
    return mproc__fail(-errno, "descriptor %d: %s", fd, mproc_strerror(-errno));
}

static ssize_t fd_read_some(int fd, void *buffer, size_t size_bytes, mproc_deadline deadline)
{
    ssize_t got = recv(fd, buffer, size_bytes, MSG_DONTWAIT);
    int code;

    if (got >= 0 || errno != ENOTSOCK)
        return got;
    code = mproc__fd_poll(fd, POLLIN, deadline);
    if (code == 0)
        return read(fd, buffer, size_bytes);
    errno = -code;
    return -1;
}

MPROC__FORK_TEXT int mproc__fd_read_all(int fd, void *buffer, size_t size_bytes, mproc_deadline deadline)
{
    char *at = buffer;
    int code = 0;

    while (size_bytes > 0 && code == 0) {
        ssize_t got = fd_read_some(fd, at, size_bytes, deadline);

        if (got == 0)
            return mproc__fail_plain(MPROC_EEND);
        if (got < 0 && errno == ETIMEDOUT)
            return mproc__fail_plain(-ETIMEDOUT);
        if (got < 0) {
            code = fd_step_failed(fd, POLLIN, deadline);
            continue;
        }
        at += got;
        size_bytes -= (size_t)got;
    }
    return code;
}

/* A write that raises no SIGPIPE: a dead reader is an error code here, not the end of the program. Sockets have a flag for
 * that; for pipes the signal is blocked and, if this write raised it, taken away. */
static ssize_t pipe_write(int fd, const void *data, size_t size_bytes)
{
    const struct timespec no_wait = {0};
    sigset_t pipe_set, previous, pending;
    ssize_t put;
    int error;

    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &previous);
    put = write(fd, data, size_bytes);
    error = errno;
    if (put < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE))
        while (sigtimedwait(&pipe_set, NULL, &no_wait) < 0 && errno == EINTR) {
        }
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    errno = error;
    return put;
}

static ssize_t fd_write_some(int fd, const void *data, size_t size_bytes, mproc_deadline deadline)
{
    ssize_t put = send(fd, data, size_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    int code;

    if (put >= 0 || errno != ENOTSOCK)
        return put;
    code = mproc__fd_poll(fd, POLLOUT, deadline);
    /* A blocking pipe that polls writable takes PIPE_BUF bytes without blocking, and no more is promised. */
    if (code == 0)
        return pipe_write(fd, data, size_bytes < PIPE_BUF ? size_bytes : PIPE_BUF);
    errno = -code;
    return -1;
}

MPROC__FORK_TEXT int mproc__fd_write_all(int fd, const void *data, size_t size_bytes, mproc_deadline deadline)
{
    const char *at = data;
    int code = 0;

    while (size_bytes > 0 && code == 0) {
        ssize_t put = fd_write_some(fd, at, size_bytes, deadline);

        if (put < 0 && errno == ETIMEDOUT)
            return mproc__fail_plain(-ETIMEDOUT);
        if (put < 0) {
            code = fd_step_failed(fd, POLLOUT, deadline);
            continue;
        }
        at += put;
        size_bytes -= (size_t)put;
    }
    return code;
}

/* Room for the descriptors of one message, aligned as the kernel wants it. */
typedef union pass_buffer {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(FD_PASS_MAX * sizeof(int))];
} pass_buffer;

MPROC__FORK_TEXT static void message_add_fds(struct msghdr *message, pass_buffer *control, const int *fds,
                                             size_t fd_count)
{
    struct cmsghdr *header;

    if (fd_count == 0)
        return;
    memset(control, 0, sizeof(*control));
    message->msg_control = control->bytes;
    message->msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
    header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
}

MPROC__FORK_TEXT ssize_t mproc__fd_send_parts(int socket, const struct iovec *parts, size_t part_count,
                                              const int *fds, size_t fd_count, mproc_deadline deadline)
{
    struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = part_count};
    pass_buffer control;
    ssize_t put;
    int code;

    /* Descriptors need a byte to travel with. */
    if (parts[0].iov_len == 0 || fd_count > FD_PASS_MAX)
        return mproc__fail(-EINVAL, "a message of %zu bytes with %zu descriptors", parts[0].iov_len,
                           fd_count);
    message_add_fds(&message, &control, fds, fd_count);
    do {
        put = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        code = put < 0 ? fd_step_failed(socket, POLLOUT, deadline) : 0;
    } while (put < 0 && code == 0);
    return code < 0 ? code : put;
}

MPROC__FORK_TEXT int mproc__fd_send(int socket, const void *data, size_t size_bytes, const int *fds,
                                    size_t fd_count, mproc_deadline deadline)
{
    struct iovec part = {.iov_base = (void *)data, .iov_len = size_bytes};
    ssize_t put = mproc__fd_send_parts(socket, &part, 1, fds, fd_count, deadline);

    if (put < 0)
        return (int)put;
    return mproc__fd_write_all(socket, (const char *)data + put, size_bytes - (size_t)put, deadline);
}

MPROC__FORK_TEXT int mproc__fd_above_standard(int fd)
{
    int moved, error;

    if (fd < 0 || fd > 2)
        return fd;
    moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    error = errno;
    close(fd);
    errno = error;
    return moved;
}

/* Takes the descriptors out of a received message. Those that do not fit are closed; returns how many came. */
MPROC__FORK_TEXT static size_t message_take_fds(struct msghdr *message, int *ret_fds, size_t capacity)
{
    size_t count = 0;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        size_t bytes = header->cmsg_len - CMSG_LEN(0);

        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= bytes; at += sizeof(int), count++) {
            int fd;

            memcpy(&fd, CMSG_DATA(header) + at, sizeof(fd));
            if (count < capacity)
                ret_fds[count] = mproc__fd_above_standard(fd);
            else
                close(fd);
        }
    }
    return count;
}

/* A message with more descriptors than the caller or the process (EMFILE) has room for is refused whole. */
MPROC__FORK_TEXT static int message_check_fds(const struct msghdr *message, const int *fds, size_t count,
                                              size_t capacity)
{
    bool whole = count <= capacity && !(message->msg_flags & MSG_CTRUNC);

    for (size_t i = 0; i < count && i < capacity; i++)
        whole = whole && fds[i] >= 0;
    if (whole)
        return 0;
    for (size_t i = 0; i < count && i < capacity; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return mproc__fail(-EMSGSIZE, "more descriptors came than there is room for");
}

MPROC__FORK_TEXT ssize_t mproc__fd_recv(int socket, void *buffer, size_t size_bytes, int *ret_fds,
                                        size_t capacity, size_t *ret_fd_count, mproc_deadline deadline)
{
    struct iovec part = {.iov_base = buffer, .iov_len = size_bytes};
    pass_buffer control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    /* Without a limit the call itself may wait, if the socket does: two calls less on the way of what it waits for. */
    int wait_flag = deadline.ns == MPROC_FOREVER.ns ? 0 : MSG_DONTWAIT;
    ssize_t got;
    int code;

    *ret_fd_count = 0;
    do {
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | wait_flag);
        code = got < 0 ? fd_step_failed(socket, POLLIN, deadline) : 0;
    } while (got < 0 && code == 0);
    if (code < 0)
        return code;
    *ret_fd_count = message_take_fds(&message, ret_fds, capacity);
    code = message_check_fds(&message, ret_fds, *ret_fd_count, capacity);
    if (code == 0)
        return got;
    *ret_fd_count = 0;
    return code;
}

static unsigned number_of(const char *digits)
{
    unsigned number = 0;
    while (*digits >= '0' && *digits <= '9')
        number = number * 10 + (unsigned)(*digits++ - '0');
    return number;
}

/* One pass over the list: whether any was closed; *ret_whole: the list could be read to its end. */
static bool fd_close_pass(int directory, unsigned first, unsigned last, bool *ret_whole)
{
    _Alignas(struct dirent64) char buffer[1024];
    bool closed = false;
    ssize_t got;

    lseek(directory, 0, SEEK_SET);
    while ((got = getdents64(directory, buffer, sizeof(buffer))) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(buffer + at);
            unsigned fd = number_of(entry->d_name);

            at += entry->d_reclen;
            if (entry->d_name[0] == '.' || fd < first || fd > last || fd == (unsigned)directory)
                continue;
            close((int)fd);
            closed = true;
        }
    *ret_whole = got == 0;
    return closed;
}

static bool fd_close_listed(unsigned first, unsigned last)
{
    int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool whole;

    if (directory < 0)
        return false;
    while (fd_close_pass(directory, first, last, &whole) && whole) {
    }
    close(directory);
    return whole;
}

/* Closes [first, last]. Runs between fork and exec: system calls only, no memory. */
MPROC__FORK_TEXT static void fd_close_range(unsigned first, unsigned last)
{
    struct rlimit limit;

    if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
        return;
    /* Before Linux 5.9, or forbidden. One by one up to the limit is slow where that is a million, and leaves those above one
     * that was lowered: only where there is no list. */
    if (fd_close_listed(first, last) || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    for (unsigned fd = first; fd <= last && fd < limit.rlim_cur; fd++)
        close((int)fd);
}

MPROC__FORK_TEXT void mproc__fd_close_others(int first, const int *keep, size_t keep_count)
{
    unsigned next = (unsigned)first;

    for (size_t i = 0; i < keep_count; i++) {
        if (keep[i] < first || (unsigned)keep[i] < next)
            continue;
        if ((unsigned)keep[i] > next)
            fd_close_range(next, (unsigned)keep[i] - 1);
        next = (unsigned)keep[i] + 1;
    }
    fd_close_range(next, UINT_MAX);
}

/* Makes base/mproc-XXXXXX; base must be an absolute directory of this user's, or /tmp. */
static int directory_create_in(const char *base, bool any_owner, char *buffer, size_t size_bytes)
{
    struct stat status;
    int length;

    if (!base || base[0] != '/' || stat(base, &status) != 0 || !S_ISDIR(status.st_mode))
        return -ENOENT;
    if (!any_owner && status.st_uid != geteuid())
        return -EACCES;
    length = snprintf(buffer, size_bytes, "%s/mproc-XXXXXX", base);
    if (length < 0 || (size_t)length >= size_bytes)
        return -ENAMETOOLONG;
    return mkdtemp(buffer) ? 0 : -errno;
}

int mproc__private_directory(char *buffer, size_t size_bytes)
{
    char run[64];
    int code = directory_create_in(getenv("XDG_RUNTIME_DIR"), false, buffer, size_bytes);

    snprintf(run, sizeof(run), "/run/user/%u", (unsigned)geteuid());
    if (code < 0)
        code = directory_create_in(run, false, buffer, size_bytes);
    if (code < 0)
        code = directory_create_in("/tmp", true, buffer, size_bytes);
    return code == 0 ? 0 : mproc__fail(code, "no private directory below /tmp: %s", mproc_strerror(code));
}
