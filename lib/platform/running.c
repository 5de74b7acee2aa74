/* SPDX-License-Identifier: BSD-2-Clause */
/* Any process of the machine: who it is, and its numbers. */
#include "platform/base.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/proc.h"
#include "platform/story.h"

/* ---- results with a size ---- */

int mproc__running_result_check(const void *result, size_t known, const char *what)
{
    if (!result)
        return mproc__fail(-EINVAL, "no place for a %s", what);
    if (*(const size_t *)result < known)
        return mproc__fail(-EINVAL, "%s: size is %zu, not sizeof: set it before the call", what,
                           *(const size_t *)result);
    return 0;
}

void mproc__running_result_copy(const void *source, size_t known, void *ret_result)
{
    size_t size = *(size_t *)ret_result;
    memcpy((char *)ret_result + sizeof size, (const char *)source + sizeof size, known - sizeof size);
    memset((char *)ret_result + known, 0, size - known);
}

/* ---- who ---- */

static int failed(int code, int64_t pid)
{
    if (code == -ESRCH)
        return mproc__fail(code, "there is no process %lld", (long long)pid);
    if (code == -EACCES)
        return mproc__fail(code, "process %lld is there, /proc does not show it", (long long)pid);
    return mproc__fail(code, "process %lld: /proc: %s", (long long)pid, mproc_strerror(code));
}

/* In a /proc of another pid namespace our own number is another one, or there is none: then all numbers mean others. */
int mproc__running_namespace_check(void)
{
    char number[24];
    ssize_t bytes = readlink("/proc/self", number, sizeof number - 1);
    if (bytes < 0 && lstat("/proc/self", &(struct stat){0}) != 0)
        return mproc__fail(-EACCES, "/proc is not mounted");
    number[bytes > 0 ? bytes : 0] = '\0';
    char own[24];
    snprintf(own, sizeof own, "%d", (int)getpid());
    if (strcmp(number, own) == 0)
        return 0;
    return mproc__fail(MPROC_ENAMESPACE,
                       "/proc belongs to another pid namespace: there this process is %s, here %s",
                       bytes > 0 ? number : "not seen", own);
}

/* What is not in /proc may be hidden: a signal that is none asks the kernel itself. */
static int directory_open(const char *path, int64_t pid, int *ret_fd)
{
    *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*ret_fd >= 0)
        return 0;
    if (errno != ENOENT)
        return failed(errno == EPERM ? -EACCES : -errno, pid);
    bool hidden = pid <= INT32_MAX && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
    return failed(hidden ? -EACCES : -ESRCH, pid);
}

/* Counted by the kernel in nanoseconds, while stat counts ticks. By pid, so it is asked before a read through the directory
 * that proves the process to be there still. */
