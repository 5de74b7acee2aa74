/* SPDX-License-Identifier: BSD-2-Clause */
/* Waiters, notifiers and holders of the lock that die: nothing is lost, nobody hangs, no slot stays taken. Loop tests run once
 * for each home that has processes: 0 host, 1 shm. */
#include "platform/base.h"

#include <limits.h>
#include <signal.h>
#include <unistd.h>

#include "condition_common.h"
#include "platform/platform.h"

/* How late others let us be has no bound: what was only late is tried again, and a fault is late every time. */
enum { LIVE_MS = 250, PATIENCE = 6, DEATHS = 240, WAITERS = 6 };

static void make(int home, const mproc_condition_options *options)
{
    condition_make(home ? 2 : 0, options);
}

static bool in_live(int64_t since_ns)
{
    return mproc__now_ns() - since_ns <= (int64_t)support_ms(LIVE_MS) * 1000000;
}

/* `scene` says whether it was. */
static void once_in_time(bool (*scene)(int index), int index)
{
    int tries = 1;
    while (!scene(index))
        ck_assert_msg(++tries <= PATIENCE, "always late");
}

static mproc_deadline limit(void)
{
    return mproc_after_ms(support_ms(CREW_LIMIT_MS));
}

/* ---- others: they answer by status ---- */

enum { NOTIFIED = 0, TOLD = 2, REFUSED = 3, LATE = 4, FAILED = 9 };

static int status_of(int code)
{
    if (code >= 0 && mproc_lock_release(lock) != 0)
        return FAILED;
    return code == 0                 ? NOTIFIED
           : code == MPROC_RECOVERED ? TOLD
           : code == MPROC_EPOISONED ? REFUSED
           : code == -ETIMEDOUT      ? LATE
                                     : FAILED;
}

static int waits(void *unused)
{
    (void)unused;
    if (mproc_lock_acquire(lock, limit()) != 0)
        return FAILED;
    return status_of(mproc_condition_wait(condition, MPROC_FOREVER));
}

/* A process that waits; it is the youngest. */
static pid_t waiter_start(void)
{
    unsigned all = waiting() + 1;
    pid_t child = support_fork(waits, NULL);
    ck_assert(support_until(waiting_are, &all, CREW_LIMIT_MS));
    ck_assert(support_until_asleep(child, CREW_LIMIT_MS));
    return child;
}

static void waiters_start(pid_t *children, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        children[i] = waiter_start();
}

static int waiter_end(pid_t child)
{
    return support_reap(child, CREW_LIMIT_MS);
}

static int waiter_died(pid_t child)
{
    return waiter_end(child) == 256 + SIGKILL;
}

/* The slots that belong to anybody, dead or alive. */
static unsigned taken(void)
{
    unsigned count = 0;
    for (unsigned slot = 0; slot < MPROC__CONDITION_SLOTS; slot++)
        count += atomic_load(&condition->shared->slots[slot].word) != 0;
    return count;
}

/* Others may be burying the dead at this moment. */
static bool taken_are(void *count)
{
    mproc__segment_sweep(condition->segment);
    return taken() == *(unsigned *)count;
}

/* Whoever survived can do all, and what was left of the dead is gone. */
static void is_whole(void)
{
    unsigned one = 1;
    pid_t last = waiter_start();
    ck_assert(support_until(taken_are, &one, CREW_LIMIT_MS));
    notify_and_leave(1, 0);
    ck_assert_int_eq(waiter_end(last), NOTIFIED);
    ck_assert_uint_eq(taken(), 0);
    ck_assert_int_eq(wait_locked(MPROC_NOW), -ETIMEDOUT);
    condition_drop();
}

/* ---- waiters ---- */

static bool asleep_and_killed(int home)
{
    pid_t children[4];
    unsigned one = 1;
    make(home, NULL);
    waiters_start(children, 4);
    support_kill(children[0]);
    support_kill(children[2]);
    int64_t start_ns = mproc__now_ns();
    lock_now();
    ck_assert_int_eq(mproc_condition_notify(condition, 1), 0);
    unlock_now();
    ck_assert_int_eq(waiter_end(children[1]), NOTIFIED);
    ck_assert(support_until(waiting_are, &one, CREW_LIMIT_MS));
    notify_and_leave(UINT_MAX, 0);
    ck_assert_int_eq(waiter_end(children[3]), NOTIFIED);
    bool in_time = in_live(start_ns);
    is_whole();
    return in_time;
}

/* shows: SYNC-25 DEATH-4 */
START_TEST(a_waiter_killed_asleep_is_passed_over)
{
    once_in_time(asleep_and_killed, _i);
}
END_TEST

