/* SPDX-License-Identifier: BSD-2-Clause */
/* What becomes of a task when one that it comes after fails, when it is cancelled itself, and when its pool ends. */
#include "platform/base.h"

#include <string.h>
#include <unistd.h>

#include "pool/after_common.h"

static mproc_future *after_one(scene *s, mproc_fn *fn, int number, mproc_future *first)
{
    return turn_submit(s, fn, number, &first, 1);
}

static mproc_future *labelled(scene *s, mproc_fn *fn, int number, const char *label)
{
    return turn_submit_with(s, fn, number, MPROC_WITH(mproc_task_options, .label = label));
}

/* The gate keeps the one worker: what is submitted meanwhile is linked before it can have begun. */
START_TEST(a_failure_is_handed_on_and_named)
{
    scene s;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 1});
    mproc_future *gate = turn_submit(&s, turn_at_gate, 0, NULL, 0);
    mproc_future *load = labelled(&s, turn_fail, 1, "load");
    mproc_future *sum = after_one(&s, turn, 2, load), *print = after_one(&s, turn, 3, sum);
    mproc_future *anyhow = turn_submit_with(
        &s, turn, 4,
        MPROC_WITH(mproc_task_options, .after = &print, .after_count = 1, .even_if_failed = true));
    gate_open(&s, 0);
    ck_assert_int_eq(result_int(anyhow), 4);
    failure_check(&print, MPROC_EAFTER, "task 3, which it comes after, has failed: MPROC_EAFTER", "task 4");
    failure_check(&sum, MPROC_EAFTER, "task 2 (load), which it comes after, has failed: ERANGE", "too big");
    failure_check(&load, -ERANGE, "too big", "load");
    ck_assert_int_eq(atomic_load(&s.board->begun[2]), 0);
    ck_assert_int_eq(atomic_load(&s.board->begun[3]), 0);
    order_check(&s, 1, 4);
    mproc_future_close(&gate);
    scene_end(&s);
}
END_TEST

/* Whichever is looked at first, and long after its slot has been used again. */
START_TEST(the_story_is_there_when_the_first_was_looked_at_before)
{
    scene s;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 1, .max_queued_tasks = 4});
    mproc_future *load = labelled(&s, turn_at_gate, 0, "load"), *gate, *more;
    gate = turn_submit(&s, turn_at_gate, 1, NULL, 0);
    mproc_future *sum = turn_submit(&s, turn, 2, (mproc_future *const[]){load, gate}, 2);
    ck_assert(support_until(is_running, load, 5000));
    ck_assert_int_eq(mproc_future_cancel(load, true), 0);
    failure_check(&load, -ECANCELED, "load", NULL);
    for (int i = 3; i < 9; i++) {
        more = turn_submit(&s, turn, i, NULL, 0);
        ck_assert_int_eq(mproc_future_cancel(more, true), 0);
        mproc_future_close(&more);
    }
    gate_open(&s, 1);
    failure_check(&sum, MPROC_EAFTER, "task 1 (load), which it comes after, has failed: ECANCELED", "task 3");
    mproc_future_close(&gate);
    scene_end(&s);
}
END_TEST

START_TEST(what_has_ended_before_counts_as_it_ended)
{
    scene s;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 1});
    mproc_future *good = turn_submit(&s, turn, 0, NULL, 0), *bad = labelled(&s, turn_fail, 1, "load");
    ck_assert_int_eq(result_code(good), 0);
    ck_assert_int_eq(result_code(bad), -ERANGE);
    mproc_future *const both[] = {good, bad};
    ck_assert_int_eq(result_int(turn_submit(&s, turn, 2, both, 1)), 2);
    mproc_future *failed = turn_submit(&s, turn, 3, both, 2);
    failure_check(&failed, MPROC_EAFTER, "task 2 (load), which it comes after, has failed: ERANGE",
                  "too big");
    ck_assert_int_eq(result_int(turn_submit_with(&s, turn, 4,
                                                 MPROC_WITH(mproc_task_options, .after = both,
                                                            .after_count = 2, .even_if_failed = true))),
                     4);
    mproc_future_close(&good);
    mproc_future_close(&bad);
    scene_end(&s);
}
END_TEST

