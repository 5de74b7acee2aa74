/* SPDX-License-Identifier: BSD-2-Clause */
/* Who am I, after forks and in threads; who are the others. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "support/support.h"

static int sleep_for_ever(void *context)
{
    (void)context;
    while (pause() != 0) {
    }
    return 0;
}

static int look_after_fork(void *context)
{
    uint64_t *parent = context;
    uint64_t mine = mproc__incarnation();

    if (mine == 0 || mine == *parent || mine != mproc__incarnation())
        return 1;
    if (mproc__pid() != getpid() || mproc__tid() != (pid_t)syscall(SYS_gettid))
        return 2;
    return 0;
}

START_TEST(a_forked_child_is_a_new_incarnation_with_its_own_ids)
{
    uint64_t mine = mproc__incarnation();

    ck_assert_uint_ne(mine, 0);
    ck_assert_int_eq(mproc__pid(), getpid());
    ck_assert_int_eq(mproc__tid(), getpid());
    ck_assert_int_eq(support_reap(support_fork(look_after_fork, &mine), 5000), 0);
    ck_assert_uint_eq(mproc__incarnation(), mine);
}
END_TEST

static int fork_again(void *context)
{
    uint64_t mine = mproc__incarnation();
    pid_t child;
    int status = -1;

    if (look_after_fork(context) != 0)
        return 1;
    child = fork();
    if (child == 0)
        _exit(look_after_fork(&mine));
    waitpid(child, &status, 0);
    return status;
}

START_TEST(a_grandchild_is_new_as_well)
{
    uint64_t mine = mproc__incarnation();

    ck_assert_int_eq(support_reap(support_fork(fork_again, &mine), 5000), 0);
}
END_TEST

/* A raw clone, which no atfork handler sees. */
START_TEST(a_child_made_behind_libcs_back_is_new)
{
    uint64_t mine = mproc__incarnation();
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

    if (child == 0)
        _exit(look_after_fork(&mine));
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(support_reap(child, 5000), 0);
}
END_TEST

static void *ids_of_thread(void *context)
{
    uint64_t *incarnation = context;

    *incarnation = mproc__incarnation();
    return (void *)(intptr_t)(mproc__tid() == (pid_t)syscall(SYS_gettid) && mproc__tid() != getpid());
}

START_TEST(threads_share_the_incarnation_and_have_their_own_tid)
{
    uint64_t theirs = 0;
    pthread_t thread;
    void *right = NULL;

    ck_assert_int_eq(pthread_create(&thread, NULL, ids_of_thread, &theirs), 0);
    pthread_join(thread, &right);
    ck_assert_ptr_nonnull(right);
    ck_assert_uint_eq(theirs, mproc__incarnation());
}
END_TEST

START_TEST(a_process_is_told_from_a_later_one_by_its_start_time)
{
    uint64_t mine, theirs, stack;
    pid_t child = support_fork(sleep_for_ever, NULL);

    ck_assert_int_eq(mproc__process_times(getpid(), &mine, &stack), 0);
    ck_assert_uint_ne(mine, 0);
    ck_assert_uint_ne(stack, 0);
    ck_assert_int_eq(mproc__process_times(child, &theirs, &stack), 0);
    ck_assert_uint_ge(theirs, mine);
    support_kill(child);
    ck_assert_int_eq(mproc__process_times(child, &theirs, &stack), -ESRCH);
}
END_TEST

enum { TICKS_SAME = 2 };

static int compare_ticks(void *context)
{
    uint64_t parents = *(uint64_t *)context, mine, stack;

    if (mproc__process_times(getpid(), &mine, &stack) != 0 || mproc__start_ticks() != mine)
        return 1;
    return mine == parents ? TICKS_SAME : 0;
}

START_TEST(a_process_knows_its_own_start_time_and_a_fork_child_its_own)
{
    int64_t until_ns = mproc__now_ns() + support_ms(5000) * INT64_C(1000000);
    uint64_t asked, mine = mproc__start_ticks(), stack;
    int status;

    ck_assert_int_eq(mproc__process_times(getpid(), &asked, &stack), 0);
    ck_assert_uint_eq(mine, asked);
    ck_assert_uint_eq(mine, mproc__start_ticks());
    do /* a tick is 10 ms */
        status = support_reap(support_fork(compare_ticks, &mine), 5000);
    while (status == TICKS_SAME && mproc__now_ns() < until_ns);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(a_pidfd_tells_when_its_process_has_ended)
{
    pid_t child = support_fork(sleep_for_ever, NULL);
    int pidfd = mproc__pidfd_open(child);
    siginfo_t info;

    ck_assert_int_ge(pidfd, 0);
    ck_assert_int_eq(mproc__pidfd_ended(pidfd), 0);
    ck_assert_int_eq(mproc__pidfd_signal(pidfd, SIGKILL), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(mproc__pidfd_ended(pidfd), 1); /* a zombie has ended */
    ck_assert_int_eq(support_reap(child, 5000), 256 + SIGKILL);
    ck_assert_int_eq(mproc__pidfd_ended(pidfd), 1);
    ck_assert_int_eq(mproc__pidfd_signal(pidfd, SIGKILL), -ESRCH);
    ck_assert_int_eq(mproc__pidfd_open(child), -ESRCH);
    close(pidfd);
    ck_assert_int_eq(mproc__pidfd_ended(pidfd), -EBADF);
}
END_TEST

START_TEST(namespaces_are_those_of_proc)
{
    uint64_t pid_namespace = 0, time_namespace = 0;

    ck_assert_int_eq(mproc__namespaces(&pid_namespace, &time_namespace), 0);
    ck_assert_uint_ne(pid_namespace, 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("identity");
    TCase *all = support_case(suite, "identity");

    tcase_add_test(all, a_forked_child_is_a_new_incarnation_with_its_own_ids);
    tcase_add_test(all, a_grandchild_is_new_as_well);
    tcase_add_test(all, a_child_made_behind_libcs_back_is_new);
    tcase_add_test(all, threads_share_the_incarnation_and_have_their_own_tid);
    tcase_add_test(all, a_process_is_told_from_a_later_one_by_its_start_time);
    tcase_add_test(all, a_process_knows_its_own_start_time_and_a_fork_child_its_own);
    tcase_add_test(all, a_pidfd_tells_when_its_process_has_ended);
    tcase_add_test(all, namespaces_are_those_of_proc);
    return support_run(suite, argc, argv);
}
