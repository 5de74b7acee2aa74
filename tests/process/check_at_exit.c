/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a process: functions by priority, daemonic children ended, others joined. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>

#include <mproc/at_exit.h>
#include "process/process_support.h"

/* ---- functions ---- */

/* (fd, text) */
static int says(mproc_call *call)
{
    const char *text = mproc_call_text(call, 1);
    size_t length = strlen(text);
    return write((int)mproc_call_arg(call, 0).number, text, length) == (ssize_t)length ? 0 : 1;
}

static int says_and_fails(mproc_call *call)
{
    (void)says(call);
    return mproc_call_fail(call, -EIO, "on purpose");
}

/* What the pipe has, once all that wrote to it have ended. */
static void said_is(const gate *said, const char *expected)
{
    char text[64] = {0};
    fcntl(said->read_fd, F_SETFL, O_NONBLOCK);
    ssize_t got = read(said->read_fd, text, sizeof text - 1);
    ck_assert_str_eq(got > 0 ? text : "", expected);
}

static int ends_in_order(mproc_call *call)
{
    static const struct {
        const char *text;
        int priority;
    } all[] = {{"c", MPROC_AT_EXIT_NEVER}, {"e", -10}, {"d10", 1}, {"d01", 0}, {"d02", 0}, {"d03", 0}};
    mproc_variant fd = mproc_call_arg(call, 0);
    uint64_t a, b;
    if (mproc_at_exit(says, MPROC_ARGS(fd, "a"), 0, &a) != 0 || mproc_at_exit_run(a) != 0)
        return 1;
    if (mproc_at_exit(says, MPROC_ARGS(fd, "b"), MPROC_AT_EXIT_NEVER, &b) != 0 || mproc_at_exit_run(b) != 0 ||
        mproc_at_exit_run(b) != -ENOENT)
        return 2;
    for (size_t i = 0; i < MPROC__COUNT(all); i++)
        if (mproc_at_exit(says, MPROC_ARGS(fd, all[i].text), all[i].priority, NULL) != 0)
            return 3;
    return 0;
}

/* shows: LIFE-01 */
START_TEST(functions_run_by_priority_and_the_latest_first)
{
    warm();
    gate said = gate_make();
    ck_assert_int_eq(run(_i, ends_in_order, MPROC_ARGS(mproc_fd(said.write_fd))), 0);
    said_is(&said, "abd10d03d02d01e");
    gate_destroy(&said);
}
END_TEST

static int cancels_and_fails(mproc_call *call)
{
    mproc_variant fd = mproc_call_arg(call, 0);
    uint64_t gone;
    if (mproc_at_exit(says, MPROC_ARGS(fd, "x"), 5, &gone) != 0 || mproc_at_exit_cancel(gone) != 0 ||
        mproc_at_exit_cancel(gone) != -ENOENT || mproc_at_exit_run(gone) != -ENOENT)
        return 1;
    if (mproc_at_exit(says, MPROC_ARGS(fd, "2"), 1, NULL) != 0 ||
        mproc_at_exit(says_and_fails, MPROC_ARGS(fd, "1"), 2, NULL) != 0)
        return 2;
    return 0;
}

/* shows: LIFE-02 */
START_TEST(a_cancelled_one_does_not_run_and_a_failing_one_stops_no_other)
{
    warm();
    gate said = gate_make();
    ck_assert_int_eq(run(_i, cancels_and_fails, MPROC_ARGS(mproc_fd(said.write_fd))), 0);
    said_is(&said, "12");
    gate_destroy(&said);
}
END_TEST

static int finds_none(mproc_call *call)
{
    return mproc_at_exit_run((uint64_t)mproc_call_int(call, 0)) == -ENOENT ? 0 : 1;
}

/* shows: LIFE-02 */
START_TEST(what_was_given_before_a_fork_is_the_parents)
{
    uint64_t id = 0;
    warm();
    gate said = gate_make();
    ck_assert_int_eq(mproc_at_exit(says_and_fails, MPROC_ARGS(mproc_fd(said.write_fd), "p"), 0, &id), 0);
    ck_assert_int_eq(run(_i, finds_none, MPROC_ARGS((int64_t)id)), 0);
    said_is(&said, "");
    ck_assert_int_eq(mproc_at_exit_run(id), -EIO);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "on purpose"));
    said_is(&said, "p");
    gate_destroy(&said);
}
END_TEST

enum { THREADS = 4, ROUNDS = 200 };
static _Atomic unsigned counted;

static int counts(mproc_call *call)
{
    (void)call;
    atomic_fetch_add(&counted, 1);
    return 0;
}

