/* SPDX-License-Identifier: BSD-2-Clause */
/* Reader-writer lock: many readers or one writer.
 *
 *     mproc_rwlock *door;
 *     if (mproc_rwlock_create(NULL, NULL, &door) < 0) ...
 *     if (mproc_rwlock_acquire_read(door, MPROC_FOREVER) >= 0) { ... look ...; mproc_rwlock_release(door); }
 *
 * Turns: a writer that comes stops readers that come later, and when it leaves, all readers that waited meanwhile go in before
 * the next writer. So neither side starves. Writers among each other have no order.
 *
 * Deaths: a reader that is killed, or whose thread ends, has given back. A writer that is killed, or whose thread ends, leaves
 * what may be half changed: every reader from then on is told by MPROC_RECOVERED, and so is the next writer, whose release
 * ends that: only a writer can put it right. A writer killed while it still waited for readers to leave has changed nothing.
 * A stopped process (SIGSTOP, a debugger) is not dead: what it holds it holds, also the turn to read that it was given
 * while it waited.
 *
 *                     blocks  threads  processes  in a signal handler   in a fork child
 *   create, open      no      any      any        no                    works
 *   acquire_read,
 *   acquire_write     (1)     any      any        no                    host: works; thread: -ECHILD
 *   release           (2)     holder's holder's   no                    -EPERM: the parent holds it; thread: -ECHILD
 *   holders           no      any      any        no                    host: works; thread: -ECHILD
 *   repair            no      any      any        no                    host: works; thread: -ECHILD
 *   close             no      one      any        no                    works: the parent's stays as it is
 *   (1) to its deadline; a signal does not interrupt it  (2) no
 *
 *   home     lives in             survives its creator  may be given to
 *   thread:  this process         no                    threads
 *   host:    anonymous memory     yes, while in use     fork children; processes at their start; over Unix connections
 *   shm:     a file in /dev/shm   yes, while in use     the same, and whoever may open the file
 *   unix:    not yet: MPROC_EPLACE
 *
 * Readers of one process share a counter, those of different processes share nothing while nobody writes. At most 248
 * processes use one at a time. Each costs 36 KiB and one descriptor. */
#ifndef MPROC_RWLOCK_H
#define MPROC_RWLOCK_H

#include <mproc/place.h>

MPROC_BEGIN

typedef struct mproc_rwlock_options {
    MPROC_OBJECT_OPTIONS;
    bool poison;        /* after a writer died: MPROC_EPOISONED for all until mproc_rwlock_repair, instead of MPROC_RECOVERED */
} mproc_rwlock_options;

/* A new, free one; with a name, one that mproc_rwlock_open finds while it exists. and_open: one of that name is opened as it
 * is, whatever the other options say.
 * -EEXIST: there is one of that name. -EINVAL: no place, wrong options, or an object of another type has that name.
 * MPROC_EPLACE: a server's place. -ENOMEM, -ENOSPC: no room. -EMFILE, -ENFILE: no descriptor left. */
MPROC_API MPROC_CHECK int mproc_rwlock_create(mproc_place *place, const mproc_rwlock_options *options, mproc_rwlock **ret_rwlock);
/* The named one. -ENOENT; -EINVAL; MPROC_EPLACE. */
MPROC_API MPROC_CHECK int mproc_rwlock_open(mproc_place *place, const char *name, mproc_rwlock **ret_rwlock);
/* Drops this handle, never the lock that others use. The last handle of this process gives back what the calling thread
 * acquired through it. NULL and a pointer to NULL do nothing. */
MPROC_API void mproc_rwlock_close(mproc_rwlock **rwlock);

/* For reading, beside other readers. A thread that reads already may acquire again, also while a writer waits, and
 * releases as often.
 * 0: held. MPROC_RECOVERED: held, and a writer died before: what it guards may be half changed; mproc_error_of(rwlock) has
 * the text and MPROC_ERROR_PID. Negative: not held.
 * -ETIMEDOUT: somebody writes or waits to write (MPROC_NOW: try). -EDEADLK: this thread writes. MPROC_EPOISONED: a writer
 * died and nobody repaired it yet. MPROC_ELIMIT: 248 processes use it. -EAGAIN: 32767 threads of this process read.
 * -ENOMEM. -ECHILD: of the home thread, made before a fork. MPROC_ENAMESPACE: inherited by a process of another pid or
 * time namespace. -EINVAL: no rwlock. MPROC_ECORRUPT: its memory was overwritten. */
MPROC_API MPROC_CHECK int mproc_rwlock_acquire_read(mproc_rwlock *rwlock, mproc_deadline deadline);
/* For writing, alone. As above, but -EDEADLK: this thread reads or writes; reading does not turn into writing, release
 * first. -ETIMEDOUT: somebody reads or writes. */
MPROC_API MPROC_CHECK int mproc_rwlock_acquire_write(mproc_rwlock *rwlock, mproc_deadline deadline);
/* What the calling thread acquired last. 0. -EPERM: it holds nothing of it; nothing happened. */
MPROC_API int  mproc_rwlock_release(mproc_rwlock *rwlock);
/* At this instant, for showing: how many readers there are (threads), and who writes (process and thread id; 0 and 0:
 * nobody). Any output may be NULL. */
MPROC_API int  mproc_rwlock_holders(mproc_rwlock *rwlock, unsigned *ret_readers, int *ret_writer_pid, int *ret_writer_tid);
/* Says that what a poisoned one guards is whole again; it is free afterwards. MPROC_ESTATE: not poisoned, or somebody else
 * has just repaired it. */
MPROC_API int  mproc_rwlock_repair(mproc_rwlock *rwlock);

MPROC_END_DECLS

#endif
