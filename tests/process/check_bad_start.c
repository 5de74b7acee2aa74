/* SPDX-License-Identifier: BSD-2-Clause */
/* Starts that cannot be: what is asked for, when, by whom. Each is its own error, by every method, without effect, and the next
 * start works. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <mproc/lock.h>
#include <mproc/place.h>
#include "process/program_support.h"
#include "process/self.h"
#include "shm/place.h"

static const char *const WHEN =
    "CHECK_BAD_START"; /* environment: what the program anew does before main, or at its end */

static mproc_process_options *by(int method, mproc_process_options *options)
{
    *options = (mproc_process_options){.size = sizeof *options, .start = (mproc_start)method};
    return options;
}

/* Refused with one of two codes, without effect, and the next one works. */
static void ck_refused(int method, mproc_fn *fn, mproc_variant args, int code, int other_code)
{
    mproc_process_options options;
    mproc_process *process = NULL;
    int rc = mproc_process_start(fn, args, by(method, &options), &process);
    ck_assert_msg(rc == code || rc == other_code, "method %d: %s instead of %s; %s", method,
                  mproc_errname(rc), mproc_errname(code), mproc_error_text(mproc_last_error()));
    ck_assert_int_eq(mproc_error_code(mproc_last_error()), rc);
    ck_assert_ptr_null(process);
    ck_assert_int_eq(run(method, nothing, MPROC_NONE), 0);
}

/* ---- functions ---- */

/* Code that lies in no file: a copy of the process can run it, another program cannot. */
START_TEST(a_function_in_no_file_crosses_no_exec)
{
    warm();
    unsigned char *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(code, MAP_FAILED);
    ck_refused(_i, (mproc_fn *)(uintptr_t)code, MPROC_NONE, MPROC_EFUNCTION, MPROC_EFUNCTION);
    munmap(code, 4096);
}
END_TEST

START_TEST(data_are_no_function)
{
    static const int constant = 7;
    int local = 0;
    warm();
    ck_refused(_i, (mproc_fn *)(uintptr_t)&constant, MPROC_NONE, MPROC_EFUNCTION, MPROC_EFUNCTION);
    ck_refused(_i, (mproc_fn *)(uintptr_t)&local, MPROC_NONE, MPROC_EFUNCTION, MPROC_EFUNCTION);
    ck_refused(_i, (mproc_fn *)(uintptr_t)16, MPROC_NONE, MPROC_EFUNCTION, MPROC_EFUNCTION);
}
END_TEST

/* ---- arguments ---- */

START_TEST(what_cannot_cross_is_found_deep_inside_the_arguments)
{
    enum { LEVELS = 20 };
    mproc_place *here = NULL;
    mproc_lock *lock = NULL;
    warm();
    ck_done(mproc__place_local(MPROC__HOME_THREAD, &here));
    ck_done(mproc_lock_create(here, NULL, &lock));
    mproc_variant inner = mproc_handle(lock), levels[LEVELS];
    for (int i = 0; i < LEVELS; i++) {
        levels[i] = inner;
        inner = mproc_items(&levels[i], 1);
    }
    ck_refused(_i, nothing, mproc_items(&inner, 1), MPROC_ECANNOTCROSS, MPROC_ECANNOTCROSS);
    mproc_lock_close(&lock);
    mproc_place_close(&here);
}
END_TEST

START_TEST(arguments_that_are_nested_too_deep_are_refused)
{
    enum { LEVELS = 100000 };
    mproc_variant *levels = calloc(LEVELS, sizeof *levels), inner = mproc_int(1);
    ck_assert_ptr_nonnull(levels);
    warm();
    for (int i = 0; i < LEVELS; i++) {
        levels[i] = inner;
        inner = mproc_items(&levels[i], 1);
    }
    ck_refused(_i, nothing, inner, MPROC_EARGUMENT, MPROC_EARGUMENT);
    free(levels);
}
END_TEST

/* A lock of this process's threads, handed on by a child that got a copy of it at its fork. */
static mproc_lock *threads_lock;

static int hands_on(mproc_call *call)
{
    mproc_process_options options;
    mproc_process *process = NULL;
    int rc = mproc_process_start(nothing, MPROC_ARGS(mproc_handle(threads_lock)),
                                 by((int)mproc_call_int(call, 0), &options), &process);
    return rc == MPROC_ECANNOTCROSS || rc == -ECHILD ? 0 : 1;
}

