/* SPDX-License-Identifier: BSD-2-Clause */
/* Signals to a started process, and its stop: flag, SIGTERM, SIGKILL. */
#include "platform/base.h"

#include <signal.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/family.h"
#include "process/program.h"

static void stop_ask(mproc_process *process)
{
    pthread_mutex_lock(&process->collect_lock); /* a collected one has given its word to another child */
    if (!atomic_load_explicit(&process->collected, memory_order_acquire) && process->stop_word)
        atomic_store_explicit(process->stop_word, 1, memory_order_relaxed);
    pthread_mutex_unlock(&process->collect_lock);
}

int mproc_process_signal(mproc_process *process, int signal_number)
{
    int rc = mproc__process_check(process);
    if (rc < 0)
        return rc;
    if (process->kind == MPROC__PROCESS_THREAD) {
        stop_ask(process);
        return 0;
    }
    mproc__guard_look();
    if (process->kind != MPROC__PROCESS_SELF && !mproc__process_runs(process))
        return 0;
    if (process->kind == MPROC__PROCESS_SELF)
        rc = kill(process->pid, signal_number) == 0 ? 0 : -errno;
    else
        rc = mproc__pidfd_signal(process->pidfd, signal_number);
    if (rc == 0 || rc == -ESRCH) /* ended just now */
        return 0;
    return mproc__handle_fail(&process->handle, rc, "signal %d to process %s (pid %d): %s", signal_number,
                              process->name, (int)process->pid, mproc_strerror(rc));
}

static mproc_deadline earlier(mproc_deadline a, mproc_deadline b)
{
    return a.ns < b.ns ? a : b;
}

static int thread_stop(mproc_process *process, mproc_deadline deadline)
{
    if (mproc__process_wait(process, deadline) < 0)
        return mproc__handle_fail(&process->handle, -EBUSY,
                                  "process %s is a thread and has not looked at mproc_call_stopping",
                                  process->name);
    mproc__process_collect(process);
    return 0;
}

static int stop_signal(const mproc_process *process, int signal_number)
{
    return process->program ? mproc__program_signal(process, signal_number)
                            : mproc__pidfd_signal(process->pidfd, signal_number);
}

void mproc__process_stop_ask(mproc_process *process)
{
    atomic_store_explicit(process->stop_word, 1, memory_order_relaxed);
    if (process->kind != MPROC__PROCESS_THREAD)
        (void)stop_signal(process, SIGTERM);
}

int mproc__process_stop_await(mproc_process *process, mproc_deadline deadline)
{
    if (process->kind == MPROC__PROCESS_THREAD)
        return thread_stop(process, deadline);
    /* Also to what a program has left in its group. */
    int rc = 0;
    if (mproc__process_wait(process, earlier(deadline, mproc_after_ms(process->grace_ms))) < 0 ||
        process->program)
        rc = stop_signal(process, SIGKILL);
    if (rc < 0 && rc != -ESRCH && !mproc__process_ended(process))
        return mproc__handle_fail(&process->handle, rc, "SIGKILL to process %s (pid %d): %s", process->name,
                                  (int)process->pid, mproc_strerror(rc));
    if (mproc__process_wait(process, deadline) < 0)
        return mproc__handle_fail(&process->handle, -ETIMEDOUT,
                                  "process %s (pid %d) was sent SIGKILL and is not gone yet", process->name,
                                  (int)process->pid);
    mproc__process_collect(process);
    return 0;
}

int mproc_process_stop(mproc_process *process, mproc_deadline deadline)
{
    int rc = mproc__process_check(process);
    if (rc < 0)
        return rc;
    if (process->kind >= MPROC__PROCESS_SELF || process == mproc__thread_self())
        return mproc__handle_fail(&process->handle, MPROC_ESTATE, "process %s is not a child of this one",
                                  process->name);
    stop_ask(process);
    if (process->kind != MPROC__PROCESS_THREAD)
        (void)stop_signal(process, SIGTERM);
    return mproc__process_stop_await(process, deadline);
}
