/* SPDX-License-Identifier: BSD-2-Clause */
/* Pools of 2 workers: loops and maps over shared arrays, tasks, memory, the first map. Not pinned; runs of one round follow
 * each other at once, so that nobody's team is asleep. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>

#include <mproc.h>

#include "bench.h"
#include "pool_work.h"

/* ---- the subject: a pool and an array ---- */

typedef struct subject {
    mproc_pool *pool;
    mproc_array *array;
    double *items;
    size_t count, chunk;
    mproc_fn *fn;
} subject;

static void failed(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, mproc_error_text(mproc_last_error()));
}

static bool subject_make(subject *s, mproc_start start)
{
    int rc =
        mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = POOL_WORKERS, .start = start), &s->pool);
    if (rc == 0)
        rc = mproc_array_create(NULL, MPROC_ITEM_DOUBLE, s->count, NULL, &s->array);
    if (rc < 0)
        failed("a pool");
    else
        s->items = mproc_array_data(s->array);
    return rc == 0;
}

static void subject_end(subject *s)
{
    mproc_pool_close(&s->pool);
    mproc_array_close(&s->array);
}

/* A round of `run` over a new pool and array. */
static double measure(mproc_start start, subject s, double (*run)(void *context))
{
    double figure = subject_make(&s, start) ? work_median(run, &s, (double)s.count) : -1;
    subject_end(&s);
    return figure;
}

/* ---- loops ---- */

static int range_trivial(mproc_call *call)
{
    size_t first, end;
    double *items = mproc_array_data(mproc_call_array(call, 0));
    mproc_call_range(call, &first, &end);
    work_range(items, first, end);
    return 0;
}

static int range_long(mproc_call *call)
{
    size_t first, end;
    double *items = mproc_array_data(mproc_call_array(call, 0));
    mproc_call_range(call, &first, &end);
    for (size_t i = first; i < end; i++)
        work_long(&items[i]);
    return 0;
}

static double loop_run(void *context)
{
    subject *s = context;
    int64_t start_ns = bench_now_ns();
    int rc = mproc_pool_for(s->pool, s->fn, s->count,
                            MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(s->array), .chunk = s->chunk));
    if (rc < 0)
        failed("a loop");
    return rc < 0 ? -1 : (double)(bench_now_ns() - start_ns);
}

static double loop(mproc_start start, size_t count, size_t chunk)
{
    return measure(start, (subject){.count = count, .chunk = chunk, .fn = range_trivial}, loop_run);
}

#define PROCESSES MPROC_START_FORKSERVER
#define THREADS   MPROC_START_THREAD
#define FIGURE(name, expression)                                                                             \
    static double name(void)                                                                                 \
    {                                                                                                        \
        return expression;                                                                                   \
    }

FIGURE(for_1e5, loop(PROCESSES, 100000, POOL_CHUNK))
FIGURE(for_1e6, loop(PROCESSES, 1000000, POOL_CHUNK))
FIGURE(for_1e7, loop(PROCESSES, 10000000, POOL_CHUNK))
FIGURE(for_forked, loop(MPROC_START_FORK, 1000000, POOL_CHUNK))
FIGURE(for_auto, loop(PROCESSES, 1000000, 0))
FIGURE(for_threads_1e5, loop(THREADS, 100000, POOL_CHUNK))
FIGURE(for_threads, loop(THREADS, 1000000, POOL_CHUNK))
FIGURE(for_threads_1e7, loop(THREADS, 10000000, POOL_CHUNK))
FIGURE(for_threads_auto, loop(THREADS, 1000000, 0))
FIGURE(for_long,
       measure(PROCESSES, (subject){.count = 4000, .chunk = POOL_LONG_CHUNK, .fn = range_long}, loop_run))
FIGURE(for_threads_long,
       measure(THREADS, (subject){.count = 4000, .chunk = POOL_LONG_CHUNK, .fn = range_long}, loop_run))

/* ---- maps ---- */

static int item_trivial(mproc_call *call, const void *in, void *out)
{
    (void)call;
    double x = *(const double *)in;
    work_trivial(&x);
    *(double *)out = x;
    return 0;
}

static double map_run(void *context)
{
    subject *s = context;
    int64_t start_ns = bench_now_ns();
    int rc = mproc_pool_map(s->pool, item_trivial, s->items, sizeof *s->items, s->items, sizeof *s->items,
                            s->count, MPROC_WITH(mproc_map_options, .chunk = s->chunk));
    if (rc < 0)
        failed("a map");
    return rc < 0 ? -1 : (double)(bench_now_ns() - start_ns);
}

static double map(mproc_start start, size_t count, size_t chunk)
{
    return measure(start, (subject){.count = count, .chunk = chunk}, map_run);
}

FIGURE(map_1e6, map(PROCESSES, 1000000, 0))
FIGURE(map_threads, map(THREADS, 1000000, 0))
FIGURE(map_one, map(PROCESSES, 100000, 1))

