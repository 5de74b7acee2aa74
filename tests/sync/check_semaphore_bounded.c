/* SPDX-License-Identifier: BSD-2-Clause */
/* Bounded semaphores: who holds what, and what the dead give back. Loop tests: 0 host, 1 thread, 2 shm. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/parcel.h"
#include "platform/platform.h"
#include "semaphore_common.h"
#include "shm/report.h"
#include "sync/nouns.h"

static void bounded_make(int home, int64_t bound)
{
    semaphore_make(home, bound, MPROC_WITH(mproc_semaphore_options, .name = "slots", .bounded = true));
}

/* ---- the bound ---- */

/* shows: SYNC-12 */
START_TEST(a_release_above_the_start_value_is_an_error_and_the_value_stays)
{
    bounded_make(_i, 2);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), -ERANGE);
    ck_assert_uint_eq(free_permits(), 2);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 3), -ERANGE);
    ck_assert_uint_eq(free_permits(), 0);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 2), 0);
    ck_assert_uint_eq(free_permits(), 2);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), -ERANGE);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, UINT32_MAX), -ERANGE);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 0), -EINVAL);
    ck_assert_uint_eq(free_permits(), 2);
    semaphore_drop();
}
END_TEST

static int release_is_refused(void *code)
{
    return mproc_semaphore_release(semaphore, 1) == *(int *)code ? 0 : 1;
}

START_TEST(who_holds_none_cannot_release_but_threads_are_not_told_apart)
{
    int not_mine = -EPERM;
    int too_many = -ERANGE;
    bounded_make(_i, 3);
    ck_assert_int_eq(elsewhere(_i, release_is_refused, &too_many), 0);
    ck_assert_int_eq(take_now(NULL), 0);
    if (_i != 1) {
        ck_assert_int_eq(in_child(release_is_refused, &not_mine), 0);
        ck_assert_uint_eq(free_permits(), 2);
    }
    ck_assert_int_eq(in_thread(give_one, NULL), 0);
    ck_assert_uint_eq(free_permits(), 3);
    semaphore_drop();
}
END_TEST

START_TEST(a_bound_of_zero_has_nothing_to_give)
{
    bounded_make(_i, 0);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 1), -ERANGE);
    ck_assert_uint_eq(free_permits(), 0);
    semaphore_drop();
}
END_TEST

/* ---- deaths ---- */

/* shows: DEATH-1 DEATH-5 */
START_TEST(the_permits_of_the_dead_are_free_at_once_also_for_a_try)
{
    int two = 2;
    bounded_make(0, 3);
    ck_assert_int_eq(in_child(take_and_die, &two), 256 + SIGKILL);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 3), 0);
    ck_assert_int_eq(in_child(take_and_die, &two), 256 + SIGKILL);
    ck_assert_uint_eq(free_permits(), 3);
    semaphore_drop();
}
END_TEST

static bool one_free(void *unused)
{
    (void)unused;
    return free_permits() == 1;
}

static bool none_free(void *unused)
{
    (void)unused;
    return free_permits() == 0;
}

/* shows: DEATH-1 DEATH-4 DEATH-5 */
START_TEST(waiters_get_the_permits_of_one_who_is_killed)
{
    int three = 3;
    sleeper waiters[3];
    bounded_make(0, 3);
    pid_t holder = support_fork(hold_for_ever, &three);
    ck_assert(support_until(none_free, NULL, LONG_MS));
    for (int i = 0; i < 3; i++)
        sleeper_start(i > 0, take_soon, &waiters[i]);
    int64_t start = mproc__now_ns();
    support_kill(holder);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(sleeper_end(&waiters[i]), 0);
    ck_assert_int_lt(since_ms(start), support_ms(PROMPT_MS));
    ck_assert_uint_eq(free_permits(), 2); /* two ended with theirs, the thread's is ours */
    ck_assert_int_eq(give_one(NULL), 0);
    semaphore_drop();
}
END_TEST

static int take_in_a_thread_and_hold(void *unused)
{
    if (in_thread(take_soon, unused))
        return 1;
    for (;;)
        pause();
}

