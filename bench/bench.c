/* SPDX-License-Identifier: BSD-2-Clause */
/* The driver: rounds, medians, the table. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <mproc.h>

#include "bench.h"
#include "bench_process.h"

enum { ROUNDS = 5, ROUNDS_MOST = 99, ROWS_MOST = 16, BARS_MOST = 256 };

#define BENCH_CASE(name)  extern const bench_case name;
#define BENCH_GROUP(name) extern const bench_group name;
#include "cases.h"
#undef BENCH_CASE
#undef BENCH_GROUP
static const struct {
    const bench_case *one; /* or */
    const bench_group *group;
} cases[] = {
#define BENCH_CASE(name)  {&name, NULL},
#define BENCH_GROUP(name) {NULL, &name},
#include "cases.h"
};

static unsigned rounds_wanted = ROUNDS;
static char **names_wanted; /* ends with NULL; none: all */
static bench_bar bars[BARS_MOST];
static size_t bar_count;

typedef struct figures {
    double rounds[ROUNDS_MOST];
    double without; /* BENCH_ABSENT or BENCH_CANNOT; 0: none of them */
} figures;

static bool wanted(const char *name)
{
    if (!*names_wanted)
        return true;
    for (char **one = names_wanted; *one; one++)
        if (strncmp(name, *one, strlen(*one)) == 0)
            return true;
    return false;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the rounds, says their spread, and keeps a bar. */
static double median(const bench_group *of, const char *who, bool ours, figures *f)
{
    qsort(f->rounds, rounds_wanted, sizeof(f->rounds[0]), by_value);
    bench_bar bar = {.panel = of->panel,
                     .unit = of->unit,
                     .label = who,
                     .ours = ours,
                     .figure = f->rounds[rounds_wanted / 2],
                     .least = f->rounds[0],
                     .most = f->rounds[rounds_wanted - 1]};
    fprintf(stderr, "bench:   %-28s median %.6g, %.6g to %.6g %s\n", who, bar.figure, bar.least, bar.most,
            of->unit);
    for (size_t i = 0; of->panel && i < bar_count; i++)
        if (strcmp(bars[i].panel, of->panel) == 0 && strcmp(bars[i].label, who) == 0)
            return bar.figure; /* drawn already, from a group measured before */
    if (of->panel && bar_count < BARS_MOST)
        bars[bar_count++] = bar;
    return bar.figure;
}

static const char *verdict(const bench_group *of, const bench_row *row, double ratio)
{
    if (row->goal == 0)
        return "no goal is set";
    if (of->sense == BENCH_MIN ? ratio >= row->goal : ratio <= row->goal)
        return "reaches its goal";
    if (of->sense == BENCH_MIN ? ratio >= row->floor : ratio <= row->floor)
        return "between floor and goal";
    return "misses its floor (an otherwise idle machine?)";
}

/* A goal or a floor; none is a dash. */
static const char *bound(double ratio, char ret_text[32])
{
    snprintf(ret_text, 32, ratio == 0 ? "-" : "%.3g", ratio);
    return ret_text;
}

static void print_row(const bench_group *of, const bench_row *row, double ours, figures *f)
{
    const char *sense = of->sense == BENCH_MIN ? "min" : "max";
    char goal[32], least[32];
    bound(row->goal, goal);
    bound(row->floor, least);
    if (f->without != 0) {
        const char *why = f->without == BENCH_ABSENT ? "not installed" : "not possible";
        printf("%s\t%.6g\t%s\t%s\t-\t%s\t%s\t%s\n", row->name, ours, row->peer, why, goal, least, sense);
        fprintf(stderr, "bench:   %-28s %s\n", row->peer, why);
        return;
    }
    double theirs = median(of, row->peer, false, f), ratio = ours / theirs;
    printf("%s\t%.6g\t%s\t%.6g\t%.4g\t%s\t%s\t%s\n", row->name, ours, row->peer, theirs, ratio, goal, least,
           sense);
    fflush(stdout);
    fprintf(stderr, "bench:   %s: %.4g, goal %s, floor %s: %s\n", row->name, ratio, goal, least,
            verdict(of, row, ratio));
}

static bool measure_peer(const bench_row *row, unsigned round, figures *f)
{
    if (f->without != 0)
        return true;
    double figure = row->theirs ? row->theirs() : bench_peer(row->program);
    f->rounds[round] = figure;
    if (figure == BENCH_ABSENT || figure == BENCH_CANNOT)
        f->without = figure;
    if (figure > 0 || f->without != 0)
        return true;
    fprintf(stderr, "bench: %s could not be measured\n", row->name);
    return false;
}

/* Ours and every wanted peer, in turn. False: one could not be measured. */
static bool run_group(const bench_group *of)
{
    static figures ours, theirs[ROWS_MOST];
    for (size_t i = 0; i < ROWS_MOST; i++)
        theirs[i].without = 0;
    for (unsigned round = 0; round < rounds_wanted; round++) {
        ours.rounds[round] = of->ours();
        if (ours.rounds[round] < 0) {
            fprintf(stderr, "bench: %s could not be measured\n", of->rows[0].name);
            return false;
        }
        for (size_t i = 0; of->rows[i].name && i < ROWS_MOST; i++)
            if (wanted(of->rows[i].name) && !measure_peer(&of->rows[i], round, &theirs[i]))
                return false;
    }
    double figure = median(of, of->label, true, &ours);
    for (size_t i = 0; of->rows[i].name && i < ROWS_MOST; i++)
        if (wanted(of->rows[i].name))
            print_row(of, &of->rows[i], figure, &theirs[i]);
    return true;
}

static bool run_wanted(const bench_group *of, unsigned *ran)
{
    for (const bench_row *row = of->rows; row->name; row++)
        if (wanted(row->name)) {
            double line_ns = bench_line_ns();
            fprintf(stderr, "bench: %s", row->name);
            fprintf(stderr, line_ns < 0 ? "\n" : " (a cache line there and back: %.0f ns)\n", line_ns);
            (*ran)++;
            return run_group(of);
        }
    return true;
}

/* A case is a group of one row. */
static void as_group(size_t i, bench_row rows[2], bench_group *ret_group)
{
    const bench_case *one = cases[i].one;
    if (!one) {
        *ret_group = *cases[i].group;
        return;
    }
    rows[0] = (bench_row){one->name, one->peer, one->goal, one->floor, one->theirs, NULL};
    rows[1] = (bench_row){0};
    *ret_group = (bench_group){NULL, "libmproc", one->unit, one->sense, one->ours, rows};
}

typedef enum what { RUN, LIST, OURS } what;

/* For bench_ours_on_one_cpu: one round of ours. */
static int print_ours(const bench_group *of)
{
    double figure = of->ours();
    printf("%.9g\n", figure);
    return figure < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run_all(what do_what, const char *plot)
{
    bool good = true;
    unsigned ran = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bench_row rows[2];
        bench_group of;
        as_group(i, rows, &of);
        if (do_what == OURS && strcmp(of.rows[0].name, names_wanted[0]) == 0)
            return print_ours(&of);
        for (const bench_row *row = of.rows; do_what == LIST && row->name; row++)
            printf("%s\n", row->name);
        if (do_what == RUN)
            good = run_wanted(&of, &ran) && good;
    }
    if (do_what != RUN)
        return do_what == LIST ? EXIT_SUCCESS : EXIT_FAILURE;
    if (bar_count > 0)
        good = bench_plot(plot, bars, bar_count) == 0 && good;
    if (ran == 0)
        fprintf(stderr, "bench: no such case; bench --list names them\n");
    return good && ran > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void print_machine(void)
{
    struct utsname system;
    uname(&system);
    fprintf(stderr, "bench: %s %s, %u CPUs%s; medians of %u rounds\n", system.sysname, system.release,
            bench_cpus(), bench_cpus() < 2 ? " (both sides on one)" : "", rounds_wanted);
}

int main(int argc, char **argv)
{
    what do_what = RUN;
    const char *plot = "bench.svg";
    if (mproc_init(&argc, &argv) < 0)
        return EXIT_FAILURE;
    if (argc == 3 && strcmp(argv[1], "--subject") == 0) /* bench_process.h */
        return bench_subject_main((unsigned)atoi(argv[2]));
    for (; argc > 1 && strncmp(argv[1], "--", 2) == 0; argc--, argv++) {
        if (strcmp(argv[1], "--list") == 0)
            do_what = LIST;
        else if (strcmp(argv[1], "--ours") == 0)
            do_what = OURS;
        else if (argc > 2 && strcmp(argv[1], "--rounds") == 0 && atoi(argv[2]) > 0 &&
                 atoi(argv[2]) <= ROUNDS_MOST)
            rounds_wanted = (unsigned)atoi(argv[2]), argc--, argv++;
        else if (argc > 2 && strcmp(argv[1], "--plot") == 0)
            plot = argv[2], argc--, argv++;
        else
            return fprintf(stderr, "usage: bench [--list] [--rounds N] [--plot FILE] [CASE...]\n"), 64;
    }
    names_wanted = argv + 1;
    bench_begin();
    if (do_what == OURS && argc < 2)
        return EXIT_FAILURE;
    if (do_what == RUN)
        print_machine();
    return run_all(do_what, plot);
}