/* The first map of a new pool, beside one of the same pool later. The workers have not seen the array. */
static double map_cold(void)
{
    double took[5];
    for (size_t i = 0; i < MPROC__COUNT(took); i++) {
        subject s = {.count = 1000000};
        if (subject_make(&s, PROCESSES)) {
            work_range(s.items, 0, s.count);
            took[i] = map_run(&s) / (double)s.count;
        } else {
            took[i] = -1;
        }
        subject_end(&s);
        if (took[i] < 0)
            return -1;
    }
    qsort(took, MPROC__COUNT(took), sizeof took[0], work_by_value);
    return took[MPROC__COUNT(took) / 2];
}

/* ---- tasks ---- */

static int task_trivial(mproc_call *call)
{
    double x = mproc_call_double(call, 0);
    work_trivial(&x);
    return mproc_call_return(call, mproc_double(x));
}

static double one_by_one(void *context)
{
    subject *s = context;
    mproc_future *future;
    mproc_variant value;
    int64_t start_ns = bench_now_ns();
    for (size_t i = 0; i < s->count; i++) {
        int rc = mproc_pool_submit(s->pool, task_trivial, MPROC_ARGS((double)i), NULL, &future);
        if (rc == 0)
            rc = mproc_future_result(future, MPROC_FOREVER, &value);
        if (rc < 0) {
            failed("a task");
            return -1;
        }
        mproc_future_close(&future);
    }
    return (double)(bench_now_ns() - start_ns);
}

/* Tasks a second, as Python's. */
static double hot_rate(void)
{
    double ns = measure(PROCESSES, (subject){.count = 20000}, one_by_one);
    return ns < 0 ? ns : 1e9 / ns;
}
static double hot_rate_threads(void)
{
    double ns = measure(THREADS, (subject){.count = 20000}, one_by_one);
    return ns < 0 ? ns : 1e9 / ns;
}

static volatile double sink;

static int results_take(mproc_future **futures, size_t count)
{
    mproc_variant value;
    double item, sum = 0;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = mproc_future_result(futures[i], MPROC_FOREVER, &value);
        if (rc == 0)
            rc = mproc_variant_get_double(value, &item);
        sum += rc == 0 ? item : 0;
        mproc_future_close(&futures[i]);
    }
    sink = sum;
    return rc;
}

/* As its peers do: a double there, one back, and their sum. */
static double bulk(void *context)
{
    static mproc_future *futures[POOL_TASKS];
    subject *s = context;
    int rc = 0;
    int64_t start_ns = bench_now_ns();
    for (size_t i = 0; i < s->count && rc == 0; i++)
        rc = mproc_pool_submit(s->pool, task_trivial, MPROC_ARGS(s->items[i]), NULL, &futures[i]);
    if (rc == 0)
        rc = results_take(futures, s->count);
    if (rc < 0)
        failed("many tasks");
    return rc < 0 ? -1 : (double)(bench_now_ns() - start_ns);
}

FIGURE(bulk_processes, measure(PROCESSES, (subject){.count = POOL_TASKS}, bulk))
FIGURE(bulk_threads, measure(THREADS, (subject){.count = POOL_TASKS}, bulk))

/* ---- peers whose figures are rates or ours ---- */

static double python_rate(const char *program)
{
    double ns = bench_peer(program);
    return ns > 0 ? 1e9 / ns : ns;
}

FIGURE(executor_rate, python_rate("python_pool executor 1000"))
FIGURE(python_map_1, python_rate("python_pool map 20000 1"))
FIGURE(python_map_default, python_rate("python_pool map 1000000 0"))
static double map_rate(void)
{
    double ns = map_1e6();
    return ns > 0 ? 1e9 / ns : ns;
}
static double map_one_rate(void)
{
    double ns = map_one();
    return ns > 0 ? 1e9 / ns : ns;
}
FIGURE(map_memory, bench_program("bench/pool_memory map 10000000"))
FIGURE(loop_memory, bench_program("bench/pool_memory loop 10000000"))

/* ---- the table ---- */

#define PANEL_LOOP "A loop over an array, time an item (2 workers)"
#define PANEL_TASK "A map or a task, time an item (2 workers)"
#define PANEL_RATE "Items a second beside Python (2 workers)"

#define GROUP(group_name, group_panel, group_label, group_unit, group_sense, of, ...)                        \
    const bench_group group_name = {.panel = group_panel,                                                    \
                                    .label = group_label,                                                    \
                                    .unit = group_unit,                                                      \
                                    .sense = group_sense,                                                    \
                                    .ours = of,                                                              \
                                    .rows = (const bench_row[]){__VA_ARGS__, {0}}};
#define LOOP(name, label, of, ...) GROUP(name, PANEL_LOOP, label, "ns", BENCH_MAX, of, __VA_ARGS__)
#define TASK(name, label, of, ...) GROUP(name, PANEL_TASK, label, "ns", BENCH_MAX, of, __VA_ARGS__)
#define RATE(name, label, of, ...) GROUP(name, PANEL_RATE, label, "items/s", BENCH_MIN, of, __VA_ARGS__)

