/* SPDX-License-Identifier: BSD-2-Clause */
/* External programs: arguments, environment, directory, descriptors, groups, what fails before the exec. */
#include "platform/base.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "process/program_support.h"

enum { TEXT_BYTES = 4096 };
static char text[TEXT_BYTES];

/* ---- arguments and environment ---- */

START_TEST(arguments_arrive_as_they_are)
{
    warm();
    ck_assert_int_eq(capture(ARGV("printf", "<%s>", "a b", "", "*", "$HOME", "\"'"), OPTIONS(.name = "p"),
                             text, sizeof text),
                     0);
    ck_assert_str_eq(text, "<a b><><*><$HOME><\"'>");
}
END_TEST

static int runs_a_program(mproc_call *call)
{
    mproc_process *process = NULL;
    (void)call;
    if (mproc_process_start(nothing, MPROC_NONE, NULL, &process) != -EPERM)
        return 1;
    int rc = mproc_run(SHELL("exit 3"), NULL, NULL, limit(), &process);
    if (rc < 0 || mproc_process_join(process, MPROC_NOW, &rc) < 0)
        return 2;
    mproc_process_close(&process);
    return rc;
}

/* No functions, as in the reference, where programs are no children in this sense: half of all workers run some. */
START_TEST(a_daemonic_child_may_run_programs)
{
    mproc_process *process = NULL;
    warm();
    ck_done(mproc_process_start(runs_a_program, MPROC_NONE,
                                MPROC_WITH(mproc_process_options, .start = (mproc_start)_i, .daemon = true),
                                &process));
    ck_assert_int_eq(join(process), 3);
    mproc_process_close(&process);
}
END_TEST

START_TEST(the_exit_code_is_the_programs)
{
    warm();
    mproc_process *process = launch(SHELL("exit 7"), NULL);
    ck_assert_int_eq(join(process), 7);
    ck_assert_int_eq(join(process), 7);
    ck_assert(!mproc_process_is_alive(process));
    mproc_process_close(&process);
    process = launch(SHELL("kill -USR1 $$"), NULL);
    ck_assert_int_eq(join(process), -SIGUSR1);
    mproc_process_close(&process);
}
END_TEST

START_TEST(a_program_is_a_process_handle_like_any_other)
{
    char line[200];
    warm();
    mproc_process *process = launch(ARGV("/bin/sleep", "100"), NULL);
    ck_assert(mproc_process_is_alive(process));
    ck_assert_str_eq(mproc_process_name(process), "sleep");
    ck_assert_int_gt(mproc_process_pid(process), 0);
    mproc_describe(process, line, sizeof line);
    ck_assert_ptr_nonnull(strstr(line, "program sleep pid"));
    ck_assert_int_eq(mproc_process_join(process, MPROC_NOW, NULL), -ETIMEDOUT);
    ck_done(mproc_process_signal(process, SIGHUP));
    ck_assert_int_eq(join(process), -SIGHUP);
    mproc_process_close(&process);
    process = launch(ARGV("/bin/sleep", "100"), OPTIONS(.name = "long"));
    ck_assert_str_eq(mproc_process_name(process), "long");
    ck_done(mproc_process_stop(process, limit()));
    ck_assert_int_eq(join(process), -SIGTERM);
    mproc_process_close(&process);
}
END_TEST

START_TEST(another_program_may_be_run_under_the_name)
{
    warm();
    ck_assert_int_eq(
        capture(ARGV("other", "-c", "echo $0"), OPTIONS(.program = "/bin/sh"), text, sizeof text), 0);
    ck_assert_str_eq(text, "other\n");
}
END_TEST