/* The thread that joined has ended, the process goes on: it holds. Then it dies without a life word to tell. */
START_TEST(a_permit_outlives_the_thread_that_took_it_and_not_the_process)
{
    sleeper waiter;
    bounded_make(0, 2);
    pid_t holder = support_fork(take_in_a_thread_and_hold, NULL);
    ck_assert(support_until(one_free, NULL, LONG_MS));
    ck_assert(support_until_asleep(holder, LONG_MS));
    ck_assert_uint_eq(free_permits(), 1);
    ck_assert_int_eq(take_now(NULL), 0);
    sleeper_start(false, take_soon, &waiter);
    int64_t start = mproc__now_ns();
    support_kill(holder);
    ck_assert_int_eq(sleeper_end(&waiter), 0);
    ck_assert_int_lt(since_ms(start), support_ms(PROMPT_MS));
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 2), 0);
    semaphore_drop();
}
END_TEST

START_TEST(a_stopped_holder_holds_and_deadlines_are_kept)
{
    int one = 1;
    bounded_make(0, 1);
    pid_t holder = support_fork(hold_for_ever, &one);
    ck_assert(support_until(none_free, NULL, LONG_MS));
    kill(holder, SIGSTOP);
    ck_assert_int_eq(waitpid(holder, NULL, WUNTRACED), holder);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, mproc_after_ms(30)), -ETIMEDOUT);
    ck_assert_uint_eq(free_permits(), 0);
    support_kill(holder);
    ck_assert_int_eq(mproc_semaphore_acquire(semaphore, soon()), 0);
    ck_assert_int_eq(give_one(NULL), 0);
    semaphore_drop();
}
END_TEST

static int use_and_die(void *times)
{
    for (int i = 0; i < *(int *)times; i++)
        if (take_soon(NULL) || give_one(NULL))
            return 1;
    if (take_soon(NULL))
        return 2;
    kill(getpid(), SIGKILL);
    return 3;
}

/* shows: DEATH-5 */
START_TEST(after_a_hundred_deaths_all_permits_are_there)
{
    enum { AT_ONCE = 5 };
    pid_t children[AT_ONCE];
    bounded_make(0, 3);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < AT_ONCE; i++) {
            int times = round * i % 7;
            children[i] = support_fork(use_and_die, &times);
        }
        for (int i = 0; i < AT_ONCE; i++)
            ck_assert_int_eq(support_reap(children[i], LONG_MS), 256 + SIGKILL);
        ck_assert_uint_eq(free_permits(), 3);
    }
    semaphore_drop();
}
END_TEST

/* ---- handles ---- */

static int closes_holding(void *unused)
{
    if (take_now(unused) || take_now(unused))
        return 1;
    mproc_semaphore_close(&semaphore);
    for (;;)
        pause();
}

static int close_without_holding(void *unused)
{
    (void)unused;
    mproc_semaphore_close(&semaphore);
    return 0;
}

/* shows: DEATH-5 */
START_TEST(the_last_close_gives_back_what_its_process_holds_and_no_more)
{
    sleeper waiter;
    bounded_make(0, 3);
    ck_assert_int_eq(take_now(NULL), 0);
    ck_assert_int_eq(in_child(close_without_holding, NULL), 0); /* a copy of our handle, not our permit */
    ck_assert_uint_eq(free_permits(), 2);
    pid_t child = support_fork(closes_holding, NULL);
    ck_assert(support_until_asleep(child, LONG_MS));
    ck_assert_uint_eq(free_permits(), 2);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(take_now(NULL), 0);
    sleeper_start(true, take_soon, &waiter);
    ck_assert_int_eq(mproc_semaphore_release(semaphore, 3), 0);
    ck_assert_int_eq(sleeper_end(&waiter), 0);
    support_kill(child);
    ck_assert_uint_eq(free_permits(), 3);
    semaphore_drop();
}
END_TEST

static mproc_semaphore *received_copy(mproc_variant *ret_received)
{
    mproc__nouns_register();
    mproc__parcel parcel = {0};
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(semaphore)), 0);
    ck_assert_uint_eq(parcel.fd_count, 1);
    parcel.fds[0] = dup(parcel.fds[0]); /* as a socket would */
    ck_assert_int_eq(mproc__parcel_unpack(&parcel, ret_received), 0);
    mproc__parcel_clear(&parcel, true);
    return mproc_variant_get_handle(*ret_received, MPROC_TYPE_SEMAPHORE);
}

START_TEST(a_received_handle_is_the_same_semaphore_with_permits_of_its_own)
{
    mproc_variant received;
    bounded_make(0, 3);
    mproc_semaphore *copy = received_copy(&received);
    ck_assert_ptr_nonnull(copy);
    ck_assert_int_eq(take_now(NULL), 0);
    ck_assert_int_eq(mproc_semaphore_release(copy, 1), -EPERM);
    ck_assert_int_eq(mproc_semaphore_acquire(copy, MPROC_NOW), 0);
    ck_assert_uint_eq(free_permits(), 1);
    mproc_variant_clear(&received); /* closes it, and gives its own back */
    ck_assert_uint_eq(free_permits(), 2);
    ck_assert_int_eq(give_one(NULL), 0);
    semaphore_drop();
}
END_TEST

