/* SPDX-License-Identifier: BSD-2-Clause */
/* The child's first steps, the function, and the end.
 *
 * Each step stands where it does because of a hazard; the parent hears of a failing one by name.
 *
 *  1  all signals blocked (the parent did so across the fork; a spawned child was exec'd with defaults): no
 *     handler of the parent runs here.
 *  2  SIGKILL for the parent's death, until step 9: nobody watches this process yet. It comes when the
 *     parent's *thread* ends, which sits in the start call meanwhile. A parent dead before shows in getppid.
 *  3  what was received (spawn, forkserver) or is memory (fork): the boot record.
 *  4  descriptors: standard input is the null device, or two processes would share the terminal's lines; streams
 *     forget what other threads of the parent had written (fork); a nursery's child closes all that is the
 *     nursery's, cannot write any more where nursery and owner do, and takes the requester's directory,
 *     environment and streams.
 *  5  identity, process group (forkserver), key, stop word, name, log level.
 *  6  signals: default dispositions, then the empty mask.
 *  7  the function's address, then limits: after all that the library needs for itself, before anything of the caller's: what
 *     arguments take counts, and does not fit, is an error of the start.
 *  8  arguments: last, because it runs code of every noun that was handed over.
 *  9  wait for "go" (fork), drop the parent-death signal unless it shall stay, report, close the boot socket; a nursery's
 *     child does not begin when its requester has died.
 * 10  the function.
 * 11  the end: exit(), so that exit handlers of this child run; those that it inherited by fork do not, see
 *     child_leave.
 *
 * Who takes which: fork 1, 2, 4 to 7, 9; spawn 2, 3, 5, 7 to 9, with 4 and 6 done by the exec (launch_exec.c); a child of the
 * nursery 1, 2, its own of 4, 6, then 3, the requester's of 4, 5, 7 to 9; a spare as that, where all before 3 is done while it
 * is blank. A program is exec'd by the nursery and has steps of its own, numbered in program_child.c. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/single_threaded.h>
#include <sys/socket.h>
#include <unistd.h>

#include "platform/story.h"
#include "process/boot.h"
#include "process/child.h"
#include "process/family.h"
#include "process/patience.h"
#include "process/supervise.h"
#include "process/surroundings.h"

/* ---- the end ---- */

/* Exit handlers run latest first. This one was registered as the child's first: behind it are only those of
 * the process it was forked from, which belong to that process alone. Without other threads, which may be about to open a
 * stream, a look spares a short child the two pages of code that find nothing to flush. */
MPROC__FORK_TEXT static void child_leave(int status, void *unused)
{
    (void)unused;
    if (!__libc_single_threaded || mproc__child_streams_unwritten())
        fflush(NULL);
    _exit(status);
}

_Noreturn static void child_fail(int socket, int code)
{
    (void)mproc__boot_report(socket, code);
    _exit(1);
}

/* Step 10. */
MPROC__FORK_TEXT static int child_call(mproc_fn *fn, mproc_variant args)
{
    const mproc__self *self = mproc__self_get();
    return mproc__child_call(self->name, self->fn_name, self->stop_word, fn, args);
}

/* ---- steps ---- */

/* Step 2. */
MPROC__FORK_TEXT static void step_watch_parent(int socket, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        child_fail(socket, mproc__fail(-errno, "the child's first steps: parent-death signal: %s",
                                       mproc_strerror(-errno)));
    pid_t now = getppid();
    if (now != parent && now != 0) /* 0: the parent is outside this pid namespace */
        _exit(1);
}

/* Step 4. */
MPROC__FORK_TEXT static void step_stdin(int socket)
{
    MPROC__FORK_DATA static char null_device[] = "/dev/null";
    int fd = open(null_device, O_RDONLY);
    if (fd < 0)
        child_fail(socket,
                   mproc__fail(-errno, "the child's first steps: /dev/null: %s", mproc_strerror(-errno)));
    if (fd != 0) {
        dup2(fd, 0);
        close(fd);
    }
    mproc__child_stdin_forget();
}

