/* SPDX-License-Identifier: BSD-2-Clause */
/* The start-up conversation, from the side that waits for the child's word. */
#include "platform/base.h"

#include <poll.h>

#include "process/spares_support.h"

/* Every poll of this program, the library's too. A late one has looked at its first descriptor, and looks at its second
 * when all that the child does is over: as the kernel may, which looks at one after the other. */
static bool looks_late;
int poll(struct pollfd *items, nfds_t count, int timeout_ms)
{
    struct timespec left = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};
    bool late = looks_late && count == 2;
    items[0].revents = 0;
    return ppoll(late ? items + 1 : items, late ? 1 : count, timeout_ms < 0 ? NULL : &left, NULL);
}

static int returns_7(mproc_call *call)
{
    (void)call;
    return 7;
}

/* By a spare, whose end is waited for; the nursery's, which is there for a start that it forks for, would not come. */
START_TEST(a_child_that_reports_and_ends_between_two_looks_has_run)
{
    mproc_process *process;
    if (_i == MPROC_START_FORKSERVER)
        warm_spares(1);
    else
        warm();
    looks_late = true;
    int rc = mproc_process_start(returns_7, MPROC_NONE,
                                 MPROC_WITH(mproc_process_options, .start = (mproc_start)_i), &process);
    looks_late = false;
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    ck_assert_int_eq(join(process), 7);
    mproc_process_close(&process);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("boot");
    TCase *boot = support_case(suite, "boot");
    tcase_add_loop_test(boot, a_child_that_reports_and_ends_between_two_looks_has_run, MPROC_START_FORK,
                        MPROC_START_THREAD);
    return support_run(suite, argc, argv);
}
