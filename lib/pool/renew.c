/* SPDX-License-Identifier: BSD-2-Clause */
/* The pool's supervisor as its owner sees it: started, watched, replaced when it was killed, ended.
 *
 * Its death takes its workers along, who carry SIGKILL for it, and nobody else: tasks that ran are lost or tried again, those
 * queued are in the segment. Whoever is in a call of the pool then starts another: those asleep are woken by its life word,
 * those who come later look at it. The successor is made as the first one was: by fork, it is a copy of the program as it is
 * at that moment. Rejected: a second process that is kept to start it (two kills do what one does now, and every pool of a
 * large program would pay for two forks). */
#include "platform/base.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/story.h"
#include "pool/death.h"
#include "pool/pool.h"

enum {
    LEAVE_MS = 100, /* what workers without work, and the supervisor that kills the others, are given */
    WATCH_MS = 20, /* one that dies before it has joined the segment wakes nobody: hence looks at its pidfd */
    END_MS =
        5000, /* what the kernel is given for a killed one: far more than it takes to free a large program's memory */
    WINDOW_S = 60
};

enum {
    END_UNKNOWN = INT_MIN
}; /* an exit code: it was reaped by the program, or ended before its start was over */

/* Of a pool that is gone: a killed supervisor that the kernel had not ended by then. */
typedef struct remain {
    int pidfd;
    struct remain *next;
} remain;

static _Atomic(remain *) remains;

/* ---- is it there? ---- */

static bool is_supervised(const mproc__pool_core *core)
{
    const mproc__pool_shared *shared = core->view.shared;
    return !core->view.threads &&
           atomic_load_explicit(&shared->state, memory_order_acquire) < MPROC__POOL_QUIT &&
           !atomic_load(&core->ended) && !mproc__pool_broken(&core->view);
}

/* It has joined, and its life word says that it lives: a few loads. */
static bool is_seen(const mproc__pool_core *core)
{
    uint32_t row = atomic_load_explicit(&core->view.shared->supervisor_row, memory_order_acquire);
    return row != 0 && row != MPROC__SUPERVISOR_LOST && mproc__segment_row_alive(core->view.segment, row - 1);
}

/* With renew_lock held. Not seen, and not because it has not joined yet. */
static bool is_dead(const mproc__pool_core *core)
{
    if (is_seen(core))
        return false;
    return atomic_load(&core->view.shared->supervisor_row) != 0 || core->pidfd < 0 ||
           mproc__pidfd_ended(core->pidfd) == 1;
}

/* ---- its end ---- */

/* With renew_lock held. */
static bool supervisor_reap(mproc__pool_core *core, mproc_deadline deadline, int *ret_exit_code)
{
    siginfo_t info = {.si_status = 0};
    *ret_exit_code = END_UNKNOWN;
    if (core->pidfd < 0)
        return true;
    if (mproc__fd_poll(core->pidfd, POLLIN, deadline) < 0)
        return false;
    int rc;
    while ((rc = waitid(P_PIDFD, (id_t)core->pidfd, &info, WEXITED)) < 0 && errno == EINTR)
        ;
    if (rc == 0) /* else the program has reaped it: it waits for all its children, or ignores SIGCHLD */
        *ret_exit_code = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    close(core->pidfd);
    core->pidfd = -1;
    return true;
}

static void state_kill(mproc__pool_core *core)
{
    atomic_store(&core->view.shared->state, MPROC__POOL_KILL);
    mproc__pool_post(&core->view, &core->view.shared->work);
    mproc__pool_post(&core->view, &core->view.shared->command);
}

/* Workers carry SIGKILL for the supervisor's death, so the last resort ends them as well. After that the caller's deadline
 * counts no more: its memory is freed before it has ended, and until it is reaped it is a zombie of the program. One that is
 * frozen, traced or asleep in a device may never end: it is left to later calls (mproc__supervisor_leave). */
static void supervisor_end(mproc__pool_core *core, mproc_deadline deadline)
{
    int exit_code;
    mproc_deadline leave = mproc_after_ms(LEAVE_MS);
    if (supervisor_reap(core, deadline.ns > leave.ns && deadline.ns != INT64_MAX ? deadline : leave,
                        &exit_code))
        return;
    state_kill(core);
    if (supervisor_reap(core, mproc_after_ms(LEAVE_MS), &exit_code))
        return;
    (void)mproc__pidfd_signal(core->pidfd, SIGKILL);
    (void)supervisor_reap(core, mproc_after_ms(END_MS), &exit_code);
}

void mproc__core_supervisor_end(mproc__pool_core *core, mproc_deadline deadline)
{
    mproc_deadline turn = mproc_after_ms(LEAVE_MS);
    turn = deadline.ns > turn.ns ? deadline : turn;
    const struct timespec until = {.tv_sec = turn.ns / 1000000000, .tv_nsec = turn.ns % 1000000000};
    if (pthread_mutex_clocklock(&core->renew_lock, CLOCK_MONOTONIC, &until) != 0)
        return; /* who is at it sees that the pool has ended */
    supervisor_end(core, deadline);
    pthread_mutex_unlock(&core->renew_lock);
}

/* ---- when its pool is gone ---- */

static void remain_push(remain *it)
{
    it->next = atomic_load(&remains);
    while (!atomic_compare_exchange_weak(&remains, &it->next, it))
        ;
}

