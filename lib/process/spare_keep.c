/* SPDX-License-Identifier: BSD-2-Clause */
/* The nursery's side of spares: makes them when it is quiet, learns who was taken and who died. */
#include "platform/base.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mproc/program.h>
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
    TROUBLES = 10,
    /* Descriptors that stay free here for what commands bring: a program's most, and some. */
    ROOM_FDS = MPROC_PROGRAM_FDS + 32
};

/* Both ends of a spare's socket stay open here until it is known to be taken or dead, so that neither the child on its way
 * to its function nor the owner lets go of one for good: the kernel would begin to look for cycles of sockets that are
 * underway, as the ends of the other spares are. Nobody learns anything by the end of such a socket: a child's death shows
 * in its pidfd, and the nursery's death is its spares'. */
typedef struct spare {
    pid_t pid; /* 0: none; -1: adopted or gone, its sockets are to be closed */
    int sockets[2];
} spare;

/* Not there in children. */
static struct {
    spare spares[MPROC_SPARES_MOST]; /* by number */
    uint32_t generation;
    unsigned count;    /* of those with a pid */
    unsigned troubles; /* in a row */
    bool filling;      /* the last that happened was that one was made */
} * keep;

bool mproc__spares_begin(void)
{
    keep = mproc__memory_unforked(sizeof *keep);
    return keep != NULL;
}

static uint32_t word_state(mproc__nursery_shared *shared, unsigned number)
{
    return (uint32_t)atomic_load(&shared->spares[number]);
}

static void number_free(unsigned number)
{
    keep->spares[number].pid = -1;
    keep->count--;
}

/* Not when the number is freed, when somebody waits for the word of an end. */
static void sockets_close(void)
{
    for (unsigned i = 0; i < MPROC_SPARES_MOST; i++)
        if (keep->spares[i].pid < 0) {
            close(keep->spares[i].sockets[0]);
            close(keep->spares[i].sockets[1]);
            keep->spares[i].pid = 0;
        }
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
    for (unsigned i = 0; keep->count > 0 && i < MPROC_SPARES_MOST; i++) {
        uint32_t state = keep->spares[i].pid > 0 ? word_state(shared, i) : MPROC__SPARE_NONE;
        if (state == MPROC__SPARE_GIVEN_UP)
            kill(keep->spares[i].pid, SIGKILL); /* not reaped yet: no other has that pid */
        if (state < MPROC__SPARE_TAKEN || state - MPROC__SPARE_TAKEN >= MPROC__SLOTS)
            continue;
        *ret_slot = state - MPROC__SPARE_TAKEN;
        *ret_pid = keep->spares[i].pid;
        number_free(i);
        keep->troubles = 0;
        return true;
    }
    return false;
}

bool mproc__spare_lost(mproc__nursery_shared *shared, pid_t pid)
{
    for (unsigned i = 0; keep->count > 0 && i < MPROC_SPARES_MOST; i++) {
        if (keep->spares[i].pid != pid)
            continue;
        bool idle = word_retire(shared, i);
        if (!idle && word_state(shared, i) >= MPROC__SPARE_TAKEN)
            return false;
        keep->troubles += idle && keep->troubles < TROUBLES;
        number_free(i);
        return true;
    }
    return false;
}

/* ---- made ---- */

static unsigned count_idle(mproc__nursery_shared *shared)
{
    unsigned count = 0;
    for (unsigned i = 0; keep->count > 0 && i < MPROC_SPARES_MOST; i++)
        count += keep->spares[i].pid > 0 && word_state(shared, i) == MPROC__SPARE_IDLE;
    return count;
}

static bool is_full(mproc__nursery_shared *shared)
{
    uint32_t wanted = atomic_load(&shared->spares_wanted);
    return keep->count >= MPROC_SPARES_MOST || (keep->count >= wanted && count_idle(shared) >= wanted);
}

