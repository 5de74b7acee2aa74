/* SPDX-License-Identifier: BSD-2-Clause */
/* Starting a child: by fork, or by running this program anew.
 *
 * Rejected: vfork or a raw clone for the fork method (libc's idea of the thread id stays the parent's, which
 * poisons robust locks), and a child that runs on without a word: until "go" it waits, so that its pidfd is
 * taken while it certainly lives (a program that ignores SIGCHLD has no zombies to hold the pid) and a
 * watcher has it before the first line of user code. That costs one socket pair and one wake-up, 40 us beside
 * the 150 us of the smallest fork. */
#include "platform/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

#include "platform/digest.h"
#include "platform/story.h"
#include "process/boot.h"
#include "process/child.h"
#include "process/leash.h"
#include "process/own_fds.h"
#include "process/patience.h"

/* ---- threads ---- */

/* Field 9 of a thread's stat: PF_EXITING. A thread that was joined may stay in the list for some microseconds
 * more. */
static bool thread_exits(const char *tid)
{
    enum { PF_EXITING = 4 };
    char path[64], line[512];
    unsigned flags = 0;
    snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", tid);
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT;
    const char *at = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    if (at)
        (void)sscanf(at, ") %*c %*d %*d %*d %*d %*d %u", &flags);
    fclose(file);
    return flags & PF_EXITING;
}

/* The library's own thread, while it holds nothing that a copy of the process would miss; 0: none. */
MPROC__FORK_DATA static _Atomic pid_t own_thread;

MPROC__FORK_TEXT void mproc__launch_thread_own(pid_t tid)
{
    atomic_store(&own_thread, tid);
}

/* Counts no further than `most`, and leaves out `except`. Where the list cannot be opened, as with a full table of descriptors,
 * its links say how many there are. 0: not known. */
static unsigned threads_running(unsigned most, pid_t except)
{
    struct stat status;
    unsigned count = 0, links = 0;
    /* Two links more than threads: one system call in the usual case of one thread. */
    if (stat("/proc/self/task", &status) == 0)
        links = (unsigned)status.st_nlink;
    if (links == 3)
        return 1;
    mproc__own_fds_begin(); /* no other thread's child gets what is open here */
    DIR *directory = opendir("/proc/self/task");
    for (struct dirent *entry; directory && count < most && (entry = readdir(directory));)
        count += entry->d_name[0] != '.' && (except == 0 || atoi(entry->d_name) != except) &&
                 !thread_exits(entry->d_name);
    if (directory)
        closedir(directory);
    mproc__own_fds_end();
    if (directory)
        return count;
    return links > 3 ? links - 2 - (except != 0) : 0;
}

int mproc__launch_threads_check(void)
{
    unsigned count = threads_running(UINT_MAX, atomic_load(&own_thread));
    if (count <= 1)
        return 0;
    return mproc__fail(
        MPROC_ETHREADS,
        "fork refused: %u threads run, and what they have locked stays locked in the copy; use spawn "
        "or forkserver, or ask for MPROC_START_FORK by name",
        count);
}

/* libc knows of no other thread, or the kernel shows none: those that another library made past libc use no streams. */
static bool is_alone(void)
{
#if __has_include(<sys/single_threaded.h>)
    if (__libc_single_threaded)
        return true;
#endif
    return threads_running(2, 0) == 1;
}

/* Buffered output must not come out once per process. A thread may sleep in a read with its stream locked,
 * where fflush(NULL) would wait for it; then the two that matter are flushed if they are free, and the child forgets the
 * rest. Whether there are other threads. */
static bool flush_streams(void)
{
    if (is_alone()) {
        fflush(NULL);
        return false;
    }
    FILE *streams[] = {stdout, stderr};
    for (size_t i = 0; i < MPROC__COUNT(streams); i++)
        if (ftrylockfile(streams[i]) == 0) {
            fflush(streams[i]);
            funlockfile(streams[i]);
        }
    return true;
}

