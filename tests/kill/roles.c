/* SPDX-License-Identifier: BSD-2-Clause */
/* What the processes of a round do. */
#include "platform/base.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <unistd.h>

#include "kill/roles.h"
#include "platform/platform.h"

flags_shared *kill_flags;

void kill_quiet(const void *data, size_t size_bytes)
{
    uintptr_t from = mproc__round_up((uintptr_t)data + KILL_EDGE_BYTES, KILL_EDGE_BYTES);
    uintptr_t to = (uintptr_t)data + size_bytes;
    to = to < from ? from : (to - KILL_EDGE_BYTES) / KILL_EDGE_BYTES * KILL_EDGE_BYTES;
    if (to > from && kill_flags->quiet_count < QUIET_MOST)
        kill_flags->quiet[kill_flags->quiet_count++] = (struct iovec){(void *)from, to - from};
}

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

int role_waiter(void *context)
{
    round_run *r = context;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    tell(&kill_flags->woke, r->of->wait(r->context, r->state));
    stay();
    return 0;
}

int role_beside(void *context)
{
    round_run *r = context;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    r->of->beside(r->context, r->state, r->beside_count);
    stay();
    return 0;
}

int role_victim(void *context)
{
    round_run *r = context;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    int answer = r->of->prepare ? r->of->prepare(r->context, r->state) : 0;
    if (answer != 0)
        return answer;
    kill(getpid(), SIGSTOP);
    answer = r->of->call(r->context, r->state);
    atomic_store(&kill_flags->returned, 1 + (answer & 255));
    tell(&kill_flags->went_on, answer);
    stay();
    return 0;
}

int role_recoverer(void *context)
{
    round_run *r = context;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    kill(getpid(), SIGSTOP);
    atomic_store(&kill_flags->recovered, 1 + (r->of->recover(r->context, r->state) & 255));
    stay();
    return 0;
}

int role_poster(void *context)
{
    round_run *r = context;
    if (r->order == ORDER_KILL_POST)
        kill(r->victim, SIGKILL);
    int answer = r->of->post(r->context, r->state);
    if (r->order == ORDER_POST_KILL)
        kill(r->victim, SIGKILL);
    return answer;
}

int role_meanwhile(void *context)
{
    round_run *r = context;
    return r->of->meanwhile(r->context, r->state);
}

int role_wakes(void *context)
{
    round_run *r = context;
    return r->of->wakes(r->context, r->state);
}

int role_check(void *context)
{
    round_run *r = context;
    return r->of->check(r->context, r->state, r->returned);
}