/* Gives, runs and cancels; others try the same ids. Each function counts once or is cancelled once. */
static void *gives_and_takes(void *argument)
{
    unsigned *cancelled = argument;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t id;
        if (mproc_at_exit(counts, MPROC_NONE, i % 3, &id) != 0)
            abort();
        for (uint64_t at = id > 2 ? id - 2 : 1; at <= id; at++)
            if (i % 2)
                (void)mproc_at_exit_run(at);
            else
                *cancelled += mproc_at_exit_cancel(at) == 0;
    }
    return NULL;
}

/* shows: LIFE-03 */
START_TEST(threads_that_give_run_and_cancel_at_once_run_each_function_once)
{
    pthread_t threads[THREADS];
    unsigned cancelled[THREADS] = {0}, all = 0;
    uint64_t first, last, left = 0;
    atomic_store(&counted, 0);
    ck_assert_int_eq(mproc_at_exit(counts, MPROC_NONE, 0, &first), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, gives_and_takes, &cancelled[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        all += cancelled[i];
    }
    ck_assert_int_eq(mproc_at_exit(counts, MPROC_NONE, 0, &last), 0);
    for (uint64_t id = first; id <= last; id++)
        left += mproc_at_exit_cancel(id) == 0;
    ck_assert_uint_eq(last - first + 1, THREADS * ROUNDS + 2);
    ck_assert_uint_eq(atomic_load(&counted) + all + left, THREADS * ROUNDS + 2);
}
END_TEST

START_TEST(giving_fails_cleanly)
{
    uint64_t id = 7;
    ck_assert_int_eq(mproc_at_exit(NULL, MPROC_NONE, 0, &id), -EINVAL);
    ck_assert_int_eq(mproc_at_exit_run(0), -ENOENT);
    ck_assert_int_eq(mproc_at_exit_cancel(UINT64_MAX), -ENOENT);
    for (unsigned n = 1;; n++) {
        support_fail_allocation(n);
        int rc = mproc_at_exit(counts, MPROC_ARGS("text", 2.5), 0, &id);
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        ck_assert(rc == 0 || (failed && rc == -ENOMEM && id == 7));
        if (rc == 0)
            break;
    }
    ck_assert_int_eq(mproc_at_exit_cancel(id), 0);
}
END_TEST

/* ---- daemons ---- */

static mproc_process *begin(mproc_call *call, mproc_fn *fn, mproc_variant args, bool daemon)
{
    mproc_process *process = NULL;
    int rc = mproc_process_start(fn, args,
                                 MPROC_WITH(mproc_process_options, .daemon = daemon, .grace_ms = 50,
                                            .start = (mproc_start)mproc_call_int(call, 0)),
                                 &process);
    return rc == 0 ? process : NULL;
}

static int is_what_it_was_started_as(mproc_call *call)
{
    bool daemon = mproc_call_int(call, 0);
    mproc_process *process = NULL;
    if (mproc_process_is_daemon(mproc_process_self()) != daemon)
        return 1;
    int rc = mproc_process_start(nothing, MPROC_NONE,
                                 MPROC_WITH(mproc_process_options, .start = MPROC_START_FORK), &process);
    if (rc == 0)
        rc = mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), NULL);
    mproc_process_close(&process);
    return rc == (daemon ? -EPERM : 0) ? 0 : 2;
}

/* shows: PROC-26 PROC-27 */
START_TEST(a_daemon_is_so_from_start_on_and_may_start_no_children)
{
    warm();
    char text[200];
    ck_assert(!mproc_process_is_daemon(mproc_process_self()));
    ck_assert(!mproc_process_is_daemon(NULL));
    for (int daemon = 0; daemon < 2; daemon++) {
        mproc_process *process;
        ck_assert_int_eq(
            mproc_process_start(is_what_it_was_started_as, MPROC_ARGS(daemon),
                                MPROC_WITH(mproc_process_options, .start = (mproc_start)_i, .daemon = daemon),
                                &process),
            0);
        ck_assert(mproc_process_is_daemon(process) == daemon);
        mproc_describe(process, text, sizeof text);
        ck_assert(!strstr(text, " daemon ") == !daemon);
        ck_assert_int_eq(join(process), 0);
        mproc_process_close(&process);
    }
    mproc_process *plain = start(_i, nothing, MPROC_NONE);
    ck_assert(!mproc_process_is_daemon(plain));
    ck_assert_int_eq(join(plain), 0);
    mproc_process_close(&plain);
}
END_TEST

static int daemon_says_fd, daemon_opens_fd;

static void on_term(int number)
{
    (void)number;
    if (write(daemon_says_fd, "D", 1) == 1 && write(daemon_opens_fd, "o", 1) == 1)
        _exit(0);
    _exit(1);
}

/* (says, opens, ready) */
static int waits_for_term(mproc_call *call)
{
    daemon_says_fd = (int)mproc_call_arg(call, 0).number;
    daemon_opens_fd = (int)mproc_call_arg(call, 1).number;
    signal(SIGTERM, on_term);
    gate_say(call, 2);
    for (;;)
        pause();
    return 0;
}