/* Its task goes on, and is waited for. */
START_TEST(a_future_may_be_closed_while_others_come_after_it)
{
    scene s;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 2});
    mproc_future *gate = turn_submit(&s, turn_at_gate, 0, NULL, 0), *bad = after_one(&s, turn_fail, 1, gate);
    mproc_future *good = after_one(&s, turn, 2, gate), *failed = after_one(&s, turn, 3, bad);
    mproc_future_close(&gate);
    mproc_future_close(&bad);
    gate_open(&s, 0);
    ck_assert_int_eq(result_int(good), 2);
    order_check(&s, 0, 2);
    failure_check(&failed, MPROC_EAFTER, "task 2, which it comes after, has failed: ERANGE", "too big");
    scene_end(&s);
}
END_TEST

/* shows: DEATH-6 */
START_TEST(a_death_and_a_time_limit_are_failures)
{
    scene s;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 2});
    mproc_future *dies = turn_submit(&s, turn_die, 0, NULL, 0), *after_death = after_one(&s, turn, 1, dies);
    mproc_future *late = turn_submit_with(
        &s, turn_at_gate, 2, MPROC_WITH(mproc_task_options, .time_limit_ms = 20, .grace_ms = 20));
    mproc_future *after_late = after_one(&s, turn, 3, late);
    failure_check(&after_death, MPROC_EAFTER, "task 1, which it comes after, has failed: MPROC_EDIED", NULL);
    failure_check(&after_late, MPROC_EAFTER, "task 3, which it comes after, has failed: ETIME", NULL);
    mproc_future_close(&dies);
    mproc_future_close(&late);
    scene_end(&s);
}
END_TEST

START_TEST(of_a_task_tried_again_the_last_end_counts)
{
    scene s;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 2});
    mproc_future *once = turn_submit_with(&s, turn_die_once, 0, MPROC_WITH(mproc_task_options, .retries = 1));
    mproc_future *next = after_one(&s, turn, 1, once);
    ck_assert_int_eq(result_int(next), 1);
    order_check(&s, 0, 1);
    ck_assert_int_eq(result_int(once), 0);
    scene_end(&s);
}
END_TEST

/* shows: WORK-1 */
START_TEST(one_that_waits_is_cancelled_at_once)
{
    scene s;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 2});
    mproc_future *gate = turn_submit(&s, turn_at_gate, 0, NULL, 0), *waits = after_one(&s, turn, 1, gate);
    mproc_future *behind = after_one(&s, turn, 2, waits), *beside = after_one(&s, turn, 3, gate);
    ck_assert_int_eq(mproc_future_cancel(waits, false), 0);
    ck_assert_int_eq(mproc_future_get_state(waits), MPROC_FUTURE_CANCELLED);
    failure_check(&behind, MPROC_EAFTER, "task 2, which it comes after, has failed: ECANCELED", NULL);
    ck_assert_int_eq(mproc_future_get_state(beside), MPROC_FUTURE_PENDING);
    gate_open(&s, 0);
    ck_assert_int_eq(result_int(beside), 3);
    ck_assert_int_eq(atomic_load(&s.board->begun[1]), 0);
    mproc_future_close(&gate);
    mproc_future_close(&waits);
    scene_end(&s);
}
END_TEST

START_TEST(cancelling_what_is_queued_or_runs_hands_on)
{
    scene s;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 1});
    mproc_future *runs = turn_submit(&s, turn_at_gate, 0, NULL, 0),
                 *queued = turn_submit(&s, turn, 1, NULL, 0);
    mproc_future *a = after_one(&s, turn, 2, runs), *b = after_one(&s, turn, 3, queued);
    ck_assert(support_until(is_running, runs, 5000));
    ck_assert_int_eq(mproc_future_cancel(queued, false), 0);
    ck_assert_int_eq(mproc_future_cancel(runs, true), 0);
    failure_check(&a, MPROC_EAFTER, "task 1", "ECANCELED");
    failure_check(&b, MPROC_EAFTER, "task 2", "ECANCELED");
    mproc_future_close(&runs);
    mproc_future_close(&queued);
    scene_end(&s);
}
END_TEST

