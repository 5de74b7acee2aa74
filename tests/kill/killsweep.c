/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of rounds: for each start state of each operation all marks, pairs and stops, dealt to one job a CPU. */
#include "platform/base.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kill/round.h"
#include "support/support.h"

enum {
    LIVE_MS = 50, /* what the library promises */
    PATIENCE = 4, /* a round that was only slow is tried this often: a hanging one never passes */
    ANY = -1,
    JOBS_MAX = 64,
    /* In `make check`, which has 90 s for all tests of this folder. */
    SHORT_EVERY = 5,
    SHORT_PAIRS = 97,
    SHORT_STOPS = 11
};

#define KILLSWEEP_CASE(name) extern const kill_case name;
#include "kill/cases.h"
#undef KILLSWEEP_CASE
static const kill_case *const cases[] = {
#define KILLSWEEP_CASE(name) &name,
#include "kill/cases.h"
#undef KILLSWEEP_CASE
};

typedef struct options {
    const char *operation, *state, *kind;
    int mark, second, order; /* ANY: all */
    int every, pairs, stops;
    int live_ms, jobs;
    bool stepping, brief;
} options;

/* Of one operation; all jobs add. */
typedef struct score_shared {
    _Atomic unsigned states, pairs, stops, failures;
} score_shared;

static options opt = {
    .mark = ANY, .second = ANY, .order = ANY, .every = 1, .pairs = 1, .stops = 1, .live_ms = LIVE_MS};
static score_shared *score;
static int job;         /* which of them this process is */
static unsigned rounds; /* dealt so far, to whomever */

static bool is_mine(void)
{
    return (int)(rounds++ % (unsigned)opt.jobs) == job;
}

static const char *kind_name(round_kind kind)
{
    static const char *const names[] = {"record", "kill", "pair", "stop"};
    return names[kind];
}

static void report_at(const round_run *r, FILE *to)
{
    fprintf(to, "killsweep: %s, start state %s, %s at mark %d", r->of->operation, r->of->states[r->state],
            kind_name(r->kind), r->mark);
    if (r->order != ORDER_KILL)
        fprintf(to, r->order == ORDER_KILL_POST ? ", killed by the poster before its post"
                                                : ", killed by the poster after its post");
    if (r->kind == ROUND_PAIR)
        fprintf(to, ", recoverer at mark %d", r->second);
    fprintf(to, ": %s\n", r->failure);
}

static void report(const round_run *r)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return;
    report_at(r, to);
    if (r->victim_trace.now)
        trace_print(&r->victim_trace, to);
    if (r->recoverer_trace.now)
        trace_print(&r->recoverer_trace, to);
    fprintf(to, "  again    %s --operation '%s' --state '%s' --kind %s --mark %d", program_invocation_name,
            r->of->operation, r->of->states[r->state], kind_name(r->kind), r->mark);
    if (r->kind == ROUND_PAIR)
        fprintf(to, " --second %d", r->second);
    if (r->order != ORDER_KILL)
        fprintf(to, " --order %d", (int)r->order);
    fprintf(to, "\n");
    fclose(to);
    fwrite(text, size, 1, stderr);
    free(text);
}

/* Runs one round, again if it was only slow; false when it failed. On success `r` says what the round found out. */
static bool attempt(round_run *r)
{
    const round_run fresh = *r;
    for (unsigned tries = 1;; tries++) {
        round_do(r);
        bool again = r->slow && tries < PATIENCE;
        if (r->failure[0] && !again && !r->skipped)
            report(r);
        round_forget(r);
        if (!again)
            break;
        *r = fresh;
    }
    if (r->failure[0] && !r->skipped)
        atomic_fetch_add(&score->failures, 1);
    return !r->failure[0];
}

static bool asked(const char *kind)
{
    return !opt.kind || strcmp(opt.kind, kind) == 0;
}

static bool marked(int wanted, int number)
{
    return wanted == ANY || wanted == number;
}

/* ---- the kinds; `recorded` knows the last mark and where the victim sleeps ---- */

static void sweep_kills(const round_run *recorded, int mark, round_order order)
{
    round_run r = {
        .of = recorded->of, .state = recorded->state, .kind = ROUND_KILL, .mark = mark, .order = order};
    if (!is_mine())
        return;
    atomic_fetch_add(&score->states, 1);
    attempt(&r);
}