LOOP(bench_pool_for, "libmproc, 1e6", for_1e6,
     {"pool-for", "OpenMP dynamic,256, 1e6", 1.0, 1.15, NULL, "openmp trivial 1000000 256"})
LOOP(bench_pool_for_1e7, "libmproc, 1e7", for_1e7,
     {"pool-for-1e7", "OpenMP dynamic,256, 1e7", 0.9, 1.1, NULL, "openmp trivial 10000000 256"})
LOOP(bench_pool_for_1e5, "libmproc, 1e5", for_1e5,
     {"pool-for-1e5", "OpenMP dynamic,256, 1e5", 1.3, 1.7, NULL, "openmp trivial 100000 256"})
LOOP(bench_pool_for_fork, "libmproc, fork, 1e6", for_forked,
     {"pool-for-fork", "OpenMP dynamic,256, 1e6", 1.0, 1.15, NULL, "openmp trivial 1000000 256"})
LOOP(bench_pool_for_thread, "libmproc, threads, 1e6", for_threads,
     {"pool-for-thread", "OpenMP dynamic,256, 1e6", 1.0, 1.15, NULL, "openmp trivial 1000000 256"})
LOOP(bench_pool_for_thread_1e7, "libmproc, threads, 1e7", for_threads_1e7,
     {"pool-for-thread-1e7", "OpenMP dynamic,256, 1e7", 0.9, 1.1, NULL, "openmp trivial 10000000 256"})
LOOP(bench_pool_for_thread_1e5, "libmproc, threads, 1e5", for_threads_1e5,
     {"pool-for-thread-1e5", "OpenMP dynamic,256, 1e5", 1.3, 1.7, NULL, "openmp trivial 100000 256"})
LOOP(bench_pool_auto, "libmproc, automatic chunk", for_auto,
     {"pool-auto", "OpenMP dynamic,1", 0.1, 0.3, NULL, "openmp trivial 1000000 1"})
LOOP(bench_pool_auto_thread, "libmproc, threads, automatic chunk", for_threads_auto,
     {"pool-auto-thread", "OpenMP dynamic,1", 0.1, 0.3, NULL, "openmp trivial 1000000 1"})
GROUP(bench_pool_long, NULL, "libmproc", "ns", BENCH_MAX, for_long,
      {"pool-long", "OpenMP dynamic,16, 30 us", 1.02, 1.06, NULL, "openmp long 4000 16"})
GROUP(bench_pool_long_thread, NULL, "libmproc", "ns", BENCH_MAX, for_threads_long,
      {"pool-long-thread", "OpenMP dynamic,16, 30 us", 1.02, 1.06, NULL, "openmp long 4000 16"})
TASK(bench_pool_map, "libmproc, map", map_1e6,
     {"pool-map-glib", "GThreadPool", 1.0 / 100, 1.0 / 40, NULL, "glib 200000"},
     {"pool-map-apr", "APR thread pool", 1.0 / 200, 1.0 / 80, NULL, "apr 100000"})
TASK(bench_pool_map_thread, "libmproc, threads, map", map_threads,
     {"pool-map-thread-glib", "GThreadPool", 1.0 / 100, 1.0 / 40, NULL, "glib 200000"},
     {"pool-map-thread-apr", "APR thread pool", 1.0 / 200, 1.0 / 80, NULL, "apr 100000"})
TASK(bench_pool_bulk, "libmproc, submit", bulk_processes,
     {"pool-bulk", "GThreadPool", 0.6, 1.0, NULL, "glib 200000"})
TASK(bench_pool_bulk_thread, "libmproc, threads, submit", bulk_threads,
     {"pool-bulk-thread", "GThreadPool", 0.6, 1.0, NULL, "glib 200000"})
RATE(bench_pool_hot, "libmproc, submit+result", hot_rate,
     {"pool-hot", "ProcessPoolExecutor", 150, 50, executor_rate, NULL})
RATE(bench_pool_hot_thread, "libmproc, threads, submit+result", hot_rate_threads,
     {"pool-hot-thread", "ProcessPoolExecutor", 150, 50, executor_rate, NULL})
RATE(bench_pool_python_1, "libmproc, map, chunk 1", map_one_rate,
     {"pool-python-1", "Python Pool.map, chunk 1", 1000, 300, python_map_1, NULL})
RATE(bench_pool_python, "libmproc, map", map_rate,
     {"pool-python", "Python Pool.map", 30, 10, python_map_default, NULL})
GROUP(bench_pool_memory, NULL, "libmproc, map of 1e7", "KiB", BENCH_MAX, map_memory,
      {"pool-memory", "the loop", 1.05, 1.2, loop_memory, NULL})
GROUP(bench_pool_cold, NULL, "libmproc, first map", "ns", BENCH_MAX, map_cold,
      {"pool-cold", "libmproc, warm", 3, 7, map_1e6, NULL})
