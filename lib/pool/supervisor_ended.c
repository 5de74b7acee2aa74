/* SPDX-License-Identifier: BSD-2-Clause */
/* The ended: reaped, when the kernel says so; settled, when all that they held is given back and their desk is vacant.
 *
 * The two are apart because only one at a time buries (death.c): where another process is at it, which may be stopped, the
 * desk waits for that one. What it holds it holds; the other desks go on. */
#include "platform/base.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "platform/platform.h"
#include "pool/death.h"
#include "pool/extra.h"
#include "pool/supervisor_inside.h"
#include "process/supervise.h"

/* ---- burying ---- */

bool mproc__supervisor_present(const mproc__supervisor *self, mproc__worker_word word)
{
    return word.row && mproc__segment_row_pid(self->view->segment, word.row - 1) == word.pid &&
           mproc__segment_row_alive(self->view->segment, word.row - 1);
}

/* Whoever sweeps it has its life word, and a worker that is dead has not: where that names nobody who is there, because the
 * kernel did not walk so far or a task wrote over it, nobody is at it, or ever will. */
static bool row_is_lost(const mproc__supervisor *self, unsigned row)
{
    pid_t keeper = mproc__segment_row_keeper(self->view->segment, row);
    return keeper && kill(keeper, 0) < 0 && errno == ESRCH;
}

/* Read after a sweep. A row that is not the worker's any more has been swept or was left, and its desk shows which. */
static bool is_others(const mproc__supervisor *self, mproc__worker_word word)
{
    return word.row && word.state != MPROC__WORKER_LEAVING &&
           mproc__segment_row_pid(self->view->segment, word.row - 1) == word.pid &&
           !row_is_lost(self, word.row - 1);
}

bool mproc__supervisor_bury(mproc__supervisor *self, unsigned index)
{
    const mproc__worker_shared *desk = &self->shared->workers[index];
    mproc__worker_word word = mproc__worker_load(desk);
    if (!mproc__worker_unburied(word.state))
        return true;
    (void)mproc__segment_sweep(self->view->segment);
    bool others = is_others(self, word);
    word = mproc__worker_load(desk);
    if (!mproc__worker_unburied(word.state))
        return true;
    if (!others)
        mproc__pool_bury(self->view, index, word);
    return !others;
}

/* ---- orphans ---- */

/* Children of a dead worker have come to this process, which is subreaper. Whatever is a child and no worker, is one. */
static bool is_charge(const mproc__supervisor *self, pid_t pid)
{
    for (unsigned i = 0; i < mproc__desks(self->shared); i++)
        if (self->charges[i].pid == pid && mproc__charge_runs(&self->charges[i]))
            return true;
    return false;
}

static void orphans_kill(const mproc__supervisor *self)
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

/* ---- workers ---- */

/* Its task's note of the death, if it had one, is made by now: how it ended is written beside it. */
static void task_note(const mproc__supervisor *self, unsigned index)
{
    const mproc__charge *of = &self->charges[index];
    uint32_t slot = atomic_load(&self->shared->workers[index].slot);
    if (slot > 0 && slot <= atomic_load(&self->shared->slots_used))
        mproc__extra_note_end(self->view, slot - 1, index, of->life, of->pid, of->exit_code);
}

static void worker_settle(mproc__supervisor *self, unsigned index)
{
    mproc__charge of = self->charges[index];
    mproc__worker_shared *desk = &self->shared->workers[index];
    if (!mproc__supervisor_bury(self, index))
        return;
    mproc__worker_word word = mproc__worker_load(desk);
    task_note(self, index);
    self->charges[index] = (mproc__charge){.pid = 0};
    self->alive--;
    if (word.state == MPROC__WORKER_DEAD && !of.stopping) {
        char end[MPROC__END_TEXT];
        mproc__certificate_tell(&(mproc__certificate_shared){.exit_code = of.exit_code, .cause = of.cause},
                                end, sizeof end);
        mproc__supervisor_died(self, index, of.pid, end, of.exit_code);
    }
    atomic_store(&desk->word, mproc__worker_pack((mproc__worker_word){.life = word.life}));
    mproc__pool_post(self->view, &self->shared->done);
}

static void worker_reaped(mproc__supervisor *self, unsigned index, int exit_code, const struct rusage *usage)
{
    mproc__charge *of = &self->charges[index];
    of->exit_code = exit_code;
    close(of->pidfd);
    of->pidfd = -1;
    of->cause = of->signals ? MPROC__END_UNKNOWN : mproc__supervisor_memory_cause(self, exit_code);
    const mproc__certificate_shared it = {.exit_code = exit_code, .pid = of->pid, .cause = of->cause};
    mproc__certificate_write(self->view, index, of->life, &it, usage);
}

void mproc__supervisor_reap(mproc__supervisor *self)
{
    struct rusage usage;
    int exit_code;
    pid_t pid;
    while ((pid = mproc__supervise_reap(&exit_code, &usage)) > 0) {
        for (unsigned i = 0; i < mproc__desks(self->shared); i++)
            if (self->charges[i].pid == pid && mproc__charge_runs(&self->charges[i]))
                worker_reaped(self, i, exit_code, &usage);
        orphans_kill(self); /* the children of worker or orphan have come here with its end */
    }
    for (unsigned i = 0; i < mproc__desks(self->shared); i++)
        if (self->charges[i].pid && !mproc__charge_runs(&self->charges[i]))
            worker_settle(self, i);
}
