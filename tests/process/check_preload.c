/* SPDX-License-Identifier: BSD-2-Clause */
/* Preloading: once in the nursery, for all its children; failures by policy; output once; the owner's death in it. */
#include "platform/base.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <mproc/lock.h>
#include "process/process_support.h"

static int loads; /* how often loads_once has run in this process and those it was forked from */
static pid_t loaded_by;
static mproc_lock *loaded_lock;

static int loads_once(mproc_call *call)
{
    (void)call;
    loads++;
    loaded_by = getpid();
    return mproc_lock_create(NULL, NULL, &loaded_lock);
}

static int order;

static int comes_first(mproc_call *call)
{
    (void)call;
    order = order * 10 + 1;
    return 0;
}

static int comes_second(mproc_call *call)
{
    (void)call;
    order = order * 10 + 2;
    return 0;
}

/* 0: it was loaded once, by this child's parent, and all of it works. */
static int finds_it_loaded(mproc_call *call)
{
    (void)call;
    if (loads != 1 || loaded_by != getppid() || order != 12)
        return 1;
    if (mproc_lock_acquire(loaded_lock, mproc_after_ms(LIMIT_MS)) != 0)
        return 2;
    return mproc_lock_release(loaded_lock) == 0 ? 0 : 3;
}

static int finds_nothing(mproc_call *call)
{
    (void)call;
    return loads == 0 && order == 0 ? 0 : 1;
}

/* ---- once, for all ---- */

/* shows: START-19 */
START_TEST(what_is_preloaded_runs_once_in_order_and_all_forkserver_children_have_it)
{
    ck_assert_int_eq(mproc_preload(comes_first, MPROC_PRELOAD_FAIL), 0);
    ck_assert_int_eq(mproc_preload(loads_once, MPROC_PRELOAD_IGNORE), 0);
    ck_assert_int_eq(mproc_preload(comes_second, MPROC_PRELOAD_FAIL), 0);
    ck_assert_int_eq(mproc_preload(loads_once, MPROC_PRELOAD_FAIL), 0);
    warm();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(run(MPROC_START_FORKSERVER, finds_it_loaded, MPROC_NONE), 0);
    ck_assert_int_eq(run(MPROC_START_FORK, finds_nothing, MPROC_NONE), 0);
    ck_assert_int_eq(run(MPROC_START_SPAWN, finds_nothing, MPROC_NONE), 0);
    ck_assert_int_eq(loads, 0);
}
END_TEST

static int tells_its_parent(mproc_call *call)
{
    pid_t parent = getppid();
    return write((int)mproc_call_arg(call, 0).number, &parent, sizeof parent) == sizeof parent ? 0 : 1;
}

/* Until it is gone: a start may be given a spare of one that is only about to die, and the spare goes with it. */
static void kill_and_await(pid_t pid)
{
    int pidfd = mproc__pidfd_open(pid);
    ck_assert_int_ge(pidfd, 0);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(mproc__fd_poll(pidfd, POLLIN, mproc_after_ms(support_ms(LIMIT_MS))), 0);
    close(pidfd);
}

START_TEST(the_nursery_that_replaces_a_killed_one_has_it_too)
{
    pid_t nursery;
    gate said = gate_make();
    ck_assert_int_eq(mproc_preload(comes_first, MPROC_PRELOAD_FAIL), 0);
    ck_assert_int_eq(mproc_preload(loads_once, MPROC_PRELOAD_FAIL), 0);
    ck_assert_int_eq(mproc_preload(comes_second, MPROC_PRELOAD_FAIL), 0);
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, tells_its_parent, MPROC_ARGS(mproc_fd(said.write_fd))), 0);
    ck_assert_int_eq(read(said.read_fd, &nursery, sizeof nursery), sizeof nursery);
    support_leaks_begin();
    kill_and_await(nursery);
    ck_assert_int_eq(run(MPROC_START_FORKSERVER, finds_it_loaded, MPROC_NONE), 0);
    gate_destroy(&said);
    support_leaks_begin(); /* another nursery, and the gate was made before */
}
END_TEST

