/* SPDX-License-Identifier: BSD-2-Clause */
/* The handle of a started process: wait for it, take its exit code, say what it is. */
#include "platform/base.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/boot.h"
#include "process/family.h"
#include "process/leash.h"
#include "process/own_fds.h"
#include "process/program.h"

enum {
    TAKEN_NAPS = 5000,
    TAKEN_NAP_NS = 100000, /* half a second or more: the child may be waiting for a CPU */
    TOLD_MS = 500
};

bool mproc__process_runs(const mproc_process *process)
{
    if (atomic_load_explicit(&process->collected, memory_order_acquire))
        return false;
    if (process->kind == MPROC__PROCESS_THREAD)
        return !atomic_load_explicit(&process->thread_ended, memory_order_acquire);
    return process->pidfd < 0 || mproc__pidfd_ended(process->pidfd) != 1;
}

/* First line of every call: the right kind of handle, and of this process. */
int mproc__process_check(const mproc_process *process)
{
    int rc = mproc__handle_check(process, MPROC_TYPE_PROCESS);
    if (rc == 0 && process->incarnation != mproc__incarnation())
        rc = mproc__fail(-ECHILD, "process %s was started by the process this one was forked from",
                         process->name);
    return rc;
}

/* ---- life of a handle ---- */

MPROC__FORK_TEXT void mproc__process_forget(mproc_process *process)
{
    process->pidfd = process->leash[0] = process->leash[1] = -1;
    process->thread_fd = -1;
    if (process->nursery)
        mproc__nursery_forget_fds(process->nursery);
    mproc__program_forget(process->program);
}

static void process_destroy(mproc__handle *handle)
{
    mproc_process *process = MPROC__CONTAINER(handle, mproc_process, handle);
    if (process->incarnation != mproc__incarnation())
        mproc__process_forget(process); /* it had ended at the fork, and was on no list */
    if (process->pidfd >= 0)
        mproc__own_fd_close(process->pidfd);
    if (process->thread_fd >= 0)
        mproc__own_fd_close(process->thread_fd);
    mproc__nursery_release(process->nursery);
    mproc__program_free(process->program);
    mproc_variant_clear(&process->args);
    pthread_mutex_destroy(&process->collect_lock);
    mproc__handle_fini(handle);
    free(process);
}

static const char *signal_text(int exit_code, char *buffer, size_t size_bytes)
{
    const char *name = exit_code < 0 ? sigabbrev_np(-exit_code) : NULL;
    snprintf(buffer, size_bytes, name ? " (SIG%s)" : "%s", name ? name : "");
    return buffer;
}

static int process_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    static const char *const methods[] = {"first", "fork", "spawn", "forkserver", "thread"};
    const mproc_process *process = MPROC__CONTAINER(handle, const mproc_process, handle);
    char end[64], signal_name[32];
    if (!atomic_load_explicit(&process->collected, memory_order_acquire))
        snprintf(end, sizeof end, "%s", mproc__process_runs(process) ? "running" : "ended");
    else if (process->exit_lost)
        snprintf(end, sizeof end, "ended, exit code unknown");
    else
        snprintf(end, sizeof end, "ended with %d%s", process->exit_code,
                 signal_text(process->exit_code, signal_name, sizeof signal_name));
    if (process->program)
        return snprintf(buffer, size_bytes, "program %s pid %d parent %d %s", process->name,
                        (int)process->pid, (int)process->parent_pid, end);
    return snprintf(buffer, size_bytes, "process %s pid %d parent %d by %s%s %s", process->name,
                    (int)process->pid, (int)process->parent_pid, methods[process->method],
                    process->daemon ? " daemon" : "", end);
}

static int process_wait_fd(mproc__handle *handle)
{
    mproc_process *process = MPROC__CONTAINER(handle, mproc_process, handle);
    int rc = mproc__process_check(process);
    if (rc < 0)
        return mproc__handle_story(handle, rc);
    if (process->kind == MPROC__PROCESS_SELF)
        return mproc__handle_fail(handle, MPROC_ESTATE, "process %s cannot wait for its own end",
                                  process->name);
    mproc__guard_look();
    if (process->kind != MPROC__PROCESS_THREAD)
        return process->pidfd;
    int fd = atomic_load_explicit(&process->thread_fd, memory_order_relaxed);
    return fd >= 0 ? fd : mproc__thread_fd(process);
}

static bool process_failed(mproc__handle *handle)
{
    int exit_code;
    mproc_process *process = MPROC__CONTAINER(handle, mproc_process, handle);
    return mproc_process_join(process, MPROC_NOW, &exit_code) == 0 && exit_code != 0;
}

