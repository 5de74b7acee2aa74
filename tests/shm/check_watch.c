/* SPDX-License-Identifier: BSD-2-Clause */
/* Sleepers beside a row whose thread has ended while its process lives: one of them looks after it, for all. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <linux/futex.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/segment_inside.h"
#include "support/support.h"

/* A sleeper that nobody tells looks again by itself after 5 s: WAIT_MS is less. */
enum { WAIT_MS = 4000, SLEEPERS = 12, SLICE_MS = 40, MEASURED_MS = 1000, SETTLING = 8 };

typedef struct scratch {
    mproc__eventcount_shared events[SLEEPERS];
    _Atomic int values[SLEEPERS];
    mproc__eventcount_shared start;
    _Atomic int started;
    _Atomic int ready;
    _Atomic long switches;
} scratch;

static mproc__segment *segment;
static scratch *shared;
static pid_t sleepers[SLEEPERS];

static void make(void)
{
    ck_assert_int_eq(
        mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "watch", sizeof(scratch), 0, &segment), 0);
    shared = mproc__segment_root(segment);
}

/* Until *value is set: 0, or -ETIMEDOUT. */
static int wait_for(mproc__eventcount_shared *event, const _Atomic int *value, mproc_deadline deadline)
{
    int code = 0;
    while (code == 0) {
        uint32_t ticket = mproc__eventcount_prepare(event);
        if (atomic_load(value))
            return 0;
        code = mproc__segment_wait(segment, event, ticket, deadline);
    }
    return code;
}

static void *join_in_thread(void *unused)
{
    (void)unused;
    mproc__segment_join(segment);
    return NULL;
}

/* A participant without a life word. */
static int hand_back_and_stay(void *unused)
{
    (void)unused;
    pthread_t thread;
    if (pthread_create(&thread, NULL, join_in_thread, NULL) != 0)
        return 1;
    pthread_join(thread, NULL);
    atomic_fetch_add(&shared->ready, 1);
    for (;;)
        pause();
}

static bool is_ready(void *unused)
{
    (void)unused;
    return atomic_load(&shared->ready) > 0;
}

static int sleep_for_own(void *number)
{
    int own = *(int *)number;
    return wait_for(&shared->events[own], &shared->values[own], mproc_after_ms(support_ms(60000))) != 0;
}

static int sleep_and_count(void *number)
{
    struct rusage before, after;
    int own = *(int *)number;
    if (wait_for(&shared->start, &shared->started, mproc_after_ms(support_ms(15000))) != 0)
        return 1;
    getrusage(RUSAGE_SELF, &before);
    if (wait_for(&shared->events[own], &shared->values[own], mproc_after_ms(MEASURED_MS)) != -ETIMEDOUT)
        return 2;
    getrusage(RUSAGE_SELF, &after);
    atomic_fetch_add(&shared->switches, after.ru_nvcsw - before.ru_nvcsw);
    return 0;
}

static pid_t start(support_fn *sleep)
{
    pid_t without = support_fork(hand_back_and_stay, NULL);
    ck_assert(support_until(is_ready, NULL, 5000));
    for (int i = 0; i < SLEEPERS; i++)
        sleepers[i] = support_fork(sleep, &i);
    return without;
}

static void set(int number)
{
    atomic_store(&shared->values[number], 1);
    mproc__eventcount_post(&shared->events[number], true);
}

/* Which sleeper looks after the row; -1: none at the moment. */
static int watchman(void)
{
    uint32_t word = atomic_load(mproc__robust_word(&segment->shared->watch));
    for (int i = 0; i < SLEEPERS; i++)
        if (sleepers[i] > 0 && (pid_t)(word & FUTEX_TID_MASK) == sleepers[i])
            return i;
    return -1;
}

/* Tells who it was in the same look: the next one may find nobody for an instant. */
static bool is_watched(void *ret_number)
{
    int number = watchman();
    *(int *)ret_number = number;
    return number >= 0;
}

/* Shows what a sleep costs; that it is 0.1 % of a CPU for 100 is measured by the bench sync-sleepers-late. */
START_TEST(one_sleeper_looks_for_all)
{
    make();
    pid_t without = start(sleep_and_count);
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert(support_until_asleep(sleepers[i], 5000));
    int64_t start_ns = mproc__now_ns();
    atomic_store(&shared->started, 1);
    mproc__eventcount_post(&shared->start, true);
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert_int_eq(support_reap(sleepers[i], 15000), 0);
    long slices = (long)((mproc__now_ns() - start_ns) / 1000000 / SLICE_MS);
    ck_assert_int_ge(atomic_load(&shared->switches), MEASURED_MS / SLICE_MS / 4); /* somebody did look */
    ck_assert_int_le(atomic_load(&shared->switches), slices + SLEEPERS * SETTLING);
    support_kill(without);
    mproc__segment_release(segment);
}
END_TEST

/* _i 0: it is killed; 1: it gets what it waits for and does not come back; 2: in turn. */
static void end_watchman(int number, int how, int round)
{
    if (how == 0 || (how == 2 && round % 2)) {
        support_kill(sleepers[number]);
    } else {
        set(number);
        ck_assert_int_eq(support_reap(sleepers[number], 5000), 0);
    }
    sleepers[number] = 0;
}

START_TEST(when_the_watchman_ends_another_takes_its_place)
{
    make();
    pid_t without = start(sleep_for_own);
    int last = -1;
    for (int left = SLEEPERS; left > 1; left--) {
        ck_assert(support_until(is_watched, &last, WAIT_MS));
        end_watchman(last, _i, left);
    }
    ck_assert(support_until(is_watched, &last, WAIT_MS));
    atomic_store(&shared->values[last], 1); /* committed, and killed before the wake */
    support_kill(without);
    ck_assert_int_eq(support_reap(sleepers[last], WAIT_MS), 0);
    mproc__segment_release(segment);
}
END_TEST

/* What nobody else sees, as long as it is stopped, the others see for themselves in the end. */
START_TEST(a_stopped_watchman_is_no_end_of_looking)
{
    make();
    pid_t without = start(sleep_for_own);
    int stopped;
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert(support_until_asleep(sleepers[i], 5000));
    ck_assert(support_until(is_watched, &stopped, WAIT_MS));
    kill(sleepers[stopped], SIGSTOP);
    ck_assert_int_eq(waitpid(sleepers[stopped], NULL, WUNTRACED), sleepers[stopped]);
    for (int i = 0; i < SLEEPERS; i++)
        atomic_store(&shared->values[i], 1);
    support_kill(without);
    for (int i = 0; i < SLEEPERS; i++)
        if (i != stopped)
            ck_assert_int_eq(support_reap(sleepers[i], 10000), 0);
    kill(sleepers[stopped], SIGCONT);
    ck_assert_int_eq(support_reap(sleepers[stopped], 5000), 0);
    mproc__segment_release(segment);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("watch");
    TCase *watch = support_case(suite, "watch");
    tcase_add_test(watch, one_sleeper_looks_for_all);
    tcase_add_loop_test(watch, when_the_watchman_ends_another_takes_its_place, 0, 3);
    tcase_add_test(watch, a_stopped_watchman_is_no_end_of_looking);
    return support_run(suite, argc, argv);
}
