/* SPDX-License-Identifier: BSD-2-Clause */
/* Events of the homes thread and host: set, cleared, waited for. Loop tests run once for each: 0 host, 1 thread. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "event_common.h"
#include "platform/platform.h"

/* shows: SYNC-26 */
START_TEST(an_event_is_unset_at_first_and_set_ends_every_wait)
{
    event_make(_i, NULL);
    ck_assert(!mproc_event_is_set(event));
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_lt(since_ms(start), support_ms(LIVE_MS));
    start = mproc__now_ns();
    ck_assert_int_eq(mproc_event_wait(event, mproc_after_ms(30)), -ETIMEDOUT);
    ck_assert_int_ge(since_ms(start), 30);
    ck_assert_int_lt(since_ms(start), 30 + support_ms(LIVE_MS));
    for (int round = 0; round < 2; round++) {
        for (int again = 0; again < 2; again++) {
            ck_assert_int_eq(mproc_event_set(event), 0);
            ck_assert(mproc_event_is_set(event));
            ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), 0);
            ck_assert_int_eq(mproc_event_wait(event, MPROC_FOREVER), 0);
        }
        for (int again = 0; again < 2; again++) {
            ck_assert_int_eq(mproc_event_clear(event), 0);
            ck_assert(!mproc_event_is_set(event));
            ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), -ETIMEDOUT);
        }
    }
    event_drop();
}
END_TEST

enum { SLEEPERS = 4 };

/* shows: SYNC-27 */
START_TEST(set_from_another_process_wakes_all_who_wait)
{
    sleeper sleepers[SLEEPERS];
    event_make(0, NULL);
    for (int i = 0; i < SLEEPERS; i++) /* processes, and one thread of this */
        sleeper_start(i == 0, &sleepers[i]);
    ck_assert_int_eq(in_child(set_it), 0);
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert_int_eq(sleeper_end(&sleepers[i]), 0);
    ck_assert_int_eq(in_child(wait_now), 0);
    event_drop();
}
END_TEST

START_TEST(set_and_clear_in_a_row_release_all_who_waited)
{
    sleeper sleepers[SLEEPERS];
    event_make(_i, NULL);
    for (int i = 0; i < SLEEPERS; i++)
        sleeper_start(_i, &sleepers[i]);
    ck_assert_int_eq(mproc_event_set(event), 0);
    ck_assert_int_eq(mproc_event_clear(event), 0);
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert_int_eq(sleeper_end(&sleepers[i]), 0);
    ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), -ETIMEDOUT);
    event_drop();
}
END_TEST

START_TEST(an_event_can_be_set_from_the_start)
{
    event_make(_i, MPROC_WITH(mproc_event_options, .set = true));
    ck_assert(mproc_event_is_set(event));
    ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_event_clear(event), 0);
    ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), -ETIMEDOUT);
    event_drop();
}
END_TEST

/* shows: SYNC-28 */
START_TEST(a_description_tells_set_or_unset)
{
    char text[200];
    event_make(_i, MPROC_WITH(mproc_event_options, .name = "door"));
    mproc_describe(event, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "event door on "));
    ck_assert_ptr_nonnull(strstr(text, ", not set"));
    ck_assert_int_eq(mproc_event_set(event), 0);
    mproc_describe(event, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, ", set"));
    event_drop();
}
END_TEST

static mproc_event *back;
enum { TRIPS = 2000 };

static int answer_all(void *unused)
{
    (void)unused;
    for (int i = 0; i < TRIPS; i++)
        if (wait_long(NULL) || mproc_event_clear(event) || mproc_event_set(back))
            return 1;
    return 0;
}

static void ask_all(void)
{
    for (int i = 0; i < TRIPS; i++) {
        ck_assert_int_eq(mproc_event_set(event), 0);
        ck_assert_int_eq(mproc_event_wait(back, mproc_after_ms(support_ms(LONG_MS))), 0);
        ck_assert_int_eq(mproc_event_clear(back), 0);
    }
}

START_TEST(two_sides_take_turns_without_a_lost_wake)
{
    errand job = {.fn = answer_all, .status = -1};
    pthread_t thread;
    pid_t child = 0;
    event_make(_i, NULL);
    ck_assert_int_eq(mproc_event_create(place, NULL, &back), 0);
    if (_i == 0)
        child = support_fork(answer_all, NULL);
    else
        ck_assert_int_eq(pthread_create(&thread, NULL, errand_run, &job), 0);
    ask_all();
    if (_i == 0) {
        ck_assert_int_eq(support_reap(child, LONG_MS), 0);
    } else {
        pthread_join(thread, NULL);
        ck_assert_int_eq(job.status, 0);
    }
    mproc_event_close(&back);
    event_drop();
}
END_TEST

static void interrupt(int number)
{
    (void)number;
}