START_TEST(a_handle_of_another_process_is_refused)
{
    mproc_place *here = NULL;
    warm();
    ck_done(mproc__place_local(MPROC__HOME_THREAD, &here));
    ck_done(mproc_lock_create(here, NULL, &threads_lock));
    ck_assert_int_eq(run(MPROC_START_FORK, hands_on, MPROC_ARGS(_i)), 0);
    mproc_lock_close(&threads_lock);
    mproc_place_close(&here);
}
END_TEST

static int counts(mproc_call *call)
{
    const char *text = mproc_call_text(call, 0);
    return text && strlen(text) == (size_t)mproc_call_int(call, 1) ? 0 : 1;
}

START_TEST(sixty_four_mib_of_arguments_arrive)
{
    enum { BYTES = 64 << 20 };
    char *text = malloc(BYTES + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', BYTES);
    text[BYTES] = '\0';
    warm();
    ck_assert_int_eq(run(_i, counts, MPROC_ARGS(text, (int)BYTES)), 0);
    free(text);
}
END_TEST

/* ---- options ---- */

START_TEST(options_of_a_wrong_size_and_names_that_are_too_long_are_refused)
{
    char name[MPROC__NAME_BYTES + 1];
    mproc_process *process = NULL;
    mproc_process_options options;
    warm();
    const size_t sizes[] = {0, 4, sizeof options - 1, SIZE_MAX};
    for (size_t i = 0; i < MPROC__COUNT(sizes); i++) {
        by(_i, &options)->size = sizes[i];
        ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE, &options, &process), -EINVAL);
    }
    memset(name, 'n', sizeof name);
    name[MPROC__NAME_BYTES] = '\0';
    by(_i, &options)->name = name;
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE, &options, &process), -ENAMETOOLONG);
    ck_assert_ptr_null(process);
    name[MPROC__NAME_BYTES - 1] = '\0';
    ck_done(mproc_process_start(nothing, MPROC_NONE, &options, &process));
    ck_assert_str_eq(mproc_process_name(process), name);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
}
END_TEST

static int gate_pass_first(mproc_call *call)
{
    return gate_pass(call, 0);
}

START_TEST(deadlines_that_were_never_to_come_are_past)
{
    static const int64_t odd[] = {INT64_MIN, -1, 0, 1};
    mproc_process_options options;
    mproc_process *process = NULL;
    warm();
    gate hold = gate_make();
    mproc_variant args = MPROC_ARGS(mproc_fd(hold.read_fd), 0);
    ck_done(mproc_process_start(gate_pass_first, args, by(_i, &options), &process));
    for (size_t i = 0; i < MPROC__COUNT(odd); i++)
        ck_assert_int_eq(mproc_process_join(process, (mproc_deadline){odd[i]}, NULL), -ETIMEDOUT);
    gate_open(&hold);
    ck_assert_int_eq(join(process), 0);
    for (size_t i = 0; i < MPROC__COUNT(odd); i++)
        ck_done(mproc_process_join(process, (mproc_deadline){odd[i]}, NULL));
    mproc_process_close(&process);
    gate_destroy(&hold);
}
END_TEST

/* ---- when ---- */

static int run_quietly(int method)
{
    mproc_process_options options;
    mproc_process *process = NULL;
    int exit_code = -1;
    int rc = mproc_process_start(nothing, MPROC_ARGS("text"), by(method, &options), &process);
    if (rc == 0)
        rc = mproc_process_join(process, limit(), &exit_code);
    mproc_process_close(&process);
    return rc < 0 ? rc : exit_code;
}

/* Registered first, so that it runs behind what the library does at exit. */
static int late_method, late_fd = -1;

static void starts_late(void)
{
    char said = run_quietly(late_method) == 0 ? 'y' : 'n';
    if (late_fd >= 0 && write(late_fd, &said, 1) != 1)
        abort();
}

static int exits(void *context)
{
    const int *method = context;
    late_method = *method;
    atexit(starts_late);
    int rc = run_quietly(late_method);
    exit(rc == 0 ? 0 : 1);
}

