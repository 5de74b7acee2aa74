/* SPDX-License-Identifier: BSD-2-Clause */
/* The supervisor: one loop over {ended children, work to be stopped, vacant desks}, asleep in between.
 *
 *     what happened                  what is done
 *     -----------------------------  --------------------------------------------------------------------------
 *     a life word was marked         the sweep buries the worker at once (death.c); here nothing is left to do
 *     a child was reaped             certificate; burial if it never joined; its orphans killed; the desk is vacant
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
#include <sys/resource.h>
#include <unistd.h>

#include "platform/story.h"
#include "pool/death.h"
#include "pool/extra.h"
#include "pool/supervisor.h"
#include "pool/task.h"
#include "process/supervise.h"

enum { WINDOW_S = 60, RETRY_MS = 100 };

/* One desk as the supervisor sees it. */
typedef struct charge {
    pid_t pid; /* 0: vacant */
    int pidfd;
    unsigned life;
    uint64_t stopping; /* which work is being stopped; 0: none */
    int64_t since_ns;
    unsigned signals; /* sent for it */
} charge;

/* What counts against the limit of restarts. */
typedef struct loss {
    int64_t ns;
    int code, exit_code;
    unsigned worker;
    pid_t pid;
    char text[160];
} loss;

typedef struct supervisor {
    mproc__crew crew;
    mproc__pool_view *view;
    mproc__pool_shared *shared;
    charge charges[MPROC__POOL_WORKERS];
    unsigned alive;
    loss *losses; /* the last restarts_per_minute unplanned deaths and failed starts, a ring */
    unsigned loss_count;
    int64_t retry_ns; /* of a failed start */
    int64_t wake_ns;
} supervisor;

static bool supervisor_ending(const supervisor *self)
{
    return atomic_load(&self->shared->state) >= MPROC__POOL_QUIT || mproc__pool_broken(self->view);
}

static void wake_at(supervisor *self, int64_t ns)
{
    if (ns < self->wake_ns)
        self->wake_ns = ns;
}

/* ---- the limit of restarts ---- */

static void loss_break(supervisor *self, const char *how, const loss *of)
{
    mproc__breakage_shared reason = {
        .code = of->code, .exit_code = of->exit_code, .pid = of->pid, .worker = of->worker};
    snprintf(reason.text, sizeof reason.text, "%s%s", how, of->text);
    mproc__pool_break(self->view, &reason);
}

/* Of too many the first is told: what comes after it is often its echo. Nothing is tried twice while the pool begins. */
static void loss_count(supervisor *self, const loss *of)
{
    unsigned limit = self->shared->plan.restarts_per_minute;
    loss *oldest = &self->losses[self->loss_count % limit], first = *oldest;
    bool too_many = self->loss_count >= limit && of->ns - first.ns < (int64_t)WINDOW_S * 1000000000;
    self->loss_count++;
    *oldest = *of;
    if (atomic_load(&self->shared->ready_workers) < self->shared->plan.workers)
        loss_break(self, of->pid ? "a worker died before it was ready: " : "", of);
    else if (too_many)
        loss_break(self, "too many workers died within a minute, the first one: ", &first);
}

/* A death nobody asked for. */
static void death_count(supervisor *self, unsigned index, pid_t pid, const char *end, int exit_code)
{
    loss of = {
        .ns = mproc__now_ns(), .code = MPROC_EDIED, .exit_code = exit_code, .worker = index, .pid = pid};
    snprintf(of.text, sizeof of.text, "worker %u (pid %d) %s", index, (int)pid, end);
    atomic_fetch_add(&self->shared->died, 1);
    loss_count(self, &of);
}

/* One that was killed on its way is a death as any other: the next can start. Where others work on, what was refused now
 * (processes, memory) may be had later; where none is left, nobody would come. */
static void start_failed(supervisor *self, unsigned index, int code)
{
    loss of = {.ns = mproc__now_ns(), .code = code, .worker = index};
    if (code == MPROC_EDIED) {
        death_count(self, index, 0, "was killed before it began", -SIGKILL);
        return;
    }
    snprintf(of.text, sizeof of.text, "cannot start worker %u: %.120s", index,
             mproc_error_text(mproc_last_error()));
    self->retry_ns = of.ns + (int64_t)RETRY_MS * 1000000;
    if (self->alive == 0)
        loss_break(self, "", &of);
    else
        loss_count(self, &of);
}