/* Nobody who sleeps is there to bury it: notify meets it. */
START_TEST(a_notification_meets_only_the_dead_and_is_not_stored_up)
{
    make(_i, NULL);
    support_kill(waiter_start());
    notify_and_leave(1, 0);
    ck_assert_uint_eq(taken(), 0);
    ck_assert_int_eq(wait_locked(mproc_after_ms(20)), -ETIMEDOUT);
    is_whole();
}
END_TEST

/* The lock is held: chosen, and killed before it could wake (stopped until then) or while it waits for the lock. */
static void chosen_and_killed(pid_t child, bool stopped)
{
    if (stopped)
        kill(child, SIGSTOP);
    ck_assert_int_eq(mproc_condition_notify(condition, 1), 0);
    if (!stopped)
        ck_assert(support_until_asleep(child, CREW_LIMIT_MS));
    support_kill(child);
}

static bool notified_and_killed(int index)
{
    pid_t children[3];
    make(index / 2, NULL);
    waiters_start(children, 3);
    lock_now();
    chosen_and_killed(children[0], index % 2 == 0);
    int64_t start_ns = mproc__now_ns();
    unlock_now();
    ck_assert_int_eq(waiter_end(children[1]), NOTIFIED);
    bool in_time = in_live(start_ns);
    ck_assert_uint_eq(waiting(), 1);
    notify_and_leave(1, 0);
    ck_assert_int_eq(waiter_end(children[2]), NOTIFIED);
    is_whole();
    return in_time;
}

/* shows: DEATH-1 DEATH-4 */
START_TEST(a_waiter_killed_after_it_was_notified_passes_that_on_to_the_next)
{
    once_in_time(notified_and_killed, _i);
}
END_TEST

/* shows: DEATH-4 */
START_TEST(notifications_of_several_dead_go_to_as_many_living)
{
    pid_t children[WAITERS];
    make(_i / 2, NULL);
    waiters_start(children, WAITERS);
    lock_now();
    chosen_and_killed(children[0], _i % 2 == 0);
    chosen_and_killed(children[1], _i % 2 == 0);
    chosen_and_killed(children[2], _i % 2 == 1);
    unlock_now();
    for (int i = 3; i < WAITERS; i++)
        ck_assert_int_eq(waiter_end(children[i]), NOTIFIED);
    is_whole();
}
END_TEST

START_TEST(what_a_dead_one_passes_on_is_for_nobody_who_came_later)
{
    unsigned one = 1;
    make(_i, NULL);
    pid_t first = waiter_start();
    kill(first, SIGSTOP);
    notify_and_leave(1, 0);
    pid_t second = waiter_start();
    support_kill(first);
    ck_assert(support_until(taken_are, &one, CREW_LIMIT_MS));
    ck_assert_uint_eq(waiting(), 1);
    notify_and_leave(1, 0);
    ck_assert_int_eq(waiter_end(second), NOTIFIED);
    is_whole();
}
END_TEST

START_TEST(a_stopped_waiter_keeps_its_notification_until_it_dies)
{
    pid_t children[2];
    make(_i, NULL);
    waiters_start(children, 2);
    kill(children[0], SIGSTOP);
    notify_and_leave(1, 1);
    mproc__segment_sweep(condition->segment);
    ck_assert_uint_eq(waiting(), 1);
    ck_assert_int_eq(wait_locked(mproc_after_ms(20)), -ETIMEDOUT);
    support_kill(children[0]);
    ck_assert_int_eq(waiter_end(children[1]), NOTIFIED);
    is_whole();
}
END_TEST

static void *waits_in_a_thread(void *unused)
{
    (void)waits(unused);
    return NULL;
}

static int waits_three_times(void *unused)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, waits_in_a_thread, NULL) != 0)
            return FAILED;
    return waits(unused);
}

START_TEST(a_killed_process_that_waited_three_times_leaves_nothing)
{
    unsigned three = 3, four = 4;
    make(_i / 2, NULL);
    pid_t many = support_fork(waits_three_times, NULL);
    ck_assert(support_until(waiting_are, &three, CREW_LIMIT_MS));
    pid_t last = waiter_start();
    ck_assert(waiting_are(&four));
    lock_now();
    ck_assert_int_eq(mproc_condition_notify(condition, _i % 2 ? 2 : 1), 0);
    support_kill(many);
    unlock_now();
    ck_assert_int_eq(waiter_end(last), NOTIFIED);
    is_whole();
}
END_TEST

