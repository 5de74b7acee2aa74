/* SPDX-License-Identifier: BSD-2-Clause */
/* The supervisor: one loop over {ended children, work to be stopped, vacant desks}, asleep in between.
 *
 *     what happened                  what is done
 *     -----------------------------  --------------------------------------------------------------------------
 *     a life word was marked         the sweep buries the worker at once (death.c); here nothing is left to do
 *     a child was reaped             certificate; burial if it never joined; its orphans killed; the desk is vacant
 *     a desk is vacant               a worker is started, unless the pool ends or too many have died
 *     a time limit has passed        RUNNING to STOPPING, then as the next
 *     work is STOPPING               half its grace later SIGTERM, all of it later SIGKILL
 *     an orphan was reaped           its own children are killed
 *     QUIT                           waits for the workers to leave, kills the orphans
 *     KILL, broken, owner dead       SIGKILL to all, reaps them, exits
 *
 * It touches atomics only, but for the arena's table while it marks a dead worker's blocks, which takes no lock. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "platform/story.h"
#include "pool/death.h"
#include "pool/supervisor.h"
#include "pool/task.h"
#include "process/supervise.h"

enum { WINDOW_S = 60 };

/* One desk as the supervisor sees it. */
typedef struct charge {
    pid_t pid; /* 0: vacant */
    int pidfd;
    unsigned life;
    uint64_t stopping; /* which work is being stopped; 0: none */
    int64_t since_ns;
    unsigned signals; /* sent for it */
} charge;

typedef struct supervisor {
    mproc__crew crew;
    mproc__pool_view *view;
    mproc__pool_shared *shared;
    charge charges[MPROC__POOL_WORKERS];
    unsigned alive;
    int64_t *death_ns; /* of the last restarts_per_minute unplanned deaths, a ring */
    unsigned deaths;
    int64_t wake_ns;
} supervisor;

static bool supervisor_ending(const supervisor *self)
{
    return atomic_load(&self->shared->state) >= MPROC__POOL_QUIT || mproc__pool_broken(self->view);
}

/* ---- the ended ---- */

/* Children of a dead worker have come to this process, which is subreaper. Whatever is a child and no worker, is one. */
static bool is_charge(const supervisor *self, pid_t pid)
{
    for (unsigned i = 0; i < self->shared->plan.workers; i++)
        if (self->charges[i].pid == pid)
            return true;
    return false;
}

static void orphans_kill(const supervisor *self)
{
    char path[64];
    int pid;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *list = fopen(path, "re");
    while (list && fscanf(list, "%d", &pid) == 1)
        if (!is_charge(self, pid))
            kill(pid, SIGKILL);
    if (list)
        fclose(list);
}

static void death_break(supervisor *self, unsigned index, pid_t pid, int exit_code, const char *how)
{
    char end[96];
    mproc__breakage_shared reason = {
        .code = MPROC_EDIED, .exit_code = exit_code, .pid = pid, .worker = index};
    mproc__certificate_text(exit_code, end, sizeof end);
    snprintf(reason.text, sizeof reason.text, "%s: worker %u (pid %d) %s", how, index, (int)pid, end);
    mproc__pool_break(self->view, &reason);
}

/* A death nobody asked for: counted against the limit. */
static void death_count(supervisor *self, unsigned index, pid_t pid, int exit_code)
{
    unsigned limit = self->shared->plan.restarts_per_minute;
    int64_t now = mproc__now_ns(), *oldest = &self->death_ns[self->deaths++ % limit];
    bool too_many = self->deaths > limit && now - *oldest < (int64_t)WINDOW_S * 1000000000;
    *oldest = now;
    atomic_fetch_add(&self->shared->died, 1);
    if (atomic_load(&self->shared->ready_workers) < self->shared->plan.workers)
        death_break(self, index, pid, exit_code, "a worker died before it was ready");
    else if (too_many)
        death_break(self, index, pid, exit_code, "too many workers died within a minute, the last one");
}

static void worker_ended(supervisor *self, unsigned index, int exit_code, const struct rusage *usage)
{
    charge *of = &self->charges[index];
    mproc__worker_shared *desk = &self->shared->workers[index];
    pid_t pid = of->pid;
    bool stopped = of->stopping != 0;
    mproc__certificate_write(self->view, index, of->life, pid, exit_code, usage);
    mproc__worker_word word = mproc__worker_load(desk);
    if (mproc__worker_unburied(word.state)) {
        mproc__pool_bury(self->view, index, word);
        word = mproc__worker_load(desk);
    }
    close(of->pidfd);
    *of = (charge){.pid = 0};
    self->alive--;
    orphans_kill(self);
    if (word.state == MPROC__WORKER_DEAD && !stopped)
        death_count(self, index, pid, exit_code);
    word = (mproc__worker_word){.state = MPROC__WORKER_VACANT, .life = word.life};
    atomic_store(&desk->word, mproc__worker_pack(word));
    mproc__pool_post(self->view, &self->shared->done);
}

static void children_reap(supervisor *self)
{
    struct rusage usage;
    int exit_code;
    pid_t pid;
    while ((pid = mproc__supervise_reap(&exit_code, &usage)) > 0) {
        if (!is_charge(self, pid))
            orphans_kill(self); /* an orphan's own children have come here with its end */
        for (unsigned i = 0; i < self->shared->plan.workers; i++)
            if (self->charges[i].pid == pid)
                worker_ended(self, i, exit_code, &usage);
    }
}

/* ---- starting workers ---- */

static void launch_break(supervisor *self, unsigned index, int code)
{
    mproc__breakage_shared reason = {.code = code, .worker = index};
    snprintf(reason.text, sizeof reason.text, "cannot start worker %u: %.200s", index,
             mproc_error_text(mproc_last_error()));
    mproc__pool_break(self->view, &reason);
}