/* The owner, which wants fewer, gives up those whose notes it finds. It may find none: it has no descriptors for them, or
 * has looked before one was to be seen. */
static void surplus_retire(mproc__nursery_shared *shared)
{
    uint32_t wanted = atomic_load(&shared->spares_wanted);
    unsigned idle = count_idle(shared);
    for (unsigned i = 0; idle > wanted && i < MPROC_SPARES_MOST; i++)
        if (keep->spares[i].pid > 0 && word_retire(shared, i)) {
            kill(keep->spares[i].pid, SIGKILL); /* not reaped yet: no other has that pid */
            idle--;
        }
}

mproc_deadline mproc__spares_due(mproc__nursery_shared *shared)
{
    bool filling = keep->filling;
    keep->filling = false;
    sockets_close();
    surplus_retire(shared);
    if (is_full(shared))
        return MPROC_FOREVER;
    if (filling && keep->troubles == 0)
        return MPROC_NOW;
    return (mproc_deadline){mproc__now_ns() + ((int64_t)QUIET_NS << keep->troubles)};
}

static int note_send(int command_socket, unsigned number)
{
    mproc__spare_note note = {
        .pid = (int32_t)keep->spares[number].pid, .number = number, .generation = keep->generation};
    int fds[2] = {keep->spares[number].sockets[0], mproc__pidfd_open(keep->spares[number].pid)};
    if (fds[1] < 0)
        return fds[1];
    /* A full queue, or too many descriptors on their way, answer at once. */
    int rc = mproc__fd_send(command_socket, &note, sizeof note, fds, 2, MPROC_NOW);
    close(fds[1]);
    return rc;
}

/* Forks with everything blocked, so that no handler of this process runs in the child. */
__attribute__((noinline)) MPROC__FORK_TEXT static pid_t spare_fork(int socket)
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

static bool fds_are_scarce(int highest)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && (rlim_t)highest + ROOM_FDS >= limit.rlim_cur;
}

static int spare_pair(int sockets[2])
{
    int rc = mproc__boot_pair(SOCK_STREAM, sockets);
    if (rc < 0 || !fds_are_scarce(sockets[0] > sockets[1] ? sockets[0] : sockets[1]))
        return rc;
    close(sockets[0]);
    close(sockets[1]);
    return -EMFILE;
}

static int spare_make(mproc__nursery_shared *shared, unsigned number, int command_socket)
{
    spare *made = &keep->spares[number];
    int rc = spare_pair(made->sockets);
    if (rc < 0)
        return rc;
    pid_t pid = spare_fork(made->sockets[1]);
    made->pid = pid > 0 ? pid : 0;
    keep->count++;
    if (pid < 0) {
        number_free(number);
        return -EAGAIN;
    }
    /* Before the note, from when on the owner may change it. */
    atomic_store(&shared->spares[number], MPROC__SPARE_WORD(++keep->generation, MPROC__SPARE_IDLE));
    rc = note_send(command_socket, number);
    if (rc < 0 && word_retire(shared, number))
        kill(pid, SIGKILL);
    return rc;
}

void mproc__spare_add(mproc__nursery_shared *shared, int command_socket)
{
    unsigned number = 0;
    if (is_full(shared))
        return;
    while (number < MPROC_SPARES_MOST - 1 && keep->spares[number].pid)
        number++;
    keep->filling = true;
    if (spare_make(shared, number, command_socket) < 0)
        keep->troubles += keep->troubles < TROUBLES;
}

void mproc__spares_end(void)
{
    for (unsigned i = 0; i < MPROC_SPARES_MOST; i++)
        if (keep->spares[i].pid > 0)
            kill(keep->spares[i].pid, SIGKILL);
    for (unsigned i = 0; i < MPROC_SPARES_MOST; i++)
        while (keep->spares[i].pid > 0 && waitpid(keep->spares[i].pid, NULL, 0) < 0 && errno == EINTR) {
        }
}
