/* SPDX-License-Identifier: BSD-2-Clause */
/* Every few points of every start, join and exit; `make startsweep` tries all. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "support/support.h"

enum { OUTPUT_BYTES = 65536, SWEEP_LIMIT_MS = 100000 };

/* The exit status, and what it printed on both outputs. */
static int sweep(const char *arguments, char *output)
{
    char command[4096];
    snprintf(command, sizeof command, "tests/kill/startsweep %s", arguments);
    return support_program(command, output, OUTPUT_BYTES);
}

/* The leak hunter of the fixture looks for names. */
START_TEST(nothing_is_left_of_a_family_killed_at_any_point_of_a_start)
{
    char output[OUTPUT_BYTES];
    int status = sweep("--short", output);
    ck_assert_msg(status == 0, "%s", output);
    printf("%s", output);
}
END_TEST

START_TEST(nothing_is_left_of_a_family_killed_at_random_with_eight_threads_starting)
{
    char output[OUTPUT_BYTES];
    int status = sweep("--random 20", output);
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
    Suite *suite = suite_create("startsweep");
    TCase *sweeps = support_case(suite, "sweeps");
    tcase_set_timeout(sweeps, support_ms(SWEEP_LIMIT_MS) / 1000.0);
    tcase_add_test(sweeps, nothing_is_left_of_a_family_killed_at_any_point_of_a_start);
    tcase_add_test(sweeps, nothing_is_left_of_a_family_killed_at_random_with_eight_threads_starting);
    tcase_add_test(sweeps, an_unknown_scene_is_no_success);
    return support_run(suite, argc, argv);
}
