/* SPDX-License-Identifier: BSD-2-Clause */
/* The owner's side of the nursery: made, asked, replaced when it has died, ended with the program. */
#include "platform/base.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/boot.h"
#include "process/family.h"
#include "process/nursery.h"
#include "process/own_fds.h"
#include "process/preload.h"
#include "process/spare.h"
#include "process/surroundings.h"

enum { NURSERY_LEAVE_MS = 2000, NURSERY_LOOK_MS = 10 };

/* Held while it is made or ended, which takes as long as a program that is slow before mproc_init. Neither is taken by
 * forks, which happen under it (a program without mproc_init): a fork child makes both anew. */
MPROC__FORK_DATA static pthread_mutex_t nursery_making = PTHREAD_MUTEX_INITIALIZER;
/* Guards the pointer, for a moment, inside the other; the pointer changes under both. */
MPROC__FORK_DATA static pthread_mutex_t nursery_lock = PTHREAD_MUTEX_INITIALIZER;
MPROC__FORK_DATA static mproc__nursery *nursery_now; /* the present one of this process, or NULL */
MPROC__FORK_DATA static mproc__nursery
    *nursery_forgotten; /* of the process this one was forked from, or NULL */

/* ---- made and let go ---- */

void mproc__nursery_keep(mproc__nursery *nursery)
{
    atomic_fetch_add(&nursery->references, 1);
}

static void nursery_close_fds(mproc__nursery *nursery)
{
    if (nursery->socket >= 0)
        mproc__own_fd_close(nursery->socket);
    if (nursery->pidfd >= 0)
        mproc__own_fd_close(nursery->pidfd);
    nursery->socket = nursery->pidfd = -1;
}

void mproc__nursery_release(mproc__nursery *nursery)
{
    if (!nursery || atomic_fetch_sub(&nursery->references, 1) != 1)
        return;
    nursery_close_fds(nursery);
    mproc__segment_release(nursery->segment);
    free(nursery->environment);
    free(nursery);
}

static int nursery_segment(mproc__nursery *nursery)
{
    mproc__own_fds_begin();
    int rc = mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_PROCESS, "nursery",
                                   sizeof(mproc__nursery_shared), 0, &nursery->segment);
    if (rc == 0)
        mproc__own_fd_note(mproc__segment_fd(nursery->segment));
    mproc__own_fds_end();
    if (rc < 0)
        return rc;
    nursery->shared = mproc__segment_root(nursery->segment);
    return mproc__segment_join(nursery->segment);
}

static int nursery_launch(mproc__nursery *nursery, int row, bool unless_stopped)
{
    int sockets[2], stop_fd;
    int rc = mproc__slots_share(&stop_fd);
    if (rc == 0)
        rc = mproc__environment_copy(&nursery->environment, &nursery->environment_bytes);
    if (rc == 0)
        rc = mproc__boot_pair_own(SOCK_SEQPACKET, sockets);
    if (rc < 0)
        return rc;
    nursery->socket = sockets[0];
    bool serves = mproc__process_main_called(); /* else it only watches, and a fork closes the stop words */
    const int keep[] = {mproc__segment_fd(nursery->segment), sockets[1]};
    mproc__launch_options options = {
        .start = serves ? MPROC_START_SPAWN : MPROC_START_FORK,
        .fn = mproc__nursery_main,
        .args = MPROC_ARGS(mproc_fd(mproc__segment_fd(nursery->segment)), mproc_fd(sockets[1]), row,
                           mproc__preload_take(), serves ? mproc_fd(stop_fd) : mproc_null(),
                           mproc_bytes(nursery->environment, nursery->environment_bytes)),
        .name = "mproc-nursery",
        .supervises = true,
        .unless_stopped = unless_stopped,
        .own_pidfd = true,
        .keep_fds = keep,
        .keep_count = MPROC__COUNT(keep),
    };
    rc = mproc__launch(&options, &nursery->pid, &nursery->pidfd);
    mproc__own_fd_close(sockets[1]);
    return rc;
}

