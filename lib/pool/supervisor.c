/* SPDX-License-Identifier: BSD-2-Clause */
/* The supervisor: one loop over {ended children, work to be stopped, vacant desks}, asleep in between.
 *
 *     what happened                  what is done
 *     -----------------------------  --------------------------------------------------------------------------
 *     a life word was marked         the sweep buries the worker at once (death.c); here nothing is left to do
 *     a child was reaped             certificate; its orphans killed; when it is buried, the desk is vacant
 *     a desk is vacant               a worker is started, unless the pool ends or too many have died
 *     a start fails                  while others work, tried again; it counts as a death
 *     a time limit has passed        RUNNING to STOPPING, then as the next
 *     work is STOPPING               half its grace later SIGTERM, all of it later SIGKILL
 *     an orphan was reaped           its own children are killed
 *     a desk's worker was another's  its supervisor is dead, and it has SIGKILL for that: buried when it is gone
 *     QUIT                           waits for the workers to leave, kills the orphans
 *     KILL, broken, owner dead       SIGKILL to all, reaps them, exits
 *
 * It touches atomics only, but for the arena's table while it marks a dead worker's blocks, which takes no lock. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/story.h"
#include "pool/death.h"
#include "pool/supervisor_inside.h"
#include "pool/task.h"
#include "process/supervise.h"

static bool supervisor_ending(const mproc__supervisor *self)
{
    return atomic_load(&self->shared->state) >= MPROC__POOL_QUIT || mproc__pool_broken(self->view);
}

static void wake_at(mproc__supervisor *self, int64_t ns)
{
    if (ns < self->wake_ns)
        self->wake_ns = ns;
}

/* ---- starting workers ---- */

static void worker_begin(mproc__supervisor *self, unsigned index)
{
    mproc__charge *to = &self->charges[index];
    *to = (mproc__charge){.life = mproc__worker_desk_prepare(&self->shared->workers[index])};
    int rc = mproc__crew_launch(&self->crew, index, to->life, &to->pid, &to->pidfd);
    if (rc == 0) {
        self->alive++;
        if (to->life > 1)
            atomic_fetch_add(&self->shared->restarted, 1);
        return;
    }
    *to = (mproc__charge){.pid = 0};
    atomic_store(&self->shared->workers[index].word,
                 mproc__worker_pack(
                     (mproc__worker_word){.life = mproc__worker_load(&self->shared->workers[index]).life}));
    mproc__supervisor_start_failed(self, index, rc);
}

/* The worker that sits there was started by a supervisor that is dead. One that has not joined can do so no more once its desk
 * is another life's; one that has is buried when its process is gone, which its life word tells. */
static bool desk_clear(mproc__supervisor *self, unsigned index)
{
    mproc__worker_shared *desk = &self->shared->workers[index];
    mproc__worker_word word = mproc__worker_load(desk);
    while (mproc__worker_unburied(word.state)) {
        if (mproc__supervisor_present(self, word) || !mproc__supervisor_bury(self, index))
            return false;
        word = mproc__worker_load(desk);
    }
    if (word.state == MPROC__WORKER_DEAD) {
        const mproc__certificate_shared with_it = {
            .exit_code = -SIGKILL, .pid = word.pid, .cause = MPROC__END_SUPERVISOR};
        mproc__certificate_write(self->view, index, word.life, &with_it, NULL);
        atomic_fetch_add(&self->shared->died, 1);
    }
    if (word.state != MPROC__WORKER_VACANT)
        atomic_store(&desk->word, mproc__worker_pack((mproc__worker_word){.life = word.life}));
    return true;
}

static void desks_fill(mproc__supervisor *self)
{
    for (unsigned i = 0; i < atomic_load(&self->shared->wanted); i++)
        while (!self->charges[i].pid && !supervisor_ending(self)) {
            if (self->retry_ns > mproc__now_ns()) {
                wake_at(self, self->retry_ns);
                return;
            }
            if (!desk_clear(self, i))
                break;
            worker_begin(self, i);
        }
}

