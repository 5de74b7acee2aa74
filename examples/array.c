/* SPDX-License-Identifier: BSD-2-Clause */
/* A Value and an Array: ./array [fork|spawn|forkserver|thread]. Four children count in one shared number, under its lock and
 * by atomic adds, and each fills its own item of an array of doubles. */
#include "try.h"

enum { CHILDREN = 4, ROUNDS = 1000 };

static int count(mproc_call *call)
{
    mproc_array *totals = mproc_call_array(call, 0), *bins = mproc_call_array(call, 1);
    int64_t me = mproc_call_int(call, 2);
    int64_t *locked = mproc_array_data(totals);
    double *bin = mproc_array_data(bins);
    if (!locked || !bin)
        return MPROC_EARGUMENT;
    for (int i = 0; i < ROUNDS; i++) {
        MPROC_WITH_LOCK(mproc_array_lock(totals), MPROC_FOREVER)
        *locked += 1;
        int rc = mproc_array_add_int(totals, 1, 1, NULL); /* one step: no lock */
        if (rc < 0)
            return rc;
    }
    bin[me] = (double)me * 0.5; /* own item: no lock */
    return 0;
}

static mproc_start method(const char *name)
{
    static const char *const names[] = {"fork", "spawn", "forkserver", "thread"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0)
            return (mproc_start)(MPROC_START_FORK + i);
    fprintf(stderr, "no start method is called %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    mproc_init(&argc, &argv);
    mproc_start start = argc > 1 ? method(argv[1]) : MPROC_START_DEFAULT;
    mproc_array *totals, *bins;
    mproc_process *p[CHILDREN];
    TRY(mproc_array_create(NULL, MPROC_ITEM_INT64, 2, NULL, &totals));
    TRY(mproc_array_create(NULL, MPROC_ITEM_DOUBLE, CHILDREN,
                           MPROC_WITH(mproc_array_options, .unlocked = true), &bins));
    for (int i = 0; i < CHILDREN; i++)
        TRY(mproc_process_start(count, MPROC_ARGS(totals, bins, i),
                                MPROC_WITH(mproc_process_options, .start = start), &p[i]));
    for (int i = 0; i < CHILDREN; i++) {
        TRY(mproc_process_join(p[i], MPROC_FOREVER, NULL));
        mproc_process_close(&p[i]);
    }
    int64_t sums[2];
    double half;
    TRY(mproc_array_read(totals, 0, 2, sums));
    TRY(mproc_array_get(bins, CHILDREN - 1, &half));
    printf("%" PRId64 " %" PRId64 " %g\n", sums[0], sums[1], half);
    mproc_array_close(&totals);
    mproc_array_close(&bins);
    return sums[0] != CHILDREN * ROUNDS || sums[1] != CHILDREN * ROUNDS || half != 1.5;
}
