/* SPDX-License-Identifier: BSD-2-Clause */
/* {build, park, follow, kill or stop, recover, judge}. All processes of a round are on one CPU, the controller's: so whoever
 * the controller sees asleep while the traced ones are stopped stays asleep, and one look is enough. */
#include "platform/base.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kill/roles.h"
#include "platform/platform.h"
#include "support/support.h"

enum {
    COPY_BYTES_MOST = 64 << 10,
    ROUND_LIMIT_S = 30 /* a round that takes longer hangs in the controller itself */
};

static bool stepping;

/* ---- the parts of a round ---- */

static void start_beside(round_run *r)
{
    while (r->beside_count < r->of->beside_count) {
        r->beside[r->beside_count] = support_fork(role_beside, r);
        r->beside_count++;
        patience_settle(r);
    }
}

/* Not beside a stopped victim whose post it might take. */
static void start_waiter(round_run *r)
{
    if (!r->of->wait || r->failure[0] || r->waiter > 0 || (r->of->post && r->kind == ROUND_STOP))
        return;
    r->waiter = support_fork(role_waiter, r);
    patience_settle(r);
    if (atomic_load(&kill_flags->woke) != 0)
        round_blame(r, "the waiter did not wait: answer %u", atomic_load(&kill_flags->woke) - 1);
}

/* While the victim has something to go on for, the waiter must not take what was posted: on this CPU it runs after the
 * controller, the victim and the poster. Without the right to that, rounds in which it is first are left out. */
static void victim_first(round_run *r, bool first)
{
    if (!r->of->post || r->waiter <= 0)
        return;
    int policy = first ? SCHED_FIFO : SCHED_OTHER;
    const struct sched_param priority = {.sched_priority = first ? 1 : 0};
    bool done = sched_setscheduler(r->victim, policy, &priority) == 0;
    done &= sched_setscheduler(0, policy, &priority) == 0; /* also back, when the victim is gone */
    r->unordered = first && !done;
}

static void post(round_run *r)
{
    if (r->posted || !r->of->post)
        return;
    r->posted = true;
    patience_must(r, "the poster", role_poster);
}

static void start_traced(round_run *r, support_fn *fn, pid_t *ret_pid, trace *ret_trace,
                         _Atomic int *returned)
{
    int status;
    if (r->failure[0])
        return;
    *ret_pid = support_fork(fn, r);
    if (waitpid(*ret_pid, &status, 0) < 0 || !WIFSTOPPED(status)) {
        round_blame(r, "the traced process could not prepare: status %#x", status);
        *ret_pid = 0;
        return;
    }
    patience_settle(r);
    trace_how how = {.pid = *ret_pid,
                     .returned = returned,
                     .quiet = kill_flags->quiet,
                     .quiet_count = kill_flags->quiet_count,
                     .settle = patience_settle,
                     .context = r,
                     .may_block = r->of->post && fn == role_victim,
                     .stepping = stepping};
    if (trace_begin(ret_trace, &how) != 0)
        round_blame(r, "the process cannot be traced");
}

static void note_answer(round_run *r, const char *who, trace_step at, const _Atomic int *returned)
{
    int answer = atomic_load(returned);
    if (at == TRACE_LOST || at == TRACE_STUCK)
        round_blame(r, "the %s %s", who, at == TRACE_LOST ? "ended by itself" : "blocked in its call");
    if (answer > 1)
        round_blame(r, "the %s's call answered %d", who, answer - 1);
}

/* The victim sleeps at `mark`. The first time the waiter comes, which may wake the victim for a look; asleep for good, it
 * is killed or gets its post. True: it goes on. */
static bool asleep_at(round_run *r, int mark)
{
    bool fresh = !r->posted;
    if (!r->of->post)
        round_blame(r, "the victim sleeps in a call that must not block");
    else if (!fresh) {
        r->skipped = r->unordered;
        r->slow = true; /* on a machine so busy that the kernel let the waiter run first after all */
        round_blame(r, "the victim sleeps again after the post");
    }
    start_waiter(r);
    if (!fresh || trace_state(r->victim) != 'S')
        return fresh;
    r->asleep = mark;
    victim_first(r, true);
    if (r->kind == ROUND_RECORD || mark < r->mark)
        post(r);
    return true;
}

/* To the round's mark, or to the return of the call, which is the last mark of all. */
static void follow_victim(round_run *r)
{
    trace_step at = TRACE_MARK;
    int mark = 0;
    r->asleep = ROUND_NEVER;
    while (!r->failure[0] && at == TRACE_MARK && (r->kind == ROUND_RECORD || mark < r->mark)) {
        at = trace_next(&r->victim_trace);
        mark++;
        if (at == TRACE_ASLEEP && asleep_at(r, mark))
            at = TRACE_MARK;
    }
    note_answer(r, "victim", at, &kill_flags->returned);
    if (r->kind == ROUND_RECORD)
        r->mark = mark;
}

