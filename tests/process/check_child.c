/* SPDX-License-Identifier: BSD-2-Clause */
/* The child's first steps and its end as it sees them: surroundings, descriptors, signals, streams, exit
 * handlers. */
#include "platform/base.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>

#include <mproc/queue.h>
#include "channel/auth.h"
#include "data/call.h"
#include "process/process_support.h"

/* ---- surroundings ---- */

static int looks_around(mproc_call *call)
{
    char directory[4096], *variable = getenv("CHECK_START_VARIABLE");
    if (!getcwd(directory, sizeof directory) || strcmp(directory, mproc_call_text(call, 0)) != 0)
        return 1;
    if (!variable || strcmp(variable, "as at start") != 0)
        return 2;
    return getenv("MPROC_CHILD") ? 3 : 0;
}

START_TEST(directory_and_environment_are_those_of_the_moment_of_start)
{
    char before[4096];
    warm(); /* the nursery has the old ones */
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, nothing, MPROC_NONE), 0);
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    ck_assert_int_eq(chdir(support_directory()), 0);
    ck_assert_int_eq(setenv("CHECK_START_VARIABLE", "as at start", 1), 0);
    ck_assert_int_eq(run(_i, looks_around, MPROC_ARGS(support_directory())), 0);
    ck_assert_int_eq(chdir(before), 0);
    unsetenv("CHECK_START_VARIABLE");
}
END_TEST

static int looks_for_descriptor(mproc_call *call)
{
    return fcntl((int)mproc_call_int(call, 0), F_GETFD) >= 0 ? 1 : 0;
}

/* shows: PROC-37 START-B */
START_TEST(a_descriptor_not_passed_on_is_open_in_a_fork_child_only)
{
    warm();
    int fd = dup(0);
    ck_assert_int_ge(fd, 3);
    ck_assert_int_eq(run(_i, looks_for_descriptor, MPROC_ARGS(fd)), _i == MPROC_START_FORK);
    close(fd);
}
END_TEST

static int counts_descriptors(mproc_call *call)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    if (mproc_call_count(call) > 0 && gate_say(call, 0) == 0 && gate_pass(call, 1) != 0)
        return 200;
    return count - 3; /* ".", "..", the directory itself */
}

/* shows: PROC-36 START-B */
START_TEST(a_childs_descriptors_are_those_it_was_given_however_many_siblings_live)
{
    enum { SIBLINGS = 8 };
    mproc_process *siblings[SIBLINGS];
    warm();
    gate said = gate_make(), hold = gate_make();
    int alone = run(_i, counts_descriptors, MPROC_NONE);
    for (int i = 0; i < SIBLINGS; i++) {
        siblings[i] =
            start(_i, counts_descriptors, MPROC_ARGS(mproc_fd(said.write_fd), mproc_fd(hold.read_fd)));
        gate_await(&said);
    }
    ck_assert_int_eq(run(_i, counts_descriptors, MPROC_NONE), alone);
    if (_i != MPROC_START_FORK)
        ck_assert_int_eq(alone, 3);
    for (int i = 0; i < SIBLINGS; i++)
        gate_open(&hold); /* whichever comes first passes */
    for (int i = 0; i < SIBLINGS; i++) {
        ck_assert_int_eq(join(siblings[i]), _i == MPROC_START_FORK ? alone : alone + 2);
        mproc_process_close(&siblings[i]);
    }
    gate_destroy(&said);
    gate_destroy(&hold);
}
END_TEST

static int checks_signals(mproc_call *call)
{
    sigset_t mask;
    (void)call;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    if (!sigisemptyset(&mask))
        return 1;
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
#ifdef __SANITIZE_ADDRESS__
        if (number == SIGSEGV || number == SIGBUS || number == SIGFPE)
            continue; /* the sanitizer's own, set in every program before main */
#endif
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
            return number;
    }
    char byte;
    return read(0, &byte, 1) == 0 ? 0 : 101;
}

static void on_signal(int number)
{
    (void)number;
}

/* shows: START-B */
START_TEST(a_child_has_an_empty_mask_default_dispositions_and_no_input)
{
    struct sigaction action = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN}, before[2];
    sigset_t some, mask;
    warm();
    sigaction(SIGUSR1, &action, &before[0]);
    sigaction(SIGPIPE, &ignore, &before[1]);
    sigemptyset(&some);
    sigaddset(&some, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &some, &mask);
    ck_assert_int_eq(run(_i, checks_signals, MPROC_NONE), 0);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    sigaction(SIGUSR1, &before[0], NULL);
    sigaction(SIGPIPE, &before[1], NULL);
}
END_TEST

static int finds_the_key(mproc_call *call)
{
    mproc__key key;
    size_t size_bytes;
    const void *bytes = mproc_variant_get_bytes(mproc_call_arg(call, 0), &size_bytes);
    if (mproc__key_program(&key) < 0 || !key.set || !bytes)
        return 1;
    return key.size_bytes == size_bytes && memcmp(key.bytes, bytes, size_bytes) == 0 ? 0 : 2;
}

