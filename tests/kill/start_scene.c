/* SPDX-License-Identifier: BSD-2-Clause */
/* What the family does: parent and functions of the children. */
#include "platform/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <mproc/process.h>
#include <mproc/program.h>

#include "kill/start_round.h"
#include "support/support.h"

enum { HARD_MS = 5000 };

start_flags *start_flags_shared;

static const start_scene scenes[] = {
    {"fork, first", MPROC_START_FORK, false, -1, WINDOW_START},
    {"fork", MPROC_START_FORK, true, -1, WINDOW_START},
    {"spawn, first", MPROC_START_SPAWN, false, -1, WINDOW_START},
    {"spawn", MPROC_START_SPAWN, true, -1, WINDOW_START},
    {"forkserver, first", MPROC_START_FORKSERVER, false, 0, WINDOW_START},
    {"forkserver", MPROC_START_FORKSERVER, true, 0, WINDOW_START},
    {"forkserver with a spare, first", MPROC_START_FORKSERVER, false, 1, WINDOW_START},
    {"forkserver with a spare", MPROC_START_FORKSERVER, true, 1, WINDOW_START},
    {"program, first", START_PROGRAM, false, -1, WINDOW_START},
    {"program", START_PROGRAM, true, -1, WINDOW_START},
    {"fork in a thread, first", MPROC_START_FORK, false, -1, WINDOW_THREAD},
    {"fork in a thread", MPROC_START_FORK, true, -1, WINDOW_THREAD},
    {"spawn in a thread, first", MPROC_START_SPAWN, false, -1, WINDOW_THREAD},
    {"spawn in a thread", MPROC_START_SPAWN, true, -1, WINDOW_THREAD},
    {"forkserver in a thread, first", MPROC_START_FORKSERVER, false, 1, WINDOW_THREAD},
    {"forkserver in a thread", MPROC_START_FORKSERVER, true, 0, WINDOW_THREAD},
    {"program in a thread", START_PROGRAM, true, -1, WINDOW_THREAD},
    {"fork, join", MPROC_START_FORK, true, -1, WINDOW_JOIN},
    {"spawn, join", MPROC_START_SPAWN, true, -1, WINDOW_JOIN},
    {"forkserver, join", MPROC_START_FORKSERVER, true, 1, WINDOW_JOIN},
    {"program, join", START_PROGRAM, true, -1, WINDOW_JOIN},
    {"fork, exit", MPROC_START_FORK, true, -1, WINDOW_EXIT},
    {"spawn, exit", MPROC_START_SPAWN, true, -1, WINDOW_EXIT},
    {"forkserver, exit", MPROC_START_FORKSERVER, true, 1, WINDOW_EXIT},
    {.name = NULL},
};
const start_scene *const start_scenes = scenes;
const char *const start_program = "startsweep";
const char *const start_names[] = {"parent", "nursery", "third",   "fourth",
                                   "fifth",  "sixth",   "seventh", "eighth"};

static int say(mproc_call *call)
{
    return write((int)mproc_call_arg(call, 0).number, "r", 1) == 1 ? 0 : 1;
}

/* Until it is killed. */
static int stays(mproc_call *call)
{
    int rc = say(call);
    while (rc == 0)
        pause();
    return rc;
}

/* Until the gate is opened. */
static int goes(mproc_call *call)
{
    char byte;
    return say(call) == 0 && read((int)mproc_call_arg(call, 1).number, &byte, 1) == 1 ? 0 : 1;
}

static int nothing(mproc_call *call)
{
    (void)call;
    return 0;
}

/* ---- the parent ---- */

static mproc_deadline hard(void)
{
    return mproc_after_ms(support_ms(HARD_MS));
}

static int begin_program(mproc_fn *fn, int life_fd, int gate_fd, mproc_process **ret_process)
{
    char script[128] = "exit 0";
    int fds[2] = {life_fd, gate_fd};
    if (fn == stays)
        snprintf(script, sizeof(script), "printf r >/proc/self/fd/%d; exec sleep 1000", life_fd);
    else if (fn == goes)
        snprintf(script, sizeof(script), "printf r >/proc/self/fd/%d; read line </proc/self/fd/%d", life_fd,
                 gate_fd);
    return mproc_process_start_program(
        (const char *const[]){"/bin/sh", "-c", script, NULL},
        MPROC_WITH(mproc_program_options, .fds = fds, .fd_count = fn == nothing ? 0 : 1 + (gate_fd >= 0)),
        ret_process);
}

