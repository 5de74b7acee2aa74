/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting for the processes of a round: how long each may take, and what is not its fault. */
#include "platform/base.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kill/roles.h"
#include "platform/platform.h"

enum { COPY_MIB_MS = 3 };

static int live_ms;

void patience_set(int live)
{
    live_ms = live;
}

void round_blame(round_run *r, const char *format, ...)
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

/* How long a process was ready to run while others had its CPU, in its whole life; also of one not yet reaped. */
static int64_t queued_ms(pid_t pid)
{
    char path[64];
    long long queued_ns = 0;
    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file || fscanf(file, "%*d %lld", &queued_ns) != 1)
        queued_ns = 0;
    if (file)
        fclose(file);
    return queued_ns / 1000000;
}

/* Time that a round's own processes could use: what the machine gave to others while one of them wanted to run does not
 * count. With twelve busy processes beside the sweep waiters woke after 60 to 200 ms of the wall's clock. */
typedef struct stopwatch {
    const round_run *of;
    int64_t start_ms, queued_ms;
} stopwatch;

static int64_t round_queued_ms(const round_run *r)
{
    int64_t queued = queued_ms(getpid()) + (r->waiter > 0 ? queued_ms(r->waiter) : 0);
    for (unsigned i = 0; i < r->beside_count; i++)
        queued += queued_ms(r->beside[i]);
    return queued;
}

static stopwatch stopwatch_start(const round_run *r)
{
    return (stopwatch){.of = r, .start_ms = now_ms(), .queued_ms = round_queued_ms(r)};
}

static int stopwatch_ms(const stopwatch *watch)
{
    return (int)(now_ms() - watch->start_ms - (round_queued_ms(watch->of) - watch->queued_ms));
}

static bool is_at_rest(pid_t pid)
{
    char letter = trace_state(pid);
    return letter != 'R' && letter != 'D';
}

/* Until the process sleeps or has ended. */
static bool comes_to_rest(pid_t pid)
{
    int64_t end_ms = now_ms() + support_ms(KILL_HARD_MS);
    for (unsigned looks = 0; now_ms() < end_ms; looks++) {
        if (is_at_rest(pid))
            return true;
        if (looks < 100)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    return false;
}

void patience_settle(void *context)
{
    round_run *r = context;
    if (r->waiter > 0 && !r->posted && !comes_to_rest(r->waiter))
        round_blame(r, "the waiter does not come to rest");
    /* One may wake another: until all are found at rest in a row. */
    for (unsigned i = 0, resting = 0; resting < r->beside_count; i = (i + 1) % r->beside_count) {
        resting = is_at_rest(r->beside[i]) ? resting + 1 : 0;
        if (resting == 0 && !comes_to_rest(r->beside[i])) {
            round_blame(r, "number %u beside the victim does not come to rest", i);
            return;
        }
    }
}

bool patience_await(_Atomic uint32_t *word)
{
    mproc_deadline deadline = mproc_after_ms(support_ms(KILL_HARD_MS));
    while (atomic_load(word) == 0)
        if (mproc__futex_wait(word, 0, true, deadline) == -ETIMEDOUT)
            return false;
    return true;
}

/* Exit status, 256 + signal, or -1 when it hangs: then it is killed. */
static int reap(pid_t pid, int limit_ms, int64_t *ret_queued_ms)
{
    int status = 0;
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd poll_for = {.fd = pidfd, .events = POLLIN};
    bool ended = pidfd >= 0 && poll(&poll_for, 1, support_ms(limit_ms)) == 1;
    if (pidfd >= 0)
        close(pidfd);
    if (!ended)
        kill(pid, SIGKILL);
    *ret_queued_ms = queued_ms(pid);
    if (waitpid(pid, &status, 0) < 0 || !ended)
        return -1;
    return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* What it may take beside that: MiBs are put and got several times, each of them into memory not touched before. */
static int copies_ms(void)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < kill_flags->quiet_count; i++)
        bytes += kill_flags->quiet[i].iov_len;
    return (int)(bytes >> 20) * COPY_MIB_MS;
}

/* A process that does fn and ends: its answer, or -1 when it hangs. Slowness is a failure of its own. */
int patience_helper(round_run *r, const char *who, support_fn *fn)
{
    int64_t helper_queued_ms;
    stopwatch watch = stopwatch_start(r);
    int answer = reap(support_fork(fn, r), 2 * KILL_HARD_MS, &helper_queued_ms);
    int took_ms = stopwatch_ms(&watch) - (int)helper_queued_ms;
    if (answer < 0)
        round_blame(r, "%s hangs", who);
    else if (answer == 0 && took_ms > live_ms + copies_ms()) {
        r->slow = true;
        round_blame(r, "%s took %d ms", who, took_ms);
    }
    return answer;
}

void patience_must(round_run *r, const char *who, support_fn *fn)
{
    int answer = r->failure[0] ? 0 : patience_helper(r, who, fn);
    if (answer > 0)
        round_blame(r, "%s found fault %d", who, answer);
}

void patience_waiter(round_run *r, const char *when)
{
    if (r->failure[0] || r->waiter <= 0)
        return;
    stopwatch watch = stopwatch_start(r);
    if (!patience_await(&kill_flags->woke))
        round_blame(r, "the waiter sleeps on %s", when);
    else if (atomic_load(&kill_flags->woke) != 1)
        round_blame(r, "the waiter answered %u", atomic_load(&kill_flags->woke) - 1);
    else if (stopwatch_ms(&watch) > live_ms) {
        r->slow = true;
        round_blame(r, "the waiter woke after %d ms", stopwatch_ms(&watch));
    }
}
