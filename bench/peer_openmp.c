/* SPDX-License-Identifier: BSD-2-Clause */
/* OpenMP, schedule(dynamic): peer_openmp trivial|long COUNT CHUNK, prints ns an item. */
#include "platform/base.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool_work.h"

typedef struct loop {
    double *items;
    long count;
    int chunk;
} loop;

static double run_trivial(void *context)
{
    const loop *l = context;
    double *items = l->items;
    int64_t start_ns = work_now_ns();
#pragma omp parallel for schedule(dynamic, l->chunk) num_threads(POOL_WORKERS)
    for (long i = 0; i < l->count; i++)
        work_trivial(&items[i]);
    return (double)(work_now_ns() - start_ns);
}

static double run_long(void *context)
{
    const loop *l = context;
    double *items = l->items;
    int64_t start_ns = work_now_ns();
#pragma omp parallel for schedule(dynamic, l->chunk) num_threads(POOL_WORKERS)
    for (long i = 0; i < l->count; i++)
        work_long(&items[i]);
    return (double)(work_now_ns() - start_ns);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 64;
    loop l = {.count = atol(argv[2]), .chunk = atoi(argv[3])};
    l.items = calloc((size_t)l.count, sizeof *l.items);
    if (!l.items || l.count < 1 || l.chunk < 1)
        return 64;
    printf("%.6g\n", work_median(strcmp(argv[1], "long") == 0 ? run_long : run_trivial, &l, (double)l.count));
    free(l.items);
    return 0;
}