/* ---- holders of the lock ---- */

static unsigned dies_after;

static int notifies_and_dies(void *unused)
{
    (void)unused;
    if (mproc_lock_acquire(lock, limit()) < 0)
        return FAILED;
    if (dies_after && mproc_condition_notify(condition, dies_after) != 0)
        return FAILED;
    kill(getpid(), SIGKILL);
    return FAILED;
}

static bool notifier_killed(int home)
{
    pid_t children[WAITERS];
    int told = 0;
    make(home, NULL);
    waiters_start(children, WAITERS);
    dies_after = WAITERS;
    int64_t start_ns = mproc__now_ns();
    ck_assert(waiter_died(support_fork(notifies_and_dies, NULL)));
    for (int i = 0; i < WAITERS; i++) {
        int status = waiter_end(children[i]);
        ck_assert(status == TOLD || status == NOTIFIED);
        told += status == TOLD;
    }
    bool in_time = in_live(start_ns);
    ck_assert_int_eq(told, 1);
    is_whole();
    return in_time;
}

/* shows: DEATH-1 DEATH-3 */
START_TEST(the_death_of_a_notifier_that_holds_the_lock_is_told_to_one_waiter)
{
    once_in_time(notifier_killed, _i);
}
END_TEST

START_TEST(a_holder_that_dies_without_a_notification_wakes_nobody)
{
    pid_t children[2];
    make(_i, NULL);
    waiters_start(children, 2);
    dies_after = 0;
    ck_assert(waiter_died(support_fork(notifies_and_dies, NULL)));
    ck_assert_int_eq(mproc_lock_acquire(lock, limit()), MPROC_RECOVERED);
    ck_assert_uint_eq(waiting(), 2);
    ck_assert_int_eq(mproc_condition_notify(condition, 2), 0);
    unlock_now();
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(waiter_end(children[i]), NOTIFIED);
    is_whole();
}
END_TEST

static int waits_and_dies_with_it(void *unused)
{
    (void)unused;
    if (mproc_lock_acquire(lock, limit()) != 0)
        return FAILED;
    if (mproc_condition_wait(condition, MPROC_FOREVER) >= 0)
        kill(getpid(), SIGKILL);
    return FAILED;
}

/* shows: DEATH-8 */
START_TEST(a_waiter_that_was_told_and_dies_leaves_it_to_the_next)
{
    unsigned one = 1;
    make(_i, NULL);
    pid_t first = support_fork(waits_and_dies_with_it, NULL);
    ck_assert(support_until(waiting_are, &one, CREW_LIMIT_MS));
    dies_after = 1;
    ck_assert(waiter_died(support_fork(notifies_and_dies, NULL)));
    ck_assert(waiter_died(first));
    ck_assert_int_eq(mproc_lock_acquire(lock, limit()), MPROC_RECOVERED);
    unlock_now();
    is_whole();
}
END_TEST

START_TEST(waiters_on_a_poisoned_lock_are_told_and_do_not_hold_it)
{
    pid_t children[2];
    mproc_lock *poison;
    ck_assert_int_eq(mproc_lock_create(NULL, MPROC_WITH(mproc_lock_options, .poison = true), &poison), 0);
    make(0, MPROC_WITH(mproc_condition_options, .lock = poison));
    mproc_lock_close(&poison);
    waiters_start(children, 2);
    dies_after = 2;
    ck_assert(waiter_died(support_fork(notifies_and_dies, NULL)));
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(waiter_end(children[i]), REFUSED);
    ck_assert_uint_eq(taken(), 0);
    ck_assert(!mproc_lock_is_held(lock));
    ck_assert_int_eq(mproc_lock_repair(lock), 0);
    is_whole();
}
END_TEST

static void *notifies_and_ends(void *unused)
{
    (void)unused;
    if (mproc_lock_acquire(lock, limit()) < 0)
        return page;
    return mproc_condition_notify(condition, UINT_MAX) == 0 ? NULL : page;
}

static void *waits_here(void *ret_status)
{
    *(int *)ret_status = waits(NULL);
    return NULL;
}

/* shows: DEATH-3 */
START_TEST(a_thread_that_ends_with_the_lock_is_told_to_one_waiter)
{
    pthread_t threads[3], notifier;
    int status[3] = {FAILED, FAILED, FAILED}, told = 0;
    unsigned three = 3;
    void *failed;
    condition_make(_i, NULL);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, waits_here, &status[i]), 0);
    ck_assert(support_until(waiting_are, &three, CREW_LIMIT_MS));
    ck_assert_int_eq(pthread_create(&notifier, NULL, notifies_and_ends, NULL), 0);
    pthread_join(notifier, &failed);
    ck_assert_ptr_null(failed);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        ck_assert(status[i] == TOLD || status[i] == NOTIFIED);
        told += status[i] == TOLD;
    }
    ck_assert_int_eq(told, 1);
    ck_assert_uint_eq(taken(), 0);
    condition_drop();
}
END_TEST

