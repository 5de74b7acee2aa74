/* SPDX-License-Identifier: BSD-2-Clause */
/* The children of this process: list, numbers, and what happens to them when it forks or exits. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/family.h"
#include "process/program.h"

static struct {
    pthread_mutex_t lock;
    mproc_process *first;
    mproc_process *forgotten; /* of the process this one was forked from */
    unsigned started;
    uint64_t exit_incarnation; /* that has registered the exit hook */
} family = {.lock = PTHREAD_MUTEX_INITIALIZER};

static pthread_once_t family_once = PTHREAD_ONCE_INIT;
static int family_code;

void mproc__family_lock(void)
{
    pthread_mutex_lock(&family.lock);
}

void mproc__family_unlock(void)
{
    pthread_mutex_unlock(&family.lock);
}

/* ---- hooks ---- */

/* In a fork child, among the hooks of all layers: the parent's children are not ours. Their handles answer
 * -ECHILD, so the descriptors behind them can go; letting go of memory waits until the other hooks have run.
 * */
static void family_forget(void)
{
    for (mproc_process *process = family.first; process; process = process->next) {
        if (process->pidfd >= 0)
            close(process->pidfd);
        process->pidfd = -1;
        mproc__program_hang_up(process->program);
        if (!process->next) {
            process->next = family.forgotten;
            family.forgotten = family.first;
            break;
        }
    }
    family.first = NULL;
    family.started = 0;
    mproc__nursery_forget();
    mproc__slots_forget();
    mproc__family_unlock();
}

void mproc__family_clear_forgotten(void)
{
    mproc__family_lock();
    mproc_process *process = family.forgotten;
    family.forgotten = NULL;
    mproc__family_unlock();
    while (process) {
        mproc_process *next = process->next;
        mproc__handle_release(&process->handle);
        process = next;
    }
    mproc__nursery_clear_forgotten();
}

static void family_once_begin(void)
{
    family_code = -pthread_atfork(mproc__family_lock, mproc__family_unlock, family_forget);
}

/* The program's end: every child is joined, as the reference does; then the nursery may go. A thread that
 * calls exit itself is not waited for. */
static void family_exit(void)
{
    if (family.exit_incarnation != mproc__incarnation())
        return;
    for (;;) {
        mproc__family_lock();
        mproc_process *process = family.first;
        while (process && process == mproc__thread_self())
            process = process->next;
        if (process)
            mproc__handle_keep(&process->handle);
        mproc__family_unlock();
        if (!process)
            break;
        mproc__program_hang_up(process->program); /* one that writes to us would never end */
        mproc__process_wait(process, MPROC_FOREVER);
        mproc__process_collect(process);
        mproc__handle_release(&process->handle);
    }
    mproc__nursery_stop();
}

int mproc__family_begin(void)
{
    pthread_once(&family_once, family_once_begin);
    if (family_code < 0)
        return mproc__fail(family_code, "start: cannot prepare for forks: %s", mproc_strerror(family_code));
    mproc__family_clear_forgotten();
    mproc__family_lock();
    uint64_t now = mproc__incarnation();
    int rc = 0;
    if (family.exit_incarnation != now && atexit(family_exit) != 0)
        rc = mproc__fail(-ENOMEM, "start: no memory for an exit handler");
    else
        family.exit_incarnation = now;
    mproc__family_unlock();
    return rc;
}

/* ---- the list ---- */

void mproc__family_add(mproc_process *process)
{
    mproc__handle_keep(&process->handle);
    process->previous = NULL;
    process->next = family.first;
    if (family.first)
        family.first->previous = process;
    family.first = process;
}

void mproc__family_remove(mproc_process *process)
{
    if (process->previous)
        process->previous->next = process->next;
    else
        family.first = process->next;
    if (process->next)
        process->next->previous = process->previous;
    mproc__handle_release(&process->handle);
}

/* Kept for the caller, who collects it without the lock: collecting takes it itself, inside another. */
static mproc_process *family_find_closed(void)
{
    mproc__family_lock();
    mproc_process *process = family.first;
    while (process && !(process->closed && mproc__process_ended(process)))
        process = process->next;
    if (process)
        mproc__handle_keep(&process->handle);
    mproc__family_unlock();
    return process;
}

void mproc__family_tidy(void)
{
    for (mproc_process *process; (process = family_find_closed());) {
        mproc__process_collect(process);
        mproc__handle_release(&process->handle);
    }
}

void mproc__family_next_path(char path[MPROC__PATH_BYTES])
{
    const mproc__self *self = mproc__self_get();
    mproc__family_lock();
    unsigned number = ++family.started;
    mproc__family_unlock();
    if (self->path[0])
        snprintf(path, MPROC__PATH_BYTES, "%.48s:%u", self->path, number);
    else
        snprintf(path, MPROC__PATH_BYTES, "%u", number);
}