/* shows: PROC-07 */
START_TEST(a_child_has_the_key_of_the_moment_of_its_start)
{
    static const char first[] = "the first key of the program", second[] = "and another key for the next";
    warm();
    ck_assert_int_eq(mproc_set_key(first, sizeof first), 0);
    ck_assert_int_eq(run(_i, finds_the_key, MPROC_ARGS(mproc_bytes(first, sizeof first))), 0);
    ck_assert_int_eq(mproc_set_key(second, sizeof second), 0);
    ck_assert_int_eq(run(_i, finds_the_key, MPROC_ARGS(mproc_bytes(second, sizeof second))), 0);
    ck_assert_int_eq(mproc_set_key(NULL, 0), 0);
}
END_TEST

static int uses_a_queue_and_a_process(mproc_call *call)
{
    mproc_queue *queue;
    char text[8], byte;
    if (read(0, &byte, 1) != 0)
        return 1;
    if (mproc_queue_create(NULL, NULL, &queue) < 0 || mproc_queue_put(queue, "one", 4, MPROC_NOW) < 0)
        return 2;
    size_t size_bytes;
    if (mproc_queue_get(queue, text, sizeof text, MPROC_NOW, &size_bytes) < 0 || strcmp(text, "one") != 0)
        return 3;
    mproc_queue_close(&queue);
    mproc_process *process;
    int exit_code = 99, rc;
    rc = mproc_process_start(nothing, MPROC_NONE,
                             MPROC_WITH(mproc_process_options, .start = (mproc_start)mproc_call_int(call, 0)),
                             &process);
    if (rc == 0)
        rc = mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), &exit_code);
    mproc_process_close(&process);
    return rc == 0 && exit_code == 0 ? 0 : 4;
}

/* shows: PROC-22 */
START_TEST(in_a_child_without_input_queues_and_processes_can_be_made)
{
    warm();
    ck_assert_int_eq(run(_i, uses_a_queue_and_a_process, MPROC_ARGS(_i)), 0);
}
END_TEST

static int finds_arguments_by_name(mproc_call *call)
{
    mproc_variant named = mproc_call_arg(call, 0);
    const char *text = mproc_variant_get_text(mproc_variant_find(named, "text"));
    if (!text || strcmp(text, "x") != 0)
        return 1;
    if (mproc_variant_set(&named, "text", mproc_text("changed")) == 0)
        return 2; /* what a call has is borrowed */
    return mproc_variant_equal(mproc_variant_find(named, "number"), mproc_int(7)) ? 0 : 3;
}

/* shows: PROC-04 */
START_TEST(a_dict_carries_arguments_by_name_and_no_two_children_share_them)
{
    warm();
    mproc_variant named = mproc_null();
    ck_assert_int_eq(mproc_variant_set(&named, "text", mproc_text("x")), 0);
    ck_assert_int_eq(mproc_variant_set(&named, "number", mproc_int(7)), 0);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(run(_i, finds_arguments_by_name, MPROC_ARGS(named)), 0);
    mproc_variant_clear(&named);
}
END_TEST

/* ---- streams and exit handlers ---- */

static const char *scratch(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", support_directory(), name);
    return path;
}

static void file_is(const char *path, const char *expected)
{
    char text[512] = {0};
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert(fread(text, 1, sizeof text - 1, file) < sizeof text);
    fclose(file);
    ck_assert_str_eq(text, expected);
    unlink(path);
}

static int fails_with_a_story(mproc_call *call)
{
    FILE *file = fopen(mproc_call_text(call, 0), "w");
    fputs("buffered", file);
    return mproc_call_fail(call, -EDOM, "no such thing as %d", 42);
}

