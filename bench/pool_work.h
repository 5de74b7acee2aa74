/* SPDX-License-Identifier: BSD-2-Clause */
/* The work that pools and their peers are measured with, the same code in each, and how a round of it is timed. */
#ifndef MPROC__BENCH_POOL_WORK_H
#define MPROC__BENCH_POOL_WORK_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    POOL_WORKERS = 2,
    POOL_CHUNK = 256,        /* of the trivial body */
    POOL_LONG_CHUNK = 16,    /* of the long one: 480 us */
    POOL_LONG_STEPS = 11500, /* of 2.6 ns, so 30 us */
    POOL_TASKS = 200000,     /* submitted in bulk */
    POOL_REPEATS = 31 /* of short runs in a round, of which the median counts; the first is not counted */
};

static inline void work_trivial(double *item)
{
    *item = *item * 0.5 + 1.0;
}

static inline void work_range(double *items, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++)
        work_trivial(&items[i]);
}

/* One multiplication waits for the other. */
static inline void work_long(double *item)
{
    double x = *item;
    for (unsigned i = 0; i < POOL_LONG_STEPS; i++)
        x = x * 0.999999 + 1e-7;
    *item = x;
}

static inline int64_t work_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int work_by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Runs it again and again for a quarter of a second, at least 3 and at most POOL_REPEATS times, one right after the other;
 * returns the median, in ns an item, or what it failed with. */
static inline double work_median(double (*run)(void *context), void *context, double count)
{
    double took[POOL_REPEATS];
    int64_t end_ns = work_now_ns() + 250000000;
    size_t runs = 0;
    double first = run(context);
    if (first < 0)
        return first;
    while (runs < POOL_REPEATS && (runs < 3 || work_now_ns() < end_ns)) {
        took[runs] = run(context);
        if (took[runs++] < 0)
            return -1;
    }
    qsort(took, runs, sizeof took[0], work_by_value);
    return took[runs / 2] / count;
}

/* A program that pushes each item to a pool of threads, `peer COUNT`, prints ns an item. */
typedef struct work_items {
    void *pool; /* the peer's own */
    double *items;
    long count;
} work_items;

/* What came of all: read by the one who pushed them. */
static inline double work_sum(const work_items *all)
{
    double sum = 0;
    for (long i = 0; i < all->count; i++)
        sum += all->items[i];
    return sum;
}

/* `run`: pushes all, waits for all, takes their sum; ns, or negative. */
static inline int work_items_main(int argc, char **argv, void *pool, double (*run)(void *context))
{
    work_items all = {.pool = pool, .count = argc == 2 ? atol(argv[1]) : 0};
    if (all.count < 1 || !(all.items = calloc((size_t)all.count, sizeof *all.items)))
        return 64;
    printf("%.6g\n", work_median(run, &all, (double)all.count));
    free(all.items);
    return 0;
}

#endif
