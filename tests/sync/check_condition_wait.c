/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiting for conditions, notifying, asking again, and being interrupted.
 * Loop tests run once for each home: 0 host, 1 thread, 2 shm. A sleeper counts as one from the moment its slot says so, which
 * it does with the lock held: so who then gets the lock finds it waiting. */
#include "platform/base.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "condition_common.h"
#include "platform/platform.h"

/* How late others let us be has no bound: what was only late is tried again, and a fault is late every time. */
enum { LATE_MS = 250, SHORT_MS = 30, PATIENCE = 6 };

/* ---- wait and notify ---- */

/* shows: SYNC-15 */
START_TEST(wait_and_notify_without_the_lock_are_refused)
{
    condition_make(_i, NULL);
    ck_assert_int_eq(mproc_condition_wait(condition, MPROC_NOW), -EPERM);
    ck_assert_int_eq(mproc_condition_wait_for(condition, always, NULL, MPROC_NOW), -EPERM);
    ck_assert_int_eq(mproc_condition_notify(condition, 1), -EPERM);
    ck_assert_int_eq(mproc_condition_notify(condition, UINT_MAX), -EPERM);
    ck_assert_int_eq(mproc_error_code(mproc_error_of(condition)), -EPERM);
    ck_assert(!mproc_lock_is_held(lock));
    lock_now();
    ck_assert_int_eq(mproc_condition_notify(condition, 1), 0);
    unlock_now();
    condition_drop();
}
END_TEST

static void wakes_one_by_one(int home)
{
    crew them;
    unsigned one = 1;
    unsigned two = 2;
    page->woken = 0;
    crew_start(&them, home, 2, MPROC_FOREVER);
    ck_assert_uint_eq(page->woken, 0);
    notify_and_leave(1, 1);
    ck_assert(support_until(woken_are, &one, CREW_LIMIT_MS));
    ck_assert_uint_eq(waiting(), 1);
    notify_and_leave(1, 0);
    ck_assert(support_until(woken_are, &two, CREW_LIMIT_MS));
    crew_end(&them);
}

/* shows: SYNC-16 */
START_TEST(notify_wakes_one_of_a_process_and_a_thread_then_the_other)
{
    condition_make(_i, NULL);
    wakes_one_by_one(_i);
    condition_drop();
}
END_TEST

START_TEST(notify_wakes_one_by_one_also_the_thousandth_time)
{
    condition_make(_i, NULL);
    for (int i = 0; i < 1000; i++)
        wakes_one_by_one(1);
    condition_drop();
}
END_TEST

/* shows: SYNC-17 */
START_TEST(notify_two_then_four_wakes_two_then_four_and_stores_nothing_up)
{
    crew them;
    unsigned two = 2;
    unsigned six = 6;
    condition_make(_i, NULL);
    crew_start(&them, _i, 6, MPROC_FOREVER);
    notify_and_leave(2, 4);
    ck_assert(support_until(woken_are, &two, CREW_LIMIT_MS));
    ck_assert_uint_eq(waiting(), 4);
    notify_and_leave(4, 0);
    ck_assert(support_until(woken_are, &six, CREW_LIMIT_MS));
    crew_end(&them);
    notify_and_leave(3, 0);
    ck_assert_int_eq(wait_locked(mproc_after_ms(SHORT_MS)), -ETIMEDOUT);
    condition_drop();
}
END_TEST

/* shows: SYNC-18 */
START_TEST(notify_all_wakes_all_and_those_who_timed_out_before_leave_no_debt)
{
    crew late;
    crew them;
    unsigned six = 6;
    condition_make(_i, NULL);
    crew_start(&late, _i, 6, mproc_after_ms(support_ms(300)));
    crew_end(&late);
    ck_assert_uint_eq(page->timed_out, 6);
    ck_assert_uint_eq(waiting(), 0);
    crew_start(&them, _i, 6, MPROC_FOREVER);
    notify_and_leave(UINT_MAX, 0);
    ck_assert(support_until(woken_are, &six, CREW_LIMIT_MS));
    crew_end(&them);
    ck_assert_uint_eq(page->timed_out, 6);
    condition_drop();
}
END_TEST

