/* SPDX-License-Identifier: BSD-2-Clause */
/* The sweep: proved on toys whose holes are known, then run over the library's operations. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "support/support.h"

enum { OUTPUT_BYTES = 65536, SWEEP_LIMIT_MS = 300000 };

/* Runs the sweep with these arguments; the exit status, and what it printed on both outputs. */
static int sweep(const char *arguments, char *output)
{
    char command[4096];
    snprintf(command, sizeof command, "tests/kill/killsweep %s", arguments);
    return support_program(command, output, OUTPUT_BYTES);
}

/* What a toy's sweep prints, whole. */
static void passes(const char *toy, const char *counts)
{
    char arguments[128], output[OUTPUT_BYTES], wanted[256];
    snprintf(arguments, sizeof(arguments), "--operation '%s'", toy);
    snprintf(wanted, sizeof(wanted), "\n%s\t%s\nall\t%s\n", toy, counts, counts);
    int status = sweep(arguments, output);
    ck_assert_msg(status == 0 && strstr(output, wanted), "%s", output);
}

static void is_found(const char *toy, const char *how)
{
    char arguments[128], output[OUTPUT_BYTES];
    snprintf(arguments, sizeof(arguments), "--operation '%s'", toy);
    int status = sweep(arguments, output);
    ck_assert_msg(status == 1 && strstr(output, how), "%s", output);
}

/* Five: before the first instruction that matters, after each of three stores, after the return. */
START_TEST(a_sound_operation_passes_at_each_of_its_states)
{
    passes("toy sound", "5\t0\t0\t0");
}
END_TEST

/* The fence sees what stepping sees. */
START_TEST(both_ways_of_following_find_the_same_marks)
{
    char fenced[OUTPUT_BYTES], stepped[OUTPUT_BYTES];
    ck_assert_msg(sweep("--operation 'lock release' --kind kill --every 4", fenced) == 0, "%s", fenced);
    ck_assert_msg(sweep("--operation 'lock release' --kind kill --every 4 --step", stepped) == 0, "%s",
                  stepped);
    ck_assert_str_eq(fenced, stepped);
}
END_TEST

START_TEST(a_torn_update_is_reported_with_its_function_and_memory)
{
    char output[OUTPUT_BYTES];
    int status = sweep("--operation 'toy torn'", output);
    ck_assert_int_eq(status, 1);
    ck_assert_msg(strstr(output, "toy torn\t4\t0\t0\t1\n"), "%s", output);
    ck_assert_msg(strstr(output, "the survivor found fault 1"), "%s", output);
    ck_assert_msg(strstr(output, "0000000000000000 -> 0000000000000001"), "%s", output);
}
END_TEST

START_TEST(the_reported_command_shows_the_failure_again)
{
    char output[OUTPUT_BYTES];
    ck_assert_int_eq(sweep("--operation 'toy torn' --state 'fresh' --kind kill --mark 1", output), 1);
    ck_assert_msg(strstr(output, "toy torn\t1\t0\t0\t1\n"), "%s", output);
    ck_assert_int_eq(sweep("--operation 'toy torn' --state 'fresh' --kind kill --mark 2", output), 0);
    ck_assert_int_eq(sweep("--operation 'toy hasty' --kind pair --mark 2 --second 1", output), 1);
    ck_assert_int_eq(sweep("--operation 'toy hasty' --kind pair --mark 2 --second 0", output), 0);
}
END_TEST

START_TEST(a_wake_up_lost_with_the_victim_is_reported)
{
    is_found("toy silent", "the waiter sleeps on");
}
END_TEST

START_TEST(a_recovery_that_survives_its_own_death_passes)
{
    passes("toy mended", "6\t16\t0\t0");
}
END_TEST

START_TEST(a_recovery_that_is_lost_with_its_process_is_reported)
{
    is_found("toy hasty", "pair at mark 2, recoverer at mark 1: the survivor found fault 1");
}
END_TEST

START_TEST(a_wake_that_reaches_all_survives_a_blocked_victim)
{
    passes("toy loud", "8\t0\t0\t0");
}
END_TEST

START_TEST(a_wake_spent_on_a_blocked_victim_is_reported)
{
    is_found("toy quiet", "the waiter sleeps on after the death");
}
END_TEST

START_TEST(waiting_for_a_stopped_process_passes)
{
    passes("toy patient", "4\t0\t4\t0");
}
END_TEST

START_TEST(taking_a_stopped_process_for_dead_is_reported)
{
    is_found("toy rash", "stop at mark 1: the victim's call answered 1");
}
END_TEST

START_TEST(what_stepping_cannot_follow_is_left_out_and_told)
{
    char output[OUTPUT_BYTES];
    int status = sweep("--operation 'toy loud' --step", output);
    ck_assert_msg(status == 1 && strstr(output, "# toy loud: left out"), "%s", output);
    ck_assert_msg(strstr(output, "\nall\t0\t0\t0\t0\n"), "%s", output);
}
END_TEST

START_TEST(an_unknown_operation_is_no_success)
{
    char output[OUTPUT_BYTES];
    ck_assert_int_eq(sweep("--operation 'toy unknown'", output), 1);
}
END_TEST

/* Every state of lock and queue, every few of the rest; the output says how many. `make killsweep` tries all. */
/* shows: DEATH-1 DEATH-2 DEATH-3 DEATH-8 */
START_TEST(every_operation_survives_kills_deaths_in_recovery_and_stops)
{
    char output[OUTPUT_BYTES];
    int status = sweep("--short", output);
    ck_assert_msg(status == 0, "%s", output);
    printf("%s", output);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("killsweep");
    TCase *harness = support_case(suite, "harness");
    tcase_add_test(harness, a_sound_operation_passes_at_each_of_its_states);
    tcase_add_test(harness, both_ways_of_following_find_the_same_marks);
    tcase_add_test(harness, a_torn_update_is_reported_with_its_function_and_memory);
    tcase_add_test(harness, the_reported_command_shows_the_failure_again);
    tcase_add_test(harness, a_wake_up_lost_with_the_victim_is_reported);
    tcase_add_test(harness, a_recovery_that_survives_its_own_death_passes);
    tcase_add_test(harness, a_recovery_that_is_lost_with_its_process_is_reported);
    tcase_add_test(harness, a_wake_that_reaches_all_survives_a_blocked_victim);
    tcase_add_test(harness, a_wake_spent_on_a_blocked_victim_is_reported);
    tcase_add_test(harness, waiting_for_a_stopped_process_passes);
    tcase_add_test(harness, taking_a_stopped_process_for_dead_is_reported);
    tcase_add_test(harness, what_stepping_cannot_follow_is_left_out_and_told);
    tcase_add_test(harness, an_unknown_operation_is_no_success);
    TCase *sweeps = support_case(suite, "sweeps");
    tcase_set_timeout(sweeps, support_ms(SWEEP_LIMIT_MS) / 1000.0);
    tcase_add_test(sweeps, every_operation_survives_kills_deaths_in_recovery_and_stops);
    return support_run(suite, argc, argv);
}