static const mproc__handle_ops process_ops = {.type = MPROC_TYPE_PROCESS,
                                              .noun = "process",
                                              .destroy = process_destroy,
                                              .describe = process_describe,
                                              .wait_fd = process_wait_fd,
                                              .failed = process_failed,
                                              .once = true};

mproc_process *mproc__process_new(mproc__process_kind kind)
{
    mproc_process *process = calloc(1, sizeof *process);
    if (!process) {
        mproc__fail(-ENOMEM, "no memory for a process handle");
        return NULL;
    }
    mproc__handle_init(&process->handle, &process_ops);
    pthread_mutex_init(&process->collect_lock, NULL);
    process->kind = kind;
    process->incarnation = mproc__incarnation();
    process->pid = mproc__pid();
    process->parent_pid = process->pid;
    process->pidfd = process->leash[0] = process->leash[1] = -1;
    process->thread_fd = -1;
    return process;
}

void mproc_process_close(mproc_process **process)
{
    if (!process || !*process || mproc__handle_check(*process, MPROC_TYPE_PROCESS) < 0)
        return;
    mproc_process *closing = *process;
    *process = NULL;
    if (closing->kind == MPROC__PROCESS_SELF || closing->kind == MPROC__PROCESS_PARENT)
        return; /* borrowed */
    if (closing->incarnation == mproc__incarnation()) {
        mproc__family_lock();
        closing->closed = true;
        mproc__family_unlock();
        mproc__program_hang_up(closing->program);
        if (mproc__process_ended(closing))
            mproc__process_collect(closing);
    }
    mproc__handle_release(&closing->handle);
}

/* ---- ending ---- */

bool mproc__process_ended(const mproc_process *process)
{
    if (atomic_load_explicit(&process->collected, memory_order_acquire))
        return true;
    return !mproc__process_runs(process) &&
           (process->kind != MPROC__PROCESS_SERVED || mproc__nursery_told(process->nursery, process->slot));
}

static int thread_wait(mproc_process *process, mproc_deadline deadline)
{
    while (!atomic_load_explicit(&process->thread_ended, memory_order_acquire))
        if (mproc__futex_wait(&process->thread_ended, 0, false, deadline) == -ETIMEDOUT)
            return mproc__fail_plain(-ETIMEDOUT);
    return 0;
}

/* The nursery's word first: who waits for the kernel's is woken twice. It has none of a child that outlived it. The kernel's
 * word is there some microseconds earlier, and wakes who waits for many: to that one the child has ended, so the nursery,
 * which is awake by now, is waited for beyond the deadline. Not one that is stopped; TOLD_MS is for one that is frozen. */
static int served_wait(mproc_process *process, mproc_deadline deadline)
{
    mproc__nursery *nursery = process->nursery;
    int rc = mproc__nursery_await(nursery, process->slot, &process->collected, deadline);
    if (rc == -ETIMEDOUT && !mproc__process_runs(process) && !mproc__boot_stopped(nursery->pid))
        rc = mproc__nursery_await(nursery, process->slot, &process->collected, mproc_after_ms(TOLD_MS));
    return rc;
}

int mproc__process_wait(mproc_process *process, mproc_deadline deadline)
{
    if (atomic_load_explicit(&process->collected, memory_order_acquire))
        return 0;
    if (process->kind == MPROC__PROCESS_THREAD)
        return thread_wait(process, deadline);
    if (process->kind == MPROC__PROCESS_CHILD)
        return mproc__guard_wait(process->pidfd, deadline);
    bool served = process->kind == MPROC__PROCESS_SERVED;
    int rc = served ? served_wait(process, deadline) : 0;
    /* The slot may be another child's when this one has been collected meanwhile, which has ended then, too. */
    if (rc < 0 || (served && mproc__nursery_reaped(process->nursery, process->slot)))
        return rc;
    return mproc__fd_poll(process->pidfd, POLLIN, deadline);
}

/* Of a child whose status another has taken. The pidfd says that it has ended a moment before the kernel lets go of it, and only
 * then tells how: -ENODATA until then (-ESRCH where it never tells, Linux 6.13 and 6.14). One that nobody reaps, of a dead
 * nursery's, is not waited for for ever. */
static bool taken_code(mproc_process *process)
{
    int rc = mproc__pidfd_exit_code(process->pidfd, &process->exit_code);
    for (int naps = 0; rc == -ENODATA && naps < TAKEN_NAPS; naps++) {
        nanosleep(&(struct timespec){.tv_nsec = TAKEN_NAP_NS}, NULL);
        rc = mproc__pidfd_exit_code(process->pidfd, &process->exit_code);
    }
    return rc == 0;
}