/* With the lock held. */
static bool times_out_late(void)
{
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_condition_wait(condition, mproc_after_ms(SHORT_MS)), -ETIMEDOUT);
    int64_t took = mproc__now_ns() - start;
    ck_assert(mproc__lock_is_mine(lock));
    ck_assert_int_ge(took, SHORT_MS * INT64_C(1000000));
    return took >= (SHORT_MS + support_ms(LATE_MS)) * INT64_C(1000000);
}

/* shows: SYNC-19 */
START_TEST(a_timed_wait_ends_at_its_deadline_or_when_notified_and_holds_the_lock)
{
    crew them;
    condition_make(_i, NULL);
    lock_now();
    ck_assert_int_eq(mproc_condition_wait(condition, MPROC_NOW), -ETIMEDOUT);
    ck_assert(mproc__lock_is_mine(lock));
    ck_assert_int_eq(mproc_condition_wait(condition, mproc_after_ms(-5)), -ETIMEDOUT);
    for (int tries = 1; times_out_late(); tries++)
        ck_assert_int_lt(tries, PATIENCE);
    unlock_now();
    crew_start(&them, _i, 2, mproc_after_ms(support_ms(CREW_LIMIT_MS)));
    notify_and_leave(2, 0);
    crew_end(&them);
    ck_assert_uint_eq(page->timed_out, 0);
    condition_drop();
}
END_TEST

static bool over(void *deadline)
{
    return mproc__deadline_past(*(mproc_deadline *)deadline);
}

/* Two sleepers and the lock held, before their deadline. False: this machine was too slow. */
static bool two_caught_asleep(crew *them, int home)
{
    page->timed_out = 0;
    crew_start(them, home, 2, mproc_after_ms(support_ms(200)));
    lock_now();
    if (waiting() == 2)
        return true;
    unlock_now();
    crew_end(them);
    return false;
}

/* Notified while it waits for the lock after its deadline: that counts. */
START_TEST(a_notification_before_the_lock_is_free_again_counts)
{
    crew them;
    condition_make(_i, NULL);
    while (!two_caught_asleep(&them, _i))
        ;
    ck_assert(support_until(over, &them.deadline, CREW_LIMIT_MS));
    ck_assert_uint_eq(waiting(), 2);
    ck_assert_int_eq(mproc_condition_notify(condition, 1), 0);
    unlock_now();
    crew_end(&them);
    ck_assert_uint_eq(page->woken, 1);
    ck_assert_uint_eq(page->timed_out, 1);
    condition_drop();
}
END_TEST

static int notify_from_outside(void *unused)
{
    unsigned one = 1;
    (void)unused;
    if (!support_until(waiting_are, &one, CREW_LIMIT_MS))
        return 1;
    if (mproc_lock_acquire(lock, mproc_after_ms(CREW_LIMIT_MS)) != 0)
        return 2;
    int code = mproc_condition_notify(condition, 1);
    return mproc_lock_release(lock) == 0 ? code : 3;
}

static void *notifier_thread(void *unused)
{
    return notify_from_outside(unused) == 0 ? NULL : page;
}

/* shows: SYNC-20 */
START_TEST(wait_gives_up_all_levels_and_takes_them_back)
{
    pthread_t thread;
    void *failed;
    condition_make(_i, NULL);
    for (int i = 0; i < 3; i++)
        lock_now();
    ck_assert_int_eq(pthread_create(&thread, NULL, notifier_thread, NULL), 0);
    ck_assert_int_eq(mproc_condition_wait(condition, MPROC_FOREVER), 0);
    pthread_join(thread, &failed);
    ck_assert_ptr_null(failed);
    for (int i = 0; i < 3; i++)
        unlock_now();
    ck_assert_int_eq(mproc_lock_release(lock), -EPERM);
    ck_assert(!mproc_lock_is_held(lock));
    condition_drop();
}
END_TEST

/* ---- wait_for ---- */

static bool at_least_four(void *number)
{
    return atomic_load((_Atomic int *)number) >= 4;
}

