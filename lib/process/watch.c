/* SPDX-License-Identifier: BSD-2-Clause */
/* Children that are the owner's own, by fork and spawn: the nursery kills them when the owner has died.
 *
 * The owner writes into their slots who they are, and the nursery looks there when it has something to do: when the
 * owner is dead, and everything there stands still. Nobody is woken by a start or a collect. Rejected: the pidfd in a
 * message, at each start, and another when the child is collected. That cost a third of a start by fork, most of it the
 * nursery's, which ran beside the child on the other CPU; the nursery had to have a descriptor for each child, and its
 * limit of them was everybody's.
 *
 * A pid in memory may be another's by then, so beside it stands a name that no other process gets: the pidfd's number, or on
 * kernels without one (before 6.9) the time of its start. That counts in hundredths of a second: for a pid to come back in
 * one, all others would have to be used up in it. */
#include "platform/base.h"

#include <signal.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/nursery.h"

#define NAMED_BY_TIME (UINT64_C(1) << 63)

/* -ESRCH: it has ended. The time is that of whoever has the pid at the look: its own, if it has not ended after that. */
static int lasting_name(pid_t pid, int pidfd, uint64_t *ret_name)
{
    mproc__process_view view;
    if (mproc__pidfd_id(pidfd, ret_name) == 0)
        return 0;
    int rc = mproc__process_view_get(pid, &view);
    if (mproc__pidfd_ended(pidfd) == 1)
        return -ESRCH;
    if (rc == 0)
        *ret_name = view.start_ticks | NAMED_BY_TIME;
    return rc;
}

int mproc__nursery_watch(mproc__nursery *nursery, unsigned slot, pid_t pid, int pidfd)
{
    mproc__slot_shared *shared = &nursery->shared->slots[slot];
    uint64_t name;
    int rc = lasting_name(pid, pidfd, &name);
    if (rc < 0 && rc != -ESRCH)
        return mproc__fail(rc, "start: when the child (pid %d) began: %s", (int)pid, mproc_strerror(rc));
    if (rc == 0) {
        atomic_store_explicit(&shared->watched_pid, (int32_t)pid, memory_order_relaxed);
        atomic_store_explicit(&shared->watched_id, name, memory_order_release);
    }
    if (mproc__pidfd_ended(nursery->pidfd) == 1) /* it does not look any more */
        return mproc__nursery_died(nursery);
    return 0;
}

void mproc__nursery_unwatch(mproc__nursery *nursery, unsigned slot)
{
    atomic_store_explicit(&nursery->shared->slots[slot].watched_id, 0, memory_order_release);
}

static bool is_shortage(int code)
{
    return code == -ENFILE || code == -EMFILE || code == -ENOMEM;
}

/* The pid may be another's by now: what is killed is what the descriptor says. False: there is none to be had now. */
static bool kill_watched(pid_t pid, uint64_t name)
{
    uint64_t found;
    int pidfd = mproc__pidfd_open(pid);
    if (pidfd < 0)
        return !is_shortage(pidfd);
    int rc = lasting_name(pid, pidfd, &found);
    if (rc == 0 && found == name)
        (void)mproc__pidfd_signal(pidfd, SIGKILL);
    close(pidfd);
    return !is_shortage(rc);
}

bool mproc__watched_kill(mproc__nursery_shared *shared)
{
    bool all = true;
    for (unsigned i = 0; i < MPROC__SLOTS; i++) {
        uint64_t id = atomic_load_explicit(&shared->slots[i].watched_id, memory_order_acquire);
        if (id != 0)
            all &=
                kill_watched(atomic_load_explicit(&shared->slots[i].watched_pid, memory_order_relaxed), id);
    }
    return all;
}
