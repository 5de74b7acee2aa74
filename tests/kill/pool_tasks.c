/* SPDX-License-Identifier: BSD-2-Clause */
/* Scenes of single tasks. */
#include "platform/base.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "kill/pool_scene.h"
#include "support/support.h"

enum {
    RUN_US = 20000000, /* until it is stopped */
    LOOK_US = 20000,
    KEPT = 100 /* where the ledger counts checkpoints */
};

static void send(pool_world *w, mproc_fn *fn, uint32_t number, uint32_t run_us,
                 const mproc_task_options *options)
{
    pool_letter letter;
    unsigned i = w->count;
    if (!w->pool || i == POOL_SCENE_TASKS)
        return;
    pool_letter_write(&letter, number, run_us);
    (void)pool_ledger_enter(w->ledger, number);
    int rc = pool_letter_send(w->pool, fn, &letter, options, &w->tasks[i].future);
    if (rc < 0) {
        pool_blame(w, FAULT_SUBMIT);
        return;
    }
    w->tasks[i].number = number;
    w->tasks[i].run_us = run_us;
    w->tasks[i].must_retry = options && options->retries > 0;
    w->tasks[i].limited = options && options->time_limit_ms > 0;
    w->count++;
}

static void result_take(pool_world *w, unsigned i)
{
    mproc_variant answer = mproc_null();
    w->tasks[i].code = mproc_future_result(w->tasks[i].future, pool_hard(), &answer);
    if (w->tasks[i].code == 0)
        w->tasks[i].attempt = pool_letter_read(answer, w->tasks[i].number, w->tasks[i].run_us);
}

static void results_take(pool_world *w)
{
    for (unsigned i = 0; i < w->count; i++)
        result_take(w, i);
}

/* One that it comes after failed: it must not have run. */
static bool is_forsaken(const pool_world *w, unsigned i)
{
    bool failed = false;
    for (unsigned k = 0; k < i; k++)
        failed |= (w->tasks[i].after >> k & 1) && w->tasks[k].code != 0;
    return failed && !w->tasks[i].anyhow;
}

static void task_judge(pool_world *w, unsigned i)
{
    int code = w->tasks[i].code;
    bool retried = w->tasks[i].must_retry;
    if (is_forsaken(w, i) && code != -ECANCELED && code != MPROC_EDIED) {
        if (code != MPROC_EAFTER)
            pool_blame(w, FAULT_CODE);
        return;
    }
    w->losses += code == MPROC_EDIED && !w->tasks[i].dies;
    if (w->tasks[i].dies && !retried) {
        if (code != MPROC_EDIED)
            pool_blame(w, FAULT_CODE);
    } else if (code == 0 &&
               (w->tasks[i].attempt == 0 || w->tasks[i].attempt > 1u + retried + w->tasks[i].dies))
        pool_blame(w, FAULT_ANSWER);
    else if (code == MPROC_EDIED && retried)
        pool_blame(w, FAULT_LOSSES);
    else if (code == -ECANCELED ? !w->tasks[i].may_cancel
             : code == -ETIME   ? !w->tasks[i].limited
                                : code != 0 && code != MPROC_EDIED)
        pool_blame(w, FAULT_CODE);
}

void pool_tasks_judge(pool_world *w)
{
    for (unsigned i = 0; i < w->count; i++)
        task_judge(w, i);
}

/* ---- acts ---- */

/* Asleep, so that the harness can wait until all are. */
static int task_looks(mproc_call *call)
{
    pool_ledger_shared *ledger = mproc_call_self(call);
    size_t size = 0;
    const pool_letter *letter = mproc_call_bytes(call, 0, &size);
    atomic_fetch_add(&ledger->entries[letter->number].begun, 1);
    while (!mproc_call_stopping(call))
        usleep(LOOK_US);
    pool_letter answer;
    memcpy(&answer, letter, size);
    answer.attempt = mproc_call_attempt(call);
    return mproc_call_return(call, mproc_bytes(&answer, size));
}

static int task_hangs(mproc_call *call)
{
    pool_ledger_shared *ledger = mproc_call_self(call);
    size_t size = 0;
    const pool_letter *letter = mproc_call_bytes(call, 0, &size);
    atomic_fetch_add(&ledger->entries[letter->number].begun, 1);
    while (pause() < 0)
        ;
    return 0;
}

void act_submit(pool_world *w)
{
    for (uint32_t i = 0; i < 3; i++)
        send(w, pool_task_echo, 2 * i, 0, NULL);
    results_take(w);
}

