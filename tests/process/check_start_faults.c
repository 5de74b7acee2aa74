/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever a start asks of the system may be refused: in the caller, in the nursery, in the child, at the first start and
 * at a later one. Then the start is an error with a story, or has done without; nothing is left, in this process and
 * in the nursery; and the next start works. The same with one of the three killed at any of its system calls.
 *
 * Each round is a process of its own, followed with all that it starts (tests/support/faulttree.h). What is left is
 * found by counting: after a round there must be as much as after one in which nothing failed. A sample of the calls in
 * every check; MPROC_START_FAULTS=1 takes each (some minutes), MPROC_START_FAULTS_OF="fork, first" of one kind of start,
 * MPROC_START_FAULTS_VERBOSE also prints what each was answered. */
#include "platform/base.h"

#include <signal.h>
#include <sys/mman.h>

#include "process/census.h"
#include "process/program_support.h"
#include "support/faulttree.h"

enum { BY_PROGRAM = ALL_METHODS, CALL_MS = 3000, ROUND_MS = 10000, SAMPLE_EVERY = 29 };

typedef struct scene {
    const char *name;
    int method; /* or BY_PROGRAM */
    bool warm;
    int spares;
} scene;

static const scene scenes[] = {
    {"fork, first", MPROC_START_FORK, false, 0},
    {"fork", MPROC_START_FORK, true, 0},
    {"spawn, first", MPROC_START_SPAWN, false, 0},
    {"spawn", MPROC_START_SPAWN, true, 0},
    {"forkserver, first", MPROC_START_FORKSERVER, false, 0},
    {"forkserver", MPROC_START_FORKSERVER, true, 0},
    {"spare, first", MPROC_START_FORKSERVER, false, 2},
    {"spare", MPROC_START_FORKSERVER, true, 2},
    {"program, first", BY_PROGRAM, false, 0},
    {"program", BY_PROGRAM, true, 0},
    {"thread, first", MPROC_START_THREAD, false, 0}, /* a thread cannot be killed alone */
    {"thread", MPROC_START_THREAD, true, 0},
};
enum { KILLED_SCENES = 10 };

enum { WELL, IN_WARMTH, NO_CODE, NO_STORY, LATE, IN_JOIN, NO_NEXT, LEFTOVERS };
static const char *const places[] = {"well",           "the start before", "the code",
                                     "the story",      "the time it took", "the join",
                                     "the next start", "leftovers"};

/* Of the caller, in memory that it shares with the test. */
typedef struct verdict {
    int place, rc, took_ms;
    bool answered;
    census left;
    char story[512];
} verdict;

typedef struct trial {
    const scene *of;
    verdict *verdict;
    const census *reference; /* NULL: this is the round in which nothing fails */
    bool lives;              /* the child does not hurt: it is the caller or the nursery that does */
    unsigned wrongs;
    char first_wrong[2000];
} trial;

/* ---- counting ---- */

static bool census_is_reference(void *context)
{
    trial *r = context;
    r->verdict->left = census_take();
    return memcmp(&r->verdict->left, r->reference, sizeof *r->reference) == 0;
}

/* The first round, which says what is right, must have come to rest. */
static bool census_rests(void *context)
{
    trial *r = context;
    census before = r->verdict->left;
    r->verdict->left = census_take();
    return memcmp(&r->verdict->left, &before, sizeof before) == 0 && before.grandchildren == r->of->spares;
}

/* ---- the caller ---- */

static int waits_for_gate(mproc_call *call)
{
    char byte;
    ssize_t got;
    while ((got = read((int)mproc_call_arg(call, 0).number, &byte, 1)) < 0) {
    }
    return got == 1 ? 0 : 1;
}

static int begin(int method, const gate *hold, mproc_process **ret_process)
{
    if (method == BY_PROGRAM)
        return mproc_process_start_program(
            ARGV("cat"), OPTIONS(.input = {.kind = MPROC_STREAM_PIPE}, .capture = true), ret_process);
    return mproc_process_start(waits_for_gate, MPROC_ARGS(mproc_fd(hold->read_fd), "text"),
                               MPROC_WITH(mproc_process_options, .start = (mproc_start)method), ret_process);
}

/* Lets it end: 0, or 1. */
static int finish(int method, const gate *hold, mproc_process **process, int *ret_exit_code)
{
    if (method == BY_PROGRAM)
        (void)mproc_process_pipe_close(*process, 0);
    else if (write(hold->write_fd, "o", 1) != 1)
        return 1;
    int rc = mproc_process_join(*process, mproc_after_ms(support_ms(CALL_MS)), ret_exit_code);
    mproc_process_close(process);
    return rc < 0 && rc != MPROC_EUNKNOWN; /* of a nursery that was killed since */
}

