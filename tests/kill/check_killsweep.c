/* SPDX-License-Identifier: BSD-2-Clause */
/* The sweep: proved on toys whose holes are known, then run over the library's operations. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "support/support.h"

enum { OUTPUT_BYTES = 65536, SWEEP_LIMIT_MS = 300000 };

/* Runs the sweep with these arguments; the exit status, and what it printed on both outputs. */
static int sweep(const char *arguments, char *output)
{
    char command[4352];
    const char *top = getenv("top_builddir");
    snprintf(command, sizeof(command), "%s/tests/kill/killsweep %s 2>&1", top ? top : ".", arguments);
    FILE *run = popen(command, "re");
    ck_assert_ptr_nonnull(run);
    size_t length = fread(output, 1, OUTPUT_BYTES - 1, run);
    output[length] = '\0';
    int status = pclose(run);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* Five: before the first instruction that matters, after each of three stores, after the return. */
START_TEST(a_sound_operation_passes_at_each_of_its_states)
{
    char output[OUTPUT_BYTES];
    int status = sweep("--operation 'toy sound'", output);
    ck_assert_str_eq(output, "toy sound\t5\t0\nall\t5\t0\n");
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(a_torn_update_is_reported_with_its_function_and_memory)
{
    char output[OUTPUT_BYTES];
    int status = sweep("--operation 'toy torn'", output);
    ck_assert_int_eq(status, 1);
    ck_assert_msg(strstr(output, "toy torn\t4\t1\n"), "%s", output);
    ck_assert_msg(strstr(output, "the survivor found fault 1"), "%s", output);
    ck_assert_msg(strstr(output, "0000000000000000 -> 0000000000000001"), "%s", output);
}
END_TEST

START_TEST(the_reported_command_shows_the_failure_again)
{
    char output[OUTPUT_BYTES];
    ck_assert_int_eq(sweep("--operation 'toy torn' --state 'fresh' --mark 1", output), 1);
    ck_assert_msg(strstr(output, "toy torn\t1\t1\n"), "%s", output);
    ck_assert_int_eq(sweep("--operation 'toy torn' --state 'fresh' --mark 2", output), 0);
}
END_TEST

START_TEST(a_wake_up_lost_with_the_victim_is_reported)
{
    char output[OUTPUT_BYTES];
    ck_assert_int_eq(sweep("--operation 'toy silent'", output), 1);
    ck_assert_msg(strstr(output, "the waiter sleeps on after the death"), "%s", output);
}
END_TEST

START_TEST(an_unknown_operation_is_no_success)
{
    char output[OUTPUT_BYTES];
    ck_assert_int_eq(sweep("--operation 'no such'", output), 1);
}
END_TEST

/* The whole sweep of one operation; the output shows what failed and how to see it again. */
static void sweep_without_failure(const char *operation)
{
    char arguments[128], output[OUTPUT_BYTES];
    snprintf(arguments, sizeof(arguments), "--operation '%s'", operation);
    int status = sweep(arguments, output);
    ck_assert_msg(status == 0, "%s", output);
    ck_assert_msg(strncmp(output, operation, strlen(operation)) == 0, "%s", output);
}

/* shows: DEATH-1 DEATH-3 */
START_TEST(a_lock_survives_a_kill_at_every_state_of_acquire)
{
    sweep_without_failure("lock acquire");
}
END_TEST

/* shows: DEATH-1 DEATH-3 */
START_TEST(a_lock_survives_a_kill_at_every_state_of_release)
{
    sweep_without_failure("lock release");
}
END_TEST

/* shows: DEATH-1 DEATH-2 */
START_TEST(a_queue_survives_a_kill_at_every_state_of_put)
{
    sweep_without_failure("queue put");
}
END_TEST

/* shows: DEATH-1 DEATH-2 */
START_TEST(a_queue_survives_a_kill_at_every_state_of_get)
{
    sweep_without_failure("queue get");
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("killsweep");
    TCase *harness = support_case(suite, "harness");
    tcase_add_test(harness, a_sound_operation_passes_at_each_of_its_states);
    tcase_add_test(harness, a_torn_update_is_reported_with_its_function_and_memory);
    tcase_add_test(harness, the_reported_command_shows_the_failure_again);
    tcase_add_test(harness, a_wake_up_lost_with_the_victim_is_reported);
    tcase_add_test(harness, an_unknown_operation_is_no_success);
    TCase *sweeps = support_case(suite, "sweeps");
    tcase_set_timeout(sweeps, support_ms(SWEEP_LIMIT_MS) / 1000.0);
    tcase_add_test(sweeps, a_lock_survives_a_kill_at_every_state_of_acquire);
    tcase_add_test(sweeps, a_lock_survives_a_kill_at_every_state_of_release);
    tcase_add_test(sweeps, a_queue_survives_a_kill_at_every_state_of_put);
    tcase_add_test(sweeps, a_queue_survives_a_kill_at_every_state_of_get);
    return support_run(suite, argc, argv);
}