void act_submit_large(pool_world *w)
{
    for (uint32_t i = 0; i < 3; i++)
        send(w, pool_task_echo, 2 * i + 1, 0, NULL);
    results_take(w);
}

void act_submit_retried(pool_world *w)
{
    for (uint32_t i = 0; i < 3; i++)
        send(w, pool_task_echo, i, 0, MPROC_WITH(mproc_task_options, .retries = 2));
    results_take(w);
}

/* The last ones first. */
void act_submit_ranked(pool_world *w)
{
    static const int priorities[] = {-7, 0, 3, 7, 7};
    for (uint32_t i = 0; i < MPROC__COUNT(priorities); i++)
        send(w, pool_task_echo, i, 0,
             MPROC_WITH(mproc_task_options, .priority = priorities[i], .retries = i % 2));
    results_take(w);
}

/* Three, small and large: what one attempt kept, and was told that it is kept, the next one finds. */
static int task_keeps(mproc_call *call)
{
    enum { STEPS = 3 };
    static const char ballast[POOL_LEDGER_LARGE];
    pool_ledger_shared *ledger = mproc_call_self(call);
    size_t size = 0;
    const pool_letter *letter = mproc_call_bytes(call, 0, &size);
    _Atomic uint32_t *kept = &ledger->entries[KEPT + letter->number].begun;
    mproc_variant state = mproc_call_resume(call);
    int64_t step = 0;
    if (state.kind != MPROC_KIND_NULL && mproc_variant_get_int(mproc_variant_at(state, 0), &step) < 0)
        return -EPROTO;
    if (step < atomic_load(kept) || step > atomic_load(kept) + 1)
        return mproc_call_fail(call, -EPROTO, "another checkpoint than the last one");
    while (step < STEPS) {
        step++;
        size_t bytes = step % 2 ? 0 : sizeof(ballast);
        int rc = mproc_call_checkpoint(call, MPROC_ARGS(step, mproc_bytes(ballast, bytes)));
        if (rc < 0)
            return rc;
        atomic_store(kept, (uint32_t)step);
    }
    return pool_task_echo(call);
}

void act_checkpoint(pool_world *w)
{
    for (uint32_t i = 0; i < 2; i++)
        send(w, task_keeps, i, 0, MPROC_WITH(mproc_task_options, .retries = 2));
    results_take(w);
}

/* One more, who must be there at the end. */
void act_resize(pool_world *w)
{
    for (uint32_t i = 0; i < 2; i++)
        send(w, pool_task_echo, i, 0, NULL);
    if (mproc_pool_resize(w->pool, w->workers + 1) < 0)
        pool_blame(w, FAULT_SUBMIT);
    w->workers++;
    send(w, pool_task_echo, 2, 0, NULL);
    results_take(w);
}

/* Two at a time. */
void act_submit_full(pool_world *w)
{
    for (uint32_t i = 0; i < 5; i++)
        send(w, pool_task_echo, 2 * i, 0, MPROC_WITH(mproc_task_options, .submit_deadline = pool_hard()));
    results_take(w);
}

static bool begun(void *context)
{
    const pool_world *w = context;
    for (unsigned i = 0; i < w->workers; i++)
        if (atomic_load(&w->ledger->entries[w->tasks[i].number].begun) == 0)
            return false;
    return true;
}

/* As many as there are workers run, and one waits. */
static void busy_with(pool_world *w, mproc_fn *fn)
{
    const mproc_task_options *options = MPROC_WITH(mproc_task_options, .grace_ms = 1);
    for (uint32_t i = 0; i < w->workers; i++)
        send(w, fn, 2 * i, RUN_US, options);
    if (!support_until(begun, w, POOL_SCENE_MS))
        pool_blame(w, FAULT_SUBMIT);
    send(w, pool_task_echo, 2 * POOL_SCENE_WORKERS, 0, NULL);
}

void prepare_looks(pool_world *w)
{
    busy_with(w, task_looks);
}

void prepare_hangs(pool_world *w)
{
    busy_with(w, task_hangs);
}

static void cancel(pool_world *w, unsigned i, bool even_if_running)
{
    w->tasks[i].may_cancel = true;
    int rc = mproc_future_cancel(w->tasks[i].future, even_if_running);
    result_take(w, i);
    if (rc == 0 ? w->tasks[i].code != -ECANCELED : rc != MPROC_ESTATE && !(rc == -EBUSY && !even_if_running))
        pool_blame(w, FAULT_CANCEL);
}

void act_cancel(pool_world *w)
{
    for (unsigned i = w->count; i-- > 0;)
        cancel(w, i, true);
}

void prepare_echo(pool_world *w)
{
    for (uint32_t i = 0; i < 3; i++)
        send(w, pool_task_echo, i, 0, NULL);
}

