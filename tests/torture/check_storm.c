/* SPDX-License-Identifier: BSD-2-Clause */
/* A hundredth of the storm, in every check: storm.h says what it is. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "support/support.h"

enum { OUTPUT_BYTES = 16384, LIMIT_MS = 60000 };

/* A spawn is an exec each. */
static const struct {
    const char *method;
    unsigned starts;
} parts[] = {{"fork", 1000}, {"spawn", 150}, {"forkserver", 1000}, {"thread", 1000}, {"mixed", 300}};

START_TEST(children_of_eight_threads_are_ready_within_a_second_whatever_other_threads_lock)
{
    char command[256], output[OUTPUT_BYTES], balance[64];
    snprintf(command, sizeof command, "tests/torture/storm --starts %u %s", parts[_i].starts,
             parts[_i].method);
    int status = support_program(command, output, sizeof output);
    snprintf(balance, sizeof balance, "%s\t%u\t0\t", parts[_i].method, parts[_i].starts);
    ck_assert_msg(status == 0 && strstr(output, balance), "%s", output);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("storm");
    TCase *starts = support_case(suite, "starts");
    tcase_set_timeout(starts, support_ms(LIMIT_MS) / 1000.0);
    tcase_add_loop_test(starts,
                        children_of_eight_threads_are_ready_within_a_second_whatever_other_threads_lock, 0,
                        sizeof parts / sizeof *parts);
    return support_run(suite, argc, argv);
}
