/* SPDX-License-Identifier: BSD-2-Clause */
/* A program's three streams, opened by the caller: what fails, or waits, does so here and not in the nursery. */
#include "platform/base.h"

#include <fcntl.h>
#include <unistd.h>

#include "platform/story.h"
#include "process/boot.h"
#include "process/own_fds.h"
#include "process/program.h"

static const char *const stream_names[] = {"input", "output", "error"};

/* A descriptor opened here, moved away from 0 to 2: a program with a closed standard stream gets its number back. */
static int stream_own(mproc__program_streams *streams, int which, int fd, const char *what)
{
    fd = mproc__fd_above_standard(fd);
    if (fd < 0)
        return mproc__fail(-errno, "start_program: %s: %s: %s", stream_names[which], what,
                           mproc_strerror(-errno));
    streams->child[which] = fd;
    streams->owned[which] = true;
    return 0;
}

static int stream_file(mproc__program_streams *streams, int which, const mproc_stream *stream)
{
    int flags = which == 0                            ? O_RDONLY
                : stream->kind == MPROC_STREAM_APPEND ? O_WRONLY | O_CREAT | O_APPEND
                                                      : O_WRONLY | O_CREAT | O_TRUNC;
    if (!stream->path || !stream->path[0])
        return mproc__fail(-EINVAL, "start_program: %s: a file without a path", stream_names[which]);
    return stream_own(streams, which,
                      open(stream->path, flags | O_CLOEXEC, stream->mode ? stream->mode : 0666),
                      stream->path);
}

static int stream_pipe(mproc__program_streams *streams, int which)
{
    int fds[2];
    /* A stranger's copy of an end would keep the other one from seeing its end. */
    mproc__own_fds_begin();
    int rc = pipe2(fds, O_CLOEXEC) < 0 ? -errno : 0;
    if (rc == 0) {
        streams->ours[which] = mproc__fd_above_standard(fds[which == 0]);
        rc = stream_own(streams, which, fds[which != 0], "pipe");
        mproc__own_fd_note(streams->ours[which]);
        mproc__own_fd_note(streams->child[which]);
    } else {
        rc = mproc__fail(rc, "start_program: %s: pipe: %s", stream_names[which], mproc_strerror(rc));
    }
    mproc__own_fds_end();
    if (rc == 0 && streams->ours[which] < 0)
        rc = mproc__fail(-EMFILE, "start_program: %s: pipe: no descriptor above the standard ones",
                         stream_names[which]);
    return rc;
}

static int stream_fd(mproc__program_streams *streams, int which, int fd)
{
    if (fd < 0 || fcntl(fd, F_GETFD) < 0)
        return mproc__fail(-EBADF, "start_program: %s: descriptor %d is not open", stream_names[which], fd);
    streams->child[which] = fd;
    return 0;
}

static int stream_output(mproc__program_streams *streams, int which)
{
    if (which != 2)
        return mproc__fail(-EINVAL, "start_program: %s: MPROC_STREAM_OUTPUT is for the error stream",
                           stream_names[which]);
    streams->child[2] = streams->child[1];
    return 0;
}

static int stream_open(mproc__program_streams *streams, int which, const mproc_stream *stream)
{
    switch (stream->kind) {
    case MPROC_STREAM_INHERIT:
        streams->child[which] = fcntl(which, F_GETFD) >= 0 ? which : -1;
        return 0;
    case MPROC_STREAM_NULL:
        return stream_own(streams, which, open("/dev/null", (which ? O_WRONLY : O_RDONLY) | O_CLOEXEC),
                          "/dev/null");
    case MPROC_STREAM_PIPE:
        return stream_pipe(streams, which);
    case MPROC_STREAM_FILE:
    case MPROC_STREAM_APPEND:
        return stream_file(streams, which, stream);
    case MPROC_STREAM_FD:
        return stream_fd(streams, which, stream->fd);
    case MPROC_STREAM_OUTPUT:
        return stream_output(streams, which);
    }
    return mproc__fail(-EINVAL, "start_program: %s: %d is no kind of stream", stream_names[which],
                       (int)stream->kind);
}

int mproc__program_streams_open(const mproc_program_options *options, mproc__program_streams *ret_streams)
{
    static const mproc_stream inherit = {.kind = MPROC_STREAM_INHERIT}, to_pipe = {.kind = MPROC_STREAM_PIPE};
    const mproc_stream *wanted[3] = {&inherit, &inherit, &inherit};
    *ret_streams = (mproc__program_streams){.child = {-1, -1, -1}, .ours = {-1, -1, -1}};
    if (options) {
        const mproc_stream *said[3] = {&options->input, &options->output, &options->error};
        for (int i = 0; i < 3; i++)
            wanted[i] =
                i > 0 && options->capture && said[i]->kind == MPROC_STREAM_INHERIT ? &to_pipe : said[i];
    }
    int rc = 0;
    for (int i = 0; rc == 0 && i < 3; i++)
        rc = stream_open(ret_streams, i, wanted[i]);
    if (rc < 0)
        mproc__program_streams_close(ret_streams, true);
    return rc;
}

void mproc__program_streams_close(mproc__program_streams *streams, bool ours_too)
{
    for (int i = 0; i < 3; i++) {
        if (streams->owned[i])
            mproc__own_fd_close(streams->child[i]);
        streams->owned[i] = false;
        if (ours_too && streams->ours[i] >= 0)
            mproc__own_fd_close(streams->ours[i]);
        if (ours_too)
            streams->ours[i] = -1;
    }
}
