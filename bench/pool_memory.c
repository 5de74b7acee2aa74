/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory of a map over COUNT doubles in a shared array, or of the loop beside it: pool_memory map|loop COUNT prints KiB. What
 * counts is the proportional set of this process and all below it, where a page that several have counts once, at its
 * highest: read again and again while the map runs, and after it. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mproc.h>

#include "pool_work.h"

static int item_run(mproc_call *call, const void *in, void *out)
{
    (void)call;
    double x = *(const double *)in;
    work_trivial(&x);
    *(double *)out = x;
    return 0;
}

static long pss_of(long pid)
{
    char path[64], line[128];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "Pss: %ld", &kib) != 1)
        ;
    if (file)
        fclose(file);
    return kib;
}

static long pss_below(long pid)
{
    char path[64];
    long kib = pss_of(pid), child;
    snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", pid, pid);
    FILE *file = fopen(path, "re");
    while (file && fscanf(file, "%ld", &child) == 1)
        kib += pss_below(child);
    if (file)
        fclose(file);
    return kib;
}

static long highest;

static void look(void)
{
    long now = pss_below(getpid());
    highest = now > highest ? now : highest;
}

static int map(double *items, size_t count)
{
    mproc_pool *pool;
    mproc_future *future;
    int rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = POOL_WORKERS), &pool);
    if (rc < 0)
        return rc;
    rc = mproc_pool_map_start(pool, item_run, items, sizeof *items, items, sizeof *items, count, NULL,
                              &future);
    if (rc == 0) {
        while (mproc_future_wait(future, mproc_after_ms(5)) == -ETIMEDOUT)
            look();
        look();
        rc = mproc_future_result(future, MPROC_NOW, NULL);
        mproc_future_close(&future);
    }
    mproc_pool_close(&pool);
    return rc;
}

int main(int argc, char **argv)
{
    mproc_array *array;
    if (mproc_init(&argc, &argv) < 0 || mproc_set_start(MPROC_START_FORKSERVER) < 0 || argc != 3)
        return 64;
    size_t count = strtoul(argv[2], NULL, 10);
    int rc = mproc_array_create(NULL, MPROC_ITEM_DOUBLE, count, NULL, &array);
    if (rc == 0 && strcmp(argv[1], "map") == 0)
        rc = map(mproc_array_data(array), count);
    else if (rc == 0)
        work_range(mproc_array_data(array), 0, count);
    look();
    printf("%ld\n", highest);
    if (rc < 0)
        fprintf(stderr, "%s\n", mproc_error_text(mproc_last_error()));
    mproc_array_close(&array);
    return rc < 0;
}
