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

#include "kill/round.h"
#include "platform/platform.h"
#include "support/support.h"

enum { ROUND_LIMIT_S = 30 /* a round that takes longer hangs in the controller itself */ };

/* One page that all roles share beside the object; not compared. */
typedef struct flags_shared {
    _Atomic int returned;     /* victim: 1 + what the call answered */
    _Atomic int recovered;    /* recoverer: the same */
    _Atomic uint32_t woke;    /* waiter: 1 + what the wait answered */
    _Atomic uint32_t went_on; /* victim, after a stop: as returned, with a wake */
} flags_shared;

static flags_shared *flags;
static int live_ms;
static bool stepping;

__attribute__((format(printf, 2, 3))) static void blame(round_run *r, const char *format, ...)
{
    va_list args;
    if (r->failure[0])
        return;
    va_start(args, format);
    vsnprintf(r->failure, sizeof(r->failure), format, args);
    va_end(args);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the roles ---- */

static void stay(void)
{
    for (;;)
        pause();
}

static void tell(_Atomic uint32_t *word, int answer)
{
    atomic_store(word, 1u + (uint32_t)(answer & 255));
    mproc__futex_wake(word, 1, true);
}

static int waiter_main(void *context)
{
    round_run *r = context;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    tell(&flags->woke, r->of->wait(r->context, r->state));
    stay();
    return 0;
}

static int victim_main(void *context)
{
    round_run *r = context;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    int answer = r->of->prepare ? r->of->prepare(r->context, r->state) : 0;
    if (answer != 0)
        return answer;
    kill(getpid(), SIGSTOP);
    answer = r->of->call(r->context, r->state);
    atomic_store(&flags->returned, 1 + (answer & 255));
    tell(&flags->went_on, answer);
    stay();
    return 0;
}

static int recoverer_main(void *context)
{
    round_run *r = context;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    kill(getpid(), SIGSTOP);
    atomic_store(&flags->recovered, 1 + (r->of->recover(r->context, r->state) & 255));
    stay();
    return 0;
}

static int poster_main(void *context)
{
    round_run *r = context;
    if (r->order == ORDER_KILL_POST)
        kill(r->victim, SIGKILL);
    int answer = r->of->post(r->context, r->state);
    if (r->order == ORDER_POST_KILL)
        kill(r->victim, SIGKILL);
    return answer;
}

static int meanwhile_main(void *context)
{
    round_run *r = context;
    return r->of->meanwhile(r->context, r->state);
}

static int wakes_main(void *context)
{
    round_run *r = context;
    return r->of->wakes(r->context, r->state);
}

static int check_main(void *context)
{
    round_run *r = context;
    return r->of->check(r->context, r->state, r->returned);
}

/* ---- waiting for them ---- */

/* Until the process sleeps or has ended. */
static bool at_rest(pid_t pid)
{
    int64_t end_ms = now_ms() + support_ms(KILL_HARD_MS);
    for (unsigned looks = 0; now_ms() < end_ms; looks++) {
        char letter = trace_state(pid);
        if (letter != 'R' && letter != 'D')
            return true;
        if (looks < 100)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    return false;
}

static void settle_waiter(void *context)
{
    round_run *r = context;
    if (r->waiter > 0 && !r->posted && !at_rest(r->waiter))
        blame(r, "the waiter does not come to rest");
}

static bool await(_Atomic uint32_t *word)
{
    mproc_deadline deadline = mproc_after_ms(support_ms(KILL_HARD_MS));
    while (atomic_load(word) == 0)
        if (mproc__futex_wait(word, 0, true, deadline) == -ETIMEDOUT)
            return false;
    return true;
}

/* Exit status, 256 + signal, or -1 when it hangs: then it is killed. */
static int reap(pid_t pid, int limit_ms)
{
    int status = 0;
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd poll_for = {.fd = pidfd, .events = POLLIN};
    bool ended = pidfd >= 0 && poll(&poll_for, 1, support_ms(limit_ms)) == 1;
    if (pidfd >= 0)
        close(pidfd);
    if (!ended)
        kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) < 0 || !ended)
        return -1;
    return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* A process that does fn and ends: its answer, or -1 when it hangs. Slowness is a failure of its own. */
static int helper(round_run *r, const char *who, support_fn *fn)
{
    int64_t start_ms = now_ms();
    int answer = reap(support_fork(fn, r), 2 * KILL_HARD_MS);
    if (answer < 0)
        blame(r, "%s hangs", who);
    else if (answer == 0 && now_ms() - start_ms > live_ms) {
        r->slow = true;
        blame(r, "%s took %d ms", who, (int)(now_ms() - start_ms));
    }
    return answer;
}

static void must(round_run *r, const char *who, support_fn *fn)
{
    int answer = r->failure[0] ? 0 : helper(r, who, fn);
    if (answer > 0)
        blame(r, "%s found fault %d", who, answer);
}

static void await_waiter(round_run *r, const char *when)
{
    int64_t start_ms = now_ms();
    if (r->failure[0] || r->waiter <= 0)
        return;
    if (!await(&flags->woke))
        blame(r, "the waiter sleeps on %s", when);
    else if (atomic_load(&flags->woke) != 1)
        blame(r, "the waiter answered %u", atomic_load(&flags->woke) - 1);
    else if (now_ms() - start_ms > live_ms) {
        r->slow = true;
        blame(r, "the waiter woke after %d ms", (int)(now_ms() - start_ms));
    }
}

/* ---- the parts of a round ---- */

/* Not beside a stopped victim whose post it might take. */
static void start_waiter(round_run *r)
{
    if (!r->of->wait || r->failure[0] || r->waiter > 0 || (r->of->post && r->kind == ROUND_STOP))
        return;
    r->waiter = support_fork(waiter_main, r);
    settle_waiter(r);
    if (atomic_load(&flags->woke) != 0)
        blame(r, "the waiter did not wait: answer %u", atomic_load(&flags->woke) - 1);
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
    must(r, "the poster", poster_main);
}

static void start_traced(round_run *r, support_fn *fn, pid_t *ret_pid, trace *ret_trace,
                         _Atomic int *returned)
{
    int status;
    if (r->failure[0])
        return;
    *ret_pid = support_fork(fn, r);
    if (waitpid(*ret_pid, &status, 0) < 0 || !WIFSTOPPED(status)) {
        blame(r, "the traced process could not prepare: status %#x", status);
        *ret_pid = 0;
        return;
    }
    settle_waiter(r);
    trace_how how = {.pid = *ret_pid,
                     .returned = returned,
                     .settle = settle_waiter,
                     .context = r,
                     .may_block = r->of->post && fn == victim_main,
                     .stepping = stepping};
    if (trace_begin(ret_trace, &how) != 0)
        blame(r, "the process cannot be traced");
}

static void note_answer(round_run *r, const char *who, trace_step at, const _Atomic int *returned)
{
    int answer = atomic_load(returned);
    if (at == TRACE_LOST || at == TRACE_STUCK)
        blame(r, "the %s %s", who, at == TRACE_LOST ? "ended by itself" : "blocked in its call");
    if (answer > 1)
        blame(r, "the %s's call answered %d", who, answer - 1);
}

/* The victim sleeps at `mark`. The first time the waiter comes, which may wake the victim for a look; asleep for good, it
 * is killed or gets its post. True: it goes on. */
static bool asleep_at(round_run *r, int mark)
{
    bool fresh = !r->posted;
    if (!r->of->post)
        blame(r, "the victim sleeps in a call that must not block");
    else if (!fresh) {
        r->skipped = r->unordered;
        blame(r, "the victim sleeps again after the post");
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
    note_answer(r, "victim", at, &flags->returned);
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
    start_traced(r, recoverer_main, &r->recoverer, &r->recoverer_trace, &flags->recovered);
    while (!r->failure[0] && at == TRACE_MARK && (r->second == ROUND_WHOLE || mark < r->second)) {
        at = trace_next(&r->recoverer_trace);
        mark++;
    }
    note_answer(r, "recoverer", at, &flags->recovered);
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
        blame(r, "the victim cannot be stopped");
        return;
    }
    post(r);
    must(r, "somebody, while the victim is stopped,", meanwhile_main);
    kill(r->victim, SIGCONT);
    if (!await(&flags->went_on))
        blame(r, "the victim does not go on after the stop");
    note_answer(r, "victim", TRACE_RETURNED, &flags->returned);
    r->returned = true;
}

static void judge(round_run *r)
{
    if (r->failure[0] || r->kind == ROUND_RECORD)
        return;
    if (r->waiter > 0 && (!r->of->wakes || helper(r, "the survivor", wakes_main) == 0))
        await_waiter(r, "after the death");
    must(r, "the survivor", check_main);
    await_waiter(r, "although the survivor used the object");
}

static void end(round_run *r)
{
    if (r->waiter > 0)
        support_kill(r->waiter);
    if (r->victim > 0)
        support_kill(r->victim);
    if (r->context)
        r->of->teardown(r->context);
    r->context = NULL;
}

void round_do(round_run *r)
{
    alarm(ROUND_LIMIT_S);
    *flags = (flags_shared){.returned = 0};
    int answer = r->of->setup(r->state, &r->context);
    if (answer != 0) {
        blame(r, "the start state could not be made: %d", answer);
        return;
    }
    if (!r->of->post)
        start_waiter(r);
    start_traced(r, victim_main, &r->victim, &r->victim_trace, &flags->returned);
    follow_victim(r);
    if (r->kind == ROUND_STOP)
        stop_and_go_on(r);
    else
        r->returned = atomic_load(&flags->returned) == 1;
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
    live_ms = live;
    stepping = step;
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = interrupt}, NULL);
    flags = mmap(NULL, sizeof(*flags), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return flags == MAP_FAILED ? -1 : 0;
}
