/* SPDX-License-Identifier: BSD-2-Clause */
/* Pools: made, described, closed. Stopping is in stop.c. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/story.h"
#include "pool/death.h"
#include "pool/future.h"
#include "pool/pool.h"
#include "pool/worker.h"
#include "process/family.h"
#include "process/self.h"

enum { TASKS_DEFAULT = 65536, RESTARTS_DEFAULT = 60, WATCH_MS = 50 };
#define BYTES_DEFAULT ((size_t)256 << 20)

/* ---- core ---- */

void mproc__core_keep(mproc__pool_core *core)
{
    atomic_fetch_add_explicit(&core->references, 1, memory_order_relaxed);
}

void mproc__core_release(mproc__pool_core *core)
{
    if (atomic_fetch_sub_explicit(&core->references, 1, memory_order_acq_rel) != 1)
        return;
    mproc__lend_end(&core->lender);
    mproc__after_end(&core->edges);
    mproc__view_close(&core->view);
    mproc_variant_clear(&core->crew.initializer_args);
    mproc__limits_clear(&core->limits);
    mproc__supervisor_leave(core->pidfd);
    pthread_mutex_destroy(&core->lock);
    pthread_mutex_destroy(&core->renew_lock);
    mproc__future_store_end(&core->store);
    free(core->threads);
    free(core->futures);
    free(core->busy);
    free(core->free_slots);
    free(core->leases);
    free(core->name);
    free(core);
}

int mproc__core_check(const mproc__pool_core *core)
{
    if (MPROC__LIKELY(core->incarnation == mproc__incarnation()))
        return 0;
    return mproc__fail(-ECHILD, "the pool belongs to the process that made it; a fork child makes its own");
}

int mproc__core_breakage(const mproc__pool_core *core)
{
    const mproc__breakage_shared *known = &core->view.shared->breakage;
    int code = mproc__fail(known->code, "%.*s", MPROC__POOL_TEXT, known->text);
    if (known->pid)
        mproc__fail_number(MPROC_ERROR_PID, known->pid);
    if (known->exit_code)
        mproc__fail_number(known->exit_code < 0 ? MPROC_ERROR_SIGNAL : MPROC_ERROR_EXIT_CODE,
                           known->exit_code < 0 ? -known->exit_code : known->exit_code);
    return code;
}

/* ---- options ---- */

static int start_choose(const mproc_pool_options *options, mproc_start *ret_start, bool *ret_fork_checked)
{
    mproc_start start = options->start;
    if (start < MPROC_START_DEFAULT || start > MPROC_START_THREAD)
        return mproc__fail(-EINVAL, "mproc_pool_options.start: %d is no start method", (int)start);
    *ret_start = start ? start : mproc_get_start();
    *ret_fork_checked = false;
    if (start == MPROC_START_DEFAULT) {
        bool named = mproc__start_named();
        mproc__start_use_default();
        *ret_fork_checked = *ret_start == MPROC_START_FORK && !named;
        if (*ret_fork_checked)
            return mproc__launch_threads_check();
    }
    return 0;
}

unsigned mproc__pool_workers_default(void)
{
    unsigned cpus = mproc_cpu_count();
    return cpus < MPROC__POOL_WORKERS ? cpus : MPROC__POOL_WORKERS;
}

static int limits_choose(const mproc_pool_options *options, mproc__pool_limits *ret_limits)
{
    mproc_start start;
    bool fork_checked;
    int rc = start_choose(options, &start, &fork_checked);
    if (rc < 0)
        return rc;
    *ret_limits = (mproc__pool_limits){
        .workers = options->workers ? options->workers : mproc__pool_workers_default(),
        .tasks = options->max_queued_tasks ? options->max_queued_tasks : TASKS_DEFAULT,
        .bytes = options->max_queued_bytes ? options->max_queued_bytes : BYTES_DEFAULT,
        .start = start,
        .fork_checked = fork_checked,
        .restarts_per_minute = options->restarts_per_minute ? options->restarts_per_minute : RESTARTS_DEFAULT,
        .tasks_per_worker = options->tasks_per_worker,
        .name = options->name,
    };
    if (ret_limits->workers > MPROC__POOL_WORKERS)
        return mproc__fail(-EINVAL, "mproc_pool_options.workers: %u; %d are the most", ret_limits->workers,
                           (int)MPROC__POOL_WORKERS);
    if (ret_limits->restarts_per_minute > MPROC__POOL_RESTARTS)
        return mproc__fail(-EINVAL, "mproc_pool_options.restarts_per_minute: %u; %d are the most",
                           ret_limits->restarts_per_minute, (int)MPROC__POOL_RESTARTS);
    if (start == MPROC_START_THREAD && options->tasks_per_worker)
        return mproc__fail(-EINVAL, "mproc_pool_options.tasks_per_worker: threads are not replaced");
    return 0;
}

