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
 * Nothing ever goes through it. The pair of the start's conversation was one once, and killed children: the kernel makes a
 * message readable first and tells whoever asks for signals after that, so that an owner which has read "ready" and asks at
 * once may have the child killed by its own word, still in its send. (One start in 15,000 on a busy machine with two processors,
 * one in 3,000 with parent and child on one each.)
 *
 * It costs nine system calls a start, most of them while the child takes its first steps, and two descriptors while it runs.
 * Those a program may need for itself: a start that has to take them from the upper half does without. */
#include "platform/base.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "platform/platform.h"
#include "process/leash.h"
#include "process/own_fds.h"

/* Whose signals, before anything is asked for: the socket keeps the process, whatever becomes of its pid. */
static bool socket_tie(int socket, pid_t pid)
{
    return fcntl(socket, F_SETOWN, pid) == 0 && fcntl(socket, F_SETSIG, SIGKILL) == 0;
}

/* Neither may be a standard stream: what the program prints would be a message. */
static bool pair_make(int ret_sockets[2])
{
    mproc__own_fds_begin();
    bool made = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_sockets) == 0;
    for (int i = 0; i < 2; i++) {
        ret_sockets[i] = made ? mproc__fd_above_standard(ret_sockets[i]) : -1;
        mproc__own_fd_note(ret_sockets[i]);
    }
    mproc__own_fds_end();
    return ret_sockets[0] >= 0 && ret_sockets[1] >= 0;
}

static bool is_scarce(const int sockets[2])
{
    struct rlimit limit;
    int high = sockets[0] > sockets[1] ? sockets[0] : sockets[1];
    return getrlimit(RLIMIT_NOFILE, &limit) < 0 || (rlim_t)high >= limit.rlim_cur / 2;
}

bool mproc__leash_tie(pid_t pid, int ret_sockets[2])
{
    if (pair_make(ret_sockets) && !is_scarce(ret_sockets) && socket_tie(ret_sockets[0], pid) &&
        socket_tie(ret_sockets[1], pid))
        return true;
    mproc__leash_close(ret_sockets);
    return false;
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
