/* SPDX-License-Identifier: BSD-2-Clause */
/* ./top [SECONDS [LINES]]: who used the CPUs in the last SECONDS (0.5), the LINES (10) busiest; then what two
 * children of our own used, while they ran and in all. No thread watches: two readings are taken and compared. */
#include "try.h"

#include <time.h>

enum { MANY = 16384 };

typedef struct row {
    mproc_running_stats stats;
    double percent;
} row;

/* ---- two children of different appetite ---- */

static int eat(mproc_call *call)
{
    struct timespec nap = {.tv_nsec = 1000000};
    bool greedy = mproc_call_int(call, 0) != 0;
    while (!mproc_call_stopping(call))
        if (!greedy)
            nanosleep(&nap, NULL);
    return 0;
}

/* ---- two readings ---- */

/* Whoever ends between the list and the look is left out. */
static size_t read_all(row *rows)
{
    static mproc_running list[MANY];
    size_t count, kept = 0;
    TRY(mproc_running_list(list, MANY, &count));
    for (size_t i = 0; i < count && i < MANY; i++) {
        mproc_options_init(&rows[kept].stats, sizeof rows[kept].stats);
        if (mproc_running_get(list[i], &rows[kept].stats) == 0)
            kept++;
    }
    return kept;
}

/* Both readings are in the order of the pids. A process that was not there at first is shown with 0. */
static void compare(row *after, size_t after_count, const row *before, size_t before_count)
{
    for (size_t i = 0, j = 0; i < after_count; i++) {
        while (j < before_count && before[j].stats.which.pid < after[i].stats.which.pid)
            j++;
        if (j == before_count || mproc_running_cpu_percent(&before[j].stats, &after[i].stats, &after[i].percent) < 0)
            after[i].percent = 0;
    }
}

static int by_percent(const void *a, const void *b)
{
    const row *one = a, *other = b;
    return (one->percent < other->percent) - (one->percent > other->percent);
}

/* ---- tables ---- */

/* A name may hold anything, also what moves the cursor of a terminal. */
static void name_print(const char *name)
{
    for (; *name; name++)
        putchar(*name > ' ' && *name < 127 ? *name : '?');
    putchar('\n');
}

static void machine_print(const mproc_machine *before, const mproc_machine *after)
{
    static const char *const limits[] = {"all there are", "by the affinity mask", "by a control group",
                                         "by MPROC_CPU_COUNT"};
    double percent = 0;
    (void)mproc_machine_cpu_percent(before, after, &percent);
    printf("up %.1f h, load %.2f %.2f %.2f, %" PRIu32 " of %" PRIu32 " CPUs usable (%s), %.0f %% busy\n",
           (double)after->uptime_ns / 3.6e12, after->load[0], after->load[1], after->load[2], after->usable_cpus,
           after->cpus, limits[after->cpu_limit], percent);
    printf("memory %" PRId64 " MiB, %" PRId64 " available, %" PRId64 " for us\n\n", after->memory_bytes >> 20,
           after->available_bytes >> 20, after->usable_bytes >> 20);
}

static void row_print(const mproc_running_stats *stats, double percent)
{
    printf("%8" PRId64 " %8" PRIu32 "  %c %6.1f %9" PRId64 " %7" PRId64 "  ", stats->which.pid, stats->uid,
           (int)stats->state, percent, stats->rss_bytes >> 10, stats->threads);
    name_print(stats->name);
}

static void child_print(mproc_process **child)
{
    mproc_running_stats stats = {.size = sizeof stats};
    TRY(mproc_process_stop(*child, mproc_after_ms(5000)));
    TRY(mproc_process_stats(*child, &stats)); /* it has ended: what it used in all */
    printf("%s used %" PRId64 " ms of CPU time, at most %" PRId64 " KiB\n", mproc_process_name(*child),
           stats.cpu_ns / 1000000, stats.rss_max_bytes >> 10);
    mproc_process_close(child);
}

int main(int argc, char **argv)
{
    static row before[MANY], after[MANY];
    mproc_machine first = {.size = sizeof first}, second = {.size = sizeof second};
    mproc_process *greedy, *modest;
    TRY(mproc_init(&argc, &argv));
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0.5;
    size_t lines = argc > 2 ? strtoul(argv[2], NULL, 10) : 10;
    TRY(mproc_process_start(eat, MPROC_ARGS(1), MPROC_WITH(mproc_process_options, .name = "greedy"), &greedy));
    TRY(mproc_process_start(eat, MPROC_ARGS(0), MPROC_WITH(mproc_process_options, .name = "modest"), &modest));

    TRY(mproc_machine_get(&first));
    size_t before_count = read_all(before);
    nanosleep(&(struct timespec){(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)}, NULL);
    size_t after_count = read_all(after);
    TRY(mproc_machine_get(&second));
    compare(after, after_count, before, before_count);
    qsort(after, after_count, sizeof *after, by_percent);

    machine_print(&first, &second);
    printf("     pid     user st    %%CPU   RSS KiB threads  name\n");
    for (size_t i = 0; i < after_count && i < lines; i++)
        row_print(&after[i].stats, after[i].percent);
    putchar('\n');
    child_print(&greedy);
    child_print(&modest);
    return 0;
}