/* A sandbox that denies it would let children live that nobody can end: neither the program nor, when that has died, the
 * nursery. */
int mproc__launch_check(int pidfd)
{
    int rc = mproc__pidfd_signal(pidfd, 0);
    if (rc == 0 || rc == -ESRCH)
        return 0;
    return mproc__fail(rc, "start: the child cannot be ended: pidfd_send_signal: %s", mproc_strerror(rc));
}

/* ---- both methods: from the child's existence to its report ---- */

typedef struct launch {
    pid_t pid;
    int pidfd;
    int socket;   /* our end of the conversation */
    int leash[2]; /* tied, not yet made; -1: none */
} launch;

/* Whether the kernel drops ended children at once, so that a pid may be another's by now. */
static bool children_vanish(void)
{
    struct sigaction action;
    return sigaction(SIGCHLD, NULL, &action) < 0 || action.sa_handler == SIG_IGN ||
           (action.sa_flags & SA_NOCLDWAIT);
}

/* The child is gone when this returns. Closing the socket ends one that still waits, also where signals are denied; the
 * pidfd ends it anywhere, or its pid, which is its own until it is waited for. */
static int launch_undo(launch *child, int code)
{
    siginfo_t info;
    mproc__own_fd_close(child->socket);
    mproc__leash_close(child->leash);
    if (child->pidfd >= 0)
        mproc__pidfd_signal(child->pidfd, SIGKILL);
    else if (child->pidfd != -ESRCH && !children_vanish())
        (void)kill(child->pid, SIGKILL);
    while (waitid(child->pidfd >= 0 ? P_PIDFD : P_PID, (id_t)(child->pidfd >= 0 ? child->pidfd : child->pid),
                  &info, WEXITED) < 0 &&
           errno == EINTR) {
    }
    if (child->pidfd >= 0)
        mproc__own_fd_close(child->pidfd);
    return code;
}

static int launch_lost(launch *child, int code)
{
    if (code == MPROC_EDIED)
        mproc__fail_number(MPROC_ERROR_PID, child->pid);
    return launch_undo(child, code);
}

/* A pidfd by which it can be ended. */
static int launch_identify(launch *child)
{
    child->pidfd = mproc__own_pidfd_open(child->pid);
    if (child->pidfd == -ESRCH)
        return mproc__fail(MPROC_EDIED, "start: the child ended in its first steps");
    if (child->pidfd < 0)
        return mproc__fail(child->pidfd, "start: no descriptor for the child: pidfd_open: %s",
                           mproc_strerror(child->pidfd));
    return mproc__launch_check(child->pidfd);
}

static int launch_finish(const mproc__launch_options *options, const mproc__boot_load *load, launch *child)
{
    int rc = launch_identify(child);
    if (rc < 0)
        return launch_lost(child, rc);
    /* It may have ended, and its pid may be another's: then it will not report, and nothing is asked for. */
    if (options->ret_leash)
        (void)mproc__leash_tie(child->pid, child->leash);
    rc = options->before_go ? options->before_go(child->pid, child->pidfd, options->context) : 0;
    if (rc < 0) /* also MPROC_EDIED, which is not this child's death but its watcher's: it has said nothing */
        return launch_undo(child, rc);
    rc = load ? mproc__boot_send(child->socket, child->pidfd, load) : mproc__boot_send_go(child->socket);
    if (rc == 0 && options->unless_stopped)
        rc = mproc__boot_wait(child->socket, POLLIN, child->pidfd, child->pid);
    if (rc == 0 || rc == MPROC_EDIED) {
        /* A child that failed and left has said why before. */
        int said = mproc__boot_await(child->socket, child->pidfd);
        rc = said < 0 ? said : rc;
    }
    if (rc < 0)
        return launch_lost(child, rc);
    mproc__own_fd_close(child->socket);
    if (child->leash[0] >= 0 && mproc__leash_make(child->leash))
        memcpy(options->ret_leash, child->leash, sizeof child->leash);
    else
        mproc__leash_close(child->leash);
    if (!options->own_pidfd)
        mproc__own_fd_release(child->pidfd);
    return 0;
}

