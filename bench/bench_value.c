/* SPDX-License-Identifier: BSD-2-Clause */
/* Adding to a shared value, beside a bare atomic add on shared memory. */
#include "platform/base.h"

#include <stdio.h>
#include <sys/mman.h>

#include <mproc.h>

#include "bench.h"

enum { ADDS = 20000000 };

/* As in a worker that was handed the value: a compiler asks for the item once. */
static void add(mproc_array *value)
{
    for (unsigned i = 0; i < ADDS; i++)
        if (mproc_array_add_int(value, 0, 1, NULL) < 0)
            break;
}

/* As where the handle must be looked up for each add: in a global, or behind a call that may have changed it. One load
 * after a locked instruction and before the next costs 7 cycles beside the 18 of a bare one on this project's machine:
 * no check at all can be had for less. */
static mproc_array *volatile found_anew;

static void add_anew(mproc_array *value)
{
    found_anew = value;
    for (unsigned i = 0; i < ADDS; i++)
        if (mproc_array_add_int(found_anew, 0, 1, NULL) < 0)
            break;
}

static double timed(void (*loop)(mproc_array *value))
{
    mproc_array *value;
    int64_t total = 0;
    bench_pin(0);
    if (mproc_array_create(NULL, MPROC_ITEM_INT64, 1, NULL, &value) < 0)
        return -1;
    int64_t start_ns = bench_now_ns();
    loop(value);
    double figure = (double)(bench_now_ns() - start_ns) / ADDS;
    int code = mproc_array_get_int(value, 0, &total);
    mproc_array_close(&value);
    return code == 0 && total == ADDS ? figure : -1;
}

static double ours(void)
{
    return timed(add);
}

static double ours_anew(void)
{
    return timed(add_anew);
}

static double theirs(void)
{
    bench_pin(0);
    _Atomic int64_t *value =
        mmap(NULL, sizeof(*value), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (value == MAP_FAILED)
        return -1;
    atomic_store(value, 0);
    int64_t start_ns = bench_now_ns();
    for (unsigned i = 0; i < ADDS; i++)
        atomic_fetch_add(value, 1);
    double figure = (double)(bench_now_ns() - start_ns) / ADDS;
    bool right = atomic_load(value) == ADDS;
    munmap(value, sizeof(*value));
    return right ? figure : -1;
}

const bench_case bench_sync_value_add = {.name = "sync-value-add",
                                         .unit = "ns an add",
                                         .peer = "bare atomic add",
                                         .ours = ours,
                                         .theirs = theirs,
                                         .goal = 1.1,
                                         .floor = 1.25,
                                         .sense = BENCH_MAX};

/* Goal and floor are of this project: the are for the case above. */
const bench_case bench_sync_value_add_anew = {.name = "sync-value-add-anew",
                                              .unit = "ns an add",
                                              .peer = "bare atomic add",
                                              .ours = ours_anew,
                                              .theirs = theirs,
                                              .goal = 1.4,
                                              .floor = 1.6,
                                              .sense = BENCH_MAX};
