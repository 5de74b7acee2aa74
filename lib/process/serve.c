/* SPDX-License-Identifier: BSD-2-Clause */
/* A forkserver start, from the owner's side: by a spare that is ready, or by having the nursery fork. */
#include "platform/base.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/boot.h"
#include "process/nursery.h"
#include "process/own_fds.h"
#include "process/spare.h"
#include "process/surroundings.h"

/* A slot is free for a new child: nothing is told of it that is not the new one's. */
static void slot_begin(mproc__nursery *nursery, unsigned slot)
{
    atomic_store_explicit(&nursery->shared->slots[slot].state, MPROC__SLOT_FREE, memory_order_release);
}

/* A child that failed on the way: killed, and waited for so that its slot can be given to another. Without a
 * pidfd, or where that may not be used, the nursery kills it, if there is one. */
static void served_undo(mproc__nursery *nursery, unsigned slot, int pidfd)
{
    mproc_error story;
    mproc__story_copy(mproc__story(), &story);
    int killed = pidfd >= 0 ? mproc__pidfd_signal(pidfd, SIGKILL) : -EBADF;
    if (killed < 0 && killed != -ESRCH)
        mproc__nursery_doom(nursery, slot);
    mproc__nursery_await_undone(nursery, slot);
    if (pidfd >= 0)
        mproc__own_fd_close(pidfd);
    mproc__story_copy(&story, mproc__story());
}

/* What the child says to a load of which `sent` became. A child that failed and left has said why before. */
static int served_answer(int socket, int pidfd, int sent)
{
    int said = sent == 0 || sent == MPROC_EDIED ? mproc__boot_await(socket, pidfd) : 0;
    return said < 0 ? said : sent;
}

/* ---- by a spare ---- */

static int spare_talk(mproc__nursery *nursery, unsigned slot, const mproc__boot_load *load, int socket,
                      int pidfd)
{
    int rc = mproc__launch_check(pidfd);
    if (rc == 0)
        rc = served_answer(socket, pidfd, mproc__boot_send(socket, pidfd, load));
    mproc__own_fd_close(socket);
    if (rc < 0)
        served_undo(nursery, slot, pidfd);
    return rc;
}

/* False: there is none that lives, and nothing has begun. One that is dead, or dies, has not run the function, as its
 * report would have come before that. It is not given to another one: where the load itself is what kills, one spare after
 * the other would go for it, and the nursery make more, for ever; a fork there answers. */
static bool spare_start(mproc__nursery *nursery, unsigned slot, const mproc__boot_load *load, pid_t *ret_pid,
                        int *ret_pidfd, int *ret_code)
{
    int socket, pidfd;
    slot_begin(nursery, slot);
    if (!mproc__spare_take(nursery, slot, ret_pid, &socket, &pidfd))
        return false;
    *ret_code = spare_talk(nursery, slot, load, socket, pidfd);
    if (*ret_code == 0) /* else it is closed, and its number may be another's */
        *ret_pidfd = pidfd;
    return *ret_code != MPROC_EDIED;
}

/* ---- by a fork there ---- */

/* The load goes before the child is there to read it: the child need not wait for it then. Its one answer comes with its
 * pidfd; one that cannot be had leaves the nursery to kill. */
static int fork_talk(mproc__nursery *nursery, unsigned slot, const mproc__boot_load *load, int socket,
                     pid_t *ret_pid, int *ret_pidfd)
{
    int rc = mproc__boot_send(socket, nursery->pidfd, load);
    if (rc == 0 || rc == MPROC_EDIED) /* which may have said why before */
        rc = mproc__boot_await_pidfd(socket, nursery->pidfd, ret_pid, ret_pidfd);
    if (rc == 0)
        return 0;
    /* Still FREE: the nursery has taken the command without its descriptor, for which it had no room. */
    bool begun =
        atomic_load_explicit(&nursery->shared->slots[slot].state, memory_order_acquire) != MPROC__SLOT_FREE;
    served_undo(nursery, slot, -1);
    if (rc == MPROC_EDIED && !begun && mproc__nursery_lives(nursery))
        rc = mproc__fail(-EMFILE, "start: the nursery has no room for descriptors");
    return rc;
}

static int fork_start(mproc__nursery *nursery, unsigned slot, const mproc__boot_load *load, pid_t *ret_pid,
                      int *ret_pidfd)
{
    int sockets[2];
    /* Whether a child can be ended shows in the nursery, before there is one: they differ in nothing. */
    int rc = mproc__launch_check(nursery->pidfd);
    if (rc == 0)
        rc = mproc__boot_pair_own(SOCK_STREAM, sockets);
    if (rc < 0)
        return rc;
    slot_begin(nursery, slot);
    rc = mproc__nursery_command_send(nursery, MPROC__NURSERY_START, slot, sockets[1]);
    mproc__own_fd_close(sockets[1]);
    if (rc == 0)
        rc = fork_talk(nursery, slot, load, sockets[0], ret_pid, ret_pidfd);
    mproc__own_fd_close(sockets[0]);
    return rc;
}

/* ---- the start ---- */

int mproc__nursery_start(mproc__nursery *nursery, unsigned slot, const mproc__launch_options *options,
                         pid_t *ret_pid, int *ret_pidfd)
{
    mproc__boot_load load;
    int rc = mproc__boot_pack(options, &load);
    if (rc == 0)
        rc = mproc__surroundings_pack(nursery, &load);
    load.boot.served = true;
    load.boot.die_with_parent = true; /* with the nursery: nobody else could tell how it ended */
    load.boot.stop_mapped = options->stop_word != NULL;
    load.fds[MPROC__BOOT_STOP] = -1;
    if (rc == 0) {
        mproc__spares_want(nursery);
        if (!spare_start(nursery, slot, &load, ret_pid, ret_pidfd, &rc))
            rc = fork_start(nursery, slot, &load, ret_pid, ret_pidfd);
        mproc__spares_poke(nursery);
    }
    mproc__boot_load_clear(&load, false);
    return rc;
}
