/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue: how long a sleeping consumer takes to run, and what sleeping costs. */
#include "platform/base.h"

#include <stdio.h>

#include "bench.h"
#include "bench_queue.h"
#include "bench_wake.h"

/* Two of the participants are the poster and the sleeper. */
enum { SOME = 16 - 2, MANY = 100 - 2 };

static int queue_wait(void *context)
{
    char byte;
    return mproc_queue_get(context, &byte, 1, mproc_after_ms(BENCH_QUEUE_DEADLINE_MS), NULL) == 0 ? 0 : 1;
}

static int queue_post(void *context)
{
    return mproc_queue_put(context, "", 1, mproc_after_ms(BENCH_QUEUE_DEADLINE_MS));
}

/* Whoever has slept once has a row, and a life that the sleeper watches. */
static int queue_join(void *context)
{
    char byte;
    return mproc_queue_get(context, &byte, 1, mproc_after_ms(1), NULL) == -ETIMEDOUT ? 0 : 1;
}

static double wake_ns(unsigned others)
{
    mproc_queue *queue = bench_queue_open(NULL);
    bench_crowd crowd = {.count = 0};
    double figure = -1;
    if (queue && bench_crowd_start(others, queue_join, queue, &crowd))
        figure = bench_wake_ns(&(bench_wake){.wait = queue_wait, .post = queue_post, .context = queue});
    bench_crowd_end(&crowd);
    mproc_queue_close(&queue);
    return figure;
}

static double wake_alone(void)
{
    return wake_ns(0);
}

static double wake_among_some(void)
{
    return wake_ns(SOME);
}

static double wake_among_many(void)
{
    return wake_ns(MANY);
}

static double asleep(void)
{
    mproc_queue *queue = bench_queue_open(NULL);
    double figure = queue ? bench_sleepers_cpus(queue_wait, queue) : -1;
    mproc_queue_close(&queue);
    return figure;
}

const bench_case bench_queue_wake = {.name = "queue-wake",
                                     .unit = "ns",
                                     .peer = "futex",
                                     .ours = wake_alone,
                                     .theirs = bench_wake_futex_ns,
                                     .goal = 1.1,
                                     .floor = 1.3,
                                     .sense = BENCH_MAX};

const bench_case bench_queue_wake_16 = {.name = "queue-wake-16",
                                        .unit = "ns",
                                        .peer = "futex",
                                        .ours = wake_among_some,
                                        .theirs = bench_wake_futex_ns,
                                        .goal = 1.1,
                                        .floor = 1.3,
                                        .sense = BENCH_MAX};

const bench_case bench_queue_wake_100 = {.name = "queue-wake-100",
                                         .unit = "ns",
                                         .peer = "futex",
                                         .ours = wake_among_many,
                                         .theirs = bench_wake_futex_ns,
                                         .goal = 1.5,
                                         .floor = 1.8,
                                         .sense = BENCH_MAX};

/* A hundred, so that the figure of one, which is too small to be measured, is a hundredth of a hundredth. */
const bench_case bench_queue_sleepers = {.name = "queue-sleepers",
                                         .unit = "CPUs",
                                         .peer = "one CPU",
                                         .ours = asleep,
                                         .theirs = bench_one_cpu,
                                         .goal = 0.001,
                                         .floor = 0.01,
                                         .sense = BENCH_MAX};
