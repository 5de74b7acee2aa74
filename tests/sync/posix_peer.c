/* SPDX-License-Identifier: BSD-2-Clause */
/* A program that knows only <semaphore.h>; linked with nothing of ours. Usage: posix_peer NAME VERB...
 *
 *     create N   exclusive, with N permits; exit 0
 *     post N     N permits; exit 0
 *     wait       one permit, within ten seconds; exit 0
 *     try        exit 0: got one, 1: none
 *     value      exits with it
 *     unlink */
#include "platform/base.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FAILED = 200, PATIENCE_S = 10 };

static int run(sem_t *sem, const char *verb, int number)
{
    int value;
    if (strcmp(verb, "post") == 0) {
        for (int i = 0; i < number; i++)
            if (sem_post(sem) != 0)
                return FAILED;
        return 0;
    }
    if (strcmp(verb, "wait") == 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until); /* the only clock that sem_timedwait knows; no date */
        until.tv_sec += PATIENCE_S;
        return sem_timedwait(sem, &until) == 0 ? 0 : FAILED;
    }
    if (strcmp(verb, "try") == 0)
        return sem_trywait(sem) == 0 ? 0 : errno == EAGAIN ? 1 : FAILED;
    return strcmp(verb, "value") == 0 && sem_getvalue(sem, &value) == 0 ? value : FAILED;
}

int main(int argc, char **argv)
{
    int number = argc > 3 ? atoi(argv[3]) : 0;
    if (argc < 3)
        return FAILED;
    if (strcmp(argv[2], "unlink") == 0)
        return sem_unlink(argv[1]) == 0 ? 0 : FAILED;
    bool create = strcmp(argv[2], "create") == 0;
    sem_t *sem = create ? sem_open(argv[1], O_CREAT | O_EXCL, 0600, (unsigned)number) : sem_open(argv[1], 0);
    if (sem == SEM_FAILED)
        return FAILED;
    return create ? 0 : run(sem, argv[2], number);
}
