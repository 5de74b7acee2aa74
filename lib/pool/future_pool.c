/* SPDX-License-Identifier: BSD-2-Clause */
/* Futures of a pool: what came of a task or a map. Settled by whoever looks at them next after the end. */
#include "platform/base.h"

#include <stdio.h>

#include "pool/after.h"
#include "pool/death.h"
#include "pool/future.h"
#include "pool/payload.h"
#include "pool/reports.h"

/* ---- stories ---- */

static void task_title(const mproc_future *future, char *buffer, size_t size_bytes)
{
    snprintf(buffer, size_bytes, "task %llu%s%.60s%s", (unsigned long long)future->number,
             future->label ? " (" : "", future->label ? future->label : "", future->label ? ")" : "");
}

static void task_numbers(const mproc_future *future)
{
    mproc__fail_number(MPROC_ERROR_TASK, (int64_t)future->number);
    mproc__fail_number(MPROC_ERROR_ATTEMPT, future->attempt);
}

static void certificate_numbers(const mproc__certificate_shared *why)
{
    mproc__fail_number(MPROC_ERROR_PID, why->pid);
    if (why->exit_code < 0)
        mproc__fail_number(MPROC_ERROR_SIGNAL, -why->exit_code);
    else
        mproc__fail_number(MPROC_ERROR_EXIT_CODE, why->exit_code);
    if (mproc__certificate_oom(why))
        mproc__fail_number(MPROC_ERROR_OOM, 1);
    mproc__fail_number(MPROC_ERROR_USER_US, why->user_us);
    mproc__fail_number(MPROC_ERROR_SYSTEM_US, why->system_us);
    mproc__fail_number(MPROC_ERROR_MAX_RSS_KIB, why->max_rss_kib);
}

/* In two stages: dead, and when the kernel has told, why. */
static void story_of_death(mproc_future *future)
{
    char title[128], end[MPROC__END_TEXT], before[160];
    mproc__certificate_shared why;
    bool known = mproc__certificate_read(&future->core->view, future->worker, future->life, &why);
    (void)mproc__reports_text(future, before, sizeof before);
    task_title(future, title, sizeof title);
    if (known)
        mproc__certificate_tell(&why, end, sizeof end);
    if (known)
        mproc__fail(MPROC_EDIED, "%s, attempt %u: worker %u (pid %d) %s%s", title, future->attempt,
                    future->worker, (int)why.pid, end, before);
    else
        mproc__fail(MPROC_EDIED, "%s, attempt %u: worker %u died%s", title, future->attempt, future->worker,
                    before);
    task_numbers(future);
    if (known)
        certificate_numbers(&why);
    future->why_open = !known;
}

static void story_of_failure(const mproc_future *future, const mproc__task_shared *task,
                             mproc__task_word word)
{
    char title[128];
    const char *text = task->result.kind == MPROC__PAYLOAD_STORY ? (const char *)task->result.bytes : "";
    task_title(future, title, sizeof title);
    mproc__fail(task->code, "%s%s%s in worker %u, attempt %u", text[0] ? text : mproc_strerror(task->code),
                ": ", title, word.worker, word.attempt);
    task_numbers(future);
}

static void settle_done(mproc_future *future, mproc__task_shared *task, mproc__task_word word)
{
    int code = future->batch ? 0 : task->code; /* a batch tells of its items itself */
    if (code != 0) {
        story_of_failure(future, task, word);
    } else if (!future->batch) {
        code = mproc__payload_load(&future->core->view, &task->result, &future->result);
        if (future->core->view.threads)
            task->result.kind = MPROC__PAYLOAD_NONE; /* the variant itself moved */
    }
    mproc__future_settle(future, code == 0 ? MPROC_FUTURE_DONE : MPROC_FUTURE_FAILED, code);
}

void mproc__future_settle_task(mproc_future *future, mproc__task_shared *task, mproc__task_word word)
{
    char title[128];
    future->worker = word.worker;
    future->life = word.life;
    future->attempt = word.attempt;
    future->progress_done = atomic_load_explicit(&task->progress_done, memory_order_relaxed);
    future->progress_total = atomic_load_explicit(&task->progress_total, memory_order_relaxed);
    if (future->batch)
        mproc__batch_take(future->batch, &future->core->view, task, word);
    if (word.state == MPROC__TASK_DONE) {
        settle_done(future, task, word);
        return;
    }
    task_title(future, title, sizeof title);
    if (word.state == MPROC__TASK_DIED) {
        story_of_death(future);
        mproc__future_settle(future, MPROC_FUTURE_FAILED, MPROC_EDIED);
    } else if (word.state == MPROC__TASK_EXPIRED) {
        if (word.reason == MPROC__TASK_BY_LIMIT)
            mproc__fail(-ETIME, "%s was stopped after its time limit of %u ms", title,
                        (unsigned)task->time_limit_ms);
        else
            mproc__fail(-ETIME, "%s could not begin by the time that it was given", title);
        task_numbers(future);
        mproc__future_settle(future, MPROC_FUTURE_FAILED, -ETIME);
    } else {
        mproc__fail(-ECANCELED, "%s was cancelled", title);
        task_numbers(future);
        mproc__future_settle(future, MPROC_FUTURE_CANCELLED, -ECANCELED);
    }
}

