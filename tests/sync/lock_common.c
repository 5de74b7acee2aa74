/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "lock_common.h"

mproc_place *place;
mproc_lock *lock;

void lock_make(int home, const mproc_lock_options *options)
{
    if (home == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    ck_assert_int_eq(mproc_lock_create(place, options, &lock), 0);
}

void lock_drop(void)
{
    mproc_lock_close(&lock);
    ck_assert_ptr_null(lock);
    mproc_place_close(&place);
}

int64_t live_ns(void)
{
    return (int64_t)support_ms(LIVE_MS) * 1000000;
}

int64_t told_pid(void)
{
    int64_t pid = -1;
    const mproc_error *story = mproc_error_of(lock);
    return story && mproc_error_number(story, MPROC_ERROR_PID, &pid) == 0 ? pid : -1;
}

int try_now(void *unused)
{
    (void)unused;
    int code = mproc_lock_acquire(lock, MPROC_NOW);
    if (code == 0)
        code = mproc_lock_release(lock);
    return code == -ETIMEDOUT ? 1 : code == 0 ? 0 : 2;
}

int in_child(support_fn *fn)
{
    return support_reap(support_fork(fn, NULL), LONG_MS);
}

void *errand_run(void *argument)
{
    errand *job = argument;
    job->status = job->fn(NULL);
    return NULL;
}

int in_thread(support_fn *fn)
{
    errand job = {fn, -1};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, errand_run, &job), 0);
    pthread_join(thread, NULL);
    return job.status;
}

int elsewhere(int home, support_fn *fn)
{
    return home == 0 ? in_child(fn) : in_thread(fn);
}

int die_holding(void *unused)
{
    (void)unused;
    if (mproc_lock_acquire(lock, MPROC_FOREVER) < 0)
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

int end_holding(void *unused)
{
    (void)unused;
    return mproc_lock_acquire(lock, MPROC_FOREVER);
}
