/* SPDX-License-Identifier: BSD-2-Clause */
/* Futures: settled by whoever looks at them next after the task has ended. Nothing runs on their behalf. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/death.h"
#include "pool/future.h"
#include "pool/payload.h"
#include "pool/reports.h"

enum { WHY_MS = 25 }; /* how long mproc_future_result waits for the reason of a death it already knows of */

/* ---- life ---- */

static void future_detach(mproc_future *future)
{
    mproc__pool_core *core = future->core;
    if (future->map && !atomic_load(&future->settled))
        mproc__map_abandon(future);
    pthread_mutex_lock(&core->lock);
    if (!atomic_load(&future->settled) && !future->map && core->futures[future->slot] == future)
        core->futures[future->slot] = NULL; /* the task goes on */
    pthread_mutex_unlock(&core->lock);
}

static void future_destroy(mproc__handle *handle)
{
    mproc_future *future = MPROC__CONTAINER(handle, mproc_future, handle);
    mproc__pool_core *core = future->core;
    if (core->incarnation == mproc__incarnation())
        future_detach(future);
    mproc_variant_clear(&future->result);
    mproc__reports_free(future->reports);
    free(future->label);
    free(future->map);
    mproc__handle_fini(&future->handle);
    free(future);
    mproc__core_release(core);
}

static const char *state_name(mproc_future_state state)
{
    static const char *const names[] = {"pending", "running", "done", "failed", "cancelled"};
    return names[state];
}

static int future_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc_future *future = MPROC__CONTAINER(handle, const mproc_future, handle);
    mproc_future_state state = mproc_future_get_state(future);
    if (state == MPROC_FUTURE_FAILED)
        return snprintf(buffer, size_bytes, "future %llu failed (%s)", (unsigned long long)future->number,
                        mproc_errname(future->code));
    return snprintf(buffer, size_bytes, "future %llu %s", (unsigned long long)future->number,
                    state_name(state));
}

static const mproc__handle_ops future_ops = {
    .type = MPROC_TYPE_FUTURE, .noun = "future", .destroy = future_destroy, .describe = future_describe};

int mproc__future_new(mproc__pool_core *core, const char *label, mproc_future **ret_future)
{
    mproc_future *future = calloc(1, sizeof *future);
    char *copy = label ? strdup(label) : NULL;
    if (!future || (label && !copy)) {
        free(future);
        free(copy);
        return mproc__fail(-ENOMEM, "no memory for a future");
    }
    mproc__handle_init(&future->handle, &future_ops);
    future->core = core;
    future->label = copy;
    future->attempt = 1;
    mproc__core_keep(core);
    *ret_future = future;
    return 0;
}

void mproc_future_close(mproc_future **future)
{
    mproc__handle_close((void **)future, MPROC_TYPE_FUTURE);
}

/* ---- settling; core->lock held ---- */

void mproc__future_settle(mproc_future *future, mproc_future_state state, int code)
{
    future->state = state;
    future->code = code;
    if (code != 0)
        (void)mproc__handle_story(&future->handle, code);
    atomic_store_explicit(&future->settled, true, memory_order_release);
}

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
    mproc__fail_number(MPROC_ERROR_USER_US, why->user_us);
    mproc__fail_number(MPROC_ERROR_SYSTEM_US, why->system_us);
    mproc__fail_number(MPROC_ERROR_MAX_RSS_KIB, why->max_rss_kib);
}

