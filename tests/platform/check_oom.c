/* SPDX-License-Identifier: BSD-2-Clause */
/* Kills for want of memory, as the files of a control group tell them. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "platform/cgroup.h"
#include "support/support.h"

static void file_write(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", support_directory(), name);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

/* Of a group that has one file and its list of processes. */
static mproc__oom_count count_of(const char *file, const char *text)
{
    char path[512];
    file_write(file, text);
    file_write("cgroup.procs", "");
    snprintf(path, sizeof(path), "%s/cgroup.procs", support_directory());
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    mproc__oom_count count = mproc__oom_kills(fd);
    close(fd);
    snprintf(path, sizeof(path), "%s/%s", support_directory(), file);
    ck_assert_int_eq(unlink(path), 0);
    return count;
}

START_TEST(version_2_tells_it_among_the_events_of_memory)
{
    mproc__oom_count count =
        count_of("memory.events", "low 0\nhigh 5\nmax 310\noom 7\noom_kill 4\noom_group_kill 9\n");
    ck_assert(count.of_group);
    ck_assert_int_eq(count.kills, 4);
}
END_TEST

START_TEST(version_1_tells_it_with_the_control)
{
    mproc__oom_count count = count_of("memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 12\n");
    ck_assert(count.of_group);
    ck_assert_int_eq(count.kills, 12);
}
END_TEST

/* Kernels before 4.13 do not count in the control, and a group of another controller has no such file. */
START_TEST(where_the_group_does_not_count_this_processs_own_does_or_the_machine)
{
    mproc__oom_count count = count_of("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n");
    mproc__oom_count own = mproc__oom_kills(-1);
    ck_assert(count.of_group == own.of_group);
    ck_assert_int_ge(own.kills, count.kills);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("oom");
    TCase *all = support_case(suite, "oom");
    tcase_add_test(all, version_2_tells_it_among_the_events_of_memory);
    tcase_add_test(all, version_1_tells_it_with_the_control);
    tcase_add_test(all, where_the_group_does_not_count_this_processs_own_does_or_the_machine);
    return support_run(suite, argc, argv);
}