static void launch_take(const int sockets[2], launch *child)
{
    mproc__own_fd_close(sockets[1]);
    child->socket = sockets[0];
}

/* ---- fork ---- */

/* Between the look and the fork another thread began to load libcrypto. */
_Noreturn static void child_again(int socket)
{
    (void)mproc__boot_report(
        socket,
        mproc__fail(-EDEADLK, "the child's first steps: another thread loaded libcrypto at each fork"));
    _exit(1);
}

MPROC__FORK_TEXT static int launch_fork(const mproc__launch_options *options, unsigned patience_ms,
                                        launch *child)
{
    mproc__self self;
    sigset_t mask;
    int sockets[2];
    mproc__boot_self(options, &self);
    int rc = mproc__boot_pair_own(SOCK_STREAM, sockets);
    if (rc < 0)
        return rc;
    if (!flush_streams())
        patience_ms = 0;
    bool settled = mproc__digest_settled();
    mproc__signals_block(&mask);
    mproc__own_fd_keep(sockets[1], options->keep_fds, options->keep_count);
    child->pid = fork();
    if (child->pid == 0) {
        mproc__start_forget();
        if (settled && mproc__digest_torn())
            child_again(sockets[1]);
        mproc__child_forked(options, &self, sockets[1], patience_ms);
    }
    rc = -errno;
    mproc__own_fd_keep(-1, NULL, 0);
    mproc__signals_restore(&mask);
    launch_take(sockets, child);
    if (child->pid > 0)
        return launch_finish(options, NULL, child);
    mproc__own_fd_close(child->socket);
    return mproc__fail(rc, "start: fork: %s", mproc_strerror(rc));
}

/* Beside other threads a copy may have to be given up and made again: patience.h. */
static int launch_fork_until(const mproc__launch_options *options, launch *child)
{
    int rc = launch_fork(options, MPROC__PATIENCE_MS, child);
    for (unsigned i = 1; rc == -EDEADLK && i < MPROC__PATIENCE_TRIES; i++) {
        mproc__patience_turn();
        rc = launch_fork(options, MPROC__PATIENCE_MS << i / MPROC__PATIENCE_EACH, child);
    }
    return rc;
}

/* ---- spawn ---- */

static int launch_spawn(const mproc__launch_options *options, launch *child)
{
    mproc__boot_load load;
    int sockets[2];
    int rc = mproc__process_main_check();
    if (rc < 0)
        return rc;
    rc = mproc__boot_pack(options, &load);
    if (rc == 0)
        rc = mproc__boot_pair_own(SOCK_STREAM, sockets);
    if (rc == 0) {
        rc = mproc__launch_exec(options, sockets[1], &child->pid);
        launch_take(sockets, child);
        load.unless_stopped = options->unless_stopped ? child->pid : 0;
        if (rc == 0)
            rc = launch_finish(options, &load, child);
        else
            mproc__own_fd_close(child->socket);
    }
    mproc__boot_load_clear(&load, false);
    return rc;
}

int mproc__launch(const mproc__launch_options *options, pid_t *ret_pid, int *ret_pidfd)
{
    launch child = {.pidfd = -1, .socket = -1, .leash = {-1, -1}};
    if (options->name && strlen(options->name) >= MPROC__NAME_BYTES)
        return mproc__fail(-ENAMETOOLONG, "start: a name of %zu bytes; %d are the most",
                           strlen(options->name), MPROC__NAME_BYTES - 1);
    int rc = options->start == MPROC_START_FORK ? launch_fork_until(options, &child)
                                                : launch_spawn(options, &child);
    if (rc < 0)
        return rc;
    *ret_pid = child.pid;
    *ret_pidfd = child.pidfd;
    return 0;
}
