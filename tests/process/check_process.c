/* SPDX-License-Identifier: BSD-2-Clause */
/* The process handle: alive, joined, signalled, stopped, described; one body over all methods. */
#include "platform/base.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <mproc/wait.h>
#include "process/process.h"
#include "process/process_support.h"

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LIMIT_MS));
}

/* ---- alive and joined ---- */

static int waits_at_gate(mproc_call *call)
{
    return gate_pass(call, 0);
}

START_TEST(a_process_is_alive_from_start_to_its_end)
{
    warm();
    gate hold = gate_make();
    mproc_process *process = start(_i, waits_at_gate, MPROC_ARGS(mproc_fd(hold.read_fd)));
    ck_assert(mproc_process_is_alive(process));
    ck_assert_int_gt(mproc_process_pid(process), 0);
    gate_open(&hold);
    ck_assert_int_eq(join(process), 0);
    ck_assert(!mproc_process_is_alive(process));
    mproc_process_close(&process);
    ck_assert_ptr_null(process);
    gate_destroy(&hold);
}
END_TEST

/* shows: PROC-09 */
START_TEST(join_with_a_deadline_returns_by_it_and_touches_nothing)
{
    warm();
    gate hold = gate_make();
    mproc_process *process = start(_i, waits_at_gate, MPROC_ARGS(mproc_fd(hold.read_fd)));
    int exit_code = 99;
    ck_assert_int_eq(mproc_process_join(process, MPROC_NOW, &exit_code), -ETIMEDOUT);
    int64_t before = mproc__now_ns();
    ck_assert_int_eq(mproc_process_join(process, mproc_after_ms(30), &exit_code), -ETIMEDOUT);
    ck_assert_int_ge(mproc__now_ns() - before, 30 * INT64_C(1000000));
    ck_assert_int_eq(exit_code, 99);
    ck_assert(mproc_process_is_alive(process));
    gate_open(&hold);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    gate_destroy(&hold);
}
END_TEST

static int returns_its_argument(mproc_call *call)
{
    return (int)mproc_call_int(call, 0);
}

/* shows: PROC-10 START-D */
START_TEST(the_exit_code_is_what_the_function_returns_at_every_join)
{
    static const int codes[] = {0, 1, 7, 255};
    warm();
    for (size_t i = 0; i < MPROC__COUNT(codes); i++) {
        mproc_process *process = start(_i, returns_its_argument, MPROC_ARGS(codes[i]));
        for (int times = 0; times < 3; times++)
            ck_assert_int_eq(join(process), codes[i]);
        ck_assert_int_eq(mproc_process_join(process, MPROC_NOW, NULL), 0);
        mproc_process_close(&process);
    }
}
END_TEST

static int joins_itself(mproc_call *call)
{
    (void)call;
    mproc_process *self = mproc_process_self();
    return mproc_process_join(self, MPROC_FOREVER, NULL) == MPROC_ESTATE && mproc_process_is_alive(self) ? 0
                                                                                                         : 1;
}

/* shows: PROC-11 */
START_TEST(a_process_that_joins_itself_is_refused)
{
    warm();
    ck_assert_int_eq(run(_i, joins_itself, MPROC_NONE), 0);
}
END_TEST

static int uses_parents_handle(void *context)
{
    mproc_process *process = context;
    if (mproc_process_join(process, MPROC_FOREVER, NULL) != -ECHILD || mproc_process_is_alive(process))
        return 1;
    if (mproc_process_signal(process, SIGKILL) != -ECHILD ||
        mproc_process_stop(process, MPROC_FOREVER) != -ECHILD)
        return 2;
    mproc_process_close(&process);
    return process != NULL;
}

/* shows: PROC-11 */
START_TEST(a_fork_childs_use_of_its_parents_handle_is_refused)
{
    warm();
    gate hold = gate_make();
    mproc_process *process = start(_i, waits_at_gate, MPROC_ARGS(mproc_fd(hold.read_fd)));
    ck_assert_int_eq(support_reap(support_fork(uses_parents_handle, process), LIMIT_MS), 0);
    ck_assert(mproc_process_is_alive(process));
    gate_open(&hold);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    gate_destroy(&hold);
}
END_TEST

static void on_signal(int number)
{
    (void)number;
}

static int pesters_the_joiner(mproc_call *call)
{
    pid_t target = (pid_t)mproc_call_int(call, 0);
    for (int i = 0; i < 20; i++)
        if (kill(target, SIGUSR1) != 0)
            return 1;
    return 0;
}

