/* SPDX-License-Identifier: BSD-2-Clause */
/* The controller: rounds of {build, park, step, kill, judge}, one for each mark of each start state of each operation. */
#include "platform/base.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kill/killsweep.h"
#include "kill/trace.h"
#include "support/support.h"

enum {
    LIVE_MS = 50,       /* what the library promises */
    ROUND_LIMIT_S = 30, /* a round that takes longer hangs in the controller itself */
    PATIENCE = 4,       /* a round that was only slow is tried this often: a hanging one never passes */
    ANSWER_NONE = -1
};

#define KILLSWEEP_CASE(name) extern const kill_case name;
#include "kill/cases.h"
#undef KILLSWEEP_CASE
static const kill_case *const cases[] = {
#define KILLSWEEP_CASE(name) &name,
#include "kill/cases.h"
#undef KILLSWEEP_CASE
};

/* One page that victim, waiter and controller share beside the object; not compared. */
typedef struct flags_shared {
    _Atomic int returned; /* victim: 1 + what the call answered */
    _Atomic int woke;     /* waiter: 1 + what the wait answered */
} flags_shared;

typedef struct options {
    const char *operation, *state;
    int mark; /* ANSWER_NONE: all */
    int every;
    int live_ms;
} options;

typedef struct round_run {
    const kill_case *of;
    unsigned state;
    unsigned mark; /* to be killed at */
    bool record;   /* only count the marks, in `mark` */
    bool returned;
    bool slow; /* nothing wrong but the time */
    void *context;
    pid_t waiter, victim;
    char failure[256]; /* empty: none */
    trace trace;
} round_run;

static flags_shared *flags;
static options opt = {.mark = ANSWER_NONE, .every = 1, .live_ms = LIVE_MS};

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