/* shows: PROC-18 PROC-19 PROC-16 */
START_TEST(a_failing_function_exits_1_says_so_on_stderr_and_flushes_its_streams)
{
    warm();
    char path[512], errors[512], expected[512];
    strcpy(path, scratch("buffered"));
    strcpy(errors, scratch("stderr"));
    int saved = dup(2), file = open(errors, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dup2(file, 2);
    mproc_process *process = NULL;
    int rc = mproc_process_start(fails_with_a_story, MPROC_ARGS((const char *)path),
                                 MPROC_WITH(mproc_process_options, .name = "loser", .start = (mproc_start)_i),
                                 &process);
    int exit_code = rc == 0 ? join(process) : rc;
    dup2(saved, 2);
    close(saved);
    close(file);
    ck_assert_int_eq(exit_code, 1);
    mproc_process_close(&process);
    file_is(path, "buffered");
    snprintf(expected, sizeof expected, "loser: EDOM: no such thing as 42\n");
    file_is(errors, expected);
}
END_TEST

/* shows: PROC-20 */
START_TEST(text_buffered_at_a_fork_is_written_once)
{
    warm();
    char path[512];
    strcpy(path, scratch("once"));
    FILE *file = fopen(path, "we");
    fputs("once", file);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(run(_i, nothing, MPROC_NONE), 0);
    fclose(file);
    file_is(path, "once");
}
END_TEST

static int closes_its_streams(mproc_call *call)
{
    (void)call;
    printf("nobody reads this");
    close(1);
    close(2);
    return 0;
}

/* shows: PROC-21 */
START_TEST(closed_standard_streams_change_nothing)
{
    warm();
    ck_assert_int_eq(run(_i, closes_its_streams, MPROC_NONE), 0);
    fflush(stdout);
    int out = dup(1), err = dup(2);
    close(1);
    close(2);
    mproc_process *process = NULL;
    int exit_code = 99;
    int rc = mproc_process_start(closes_its_streams, MPROC_NONE,
                                 MPROC_WITH(mproc_process_options, .start = (mproc_start)_i), &process);
    if (rc == 0)
        rc = mproc_process_join(process, mproc_after_ms(LIMIT_MS), &exit_code);
    dup2(out, 1);
    dup2(err, 2);
    close(out);
    close(err);
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(exit_code, 0);
    mproc_process_close(&process);
}
END_TEST

static char exit_path[512];

static void writes_child(void)
{
    FILE *file = fopen(exit_path, "a");
    fputs("child", file);
    fclose(file);
}

static void writes_parent(void)
{
    FILE *file = fopen(exit_path, "a");
    fputs("parent", file);
    fclose(file);
}

static int registers_exit_handler(mproc_call *call)
{
    snprintf(exit_path, sizeof exit_path, "%s", mproc_call_text(call, 0));
    return atexit(writes_child);
}

/* shows: PROC-41 */
START_TEST(exit_handlers_of_the_child_run_and_those_of_its_parent_do_not)
{
    warm();
    strcpy(exit_path, scratch("handlers"));
    ck_assert_int_eq(atexit(writes_parent), 0);
    char path[512]; /* a fork child shares the memory of its arguments */
    strcpy(path, exit_path);
    ck_assert_int_eq(run(_i, registers_exit_handler, MPROC_ARGS((const char *)path)), 0);
    file_is(exit_path, "child");
    strcpy(exit_path, "/dev/null"); /* for the handler of this process */
}
END_TEST

static int passes_gate_and_says(mproc_call *call)
{
    if (gate_pass(call, 0) != 0)
        return 1;
    return gate_say(call, 1);
}

static int leaves_a_helper_at_the_gate(mproc_call *call)
{
    mproc_process *helper;
    int rc = mproc_process_start(passes_gate_and_says, call->args,
                                 MPROC_WITH(mproc_process_options, .start = MPROC_START_THREAD), &helper);
    if (rc == 0)
        mproc_process_close(&helper);
    return rc;
}

/* shows: PROC-38 */
START_TEST(a_child_leaves_only_when_the_threads_it_started_have_ended)
{
    warm();
    gate hold = gate_make(), said = gate_make();
    mproc_process *process =
        start(_i, leaves_a_helper_at_the_gate, MPROC_ARGS(mproc_fd(hold.read_fd), mproc_fd(said.write_fd)));
    ck_assert_int_eq(mproc_process_join(process, mproc_after_ms(50), NULL), -ETIMEDOUT);
    gate_open(&hold);
    gate_await(&said);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    gate_destroy(&hold);
    gate_destroy(&said);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("child");
    TCase *around = support_case(suite, "surroundings");
    tcase_add_loop_test(around, directory_and_environment_are_those_of_the_moment_of_start, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(around, a_descriptor_not_passed_on_is_open_in_a_fork_child_only, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(around, a_childs_descriptors_are_those_it_was_given_however_many_siblings_live,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(around, a_child_has_an_empty_mask_default_dispositions_and_no_input, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(around, a_child_has_the_key_of_the_moment_of_its_start, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(around, in_a_child_without_input_queues_and_processes_can_be_made, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(around, a_dict_carries_arguments_by_name_and_no_two_children_share_them, FIRST_METHOD,
                        ALL_METHODS);
    TCase *end = support_case(suite, "streams and exit handlers");
    tcase_add_loop_test(end, a_failing_function_exits_1_says_so_on_stderr_and_flushes_its_streams,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(end, text_buffered_at_a_fork_is_written_once, FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(end, closed_standard_streams_change_nothing, FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(end, exit_handlers_of_the_child_run_and_those_of_its_parent_do_not, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(end, a_child_leaves_only_when_the_threads_it_started_have_ended, FIRST_METHOD,
                        PROCESS_METHODS);
    return support_run(suite, argc, argv);
}