/* shows: PROC-39 */
START_TEST(a_signal_handled_during_join_neither_ends_nor_falsifies_it)
{
    struct sigaction action = {.sa_handler = on_signal}, before;
    warm();
    sigaction(SIGUSR1, &action, &before);
    ck_assert_int_eq(run(_i, pesters_the_joiner, MPROC_ARGS((int)getpid())), 0);
    sigaction(SIGUSR1, &before, NULL);
}
END_TEST

/* shows: PROC-23 WAIT-1 */
START_TEST(the_descriptor_is_readable_once_the_process_has_ended_until_the_handle_is_closed)
{
    warm();
    gate hold = gate_make();
    mproc_process *process = start(_i, waits_at_gate, MPROC_ARGS(mproc_fd(hold.read_fd)));
    int fd = mproc_wait_fd(process);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(mproc__fd_poll(fd, POLLIN, MPROC_NOW), -ETIMEDOUT);
    gate_open(&hold);
    ck_assert_int_eq(mproc__fd_poll(fd, POLLIN, mproc_after_ms(support_ms(1000))), 0);
    ck_assert_int_eq(join(process), 0);
    ck_assert_int_eq(mproc_wait_fd(process), fd);
    ck_assert_int_eq(mproc__fd_poll(fd, POLLIN, MPROC_NOW), 0);
    mproc_process_close(&process);
    gate_destroy(&hold);
}
END_TEST

/* ---- how it ended ---- */

static int calls_exit(mproc_call *call)
{
    exit((int)mproc_call_int(call, 0));
}

/* shows: PROC-16 */
START_TEST(exit_in_the_child_is_reported_modulo_256)
{
    static const int codes[][2] = {{8, 8}, {0, 0}, {300, 44}, {-1, 255}};
    warm();
    for (size_t i = 0; i < MPROC__COUNT(codes); i++)
        ck_assert_int_eq(run(_i, calls_exit, MPROC_ARGS(codes[i][0])), codes[i][1]);
}
END_TEST

static int raises_its_argument(mproc_call *call)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal((int)mproc_call_int(call, 0), SIG_DFL); /* sanitizers set handlers in every program */
    raise((int)mproc_call_int(call, 0));
    return 0;
}

/* shows: PROC-17 */
START_TEST(death_by_a_signal_is_reported_as_minus_its_number)
{
    static const int numbers[] = {SIGABRT, SIGSEGV, SIGKILL, SIGHUP};
    warm();
    for (size_t i = 0; i < MPROC__COUNT(numbers); i++)
        ck_assert_int_eq(run(_i, raises_its_argument, MPROC_ARGS(numbers[i])), -numbers[i]);
}
END_TEST

/* shows: PROC-12 PROC-13 START-B */
START_TEST(term_kill_and_interrupt_find_default_dispositions)
{
    static const int numbers[] = {SIGTERM, SIGKILL, SIGINT};
    warm();
    gate hold = gate_make();
    struct sigaction action = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN}, term, interrupt;
    sigaction(SIGTERM, &action, &term);
    sigaction(SIGINT, &ignore, &interrupt);
    for (size_t i = 0; i < MPROC__COUNT(numbers); i++) {
        mproc_process *process = start(_i, waits_at_gate, MPROC_ARGS(mproc_fd(hold.read_fd)));
        ck_assert_int_eq(mproc_process_signal(process, numbers[i]), 0);
        ck_assert_int_eq(join(process), -numbers[i]);
        mproc_process_close(&process);
    }
    sigaction(SIGTERM, &term, NULL);
    sigaction(SIGINT, &interrupt, NULL);
    gate_destroy(&hold);
}
END_TEST

/* shows: PROC-14 */
START_TEST(a_signal_to_one_that_has_ended_succeeds_silently)
{
    warm();
    mproc_process *process = start(_i, nothing, MPROC_NONE);
    ck_assert_int_eq(mproc__process_wait(process, soon()), 0);
    ck_assert_int_eq(mproc_process_signal(process, SIGKILL), 0);
    ck_assert_int_eq(join(process), 0);
    ck_assert_int_eq(mproc_process_signal(process, SIGKILL), 0);
    ck_assert_int_eq(mproc_process_stop(process, soon()), 0);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
}
END_TEST

/* ---- stop ---- */