static int nursery_create(bool unless_stopped, mproc__nursery **ret_nursery)
{
    mproc__nursery *nursery = calloc(1, sizeof *nursery);
    if (!nursery)
        return mproc__fail(-ENOMEM, "start: no memory for the nursery");
    nursery->socket = nursery->pidfd = -1;
    atomic_store(&nursery->references, 1);
    int rc = nursery_segment(nursery);
    if (rc >= 0)
        rc = nursery_launch(nursery, rc, unless_stopped);
    if (nursery->segment) /* the nursery has it, and nobody else is to */
        mproc__own_fd_close(mproc__segment_fd_take(nursery->segment));
    if (rc == 0) {
        *ret_nursery = nursery;
        return 0;
    }
    char why[256];
    snprintf(why, sizeof why, "%s", mproc_error_text(mproc_last_error()));
    mproc__nursery_release(nursery);
    return mproc__fail(rc, "start: making the program's nursery: %s", why);
}

static void nursery_reap(mproc__nursery *nursery)
{
    siginfo_t info;
    while (waitid(P_PIDFD, (id_t)nursery->pidfd, &info, WEXITED) < 0 && errno == EINTR) {
    }
}

static void nursery_set(mproc__nursery *nursery)
{
    pthread_mutex_lock(&nursery_lock);
    nursery_now = nursery;
    pthread_mutex_unlock(&nursery_lock);
}

static void nursery_discard(void)
{
    mproc__nursery *old = nursery_now;
    nursery_set(NULL); /* before it is freed: a fork child looks here without the lock */
    nursery_reap(old);
    mproc__nursery_release(old);
}

static int nursery_renew(bool unless_stopped, mproc__nursery **ret_nursery)
{
    mproc__nursery *made = NULL;
    int rc = 0;
    /* Its life word tells before the kernel has taken it down; then it is a matter of microseconds. */
    if (nursery_now && (mproc__pidfd_ended(nursery_now->pidfd) == 1 || mproc__nursery_gone(nursery_now)))
        nursery_discard();
    if (!nursery_now && (rc = nursery_create(unless_stopped, &made)) == 0)
        nursery_set(made);
    if (rc == 0) {
        mproc__nursery_keep(nursery_now);
        *ret_nursery = nursery_now;
    }
    pthread_mutex_unlock(&nursery_making);
    return rc;
}

int mproc__nursery_get(mproc__nursery **ret_nursery)
{
    pthread_mutex_lock(&nursery_making);
    return nursery_renew(false, ret_nursery);
}

int mproc__nursery_try(mproc__nursery **ret_nursery)
{
    return pthread_mutex_trylock(&nursery_making) == 0 ? nursery_renew(true, ret_nursery) : -EBUSY;
}

mproc__nursery *mproc__nursery_present(void)
{
    pthread_mutex_lock(&nursery_lock);
    mproc__nursery *nursery = nursery_now;
    if (nursery)
        mproc__nursery_keep(nursery);
    pthread_mutex_unlock(&nursery_lock);
    return nursery;
}

void mproc__nursery_stop(void)
{
    pthread_mutex_lock(&nursery_making);
    if (nursery_now) {
        atomic_store_explicit(&nursery_now->shared->stop, 1, memory_order_release);
        mproc__eventcount_post(&nursery_now->shared->command, true);
        /* It only has to wake up and leave; one that is stopped or frozen shall not hold up the program's
         * end. */
        if (mproc__fd_poll(nursery_now->pidfd, POLLIN, mproc_after_ms(NURSERY_LEAVE_MS)) < 0)
            mproc__pidfd_signal(nursery_now->pidfd, SIGKILL);
        nursery_discard();
    }
    pthread_mutex_unlock(&nursery_making);
}

MPROC__FORK_TEXT void mproc__nursery_forget_fds(mproc__nursery *nursery)
{
    nursery->socket = nursery->pidfd = -1;
}

