/* SPDX-License-Identifier: BSD-2-Clause */
/* One tracer for a whole tree of processes: it stops each at its system calls, and at one of them does harm. */
#include "platform/base.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/faulttree.h"
#include "support/tracing.h"

enum { TRACED_MAX = 64 };

/* What starting processes asks for, beside what syscalls.c knows. brk is not here: libc has mmap instead. */
static const fault_call more_calls[] = {
    {SYS_close_range, "close_range", {EPERM, ENOSYS, ENOMEM}, false},
    {SYS_execve, "execve", {ENOMEM, EAGAIN}, false},
    {SYS_fchdir, "fchdir", {EACCES}, false},
    {SYS_pidfd_send_signal, "pidfd_send_signal", {EPERM}, false},
    {SYS_pipe2, "pipe2", {EMFILE, ENFILE}, false},
    {SYS_prctl, "prctl", {EPERM}, false},
    {SYS_pwrite64, "pwrite64", {ENOSPC, EINTR}, false},
    {SYS_recvfrom, "recvfrom", {ENOMEM, EINTR}, true},
    {SYS_setpgid, "setpgid", {EPERM}, false},
    {SYS_wait4, "wait4", {EINTR}, true},
    {SYS_waitid, "waitid", {EINTR}, true},
#ifdef SYS_fork /* the old ones, which newer architectures lack */
    {SYS_dup2, "dup2", {EMFILE, EBUSY}, false},
    {SYS_fork, "fork", {EAGAIN, ENOMEM}, false},
    {SYS_vfork, "vfork", {EAGAIN, ENOMEM}, false},
#endif
};

typedef struct traced {
    pid_t pid; /* or a thread; 0: free */
    char way[FAULT_TREE_WAY];
    bool named;  /* its parent has told of it */
    bool began;  /* its own first stop is past */
    bool exempt; /* after an exec that ends our interest */
    unsigned children;
    int pending; /* the errno of the call that is now suppressed */
} traced;

typedef struct tree {
    const fault_tree_plan *plan;
    fault_tree_outcome *outcome;
    pid_t root;
    unsigned marks; /* stops of the root by itself: 1, the window is open */
    traced all[TRACED_MAX];
} tree;

static volatile sig_atomic_t time_is_up;

static void on_alarm(int signal_number)
{
    (void)signal_number;
    time_is_up = 1;
}

void fault_tree_begin(void)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
}

/* ---- who ---- */

static traced *traced_find(tree *t, pid_t pid)
{
    for (unsigned i = 0; i < TRACED_MAX; i++)
        if (t->all[i].pid == pid)
            return &t->all[i];
    return NULL;
}

static traced *traced_add(tree *t, pid_t pid)
{
    traced *one = traced_find(t, pid);
    if (one)
        return one;
    one = traced_find(t, 0);
    ck_assert_ptr_nonnull(one);
    *one = (traced){.pid = pid};
    return one;
}

static void go_on(const traced *one, const tree *t, uintptr_t signal_number)
{
    ptrace(t->marks < 2 ? PTRACE_SYSCALL : PTRACE_CONT, one->pid, NULL, (void *)signal_number);
}

/* Both may come first: the parent's word of it, and its own first stop, at which it then stays. */
static void child_named(tree *t, traced *parent)
{
    unsigned long number = 0;
    char way[2 * FAULT_TREE_WAY];
    if (ptrace(PTRACE_GETEVENTMSG, parent->pid, NULL, &number) != 0)
        return;
    traced *child = traced_add(t, (pid_t)number);
    snprintf(way, sizeof way, "%s%s%u", parent->way, parent->way[0] ? "." : "", ++parent->children);
    ck_assert_uint_lt(strlen(way), FAULT_TREE_WAY);
    memcpy(child->way, way, strlen(way) + 1);
    child->named = true;
    if (child->began)
        go_on(child, t, 0);
}

static fault_tree_process *process_of(tree *t, const traced *one)
{
    fault_tree_outcome *to = t->outcome;
    for (unsigned i = 0; i < to->count; i++)
        if (strcmp(to->processes[i].way, one->way) == 0)
            return &to->processes[i];
    ck_assert_uint_lt(to->count, FAULT_TREE_PROCESSES);
    memcpy(to->processes[to->count].way, one->way, sizeof one->way);
    return &to->processes[to->count++];
}

/* ---- what ---- */

static const fault_call *call_of(const fault_stop *at)
{
    for (size_t i = 0; i < MPROC__COUNT(more_calls); i++)
        if (more_calls[i].number == at->number)
            return &more_calls[i];
    return fault_call_of(at);
}

