/* SPDX-License-Identifier: BSD-2-Clause */
/* Masks and dispositions. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "platform/platform.h"
#include "support/support.h"

START_TEST(blocking_and_restoring_leaves_the_mask_as_it_was)
{
    sigset_t before, now;

    mproc__signals_block(&before);
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    ck_assert(sigismember(&now, SIGUSR1) && sigismember(&now, SIGTERM));
    mproc__signals_restore(&before);
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    ck_assert_int_eq(sigismember(&now, SIGUSR1), sigismember(&before, SIGUSR1));
}
END_TEST

static int reset_all(void *context)
{
    sigset_t previous, now;
    struct sigaction action;

    (void)context;
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    mproc__signals_block(&previous);
    mproc__signals_reset();
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    for (int number = 1; number < NSIG; number++) {
        if (sigismember(&now, number) == 1)
            return 1;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
            return 2;
    }
    return 0;
}

/* shows: START-B */
START_TEST(a_reset_leaves_default_dispositions_and_an_empty_mask)
{
    ck_assert_int_eq(support_reap(support_fork(reset_all, NULL), 5000), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("signals");
    TCase *all = support_case(suite, "signals");

    tcase_add_test(all, blocking_and_restoring_leaves_the_mask_as_it_was);
    tcase_add_test(all, a_reset_leaves_default_dispositions_and_an_empty_mask);
    return support_run(suite, argc, argv);
}
