/* SPDX-License-Identifier: BSD-2-Clause */
/* Sleepers beside a process that dies slowly: its thread on the life word is gone and buried, another one is still on the
 * kernel's queues, dying, because others have its CPU. What is meant for the living must not end with it. */
#include "platform/base.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/segment_inside.h"
#include "support/support.h"

/* A sleeper that missed its wake looks again by itself after 5 s: WAIT_MS is less. */
enum { WAIT_MS = 4000, HOG_MS = 400, CPUS = 2, THREADS = 4, ROUNDS = 40 };

typedef struct scratch {
    mproc__eventcount_shared event;
    mproc__eventcount_shared never;
    _Atomic int value;
    _Atomic int ready;
    _Atomic int hog_stops;
    _Atomic unsigned swept;
} scratch;

static mproc__segment *segment;
static scratch *shared;
static int cpus[CPUS]; /* two that this program may use; the same twice where there is but one */

static int count_sweep(mproc__segment *swept, unsigned row, void *context)
{
    (void)swept;
    (void)row;
    (void)context;
    atomic_fetch_add(&shared->swept, 1);
    return 0;
}

static void make(void)
{
    ck_assert_int_eq(
        mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "late", sizeof(scratch), 0, &segment), 0);
    shared = mproc__segment_root(segment);
    mproc__segment_on_sweep(segment, count_sweep, NULL);
}

static void find_cpus(void)
{
    cpu_set_t allowed;
    int found = 0;
    ck_assert_int_eq(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE && found < CPUS; cpu++)
        if (CPU_ISSET(cpu, &allowed))
            cpus[found++] = cpu;
    if (found == 1)
        cpus[1] = cpus[0];
}

static void stay_on(int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
}

/* Until *value reaches least: 0, or -ETIMEDOUT. */
static int wait_for(mproc__eventcount_shared *event, const _Atomic int *value, int least,
                    mproc_deadline deadline)
{
    int code = 0;
    while (code == 0) {
        uint32_t ticket = mproc__eventcount_prepare(event);
        if (atomic_load(value) >= least)
            return 0;
        code = mproc__segment_wait(segment, event, ticket, deadline);
    }
    return code;
}

static bool all_ready(void *wanted)
{
    return atomic_load(&shared->ready) >= *(int *)wanted;
}

static void *sleep_for_ever(void *cpu)
{
    static const _Atomic int nothing;
    if (cpu)
        stay_on(*(int *)cpu);
    atomic_fetch_add(&shared->ready, 1);
    wait_for(&shared->never, &nothing, 1, MPROC_FOREVER);
    return NULL;
}

/* The first thread is on the life word, the others sleep: on one CPU, or (NULL) on any. */
static int sleep_in_threads(void *cpu)
{
    pthread_t thread;
    if (mproc__segment_join(segment) < 0)
        return 1;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&thread, NULL, sleep_for_ever, cpu) != 0)
            return 2;
    for (;;)
        pause();
}

static int join_and_stay(void *unused)
{
    (void)unused;
    if (mproc__segment_join(segment) < 0)
        return 1;
    atomic_fetch_add(&shared->ready, 1);
    for (;;)
        pause();
}

static int sleep_until_value(void *unused)
{
    (void)unused;
    return wait_for(&shared->event, &shared->value, 1, mproc_after_ms(support_ms(WAIT_MS))) != 0;
}

/* Has the CPU before all ordinary threads. Without the right to that it takes its share, and the test shows less. */
static int hog(void *unused)
{
    (void)unused;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    stay_on(cpus[1]);
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
    int64_t end_ns = mproc__now_ns() + HOG_MS * INT64_C(1000000);
    atomic_fetch_add(&shared->ready, 1);
    while (atomic_load(&shared->hog_stops) == 0 && mproc__now_ns() < end_ns)
        ;
    return 0;
}

static bool is_swept(void *unused)
{
    (void)unused;
    return atomic_load(&shared->swept) > 0;
}

/* As a poster that is killed between its commit and its wake. */
static void commit_and_kill(pid_t poster)
{
    atomic_store(&shared->value, 1);
    support_kill(poster);
}

START_TEST(a_thread_that_dies_late_takes_no_wake_with_it)
{
    int wanted = 1;
    make();
    find_cpus();
    stay_on(cpus[0]);
    pid_t poster = support_fork(join_and_stay, NULL);
    ck_assert(support_until(all_ready, &wanted, 5000));
    pid_t threads = support_fork(sleep_in_threads, &cpus[1]);
    wanted += THREADS;
    ck_assert(support_until(all_ready, &wanted, 5000));
    pid_t sleeper = support_fork(sleep_until_value, NULL);
    ck_assert(support_until_asleep(sleeper, 5000));
    pid_t busy = cpus[0] == cpus[1] ? 0 : support_fork(hog, NULL);
    wanted += busy != 0;
    ck_assert(support_until(all_ready, &wanted, 5000));
    kill(threads, SIGKILL);
    ck_assert(support_until(is_swept, NULL, 5000));
    ck_assert(support_until_asleep(sleeper, 5000));
    commit_and_kill(poster);
    int status = support_reap(sleeper, 15000);
    atomic_store(&shared->hog_stops, 1);
    ck_assert_int_eq(status, 0);
    ck_assert(busy == 0 || support_reap(busy, 5000) == 0);
    ck_assert_int_eq(support_reap(threads, 5000), 256 + SIGKILL);
    mproc__segment_release(segment);
}
END_TEST

/* The same by chance, in any order. */
START_TEST(processes_with_sleeping_threads_and_posters_may_die_together)
{
    for (int round = 0; round < ROUNDS; round++) {
        int wanted = 1 + THREADS;
        make();
        pid_t threads = support_fork(sleep_in_threads, NULL);
        pid_t poster = support_fork(join_and_stay, NULL);
        pid_t sleeper = support_fork(sleep_until_value, NULL);
        ck_assert(support_until(all_ready, &wanted, 5000));
        ck_assert(support_until_asleep(sleeper, 5000));
        kill(threads, SIGKILL);
        if (round % 2)
            sched_yield();
        commit_and_kill(poster);
        ck_assert_int_eq(support_reap(sleeper, 15000), 0);
        ck_assert_int_eq(support_reap(threads, 5000), 256 + SIGKILL);
        mproc__segment_release(segment);
    }
}
END_TEST

static bool rows_are_free(void *unused)
{
    (void)unused;
    (void)mproc__segment_sweep(segment);
    for (unsigned row = 0; row < mproc__segment_rows(segment); row++)
        if (mproc__segment_row_pid(segment, row))
            return false;
    return true;
}

START_TEST(the_row_of_a_process_with_sleeping_threads_is_free_once_it_is_gone)
{
    int wanted = THREADS;
    make();
    pid_t threads = support_fork(sleep_in_threads, NULL);
    ck_assert(support_until(all_ready, &wanted, 5000));
    support_kill(threads);
    ck_assert(support_until(rows_are_free, NULL, 5000));
    ck_assert_uint_ge(shared->swept, 1);
    mproc__segment_release(segment);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("late");
    TCase *late = support_case(suite, "late");
    tcase_add_test(late, a_thread_that_dies_late_takes_no_wake_with_it);
    tcase_add_test(late, processes_with_sleeping_threads_and_posters_may_die_together);
    tcase_add_test(late, the_row_of_a_process_with_sleeping_threads_is_free_once_it_is_gone);
    return support_run(suite, argc, argv);
}
