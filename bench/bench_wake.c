/* SPDX-License-Identifier: BSD-2-Clause */
/* Waking a sleeper, one way; an event beside a bare futex; and what sleeping costs. */
#include "platform/base.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <mproc.h>

#include "bench.h"
#include "bench_wake.h"

enum {
    BEFORE_POST_NS = 100000,
    DEADLINE_MS = 20000,
    CROWD = 98, /* with poster and sleeper 100 */
    SLEEPERS = 100,
    SLEEP_MS = 3000
};

/* ---- one way ---- */

typedef struct trips_shared {
    _Atomic uint32_t ready; /* sleeper: about to wait for this trip, 1.. */
    _Atomic int64_t posted_ns;
    _Atomic uint32_t failed;
    double took_ns[BENCH_WAKES];
} trips_shared;

typedef struct trips {
    const bench_wake *of;
    trips_shared *shared;
} trips;

static int trips_child(void *context)
{
    trips *t = context;
    for (uint32_t i = 0; i < BENCH_WAKES; i++) {
        atomic_store(&t->shared->ready, i + 1);
        int code = t->of->wait(t->of->context);
        t->shared->took_ns[i] = (double)(bench_now_ns() - atomic_load(&t->shared->posted_ns));
        if (code == 0 && t->of->rearm)
            code = t->of->rearm(t->of->context);
        if (code != 0) {
            atomic_store(&t->shared->failed, 1);
            return code;
        }
    }
    return 0;
}

