/* SPDX-License-Identifier: BSD-2-Clause */
/* A few hundred sequences of the state-machine fuzz of pools in every check, from a seed of their own each time. */
#include "platform/base.h"

#include <stdio.h>

#include "support/support.h"

enum { OUTPUT_BYTES = 8192, LIMIT_MS = 100000, SEQUENCES = 75, METHODS = 4 };

/* The seed of a failure is in the message. */
START_TEST(random_sequences_end_as_the_model_says_and_leave_nothing)
{
    static const char *const methods[METHODS] = {"fork", "spawn", "forkserver", "thread"};
    char command[256], output[OUTPUT_BYTES];
    snprintf(command, sizeof command, "tests/torture/pool_fuzz --sequences %d --method %s", SEQUENCES,
             methods[_i]);
    int status = support_program(command, output, sizeof output);
    ck_assert_msg(status == 0, "%s", output);
    printf("%s", output);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("pool_fuzz");
    TCase *sequences = support_case(suite, "sequences");
    tcase_set_timeout(sequences, support_ms(LIMIT_MS) / 1000.0);
    tcase_add_loop_test(sequences, random_sequences_end_as_the_model_says_and_leave_nothing, 0, METHODS);
    return support_run(suite, argc, argv);
}