static int counts_to_four(void *unused)
{
    unsigned one = 1;
    (void)unused;
    for (int i = 1; i <= 4; i++) {
        if (!support_until(waiting_are, &one, CREW_LIMIT_MS) || mproc_lock_acquire(lock, MPROC_FOREVER) != 0)
            return 1;
        atomic_store(&page->number, i);
        if (mproc_condition_notify(condition, 1) != 0 || mproc_lock_release(lock) != 0)
            return 2;
    }
    return 0;
}

static void *counting_thread(void *unused)
{
    return counts_to_four(unused) == 0 ? NULL : page;
}

/* shows: SYNC-21 */
START_TEST(wait_for_ends_when_its_predicate_holds_and_not_before)
{
    pthread_t thread;
    pid_t child = 0;
    void *failed = NULL;
    condition_make(_i, NULL);
    lock_now();
    ck_assert_int_eq(mproc_condition_wait_for(condition, always, NULL, MPROC_NOW), 0);
    if (_i != 1)
        child = support_fork(counts_to_four, NULL);
    else
        ck_assert_int_eq(pthread_create(&thread, NULL, counting_thread, NULL), 0);
    ck_assert_int_eq(mproc_condition_wait_for(condition, at_least_four, &page->number, MPROC_FOREVER), 0);
    ck_assert_int_eq(page->number, 4);
    ck_assert(mproc__lock_is_mine(lock));
    unlock_now();
    if (child)
        ck_assert_int_eq(support_reap(child, CREW_LIMIT_MS), 0);
    else
        pthread_join(thread, &failed);
    ck_assert_ptr_null(failed);
    condition_drop();
}
END_TEST

static bool counted(void *number)
{
    atomic_fetch_add((_Atomic int *)number, 1);
    return false;
}

static void *notifying_on(void *stop)
{
    while (!atomic_load((atomic_bool *)stop)) {
        if (mproc_lock_acquire(lock, MPROC_FOREVER) != 0 || mproc_condition_notify(condition, 1) != 0 ||
            mproc_lock_release(lock) != 0)
            return page;
        usleep(2000);
    }
    return NULL;
}

/* With the lock held. */
static bool asks_late(void)
{
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_condition_wait_for(condition, counted, &page->number, mproc_after_ms(200)),
                     -ETIMEDOUT);
    int64_t took = mproc__now_ns() - start;
    ck_assert_int_ge(took, 200 * INT64_C(1000000));
    return took >= (200 + support_ms(LATE_MS)) * INT64_C(1000000);
}

/* shows: SYNC-22 */
START_TEST(wait_for_has_one_deadline_over_many_notifications)
{
    pthread_t thread;
    void *failed;
    atomic_bool stop = false;
    condition_make(_i, NULL);
    lock_now();
    ck_assert_int_eq(mproc_condition_wait_for(condition, counted, &page->number, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(page->number, 1);
    ck_assert_int_eq(mproc_condition_wait_for(condition, counted, &page->number, mproc_after_ms(-1)),
                     -ETIMEDOUT);
    ck_assert_int_eq(page->number, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, notifying_on, &stop), 0);
    for (int tries = 1; asks_late(); tries++)
        ck_assert_int_lt(tries, PATIENCE);
    unlock_now();
    atomic_store(&stop, true);
    pthread_join(thread, &failed);
    ck_assert_ptr_null(failed);
    ck_assert_int_gt(page->number, 4);
    condition_drop();
}
END_TEST

/* ---- interruption ---- */

static volatile sig_atomic_t asks;

static void on_signal(int number)
{
    (void)number;
    if (asks)
        mproc_interrupt();
    page->number++;
}

static void on_int(int flags, bool asks_for_it)
{
    asks = asks_for_it;
    sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal, .sa_flags = flags}, NULL);
}

typedef struct signaller {
    pthread_t target;
    unsigned wanted; /* signals */
} signaller;

static bool signals_are(void *count)
{
    return atomic_load(&page->number) >= *(int *)count;
}

/* Signals a wait that sleeps, `wanted` times, and looks that it goes on until the last. */
static void *signaller_main(void *argument)
{
    signaller *how = argument;
    unsigned one = 1;
    for (unsigned i = 0; i < how->wanted; i++) {
        int next = (int)i + 1;
        if (!support_until(waiting_are, &one, CREW_LIMIT_MS) ||
            !support_until_asleep(getpid(), CREW_LIMIT_MS))
            return page;
        pthread_kill(how->target, SIGINT);
        if (!support_until(signals_are, &next, CREW_LIMIT_MS))
            return page;
    }
    return NULL;
}

