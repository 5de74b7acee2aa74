/* SPDX-License-Identifier: BSD-2-Clause */
/* A program that forgets mproc_init, or starts children above it: an error, not a fork bomb; fork and threads
 * just work. */
#include "platform/base.h"

#include <signal.h>
#include <grp.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
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

/* ---- a program with rights that its caller does not have ---- */

enum { NOBODY = 65534, IS_ITSELF = 42, LEFT_OUT = 77 };

static int main_with_foreign_rights(int argc, char **argv)
{
    mproc_process *process = NULL;
    int exit_code = 99;
    if (mproc__process_main(&argc, &argv) != 0)
        return 2;
    for (int method = MPROC_START_SPAWN; method <= MPROC_START_FORKSERVER; method++)
        if (mproc_process_start(returns_7, MPROC_NONE,
                                MPROC_WITH(mproc_process_options, .start = (mproc_start)method),
                                &process) != MPROC_ENOINIT ||
            !strstr(mproc_error_text(mproc_last_error()), "set-user-ID"))
            return 3;
    if (mproc_process_start(returns_7, MPROC_NONE,
                            MPROC_WITH(mproc_process_options, .start = MPROC_START_FORK), &process) != 0 ||
        mproc_process_join(process, mproc_after_ms(LIMIT_MS), &exit_code) != 0 || exit_code != 7)
        return 4;
    mproc_process_close(&process);
    return IS_ITSELF;
}

/* What a start gives to its child: the pid of the parent, and a socket as descriptor 3. */
static int pretends_to_be_a_parent(void *path)
{
    char name[] = "check_main", mode[] = "foreign-rights", *arguments[] = {name, mode, NULL}, parent[16];
    int sockets[2];
    if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
        return LEFT_OUT;
    snprintf(parent, sizeof parent, "%d", (int)getppid());
    if (setenv("MPROC_CHILD", parent, 1) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) < 0 ||
        dup2(sockets[1], 3) != 3 || (sockets[0] != 3 && close(sockets[0]) < 0))
        return 5;
    execv(path, arguments);
    return 6;
}

/* This program, with set-user-ID. */
static bool copy_made(const char *path)
{
    struct stat status;
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    bool made = from >= 0 && to >= 0 && fstat(from, &status) == 0 && fchmod(to, 04755) == 0;
    while (made && status.st_size > 0) {
        ssize_t put = sendfile(to, from, NULL, (size_t)status.st_size);
        made = put > 0;
        status.st_size -= put > 0 ? put : 0;
    }
    made = made && fchmod(to, 04755) == 0; /* writing takes it away */
    close(from);
    close(to);
    return made;
}

static bool can_have_foreign_rights(const char *directory)
{
    struct statvfs status;
    return geteuid() == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0 &&
           statvfs(directory, &status) == 0 && !(status.f_flag & ST_NOSUID);
}

/* Left out where nobody can have the rights of another. */
START_TEST(a_set_user_id_program_is_nobodys_child)
{
    char directory[] = "/tmp/check_main.XXXXXX", path[64];
    if (!can_have_foreign_rights("/tmp"))
        return;
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/program", directory);
    bool made = chmod(directory, 0755) == 0 && copy_made(path);
    int exit_code = made ? support_reap(support_fork(pretends_to_be_a_parent, path), LIMIT_MS) : -1;
    unlink(path);
    rmdir(directory);
    if (exit_code != LEFT_OUT)
        ck_assert_int_eq(exit_code, IS_ITSELF);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "start-above") == 0)
        return main_with_a_start_above_the_hook(argc, argv);
    if (argc > 1 && strcmp(argv[1], "child-dies") == 0)
        return main_whose_child_dies(argc, argv);
    if (argc > 1 && strcmp(argv[1], "foreign-rights") == 0)
        return main_with_foreign_rights(argc, argv);
    Suite *suite = suite_create("main");
    TCase *forgotten = support_case(suite, "forgotten");
    tcase_add_test(forgotten, without_the_entry_hook_an_exec_is_refused_and_fork_just_works);
    tcase_add_test(forgotten, a_start_above_the_entry_hook_is_refused_in_every_process_that_comes_there);
    TCase *dies = support_case(suite, "dies");
    tcase_add_test(dies, main_runs_once_in_a_child_that_dies_while_the_nursery_is_on_its_way);
#ifndef MPROC__SANITIZED /* who has such rights cannot be traced, which the search for leaks does */
    tcase_add_test(forgotten, a_set_user_id_program_is_nobodys_child);
#endif
    return support_run(suite, argc, argv);
}
