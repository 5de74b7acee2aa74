/* SPDX-License-Identifier: BSD-2-Clause */
/* A worker's life: join, initializer, work, sleep, leave. */
#include "platform/base.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/death.h"
#include "pool/worker.h"

/* ---- what tasks see ---- */

static bool call_stopping(const mproc_call *call)
{
    const mproc__worker *worker = call->runner;
    const mproc__pool_shared *shared = worker->view->shared;
    if (atomic_load_explicit(&shared->state, memory_order_relaxed) >= MPROC__POOL_STOPPING)
        return true;
    if (worker->limit_ns && mproc__now_ns() >= worker->limit_ns)
        return true;
    if (worker->map)
        return atomic_load_explicit(&worker->map->state, memory_order_relaxed) != MPROC__MAP_ACTIVE ||
               (atomic_load_explicit(&worker->desk->run, memory_order_relaxed) & 3) > MPROC__RUN_BUSY;
    return worker->task && mproc__task_load(&worker->task->word).state != MPROC__TASK_RUNNING;
}

static int call_progress(mproc_call *call, uint64_t done, uint64_t total)
{
    const mproc__worker *worker = call->runner;
    if (worker->task) {
        atomic_store_explicit(&worker->task->progress_total, total, memory_order_relaxed);
        atomic_store_explicit(&worker->task->progress_done, done, memory_order_relaxed);
    }
    return 0;
}

void mproc__worker_call_init(mproc__worker *worker, mproc_call *call, mproc_variant args)
{
    mproc__call_init(call, args);
    call->self = worker->self;
    call->attempt = 1;
    call->stopping = call_stopping;
    call->progress = call_progress;
    call->runner = worker;
}

int mproc__worker_function(mproc__worker *worker, uint32_t number, mproc_fn **ret_fn)
{
    if (number >= MPROC__POOL_FUNCTIONS)
        return mproc__fail(MPROC_ECORRUPT, "a task names function %u", (unsigned)number);
    int rc = 0;
    if (!worker->functions[number]) {
        const mproc__function_shared *known = &worker->view->shared->functions[number];
        if (known->address)
            worker->functions[number] = (mproc_fn *)(uintptr_t)known->address;
        else
            rc = mproc__function_unpack(&known->id, &worker->functions[number]);
    }
    *ret_fn = worker->functions[number];
    return rc;
}

/* The limit is stored, then the supervisor's next look is read; the supervisor stores the time of that look, then reads
 * the limits: one of the two sees the other. */
void mproc__worker_limit(mproc__worker *worker, uint32_t time_limit_ms)
{
    mproc__pool_shared *shared = worker->view->shared;
    if (time_limit_ms == 0 && worker->limit_ns == 0)
        return;
    worker->limit_ns = time_limit_ms ? mproc__now_ns() + (int64_t)time_limit_ms * 1000000 : 0;
    atomic_store(&worker->desk->limit_ns, worker->limit_ns);
    if (worker->limit_ns && worker->limit_ns < atomic_load(&shared->supervisor_wakes_ns))
        mproc__pool_post(worker->view, &shared->command);
}

/* ---- begin ---- */

/* Signs the desk: from here a death is found by the row. */
static int worker_join(mproc__worker *worker, unsigned life)
{
    int row = mproc__segment_join(worker->view->segment);
    if (row < 0)
        return row;
    mproc__worker_word starting = mproc__worker_load(worker->desk), signed_in = starting;
    signed_in.row = (unsigned)row + 1;
    signed_in.pid = worker->view->threads ? mproc__tid() : mproc__pid();
    worker->word = signed_in;
    if (starting.state != MPROC__WORKER_STARTING || starting.life != life || starting.row != 0 ||
        !mproc__worker_swap(worker->desk, starting, signed_in))
        return mproc__fail(MPROC_ESTATE, "worker %u is not expected", worker->index);
    return 0;
}

static void initializer_failed(mproc__worker *worker, int code, const char *text)
{
    mproc__breakage_shared reason = {.code = code, .worker = worker->index, .pid = worker->word.pid};
    snprintf(reason.text, sizeof reason.text, "initializer failed in worker %u: %.240s", worker->index,
             text[0] ? text : mproc_strerror(code));
    mproc__pool_break(worker->view, &reason);
}

