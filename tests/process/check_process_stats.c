/* SPDX-License-Identifier: BSD-2-Clause */
/* The numbers of what we started, while it runs and after its end, by every method. */
#include "platform/base.h"

#include <signal.h>
#include <sys/wait.h>

#include <mproc/program.h>
#include <mproc/running.h>
#include "process/process_support.h"

static int stats_of(mproc_process *process, mproc_running_stats *ret_stats)
{
    mproc_options_init(ret_stats, sizeof *ret_stats);
    return mproc_process_stats(process, ret_stats);
}

enum { WORK_MS = 60, TOUCHED_BYTES = 24 << 20 };

/* Uses CPU time and memory, says so, and waits. */
static int works(mproc_call *call)
{
    struct timespec used;
    volatile char *memory = malloc(TOUCHED_BYTES);
    if (!memory)
        return 1;
    for (size_t i = 0; i < TOUCHED_BYTES; i += 512)
        memory[i] = (char)i;
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    while (used.tv_sec == 0 && used.tv_nsec < WORK_MS * 1000000);
    nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL); /* one switch at least */
    int rc = gate_say(call, 1) || gate_pass(call, 0);
    free((void *)(uintptr_t)memory);
    return rc;
}

START_TEST(a_process_tells_what_it_uses_and_what_it_has_used)
{
    warm();
    gate hold = gate_make(), said = gate_make();
    mproc_running_stats running, ended;
    mproc_running which = {0};
    mproc_process *process = start(_i, works, MPROC_ARGS(mproc_fd(hold.read_fd), mproc_fd(said.write_fd)));
    gate_await(&said);
    ck_assert_int_eq(stats_of(process, &running), 0);
    ck_assert_int_eq(running.which.pid, mproc_process_pid(process));
    ck_assert_int_ge(running.cpu_ns, WORK_MS * INT64_C(1000000));
    ck_assert_int_ge(running.rss_bytes, TOUCHED_BYTES);
    ck_assert(running.state != 'X' && running.state != 'Z');
    ck_assert_int_eq(mproc_process_running(process, &which), 0);
    ck_assert_int_eq(which.pid, mproc_process_pid(process));
    ck_assert_uint_ne(which.start, 0);
    gate_open(&hold);
    ck_assert_int_eq(join(process), 0);
    ck_assert_int_eq(stats_of(process, &ended), 0);
    ck_assert_uint_eq(ended.state, 'X');
    ck_assert_uint_eq(ended.which.start, 0);
    ck_assert_int_ge(ended.cpu_ns, WORK_MS * INT64_C(1000000));
    ck_assert_int_eq(ended.cpu_ns, ended.user_ns + ended.system_ns);
    ck_assert_int_ge(ended.rss_max_bytes, TOUCHED_BYTES);
    ck_assert_int_gt(ended.minor_faults, 0);
    ck_assert_int_gt(ended.voluntary_switches, 0);
    ck_assert_str_eq(ended.name, mproc_process_name(process));
    ck_assert_int_eq(mproc_process_running(process, &which), -ESRCH);
    mproc_process_close(&process);
    gate_destroy(&hold);
    gate_destroy(&said);
}
END_TEST

static int waits_at_gate(mproc_call *call)
{
    return gate_pass(call, 0);
}

static bool ended(void *process)
{
    return !mproc_process_is_alive(process);
}

START_TEST(one_that_was_killed_and_not_joined_tells_what_it_had_used)
{
    warm();
    gate hold = gate_make(), said = gate_make();
    mproc_running_stats stats;
    int exit_code = 0;
    mproc_process *process = start(_i, works, MPROC_ARGS(mproc_fd(hold.read_fd), mproc_fd(said.write_fd)));
    gate_await(&said);
    ck_assert_int_eq(mproc_process_signal(process, SIGKILL), 0);
    ck_assert(support_until(ended, process, LIMIT_MS));
    ck_assert_int_eq(stats_of(process, &stats), 0);
    ck_assert_int_ge(stats.cpu_ns, WORK_MS * INT64_C(1000000));
    ck_assert_int_eq(mproc_process_join(process, MPROC_NOW, &exit_code), 0);
    ck_assert_int_eq(exit_code, -SIGKILL);
    mproc_process_close(&process);
    gate_destroy(&hold);
    gate_destroy(&said);
}
END_TEST