static int stops_when_told(mproc_call *call)
{
    signal(SIGTERM, SIG_IGN);
    gate_say(call, 0);
    while (!mproc_call_stopping(call))
        usleep(1000);
    return 5;
}

static int ignores_everything(mproc_call *call)
{
    signal(SIGTERM, SIG_IGN);
    gate_say(call, 0);
    for (;;)
        pause();
    return 0;
}

START_TEST(stop_lets_a_function_that_looks_end_by_itself)
{
    warm();
    gate said = gate_make();
    mproc_process *process = start(_i, stops_when_told, MPROC_ARGS(mproc_fd(said.write_fd)));
    gate_await(&said);
    ck_assert_int_eq(mproc_process_stop(process, soon()), 0);
    ck_assert_int_eq(join(process), 5);
    mproc_process_close(&process);
    gate_destroy(&said);
    signal(SIGTERM, SIG_DFL);
}
END_TEST

START_TEST(stop_kills_one_that_ignores_it_when_the_grace_is_over)
{
    warm();
    gate said = gate_make();
    mproc_process *process;
    ck_assert_int_eq(
        mproc_process_start(ignores_everything, MPROC_ARGS(mproc_fd(said.write_fd)),
                            MPROC_WITH(mproc_process_options, .start = (mproc_start)_i, .grace_ms = 50),
                            &process),
        0);
    gate_await(&said);
    int64_t before = mproc__now_ns();
    ck_assert_int_eq(mproc_process_stop(process, soon()), 0);
    ck_assert_int_ge(mproc__now_ns() - before, 50 * INT64_C(1000000));
    ck_assert_int_eq(join(process), -SIGKILL);
    mproc_process_close(&process);
    gate_destroy(&said);
}
END_TEST

START_TEST(a_thread_that_does_not_look_is_reported_busy)
{
    warm();
    gate hold = gate_make();
    mproc_process *process = start(MPROC_START_THREAD, waits_at_gate, MPROC_ARGS(mproc_fd(hold.read_fd)));
    ck_assert_int_eq(mproc_process_stop(process, mproc_after_ms(20)), -EBUSY);
    ck_assert(mproc_process_is_alive(process));
    gate_open(&hold);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
    gate_destroy(&hold);
}
END_TEST

/* ---- other people's waits ---- */

START_TEST(a_child_that_the_program_reaps_itself_is_known_or_told_lost)
{
    warm();
    mproc_process *process = start(_i, returns_its_argument, MPROC_ARGS(9));
    ck_assert_int_eq(waitpid(mproc_process_pid(process), NULL, 0), mproc_process_pid(process));
    int exit_code = 99;
    int rc = mproc_process_join(process, soon(), &exit_code);
    ck_assert((rc == 0 && exit_code == 9) || (rc == MPROC_EUNKNOWN && exit_code == 99));
    ck_assert_int_eq(mproc_process_join(process, MPROC_NOW, NULL), 0);
    mproc_process_close(&process);
}
END_TEST

/* shows: START-C */
START_TEST(the_library_leaves_sigchld_and_strangers_children_alone)
{
    struct sigaction action;
    warm();
    pid_t stranger = fork();
    if (stranger == 0)
        _exit(3);
    for (int method = FIRST_METHOD; method < ALL_METHODS; method++)
        ck_assert_int_eq(run(method, nothing, MPROC_NONE), 0);
    sigaction(SIGCHLD, NULL, &action);
    ck_assert(action.sa_handler == SIG_DFL);
    ck_assert_int_eq(support_reap(stranger, LIMIT_MS), 3);
}
END_TEST

START_TEST(a_program_that_ignores_sigchld_starts_and_joins)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    warm();
    sigaction(SIGCHLD, &ignore, &before);
    for (int i = 0; i < 5; i++) {
        mproc_process *process = start(_i, nothing, MPROC_NONE);
        int exit_code = 0;
        int rc = mproc_process_join(process, soon(), &exit_code);
        ck_assert((rc == 0 && exit_code == 0) || rc == MPROC_EUNKNOWN);
        ck_assert(!mproc_process_is_alive(process));
        mproc_process_close(&process);
    }
    sigaction(SIGCHLD, &before, NULL);
}
END_TEST

/* ---- description, mistakes ---- */

