/* SPDX-License-Identifier: BSD-2-Clause */
/* Plain semaphores of the homes thread and host, and what all kinds have in common. Loop tests: 0 host, 1 thread, 2 shm. */
#include "platform/base.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mproc/sync.h>
#include "platform/platform.h"
#include "semaphore_common.h"
#include "sync/nouns.h"

/* ---- counting ---- */

/* shows: SYNC-11 */
START_TEST(a_semaphore_started_at_two_counts_down_and_up_and_beyond)
{
    semaphore_make(_i, 2, NULL);
    ck_assert_uint_eq(free_permits(), 2);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), 0);
    ck_assert_uint_eq(free_permits(), 1);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_FOREVER), 0);
    ck_assert_uint_eq(free_permits(), 0);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(elsewhere(_i, take_now, NULL), 1);
    for (unsigned i = 1; i <= 4; i++) {
        ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
        ck_assert_uint_eq(free_permits(), i);
    }
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 3), 0);
    ck_assert_uint_eq(free_permits(), 7);
    semaphore_drop();
}
END_TEST

/* shows: SYNC-13 */
START_TEST(a_start_value_is_from_zero_to_the_maximum)
{
    mproc_semaphore *none = NULL;
    const int64_t greatest = 2147483647;
    for (int bounded = 0; bounded < 2; bounded++) {
        const mproc_semaphore_options *options = MPROC_WITH(mproc_semaphore_options, .bounded = bounded != 0);
        ck_assert_int_eq(mproc_semaphore_create(NULL, -1, options, &none), -EINVAL);
        ck_assert_int_eq(mproc_semaphore_create(NULL, INT64_MIN, options, &none), -EINVAL);
        ck_assert_int_eq(mproc_semaphore_create(NULL, greatest + 1, options, &none), -EOVERFLOW);
        ck_assert_int_eq(mproc_semaphore_create(NULL, INT64_MAX, options, &none), -EOVERFLOW);
        ck_assert_ptr_null(none);
        semaphore_make(_i, 0, options);
        ck_assert_uint_eq(free_permits(), 0);
        ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), -ETIMEDOUT);
        semaphore_drop();
        semaphore_make(_i, greatest, options);
        ck_assert_uint_eq(free_permits(), (unsigned)greatest);
        ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), 0);
        semaphore_drop();
    }
}
END_TEST

START_TEST(a_release_above_the_maximum_is_refused_without_effect)
{
    semaphore_make(_i, 2147483640, NULL);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 8), -EOVERFLOW);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, UINT32_MAX), -EOVERFLOW);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 0), -EINVAL);
    ck_assert_uint_eq(free_permits(), 2147483640);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 7), 0);
    ck_assert_uint_eq(free_permits(), 2147483647);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), -EOVERFLOW);
    semaphore_drop();
}
END_TEST

/* shows: SYNC-04 */
START_TEST(the_value_is_zero_while_all_is_taken_here_and_elsewhere)
{
    unsigned one = 1;
    unsigned zero = 0;
    semaphore_make(_i % 2, 1, MPROC_WITH(mproc_semaphore_options, .bounded = _i >= 2));
    ck_assert_int_eq(elsewhere(_i % 2, value_is, &one), 0);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), 0);
    ck_assert_uint_eq(free_permits(), 0);
    ck_assert_int_eq(elsewhere(_i % 2, value_is, &zero), 0);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
    ck_assert_uint_eq(free_permits(), 1);
    ck_assert_int_eq(elsewhere(_i % 2, value_is, &one), 0);
    semaphore_drop();
}
END_TEST

/* ---- waiting ---- */

/* shows: SYNC-05 */
START_TEST(a_timed_acquire_ends_at_its_deadline)
{
    sleeper waiter;
    semaphore_make(_i % 2, 0, MPROC_WITH(mproc_semaphore_options, .bounded = _i >= 2));
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, mproc_after_ms(-5)), -ETIMEDOUT);
    ck_assert_int_lt(since_ms(start), support_ms(PROMPT_MS));
    start = mproc__now_ns();
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, mproc_after_ms(30)), -ETIMEDOUT);
    ck_assert_int_ge(since_ms(start), 30);
    ck_assert_int_lt(since_ms(start), 30 + support_ms(PROMPT_MS));
    if (_i < 2) {
        sleeper_start(_i == 0, pass_through, &waiter);
        ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
        ck_assert_int_eq(sleeper_end(&waiter), 0);
    }
    semaphore_drop();
}
END_TEST

static void interrupt(int number)
{
    (void)number;
}

static int interrupted(void *unused)
{
    (void)unused;
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = interrupt}, NULL);
    int64_t start = mproc__now_ns();
    if (mproc_semaphore_acquire(semaphore, mproc_after_ms(150)) != -ETIMEDOUT)
        return 1;
    if (since_ms(start) < 150)
        return 2;
    return take_soon(NULL);
}

