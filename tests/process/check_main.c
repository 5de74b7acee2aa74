/* SPDX-License-Identifier: BSD-2-Clause */
/* A program that forgets mproc_init: an error at its first spawn, not a fork bomb; fork and threads just
 * work. */
#include "platform/base.h"

#include "process/process_support.h"

static int returns_7(mproc_call *call)
{
    (void)call;
    return 7;
}

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

int main(int argc, char **argv)
{
    Suite *suite = suite_create("main");
    TCase *forgotten = support_case(suite, "forgotten");
    tcase_add_test(forgotten, without_the_entry_hook_an_exec_is_refused_and_fork_just_works);
    return support_run(suite, argc, argv);
}