START_TEST(a_stopped_nursery_is_not_waited_for)
{
    warm();
    gate hold = gate_make();
    mproc_running_stats stats;
    mproc_process *process = start(MPROC_START_FORKSERVER, waits_at_gate, MPROC_ARGS(mproc_fd(hold.read_fd)));
    ck_assert_int_eq(stats_of(process, &stats), 0);
    pid_t nursery = (pid_t)stats.parent_pid;
    ck_assert_int_ne(nursery, getpid());
    ck_assert_int_eq(kill(nursery, SIGSTOP), 0);
    ck_assert_int_eq(mproc_process_signal(process, SIGKILL), 0);
    ck_assert(support_until(ended, process, LIMIT_MS));
    ck_assert_int_eq(stats_of(process, &stats), -ETIMEDOUT);
    ck_assert_int_eq(kill(nursery, SIGCONT), 0);
    ck_assert_int_eq(join(process), -SIGKILL);
    ck_assert_int_eq(stats_of(process, &stats), 0);
    mproc_process_close(&process);
    gate_destroy(&hold);
}
END_TEST

START_TEST(the_numbers_of_one_that_another_has_waited_for_are_unknown)
{
    warm();
    mproc_running_stats stats;
    mproc_process *process = start(MPROC_START_FORK, nothing, MPROC_NONE);
    ck_assert_int_eq(waitpid(mproc_process_pid(process), NULL, 0), mproc_process_pid(process));
    ck_assert_int_eq(stats_of(process, &stats), MPROC_EUNKNOWN);
    mproc_process_close(&process);
}
END_TEST

START_TEST(an_external_program_tells_what_it_used)
{
    static const char *const argv[] = {"sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done",
                                       NULL};
    mproc_running_stats stats;
    mproc_process *process = NULL;
    warm();
    ck_assert_int_eq(mproc_process_start_program(argv, NULL, &process), 0);
    ck_assert_int_eq(join(process), 0);
    ck_assert_int_eq(stats_of(process, &stats), 0);
    ck_assert_int_gt(stats.cpu_ns, 1000000);
    ck_assert_int_gt(stats.rss_max_bytes, 100000);
    mproc_process_close(&process);
}
END_TEST

static int asks_its_parent(mproc_call *call)
{
    mproc_running_stats stats;
    mproc_process *parent = mproc_process_parent();
    (void)call;
    if (stats_of(parent, &stats) != 0 || stats.which.pid != mproc_process_pid(parent))
        return 1;
    return stats_of(mproc_process_self(), &stats) == 0 && stats.which.pid == getpid() ? 0 : 2;
}

START_TEST(self_and_parent_tell_theirs)
{
    warm();
    ck_assert_int_eq(run(_i, asks_its_parent, MPROC_NONE), 0);
    mproc_running_stats stats;
    ck_assert_int_eq(stats_of(mproc_process_self(), &stats), 0);
    ck_assert_int_eq(stats.which.pid, getpid());
}
END_TEST

static int uses_a_parents_handle(void *context)
{
    mproc_running which;
    mproc_running_stats stats;
    if (stats_of(context, &stats) != -ECHILD)
        return 1;
    return mproc_process_running(context, &which) == -ECHILD ? 0 : 2;
}

START_TEST(bad_input_is_its_own_error)
{
    warm();
    mproc_running_stats stats = {0};
    mproc_running which;
    mproc_process *process = start(MPROC_START_FORK, nothing, MPROC_NONE);
    ck_assert_int_eq(mproc_process_stats(NULL, &stats), -EINVAL);
    ck_assert_int_eq(mproc_process_stats(process, NULL), -EINVAL);
    ck_assert_int_eq(mproc_process_stats(process, &stats), -EINVAL);
    ck_assert_int_eq(mproc_process_running(NULL, &which), -EINVAL);
    ck_assert_int_eq(mproc_process_running(process, NULL), -EINVAL);
    ck_assert_int_eq(support_reap(support_fork(uses_a_parents_handle, process), LIMIT_MS), 0);
    ck_assert_int_eq(join(process), 0);
    mproc_process_close(&process);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("process_stats");
    TCase *all = support_case(suite, "stats");
    tcase_add_loop_test(all, a_process_tells_what_it_uses_and_what_it_has_used, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(all, one_that_was_killed_and_not_joined_tells_what_it_had_used, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_test(all, a_stopped_nursery_is_not_waited_for);
    tcase_add_test(all, the_numbers_of_one_that_another_has_waited_for_are_unknown);
    tcase_add_test(all, an_external_program_tells_what_it_used);
    tcase_add_loop_test(all, self_and_parent_tell_theirs, FIRST_METHOD, PROCESS_METHODS);
    tcase_add_test(all, bad_input_is_its_own_error);
    return support_run(suite, argc, argv);
}
