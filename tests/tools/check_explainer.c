/* SPDX-License-Identifier: BSD-2-Clause */
/* mproc-explain, run beside processes that hold and wait. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mproc.h>
#include "support/support.h"

static char said[1 << 16];

/* Runs it with these words; its exit status. What it wrote is in said[]. */
static int run(const char *words)
{
    const char *top = getenv("top_builddir");
    char command[512];
    snprintf(command, sizeof(command), "%s/tools/mproc-explain %s 2>&1", top ? top : ".", words);
    FILE *pipe = popen(command, "re");
    ck_assert_ptr_nonnull(pipe);
    size_t bytes = fread(said, 1, sizeof(said) - 1, pipe);
    said[bytes] = '\0';
    int status = pclose(pipe);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int run_for(pid_t pid)
{
    char number[16];
    snprintf(number, sizeof(number), "%d", (int)pid);
    return run(number);
}

static void says(const char *before, int number, const char *behind)
{
    char line[160];
    if (number)
        snprintf(line, sizeof(line), "%s%d%s", before, number, behind);
    else
        snprintf(line, sizeof(line), "%s%s", before, behind);
    ck_assert_msg(strstr(said, line) != NULL, "\"%s\" is not in\n%s", line, said);
}

/* ---- holders and waiters ---- */

static mproc_lock *locks[3];
static mproc_lock *wanted;

static int hold_first(void *lock)
{
    if (mproc_lock_acquire(lock, mproc_after_ms(5000)) < 0)
        return 1;
    if (wanted && mproc_lock_acquire(wanted, MPROC_FOREVER) < 0)
        return 2;
    while (pause() != 0) /* ever: it is killed */
        ;
    return 0;
}

static int wait_for(void *lock)
{
    return mproc_lock_acquire(lock, MPROC_FOREVER) < 0;
}

static bool held(void *lock)
{
    return mproc_lock_is_held(lock);
}

static pid_t start_holder(mproc_lock *lock)
{
    pid_t pid = support_fork(hold_first, lock);
    ck_assert(support_until(held, lock, 5000));
    return pid;
}

/* shows: DEATH-11 */
START_TEST(a_stopped_holder_is_named_holds_on_and_delays_no_deadline)
{
    ck_assert_int_eq(mproc_lock_create(NULL, MPROC_WITH(mproc_lock_options, .name = "jobs"), &locks[0]), 0);
    wanted = NULL;
    pid_t holder = start_holder(locks[0]);
    pid_t waiters[] = {support_fork(wait_for, locks[0]), support_fork(wait_for, locks[0])};
    for (int i = 0; i < 2; i++)
        ck_assert(support_until_asleep(waiters[i], 5000));
    ck_assert_int_eq(run_for(holder), 0);
    kill(holder, SIGSTOP);
    int status;
    ck_assert_int_eq(waitpid(holder, &status, WUNTRACED), holder);
    ck_assert_int_eq(mproc_lock_acquire(locks[0], mproc_after_ms(20)), -ETIMEDOUT);
    ck_assert_int_eq(run_for(holder), 1);
    says("lock \"jobs\"", 0, "");
    says("held by   ", holder, " check_explainer, thread ");
    says(", owner, STOPPED\n", 0, "");
    for (int i = 0; i < 2; i++)
        says("waiting   ", waiters[i], " check_explainer, thread ");
    says("waiting threads: 2\n", 0, "");
    support_kill(holder);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(support_reap(waiters[i], 5000), 0);
    mproc_lock_close(&locks[0]);
}
END_TEST

/* This process holds the first one's second lock until all sleep; then it lets go, and the circle closes. */
START_TEST(processes_that_wait_in_a_circle_are_told)
{
    static const char *const names[] = {"one", "two", "three"};
    int count = _i;
    pid_t pids[3];
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(mproc_lock_create(NULL, MPROC_WITH(mproc_lock_options, .name = names[i]), &locks[i]),
                         0);
    ck_assert_int_eq(mproc_lock_acquire(locks[count - 1], MPROC_NOW), 0);
    for (int i = 0; i < count - 1; i++) {
        wanted = locks[i == 0 ? count - 1 : i - 1];
        pids[i] = start_holder(locks[i]);
        ck_assert(support_until_asleep(pids[i], 5000));
    }
    wanted = locks[count - 2];
    /* The first one may be faster: then it has both, waits for nothing and there is no circle. So it is stopped. */
    kill(pids[0], SIGSTOP);
    int status;
    ck_assert_int_eq(waitpid(pids[0], &status, WUNTRACED), pids[0]);
    mproc_lock_release(locks[count - 1]);
    pids[count - 1] = start_holder(locks[count - 1]);
    kill(pids[0], SIGCONT);
    ck_assert(support_until_asleep(pids[count - 1], 5000) && support_until_asleep(pids[0], 5000));
    ck_assert_int_eq(run_for(pids[0]), 1);
    says("wait cycle:\n", 0, "");
    says("wait cycles: 1;", 0, "");
    for (int i = 0; i < count; i++)
        support_kill(pids[i]);
    for (int i = 0; i < count; i++)
        mproc_lock_close(&locks[i]);
}
END_TEST

/* ---- the program ---- */

START_TEST(its_options_and_its_mistakes)
{
    ck_assert_int_eq(run("--version"), 0);
    says("mproc-explain " MPROC_VERSION_TEXT "\n", 0, "");
    ck_assert_int_eq(run("--help"), 0);
    says("usage: mproc-explain", 0, "");
    ck_assert_int_eq(run("--wrong"), 64);
    ck_assert_int_eq(run("12x"), 64);
    ck_assert_int_eq(run("999999999"), 2);
    says("ESRCH", 0, "");
    ck_assert_int_eq(run("/no-file-of-this-name"), 0);
    says("objects: 0;", 0, "");
    ck_assert_int_eq(run("no-object-of-this-name >/dev/full"), 2);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("mproc-explain");
    TCase *people = support_case(suite, "people");
    tcase_add_test(people, a_stopped_holder_is_named_holds_on_and_delays_no_deadline);
    tcase_add_loop_test(people, processes_that_wait_in_a_circle_are_told, 2, 4);
    TCase *program = support_case(suite, "program");
    tcase_add_test(program, its_options_and_its_mistakes);
    return support_run(suite, argc, argv);
}
