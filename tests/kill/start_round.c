/* SPDX-License-Identifier: BSD-2-Clause */
/* {make a family, lead one to its mark, kill, judge}. */
#include "platform/base.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kill/start_round.h"
#include "support/support.h"

enum { HANG_MS = 10000, LOOK_NS = 200000 };

typedef struct family {
    tree tree;
    int life_fd;
    unsigned begun;    /* how often the function has begun, as far as it was looked */
    int ready_at_kill; /* start_flags.started then */
    unsigned begun_at_kill;
} family;

static cpu_set_t all_cpus;

__attribute__((format(printf, 2, 3))) static void blame(start_round *round, const char *format, ...)
{
    va_list args;
    if (round->failure[0])
        return;
    va_start(args, format);
    vsnprintf(round->failure, sizeof(round->failure), format, args);
    va_end(args);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void start_round_unpin(void)
{
    sched_setaffinity(0, sizeof(all_cpus), &all_cpus);
}

/* ---- the family ---- */

/* The parent waits for its tracer. */
static pid_t parent_fork(const start_round *round, int life_fd, int *ret_go_fd)
{
    int go[2];
    char byte;
    if (pipe2(go, O_CLOEXEC) < 0)
        return -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]);
        if (round->at_once)
            start_round_unpin();
        if (read(go[0], &byte, 1) != 1)
            _exit(1);
        close(go[0]);
        start_parent(round->scene, life_fd);
    }
    close(go[0]);
    *ret_go_fd = go[1];
    return pid;
}

/* Up to the beginning of the window. */
static void family_make(start_round *round, family *of)
{
    int life[2], go_fd = -1;
    int64_t limit = now_ms() + support_ms(HANG_MS);
    *of = (family){.life_fd = -1};
    atomic_store(&start_flags_shared->started, 0);
    atomic_store(&start_flags_shared->killed, 0);
    if (pipe2(life, O_CLOEXEC) < 0) {
        blame(round, "no pipe");
        return;
    }
    of->life_fd = life[0];
    fcntl(life[0], F_SETFL, O_NONBLOCK);
    pid_t pid = parent_fork(round, life[1], &go_fd);
    close(life[1]);
    if (pid < 0 || tree_begin(&of->tree, pid) < 0)
        blame(round, "the parent cannot be traced");
    of->tree.unseen = &start_flags_shared->unseen;
    if (go_fd >= 0 && (write(go_fd, "g", 1) != 1 || close(go_fd) < 0))
        blame(round, "the parent is gone");
    while (!round->failure[0] && of->tree.stops == 0) {
        if (of->tree.people[0].ended || now_ms() > limit)
            blame(round, "the parent has not come to its window: status %#x", of->tree.people[0].status);
        if (tree_turn(&of->tree) <= 0)
            sched_yield();
    }
    if (!round->failure[0] && !round->at_once && !tree_settle(&of->tree, support_ms(HANG_MS)))
        blame(round, "the family does not come to rest before the window");
}

static void family_end(family *of)
{
    tree_end(&of->tree);
    if (of->life_fd >= 0)
        close(of->life_fd);
}

static unsigned family_begun(family *of)
{
    char bytes[16];
    for (ssize_t got; (got = read(of->life_fd, bytes, sizeof(bytes))) > 0;)
        of->begun += (unsigned)got;
    return of->begun;
}

/* ---- to the mark ---- */

static void window_open(start_round *round, family *of)
{
    if (round->failure[0])
        return;
    if (!tree_follow(&of->tree, round->followed, support_ms(HANG_MS)))
        blame(round, "process %d cannot be followed", round->followed);
    if (round->followed != 0)
        tree_go(&of->tree, 0);
}

static bool window_ended(const tree *t)
{
    return t->stops >= 2 || t->people[0].ended;
}

/* To the end of the next system call; false: at the end of the window, or of the process. All asleep before the window's
 * end: somebody sleeps for a time (a library that tries again), or this is a hang. */
static bool window_call(start_round *round, family *of)
{
    tree *t = &of->tree;
    int64_t limit = now_ms() + support_ms(HANG_MS);
    tree_step step = TREE_ASLEEP;
    if (round->followed == 0 && window_ended(t))
        return false;
    while (step == TREE_ASLEEP && now_ms() < limit) {
        step = tree_call(t, !round->at_once, support_ms(HANG_MS));
        if (window_ended(t))
            break;
    }
    if (step == TREE_STUCK || (step == TREE_ASLEEP && !window_ended(t)))
        blame(round, "process %d hangs in the window, %s", round->followed,
              step == TREE_STUCK ? "running" : "asleep");
    return step == TREE_MARK && !(round->followed == 0 && window_ended(t));
}

static bool mark_add(start_round *round, start_mark *marks, int *count, start_mark mark)
{
    if (*count == START_MARKS) {
        blame(round, "more than %d marks", START_MARKS);
        return false;
    }
    marks[(*count)++] = mark;
    return true;
}

/* The changes up to the next system call. One who was asleep when the window opened is in the middle of one. */
static bool gap_count(start_round *round, family *of, start_mark *marks, int *count, start_mark at)
{
    bool more = !round->calls_only && tree_lives(&of->tree, round->followed) &&
                (at.calls > 0 || round->followed == 0);
    while (more && tree_change(&of->tree) == TREE_MARK) {
        at.changes++;
        if (!mark_add(round, marks, count, at))
            return false;
    }
    return true;
}