START_TEST(the_next_process_in_a_row_begins_with_nothing)
{
    int one = 1;
    bounded_make(0, 4);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(in_child(take_and_die, &one), 256 + SIGKILL);
        ck_assert_int_eq(in_child(pass_through, NULL), 0);
        ck_assert_uint_eq(free_permits(), 4);
    }
    semaphore_drop();
}
END_TEST

static int refused_for_want_of_a_row(void *unused)
{
    (void)unused;
    if (mproc_semaphore_acquire(semaphore, MPROC_NOW) != MPROC_ELIMIT)
        return 1;
    if (mproc_semaphore_release(semaphore, 1) != MPROC_ELIMIT)
        return 2;
    char rows[16];
    snprintf(rows, sizeof rows, " %d ", MPROC__ROWS);
    return strstr(mproc_error_text(mproc_error_of(semaphore)), rows) ? 0 : 3;
}

START_TEST(a_process_that_finds_the_table_full_is_told)
{
    static mproc_variant received[MPROC__ROWS];
    unsigned all = MPROC__ROWS;
    bounded_make(0, 2 * MPROC__ROWS);
    for (int i = 0; i < MPROC__ROWS; i++)
        ck_assert_int_eq(mproc_semaphore_acquire(received_copy(&received[i]), MPROC_NOW), 0);
    ck_assert_int_eq(in_child(value_is, &all), 0);
    ck_assert_int_eq(in_child(refused_for_want_of_a_row, NULL), 0);
    mproc_variant_clear(&received[7]);
    ck_assert_int_eq(in_child(pass_through, NULL), 0);
    for (int i = 0; i < MPROC__ROWS; i++)
        mproc_variant_clear(&received[i]);
    ck_assert_uint_eq(free_permits(), 2 * MPROC__ROWS);
    semaphore_drop();
}
END_TEST

START_TEST(description_and_explanation_name_holders_and_free_permits)
{
    char text[200];
    struct mproc__report *report = malloc(sizeof(*report));
    bounded_make(_i, 3);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(take_now(NULL), 0);
    mproc_describe(semaphore, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "bounded semaphore slots on "));
    ck_assert_ptr_nonnull(strstr(text, "1 of 3 free"));
    mproc__report_clear(report);
    mproc__semaphore_noun.explain(mproc__semaphore_local(semaphore)->shared, sizeof(mproc__semaphore_shared),
                                  report);
    ck_assert_str_eq(report->state, "1 of 3 permits free");
    ck_assert_uint_eq(report->holder_count, 1);
    ck_assert_int_eq(report->holders[0].pid, getpid());
    ck_assert_str_eq(report->holders[0].as, "2 permits");
    free(report);
    semaphore_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("semaphore_bounded");
    TCase *bound = support_case(suite, "bound");
    tcase_add_loop_test(bound, a_release_above_the_start_value_is_an_error_and_the_value_stays, 0, 3);
    tcase_add_loop_test(bound, who_holds_none_cannot_release_but_threads_are_not_told_apart, 0, 3);
    tcase_add_loop_test(bound, a_bound_of_zero_has_nothing_to_give, 0, 3);
    TCase *death = support_case(suite, "death");
    tcase_add_test(death, the_permits_of_the_dead_are_free_at_once_also_for_a_try);
    tcase_add_test(death, waiters_get_the_permits_of_one_who_is_killed);
    tcase_add_test(death, a_permit_outlives_the_thread_that_took_it_and_not_the_process);
    tcase_add_test(death, a_stopped_holder_holds_and_deadlines_are_kept);
    tcase_add_test(death, after_a_hundred_deaths_all_permits_are_there);
    TCase *handle = support_case(suite, "handle");
    tcase_add_test(handle, the_last_close_gives_back_what_its_process_holds_and_no_more);
    tcase_add_test(handle, a_received_handle_is_the_same_semaphore_with_permits_of_its_own);
    tcase_add_test(handle, the_next_process_in_a_row_begins_with_nothing);
    tcase_add_test(handle, a_process_that_finds_the_table_full_is_told);
    tcase_add_loop_test(handle, description_and_explanation_name_holders_and_free_permits, 0, 3);
    return support_run(suite, argc, argv);
}
