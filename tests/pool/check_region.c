/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "pool/region.h"
#include "support/support.h"

START_TEST(extents_never_overlap_and_gaps_are_used_again)
{
    mproc__region region = {.offset = 1000, .length = 100};
    uint64_t a, b, c, d;
    ck_assert_int_eq(mproc__region_take(&region, 40, &a), 0);
    ck_assert_int_eq(mproc__region_take(&region, 30, &b), 0);
    ck_assert_int_eq(mproc__region_take(&region, 30, &c), 0);
    ck_assert_uint_eq(a, 1000);
    ck_assert_uint_eq(b, 1040);
    ck_assert_uint_eq(c, 1070);
    ck_assert_int_eq(mproc__region_take(&region, 1, &d), -ENOMEM);
    mproc__region_give(&region, b);
    ck_assert_int_eq(mproc__region_take(&region, 31, &d), -ENOMEM);
    ck_assert_int_eq(mproc__region_take(&region, 10, &d), 0);
    ck_assert_uint_eq(d, 1040);
    ck_assert_int_eq(mproc__region_take(&region, 20, &b), 0);
    ck_assert_uint_eq(b, 1050);
    mproc__region_give(&region, a);
    mproc__region_give(&region, d);
    ck_assert_int_eq(mproc__region_take(&region, 50, &a), 0);
    ck_assert_uint_eq(a, 1000);
    ck_assert_uint_eq(region.count, 3);
}
END_TEST

START_TEST(too_many_extents_are_refused)
{
    mproc__region region = {.offset = 0, .length = 1000};
    uint64_t offset;
    for (int i = 0; i < MPROC__POOL_MAPS; i++)
        ck_assert_int_eq(mproc__region_take(&region, 1, &offset), 0);
    ck_assert_int_eq(mproc__region_take(&region, 1, &offset), MPROC_ELIMIT);
    mproc__region_give(&region, 12345); /* none of ours: nothing */
    ck_assert_uint_eq(region.count, MPROC__POOL_MAPS);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("region");
    TCase *all = support_case(suite, "region");
    tcase_add_test(all, extents_never_overlap_and_gaps_are_used_again);
    tcase_add_test(all, too_many_extents_are_refused);
    return support_run(suite, argc, argv);
}