/* Only this very child is waited for. A program that ignores SIGCHLD, or waits for everything, has taken the
 * status before us; then the kernel is asked for what it remembers. */
static bool child_reap(mproc_process *process)
{
    siginfo_t info = {0};
    int rc;
    do
        /* libc's has no place for what it used */
        rc = (int)syscall(SYS_waitid, P_PIDFD, process->pidfd, &info, WEXITED, &process->usage);
    while (rc < 0 && errno == EINTR);
    if (rc < 0)
        return taken_code(process);
    process->exit_code = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    process->usage_told = true;
    return true;
}

static bool exit_code_take(mproc_process *process)
{
    switch (process->kind) {
    case MPROC__PROCESS_CHILD:
        return child_reap(process);
    case MPROC__PROCESS_SERVED: /* with its nursery dead it may have come to this process, a subreaper */
        process->usage_told = mproc__nursery_exit_code(process->nursery, process->slot, &process->exit_code,
                                                       &process->usage) == 0;
        return process->usage_told || child_reap(process);
    case MPROC__PROCESS_THREAD:
        pthread_join(process->thread, NULL);
        process->exit_code = process->thread_code;
        process->usage_told = true;
        return true;
    default: /* a parent is somebody else's child */
        return mproc__pidfd_exit_code(process->pidfd, &process->exit_code) == 0;
    }
}

static void family_leave(mproc_process *process)
{
    mproc__family_lock();
    mproc__slot_give(process->slot);
    if (process->kind == MPROC__PROCESS_CHILD)
        mproc__nursery_unwatch(process->nursery, process->slot);
    mproc__family_remove(process);
    mproc__family_unlock();
}

void mproc__process_collect(mproc_process *process)
{
    mproc__handle_keep(&process->handle); /* the list may hold the last reference */
    pthread_mutex_lock(&process->collect_lock);
    if (!atomic_load_explicit(&process->collected, memory_order_acquire)) {
        process->exit_lost = !exit_code_take(process);
        mproc__leash_close(process->leash);
        atomic_store_explicit(&process->collected, true, memory_order_release);
        if (process->kind <= MPROC__PROCESS_THREAD)
            family_leave(process);
    }
    pthread_mutex_unlock(&process->collect_lock);
    mproc__handle_release(&process->handle);
}

/* ---- waiting ---- */

static int exit_code_lost(mproc_process *process)
{
    const char *why = process->kind == MPROC__PROCESS_SERVED
                          ? "was to be told by the program's nursery, which was killed"
                          : "was taken by another: a wait for any child, SIGCHLD ignored, or not a child of "
                            "this process";
    return mproc__handle_fail(&process->handle, MPROC_EUNKNOWN,
                              "process %s (pid %d) has ended, its exit code %s", process->name,
                              (int)process->pid, why);
}

int mproc_process_join(mproc_process *process, mproc_deadline deadline, int *ret_exit_code)
{
    int rc = mproc__process_check(process);
    if (rc < 0)
        return rc;
    if (process->kind == MPROC__PROCESS_SELF || process == mproc__thread_self())
        return mproc__handle_fail(&process->handle, MPROC_ESTATE, "process %s cannot join itself",
                                  process->name);
    rc = mproc__process_wait(process, deadline);
    if (rc < 0)
        return mproc__handle_story(&process->handle, rc);
    mproc__process_collect(process);
    if (ret_exit_code && process->exit_lost)
        return exit_code_lost(process);
    if (ret_exit_code)
        *ret_exit_code = process->exit_code;
    return 0;
}

bool mproc_process_is_alive(const mproc_process *process)
{
    if (mproc__process_check(process) < 0)
        return false;
    mproc__guard_look();
    return process->kind == MPROC__PROCESS_SELF || mproc__process_runs(process);
}

int mproc_process_pid(const mproc_process *process)
{
    int rc = mproc__handle_check(process, MPROC_TYPE_PROCESS);
    return rc < 0 ? rc : process->pid;
}

bool mproc_process_is_daemon(const mproc_process *process)
{
    return mproc__handle_check(process, MPROC_TYPE_PROCESS) == 0 && process->daemon;
}

const char *mproc_process_name(const mproc_process *process)
{
    return mproc__handle_check(process, MPROC_TYPE_PROCESS) < 0 ? NULL : process->name;
}
