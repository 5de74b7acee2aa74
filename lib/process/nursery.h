/* SPDX-License-Identifier: BSD-2-Clause */
/* The program's nursery: one single-threaded process of the library's own, made at the first start that needs
 * it. L5.
 *
 * It forks the children of the forkserver method, tells their ends, and kills every child it started or was
 * given to watch when its owner dies (DEATH-9). It is this program exec'd anew, so its forks cost the same
 * however large the owner is; a program that never called mproc_init gets a forked one, which watches but
 * serves no forkserver.
 *
 *      owner                              nursery
 *      command message, post command  ->  START or PROGRAM slot + boot socket
 *      slot: doomed, post command     ->  SIGKILL to the slot's child
 *      slot: watched                  ->  looked at when the owner has died
 *      reads slots                    <-  slot: ended, how; post ended
 *      (dies)                         ->  life word wakes it: SIGKILL to all, reap, exit
 *
 * When the nursery dies its children die with it (parent-death signal), and the next start makes another. */
#ifndef MPROC__PROCESS_NURSERY_H
#define MPROC__PROCESS_NURSERY_H

#include <sys/types.h>

#include <mproc/process.h>
#include "process/launch.h"
#include "shm/segment.h"

enum {
    MPROC__SLOTS = 4096 /* children at a time; 256 KiB of slots, touched as used */
};

/* One child of the nursery. state:      written by the nursery (RUNNING at its fork, ENDED last, release; a child that
 *             was a spare leaves FREE for ENDED, a program that could not be begun RUNNING for FREE, before its
 *             owner is told), by the owner only while no child has the slot.
 *             A reader that sees RUNNING for ever has outlived the nursery: its row is dead then.
 * doomed:     set by the owner when a start has failed whose child only the nursery can end, if there is one; cleared by
 *             the nursery (release) after it has sent the SIGKILL or told the end, and until then the owner gives the
 *             slot to nobody: what is done for the failed start never meets the slot's next child. Dies the owner
 *             there, it is everybody's end; dies the nursery, so do its children, and the next has slots of its own.
 * watched_pid, watched_id: of a child that the owner has forked itself, and its lasting name (watch.c), 0: there is none.
 *             Written by the thread of the owner that starts it or has collected it, the id last when it comes
 *             and first when it goes; read by the nursery when the owner is dead. An owner that dies before the
 *             id leaves a child that has not been told to go on, and a parent-death signal to end it; one that
 *             dies after collecting it, an id that no other process has.
 * the rest:   written by the nursery before ENDED; read after an acquire of ENDED. What it had used in all: a
 *             struct rusage without the fields that Linux leaves empty. */
typedef struct mproc__slot_shared {
    _Atomic uint32_t state;
    int32_t exit_code;
    int64_t user_us, system_us;
    int32_t max_rss_kib, minor_faults, major_faults, voluntary_switches, involuntary_switches;
    _Atomic int32_t watched_pid;
    _Atomic uint64_t watched_id;
    _Atomic uint32_t doomed;
} mproc__slot_shared;
enum { MPROC__SLOT_FREE, MPROC__SLOT_RUNNING, MPROC__SLOT_ENDED };

typedef struct mproc__directory_id_shared {
    uint64_t inode, mount;
    uint32_t device_major, device_minor;
} mproc__directory_id_shared;

/* What owner and nursery share. command, ended: event counts, posted by owner and nursery after their stores;
 * a poster's death wakes the sleepers.
 * row: 1 + the nursery's row, written once by it before it takes a command; 0: not yet.
 * stop: written by the owner: leave, kill nobody.
 * doom: set by the owner after a slot's `doomed`, cleared by the nursery before it looks at them.
 * spares_told, spares_wanted: written by the owner; how many spares to keep, from the first forkserver start on.
 * directory: the nursery's, written once by it, before directory_told (release). Not told: starts send theirs.
 * spares: see spare.h. NONE to IDLE by the nursery, from IDLE on by a change of the whole word: by the nursery
 * alone, or by the owner's threads that hold the spare's note. Who dies there leaves a word that says what it
 * had done; the owner's death is everybody's end, the nursery's death its spares'. */
typedef struct mproc__nursery_shared {
    _Alignas(MPROC__LINE) mproc__eventcount_shared command;
    _Atomic uint32_t stop, doom;
    _Alignas(MPROC__LINE) mproc__eventcount_shared ended;
    _Atomic uint32_t row;
    _Atomic uint32_t spares_told, spares_wanted;
    _Atomic uint32_t directory_told;
    mproc__directory_id_shared directory;
    _Alignas(MPROC__LINE) _Atomic uint64_t spares[MPROC_SPARES_MOST];
    _Alignas(MPROC__LINE) mproc__slot_shared slots[MPROC__SLOTS];
} mproc__nursery_shared;

