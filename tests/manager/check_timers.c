/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <stdlib.h>

#include "manager/timers.h"
#include "platform/platform.h"
#include "support/support.h"

enum { COUNT = 200 };

static int64_t fired_at[COUNT];
static size_t fired;

static void note(mproc__timer *timer)
{
    ck_assert_uint_eq(timer->index, 0);
    fired_at[fired++] = timer->deadline.ns;
}

START_TEST(timers_fire_in_order_and_unset_ones_do_not)
{
    mproc__timers timers = {0};
    mproc__timer all[COUNT] = {0};
    int64_t now = mproc__now_ns();
    srandom(3);
    for (size_t i = 0; i < COUNT; i++) {
        all[i].fired = note;
        ck_assert_int_eq(mproc__timers_set(&timers, &all[i], (mproc_deadline){now - random() % 100000}), 0);
    }
    for (size_t i = 0; i < COUNT; i += 3)
        mproc__timers_unset(&timers, &all[i]);
    mproc__timers_unset(&timers, &all[0]);
    /* Set again: moves. */
    ck_assert_int_eq(mproc__timers_set(&timers, &all[1], mproc_after_ms(100000)), 0);
    mproc__timers_run(&timers);
    ck_assert_uint_eq(fired, COUNT - (COUNT + 2) / 3 - 1);
    for (size_t i = 1; i < fired; i++)
        ck_assert_int_le(fired_at[i - 1], fired_at[i]);
    ck_assert_uint_eq(timers.count, 1);
    ck_assert(mproc__timers_first(&timers).ns == all[1].deadline.ns);
    mproc__timers_fini(&timers);
}
END_TEST

START_TEST(for_ever_takes_no_place)
{
    mproc__timers timers = {0};
    mproc__timer timer = {.fired = note};
    ck_assert_int_eq(mproc__timers_set(&timers, &timer, MPROC_FOREVER), 0);
    ck_assert_uint_eq(timers.count, 0);
    ck_assert(mproc__timers_first(&timers).ns == INT64_MAX);
    support_fail_allocation(1);
    ck_assert_int_eq(mproc__timers_set(&timers, &timer, MPROC_NOW), -ENOMEM);
    support_fail_allocation(0);
    mproc__timers_run(&timers);
    mproc__timers_fini(&timers);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("timers");
    TCase *timers = support_case(suite, "timers");
    tcase_add_test(timers, timers_fire_in_order_and_unset_ones_do_not);
    tcase_add_test(timers, for_ever_takes_no_place);
    return support_run(suite, argc, argv);
}