static int whole(int method, const gate *hold)
{
    mproc_process *process = NULL;
    int exit_code = -1;
    return begin(method, hold, &process) < 0 || finish(method, hold, &process, &exit_code) || exit_code != 0;
}

static int broken(verdict *v, int place)
{
    snprintf(v->story, sizeof v->story, "%s", mproc_error_text(mproc_last_error()));
    v->place = place;
    return 1;
}

/* A code that says something, with a story that names the step and not only the errno. */
static int judge_error(verdict *v, mproc_process *process)
{
    const char *text = mproc_error_text(mproc_last_error());
    if (process || strcmp(mproc_errname(v->rc), "unknown") == 0)
        return broken(v, NO_CODE);
    bool names_step =
        strstr(text, "start: ") || strstr(text, "start_program") || strstr(text, "the child's first steps: ");
    if (mproc_error_code(mproc_last_error()) != v->rc || !names_step)
        return broken(v, NO_STORY);
    snprintf(v->story, sizeof v->story, "%s", text);
    return 0;
}

static int faulted(trial *r, const gate *hold, mproc_process **process)
{
    int64_t began_ns = mproc__now_ns();
    fault_window_open();
    int rc = begin(r->of->method, hold, process);
    fault_window_close();
    r->verdict->took_ms = (int)((mproc__now_ns() - began_ns) / 1000000);
    r->verdict->answered = true;
    return r->verdict->rc = rc;
}

/* The dynamic linker of a child complains. */
static void quiet(void)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(fd, 2);
    close(fd);
}

static int caller(void *context)
{
    trial *r = context;
    verdict *v = r->verdict;
    mproc_process *process = NULL;
    int exit_code = -1;
    fault_tree_begin();
    quiet();
    gate hold = gate_make();
    mproc_set_spares((unsigned)r->of->spares);
    if (r->of->warm && (whole(r->of->method, &hold) || !support_until(census_rests, r, CALL_MS)))
        return broken(v, IN_WARMTH);
    if (faulted(r, &hold, &process) < 0) {
        if (judge_error(v, process))
            return 1;
    } else if (finish(r->of->method, &hold, &process, &exit_code) || (r->lives && exit_code != 0))
        return broken(v, IN_JOIN);
    if (v->took_ms > support_ms(CALL_MS))
        return broken(v, LATE);
    gate again = gate_make(); /* what a failed start has left in the other is not this one's */
    gate_destroy(&hold);
    if (whole(r->of->method, &again))
        return broken(v, NO_NEXT);
    gate_destroy(&again);
    if (!support_until(r->reference ? census_is_reference : census_rests, r, CALL_MS))
        return broken(v, LEFTOVERS);
    return 0;
}

/* ---- the test ---- */

static bool verbose(void)
{
    return getenv("MPROC_START_FAULTS_VERBOSE") != NULL;
}

static unsigned step(void)
{
    const char *asked = getenv("MPROC_START_FAULTS");
    int every = asked ? atoi(asked) : SAMPLE_EVERY;
    return every > 0 ? (unsigned)every : 1;
}

static bool is_asked_for(const scene *of)
{
    const char *asked = getenv("MPROC_START_FAULTS_OF");
    return !asked || strcmp(asked, of->name) == 0;
}

/* Each process and scene begins its sample elsewhere. */
static unsigned first_of(unsigned process, unsigned scene_number, unsigned count)
{
    unsigned from = count < step() ? count : step();
    return 1 + (from ? (process * 7 + scene_number) % from : 0);
}

static const char *says(const trial *r, const fault_tree_plan *plan, const fault_tree_outcome *outcome,
                        char *text, size_t size_bytes)
{
    const verdict *v = r->verdict;
    char answer[600] = "did not come back";
    if (v->answered)
        snprintf(answer, sizeof answer, "%d %s", v->rc, v->rc < 0 ? v->story : "");
    snprintf(text, size_bytes, "%s, process '%s', call %u (%s) %s: %s", r->of->name,
             plan->way ? plan->way : "", plan->call, outcome->system_call ? outcome->system_call : "none",
             plan->kill ? "killed" : strerror(outcome->error), answer);
    return text;
}

