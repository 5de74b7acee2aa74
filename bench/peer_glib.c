/* SPDX-License-Identifier: BSD-2-Clause */
/* GThreadPool of GLib: peer_glib COUNT, a push for each item, to the end of all; prints ns an item. */
#include "platform/base.h"

#include <glib.h>
#include <stdio.h>
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

typedef struct batch {
    GThreadPool *pool;
    double *items;
    gint count;
} batch;

static double run(void *context)
{
    const batch *b = context;
    int64_t start_ns = work_now_ns();
    g_atomic_int_set(&left, b->count);
    for (gint i = 0; i < b->count; i++)
        g_thread_pool_push(b->pool, &b->items[i], NULL);
    g_mutex_lock(&guard);
    while (g_atomic_int_get(&left) > 0)
        g_cond_wait(&ended, &guard);
    g_mutex_unlock(&guard);
    return (double)(work_now_ns() - start_ns);
}

int main(int argc, char **argv)
{
    batch b = {.count = argc == 2 ? atoi(argv[1]) : 0};
    if (b.count < 1 || !(b.items = calloc((size_t)b.count, sizeof *b.items)))
        return 64;
    b.pool = g_thread_pool_new(item_run, NULL, POOL_WORKERS, TRUE, NULL);
    if (!b.pool)
        return 1;
    printf("%.6g\n", work_median(run, &b, b.count));
    g_thread_pool_free(b.pool, FALSE, TRUE);
    free(b.items);
    return 0;
}
