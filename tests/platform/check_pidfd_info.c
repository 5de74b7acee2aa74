/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel remembers of a process that was reaped; on kernels before 6.15 that it does not. */
#include "platform/base.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "platform/platform.h"
#include "support/support.h"

static int wait_for_the_pipe(void *context)
{
    char byte;

    return read(*(int *)context, &byte, 1) == 0 ? 42 : 1;
}

static int end_child(bool killed, int *ret_exit_code)
{
    int ends[2], code, pidfd;
    pid_t child;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    child = fork();
    if (child == 0) {
        close(ends[1]);
        _exit(wait_for_the_pipe(&ends[0]));
    }
    pidfd = mproc__pidfd_open(child);
    ck_assert_int_ge(pidfd, 0);
    ck_assert_int_lt(mproc__pidfd_exit_code(pidfd, ret_exit_code), 0); /* it still runs */
    if (killed)
        kill(child, SIGKILL);
    close(ends[1]);
    ck_assert_int_eq(support_reap(child, 5000), killed ? 256 + SIGKILL : 42);
    code = mproc__pidfd_exit_code(pidfd, ret_exit_code);
    close(pidfd);
    close(ends[0]);
    return code;
}

START_TEST(an_exit_code_is_remembered_or_said_to_be_unknown)
{
    int exit_code = -1000, code = end_child(false, &exit_code);

    if (code == 0)
        ck_assert_int_eq(exit_code, 42);
    else
        ck_assert_int_eq(exit_code, -1000);
    code = end_child(true, &exit_code);
    if (code == 0)
        ck_assert_int_eq(exit_code, -SIGKILL);
}
END_TEST

START_TEST(what_is_no_pidfd_is_an_error)
{
    int exit_code;

    ck_assert_int_lt(mproc__pidfd_exit_code(STDERR_FILENO, &exit_code), 0);
    ck_assert_int_eq(mproc__pidfd_exit_code(999, &exit_code), -EBADF);
}
END_TEST

static int sleep_for_ever(void *unused)
{
    (void)unused;
    for (;;)
        pause();
    return 0;
}

START_TEST(a_process_has_one_lasting_name_and_another_has_another)
{
    pid_t child = support_fork(sleep_for_ever, NULL);
    int mine = mproc__pidfd_open(getpid()), again = mproc__pidfd_open(getpid());
    int theirs = mproc__pidfd_open(child);
    uint64_t ids[3] = {0};

    if (mproc__pidfd_id(mine, &ids[0]) == 0) {
        ck_assert_int_eq(mproc__pidfd_id(again, &ids[1]), 0);
        ck_assert_int_eq(mproc__pidfd_id(theirs, &ids[2]), 0);
        ck_assert_uint_ne(ids[0], 0);
        ck_assert_uint_eq(ids[0], ids[1]);
        ck_assert_uint_ne(ids[0], ids[2]);
    }
    ck_assert_int_eq(mproc__pidfd_id(STDERR_FILENO, &ids[0]), -ENOSYS);
    ck_assert_int_eq(mproc__pidfd_id(999, &ids[0]), -EBADF);
    support_kill(child);
    close(mine);
    close(again);
    close(theirs);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("pidfd_info");
    TCase *all = support_case(suite, "pidfd_info");

    tcase_add_test(all, an_exit_code_is_remembered_or_said_to_be_unknown);
    tcase_add_test(all, a_process_has_one_lasting_name_and_another_has_another);
    tcase_add_test(all, what_is_no_pidfd_is_an_error);
    return support_run(suite, argc, argv);
}