/* All of a sweep's rounds are run; the first that was wrong is what the test tells. */
static void judge(trial *r, const fault_tree_plan *plan, const fault_tree_outcome *outcome)
{
    char text[1000];
    const verdict *v = r->verdict;
    const census *left = &v->left;
    bool well = (outcome->root_status == 0 || (plan->kill && !plan->way[0])) && !outcome->late;
    says(r, plan, outcome, text, sizeof text);
    if (verbose())
        fprintf(stderr, "%s%s\n", well ? "" : "WRONG: ", text);
    if (!well && r->wrongs++ == 0)
        snprintf(r->first_wrong, sizeof r->first_wrong,
                 "%s; ended with %d%s, wrong: %s; %s; there were %d descriptors, %d threads, %d mappings, %d "
                 "children with %d children and %d descriptors",
                 text, outcome->root_status, outcome->late ? ", late" : "", places[v->place], v->story,
                 left->descriptors, left->threads, left->mappings, left->children, left->grandchildren,
                 left->childrens_descriptors);
}

static void trial_run(trial *r, fault_tree_plan *plan, fault_tree_outcome *ret_outcome)
{
    memset(r->verdict, 0, sizeof *r->verdict);
    plan->limit_ms = ROUND_MS;
    plan->until_exec = r->of->method == BY_PROGRAM;
    fault_tree_trace(support_fork(caller, r), plan, ret_outcome);
    judge(r, plan, ret_outcome);
}

typedef struct sweep {
    trial trial;
    fault_tree_outcome all; /* of the round in which nothing failed */
    census reference;
} sweep;

static void sweep_begin(sweep *s, const scene *of)
{
    fault_tree_plan nothing_fails = {0};
    s->trial = (trial){.of = of, .lives = true};
    s->trial.verdict = mmap(NULL, sizeof(verdict), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(s->trial.verdict, MAP_FAILED);
    trial_run(&s->trial, &nothing_fails, &s->all);
    ck_assert_int_eq(s->trial.verdict->rc, 0);
    s->reference = s->trial.verdict->left;
    s->trial.reference = &s->reference;
}

static void sweep_end(sweep *s)
{
    munmap(s->trial.verdict, sizeof(verdict));
    ck_assert_msg(s->trial.wrongs == 0, "%u wrong; the first: %s", s->trial.wrongs, s->trial.first_wrong);
}

START_TEST(a_system_call_that_fails_is_an_error_or_nothing_and_the_next_start_works)
{
    static sweep s;
    fault_tree_outcome outcome;
    unsigned rounds = 0;
    if (!is_asked_for(&scenes[_i]))
        return;
    sweep_begin(&s, &scenes[_i]);
    for (unsigned i = 0; i < s.all.count; i++)
        for (unsigned n = first_of(i, (unsigned)_i, s.all.processes[i].fallible);
             n <= s.all.processes[i].fallible; n += step()) {
            fault_tree_plan plan = {.way = s.all.processes[i].way, .call = n};
            s.trial.lives = strlen(plan.way) == 0;
            do {
                trial_run(&s.trial, &plan, &outcome);
                rounds++;
            } while (++plan.variant < outcome.variants);
        }
    ck_assert_uint_gt(rounds, 0);
    sweep_end(&s);
}
END_TEST

/* shows: START-27 */
START_TEST(a_process_that_is_killed_at_a_system_call_of_a_start_leaves_nothing)
{
    static sweep s;
    fault_tree_outcome outcome;
    if (!is_asked_for(&scenes[_i]))
        return;
    sweep_begin(&s, &scenes[_i]);
    for (unsigned i = 0; i < s.all.count; i++)
        for (unsigned n = first_of(i, (unsigned)_i, s.all.processes[i].calls); n <= s.all.processes[i].calls;
             n += step()) {
            fault_tree_plan plan = {.way = s.all.processes[i].way, .call = n, .kill = true};
            s.trial.lives = false;
            trial_run(&s.trial, &plan, &outcome);
        }
    sweep_end(&s);
}
END_TEST

/* Not with sanitizers: the call that fails may be their own mmap inside an allocation, and it ends the process. */
#ifdef MPROC__SANITIZED
enum { SYSTEM_CALLS_MAY_FAIL = 0 };
#else
enum { SYSTEM_CALLS_MAY_FAIL = 1 };
#endif

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("start_faults");
    TCase *calls = support_case(suite, "system calls"), *kills = support_case(suite, "kills");
    tcase_set_timeout(calls, getenv("MPROC_START_FAULTS") ? 1200 : 60);
    tcase_set_timeout(kills, getenv("MPROC_START_FAULTS") ? 1200 : 60);
    if (SYSTEM_CALLS_MAY_FAIL) {
        tcase_add_loop_test(calls, a_system_call_that_fails_is_an_error_or_nothing_and_the_next_start_works,
                            0, MPROC__COUNT(scenes));
        tcase_add_loop_test(kills, a_process_that_is_killed_at_a_system_call_of_a_start_leaves_nothing, 0,
                            KILLED_SCENES);
    }
    return support_run(suite, argc, argv);
}
