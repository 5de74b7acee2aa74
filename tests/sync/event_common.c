/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <pthread.h>
#include <unistd.h>

#include "event_common.h"
#include "platform/platform.h"

mproc_place *place;
mproc_event *event;

void event_make(int home, const mproc_event_options *options)
{
    if (home == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    ck_assert_int_eq(mproc_event_create(place, options, &event), 0);
}

void event_drop(void)
{
    mproc_event_close(&event);
    ck_assert_ptr_null(event);
    mproc_place_close(&place);
}

int64_t since_ms(int64_t start_ns)
{
    return (mproc__now_ns() - start_ns) / 1000000;
}

int in_child(support_fn *fn)
{
    return support_reap(support_fork(fn, NULL), LONG_MS);
}

void *errand_run(void *argument)
{
    errand *job = argument;
    atomic_store(&job->tid, mproc__tid());
    job->status = job->fn(NULL);
    return NULL;
}

int wait_long(void *unused)
{
    (void)unused;
    return mproc_event_wait(event, mproc_after_ms(support_ms(LONG_MS))) == 0 ? 0 : 1;
}

int wait_now(void *unused)
{
    (void)unused;
    int code = mproc_event_wait(event, MPROC_NOW);
    return code == 0 ? 0 : code == -ETIMEDOUT ? 1 : 2;
}

static bool has_tid(void *job)
{
    return atomic_load(&((errand *)job)->tid) != 0;
}

void sleeper_start(int home, sleeper *s)
{
    *s = (sleeper){.is_process = home == 0, .job = {.fn = wait_long, .status = -1}};
    if (s->is_process) {
        s->pid = support_fork(wait_long, NULL);
    } else {
        ck_assert_int_eq(pthread_create(&s->thread, NULL, errand_run, &s->job), 0);
        ck_assert(support_until(has_tid, &s->job, LONG_MS));
        s->pid = atomic_load(&s->job.tid);
    }
    ck_assert(support_until_asleep(s->pid, LONG_MS));
}

int sleeper_end(sleeper *s)
{
    if (s->is_process)
        return support_reap(s->pid, LONG_MS);
    pthread_join(s->thread, NULL);
    return s->job.status;
}

int set_it(void *unused)
{
    (void)unused;
    return mproc_event_set(event);
}