/* Reaped, now or by others. */
static bool remain_reap(int pidfd)
{
    siginfo_t info = {.si_pid = 0};
    int rc;
    while ((rc = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG)) < 0 && errno == EINTR)
        ;
    if (rc == 0 && info.si_pid == 0)
        return false;
    close(pidfd);
    return true;
}

void mproc__supervisor_leave(int pidfd)
{
    if (pidfd < 0 || remain_reap(pidfd))
        return;
    remain *it = malloc(sizeof *it);
    if (it) {
        it->pidfd = pidfd;
        remain_push(it);
    } else {
        close(pidfd); /* a zombie until the program ends */
    }
}

void mproc__supervisors_collect(void)
{
    if (MPROC__LIKELY(!atomic_load_explicit(&remains, memory_order_relaxed)))
        return;
    remain *next, *it = atomic_exchange(&remains, NULL);
    for (; it; it = next) {
        next = it->next;
        if (remain_reap(it->pidfd))
            free(it);
        else
            remain_push(it);
    }
}

/* ---- its successor ---- */

static void renew_fail(mproc__pool_core *core, int code, const char *why)
{
    mproc__breakage_shared reason = {.code = code};
    snprintf(reason.text, sizeof reason.text, "the pool's supervisor died and cannot be replaced: %.240s",
             why);
    mproc__pool_break(&core->view, &reason);
}

/* The same limit as for workers, whose deaths each supervisor counts for itself. */
static bool too_many(mproc__pool_core *core)
{
    int64_t now = mproc__now_ns();
    if (core->renewals == 0 || now - core->renewals_since_ns > (int64_t)WINDOW_S * 1000000000) {
        core->renewals = 0;
        core->renewals_since_ns = now;
    }
    return ++core->renewals > core->view.shared->plan.restarts_per_minute;
}

static int successor_start(mproc__pool_core *core)
{
    mproc__pool_shared *shared = core->view.shared;
    int rc = core->fork_checked ? mproc__launch_threads_check() : 0;
    atomic_store(&shared->supervisor_row, 0);
    atomic_store(&shared->supervisor_wakes_ns, 0);
    core->supervisor = 0;
    return rc < 0 ? rc : mproc__supervisor_start(&core->crew, &core->supervisor, &core->pidfd);
}

static void end_tell(const mproc__pool_core *core, int exit_code, char *buffer, size_t size_bytes)
{
    char how[64] = "has ended";
    if (exit_code != END_UNKNOWN)
        mproc__certificate_text(exit_code, how, sizeof how);
    if (core->supervisor)
        snprintf(buffer, size_bytes, "(pid %d) %s", (int)core->supervisor, how);
    else
        snprintf(buffer, size_bytes, "died in its start");
}

/* The first death is the one that is told when there are too many: what comes after it is often its echo. A dead one can be
 * reaped when all its memory is freed, some time after its life word was marked: until then whoever waits looks again. So it
 * does after a successor that died in its start, which is one more death: whatever kills supervisors may kill that one, too. */
static void renew(mproc__pool_core *core)
{
    char end[96];
    int exit_code;
    if (!supervisor_reap(core, MPROC_NOW, &exit_code))
        return;
    end_tell(core, exit_code, end, sizeof end);
    if (too_many(core)) {
        renew_fail(core, MPROC_EDIED, core->renewal_text);
        return;
    }
    if (core->renewals == 1)
        snprintf(core->renewal_text, sizeof core->renewal_text,
                 "too many died within a minute, the first one %s", end);
    mproc__log(MPROC_LOG_WARNING, "pool %s: its supervisor %s; it is replaced, and its workers with it",
               core->name ? core->name : "", end);
    int rc = successor_start(core);
    if (rc < 0 && rc != MPROC_EDIED)
        renew_fail(core, rc, mproc_error_text(mproc_last_error()));
}

/* The call that looks has its own result. */
static void renew_quietly(mproc__pool_core *core)
{
    mproc_error story;
    if (pthread_mutex_trylock(&core->renew_lock) != 0)
        return;
    mproc__story_copy(mproc__story(), &story);
    bool dead = is_supervised(core) && is_dead(core);
    if (dead)
        renew(core);
    pthread_mutex_unlock(&core->renew_lock);
    if (dead &&
        !is_supervised(core)) /* whoever stopped the pool meanwhile may not have waited for the lock */
        mproc__core_supervisor_end(core, MPROC_NOW);
    mproc__story_copy(&story, mproc__story());
}

void mproc__core_guard(mproc__pool_core *core)
{
    if (MPROC__UNLIKELY(!core->view.threads && !is_seen(core)) && is_supervised(core))
        renew_quietly(core);
}

mproc_deadline mproc__core_watch(mproc__pool_core *core, mproc_deadline deadline)
{
    mproc__core_guard(core);
    if (core->view.threads || !is_supervised(core) || is_seen(core))
        return deadline;
    mproc_deadline look = mproc_after_ms(WATCH_MS);
    return look.ns < deadline.ns ? look : deadline;
}

int mproc__core_wait(mproc__pool_core *core, uint32_t ticket, mproc_deadline deadline)
{
    deadline = mproc__core_watch(core, deadline);
    bool forever = core->view.threads && deadline.ns == INT64_MAX;
    int rc = forever ? mproc__threads_block(core, ticket) : 0;
    if (rc < 0)
        return rc;
    mproc__ready_hurry(&core->view);
    rc = mproc__segment_wait(core->view.segment, &core->view.shared->done, ticket, deadline);
    if (forever)
        mproc__threads_unblock(core);
    return rc;
}
