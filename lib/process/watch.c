/* SPDX-License-Identifier: BSD-2-Clause */
/* Children that are the owner's own, by fork and spawn: the nursery kills them when the owner has died.
 *
 * The owner writes into their slots who they are, and the nursery looks there when it has something to do: when the
 * owner is dead, and everything there stands still. Nobody is woken by a start or a collect. Rejected: the pidfd in a
 * message, at each start, and another when the child is collected. That cost a third of a start by fork, most of it the
 * nursery's, which ran beside the child on the other CPU; the nursery had to have a descriptor for each child, and its
 * limit of them was everybody's. It is still done so on kernels that have no lasting name for a process, where a pid in
 * memory could be another's by then. */
#include "platform/base.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/nursery.h"

int mproc__nursery_watch(mproc__nursery *nursery, unsigned slot, pid_t pid, int pidfd,
                         mproc_deadline deadline)
{
    mproc__slot_shared *shared = &nursery->shared->slots[slot];
    uint64_t id;
    if (mproc__pidfd_id(pidfd, &id) < 0)
        return mproc__nursery_command_send(nursery, MPROC__NURSERY_WATCH, slot, pidfd, deadline);
    atomic_store_explicit(&shared->watched_pid, (int32_t)pid, memory_order_relaxed);
    atomic_store_explicit(&shared->watched_id, id, memory_order_release);
    /* As the message would have found. */
    if (mproc__pidfd_ended(nursery->pidfd) == 1)
        return mproc__fail(MPROC_EDIED, "start: the program's nursery (pid %d) has died", (int)nursery->pid);
    return 0;
}

void mproc__nursery_unwatch(mproc__nursery *nursery, unsigned slot)
{
    mproc__slot_shared *shared = &nursery->shared->slots[slot];
    mproc__nursery_command command = {.verb = MPROC__NURSERY_UNWATCH, .slot = slot};
    if (atomic_exchange_explicit(&shared->watched_id, 0, memory_order_release) != 0)
        return;
    /* No waiting and no story: one that is not told keeps a descriptor of a dead child until the slot is used again. */
    if (send(nursery->socket, &command, sizeof command, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        mproc__eventcount_post(&nursery->shared->command, true);
}

/* The pid may be another's by now: what is killed is what the descriptor says. False: there is none to be had now. */
static bool kill_watched(pid_t pid, uint64_t id)
{
    uint64_t found;
    int pidfd = mproc__pidfd_open(pid);
    if (pidfd < 0)
        return pidfd != -ENFILE && pidfd != -EMFILE && pidfd != -ENOMEM;
    if (mproc__pidfd_id(pidfd, &found) == 0 && found == id)
        (void)mproc__pidfd_signal(pidfd, SIGKILL);
    close(pidfd);
    return true;
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
