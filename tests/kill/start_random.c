/* SPDX-License-Identifier: BSD-2-Clause */
/* A parent whose eight threads start by all methods is killed at random moments, from its first start on: the one place
 * where starts, nursery and kill run truly beside each other. */
#include "platform/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <mproc/process.h>
#include <mproc/program.h>

#include "kill/start_round.h"
#include "support/support.h"

enum { THREADS = 8, LIVING = 2 /* of each thread */, DELAY_US_MOST = 60000, LEFT_MS = 10000 };

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int stays(mproc_call *call)
{
    (void)call;
    while (pause() < 0) {
    }
    return 0;
}

static mproc_process *begin(unsigned number)
{
    static const mproc_start methods[] = {MPROC_START_FORK, MPROC_START_SPAWN, MPROC_START_FORKSERVER};
    mproc_process *process = NULL;
    unsigned kind = number % (MPROC__COUNT(methods) + 1);
    int rc = kind == MPROC__COUNT(methods)
                 ? mproc_process_start_program((const char *const[]){"sleep", "1000", NULL},
                                               MPROC_WITH(mproc_program_options, .grace_ms = 1), &process)
                 : mproc_process_start(
                       stays, MPROC_NONE,
                       MPROC_WITH(mproc_process_options, .start = methods[kind], .grace_ms = 1), &process);
    return rc == 0 ? process : NULL;
}

static void *starts(void *context)
{
    mproc_process *living[LIVING] = {NULL};
    for (unsigned i = 0;; i++) {
        mproc_process **place = &living[i % LIVING];
        if (*place && mproc_process_stop(*place, MPROC_FOREVER) < 0)
            _exit(2);
        mproc_process_close(place);
        if (!(*place = begin(i + (unsigned)(uintptr_t)context))) {
            fprintf(stderr, "a start failed: %s\n", mproc_error_text(mproc_last_error()));
            _exit(3);
        }
    }
    return NULL;
}

static int parent(void *unused)
{
    pthread_t threads[THREADS];
    (void)unused;
    start_round_unpin();
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, starts, (void *)i) != 0)
            _exit(4);
    for (;;)
        pause();
}

static void nap(long us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

/* Microseconds until nobody was left; negative: somebody still is. */
static int64_t all_gone(int limit_ms)
{
    int64_t from = now_us();
    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0)
            return now_us() - from;
        if (now_us() - from > (int64_t)limit_ms * 1000)
            return -1;
        if (pid == 0)
            nap(200);
    }
}

static bool kill_once(unsigned number, unsigned *seed, int live_ms, int64_t *longest_us)
{
    int status;
    long delay_us = rand_r(seed) % DELAY_US_MOST;
    fflush(NULL);
    pid_t pid = support_fork(parent, NULL);
    nap(delay_us);
    kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status)) {
        printf("# kill %u: the parent ended by itself, status %#x\n", number, status);
        return all_gone(LEFT_MS) >= 0 && false;
    }
    int64_t gone_us = all_gone(support_ms(live_ms));
    if (gone_us > *longest_us)
        *longest_us = gone_us;
    if (gone_us >= 0)
        return true;
    printf("# kill %u after %ld us: a process is left after %d ms%s\n", number, delay_us, support_ms(live_ms),
           all_gone(LEFT_MS) < 0 ? ", and after ten seconds more" : ", not for long");
    support_children_kill();
    return false;
}

unsigned start_random(unsigned kills, unsigned seed, int live_ms)
{
    unsigned failures = 0;
    int64_t longest_us = 0;
    for (unsigned i = 0; i < kills; i++)
        failures += !kill_once(i, &seed, live_ms, &longest_us);
    printf("random\t\tparent\t\t%u\t%u\t%d\n", kills, failures, (int)(longest_us / 1000));
    return failures;
}
