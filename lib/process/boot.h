/* SPDX-License-Identifier: BSD-2-Clause */
/* The conversation between a starting child and its parent, over a socket pair of their own. L5.
 *
 *     spawn, forkserver:  parent -> child   boot record, key, environment, arguments; beside the first byte all
 *                                           descriptors: the record's, the arguments'
 *     fork:               parent -> child   one byte, "go"
 *     all:                child -> parent   one report: 0, or the step that failed; of a child that the nursery has
 *                                           forked, a pidfd beside the 0
 *
 * Every wait of the parent is on {socket, pidfd}: a child that dies, wherever, ends it, also while a
 * stranger's fork holds a copy of the socket. Of a child that the nursery forks there is no pidfd before its report: the
 * socket's end tells, and the nursery's pidfd. A child waits on the socket with SIGKILL set for the parent's
 * death. Both ends are the same build, so records cross as they lie in memory; magic and size find the
 * library replaced under a running program. */
#ifndef MPROC__PROCESS_BOOT_H
#define MPROC__PROCESS_BOOT_H

#include <sys/types.h>

#include "channel/auth.h"
#include "data/parcel.h"
#include "platform/platform.h"
#include "process/launch.h"
#include "process/limits.h"
#include "process/self.h"

#define MPROC__BOOT_MAGIC 0x6d626f74u /* "mbot" */

/* Descriptors beside the record, in this order; bit n of fd_mask: the n-th is there. */
enum {
    MPROC__BOOT_STOP,
    MPROC__BOOT_STDOUT,
    MPROC__BOOT_STDERR,
    MPROC__BOOT_DIRECTORY,
    MPROC__BOOT_CGROUP,
    MPROC__BOOT_FDS
};

typedef struct mproc__boot {
    uint32_t magic, size_bytes; /* size of this struct */
    uint32_t fd_mask;
    uint32_t parcel_fds;
    uint64_t parcel_bytes, environment_bytes;
    uint64_t stop_offset_bytes;
    uint32_t key_bytes;
    bool key_set, die_with_parent;
    bool served; /* a forkserver child: closes the streams that do not come, joins its parent's group */
    bool environment_comes; /* maybe without a string */
    bool stop_mapped;       /* it has the stop words from the nursery */
    mproc__self self;       /* without the stop word, which the child maps */
    mproc__function_id function;
    mproc__limits limits;
} mproc__boot;

/* A boot record with all that follows it: packed by the parent before there is a child, so that nothing need
 * be undone when an argument cannot cross; filled in again by the child. */
typedef struct mproc__boot_load {
    mproc__boot boot;
    mproc__parcel parcel;
    mproc__key key;
    char *environment;        /* owned; strings, each with its end; see environment_comes */
    int fds[MPROC__BOOT_FDS]; /* -1: none. Packed: borrowed but for the directory; received: owned */
    pid_t unless_stopped;     /* in sending: of mproc__boot_wait */
} mproc__boot_load;

/* ---- parent ---- */
int mproc__boot_pair(int type, int ret_sockets[2]); /* close-on-exec, neither below 3 */
int mproc__boot_pair_own(int type, int ret_sockets[2]); /* and noted: own_fds.h */
void mproc__boot_self(const mproc__launch_options *options, mproc__self *ret_self);
int mproc__boot_pack(const mproc__launch_options *options, mproc__boot_load *ret_load);
void mproc__boot_load_clear(mproc__boot_load *load, bool received);
/* Who is to answer does not before it goes on: SIGSTOP. */
bool mproc__boot_stopped(pid_t pid);
/* Waits for the socket to be ready for `events`: 0, or MPROC_EDIED: pidfd (-1: nobody is watched) has ended
 * first; -EAGAIN: the process `unless_stopped` (0: none) is stopped. */
int mproc__boot_wait(int socket, short events, int pidfd, pid_t unless_stopped);
int mproc__boot_send(int socket, int pidfd, const mproc__boot_load *load);
int mproc__boot_send_go(int socket);
/* The child's report: 0, or its code with its story; MPROC_EDIED when none comes. */
int mproc__boot_await(int socket, int pidfd);
/* The same of a child that the nursery has forked: 0 with who it is (pidfd now the caller's, noted), or as above. */
int mproc__boot_await_pidfd(int socket, int nursery_pidfd, pid_t *ret_pid, int *ret_pidfd);

/* The same for a program: *ret_told: what failed is the nursery's answer, and no child is left. */
int mproc__boot_await_program(int socket, int nursery_pidfd, pid_t *ret_pid, int *ret_pidfd, bool *ret_told);

/* ---- child ---- */
/* MPROC_EEND: the parent has let go of it. */
int mproc__boot_receive(int socket, mproc__boot_load *ret_load);
int mproc__boot_await_go(int socket);
/* With this thread's story; code 0: all is well. Negative: nobody is there to read it. */
int mproc__boot_report(int socket, int code);
/* That all is well, with who this is. Negative as above. */
int mproc__boot_report_pidfd(int socket, pid_t pid, int pidfd);

#endif
