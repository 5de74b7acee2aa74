/* SPDX-License-Identifier: BSD-2-Clause */
/* How supervisor and workers come to be: what they are given by fork, and what crosses an exec. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "platform/story.h"
#include "pool/death.h"
#include "pool/supervisor.h"
#include "pool/worker.h"

/* Descriptors that a forked child is to have: the segment, and the control group to join. */
typedef struct crew_fds {
    int fds[2];
    size_t count;
} crew_fds;

static crew_fds crew_fds_of(const mproc__crew *crew)
{
    crew_fds of = {.fds = {mproc__segment_fd(crew->view->segment)}, .count = 1};
    if (crew->limits && crew->limits->cgroup_fd >= 0)
        of.fds[of.count++] = crew->limits->cgroup_fd;
    return of;
}

/* ---- workers' first steps ---- */

typedef struct worker_start {
    const mproc__crew *crew;
    unsigned index;
    unsigned life;
} worker_start;

/* A worker's own data (mproc_call_set_self) lives as long as its process, so nothing is taken down at the end. */
static int worker_forked(mproc_call *call)
{
    const worker_start *start = mproc_call_arg(call, 0).data;
    mproc__worker_serve(start->crew->view, start->index, start->life, start->crew->initializer,
                        start->crew->initializer_args);
    return 0;
}

static mproc_variant function_variant(mproc_fn *fn, mproc__function_id *id)
{
    if (!fn || mproc__function_pack(fn, id) < 0)
        return mproc_null();
    return mproc_bytes(id, sizeof *id);
}

/* Arguments that cross an exec: segment, function, its arguments; for a worker its number and life, for the supervisor the
 * start method, the name, the limits of workers, and their group. */
static int crew_receive(mproc_call *call, mproc__pool_view *view, mproc__crew *ret_crew)
{
    int fd = fcntl((int)mproc_call_arg(call, 0).number, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return mproc__fail(-errno, "a pool's segment was not handed over: %s", mproc_strerror(-errno));
    int rc = mproc__view_attach(fd, view);
    if (rc < 0)
        return rc;
    mproc__segment_on_sweep(view->segment, mproc__pool_on_sweep, view);
    size_t size;
    const void *id = mproc_variant_get_bytes(mproc_call_arg(call, 1), &size);
    *ret_crew = (mproc__crew){.view = view, .initializer_args = mproc_call_arg(call, 2)};
    return id && size == sizeof(mproc__function_id) ? mproc__function_unpack(id, &ret_crew->initializer) : 0;
}

static int worker_spawned(mproc_call *call)
{
    static mproc__pool_view view;
    mproc__crew crew;
    int rc = crew_receive(call, &view, &crew);
    if (rc < 0)
        return rc;
    mproc__worker_serve(&view, (unsigned)mproc_call_int(call, 3), (unsigned)mproc_call_int(call, 4),
                        crew.initializer, crew.initializer_args);
    mproc__view_close(&view);
    return 0;
}

/* ---- starting workers ---- */

int mproc__crew_launch(const mproc__crew *crew, unsigned index, unsigned life, pid_t *ret_pid, int *ret_pidfd)
{
    char name[64];
    mproc__function_id id;
    worker_start start = {.crew = crew, .index = index, .life = life};
    crew_fds keep = crew_fds_of(crew);
    snprintf(name, sizeof name, "%.40s-%u", crew->name ? crew->name : "PoolWorker", index + 1);
    mproc__launch_options options = {.start = MPROC_START_FORK,
                                     .fn = worker_forked,
                                     .name = name,
                                     .die_with_parent = true,
                                     .daemon = true,
                                     .limits = crew->limits,
                                     .keep_fds = keep.fds,
                                     .keep_count = keep.count};
    mproc_variant forked[] = {mproc_pointer(&start)};
    mproc_variant spawned[] = {mproc_fd(keep.fds[0]), function_variant(crew->initializer, &id),
                               crew->initializer_args, mproc_int(index), mproc_int(life)};
    options.args = mproc_items(forked, MPROC__COUNT(forked));
    options.method = crew->start;
    if (crew->start == MPROC_START_SPAWN) {
        options.start = MPROC_START_SPAWN;
        options.fn = worker_spawned;
        options.args = mproc_items(spawned, MPROC__COUNT(spawned));
    }
    return mproc__launch(&options, ret_pid, ret_pidfd);
}

/* ---- starting the supervisor ---- */

static int supervisor_forked(mproc_call *call)
{
    return mproc__supervisor_run(mproc_call_arg(call, 0).data);
}

static int limits_receive(mproc_call *call, mproc__limits *ret_limits)
{
    size_t size;
    const void *bytes = mproc_variant_get_bytes(mproc_call_arg(call, 5), &size);
    mproc_variant group = mproc_call_arg(call, 6);
    if (!bytes || size != sizeof *ret_limits)
        return 0;
    memcpy(ret_limits, bytes, size);
    ret_limits->cgroup_fd = -1;
    if (group.kind == MPROC_KIND_NULL)
        return 0;
    ret_limits->cgroup_fd = fcntl((int)group.number, F_DUPFD_CLOEXEC, 3);
    return ret_limits->cgroup_fd < 0
               ? mproc__fail(-errno, "limits.cgroup was not handed over: %s", mproc_strerror(-errno))
               : 0;
}

static int supervisor_spawned(mproc_call *call)
{
    static mproc__pool_view view;
    static mproc__limits limits;
    mproc__crew crew;
    int rc = crew_receive(call, &view, &crew);
    if (rc < 0)
        return rc;
    crew.start = (mproc_start)mproc_call_int(call, 3);
    crew.name = mproc_variant_get_text(mproc_call_arg(call, 4));
    rc = limits_receive(call, &limits);
    if (rc < 0)
        return rc;
    crew.limits = limits.asked ? &limits : NULL;
    rc = mproc__supervisor_run(&crew);
    mproc__view_close(&view);
    return rc;
}

int mproc__supervisor_start(const mproc__crew *crew, pid_t *ret_pid, int *ret_pidfd)
{
    mproc__function_id id;
    crew_fds keep = crew_fds_of(crew);
    mproc_variant forked[] = {mproc_pointer(crew)};
    mproc_variant spawned[] = {mproc_fd(keep.fds[0]),
                               function_variant(crew->initializer, &id),
                               crew->initializer_args,
                               mproc_int(crew->start),
                               mproc_text(crew->name),
                               crew->limits ? mproc_bytes(crew->limits, sizeof *crew->limits) : mproc_null(),
                               keep.count > 1 ? mproc_fd(keep.fds[1]) : mproc_null()};
    mproc__launch_options options = {.start = MPROC_START_FORK,
                                     .fn = supervisor_forked,
                                     .name = "mproc-pool",
                                     .keep_fds = keep.fds,
                                     .keep_count = keep.count,
                                     .method = crew->start};
    options.args = mproc_items(forked, MPROC__COUNT(forked));
    if (crew->start != MPROC_START_FORK) {
        options.start = MPROC_START_SPAWN;
        options.fn = supervisor_spawned;
        options.args = mproc_items(spawned, MPROC__COUNT(spawned));
        int rc = crew->initializer ? mproc__function_pack(crew->initializer, &id) : 0;
        if (rc < 0)
            return rc;
    }
    return mproc__launch(&options, ret_pid, ret_pidfd);
}
