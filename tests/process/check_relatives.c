/* SPDX-License-Identifier: BSD-2-Clause */
/* The handles of this process and of its parent. */
#include "platform/base.h"

#include <signal.h>
#include <sys/wait.h>

#include "process/process_support.h"

START_TEST(the_first_process_is_alive_named_and_has_no_parent)
{
    mproc_process *self = mproc_process_self();
    ck_assert_ptr_nonnull(self);
    ck_assert_ptr_eq(mproc_process_self(), self);
    ck_assert_str_eq(mproc_process_name(self), "MainProcess");
    ck_assert_int_eq(mproc_process_pid(self), getpid());
    ck_assert(mproc_process_is_alive(self));
    ck_assert_ptr_null(mproc_process_parent());
    ck_assert_int_eq(mproc_process_stop(self, MPROC_NOW), MPROC_ESTATE);
    mproc_process_close(&self); /* borrowed: only the pointer goes */
    ck_assert_ptr_null(self);
    ck_assert_ptr_nonnull(mproc_process_self());
}
END_TEST

static int knows_its_parent(mproc_call *call)
{
    mproc_process *parent = mproc_process_parent();
    if (!parent || mproc_process_pid(parent) != mproc_call_int(call, 0))
        return 1;
    if (strcmp(mproc_process_name(parent), "MainProcess") != 0)
        return 2;
    if (!mproc_process_is_alive(parent) || mproc_process_join(parent, MPROC_NOW, NULL) != -ETIMEDOUT)
        return 3;
    return mproc_process_stop(parent, MPROC_NOW) == MPROC_ESTATE ? 0 : 4;
}

/* shows: PROC-32 */
START_TEST(a_child_knows_who_started_it)
{
    warm();
    ck_assert_int_eq(run(_i, knows_its_parent, MPROC_ARGS((int)getpid())), 0);
}
END_TEST

static int forks_a_family(void *unused)
{
    (void)unused;
    mproc_process *self = mproc_process_self();
    return mproc_process_pid(self) == getpid() && !mproc_process_parent() &&
                   run(MPROC_START_FORK, knows_its_parent, MPROC_ARGS((int)getpid())) == 0
               ? 0
               : 1;
}

START_TEST(a_process_that_the_program_forks_itself_is_the_first_of_its_family)
{
    warm();
    ck_assert_ptr_nonnull(mproc_process_self());
    ck_assert_int_eq(support_reap(support_fork(forks_a_family, NULL), LIMIT_MS), 0);
    support_children_kill(); /* its nursery, if it is slower than we are */
    ck_assert_int_eq(run(MPROC_START_FORK, nothing, MPROC_NONE), 0);
    support_leaks_begin();
}
END_TEST

static int is_itself(mproc_call *call)
{
    mproc_process *self = mproc_process_self();
    (void)call;
    if (mproc_process_pid(self) != getpid())
        return 1;
    return strcmp(mproc_process_name(self), "copy") == 0 ? 0 : 2;
}

static int forks_one(mproc_call *call)
{
    mproc_process *process = NULL;
    int exit_code = -1;
    (void)call;
    if (mproc_process_start(is_itself, MPROC_NONE,
                            MPROC_WITH(mproc_process_options, .start = MPROC_START_FORK, .name = "copy"),
                            &process) != 0 ||
        mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), &exit_code) != 0)
        return 9;
    mproc_process_close(&process);
    return exit_code;
}

START_TEST(what_a_thread_forks_is_itself_and_not_the_thread)
{
    warm();
    ck_assert_int_eq(run(MPROC_START_THREAD, forks_one, MPROC_NONE), 0);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("relatives");
    TCase *handles = support_case(suite, "handles");
    tcase_add_test(handles, the_first_process_is_alive_named_and_has_no_parent);
    tcase_add_loop_test(handles, a_child_knows_who_started_it, FIRST_METHOD, PROCESS_METHODS);
    tcase_add_test(handles, a_process_that_the_program_forks_itself_is_the_first_of_its_family);
    tcase_add_test(handles, what_a_thread_forks_is_itself_and_not_the_thread);
    return support_run(suite, argc, argv);
}