static int wait_signalled(unsigned wanted, mproc_deadline deadline)
{
    pthread_t thread;
    void *failed;
    signaller how = {pthread_self(), wanted};
    page->number = 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, signaller_main, &how), 0);
    lock_now();
    int code = mproc_condition_wait(condition, deadline);
    ck_assert(mproc__lock_is_mine(lock));
    unlock_now();
    pthread_join(thread, &failed);
    ck_assert_ptr_null(failed);
    ck_assert_int_eq(page->number, (int)wanted);
    ck_assert_uint_eq(waiting(), 0);
    return code;
}

/* shows: SYNC-23 */
START_TEST(a_signal_whose_handler_asks_for_it_ends_a_wait_and_others_do_not)
{
    int flags = _i >= HOMES ? SA_RESTART : 0;
    condition_make(_i % HOMES, NULL);
    on_int(flags, true);
    ck_assert_int_eq(wait_signalled(1, MPROC_FOREVER), -EINTR);
    ck_assert_int_eq(wait_signalled(1, mproc_after_ms(60000)), -EINTR);
    on_int(flags, false);
    ck_assert_int_eq(wait_signalled(2, mproc_after_ms(support_ms(1000))), -ETIMEDOUT);
    mproc_interrupt(); /* outside of a wait: nothing */
    ck_assert_int_eq(wait_locked(mproc_after_ms(SHORT_MS)), -ETIMEDOUT);
    signal(SIGINT, SIG_DFL);
    condition_drop();
}
END_TEST

static bool raises_once(void *unused)
{
    (void)unused;
    if (page->number == 0)
        raise(SIGINT);
    return false;
}

/* The signal comes before the thread sleeps: no sleep to end, and the wait must not begin one. */
START_TEST(a_signal_just_before_the_sleep_is_not_lost)
{
    condition_make(_i, NULL);
    on_int(SA_RESTART, true);
    lock_now();
    ck_assert_int_eq(mproc_condition_wait_for(condition, raises_once, NULL, MPROC_FOREVER), -EINTR);
    ck_assert(mproc__lock_is_mine(lock));
    unlock_now();
    signal(SIGINT, SIG_DFL);
    condition_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("condition_wait");
    TCase *basic = support_case(suite, "wait and notify");
    tcase_add_loop_test(basic, wait_and_notify_without_the_lock_are_refused, 0, HOMES);
    tcase_add_loop_test(basic, notify_wakes_one_of_a_process_and_a_thread_then_the_other, 0, HOMES);
    tcase_add_loop_test(basic, notify_wakes_one_by_one_also_the_thousandth_time, 0, 2);
    tcase_add_loop_test(basic, notify_two_then_four_wakes_two_then_four_and_stores_nothing_up, 0, HOMES);
    tcase_add_loop_test(basic, notify_all_wakes_all_and_those_who_timed_out_before_leave_no_debt, 0, HOMES);
    tcase_add_loop_test(basic, a_timed_wait_ends_at_its_deadline_or_when_notified_and_holds_the_lock, 0,
                        HOMES);
    tcase_add_loop_test(basic, a_notification_before_the_lock_is_free_again_counts, 0, HOMES);
    tcase_add_loop_test(basic, wait_gives_up_all_levels_and_takes_them_back, 0, HOMES);
    tcase_add_loop_test(basic, wait_for_ends_when_its_predicate_holds_and_not_before, 0, HOMES);
    tcase_add_loop_test(basic, wait_for_has_one_deadline_over_many_notifications, 0, HOMES);
    TCase *signals = support_case(suite, "interruption");
    tcase_add_loop_test(signals, a_signal_whose_handler_asks_for_it_ends_a_wait_and_others_do_not, 0,
                        2 * HOMES);
    tcase_add_loop_test(signals, a_signal_just_before_the_sleep_is_not_lost, 0, HOMES);
    return support_run(suite, argc, argv);
}
