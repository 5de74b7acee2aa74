/* SPDX-License-Identifier: BSD-2-Clause */
/* The handles of this process itself and of its parent: made at the first question, borrowed by the program.
 * */
#include "platform/base.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/own_fds.h"
#include "process/process.h"

MPROC__FORK_DATA static struct {
    pthread_mutex_t lock;
    mproc_process *self, *parent;
} relatives = {.lock = PTHREAD_MUTEX_INITIALIZER};

MPROC__FORK_TEXT static void relatives_hold(void)
{
    pthread_mutex_lock(&relatives.lock);
}

MPROC__FORK_TEXT static void relatives_let(void)
{
    pthread_mutex_unlock(&relatives.lock);
}

/* A fork child has others. The old handles stay, for a program that still points at them: they answer
 * -ECHILD. At the program's start: at the first use it might come while another thread forks,
 * too late for that child. */
__attribute__((constructor(101))) static void relatives_begin(void)
{
    pthread_atfork(relatives_hold, relatives_let, relatives_let);
}

static mproc_process *self_new(void)
{
    const mproc__self *me = mproc__self_get();
    mproc_process *process = mproc__process_new(MPROC__PROCESS_SELF);
    if (!process)
        return NULL;
    process->method = me->method;
    process->parent_pid = me->parent_pid;
    process->daemon = me->daemon;
    memcpy(process->name, me->name[0] ? me->name : MPROC__MAIN_NAME,
           me->name[0] ? sizeof me->name : sizeof MPROC__MAIN_NAME);
    memcpy(process->path, me->path, sizeof me->path);
    return process;
}

/* The pid may belong to another by now; the start time tells. One that has died already has no descriptor and
 * is known to have ended. */
static mproc_process *parent_new(void)
{
    const mproc__self *me = mproc__self_get();
    uint64_t start_ticks = 0, stack;
    mproc_process *process = mproc__process_new(MPROC__PROCESS_PARENT);
    if (!process)
        return NULL;
    memcpy(process->name, me->parent_name, sizeof me->parent_name);
    process->pid = me->parent_pid;
    process->parent_pid = 0;
    process->pidfd = mproc__own_pidfd_open(me->parent_pid);
    bool same = process->pidfd >= 0 && mproc__process_times(me->parent_pid, &start_ticks, &stack) == 0 &&
                start_ticks == me->parent_start_ticks;
    if (!same && process->pidfd >= 0)
        mproc__own_fd_close(process->pidfd);
    if (!same) {
        process->pidfd = -1;
        process->exit_lost = true;
        atomic_store(&process->collected, true);
    }
    return process;
}

/* The present one, which is `made` from now on if there is none. */
static mproc_process *relative_exchange(mproc_process **process, mproc_process *made)
{
    relatives_hold();
    if (*process && (*process)->incarnation != mproc__incarnation())
        *process = NULL;
    if (!*process)
        *process = made;
    mproc_process *found = *process;
    relatives_let();
    return found;
}

/* Made without the lock, which forks take after that of the descriptors. */
static mproc_process *relative_get(mproc_process **process, mproc_process *(*make)(void))
{
    mproc_process *found = relative_exchange(process, NULL);
    if (found)
        return found;
    mproc_process *made = make();
    found = made ? relative_exchange(process, made) : NULL;
    if (made && found != made) /* another thread was faster */
        mproc__handle_release(&made->handle);
    return found;
}

mproc_process *mproc_process_self(void)
{
    mproc_process *thread = mproc__thread_self();
    return thread ? thread : relative_get(&relatives.self, self_new);
}

mproc_process *mproc_process_parent(void)
{
    if (mproc__self_get()->parent_pid == 0)
        return NULL;
    return relative_get(&relatives.parent, parent_new);
}
