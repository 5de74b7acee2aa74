/* SPDX-License-Identifier: BSD-2-Clause */
/* The driver: rounds, medians, the table. */
#include "platform/base.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum { ROUNDS = 5, LINE_TRIPS = 200000 };

#define BENCH_CASE(name) extern const bench_case name;
#include "cases.h"
#undef BENCH_CASE
static const bench_case *const cases[] = {
#define BENCH_CASE(name) &name,
#include "cases.h"
#undef BENCH_CASE
    NULL};

static cpu_set_t allowed;

int64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void bench_pin(unsigned side)
{
    cpu_set_t one;
    unsigned seen = 0, last = 0;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE && seen <= side; cpu++)
        if (CPU_ISSET(cpu, &allowed)) {
            last = cpu;
            seen++;
        }
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    sched_setaffinity(0, sizeof(one), &one);
}

double bench_pair(double (*parent)(void *context), int (*child)(void *context), void *context)
{
    int status = -1;
    pid_t pid = fork();
    if (pid < 0)
        return -1;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        bench_pin(1);
        _exit(child(context));
    }
    bench_pin(0);
    double figure = parent(context);
    if (figure < 0)
        kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    sched_setaffinity(0, sizeof(allowed), &allowed);
    if (status != 0 && figure >= 0)
        fprintf(stderr, "bench: the other process ended with status %#x\n", (unsigned)status);
    return status == 0 ? figure : -1;
}

double bench_program(const char *command)
{
    double figure = -1;
    FILE *program = popen(command, "re");
    if (!program || fscanf(program, "%lf", &figure) != 1)
        figure = -1;
    if (program && pclose(program) != 0)
        figure = -1;
    if (figure < 0)
        fprintf(stderr, "bench: `%s` failed (is the peer installed? ./setup bench does that)\n", command);
    return figure;
}

typedef struct line_shared {
    _Atomic uint32_t word;
} line_shared;

static double line_parent(void *context)
{
    line_shared *line = context;
    int64_t start_ns = bench_now_ns();
    for (uint32_t i = 0; i < LINE_TRIPS; i++) {
        atomic_store_explicit(&line->word, 2 * i + 1, memory_order_release);
        while (atomic_load_explicit(&line->word, memory_order_acquire) != 2 * i + 2)
            ;
    }
    return (double)(bench_now_ns() - start_ns) / LINE_TRIPS;
}

static int line_child(void *context)
{
    line_shared *line = context;
    for (uint32_t i = 0; i < LINE_TRIPS; i++) {
        while (atomic_load_explicit(&line->word, memory_order_acquire) != 2 * i + 1)
            ;
        atomic_store_explicit(&line->word, 2 * i + 2, memory_order_release);
    }
    return 0;
}

/* What the hardware gives: a cache line there and back, spinning. With one CPU there is nothing to measure. */
static void print_machine(void)
{
    struct utsname system;
    uname(&system);
    fprintf(stderr, "bench: %s %s, %d CPUs", system.sysname, system.release, CPU_COUNT(&allowed));
    if (CPU_COUNT(&allowed) < 2) {
        fprintf(stderr, " (both sides on one)\n");
        return;
    }
    line_shared *line = mmap(NULL, sizeof(*line), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (line == MAP_FAILED)
        return;
    fprintf(stderr, ", pinned; cache line there and back %.0f ns\n",
            bench_pair(line_parent, line_child, line));
    munmap(line, sizeof(*line));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of sorted rounds; says the spread. */
static double median(const char *who, const char *unit, double rounds[ROUNDS])
{
    qsort(rounds, ROUNDS, sizeof(rounds[0]), by_value);
    fprintf(stderr, "bench:   %-24s median %.6g, %.6g to %.6g %s\n", who, rounds[ROUNDS / 2], rounds[0],
            rounds[ROUNDS - 1], unit);
    return rounds[ROUNDS / 2];
}

/* One line of the table. False: not measured. */
static bool run_case(const bench_case *of)
{
    double ours[ROUNDS], theirs[ROUNDS];
    fprintf(stderr, "bench: %s\n", of->name);
    for (unsigned i = 0; i < ROUNDS; i++) {
        ours[i] = of->ours();
        theirs[i] = of->theirs();
        if (ours[i] < 0 || theirs[i] <= 0) {
            fprintf(stderr, "bench: %s could not be measured\n", of->name);
            return false;
        }
    }
    double our_figure = median("libmproc", of->unit, ours), their_figure = median(of->peer, of->unit, theirs);
    double ratio = our_figure / their_figure;
    printf("%s\t%.6g\t%s\t%.6g\t%.4g\t%g\t%g\t%s\n", of->name, our_figure, of->peer, their_figure, ratio,
           of->goal, of->floor, of->sense == BENCH_MIN ? "min" : "max");
    fflush(stdout);
    if (of->sense == BENCH_MIN ? ratio < of->floor : ratio > of->floor)
        fprintf(stderr, "bench: %s misses its floor (an otherwise idle machine?)\n", of->name);
    return true;
}

static bool wanted(const bench_case *of, char **names)
{
    if (!*names)
        return true;
    for (; *names; names++)
        if (strncmp(of->name, *names, strlen(*names)) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    bool list = argc > 1 && strcmp(argv[1], "--list") == 0, good = true;
    unsigned ran = 0;
    sched_getaffinity(0, sizeof(allowed), &allowed);
    if (!list)
        print_machine();
    for (size_t i = 0; cases[i]; i++) {
        if (list)
            printf("%s\n", cases[i]->name);
        else if (wanted(cases[i], argv + 1)) {
            good = run_case(cases[i]) && good;
            ran++;
        }
    }
    if (!list && ran == 0)
        fprintf(stderr, "bench: no such case; bench --list names them\n");
    return list || (good && ran > 0) ? EXIT_SUCCESS : EXIT_FAILURE;
}