/* ---- stopping work ---- */

static void stop_drive(mproc__supervisor *self, mproc__charge *of, uint64_t which, uint32_t grace_ms)
{
    static const int signals[] = {SIGTERM, SIGKILL};
    int64_t now = mproc__now_ns(), grace = (int64_t)(grace_ms ? grace_ms : MPROC__POOL_GRACE_MS) * 1000000;
    if (of->stopping != which) {
        of->stopping = which;
        of->since_ns = now;
        of->signals = 0;
    }
    while (of->signals < MPROC__COUNT(signals)) {
        int64_t due = of->since_ns + grace / (of->signals == 0 ? 2 : 1);
        if (now < due) {
            wake_at(self, due);
            return;
        }
        (void)mproc__pidfd_signal(of->pidfd, signals[of->signals++]);
    }
}

/* Word before limit: a limit read after the word is that work's or none, so the swap hits the right one or nothing. */
static bool limit_passed(mproc__supervisor *self, const mproc__worker_shared *desk)
{
    int64_t limit = atomic_load(&desk->limit_ns);
    if (limit)
        wake_at(self, limit);
    return limit && mproc__now_ns() >= limit;
}

static void task_watch(mproc__supervisor *self, unsigned index, mproc__charge *of)
{
    mproc__worker_shared *desk = &self->shared->workers[index];
    uint32_t slot = atomic_load(&desk->slot);
    if (slot == 0 || slot > self->shared->plan.slot_count)
        return;
    mproc__task_shared *task = &self->view->slots[slot - 1];
    mproc__task_word word = mproc__task_load(&task->word);
    bool mine = word.worker == index && word.life == of->life;
    if (mine && word.state == MPROC__TASK_RUNNING && limit_passed(self, desk) &&
        mproc__task_expire(&task->word, word))
        word = mproc__task_load(&task->word);
    if (mine && word.state == MPROC__TASK_STOPPING)
        stop_drive(self, of, (uint64_t)slot << 32 | word.serial, task->grace_ms);
}

static void map_watch(mproc__supervisor *self, unsigned index, mproc__charge *of)
{
    mproc__worker_shared *desk = &self->shared->workers[index];
    uint64_t run = atomic_load(&desk->run), next = run & ~UINT64_C(3);
    uint32_t map = atomic_load(&desk->map);
    if (map == 0 || map > MPROC__POOL_MAPS || (run & 3) == MPROC__RUN_IDLE)
        return;
    if ((run & 3) == MPROC__RUN_BUSY) {
        if (atomic_load(&self->shared->maps[map - 1].kill))
            next |= MPROC__RUN_CANCELLED;
        else if (limit_passed(self, desk))
            next |= MPROC__RUN_EXPIRED;
        else
            return;
        if (!atomic_compare_exchange_strong(&desk->run, &run, next))
            return;
    }
    stop_drive(self, of, run | 3, 0);
}

/* Buried as dead, and not ended: its task has made it another program. It may live for ever, and has the desk's place. */
static void stranger_end(const mproc__supervisor *self, unsigned index)
{
    if (mproc__worker_load(&self->shared->workers[index]).state == MPROC__WORKER_DEAD)
        (void)mproc__pidfd_signal(self->charges[index].pidfd, SIGKILL);
}

static void work_watch(mproc__supervisor *self)
{
    for (unsigned i = 0; i < mproc__desks(self->shared); i++)
        if (mproc__charge_runs(&self->charges[i])) {
            stranger_end(self, i);
            task_watch(self, i, &self->charges[i]);
            map_watch(self, i, &self->charges[i]);
        }
}

/* ---- the loop ---- */

static void supervisor_look(mproc__supervisor *self)
{
    mproc__supervisor_reap(self);
    self->wake_ns = INT64_MAX;
    work_watch(self);
    if (!supervisor_ending(self))
        desks_fill(self);
    /* A limit set after the look is announced by its worker only if it is earlier than what stands here: look again. */
    atomic_store(&self->shared->supervisor_wakes_ns, self->wake_ns);
    work_watch(self);
}