/* ---- starting workers ---- */

static void worker_begin(supervisor *self, unsigned index)
{
    charge *to = &self->charges[index];
    *to = (charge){.life = mproc__worker_desk_prepare(&self->shared->workers[index])};
    int rc = mproc__crew_launch(&self->crew, index, to->life, &to->pid, &to->pidfd);
    if (rc == 0) {
        self->alive++;
        if (to->life > 1)
            atomic_fetch_add(&self->shared->restarted, 1);
        return;
    }
    *to = (charge){.pid = 0};
    atomic_store(&self->shared->workers[index].word,
                 mproc__worker_pack(
                     (mproc__worker_word){.life = mproc__worker_load(&self->shared->workers[index]).life}));
    start_failed(self, index, rc);
}

static bool is_present(const supervisor *self, mproc__worker_word word)
{
    return word.row && mproc__segment_row_pid(self->view->segment, word.row - 1) == word.pid &&
           mproc__segment_row_alive(self->view->segment, word.row - 1);
}

/* The worker that sits there was started by a supervisor that is dead. One that has not joined can do so no more once its desk
 * is another life's; one that has is buried when its process is gone, which its life word tells. */
static bool desk_clear(supervisor *self, unsigned index)
{
    mproc__worker_shared *desk = &self->shared->workers[index];
    mproc__worker_word word = mproc__worker_load(desk);
    while (mproc__worker_unburied(word.state)) {
        if (is_present(self, word))
            return false;
        mproc__pool_bury(self->view, index, word);
        word = mproc__worker_load(desk);
    }
    if (word.state == MPROC__WORKER_DEAD) {
        mproc__certificate_write(self->view, index, word.life, word.pid, -SIGKILL, NULL);
        atomic_fetch_add(&self->shared->died, 1);
    }
    if (word.state != MPROC__WORKER_VACANT)
        atomic_store(&desk->word, mproc__worker_pack((mproc__worker_word){.life = word.life}));
    return true;
}

static void desks_fill(supervisor *self)
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

/* ---- the ended ---- */

/* Children of a dead worker have come to this process, which is subreaper. Whatever is a child and no worker, is one. */
static bool is_charge(const supervisor *self, pid_t pid)
{
    for (unsigned i = 0; i < mproc__desks(self->shared); i++)
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
    uint32_t slot =
        atomic_load(&desk->slot); /* the burier's note of its task, if it had one, is made by now */
    if (slot > 0 && slot <= atomic_load(&self->shared->slots_used))
        mproc__extra_note_end(self->view, slot - 1, index, of->life, pid, exit_code);
    close(of->pidfd);
    *of = (charge){.pid = 0};
    self->alive--;
    orphans_kill(self);
    if (word.state == MPROC__WORKER_DEAD && !stopped) {
        char end[96];
        mproc__certificate_text(exit_code, end, sizeof end);
        death_count(self, index, pid, end, exit_code);
    }
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
        for (unsigned i = 0; i < mproc__desks(self->shared); i++)
            if (self->charges[i].pid == pid)
                worker_ended(self, i, exit_code, &usage);
    }
}

/* ---- stopping work ---- */

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

/* Buried as dead, and not ended: its task has made it another program. It may live for ever, and has the desk's place. */
static void stranger_end(const supervisor *self, unsigned index)
{
    if (mproc__worker_load(&self->shared->workers[index]).state == MPROC__WORKER_DEAD)
        (void)mproc__pidfd_signal(self->charges[index].pidfd, SIGKILL);
}

static void work_watch(supervisor *self)
{
    for (unsigned i = 0; i < mproc__desks(self->shared); i++)
        if (self->charges[i].pid) {
            stranger_end(self, i);
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
    for (unsigned i = 0; i < mproc__desks(self->shared); i++) {
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
    for (unsigned i = 0; i < mproc__desks(self->shared); i++) {
        mproc__worker_word word = mproc__worker_load(&self->shared->workers[i]);
        if (mproc__worker_unburied(word.state) && !is_present(self, word))
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
    self->losses = calloc(self->shared->plan.restarts_per_minute, sizeof *self->losses);
    if (!self->losses)
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
    free(self.losses);
    return 0;
}
