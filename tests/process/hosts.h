/* SPDX-License-Identifier: BSD-2-Clause */
/* Programs that take the status of every child, in the four ways that there are, and so that of the library's too. */
#ifndef MPROC__TESTS_HOSTS_H
#define MPROC__TESTS_HOSTS_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "platform/platform.h"
#include "support/support.h"

enum { HOST_IGNORES, HOST_WANTS_NO_ZOMBIES, HOST_REAPS_IN_A_HANDLER, HOST_REAPS_IN_A_THREAD, HOSTS };

static struct {
    struct sigaction before;
    pthread_t thread;
    _Atomic bool stops;
    _Atomic unsigned reaped; /* by the handler or the thread */
    int kind;
} host;

static void host_reap(int unused)
{
    int error = errno;
    (void)unused;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        atomic_fetch_add(&host.reaped, 1);
    errno = error;
}

/* Without a child there is nothing to wait in. */
static void *host_reaps(void *unused)
{
    while (!atomic_load(&host.stops)) {
        if (waitpid(-1, NULL, WNOHANG) > 0)
            atomic_fetch_add(&host.reaped, 1);
        else
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    return unused;
}

__attribute__((unused)) static void host_begin(int kind)
{
    struct sigaction action = {.sa_handler = kind == HOST_IGNORES              ? SIG_IGN
                                             : kind == HOST_REAPS_IN_A_HANDLER ? host_reap
                                                                               : SIG_DFL};
    if (kind == HOST_WANTS_NO_ZOMBIES)
        action.sa_flags = SA_NOCLDWAIT;
    host.kind = kind;
    atomic_store(&host.stops, false);
    ck_assert_int_eq(sigaction(SIGCHLD, &action, &host.before), 0);
    if (kind == HOST_REAPS_IN_A_THREAD)
        ck_assert_int_eq(pthread_create(&host.thread, NULL, host_reaps, NULL), 0);
}

__attribute__((unused)) static void host_end(void)
{
    atomic_store(&host.stops, true);
    if (host.kind == HOST_REAPS_IN_A_THREAD)
        pthread_join(host.thread, NULL);
    ck_assert_int_eq(sigaction(SIGCHLD, &host.before, NULL), 0);
}

/* Whether this kernel tells how a process ended whose status another has taken: Linux 6.15 on. */
__attribute__((unused)) static bool host_kernel_tells(void)
{
    int exit_code = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(3);
    int pidfd = mproc__pidfd_open(pid);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    int rc = mproc__pidfd_exit_code(pidfd, &exit_code);
    close(pidfd);
    return rc == 0 && exit_code == 3;
}

#endif
