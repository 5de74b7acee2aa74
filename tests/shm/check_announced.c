/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows in the name of processes that have not called: looked after like participants, and gone with the process. */
#include "platform/base.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/segment_inside.h"
#include "support/support.h"

typedef struct scratch {
    mproc__eventcount_shared event;
    _Atomic unsigned swept[MPROC__ROWS];
    _Atomic unsigned marked[MPROC__ROWS];
} scratch;

static mproc__segment *segment;
static scratch *shared;

static int on_sweep(mproc__segment *swept, unsigned row, void *context)
{
    (void)swept;
    (void)context;
    atomic_fetch_add(&shared->swept[row], 1);
    return 0;
}

static bool mark(mproc__segment *marked, unsigned row, void *context)
{
    (void)marked;
    (void)context;
    return atomic_exchange(&shared->marked[row], 1) == 0;
}

static bool unmark(mproc__segment *marked, unsigned row, void *context)
{
    (void)marked;
    (void)context;
    return atomic_exchange(&shared->marked[row], 0) != 0;
}

static void make(void)
{
    ck_assert_int_eq(
        mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "test", sizeof(scratch), 0, &segment), 0);
    shared = mproc__segment_root(segment);
    ck_assert_int_eq(mproc__segment_join(segment), 0);
    mproc__segment_on_sweep(segment, on_sweep, NULL);
}

static int waits(void *context)
{
    (void)context;
    while (pause() != 0) /* ever: it is killed */
        ;
    return 0;
}

static int sleeps_until_a_sweep(void *context)
{
    unsigned row = *(const unsigned *)context;
    mproc_deadline deadline = mproc_after_ms(support_ms(5000));
    while (!atomic_load(&shared->swept[row])) {
        uint32_t ticket = mproc__eventcount_prepare(&shared->event);
        if (mproc__segment_wait(segment, &shared->event, ticket, deadline) < 0)
            return 1;
    }
    return 0;
}

START_TEST(an_announced_process_has_a_row_and_lives_until_it_is_dead)
{
    make();
    pid_t child = support_fork(waits, NULL);
    int row = mproc__segment_announce(segment, child, mark, NULL);
    ck_assert_int_eq(row, 1);
    ck_assert_uint_eq(shared->marked[1], 1);
    ck_assert_int_eq(mproc__segment_row_pid(segment, 1), child);
    ck_assert(mproc__segment_row_alive(segment, 1));
    ck_assert_uint_eq(mproc__segment_sweep(segment), 0);
    support_kill(child);
    ck_assert(!mproc__segment_row_alive(segment, 1));
    ck_assert_uint_eq(mproc__segment_sweep(segment), 1);
    ck_assert_uint_eq(shared->swept[1], 1);
    ck_assert_int_eq(mproc__segment_row_pid(segment, 1), 0);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(its_death_wakes_a_sleeper_though_it_never_called)
{
    make();
    unsigned row = 1;
    pid_t child = support_fork(waits, NULL);
    ck_assert_int_eq(mproc__segment_announce(segment, child, mark, NULL), 1);
    pid_t sleeper = support_fork(sleeps_until_a_sweep, &row);
    ck_assert(support_until_asleep(sleeper, 3000));
    support_kill(child);
    ck_assert_int_eq(support_reap(sleeper, 5000), 0);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(an_announcement_is_withdrawn_once)
{
    make();
    pid_t child = support_fork(waits, NULL);
    ck_assert_int_eq(mproc__segment_announce(segment, child, mark, NULL), 1);
    mproc__segment_unannounce(segment, 1, getpid(), unmark, NULL);
    ck_assert_int_eq(mproc__segment_row_pid(segment, 1), child);
    mproc__segment_unannounce(segment, 1, child, unmark, NULL);
    ck_assert_int_eq(mproc__segment_row_pid(segment, 1), 0);
    ck_assert_uint_eq(shared->marked[1], 0);
    ck_assert_uint_eq(shared->swept[1], 0);
    mproc__segment_unannounce(segment, 1, child, unmark, NULL);
    support_kill(child);
    ck_assert_uint_eq(mproc__segment_sweep(segment), 0);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(a_row_that_is_not_marked_is_no_announcement)
{
    make();
    pid_t child = support_fork(waits, NULL);
    ck_assert_int_eq(mproc__segment_announce(segment, child, mark, NULL), 1);
    atomic_store(&shared->marked[1], 0);
    mproc__segment_unannounce(segment, 1, child, unmark, NULL);
    ck_assert_int_eq(mproc__segment_row_pid(segment, 1), child);
    support_kill(child);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(who_is_gone_or_one_too_many_is_refused)
{
    make();
    pid_t gone = support_fork(waits, NULL), child = support_fork(waits, NULL);
    support_kill(gone);
    ck_assert_int_eq(mproc__segment_announce(segment, gone, mark, NULL), -ESRCH);
    for (unsigned row = 1; row < MPROC__ROWS; row++)
        ck_assert_int_eq(mproc__segment_announce(segment, child, mark, NULL), (int)row);
    ck_assert_int_eq(mproc__segment_announce(segment, child, mark, NULL), MPROC_ELIMIT);
    support_kill(child);
    ck_assert_uint_eq(mproc__segment_sweep(segment), MPROC__ROWS - 1);
    mproc__segment_release(segment);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("announced");
    TCase *rows = support_case(suite, "rows");
    tcase_add_test(rows, an_announced_process_has_a_row_and_lives_until_it_is_dead);
    tcase_add_test(rows, its_death_wakes_a_sleeper_though_it_never_called);
    tcase_add_test(rows, an_announcement_is_withdrawn_once);
    tcase_add_test(rows, a_row_that_is_not_marked_is_no_announcement);
    tcase_add_test(rows, who_is_gone_or_one_too_many_is_refused);
    return support_run(suite, argc, argv);
}