/* PROGRAM: as START, what is started is a program (program.h). */
enum { MPROC__NURSERY_START, MPROC__NURSERY_PROGRAM };
typedef struct mproc__nursery_command {
    uint32_t verb, slot;
} mproc__nursery_command;

/* ---- owner's side (nursery.c) ---- */
typedef struct mproc__nursery {
    _Atomic uint32_t references;
    mproc__segment *segment;
    mproc__nursery_shared *shared;
    int socket; /* commands one way, spares' notes the other */
    pid_t pid;
    int pidfd;
    char *environment; /* that it was made with: strings, each with its end */
    size_t environment_bytes;
} mproc__nursery;

/* The living nursery of this process, made now if need be; kept for the caller. */
int mproc__nursery_get(mproc__nursery **ret_nursery);
/* The same, -EBUSY at once while another thread makes one; -EAGAIN where one is stopped (SIGSTOP) on its way: it is killed. */
int mproc__nursery_try(mproc__nursery **ret_nursery);
/* The one that was made last, if any, and kept for the caller; or NULL. Waits for nobody who makes one. */
mproc__nursery *mproc__nursery_present(void);
/* The story of it: MPROC_EDIED. */
int mproc__nursery_died(const mproc__nursery *nursery);
/* One command with its socket. MPROC_EDIED: the nursery has died. */
int mproc__nursery_command_send(mproc__nursery *nursery, uint32_t verb, unsigned slot, int socket);
/* For a start whose answer did not arrive: SIGKILL to the slot's child, and its end is told in any case. No message, which the
 * system could refuse. To be awaited by: */
void mproc__nursery_doom(mproc__nursery *nursery, unsigned slot);
/* Waits until the nursery has no more to do for a start that has failed, or is gone: the slot can be given to another. */
void mproc__nursery_await_undone(mproc__nursery *nursery, unsigned slot);
/* watch.c: a child of this process has the slot, and shall die with it; it is collected. MPROC_EDIED: as above. Neither waits. */
int mproc__nursery_watch(mproc__nursery *nursery, unsigned slot, pid_t pid, int pidfd);
void mproc__nursery_unwatch(mproc__nursery *nursery, unsigned slot);
/* Starts a child by the forkserver method (serve.c). MPROC_EDIED when it was the nursery that died: again. */
int mproc__nursery_start(mproc__nursery *nursery, unsigned slot, const mproc__launch_options *options,
                         pid_t *ret_pid, int *ret_pidfd);
/* Starts an external program: `socket` for the nursery, with its request waiting on it; `mine` for the answer. As above, but
 * MPROC_EDIED only says "again" with *ret_begun false. */
int mproc__nursery_program(mproc__nursery *nursery, unsigned slot, int mine, int socket, pid_t *ret_pid,
                           int *ret_pidfd, bool *ret_begun);
/* It has the limits of the moment it was made. Where this process is allowed more by now, so is it from now on: true, and the
 * start that it has refused with `code` is worth another try. */
bool mproc__nursery_allow(mproc__nursery *nursery, int code);
/* Whether the end of a slot's child has been told, or nobody lives who could. */
bool mproc__nursery_told(mproc__nursery *nursery, unsigned slot);
bool mproc__nursery_reaped(mproc__nursery *nursery,
                           unsigned slot); /* it has been told: nothing is left of the child */
/* Waits for that: 0, -ETIMEDOUT. `collected` (or NULL) turns true when another thread has given the slot
 * away, which may have another child by then. */
int mproc__nursery_await(mproc__nursery *nursery, unsigned slot, const _Atomic bool *collected,
                         mproc_deadline deadline);
/* After that: how it ended and what it had used, or MPROC_EDIED. */
struct rusage;
int mproc__nursery_exit_code(mproc__nursery *nursery, unsigned slot, int *ret_exit_code,
                             struct rusage *ret_usage);
bool mproc__nursery_lives(mproc__nursery *nursery);
bool mproc__nursery_gone(mproc__nursery *nursery); /* dead, or as good as; one that has hardly begun is not */
void mproc__nursery_keep(mproc__nursery *nursery);
void mproc__nursery_release(mproc__nursery *nursery);
/* At the program's end: tells it to go, and waits. */
void mproc__nursery_stop(void);
/* In a fork child: the parent's is not ours. First the descriptors, in the fork's hook, where they are closed already
 * (own_fds.h); memory when all hooks have run. */
void mproc__nursery_forget(void);
void mproc__nursery_forget_fds(mproc__nursery *nursery);
void mproc__nursery_clear_forgotten(void);

/* ---- its own side (nursery_main.c) ---- */
/* Arguments: descriptor of the segment, descriptor of the command socket, owner's row, what to preload,
 * descriptor of the stop words, environment. Does not
 * return. */
int mproc__nursery_main(mproc_call *call);
/* watch.c: SIGKILL to all that the dead owner had watched. Only system calls. False: the system had no descriptor or memory to
 * do it with for each, and they are worth another try. */
bool mproc__watched_kill(mproc__nursery_shared *shared);

#endif