static int waiter_main(void *context)
{
    round_run *r = context;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    atomic_store(&flags->woke, 1 + (r->of->wait(r->context, r->state) & 255));
    while (pause() != 0)
        ;
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
    while (pause() != 0)
        ;
    return 0;
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

static void settle_waiter(void *context)
{
    round_run *r = context;
    if (r->waiter > 0 && !support_until_asleep(r->waiter, KILL_HARD_MS))
        blame(r, "the waiter does not come to rest");
}

static void start_waiter(round_run *r)
{
    if (!r->of->wait || r->failure[0])
        return;
    r->waiter = support_fork(waiter_main, r);
    settle_waiter(r);
    if (atomic_load(&flags->woke) != 0)
        blame(r, "the waiter did not wait: answer %d", atomic_load(&flags->woke) - 1);
}

static void start_victim(round_run *r)
{
    int status;
    if (r->failure[0])
        return;
    r->victim = support_fork(victim_main, r);
    if (waitpid(r->victim, &status, 0) < 0 || !WIFSTOPPED(status)) {
        blame(r, "the victim could not prepare: status %#x", status);
        r->victim = 0;
        return;
    }
    settle_waiter(r);
    if (trace_begin(&r->trace, r->victim, &flags->returned, settle_waiter, r) != 0)
        blame(r, "the victim cannot be traced");
}

/* To the round's mark, or to the return of the call, which is the last mark of all. */
static void step_victim(round_run *r)
{
    trace_step at = TRACE_MARK;
    unsigned mark = 0;
    while (!r->failure[0] && at == TRACE_MARK && (r->record || mark < r->mark)) {
        at = trace_next(&r->trace);
        mark++;
    }
    if (at == TRACE_LOST || at == TRACE_BLOCKED)
        blame(r, "the victim %s", at == TRACE_LOST ? "ended by itself" : "blocked in its call");
    int answer = atomic_load(&flags->returned);
    r->returned = answer == 1;
    if (answer > 1)
        blame(r, "the victim's call answered %d", answer - 1);
    if (r->record)
        r->mark = mark;
}

/* Every second victim stays a zombie until the round is over: the dead need not be reaped to be dead. */
static void kill_victim(round_run *r)
{
    siginfo_t info;
    if (r->victim <= 0)
        return;
    kill(r->victim, SIGKILL);
    waitid(P_PID, (id_t)r->victim, &info, WEXITED | (r->mark % 2 ? WNOWAIT : 0));
}

static bool has_woken(void *context)
{
    (void)context;
    return atomic_load(&flags->woke) != 0;
}

static void await_waiter(round_run *r, const char *when)
{
    int64_t start_ms = now_ms();
    if (r->failure[0] || r->waiter <= 0)
        return;
    if (!support_until(has_woken, NULL, KILL_HARD_MS))
        blame(r, "the waiter sleeps on %s", when);
    else if (atomic_load(&flags->woke) != 1)
        blame(r, "the waiter answered %d", atomic_load(&flags->woke) - 1);
    else if (now_ms() - start_ms > opt.live_ms) {
        r->slow = true;
        blame(r, "the waiter woke after %d ms", (int)(now_ms() - start_ms));
    }
}

static int survivor(round_run *r, support_fn *fn)
{
    int64_t start_ms = now_ms();
    int answer = support_reap(support_fork(fn, r), 2 * KILL_HARD_MS);
    if (answer == 0 && now_ms() - start_ms > opt.live_ms) {
        r->slow = true;
        blame(r, "the survivor took %d ms", (int)(now_ms() - start_ms));
    }
    return answer;
}

static void judge(round_run *r)
{
    if (r->failure[0] || r->record)
        return;
    if (r->of->wait && (!r->of->wakes || survivor(r, wakes_main) == 0))
        await_waiter(r, "after the death");
    if (r->failure[0])
        return;
    int answer = survivor(r, check_main);
    if (answer < 0)
        blame(r, "the survivor hangs");
    else if (answer != 0)
        blame(r, "the survivor found fault %d", answer);
    await_waiter(r, "although the survivor used the object");
}

static void run_round(round_run *r)
{
    alarm(ROUND_LIMIT_S);
    atomic_store(&flags->returned, 0);
    atomic_store(&flags->woke, 0);
    int answer = r->of->setup(r->state, &r->context);
    if (answer != 0) {
        blame(r, "the start state could not be made: %d", answer);
        return;
    }
    start_waiter(r);
    start_victim(r);
    step_victim(r);
    kill_victim(r);
    judge(r);
    if (r->waiter > 0)
        support_kill(r->waiter);
    if (r->victim > 0)
        waitpid(r->victim, NULL, 0);
    r->of->teardown(r->context);
}

static void report(const round_run *r)
{
    fprintf(stderr, "killsweep: %s, start state %s, mark %u: %s\n", r->of->operation, r->of->states[r->state],
            r->mark, r->failure);
    if (r->trace.now)
        trace_print(&r->trace, stderr);
    fprintf(stderr, "  again    %s --operation '%s' --state '%s' --mark %u\n", program_invocation_name,
            r->of->operation, r->of->states[r->state], r->mark);
}

/* Runs one kill; 1 for a failure. */
static unsigned sweep_mark(const kill_case *of, unsigned state, unsigned mark)
{
    for (unsigned attempt = 1;; attempt++) {
        round_run r = {.of = of, .state = state, .mark = mark};
        run_round(&r);
        bool again = r.slow && attempt < PATIENCE;
        if (r.failure[0] && !again)
            report(&r);
        trace_end(&r.trace);
        if (!again)
            return r.failure[0] ? 1 : 0;
    }
}

static void sweep_state(const kill_case *of, unsigned state, unsigned *states, unsigned *failures)
{
    round_run r = {.of = of, .state = state, .record = true};
    run_round(&r);
    if (r.failure[0]) {
        report(&r);
        ++*failures;
    }
    trace_end(&r.trace);
    for (unsigned mark = 0; mark <= r.mark && !r.failure[0]; mark += (unsigned)opt.every) {
        if (opt.mark != ANSWER_NONE && mark != (unsigned)opt.mark)
            continue;
        ++*states;
        *failures += sweep_mark(of, state, mark);
    }
}

static bool wanted(const kill_case *of)
{
    return opt.operation ? strcmp(opt.operation, of->operation) == 0 : !of->on_request;
}

static unsigned sweep_all(void)
{
    unsigned all_states = 0, all_failures = 0;
    for (size_t i = 0; i < MPROC__COUNT(cases); i++) {
        unsigned states = 0, failures = 0;
        if (!wanted(cases[i]))
            continue;
        for (unsigned state = 0; cases[i]->states[state]; state++)
            if (!opt.state || strcmp(opt.state, cases[i]->states[state]) == 0)
                sweep_state(cases[i], state, &states, &failures);
        printf("%s\t%u\t%u\n", cases[i]->operation, states, failures);
        fflush(stdout);
        all_states += states;
        all_failures += failures;
    }
    printf("all\t%u\t%u\n", all_states, all_failures);
    return all_states > 0 && all_failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Fixed addresses: this program again, with address randomisation off. On one CPU, with everything it starts. */
static void make_deterministic(char **argv)
{
    cpu_set_t one;
    int now = personality(0xffffffff);
    if (now >= 0 && !(now & ADDR_NO_RANDOMIZE) && personality((unsigned long)now | ADDR_NO_RANDOMIZE) >= 0)
        execv("/proc/self/exe", argv);
    int cpu = sched_getcpu();
    CPU_ZERO(&one);
    CPU_SET(cpu < 0 ? 0 : cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
}

static void interrupt(int number)
{
    (void)number; /* the waitpid of a step returns with EINTR */
}

static int usage(void)
{
    fprintf(stderr,
            "usage: killsweep [--operation NAME] [--state NAME] [--mark N] [--every K] [--live-ms N]\n");
    return 64;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"operation", required_argument, NULL, 'o'}, {"state", required_argument, NULL, 's'},
        {"mark", required_argument, NULL, 'm'},      {"every", required_argument, NULL, 'e'},
        {"live-ms", required_argument, NULL, 'l'},   {NULL, 0, NULL, 0}};
    make_deterministic(argv);
    for (int letter; (letter = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (letter == 'o')
            opt.operation = optarg;
        else if (letter == 's')
            opt.state = optarg;
        else if (letter == 'm')
            opt.mark = atoi(optarg);
        else if (letter == 'e')
            opt.every = atoi(optarg);
        else if (letter == 'l')
            opt.live_ms = atoi(optarg);
        else
            return usage();
    }
    if (optind < argc || opt.every < 1 || opt.live_ms < 1)
        return usage();
    opt.live_ms = support_ms(opt.live_ms);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = interrupt}, NULL);
    flags = mmap(NULL, sizeof(*flags), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return flags == MAP_FAILED ? EXIT_FAILURE : (int)sweep_all();
}
