/* SPDX-License-Identifier: BSD-2-Clause */
/* Programs that ignore SIGCHLD, or reap whatever ends, start, join and stop children all the same. Loops are over
 * host and method: hosts.h. */
#include "platform/base.h"

#include <mproc/program.h>
#include "process/hosts.h"
#include "process/process_support.h"

enum { CASES = HOSTS * ALL_METHODS };

static int case_host(int number)
{
    return number / ALL_METHODS;
}

/* The default stands for a program (program.h). */
static int case_method(int number)
{
    return number % ALL_METHODS;
}

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LIMIT_MS));
}

static int returns_its_argument(mproc_call *call)
{
    return (int)mproc_call_int(call, 0);
}

static mproc_process *start_exiting(int method, int exit_code)
{
    char script[32];
    mproc_process *process = NULL;
    if (method != MPROC_START_DEFAULT)
        return start(method, returns_its_argument, MPROC_ARGS(exit_code));
    snprintf(script, sizeof script, "exit %d", exit_code);
    ck_assert_int_eq(
        mproc_process_start_program((const char *const[]){"sh", "-c", script, NULL}, NULL, &process), 0);
    return process;
}

/* Every exit code where the kernel tells; else each is right or said to be unknown, once and for all. */
static bool ended_with(mproc_process *process, int expected, bool tells)
{
    for (int times = 0; times < 2; times++) {
        int exit_code = 99;
        int rc = mproc_process_join(process, soon(), &exit_code);
        if (rc == MPROC_EUNKNOWN && !tells && exit_code == 99)
            continue;
        if (rc != 0 || exit_code != expected)
            return false;
    }
    return mproc_process_join(process, MPROC_NOW, NULL) == 0 && !mproc_process_is_alive(process);
}

/* shows: START-C */
START_TEST(children_start_and_tell_their_exit_codes_in_a_program_that_takes_every_status)
{
    enum { TIMES = 12 };
    mproc_process *processes[TIMES];
    int method = case_method(_i);
    warm();
    bool tells = host_kernel_tells();
    host_begin(case_host(_i));
    for (int i = 0; i < TIMES; i++)
        processes[i] = start_exiting(method, i);
    for (int i = 0; i < TIMES; i++) {
        ck_assert_msg(ended_with(processes[i], i, tells), "%s", mproc_error_text(mproc_last_error()));
        mproc_process_close(&processes[i]);
    }
    host_end();
    bool reaps = case_host(_i) >= HOST_REAPS_IN_A_HANDLER;
    bool ours = method == MPROC_START_FORK || method == MPROC_START_SPAWN;
    if (!reaps || !ours)
        ck_assert_uint_eq(atomic_load(&host.reaped), 0);
}
END_TEST

static int sleeps(mproc_call *call)
{
    gate_say(call, 0);
    while (!mproc_call_stopping(call))
        usleep(500);
    pause();
    return 0;
}

/* shows: START-C */
START_TEST(signals_and_stops_find_the_right_child_there)
{
    int method = case_method(_i);
    warm();
    bool tells = host_kernel_tells();
    gate said = gate_make();
    host_begin(case_host(_i));
    for (int i = 0; i < 3; i++) {
        mproc_process *process = start(method, sleeps, MPROC_ARGS(mproc_fd(said.write_fd)));
        gate_await(&said);
        ck_assert(mproc_process_is_alive(process));
        ck_assert_int_eq(mproc_process_join(process, MPROC_NOW, NULL), -ETIMEDOUT);
        ck_assert_int_eq(i ? mproc_process_signal(process, SIGTERM) : mproc_process_stop(process, soon()), 0);
        ck_assert(ended_with(process, -SIGTERM, tells));
        ck_assert_int_eq(mproc_process_signal(process, SIGKILL),
                         0); /* to nobody else, whoever has its pid now */
        mproc_process_close(&process);
    }
    host_end();
    gate_destroy(&said);
}
END_TEST

/* The nursery is made there, killed there, and made again. */
/* shows: START-C */
START_TEST(the_nursery_is_made_and_replaced_in_such_a_program)
{
    bool tells = host_kernel_tells();
    host_begin(_i);
    for (int times = 0; times < 2; times++) {
        mproc_process *process = start(MPROC_START_FORKSERVER, returns_its_argument, MPROC_ARGS(5));
        mproc_process *self = mproc_process_self();
        ck_assert_ptr_nonnull(self);
        ck_assert(ended_with(process, 5, true)); /* told by the nursery */
        mproc_process_close(&process);
        process = start(MPROC_START_FORK, returns_its_argument, MPROC_ARGS(6));
        ck_assert(ended_with(process, 6, tells));
        mproc_process_close(&process);
        if (times == 0)
            support_children_kill();
    }
    host_end();
    support_leaks_begin();
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("hosts");
    TCase *hosts = support_case(suite, "hosts");
    tcase_add_loop_test(hosts, children_start_and_tell_their_exit_codes_in_a_program_that_takes_every_status,
                        0, CASES);
    for (int kind = 0; kind < HOSTS; kind++)
        tcase_add_loop_test(hosts, signals_and_stops_find_the_right_child_there,
                            kind * ALL_METHODS + FIRST_METHOD, kind * ALL_METHODS + PROCESS_METHODS);
    tcase_add_loop_test(hosts, the_nursery_is_made_and_replaced_in_such_a_program, 0, HOSTS);
    return support_run(suite, argc, argv);
}