MPROC__FORK_TEXT void mproc__nursery_forget(void)
{
    nursery_making = nursery_lock =
        (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* a call is another page of libc */
    mproc__spares_forget();
    if (!nursery_now)
        return;
    mproc__nursery_forget_fds(nursery_now);
    nursery_forgotten = nursery_now;
    nursery_now = NULL;
}

MPROC__FORK_TEXT void mproc__nursery_clear_forgotten(void)
{
    pthread_mutex_lock(&nursery_lock);
    mproc__nursery_release(nursery_forgotten);
    nursery_forgotten = NULL;
    pthread_mutex_unlock(&nursery_lock);
}

/* ---- asked ---- */

int mproc__nursery_died(const mproc__nursery *nursery)
{
    return mproc__fail(MPROC_EDIED, "start: the program's nursery (pid %d) has died", (int)nursery->pid);
}

int mproc__nursery_command_send(mproc__nursery *nursery, uint32_t verb, unsigned slot, int socket)
{
    mproc__nursery_command command = {.verb = verb, .slot = slot};
    int rc = mproc__fd_send(nursery->socket, &command, sizeof command, &socket, 1, MPROC_FOREVER);
    if (rc == -EPIPE || rc == -ECONNRESET)
        return mproc__nursery_died(nursery);
    if (rc < 0)
        return mproc__fail(rc, "start: telling the program's nursery: %s", mproc_strerror(rc));
    mproc__eventcount_post(&nursery->shared->command, true);
    return 0;
}

void mproc__nursery_doom(mproc__nursery *nursery, unsigned slot)
{
    atomic_store_explicit(&nursery->shared->slots[slot].doomed, 1, memory_order_release);
    atomic_store_explicit(&nursery->shared->doom, 1, memory_order_release);
    mproc__eventcount_post(&nursery->shared->command, true);
}

/* A child whose pid did not arrive shall not run on. */
static void program_undo(mproc__nursery *nursery, unsigned slot)
{
    mproc__nursery_doom(nursery, slot);
    mproc__nursery_await_undone(nursery, slot);
}

int mproc__nursery_program(mproc__nursery *nursery, unsigned slot, int mine, int socket, pid_t *ret_pid,
                           int *ret_pidfd, bool *ret_begun)
{
    _Atomic uint32_t *state = &nursery->shared->slots[slot].state;
    mproc_error story;
    bool told;
    atomic_store_explicit(state, MPROC__SLOT_FREE, memory_order_release);
    *ret_begun = false;
    int rc = mproc__nursery_command_send(nursery, MPROC__NURSERY_PROGRAM, slot, socket);
    mproc__own_fd_close(socket);
    if (rc < 0)
        return rc;
    rc = mproc__boot_await_program(mine, nursery->pidfd, ret_pid, ret_pidfd, &told);
    *ret_begun = atomic_load_explicit(state, memory_order_acquire) != MPROC__SLOT_FREE;
    if (rc == 0 && (rc = mproc__launch_check(*ret_pidfd)) == 0)
        return 0;
    if (told)
        return rc;
    if (*ret_pidfd >= 0)
        mproc__own_fd_close(*ret_pidfd);
    *ret_pidfd = -1;
    mproc__story_copy(mproc__story(), &story);
    program_undo(nursery, slot);
    mproc__story_copy(&story, mproc__story());
    if (rc == MPROC_EDIED && !*ret_begun && mproc__nursery_lives(nursery))
        rc = mproc__fail(-EMFILE, "start_program: the nursery has no room for descriptors");
    return rc;
}

/* ---- limits ---- */

bool mproc__nursery_allow(mproc__nursery *nursery, int code)
{
    static const int limits[] = {RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_AS};
    struct rlimit ours, its;
    bool allowed = false;
    if ((code != -EAGAIN && code != -EMFILE && code != -ENOMEM) || mproc__pidfd_ended(nursery->pidfd) != 0)
        return false;
    for (size_t i = 0; i < MPROC__COUNT(limits); i++) {
        if (getrlimit(limits[i], &ours) < 0 || prlimit(nursery->pid, limits[i], NULL, &its) < 0 ||
            ours.rlim_cur <= its.rlim_cur || its.rlim_cur >= its.rlim_max)
            continue;
        its.rlim_cur = ours.rlim_cur < its.rlim_max ? ours.rlim_cur : its.rlim_max;
        allowed = prlimit(nursery->pid, limits[i], &its, NULL) == 0 || allowed;
    }
    return allowed;
}

/* ---- ends ---- */

bool mproc__nursery_lives(mproc__nursery *nursery)
{
    unsigned row = atomic_load_explicit(&nursery->shared->row, memory_order_acquire);
    return row > 0 && mproc__segment_row_pid(nursery->segment, row - 1) == nursery->pid &&
           mproc__segment_row_alive(nursery->segment, row - 1);
}

/* One that is new and has no row yet is asked for by its pidfd, which says so later: a nursery may be a copy of a large
 * program, whose memory is freed first. */
bool mproc__nursery_gone(mproc__nursery *nursery)
{
    if (atomic_load_explicit(&nursery->shared->row, memory_order_acquire) > 0)
        return !mproc__nursery_lives(nursery);
    return mproc__pidfd_ended(nursery->pidfd) == 1;
}

bool mproc__nursery_reaped(mproc__nursery *nursery, unsigned slot)
{
    return atomic_load_explicit(&nursery->shared->slots[slot].state, memory_order_acquire) ==
           MPROC__SLOT_ENDED;
}

bool mproc__nursery_told(mproc__nursery *nursery, unsigned slot)
{
    /* Alive is asked before the slot is read: what it wrote in its last moment counts. */
    bool gone = mproc__nursery_gone(nursery);
    return mproc__nursery_reaped(nursery, slot) || gone;
}

/* An end may be told while the nursery has yet to see that the slot is doomed. */
static bool nursery_undone(mproc__nursery *nursery, unsigned slot)
{
    return mproc__nursery_told(nursery, slot) &&
           (!atomic_load_explicit(&nursery->shared->slots[slot].doomed, memory_order_acquire) ||
            mproc__nursery_gone(nursery));
}

/* The death of a nursery that has no row yet wakes nobody: until it has one, its pidfd is looked at. */
void mproc__nursery_await_undone(mproc__nursery *nursery, unsigned slot)
{
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&nursery->shared->ended);
        if (nursery_undone(nursery, slot))
            return;
        bool has_row = atomic_load_explicit(&nursery->shared->row, memory_order_acquire) > 0;
        (void)mproc__segment_wait(nursery->segment, &nursery->shared->ended, ticket,
                                  has_row ? MPROC_FOREVER : mproc_after_ms(NURSERY_LOOK_MS));
    }
}

