/* SPDX-License-Identifier: BSD-2-Clause */
/* How supervisor and workers come to be: what they are given by fork, and what crosses an exec. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "platform/story.h"
#include "pool/death.h"
#include "pool/supervisor.h"
#include "pool/worker.h"

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
 * start method and the name. */
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
    int fd = mproc__segment_fd(crew->view->segment);
    snprintf(name, sizeof name, "%.40s-%u", crew->name ? crew->name : "PoolWorker", index + 1);
    mproc__launch_options options = {.start = MPROC_START_FORK,
                                     .fn = worker_forked,
                                     .name = name,
                                     .die_with_parent = true,
                                     .keep_fds = &fd,
                                     .keep_count = 1};
    mproc_variant forked[] = {mproc_pointer(&start)};
    mproc_variant spawned[] = {mproc_fd(fd), function_variant(crew->initializer, &id), crew->initializer_args,
                               mproc_int(index), mproc_int(life)};
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

static int supervisor_spawned(mproc_call *call)
{
    static mproc__pool_view view;
    mproc__crew crew;
    int rc = crew_receive(call, &view, &crew);
    if (rc < 0)
        return rc;
    crew.start = (mproc_start)mproc_call_int(call, 3);
    crew.name = mproc_variant_get_text(mproc_call_arg(call, 4));
    rc = mproc__supervisor_run(&crew);
    mproc__view_close(&view);
    return rc;
}

int mproc__supervisor_start(const mproc__crew *crew, pid_t *ret_pid, int *ret_pidfd)
{
    mproc__function_id id;
    int fd = mproc__segment_fd(crew->view->segment);
    mproc_variant forked[] = {mproc_pointer(crew)};
    mproc_variant spawned[] = {mproc_fd(fd), function_variant(crew->initializer, &id), crew->initializer_args,
                               mproc_int(crew->start), mproc_text(crew->name)};
    mproc__launch_options options = {.start = MPROC_START_FORK,
                                     .fn = supervisor_forked,
                                     .name = "mproc-pool",
                                     .keep_fds = &fd,
                                     .keep_count = 1,
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
