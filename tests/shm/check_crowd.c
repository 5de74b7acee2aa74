/* SPDX-License-Identifier: BSD-2-Clause */
/* Sleepers in a crowd: one of them looks after all rows instead of watching their words, the others watch them. Deaths are
 * heard in time, whichever of them is stopped or dies. */
#include "platform/base.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/segment_inside.h"
#include "support/support.h"

/* LIVE_MS: of a loaded machine, which one that runs tests is. FEW: with the test and its sleeper 16 participants. LATE: woke,
 * but not within LIVE. */
enum {
    LIVE_MS = 250,
    PATIENCE = 6,
    FEW = 14,
    MANY = 40,
    SLEEPERS = 3,
    SLICE_MS = 40,
    MEASURED_MS = 600,
    SETTLING = 8,
    LATE = 3
};

typedef struct scratch {
    mproc__eventcount_shared event;
    _Atomic int value;
    _Atomic int ready;
    _Atomic int64_t killed_ns;
    _Atomic long switches;
} scratch;

static mproc__segment *segment;
static scratch *shared;
static pid_t people[MANY];
static pid_t sleepers[SLEEPERS];

static int join_and_stay(void *unused)
{
    (void)unused;
    if (mproc__segment_join(segment) < 0)
        return 1;
    atomic_fetch_add(&shared->ready, 1);
    for (;;)
        pause();
}

static bool is_ready(void *count)
{
    return atomic_load(&shared->ready) == *(int *)count;
}

/* A segment with so many participants that only stay; the first is the poster. */
static void make(int count)
{
    ck_assert_int_eq(
        mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "crowd", sizeof(scratch), 0, &segment), 0);
    shared = mproc__segment_root(segment);
    ck_assert_int_ge(mproc__segment_join(segment), 0);
    for (int i = 0; i < count; i++)
        people[i] = support_fork(join_and_stay, NULL);
    ck_assert(support_until(is_ready, &count, 15000));
}

static void unmake(int count)
{
    for (int i = 0; i < count; i++)
        if (people[i] > 0)
            support_kill(people[i]);
    mproc__segment_release(segment);
}

static int wait_for_value(mproc_deadline deadline)
{
    int code = 0;
    while (code == 0) {
        uint32_t ticket = mproc__eventcount_prepare(&shared->event);
        if (atomic_load(&shared->value))
            return 0;
        code = mproc__segment_wait(segment, &shared->event, ticket, deadline);
    }
    return code;
}

static int sleep_until_value(void *unused)
{
    (void)unused;
    if (wait_for_value(mproc_after_ms(support_ms(4000))) != 0)
        return 1;
    int64_t since_ns = mproc__now_ns() - atomic_load(&shared->killed_ns);
    return since_ns > support_ms(LIVE_MS) * INT64_C(1000000) ? LATE : 0;
}

static void sleep_some(int count)
{
    for (int i = 0; i < count; i++)
        sleepers[i] = support_fork(sleep_until_value, NULL);
    for (int i = 0; i < count; i++)
        ck_assert(support_until_asleep(sleepers[i], 5000));
}

/* The poster commits and is killed before it can wake anybody. */
static void commit_and_kill(void)
{
    atomic_store(&shared->value, 1);
    atomic_store(&shared->killed_ns, mproc__now_ns());
    support_kill(people[0]);
    people[0] = 0;
}

/* Which sleeper has the watch; -1: none at the moment. */
static int watchman(void)
{
    uint32_t word = atomic_load(mproc__robust_word(&segment->shared->watch));
    for (int i = 0; i < SLEEPERS; i++)
        if (sleepers[i] > 0 && (pid_t)(word & FUTEX_TID_MASK) == sleepers[i])
            return i;
    return -1;
}

static bool is_watched(void *ret_number)
{
    *(int *)ret_number = watchman();
    return *(int *)ret_number >= 0;
}

/* How late others let us be has no bound: what was only late is tried again, and a fault is late every time. */
typedef bool scenario_fn(int how);

static void once_in_time(scenario_fn *scenario, int how)
{
    unsigned tries = 1;
    while (!scenario(how))
        ck_assert_uint_lt(tries++, PATIENCE);
}

