/* SPDX-License-Identifier: BSD-2-Clause */
/* The supervisor's core: woken by commands, ends and the owner's death; no end is slept over; nobody is left.
 * */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "process/supervise.h"
#include "support/support.h"

typedef struct table {
    mproc__eventcount_shared command;
    _Atomic uint32_t go;
    _Atomic int32_t pids[4];
} table;

static mproc__segment *segment;
static table *shared;
static unsigned owner_row;

static void make_table(void)
{
    ck_assert_int_eq(
        mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_PROCESS, "supervise", sizeof(table), 0, &segment),
        0);
    shared = mproc__segment_root(segment);
    int row = mproc__segment_join(segment);
    ck_assert_int_ge(row, 0);
    owner_row = (unsigned)row;
}

static bool begin(void)
{
    return mproc__supervise_begin(segment, &shared->command, owner_row) == 0;
}

/* ---- ends ---- */

static int reaps_many(void *unused)
{
    (void)unused;
    struct rusage usage;
    int codes = 0, exit_code;
    if (!begin())
        return 1;
    for (int i = 0; i < 100; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(i & 1 ? 5 : (raise(SIGKILL), 0));
        for (;;) { /* each ends at another moment between prepare, look and sleep */
            uint32_t ticket = mproc__supervise_prepare();
            if (mproc__supervise_reap(&exit_code, &usage) == pid)
                break;
            if (mproc__supervise_wait(ticket, mproc_after_ms(support_ms(5000))) != 0)
                return 2;
        }
        codes += exit_code == (i & 1 ? 5 : -SIGKILL);
    }
    return codes == 100 && mproc__supervise_reap(&exit_code, &usage) == 0 ? 0 : 3;
}

START_TEST(no_childs_end_is_slept_over)
{
    make_table();
    ck_assert_int_eq(support_reap(support_fork(reaps_many, NULL), 15000), 0);
    mproc__segment_release(segment);
}
END_TEST

/* ---- commands ---- */

static int waits_for_command(void *unused)
{
    (void)unused;
    if (!begin())
        return 1;
    for (;;) {
        uint32_t ticket = mproc__supervise_prepare();
        if (atomic_load(&shared->go))
            return 0;
        int rc = mproc__supervise_wait(ticket, mproc_after_ms(support_ms(10000)));
        if (rc < 0)
            return 2;
    }
}

START_TEST(a_command_wakes_a_sleeping_supervisor)
{
    make_table();
    pid_t pid = support_fork(waits_for_command, NULL);
    ck_assert(support_until_asleep(pid, 5000));
    atomic_store(&shared->go, 1);
    mproc__eventcount_post(&shared->command, true);
    ck_assert_int_eq(support_reap(pid, 5000), 0);
    mproc__segment_release(segment);
}
END_TEST

static int waits_to_deadline(void *unused)
{
    (void)unused;
    if (!begin())
        return 1;
    mproc_deadline deadline = mproc_after_ms(30);
    int rc = 0;
    while (rc == 0)
        rc = mproc__supervise_wait(mproc__supervise_prepare(), deadline);
    return rc == -ETIMEDOUT && mproc__deadline_past(deadline) ? 0 : 2;
}

START_TEST(a_deadline_ends_the_wait)
{
    make_table();
    ck_assert_int_eq(support_reap(support_fork(waits_to_deadline, NULL), 5000), 0);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(interrupts_do_not_end_a_supervisor)
{
    make_table();
    pid_t pid = support_fork(waits_for_command, NULL);
    ck_assert(support_until_asleep(pid, 5000));
    kill(pid, SIGINT);
    kill(pid, SIGTERM);
    kill(pid, SIGHUP);
    kill(pid, SIGUSR1);
    ck_assert(support_until_asleep(pid, 5000));
    atomic_store(&shared->go, 1);
    mproc__eventcount_post(&shared->command, true);
    ck_assert_int_eq(support_reap(pid, 5000), 0);
    mproc__segment_release(segment);
}
END_TEST

/* ---- the owner's death ---- */

static void sleep_for_ever(void)
{
    signal(SIGTERM, SIG_IGN);
    for (;;)
        pause();
}

/* A child with a child of its own. */
static pid_t make_tree(void)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    atomic_store(&shared->pids[1], getpid());
    pid_t below = fork();
    if (below == 0) {
        atomic_store(&shared->pids[2], getpid());
        sleep_for_ever();
    }
    sleep_for_ever();
    return 0;
}

static int supervises_until_orphaned(void *unused)
{
    (void)unused;
    atomic_store(&shared->pids[0], getpid());
    if (!begin())
        return 1;
    make_tree();
    for (;;)
        if (mproc__supervise_wait(mproc__supervise_prepare(), MPROC_FOREVER) == -EOWNERDEAD)
            break;
    mproc__supervise_kill_all();
    return 0;
}

static int owner_main(void *unused)
{
    (void)unused;
    int row = mproc__segment_join(segment);
    owner_row = (unsigned)row;
    pid_t pid = fork();
    if (pid == 0)
        _exit(supervises_until_orphaned(NULL));
    sleep_for_ever();
    return row;
}

static bool tree_stands(void *unused)
{
    (void)unused;
    return shared->pids[0] && shared->pids[1] && shared->pids[2];
}

static bool pidfd_ended(void *pidfd)
{
    return mproc__pidfd_ended(*(int *)pidfd) == 1;
}

/* shows: DEATH-9 */
START_TEST(when_the_owner_is_killed_the_supervisor_kills_children_and_grandchildren_and_ends)
{
    int pidfds[3];
    make_table();
    pid_t owner = support_fork(owner_main, NULL);
    ck_assert(support_until(tree_stands, NULL, 5000));
    ck_assert(support_until_asleep(shared->pids[0], 5000));
    for (int i = 0; i < 3; i++)
        ck_assert_int_ge(pidfds[i] = mproc__pidfd_open(shared->pids[i]), 0);
    support_kill(owner);
    for (int i = 0; i < 3; i++) {
        ck_assert_msg(support_until(pidfd_ended, &pidfds[i], 250),
                      "%d of supervisor, child, grandchild lives", i);
        close(pidfds[i]);
    }
    while (waitpid(-1, NULL, 0) > 0)
        ;
    mproc__segment_release(segment);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("supervise");
    TCase *sleep_case = support_case(suite, "sleep");
    tcase_add_test(sleep_case, no_childs_end_is_slept_over);
    tcase_add_test(sleep_case, a_command_wakes_a_sleeping_supervisor);
    tcase_add_test(sleep_case, a_deadline_ends_the_wait);
    tcase_add_test(sleep_case, interrupts_do_not_end_a_supervisor);
    TCase *death = support_case(suite, "death of the owner");
    tcase_add_test(death, when_the_owner_is_killed_the_supervisor_kills_children_and_grandchildren_and_ends);
    return support_run(suite, argc, argv);
}
