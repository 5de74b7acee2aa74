/* SPDX-License-Identifier: BSD-2-Clause */
/* mproc_process_communicate: input written, outputs read and kept, the end awaited, all in one poll.
 *
 * Our ends do not block while a call lasts (the open file behind each is ours alone) and do again when it returns, for
 * programs that read and write them by themselves. */
#include "platform/base.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/own_fds.h"
#include "process/program.h"

enum {
    CHUNK_BYTES = 1 << 16, /* a pipe's usual capacity */
    MAX_BYTES = 64 << 20   /* kept of an output, if nothing is said */
};

typedef struct talk {
    mproc_process *process;
    mproc__program *program;
    const char *input;
    size_t input_bytes, max_bytes;
    bool drop, linger;
    bool ended;    /* the program; its children may still have the pipes */
    char *scratch; /* what is dropped is read into that; NULL: nothing yet */
} talk;

/* ---- SIGPIPE ---- */

/* Blocked for the whole call, and taken away if the call raised it: it is sent to the thread that wrote. */
static bool pipe_signal_block(sigset_t *ret_previous)
{
    sigset_t pipe_set, pending;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_set, ret_previous);
    return sigismember(&pending, SIGPIPE) == 1;
}

static void pipe_signal_restore(const sigset_t *previous, bool was_pending)
{
    const struct timespec no_wait = {0};
    sigset_t pipe_set;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    if (!was_pending)
        while (sigtimedwait(&pipe_set, NULL, &no_wait) < 0 && errno == EINTR) {
        }
    pthread_sigmask(SIG_SETMASK, previous, NULL);
}

/* ---- input ---- */

static void pipe_close(mproc__program *program, int which)
{
    mproc__own_fd_close(program->pipes[which]);
    program->pipes[which] = -1;
}

/* As much as the pipe takes at once, so that a quick reader does not hold up the outputs. A program that does not want the
 * rest closes its end; that is its affair. */
static int input_write(talk *of)
{
    mproc__program *program = of->program;
    ssize_t put = 0;
    if (program->written_bytes < of->input_bytes)
        put = write(program->pipes[0], of->input + program->written_bytes,
                    of->input_bytes - program->written_bytes);
    if (put < 0 && errno != EAGAIN && errno != EINTR && errno != EPIPE)
        return mproc__fail(-errno, "communicate: writing the input of program %s: %s", of->process->name,
                           mproc_strerror(-errno));
    if (put > 0)
        program->written_bytes += (size_t)put;
    if (program->written_bytes == of->input_bytes || (put < 0 && errno == EPIPE))
        pipe_close(program, 0);
    return 0;
}

/* ---- outputs ---- */

/* Room for more before it is read: what cannot be kept stays in the pipe. */
static int output_room(const talk *of, mproc__program_output *output, size_t *ret_room_bytes)
{
    size_t room = of->max_bytes - output->size_bytes;
    if (room > CHUNK_BYTES)
        room = CHUNK_BYTES;
    if (output->capacity_bytes < output->size_bytes + room + 1) {
        size_t capacity = output->capacity_bytes * 2 > output->size_bytes + room + 1
                              ? output->capacity_bytes * 2
                              : output->size_bytes + room + 1;
        char *data = realloc(output->data, capacity);
        if (!data)
            return mproc__fail(-ENOMEM, "communicate: no memory to keep more than %zu bytes of program %s",
                               output->size_bytes, of->process->name);
        output->data = data;
        output->capacity_bytes = capacity;
    }
    *ret_room_bytes = room;
    return 0;
}

static int scratch_make(talk *of)
{
    if (!of->scratch && !(of->scratch = malloc(CHUNK_BYTES)))
        return mproc__fail(-ENOMEM, "communicate: no memory to read from program %s", of->process->name);
    return 0;
}

/* More came than may be kept. */
static void output_overflow(talk *of, mproc__program_output *output, size_t bytes)
{
    output->dropped_bytes += bytes;
    if (of->drop || of->program->over)
        return;
    of->program->over = true;
    (void)mproc__program_signal(of->process, SIGKILL);
}

