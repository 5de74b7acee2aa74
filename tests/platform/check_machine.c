/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine, and what limits what of it this process may use. */
#include "platform/base.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <mproc/running.h>
#include "platform/platform.h"
#include "support/support.h"

static mproc_machine now(void)
{
    mproc_machine machine = {.size = sizeof machine};
    int rc = mproc_machine_get(&machine);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return machine;
}

START_TEST(the_machine_has_what_the_system_says)
{
    unsetenv("MPROC_CPU_COUNT");
    mproc_machine machine = now();
    ck_assert_uint_eq(machine.cpus, (unsigned)sysconf(_SC_NPROCESSORS_ONLN));
    ck_assert_uint_eq(machine.usable_cpus, mproc_cpu_count());
    ck_assert_int_eq(machine.memory_bytes, (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
    ck_assert_int_gt(machine.available_bytes, 0);
    ck_assert_int_le(machine.available_bytes, machine.memory_bytes);
    ck_assert_int_gt(machine.usable_bytes, 0);
    ck_assert(machine.group_limit_bytes >= 0 || machine.group_used_bytes == -1);
    ck_assert_int_gt(machine.threads, 0);
    ck_assert_double_ge(machine.load[2], 0);
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    ck_assert_int_le(machine.uptime_ns, (int64_t)boot.tv_sec * 1000000000 + boot.tv_nsec);
    /* The date of the boot and the time since make today, whatever a clock set meanwhile. */
    ck_assert_int_gt(machine.boot_date_s, 1000000000);
}
END_TEST

static int looks_from_one_cpu(void *unused)
{
    cpu_set_t one;
    mproc_machine machine = {.size = sizeof machine};
    (void)unused;
    unsetenv("MPROC_CPU_COUNT");
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0 || mproc_machine_get(&machine) != 0)
        return 1;
    if (machine.affinity_cpus != 1 || machine.usable_cpus != 1)
        return 2;
    if (machine.cpus > 1 && machine.cpu_limit != MPROC_CPU_LIMIT_AFFINITY)
        return 3;
    setenv("MPROC_CPU_COUNT", "5", 1);
    if (mproc_machine_get(&machine) != 0 || machine.usable_cpus != 5)
        return 4;
    return machine.cpu_limit == MPROC_CPU_LIMIT_OVERRIDE ? 0 : 5;
}

START_TEST(the_limit_that_decided_on_the_cpus_is_named)
{
    ck_assert_int_eq(support_reap(support_fork(looks_from_one_cpu, NULL), 5000), 0);
}
END_TEST

START_TEST(the_percentage_is_of_all_cpus_between_two_readings)
{
    mproc_machine before = {.busy_ns = 1000, .idle_ns = 5000}, after = {.busy_ns = 2000, .idle_ns = 8000};
    double percent = -1;
    ck_assert_int_eq(mproc_machine_cpu_percent(&before, &after, &percent), 0);
    ck_assert_double_eq_tol(percent, 25, 1e-9);
    ck_assert_int_eq(mproc_machine_cpu_percent(&before, &before, &percent), -EINVAL);
    ck_assert_int_eq(mproc_machine_cpu_percent(NULL, &after, &percent), -EINVAL);
    ck_assert_int_eq(mproc_machine_cpu_percent(&before, &after, NULL), -EINVAL);
    after.idle_ns = 4990; /* the kernel's may step back */
    ck_assert_int_eq(mproc_machine_cpu_percent(&before, &after, &percent), 0);
    ck_assert_double_eq_tol(percent, 100, 1e-9);
}
END_TEST

START_TEST(no_struct_and_no_size_are_refused)
{
    mproc_machine machine = {.cpus = 3};
    ck_assert_int_eq(mproc_machine_get(NULL), -EINVAL);
    ck_assert_int_eq(mproc_machine_get(&machine), -EINVAL);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "size"));
    ck_assert_uint_eq(machine.cpus, 3);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("machine");
    TCase *all = support_case(suite, "machine");
    tcase_add_test(all, the_machine_has_what_the_system_says);
    tcase_add_test(all, the_limit_that_decided_on_the_cpus_is_named);
    tcase_add_test(all, the_percentage_is_of_all_cpus_between_two_readings);
    tcase_add_test(all, no_struct_and_no_size_are_refused);
    return support_run(suite, argc, argv);
}