static int begin(const start_scene *scene, mproc_fn *fn, int life_fd, int gate_fd,
                 mproc_process **ret_process)
{
    if (scene->method == START_PROGRAM)
        return begin_program(fn, life_fd, gate_fd, ret_process);
    mproc_variant args = fn == nothing ? MPROC_NONE
                         : fn == goes  ? MPROC_ARGS(mproc_fd(life_fd), mproc_fd(gate_fd))
                                       : MPROC_ARGS(mproc_fd(life_fd));
    mproc_process_options options = {.size = sizeof(options),
                                     .start = (mproc_start)scene->method,
                                     .grace_ms = 1,
                                     .daemon = scene->window == WINDOW_EXIT};
    return mproc_process_start(fn, args, &options, ret_process);
}

/* The next start works. */
static int once_more(const start_scene *scene)
{
    mproc_process *process;
    int code = -1;
    if (begin(scene, nothing, -1, -1, &process) != 0)
        return 1;
    if (mproc_process_join(process, hard(), &code) != 0 || code != 0)
        return 2;
    mproc_process_close(&process);
    return 0;
}

static int end_child(mproc_process **process)
{
    int rc = mproc_process_stop(*process, hard());
    if (rc == -ETIMEDOUT || rc == -EBUSY || mproc_process_is_alive(*process))
        return 3;
    mproc_process_close(process);
    return 0;
}

static int window_start(const start_scene *scene, int life_fd)
{
    mproc_process *process = NULL;
    raise(SIGSTOP);
    int rc = begin(scene, stays, life_fd, -1, &process);
    atomic_store(&start_flags_shared->started, rc == 0 ? 1 : rc);
    raise(SIGSTOP);
    return rc == 0 ? end_child(&process) : 0;
}

typedef struct starter {
    const start_scene *scene;
    int life_fd, gate_fd;
    mproc_process *process;
} starter;

static void *starter_run(void *context)
{
    starter *of = context;
    int rc = begin(of->scene, goes, of->life_fd, of->gate_fd, &of->process);
    atomic_store(&start_flags_shared->started, rc == 0 ? 1 : rc);
    return NULL;
}

/* The thread that starts ends at once. */
static int window_thread(const start_scene *scene, int life_fd)
{
    starter of = {.scene = scene, .life_fd = life_fd};
    pthread_t thread;
    int gate[2], code = -1;
    if (pipe2(gate, O_CLOEXEC) < 0)
        return 4;
    of.gate_fd = gate[0];
    raise(SIGSTOP);
    if (pthread_create(&thread, NULL, starter_run, &of) != 0 || pthread_join(thread, NULL) != 0)
        return 4;
    raise(SIGSTOP);
    if (!of.process || write(gate[1], "\n", 1) != 1)
        return 6;
    int rc = mproc_process_join(of.process, hard(), &code);
    mproc_process_close(&of.process);
    return rc == 0 && code == 0 ? 0 : 7;
}

static int window_join(const start_scene *scene, int life_fd)
{
    int gate[2];
    mproc_process *process = NULL;
    if (pipe2(gate, O_CLOEXEC) < 0 || begin(scene, goes, life_fd, gate[0], &process) != 0)
        return 4;
    atomic_store(&start_flags_shared->started, 1);
    raise(SIGSTOP);
    int written = (int)write(gate[1], "\n", 1);
    int rc = mproc_process_join(process, hard(), NULL);
    mproc_process_close(&process);
    raise(SIGSTOP);
    return written == 1 && rc != -ETIMEDOUT ? 0 : 5;
}

/* It ends in the window, and its daemonic child with it. */
static int window_exit(const start_scene *scene, int life_fd)
{
    mproc_process *process = NULL;
    if (begin(scene, stays, life_fd, -1, &process) != 0)
        return 4;
    atomic_store(&start_flags_shared->started, 1);
    raise(SIGSTOP);
    return 0;
}

_Noreturn void start_parent(const start_scene *scene, int life_fd)
{
    static int (*const windows[])(const start_scene *scene, int life_fd) = {
        [WINDOW_START] = window_start,
        [WINDOW_THREAD] = window_thread,
        [WINDOW_JOIN] = window_join,
        [WINDOW_EXIT] = window_exit,
    };
    int rc = scene->spares >= 0 ? mproc_set_spares((unsigned)scene->spares) : 0;
    if (rc == 0 && scene->warm)
        rc = once_more(scene);
    if (rc == 0)
        rc = windows[scene->window](scene, life_fd);
    if (rc == 0 && scene->window != WINDOW_EXIT)
        rc = 10 * once_more(scene);
    exit(rc);
}