/* One read. Returns its bytes, 0: the end, -EAGAIN: nothing there, or another error. */
static ssize_t output_read(talk *of, int which)
{
    mproc__program_output *output = &of->program->outputs[which - 1];
    size_t room = 0;
    int rc = output_room(of, output, &room);
    if (rc == 0 && room == 0)
        rc = scratch_make(of);
    if (rc < 0)
        return rc;
    ssize_t got = room ? read(of->program->pipes[which], output->data + output->size_bytes, room)
                       : read(of->program->pipes[which], of->scratch, CHUNK_BYTES);
    if (got < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    if (room)
        output->size_bytes += (size_t)got;
    else if (got > 0)
        output_overflow(of, output, (size_t)got);
    output->data[output->size_bytes] = '\0';
    return got;
}

static int output_readable(talk *of, int which)
{
    ssize_t got = output_read(of, which);
    if (got == 0)
        pipe_close(of->program, which);
    if (got >= 0 || got == -EAGAIN)
        return 0;
    return got == -ENOMEM ? (int)got
                          : mproc__fail((int)got, "communicate: reading stream %d of program %s: %s", which,
                                        of->process->name, mproc_strerror((int)got));
}

/* The program has ended: what is in the pipe now is all it wrote. No more than that, as somebody else may write on and on. */
static int output_drain(talk *of, int which)
{
    int left = 0;
    if (ioctl(of->program->pipes[which], FIONREAD, &left) < 0)
        left = 0;
    while (left > 0) {
        ssize_t got = output_read(of, which);
        if (got <= 0)
            return got == -EAGAIN || got == 0 ? 0 : (int)got;
        left -= got < left ? (int)got : left;
    }
    return 0;
}

/* ---- the talk ---- */

enum { WATCHED = 4 }; /* three streams and the program's end */

static void watched_fill(const talk *of, struct pollfd items[WATCHED])
{
    for (int i = 0; i < 3; i++)
        items[i] = (struct pollfd){.fd = of->program->pipes[i], .events = i ? POLLIN : POLLOUT};
    items[3] = (struct pollfd){.fd = of->ended ? -1 : of->process->pidfd, .events = POLLIN};
}

static bool talk_done(const talk *of)
{
    bool open = of->program->pipes[1] >= 0 || of->program->pipes[2] >= 0;
    return of->ended && (!of->linger || of->program->over || !open);
}

static int talk_round(talk *of, mproc_deadline deadline)
{
    struct pollfd items[WATCHED];
    watched_fill(of, items);
    int count = poll(items, WATCHED, mproc__deadline_poll_ms(deadline));
    if (count < 0 && errno != EINTR)
        return mproc__fail(-errno, "communicate: poll: %s", mproc_strerror(-errno));
    if (count <= 0)
        return mproc__deadline_past(deadline) ? mproc__fail_plain(-ETIMEDOUT) : 0;
    int rc = items[0].revents ? input_write(of) : 0;
    for (int i = 1; rc == 0 && i < 3; i++)
        if (items[i].revents)
            rc = output_readable(of, i);
    of->ended |= items[3].revents != 0;
    /* Output that never pauses shall not hold up the deadline. */
    return rc == 0 && mproc__deadline_past(deadline) && !talk_done(of) ? mproc__fail_plain(-ETIMEDOUT) : rc;
}

static int talk_run(talk *of, mproc_deadline deadline)
{
    int rc = 0;
    if (of->program->pipes[0] >= 0)
        rc = input_write(of);
    while (rc == 0 && !talk_done(of))
        rc = talk_round(of, deadline);
    for (int i = 1; rc == 0 && i < 3; i++)
        if (of->program->pipes[i] >= 0)
            rc = output_drain(of, i);
    if (rc == 0)
        rc = mproc__process_wait(of->process, deadline); /* for the nursery to tell how it ended */
    if (rc < 0)
        return rc;
    mproc__program_hang_up(of->program);
    mproc__process_collect(of->process);
    if (of->program->over)
        return mproc__fail(MPROC_ELIMIT, "program %s (pid %d) was killed: it wrote more than %zu bytes",
                           of->process->name, (int)of->process->pid, of->max_bytes);
    return 0;
}

static int talk_begin(talk *of, mproc_process *process, const mproc_communicate_options *options)
{
    *of = (talk){.process = process, .program = process->program, .max_bytes = MAX_BYTES};
    int rc = mproc__options_check(options, sizeof *options, sizeof *options, "mproc_communicate_options");
    if (rc < 0 || !options)
        return rc;
    of->input = options->input;
    of->input_bytes = options->input_bytes;
    of->drop = options->drop;
    of->linger = options->linger;
    if (options->max_bytes)
        of->max_bytes = options->max_bytes;
    if (options->max_bytes > SIZE_MAX / 4)
        return mproc__fail(-EINVAL, "communicate: %zu bytes to keep", options->max_bytes);
    if (of->input_bytes && !of->input)
        return mproc__fail(-EINVAL, "communicate: %zu bytes of input at NULL", of->input_bytes);
    return 0;
}

static int input_check(const talk *of)
{
    if (of->input_bytes && !of->program->has_input)
        return mproc__fail(-EINVAL, "communicate: %zu bytes of input, but the input of program %s is no pipe",
                           of->input_bytes, of->process->name);
    if (of->input_bytes < of->program->written_bytes)
        return mproc__fail(-EINVAL, "communicate: %zu bytes of input, of which %zu were written before",
                           of->input_bytes, of->program->written_bytes);
    for (size_t i = 0; i < MPROC__COUNT(of->program->outputs); i++)
        if (of->program->outputs[i].size_bytes > of->max_bytes)
            return mproc__fail(-EINVAL, "communicate: %zu bytes to keep, more were kept before",
                               of->max_bytes);
    return 0;
}

static void pipes_block(const mproc__program *program, bool block)
{
    for (int i = 0; i < 3; i++) {
        int flags = program->pipes[i] >= 0 ? fcntl(program->pipes[i], F_GETFL) : -1;
        if (flags >= 0)
            fcntl(program->pipes[i], F_SETFL, block ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
    }
}

int mproc_process_communicate(mproc_process *process, const mproc_communicate_options *options,
                              mproc_deadline deadline)
{
    talk of;
    sigset_t previous;
    int rc = mproc__program_check(process);
    if (rc < 0)
        return rc;
    rc = talk_begin(&of, process, options);
    if (rc == 0)
        rc = input_check(&of);
    if (rc == 0) {
        bool was_pending = pipe_signal_block(&previous);
        pipes_block(of.program, false);
        rc = talk_run(&of, deadline);
        pipes_block(of.program, true);
        pipe_signal_restore(&previous, was_pending);
        free(of.scratch);
    }
    if (rc == -ETIMEDOUT)
        return mproc__handle_fail(&process->handle, rc,
                                  "communicate: program %s (pid %d) has not come to its end", process->name,
                                  (int)process->pid);
    return rc == 0 ? rc : mproc__handle_story(&process->handle, rc);
}