static bool worker_initialize(mproc__worker *worker, mproc_fn *initializer, mproc_variant args)
{
    if (!initializer)
        return true;
    mproc_call *call = calloc(1, sizeof *call);
    if (!call) {
        initializer_failed(worker, -ENOMEM, "");
        return false;
    }
    mproc__worker_call_init(worker, call, args);
    int rc = mproc__call_run(call, initializer);
    mproc__worker_stay(worker);
    if (rc != 0)
        initializer_failed(worker, rc, call->story.text);
    worker->self = call->self;
    mproc__call_fini(call);
    free(call);
    return rc == 0;
}

static bool worker_state_swap(mproc__worker *worker, mproc__worker_state state)
{
    mproc__worker_word next = worker->word;
    next.state = state;
    bool swapped = mproc__worker_swap(worker->desk, worker->word, next);
    worker->word = next;
    return swapped;
}

/* ---- serve ---- */

static bool worker_ended(const mproc__worker *worker)
{
    const mproc__pool_shared *shared = worker->view->shared;
    return worker->leave || worker->index >= atomic_load_explicit(&shared->wanted, memory_order_acquire) ||
           atomic_load_explicit(&shared->state, memory_order_acquire) >= MPROC__POOL_QUIT ||
           mproc__pool_broken(worker->view) ||
           (shared->plan.tasks_per_worker && worker->turns >= shared->plan.tasks_per_worker);
}

static bool worker_waiting(const mproc__worker *worker)
{
    return worker_ended(worker) || mproc__worker_task_waiting(worker) || mproc__worker_map_waiting(worker);
}

/* One worker at a time: with two of them and the submitter, who waits for a result, three would spin on two processors, and
 * a task handed over and back took 5 us instead of 1. */
static bool worker_spin(mproc__worker *worker)
{
    _Atomic uint32_t *spinner = &worker->view->shared->spinner;
    unsigned spins = mproc__spin_budget();
    uint32_t nobody = 0, mine = worker->index + 1;
    if (spins == 0 || !atomic_compare_exchange_strong(spinner, &nobody, mine))
        return worker_waiting(worker);
    for (; spins > 0 && !worker_waiting(worker); spins--)
        mproc__spin_once(spins);
    return !atomic_compare_exchange_strong(spinner, &mine, 0) || worker_waiting(worker);
}

static void worker_sleep(mproc__worker *worker)
{
    mproc__eventcount_shared *work = &worker->view->shared->work;
    if (worker_spin(worker))
        return;
    mproc__worker_maps_close(worker);
    mproc__borrow_trim(&worker->borrower);
    uint32_t ticket = mproc__eventcount_prepare(work);
    if (!worker_waiting(worker))
        (void)mproc__segment_wait(worker->view->segment, work, ticket, MPROC_FOREVER);
}

static void worker_loop(mproc__worker *worker)
{
    while (!worker_ended(worker)) {
        if (mproc__worker_task(worker) || mproc__worker_map(worker))
            worker->turns++;
        else
            worker_sleep(worker);
    }
    mproc__pool_post(worker->view,
                     &worker->view->shared->work); /* a task may have been left to this worker's spin */
}

void mproc__worker_serve(mproc__pool_view *view, unsigned index, unsigned life, mproc_fn *initializer,
                         mproc_variant args)
{
    mproc__worker *worker = calloc(1, sizeof *worker);
    if (!worker) {
        mproc__breakage_shared reason = {.code = -ENOMEM, .worker = index, .text = "no memory for a worker"};
        mproc__pool_break(view, &reason);
        return;
    }
    worker->view = view;
    worker->borrower.view = view;
    worker->index = index;
    worker->desk = &view->shared->workers[index];
    worker->incarnation = mproc__incarnation();
    worker->incarnation_word = mproc__incarnation_word();
    if (worker_join(worker, life) == 0) {
        if (worker_initialize(worker, initializer, args) && worker_state_swap(worker, MPROC__WORKER_READY)) {
            atomic_fetch_add(&view->shared->ready_workers, 1);
            mproc__pool_post(view, &view->shared->done);
            worker_loop(worker);
        }
        worker_state_swap(worker, MPROC__WORKER_LEAVING);
    }
    mproc__worker_maps_close(worker);
    mproc__borrow_end(&worker->borrower);
    free(worker);
    mproc__pool_post(view, &view->shared->command);
    mproc__pool_post(view, &view->shared->done);
}
