/* SPDX-License-Identifier: BSD-2-Clause */
/* mproc_process_start: from options to a running child, by each of the four methods. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/family.h"
#include "process/limits.h"

/* What is to run. */
typedef struct start_target {
    mproc_fn *fn;
    mproc_variant args;
    mproc__limits limits;
} start_target;

/* ---- by method ---- */

static void launch_options(mproc_process *process, const start_target *target,
                           mproc__launch_options *ret_options)
{
    *ret_options = (mproc__launch_options){.start = process->method,
                                           .fn = target->fn,
                                           .args = target->args,
                                           .name = process->name,
                                           .path = process->path,
                                           .daemon = process->daemon,
                                           .stop_word = process->stop_word,
                                           .stop_fd = mproc__slots_fd(),
                                           .stop_offset_bytes = process->slot * sizeof(uint32_t),
                                           .limits = target->limits.asked ? &target->limits : NULL,
                                           .keep_fds = &target->limits.cgroup_fd,
                                           .keep_count = target->limits.cgroup_fd >= 0};
}

static int child_watch(pid_t pid, int pidfd, void *context)
{
    mproc_process *process = context;
    return mproc__nursery_watch(process->nursery, process->slot, pid, pidfd);
}

static int start_once(mproc_process *process, const start_target *target)
{
    mproc__launch_options options;
    int rc = mproc__nursery_get(&process->nursery);
    if (rc == 0)
        rc = mproc__family_watch(process->nursery);
    if (rc < 0)
        return rc;
    launch_options(process, target, &options);
    if (process->kind == MPROC__PROCESS_SERVED)
        return mproc__nursery_start(process->nursery, process->slot, &options, &process->pid,
                                    &process->pidfd);
    options.own_pidfd = true;
    options.before_go = child_watch;
    options.context = process;
    options.ret_leash = process->leash;
    return mproc__launch(&options, &process->pid, &process->pidfd);
}

/* A child of the nursery is there only when the nursery has its row: without one, it was not such a child that died. A
 * spawned one may die beside a nursery that is still on its way, and its main shall not run twice. */
static bool nursery_failed(const mproc_process *process)
{
    return process->kind == MPROC__PROCESS_SERVED ? !mproc__nursery_lives(process->nursery)
                                                  : mproc__nursery_gone(process->nursery);
}

/* A nursery that was killed is noticed by the first command to it; the next attempt makes a new one. */
static int start_child(mproc_process *process, const start_target *target)
{
    int rc = start_once(process, target);
    if (rc == MPROC_EDIED && process->nursery && nursery_failed(process)) {
        mproc__nursery_release(process->nursery);
        process->nursery = NULL;
        rc = start_once(process, target);
    }
    if (rc < 0 && process->kind == MPROC__PROCESS_SERVED && process->nursery &&
        mproc__nursery_allow(process->nursery, rc)) {
        mproc__nursery_release(process->nursery);
        process->nursery = NULL;
        rc = start_once(process, target);
    }
    return rc;
}

/* ---- options ---- */

static int method_choose(const mproc_process_options *options, mproc_start *ret_method)
{
    mproc_start asked = options ? options->start : MPROC_START_DEFAULT;
    if (asked < MPROC_START_DEFAULT || asked > MPROC_START_THREAD)
        return mproc__fail(-EINVAL, "mproc_process_start: %d is no start method", (int)asked);
    *ret_method = asked;
    if (asked == MPROC_START_DEFAULT) {
        mproc__start_use_default();
        *ret_method = mproc_get_start();
    }
    if (*ret_method == MPROC_START_FORK && asked == MPROC_START_DEFAULT && !mproc__start_named())
        return mproc__launch_threads_check();
    /* Before a nursery is made, which would be a forked one. */
    bool execs = *ret_method == MPROC_START_SPAWN || *ret_method == MPROC_START_FORKSERVER;
    return execs ? mproc__process_main_check() : 0;
}

static int name_choose(mproc_process *process, const char *name)
{
    mproc__family_next_path(process->path);
    if (name && strlen(name) >= sizeof process->name)
        return mproc__fail(-ENAMETOOLONG, "mproc_process_start: a name of %zu bytes, %zu are the most",
                           strlen(name), sizeof process->name - 1);
    if (name)
        memcpy(process->name, name, strlen(name) + 1);
    else
        snprintf(process->name, sizeof process->name, "Process-%s", process->path);
    return 0;
}

static mproc__process_kind kind_of(mproc_start method)
{
    return method == MPROC_START_THREAD       ? MPROC__PROCESS_THREAD
           : method == MPROC_START_FORKSERVER ? MPROC__PROCESS_SERVED
                                              : MPROC__PROCESS_CHILD;
}

/* ---- the call ---- */

static int slot_take(mproc_process *process)
{
    mproc__family_lock();
    int rc = mproc__slot_take(&process->slot);
    if (rc == 0)
        process->stop_word = mproc__slot_word(process->slot);
    mproc__family_unlock();
    return rc;
}

static void slot_give(mproc_process *process)
{
    mproc__family_lock();
    mproc__slot_give(process->slot);
    process->stop_word = NULL;
    mproc__family_unlock();
}

int mproc__process_enlist(mproc_process *process, int (*begin)(mproc_process *process, void *context),
                          void *context)
{
    int rc = slot_take(process);
    if (rc < 0)
        return rc;
    rc = begin(process, context);
    if (rc < 0) {
        if (process->kind == MPROC__PROCESS_CHILD && process->nursery)
            mproc__nursery_unwatch(process->nursery, process->slot);
        slot_give(process);
        return rc;
    }
    mproc__family_lock();
    mproc__family_add(process);
    /* It may have died since, and another thread's start have given another the children that were in the list. */
    bool unwatched = process->kind == MPROC__PROCESS_CHILD && mproc__nursery_gone(process->nursery);
    mproc__family_unlock();
    if (unwatched)
        mproc__guard_renew();
    return 0;
}

static int start_begin(mproc_process *process, void *context)
{
    const start_target *target = context;
    if (process->kind == MPROC__PROCESS_THREAD)
        return mproc__thread_start(process, target->fn, target->args, &target->limits);
    int rc = mproc__arguments_check(target->args);
    return rc < 0 ? rc : start_child(process, target);
}

int mproc_process_start(mproc_fn *fn, mproc_variant args, const mproc_process_options *options,
                        mproc_process **ret_process)
{
    mproc_start method = MPROC_START_DEFAULT;
    start_target target = {.fn = fn, .args = args};
    if (!fn || !ret_process)
        return mproc__fail(-EINVAL, "mproc_process_start: NULL");
    int rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_process_options");
    if (rc == 0)
        rc = mproc__family_daemon_check("mproc_process_start");
    if (rc == 0)
        rc = method_choose(options, &method);
    if (rc == 0)
        rc = mproc__family_begin();
    if (rc < 0)
        return rc;
    mproc__family_tidy();
    mproc_process *process = mproc__process_new(kind_of(method));
    if (!process)
        return -ENOMEM;
    process->method = method;
    process->daemon = options && options->daemon;
    process->grace_ms = options && options->grace_ms ? options->grace_ms : MPROC__GRACE_MS;
    rc = name_choose(process, options ? options->name : NULL);
    if (rc == 0)
        rc = mproc__limits_take(options ? &options->limits : NULL, method == MPROC_START_THREAD,
                                &target.limits);
    if (rc == 0) {
        rc = mproc__process_enlist(process, start_begin, &target);
        mproc__limits_clear(&target.limits);
    }
    if (rc == 0)
        *ret_process = process;
    else
        mproc__handle_release(&process->handle);
    return rc;
}
