/* SPDX-License-Identifier: BSD-2-Clause */
/* The start-up conversation: records, descriptors and reports over a child's boot socket; the record's arrival is in
 * boot_arrival.c. */
#include "platform/base.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "platform/story.h"
#include "process/boot.h"
#include "process/own_fds.h"

enum { STOPPED_LOOK_MS = 20 };

typedef struct boot_report {
    int32_t code; /* 0: the function runs now */
    int32_t pid;  /* beside a pidfd */
    char text[MPROC__STORY_BYTES];
} boot_report;

/* ---- parent: before there is a child ---- */

int mproc__boot_pair(int type, int ret_sockets[2])
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ret_sockets) < 0)
        return mproc__fail(-errno, "start: no socket pair to talk to the child: %s", mproc_strerror(-errno));
    ret_sockets[0] = mproc__fd_above_standard(ret_sockets[0]);
    ret_sockets[1] = mproc__fd_above_standard(ret_sockets[1]);
    if (ret_sockets[0] >= 0 && ret_sockets[1] >= 0)
        return 0;
    int code = -errno;
    for (int i = 0; i < 2; i++)
        if (ret_sockets[i] >= 0)
            close(ret_sockets[i]);
    return mproc__fail(code, "start: no socket pair to talk to the child: %s", mproc_strerror(code));
}

int mproc__boot_pair_own(int type, int ret_sockets[2])
{
    mproc__own_fds_begin();
    int rc = mproc__boot_pair(type, ret_sockets);
    for (int i = 0; rc == 0 && i < 2; i++)
        mproc__own_fd_note(ret_sockets[i]);
    mproc__own_fds_end();
    return rc;
}

void mproc__boot_self(const mproc__launch_options *options, mproc__self *ret_self)
{
    mproc__self_for_child(ret_self);
    snprintf(ret_self->name, sizeof ret_self->name, "%s", options->name ? options->name : "");
    snprintf(ret_self->path, sizeof ret_self->path, "%s", options->path ? options->path : "");
    ret_self->method = options->method ? options->method : options->start;
    ret_self->stop_word = options->stop_word;
    ret_self->daemon = options->daemon;
    mproc__function_name(options->fn, ret_self->fn_name, sizeof ret_self->fn_name);
}

int mproc__boot_pack(const mproc__launch_options *options, mproc__boot_load *ret_load)
{
    mproc__boot *boot = &ret_load->boot;
    memset(ret_load, 0, sizeof *ret_load);
    for (int i = 0; i < MPROC__BOOT_FDS; i++)
        ret_load->fds[i] = -1;
    *boot = (mproc__boot){.magic = MPROC__BOOT_MAGIC,
                          .size_bytes = sizeof *boot,
                          .die_with_parent = options->die_with_parent,
                          .stop_offset_bytes = options->stop_offset_bytes};
    mproc__boot_self(options, &boot->self);
    if (options->stop_word)
        ret_load->fds[MPROC__BOOT_STOP] = options->stop_fd;
    boot->limits.cgroup_fd = -1;
    if (options->limits)
        boot->limits = *options->limits;
    ret_load->fds[MPROC__BOOT_CGROUP] = boot->limits.cgroup_fd;
    int rc = mproc__function_pack(options->fn, &boot->function);
    if (rc == 0 &&
        options->args.kind != MPROC_KIND_NULL) /* none: no bytes, and nobody to make sense of them */
        rc = mproc__parcel_pack(&ret_load->parcel, true, options->args);
    if (rc == 0)
        rc = mproc__key_program(&ret_load->key);
    boot->parcel_bytes = ret_load->parcel.size_bytes;
    boot->parcel_fds = (uint32_t)ret_load->parcel.fd_count;
    boot->key_set = ret_load->key.set;
    boot->key_bytes = (uint32_t)ret_load->key.size_bytes;
    return rc;
}