/* shows: SYNC-14 */
START_TEST(a_blocked_acquire_survives_signals_and_keeps_its_deadline)
{
    semaphore_make(0, 0, NULL);
    pid_t child = support_fork(interrupted, NULL);
    for (int i = 0; i < 3; i++) {
        ck_assert(support_until_asleep(child, LONG_MS));
        kill(child, SIGUSR1);
    }
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, mproc_after_ms(200)), -ETIMEDOUT);
    ck_assert(support_until_asleep(child, LONG_MS));
    kill(child, SIGUSR1);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
    ck_assert_int_eq(support_reap(child, LONG_MS), 0);
    semaphore_drop();
}
END_TEST

typedef struct page_shared {
    _Atomic int inside;
    _Atomic int most;
    _Atomic int taken;
} page_shared;

static page_shared *page;
enum { SLEEPERS = 5, WORKERS = 5, PERMITS = 2, ROUNDS = 2000 };

static void page_make(void)
{
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void page_drop(void)
{
    munmap(page, 4096);
}

static int take_and_count(void *unused)
{
    int status = take_soon(unused);
    atomic_fetch_add(&page->taken, status == 0);
    return status;
}

static bool two_taken(void *unused)
{
    (void)unused;
    return atomic_load(&page->taken) >= 2;
}

START_TEST(a_release_of_n_lets_exactly_n_waiters_go)
{
    sleeper sleepers[SLEEPERS];
    page_make();
    semaphore_make(_i, 0, NULL);
    for (int i = 0; i < SLEEPERS; i++)
        sleeper_start(_i != 1, take_and_count, &sleepers[i]);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 2), 0);
    ck_assert(support_until(two_taken, NULL, LONG_MS));
    ck_assert_uint_eq(free_permits(), 0);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, SLEEPERS - 2), 0);
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert_int_eq(sleeper_end(&sleepers[i]), 0);
    ck_assert_int_eq(atomic_load(&page->taken), SLEEPERS);
    ck_assert_uint_eq(free_permits(), 0);
    page_drop();
    semaphore_drop();
}
END_TEST

static int work_inside(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        if (mproc_semaphore_acquire(semaphore, soon()) != 0)
            return 1;
        int inside = atomic_fetch_add(&page->inside, 1) + 1;
        int most = atomic_load(&page->most);
        while (inside > most && !atomic_compare_exchange_weak(&page->most, &most, inside))
            ;
        atomic_fetch_sub(&page->inside, 1);
        if (mproc_semaphore_release(semaphore, 1) != 0)
            return 2;
    }
    return 0;
}

/* 0 host plain, 1 thread plain, 2 host bounded, 3 thread bounded. */
START_TEST(never_more_than_the_permits_are_inside_and_nobody_is_left_asleep)
{
    sleeper crew[WORKERS];
    page_make();
    semaphore_make(_i % 2, PERMITS, MPROC_WITH(mproc_semaphore_options, .bounded = _i >= 2));
    for (int i = 0; i < PERMITS; i++)
        ck_assert_int_eq(take_now(NULL), 0);
    for (int i = 0; i < WORKERS; i++)
        sleeper_start(_i % 2 == 0, work_inside, &crew[i]);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, PERMITS), 0);
    for (int i = 0; i < WORKERS; i++)
        ck_assert_int_eq(sleeper_end(&crew[i]), 0);
    ck_assert_uint_eq(free_permits(), PERMITS);
    ck_assert_int_ge(atomic_load(&page->most), 1);
    ck_assert_int_le(atomic_load(&page->most), PERMITS);
    page_drop();
    semaphore_drop();
}
END_TEST

static mproc_semaphore *back; /* the other way */
enum { TURNS = 4000 };

static int answers(void *unused)
{
    (void)unused;
    for (int i = 0; i < TURNS; i++)
        if (mproc_semaphore_acquire(semaphore, soon()) || mproc_semaphore_release(back, 1))
            return 1;
    return 0;
}

/* Nothing comes after a wake that is lost: both would sleep for good. 0 host, 1 thread. */
START_TEST(a_permit_goes_to_and_fro_and_no_wake_is_lost)
{
    sleeper other;
    semaphore_make(_i, 0, NULL);
    ck_assert_int_eq(mproc_semaphore_create(place, 0, NULL, &back), 0);
    sleeper_start(_i == 0, answers, &other);
    for (int i = 0; i < TURNS; i++) {
        ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
        ck_assert_int_eq(mproc_semaphore_acquire(back, soon()), 0);
    }
    ck_assert_int_eq(sleeper_end(&other), 0);
    mproc_semaphore_close(&back);
    semaphore_drop();
}
END_TEST

static long switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

static int sleeps_through(void *unused)
{
    (void)unused;
    long before = switches();
    if (mproc_semaphore_acquire(semaphore, mproc_after_ms(300)) != -ETIMEDOUT)
        return 1;
    return switches() - before > 3 ? 2 : 0;
}