/* Reaps sleeper i: whether it woke in time. */
static bool woke(int i)
{
    int status = support_reap(sleepers[i], 15000);
    ck_assert_msg(status == 0 || status == LATE, "status %d", status);
    return status == 0;
}

/* ---- who hears of a death ---- */

static bool kill_poster(int count)
{
    bool in_time = true;
    make(MANY);
    sleep_some(count);
    commit_and_kill();
    for (int i = 0; i < count; i++)
        in_time &= woke(i);
    unmake(MANY);
    return in_time;
}

/* shows: DEATH-1 */
START_TEST(a_poster_that_is_killed_in_a_crowd_wakes_all_sleepers)
{
    once_in_time(kill_poster, _i == 0 ? 1 : SLEEPERS);
}
END_TEST

/* how 0: the one who looks is stopped; 1: killed; 2: the others are stopped. */
static bool kill_poster_beside(int how)
{
    int looks = -1;
    bool in_time = true;
    make(MANY);
    sleep_some(SLEEPERS);
    ck_assert(support_until(is_watched, &looks, 4000));
    for (int i = 0; i < SLEEPERS; i++)
        if ((i == looks) == (how != 2)) {
            kill(sleepers[i], how == 1 ? SIGKILL : SIGSTOP);
            ck_assert_int_eq(how == 1 || waitpid(sleepers[i], NULL, WUNTRACED) == sleepers[i], 1);
        }
    commit_and_kill();
    for (int i = 0; i < SLEEPERS; i++)
        if ((i == looks) == (how == 2))
            in_time &= woke(i);
    for (int i = 0; i < SLEEPERS; i++)
        if ((i == looks) == (how != 2)) {
            kill(sleepers[i], SIGCONT);
            int status = support_reap(sleepers[i], 15000);
            ck_assert_int_eq(status == LATE || (how == 1 ? status == 256 + SIGKILL : status == 0), 1);
        }
    unmake(MANY);
    return in_time;
}

/* shows: DEATH-1 */
START_TEST(a_death_is_heard_whichever_sleeper_is_stopped_or_dies)
{
    once_in_time(kill_poster_beside, _i);
}
END_TEST

/* ---- what it costs ---- */

static int sleep_and_count(void *unused)
{
    (void)unused;
    struct rusage before, after;
    if (wait_for_value(mproc_after_ms(50)) != -ETIMEDOUT) /* the first looks */
        return 1;
    getrusage(RUSAGE_SELF, &before);
    if (wait_for_value(mproc_after_ms(MEASURED_MS)) != -ETIMEDOUT)
        return 2;
    getrusage(RUSAGE_SELF, &after);
    atomic_store(&shared->switches, after.ru_nvcsw - before.ru_nvcsw);
    return 0;
}

/* shows: IDLE-1 */
START_TEST(only_in_a_crowd_a_sleeper_looks_in_slices)
{
    int count = _i == 0 ? FEW : MANY;
    make(count);
    int64_t start_ns = mproc__now_ns();
    ck_assert_int_eq(support_reap(support_fork(sleep_and_count, NULL), 15000), 0);
    long slices = (long)((mproc__now_ns() - start_ns) / 1000000 / SLICE_MS);
    if (count == FEW) {
        ck_assert_int_le(atomic_load(&shared->switches), SETTLING);
    } else {
        ck_assert_int_ge(atomic_load(&shared->switches), MEASURED_MS / SLICE_MS / 4); /* it did look */
        ck_assert_int_le(atomic_load(&shared->switches), slices + SETTLING);
    }
    unmake(count);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("crowd");
    TCase *crowd = support_case(suite, "crowd");
    tcase_set_timeout(crowd, support_ms(60000) / 1000.0);
    tcase_add_loop_test(crowd, a_poster_that_is_killed_in_a_crowd_wakes_all_sleepers, 0, 2);
    tcase_add_loop_test(crowd, a_death_is_heard_whichever_sleeper_is_stopped_or_dies, 0, 3);
    if (!SUPPORT_THREAD_SANITIZER)
        tcase_add_loop_test(crowd, only_in_a_crowd_a_sleeper_looks_in_slices, 0, 2);
    return support_run(suite, argc, argv);
}