int mproc__nursery_await(mproc__nursery *nursery, unsigned slot, const _Atomic bool *collected,
                         mproc_deadline deadline)
{
    for (;;) {
        uint32_t ticket = mproc__eventcount_prepare(&nursery->shared->ended);
        if (mproc__nursery_told(nursery, slot) || (collected && atomic_load(collected)))
            return 0;
        int rc = mproc__segment_wait(nursery->segment, &nursery->shared->ended, ticket, deadline);
        if (rc < 0)
            return mproc__fail_plain(rc);
    }
}

static struct timeval timeval_of(int64_t us)
{
    return (struct timeval){.tv_sec = us / 1000000, .tv_usec = us % 1000000};
}

int mproc__nursery_exit_code(mproc__nursery *nursery, unsigned slot, int *ret_exit_code,
                             struct rusage *ret_usage)
{
    mproc__slot_shared *shared = &nursery->shared->slots[slot];
    if (atomic_load_explicit(&shared->state, memory_order_acquire) != MPROC__SLOT_ENDED)
        return mproc__fail(MPROC_EDIED, "the program's nursery (pid %d) died with the child's exit code",
                           (int)nursery->pid);
    *ret_exit_code = shared->exit_code;
    *ret_usage = (struct rusage){.ru_utime = timeval_of(shared->user_us),
                                 .ru_stime = timeval_of(shared->system_us),
                                 .ru_maxrss = shared->max_rss_kib,
                                 .ru_minflt = shared->minor_faults,
                                 .ru_majflt = shared->major_faults,
                                 .ru_nvcsw = shared->voluntary_switches,
                                 .ru_nivcsw = shared->involuntary_switches};
    return 0;
}