/* shows: IDLE-1 */
START_TEST(a_waiter_is_not_woken_now_and_then)
{
    sleeper other;
    semaphore_make(0, 0, NULL);
    sleeper_start(true, take_soon, &other);
    ck_assert_int_eq(in_child(sleeps_through, NULL), 0);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
    ck_assert_int_eq(sleeper_end(&other), 0);
    semaphore_drop();
}
END_TEST

/* ---- deaths ---- */

START_TEST(a_permit_of_the_dead_stays_taken_and_anybody_may_give_it_back)
{
    int one = 1;
    sleeper waiter;
    semaphore_make(0, 1, NULL);
    ck_assert_int_eq(in_child(take_and_die, &one), 256 + SIGKILL);
    ck_assert_uint_eq(free_permits(), 0);
    sleeper_start(true, take_soon, &waiter);
    ck_assert_int_eq(in_child(give_one, NULL), 0);
    ck_assert_int_eq(sleeper_end(&waiter), 0);
    semaphore_drop();
}
END_TEST

/* shows: DEATH-1 DEATH-4 */
START_TEST(killed_waiters_take_no_permit_and_no_wake_with_them)
{
    sleeper doomed[SLEEPERS];
    sleeper waiter;
    semaphore_make(0, 0, NULL);
    for (int i = 0; i < SLEEPERS; i++)
        sleeper_start(true, take_soon, &doomed[i]);
    sleeper_start(true, take_soon, &waiter);
    for (int i = 0; i < SLEEPERS; i++)
        kill(doomed[i].pid, SIGKILL); /* and they are first in the queue */
    ck_assert_int_eq(mproc_semaphore_release(semaphore, SLEEPERS + 1), 0);
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(sleeper_end(&waiter), 0);
    ck_assert_int_lt(since_ms(start), support_ms(PROMPT_MS));
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert_int_eq(sleeper_end(&doomed[i]), 256 + SIGKILL);
    ck_assert_uint_eq(free_permits(), SLEEPERS);
    semaphore_drop();
}
END_TEST

/* The one that is woken dies of it, again and again, and the last one is left with what is free. */
START_TEST(a_wake_spent_on_a_dying_waiter_goes_to_the_next)
{
    sleeper doomed;
    sleeper waiter;
    for (int round = 0; round < 20; round++) {
        semaphore_make(0, 0, NULL);
        sleeper_start(true, take_soon, &doomed);
        sleeper_start(true, take_soon, &waiter);
        if (round % 2)
            kill(doomed.pid, SIGKILL);
        ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
        kill(doomed.pid, SIGKILL);
        int status = sleeper_end(&doomed);
        if (status == 0 || free_permits() == 0) /* it had taken it before it died: plain, so it stays taken */
            ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
        ck_assert_int_eq(sleeper_end(&waiter), 0);
        semaphore_drop();
    }
}
END_TEST

START_TEST(a_stopped_waiter_holds_up_nobody)
{
    sleeper stopped;
    sleeper waiter;
    semaphore_make(0, 0, NULL);
    sleeper_start(true, take_soon, &stopped);
    kill(stopped.pid, SIGSTOP);
    ck_assert_int_eq(waitpid(stopped.pid, NULL, WUNTRACED), stopped.pid);
    sleeper_start(true, take_soon, &waiter);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
    ck_assert_int_eq(sleeper_end(&waiter), 0);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), 0);
    kill(stopped.pid, SIGCONT);
    ck_assert_int_eq(sleeper_end(&stopped), 0);
    semaphore_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("semaphore");
    TCase *count = support_case(suite, "count");
    tcase_add_loop_test(count, a_semaphore_started_at_two_counts_down_and_up_and_beyond, 0, 3);
    tcase_add_loop_test(count, a_start_value_is_from_zero_to_the_maximum, 0, 3);
    tcase_add_loop_test(count, a_release_above_the_maximum_is_refused_without_effect, 0, 3);
    tcase_add_loop_test(count, the_value_is_zero_while_all_is_taken_here_and_elsewhere, 0, 4);
    TCase *wait = support_case(suite, "wait");
    tcase_add_loop_test(wait, a_timed_acquire_ends_at_its_deadline, 0, 4);
    tcase_add_test(wait, a_blocked_acquire_survives_signals_and_keeps_its_deadline);
    tcase_add_loop_test(wait, a_release_of_n_lets_exactly_n_waiters_go, 0, 3);
    tcase_add_loop_test(wait, never_more_than_the_permits_are_inside_and_nobody_is_left_asleep, 0, 4);
    tcase_add_loop_test(wait, a_permit_goes_to_and_fro_and_no_wake_is_lost, 0, 2);
    tcase_add_test(wait, a_waiter_is_not_woken_now_and_then);
    TCase *death = support_case(suite, "death");
    tcase_add_test(death, a_permit_of_the_dead_stays_taken_and_anybody_may_give_it_back);
    tcase_add_test(death, killed_waiters_take_no_permit_and_no_wake_with_them);
    tcase_add_test(death, a_wake_spent_on_a_dying_waiter_goes_to_the_next);
    tcase_add_test(death, a_stopped_waiter_holds_up_nobody);
    return support_run(suite, argc, argv);
}