/* Step 5. */
MPROC__FORK_TEXT static void step_name(void)
{
    prctl(PR_SET_NAME, mproc__self_get()->name);
    mproc__log_name_process(mproc__self_get()->name);
}

/* Step 7. */
static void step_limits_forked(int socket, const mproc__limits *limits)
{
    if (!limits)
        return;
    int rc = mproc__limits_step(limits);
    if (rc < 0)
        child_fail(socket, rc);
    if (limits->cgroup_fd >= 0)
        close(limits->cgroup_fd); /* the copy */
}

/* Step 9. The parent-death signal is gone, and the watcher may be half-way: a report that nobody can read any more is the
 * last moment at which a dead parent's child does not begin. */
MPROC__FORK_TEXT static void step_go(int socket, bool die_with_parent)
{
    if (!die_with_parent)
        prctl(PR_SET_PDEATHSIG, 0);
    if (mproc__boot_report(socket, 0) < 0)
        _exit(1);
    close(socket);
}

/* Of a spare: the nursery keeps both ends of its socket, and that the report was sent does not say that there is anybody to
 * read it. */
MPROC__FORK_TEXT static void step_begin(mproc__child_origin origin)
{
    if (origin == MPROC__CHILD_SPARE && mproc__supervised_orphan())
        _exit(1);
}

/* The same of a child that the nursery has forked for a requester: with the report the requester gets a descriptor of it,
 * while it certainly lives. A message before, by itself, would wake the requester twice. */
MPROC__FORK_TEXT static void step_go_served(int socket, int pidfd, const mproc__limits *limits)
{
    int rc = mproc__limits_descriptors(limits, false);
    if (rc == 0)
        rc = mproc__boot_report_pidfd(socket, getpid(), pidfd);
    if (rc < 0)
        child_fail(socket,
                   mproc__fail(rc, "the child's first steps: sending its pidfd: %s", mproc_strerror(rc)));
    if (mproc__limits_descriptors(limits, true) < 0)
        _exit(1); /* it only goes down, as it did before */
    close(pidfd);
    close(socket);
}

/* Before the caller's limits, which do not count what the library needs. */
MPROC__FORK_TEXT static int step_pidfd(mproc__child_origin origin, int *ret_pidfd)
{
    *ret_pidfd = -1;
    if (origin != MPROC__CHILD_SERVED)
        return 0;
    *ret_pidfd = mproc__pidfd_open(getpid()); /* mproc__pid would cost two pages, here first touched */
    if (*ret_pidfd >= 0)
        return 0;
    return mproc__fail(*ret_pidfd, "the child's first steps: pidfd: %s", mproc_strerror(*ret_pidfd));
}

MPROC__FORK_TEXT static void step_exit_barrier(int socket)
{
    if (on_exit(child_leave, NULL) != 0)
        child_fail(socket, mproc__fail(-ENOMEM, "the child's first steps: no memory for an exit handler"));
}

/* ---- fork ---- */

MPROC__FORK_TEXT _Noreturn void mproc__child_forked(const mproc__launch_options *options,
                                                    const mproc__self *self, int socket, unsigned patience_ms)
{
    step_watch_parent(socket, self->parent_pid);
    if (!options->keep_stdin)
        step_stdin(socket);
    mproc__child_streams_forget();
    mproc__family_clear_forgotten();
    *mproc__self_get() = *self;
    step_name();
    if (options->supervises)
        (void)setpgid(0, 0);
    else
        mproc__signals_reset();
    mproc__patience_begin(socket, patience_ms);
    step_exit_barrier(socket);
    mproc__patience_end(patience_ms);
    step_limits_forked(socket, options->limits);
    if (mproc__boot_await_go(socket) < 0)
        _exit(1);
    step_go(socket, options->die_with_parent);
    exit(child_call(options->fn, options->args));
}

/* ---- spawn and forkserver ---- */

