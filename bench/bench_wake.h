/* SPDX-License-Identifier: BSD-2-Clause */
/* Asleep latencies: how long a process that sleeps takes to run after another one posts.
 *
 * One way, with 100 us before the post: there and back in a row measures whether the wake came before the sleep. The
 * sleeper runs in a forked process on side 1, the poster here on side 0. */
#ifndef MPROC__BENCH_WAKE_H
#define MPROC__BENCH_WAKE_H

typedef struct bench_wake {
    /* Sleeper: returns when the post came; then it may ready what it waits for the next time. 0, or 1 to 255: failed. */
    int (*wait)(void *context);
    int (*rearm)(void *context); /* sleeper, not measured; or NULL */
    int (*post)(void *context);  /* poster; 0, or failed */
    void *context;               /* made before the fork */
} bench_wake;

enum { BENCH_WAKES = 2000 };

/* From just before the post to the sleeper's return, in nanoseconds: the median of BENCH_WAKES. Negative: failed. */
double bench_wake_ns(const bench_wake *of);
/* The same of a bare futex: wait on a word, store and wake. */
double bench_wake_futex_ns(void);
/* Forks processes that run `join` once (0: done) and then sleep until bench_crowd_end. False: failed. */
typedef struct bench_crowd {
    int pids[128];
    unsigned count;
} bench_crowd;
bool bench_crowd_start(unsigned count, int (*join)(void *context), void *context, bench_crowd *ret_crowd);
void bench_crowd_end(bench_crowd *crowd);

/* What sleeping costs: the CPUs that 100 forked processes use which all sleep in `sleep`, once they do. */
double bench_sleepers_cpus(int (*sleep)(void *context), void *context);
/* Its peer: one CPU, which is 1. What as many on a bare futex use is said on stderr. */
double bench_one_cpu(void);

#endif
