/* SPDX-License-Identifier: BSD-2-Clause */
/* The start method "thread": the same function, arguments and exit code in a thread of this process. */
#include "platform/base.h"

#include <limits.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/child.h"
#include "process/process.h"

static _Thread_local mproc_process *thread_self;

mproc_process *mproc__thread_self(void)
{
    return thread_self;
}

/* Also at pthread_exit and cancellation in the function: whoever joins must be told in any case. */
static void thread_leave(void *argument)
{
    mproc_process *process = argument;
    atomic_store_explicit(&process->thread_ended, 1, memory_order_release);
    mproc__futex_wake(&process->thread_ended, INT_MAX, false);
}

static void *thread_run(void *argument)
{
    mproc_process *process = argument;
    thread_self = process;
    pthread_cleanup_push(thread_leave, process);
    process->thread_code = mproc__child_call(process->name, process->stop_word, process->fn, process->args);
    pthread_cleanup_pop(1);
    return NULL;
}

int mproc__thread_start(mproc_process *process, mproc_fn *fn, mproc_variant args)
{
    int rc = mproc_variant_copy(args, &process->args);
    if (rc < 0)
        return rc;
    process->fn = fn;
    rc = -pthread_create(&process->thread, NULL, thread_run, process);
    return rc == 0 ? 0 : mproc__fail(rc, "start: thread: %s", mproc_strerror(rc));
}
