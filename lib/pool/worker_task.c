/* SPDX-License-Identifier: BSD-2-Clause */
/* A worker finds one task, runs it and hands over what came of it. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>

#include "pool/after.h"
#include "pool/death.h"
#include "pool/extra.h"
#include "pool/payload.h"
#include "pool/worker.h"

/* ---- finding ---- */

/* The desk names the slot first: a death between the two is then a death without a task. */
static bool slot_claim(mproc__worker *worker, uint32_t slot)
{
    mproc__task_shared *task = &worker->view->slots[slot];
    atomic_store_explicit(&worker->desk->slot, slot + 1, memory_order_release);
    if (mproc__task_claim(&task->word, worker->index, worker->word.life, &worker->claimed)) {
        worker->task = task;
        return true;
    }
    atomic_store_explicit(&worker->desk->slot, 0, memory_order_release);
    return false;
}

/* What no ring names. A search goes on where the last task was found, lest ten thousand of them cost a search each; what
 * becomes ready behind it has changed the epoch. */
static bool slots_search(mproc__worker *worker)
{
    mproc__pool_shared *shared = worker->view->shared;
    uint32_t epoch = atomic_load(&shared->rescan);
    if (epoch == worker->rescan_seen)
        return false;
    if (epoch != worker->rescan_under)
        worker->rescan_cursor = 0;
    worker->rescan_under = epoch;
    uint32_t used = atomic_load_explicit(&shared->slots_used, memory_order_acquire);
    for (; worker->rescan_cursor < used; worker->rescan_cursor++) {
        uint32_t slot = worker->rescan_cursor;
        if (mproc__task_load(&worker->view->slots[slot].word).state == MPROC__TASK_READY &&
            slot_claim(worker, slot))
            return true;
    }
    worker->rescan_seen = epoch;
    return false;
}

static bool task_find(mproc__worker *worker)
{
    uint32_t slot;
    while (mproc__ready_pop(worker->view, &slot))
        if (slot < worker->view->shared->plan.slot_count && slot_claim(worker, slot))
            return true;
    return slots_search(worker);
}

bool mproc__worker_task_waiting(const mproc__worker *worker)
{
    return mproc__ready_any(worker->view) ||
           atomic_load(&worker->view->shared->rescan) != worker->rescan_seen;
}

/* ---- the result ---- */

static bool task_stopped(const mproc__worker *worker)
{
    return mproc__task_load(&worker->task->word).state != MPROC__TASK_RUNNING ||
           atomic_load(&worker->view->shared->state) >= MPROC__POOL_QUIT;
}

/* Results wait for room as arguments do; callers that wait for anything make room (mproc__slots_make_room). Who frees a block
 * looks at room_wanted after it: hence tried again once that is said. */
static int result_wait(mproc__worker *worker, uint32_t slot, mproc_variant result)
{
    mproc__pool_shared *shared = worker->view->shared;
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&shared->room);
        atomic_store(&shared->room_wanted, 1);
        int rc = mproc__payload_store(worker->view, slot, result, &worker->task->result);
        if (rc != -ENOSPC || task_stopped(worker))
            return rc;
        mproc__pool_post(worker->view, &shared->done);
        (void)mproc__segment_wait(worker->view->segment, &shared->room, ticket, MPROC_FOREVER);
    }
}

static int result_store(mproc__worker *worker, mproc_variant result)
{
    uint32_t slot = (uint32_t)(worker->task - worker->view->slots);
    int rc = mproc__payload_store(worker->view, slot, result, &worker->task->result);
    return rc == -ENOSPC ? result_wait(worker, slot, result) : rc;
}

void mproc__worker_outcome(mproc__worker *worker, int rc, const mproc_call *call)
{
    mproc__task_shared *task = worker->task;
    const char *text = call->story.text;
    if (rc == 0 && (rc = result_store(worker, call->result)) < 0)
        text = mproc__story()->text;
    if (rc != 0)
        mproc__payload_store_text(&task->result, text);
    atomic_store_explicit(&task->code, rc, memory_order_relaxed);
}