static bool is_meant(const tree *t, const traced *one)
{
    return t->plan->way && strcmp(t->plan->way, one->way) == 0;
}

static void call_entered(tree *t, traced *one, const fault_stop *at)
{
    fault_tree_process *process = process_of(t, one);
    const fault_call *call = call_of(at);
    process->calls++;
    if (t->plan->kill && is_meant(t, one) && process->calls == t->plan->call) {
        t->outcome->happened = true;
        t->outcome->system_call = call ? call->name : "another call";
        kill(one->pid, SIGKILL);
    }
    if (!call)
        return;
    process->fallible++;
    if (t->plan->kill || !is_meant(t, one) || process->fallible != t->plan->call)
        return;
    t->outcome->variants = fault_error_count(call);
    if (t->plan->variant >= t->outcome->variants) /* another call than last time */
        return;
    t->outcome->happened = true;
    t->outcome->system_call = call->name;
    t->outcome->error = one->pending = call->errors[t->plan->variant];
    fault_suppress(one->pid);
}

static void at_system_call(tree *t, traced *one)
{
    fault_stop at;
    if (fault_look_at(one->pid, &at) != 0)
        return;
    if (at.op == PTRACE_SYSCALL_INFO_ENTRY) {
        if (t->marks == 1 && !one->exempt)
            call_entered(t, one, &at);
    } else if (one->pending) {
        fault_result_set(one->pid, -one->pending);
        one->pending = 0;
    }
}

static void at_event(tree *t, traced *one, int event)
{
    if (event == PTRACE_EVENT_EXEC)
        one->exempt = t->plan->until_exec && strchr(one->way, '.');
    else
        child_named(t, one);
}

/* A stop: what happens there, and the signal that it goes on with. */
static void stopped(tree *t, traced *one, int status)
{
    int reason = WSTOPSIG(status), event = status >> 16;
    uintptr_t pass = 0;
    if (!one->began && reason == SIGSTOP) {
        one->began = true;
        if (!one->named)
            return;
    } else if (event)
        at_event(t, one, event);
    else if (reason == (SIGTRAP | 0x80))
        at_system_call(t, one);
    else if (reason == SIGSTOP && one->pid == t->root)
        t->marks++;
    else
        pass = (uintptr_t)reason;
    go_on(one, t, pass);
}

/* ---- the loop ---- */

static void deadline_set(int limit_ms)
{
    struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART: it ends a waitpid */
    /* Again and again, as the first may come just before a waitpid. */
    struct itimerval timer = {.it_interval = {0, 100000},
                              .it_value = {support_ms(limit_ms) / 1000, support_ms(limit_ms) % 1000 * 1000}};
    time_is_up = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void deadline_end(tree *t)
{
    struct itimerval none = {0};
    setitimer(ITIMER_REAL, &none, NULL);
    t->outcome->late = time_is_up;
    for (unsigned i = 0; i < TRACED_MAX; i++)
        if (t->all[i].pid)
            kill(t->all[i].pid, SIGKILL);
    while (waitpid(-1, NULL, __WALL) > 0) {
    }
}

static void root_begin(tree *t)
{
    uintptr_t options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                        PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
    int status;
    ck_assert_int_eq(waitpid(t->root, &status, __WALL), t->root);
    ck_assert(WIFSTOPPED(status));
    ck_assert_int_eq(ptrace(PTRACE_SETOPTIONS, t->root, NULL, (void *)options), 0);
    traced *one = traced_add(t, t->root);
    one->named = one->began = true;
    go_on(one, t, 0);
}

void fault_tree_trace(pid_t root, const fault_tree_plan *plan, fault_tree_outcome *ret_outcome)
{
    tree t = {.plan = plan, .outcome = ret_outcome, .root = root};
    int status;
    *ret_outcome = (fault_tree_outcome){.root_status = -1};
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    deadline_set(plan->limit_ms);
    root_begin(&t);
    for (pid_t pid; !time_is_up;) {
        pid = waitpid(-1, &status, __WALL);
        if (pid < 0 && errno == ECHILD)
            break;
        if (pid < 0)
            continue;
        if (WIFSTOPPED(status)) {
            stopped(&t, traced_add(&t, pid), status);
            continue;
        }
        traced *one = traced_find(&t, pid);
        if (one)
            one->pid = 0;
        if (pid == root)
            ret_outcome->root_status = WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
    }
    deadline_end(&t);
}