/* In two stages: dead, and when the kernel has told, why. */
static void story_of_death(mproc_future *future)
{
    char title[128], end[96], before[160];
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
    task_title(future, title, sizeof title);
    if (future->batch)
        mproc__batch_take(future->batch, &future->core->view, task, word);
    if (word.state == MPROC__TASK_DONE) {
        settle_done(future, task, word);
    } else if (word.state == MPROC__TASK_DIED) {
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

/* ---- looking ---- */

/* Past the time to begin by. */
static bool task_late(const mproc_future *future)
{
    return MPROC__UNLIKELY(future->begin_by_ns != 0) && mproc__now_ns() >= future->begin_by_ns;
}

static void task_look(mproc_future *future)
{
    mproc__pool_core *core = future->core;
    _Atomic uint64_t *at = &core->view.slots[future->slot].word;
    if (task_late(future))
        (void)mproc__task_forgo(at, future->serial);
    mproc__task_word word = mproc__task_load(at);
    if (mproc__task_final(word.state)) {
        mproc__slot_harvest(core, future->slot);
    } else if (atomic_load(&core->ended) || mproc__pool_broken(&core->view)) {
        core->futures[future->slot] = NULL;
        mproc__future_settle_lost(future);
    }
}

/* Without the lock: nothing to be done for it yet. */
static bool task_goes_on(const mproc_future *future)
{
    const mproc__pool_core *core = future->core;
    if (future->map || atomic_load(&core->ended) || mproc__pool_broken(&core->view))
        return false;
    mproc__task_word word = mproc__task_load(&core->view.slots[future->slot].word);
    return word.serial == future->serial && !mproc__task_final(word.state) &&
           !(word.state == MPROC__TASK_READY && task_late(future));
}

bool mproc__future_look(mproc_future *future)
{
    if (atomic_load_explicit(&future->settled, memory_order_acquire))
        return true;
    pthread_mutex_lock(&future->core->lock);
    if (!atomic_load(&future->settled)) {
        if (future->map)
            mproc__map_look(future);
        else
            task_look(future);
    }
    bool settled = atomic_load(&future->settled);
    pthread_mutex_unlock(&future->core->lock);
    return settled;
}

/* ---- waiting ---- */

/* A worker with a large result waits for a block: take what has ended out of the arena. */
static void room_serve(mproc__pool_core *core)
{
    if (!atomic_load_explicit(&core->view.shared->room_wanted, memory_order_relaxed))
        return;
    pthread_mutex_lock(&core->lock);
    mproc__slots_harvest(core);
    pthread_mutex_unlock(&core->lock);
}

static bool future_spin(mproc_future *future)
{
    for (unsigned spins = mproc__spin_budget(); spins > 0 && task_goes_on(future); spins--)
        mproc__pause();
    return mproc__future_look(future);
}

static int future_sleep(mproc_future *future, mproc_deadline deadline)
{
    mproc__pool_core *core = future->core;
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&core->view.shared->done);
        room_serve(core);
        if (mproc__future_look(future))
            return 0;
        if (mproc__deadline_past(deadline))
            return mproc__fail_plain(-ETIMEDOUT);
        bool late_first = future->begin_by_ns > mproc__now_ns() && future->begin_by_ns < deadline.ns;
        int rc =
            mproc__core_wait(core, ticket, late_first ? (mproc_deadline){future->begin_by_ns} : deadline);
        if (rc == -EDEADLK)
            return rc;
    }
}

int mproc__future_await(mproc_future *future, mproc_deadline deadline)
{
    if (mproc__future_look(future))
        return 0;
    if (mproc__deadline_past(deadline))
        return mproc__fail_plain(-ETIMEDOUT);
    if (future_spin(future))
        return 0;
    int slot = mproc__waiting_begin(future->core->view.segment, MPROC__WAIT_RESULT);
    int rc = future_sleep(future, deadline);
    mproc__waiting_end(future->core->view.segment, slot);
    return rc;
}

static int future_check(const mproc_future *future)
{
    int rc = mproc__handle_check(future, MPROC_TYPE_FUTURE);
    return rc < 0 ? rc : mproc__core_check(future->core);
}

int mproc_future_wait(mproc_future *future, mproc_deadline deadline)
{
    int rc = future_check(future);
    return rc < 0 ? rc : mproc__future_await(future, deadline);
}

/* ---- result ---- */

static bool why_known(mproc_future *future)
{
    pthread_mutex_lock(&future->core->lock);
    if (future->why_open) {
        story_of_death(future);
        (void)mproc__handle_story(&future->handle, MPROC_EDIED);
    }
    bool known = !future->why_open;
    pthread_mutex_unlock(&future->core->lock);
    return known;
}

