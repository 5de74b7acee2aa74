/* SPDX-License-Identifier: BSD-2-Clause */
/* Eight threads that start, wait and join; what they have seen, added up. */
#include "platform/base.h"

#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mproc.h>

#include "platform/platform.h"
#include "process/launch.h"
#include "support/support.h"
#include "torture/storm.h"

enum {
    STARTERS = 8,
    STARTS = 100000,
    SPAWNS_PART = 10,
    SPARES = 16,
    LIVING = 64,
    LIVING_MOST = 1024,
    READY_MS = 1000,
    CALL_MS = 30000
};
enum { MIXED = MPROC_START_THREAD + 1, METHODS };
static const char *const method_names[METHODS] = {[MPROC_START_FORK] = "fork",
                                                  [MPROC_START_SPAWN] = "spawn",
                                                  [MPROC_START_FORKSERVER] = "forkserver",
                                                  [MPROC_START_THREAD] = "thread",
                                                  [MIXED] = "mixed"};

/* One living child. Its words are written by it, once, and cleared by its starter before the next has them. */
typedef struct berth_shared {
    _Atomic int64_t first_store_ns;
    _Atomic uint32_t bell;
    uint32_t unused;
} berth_shared;

typedef struct starter {
    pthread_t thread;
    unsigned index;
    unsigned failures;
    mproc_process **living; /* as many as it may have */
} starter;

static struct {
    int method;
    unsigned starts, living_each;
    int memory_fd;
    berth_shared *berths;
    _Atomic unsigned next; /* number of the next start */
    unsigned *ready_us;    /* by number */
} storm;

/* ---- one child ---- */

static unsigned complain(const char *step, unsigned number, int method, int rc)
{
    fprintf(stderr, "storm: %s: start %u by %s: %s (%s)\n", step, number, method_names[method],
            mproc_errname(rc), mproc_error_text(mproc_last_error()));
    return 1;
}

/* Glibc keeps the resolver's locks over a fork as they are: names are not for a copy of a threaded program. */
static bool can_resolve(int method)
{
    return method != MPROC_START_FORK;
}

static int method_of(unsigned number)
{
    return storm.method == MIXED ? (int)(MPROC_START_FORK + number % 4) : storm.method;
}

static bool seen(berth_shared *berth)
{
    mproc_deadline deadline = mproc_after_ms(CALL_MS);
    while (!atomic_load(&berth->bell))
        if (mproc__futex_wait(&berth->bell, 0, true, deadline) == -ETIMEDOUT)
            return false;
    return true;
}

static unsigned child_start(unsigned number, unsigned berth_index, mproc_process **ret_process)
{
    berth_shared *berth = &storm.berths[berth_index];
    int method = method_of(number);
    atomic_store(&berth->bell, 0);
    int64_t begin = mproc__now_ns();
    int rc = mproc_process_start(
        storm_child,
        MPROC_ARGS(mproc_fd(storm.memory_fd), (int64_t)(berth_index * sizeof *berth), can_resolve(method)),
        MPROC_WITH(mproc_process_options, .start = (mproc_start)method), ret_process);
    int64_t returned = mproc__now_ns();
    if (rc < 0)
        return complain("start", number, method, rc);
    if (!seen(berth)) {
        (void)mproc_process_signal(*ret_process, SIGKILL);
        return complain("no first store", number, method, -ETIMEDOUT);
    }
    int64_t stored = atomic_load(&berth->first_store_ns);
    storm.ready_us[number] = (unsigned)(((stored > returned ? stored : returned) - begin) / 1000);
    return 0;
}

static unsigned child_join(mproc_process **process)
{
    int exit_code = -1000;
    unsigned failures = 0;
    if (!*process)
        return 0;
    int rc = mproc_process_join(*process, mproc_after_ms(CALL_MS), &exit_code);
    if (rc < 0 || exit_code != STORM_EXIT_CODE) {
        fprintf(stderr, "storm: %s: join answers %s, exit code %d\n", mproc_process_name(*process),
                mproc_errname(rc), exit_code);
        failures = 1;
        (void)mproc_process_signal(*process, SIGKILL);
    }
    mproc_process_close(process);
    return failures;
}

/* ---- a thread ---- */

static void *starter_run(void *context)
{
    starter *of = context;
    unsigned number, turn = 0;
    while (of->failures < 3 && (number = atomic_fetch_add(&storm.next, 1)) < storm.starts) {
        unsigned place = turn++ % storm.living_each;
        of->failures += child_join(&of->living[place]);
        of->failures += child_start(number, of->index * storm.living_each + place, &of->living[place]);
    }
    for (unsigned i = 0; i < storm.living_each; i++)
        of->failures += child_join(&of->living[i]);
    return NULL;
}