/* ---- making the core ---- */

static int core_arrays(mproc__pool_core *core, const mproc_pool_options *options)
{
    size_t slots = core->view.shared->plan.slot_count;
    core->futures = calloc(slots, sizeof(mproc_future *));
    core->busy = calloc(slots, sizeof *core->busy);
    core->free_slots = calloc(slots, sizeof *core->free_slots);
    core->name = options->name ? strdup(options->name) : NULL;
    if (!core->futures || !core->busy || !core->free_slots || (options->name && !core->name))
        return mproc__fail(-ENOMEM, "no memory for a pool");
    return mproc_variant_copy(options->initializer_args, &core->crew.initializer_args);
}

/* Threads without a name of their own are told apart by their pool's number. */
static int core_threads(mproc__pool_core *core)
{
    static _Atomic unsigned pools;
    unsigned number = atomic_fetch_add_explicit(&pools, 1, memory_order_relaxed) + 1;
    if (core->name)
        snprintf(core->thread_name, sizeof core->thread_name, "%s", core->name);
    else
        snprintf(core->thread_name, sizeof core->thread_name, "pool%u", number);
    core->threads = calloc(MPROC__POOL_WORKERS, sizeof *core->threads);
    return core->threads ? 0 : mproc__fail(-ENOMEM, "no memory for threads");
}

static int core_new(const mproc_pool_options *options, const mproc__pool_limits *limits,
                    mproc__pool_core **ret_core)
{
    mproc__pool_core *core = calloc(1, sizeof *core);
    if (!core)
        return mproc__fail(-ENOMEM, "no memory for a pool");
    atomic_init(&core->references, 1);
    core->incarnation = mproc__incarnation();
    core->pidfd = -1;
    core->limits.cgroup_fd = -1;
    pthread_mutex_init(&core->lock, NULL);
    pthread_mutex_init(&core->renew_lock, NULL);
    mproc__future_store_init(&core->store, sizeof(mproc_future));
    int rc = mproc__view_create(limits, &core->view);
    if (rc == 0) {
        const mproc__pool_plan_shared *plan = &core->view.shared->plan;
        core->home = (mproc__future_home){
            .lock = &core->lock, .segment = core->view.segment, .done = &core->view.shared->done};
        mproc__segment_on_sweep(core->view.segment, mproc__pool_on_sweep, &core->view);
        core->tasks_limit = limits->tasks < plan->slot_count ? limits->tasks : plan->slot_count;
        core->bytes_limit = limits->bytes;
        core->lender.view = &core->view;
        core->region = (mproc__region){.offset = plan->region, .length = plan->region_bytes};
        core->crew =
            (mproc__crew){.view = &core->view, .start = limits->start, .initializer = options->initializer};
        rc = core_arrays(core, options);
        if (rc == 0 && limits->start == MPROC_START_THREAD)
            rc = core_threads(core);
        if (rc == 0)
            rc = mproc__limits_take(&options->limits, limits->start == MPROC_START_THREAD, &core->limits);
        core->crew.limits = core->limits.asked ? &core->limits : NULL;
        core->crew.name = core->name;
        core->fork_checked = limits->fork_checked;
        core->finish_at_exit = options->finish_at_exit;
    }
    if (rc < 0)
        mproc__core_release(core);
    else
        *ret_core = core;
    return rc;
}

/* ---- all workers ready, or the reason why not ---- */

static bool supervisor_gone(const mproc__pool_core *core)
{
    return core->pidfd >= 0 && mproc__pidfd_ended(core->pidfd) == 1;
}

