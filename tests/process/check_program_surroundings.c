/* SPDX-License-Identifier: BSD-2-Clause */
/* External programs: what they have of the caller of the moment, though the nursery was made before; and their user. */
#include "platform/base.h"

#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "process/program_support.h"

enum { TEXT_BYTES = 4096, NOBODY = 65534 };
static char text[TEXT_BYTES];

static void says(const char *script, const mproc_program_options *options, const char *wanted)
{
    capture(SHELL(script), options, text, sizeof text);
    ck_assert_str_eq(text, wanted);
}

#define PLAIN OPTIONS(.name = "plain")

START_TEST(the_umask_is_the_callers_or_the_one_said)
{
    mproc_process *process;
    warm();
    mode_t before = umask(0123);
    says("umask", PLAIN, "0123\n");
    says("umask", OPTIONS(.set_umask = true, .umask = 0), "0000\n");
    says("umask", OPTIONS(.set_umask = true, .umask = 077), "0077\n");
    umask(before);
    ck_assert_int_eq(
        mproc_process_start_program(ARGV("true"), OPTIONS(.set_umask = true, .umask = 01000), &process),
        -EINVAL);
}
END_TEST

START_TEST(limits_priority_and_cpus_are_the_callers)
{
    struct rlimit before, low;
    cpu_set_t all, one;
    warm();
    getrlimit(RLIMIT_NOFILE, &before);
    low = before;
    low.rlim_cur = 123;
    setrlimit(RLIMIT_NOFILE, &low);
    says("ulimit -n", PLAIN, "123\n");
    setrlimit(RLIMIT_NOFILE, &before);
    ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    says("nproc", PLAIN, "1\n");
    ck_assert_int_eq(sched_setaffinity(0, sizeof all, &all), 0);
    ck_assert_int_eq(setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + 3), 0);
    says("nice", PLAIN, "3\n");
}
END_TEST

START_TEST(rights_that_cannot_come_back_are_given_up)
{
    warm();
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    says("grep NoNewPrivs: /proc/self/status", PLAIN, "NoNewPrivs:\t1\n");
}
END_TEST

START_TEST(the_process_group_is_the_callers)
{
    char wanted[40];
    warm();
    ck_assert_int_eq(setpgid(0, 0), 0);
    snprintf(wanted, sizeof wanted, "%d\n", (int)getpgrp());
    mproc_process *process =
        launch(SHELL("read a b c d group rest </proc/self/stat; echo $group"), OPTIONS(.capture = true));
    ck_done(mproc_process_communicate(process, NULL, limit()));
    ck_assert_str_eq(output_of(process, 1), wanted);
    mproc_process_close(&process);
}
END_TEST

/* A descriptor above the limit that the nursery was made with. */
START_TEST(a_limit_that_was_raised_later_holds_for_given_descriptors)
{
    struct rlimit before, low;
    getrlimit(RLIMIT_NOFILE, &before);
    low = before;
    low.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &low);
    warm();
    setrlimit(RLIMIT_NOFILE, &before);
    const int high = fcntl(0, F_DUPFD_CLOEXEC, 300);
    ck_assert_int_eq(high, 300);
    ck_done(mproc_run(ARGV("true"), OPTIONS(.fds = &high, .fd_count = 1), NULL, limit(), NULL));
    close(high);
}
END_TEST

/* ---- users ---- */

START_TEST(a_user_comes_with_the_users_groups)
{
    warm();
    says("id -u; id -g; id -G; id -ru", OPTIONS(.user = "nobody"), "65534\n65534\n65534\n65534\n");
    says("id -u; id -g; id -G", OPTIONS(.user = "65534"), "65534\n65534\n65534\n");
    says("id -u; id -g; id -G", OPTIONS(.user = "54321"), "54321\n54321\n54321\n");
    says("id -u; id -g", OPTIONS(.user = "nobody", .user_group = "12345"), "65534\n12345\n");
    says("id -u; id -g", OPTIONS(.user_group = "root"), "0\n0\n");
    says("id -u; id -g", PLAIN, "0\n0\n");
}
END_TEST

