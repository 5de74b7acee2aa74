/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs a case in child after child, with one more thing failing each time. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/faultloop.h"

enum { RUNS_MAX = 2000, LIMIT_MS = 3000, INTERRUPTIONS = 200, TEXT_BYTES = 2048 };

/* Where a run broke, and what it saw; in memory that parent and child share. */
typedef struct verdict {
    _Atomic int rc;
    _Atomic int place; /* 0: all well */
    _Atomic int code;
    _Atomic int answered; /* the call came back */
    _Atomic int failed;   /* an allocation did fail */
    _Atomic int64_t took_ms;
    char text[TEXT_BYTES];
} verdict;

enum { WELL, IN_SETUP, IN_CHECK, NO_CODE, NO_STORY, LEAKED, LATE };
static const char *const places[] = {"well",  "setup", "check after the call", "the code", "the story",
                                     "leaks", "time"};

typedef struct run {
    const fault_case *fault;
    unsigned allocation; /* which fails, 0: none */
    bool traced;
    verdict *verdict;
} run;

/* With LeakSanitizer linked in, memory too. Not under a tracer, which it is itself. */
extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int broken(verdict *v, int place, int code)
{
    atomic_store(&v->code, code);
    atomic_store(&v->place, place);
    return 1;
}

/* A code that says something, and its story. */
static int judge_code(verdict *v, int rc, int expected)
{
    if (rc == expected)
        return 0;
    if (rc >= 0 || strcmp(mproc_errname(rc), "unknown") == 0)
        return broken(v, NO_CODE, 0);
    if (mproc_error_code(mproc_last_error()) != rc)
        return broken(v, NO_STORY, 0);
    return 0;
}

static int call_with_faults(const run *r, void *scene)
{
    int64_t began_ms = now_ms();
    if (r->traced)
        fault_window_open();
    support_fail_allocation(r->allocation);
    int rc = r->fault->call(scene);
    atomic_store(&r->verdict->failed, support_allocation_failed());
    if (r->traced)
        fault_window_close();
    atomic_store(&r->verdict->took_ms, now_ms() - began_ms);
    atomic_store(&r->verdict->rc, rc);
    atomic_store(&r->verdict->answered, 1);
    return rc;
}

static int run_in_child(void *context)
{
    const run *r = context;
    verdict *v = r->verdict;
    union {
        const void *argument;
        uint64_t room[FAULT_SCENE_BYTES / sizeof(uint64_t)];
    } scene = {.room = {0}};
    scene.argument = r->fault->argument;
    alarm((unsigned)support_ms(10000) / 1000);
    support_leaks_begin();
    int code = r->fault->setup(&scene);
    if (code)
        return broken(v, IN_SETUP, code);
    int rc = call_with_faults(r, &scene);
    if (judge_code(v, rc, r->fault->expected))
        return 1;
    code = r->fault->check(&scene, rc);
    if (code)
        return broken(v, IN_CHECK, code);
    r->fault->cleanup(&scene);
    memset(&scene, 0, sizeof(scene));
    if (support_leaks_find(v->text, sizeof(v->text)) > 0)
        return broken(v, LEAKED, 0);
    if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check())
        return broken(v, LEAKED, 1);
    if (atomic_load(&v->took_ms) > support_ms(r->fault->limit_ms ? r->fault->limit_ms : LIMIT_MS))
        return broken(v, LATE, (int)atomic_load(&v->took_ms));
    return 0;
}

static void report(const run *r, const char *what, int status)
{
    const verdict *v = r->verdict;
    char answer[64] = "did not come back";
    if (atomic_load(&v->answered))
        snprintf(answer, sizeof(answer), "answered %d", atomic_load(&v->rc));
    ck_abort_msg("%s, %s: %s; child ended with %d, wrong: %s (%d) %s", r->fault->name, what, answer, status,
                 places[atomic_load(&v->place)], atomic_load(&v->code), v->text);
}

/* One child. `what` names the fault in the report. */
static void run_once(run *r, const fault_plan *plan, const char *what, fault_outcome *ret_outcome)
{
    char text[160];
    memset(r->verdict, 0, sizeof(*r->verdict));
    r->traced = plan != NULL;
    pid_t child = support_fork(run_in_child, r);
    if (plan && fault_trace(child, plan, ret_outcome) == 0 && plan->call)
        snprintf(text, sizeof(text), "system call %u (%s) fails with %s", plan->call,
                 ret_outcome->system_call ? ret_outcome->system_call : "none", strerror(ret_outcome->error));
    else
        snprintf(text, sizeof(text), "%s", what);
    int status = support_reap(child, 15000);
    if (status != 0)
        report(r, text, status);
}

static verdict *verdict_map(void)
{
    verdict *v = mmap(NULL, sizeof(*v), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(v, MAP_FAILED);
    return v;
}

void fault_allocations(const fault_case *fault)
{
    run r = {.fault = fault, .verdict = verdict_map()};
    char what[64];
    unsigned n = 0;
    do {
        r.allocation = ++n;
        snprintf(what, sizeof(what), "allocation %u fails", n);
        run_once(&r, NULL, what, NULL);
    } while (n < RUNS_MAX && atomic_load(&r.verdict->failed));
    ck_assert_uint_lt(n, RUNS_MAX);
    ck_assert_int_eq(atomic_load(&r.verdict->rc), fault->expected);
    munmap(r.verdict, sizeof(*r.verdict));
}

void fault_system_calls(const fault_case *fault)
{
    run r = {.fault = fault, .verdict = verdict_map()};
    fault_outcome outcome;
    fault_plan plan = {0};
    do {
        plan.call++;
        plan.variant = 0;
        do
            run_once(&r, &plan, "a system call fails", &outcome);
        while (++plan.variant < outcome.variants);
    } while (outcome.happened && plan.call < RUNS_MAX);
    ck_assert_uint_lt(plan.call, RUNS_MAX);
    ck_assert_int_eq(atomic_load(&r.verdict->rc), fault->expected);
    munmap(r.verdict, sizeof(*r.verdict));
}

void fault_interruptions(const fault_case *fault)
{
    run r = {.fault = fault, .verdict = verdict_map()};
    fault_outcome outcome;
    run_once(&r, &(fault_plan){.interruptions = INTERRUPTIONS}, "interrupted", &outcome);
    ck_assert_int_eq(atomic_load(&r.verdict->rc), fault->expected);
    munmap(r.verdict, sizeof(*r.verdict));
}
