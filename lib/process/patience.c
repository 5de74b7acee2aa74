/* SPDX-License-Identifier: BSD-2-Clause */
/* A timer over those first steps that wait for a lock of libc's. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "platform/story.h"
#include "process/boot.h"
#include "process/patience.h"

static int patience_socket;

/* What dlclose calls (Linux Standard Base): takes the lock, looks for an object's exit handlers, gives the lock back. */
extern void __cxa_finalize(void *object);

void mproc__patience_turn(void)
{
    static char nobodys;
    __cxa_finalize(&nobodys);
}

/* What it interrupts is a wait without end, or a step that comes too late: nothing here comes back to it. */
static void patience_over(int signal_number)
{
    (void)signal_number;
    (void)mproc__boot_report(
        patience_socket,
        mproc__fail(-EDEADLK, "the child's first steps: another thread held libc's lock of exit handlers "
                              "at each fork"));
    _exit(1);
}

static void timer_set(unsigned patience_ms)
{
    (void)setitimer(ITIMER_REAL,
                    &(struct itimerval){.it_value.tv_usec = patience_ms * 1000L % 1000000,
                                        .it_value.tv_sec = patience_ms / 1000},
                    NULL);
}

/* Opens the mask for this one signal, or closes it: supervisors have all blocked until they say otherwise. */
static sigset_t patience_mask;

MPROC__FORK_TEXT void mproc__patience_begin(int socket, unsigned patience_ms)
{
    struct sigaction action = {.sa_handler = patience_over};
    sigset_t alarm;
    if (patience_ms == 0)
        return;
    patience_socket = socket;
    sigfillset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarm, &patience_mask);
    timer_set(patience_ms);
}

MPROC__FORK_TEXT void mproc__patience_end(unsigned patience_ms)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    if (patience_ms == 0)
        return;
    timer_set(0);
    /* Not later than the old disposition: one that rang just now is over, and not pending. */
    pthread_sigmask(SIG_SETMASK, &patience_mask, NULL);
    sigaction(SIGALRM, &action, NULL);
}
