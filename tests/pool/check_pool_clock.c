/* SPDX-License-Identifier: BSD-2-Clause */
/* The wall clock is stepped by a day while a pool works, waits, stops tasks and ends: nothing comes of it.
 *
 * Each case runs in a program of its own (`check_pool_clock step CASE METHOD STEP`) whose clock is another's; the pool's
 * supervisor and workers have that clock, too. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mproc/wait.h>

#include "platform/platform.h"
#include "pool/pool_common.h"
#include "process/launch.h"
#include "support/wall_clock.h"

/* A day is what must not be waited; how late a loaded machine is says nothing here. */
enum { WAIT_MS = 150, LATE_MS = 2000, LIMIT_MS = 10000, GRACE_MS = 20, SETUP_FAILED = 1 };

static const char *const steps[] = {"+86400", "-86400"};

/* ---- the program under the false clock ---- */

typedef struct scene {
    mproc_start method;
    const char *step;
    pid_t waiter;
    mproc_pool *pool;   /* one worker, two places */
    mproc_future *busy; /* runs until it is stopped */
    mproc_results *results;
} scene;

typedef struct clock_case {
    const char *name;
    int (*prepare)(scene *s); /* NULL: nothing beyond the pool */
    int (*block)(scene *s);   /* blocks for WAIT_MS */
    int expected;
} clock_case;

static mproc_deadline limit(void)
{
    return mproc_after_ms((uint64_t)support_ms(LIMIT_MS));
}

/* Once the waiter sleeps. */
static int step_clock(void *context)
{
    const scene *s = context;
    return support_until_asleep(s->waiter, 5000) && wall_clock_set(s->step) == 0 ? 0 : 1;
}

/* While the clock makes its step: 0, or which check failed. */
static int block_through_step(scene *s, const clock_case *of)
{
    time_t before = time(NULL);
    pid_t stepper = support_fork(step_clock, s);
    int64_t began_ns = mproc__now_ns();
    int rc = of->block(s);
    int64_t took_ms = (mproc__now_ns() - began_ns) / 1000000;
    if (support_reap(stepper, 5000) != 0 || !wall_clock_stepped(before))
        return 10;
    if (rc != of->expected)
        return 11;
    return took_ms < WAIT_MS || took_ms > WAIT_MS + support_ms(LATE_MS) ? 12 : 0;
}

static int make_busy(scene *s)
{
    int rc = mproc_pool_submit(s->pool, task_until_stopped, MPROC_NONE, NULL, &s->busy);
    return rc == 0 && support_until(is_running, s->busy, LIMIT_MS) ? 0 : SETUP_FAILED;
}

static int make_full(scene *s)
{
    mproc_future *queued = NULL;
    int rc = make_busy(s);
    if (rc == 0)
        rc = mproc_pool_submit(s->pool, task_square, MPROC_ARGS(3), NULL, &queued);
    mproc_future_close(&queued);
    return rc;
}

static int blocks_in_submit(scene *s)
{
    mproc_future *future = NULL;
    return mproc_pool_submit(s->pool, task_square, MPROC_ARGS(3),
                             MPROC_WITH(mproc_task_options, .submit_deadline = mproc_after_ms(WAIT_MS)),
                             &future);
}

static int blocks_in_future_wait(scene *s)
{
    return mproc_future_wait(s->busy, mproc_after_ms(WAIT_MS));
}

static int blocks_in_result(scene *s)
{
    return mproc_future_result(s->busy, mproc_after_ms(WAIT_MS), NULL);
}

static int blocks_in_wait(scene *s)
{
    mproc_wait_item item = {.handle = s->busy};
    return mproc_wait(&item, 1, MPROC_WAIT_ANY, mproc_after_ms(WAIT_MS), NULL);
}

static int outcome(scene *s, mproc_fn *fn, const mproc_task_options *options)
{
    mproc_future *future = NULL;
    int rc = mproc_pool_submit(s->pool, fn, MPROC_NONE, options, &future);
    if (rc == 0)
        rc = mproc_future_result(future, limit(), NULL);
    mproc_future_close(&future);
    return rc;
}

static int blocks_until_too_late_to_begin(scene *s)
{
    return outcome(s, task_self, MPROC_WITH(mproc_task_options, .begin_by = mproc_after_ms(WAIT_MS)));
}