static int64_t cpu_ns_of(int64_t pid)
{
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid((pid_t)pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        return -1;
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* stat, then status: what is left in `text`. */
static int view_read(mproc__proc_text *text, mproc__running_view *ret_view)
{
    int rc = mproc__proc_read_record(ret_view->directory_fd, "stat", text);
    if (rc == 0 && !mproc__proc_stat_parse(text->bytes, text->length, &ret_view->stat))
        rc = text->length == 0 ? -ESRCH : -EPROTO;
    if (rc == 0)
        rc = mproc__proc_read_record(ret_view->directory_fd, "status", text);
    if (rc == 0)
        mproc__proc_status_parse(text->bytes, text->length, &ret_view->status);
    return rc == 0 && text->length == 0 ? -ESRCH : rc;
}

static int identity_check(mproc_running which, const mproc__running_view *view)
{
    if (view->status.process_pid != 0 && view->status.process_pid != view->stat.pid)
        return mproc__fail(-ESRCH, "%lld is no process but a thread of process %lld", (long long)which.pid,
                           (long long)view->status.process_pid);
    if (which.start != 0 && which.start != view->stat.start_ticks + 1)
        return mproc__fail(-ESRCH, "the process meant has ended: pid %lld now belongs to another, '%s'",
                           (long long)which.pid, view->stat.name);
    return 0;
}

int mproc__running_open(mproc_running which, mproc__proc_text *text, mproc__running_view *ret_view)
{
    char path[40];
    if (which.pid < 0)
        return mproc__fail(-EINVAL, "%lld is no pid", (long long)which.pid);
    int rc = mproc__running_namespace_check();
    if (rc < 0)
        return rc;
    which.pid = which.pid ? which.pid : mproc__pid();
    snprintf(path, sizeof path, "/proc/%lld", (long long)which.pid);
    rc = directory_open(path, which.pid, &ret_view->directory_fd);
    if (rc < 0)
        return rc;
    ret_view->cpu_ns = cpu_ns_of(which.pid);
    rc = view_read(text, ret_view);
    rc = rc < 0 ? failed(rc, which.pid) : identity_check(which, ret_view);
    if (rc < 0)
        close(ret_view->directory_fd);
    return rc;
}

int mproc__running_open_thread(pid_t tid, mproc__proc_text *text, mproc__running_view *ret_view)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/task/%d", (int)tid);
    int rc = directory_open(path, tid, &ret_view->directory_fd);
    if (rc < 0)
        return rc;
    ret_view->cpu_ns = -1;
    rc = view_read(text, ret_view);
    if (rc < 0) {
        close(ret_view->directory_fd);
        return failed(rc, tid);
    }
    return 0;
}

int mproc__running_resolve(mproc_running which, mproc_running *ret_which)
{
    mproc__proc_text text;
    mproc__running_view view;
    mproc__proc_text_begin(&text);
    int rc = mproc__running_open(which, &text, &view);
    mproc__proc_text_end(&text);
    if (rc < 0)
        return rc;
    close(view.directory_fd);
    *ret_which = (mproc_running){view.stat.pid, view.stat.start_ticks + 1};
    return 0;
}

int mproc_running_find(int64_t pid, mproc_running *ret_which)
{
    if (!ret_which)
        return mproc__fail(-EINVAL, "no place for the process found");
    return mproc__running_resolve((mproc_running){.pid = pid}, ret_which);
}

/* ---- numbers ---- */

static void times_fill(const mproc__running_view *view, mproc_running_stats *ret_stats)
{
    ret_stats->start_ns = mproc__proc_ticks_ns((int64_t)view->stat.start_ticks);
    ret_stats->taken_ns = mproc__now_ns();
    ret_stats->user_ns = mproc__proc_ticks_ns(view->stat.user_ticks);
    ret_stats->system_ns = mproc__proc_ticks_ns(view->stat.system_ticks);
    ret_stats->cpu_ns = view->cpu_ns >= 0 ? view->cpu_ns : ret_stats->user_ns + ret_stats->system_ns;
    ret_stats->children_user_ns = mproc__proc_ticks_ns(view->stat.children_user_ticks);
    ret_stats->children_system_ns = mproc__proc_ticks_ns(view->stat.children_system_ticks);
}

static void owner_fill(const mproc__proc_status *status, mproc_running_stats *ret_stats)
{
    ret_stats->uid = (uint32_t)status->uids[0];
    ret_stats->effective_uid = (uint32_t)status->uids[1];
    ret_stats->saved_uid = (uint32_t)status->uids[2];
    ret_stats->gid = (uint32_t)status->gids[0];
    ret_stats->effective_gid = (uint32_t)status->gids[1];
    ret_stats->saved_gid = (uint32_t)status->gids[2];
}

void mproc__running_fill(const mproc__running_view *view, mproc_running_stats *ret_stats)
{
    const mproc__proc_stat *stat = &view->stat;
    const mproc__proc_status *status = &view->status;
    *ret_stats = (mproc_running_stats){.which = {stat->pid, stat->start_ticks + 1},
                                       .parent_pid = stat->parent_pid,
                                       .group_pid = stat->group_pid,
                                       .session_pid = stat->session_pid,
                                       .state = (unsigned char)stat->state,
                                       .kernel_thread = stat->kernel_thread,
                                       .nice = stat->nice,
                                       .threads = stat->threads,
                                       .rss_bytes = status->rss_bytes,
                                       .rss_max_bytes = status->rss_max_bytes,
                                       .shared_bytes = status->rss_file_bytes + status->rss_shmem_bytes,
                                       .vms_bytes = stat->vms_bytes,
                                       .swap_bytes = status->swap_bytes,
                                       .minor_faults = stat->minor_faults,
                                       .major_faults = stat->major_faults,
                                       .voluntary_switches = status->voluntary_switches,
                                       .involuntary_switches = status->involuntary_switches};
    memcpy(ret_stats->name, stat->name, sizeof ret_stats->name);
    times_fill(view, ret_stats);
    owner_fill(status, ret_stats);
}

int mproc_running_get(mproc_running which, mproc_running_stats *ret_stats)
{
    mproc__proc_text text;
    mproc__running_view view;
    mproc_running_stats stats;
    int rc = mproc__running_result_check(ret_stats, sizeof stats, "mproc_running_stats");
    if (rc < 0)
        return rc;
    mproc__proc_text_begin(&text);
    rc = mproc__running_open(which, &text, &view);
    mproc__proc_text_end(&text);
    if (rc < 0)
        return rc;
    close(view.directory_fd);
    mproc__running_fill(&view, &stats);
    mproc__running_result_copy(&stats, sizeof stats, ret_stats);
    return 0;
}

int mproc_running_cpu_percent(const mproc_running_stats *before, const mproc_running_stats *after,
                              double *ret_percent)
{
    if (!before || !after || !ret_percent)
        return mproc__fail(-EINVAL, "two readings and a place for the percentage are wanted");
    if (before->which.pid != after->which.pid || before->which.start != after->which.start)
        return mproc__fail(-EINVAL, "readings of two processes, %lld and %lld", (long long)before->which.pid,
                           (long long)after->which.pid);
    if (after->taken_ns <= before->taken_ns)
        return mproc__fail(-EINVAL, "no time has passed between the two readings");
    int64_t used_ns = after->cpu_ns - before->cpu_ns;
    *ret_percent = used_ns > 0 ? (double)used_ns * 100 / (double)(after->taken_ns - before->taken_ns) : 0;
    return 0;
}