/* (says, gate) */
static int waits_then_says(mproc_call *call)
{
    if (gate_pass(call, 1) != 0)
        return 1;
    return write((int)mproc_call_arg(call, 0).number, "J", 1) == 1 ? 0 : 1;
}

static int says_how_many_are_left(mproc_call *call)
{
    mproc_variant list;
    if (mproc_process_children(&list) != 0)
        return 1;
    char digit = (char)('0' + mproc_variant_count(list));
    mproc_variant_clear(&list);
    return write((int)mproc_call_arg(call, 0).number, &digit, 1) == 1 ? 0 : 1;
}

/* (method, says, hold reading, hold writing) */
static int leaves_a_daemon_and_a_child(mproc_call *call)
{
    mproc_variant said = mproc_call_arg(call, 1), hold = mproc_call_arg(call, 2),
                  opens = mproc_call_arg(call, 3);
    int ready[2];
    char byte;
    if (pipe2(ready, O_CLOEXEC) < 0)
        return 1;
    mproc_process *joined = begin(call, waits_then_says, MPROC_ARGS(said, hold), false);
    mproc_process *daemon = begin(call, waits_for_term, MPROC_ARGS(said, opens, mproc_fd(ready[1])), true);
    if (!joined || !daemon || read(ready[0], &byte, 1) != 1)
        return 2;
    mproc_process_close(&joined);
    mproc_process_close(&daemon);
    return mproc_at_exit(says, MPROC_ARGS(said, "first"), 0, NULL) == 0 &&
                   mproc_at_exit(says_how_many_are_left, MPROC_ARGS(said), -1, NULL) == 0
               ? 0
               : 3;
}

/* shows: LIFE-04 PROC-28 */
START_TEST(functions_then_daemons_end_then_children_are_joined_then_the_last_functions)
{
    warm();
    gate said = gate_make(), hold = gate_make();
    ck_assert_int_eq(
        run(_i, leaves_a_daemon_and_a_child,
            MPROC_ARGS(_i, mproc_fd(said.write_fd), mproc_fd(hold.read_fd), mproc_fd(hold.write_fd))),
        0);
    said_is(&said, "firstDJ0");
    gate_destroy(&said);
    gate_destroy(&hold);
}
END_TEST

static int ignores_term(mproc_call *call)
{
    signal(SIGTERM, SIG_IGN);
    gate_say(call, 0);
    for (;;)
        pause();
    return 0;
}

static int waits_at_gate(mproc_call *call)
{
    return gate_pass(call, 0);
}

/* (method, hold) */
static int leaves_a_stubborn_daemon_and_a_daemonic_thread(mproc_call *call)
{
    int ready[2];
    char byte;
    if (pipe2(ready, O_CLOEXEC) < 0)
        return 1;
    mproc_process *daemon = begin(call, ignores_term, MPROC_ARGS(mproc_fd(ready[1])), true), *thread;
    if (!daemon || read(ready[0], &byte, 1) != 1)
        return 2;
    if (mproc_process_start(waits_at_gate, MPROC_ARGS(mproc_call_arg(call, 1)),
                            MPROC_WITH(mproc_process_options, .start = MPROC_START_THREAD, .daemon = true),
                            &thread) != 0)
        return 3;
    mproc_process_close(&daemon);
    mproc_process_close(&thread);
    return 0;
}

/* shows: PROC-28 */
START_TEST(a_daemon_that_ignores_term_is_killed_and_a_daemonic_thread_delays_nothing)
{
    warm();
    gate hold = gate_make();
    ck_assert_int_eq(
        run(_i, leaves_a_stubborn_daemon_and_a_daemonic_thread, MPROC_ARGS(_i, mproc_fd(hold.read_fd))), 0);
    gate_destroy(&hold);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("at_exit");
    TCase *functions = support_case(suite, "functions");
    tcase_add_loop_test(functions, functions_run_by_priority_and_the_latest_first, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(functions, a_cancelled_one_does_not_run_and_a_failing_one_stops_no_other,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(functions, what_was_given_before_a_fork_is_the_parents, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_test(functions, threads_that_give_run_and_cancel_at_once_run_each_function_once);
    tcase_add_test(functions, giving_fails_cleanly);
    TCase *daemons = support_case(suite, "daemons");
    tcase_add_loop_test(daemons, a_daemon_is_so_from_start_on_and_may_start_no_children, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(daemons, functions_then_daemons_end_then_children_are_joined_then_the_last_functions,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(daemons, a_daemon_that_ignores_term_is_killed_and_a_daemonic_thread_delays_nothing,
                        FIRST_METHOD, PROCESS_METHODS);
    return support_run(suite, argc, argv);
}