/* ---- the table ---- */

static int takes_all_and_dies(void *unused)
{
    (void)unused;
    if (mproc_lock_acquire(lock, limit()) < 0)
        return FAILED;
    while (mproc__condition_enter(condition) >= 0)
        ;
    kill(getpid(), SIGKILL);
    return FAILED;
}

START_TEST(a_table_full_of_the_dead_is_emptied_by_whoever_needs_a_slot)
{
    make(_i / 2, NULL);
    for (int i = 0; i < 3; i++) {
        ck_assert(waiter_died(support_fork(takes_all_and_dies, NULL)));
        ck_assert_uint_eq(taken(), MPROC__CONDITION_SLOTS);
        ck_assert_int_eq(mproc_lock_acquire(lock, limit()), MPROC_RECOVERED);
        if (_i % 2)
            ck_assert_int_eq(mproc_condition_notify(condition, UINT_MAX), 0);
        ck_assert_int_eq(mproc_condition_wait(condition, MPROC_NOW), -ETIMEDOUT);
        unlock_now();
        ck_assert_uint_eq(taken(), 0);
    }
    is_whole();
}
END_TEST

/* Killed asleep, chosen, or on its way into the sleep. */
static void one_dies(int how)
{
    unsigned one = 1;
    pid_t child = support_fork(waits, NULL);
    if (how % 4 != 0)
        ck_assert(support_until(waiting_are, &one, CREW_LIMIT_MS));
    if (how % 4 == 2)
        kill(child, SIGSTOP);
    if (how % 4 >= 2) {
        ck_assert_int_ge(mproc_lock_acquire(lock, limit()), 0);
        ck_assert_int_eq(mproc_condition_notify(condition, 1), 0);
        unlock_now();
    }
    support_kill(child);
}

START_TEST(hundreds_of_deaths_leave_no_slot_taken)
{
    make(_i, NULL);
    for (int i = 0; i < DEATHS; i++) {
        one_dies(i);
        ck_assert_int_ge(mproc_lock_acquire(lock, limit()), 0);
        unlock_now();
        mproc__segment_sweep(condition->segment);
        ck_assert_uint_eq(taken(), 0);
    }
    is_whole();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("condition_death");
    TCase *waiters = support_case(suite, "waiters");
    tcase_add_loop_test(waiters, a_waiter_killed_asleep_is_passed_over, 0, 2);
    tcase_add_loop_test(waiters, a_notification_meets_only_the_dead_and_is_not_stored_up, 0, 2);
    tcase_add_loop_test(waiters, a_waiter_killed_after_it_was_notified_passes_that_on_to_the_next, 0, 4);
    tcase_add_loop_test(waiters, notifications_of_several_dead_go_to_as_many_living, 0, 4);
    tcase_add_loop_test(waiters, what_a_dead_one_passes_on_is_for_nobody_who_came_later, 0, 2);
    tcase_add_loop_test(waiters, a_stopped_waiter_keeps_its_notification_until_it_dies, 0, 2);
    tcase_add_loop_test(waiters, a_killed_process_that_waited_three_times_leaves_nothing, 0, 4);
    TCase *holders = support_case(suite, "holders of the lock");
    tcase_add_loop_test(holders, the_death_of_a_notifier_that_holds_the_lock_is_told_to_one_waiter, 0, 2);
    tcase_add_loop_test(holders, a_holder_that_dies_without_a_notification_wakes_nobody, 0, 2);
    tcase_add_loop_test(holders, a_waiter_that_was_told_and_dies_leaves_it_to_the_next, 0, 2);
    tcase_add_test(holders, waiters_on_a_poisoned_lock_are_told_and_do_not_hold_it);
    tcase_add_loop_test(holders, a_thread_that_ends_with_the_lock_is_told_to_one_waiter, 0, 2);
    TCase *table = support_case(suite, "the table");
    tcase_add_loop_test(table, a_table_full_of_the_dead_is_emptied_by_whoever_needs_a_slot, 0, 4);
    tcase_add_loop_test(table, hundreds_of_deaths_leave_no_slot_taken, 0, 2);
    return support_run(suite, argc, argv);
}