/* Every second victim stays a zombie until the round is over: the dead need not be reaped to be dead. */
static void kill_victim(round_run *r)
{
    siginfo_t info;
    if (r->victim <= 0)
        return;
    if (r->order != ORDER_KILL && r->asleep == r->mark) {
        post(r);
    } else {
        trace_unfence(&r->victim_trace);
        kill(r->victim, SIGKILL);
    }
    waitid(P_PID, (id_t)r->victim, &info, WEXITED | (r->mark % 2 ? WNOWAIT : 0));
    victim_first(r, false);
}

static void run_recoverer(round_run *r)
{
    trace_step at = TRACE_MARK;
    int mark = 0;
    start_traced(r, role_recoverer, &r->recoverer, &r->recoverer_trace, &kill_flags->recovered);
    while (!r->failure[0] && at == TRACE_MARK && (r->second == ROUND_WHOLE || mark < r->second)) {
        at = trace_next(&r->recoverer_trace);
        mark++;
    }
    note_answer(r, "recoverer", at, &kill_flags->recovered);
    if (r->second == ROUND_WHOLE)
        r->second = mark;
    if (r->recoverer <= 0)
        return;
    trace_unfence(&r->recoverer_trace);
    kill(r->recoverer, SIGKILL);
    waitpid(r->recoverer, NULL, 0);
}

/* Stopped as by job control: no tracer any more. A sleeper is first stopped in its sleep. */
static bool stop_victim(round_run *r)
{
    int status;
    bool sleeps = r->victim_trace.asleep;
    if (sleeps) {
        kill(r->victim, SIGSTOP);
        if (waitpid(r->victim, &status, 0) < 0 || !WIFSTOPPED(status))
            return false;
    }
    trace_unfence(&r->victim_trace);
    if (!sleeps)
        kill(r->victim, SIGSTOP);
    if (ptrace(PTRACE_DETACH, r->victim, NULL, sleeps ? (void *)(uintptr_t)SIGSTOP : NULL) != 0)
        return false;
    return waitpid(r->victim, &status, WUNTRACED) > 0 && WIFSTOPPED(status);
}

static void stop_and_go_on(round_run *r)
{
    if (r->failure[0])
        return;
    if (!stop_victim(r)) {
        round_blame(r, "the victim cannot be stopped");
        return;
    }
    post(r);
    patience_must(r, "somebody, while the victim is stopped,", role_meanwhile);
    kill(r->victim, SIGCONT);
    if (!patience_await(&kill_flags->went_on))
        round_blame(r, "the victim does not go on after the stop");
    note_answer(r, "victim", TRACE_RETURNED, &kill_flags->returned);
    r->returned = true;
}

static void judge(round_run *r)
{
    if (r->failure[0] || r->kind == ROUND_RECORD)
        return;
    if (r->waiter > 0 && (!r->of->wakes || patience_helper(r, "the survivor", role_wakes) == 0))
        patience_waiter(r, "after the death");
    patience_must(r, "the survivor", role_check);
    patience_waiter(r, "although the survivor used the object");
}

static void end(round_run *r)
{
    if (r->waiter > 0)
        support_kill(r->waiter);
    if (r->victim > 0)
        support_kill(r->victim);
    for (unsigned i = 0; i < r->beside_count; i++)
        support_kill(r->beside[i]);
    if (r->context)
        r->of->teardown(r->context);
    r->context = NULL;
    while (waitpid(-1, NULL, WNOHANG) > 0) /* what a poster left behind: round_prepare */
        ;
}

static bool copies_much(const round_run *r)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < kill_flags->quiet_count; i++)
        bytes += kill_flags->quiet[i].iov_len;
    return r->of->copies && bytes > COPY_BYTES_MOST;
}

void round_do(round_run *r)
{
    alarm(ROUND_LIMIT_S);
    *kill_flags = (flags_shared){.returned = 0};
    int answer = r->of->setup(r->state, &r->context);
    if (answer != 0) {
        round_blame(r, "the start state could not be made: %d", answer);
        return;
    }
    r->copies = copies_much(r);
    if (stepping && r->copies) {
        r->skipped = true;
        round_blame(r, "its copies take too many steps");
        end(r);
        return;
    }
    start_beside(r);
    if (!r->of->post)
        start_waiter(r);
    start_traced(r, role_victim, &r->victim, &r->victim_trace, &kill_flags->returned);
    follow_victim(r);
    if (r->kind == ROUND_STOP)
        stop_and_go_on(r);
    else
        r->returned = atomic_load(&kill_flags->returned) == 1;
    kill_victim(r);
    if (r->kind == ROUND_PAIR)
        run_recoverer(r);
    start_waiter(r);
    post(r);
    judge(r);
    end(r);
}

void round_forget(round_run *r)
{
    trace_end(&r->victim_trace);
    trace_end(&r->recoverer_trace);
}

static void interrupt(int number)
{
    (void)number; /* the waitpid of a step returns with EINTR */
}

int round_prepare(int live, bool step)
{
    patience_set(live);
    stepping = step;
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* a poster beside a stopped victim may leave its child waiting */
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = interrupt}, NULL);
    kill_flags = mmap(NULL, sizeof(*kill_flags), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return kill_flags == MAP_FAILED ? -1 : 0;
}
