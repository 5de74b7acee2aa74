/* SPDX-License-Identifier: BSD-2-Clause */
/* Who waits for a map is told how far it is. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool_common.h"

enum { ITEMS = 40 };

typedef struct told {
    unsigned times, ends;
    mproc_progress last;
    bool backwards;
} told;

static void tell(void *context, const mproc_progress *progress)
{
    told *self = context;
    self->backwards |= progress->done < self->last.done || progress->elapsed_ns < self->last.elapsed_ns;
    self->times++;
    self->ends += progress->ended;
    self->last = *progress;
}

static int item_nap(mproc_call *call, const void *in, void *out)
{
    (void)call;
    usleep(2000);
    *(int *)out = *(const int *)in + 1;
    return 0;
}

static int task_nap(mproc_call *call)
{
    usleep(2000);
    return mproc_call_int(call, 0) % 10 == 3 ? -EDOM : 0;
}

static void told_check(const told *seen, uint64_t total, uint64_t failed)
{
    ck_assert_uint_gt(seen->times, 2);
    ck_assert_uint_eq(seen->ends, 1);
    ck_assert(seen->last.ended);
    ck_assert(!seen->backwards);
    ck_assert_uint_eq(seen->last.done, ITEMS);
    ck_assert_uint_eq(seen->last.total, total);
    ck_assert_uint_eq(seen->last.failed, failed);
}

START_TEST(a_map_over_arrays_tells_how_far_it_is)
{
    int in[ITEMS] = {0}, out[ITEMS];
    told seen = {.times = 0};
    mproc_pool *pool = pool_make(METHOD, 2);
    ck_assert_int_eq(mproc_pool_map(pool, item_nap, in, sizeof *in, out, sizeof *out, ITEMS,
                                    MPROC_WITH(mproc_map_options, .chunk = 1, .progress = tell,
                                               .progress_context = &seen, .progress_ms = 1)),
                     0);
    told_check(&seen, ITEMS, 0);
    ck_assert_int_eq(out[ITEMS - 1], 1);
    pool_end(&pool);
}
END_TEST

static void results_drain(mproc_results *results)
{
    mproc_result result;
    int rc;
    while ((rc = mproc_results_next(results, mproc_after_ms(support_ms(10000)), &result)) == 0)
        ;
    ck_assert_int_eq(rc, MPROC_EEND);
    mproc_results_close(&results);
}

START_TEST(results_tell_how_many_were_read)
{
    mproc_variant items[ITEMS];
    mproc_results *results = NULL;
    told seen = {.times = 0};
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < ITEMS; i++)
        items[i] = mproc_int(i);
    ck_assert_int_eq(mproc_pool_map_variants(pool, task_nap, items, ITEMS,
                                             MPROC_WITH(mproc_map_options, .chunk = 1, .progress = tell,
                                                        .progress_context = &seen, .progress_ms = 1),
                                             &results),
                     0);
    results_drain(results);
    told_check(&seen, ITEMS, ITEMS / 10);
    pool_end(&pool);
}
END_TEST

static int forty(void *context, mproc_variant *ret_item)
{
    int *given = context;
    *ret_item = mproc_int(0);
    return (*given)++ < ITEMS ? 0 : MPROC_EEND;
}

START_TEST(of_a_source_the_total_is_unknown)
{
    int given = 0;
    mproc_results *results = NULL;
    told seen = {.times = 0};
    mproc_pool *pool = pool_make(METHOD, 2);
    ck_assert_int_eq(mproc_pool_map_source(pool, task_nap, forty, &given,
                                           MPROC_WITH(mproc_map_options, .chunk = 1, .progress = tell,
                                                      .progress_context = &seen, .progress_ms = 1),
                                           &results),
                     0);
    results_drain(results);
    told_check(&seen, 0, 0);
    pool_end(&pool);
}
END_TEST

/* What the bar writes to a file. */
static void bar_write(const mproc_progress *progress, const char *label, char *buffer, size_t size)
{
    char path[] = "/tmp/mproc-bar-XXXXXX";
    int file = mkstemp(path), before = dup(STDERR_FILENO);
    ck_assert_int_ge(file, 0);
    dup2(file, STDERR_FILENO);
    mproc_progress_bar((void *)label, progress);
    dup2(before, STDERR_FILENO);
    close(before);
    ssize_t length = pread(file, buffer, size - 1, 0);
    close(file);
    unlink(path);
    buffer[length > 0 ? length : 0] = 0;
}

START_TEST(the_bar_is_a_plain_line_where_there_is_no_terminal)
{
    char line[256];
    mproc_progress progress = {.done = 250, .total = 1000, .elapsed_ns = INT64_C(25000000000)};
    bar_write(&progress, "frames", line, sizeof line);
    ck_assert_str_eq(line, "frames:  25 %, 250 of 1000, 1:15 left\n");
    progress.failed = 2;
    progress.ended = true;
    bar_write(&progress, NULL, line, sizeof line);
    ck_assert_str_eq(line, "progress:  25 %, 250 of 1000, 2 failed, 0:25 in all\n");
    progress = (mproc_progress){.done = 999, .total = 1000, .elapsed_ns = INT64_C(999000000)};
    bar_write(&progress, "frames", line, sizeof line);
    ck_assert_str_eq(line, "frames:  99 %, 999 of 1000, 0:00 left\n");
    progress = (mproc_progress){.done = 500, .elapsed_ns = INT64_C(10000000000)};
    bar_write(&progress, "lines", line, sizeof line);
    ck_assert_str_eq(line, "lines: 500, 50/s\n");
    progress = (mproc_progress){.total = 10};
    bar_write(&progress, "none", line, sizeof line);
    ck_assert_str_eq(line, "none:   0 %, 0 of 10\n");
    bar_write(NULL, "none", line, sizeof line);
    ck_assert_str_eq(line, "");
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_map_over_arrays_tells_how_far_it_is, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, results_tell_how_many_were_read, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, of_a_source_the_total_is_unknown, METHODS_FIRST, METHODS);
    tcase_add_test(all, the_bar_is_a_plain_line_where_there_is_no_terminal);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "progress", add);
}