/* shows: PROC-42 */
START_TEST(a_description_names_process_pid_parent_and_state)
{
    static const char *const methods[] = {"", "fork", "spawn", "forkserver"};
    char text[200], expected[200];
    warm();
    gate hold = gate_make();
    mproc_process *runs = start(_i, waits_at_gate, MPROC_ARGS(mproc_fd(hold.read_fd)));
    mproc_describe(runs, text, sizeof text);
    snprintf(expected, sizeof expected, "process %s pid %d parent %d by %s running", mproc_process_name(runs),
             mproc_process_pid(runs), (int)getpid(), methods[_i]);
    ck_assert_str_eq(text, expected);
    gate_open(&hold);
    ck_assert_int_eq(join(runs), 0);
    mproc_process_close(&runs);
    gate_destroy(&hold);
    mproc_process *process = start(_i, raises_its_argument, MPROC_ARGS(SIGKILL));
    ck_assert_int_eq(join(process), -SIGKILL);
    mproc_describe(process, text, sizeof text);
    snprintf(expected, sizeof expected, "process Process-3 pid %d parent %d ", mproc_process_pid(process),
             (int)getpid());
    ck_assert_msg(strncmp(text, expected, strlen(expected)) == 0, "%s", text);
    ck_assert_ptr_nonnull(strstr(text, "ended with -9 (SIGKILL)"));
    mproc_process_close(&process);
}
END_TEST

START_TEST(wrong_use_is_refused_without_effect)
{
    mproc_process *process = (mproc_process *)(uintptr_t)1, *none = NULL;
    char name[200];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    ck_assert_int_eq(mproc_process_start(NULL, MPROC_NONE, NULL, &process), -EINVAL);
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE,
                                         MPROC_WITH(mproc_process_options, .start = (mproc_start)77),
                                         &process),
                     -EINVAL);
    ck_assert_int_eq(
        mproc_process_start(nothing, MPROC_NONE,
                            MPROC_WITH(mproc_process_options, .name = name, .start = MPROC_START_FORK),
                            &process),
        -ENAMETOOLONG);
    ck_assert_ptr_eq(process, (void *)1);
    ck_assert_int_eq(mproc_process_join(NULL, MPROC_NOW, NULL), -EINVAL);
    ck_assert_int_eq(mproc_process_signal(NULL, 0), -EINVAL);
    ck_assert_int_eq(mproc_process_stop(NULL, MPROC_NOW), -EINVAL);
    ck_assert(!mproc_process_is_alive(NULL));
    ck_assert_ptr_null(mproc_process_name(NULL));
    ck_assert_int_eq(mproc_process_pid(NULL), -EINVAL);
    mproc_process_close(NULL);
    mproc_process_close(&none);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("process");
    TCase *ends = support_case(suite, "life");
    tcase_add_loop_test(ends, a_process_is_alive_from_start_to_its_end, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(ends, join_with_a_deadline_returns_by_it_and_touches_nothing, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(ends, the_exit_code_is_what_the_function_returns_at_every_join, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(ends, a_process_that_joins_itself_is_refused, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(ends, a_fork_childs_use_of_its_parents_handle_is_refused, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(ends, a_signal_handled_during_join_neither_ends_nor_falsifies_it, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(ends, exit_in_the_child_is_reported_modulo_256, FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(ends, death_by_a_signal_is_reported_as_minus_its_number, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(ends,
                        the_descriptor_is_readable_once_the_process_has_ended_until_the_handle_is_closed,
                        FIRST_METHOD, ALL_METHODS);
    TCase *signals = support_case(suite, "signals and stopping");
    tcase_add_loop_test(signals, term_kill_and_interrupt_find_default_dispositions, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(signals, a_signal_to_one_that_has_ended_succeeds_silently, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(signals, stop_lets_a_function_that_looks_end_by_itself, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(signals, stop_kills_one_that_ignores_it_when_the_grace_is_over, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_test(signals, a_thread_that_does_not_look_is_reported_busy);
    TCase *others = support_case(suite, "other people's waits, mistakes");
    tcase_add_loop_test(others, a_child_that_the_program_reaps_itself_is_known_or_told_lost, FIRST_METHOD,
                        MPROC_START_FORKSERVER);
    tcase_add_test(others, the_library_leaves_sigchld_and_strangers_children_alone);
    tcase_add_loop_test(others, a_program_that_ignores_sigchld_starts_and_joins, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(others, a_description_names_process_pid_parent_and_state, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_test(others, wrong_use_is_refused_without_effect);
    return support_run(suite, argc, argv);
}