START_TEST(one_that_waits_too_long_is_not_begun)
{
    scene s;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 2});
    mproc_future *gate = turn_submit(&s, turn_at_gate, 0, NULL, 0);
    mproc_future *late = turn_submit_with(
        &s, turn, 1,
        MPROC_WITH(mproc_task_options, .after = &gate, .after_count = 1, .begin_by = mproc_after_ms(20)));
    mproc_future *behind = after_one(&s, turn, 2, late);
    failure_check(&late, -ETIME, "could not begin", "task 2"); /* the gate is closed */
    failure_check(&behind, MPROC_EAFTER, "task 2, which it comes after, has failed: ETIME", NULL);
    gate_open(&s, 0);
    ck_assert_int_eq(result_int(gate), 0);
    ck_assert_int_eq(atomic_load(&s.board->begun[1]), 0);
    scene_end(&s);
}
END_TEST

/* ---- the pool's end ---- */

static mproc_future *chain_make(scene *s, mproc_future *chain[4])
{
    chain[0] = turn_submit(s, turn_at_gate, 0, NULL, 0);
    for (int i = 1; i < 4; i++)
        chain[i] = after_one(s, turn, i, chain[i - 1]);
    ck_assert(support_until(is_running, chain[0], 5000));
    return chain[0];
}

START_TEST(a_stop_that_drains_finishes_those_that_wait)
{
    scene s;
    size_t dropped = 9;
    mproc_future *chain[4];
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 2});
    (void)chain_make(&s, chain);
    gate_open(&s, 0);
    ck_assert_int_eq(mproc_pool_stop(s.pool, true, mproc_after_ms(support_ms(5000)), &dropped), 0);
    ck_assert_uint_eq(dropped, 0);
    mproc_pool_close(&s.pool);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(result_int(chain[i]), i);
    scene_end(&s);
}
END_TEST

START_TEST(a_stop_that_does_not_drain_cancels_those_that_wait)
{
    scene s;
    size_t dropped = 0;
    mproc_future *chain[4];
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 2});
    (void)chain_make(&s, chain);
    ck_assert_int_eq(mproc_pool_stop(s.pool, false, mproc_after_ms(support_ms(5000)), &dropped), 0);
    ck_assert_uint_eq(dropped, 3);
    ck_assert_int_eq(result_int(chain[0]), 0); /* it saw that it was to stop */
    for (int i = 1; i < 4; i++)
        failure_check(&chain[i], -ECANCELED, "cancelled", NULL);
    scene_end(&s);
}
END_TEST

START_TEST(a_finished_pool_finishes_those_that_wait)
{
    scene s;
    mproc_future *chain[4];
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 2});
    (void)chain_make(&s, chain);
    ck_assert_int_eq(mproc_pool_finish(&s.pool), 0);
    gate_open(&s, 0);
    for (int i = 3; i >= 0; i--)
        ck_assert_int_eq(result_int(chain[i]), i);
    scene_end(&s);
    pools_await_gone();
}
END_TEST

START_TEST(a_pool_that_breaks_fails_those_that_wait)
{
    scene s;
    scene_make(&s, (mproc_pool_options){.start = METHOD, .workers = 1});
    mproc_pool_close(&s.pool);
    int rc = mproc_pool_create(
        MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 2, .restarts_per_minute = 1), &s.pool);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    mproc_future *runs = submit(s.pool, task_until_stopped, MPROC_NONE);
    mproc_future *waits = after_one(&s, task_pid, 0, runs);
    mproc_future *dies = turn_submit_with(&s, task_abort, 0, MPROC_WITH(mproc_task_options, .retries = 9));
    failure_check(&waits, MPROC_EDIED, "too many workers died", NULL);
    mproc_future_close(&runs);
    mproc_future_close(&dies);
    mproc_pool_close(&s.pool);
    scene_end(&s);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_failure_is_handed_on_and_named, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, the_story_is_there_when_the_first_was_looked_at_before, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, what_has_ended_before_counts_as_it_ended, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_future_may_be_closed_while_others_come_after_it, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_death_and_a_time_limit_are_failures, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, of_a_task_tried_again_the_last_end_counts, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, one_that_waits_is_cancelled_at_once, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, cancelling_what_is_queued_or_runs_hands_on, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, one_that_waits_too_long_is_not_begun, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_stop_that_drains_finishes_those_that_wait, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_stop_that_does_not_drain_cancels_those_that_wait, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_finished_pool_finishes_those_that_wait, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_pool_that_breaks_fails_those_that_wait, METHODS_FIRST, METHODS_OF_PROCESSES);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "after_ends", add);
}
