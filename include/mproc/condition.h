/* SPDX-License-Identifier: BSD-2-Clause */
/* Condition: wait until somebody who holds the lock says that something has changed.
 *
 *     mproc_condition_wait_for(filled, has_items, queue, MPROC_FOREVER);           // with mproc_condition_lock(filled) held
 *     ...
 *     MPROC_WITH_LOCK(mproc_condition_lock(filled), MPROC_FOREVER) {
 *         add_item(queue);
 *         mproc_condition_notify(filled, 1);
 *     }
 *
 * Every condition has a lock: an own recursive one, or a given one, which several conditions may share. Waiting gives the lock
 * up, however often the thread has acquired it, and takes it back as often before it returns. notify(n) ends exactly the n
 * waits that have lasted longest, of those that wait at that moment; it is never stored up for a later one. A waiter that was
 * killed is passed over, and one that was notified and killed before it returned passes its notification on, to one that
 * waited already when notify was called.
 *
 *                     blocks                        threads   processes  in a signal handler  in a fork child
 *   create, open      no                            any       any        no                   works
 *   lock              no                            any       any        no                   works; the lock may say -ECHILD
 *   wait, wait_for    to the deadline, then until   owner's   owner's    no                   -EPERM: the parent holds the
 *                     the lock is free                                                        lock (1)
 *   notify            no                            owner's   owner's    no                   -EPERM (1)
 *   interrupt         no                            any       -          that is its place    works
 *   close             no                            one       any        no                   works: the parent's stays as it is
 *   (1) thread home: -ECHILD
 *
 *   home     lives in             survives its creator  may be given to
 *   thread:  this process         no                    threads
 *   host:    anonymous memory     yes, while in use     fork children; processes at their start; over Unix connections
 *   shm:     a file in /dev/shm   yes, while in use     the same, and whoever may open the file
 *   unix:    not yet: MPROC_EPLACE
 *
 * A given lock goes with its condition wherever that is given. In shm: places a condition has its own: who opens its file
 * could not find another. At most 240 waits at a time in one condition. A handle that is closed while another thread waits
 * on it lasts until that wait has ended. A condition of this host costs 24 KiB and one descriptor. */
#ifndef MPROC_CONDITION_H
#define MPROC_CONDITION_H

#include <mproc/lock.h>

MPROC_BEGIN

typedef struct mproc_condition_options {
    MPROC_OBJECT_OPTIONS;
    mproc_lock *lock;   /* its lock, which it keeps; NULL: an own recursive one. Both thread:, or a condition of host: with a
                         * lock of host: or shm: */
} mproc_condition_options;
typedef bool mproc_condition_fn(void *context);              /* a predicate: runs in the caller, lock held */

/* A new one, nobody waiting. and_open: one of that name is opened as it is, with the lock it has.
 * -EINVAL: no place, wrong options, a lock that is none, of another home or given in a shm: place, or an object of
 * another type has that name.
 * -EEXIST. MPROC_EPLACE: servers have none yet. -ENOMEM, -ENOSPC, -EMFILE, -ENFILE. shm: also what mproc_shm_create answers
 * (mproc/shm.h). */
MPROC_API MPROC_CHECK int mproc_condition_create(mproc_place *place, const mproc_condition_options *options, mproc_condition **ret_condition);
/* The named one. thread: and host: know the names given in this process (and before its fork), shm: those of all programs.
 * -ENOENT; -EINVAL; MPROC_EPLACE; shm: also what mproc_shm_open answers (mproc/shm.h). */
MPROC_API MPROC_CHECK int mproc_condition_open(mproc_place *place, const char *name, mproc_condition **ret_condition);
/* Drops this handle, never the condition that others use. NULL and a pointer to NULL do nothing. */
MPROC_API void mproc_condition_close(mproc_condition **condition);

/* Its lock, borrowed: valid as long as this handle, not to be closed. NULL: not a condition. */
MPROC_API mproc_lock *mproc_condition_lock(mproc_condition *condition);

/* Waits for a notification. The calling thread must hold the lock, and holds it again when this returns, in every case but the
 * two last ones below:
 * 0: notified, also when that happened at the instant of the deadline.
 * MPROC_RECOVERED: the lock's last owner died holding it. Told once: check what the lock guards. Whether this wait was notified
 * is not told; if it was, the notification is used up.
 * -ETIMEDOUT: not notified by the deadline; with MPROC_NOW or a past one the lock is given up and taken again all the same.
 * -EINTR: a signal handler asked for it by mproc_interrupt.
 * -EPERM: this thread does not hold the lock; nothing happened. MPROC_ELIMIT: 240 others wait, or 248 processes use it; nothing
 * happened. -ECHILD: of the home thread, made before a fork; nothing happened. -EINVAL: no condition.
 * MPROC_EPOISONED: an owner of the lock died, and the lock is a poisoned one: NOT held. MPROC_ECORRUPT: NOT held. */
MPROC_API int  mproc_condition_wait(mproc_condition *condition, mproc_deadline deadline);
/* Waits until fn(context) is true: 0. It is asked with the lock held, first at once, then after each notification, and a last
 * time when the deadline has passed: -ETIMEDOUT then says that it was false. A past deadline: asked once. Others as
 * mproc_condition_wait, without asking again; -EINVAL: no fn. */
MPROC_API int  mproc_condition_wait_for(mproc_condition *condition, mproc_condition_fn *fn, void *context, mproc_deadline deadline);
/* Ends the `count` oldest waits (UINT_MAX: all; 0: none), as soon as each can have the lock. 0, however many waited.
 * -EPERM: this thread does not hold the lock. MPROC_ELIMIT: 248 processes use the condition. -ECHILD, -EINVAL. */
MPROC_API int  mproc_condition_notify(mproc_condition *condition, unsigned count);

/* In a signal handler: ends the wait or wait_for of any condition that this thread is in, with -EINTR and the lock held again, as
 * soon as it can have the lock; also with SA_RESTART, and also when the signal came just before the thread fell asleep.
 * Nothing happens outside of a wait, and nothing is stored up; a notification that came first counts: 0. Signals that merely
 * run a handler do not end waits. */
MPROC_API void mproc_interrupt(void);

MPROC_END_DECLS

#endif
