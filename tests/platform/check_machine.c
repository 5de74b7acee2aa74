/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine, and what limits what of it this process may use. */
#include "platform/base.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

/* ---- control groups of our own: as root where they can be made ---- */

static bool text_write(const char *folder, const char *file, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *stream = fopen(path, "we");
    bool good = stream && fputs(text, stream) >= 0;
    return stream && fclose(stream) == 0 && good;
}

/* Makes a group, gives it its limits (file, text, file, text, ..., NULL) and enters it: whether that could be done. */
static bool group_enter(const char *folder, const char *const *limits)
{
    char number[16];
    if (mkdir(folder, 0755) != 0)
        return false;
    snprintf(number, sizeof number, "%d", (int)getpid());
    for (; *limits; limits += 2)
        if (!text_write(folder, limits[0], limits[1]))
            return false;
    return text_write(folder, "cgroup.procs", number);
}

typedef struct group {
    char first[128], second[128]; /* version 1: of cpu and of memory; version 2: the second */
} group;

enum { NOT_HERE = 77, LIMIT_BYTES = 64 << 20 };

static int looks_from_a_group(void *context)
{
    static const char *const cpu_1[] = {"cpu.cfs_period_us", "100000", "cpu.cfs_quota_us", "50000", NULL};
    static const char *const memory_1[] = {"memory.limit_in_bytes", "67108864", NULL};
    static const char *const both_2[] = {"cpu.max", "50000 100000", "memory.max", "67108864", NULL};
    const group *of = context;
    mproc_machine machine = {.size = sizeof machine};
    unsetenv("MPROC_CPU_COUNT");
    bool entered =
        group_enter(of->second, both_2) ||
        (group_enter(of->first, cpu_1) && (rmdir(of->second), true) && group_enter(of->second, memory_1));
    if (!entered)
        return NOT_HERE;
    if (mproc_machine_get(&machine) != 0)
        return 1;
    if (machine.group_cpus < 0.49 || machine.group_cpus > 0.51 || machine.usable_cpus != 1)
        return 2;
    if (machine.affinity_cpus > 1 && machine.cpu_limit != MPROC_CPU_LIMIT_GROUP)
        return 3;
    if (machine.group_limit_bytes != LIMIT_BYTES)
        return 4;
    if (machine.group_used_bytes < 0 || machine.group_used_bytes > LIMIT_BYTES)
        return 5;
    return machine.usable_bytes > 0 && machine.usable_bytes <= LIMIT_BYTES ? 0 : 6;
}

static bool removed(void *folder)
{
    return rmdir(folder) == 0 || errno == ENOENT;
}

START_TEST(limits_of_control_groups_are_told)
{
    group of;
    bool unified = access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0;
    snprintf(of.first, sizeof of.first, "/sys/fs/cgroup/cpu/mproc-machine-%d", (int)getpid());
    snprintf(of.second, sizeof of.second, "/sys/fs/cgroup/%smproc-machine-%d", unified ? "" : "memory/",
             (int)getpid());
    int status = support_reap(support_fork(looks_from_a_group, &of), 5000);
    ck_assert(support_until(removed, of.first, 5000) && support_until(removed, of.second, 5000));
    ck_assert_msg(status == 0 || status == NOT_HERE, "status %d", status);
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
    tcase_add_test(all, limits_of_control_groups_are_told);
    tcase_add_test(all, the_percentage_is_of_all_cpus_between_two_readings);
    tcase_add_test(all, no_struct_and_no_size_are_refused);
    return support_run(suite, argc, argv);
}
