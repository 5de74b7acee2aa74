/* SPDX-License-Identifier: BSD-2-Clause */
/* mproc_process_start_program: from argv and options to a running program. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/boot.h"
#include "process/family.h"
#include "process/own_fds.h"
#include "process/program.h"

/* ---- what is asked ---- */

static int options_check(const char *const argv[], const mproc_program_options *options)
{
    if (!argv || !argv[0] || !argv[0][0])
        return mproc__fail(-EINVAL, "start_program: argv has no program");
    int rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_program_options");
    if (rc < 0 || !options)
        return rc;
    if (options->program && !options->program[0])
        return mproc__fail(-EINVAL, "start_program: an empty name of a program");
    if (options->group < MPROC_GROUP_SAME || options->group > MPROC_GROUP_SESSION)
        return mproc__fail(-EINVAL, "start_program: %d is no kind of group", (int)options->group);
    if (options->fd_count > MPROC_PROGRAM_FDS)
        return mproc__fail(MPROC_ELIMIT, "start_program: %zu descriptors, %d are the most", options->fd_count,
                           MPROC_PROGRAM_FDS);
    return options->fd_count && !options->fds ? mproc__fail(-EINVAL, "start_program: fds is NULL") : 0;
}

static int fd_compare(const void *a, const void *b)
{
    const int32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int fds_take(const mproc_program_options *options, mproc__program_fds *fds)
{
    int32_t sorted[MPROC_PROGRAM_FDS];
    size_t count = options ? options->fd_count : 0;
    for (size_t i = 0; i < count; i++) {
        if (options->fds[i] < 3)
            return mproc__fail(-EINVAL,
                               "start_program: descriptor %d among the given ones; 0 to 2 are streams",
                               options->fds[i]);
        if (fcntl(options->fds[i], F_GETFD) < 0)
            return mproc__fail(-EBADF, "start_program: descriptor %d is not open", options->fds[i]);
        sorted[i] = options->fds[i];
    }
    qsort(sorted, count, sizeof sorted[0], fd_compare);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || sorted[i] != sorted[i - 1])
            fds->pass[fds->pass_count++] = sorted[i];
    return 0;
}

