/* SPDX-License-Identifier: BSD-2-Clause */
/* Sleepers beside a dead row that stays: its process is not gone yet, or a sweep cannot do all now. They look seldom, and a
 * sweep that changes nothing wakes nobody. The sweep here posts the sleepers' event, as those of the nouns do. */
#include "platform/base.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/segment_inside.h"
#include "support/support.h"

/* SLICE_MS: of who looks for all. SETTLING: what a sleeper may look besides. */
enum { SLEEPERS = 4, SLICE_MS = 40, MEASURED_MS = 600, SETTLING = 8 };

typedef struct scratch {
    mproc__eventcount_shared event;
    mproc__eventcount_shared never;
    _Atomic int value;
    _Atomic int ready;
    _Atomic int refusing; /* sweeps cannot do their work */
    _Atomic uint32_t held;
    _Atomic unsigned swept;
    _Atomic unsigned told;  /* sweeps that found that an earlier one had told everyone */
    _Atomic unsigned fatal; /* the number of the sweep that kills its process */
    _Atomic long looks;     /* and sleeps that ended */
} scratch;

static mproc__segment *segment;
static scratch *shared;
static const _Atomic int nothing;

static int post_sweep(mproc__segment *swept, unsigned row, void *context)
{
    bool told = mproc__segment_row_told(swept, row);
    (void)context;
    if (atomic_fetch_add(&shared->swept, 1) + 1 == atomic_load(&shared->fatal))
        kill(getpid(), SIGKILL);
    atomic_fetch_add(&shared->told, told);
    if (atomic_load(&shared->refusing)) /* as one that waits for a lock in vain */
        (void)mproc__futex_wait(&shared->held, 0, true, mproc_after_ms(MPROC__SWEEP_MS));
    if (atomic_load(&shared->refusing) && told)
        return -ETIMEDOUT;
    mproc__eventcount_post(&shared->event, true);
    return atomic_load(&shared->refusing) ? -ETIMEDOUT : 0;
}

static void make(void)
{
    ck_assert_int_eq(
        mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "linger", sizeof(scratch), 0, &segment), 0);
    shared = mproc__segment_root(segment);
    mproc__segment_on_sweep(segment, post_sweep, NULL);
}

static long looks; /* of this process */

/* Until *value is set: 0, or -ETIMEDOUT. */
static int wait_for(mproc__eventcount_shared *event, const _Atomic int *value, mproc_deadline deadline)
{
    int code = 0;
    while (code == 0) {
        looks++;
        uint32_t ticket = mproc__eventcount_prepare(event);
        if (atomic_load(value))
            return 0;
        code = mproc__segment_wait(segment, event, ticket, deadline);
    }
    return code;
}

/* ---- a process that looks dead, and is not gone ---- */

/* Takes the row. When another thread of the process sleeps, ends without a word, which looks like a death. */
static void *end_without_a_word(void *unused)
{
    (void)unused;
    int row = mproc__segment_join(segment);
    atomic_fetch_add(&shared->ready, 1);
    while (!(atomic_load(&segment->shared->rows[row].stack_address) & MPROC__STACK_CROWDED))
        usleep(200);
    syscall(SYS_exit, 0);
    return NULL;
}

static bool is_ready(void *wanted)
{
    return atomic_load(&shared->ready) >= *(int *)wanted;
}