MPROC__FORK_TEXT void mproc__boot_load_clear(mproc__boot_load *load, bool received)
{
    mproc__parcel_clear(&load->parcel, received);
    if (load->key.set)
        mproc__key_clear(&load->key);
    if (load->environment)
        free(load->environment);
    load->environment = NULL;
    for (int i = 0; i < MPROC__BOOT_FDS; i++)
        if (load->fds[i] >= 0 && (received || i == MPROC__BOOT_DIRECTORY)) {
            mproc__own_fd_close(load->fds[i]);
            load->fds[i] = -1;
        }
}

/* ---- parent: talking ---- */

static int child_died(void)
{
    return mproc__fail(MPROC_EDIED,
                       "start: the child ended before it ran the function (killed, or its main did "
                       "not come to mproc_init)");
}

bool mproc__boot_stopped(pid_t pid)
{
    mproc__process_view view;
    return mproc__process_view_get(pid, &view) == 0 && view.state == 'T';
}

int mproc__boot_wait(int socket, short events, int pidfd, pid_t unless_stopped)
{
    struct pollfd items[2] = {{.fd = socket, .events = events}, {.fd = pidfd, .events = POLLIN}};
    for (int count; (count = poll(items, 2, unless_stopped > 0 ? STOPPED_LOOK_MS : -1)) <= 0;) {
        if (count < 0 && errno != EINTR)
            return mproc__fail(-errno, "start: poll: %s", mproc_strerror(-errno));
        if (count == 0 && mproc__boot_stopped(unless_stopped))
            return mproc__fail(-EAGAIN, "start: pid %d is stopped on its way", (int)unless_stopped);
    }
    /* What the child said before it ended counts. The kernel looks at one after the other, and a short child may speak and
     * end between the two looks (seen once in 16,000, on a busy machine): so the socket is looked at again after its end. */
    if (!items[0].revents)
        (void)poll(items, 1, 0);
    return items[0].revents ? 0 : child_died();
}

/* A child that is gone may have said why before. One that lives waits for what could not be sent, and has nothing to say. */
static int send_failed(int code)
{
    return code == -EPIPE || code == -ECONNRESET
               ? child_died()
               : mproc__fail(code, "start: sending the start data to the child: %s", mproc_strerror(code));
}

static int boot_write(int socket, int pidfd, pid_t unless_stopped, const void *data, size_t size_bytes)
{
    const char *at = data;
    while (size_bytes > 0) {
        ssize_t put = send(socket, at, size_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno != EAGAIN)
            return send_failed(-errno);
        if (put < 0) {
            int rc = mproc__boot_wait(socket, POLLOUT, pidfd, unless_stopped);
            if (rc < 0)
                return rc;
            continue;
        }
        at += put;
        size_bytes -= (size_t)put;
    }
    return 0;
}

/* What goes in one piece: nearly always everything. A fresh socket takes at least the first byte without blocking. */
static int send_first(int socket, const struct iovec *parts, size_t part_count, const mproc__boot_load *load,
                      size_t *ret_put)
{
    int fds[MPROC__BOOT_FDS + MPROC__PARCEL_FDS];
    size_t count = 0;
    for (int i = 0; i < MPROC__BOOT_FDS; i++)
        if (load->fds[i] >= 0)
            fds[count++] = load->fds[i];
    for (size_t i = 0; i < load->parcel.fd_count; i++)
        fds[count++] = load->parcel.fds[i];
    ssize_t put = mproc__fd_send_parts(socket, parts, part_count, fds, count, MPROC_FOREVER);
    *ret_put = put > 0 ? (size_t)put : 0;
    return put < 0 ? send_failed((int)put) : 0;
}

int mproc__boot_send(int socket, int pidfd, const mproc__boot_load *load)
{
    mproc__boot boot = load->boot;
    const struct iovec parts[] = {{&boot, sizeof boot},
                                  {(void *)load->key.bytes, boot.key_bytes},
                                  {load->environment, boot.environment_bytes},
                                  {load->parcel.bytes, boot.parcel_bytes}};
    size_t put;
    for (unsigned i = 0; i < MPROC__BOOT_FDS; i++)
        boot.fd_mask |= load->fds[i] >= 0 ? 1u << i : 0;
    int rc = send_first(socket, parts, MPROC__COUNT(parts), load, &put);
    for (size_t i = 0; rc == 0 && i < MPROC__COUNT(parts); i++) {
        size_t gone = put < parts[i].iov_len ? put : parts[i].iov_len;
        rc = boot_write(socket, pidfd, load->unless_stopped, (const char *)parts[i].iov_base + gone,
                        parts[i].iov_len - gone);
        put -= gone;
    }
    return rc;
}

