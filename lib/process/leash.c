/* SPDX-License-Identifier: BSD-2-Clause */
/* What ends a child by fork or spawn whose owner is killed right after the nursery, before any call notices that.
 *
 * When one end of a socket pair goes, the kernel tells who has asked for signals of the other, which is still open; and that may
 * be another process, here the child, and the signal may be SIGKILL. It is tied to the very process, not to its number, comes
 * only when the last thread of the owner has ended (or it has exec'd), and needs nothing in the child. Both ends ask, as no
 * promise says which goes first. It is late, where much memory is freed first; the nursery, which wakes by the life word, is
 * what ends the children as a rule.
 *
 * A living owner that closes both ends itself, as by close_range(3, ~0), does the same to the kernel as its death does, and kills
 * the child. Rejected against that, as each has another process hold an end: a copy with the nursery (a message at each start,
 * and it is the nursery's death that the leash is for), one in the child (it would end with the child's own close_range).
 *
 * The pair is the one of the start's conversation, so it costs six system calls a start, 1.5 to 3 us, and two descriptors while
 * the child runs. Those a program may need for itself: a start that has to take them from the upper half does without. */
#include "platform/base.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "process/leash.h"
#include "process/own_fds.h"

/* Whose signals, before anything is asked for: the socket keeps the process, whatever becomes of its pid. */
static bool socket_tie(int socket, pid_t pid)
{
    return fcntl(socket, F_SETOWN, pid) == 0 && fcntl(socket, F_SETSIG, SIGKILL) == 0;
}

bool mproc__leash_tie(const int sockets[2], pid_t pid)
{
    struct rlimit limit;
    int high = sockets[0] > sockets[1] ? sockets[0] : sockets[1];
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && (rlim_t)high < limit.rlim_cur / 2 &&
           socket_tie(sockets[0], pid) && socket_tie(sockets[1], pid);
}

/* Half made, it is harmless: the end that asks is closed first. */
bool mproc__leash_make(const int sockets[2])
{
    return fcntl(sockets[0], F_SETFL, O_ASYNC) == 0 && fcntl(sockets[1], F_SETFL, O_ASYNC) == 0;
}

void mproc__leash_close(int sockets[2])
{
    for (int i = 0; i < 2; i++) {
        if (sockets[i] >= 0)
            mproc__own_fd_close(sockets[i]);
        sockets[i] = -1;
    }
}