MPROC__FORK_TEXT static void step_standard_fds(mproc__boot_load *load)
{
    static const int target[] = {[MPROC__BOOT_STDOUT] = 1, [MPROC__BOOT_STDERR] = 2};
    for (int i = MPROC__BOOT_STDOUT; i <= MPROC__BOOT_STDERR; i++)
        if (load->fds[i] >= 0)
            dup2(load->fds[i], target[i]);
        else if (load->boot.served)
            close(target[i]); /* a forkserver child whose requester has it closed */
}

/* The strings stay: the environment points into them for the rest of this process. */
MPROC__FORK_TEXT static int step_environment(mproc__boot_load *load)
{
    if (!load->boot.environment_comes)
        return 0;
    int rc = mproc__environment_become(load->environment, load->boot.environment_bytes);
    if (rc < 0)
        return mproc__fail(rc, "the child's first steps: no memory for the environment");
    load->environment = NULL;
    return 0;
}

__attribute__((noinline)) static int stop_word_map(const mproc__boot_load *load)
{
    size_t offset = load->boot.stop_offset_bytes;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *at =
        mmap(NULL, page, PROT_READ, MAP_SHARED, load->fds[MPROC__BOOT_STOP], (off_t)(offset / page * page));
    if (at == MAP_FAILED)
        return mproc__fail(-errno, "the child's first steps: mapping the stop word: %s",
                           mproc_strerror(-errno));
    mproc__self_get()->stop_word = (const _Atomic uint32_t *)(void *)(at + offset % page);
    return 0;
}

MPROC__FORK_TEXT static int step_stop_word(const mproc__boot_load *load)
{
    if (load->boot.stop_mapped)
        mproc__self_get()->stop_word = mproc__slots_adopted(load->boot.stop_offset_bytes);
    return load->fds[MPROC__BOOT_STOP] < 0 ? 0 : stop_word_map(load);
}

/* Of a forkserver child, step 5: the nursery is a process group of its own, and Ctrl-C is for the requester's. In another
 * session by now, it stays in the nursery's. */
MPROC__FORK_TEXT static void step_group(const mproc__boot_load *load)
{
    if (load->boot.served)
        (void)setpgid(0, getpgid(load->boot.self.parent_pid));
}

/* A forkserver child has the key that the nursery was made with, and the program may have none any more. */
MPROC__FORK_TEXT static int step_key(const mproc__boot_load *load)
{
    if (load->key.set)
        return mproc_set_key(load->key.bytes, load->key.size_bytes);
    return load->boot.served ? mproc_set_key(NULL, 0) : 0;
}

/* Steps 4 and 5 from the boot record. */
MPROC__FORK_TEXT static int step_become(mproc__boot_load *load)
{
    step_standard_fds(load);
    if (load->fds[MPROC__BOOT_DIRECTORY] >= 0 && fchdir(load->fds[MPROC__BOOT_DIRECTORY]) < 0)
        return mproc__fail(-errno, "the child's first steps: working directory: %s", mproc_strerror(-errno));
    int rc = step_environment(load);
    if (rc < 0)
        return rc;
    step_group(load);
    *mproc__self_get() = load->boot.self;
    mproc__self_get()->stop_word = NULL;
    step_name();
    mproc__log_inherit(load->boot.self.log_level, load->boot.self.log_on_stderr);
    rc = step_stop_word(load);
    return rc == 0 ? step_key(load) : rc;
}

/* Step 7. */
MPROC__FORK_TEXT static int step_limits_received(mproc__boot_load *load, bool soft_descriptors)
{
    if (!load->boot.limits.asked)
        return 0;
    load->boot.limits.cgroup_fd = load->fds[MPROC__BOOT_CGROUP];
    load->boot.limits.soft_descriptors = soft_descriptors;
    return mproc__limits_step(&load->boot.limits);
}

/* Walks the way that a load will take, once, with a load of its own, so that the first write to each page, the first
 * look at each page of code and what the loader puts off until then lie behind when a start is waiting. Nothing depends on
 * its success. */
