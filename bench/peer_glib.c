/* SPDX-License-Identifier: BSD-2-Clause */
/* GThreadPool of GLib: a push for each item, to the end of all; see work_items_main. */
#include "platform/base.h"

#include <glib.h>
#include <stdlib.h>

#include "pool_work.h"

static gint left;
static GMutex guard;
static GCond ended;

static void item_run(gpointer item, gpointer context)
{
    (void)context;
    work_trivial(item);
    if (g_atomic_int_dec_and_test(&left)) {
        g_mutex_lock(&guard);
        g_cond_signal(&ended);
        g_mutex_unlock(&guard);
    }
}

static volatile double sink;

static double run(void *context)
{
    const work_items *all = context;
    int64_t start_ns = work_now_ns();
    g_atomic_int_set(&left, (gint)all->count);
    for (long i = 0; i < all->count; i++)
        g_thread_pool_push(all->pool, &all->items[i], NULL);
    g_mutex_lock(&guard);
    while (g_atomic_int_get(&left) > 0)
        g_cond_wait(&ended, &guard);
    g_mutex_unlock(&guard);
    sink = work_sum(all);
    return (double)(work_now_ns() - start_ns);
}

int main(int argc, char **argv)
{
    GThreadPool *pool = g_thread_pool_new(item_run, NULL, POOL_WORKERS, TRUE, NULL);
    int status = pool ? work_items_main(argc, argv, pool, run) : 1;
    if (pool)
        g_thread_pool_free(pool, FALSE, TRUE);
    return status;
}
