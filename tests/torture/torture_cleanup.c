/* SPDX-License-Identifier: BSD-2-Clause */
/* Programs that share named objects, and start processes and pools, are killed in any order and at any moment, also while they
 * make, open or clean. Then one mproc_cleanup must leave /dev/shm as it was, nothing of what they started may live on, and
 * nothing is taken from those that live. */
#include "platform/base.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <mproc.h>

#include "shm/named_common.h"
#include "support/support.h"
#include "torture/torture.h"

enum { CLEANUPS = 200, PROGRAMS = 4, KILL_US_MOST = 3000, GONE_MS = 2000, NAMES_BYTES = 1 << 16 };

static mproc_place *place;
static bool own_directory;
static unsigned names_removed, orphans; /* what the dead had left, all in all: none would show nothing */

/* Sorted, a line each: for comparing. In a /dev/shm that others use, too: only what this place has. */
static int list_names(char *names)
{
    struct dirent **entries;
    int count = scandir("/dev/shm", &entries, NULL, alphasort);
    size_t length = 0;
    names[0] = '\0';
    for (int i = 0; i < count; i++) {
        bool counts = own_directory || strncmp(entries[i]->d_name, "torture", 7) == 0;
        if (counts && length < NAMES_BYTES - sizeof(entries[i]->d_name))
            length += (size_t)snprintf(names + length, NAMES_BYTES - length, "%s\n", entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return count;
}

static int sleeps_on(mproc_call *call)
{
    while (!mproc_call_stopping(call))
        pause();
    return 0;
}

/* What must go when the program does: a process, or a pool and its workers, by any method, or another program in a session of
 * its own, or nothing. */
static int start_others(unsigned program, unsigned *seed)
{
    mproc_start method = (mproc_start)(MPROC_START_FORK + (unsigned)rand_r(seed) % 3);
    mproc_process *process;
    mproc_pool *pool;
    if (program == 0)
        return mproc_process_start(sleeps_on, MPROC_NONE, MPROC_WITH(mproc_process_options, .start = method),
                                   &process);
    if (program == 1)
        return mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = 2, .start = method), &pool);
    if (program == 2)
        return mproc_process_start_program((const char *const[]){"sleep", "1000", NULL},
                                           MPROC_WITH(mproc_program_options, .group = MPROC_GROUP_SESSION),
                                           &process);
    return 0;
}

static const char *one_of_three(const char *word, unsigned *seed, char name[16])
{
    snprintf(name, 16, "%s%d", word, rand_r(seed) % 3);
    return name;
}

/* The items of the dead stay, and with them the queue may be full. */
static int share_queue(unsigned *seed)
{
    char name[16], item[16];
    mproc_queue *queue;
    size_t size_bytes;
    if (mproc_queue_create(
            place,
            MPROC_WITH(mproc_queue_options, .name = one_of_three("jobs", seed, name), .and_open = true),
            &queue) < 0)
        return 8;
    int put = mproc_queue_put(queue, name, sizeof name, MPROC_NOW);
    int got = mproc_queue_get(queue, item, sizeof item, MPROC_NOW, &size_bytes);
    mproc_queue_close(&queue);
    return (put == 0 || put == -ETIMEDOUT) && (got == 0 || got == -ETIMEDOUT) ? 0 : 9;
}

/* Makes or opens what the others do, and uses it. */
static int share_once(unsigned *seed)
{
    char name[16];
    mproc_lock *lock;
    mproc_event *event;
    mproc_semaphore *slots;
    if (mproc_lock_create(
            place, MPROC_WITH(mproc_lock_options, .name = one_of_three("door", seed, name), .and_open = true),
            &lock) < 0)
        return 1;
    if (mproc_event_create(
            place,
            MPROC_WITH(mproc_event_options, .name = one_of_three("bell", seed, name), .and_open = true),
            &event) < 0)
        return 2;
    if (mproc_semaphore_create(place, PROGRAMS,
                               MPROC_WITH(mproc_semaphore_options, .name = one_of_three("slots", seed, name),
                                          .bounded = true, .and_open = true),
                               &slots) < 0)
        return 3;
    int code = mproc_lock_acquire(lock, mproc_after_ms(TORTURE_CALL_MS));
    if (code < 0 || mproc_event_set(event) != 0 || mproc_lock_release(lock) != 0)
        return 4;
    if (mproc_semaphore_acquire(slots, mproc_after_ms(TORTURE_CALL_MS)) != 0)
        return 5; /* a permit for each program; closing gives it back */
    mproc_semaphore_close(&slots);
    mproc_event_close(&event);
    mproc_lock_close(&lock);
    return share_queue(seed);
}

static unsigned next_program; /* which one a fork becomes */

/* Until it is killed. */
static int share(void *unused)
{
    unsigned seed = (unsigned)getpid();
    (void)unused;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fault = start_others(next_program, &seed) < 0 ? 6 : 0;
    while (fault == 0) {
        fault = share_once(&seed);
        if (fault == 0 && rand_r(&seed) % 8 == 0 && mproc_cleanup(NULL) != 0)
            fault = 7;
    }
    return fault;
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
    for (next_program = 0; next_program < PROGRAMS; next_program++)
        pids[next_program] = support_fork(share, NULL);
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
    unsigned removed = 0;
    int code = mproc_cleanup(&removed);
    names_removed += removed;
    list_names(after);
    if (code == 0 && strcmp(before, after) == 0)
        return 0;
    fprintf(stderr, "torture: cleanup: answered %d and left\n%sinstead of\n%s", code, after, before);
    return 1;
}

static bool all_gone(void *unused)
{
    pid_t ended;
    (void)unused;
    while ((ended = waitpid(-1, NULL, WNOHANG)) > 0)
        orphans++;
    return ended < 0 && errno == ECHILD;
}

/* What the dead had started comes to us, and must be dead as well. */
static unsigned nobody_left(void)
{
    if (support_until(all_gone, NULL, GONE_MS))
        return 0;
    fprintf(stderr, "torture: cleanup: a process is left\n");
    return 1;
}

static unsigned cleanup_run(unsigned kills, unsigned *seed)
{
    static char before[NAMES_BYTES];
    mproc_lock *keeper;
    unsigned failures = 0;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    own_directory = named_own_directory(NULL);
    if (mproc_place_open("shm:/torture", NULL, &place) < 0 ||
        mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = "keeper"), &keeper) < 0)
        return 1;
    list_names(before);
    for (unsigned i = 0; i < kills && failures == 0; i++)
        failures = crash(seed) + nobody_left() + clean(before) + keeps(keeper);
    fprintf(stderr, "torture: cleanup: the dead left %u names and %u processes\n", names_removed, orphans);
    failures += names_removed == 0 || orphans == 0;
    mproc_lock_close(&keeper);
    mproc_place_close(&place);
    return failures;
}

const torture_case torture_cleanup = {.name = "cleanup", .kills = CLEANUPS, .run = cleanup_run};