/* A supervisor that dies before it has joined the segment wakes nobody: hence the looks at its pidfd. */
static int core_ready(mproc__pool_core *core)
{
    mproc__pool_shared *shared = core->view.shared;
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&shared->done);
        if (atomic_load(&shared->breakage.valid))
            return mproc__core_breakage(core);
        if (atomic_load(&shared->ready_workers) >= shared->plan.workers)
            return 0;
        if (supervisor_gone(core))
            return mproc__fail(MPROC_EDIED, "the pool's supervisor ended while it started the workers");
        (void)mproc__segment_wait(core->view.segment, &shared->done, ticket, mproc_after_ms(WATCH_MS));
    }
}

static int core_start(mproc__pool_core *core)
{
    int rc = core->crew.start == MPROC_START_THREAD
                 ? mproc__threads_start(core)
                 : mproc__supervisor_start(&core->crew, &core->supervisor, &core->pidfd);
    if (rc == 0)
        rc = core_ready(core);
    if (rc == 0)
        atomic_store(&core->view.shared->state, MPROC__POOL_RUNNING);
    return rc;
}

/* ---- the handle ---- */

static void pool_destroy(mproc__handle *handle)
{
    mproc_pool *pool = MPROC__CONTAINER(handle, mproc_pool, handle);
    mproc__pool_core *core = pool->core;
    if (core->incarnation != mproc__incarnation()) {
        if (core->exit_id) /* a fork child begins without functions for its end */
            mproc__core_release(core);
    } else if (!core->finishing) {
        (void)mproc__core_stop(core, false, mproc_after_ms(MPROC__POOL_GRACE_MS), NULL);
        (void)mproc__core_exit_disarm(core);
    }
    mproc__core_release(core);
    mproc__handle_fini(&pool->handle);
    free(pool);
}

static int pool_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    static const char *const starts[] = {"", "forked", "spawned", "forkserver", "thread"};
    const mproc__pool_core *core = MPROC__CONTAINER(handle, const mproc_pool, handle)->core;
    return snprintf(buffer, size_bytes, "pool %s of %u %s workers%s", core->name ? core->name : "",
                    (unsigned)atomic_load(&core->view.shared->wanted), starts[core->crew.start],
                    core->refusing ? ", stopped" : "");
}

static const mproc__handle_ops pool_ops = {
    .type = MPROC_TYPE_POOL, .noun = "pool", .destroy = pool_destroy, .describe = pool_describe};

/* Stopping and releasing must not replace the story of what went wrong. */
static int core_undo(mproc__pool_core *core, int code)
{
    mproc_error why;
    mproc__story_copy(mproc__story(), &why);
    (void)mproc__core_stop(core, false, MPROC_NOW, NULL);
    mproc__core_release(core);
    mproc__story_copy(&why, mproc__story());
    return code;
}

static int pool_make(const mproc_pool_options *options, mproc_pool *pool)
{
    mproc__pool_limits limits;
    mproc__pool_core *core = NULL;
    int rc = limits_choose(options, &limits);
    if (rc == 0 && limits.start != MPROC_START_THREAD)
        rc = mproc__family_daemon_check("mproc_pool_create");
    if (rc == 0)
        rc = core_new(options, &limits, &core);
    if (rc < 0)
        return rc;
    rc = core_start(core);
    if (rc == 0)
        rc = mproc__core_exit_arm(core);
    if (rc < 0)
        return core_undo(core, rc);
    mproc__handle_init(&pool->handle, &pool_ops);
    pool->core = core;
    return 0;
}

int mproc_pool_create(const mproc_pool_options *options, mproc_pool **ret_pool)
{
    static const mproc_pool_options defaults = {.size = sizeof defaults};
    int rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_pool_options");
    if (rc == 0 && !ret_pool)
        rc = mproc__fail(-EINVAL, "mproc_pool_create: nowhere to put the pool");
    if (rc < 0)
        return rc;
    mproc__finished_collect();
    mproc_pool *pool = calloc(1, sizeof *pool);
    rc = pool ? pool_make(options ? options : &defaults, pool) : mproc__fail(-ENOMEM, "no memory for a pool");
    if (rc < 0)
        free(pool);
    else
        *ret_pool = pool;
    return rc;
}

void mproc_pool_close(mproc_pool **pool)
{
    mproc__finished_collect();
    mproc__handle_close((void **)pool, MPROC_TYPE_POOL);
}