/* By a descriptor, as its name may mean another directory in the nursery. */
static int directory_open(const char *directory, int *ret_fd)
{
    mproc__own_fds_begin();
    int fd = mproc__fd_above_standard(open(directory ? directory : ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    int code = -errno;
    mproc__own_fd_note(fd);
    mproc__own_fds_end();
    if (fd < 0)
        return mproc__fail(code, "start_program: directory '%s': %s", directory ? directory : ".",
                           mproc_strerror(code));
    *ret_fd = fd;
    return 0;
}

static int name_take(mproc_process *process, const char *argv0, const char *name)
{
    const char *slash = strrchr(argv0, '/');
    if (name && strlen(name) >= sizeof process->name)
        return mproc__fail(-ENAMETOOLONG, "start_program: a name of %zu bytes, %zu are the most",
                           strlen(name), sizeof process->name - 1);
    if (!name)
        name = slash && slash[1] ? slash + 1 : argv0;
    strncat(process->name, name, sizeof process->name - 1);
    return 0;
}

/* ---- the nursery is told ---- */

typedef struct request {
    mproc__program_fds fds;
    mproc__limits limits;
    int memfd;
} request;

static int request_send(const request *of, int socket)
{
    int fds[1 + MPROC__PROGRAM_FIXED_FDS + MPROC_PROGRAM_FDS];
    size_t count = 0;
    fds[count++] = of->memfd;
    for (size_t i = 0; i < MPROC__PROGRAM_FIXED_FDS; i++)
        if (of->fds.fixed[i] >= 0)
            fds[count++] = of->fds.fixed[i];
    for (size_t i = 0; i < of->fds.pass_count; i++)
        fds[count++] = of->fds.pass[i];
    int rc = mproc__fd_send(socket, "p", 1, fds, count, MPROC_FOREVER);
    return rc == 0 ? 0 : mproc__fail(rc, "start_program: sending to the nursery: %s", mproc_strerror(rc));
}

static int program_begin_once(mproc_process *process, const request *of, bool *ret_begun)
{
    int sockets[2];
    *ret_begun = false;
    int rc = mproc__nursery_get(&process->nursery);
    if (rc == 0)
        rc = mproc__family_watch(process->nursery);
    if (rc == 0)
        rc = mproc__boot_pair_own(SOCK_STREAM, sockets);
    if (rc < 0)
        return rc;
    rc = request_send(of, sockets[0]);
    if (rc == 0)
        rc = mproc__nursery_program(process->nursery, process->slot, sockets[0], sockets[1], &process->pid,
                                    &process->pidfd, ret_begun);
    else
        mproc__own_fd_close(sockets[1]);
    mproc__own_fd_close(sockets[0]);
    return rc;
}

/* A nursery that was killed is noticed by the first command to it; the next attempt makes a new one. Not when a program may
 * have begun: it shall not run twice. Nor is one asked again that has refused, unless it may now do more. */
static int program_begin(mproc_process *process, void *context)
{
    bool begun;
    int rc = program_begin_once(process, context, &begun);
    if (!begun && process->nursery &&
        ((rc == MPROC_EDIED && !mproc__nursery_lives(process->nursery)) ||
         mproc__nursery_allow(process->nursery, rc))) {
        mproc__nursery_release(process->nursery);
        process->nursery = NULL;
        rc = program_begin_once(process, context, &begun);
    }
    return rc;
}

/* ---- the call ---- */

static mproc_process *process_make(const mproc_program_options *options)
{
    mproc_process *process = mproc__process_new(MPROC__PROCESS_SERVED);
    if (!process)
        return NULL;
    process->grace_ms = options && options->grace_ms ? options->grace_ms : MPROC__GRACE_MS;
    process->program = calloc(1, sizeof *process->program);
    if (!process->program) {
        mproc__handle_release(&process->handle);
        mproc__fail(-ENOMEM, "start_program: no memory for a handle");
        return NULL;
    }
    for (int i = 0; i < 3; i++)
        process->program->pipes[i] = -1;
    process->program->group = options ? options->group : MPROC_GROUP_SAME;
    return process;
}

static int request_begin(const mproc_program_options *options, request *of)
{
    int rc = mproc__limits_take(options ? &options->limits : NULL, false, &of->limits);
    of->fds.fixed[MPROC__PROGRAM_CGROUP] = of->limits.cgroup_fd;
    if (rc == 0)
        rc = fds_take(options, &of->fds);
    if (rc == 0)
        rc = directory_open(options ? options->directory : NULL, &of->fds.fixed[MPROC__PROGRAM_DIRECTORY]);
    return rc;
}

static void request_end(request *of)
{
    if (of->memfd >= 0)
        mproc__own_fd_close(of->memfd);
    if (of->fds.fixed[MPROC__PROGRAM_DIRECTORY] >= 0)
        mproc__own_fd_close(of->fds.fixed[MPROC__PROGRAM_DIRECTORY]);
    mproc__limits_clear(&of->limits);
}

static int program_start(mproc_process *process, const char *const argv[],
                         const mproc_program_options *options)
{
    mproc__program_streams streams;
    request of = {.fds.fixed = {-1, -1, -1, -1, -1}, .memfd = -1};
    int rc = request_begin(options, &of);
    if (rc == 0)
        rc = mproc__program_streams_open(options, &streams);
    if (rc == 0) {
        memcpy(of.fds.fixed, streams.child, sizeof streams.child);
        rc = mproc__program_record_make(argv, options, &of.fds, &of.limits, &of.memfd);
        if (rc == 0)
            rc = mproc__process_enlist(process, program_begin, &of);
        mproc__program_streams_close(&streams, rc < 0);
    }
    if (rc == 0) {
        memcpy(process->program->pipes, streams.ours, sizeof streams.ours);
        process->program->has_input = streams.ours[0] >= 0;
    }
    request_end(&of);
    return rc;
}

int mproc_process_start_program(const char *const argv[], const mproc_program_options *options,
                                mproc_process **ret_process)
{
    if (!ret_process)
        return mproc__fail(-EINVAL, "start_program: NULL");
    int rc = options_check(argv, options);
    if (rc == 0)
        rc = mproc__family_begin();
    if (rc < 0)
        return rc;
    mproc__family_tidy();
    mproc_process *process = process_make(options);
    if (!process)
        return -ENOMEM;
    rc = name_take(process, argv[0], options ? options->name : NULL);
    if (rc == 0)
        rc = program_start(process, argv, options);
    if (rc == 0)
        *ret_process = process;
    else
        mproc__handle_release(&process->handle);
    return rc;
}
