/* SPDX-License-Identifier: BSD-2-Clause */
/* Lock: the same calls for threads, processes and machines.
 *
 *     mproc_lock *lock;
 *     if (mproc_lock_create(NULL, NULL, &lock) < 0) ...
 *     MPROC_WITH_LOCK(lock, MPROC_FOREVER) { counter->value++; }
 *
 * One owner at a time: a thread of a process. An owner that is killed, or whose thread ends, never blocks the others: the
 * next one gets the lock and is told, by MPROC_RECOVERED, that what the lock guards may be half changed.
 *
 *                     blocks            threads   processes  in a signal handler   in a fork child
 *   create, open      on a server only  any       any        no                    works
 *   acquire           to its deadline   any       any        no                    host, server: works; thread: -ECHILD
 *   release, token    on a server only  owner's   owner's    no                    -EPERM: the parent owns it (1)
 *   is_held           on a server only  any       any        no                    works
 *   owner, repair     on a server only  any       any        no                    host, server: works; thread: -ECHILD
 *   close             on a server only  one       any        no                    works: the parent's stays as it is
 *   (1) thread home: -ECHILD
 *
 *   home     lives in             survives its creator  may be given to
 *   thread:  this process         no                    threads
 *   host:    anonymous memory     yes, while in use     fork children; processes at their start; over Unix connections
 *   shm:     a file in /dev/shm   yes, while in use     the same, and whoever may open the file
 *   unix:    managerd             yes                   whoever may open the place
 *
 * A signal does not interrupt acquire on thread:, host: and shm:; its deadline does. The owner's death is seen at once. A stopped
 * owner (SIGSTOP, a debugger) is not dead: it holds. Locks of this host cost 20 KiB and one descriptor each. */
#ifndef MPROC_LOCK_H
#define MPROC_LOCK_H

#include <mproc/place.h>

MPROC_BEGIN

typedef struct mproc_lock_options {
    MPROC_OBJECT_OPTIONS;
    bool recursive;     /* its owner may acquire it again, by any handle, and releases it as often */
    bool poison;        /* after its owner died: MPROC_EPOISONED for all until mproc_lock_repair, instead of MPROC_RECOVERED once */
} mproc_lock_options;

/* A new, free lock; with a name, one that mproc_lock_open finds while it exists. and_open: one of that name is opened as it
 * is, whatever the other options say.
 * -EEXIST: there is one of that name. -EINVAL: no place, wrong options, or an object of another type has that name.
 * -ENOMEM, -ENOSPC: no room. -EMFILE, -ENFILE: no descriptor left; close something or raise the limit. */
MPROC_API MPROC_CHECK int mproc_lock_create(mproc_place *place, const mproc_lock_options *options, mproc_lock **ret_lock);
/* The named one. thread: and host: know the names given in this process (and before its fork), shm: those of all programs.
 * -ENOENT; -EINVAL; shm: also what mproc_shm_open answers (mproc/shm.h). */
MPROC_API MPROC_CHECK int mproc_lock_open(mproc_place *place, const char *name, mproc_lock **ret_lock);
/* Drops this handle, never the lock that others use. The last handle of this process releases the lock first if the
 * calling thread owns it. NULL and a pointer to NULL do nothing. */
MPROC_API void mproc_lock_close(mproc_lock **lock);

/* 0: held. MPROC_RECOVERED: held, and its last owner died holding it: check what it guards, then go on as with 0; told
 * once. mproc_error_of(lock) has the text and MPROC_ERROR_PID, which is missing if the owner died in the first or last
 * instant of its hold. Negative: not held.
 * -ETIMEDOUT: somebody has it (MPROC_NOW: try). -EDEADLK: this thread has it, through whatever handle, and it is not
 * recursive. -EAGAIN: recursive, and acquired 4294967296 times. MPROC_EPOISONED: an owner died and nobody repaired it
 * yet. -ECHILD: of the home thread, made before a fork. MPROC_ENAMESPACE: inherited by a process of another pid or time
 * namespace. -EINVAL: no lock. MPROC_ECORRUPT: its memory was overwritten. */
MPROC_API MPROC_CHECK int mproc_lock_acquire(mproc_lock *lock, mproc_deadline deadline);
/* 0. -EPERM: the calling thread does not own it; nothing happened. A lock cannot be released for somebody else. */
MPROC_API int  mproc_lock_release(mproc_lock *lock);
/* By anybody at this instant; false also for what is no lock. For showing, not for deciding. */
MPROC_API bool mproc_lock_is_held(const mproc_lock *lock);
/* Who holds it at this instant: process and thread id as the system has them; 0 and 0: nobody. Either output may be NULL.
 * For showing. MPROC_EPLACE: a server's lock, which is a session's. -ECHILD; -EINVAL. */
MPROC_API int  mproc_lock_owner(mproc_lock *lock, int *ret_pid, int *ret_tid);
/* Says that what a poisoned lock guards is whole again; nobody can acquire it meanwhile, so the program decides who
 * repairs. The lock is free afterwards. MPROC_ESTATE: not poisoned, or somebody else has just repaired it. */
MPROC_API int  mproc_lock_repair(mproc_lock *lock);
/* The number of the calling thread's present hold: larger than that of every hold before, dead owners included. Store it
 * with what you write outside, and let the outside refuse smaller ones. -EPERM: the calling thread does not own the lock. */
MPROC_API int  mproc_lock_token(mproc_lock *lock, uint64_t *ret_token);

/* Scope: MPROC_WITH_LOCK(lock, MPROC_FOREVER) { ... } runs the body held, also when RECOVERED; not at all when not got.
 * Releases on break, return and goto out of the body; not on longjmp. */
MPROC_API mproc_lock *mproc__lock_enter(mproc_lock *lock, mproc_deadline deadline);
MPROC_API void mproc__lock_leave(mproc_lock **lock);
#define MPROC_WITH_LOCK(lock, deadline) for (mproc_lock *mproc__held __attribute__((cleanup(mproc__lock_leave))) = \
    mproc__lock_enter(lock, deadline), *mproc__once = mproc__held; mproc__once; mproc__once = NULL)

MPROC_END_DECLS

#endif
