/* SPDX-License-Identifier: BSD-2-Clause */
/* All births are reported by ptrace, so nobody gets away. Who is not followed runs at its own speed and stops at births and
 * signals only. */
#include "platform/base.h"

#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kill/start_tree.h"
#include "kill/trace.h"

enum { SYSTEM_CALL_STOP = SIGTRAP | 0x80, STEPS_MOST = 1000000 };

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- people ---- */

static int person_find(const tree *t, pid_t pid)
{
    for (unsigned i = t->count; i-- > 0;)
        if (t->people[i].pid == pid && !t->people[i].ended)
            return (int)i;
    return -1;
}

/* Its birth is told by the one who bore it, perhaps after its death, and by itself. */
static int person_of(tree *t, pid_t pid)
{
    for (unsigned i = 0; i < t->count; i++)
        if (t->people[i].pid == pid)
            return (int)i;
    if (t->count == TREE_MOST)
        return -1;
    t->people[t->count] = (tree_person){.pid = pid};
    return (int)t->count++;
}

void tree_go(tree *t, int who)
{
    tree_person *person = &t->people[who];
    int request = who == t->followed ? PTRACE_SYSCALL : PTRACE_CONT;
    person->held = false;
    ptrace(request, person->pid, NULL, (void *)(uintptr_t)person->next_signal);
    person->next_signal = 0;
}

bool tree_lives(const tree *t, int who)
{
    return who >= 0 && (unsigned)who < t->count && !t->people[who].ended;
}

int tree_youngest(const tree *t)
{
    for (unsigned i = t->count; i-- > 2;)
        if (!t->people[i].ended)
            return (int)i;
    return TREE_NOBODY;
}

/* ---- system calls ---- */

/* quiet.c takes reading for something that nobody sees. Here a socket is read, and who dies with bytes unread is seen to. */
static bool reads_a_peer(pid_t pid, const struct __ptrace_syscall_info *call)
{
    char path[64], target[16] = "";
    if (call->entry.nr != SYS_read)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, (int)call->entry.args[0]);
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    return length > 0 && target[0] != '/';
}

/* Held at the end of each call; its beginning is the end of the gap before, and only looked at. */
static void person_at_call(tree *t, int who)
{
    tree_person *person = &t->people[who];
    struct __ptrace_syscall_info call = {0};
    ptrace(PTRACE_GET_SYSCALL_INFO, person->pid, (void *)sizeof(call), &call);
    if (call.op == PTRACE_SYSCALL_INFO_ENTRY) {
        person->seen = reads_a_peer(person->pid, &call) || !trace_call_is_quiet(person->pid);
        tree_go(t, who);
    } else if (who == t->followed) {
        person->held = true;
    } else {
        tree_go(t, who);
    }
}

/* ---- reports ---- */

static void person_born(tree *t, pid_t mother)
{
    unsigned long pid;
    if (ptrace(PTRACE_GETEVENTMSG, mother, NULL, &pid) == 0)
        (void)person_of(t, (pid_t)pid);
}

static void person_stopped(tree *t, int who, int status)
{
    tree_person *person = &t->people[who];
    int signal_number = WSTOPSIG(status), event = status >> 16;
    if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE)
        person_born(t, person->pid);
    else if (event == PTRACE_EVENT_STOP && who == t->followed) {
        person->held = true; /* its first moment, or that of tree_follow */
        return;
    } else if (event == 0 && signal_number == SYSTEM_CALL_STOP) {
        person_at_call(t, who);
        return;
    } else if (event == 0 && signal_number == SIGSTOP && who == 0) {
        t->stops++;
        person->held = !t->released;
        if (person->held)
            return;
    } else if (event == 0 && signal_number != SIGTRAP)
        person->next_signal = signal_number;
    tree_go(t, who);
}

int tree_turn(tree *t)
{
    int status;
    pid_t pid = waitpid(-1, &status, __WALL | WNOHANG);
    if (pid <= 0)
        return pid < 0 && errno == ECHILD ? -1 : 0;
    if (WIFSTOPPED(status)) {
        int who = person_of(t, pid);
        if (who >= 0)
            person_stopped(t, who, status);
    } else {
        int who = person_find(t, pid); /* one that was not our child is reported twice */
        if (who >= 0) {
            t->people[who].ended = true;
            t->people[who].status = status;
        }
    }
    return 1;
}

/* In D a process waits for a page or a lock, and goes on by itself; but for one that waits for its child by vfork. */
static bool waits_for_exec(pid_t pid)
{
    char path[64];
    long number = -1;
    snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%ld", &number) != 1)
        number = -1;
    if (file)
        fclose(file);
    return number == SYS_vfork || number == SYS_clone || number == SYS_clone3;
}

/* How often it has been given a CPU. */
static unsigned long turns_of(pid_t pid)
{
    char path[64];
    unsigned long turns = 0;
    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%*u %*u %lu", &turns) != 1)
        turns = 0;
    if (file)
        fclose(file);
    return turns;
}

