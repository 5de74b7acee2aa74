/* SPDX-License-Identifier: BSD-2-Clause */
/* The program's default start method, and the method of one start; what either leaves of the other. */
#include "platform/base.h"

#include <pthread.h>

#include <mproc/lock.h>
#include <mproc/queue.h>
#include "process/process_support.h"
#include "shm/place.h"

static int tells_method(mproc_call *call)
{
    (void)call;
    return (int)mproc_get_start();
}

/* ---- the methods ---- */

/* The default is fork: C programs expect it, and where it is a danger, beside other threads, it is refused. */
/* shows: START-01 */
START_TEST(every_method_of_the_list_starts_a_process_and_its_first_is_the_default)
{
    warm();
    ck_assert_int_eq(mproc_get_start(), MPROC_START_DEFAULT + 1);
    ck_assert_int_eq(run(MPROC_START_FORK, tells_method, MPROC_NONE), MPROC_START_FORK);
    ck_assert_int_eq(run(MPROC_START_SPAWN, tells_method, MPROC_NONE), MPROC_START_SPAWN);
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, tells_method, MPROC_NONE), MPROC_START_FORKSERVER);
    ck_assert_int_eq(run(MPROC_START_DEFAULT, tells_method, MPROC_NONE), MPROC_START_FORK);
}
END_TEST

/* The options of a start are its context. */
/* shows: START-02 */
START_TEST(options_that_name_a_method_hold_whatever_the_default_becomes)
{
    static const int unknown[] = {-1, MPROC_START_THREAD + 1, 1000};
    mproc_process_options options = {.size = sizeof options, .start = (mproc_start)_i}, before = options;
    mproc_process *process = NULL;
    warm();
    for (mproc_start other = MPROC_START_FORK; other <= MPROC_START_THREAD; other++) {
        ck_assert_int_eq(mproc_reset_start(other), 0);
        ck_assert_int_eq(mproc_process_start(tells_method, MPROC_NONE, &options, &process), 0);
        ck_assert_int_eq(join(process), _i);
        mproc_process_close(&process);
        ck_assert_mem_eq(&options, &before, sizeof options);
        ck_assert_int_eq(mproc_get_start(), other);
    }
    for (size_t i = 0; i < MPROC__COUNT(unknown); i++) {
        options.start = (mproc_start)unknown[i];
        ck_assert_int_eq(mproc_process_start(tells_method, MPROC_NONE, &options, &process), -EINVAL);
        ck_assert_ptr_null(process);
    }
}
END_TEST

/* ---- the default ---- */

START_TEST(what_is_no_method_is_no_default)
{
    static const int unknown[] = {-1, MPROC_START_THREAD + 1, 1000};
    for (size_t i = 0; i < MPROC__COUNT(unknown); i++) {
        ck_assert_int_eq(mproc_set_start((mproc_start)unknown[i]), -EINVAL);
        ck_assert_int_eq(mproc_reset_start((mproc_start)unknown[i]), -EINVAL);
    }
    ck_assert_int_eq(mproc_set_start(MPROC_START_DEFAULT), -EINVAL);
    ck_assert_int_eq(mproc_set_start(MPROC_START_THREAD), 0); /* none of these has set anything */
}
END_TEST

/* shows: START-03 */
START_TEST(the_default_is_set_once_and_by_force_at_any_time_also_to_none)
{
    warm();
    ck_assert_int_eq(mproc_set_start(MPROC_START_SPAWN), 0);
    ck_assert_int_eq(mproc_set_start(MPROC_START_FORK), MPROC_ESTATE);
    ck_assert_int_eq(mproc_set_start(MPROC_START_SPAWN), MPROC_ESTATE);
    ck_assert_int_eq(run(MPROC_START_DEFAULT, tells_method, MPROC_NONE), MPROC_START_SPAWN);
    ck_assert_int_eq(mproc_reset_start(MPROC_START_FORKSERVER), 0);
    ck_assert_int_eq(mproc_get_start(), MPROC_START_FORKSERVER);
    ck_assert_int_eq(run(MPROC_START_DEFAULT, tells_method, MPROC_NONE), MPROC_START_FORKSERVER);
    ck_assert_int_eq(mproc_set_start(MPROC_START_FORK), MPROC_ESTATE);
    ck_assert_int_eq(mproc_reset_start(MPROC_START_DEFAULT), 0);
    ck_assert_int_eq(mproc_get_start(), MPROC_START_FORK);
    ck_assert_int_eq(mproc_set_start(MPROC_START_SPAWN), 0);
}
END_TEST

