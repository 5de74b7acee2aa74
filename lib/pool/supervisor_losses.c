/* SPDX-License-Identifier: BSD-2-Clause */
/* The limit of restarts: unplanned deaths and failed starts are counted, and of too many the first one is told. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>

#include "platform/story.h"
#include "pool/supervisor_inside.h"

enum { WINDOW_S = 60, RETRY_MS = 100 };

static void loss_break(mproc__supervisor *self, const char *how, const mproc__loss *of)
{
    mproc__breakage_shared reason = {
        .code = of->code, .exit_code = of->exit_code, .pid = of->pid, .worker = of->worker};
    snprintf(reason.text, sizeof reason.text, "%s%s", how, of->text);
    mproc__pool_break(self->view, &reason);
}

/* Of too many the first is told: what comes after it is often its echo. Nothing is tried twice while the pool begins. */
static void loss_count(mproc__supervisor *self, const mproc__loss *of)
{
    unsigned limit = self->shared->plan.restarts_per_minute;
    mproc__loss *oldest = &self->losses[self->lost % limit], first = *oldest;
    bool too_many = self->lost >= limit && of->ns - first.ns < (int64_t)WINDOW_S * 1000000000;
    self->lost++;
    *oldest = *of;
    if (atomic_load(&self->shared->ready_workers) < self->shared->plan.workers)
        loss_break(self, of->pid ? "a worker died before it was ready: " : "", of);
    else if (too_many)
        loss_break(self, "too many workers died within a minute, the first one: ", &first);
}

void mproc__supervisor_died(mproc__supervisor *self, unsigned index, pid_t pid, const char *end,
                            int exit_code)
{
    mproc__loss of = {
        .ns = mproc__now_ns(), .code = MPROC_EDIED, .exit_code = exit_code, .worker = index, .pid = pid};
    if (pid > 0)
        snprintf(of.text, sizeof of.text, "worker %u (pid %d) %s", index, (int)pid, end);
    else
        snprintf(of.text, sizeof of.text, "worker %u %s", index, end);
    atomic_fetch_add(&self->shared->died, 1);
    loss_count(self, &of);
}

/* One that was killed on its way is a death as any other: the next can start. Where others work on, what was refused now
 * (processes, memory) may be had later; where none is left, nobody would come. */
void mproc__supervisor_start_failed(mproc__supervisor *self, unsigned index, int code)
{
    mproc__loss of = {.ns = mproc__now_ns(), .code = code, .worker = index};
    if (code == MPROC_EDIED) {
        int64_t pid = 0;
        (void)mproc_error_number(mproc_last_error(), MPROC_ERROR_PID, &pid);
        mproc__supervisor_died(self, index, (pid_t)pid, "was killed before it began", -SIGKILL);
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