START_TEST(the_environment_is_inherited_replaced_or_changed)
{
    warm();
    setenv("INHERITED", "yes", 1);
    setenv("CHANGED", "no", 1);
    setenv("GONE", "no", 1);
    capture(SHELL("echo $INHERITED"), OPTIONS(.name = "e"), text, sizeof text);
    ck_assert_str_eq(text, "yes\n");
    capture(ARGV("/usr/bin/env"), OPTIONS(.environment = ARGV("A=1", "B=2 3", "C=")), text, sizeof text);
    ck_assert_str_eq(text, "A=1\nB=2 3\nC=\n");
    capture(ARGV("/usr/bin/env"), OPTIONS(.environment = (const char *const[]){NULL}), text, sizeof text);
    ck_assert_str_eq(text, "");
    capture(SHELL("echo $INHERITED ${GONE-unset} $CHANGED $NEW"),
            OPTIONS(.variables = ARGV("NEW=1", "GONE", "CHANGED=a", "CHANGED=b=c")), text, sizeof text);
    ck_assert_str_eq(text, "yes unset b=c 1\n");
    capture(ARGV("/usr/bin/env"), OPTIONS(.environment = ARGV("A=1", "B=2"), .variables = ARGV("A", "C=3")),
            text, sizeof text);
    ck_assert_str_eq(text, "B=2\nC=3\n");
}
END_TEST

/* ---- where it is looked for ---- */

static void script_make(const char *directory, const char *name, const char *contents, mode_t mode)
{
    char path[500];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(contents, file);
    fclose(file);
    ck_assert_int_eq(chmod(path, mode), 0);
}

START_TEST(the_programs_own_path_is_searched)
{
    char first[300], second[300], variable[1600];
    warm();
    snprintf(first, sizeof first, "%s/first", support_directory());
    snprintf(second, sizeof second, "%s/second", support_directory());
    mkdir(first, 0700);
    mkdir(second, 0700);
    script_make(second, "found", "#!/bin/sh\necho second\n", 0700);
    snprintf(variable, sizeof variable, "PATH=/nowhere:%s/found:%s:%s", second, first, second);
    capture(ARGV("found"), OPTIONS(.variables = ARGV(variable)), text, sizeof text);
    ck_assert_str_eq(text, "second\n");
    snprintf(variable, sizeof variable, "PATH=:%s", first);
    capture(ARGV("found"), OPTIONS(.variables = ARGV(variable), .directory = second), text, sizeof text);
    ck_assert_str_eq(text, "second\n");
    capture(ARGV("./found"), OPTIONS(.directory = second), text, sizeof text);
    ck_assert_str_eq(text, "second\n");
    capture(ARGV("echo", "default"), OPTIONS(.variables = ARGV("PATH")), text, sizeof text);
    ck_assert_str_eq(text, "default\n");
}
END_TEST

START_TEST(the_directory_is_the_callers_or_the_one_said)
{
    char here[400], there[400];
    warm();
    ck_assert_ptr_nonnull(realpath(support_directory(), there));
    ck_assert_int_eq(capture(ARGV("pwd"), OPTIONS(.directory = there), text, sizeof text), 0);
    ck_assert_mem_eq(text, there, strlen(there));
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    ck_assert_int_eq(chdir(there), 0); /* after the nursery was made */
    ck_assert_int_eq(capture(ARGV("pwd"), OPTIONS(.name = "pwd"), text, sizeof text), 0);
    ck_assert_mem_eq(text, there, strlen(there));
    ck_assert_int_eq(chdir(here), 0);
}
END_TEST

/* ---- what fails ---- */

static void refused(const char *const argv[], const mproc_program_options *options, int code,
                    const char *part)
{
    mproc_process *process = (mproc_process *)(void *)text;
    ck_assert_int_eq(mproc_process_start_program(argv, options, &process), code);
    story_has(part);
    ck_assert_ptr_eq(process, text);
}

START_TEST(what_fails_before_the_exec_names_its_step)
{
    char path[500];
    warm();
    script_make(support_directory(), "plain", "echo no shell\n", 0600);
    script_make(support_directory(), "noshebang", "echo no shell\n", 0700);
    script_make(support_directory(), "nointerpreter", "#!/no/such/interpreter\n", 0700);
    refused(ARGV("no-such-program"), NULL, -ENOENT, "no such program in PATH");
    refused(ARGV("/no/such/program"), NULL, -ENOENT, "running it");
    refused(ARGV("ls"), OPTIONS(.directory = "/no/such"), -ENOENT, "directory '/no/such'");
    refused(ARGV("ls"), OPTIONS(.directory = "/dev/null"), -ENOTDIR, "directory");
    snprintf(path, sizeof path, "%s/plain", support_directory());
    refused(ARGV(path), NULL, -EACCES, "running it");
    refused(ARGV("plain"), OPTIONS(.variables = ARGV("PATH=.:/nowhere"), .directory = support_directory()),
            -EACCES, "running it");
    refused(ARGV("./noshebang"), OPTIONS(.directory = support_directory()), -ENOEXEC, "running it");
    refused(ARGV("./nointerpreter"), OPTIONS(.directory = support_directory()), -ENOENT, "running it");
    refused(ARGV("/dev"), NULL, -EACCES, "running it");
    refused(ARGV("ls"), OPTIONS(.input = {.kind = MPROC_STREAM_FILE, .path = "/no/such"}), -ENOENT,
            "input: /no/such");
    refused(ARGV("ls"), OPTIONS(.output = {.kind = MPROC_STREAM_FD, .fd = 999}), -EBADF,
            "output: descriptor 999");
    ck_assert_int_eq(run(MPROC_START_FORK, nothing, MPROC_NONE), 0);
}
END_TEST

