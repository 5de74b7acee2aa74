/* SPDX-License-Identifier: BSD-2-Clause */
/* Barrier: a fixed number of parties wait for each other, round after round.
 *
 *     mproc_barrier_create(NULL, 5, NULL, &together);                     // five parties: threads, processes, or both
 *     ...
 *     mproc_barrier_join(together);                                       // in each process: if I die, tell the others
 *     for (;;) {
 *         compute_my_part();
 *         if (mproc_barrier_wait(together, MPROC_FOREVER, &index) < 0)
 *             break;                                                      // MPROC_EBROKEN: mproc_error_of(together) says by whom
 *     }
 *
 * A wait arrives; when the last party of a round has arrived, all go on. The next round begins when all of the last one are
 * gone. A barrier breaks when a party gives up: its wait times out, it is killed between arriving and going on, it had joined
 * and dies at any time, it aborts, or the action fails. Then all who wait, and all who come, get MPROC_EBROKEN at once, until
 * somebody resets it. A death after a round was complete breaks nothing for those of that round.
 *
 *                     blocks           threads  processes  in a signal handler  in a fork child
 *   create, open      no               any      any        no                   works
 *   join              no               any      any        no                   the child itself; its parent's join is not its own (1)
 *   wait              to its deadline  any      any        no                   works (1)
 *   abort, reset      no               any      any        no                   works (1)
 *   status            no               any      any        no                   works (1)
 *   close             no               one      any        no                   works: the parent's stays as it is
 *   (1) thread home: -ECHILD
 *
 *   home     lives in             survives its creator  may be given to
 *   thread:  this process         no                    threads
 *   host:    anonymous memory     yes, while in use     fork children; without an action: processes at their start; over
 *                                                       Unix connections
 *   shm:     a file in /dev/shm   yes, while in use     without an action: the same, and whoever may open the file
 *   unix:    not yet: MPROC_EPLACE
 *
 * A stopped party is not dead: the others wait for it to their deadlines. A handle that is closed while another thread waits on
 * it lasts until that wait has ended. A barrier of this host costs 20 KiB, 8 bytes a party, and one descriptor. */
#ifndef MPROC_BARRIER_H
#define MPROC_BARRIER_H

#include <mproc/place.h>

MPROC_BEGIN

typedef struct mproc_barrier_options {
    MPROC_OBJECT_OPTIONS;
    uint32_t timeout_ms;            /* of waits with MPROC_FOREVER; 0: none */
    /* Runs once a round, in one of its parties, when all have arrived and before any goes on. Not 0: it failed. It must return,
     * and must not wait on this barrier. A pointer means the same in threads and fork children of the creator only: so "thread:"
     * and "host:" only, and such a barrier is not given to other processes. */
    int       (*action)(void *context);
    void       *context;
} mproc_barrier_options;

/* A new one for `parties`, nobody waiting. and_open: one of that name is opened as it is, whatever the other arguments say.
 * -EINVAL: 0 or more than 65,536 parties, no place, wrong options, or an object of another type has that name. -EEXIST.
 * MPROC_EPLACE: servers have none yet; an action where it cannot be. -ENOMEM, -ENOSPC, -EMFILE, -ENFILE. */
MPROC_API MPROC_CHECK int mproc_barrier_create(mproc_place *place, unsigned parties, const mproc_barrier_options *options, mproc_barrier **ret_barrier);
/* The named one. -ENOENT; -EINVAL; MPROC_EPLACE. */
MPROC_API MPROC_CHECK int mproc_barrier_open(mproc_place *place, const char *name, mproc_barrier **ret_barrier);
/* Drops this handle; the last one of a process that joined takes the join back. NULL and a pointer to NULL do nothing. */
MPROC_API void mproc_barrier_close(mproc_barrier **barrier);

/* This process is a party from now until it closes the barrier: if it ends before that, however, the barrier breaks, also
 * between two waits. Again: nothing. Threads share one fate: in thread: it does nothing.
 * MPROC_ELIMIT: 248 processes use it already. -ECHILD, -EINVAL, -ENOMEM. */
MPROC_API int  mproc_barrier_join(mproc_barrier *barrier);
/* Arrives and waits for the rest of the round. ret_index (or NULL): 0 to parties - 1, another one for each party of a round.
 * 0: the round is complete.
 * MPROC_EBROKEN: broken before or meanwhile; the story (mproc_error_of) says how, with MPROC_ERROR_PID of who did it or died.
 * -ETIMEDOUT: the deadline passed first, which broke the barrier. MPROC_NOW or a past deadline tries instead: it passes if it is
 * the last to arrive, and else has no effect; only the last one whose action another party runs just then breaks it. The same
 * answer, without effect, to one party too many.
 * What the action answered, from the wait that ran it, if negative; -ECANCELED if positive. The others: MPROC_EBROKEN.
 * MPROC_ELIMIT: 248 processes use it already. -ECHILD, -EINVAL, -ENOMEM. MPROC_ECORRUPT: its memory was overwritten. */
MPROC_API int  mproc_barrier_wait(mproc_barrier *barrier, mproc_deadline deadline, unsigned *ret_index);
/* Breaks it, for present and future waits. 0, also if it was broken. MPROC_ELIMIT, -ECHILD, -EINVAL, -ENOMEM. */
MPROC_API int  mproc_barrier_abort(mproc_barrier *barrier);
/* Ends present waits with MPROC_EBROKEN, and the next round begins with nobody; repairs a broken one. A round that is complete is
 * left alone. Never waits for anybody. MPROC_ELIMIT, -ECHILD, -EINVAL, -ENOMEM. */
MPROC_API int  mproc_barrier_reset(mproc_barrier *barrier);
/* At this instant: parties of a round, how many of the present one have arrived, whether it is broken. Each may be NULL.
 * -ECHILD, -EINVAL. */
MPROC_API int  mproc_barrier_status(const mproc_barrier *barrier, unsigned *ret_parties, unsigned *ret_waiting, bool *ret_broken);

MPROC_END_DECLS

#endif
