/* SPDX-License-Identifier: BSD-2-Clause */
/* The thread pool of APR-util: peer_apr COUNT, a push for each item, to the end of all; prints ns an item. */
#include "platform/base.h"

#include <apr_general.h>
#include <apr_thread_pool.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "pool_work.h"

static atomic_long left;

static void *APR_THREAD_FUNC item_run(apr_thread_t *thread, void *item)
{
    (void)thread;
    work_trivial(item);
    atomic_fetch_sub(&left, 1);
    return NULL;
}

typedef struct batch {
    apr_thread_pool_t *pool;
    double *items;
    long count;
} batch;

static double run(void *context)
{
    const batch *b = context;
    int64_t start_ns = work_now_ns();
    atomic_store(&left, b->count);
    for (long i = 0; i < b->count; i++)
        if (apr_thread_pool_push(b->pool, item_run, &b->items[i], APR_THREAD_TASK_PRIORITY_NORMAL, NULL) !=
            APR_SUCCESS)
            return -1;
    while (atomic_load(&left) > 0)
        sched_yield();
    return (double)(work_now_ns() - start_ns);
}

int main(int argc, char **argv)
{
    apr_pool_t *memory;
    batch b = {.count = argc == 2 ? atol(argv[1]) : 0};
    if (b.count < 1 || !(b.items = calloc((size_t)b.count, sizeof *b.items)))
        return 64;
    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&memory, NULL) != APR_SUCCESS ||
        apr_thread_pool_create(&b.pool, POOL_WORKERS, POOL_WORKERS, memory) != APR_SUCCESS)
        return 1;
    printf("%.6g\n", work_median(run, &b, (double)b.count));
    apr_thread_pool_destroy(b.pool);
    apr_terminate();
    free(b.items);
    return 0;
}
