/* SPDX-License-Identifier: BSD-2-Clause */
/* A program that forgets mproc_init, or starts children above it: an error, not a fork bomb; fork and threads
 * just work. */
#include "platform/base.h"

#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "process/spares_support.h"

static int returns_7(mproc_call *call)
{
    (void)call;
    return 7;
}

/* shows: START-11 */
START_TEST(without_the_entry_hook_an_exec_is_refused_and_fork_just_works)
{
    mproc_process *process = NULL;
    ck_assert_int_eq(run(MPROC_START_FORK, returns_7, MPROC_NONE), 7);
    support_leaks_begin();
    for (int method = MPROC_START_SPAWN; method <= MPROC_START_FORKSERVER; method++) {
        int rc = mproc_process_start(
            returns_7, MPROC_NONE, MPROC_WITH(mproc_process_options, .start = (mproc_start)method), &process);
        ck_assert_int_eq(rc, MPROC_ENOINIT);
        ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "mproc_init"));
        ck_assert_ptr_null(process);
    }
    ck_assert_int_eq(run(MPROC_START_THREAD, returns_7, MPROC_NONE), 7);
    ck_assert_int_eq(run(MPROC_START_FORK, returns_7, MPROC_NONE), 7);
}
END_TEST

/* ---- a start above the entry hook ---- */

static int says_f(mproc_call *call)
{
    (void)call;
    return write(1, "f", 1) == 1 ? 0 : 1;
}

/* Each process that runs this program says m, and r when its start was refused. */
static int main_with_a_start_above_the_hook(int argc, char **argv)
{
    mproc_process *process = NULL;
    int exit_code = 99;
    mproc_process_options options = {.size = sizeof options, .start = MPROC_START_SPAWN};
    int rc = mproc_process_start(says_f, MPROC_NONE, &options, &process);
    if (write(1, "m", 1) != 1 || (rc == MPROC_ENOINIT && !process && write(1, "r", 1) != 1))
        return 1;
    if (mproc__process_main(&argc, &argv) != 0 ||
        mproc_process_start(says_f, MPROC_NONE, &options, &process) != 0 ||
        mproc_process_join(process, mproc_after_ms(LIMIT_MS), &exit_code) != 0)
        return 2;
    mproc_process_close(&process);
    return exit_code;
}

/* What this program, run anew with that argument, and its children say. */
static void said_by(char *mode, const char *wanted)
{
    char name[] = "check_main", *arguments[] = {name, mode, NULL}, said[64] = {0};
    posix_spawn_file_actions_t actions;
    gate out = gate_make();
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out.write_fd, 1);
    ck_assert_int_eq(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    ck_assert_int_eq(support_reap(pid, LIMIT_MS), 0);
    ck_assert_int_gt(read(out.read_fd, said, sizeof said - 1), 0);
    ck_assert_str_eq(said, wanted);
    gate_destroy(&out);
}

/* Three processes: the program, its nursery, the child. */
/* shows: START-11 */
START_TEST(a_start_above_the_entry_hook_is_refused_in_every_process_that_comes_there)
{
    char mode[] = "start-above";
    said_by(mode, "mrmrmrf");
}
END_TEST

/* ---- a child that dies in its first steps ---- */

static bool nursery_stops;

/* The nursery calls it before it has a row, and stays there until it is told to go on. */
int prctl(int option, ...)
{
    unsigned long arguments[4];
    va_list list;
    va_start(list, option);
    for (int i = 0; i < 4; i++)
        arguments[i] = va_arg(list, unsigned long);
    va_end(list);
    if (option == PR_SET_CHILD_SUBREAPER && nursery_stops)
        raise(SIGSTOP);
    return (int)syscall(SYS_prctl, option, arguments[0], arguments[1], arguments[2], arguments[3]);
}

/* Only a child that is to have a limit calls it. */
int setpriority(__priority_which_t which, id_t who, int priority)
{
    raise(SIGKILL);
    return which == PRIO_PROCESS && who == 0 ? priority : -1;
}

/* Each process that runs this program says m. */
static int main_whose_child_dies(int argc, char **argv)
{
    mproc_process *process = NULL;
    mproc_process_options options = {.size = sizeof options, .start = MPROC_START_SPAWN, .limits.nice = 1};
    nursery_stops = true;
    if (write(1, "m", 1) != 1 || mproc__process_main(&argc, &argv) != 0)
        return 1;
    int rc = mproc_process_start(nothing, MPROC_NONE, &options, &process);
    pid_t nursery = nursery_pid();
    if (nursery <= 0 || kill(nursery, SIGCONT) < 0)
        return 2;
    return rc == MPROC_EDIED && !process ? 0 : 3;
}

/* Three processes, as above. */
START_TEST(main_runs_once_in_a_child_that_dies_while_the_nursery_is_on_its_way)
{
    char mode[] = "child-dies";
    said_by(mode, "mmm");
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "start-above") == 0)
        return main_with_a_start_above_the_hook(argc, argv);
    if (argc > 1 && strcmp(argv[1], "child-dies") == 0)
        return main_whose_child_dies(argc, argv);
    Suite *suite = suite_create("main");
    TCase *forgotten = support_case(suite, "forgotten");
    tcase_add_test(forgotten, without_the_entry_hook_an_exec_is_refused_and_fork_just_works);
    tcase_add_test(forgotten, a_start_above_the_entry_hook_is_refused_in_every_process_that_comes_there);
    TCase *dies = support_case(suite, "dies");
    tcase_add_test(dies, main_runs_once_in_a_child_that_dies_while_the_nursery_is_on_its_way);
    return support_run(suite, argc, argv);
}
