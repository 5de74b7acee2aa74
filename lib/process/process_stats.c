/* SPDX-License-Identifier: BSD-2-Clause */
/* The numbers of a process we started: of one that runs from /proc, of one that has ended from its collection. */
#include "platform/base.h"

#include <stdio.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/proc.h"
#include "platform/story.h"
#include "process/process.h"

enum { TELL_MS = 1000 };

static int64_t ns_of(struct timeval time)
{
    return (int64_t)time.tv_sec * 1000000000 + (int64_t)time.tv_usec * 1000;
}

/* ---- ended ---- */

static void usage_fill(const mproc_process *process, mproc_running_stats *ret_stats)
{
    const struct rusage *usage = &process->usage;
    *ret_stats = (mproc_running_stats){
        .which = {.pid = process->pid},
        .parent_pid = process->kind == MPROC__PROCESS_CHILD ? mproc__pid() : -1,
        .group_pid = -1,
        .session_pid = -1,
        .uid = UINT32_MAX,
        .effective_uid = UINT32_MAX,
        .saved_uid = UINT32_MAX,
        .gid = UINT32_MAX,
        .effective_gid = UINT32_MAX,
        .saved_gid = UINT32_MAX,
        .state = 'X',
        .nice = -1,
        .start_ns = -1,
        .taken_ns = mproc__now_ns(),
        .user_ns = ns_of(usage->ru_utime),
        .system_ns = ns_of(usage->ru_stime),
        .children_user_ns = -1,
        .children_system_ns = -1,
        .rss_max_bytes = (int64_t)usage->ru_maxrss * 1024,
        .minor_faults = usage->ru_minflt,
        .major_faults = usage->ru_majflt,
        .voluntary_switches = usage->ru_nvcsw,
        .involuntary_switches = usage->ru_nivcsw,
    };
    ret_stats->cpu_ns = ret_stats->user_ns + ret_stats->system_ns;
    snprintf(ret_stats->name, sizeof ret_stats->name, "%.63s", process->name);
}

/* Its nursery tells a moment after the kernel; a stopped one does not, and is not waited for. */
static int ended_stats(mproc_process *process, mproc_running_stats *ret_stats)
{
    if (mproc__process_wait(process, mproc_after_ms(TELL_MS)) < 0)
        return mproc__handle_fail(&process->handle, -ETIMEDOUT,
                                  "process %s (pid %d) has ended, its nursery has not told yet what it used",
                                  process->name, (int)process->pid);
    mproc__process_collect(process);
    if (!process->usage_told)
        return mproc__handle_fail(&process->handle, MPROC_EUNKNOWN,
                                  "process %s (pid %d) has ended, and what it used was told to another",
                                  process->name, (int)process->pid);
    usage_fill(process, ret_stats);
    return 0;
}

/* ---- running ---- */

/* In nanoseconds; under the lock that collecting takes, because a joined thread has no clock. */
static int64_t thread_cpu_ns(mproc_process *process)
{
    clockid_t clock;
    struct timespec time;
    int64_t ns = -1;
    pthread_mutex_lock(&process->collect_lock);
    if (!mproc__process_ended(process) && pthread_getcpuclockid(process->thread, &clock) == 0 &&
        clock_gettime(clock, &time) == 0)
        ns = (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
    pthread_mutex_unlock(&process->collect_lock);
    return ns;
}

/* A thread that has not begun is shown by its process's first: nothing of it exists but the time, which is none. */
static int thread_view(mproc_process *process, mproc__proc_text *text, mproc__running_view *ret_view)
{
    pid_t tid = atomic_load_explicit(&process->thread_tid, memory_order_relaxed);
    int rc = mproc__running_open_thread(tid ? tid : mproc__pid(), text, ret_view);
    if (rc < 0)
        return rc;
    ret_view->cpu_ns = tid ? thread_cpu_ns(process) : 0;
    if (!tid)
        ret_view->stat.user_ticks = ret_view->stat.system_ticks = 0;
    ret_view->stat.threads = 1;
    return 0;
}

/* /proc knows pids and thread numbers only, so both kinds are looked at before it is asked whether the one meant still
 * runs: then it was that one, because its number was not free. */
static int running_view(mproc_process *process, mproc__running_view *ret_view)
{
    mproc__proc_text text;
    mproc__proc_text_begin(&text);
    int rc = process->kind == MPROC__PROCESS_THREAD
                 ? thread_view(process, &text, ret_view)
                 : mproc__running_open((mproc_running){.pid = process->pid}, &text, ret_view);
    mproc__proc_text_end(&text);
    if (rc == 0)
        close(ret_view->directory_fd);
    return rc;
}

static bool is_ended(const mproc_process *process)
{
    return process->kind != MPROC__PROCESS_SELF && !mproc_process_is_alive(process);
}

static int stats_get(mproc_process *process, mproc_running_stats *ret_stats)
{
    mproc__running_view view;
    int rc = 0;
    if (!is_ended(process)) {
        rc = running_view(process, &view);
        if (rc == 0 && !is_ended(process)) {
            mproc__running_fill(&view, ret_stats);
            if (process->kind == MPROC__PROCESS_THREAD)
                ret_stats->which = (mproc_running){.pid = process->pid};
            return 0;
        }
    }
    if (rc < 0 && !is_ended(process))
        return mproc__handle_story(&process->handle, rc);
    return ended_stats(process, ret_stats);
}

int mproc_process_stats(mproc_process *process, mproc_running_stats *ret_stats)
{
    mproc_running_stats stats;
    int rc = mproc__process_check(process);
    if (rc == 0)
        rc = mproc__running_result_check(ret_stats, sizeof stats, "mproc_running_stats");
    if (rc == 0)
        rc = stats_get(process, &stats);
    if (rc == 0)
        mproc__running_result_copy(&stats, sizeof stats, ret_stats);
    return rc;
}

int mproc_process_running(mproc_process *process, mproc_running *ret_which)
{
    mproc_running which = {0};
    int rc = mproc__process_check(process);
    if (rc < 0)
        return rc;
    if (!ret_which)
        return mproc__handle_fail(&process->handle, -EINVAL, "no place for the process found");
    bool ended = is_ended(process);
    if (!ended) {
        rc = mproc__running_resolve((mproc_running){.pid = process->pid}, &which);
        ended = is_ended(process);
    }
    if (ended)
        return mproc__handle_fail(&process->handle, -ESRCH, "process %s (pid %d) has ended", process->name,
                                  (int)process->pid);
    if (rc < 0)
        return mproc__handle_story(&process->handle, rc);
    *ret_which = which;
    return 0;
}