/* shows: START-19 */
START_TEST(what_cannot_be_preloaded_is_refused_at_once)
{
    int local = 0;
    ck_assert_int_eq(mproc_preload(NULL, MPROC_PRELOAD_IGNORE), -EINVAL);
    ck_assert_int_eq(mproc_preload((mproc_fn *)(uintptr_t)&local, MPROC_PRELOAD_IGNORE), MPROC_EFUNCTION);
    ck_assert_int_eq(run(MPROC_START_THREAD, nothing, MPROC_NONE), 0);
    ck_assert_int_eq(mproc_preload(comes_first, MPROC_PRELOAD_IGNORE), 0);
    warm();
    ck_assert_int_eq(mproc_preload(comes_first, MPROC_PRELOAD_IGNORE), MPROC_ESTATE);
}
END_TEST

/* ---- failures ---- */

int check_preload_fails(mproc_call *call);
int check_preload_fails(mproc_call *call)
{
    return mproc_call_fail(call, -ENOENT, "no such table");
}

static int returns_7(mproc_call *call)
{
    (void)call;
    return 7;
}

/* What the nursery that this test makes writes to stderr. */
static void first_start(int expected, char *buffer, size_t size_bytes)
{
    mproc_process *process = NULL;
    gate out = gate_make();
    int saved = dup(2), exit_code = 99;
    dup2(out.write_fd, 2);
    int rc =
        mproc_process_start(finds_nothing, MPROC_NONE,
                            MPROC_WITH(mproc_process_options, .start = MPROC_START_FORKSERVER), &process);
    int joined = rc == 0 ? mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), &exit_code) : 0;
    dup2(saved, 2);
    close(saved);
    ck_assert_int_eq(rc, expected);
    ck_assert_int_eq(joined, 0);
    ck_assert_int_eq(exit_code, rc == 0 ? 0 : 99);
    mproc_process_close(&process);
    close(out.write_fd);
    ssize_t got = read(out.read_fd, buffer, size_bytes - 1); /* all others have closed it, so it ends */
    ck_assert_int_ge(got, 0);
    buffer[got] = '\0';
    close(out.read_fd);
}

/* shows: START-20 */
START_TEST(a_failing_function_is_ignored_told_or_fails_the_starts_by_policy)
{
    static const int unknown[] = {-1, MPROC_PRELOAD_FAIL + 1};
    char text[256];
    for (size_t i = 0; i < MPROC__COUNT(unknown); i++)
        ck_assert_int_eq(mproc_preload(check_preload_fails, (mproc_preload_policy)unknown[i]), -EINVAL);
    ck_assert_int_eq(mproc_preload(check_preload_fails, (mproc_preload_policy)_i), 0);
    first_start(_i == MPROC_PRELOAD_FAIL ? -ENOENT : 0, text, sizeof text);
    if (_i == MPROC_PRELOAD_FAIL) {
        const char *story = mproc_error_text(mproc_last_error());
        ck_assert_msg(strstr(story, "preload") && strstr(story, "no such table"), "%s", story);
    }
    if (_i == MPROC_PRELOAD_WARN)
        ck_assert_msg(strstr(text, "check_preload") && strstr(text, "no such table"), "%s", text);
    else
        ck_assert_str_eq(text, "");
    support_leaks_begin();
}
END_TEST

START_TEST(after_a_failure_that_counts_no_start_by_forkserver_works_and_every_other_does)
{
    mproc_process *process = NULL;
    mproc_process_options options = {.size = sizeof options, .start = MPROC_START_FORKSERVER};
    ck_assert_int_eq(mproc_preload(returns_7, MPROC_PRELOAD_FAIL), 0);
    warm();
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE, &options, &process), MPROC_EEXIT);
        ck_assert_ptr_null(process);
        ck_assert_int_eq(run(MPROC_START_FORK, nothing, MPROC_NONE), 0);
        ck_assert_int_eq(run(MPROC_START_SPAWN, nothing, MPROC_NONE), 0);
    }
}
END_TEST

static int is_killed(mproc_call *call)
{
    (void)call;
    raise(SIGKILL);
    return 0;
}

START_TEST(a_function_that_kills_the_nursery_fails_the_start)
{
    mproc_process *process = NULL;
    mproc_process_options options = {.size = sizeof options, .start = MPROC_START_FORKSERVER};
    ck_assert_int_eq(mproc_preload(is_killed, MPROC_PRELOAD_IGNORE), 0);
    ck_assert_int_eq(mproc_process_start(nothing, MPROC_NONE, &options, &process), MPROC_EDIED);
    ck_assert_ptr_null(process);
    support_leaks_begin();
}
END_TEST

/* ---- output and arguments ---- */

enum { MANY_ARGUMENTS = 5000 };