int mproc__boot_send_go(int socket)
{
    return boot_write(socket, -1, 0, "g", 1);
}

/* A descriptor that comes along is noted at once; -1: none came, or it could not be moved away from the streams. */
static ssize_t report_receive(int socket, boot_report *ret_report, int *ret_fd)
{
    size_t fd_count;
    mproc__own_fds_begin();
    ssize_t got = mproc__fd_recv(socket, ret_report, sizeof *ret_report, ret_fd, 1, &fd_count, MPROC_NOW);
    *ret_fd = fd_count > 0 ? mproc__fd_above_standard(*ret_fd) : -1;
    mproc__own_fd_note(*ret_fd);
    mproc__own_fds_end();
    return got;
}

/* Sent in one piece by one send; shorter can only be the end of the file. */
static int await_report(int socket, int pidfd, boot_report *ret_report, int *ret_fd)
{
    int rc = mproc__boot_wait(socket, POLLIN, pidfd, 0);
    if (rc < 0)
        return rc;
    ssize_t got = report_receive(socket, ret_report, ret_fd);
    if (got == -EMSGSIZE)
        return mproc__fail(-EMFILE, "start: no descriptor for the child");
    if (got < 0 && got != -ECONNRESET)
        return mproc__fail((int)got, "start: hearing from the child: %s", mproc_strerror((int)got));
    if (got != sizeof *ret_report)
        return child_died();
    ret_report->text[sizeof ret_report->text - 1] = '\0';
    return ret_report->code == 0 ? 0 : mproc__fail(ret_report->code, "%s", ret_report->text);
}

int mproc__boot_await(int socket, int pidfd)
{
    boot_report report;
    int none;
    return await_report(socket, pidfd, &report, &none);
}

int mproc__boot_await_program(int socket, int nursery_pidfd, pid_t *ret_pid, int *ret_pidfd, bool *ret_told)
{
    boot_report report = {0};
    int fd;
    *ret_told = false;
    int rc = await_report(socket, nursery_pidfd, &report, &fd);
    if (rc < 0) {
        *ret_told = report.code < 0;
        return rc;
    }
    if (fd < 0)
        return mproc__fail(-EMFILE, "start_program: no descriptor for the program");
    *ret_pid = report.pid;
    *ret_pidfd = fd;
    return 0;
}

int mproc__boot_await_pidfd(int socket, int nursery_pidfd, pid_t *ret_pid, int *ret_pidfd)
{
    boot_report report;
    int fd;
    int rc = await_report(socket, nursery_pidfd, &report, &fd);
    if (rc < 0)
        return rc;
    if (fd < 0)
        return mproc__fail(-EMFILE, "start: no descriptor for the child");
    *ret_pid = report.pid;
    *ret_pidfd = fd;
    return 0;
}

/* ---- child ---- */

MPROC__FORK_TEXT int mproc__boot_await_go(int socket)
{
    char byte;
    return mproc__fd_read_all(socket, &byte, 1, MPROC_FOREVER);
}

MPROC__FORK_TEXT int mproc__boot_report(int socket, int code)
{
    boot_report report = {.code = code};
    const mproc_error *story = mproc__story();
    if (code < 0)
        snprintf(report.text, sizeof report.text, "%s", story->text[0] ? story->text : mproc_strerror(code));
    ssize_t put;
    do
        put = send(socket, &report, sizeof report, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : 0;
}

MPROC__FORK_TEXT int mproc__boot_report_pidfd(int socket, pid_t pid, int pidfd)
{
    boot_report report = {.pid = (int32_t)pid};
    return mproc__fd_send(socket, &report, sizeof report, &pidfd, 1, MPROC_FOREVER);
}