/* Behind the end of everything: it works, and what it has made anew goes with the process. */
START_TEST(a_start_in_a_late_exit_handler_works_and_leaves_nobody)
{
    gate said = gate_make();
    char byte = 0;
    late_fd = said.write_fd;
    ck_assert_int_eq(support_reap(support_fork(exits, &_i), LIMIT_MS), 0);
    ck_assert_int_eq(read(said.read_fd, &byte, 1), 1);
    ck_assert_int_eq(byte, 'y');
    ck_assert(support_until(nobody_is_left, NULL, LIMIT_MS));
    late_fd = -1;
    gate_destroy(&said);
}
END_TEST

/* Before main: by fork and thread as ever, what needs mproc_init says so. */
__attribute__((constructor)) static void starts_early(void)
{
    const char *method = getenv(WHEN);
    if (!method || getenv("MPROC_CHILD"))
        return;
    int rc = run_quietly(atoi(method));
    _exit(rc == 0 ? 10 : rc == MPROC_ENOINIT ? 11 : 12);
}

START_TEST(a_start_before_main_works_or_says_what_is_missing)
{
    warm();
    char number[8];
    mproc_process *process = NULL;
    snprintf(number, sizeof number, "%d", _i);
    setenv(WHEN, number, 1);
    process = launch(ARGV("/proc/self/exe"), OPTIONS(.capture = true));
    unsetenv(WHEN);
    bool execs = _i == MPROC_START_SPAWN || _i == MPROC_START_FORKSERVER;
    ck_assert_int_eq(join(process), execs ? 11 : 10);
    mproc_process_close(&process);
}
END_TEST

static void *starts_blocked(void *context)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    return (void *)(intptr_t)run_quietly(*(const int *)context);
}

START_TEST(a_thread_with_all_signals_blocked_starts_and_joins)
{
    pthread_t thread;
    void *rc;
    warm();
    ck_assert_int_eq(pthread_create(&thread, NULL, starts_blocked, &_i), 0);
    ck_assert_int_eq(pthread_join(thread, &rc), 0);
    ck_assert_int_eq((intptr_t)rc, 0);
}
END_TEST

/* ---- how many ---- */

START_TEST(the_4097th_child_is_refused_until_one_has_ended)
{
    enum { MOST = 4096 };
    static mproc_process *processes[MOST];
    mproc_process_options options;
    mproc_process *process = NULL;
    warm();
    gate hold = gate_make();
    for (int i = 0; i < MOST; i++)
        processes[i] = start(MPROC_START_THREAD, gate_pass_first, MPROC_ARGS(mproc_fd(hold.read_fd)));
    for (int method = FIRST_METHOD; method < ALL_METHODS; method++)
        ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE, by(method, &options), &process),
                         MPROC_ELIMIT);
    ck_assert_int_eq(mproc_process_start_program(ARGV("true"), NULL, &process), MPROC_ELIMIT);
    ck_assert_ptr_null(process);
    for (int i = 0; i < MOST; i++)
        gate_open(&hold);
    for (int i = 0; i < MOST; i++) {
        ck_assert_int_eq(join(processes[i]), 0);
        mproc_process_close(&processes[i]);
        if (i == 0)
            ck_assert_int_eq(run(MPROC_START_FORKSERVER, nothing, MPROC_NONE), 0);
    }
    gate_destroy(&hold);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("bad_start");
    TCase *what = support_case(suite, "what");
    tcase_add_loop_test(what, a_function_in_no_file_crosses_no_exec, MPROC_START_SPAWN, PROCESS_METHODS);
    tcase_add_loop_test(what, data_are_no_function, MPROC_START_SPAWN, PROCESS_METHODS);
    tcase_add_loop_test(what, what_cannot_cross_is_found_deep_inside_the_arguments, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(what, arguments_that_are_nested_too_deep_are_refused, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(what, a_handle_of_another_process_is_refused, FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(what, sixty_four_mib_of_arguments_arrive, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(what, options_of_a_wrong_size_and_names_that_are_too_long_are_refused, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(what, deadlines_that_were_never_to_come_are_past, FIRST_METHOD, ALL_METHODS);
    TCase *when = support_case(suite, "when");
    tcase_add_loop_test(when, a_start_in_a_late_exit_handler_works_and_leaves_nobody, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(when, a_start_before_main_works_or_says_what_is_missing, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(when, a_thread_with_all_signals_blocked_starts_and_joins, FIRST_METHOD, ALL_METHODS);
    TCase *many = support_case(suite, "many");
    tcase_add_test(many, the_4097th_child_is_refused_until_one_has_ended);
    return support_run(suite, argc, argv);
}