START_TEST(arguments_that_are_too_large_are_the_systems_error)
{
    enum { HUGE_BYTES = 16 << 20 };
    warm();
    char *huge = malloc(HUGE_BYTES + 1);
    ck_assert_ptr_nonnull(huge);
    memset(huge, 'x', HUGE_BYTES);
    huge[HUGE_BYTES] = '\0';
    refused(ARGV("true", huge), NULL, -E2BIG, "running it");
    free(huge);
    ck_assert_int_eq(capture(ARGV("true"), OPTIONS(.name = "next"), text, sizeof text), 0);
}
END_TEST

START_TEST(bad_input_is_refused_without_effect)
{
    static const int standard = 1, closed = 900;
    char name[200];
    mproc_process *process = NULL;
    warm();
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    refused(NULL, NULL, -EINVAL, "argv");
    refused((const char *const[]){NULL}, NULL, -EINVAL, "argv");
    refused(ARGV(""), NULL, -EINVAL, "argv");
    ck_assert_int_eq(mproc_process_start_program(ARGV("true"), NULL, NULL), -EINVAL);
    refused(ARGV("true"), &(mproc_program_options){.size = 1}, -EINVAL, "mproc_program_options");
    refused(ARGV("true"), OPTIONS(.name = name), -ENAMETOOLONG, "name");
    refused(ARGV("true"), OPTIONS(.program = ""), -EINVAL, "empty name");
    refused(ARGV("true"), OPTIONS(.group = (mproc_program_group)9), -EINVAL, "group");
    refused(ARGV("true"), OPTIONS(.input = {.kind = (mproc_stream_kind)99}), -EINVAL, "stream");
    refused(ARGV("true"), OPTIONS(.output = {.kind = MPROC_STREAM_OUTPUT}), -EINVAL, "error stream");
    refused(ARGV("true"), OPTIONS(.output = {.kind = MPROC_STREAM_FILE}), -EINVAL, "path");
    refused(ARGV("true"), OPTIONS(.fds = &standard, .fd_count = 1), -EINVAL, "streams");
    refused(ARGV("true"), OPTIONS(.fds = &closed, .fd_count = 1), -EBADF, "900");
    refused(ARGV("true"), OPTIONS(.fds = &closed, .fd_count = MPROC_PROGRAM_FDS + 1), MPROC_ELIMIT, "most");
    refused(ARGV("true"), OPTIONS(.fd_count = 1), -EINVAL, "NULL");
    refused(ARGV("true"), OPTIONS(.variables = ARGV("=x")), -EINVAL, "no name");
    ck_assert_int_eq(mproc_process_pipe(NULL, 0), -EINVAL);
    ck_assert_int_eq(mproc_process_pipe_close(NULL, 0), -EINVAL);
    ck_assert_int_eq(mproc_process_communicate(NULL, NULL, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_process_output(NULL, 1, &(mproc_output){0}), -EINVAL);
    process = start(MPROC_START_FORK, nothing, MPROC_NONE);
    ck_assert_int_eq(mproc_process_pipe(process, 0), MPROC_ESTATE);
    ck_assert_int_eq(mproc_process_communicate(process, NULL, MPROC_NOW), MPROC_ESTATE);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
}
END_TEST

START_TEST(no_memory_is_an_error_wherever_it_is_missing)
{
    const mproc_program_options *options = OPTIONS(.capture = true, .variables = ARGV("A=1"));
    mproc_process *process;
    warm();
    for (unsigned n = 1;; n++) {
        support_fail_allocation(n);
        int rc = mproc_process_start_program(ARGV("true"), options, &process);
        if (!support_allocation_failed()) {
            support_fail_allocation(0);
            ck_assert_int_eq(rc, 0);
            break;
        }
        ck_assert_int_eq(rc, -ENOMEM);
    }
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
}
END_TEST

START_TEST(no_descriptor_is_an_error_wherever_it_is_missing)
{
    struct rlimit before, low;
    mproc_process *process = NULL;
    int rc = -EMFILE;
    warm();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    for (low.rlim_cur = 3; rc < 0; low.rlim_cur++) {
        ck_assert_uint_lt(low.rlim_cur, 60);
        setrlimit(RLIMIT_NOFILE, &low);
        rc = mproc_process_start_program(ARGV("true"), OPTIONS(.capture = true), &process);
        setrlimit(RLIMIT_NOFILE, &before);
        ck_assert_msg(rc == 0 || rc == -EMFILE, "with %d: %s", (int)low.rlim_cur,
                      mproc_error_text(mproc_last_error()));
    }
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
}
END_TEST

/* ---- a fork's other side ---- */

static int use_of_the_parents(void *context)
{
    mproc_process *process = context;
    mproc_output output;
    int pipe = mproc_process_pipe(process, 0), rc = mproc_process_communicate(process, NULL, MPROC_NOW);
    int read_rc = mproc_process_output(process, 1, &output);
    mproc_process_close(&process);
    return !(pipe == -ECHILD && rc == -ECHILD && read_rc == -ECHILD);
}

START_TEST(a_handle_that_crossed_a_fork_says_so)
{
    warm();
    mproc_process *process = launch(ARGV("cat"), OPTIONS(.input = {.kind = MPROC_STREAM_PIPE}));
    ck_assert_int_eq(support_reap(support_fork(use_of_the_parents, process), LIMIT_MS), 0);
    ck_done(mproc_process_communicate(process, NULL, limit()));
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
}
END_TEST

static int hold(mproc_call *call)
{
    return gate_pass(call, 0);
}

START_TEST(a_forked_sibling_does_not_hold_the_pipes)
{
    warm();
    gate go = gate_make();
    mproc_process *cat = launch(ARGV("cat"), OPTIONS(.input = {.kind = MPROC_STREAM_PIPE}));
    mproc_process *sibling = start(MPROC_START_FORK, hold, MPROC_ARGS(mproc_fd(go.read_fd)));
    ck_done(mproc_process_pipe_close(cat, 0));
    ck_assert_int_eq(join(cat), 0); /* it saw the end of its input */
    gate_open(&go);
    ck_assert_int_eq(join(sibling), 0);
    mproc_process_close(&cat);
    mproc_process_close(&sibling);
    gate_destroy(&go);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("program start");
    TCase *asked = support_case(suite, "what is asked for");
    tcase_add_test(asked, arguments_arrive_as_they_are);
    tcase_add_test(asked, the_exit_code_is_the_programs);
    tcase_add_test(asked, a_program_is_a_process_handle_like_any_other);
    tcase_add_test(asked, another_program_may_be_run_under_the_name);
    tcase_add_test(asked, the_environment_is_inherited_replaced_or_changed);
    tcase_add_test(asked, the_programs_own_path_is_searched);
    tcase_add_test(asked, the_directory_is_the_callers_or_the_one_said);
    tcase_add_loop_test(asked, a_daemonic_child_may_run_programs, MPROC_START_FORK, MPROC_START_FORK + 1);
    TCase *refusals = support_case(suite, "what fails");
    tcase_add_test(refusals, what_fails_before_the_exec_names_its_step);
    tcase_add_test(refusals, arguments_that_are_too_large_are_the_systems_error);
    tcase_add_test(refusals, bad_input_is_refused_without_effect);
    tcase_add_test(refusals, no_memory_is_an_error_wherever_it_is_missing);
    tcase_add_test(refusals, no_descriptor_is_an_error_wherever_it_is_missing);
    TCase *forks = support_case(suite, "forks");
    tcase_add_test(forks, a_handle_that_crossed_a_fork_says_so);
    tcase_add_test(forks, a_forked_sibling_does_not_hold_the_pipes);
    return support_run(suite, argc, argv);
}
