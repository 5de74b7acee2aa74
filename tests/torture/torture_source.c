/* SPDX-License-Identifier: BSD-2-Clause */
/* A source without end and a consumer that is slower than the workers: memory stays flat, and never are more items under way
 * than `ahead` allows. `kills` counts thousands of items here; nobody is killed. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mproc.h>

#include "support/support.h"
#include "torture/torture.h"

enum {
    THOUSANDS = 10000,
    AHEAD = 20000,
    SETTLED = 10,       /* the first tenth may make memory grow */
    SLACK_KIB = 2048,   /* of growth after that */
    PAUSE_EVERY = 2000, /* items; the consumer's slowness */
    PAUSE_US = 200
};

typedef struct stream {
    int64_t given, read;
    int64_t most; /* under way at once */
} stream;

static int stream_next(void *context, mproc_variant *ret_item)
{
    stream *self = context;
    *ret_item = mproc_int(self->given++);
    if (self->given - self->read > self->most)
        self->most = self->given - self->read;
    return 0;
}

static int triple(mproc_call *call)
{
    return mproc_call_return(call, mproc_int(3 * mproc_call_int(call, 0)));
}

/* What this process has in memory, and, by its pages of shared memory, what the pool's segment has. */
static long memory_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static unsigned fault(const char *what, long long is, long long limit)
{
    fprintf(stderr, "source: %s is %lld, the limit %lld\n", what, is, limit);
    return 1;
}

static unsigned stream_run(mproc_results *results, stream *self, int64_t items)
{
    mproc_result result;
    long settled = 0;
    unsigned failures = 0;
    for (self->read = 0; self->read < items && failures == 0; self->read++) {
        int64_t number = -1;
        int rc = mproc_results_next(results, mproc_after_ms(support_ms(10000)), &result);
        if (rc != 0 || result.code != 0 || mproc_variant_get_int(result.value, &number) != 0)
            failures += fault("a result's code", rc ? rc : result.code, 0);
        else if (number != 3 * self->read || result.index != (size_t)self->read)
            failures += fault("a result", number, 3 * self->read);
        if (self->read % PAUSE_EVERY == 0)
            usleep(PAUSE_US);
        if (self->read == items / SETTLED)
            settled = memory_kib();
    }
    long growth = memory_kib() - settled;
    if (self->most > AHEAD)
        failures += fault("the most items under way", self->most, AHEAD);
    if (growth > SLACK_KIB)
        failures += fault("the growth of memory in KiB", growth, SLACK_KIB);
    fprintf(stderr, "source: %lld items, at most %lld under way, memory %ld KiB, grown by %ld KiB\n",
            (long long)items, (long long)self->most, settled, growth);
    return failures;
}

static unsigned torture_run(unsigned thousands, unsigned *seed)
{
    stream self = {.given = 0};
    mproc_pool *pool = NULL;
    mproc_results *results = NULL;
    unsigned failures = 1;
    (void)seed;
    int rc =
        mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = 2, .start = MPROC_START_FORK), &pool);
    if (rc == 0)
        rc = mproc_pool_map_source(pool, triple, stream_next, &self,
                                   MPROC_WITH(mproc_map_options, .ahead = AHEAD), &results);
    if (rc == 0)
        failures = stream_run(results, &self, (int64_t)thousands * 1000);
    else
        fprintf(stderr, "source: %s\n", mproc_error_text(mproc_last_error()));
    mproc_results_close(&results);
    mproc_pool_close(&pool);
    return failures;
}

const torture_case torture_source = {.name = "source", .kills = THOUSANDS, .run = torture_run};