void mproc__future_settle_lost(mproc_future *future)
{
    if (!atomic_load(&future->core->ended) && mproc__pool_broken(&future->core->view)) {
        int code = mproc__core_breakage(future->core);
        mproc__future_settle(future, MPROC_FUTURE_FAILED, code);
    } else {
        mproc__fail(-ECANCELED, "the pool ended first");
        mproc__future_settle(future, MPROC_FUTURE_CANCELLED, -ECANCELED);
    }
}

bool mproc__future_why(mproc_future *future)
{
    pthread_mutex_lock(future->home->lock);
    if (future->why_open) {
        story_of_death(future);
        (void)mproc__handle_story(&future->handle, MPROC_EDIED);
    }
    bool known = !future->why_open;
    pthread_mutex_unlock(future->home->lock);
    return known;
}

/* ---- tasks ---- */

static mproc__task_word task_word(const mproc_future *future)
{
    return mproc__task_load(&future->core->view.slots[future->slot].word);
}

static bool core_over(const mproc__pool_core *core)
{
    return atomic_load(&core->ended) || mproc__pool_broken(&core->view);
}

/* Past the time to begin by. */
static bool task_late(const mproc_future *future)
{
    return MPROC__UNLIKELY(future->begin_by_ns != 0) && mproc__now_ns() >= future->begin_by_ns;
}

static bool is_queued(mproc__task_state state)
{
    return state == MPROC__TASK_READY || state == MPROC__TASK_WAITING;
}

static bool task_goes_on(const mproc_future *future)
{
    mproc__task_word word = task_word(future);
    return word.serial == future->serial && !mproc__task_final(word.state) &&
           !(is_queued(word.state) && task_late(future)) && !core_over(future->core);
}

/* Whether the pool is over is asked first: a death that is followed by a start that fails ends the task, then the pool. */
static void task_look(mproc_future *future)
{
    mproc__pool_core *core = future->core;
    bool over = core_over(core);
    if (task_late(future))
        (void)mproc__task_forgo(&core->view.slots[future->slot].word, future->serial);
    if (mproc__task_final(task_word(future).state)) {
        mproc__slot_harvest(core, future->slot);
    } else if (over) {
        if (core->futures[future->slot] == future)
            core->futures[future->slot] = NULL;
        mproc__future_settle_lost(future);
    }
}

static mproc_future_state task_state(const mproc_future *future)
{
    return is_queued(task_word(future).state) ? MPROC_FUTURE_PENDING : MPROC_FUTURE_RUNNING;
}

static void task_progress(const mproc_future *future, uint64_t *ret_done, uint64_t *ret_total)
{
    const mproc__task_shared *task = &future->core->view.slots[future->slot];
    *ret_done = atomic_load_explicit(&task->progress_done, memory_order_relaxed);
    *ret_total = atomic_load_explicit(&task->progress_total, memory_order_relaxed);
}

static void cancel_tell(mproc__pool_core *core)
{
    mproc__pool_post(&core->view, &core->view.shared->command);
    mproc__pool_post(&core->view, &core->view.shared->room);
    mproc__pool_post(&core->view, &core->view.shared->done);
}

static int task_cancel(mproc_future *future, bool even_if_running)
{
    mproc__pool_core *core = future->core;
    int rc = mproc__task_cancel(&core->view.slots[future->slot].word, future->serial, even_if_running);
    if (rc == 0) {
        mproc__after_tell_again(&core->view, future->slot);
        cancel_tell(core);
    }
    return rc;
}

/* The task goes on. What comes of it nobody will ask, unless there are callbacks. */
static void task_abandon(mproc_future *future, bool callbacks)
{
    mproc__pool_core *core = future->core;
    if (callbacks)
        return;
    pthread_mutex_lock(&core->lock);
    if (!atomic_load(&future->settled) && core->futures[future->slot] == future)
        core->futures[future->slot] = NULL;
    atomic_store(&future->settled, true);
    pthread_mutex_unlock(&core->lock);
}

const mproc__future_kind mproc__future_task = {.noun = "task",
                                               .goes_on = task_goes_on,
                                               .look = task_look,
                                               .state = task_state,
                                               .progress = task_progress,
                                               .cancel = task_cancel,
                                               .abandon = task_abandon};

/* ---- maps ---- */

static bool map_goes_on(const mproc_future *future)
{
    const mproc__pool_core *core = future->core;
    const mproc__map_shared *map = &core->view.shared->maps[future->map->index];
    return atomic_load_explicit(&map->state, memory_order_acquire) == MPROC__MAP_ACTIVE &&
           atomic_load_explicit(&map->deaths, memory_order_acquire) == 0 &&
           atomic_load_explicit(&map->finished_granules, memory_order_acquire) <
               atomic_load_explicit(&map->granules, memory_order_relaxed) &&
           !core_over(core);
}

static mproc_future_state map_state(const mproc_future *future)
{
    return mproc__map_started(future) ? MPROC_FUTURE_RUNNING : MPROC_FUTURE_PENDING;
}

static int map_cancel(mproc_future *future, bool even_if_running)
{
    int rc = mproc__map_cancel(future, even_if_running);
    if (rc == 0)
        cancel_tell(future->core);
    return rc;
}

static void map_abandon(mproc_future *future, bool callbacks)
{
    (void)callbacks;
    mproc__map_abandon(future);
}

const mproc__future_kind mproc__future_map = {.noun = "map",
                                              .goes_on = map_goes_on,
                                              .look = mproc__map_look,
                                              .state = map_state,
                                              .progress = mproc__map_progress,
                                              .cancel = map_cancel,
                                              .abandon = map_abandon};