static int linger(void *unused)
{
    (void)unused;
    pthread_t thread;
    int one = 1;
    if (pthread_create(&thread, NULL, end_without_a_word, NULL) != 0 || !support_until(is_ready, &one, 5000))
        return 1;
    return wait_for(&shared->never, &nothing, MPROC_FOREVER);
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

static bool is_swept(void *least)
{
    (void)mproc__segment_sweep(segment);
    return atomic_load(&shared->swept) >= *(unsigned *)least;
}

/* A process in a row that has been swept, and stays. */
static pid_t lingering(void)
{
    unsigned once = 1;
    pid_t child = support_fork(linger, NULL);
    ck_assert(support_until(is_swept, &once, 5000));
    return child;
}

static bool rows_are_free(void *unused)
{
    (void)unused;
    (void)mproc__segment_sweep(segment);
    for (unsigned row = 0; row < mproc__segment_rows(segment); row++)
        if (mproc__segment_row_pid(segment, row))
            return false;
    return true;
}

/* ---- the sleepers ---- */

static int sleep_and_count(void *unused)
{
    (void)unused;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    int code = wait_for(&shared->event, &shared->value, mproc_after_ms(MEASURED_MS));
    getrusage(RUSAGE_SELF, &after);
    atomic_fetch_add(&shared->looks, after.ru_nvcsw - before.ru_nvcsw + looks);
    return code != -ETIMEDOUT;
}

static int sleep_until_value(void *unused)
{
    (void)unused;
    return wait_for(&shared->event, &shared->value, mproc_after_ms(support_ms(4000))) != 0;
}

/* They sleep and look as often as one who looks for all. */
static void sleepers_look_seldom(void)
{
    pid_t sleepers[SLEEPERS];
    int64_t start_ns = mproc__now_ns();
    for (int i = 0; i < SLEEPERS; i++)
        sleepers[i] = support_fork(sleep_and_count, NULL);
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert_int_eq(support_reap(sleepers[i], 15000), 0);
    long slices = (long)((mproc__now_ns() - start_ns) / 1000000 / SLICE_MS);
    ck_assert_int_le(atomic_load(&shared->looks), 2 * (slices + SLEEPERS * SETTLING));
}

/* shows: IDLE-1 */
START_TEST(a_row_that_lingers_is_swept_once_until_its_process_is_gone)
{
    make();
    pid_t slow = lingering();
    sleepers_look_seldom();
    unsigned before = atomic_load(&shared->swept);
    ck_assert_uint_le(before, 1 + SLEEPERS); /* and each of those that left, once */
    support_kill(slow);
    ck_assert(support_until(rows_are_free, NULL, 5000));
    ck_assert_uint_gt(atomic_load(&shared->swept), before);
    mproc__segment_release(segment);
}
END_TEST

/* shows: IDLE-1 */
START_TEST(a_sweep_that_cannot_be_done_wakes_everybody_once)
{
    make();
    int one = 1;
    atomic_store(&shared->refusing, 1);
    pid_t dead = support_fork(join_and_stay, NULL);
    ck_assert(support_until(is_ready, &one, 5000));
    support_kill(dead);
    sleepers_look_seldom();
    ck_assert_uint_ge(atomic_load(&shared->told), MEASURED_MS / SLICE_MS / 4); /* somebody did look */
    atomic_store(&shared->refusing, 0);
    ck_assert(support_until(rows_are_free, NULL, 5000));
    mproc__segment_release(segment);
}
END_TEST

/* ---- no wake is lost by it ---- */

static int sweep_until_swept(void *unused)
{
    (void)unused;
    if (mproc__segment_join(segment) < 0)
        return 1;
    mproc__segment_sweep(segment);
    return 0;
}

/* As a sweeper that found something to give back, and was killed before it told those who wait for it. The value is set
 * only then: who has looked before must be told. _i 0: by a sweeper of the row's first sweep, 1: of a later one. */
START_TEST(after_a_sweeper_that_was_killed_the_next_one_tells_all_again)
{
    int one = 1;
    make();
    atomic_store(&shared->refusing, 1);
    pid_t dead = support_fork(join_and_stay, NULL);
    ck_assert(support_until(is_ready, &one, 5000));
    support_kill(dead);
    if (_i == 1) {
        ck_assert_uint_eq(mproc__segment_sweep(segment), 0);
        ck_assert_uint_eq(atomic_load(&shared->swept), 1);
        ck_assert_uint_eq(mproc__segment_sweep(segment), 0);
        ck_assert_uint_eq(atomic_load(&shared->told), 1);
    }
    unsigned told = atomic_load(&shared->told);
    atomic_store(&shared->fatal, atomic_load(&shared->swept) + 1);
    ck_assert_int_eq(support_reap(support_fork(sweep_until_swept, NULL), 5000), 256 + SIGKILL);
    uint32_t ticket = mproc__eventcount_prepare(&shared->event);
    (void)mproc__segment_sweep(segment);
    ck_assert_uint_ne(atomic_load(&shared->event.word), ticket); /* posted, though it changed nothing */
    ck_assert_uint_eq(atomic_load(&shared->told), told);
    atomic_store(&shared->refusing, 0);
    ck_assert(support_until(rows_are_free, NULL, 5000));
    mproc__segment_release(segment);
}
END_TEST

/* A poster killed between its commit and its wake, with no word left to tell that the sleepers could not have slept on. */
START_TEST(a_death_beside_a_row_that_lingers_is_missed_too)
{
    int wanted = 2;
    pid_t sleepers[SLEEPERS];
    make();
    pid_t slow = lingering();
    pid_t poster = support_fork(join_and_stay, NULL);
    ck_assert(support_until(is_ready, &wanted, 5000));
    for (int i = 0; i < SLEEPERS; i++)
        sleepers[i] = support_fork(sleep_until_value, NULL);
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert(support_until_asleep(sleepers[i], 5000));
    atomic_store(&shared->value, 1);
    support_kill(poster);
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert_int_eq(support_reap(sleepers[i], 15000), 0);
    support_kill(slow);
    mproc__segment_release(segment);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("linger");
    TCase *linger_case = support_case(suite, "linger");
    tcase_add_test(linger_case, a_row_that_lingers_is_swept_once_until_its_process_is_gone);
    tcase_add_test(linger_case, a_sweep_that_cannot_be_done_wakes_everybody_once);
    tcase_add_loop_test(linger_case, after_a_sweeper_that_was_killed_the_next_one_tells_all_again, 0, 2);
    tcase_add_test(linger_case, a_death_beside_a_row_that_lingers_is_missed_too);
    return support_run(suite, argc, argv);
}