/* Every K-th pair: so many of the victim's marks are passed over, and of the pairs of the others so many. For what pairs a mark
 * has costs a whole recovery. */
static int pairs_marks(void)
{
    int marks = 1;
    while ((marks + 1) * (marks + 1) <= opt.pairs)
        marks++;
    return marks;
}

/* One whole recovery tells its marks; each of them is a round. The pairs of a job are numbered on through all marks. */
static void sweep_pairs(const round_run *recorded, int mark)
{
    static unsigned number;
    round_run whole = {.of = recorded->of,
                       .state = recorded->state,
                       .kind = ROUND_PAIR,
                       .mark = mark,
                       .second = ROUND_WHOLE};
    if (!is_mine() || !attempt(&whole))
        return;
    for (int second = 0; second <= whole.second; second++) {
        round_run r = {
            .of = whole.of, .state = whole.state, .kind = ROUND_PAIR, .mark = mark, .second = second};
        if (!marked(opt.second, second) ||
            (opt.second == ANY && number++ % (unsigned)(opt.pairs / pairs_marks())))
            continue;
        atomic_fetch_add(&score->pairs, 1);
        attempt(&r);
    }
}

static void sweep_stops(const round_run *recorded, int mark)
{
    round_run r = {.of = recorded->of, .state = recorded->state, .kind = ROUND_STOP, .mark = mark};
    if (!is_mine())
        return;
    atomic_fetch_add(&score->stops, 1);
    attempt(&r);
}

static void sweep_mark(const round_run *recorded, int mark)
{
    bool chosen = opt.mark != ANY;
    int every = recorded->of->every_state && opt.brief ? 1 : opt.every;
    bool sleeps = mark == recorded->asleep;
    for (int order = 0; order < ROUND_ORDERS; order++)
        if (asked("kill") && marked(opt.order, order) && (order == ORDER_KILL || sleeps) &&
            (chosen || sleeps || mark % every == 0))
            sweep_kills(recorded, mark, (round_order)order);
    if (recorded->of->recover && !recorded->copies && asked("pair") && (chosen || mark % pairs_marks() == 0))
        sweep_pairs(recorded, mark);
    if (recorded->of->meanwhile && asked("stop") && (chosen || sleeps || mark % opt.stops == 0))
        sweep_stops(recorded, mark);
}

static void sweep_state(const kill_case *of, unsigned state)
{
    round_run recorded = {.of = of, .state = state, .kind = ROUND_RECORD};
    if (!attempt(&recorded) && (!recorded.skipped || opt.stepping))
        return;
    for (int mark = 0; mark <= recorded.mark; mark++)
        if (marked(opt.mark, mark))
            sweep_mark(&recorded, mark);
}

static int job_main(void *context)
{
    const kill_case *of = context;
    cpu_set_t allowed, one;
    int skip = job;
    CPU_ZERO(&one);
    sched_getaffinity(0, sizeof(allowed), &allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && skip-- == 0)
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
    madvise(score, sizeof(*score),
            MADV_DONTFORK); /* the roles of a round do not see it: it changes all the time */
    if (round_prepare(support_ms(opt.live_ms), opt.stepping) != 0)
        return 1;
    for (unsigned state = 0; of->states[state]; state++)
        if (!opt.state || strcmp(opt.state, of->states[state]) == 0)
            sweep_state(of, state);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    return 0;
}

/* ---- all operations ---- */

static void print_score(const char *operation, const score_shared *of)
{
    printf("%s\t%u\t%u\t%u\t%u\n", operation, of->states, of->pairs, of->stops, of->failures);
    fflush(stdout);
}

static void sweep_case(const kill_case *of, score_shared *all)
{
    pid_t pids[JOBS_MAX];
    if (of->post && opt.stepping) {
        printf("# %s: left out, for a step into a sleep does not end; that needs debug registers\n",
               of->operation);
        return;
    }
    *score = (score_shared){.states = 0};
    for (job = 0; job < opt.jobs; job++)
        pids[job] = support_fork(job_main, (void *)(uintptr_t)of);
    for (int i = 0; i < opt.jobs; i++) {
        int status;
        if (waitpid(pids[i], &status, 0) < 0 || status != 0)
            atomic_fetch_add(&score->failures, 1);
    }
    print_score(of->operation, score);
    all->states += score->states;
    all->pairs += score->pairs;
    all->stops += score->stops;
    all->failures += score->failures;
}