static bool look(const tree *t, unsigned long *ret_turns)
{
    *ret_turns = 0;
    for (unsigned i = 0; i < t->count; i++) {
        if (t->people[i].ended || t->people[i].held)
            continue;
        pid_t pid = t->people[i].pid;
        char state = trace_state(pid);
        if (state != 'S' && !(state == 'D' && waits_for_exec(pid)))
            return false;
        *ret_turns += turns_of(pid);
    }
    return true;
}

/* Two looks, for between two lines of the first one who was seen asleep may be woken by one who is asleep when looked at. */
static bool all_asleep(const tree *t)
{
    unsigned long first, second;
    return look(t, &first) && look(t, &second) && first == second;
}

/* All are on one CPU, the caller's: when all are asleep or held, they stay so. */
bool tree_settle(tree *t, int limit_ms)
{
    int64_t limit = now_ms() + limit_ms;
    for (;;) {
        int turn = tree_turn(t);
        if (turn < 0 || (turn == 0 && all_asleep(t) && tree_turn(t) <= 0))
            return true;
        if (now_ms() > limit)
            return false;
        if (turn == 0)
            sched_yield();
    }
}

/* ---- following ---- */

int tree_begin(tree *t, pid_t root)
{
    unsigned long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK |
                            PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
    *t = (tree){.count = 1, .followed = TREE_NOBODY, .people = {{.pid = root}}};
    return ptrace(PTRACE_SEIZE, root, NULL, (void *)options) == 0 ? 0 : -1;
}

bool tree_follow(tree *t, int who, int limit_ms)
{
    int64_t limit = now_ms() + limit_ms;
    t->followed = who;
    if (!tree_lives(t, who) || t->people[who].held)
        return true;
    ptrace(PTRACE_INTERRUPT, t->people[who].pid, NULL, NULL);
    while (!t->people[who].held && !t->people[who].ended && now_ms() < limit)
        if (tree_turn(t) <= 0)
            sched_yield();
    return t->people[who].held;
}

tree_step tree_call(tree *t, bool settle, int limit_ms)
{
    int64_t limit = now_ms() + limit_ms;
    if (tree_lives(t, t->followed) && t->people[t->followed].held)
        tree_go(t, t->followed);
    for (;;) {
        int turn = tree_turn(t);
        bool born = (unsigned)t->followed < t->count;
        if (turn < 0 || (born && t->people[t->followed].ended))
            return TREE_ENDED;
        if (born && t->people[t->followed].held)
            break;
        if (turn == 0 && all_asleep(t) && tree_turn(t) <= 0)
            return TREE_ASLEEP;
        if (now_ms() > limit)
            return TREE_STUCK;
        if (turn == 0)
            sched_yield();
    }
    if (settle && !tree_settle(t, limit_ms))
        return TREE_STUCK;
    return TREE_MARK;
}

/* A signal that comes meanwhile is delivered with the next step. */
static bool single_step(tree_person *person)
{
    int status;
    if (ptrace(PTRACE_SINGLESTEP, person->pid, NULL, (void *)(uintptr_t)person->next_signal) != 0 ||
        waitpid(person->pid, &status, __WALL) < 0)
        return false;
    if (!WIFSTOPPED(status)) { /* of that signal */
        person->ended = true;
        person->status = status;
        return false;
    }
    person->next_signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
    return true;
}

/* Nobody sees what the only one left does to its memory. */
static bool alone(const tree *t)
{
    for (unsigned i = 0; i < t->count; i++)
        if ((int)i != t->followed && !t->people[i].ended)
            return false;
    return true;
}

tree_step tree_change(tree *t)
{
    tree_person *person = &t->people[t->followed];
    if (alone(t))
        return TREE_END_OF_GAP;
    trace at = {.how = {.pid = person->pid, .returned = t->unseen, .pages = true}};
    /* A program that has only begun has no list yet, or nothing but the list. */
    tree_step result = trace_find(&at) == 0 && at.range_count > 1 ? TREE_STUCK : TREE_END_OF_GAP;

    for (unsigned i = 0; result == TREE_STUCK && i < STEPS_MOST; i++) {
        if (at.next_is_system_call)
            result = TREE_END_OF_GAP;
        else if (!single_step(person) || trace_look(&at) != 0)
            result = TREE_ENDED;
        else if (t->followed == 0 && person->next_signal == SIGSTOP) {
            person->next_signal = 0;
            t->stops++;
            result = TREE_END_OF_GAP;
        } else if (memcmp(at.before, at.now, at.size_bytes) != 0 || trace_pages_changed(&at))
            result = TREE_MARK;
    }
    trace_end(&at);
    return result;
}

void tree_release(tree *t)
{
    t->followed = TREE_NOBODY;
    t->released = true;
    for (unsigned i = 0; i < t->count; i++)
        if (!t->people[i].ended && t->people[i].held)
            tree_go(t, (int)i);
}

void tree_end(tree *t)
{
    tree_release(t);
    while (tree_turn(t) >= 0)
        for (unsigned i = 0; i < t->count; i++)
            if (!t->people[i].ended)
                kill(t->people[i].pid, SIGKILL);
}