/* Everything that runs is cancelled by name before the signal goes out. */
static void work_kill(mproc__supervisor *self)
{
    for (unsigned i = 0; i < mproc__desks(self->shared); i++) {
        uint32_t slot = atomic_load(&self->shared->workers[i].slot);
        if (slot == 0 || slot > self->shared->plan.slot_count)
            continue;
        mproc__task_word word = mproc__task_load(&self->view->slots[slot - 1].word);
        if (word.worker == i && word.state == MPROC__TASK_RUNNING)
            (void)mproc__task_cancel(&self->view->slots[slot - 1].word, word.serial, true);
    }
}

/* The workers first, by what is known of them: that takes no descriptor and no look at /proc. */
static void everybody_kill(const mproc__supervisor *self)
{
    for (unsigned i = 0; i < mproc__desks(self->shared); i++)
        if (mproc__charge_runs(&self->charges[i]))
            (void)mproc__pidfd_signal(self->charges[i].pidfd, SIGKILL);
    mproc__supervise_kill_all();
}

static void supervisor_end(mproc__supervisor *self, bool kill)
{
    if (kill && !mproc__pool_broken(self->view))
        work_kill(self);
    /* Also when all workers have left: what their tasks forked, and what that forked, is still here. */
    everybody_kill(self);
    for (unsigned i = 0; i < mproc__desks(self->shared); i++) {
        mproc__worker_word word = mproc__worker_load(&self->shared->workers[i]);
        if (!mproc__supervisor_present(self, word))
            (void)mproc__supervisor_bury(self, i);
    }
    atomic_store(&self->shared->supervisor_row, 0);
    mproc__pool_post(self->view, &self->shared->done);
}

static void supervisor_loop(mproc__supervisor *self)
{
    for (;;) {
        uint32_t ticket = mproc__supervise_prepare();
        supervisor_look(self);
        mproc__supervisor_memory_begin(self);
        bool kill = atomic_load(&self->shared->state) == MPROC__POOL_KILL || mproc__pool_broken(self->view);
        if (kill || (supervisor_ending(self) && self->alive == 0)) {
            supervisor_end(self, kill);
            return;
        }
        if (mproc__supervise_wait(ticket, (mproc_deadline){self->wake_ns}) == -EOWNERDEAD) {
            everybody_kill(self);
            return;
        }
    }
}

static int supervisor_begin(mproc__supervisor *self)
{
    self->losses = calloc(self->shared->plan.restarts_per_minute, sizeof *self->losses);
    if (!self->losses)
        return mproc__fail(-ENOMEM, "no memory for a pool's supervisor");
    /* Of a group it is a look at one file, so before there are workers; else at what the kernel says of all groups. */
    if (self->crew.limits && self->crew.limits->cgroup_fd >= 0)
        mproc__supervisor_memory_begin(self);
    /* The terminal's Ctrl-C is for the owner: what it decides ends or keeps the whole pool. */
    (void)setpgid(0, 0);
    return mproc__supervise_begin(self->view->segment, &self->shared->command, self->shared->plan.owner_row);
}

/* 0 always: what goes wrong is the pool's to tell, not a process's. */
int mproc__supervisor_run(const mproc__crew *crew)
{
    static mproc__supervisor self;
    self = (mproc__supervisor){.crew = *crew, .view = crew->view, .shared = crew->view->shared};
    int rc = supervisor_begin(&self);
    if (rc < 0) {
        mproc__breakage_shared reason = {.code = rc};
        snprintf(reason.text, sizeof reason.text, "%.300s", mproc_error_text(mproc_last_error()));
        mproc__pool_break(self.view, &reason);
    } else {
        atomic_store(&self.shared->supervisor_row, (uint32_t)mproc__segment_join(self.view->segment) + 1);
        supervisor_loop(&self);
    }
    free(self.losses);
    return 0;
}