/* The other side falls asleep meanwhile. At work where there is a CPU for each; else it needs this one. */
static void pause_before_post(void)
{
    struct timespec pause = {.tv_nsec = BEFORE_POST_NS};
    int64_t start_ns = bench_now_ns();
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        nanosleep(&pause, NULL);
    while (bench_now_ns() - start_ns < BEFORE_POST_NS)
        ;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double trips_parent(void *context)
{
    trips *t = context;
    for (uint32_t i = 0; i < BENCH_WAKES; i++) {
        while (atomic_load(&t->shared->ready) != i + 1 && !atomic_load(&t->shared->failed))
            sched_yield();
        pause_before_post();
        atomic_store(&t->shared->posted_ns, bench_now_ns());
        if (atomic_load(&t->shared->failed) || t->of->post(t->of->context) != 0)
            return -1;
    }
    return 0;
}

double bench_wake_ns(const bench_wake *of)
{
    trips t = {.of = of};
    t.shared = mmap(NULL, sizeof(*t.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (t.shared == MAP_FAILED)
        return -1;
    double figure = bench_pair(trips_parent, trips_child, &t);
    if (figure >= 0) {
        qsort(t.shared->took_ns, BENCH_WAKES, sizeof(double), by_value);
        figure = t.shared->took_ns[BENCH_WAKES / 2];
    }
    munmap(t.shared, sizeof(*t.shared));
    return figure;
}

/* ---- the bare futex ---- */

typedef struct bare_shared {
    _Atomic uint32_t posted;
} bare_shared;

static int bare_wait(void *context)
{
    bare_shared *bare = context;
    while (atomic_load(&bare->posted) == 0)
        syscall(SYS_futex, &bare->posted, FUTEX_WAIT, 0, NULL, NULL, 0);
    return 0;
}

static int bare_rearm(void *context)
{
    bare_shared *bare = context;
    atomic_store(&bare->posted, 0);
    return 0;
}

static int bare_post(void *context)
{
    bare_shared *bare = context;
    atomic_store(&bare->posted, 1);
    return syscall(SYS_futex, &bare->posted, FUTEX_WAKE, INT_MAX, NULL, NULL, 0) < 0;
}

double bench_wake_futex_ns(void)
{
    bare_shared *bare = mmap(NULL, sizeof(*bare), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bare == MAP_FAILED)
        return -1;
    double figure = bench_wake_ns(
        &(bench_wake){.wait = bare_wait, .rearm = bare_rearm, .post = bare_post, .context = bare});
    munmap(bare, sizeof(*bare));
    return figure;
}

/* ---- a crowd of participants ---- */

static void crowd_main(int (*join)(void *context), void *context, int joined)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char code = (char)join(context);
    if (write(joined, &code, 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

static bool crowd_add(int (*join)(void *context), void *context, bench_crowd *crowd)
{
    int ends[2];
    char code = 1;
    if (pipe(ends) != 0)
        return false;
    pid_t pid = fork();
    if (pid == 0)
        crowd_main(join, context, ends[1]);
    close(ends[1]);
    if (pid > 0)
        crowd->pids[crowd->count++] = pid;
    bool joined = pid > 0 && read(ends[0], &code, 1) == 1 && code == 0;
    close(ends[0]);
    return joined;
}

bool bench_crowd_start(unsigned count, int (*join)(void *context), void *context, bench_crowd *ret_crowd)
{
    ret_crowd->count = 0;
    while (ret_crowd->count < count)
        if (!crowd_add(join, context, ret_crowd)) {
            bench_crowd_end(ret_crowd);
            return false;
        }
    return true;
}

void bench_crowd_end(bench_crowd *crowd)
{
    for (unsigned i = 0; i < crowd->count; i++)
        kill(crowd->pids[i], SIGKILL);
    for (unsigned i = 0; i < crowd->count; i++)
        waitpid(crowd->pids[i], NULL, 0);
    crowd->count = 0;
}

/* ---- the event ---- */

static int event_wait(void *context)
{
    return mproc_event_wait(context, mproc_after_ms(DEADLINE_MS)) == 0 ? 0 : 1;
}

static int event_rearm(void *context)
{
    return mproc_event_clear(context) == 0 ? 0 : 1;
}

static int event_post(void *context)
{
    return mproc_event_set(context);
}

static int event_join(void *context)
{
    return mproc_event_clear(context) == 0 ? 0 : 1;
}

static double event_ns(unsigned others)
{
    mproc_event *event;
    bench_crowd crowd = {.count = 0};
    double figure = -1;
    if (mproc_event_create(NULL, NULL, &event) < 0)
        return -1;
    if (bench_crowd_start(others, event_join, event, &crowd))
        figure = bench_wake_ns(
            &(bench_wake){.wait = event_wait, .rearm = event_rearm, .post = event_post, .context = event});
    bench_crowd_end(&crowd);
    mproc_event_close(&event);
    return figure;
}

static double event_alone(void)
{
    return event_ns(0);
}

static double event_in_a_crowd(void)
{
    return event_ns(CROWD);
}

/* ---- what sleeping costs ---- */

/* Nanoseconds on a CPU since its start. */
static double cpu_ns(int pid)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
        return -1;
    return (double)used.tv_sec * 1e9 + (double)used.tv_nsec;
}

static double crowd_cpu_ns(const bench_crowd *crowd)
{
    double sum = 0;
    for (unsigned i = 0; i < crowd->count; i++) {
        double one = cpu_ns(crowd->pids[i]);
        if (one < 0)
            return -1;
        sum += one;
    }
    return sum;
}

double bench_sleepers_cpus(int (*sleep)(void *context), void *context)
{
    bench_crowd crowd = {.count = 0};
    for (unsigned i = 0; i < SLEEPERS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            _exit(sleep(context));
        }
        if (pid > 0)
            crowd.pids[crowd.count++] = pid;
    }
    double before, after = crowd_cpu_ns(&crowd);
    do { /* each newcomer wakes those who came before: until all are at rest */
        before = after;
        poll(NULL, 0, 200);
        after = crowd_cpu_ns(&crowd);
    } while (after >= 0 && after - before > 1e6);
    int64_t start_ns = bench_now_ns();
    before = after;
    poll(NULL, 0, SLEEP_MS);
    after = crowd_cpu_ns(&crowd);
    double figure = (after - before) / (double)(bench_now_ns() - start_ns);
    bool all = crowd.count == SLEEPERS && before >= 0 && after >= 0;
    bench_crowd_end(&crowd);
    return all ? figure : -1;
}

static double sleeping(void)
{
    mproc_event *event;
    if (mproc_event_create(NULL, NULL, &event) < 0)
        return -1;
    double figure = bench_sleepers_cpus(event_wait, event);
    mproc_event_close(&event);
    return figure;
}

static void *event_join_thread(void *context)
{
    return (void *)(intptr_t)event_join(context);
}

/* A participant whose thread has ended: its death wakes nobody by itself. */
static int event_join_and_end(void *context)
{
    pthread_t thread;
    void *code;
    if (pthread_create(&thread, NULL, event_join_thread, context) != 0)
        return 1;
    pthread_join(thread, &code);
    return (int)(intptr_t)code;
}

static double sleeping_beside_an_ended_thread(void)
{
    mproc_event *event;
    bench_crowd crowd = {.count = 0};
    double figure = -1;
    if (mproc_event_create(NULL, NULL, &event) < 0)
        return -1;
    if (bench_crowd_start(1, event_join_and_end, event, &crowd))
        figure = bench_sleepers_cpus(event_wait, event);
    bench_crowd_end(&crowd);
    mproc_event_close(&event);
    return figure;
}

/* What can be used: one CPU. Processes asleep on a bare futex use nothing at all, which divides badly; they are said on
 * stderr. */
double bench_one_cpu(void)
{
    bare_shared *bare = mmap(NULL, sizeof(*bare), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bare == MAP_FAILED)
        return -1;
    fprintf(stderr, "bench:   %d in a bare futex use %.3g CPUs\n", (int)SLEEPERS,
            bench_sleepers_cpus(bare_wait, bare));
    munmap(bare, sizeof(*bare));
    return 1;
}

const bench_case bench_event = {.name = "sync-event",
                                .unit = "ns",
                                .peer = "futex",
                                .ours = event_alone,
                                .theirs = bench_wake_futex_ns,
                                .goal = 1.1,
                                .floor = 1.3,
                                .sense = BENCH_MAX};

const bench_case bench_event_100 = {.name = "sync-event-100",
                                    .unit = "ns",
                                    .peer = "futex",
                                    .ours = event_in_a_crowd,
                                    .theirs = bench_wake_futex_ns,
                                    .goal = 1.5,
                                    .floor = 1.8,
                                    .sense = BENCH_MAX};

const bench_case bench_sleepers_late = {.name = "sync-sleepers-late",
                                        .unit = "CPUs",
                                        .peer = "one CPU",
                                        .ours = sleeping_beside_an_ended_thread,
                                        .theirs = bench_one_cpu,
                                        .goal = 0.001,
                                        .floor = 0.01,
                                        .sense = BENCH_MAX};

const bench_case bench_sleepers = {.name = "sync-sleepers",
                                   .unit = "CPUs",
                                   .peer = "one CPU",
                                   .ours = sleeping,
                                   .theirs = bench_one_cpu,
                                   .goal = 0.001,
                                   .floor = 0.01,
                                   .sense = BENCH_MAX};