static void stop(pool_world *w, bool drain)
{
    size_t dropped = 0, cancelled = 0;
    for (unsigned i = 0; i < w->count; i++)
        w->tasks[i].may_cancel = !drain;
    int rc = mproc_pool_stop(w->pool, drain, pool_hard(), &dropped);
    results_take(w);
    for (unsigned i = 0; i < w->count; i++)
        cancelled += w->tasks[i].code == -ECANCELED;
    if (rc < 0 || dropped != cancelled)
        pool_blame(w, FAULT_STOP);
}

void act_stop_drain(pool_world *w)
{
    stop(w, true);
}

void act_stop_cancel(pool_world *w)
{
    stop(w, false);
}

void act_limit(pool_world *w)
{
    send(w, task_hangs, 0, RUN_US, MPROC_WITH(mproc_task_options, .time_limit_ms = 1, .grace_ms = 1));
    results_take(w);
}

/* Once, if it may be tried again. */
static int task_dies(mproc_call *call)
{
    if (mproc_call_attempt(call) == 1)
        raise(SIGKILL);
    return pool_task_echo(call);
}

static void death(pool_world *w, unsigned retries)
{
    send(w, task_dies, 0, 0, MPROC_WITH(mproc_task_options, .retries = retries));
    w->tasks[0].dies = true;
    for (uint32_t i = 1; i < 3; i++)
        send(w, pool_task_echo, 2 * i, 0, NULL);
    results_take(w);
}

void act_death(pool_world *w)
{
    death(w, 0);
}

void act_death_retried(pool_world *w)
{
    death(w, 2);
}
/* ---- after others ---- */

/* What it comes after in act_after has ended. */
static int task_ordered(mproc_call *call)
{
    static const unsigned after[] = {0, 1, 1, 6};
    pool_ledger_shared *ledger = mproc_call_self(call);
    size_t size = 0;
    const pool_letter *letter = mproc_call_bytes(call, 0, &size);
    for (unsigned k = 0; letter->number < MPROC__COUNT(after) && k < letter->number; k++)
        if ((after[letter->number] >> k & 1) && atomic_load(&ledger->entries[k].ended) == 0)
            return mproc_call_fail(call, -EPROTO, "it was begun too early");
    return pool_task_echo(call);
}

static void send_after(pool_world *w, mproc_fn *fn, unsigned after, mproc_task_options options)
{
    mproc_future *first[POOL_SCENE_TASKS];
    unsigned i = w->count;
    options.size = sizeof(options);
    options.after = first;
    for (unsigned k = 0; k < i; k++)
        if (after >> k & 1)
            first[options.after_count++] = w->tasks[k].future;
    send(w, fn, i, 0, &options);
    w->tasks[i].after = after;
    w->tasks[i].anyhow = options.even_if_failed;
}

/* The last one is looked at first: what is before it goes on without its owner. */
static void results_take_back(pool_world *w)
{
    for (unsigned i = w->count; i-- > 0;)
        result_take(w, i);
}

/* Two after one, one after those two, and one that runs in any case. */
static void after(pool_world *w, unsigned retries)
{
    static const unsigned before[] = {0, 1, 1, 6};
    for (unsigned i = 0; i < MPROC__COUNT(before); i++)
        send_after(w, task_ordered, before[i], (mproc_task_options){.retries = retries});
    send_after(w, pool_task_echo, 8, (mproc_task_options){.retries = retries, .even_if_failed = true});
    results_take_back(w);
}

void act_after(pool_world *w)
{
    after(w, 0);
}

void act_after_retried(pool_world *w)
{
    after(w, 2);
}

void act_after_death(pool_world *w)
{
    send(w, task_dies, 0, 0, NULL);
    w->tasks[0].dies = true;
    send_after(w, pool_task_echo, 1, (mproc_task_options){.size = 0});
    send_after(w, pool_task_echo, 2, (mproc_task_options){.even_if_failed = true});
    results_take_back(w);
}

/* What is busy, and the first of those that wait for it, are cancelled. */
void act_after_cancel(pool_world *w)
{
    unsigned first = w->count;
    send_after(w, pool_task_echo, 1, (mproc_task_options){.size = 0});
    send_after(w, pool_task_echo, 1u << first, (mproc_task_options){.even_if_failed = true});
    send_after(w, pool_task_echo, 1, (mproc_task_options){.size = 0});
    cancel(w, first, false);
    cancel(w, 0, true);
    for (unsigned i = w->count; i-- > 1;)
        if (i != first)
            result_take(w, i);
}