/* Late is late, also where the task has looked at the clock (mproc_call_stopping) sooner than the supervisor. */
static void task_end(mproc__worker *worker)
{
    mproc__pool_view *view = worker->view;
    if (worker->limit_ns && mproc__now_ns() >= worker->limit_ns)
        (void)mproc__task_expire(&worker->task->word, worker->claimed);
    mproc__worker_limit(worker, 0);
    bool done = worker->task->code == 0; /* it may be another's as soon as it has ended */
    if (!mproc__task_finish(&worker->task->word, worker->claimed)) {
        mproc__payload_clear(view, &worker->task->result);
        mproc__pool_bury_work(view, worker->index, worker->word);
        worker->leave = !view->threads; /* a signal may be on its way */
    } else if (MPROC__UNLIKELY(atomic_load(&worker->task->edges_then) != 0)) {
        mproc__after_tell(view, (uint32_t)(worker->task - view->slots), worker->claimed, done);
    }
    worker->task = NULL;
    _Atomic uint64_t *completed = &worker->desk->completed; /* nobody else's: no need for a locked addition */
    atomic_store_explicit(completed, atomic_load_explicit(completed, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_store_explicit(&worker->desk->slot, 0, memory_order_release);
    mproc__pool_post(view, &view->shared->done);
}

/* ---- one task ---- */

/* What comes after a failure is not run, nor a first attempt that comes too late. */
static int task_begin(mproc__worker *worker, mproc_fn **ret_fn)
{
    const mproc__task_shared *task = worker->task;
    if (MPROC__UNLIKELY(atomic_load_explicit(&task->edges_first, memory_order_relaxed) != 0) &&
        !task->even_if_failed && mproc__after_failed(worker->view, (uint32_t)(task - worker->view->slots)))
        return mproc__fail(MPROC_EAFTER, "one that it comes after has failed");
    if (task->begin_by_ns && worker->claimed.attempt == 1 && mproc__now_ns() >= task->begin_by_ns)
        return mproc__fail(-ETIME, "it could not begin by the time that it was given");
    return mproc__worker_function(worker, task->function, ret_fn);
}

static int call_checkpoint(mproc_call *call, mproc_variant state)
{
    mproc__worker *worker = call->runner;
    uint32_t slot = (uint32_t)(worker->task - worker->view->slots);
    return mproc__checkpoint_keep(worker->view, slot, state, worker->checkpoints);
}

static int task_call(mproc__worker *worker, mproc_call *call, mproc_variant args)
{
    mproc_fn *fn;
    uint32_t slot = (uint32_t)(worker->task - worker->view->slots);
    mproc__worker_call_init(worker, call, args);
    call->attempt = worker->claimed.attempt;
    call->checkpoint = call_checkpoint;
    memset(worker->checkpoints, 0, sizeof worker->checkpoints);
    int rc = task_begin(worker, &fn);
    if (rc == 0 && call->attempt > 1)
        rc = mproc__checkpoint_load(worker->view, slot, &call->resume);
    if (rc == 0) {
        rc = mproc__call_run(call, fn);
        mproc__worker_stay(worker);
        return rc;
    }
    mproc__story_copy(mproc__story(), &call->story);
    return rc;
}

/* What failed before the function could run. */
static void failure_store(mproc__worker *worker, int rc)
{
    atomic_store_explicit(&worker->task->code, rc, memory_order_relaxed);
    mproc__payload_store_text(&worker->task->result, mproc__story()->text);
}

static int args_load(mproc__worker *worker, mproc_variant *ret_args)
{
    mproc__payload_shared *payload = &worker->task->args;
    if (MPROC__LIKELY(payload->kind != MPROC__PAYLOAD_LENT))
        return mproc__payload_load(worker->view, payload, ret_args);
    const void *bytes = mproc__payload_bytes(worker->view, payload);
    if (!bytes)
        return mproc__fail(MPROC_ECORRUPT, "a task names a block that is none");
    mproc__borrow_trim(&worker->borrower);
    return mproc__borrow_variant(&worker->borrower, bytes, payload->size_bytes, ret_args);
}

static void single_run(mproc__worker *worker)
{
    mproc_call call;
    mproc_variant args = mproc_null();
    mproc__worker_limit(worker, worker->task->time_limit_ms);
    int rc = args_load(worker, &args);
    if (rc == 0) {
        rc = task_call(worker, &call, args);
        mproc__worker_outcome(worker, rc, &call);
        mproc_variant_clear(&call.resume);
        mproc__call_fini(&call);
    } else {
        failure_store(worker, rc);
    }
    if (worker->view->threads) /* borrowed; it is not tried again */
        mproc__payload_clear(worker->view, &worker->task->args);
    else
        mproc_variant_clear(&args);
}

static void batch_run(mproc__worker *worker)
{
    mproc_fn *fn;
    int rc = task_begin(worker, &fn);
    if (rc == 0)
        rc = mproc__worker_batch(worker, fn);
    if (rc < 0)
        failure_store(worker, rc);
}

static void task_run(mproc__worker *worker)
{
    if (worker->task->args.kind == MPROC__PAYLOAD_BATCH)
        batch_run(worker);
    else
        single_run(worker);
    task_end(worker);
}

bool mproc__worker_task(mproc__worker *worker)
{
    if (!task_find(worker))
        return false;
    task_run(worker);
    return true;
}