static int blocks_for_a_time_limit(scene *s)
{
    return outcome(s, task_until_stopped, MPROC_WITH(mproc_task_options, .time_limit_ms = WAIT_MS));
}

static int task_ignores(mproc_call *call)
{
    signal(SIGTERM, SIG_IGN);
    return task_hang(call);
}

/* The limit, half the grace, SIGTERM, all of it, SIGKILL. */
static int blocks_for_a_grace(scene *s)
{
    if (s->method == MPROC_START_THREAD)
        return blocks_for_a_time_limit(s);
    return outcome(s, task_ignores,
                   MPROC_WITH(mproc_task_options, .time_limit_ms = WAIT_MS - GRACE_MS, .grace_ms = GRACE_MS,
                              .retries = 3));
}

/* What looks when it is stopped sees the end of the drain, too. */
static int blocks_in_stop(scene *s)
{
    size_t dropped = 0;
    int rc = mproc_pool_stop(s->pool, true, mproc_after_ms(WAIT_MS), &dropped);
    return rc == 0 && dropped != 1 ? -EPROTO : rc;
}

static int start_results(scene *s, mproc_deadline deadline)
{
    const mproc_variant item = mproc_int(1);
    return mproc_pool_map_variants(s->pool, task_until_stopped, &item, 1,
                                   MPROC_WITH(mproc_map_options, .deadline = deadline), &s->results);
}

static int make_results(scene *s)
{
    return start_results(s, MPROC_FOREVER);
}

static int blocks_in_results_next(scene *s)
{
    mproc_result result;
    return mproc_results_next(s->results, mproc_after_ms(WAIT_MS), &result);
}

static int blocks_for_a_maps_deadline(scene *s)
{
    mproc_result result;
    int rc = start_results(s, mproc_after_ms(WAIT_MS));
    return rc < 0 ? rc : mproc_results_next(s->results, limit(), &result);
}

static int item_until_stopped(mproc_call *call, const void *in, void *out)
{
    (void)in;
    (void)out;
    return task_until_stopped(call);
}

static int blocks_in_map(scene *s)
{
    int in = 0, out;
    return mproc_pool_map(s->pool, item_until_stopped, &in, sizeof in, &out, sizeof out, 1,
                          MPROC_WITH(mproc_map_options, .time_limit_ms = WAIT_MS));
}

static void note_elapsed(void *context, const mproc_progress *progress)
{
    int64_t *elapsed_ns = context;
    *elapsed_ns = progress->elapsed_ns;
}

/* The time that is told is that of the monotonic clock. */
static int blocks_in_map_with_progress(scene *s)
{
    int in = 0, out;
    int64_t elapsed_ns = -1;
    int rc = mproc_pool_map(s->pool, item_until_stopped, &in, sizeof in, &out, sizeof out, 1,
                            MPROC_WITH(mproc_map_options, .time_limit_ms = WAIT_MS, .progress = note_elapsed,
                                       .progress_context = &elapsed_ns, .progress_ms = 1));
    int64_t elapsed_ms = elapsed_ns / 1000000;
    return elapsed_ms < WAIT_MS || elapsed_ms > LIMIT_MS ? -EPROTO : rc;
}

static const clock_case cases[] = {
    {"submit", make_full, blocks_in_submit, -ETIMEDOUT},
    {"future_wait", make_busy, blocks_in_future_wait, -ETIMEDOUT},
    {"future_result", make_busy, blocks_in_result, -ETIMEDOUT},
    {"wait", make_busy, blocks_in_wait, -ETIMEDOUT},
    {"begin_by", make_busy, blocks_until_too_late_to_begin, -ETIME},
    {"time_limit_ms", NULL, blocks_for_a_time_limit, -ETIME},
    {"grace_ms", NULL, blocks_for_a_grace, -ETIME},
    {"stop", make_busy, blocks_in_stop, 0},
    {"results_next", make_results, blocks_in_results_next, -ETIMEDOUT},
    {"deadline of a map", NULL, blocks_for_a_maps_deadline, -ETIME},
    {"time limit of an item", NULL, blocks_in_map, -ETIME},
    {"progress", NULL, blocks_in_map_with_progress, -ETIME},
};

