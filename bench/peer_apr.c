/* SPDX-License-Identifier: BSD-2-Clause */
/* The thread pool of APR-util: a push for each item, to the end of all; see work_items_main. */
#include "platform/base.h"

#include <apr_general.h>
#include <apr_thread_pool.h>
#include <sched.h>
#include <stdatomic.h>

#include "pool_work.h"

static atomic_long left;

static void *APR_THREAD_FUNC item_run(apr_thread_t *thread, void *item)
{
    (void)thread;
    work_trivial(item);
    atomic_fetch_sub(&left, 1);
    return NULL;
}

static volatile double sink;

static double run(void *context)
{
    const work_items *all = context;
    int64_t start_ns = work_now_ns();
    atomic_store(&left, all->count);
    for (long i = 0; i < all->count; i++)
        if (apr_thread_pool_push(all->pool, item_run, &all->items[i], APR_THREAD_TASK_PRIORITY_NORMAL,
                                 NULL) != APR_SUCCESS)
            return -1;
    while (atomic_load(&left) > 0)
        sched_yield();
    sink = work_sum(all);
    return (double)(work_now_ns() - start_ns);
}

int main(int argc, char **argv)
{
    apr_pool_t *memory;
    apr_thread_pool_t *pool;
    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&memory, NULL) != APR_SUCCESS ||
        apr_thread_pool_create(&pool, POOL_WORKERS, POOL_WORKERS, memory) != APR_SUCCESS)
        return 1;
    int status = work_items_main(argc, argv, pool, run);
    apr_thread_pool_destroy(pool);
    apr_terminate();
    return status;
}
