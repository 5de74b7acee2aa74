/* SPDX-License-Identifier: BSD-2-Clause */
/* The controller: keeps the workers at work, kills one after the other, lets the case judge. */
#include "platform/base.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "platform/platform.h"
#include "process/launch.h"
#include "support/support.h"
#include "torture/torture.h"

enum { KILLS = 5000, PAUSE_US_MOST = 2500, STALL_KILLS = 100, STALL_MS = 2000, STOP_MS = 5000 };

#define TORTURE_CASE(name) extern const torture_case name;
#include "torture/cases.h"
#undef TORTURE_CASE
static const torture_case *const cases[] = {
#define TORTURE_CASE(name) &name,
#include "torture/cases.h"
#undef TORTURE_CASE
};

typedef struct crew {
    const torture_case *of;
    void *context;
    unsigned next; /* whose main function runs in a fork */
    pid_t pids[TORTURE_WORKERS];
    unsigned failures;
    unsigned long progress_before;
} crew;

static unsigned kills_wanted, seed;

static unsigned kills_of(const torture_case *of)
{
    return kills_wanted ? kills_wanted : of->kills ? of->kills : KILLS;
}

static int worker_main(void *context)
{
    crew *c = context;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return c->of->work(c->context, c->next);
}

static void crew_start(crew *c, unsigned worker)
{
    c->next = worker;
    c->pids[worker] = support_fork(worker_main, c);
}

/* A worker never ends by itself: that it did is a failure, and so is a hanging one. */
static void crew_kill(crew *c, unsigned worker)
{
    int status = 0;
    if (c->of->doomed)
        c->of->doomed(c->context, worker);
    kill(c->pids[worker], SIGKILL);
    waitpid(c->pids[worker], &status, 0);
    if (WIFEXITED(status)) {
        fprintf(stderr, "torture: %s: worker %u found fault %d\n", c->of->name, worker, WEXITSTATUS(status));
        c->failures++;
    }
    c->of->killed(c->context, worker);
}

static bool progressed(void *context)
{
    crew *c = context;
    return atomic_load(&c->of->shared(c->context)->progress) > c->progress_before;
}

static void crew_look(crew *c)
{
    c->progress_before = atomic_load(&c->of->shared(c->context)->progress);
    if (support_until(progressed, c, STALL_MS))
        return;
    fprintf(stderr, "torture: %s: nobody gets on\n", c->of->name);
    c->failures++;
}

static void crew_stop(crew *c)
{
    atomic_store(&c->of->shared(c->context)->stop, 1);
    for (unsigned i = 0; i < TORTURE_WORKERS; i++) {
        int status = support_reap(c->pids[i], STOP_MS);
        if (status != 0) {
            fprintf(stderr, "torture: %s: at the end worker %u answered %d\n", c->of->name, i, status);
            c->failures++;
        }
    }
}

/* ---- quiet points ---- */

void torture_park(torture_shared *shared)
{
    uint32_t seen = atomic_load(&shared->pause);
    if (seen % 2 == 0)
        return;
    atomic_fetch_add(&shared->parked, 1);
    while (atomic_load(&shared->pause) == seen)
        mproc__futex_wait(&shared->pause, seen, true, MPROC_FOREVER);
}

static bool all_parked(void *context)
{
    crew *c = context;
    return atomic_load(&c->of->shared(c->context)->parked) == TORTURE_WORKERS;
}

static void crew_quiet(crew *c)
{
    torture_shared *shared = c->of->shared(c->context);
    if (!c->of->quiet)
        return;
    atomic_store(&shared->parked, 0);
    atomic_fetch_add(&shared->pause, 1);
    if (support_until(all_parked, c, STALL_MS)) {
        c->failures += c->of->quiet(c->context);
    } else {
        fprintf(stderr, "torture: %s: no rest at a quiet point\n", c->of->name);
        c->failures++;
    }
    atomic_fetch_add(&shared->pause, 1);
    mproc__futex_wake(&shared->pause, INT32_MAX, true);
}

/* ---- one case ---- */

static void rest(void)
{
    nanosleep(&(struct timespec){.tv_nsec = (rand_r(&seed) % PAUSE_US_MOST) * 1000L}, NULL);
}

static void crew_stop_one(const crew *c, unsigned worker)
{
    kill(c->pids[worker], SIGSTOP);
    rest();
    kill(c->pids[worker], SIGCONT);
    rest();
}

static unsigned torture(const torture_case *of)
{
    if (of->run)
        return of->run(kills_of(of), &seed);
    crew c = {.of = of};
    int answer = of->setup(&c.context);
    if (answer != 0) {
        fprintf(stderr, "torture: %s: cannot be set up: %d\n", of->name, answer);
        return 1;
    }
    for (unsigned i = 0; i < TORTURE_WORKERS; i++)
        crew_start(&c, i);
    for (unsigned kills = 0; kills < kills_of(of) && c.failures == 0; kills++) {
        unsigned worker = (unsigned)rand_r(&seed) % TORTURE_WORKERS;
        rest();
        if (of->stops && rand_r(&seed) % 4 == 0)
            crew_stop_one(&c, (unsigned)rand_r(&seed) % TORTURE_WORKERS);
        crew_kill(&c, worker);
        crew_start(&c, worker);
        if (kills % STALL_KILLS == STALL_KILLS - 1) {
            crew_look(&c);
            crew_quiet(&c);
        }
    }
    crew_stop(&c);
    c.failures += of->judge(c.context);
    of->teardown(c.context);
    return c.failures;
}

static bool wanted(const torture_case *of, char **names)
{
    bool all = !*names;
    for (; !all && *names; names++)
        all = strcmp(of->name, *names) == 0;
    return all;
}

static int usage(void)
{
    fprintf(stderr, "usage: torture [--kills N] [--seed N] [CASE...]\n");
    return 64;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"kills", required_argument, NULL, 'k'}, {"seed", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    unsigned all_kills = 0, all_failures = 0;
    if (mproc__process_main(&argc, &argv) < 0)
        return EXIT_FAILURE;
    seed = (unsigned)time(NULL);
    for (int letter; (letter = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (letter == 'k')
            kills_wanted = (unsigned)atoi(optarg);
        else if (letter == 's')
            seed = (unsigned)strtoul(optarg, NULL, 10);
        else
            return usage();
    }
    fprintf(stderr, "torture: seed %u\n", seed);
    for (size_t i = 0; i < MPROC__COUNT(cases); i++) {
        if (!wanted(cases[i], argv + optind))
            continue;
        unsigned failures = torture(cases[i]);
        printf("%s\t%u\t%u\n", cases[i]->name, kills_of(cases[i]), failures);
        fflush(stdout);
        all_kills += kills_of(cases[i]);
        all_failures += failures;
    }
    printf("all\t%u\t%u\n", all_kills, all_failures);
    return all_kills > 0 && all_failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
