/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel shows of any process or thread. For people to read: all of it may have changed by then. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/platform.h"

enum { VIEW_BYTES = 4096 };

/* The beginning of a file of /proc/TID. Negative: -errno; a process that ends while its file is read is -ESRCH. */
static int file_read(pid_t tid, const char *file, char text[VIEW_BYTES])
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    ssize_t bytes = read(fd, text, VIEW_BYTES - 1);
    int code = bytes < 0 ? -errno : bytes == 0 ? -ESRCH : 0;
    close(fd);
    text[bytes > 0 ? bytes : 0] = '\0';
    return code;
}

/* The name stands in brackets and may hold brackets and anything else. */
static void name_take(const char *begin, const char *end, mproc__process_view *view)
{
    size_t bytes = (size_t)(end - begin);
    if (bytes >= sizeof(view->name))
        bytes = sizeof(view->name) - 1;
    for (size_t i = 0; i < bytes; i++)
        view->name[i] = (unsigned char)begin[i] < ' ' || begin[i] == 127 ? '?' : begin[i];
    view->name[bytes] = '\0';
}

/* Of what lies between the two clocks now, all is taken off: the machine's suspensions since that start are not told. */
static int64_t monotonic_of(uint64_t ticks)
{
    struct timespec boot;
    int64_t now_ns = mproc__now_ns(); /* first: what passes in between makes the answer too early, never too late */
    clock_gettime(CLOCK_BOOTTIME, &boot);
    int64_t suspended_ns = (int64_t)boot.tv_sec * 1000000000 + boot.tv_nsec - now_ns;
    int64_t per_second = sysconf(_SC_CLK_TCK);
    return (int64_t)(ticks / (uint64_t)per_second) * 1000000000 +
           (int64_t)(ticks % (uint64_t)per_second) * (1000000000 / per_second) - suspended_ns;
}

/* "pid (name) state ppid ...": fields 20 and 22 are the number of threads and the start. */
static int stat_take(const char *line, mproc__process_view *view)
{
    const char *begin = strchr(line, '(');
    const char *end = strrchr(line, ')');
    unsigned long threads;
    unsigned long long ticks;
    if (!begin || !end || end < begin ||
        sscanf(end, ") %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %*s %llu",
               &view->state, &threads, &ticks) != 3)
        return -EPROTO;
    name_take(begin + 1, end, view);
    view->threads = (unsigned)threads;
    view->start_ticks = ticks;
    view->started_ns = monotonic_of(ticks);
    return 0;
}

int mproc__process_view_get(pid_t tid, mproc__process_view *ret_view)
{
    char text[VIEW_BYTES];
    if (tid <= 0)
        return -ESRCH;
    int code = file_read(tid, "stat", text);
    if (code == 0)
        code = stat_take(text, ret_view);
    if (code == 0)
        code = file_read(tid, "status", text);
    if (code < 0)
        return code;
    const char *group = strstr(text, "\nTgid:");
    if (!group)
        return -EPROTO;
    ret_view->pid = (pid_t)strtol(group + 6, NULL, 10);
    return 0;
}
