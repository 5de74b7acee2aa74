/* SPDX-License-Identifier: BSD-2-Clause */
/* Deadlines: absolute, saturating, never "nothing left" too early. */
#include "platform/base.h"

#include <limits.h>

#include "platform/platform.h"
#include "support/support.h"

START_TEST(a_deadline_lies_on_the_monotonic_clock)
{
    struct timespec now;
    mproc_deadline deadline;

    clock_gettime(CLOCK_MONOTONIC, &now);
    deadline = mproc_after_ms(1000);
    ck_assert_int_ge(deadline.ns, ((int64_t)now.tv_sec + 1) * 1000000000 + now.tv_nsec);
    ck_assert_int_le(deadline.ns, mproc__now_ns() + 1000000000);
    ck_assert_int_eq(mproc__deadline_timespec(deadline).tv_sec, deadline.ns / 1000000000);
    ck_assert_int_eq(mproc__deadline_timespec(deadline).tv_nsec, deadline.ns % 1000000000);
}
END_TEST

START_TEST(negative_and_zero_are_now)
{
    ck_assert(mproc__deadline_past(mproc_after_ms(-5)));
    ck_assert(mproc__deadline_past(mproc_after_ms(0)));
    ck_assert(mproc__deadline_past(mproc_after_ms(INT64_MIN)));
    ck_assert(mproc__deadline_past(mproc_after_ns(INT64_MIN)));
    ck_assert(mproc__deadline_past(MPROC_NOW));
    ck_assert_int_eq(mproc_left_ms(MPROC_NOW), 0);
    ck_assert_int_eq(mproc__deadline_poll_ms(MPROC_NOW), 0);
}
END_TEST

START_TEST(too_far_is_forever)
{
    ck_assert_int_eq(mproc_after_ms(INT64_MAX).ns, INT64_MAX);
    ck_assert_int_eq(mproc_after_ns(INT64_MAX).ns, INT64_MAX);
    ck_assert_int_eq(mproc_after_ms(INT64_MAX / 1000000).ns, INT64_MAX);
    ck_assert(!mproc__deadline_past(MPROC_FOREVER));
    ck_assert_int_eq(mproc_left_ms(MPROC_FOREVER), INT64_MAX);
    ck_assert_int_eq(mproc__deadline_poll_ms(MPROC_FOREVER), -1);
}
END_TEST

START_TEST(what_is_left_is_rounded_up)
{
    mproc_deadline deadline = mproc_after_ns(50000);

    while (!mproc__deadline_past(deadline))
        ck_assert_int_le(mproc_left_ms(deadline), 1);
    ck_assert_int_eq(mproc_left_ms(deadline), 0);
    deadline = mproc_after_ms(5000);
    ck_assert_int_ge(mproc_left_ms(deadline), 1);
    ck_assert_int_le(mproc_left_ms(deadline), 5000);
}
END_TEST

START_TEST(poll_gets_what_an_int_can_hold)
{
    ck_assert_int_eq(mproc__deadline_poll_ms(mproc_after_ms((int64_t)INT_MAX * 10)), INT_MAX);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("clock");
    TCase *all = support_case(suite, "clock");

    tcase_add_test(all, a_deadline_lies_on_the_monotonic_clock);
    tcase_add_test(all, negative_and_zero_are_now);
    tcase_add_test(all, too_far_is_forever);
    tcase_add_test(all, what_is_left_is_rounded_up);
    tcase_add_test(all, poll_gets_what_an_int_can_hold);
    return support_run(suite, argc, argv);
}