static int rehearsed(mproc_call *call)
{
    return mproc_call_int(call, 1) == 1 ? 0 : 1;
}

static void rehearse_arrival(int socket)
{
    mproc__boot_load load;
    mproc_variant args = mproc_null();
    mproc_fn *fn = NULL;
    if (mproc__boot_receive(socket, &load) == 0 && step_become(&load) == 0 &&
        mproc__function_unpack(&load.boot.function, &fn) == 0 &&
        mproc__parcel_unpack(&load.parcel, &args) == 0)
        (void)child_call(fn, args);
    (void)mproc__boot_report(socket, 0);
    mproc_variant_clear(&args);
    mproc__boot_load_clear(&load, true);
}

__attribute__((noinline)) static void step_rehearse(void)
{
    mproc__boot_load load;
    int sockets[2];
    mproc__launch_options options = {.start = MPROC_START_FORKSERVER,
                                     .fn = rehearsed,
                                     .args = MPROC_ARGS("text", 1),
                                     .name = "mproc-spare"};
    if (mproc__boot_pair(SOCK_STREAM, sockets) < 0)
        return;
    if (mproc__boot_pack(&options, &load) == 0 && mproc__boot_send(sockets[0], -1, &load) == 0)
        rehearse_arrival(sockets[1]);
    mproc__boot_load_clear(&load, false);
    close(sockets[0]);
    close(sockets[1]);
}

__attribute__((noinline)) static int arguments_unpack(mproc__boot_load *load, mproc_variant *ret_args)
{
    char why[256];
    int rc = mproc__parcel_unpack(&load->parcel, ret_args);
    if (rc == 0)
        return 0;
    snprintf(why, sizeof why, "%s", mproc_error_text(mproc_last_error()));
    return mproc__fail(rc, "the child's first steps: its arguments: %s", why);
}

MPROC__FORK_TEXT static int step_arguments(mproc__boot_load *load, mproc_variant *ret_args)
{
    *ret_args = mproc_null();
    return load->parcel.size_bytes > 0 ? arguments_unpack(load, ret_args) : 0;
}

MPROC__FORK_TEXT _Noreturn void mproc__child_received(int socket, pid_t parent, mproc__child_origin origin)
{
    mproc__boot_load load;
    mproc_variant args = mproc_null();
    mproc_fn *fn = NULL;
    /* Of what fails before it is anybody's child nobody hears: who takes a dead spare takes another. */
    int told = origin == MPROC__CHILD_SPARE ? -1 : socket;
    step_watch_parent(told, parent);
    if (origin != MPROC__CHILD_EXECD) {
        mproc__fd_close_others(3, &socket, 1);
        mproc__supervised_signals();
        if (mproc__supervised_begin() < 0)
            child_fail(told, mproc__story()->code);
        mproc__child_stdin_forget(); /* the nursery's input is the null device */
        step_exit_barrier(told);
    }
    if (origin == MPROC__CHILD_SPARE)
        step_rehearse();
    int pidfd = -1;
    int rc = mproc__boot_receive(socket, &load);
    if (rc == 0)
        rc = step_become(&load);
    if (rc == 0)
        rc = step_pidfd(origin, &pidfd);
    if (rc == 0)
        rc = mproc__function_unpack(&load.boot.function,
                                    &fn); /* may load libcrypto, which limits do not count */
    if (rc == 0)
        rc = step_limits_received(&load, pidfd >= 0);
    if (rc == 0)
        rc = step_arguments(&load, &args);
    if (rc < 0)
        child_fail(socket, rc);
    if (pidfd >= 0)
        step_go_served(socket, pidfd, &load.boot.limits);
    else
        step_go(socket, load.boot.die_with_parent);
    mproc__boot_load_clear(&load, true);
    step_begin(origin);
    int code = child_call(fn, args);
    mproc_variant_clear(&args);
    exit(code);
}
