/* SPDX-License-Identifier: BSD-2-Clause */
/* CPUs: those this process may use. */
#include "platform/base.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "platform/platform.h"
#include "support/support.h"

static int count_on_one_cpu(void *context)
{
    cpu_set_t set, one;

    (void)context;
    sched_getaffinity(0, sizeof(set), &set);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &set)) {
            CPU_SET(i, &one);
            break;
        }
    if (sched_setaffinity(0, sizeof(one), &one) != 0)
        return 3;
    return mproc_cpu_count() == 1 && mproc__spin_budget() == 0 ? 0 : 1;
}

/* shows: PROC-30 */
START_TEST(the_count_follows_the_affinity_mask_and_an_override)
{
    unsetenv("MPROC_CPU_COUNT");
    ck_assert_uint_ge(mproc_cpu_count(), 1);
    ck_assert_uint_le(mproc_cpu_count(), (unsigned)sysconf(_SC_NPROCESSORS_CONF));
    setenv("MPROC_CPU_COUNT", "77", 1);
    ck_assert_uint_eq(mproc_cpu_count(), 77);
    setenv("MPROC_CPU_COUNT", "-1", 1);
    ck_assert_uint_le(mproc_cpu_count(), (unsigned)sysconf(_SC_NPROCESSORS_CONF));
    unsetenv("MPROC_CPU_COUNT");
}
END_TEST

/* shows: PROC-30 */
START_TEST(on_one_cpu_nobody_spins)
{
    ck_assert_int_eq(support_reap(support_fork(count_on_one_cpu, NULL), 5000), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("cpu");
    TCase *all = support_case(suite, "cpu");

    tcase_add_test(all, the_count_follows_the_affinity_mask_and_an_override);
    tcase_add_test(all, on_one_cpu_nobody_spins);
    return support_run(suite, argc, argv);
}
