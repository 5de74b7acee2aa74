/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether a worker died for want of memory. The kernel does not say so of a process, it only counts; but it counts before it
 * kills. So SIGKILL that nobody here has sent, and a count that has grown, are taken for one matter: one death for each
 * kill. A kill for which no worker died (another's process in the group, an orphan) is not kept for long. */
#include "platform/base.h"

#include <signal.h>

#include "platform/cgroup.h"
#include "platform/platform.h"
#include "pool/supervisor_inside.h"

enum { KEPT_MS = 1000 };

static mproc__oom_count count_look(const mproc__supervisor *self)
{
    return mproc__oom_kills(self->crew.limits ? self->crew.limits->cgroup_fd : -1);
}

void mproc__supervisor_memory_begin(mproc__supervisor *self)
{
    if (!self->oom_looked)
        self->oom_seen = count_look(self).kills;
    self->oom_looked = true;
}

static bool kill_take(mproc__supervisor *self, int64_t kills)
{
    int64_t now = mproc__now_ns();
    if (now - self->oom_ns > (int64_t)KEPT_MS * 1000000)
        self->oom_open = 0;
    if (kills > self->oom_seen) {
        self->oom_open += kills - self->oom_seen;
        self->oom_seen = kills;
        self->oom_ns = now;
    }
    if (self->oom_open == 0)
        return false;
    self->oom_open--;
    return true;
}

mproc__end_cause mproc__supervisor_memory_cause(mproc__supervisor *self, int exit_code)
{
    bool fault = exit_code == -SIGSEGV || exit_code == -SIGBUS || exit_code == -SIGABRT;
    bool limited = self->crew.limits && self->crew.limits->asked >> MPROC__LIMIT_MEMORY & 1;
    if (fault && limited)
        return MPROC__END_MEMORY_LIMITED;
    if (exit_code != -SIGKILL || !self->oom_looked)
        return MPROC__END_UNKNOWN;
    mproc__oom_count count = count_look(self);
    if (!kill_take(self, count.kills))
        return MPROC__END_UNKNOWN;
    return count.of_group ? MPROC__END_MEMORY_GROUP : MPROC__END_MEMORY_SYSTEM;
}
