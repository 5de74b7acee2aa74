/* SPDX-License-Identifier: BSD-2-Clause */
/* The start method "thread": the same function, arguments and exit code in a thread of this process. */
#include "platform/base.h"

#include <limits.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/child.h"
#include "process/limits.h"
#include "process/own_fds.h"
#include "process/process.h"

static _Thread_local mproc_process *thread_self;

MPROC__FORK_TEXT void mproc__thread_forget(void)
{
    if (!thread_self)
        return;
    thread_self = NULL;
    mproc__log_name_thread(NULL);
}

mproc_process *mproc__thread_self(void)
{
    return thread_self;
}

/* The ended thread and whoever asks for the descriptor both come here after their own store: one of them sees both. */
static void thread_tell(mproc_process *process)
{
    int fd = atomic_load_explicit(&process->thread_fd, memory_order_seq_cst);
    if (fd >= 0 && atomic_load_explicit(&process->thread_ended, memory_order_seq_cst))
        (void)eventfd_write(fd, 1);
}

int mproc__thread_fd(mproc_process *process)
{
    int none = -1;
    mproc__own_fds_begin();
    int made = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), code = -errno;
    mproc__own_fd_note(made);
    mproc__own_fds_end();
    if (made < 0)
        return mproc__fail(code, "no descriptor for a thread's end: %s", mproc_strerror(code));
    if (!atomic_compare_exchange_strong(&process->thread_fd, &none, made)) {
        mproc__own_fd_close(made);
        return none;
    }
    thread_tell(process);
    return made;
}

/* Also at pthread_exit and cancellation in the function: whoever joins must be told in any case. */
static void thread_leave(void *argument)
{
    mproc_process *process = argument;
    (void)getrusage(RUSAGE_THREAD, &process->usage);
    atomic_store_explicit(&process->thread_ended, 1, memory_order_seq_cst);
    mproc__futex_wake(&process->thread_ended, INT_MAX, false);
    thread_tell(process);
}

/* The starter sleeps, so that a limit that cannot be had is the error of start here as well. */
static bool thread_limits(mproc_process *process)
{
    if (!process->limits)
        return true;
    int rc = mproc__limits_step(process->limits);
    process->limits_code = rc;
    if (rc < 0)
        mproc__story_copy(mproc__story(), &process->limits_story);
    atomic_store_explicit(&process->limits_on, 1, memory_order_release);
    mproc__futex_wake(&process->limits_on, 1, false);
    return rc == 0;
}

static void *thread_run(void *argument)
{
    mproc_process *process = argument;
    char fn_name[MPROC__FN_NAME_BYTES];
    if (!thread_limits(process))
        return NULL;
    thread_self = process;
    mproc__function_name(process->fn, fn_name, sizeof fn_name);
    mproc__log_name_thread(process->name);
    atomic_store_explicit(&process->thread_tid, mproc__tid(), memory_order_relaxed);
    pthread_cleanup_push(thread_leave, process);
    process->thread_code =
        mproc__child_call(process->name, fn_name, process->stop_word, process->fn, process->args);
    pthread_cleanup_pop(1);
    return NULL;
}

static int thread_await_limits(mproc_process *process)
{
    while (!atomic_load_explicit(&process->limits_on, memory_order_acquire))
        (void)mproc__futex_wait(&process->limits_on, 0, false, MPROC_FOREVER);
    process->limits = NULL;
    if (process->limits_code == 0)
        return 0;
    pthread_join(process->thread, NULL);
    mproc__story_copy(&process->limits_story, mproc__story());
    return process->limits_code;
}

int mproc__thread_start(mproc_process *process, mproc_fn *fn, mproc_variant args, const mproc__limits *limits)
{
    int rc = mproc__arguments_copy(args, &process->args);
    if (rc < 0)
        return rc;
    process->fn = fn;
    process->limits = limits->asked ? limits : NULL;
    bool limited = process->limits;
    rc = -pthread_create(&process->thread, NULL, thread_run, process);
    if (rc < 0)
        return mproc__fail(rc, "start: thread: %s%s", mproc_strerror(rc),
                           rc == -EPERM ? " (a sandbox that answers EPERM to clone3?)" : "");
    return limited ? thread_await_limits(process) : 0;
}