/* There is one way to read it, which settles nothing. */
/* shows: START-04 */
START_TEST(reading_the_default_leaves_it_open_and_a_start_without_a_method_settles_it)
{
    warm();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mproc_get_start(), MPROC_START_FORK);
    ck_assert_int_eq(mproc_set_start(MPROC_START_SPAWN), 0);
    ck_assert_int_eq(mproc_reset_start(MPROC_START_DEFAULT), 0);
    ck_assert_int_eq(run(MPROC_START_DEFAULT, tells_method, MPROC_NONE), MPROC_START_FORK);
    ck_assert_int_eq(mproc_set_start(MPROC_START_SPAWN), MPROC_ESTATE);
    ck_assert_int_eq(mproc_get_start(), MPROC_START_FORK);
}
END_TEST

/* shows: START-05 */
START_TEST(a_start_that_names_its_method_and_the_entry_hook_leave_the_default_open)
{
    char program[] = "program", *list[] = {program, NULL}, **argv = list;
    int argc = 1;
    warm();
    ck_assert_int_eq(run(_i, nothing, MPROC_NONE), 0);
    ck_assert_int_eq(mproc__process_main(&argc, &argv), 0);
    ck_assert_int_eq(mproc_set_start(MPROC_START_THREAD), 0);
    ck_assert_int_eq(mproc_get_start(), MPROC_START_THREAD);
}
END_TEST

static int starts_by_default(mproc_call *call)
{
    mproc_process *child;
    int exit_code = 99;
    if (mproc_process_start(tells_method, MPROC_NONE, NULL, &child) != 0 ||
        mproc_process_join(child, mproc_after_ms(LIMIT_MS), &exit_code) != 0)
        return 100;
    mproc_process_close(&child);
    return exit_code == (int)mproc_call_int(call, 0) ? (int)mproc_get_start() : 101;
}

/* shows: START-06 */
START_TEST(a_childs_default_is_its_own_method_also_where_its_parents_was_set)
{
    warm();
    for (mproc_start other = MPROC_START_FORK; other <= MPROC_START_THREAD; other++) {
        ck_assert_int_eq(mproc_reset_start(other), 0);
        ck_assert_int_eq(run(_i, starts_by_default, MPROC_ARGS(_i)), _i);
    }
}
END_TEST

/* ---- what a method cannot take along ---- */

/* What a fork child could use but another process could not does not exist here: an object is for the threads of one
 * process, or for every process. */
/* shows: START-07 */
START_TEST(locks_and_queues_of_this_process_alone_are_refused_by_name_at_start)
{
    mproc_place *place;
    mproc_lock *lock;
    mproc_queue *queue;
    mproc_process *process = NULL;
    mproc_process_options options = {.size = sizeof options, .start = (mproc_start)_i};
    warm();
    ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    ck_assert_int_eq(mproc_lock_create(place, NULL, &lock), 0);
    ck_assert_int_eq(mproc_queue_create(place, NULL, &queue), 0);
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_ARGS(lock), &options, &process), MPROC_ECANNOTCROSS);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "lock"));
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_ARGS(queue), &options, &process), MPROC_ECANNOTCROSS);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "queue"));
    ck_assert_ptr_null(process);
    mproc_queue_close(&queue);
    mproc_lock_close(&lock);
    mproc_place_close(&place);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("method");
    TCase *methods = support_case(suite, "the methods");
    tcase_add_test(methods, every_method_of_the_list_starts_a_process_and_its_first_is_the_default);
    tcase_add_loop_test(methods, options_that_name_a_method_hold_whatever_the_default_becomes, FIRST_METHOD,
                        PROCESS_METHODS);
    TCase *standard = support_case(suite, "the default");
    tcase_add_test(standard, what_is_no_method_is_no_default);
    tcase_add_test(standard, the_default_is_set_once_and_by_force_at_any_time_also_to_none);
    tcase_add_test(standard, reading_the_default_leaves_it_open_and_a_start_without_a_method_settles_it);
    tcase_add_loop_test(standard, a_start_that_names_its_method_and_the_entry_hook_leave_the_default_open,
                        FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(standard, a_childs_default_is_its_own_method_also_where_its_parents_was_set,
                        FIRST_METHOD, PROCESS_METHODS);
    TCase *refused = support_case(suite, "refused");
    tcase_add_loop_test(refused, locks_and_queues_of_this_process_alone_are_refused_by_name_at_start,
                        MPROC_START_SPAWN, PROCESS_METHODS);
    return support_run(suite, argc, argv);
}
