/* SPDX-License-Identifier: BSD-2-Clause */
/* Every few points of every act of a pool; `make poolsweep` tries all. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "support/support.h"

enum { OUTPUT_BYTES = 65536, SWEEP_LIMIT_MS = 100000 };

/* The exit status, and what it printed on both outputs. */
static int sweep(const char *arguments, char *output)
{
    char command[4096];
    snprintf(command, sizeof command, "tests/kill/poolsweep %s", arguments);
    return support_program(command, output, OUTPUT_BYTES);
}

/* The leak hunter of the fixture looks for names.
 * shows: DEATH-1 DEATH-6 DEATH-8 DEATH-9 DEATH-10 */
START_TEST(one_death_at_any_system_call_of_a_pool_costs_one_task_at_most)
{
    char output[OUTPUT_BYTES];
    int status = sweep("--short", output);
    ck_assert_msg(status == 0, "%s", output);
    printf("%s", output);
}
END_TEST

/* shows: DEATH-1 DEATH-6 */
START_TEST(one_death_at_any_change_of_memory_of_a_task_costs_one_task_at_most)
{
    char output[OUTPUT_BYTES];
    int status = sweep("--scene 'fork, submit' --every 41", output);
    ck_assert_msg(status == 0, "%s", output);
    printf("%s", output);
}
END_TEST

START_TEST(an_unknown_scene_is_no_success)
{
    char output[OUTPUT_BYTES];
    ck_assert_int_eq(sweep("--scene nowhere", output), 1);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("poolsweep");
    TCase *sweeps = support_case(suite, "sweeps");
    tcase_set_timeout(sweeps, support_ms(SWEEP_LIMIT_MS) / 1000.0);
    tcase_add_test(sweeps, one_death_at_any_system_call_of_a_pool_costs_one_task_at_most);
    tcase_add_test(sweeps, one_death_at_any_change_of_memory_of_a_task_costs_one_task_at_most);
    tcase_add_test(sweeps, an_unknown_scene_is_no_success);
    return support_run(suite, argc, argv);
}