static bool wanted(const kill_case *of)
{
    return opt.operation ? strcmp(opt.operation, of->operation) == 0 : !of->on_request;
}

static int sweep_all(void)
{
    score_shared all = {.states = 0};
    printf("# operation, states, pairs, stops, failures; every %d. state%s, %d. pair, %d. stop\n", opt.every,
           opt.brief ? " (of lock and queue: each)" : "", opt.pairs, opt.stops);
    for (size_t i = 0; i < MPROC__COUNT(cases); i++)
        if (wanted(cases[i]))
            sweep_case(cases[i], &all);
    print_score("all", &all);
    return all.states + all.pairs + all.stops > 0 && all.failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* This program again, with fixed addresses, and with copies by loops: each byte that a string instruction moves is a step of
 * its own. */
static void make_deterministic(char **argv)
{
    static const char no_strings[] = "glibc.cpu.x86_rep_movsb_threshold=0x7fffffffffffffff";
    const char *tunables = getenv("GLIBC_TUNABLES");
    int now = personality(0xffffffff);
    bool again =
        now >= 0 && !(now & ADDR_NO_RANDOMIZE) && personality((unsigned long)now | ADDR_NO_RANDOMIZE) >= 0;
    again |= !tunables && setenv("GLIBC_TUNABLES", no_strings, true) == 0;
    if (again)
        execv("/proc/self/exe", argv);
}

static int cpus(void)
{
    cpu_set_t allowed;
    int count = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
    return count < JOBS_MAX ? count : JOBS_MAX;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: killsweep [--operation NAME] [--state NAME] [--kind kill|pair|stop] [--mark N]\n"
            "                 [--second N] [--order N] [--every K] [--pairs K] [--stops K] [--short]\n"
            "                 [--jobs N] [--live-ms N] [--step]\n");
    return 64;
}

static void be_short(void)
{
    opt.brief = true;
    opt.every = SHORT_EVERY;
    opt.pairs = SHORT_PAIRS;
    opt.stops = SHORT_STOPS;
}

static int *number_of(int letter)
{
    switch (letter) {
    case 'm':
        return &opt.mark;
    case '2':
        return &opt.second;
    case 'r':
        return &opt.order;
    case 'e':
        return &opt.every;
    case 'p':
        return &opt.pairs;
    case 't':
        return &opt.stops;
    case 'l':
        return &opt.live_ms;
    case 'j':
        return &opt.jobs;
    default:
        return NULL;
    }
}

static bool option(int letter)
{
    int *number = number_of(letter);
    if (number)
        *number = atoi(optarg);
    else if (letter == 'o')
        opt.operation = optarg;
    else if (letter == 's')
        opt.state = optarg;
    else if (letter == 'k')
        opt.kind = optarg;
    else if (letter == 'b')
        be_short();
    else if (letter == '1')
        opt.stepping = true;
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"operation", required_argument, NULL, 'o'},
                                          {"state", required_argument, NULL, 's'},
                                          {"kind", required_argument, NULL, 'k'},
                                          {"mark", required_argument, NULL, 'm'},
                                          {"second", required_argument, NULL, '2'},
                                          {"order", required_argument, NULL, 'r'},
                                          {"every", required_argument, NULL, 'e'},
                                          {"pairs", required_argument, NULL, 'p'},
                                          {"stops", required_argument, NULL, 't'},
                                          {"short", no_argument, NULL, 'b'},
                                          {"jobs", required_argument, NULL, 'j'},
                                          {"live-ms", required_argument, NULL, 'l'},
                                          {"step", no_argument, NULL, '1'},
                                          {NULL, 0, NULL, 0}};
    make_deterministic(argv);
    opt.jobs = cpus();
    for (int letter; (letter = getopt_long(argc, argv, "", known, NULL)) != -1;)
        if (!option(letter))
            return usage();
    if (optind < argc || opt.every < 1 || opt.pairs < 1 || opt.stops < 1 || opt.live_ms < 1 || opt.jobs < 1 ||
        opt.jobs > cpus())
        return usage();
    opt.stepping |= !fence_supported();
    score = mmap(NULL, sizeof(*score), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return score == MAP_FAILED ? EXIT_FAILURE : sweep_all();
}