static void why_wait(mproc_future *future, mproc_deadline deadline)
{
    mproc__pool_view *view = &future->core->view;
    mproc_deadline limit = mproc_after_ms(WHY_MS);
    if (deadline.ns < limit.ns)
        limit = deadline;
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&view->shared->done);
        if (why_known(future) || mproc__deadline_past(limit))
            return;
        (void)mproc__core_wait(future->core, ticket, limit);
    }
}

int mproc_future_result(mproc_future *future, mproc_deadline deadline, mproc_variant *ret_borrowed)
{
    int rc = future_check(future);
    if (rc == 0)
        rc = mproc__future_await(future, deadline);
    if (rc < 0)
        return rc;
    if (future->code == 0) {
        if (ret_borrowed)
            *ret_borrowed = future->result;
        return 0;
    }
    why_wait(future, deadline);
    const mproc_error *story = mproc_error_of(future);
    if (story)
        mproc__story_copy(story, mproc__story());
    return future->code;
}

/* ---- the rest ---- */

mproc_future_state mproc_future_get_state(const mproc_future *future)
{
    mproc_future *seen = (mproc_future *)future;
    if (future_check(future) < 0)
        return MPROC_FUTURE_FAILED;
    mproc__core_guard(seen->core);
    if (mproc__future_look(seen))
        return seen->state;
    if (seen->map)
        return mproc__map_started(seen) ? MPROC_FUTURE_RUNNING : MPROC_FUTURE_PENDING;
    mproc__task_word word = mproc__task_load(&seen->core->view.slots[seen->slot].word);
    if (word.serial != seen->serial &&
        mproc__future_look(seen)) /* another thread has taken the outcome just now */
        return seen->state;
    return word.state == MPROC__TASK_READY ? MPROC_FUTURE_PENDING : MPROC_FUTURE_RUNNING;
}

int mproc_future_progress(const mproc_future *future, uint64_t *ret_done, uint64_t *ret_total)
{
    mproc_future *seen = (mproc_future *)future;
    int rc = future_check(future);
    if (rc < 0)
        return rc;
    if (mproc__future_look(seen)) {
        *ret_done = seen->progress_done;
        *ret_total = seen->progress_total;
    } else if (seen->map) {
        mproc__map_progress(seen, ret_done, ret_total);
    } else {
        const mproc__task_shared *task = &seen->core->view.slots[seen->slot];
        *ret_done = atomic_load_explicit(&task->progress_done, memory_order_relaxed);
        *ret_total = atomic_load_explicit(&task->progress_total, memory_order_relaxed);
    }
    return 0;
}

static int cancel_refused(mproc_future *future, int rc)
{
    if (rc == -EBUSY)
        return mproc__fail(-EBUSY, "it runs; cancel with even_if_running to stop it");
    if (future->state == MPROC_FUTURE_CANCELLED)
        return 0;
    return mproc__fail(MPROC_ESTATE, "it has ended");
}

int mproc_future_cancel(mproc_future *future, bool even_if_running)
{
    int rc = future_check(future);
    if (rc < 0)
        return rc;
    mproc__pool_core *core = future->core;
    if (mproc__future_look(future))
        return cancel_refused(future, -EALREADY);
    pthread_mutex_lock(&core->lock);
    if (atomic_load(&future->settled))
        rc = -EALREADY;
    else if (future->map)
        rc = mproc__map_cancel(future, even_if_running);
    else
        rc = mproc__task_cancel(&core->view.slots[future->slot].word, future->serial, even_if_running);
    pthread_mutex_unlock(&core->lock);
    if (rc < 0 && (rc == -EBUSY || mproc__future_look(future)))
        return cancel_refused(future, rc);
    mproc__pool_post(&core->view, &core->view.shared->command);
    mproc__pool_post(&core->view, &core->view.shared->room);
    mproc__pool_post(&core->view, &core->view.shared->done);
    return 0;
}