/* ---- one method ---- */

static int compare(const void *left, const void *right)
{
    unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;
    return (a > b) - (a < b);
}

static unsigned part_us(unsigned per_mille)
{
    return storm.ready_us[(size_t)(storm.starts - 1) * per_mille / 1000];
}

static unsigned report(unsigned failures)
{
    qsort(storm.ready_us, storm.starts, sizeof *storm.ready_us, compare);
    unsigned late = 0;
    while (late < storm.starts &&
           storm.ready_us[storm.starts - 1 - late] > (unsigned)support_ms(READY_MS) * 1000)
        late++;
    if (late)
        fprintf(stderr, "storm: %u children were not ready within %d ms\n", late, support_ms(READY_MS));
    failures += late;
    printf("%s\t%u\t%u\t%.2f\t%.2f\t%.2f\t%.2f\n", method_names[storm.method], storm.starts, failures,
           part_us(500) / 1e3, part_us(990) / 1e3, part_us(999) / 1e3, part_us(1000) / 1e3);
    fflush(stdout);
    return failures;
}

static unsigned starters_run(void)
{
    starter starters[STARTERS] = {0};
    unsigned failures = 0;
    for (unsigned i = 0; i < STARTERS; i++) {
        starters[i].index = i;
        starters[i].living = calloc(storm.living_each, sizeof *starters[i].living);
        if (!starters[i].living || pthread_create(&starters[i].thread, NULL, starter_run, &starters[i]) != 0)
            exit(EXIT_FAILURE);
    }
    for (unsigned i = 0; i < STARTERS; i++) {
        pthread_join(starters[i].thread, NULL);
        free(starters[i].living);
        failures += starters[i].failures;
    }
    return failures;
}

/* What a program that starts for ever must not gather. */
static unsigned leftovers(void)
{
    char text[4096];
    unsigned lines = support_leaks_find(text, sizeof text);
    if (lines)
        fprintf(stderr, "storm: left over:\n%s", text);
    return lines;
}

static unsigned run(int method, unsigned starts)
{
    mproc_process *first;
    storm.method = method;
    storm.starts = starts;
    atomic_store(&storm.next, 0);
    storm.ready_us = calloc(starts, sizeof *storm.ready_us);
    if (!storm.ready_us)
        return 1;
    /* The nursery lives as long as the program. */
    unsigned failures = child_start(0, 0, &first) + child_join(&first);
    support_leaks_begin();
    if (storm_noise_begin() < 0)
        return 1;
    failures += starters_run();
    if (!storm_noise_end()) {
        fprintf(stderr, "storm: a thread beside it did nothing\n");
        failures++;
    }
    failures += leftovers() + report(failures);
    free(storm.ready_us);
    return failures;
}

/* ---- the program ---- */

static int memory_make(unsigned living)
{
    size_t size_bytes = STARTERS * living * sizeof *storm.berths;
    storm.memory_fd = mproc__memfd_create("storm", size_bytes);
    if (storm.memory_fd < 0)
        return storm.memory_fd;
    storm.berths = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, storm.memory_fd, 0);
    return storm.berths == MAP_FAILED ? -errno : 0;
}

static bool wanted(int method, char **names)
{
    bool all = !*names;
    for (; !all && *names; names++)
        all = strcmp(method_names[method], *names) == 0;
    return all;
}

static int usage(void)
{
    fprintf(stderr, "usage: storm [--starts N] [--living N] [METHOD...]\n");
    return 64;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"starts", required_argument, NULL, 's'},
                                          {"living", required_argument, NULL, 'l'},
                                          {NULL, 0, NULL, 0}};
    unsigned starts = STARTS, living = LIVING, failures = 0, ran = 0;
    bool counted = false;
    if (mproc__process_main(&argc, &argv) < 0 || mproc_set_spares(SPARES) < 0)
        return EXIT_FAILURE;
    for (int letter; (letter = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (letter == 's') {
            starts = (unsigned)atoi(optarg);
            counted = true;
        } else if (letter == 'l')
            living = (unsigned)atoi(optarg);
        else
            return usage();
    }
    if (starts == 0 || living < STARTERS || living > LIVING_MOST)
        return usage();
    storm.living_each = living / STARTERS;
    if (memory_make(storm.living_each) < 0)
        return EXIT_FAILURE;
    for (int method = MPROC_START_FORK; method < METHODS; method++)
        if (wanted(method, argv + optind)) {
            failures += run(method, method == MPROC_START_SPAWN && !counted ? starts / SPAWNS_PART : starts);
            ran++;
        }
    if (ran == 0)
        return usage();
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
