/* SPDX-License-Identifier: BSD-2-Clause */
/* The owner's side of spares: how many there shall be, and taking one. */
#include "platform/base.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include <mproc/process.h>
#include "platform/platform.h"
#include "platform/story.h"
#include "process/family.h"
#include "process/own_fds.h"
#include "process/spare.h"

enum { SPARES_USUAL = 2 };

/* Guards the count together with what the present nursery was told of it. Not taken by forks: a fork child makes
 * it anew, and a number is never half written. */
MPROC__FORK_DATA static struct {
    pthread_mutex_t lock;
    uint32_t count;
} spares = {.lock = PTHREAD_MUTEX_INITIALIZER, .count = SPARES_USUAL};

MPROC__FORK_TEXT void mproc__spares_forget(void)
{
    spares.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

/* ---- taking ---- */

static bool word_change(mproc__nursery *nursery, const mproc__spare_note *note, uint32_t state)
{
    uint64_t idle = MPROC__SPARE_WORD(note->generation, MPROC__SPARE_IDLE);
    return note->number < MPROC_SPARES_MOST &&
           atomic_compare_exchange_strong(&nursery->shared->spares[note->number], &idle,
                                          MPROC__SPARE_WORD(note->generation, state));
}

/* One note out of the queue with its descriptors, or none. Where there is no room for those, the spare is lost with
 * them, and the nursery is told to end it. */
static bool note_receive(mproc__nursery *nursery, mproc__spare_note *ret_note, int ret_fds[2])
{
    size_t fd_count;
    *ret_note = (mproc__spare_note){.number = MPROC_SPARES_MOST};
    mproc__own_fds_begin();
    ssize_t got =
        mproc__fd_recv(nursery->socket, ret_note, sizeof *ret_note, ret_fds, 2, &fd_count, MPROC_NOW);
    for (size_t i = 0; got >= 0 && i < fd_count; i++)
        mproc__own_fd_note(ret_fds[i]);
    mproc__own_fds_end();
    if (got == sizeof *ret_note && fd_count == 2)
        return true;
    for (size_t i = 0; got >= 0 && i < fd_count; i++)
        mproc__own_fd_close(ret_fds[i]);
    if (word_change(nursery, ret_note, MPROC__SPARE_GIVEN_UP))
        mproc__eventcount_post(&nursery->shared->command, true);
    return false;
}

static unsigned count_idle(mproc__nursery *nursery)
{
    unsigned count = 0;
    for (unsigned i = 0; i < MPROC_SPARES_MOST; i++)
        count += (uint32_t)atomic_load_explicit(&nursery->shared->spares[i], memory_order_relaxed) ==
                 MPROC__SPARE_IDLE;
    return count;
}

bool mproc__spare_take(mproc__nursery *nursery, unsigned slot, pid_t *ret_pid, int *ret_socket,
                       int *ret_pidfd)
{
    mproc__spare_note note;
    int fds[2];
    /* With some wanted the queue is read in any case: the notes of dead ones are in the way of others. */
    if (atomic_load_explicit(&nursery->shared->spares_wanted, memory_order_relaxed) == 0 &&
        count_idle(nursery) == 0)
        return false;
    while (note_receive(nursery, &note, fds)) {
        if (word_change(nursery, &note, MPROC__SPARE_TAKEN + slot)) {
            *ret_pid = (pid_t)note.pid;
            *ret_socket = fds[0];
            *ret_pidfd = fds[1];
            return true;
        }
        mproc__own_fd_close(fds[0]);
        mproc__own_fd_close(fds[1]);
    }
    return false;
}

/* ---- how many ---- */

void mproc__spares_want(mproc__nursery *nursery)
{
    if (atomic_load_explicit(&nursery->shared->spares_told, memory_order_relaxed))
        return;
    pthread_mutex_lock(&spares.lock);
    atomic_store(&nursery->shared->spares_wanted, spares.count);
    atomic_store(&nursery->shared->spares_told, 1);
    pthread_mutex_unlock(&spares.lock);
}

/* Not for each one: it costs a wake-up beside the child's first moments, and the end of a short child wakes the nursery
 * anyway. */
void mproc__spares_poke(mproc__nursery *nursery)
{
    uint32_t wanted = atomic_load_explicit(&nursery->shared->spares_wanted, memory_order_relaxed);
    if (wanted > 0 && count_idle(nursery) <= wanted / 4)
        mproc__eventcount_post(&nursery->shared->command, true);
}

/* The nursery ends them. */
static void spares_give_up(mproc__nursery *nursery, unsigned count)
{
    mproc__spare_note note;
    int fds[2];
    while (count_idle(nursery) > count && note_receive(nursery, &note, fds)) {
        (void)word_change(nursery, &note, MPROC__SPARE_GIVEN_UP);
        mproc__own_fd_close(fds[0]);
        mproc__own_fd_close(fds[1]);
    }
}

static void spares_tell(mproc__nursery *nursery, unsigned count)
{
    if (!atomic_load(&nursery->shared->spares_told))
        return;
    atomic_store(&nursery->shared->spares_wanted, count);
    spares_give_up(nursery, count);
    mproc__eventcount_post(&nursery->shared->command, true);
}

int mproc_set_spares(unsigned count)
{
    if (count > MPROC_SPARES_MOST)
        return mproc__fail(-EINVAL, "mproc_set_spares: %u; %d are the most", count, MPROC_SPARES_MOST);
    int rc = mproc__family_begin(); /* the hooks of forks */
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&spares.lock);
    mproc__nursery *nursery = mproc__nursery_present();
    spares.count = count;
    if (nursery)
        spares_tell(nursery, count);
    pthread_mutex_unlock(&spares.lock);
    mproc__nursery_release(nursery);
    return 0;
}