START_TEST(users_that_are_not_there_are_told)
{
    mproc_process *process;
    warm();
    ck_assert_int_eq(mproc_process_start_program(ARGV("true"), OPTIONS(.user = "no such user"), &process),
                     -ENOENT);
    story_has("no user 'no such user'");
    ck_assert_int_eq(mproc_process_start_program(ARGV("true"), OPTIONS(.user_group = "no such"), &process),
                     -ENOENT);
    story_has("no group 'no such'");
    ck_assert_int_eq(mproc_process_start_program(ARGV("true"), OPTIONS(.user = ""), &process), -ENOENT);
    ck_assert_int_eq(mproc_process_start_program(ARGV("true"), OPTIONS(.user = "-1"), &process), -ENOENT);
    ck_assert_int_eq(mproc_process_start_program(ARGV("true"), OPTIONS(.user = "4294967295"), &process),
                     -ENOENT);
}
END_TEST

/* In a process of its own, which gives root up after the nursery was made. */
static int as_nobody(void *context)
{
    mproc_process *process;
    mproc_output output;
    (void)context;
    if (mproc_run(ARGV("true"), NULL, NULL, limit(), NULL) < 0)
        return 1;
    if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
        return 2;
    if (mproc_run(SHELL("id -u; id -g; id -G"), OPTIONS(.capture = true), NULL, limit(), &process) < 0)
        return 3;
    if (mproc_process_output(process, 1, &output) < 0 || strcmp(output.data, "65534\n65534\n65534\n") != 0)
        return 4;
    mproc_process_close(&process);
    /* The nursery still is root: what it may must not be what the caller may. */
    return mproc_run(ARGV("true"), OPTIONS(.user = "root"), NULL, limit(), NULL) == -EPERM ? 0 : 5;
}

/* In a process of its own, whose nursery may have no more processes: the kernel asks that of users other than root. */
static int without_processes(void *context)
{
    const struct rlimit none = {0, 0};
    mproc_process *process, *next;
    char path[64];
    int nursery = 0;
    (void)context;
    if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
        return 1;
    prctl(PR_SET_DUMPABLE, 1);
    if (mproc_process_start_program(ARGV("sleep", "100"), NULL, &process) < 0)
        return 2;
    snprintf(path, sizeof path, "/proc/%d/stat", mproc_process_pid(process));
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%*d (%*[^)]) %*c %d", &nursery) != 1)
        return 3;
    fclose(file);
    struct rlimit before;
    if (prlimit(nursery, RLIMIT_NPROC, &none, &before) < 0)
        return 4;
    if (mproc_process_start_program(ARGV("true"), NULL, &next) != -EAGAIN)
        return 5;
    if (!strstr(mproc_error_text(mproc_last_error()), "fork in the nursery"))
        return 6;
    return mproc_process_stop(process, limit()) < 0 ? 7 : 0;
}

START_TEST(no_more_processes_is_an_error)
{
    ck_assert_int_eq(support_reap(support_fork(without_processes, NULL), LIMIT_MS), 0);
    support_children_kill();
}
END_TEST

START_TEST(root_that_was_given_up_is_given_up)
{
    ck_assert_int_eq(support_reap(support_fork(as_nobody, NULL), LIMIT_MS), 0);
    support_children_kill();
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("program surroundings");
    TCase *moment = support_case(suite, "of the moment");
    tcase_add_test(moment, the_umask_is_the_callers_or_the_one_said);
    tcase_add_test(moment, limits_priority_and_cpus_are_the_callers);
    tcase_add_test(moment, rights_that_cannot_come_back_are_given_up);
    tcase_add_test(moment, the_process_group_is_the_callers);
    tcase_add_test(moment, a_limit_that_was_raised_later_holds_for_given_descriptors);
    TCase *users = support_case(suite, "users");
    tcase_add_test(users, users_that_are_not_there_are_told);
    if (geteuid() == 0) {
        tcase_add_test(users, a_user_comes_with_the_users_groups);
        tcase_add_test(users, no_more_processes_is_an_error);
        tcase_add_test(users, root_that_was_given_up_is_given_up);
    }
    return support_run(suite, argc, argv);
}