static int interrupted_wait(void *unused)
{
    (void)unused;
    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGUSR1, &action, NULL);
    int64_t start = mproc__now_ns();
    if (mproc_event_wait(event, mproc_after_ms(150)) != -ETIMEDOUT)
        return 1;
    return since_ms(start) < 150 ? 2 : 0;
}

START_TEST(a_wait_goes_on_after_a_signal_and_keeps_its_deadline)
{
    event_make(0, NULL);
    pid_t child = support_fork(interrupted_wait, NULL);
    ck_assert(support_until_asleep(child, LONG_MS));
    kill(child, SIGUSR1);
    ck_assert_int_eq(support_reap(child, LONG_MS), 0);
    event_drop();
}
END_TEST

/* ---- deaths ---- */

static int sleep_forever(void *unused)
{
    (void)unused;
    return mproc_event_wait(event, MPROC_FOREVER);
}

START_TEST(killed_waiters_hold_up_neither_set_nor_the_others)
{
    sleeper sleepers[SLEEPERS];
    pid_t doomed[SLEEPERS];
    event_make(0, NULL);
    for (int i = 0; i < SLEEPERS; i++) {
        doomed[i] = support_fork(sleep_forever, NULL);
        sleeper_start(0, &sleepers[i]);
        ck_assert(support_until_asleep(doomed[i], LONG_MS));
    }
    for (int i = 0; i < SLEEPERS; i++)
        support_kill(doomed[i]);
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_event_set(event), 0);
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert_int_eq(sleeper_end(&sleepers[i]), 0);
    ck_assert_int_lt(since_ms(start), support_ms(LIVE_MS));
    event_drop();
}
END_TEST

START_TEST(a_stopped_waiter_holds_up_nobody)
{
    sleeper other;
    event_make(0, NULL);
    pid_t stopped = support_fork(wait_long, NULL);
    ck_assert(support_until_asleep(stopped, LONG_MS));
    kill(stopped, SIGSTOP);
    ck_assert_int_eq(waitpid(stopped, NULL, WUNTRACED), stopped);
    sleeper_start(0, &other);
    ck_assert_int_eq(mproc_event_set(event), 0);
    ck_assert_int_eq(mproc_event_clear(event), 0);
    ck_assert_int_eq(sleeper_end(&other), 0);
    kill(stopped, SIGCONT);
    ck_assert_int_eq(support_reap(stopped, LONG_MS), 0); /* it had been released before it was stopped */
    event_drop();
}
END_TEST

enum { WAIT_MS = 1000 };

static int64_t used_us(const struct rusage *usage)
{
    return (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * INT64_C(1000000) + usage->ru_utime.tv_usec +
           usage->ru_stime.tv_usec;
}

static int sleeps_through(void *unused)
{
    (void)unused;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    if (mproc_event_wait(event, mproc_after_ms(WAIT_MS)) != -ETIMEDOUT)
        return 1;
    getrusage(RUSAGE_SELF, &after);
    if (after.ru_nvcsw - before.ru_nvcsw > 3)
        return 2;
    return used_us(&after) - used_us(&before) > WAIT_MS ? 3 : 0; /* a thousandth of a core */
}

/* shows: IDLE-1 */
START_TEST(a_waiter_is_not_woken_now_and_then)
{
    event_make(0, NULL);
    pid_t other = support_fork(wait_long, NULL);
    ck_assert(support_until_asleep(other, LONG_MS));
    ck_assert_int_eq(in_child(sleeps_through), 0);
    ck_assert_int_eq(mproc_event_set(event), 0);
    ck_assert_int_eq(support_reap(other, LONG_MS), 0);
    event_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("event");
    TCase *state = support_case(suite, "state");
    tcase_add_loop_test(state, an_event_is_unset_at_first_and_set_ends_every_wait, 0, 2);
    tcase_add_test(state, set_from_another_process_wakes_all_who_wait);
    tcase_add_loop_test(state, set_and_clear_in_a_row_release_all_who_waited, 0, 2);
    tcase_add_loop_test(state, an_event_can_be_set_from_the_start, 0, 2);
    tcase_add_loop_test(state, a_description_tells_set_or_unset, 0, 2);
    tcase_add_loop_test(state, two_sides_take_turns_without_a_lost_wake, 0, 2);
    tcase_add_test(state, a_wait_goes_on_after_a_signal_and_keeps_its_deadline);
    TCase *death = support_case(suite, "death");
    tcase_add_test(death, killed_waiters_hold_up_neither_set_nor_the_others);
    tcase_add_test(death, a_stopped_waiter_holds_up_nobody);
    if (!SUPPORT_THREAD_SANITIZER) /* its thread's wake-ups count as this process's */
        tcase_add_test(death, a_waiter_is_not_woken_now_and_then);
    return support_run(suite, argc, argv);
}
