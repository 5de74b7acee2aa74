/* SPDX-License-Identifier: BSD-2-Clause */
/* Signal masks and dispositions around a start. */
#include "platform/base.h"

#include "platform/platform.h"

void mproc__signals_block(sigset_t *ret_previous)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, ret_previous);
}

void mproc__signals_restore(const sigset_t *previous)
{
    pthread_sigmask(SIG_SETMASK, previous, NULL);
}

MPROC__FORK_TEXT void mproc__signals_default(const sigset_t *others)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};
    /* SIGKILL, SIGSTOP and libc's own refuse; that is all right. */
    for (int number = 1; number < NSIG; number++)
        if (sigismember(others, number) != 1)
            sigaction(number, &plain, NULL);
}

MPROC__FORK_TEXT void mproc__signals_reset(void)
{
    sigset_t none;
    sigemptyset(&none);
    /* Before the mask: a pending signal would otherwise run a handler of the parent. */
    mproc__signals_default(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}
