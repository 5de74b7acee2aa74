/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <signal.h>
#include <unistd.h>

#include "platform/platform.h"
#include "semaphore_common.h"

mproc_place *place;
mproc_semaphore *semaphore;

void semaphore_make(int home, int64_t value, const mproc_semaphore_options *options)
{
    if (home == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    if (home == 2)
        ck_assert_int_eq(
            mproc__place_shm("shm:/check-semaphore", MPROC_WITH(mproc_place_options, .owner = true), &place),
            0);
    ck_assert_int_eq(mproc_semaphore_create(place, value, options, &semaphore), 0);
}

void semaphore_drop(void)
{
    mproc_semaphore_close(&semaphore);
    ck_assert_ptr_null(semaphore);
    mproc_place_close(&place);
}

unsigned free_permits(void)
{
    unsigned value = UINT32_MAX;
    ck_assert_int_eq(mproc_semaphore_value(semaphore, &value), 0);
    return value;
}

int64_t since_ms(int64_t start_ns)
{
    return (mproc__now_ns() - start_ns) / 1000000;
}

mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LONG_MS));
}

int take_now(void *unused)
{
    (void)unused;
    int code = mproc_semaphore_acquire(semaphore, MPROC_NOW);
    return code == 0 ? 0 : code == -ETIMEDOUT ? 1 : 2;
}

int take_soon(void *unused)
{
    (void)unused;
    int code = mproc_semaphore_acquire(semaphore, soon());
    return code == 0 ? 0 : code == -ETIMEDOUT ? 1 : 2;
}

int pass_through(void *unused)
{
    int code = take_soon(unused);
    return code == 0 ? give_one(unused) : code;
}

int give_one(void *unused)
{
    (void)unused;
    return mproc_semaphore_release(semaphore, 1) == 0 ? 0 : 3;
}

int value_is(void *expected)
{
    unsigned value;
    return mproc_semaphore_value(semaphore, &value) == 0 && value == *(unsigned *)expected ? 0 : 1;
}

static int take_all(int count)
{
    for (int i = 0; i < count; i++)
        if (mproc_semaphore_acquire(semaphore, soon()) != 0)
            return 1;
    return 0;
}

int take_and_die(void *count)
{
    if (take_all(*(int *)count))
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

int hold_for_ever(void *count)
{
    if (take_all(*(int *)count))
        return 1;
    for (;;)
        pause();
}

int in_child(support_fn *fn, void *context)
{
    return support_reap(support_fork(fn, context), LONG_MS);
}

typedef struct errand {
    support_fn *fn;
    void *context;
    int status;
} errand;

static void *errand_run(void *argument)
{
    errand *job = argument;
    job->status = job->fn(job->context);
    return NULL;
}

int in_thread(support_fn *fn, void *context)
{
    errand job = {fn, context, -1};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, errand_run, &job), 0);
    pthread_join(thread, NULL);
    return job.status;
}

int elsewhere(int home, support_fn *fn, void *context)
{
    return home == 1 ? in_thread(fn, context) : in_child(fn, context);
}

static void *sleeper_run(void *argument)
{
    sleeper *s = argument;
    atomic_store(&s->tid, mproc__tid());
    s->status = s->fn(NULL);
    return NULL;
}

static bool has_tid(void *s)
{
    return atomic_load(&((sleeper *)s)->tid) != 0;
}

void sleeper_start(bool is_process, support_fn *fn, sleeper *ret_sleeper)
{
    *ret_sleeper = (sleeper){.fn = fn, .is_process = is_process, .status = -1};
    if (is_process) {
        ret_sleeper->pid = support_fork(fn, NULL);
    } else {
        ck_assert_int_eq(pthread_create(&ret_sleeper->thread, NULL, sleeper_run, ret_sleeper), 0);
        ck_assert(support_until(has_tid, ret_sleeper, LONG_MS));
        ret_sleeper->pid = atomic_load(&ret_sleeper->tid);
    }
    ck_assert(support_until_asleep(ret_sleeper->pid, LONG_MS));
}

int sleeper_end(sleeper *s)
{
    if (s->is_process)
        return support_reap(s->pid, LONG_MS);
    pthread_join(s->thread, NULL);
    return s->status;
}
