/* SPDX-License-Identifier: BSD-2-Clause */
/* A fiftieth of the torture, in every check. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "support/support.h"

enum { OUTPUT_BYTES = 8192, LIMIT_MS = 60000 };

static void torture(const char *name, unsigned kills)
{
    char command[256], output[OUTPUT_BYTES], balance[128];
    snprintf(command, sizeof command, "tests/torture/torture --kills %u '%s'", kills, name);
    int status = support_program(command, output, sizeof output);
    snprintf(balance, sizeof(balance), "%s\t%u\t0\nall\t%u\t0\n", name, kills, kills);
    ck_assert_msg(status == 0 && strstr(output, balance), "%s", output);
}

/* shows: DEATH-1 DEATH-3 */
START_TEST(a_lock_outlives_a_hundred_random_kills)
{
    torture("lock", 100);
}
END_TEST

/* shows: DEATH-1 DEATH-2 */
START_TEST(a_queue_loses_and_doubles_nothing_over_a_hundred_random_kills)
{
    torture("queue", 100);
}
END_TEST

/* shows: DEATH-1 DEATH-2 */
START_TEST(an_acknowledged_queue_delivers_all_over_a_hundred_random_kills)
{
    torture("queue acknowledged", 100);
}
END_TEST

/* shows: DEATH-1 DEATH-2 */
START_TEST(a_queue_of_megabytes_loses_nothing_over_forty_random_kills)
{
    torture(_i == 0 ? "queue large" : "queue large acknowledged", 20);
}
END_TEST

/* shows: DEATH-1 DEATH-2 */
START_TEST(an_exclusive_queue_goes_on_with_the_next_user_over_forty_random_kills)
{
    torture("queue exclusive", 40);
}
END_TEST

START_TEST(ordered_queues_lose_nothing_over_a_hundred_random_kills)
{
    torture(_i == 0 ? "queue priority" : "queue lifo", 50);
}
END_TEST

/* shows: DEATH-1 DEATH-3 DEATH-5 */
START_TEST(locks_permits_events_and_conditions_outlive_two_hundred_random_kills)
{
    torture("sync", 200);
}
END_TEST

START_TEST(they_outlive_kills_among_stops_too)
{
    torture("sync stopped", 200);
}
END_TEST

START_TEST(a_waiter_for_a_lock_goes_on_within_ten_milliseconds_of_its_holders_death)
{
    torture("lock handover", 100);
}
END_TEST

START_TEST(a_waiter_for_a_permit_goes_on_within_ten_milliseconds_of_its_holders_death)
{
    torture("permit handover", 100);
}
END_TEST

/* shows: DEATH-10 */
START_TEST(forty_cleanups_after_crashes_leave_names_and_processes_as_they_were)
{
    torture("cleanup", 40);
}
END_TEST

/* shows: DEATH-1 DEATH-6 WORK-2 */
START_TEST(two_hundred_random_deaths_of_workers_cost_a_pool_the_tasks_they_ran_and_no_other)
{
    torture("pool", 200);
}
END_TEST

/* shows: WORK-1 */
START_TEST(two_thousand_cancels_of_running_tasks_stop_those_and_no_other)
{
    torture("pool cancel", 2000);
}
END_TEST

/* shows: WORK-3 POOL-32 */
START_TEST(two_hundred_thousand_items_of_an_endless_source_leave_memory_flat)
{
    torture("source", 200);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("torture");
    TCase *kills = support_case(suite, "kills");
    tcase_set_timeout(kills, support_ms(LIMIT_MS) / 1000.0);
    tcase_add_test(kills, a_lock_outlives_a_hundred_random_kills);
    tcase_add_test(kills, a_queue_loses_and_doubles_nothing_over_a_hundred_random_kills);
    tcase_add_test(kills, an_acknowledged_queue_delivers_all_over_a_hundred_random_kills);
    tcase_add_loop_test(kills, a_queue_of_megabytes_loses_nothing_over_forty_random_kills, 0, 2);
    tcase_add_test(kills, an_exclusive_queue_goes_on_with_the_next_user_over_forty_random_kills);
    tcase_add_loop_test(kills, ordered_queues_lose_nothing_over_a_hundred_random_kills, 0, 2);
    tcase_add_test(kills, locks_permits_events_and_conditions_outlive_two_hundred_random_kills);
    tcase_add_test(kills, they_outlive_kills_among_stops_too);
    tcase_add_test(kills, a_waiter_for_a_lock_goes_on_within_ten_milliseconds_of_its_holders_death);
    tcase_add_test(kills, a_waiter_for_a_permit_goes_on_within_ten_milliseconds_of_its_holders_death);
    tcase_add_test(kills, forty_cleanups_after_crashes_leave_names_and_processes_as_they_were);
    tcase_add_test(kills, two_hundred_random_deaths_of_workers_cost_a_pool_the_tasks_they_ran_and_no_other);
    tcase_add_test(kills, two_thousand_cancels_of_running_tasks_stop_those_and_no_other);
    tcase_add_test(kills, two_hundred_thousand_items_of_an_endless_source_leave_memory_flat);
    return support_run(suite, argc, argv);
}
