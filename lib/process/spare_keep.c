/* SPDX-License-Identifier: BSD-2-Clause */
/* The nursery's side of spares: makes them when it is quiet, learns who was taken and who died. */
#include "platform/base.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "process/boot.h"
#include "process/child.h"
#include "process/self.h"
#include "process/spare.h"

enum {
    /* Without a command or an end for so long, the nursery fills up: a fork beside a child's first moments, or before
     * the next start of a burst, would only be in the way. */
    QUIET_NS = 1000000,
    /* Each one that could not be made or died idle doubles that, up to a second: fork without memory, a signal to
     * the whole group every now and then, a limit that kills. */
    TROUBLES = 10
};

static struct {
    pid_t pids[MPROC_SPARES_MOST]; /* by number; 0: none. Of those that are not adopted yet */
    uint32_t generation;
    unsigned count;    /* of pids that are not 0 */
    unsigned troubles; /* in a row */
    bool filling;      /* the last that happened was that one was made */
} keep;

static uint32_t word_state(mproc__nursery_shared *shared, unsigned number)
{
    return (uint32_t)atomic_load(&shared->spares[number]);
}

static void number_free(unsigned number)
{
    keep.pids[number] = 0;
    keep.count--;
}

/* The word's change, and not what was read before, says who was first: the owner or this. */
static bool word_retire(mproc__nursery_shared *shared, unsigned number)
{
    uint64_t word = atomic_load(&shared->spares[number]);
    return (uint32_t)word == MPROC__SPARE_IDLE &&
           atomic_compare_exchange_strong(&shared->spares[number], &word,
                                          MPROC__SPARE_WORD(word >> 32, MPROC__SPARE_NONE));
}

/* ---- taken, dead ---- */

bool mproc__spare_adopt(mproc__nursery_shared *shared, unsigned *ret_slot, pid_t *ret_pid)
{
    for (unsigned i = 0; keep.count > 0 && i < MPROC_SPARES_MOST; i++) {
        uint32_t state = keep.pids[i] ? word_state(shared, i) : MPROC__SPARE_NONE;
        if (state < MPROC__SPARE_TAKEN || state - MPROC__SPARE_TAKEN >= MPROC__SLOTS)
            continue;
        *ret_slot = state - MPROC__SPARE_TAKEN;
        *ret_pid = keep.pids[i];
        number_free(i);
        keep.troubles = 0;
        return true;
    }
    return false;
}

bool mproc__spare_lost(mproc__nursery_shared *shared, pid_t pid)
{
    for (unsigned i = 0; keep.count > 0 && i < MPROC_SPARES_MOST; i++) {
        if (keep.pids[i] != pid)
            continue;
        bool idle = word_retire(shared, i);
        if (!idle && word_state(shared, i) >= MPROC__SPARE_TAKEN)
            return false;
        keep.troubles += idle && keep.troubles < TROUBLES;
        number_free(i);
        return true;
    }
    return false;
}

/* ---- made ---- */

static unsigned count_idle(mproc__nursery_shared *shared)
{
    unsigned count = 0;
    for (unsigned i = 0; keep.count > 0 && i < MPROC_SPARES_MOST; i++)
        count += keep.pids[i] && word_state(shared, i) == MPROC__SPARE_IDLE;
    return count;
}

static bool is_full(mproc__nursery_shared *shared)
{
    uint32_t wanted = atomic_load(&shared->spares_wanted);
    return keep.count >= MPROC_SPARES_MOST || (keep.count >= wanted && count_idle(shared) >= wanted);
}

mproc_deadline mproc__spares_due(mproc__nursery_shared *shared)
{
    bool filling = keep.filling;
    keep.filling = false;
    if (is_full(shared))
        return MPROC_FOREVER;
    if (filling && keep.troubles == 0)
        return MPROC_NOW;
    return (mproc_deadline){mproc__now_ns() + ((int64_t)QUIET_NS << keep.troubles)};
}

static int note_send(int command_socket, unsigned number, int socket)
{
    mproc__spare_note note = {
        .pid = (int32_t)keep.pids[number], .number = number, .generation = keep.generation};
    int fds[2] = {socket, mproc__pidfd_open(keep.pids[number])};
    if (fds[1] < 0)
        return fds[1];
    /* A full queue, or too many descriptors on their way, answer at once. */
    int rc = mproc__fd_send(command_socket, &note, sizeof note, fds, 2, MPROC_NOW);
    close(fds[1]);
    return rc;
}

/* Forks with everything blocked, so that no handler of this process runs in the child. */
static pid_t spare_fork(int socket)
{
    sigset_t mask;
    pid_t self = getpid();
    mproc__signals_block(&mask);
    pid_t pid = fork();
    if (pid == 0) {
        mproc__start_forget();
        mproc__child_received(socket, self, MPROC__CHILD_SPARE);
    }
    mproc__signals_restore(&mask);
    return pid;
}

static int spare_make(mproc__nursery_shared *shared, unsigned number, int command_socket)
{
    int sockets[2];
    int rc = mproc__boot_pair(SOCK_STREAM, sockets);
    if (rc < 0)
        return rc;
    pid_t pid = spare_fork(sockets[1]);
    close(sockets[1]);
    if (pid > 0) {
        keep.pids[number] = pid;
        keep.count++;
        /* Before the note, from when on the owner may change it. */
        atomic_store(&shared->spares[number], MPROC__SPARE_WORD(++keep.generation, MPROC__SPARE_IDLE));
        rc = note_send(command_socket, number, sockets[0]);
        if (rc < 0 && word_retire(shared, number)) {
            kill(pid, SIGKILL); /* not reaped yet: no other has that pid */
            number_free(number);
        }
    }
    close(sockets[0]);
    return pid > 0 ? rc : -EAGAIN;
}

void mproc__spare_add(mproc__nursery_shared *shared, int command_socket)
{
    unsigned number = 0;
    if (is_full(shared))
        return;
    while (keep.pids[number])
        number++;
    keep.filling = true;
    if (spare_make(shared, number, command_socket) < 0)
        keep.troubles += keep.troubles < TROUBLES;
    /* The owner wants fewer since, and may have looked before this one was to be seen. */
    else if (count_idle(shared) > atomic_load(&shared->spares_wanted) && word_retire(shared, number))
        kill(keep.pids[number], SIGKILL);
}

void mproc__spares_end(void)
{
    for (unsigned i = 0; i < MPROC_SPARES_MOST; i++)
        if (keep.pids[i])
            kill(keep.pids[i], SIGKILL);
    for (unsigned i = 0; i < MPROC_SPARES_MOST; i++)
        while (keep.pids[i] && waitpid(keep.pids[i], NULL, 0) < 0 && errno == EINTR) {
        }
}
