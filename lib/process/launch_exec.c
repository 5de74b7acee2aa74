/* SPDX-License-Identifier: BSD-2-Clause */
/* This program anew, as a child.
 *
 * By posix_spawn, which shares memory until the exec: its cost does not grow with this process. It needs clone3, and has
 * another way only where the kernel says that it lacks it; sandboxes from before clone3 say EPERM. Then the same by vfork.
 * Not by vfork in any case: libc's gives the child a stack of its own, which a thread with a small one needs. */
#include "platform/base.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/boot.h"
#include "process/child.h"

/* The environment plus the marker that mproc_init in the child looks for. */
static char **environment_marked(char *marker)
{
    size_t count = 0;
    while (environ && environ[count])
        count++;
    char **copy = calloc(count + 2, sizeof *copy);
    if (copy && count)
        memcpy(copy, environ, count * sizeof *copy);
    if (copy)
        copy[count] = marker;
    return copy;
}

/* dup2 onto itself takes close-on-exec away (glibc 2.29 on), so this is right also when the socket is number
 * 3. */
static int spawn_prepare(const mproc__launch_options *options, int socket,
                         posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int rc = posix_spawn_file_actions_adddup2(actions, socket, MPROC__CHILD_SOCKET);
    if (rc == 0 && !options->keep_stdin)
        rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(actions, MPROC__CHILD_SOCKET + 1);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(attributes, &all);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(attributes, options->supervises ? &all : &none);
    if (rc == 0)
        rc = posix_spawnattr_setflags(attributes, (short)(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
                                                          (options->supervises ? POSIX_SPAWN_SETPGROUP : 0)));
    return rc;
}

static int spawn_exec(const mproc__launch_options *options, int socket, char **environment, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int rc = spawn_prepare(options, socket, &actions, &attributes);
    if (rc == 0)
        rc =
            posix_spawn(ret_pid, "/proc/self/exe", &actions, &attributes, mproc__process_argv(), environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -rc;
}

/* ---- by vfork ---- */

_Noreturn static void vfork_child(const mproc__launch_options *options, int socket, char **environment,
                                  volatile int *error)
{
    sigset_t all;
    int input = options->keep_stdin ? 0 : open("/dev/null", O_RDONLY);
    bool well = input >= 0 && (input == 0 || (dup2(input, 0) == 0 && close(input) == 0));
    well = well && (socket == MPROC__CHILD_SOCKET ? fcntl(socket, F_SETFD, 0)
                                                  : dup2(socket, MPROC__CHILD_SOCKET)) >= 0;
    if (well && options->supervises)
        well = setpgid(0, 0) == 0;
    if (well) {
        mproc__fd_close_others(MPROC__CHILD_SOCKET + 1, NULL, 0);
        mproc__signals_reset();
        if (options->supervises)
            mproc__signals_block(&all);
        execve("/proc/self/exe", mproc__process_argv(), environment);
    }
    *error = errno;
    _exit(127);
}

/* All signals are blocked meanwhile: no handler of this process runs in the child, which has its memory. */
static int vfork_exec(const mproc__launch_options *options, int socket, char **environment, pid_t *ret_pid)
{
    sigset_t mask;
    volatile int error = 0;
    mproc__signals_block(&mask);
    pid_t pid = vfork();
    if (pid == 0)
        vfork_child(options, socket, environment, &error);
    if (pid < 0)
        error = errno;
    mproc__signals_restore(&mask);
    if (pid > 0 && error)
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    *ret_pid = pid;
    return -error;
}

/* ---- either ---- */

int mproc__launch_exec(const mproc__launch_options *options, int socket, pid_t *ret_pid)
{
    char marker[64];
    snprintf(marker, sizeof marker, MPROC__CHILD_MARKER "=%d", (int)mproc__pid());
    char **environment = environment_marked(marker);
    if (!environment)
        return mproc__fail(-ENOMEM, "start: no memory for the child's environment");
    int rc = spawn_exec(options, socket, environment, ret_pid);
    if (rc == -EPERM)
        rc = vfork_exec(options, socket, environment, ret_pid);
    free(environment);
    return rc == 0 ? 0 : mproc__fail(rc, "start: running this program anew: %s", mproc_strerror(rc));
}