static int scene_close(scene *s)
{
    mproc_results_close(&s->results);
    if (s->busy)
        (void)mproc_future_cancel(s->busy, true);
    mproc_future_close(&s->busy);
    int rc = mproc_pool_stop(s->pool, false, limit(), NULL);
    mproc_pool_close(&s->pool);
    return rc == 0 ? 0 : 20;
}

static int step_main(char **argv)
{
    const clock_case *of = &cases[atoi(argv[2])];
    scene s = {.method = (mproc_start)atoi(argv[3]), .step = argv[4], .waiter = getpid()};
    if (mproc_pool_create(
            MPROC_WITH(mproc_pool_options, .start = s.method, .workers = 1, .max_queued_tasks = 2), &s.pool) <
        0)
        return SETUP_FAILED;
    int code = of->prepare && of->prepare(&s) != 0 ? SETUP_FAILED : block_through_step(&s, of);
    int ended = scene_close(&s);
    return code ? code : ended;
}

/* Deaths of the last minute are those of sixty seconds, whatever the day. */
static int deaths_main(char **argv)
{
    enum { DEATHS_MOST = 2 };
    mproc_pool *pool = NULL;
    mproc_future *future = NULL;
    int code = 0;
    if (mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = (mproc_start)atoi(argv[3]), .workers = 1,
                                     .restarts_per_minute = DEATHS_MOST),
                          &pool) < 0)
        return SETUP_FAILED;
    for (int i = 0; i <= DEATHS_MOST && code == 0; i++) {
        if (mproc_pool_submit(pool, task_abort, MPROC_NONE, NULL, &future) < 0 ||
            mproc_future_result(future, limit(), NULL) != MPROC_EDIED || wall_clock_set(argv[4]) != 0)
            code = 30;
        mproc_future_close(&future);
    }
    if (code == 0 && mproc_pool_submit(pool, task_square, MPROC_ARGS(3), NULL, &future) == 0 &&
        mproc_future_result(future, limit(), NULL) != MPROC_EDIED)
        code = 31;
    mproc_future_close(&future);
    mproc_pool_close(&pool);
    return code;
}

/* ---- the tests ---- */

typedef struct choice {
    const char *what;
    unsigned which, method, step;
} choice;

static int become_stepped(void *context)
{
    const choice *c = context;
    char which[16], method[16], what[16], program[] = "check_pool_clock", by[16];
    snprintf(what, sizeof what, "%s", c->what);
    snprintf(which, sizeof which, "%u", c->which);
    snprintf(method, sizeof method, "%d", (int)pool_methods[c->method]);
    snprintf(by, sizeof by, "%s", steps[c->step]);
    wall_clock_exec((char *[]){program, what, which, method, by, NULL});
    return 127;
}

static void run_stepped(const choice *c)
{
    ck_assert_int_eq(wall_clock_begin(support_directory()), 0);
    int status = support_reap(support_fork(become_stepped, (void *)(uintptr_t)c), 30000);
    ck_assert_msg(status == 0, "%s, method %u, %s s: %d", c->which ? cases[c->which].name : c->what,
                  c->method, steps[c->step], status);
    support_children_kill();
}

/* Each case both ways, by two of the methods each.
 * shows: TIME-1 */
START_TEST(a_day_forward_or_back_moves_no_deadline_of_a_pool)
{
    unsigned which = (unsigned)_i / METHODS, method = (unsigned)_i % METHODS;
    choice c = {"step", which, method, (which + method / 2 + method) % 2};
    run_stepped(&c);
}
END_TEST

/* shows: TIME-1 */
START_TEST(a_day_forward_or_back_forgets_no_death)
{
    unsigned index = (unsigned)_i;
    choice c = {"deaths", 0, index / 2, index % 2};
    run_stepped(&c);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    if (argc == 5)
        return strcmp(argv[1], "deaths") == 0 ? deaths_main(argv) : step_main(argv);
    if (!wall_clock_usable())
        return WALL_CLOCK_SKIPPED;
    Suite *suite = suite_create("pool clock");
    TCase *all = support_case(suite, "steps");
    tcase_set_timeout(all, 40);
    tcase_add_loop_test(all, a_day_forward_or_back_moves_no_deadline_of_a_pool, 0,
                        METHODS * (int)MPROC__COUNT(cases));
    tcase_add_loop_test(all, a_day_forward_or_back_forgets_no_death, 0, 2 * METHODS_OF_PROCESSES);
    return support_run(suite, argc, argv);
}