int start_round_count(start_round *round, start_mark *marks)
{
    family of;
    int count = 0;
    start_mark at = {0};
    family_make(round, &of);
    window_open(round, &of);
    bool more = !round->failure[0];
    if (more && tree_lives(&of.tree, round->followed))
        more = mark_add(round, marks, &count, at);
    while (more) {
        more = gap_count(round, &of, marks, &count, at);
        at = (start_mark){.calls = at.calls + 1};
        more = more && window_call(round, &of);
        if (more && of.tree.people[round->followed].seen)
            more = mark_add(round, marks, &count, at);
    }
    family_end(&of);
    return round->failure[0] ? -1 : count;
}

static bool mark_reach(start_round *round, family *of)
{
    window_open(round, of);
    for (unsigned i = 0; i < round->mark.calls; i++)
        if (round->failure[0] || !window_call(round, of))
            return false;
    for (unsigned i = 0; i < round->mark.changes; i++)
        if (round->failure[0] || tree_change(&of->tree) != TREE_MARK)
            return false;
    return !round->failure[0];
}

/* ---- judging ---- */

/* Until `done`, or nobody is left: false when that takes longer. */
static bool family_await(family *of, bool (*done)(const family *of), int limit_ms)
{
    const struct timespec look = {.tv_nsec = LOOK_NS};
    int64_t limit = now_ms() + limit_ms;
    for (int turn = 1; turn >= 0;) {
        if (done && done(of))
            return true;
        turn = tree_turn(&of->tree);
        if (turn == 0 && now_ms() > limit)
            return false;
        if (turn == 0)
            nanosleep(&look, NULL);
    }
    return true;
}

static bool parent_ended(const family *of)
{
    return of->tree.people[0].ended;
}

static void name_living(start_round *round, const family *of)
{
    for (unsigned i = 0; i < of->tree.count; i++)
        if (!of->tree.people[i].ended)
            blame(round, "process %u is left after %d ms (state %c)", i, round->live_ms, '?');
    blame(round, "a process that nobody saw born is left after %d ms", round->live_ms);
}

static void judge_gone(start_round *round, family *of)
{
    int64_t from = now_ms();
    if (!family_await(of, NULL, support_ms(round->live_ms)))
        name_living(round, of);
    round->gone_ms = (int)(now_ms() - from);
}

/* Of a program only the nursery says when it is ready. It may begin beside its owner's death, until the nursery's signal
 * comes. */
static bool hears_of_death(const start_scene *scene)
{
    return scene->method != START_PROGRAM;
}

static void judge_function(start_round *round, family *of)
{
    unsigned begun = family_begun(of);
    if (begun > 1)
        blame(round, "the function has begun %u times", begun);
    if (round->killed == 0 && !round->at_once && hears_of_death(round->scene) && begun > of->begun_at_kill &&
        of->ready_at_kill == 0)
        blame(round, "the function has begun after the parent's death, which had not heard of it");
    int started = atomic_load(&start_flags_shared->started);
    if (started < 0 && begun > 0 && round->scene->method != START_PROGRAM)
        blame(round, "the start answered %d and the function has begun", started);
}

static void judge_parent(start_round *round, family *of)
{
    if (!family_await(of, parent_ended, support_ms(HANG_MS)))
        blame(round, "the parent hangs");
    int status = of->tree.people[0].status;
    if (!round->failure[0] && status != 0)
        blame(round, "the parent ends with status %#x", status);
}

static void judge(start_round *round, family *of)
{
    if (round->killed != 0)
        judge_parent(round, of);
    if (!round->failure[0])
        judge_gone(round, of);
    if (!round->failure[0])
        judge_function(round, of);
}

/* Its end is waited for before the others go on, or they might find it alive. */
static void strike(start_round *round, family *of)
{
    tree *t = &of->tree;
    int who = round->killed == KILL_YOUNGEST ? tree_youngest(t) : round->killed;
    int64_t limit = now_ms() + support_ms(HANG_MS);
    of->begun_at_kill = family_begun(of);
    of->ready_at_kill = atomic_load(&start_flags_shared->started);
    atomic_store(&start_flags_shared->killed, who + 1);
    round->done =
        round->killed == KILL_NOBODY || (tree_lives(t, who) && kill(t->people[who].pid, SIGKILL) == 0);
    while (round->done && round->killed != KILL_NOBODY && !round->at_once && !t->people[who].ended &&
           now_ms() < limit)
        if (tree_turn(t) <= 0)
            sched_yield();
    tree_release(t);
}

void start_round_run(start_round *round)
{
    family of;
    family_make(round, &of);
    round->reached = mark_reach(round, &of);
    if (round->reached) {
        strike(round, &of);
        if (round->done)
            judge(round, &of);
    }
    family_end(&of);
}

int start_round_prepare(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (sched_getaffinity(0, sizeof(all_cpus), &all_cpus) < 0 ||
        sched_setaffinity(0, sizeof(one), &one) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return -1;
    start_flags_shared =
        mmap(NULL, sizeof(*start_flags_shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return start_flags_shared == MAP_FAILED ? -1 : 0;
}
