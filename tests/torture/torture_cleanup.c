/* SPDX-License-Identifier: BSD-2-Clause */
/* Programs that share named objects are killed in any order and at any moment, also while they make or open them; then one
 * mproc_cleanup must leave /dev/shm as it was, and take nothing from those that live. */
#include "platform/base.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <mproc.h>

#include "support/support.h"
#include "torture/torture.h"

enum { CLEANUPS = 200, PROGRAMS = 4, KILL_US_MOST = 3000, NAMES_BYTES = 1 << 16 };

static mproc_place *place;

/* Sorted, a line each: for comparing. */
static int list_names(char *names)
{
    struct dirent **entries;
    int count = scandir("/dev/shm", &entries, NULL, alphasort);
    size_t length = 0;
    names[0] = '\0';
    for (int i = 0; i < count; i++) {
        if (length < NAMES_BYTES - sizeof(entries[i]->d_name))
            length += (size_t)snprintf(names + length, NAMES_BYTES - length, "%s\n", entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return count;
}

/* Makes or opens what the others do, uses it, and starts over, until it is killed. */
static int share(void *unused)
{
    unsigned seed = (unsigned)getpid();
    (void)unused;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        char name[16];
        mproc_lock *lock;
        mproc_event *event;
        snprintf(name, sizeof(name), "door%d", rand_r(&seed) % 3);
        if (mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = name, .and_open = true), &lock) <
            0)
            return 1;
        snprintf(name, sizeof(name), "bell%d", rand_r(&seed) % 3);
        if (mproc_event_create(place, MPROC_WITH(mproc_event_options, .name = name, .and_open = true),
                               &event) < 0)
            return 2;
        int code = mproc_lock_acquire(lock, mproc_after_ms(TORTURE_CALL_MS));
        if (code < 0 || mproc_event_set(event) != 0 || mproc_lock_release(lock) != 0)
            return 3;
        mproc_event_close(&event);
        mproc_lock_close(&lock);
    }
}

/* Somebody who lives keeps its name through all of it. */
static unsigned keeps(mproc_lock *lock)
{
    mproc_lock *again;
    if (mproc_lock_open(place, "keeper", &again) < 0) {
        fprintf(stderr, "torture: cleanup: a name in use was taken away\n");
        return 1;
    }
    int code = mproc_lock_acquire(again, MPROC_NOW);
    unsigned failures = code != 0 || mproc_lock_release(again) != 0 || !lock;
    mproc_lock_close(&again);
    return failures;
}

static unsigned crash(unsigned *seed)
{
    pid_t pids[PROGRAMS];
    unsigned failures = 0;
    for (unsigned i = 0; i < PROGRAMS; i++)
        pids[i] = support_fork(share, NULL);
    for (unsigned i = 0; i < PROGRAMS; i++) {
        unsigned other = i + (unsigned)rand_r(seed) % (PROGRAMS - i);
        pid_t next = pids[other];
        int status = 0;
        pids[other] = pids[i];
        nanosleep(&(struct timespec){.tv_nsec = (rand_r(seed) % KILL_US_MOST) * 1000L}, NULL);
        kill(next, SIGKILL);
        waitpid(next, &status, 0);
        if (WIFEXITED(status)) {
            fprintf(stderr, "torture: cleanup: a program found fault %d\n", WEXITSTATUS(status));
            failures++;
        }
    }
    return failures;
}

static unsigned clean(const char *before)
{
    static char after[NAMES_BYTES];
    int code = mproc_cleanup(NULL);
    list_names(after);
    if (code == 0 && strcmp(before, after) == 0)
        return 0;
    fprintf(stderr, "torture: cleanup: answered %d and left\n%sinstead of\n%s", code, after, before);
    return 1;
}

static unsigned cleanup_run(unsigned kills, unsigned *seed)
{
    static char before[NAMES_BYTES];
    mproc_lock *keeper;
    unsigned failures = 0;
    if (mproc_place_open("shm:/torture", NULL, &place) < 0 ||
        mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = "keeper"), &keeper) < 0)
        return 1;
    list_names(before);
    for (unsigned i = 0; i < kills && failures == 0; i++)
        failures = crash(seed) + clean(before) + keeps(keeper);
    if (waitpid(-1, NULL, WNOHANG) >= 0) {
        fprintf(stderr, "torture: cleanup: a process is left\n");
        failures++;
    }
    mproc_lock_close(&keeper);
    mproc_place_close(&place);
    return failures;
}

const torture_case torture_cleanup = {.name = "cleanup", .kills = CLEANUPS, .run = cleanup_run};