static int counts_arguments(mproc_call *call)
{
    (void)call;
    int count = 0;
    FILE *file = fopen("/proc/self/cmdline", "re");
    for (int c; file && (c = getc(file)) != EOF;)
        count += c == '\0';
    if (file)
        fclose(file);
    printf("[%d arguments]", count); /* not flushed */
    return 0;
}

static int says_c(mproc_call *call)
{
    (void)call;
    printf("c");
    return 0;
}

static int main_that_preloads(void)
{
    if (mproc_preload(counts_arguments, MPROC_PRELOAD_FAIL) < 0)
        return 1;
    for (int i = 0; i < 3; i++) {
        mproc_process *process = NULL;
        int exit_code = 99;
        if (mproc_process_start(says_c, MPROC_NONE,
                                MPROC_WITH(mproc_process_options, .start = MPROC_START_FORKSERVER),
                                &process) < 0 ||
            mproc_process_join(process, mproc_after_ms(LIMIT_MS), &exit_code) < 0 || exit_code != 0)
            return 2;
        mproc_process_close(&process);
    }
    return 0;
}

/* shows: START-21 */
START_TEST(output_of_a_preload_comes_once_and_it_sees_5000_arguments)
{
    static char *arguments[MANY_ARGUMENTS + 1];
    char name[] = "check_preload", mode[] = "preload", word[] = "word", said[128] = {0};
    posix_spawn_file_actions_t actions;
    gate out = gate_make();
    pid_t pid;
    for (int i = 0; i < MANY_ARGUMENTS; i++)
        arguments[i] = i == 0 ? name : i == 1 ? mode : word;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out.write_fd, 1);
    ck_assert_int_eq(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    ck_assert_int_eq(support_reap(pid, LIMIT_MS), 0);
    ck_assert_int_gt(read(out.read_fd, said, sizeof said - 1), 0);
    ck_assert_str_eq(said, "[5000 arguments]ccc");
    gate_destroy(&out);
}
END_TEST

/* ---- the owner dies while it lasts ---- */

static int never_returns(mproc_call *call)
{
    (void)call;
    for (;;)
        pause();
    return 0;
}

static int owns_a_child_meanwhile(void *context)
{
    mproc_process *process = NULL;
    if (mproc_preload(never_returns, MPROC_PRELOAD_IGNORE) < 0 ||
        mproc_process_start(never_returns, MPROC_NONE,
                            MPROC_WITH(mproc_process_options, .start = MPROC_START_FORK), &process) < 0)
        return 1;
    int pid = mproc_process_pid(process);
    if (write(*(int *)context, &pid, sizeof pid) != sizeof pid)
        return 2;
    for (;;)
        pause();
}

/* shows: DEATH-9 */
START_TEST(an_owner_killed_while_the_nursery_preloads_leaves_nobody)
{
    int pid;
    gate said = gate_make();
    pid_t owner = support_fork(owns_a_child_meanwhile, &said.write_fd);
    ck_assert_int_eq(mproc__fd_read_all(said.read_fd, &pid, sizeof pid, mproc_after_ms(support_ms(LIMIT_MS))),
                     0);
    support_kill(owner);
    ck_assert(support_until(nobody_is_left, NULL, 1000));
    gate_destroy(&said);
}
END_TEST

int main(int argc, char **argv)
{
    bool preloads = argc > 1 && strcmp(argv[1], "preload") == 0;
    mproc__process_main(&argc, &argv);
    if (preloads)
        return main_that_preloads();
    Suite *suite = suite_create("preload");
    TCase *once = support_case(suite, "once, for all");
    tcase_add_test(once, what_is_preloaded_runs_once_in_order_and_all_forkserver_children_have_it);
    tcase_add_test(once, the_nursery_that_replaces_a_killed_one_has_it_too);
    tcase_add_test(once, what_cannot_be_preloaded_is_refused_at_once);
    tcase_add_test(once, output_of_a_preload_comes_once_and_it_sees_5000_arguments);
    TCase *failures = support_case(suite, "failures");
    tcase_add_loop_test(failures, a_failing_function_is_ignored_told_or_fails_the_starts_by_policy,
                        MPROC_PRELOAD_IGNORE, MPROC_PRELOAD_FAIL + 1);
    tcase_add_test(failures, after_a_failure_that_counts_no_start_by_forkserver_works_and_every_other_does);
    tcase_add_test(failures, a_function_that_kills_the_nursery_fails_the_start);
    tcase_add_test(failures, an_owner_killed_while_the_nursery_preloads_leaves_nobody);
    return support_run(suite, argc, argv);
}
