/* SPDX-License-Identifier: BSD-2-Clause */
/* Random bytes. */
#include "platform/base.h"

#include <string.h>

#include "platform/platform.h"
#include "support/support.h"

START_TEST(two_draws_differ_also_large_ones)
{
    unsigned char a[4096] = {0}, b[4096] = {0}, zero[64] = {0};

    ck_assert_int_eq(mproc__random(a, sizeof(a)), 0);
    ck_assert_int_eq(mproc__random(b, sizeof(b)), 0);
    ck_assert_int_ne(memcmp(a, b, sizeof(a)), 0);
    ck_assert_int_ne(memcmp(a + sizeof(a) - sizeof(zero), zero, sizeof(zero)), 0);
    ck_assert_int_eq(mproc__random(a, 0), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("random");
    TCase *all = support_case(suite, "random");

    tcase_add_test(all, two_draws_differ_also_large_ones);
    return support_run(suite, argc, argv);
}
