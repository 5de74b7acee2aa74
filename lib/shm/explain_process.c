/* SPDX-License-Identifier: BSD-2-Clause */
/* The processes and threads of explain: who they are, whether they stand still, and whether a waiter is one. */
#include "platform/base.h"

#include <stdio.h>

#include "platform/cgroup.h"
#include "shm/explain_inside.h"

static mproc__view_entry *entry_of(mproc__explaining *explaining, pid_t tid)
{
    mproc__view_entry *entry = &explaining->views[(uint32_t)tid % MPROC__VIEWS];
    if (entry->tid != tid) {
        *entry = (mproc__view_entry){.tid = tid};
        entry->code = mproc__process_view_get(tid, &entry->view);
    }
    return entry;
}

bool mproc__explain_view(mproc__explaining *explaining, pid_t tid, mproc__process_view *ret_view)
{
    if (tid <= 0)
        return false;
    const mproc__view_entry *entry = entry_of(explaining, tid);
    if (entry->code == 0)
        *ret_view = entry->view;
    return entry->code == 0;
}

static bool is_frozen(mproc__explaining *explaining, pid_t pid)
{
    mproc__view_entry *entry = entry_of(explaining, pid);
    if (!entry->frozen_known)
        entry->frozen = mproc__cgroup_frozen(pid);
    entry->frozen_known = true;
    return entry->frozen;
}

/* A first thread that has ended while others go on is shown as a zombie. */
bool mproc__explain_state(mproc__explaining *explaining, const mproc__process_view *view,
                          const char **ret_text)
{
    bool ended = view->state == 'Z' || view->state == 'X' || view->state == 'x';
    bool still = !ended;
    if (ended)
        *ret_text = view->threads > 1 ? "running" : "ended";
    else if (view->state == 'T')
        *ret_text = "STOPPED";
    else if (view->state == 't')
        *ret_text = "STOPPED by a debugger";
    else if (is_frozen(explaining, view->pid))
        *ret_text = "FROZEN";
    else {
        *ret_text = "running";
        still = false;
    }
    return still;
}

/* A waiter that was killed left its slot, and its number may be another thread's by now: one that is younger than the
 * wait. */
bool mproc__explain_waits(mproc__explaining *explaining, const mproc__waiter_seen *seen,
                          mproc__process_view *ret_view)
{
    return seen->tid && mproc__explain_view(explaining, seen->tid, ret_view) && ret_view->state != 'Z' &&
           ret_view->state != 'X' && seen->since_ns >= ret_view->started_ns;
}

pid_t mproc__explain_holder_tid(mproc__explaining *explaining, const mproc__report_entry *holder, bool alone)
{
    mproc__process_view view;
    if (holder->tid)
        return holder->tid;
    if (alone && mproc__explain_view(explaining, holder->pid, &view) && view.threads == 1)
        return holder->pid;
    return 0;
}

void mproc__explain_name(mproc__explaining *explaining, pid_t pid)
{
    mproc__process_view view;
    bool known = mproc__explain_view(explaining, pid, &view);
    fprintf(explaining->stream, "%d%s%s", (int)pid, known ? " " : "", known ? view.name : "");
}

double mproc__explain_seconds(int64_t since_ns)
{
    int64_t now_ns = mproc__now_ns();
    return since_ns > 0 && since_ns < now_ns ? (double)(now_ns - since_ns) / 1e9 : 0.0;
}