/* One that was killed on its way is a death as any other, once all have been ready: this program's workers can start. */
static void launch_failed(supervisor *self, unsigned index, int code)
{
    bool all_came = atomic_load(&self->shared->ready_workers) >= self->shared->plan.workers;
    self->charges[index] = (charge){.pid = 0};
    if (code == MPROC_EDIED && all_came)
        death_count(self, index, 0, -SIGKILL);
    else
        launch_break(self, index, code);
}

static void worker_begin(supervisor *self, unsigned index)
{
    charge *to = &self->charges[index];
    *to = (charge){.life = mproc__worker_desk_prepare(&self->shared->workers[index])};
    int rc = mproc__crew_launch(&self->crew, index, &to->pid, &to->pidfd);
    if (rc < 0) {
        launch_failed(self, index, rc);
        return;
    }
    self->alive++;
    if (to->life > 1)
        atomic_fetch_add(&self->shared->restarted, 1);
}

static void desks_fill(supervisor *self)
{
    for (unsigned i = 0; i < self->shared->plan.workers; i++)
        while (!self->charges[i].pid && !supervisor_ending(self))
            worker_begin(self, i);
}

/* ---- stopping work ---- */

static void wake_at(supervisor *self, int64_t ns)
{
    if (ns < self->wake_ns)
        self->wake_ns = ns;
}

static void stop_drive(supervisor *self, charge *of, uint64_t which, uint32_t grace_ms)
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
static bool limit_passed(supervisor *self, const mproc__worker_shared *desk)
{
    int64_t limit = atomic_load(&desk->limit_ns);
    if (limit)
        wake_at(self, limit);
    return limit && mproc__now_ns() >= limit;
}

static void task_watch(supervisor *self, unsigned index, charge *of)
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

static void map_watch(supervisor *self, unsigned index, charge *of)
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

static void work_watch(supervisor *self)
{
    for (unsigned i = 0; i < self->shared->plan.workers; i++)
        if (self->charges[i].pid) {
            task_watch(self, i, &self->charges[i]);
            map_watch(self, i, &self->charges[i]);
        }
}

/* ---- the loop ---- */

static void supervisor_look(supervisor *self)
{
    children_reap(self);
    self->wake_ns = INT64_MAX;
    work_watch(self);
    if (!supervisor_ending(self))
        desks_fill(self);
    /* A limit set after the look is announced by its worker only if it is earlier than what stands here: look again. */
    atomic_store(&self->shared->supervisor_wakes_ns, self->wake_ns);
    work_watch(self);
}

/* Everything that runs is cancelled by name before the signal goes out. */
static void work_kill(supervisor *self)
{
    for (unsigned i = 0; i < self->shared->plan.workers; i++) {
        uint32_t slot = atomic_load(&self->shared->workers[i].slot);
        if (slot == 0 || slot > self->shared->plan.slot_count)
            continue;
        mproc__task_word word = mproc__task_load(&self->view->slots[slot - 1].word);
        if (word.worker == i && word.state == MPROC__TASK_RUNNING)
            (void)mproc__task_cancel(&self->view->slots[slot - 1].word, word.serial, true);
    }
}

static void supervisor_end(supervisor *self, bool kill)
{
    if (kill && !mproc__pool_broken(self->view))
        work_kill(self);
    /* Also when all workers have left: what their tasks forked, and what that forked, is still here. */
    mproc__supervise_kill_all();
    for (unsigned i = 0; i < self->shared->plan.workers; i++) {
        mproc__worker_word word = mproc__worker_load(&self->shared->workers[i]);
        if (mproc__worker_unburied(word.state))
            mproc__pool_bury(self->view, i, word);
    }
    atomic_store(&self->shared->supervisor_row, 0);
    mproc__pool_post(self->view, &self->shared->done);
}

static void supervisor_loop(supervisor *self)
{
    for (;;) {
        uint32_t ticket = mproc__supervise_prepare();
        supervisor_look(self);
        bool kill = atomic_load(&self->shared->state) == MPROC__POOL_KILL || mproc__pool_broken(self->view);
        if (kill || (supervisor_ending(self) && self->alive == 0)) {
            supervisor_end(self, kill);
            return;
        }
        if (mproc__supervise_wait(ticket, (mproc_deadline){self->wake_ns}) == -EOWNERDEAD) {
            mproc__supervise_kill_all();
            return;
        }
    }
}

static int supervisor_begin(supervisor *self)
{
    self->death_ns = calloc(self->shared->plan.restarts_per_minute, sizeof *self->death_ns);
    if (!self->death_ns)
        return mproc__fail(-ENOMEM, "no memory for a pool's supervisor");
    /* The terminal's Ctrl-C is for the owner: what it decides ends or keeps the whole pool. */
    (void)setpgid(0, 0);
    return mproc__supervise_begin(self->view->segment, &self->shared->command, self->shared->plan.owner_row);
}

/* 0 always: what goes wrong is the pool's to tell, not a process's. */
int mproc__supervisor_run(const mproc__crew *crew)
{
    static supervisor self;
    self = (supervisor){.crew = *crew, .view = crew->view, .shared = crew->view->shared};
    int rc = supervisor_begin(&self);
    if (rc < 0) {
        mproc__breakage_shared reason = {.code = rc};
        snprintf(reason.text, sizeof reason.text, "%.300s", mproc_error_text(mproc_last_error()));
        mproc__pool_break(self.view, &reason);
    } else {
        atomic_store(&self.shared->supervisor_row, (uint32_t)mproc__segment_join(self.view->segment) + 1);
        supervisor_loop(&self);
    }
    free(self.death_ns);
    return 0;
}
