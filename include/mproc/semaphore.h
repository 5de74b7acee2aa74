/* SPDX-License-Identifier: BSD-2-Clause */
/* Semaphore: a number of permits. The same calls for threads and processes.
 *
 *     mproc_semaphore *slots;
 *     if (mproc_semaphore_create(NULL, 4, MPROC_WITH(mproc_semaphore_options, .bounded = true), &slots) < 0) ...
 *     MPROC_WITH_SEMAPHORE(slots, MPROC_FOREVER) { at_most_four_at_once(); }
 *
 * Three kinds; whoever waits goes on whatever process is killed where.
 *
 *   plain    counts, and knows nobody: any process may release, also more than was acquired. A permit that a process took
 *            and did not release before it died stays taken.
 *   bounded  begins with all its permits and never has more. It knows which process holds how many: the permits of one that
 *            dies are free again at once, and who holds none releases none. Within a process it does not know threads.
 *   posix    a sem_t of <semaphore.h>, by its name, shared with programs that know nothing of this library. Its promise is
 *            weaker: what a killed process held stays taken, and a waiter killed in the instant in which it is woken takes
 *            the wake with it: another one may sleep beside a free permit until the next release.
 *
 *                     blocks            threads  processes  in a signal handler  in a fork child
 *   create, open      no                any      any        no                   works
 *   acquire           to its deadline   any      any        no                   works; thread home: -ECHILD
 *   release           no                any      any (1)    no                   works (1); thread home: -ECHILD
 *   value             no                any      any        no                   works; thread home: -ECHILD
 *   close             no                one      any        no                   works: the parent's stays as it is
 *   (1) bounded: the process that acquired, and in it the handle (or another reference to the same one); a fork child holds
 *       nothing of its parent's. Permits pass to another process only in plain semaphores
 *
 *   home     lives in             survives its creator  may be given to                                    posix
 *   thread:  this process         no                    threads                                            MPROC_EPLACE
 *   host:    anonymous memory     yes, while in use     fork children; processes at their start; over      yes; not given: opened by
 *                                                       Unix connections                                   name everywhere
 *   shm:     a file in /dev/shm   yes, while in use     the same, and whoever may open the file            MPROC_EPLACE
 *   unix:    MPROC_EPLACE
 *
 * A release wakes all who wait, and as many go on as there are permits: whoever comes first, an acquire that has not waited
 * as well. No order is promised. A signal does not interrupt acquire; its deadline does.
 * A stopped process (SIGSTOP, a debugger) is not dead: what it holds it holds; stopped in the middle of acquire, it may hold
 * up the acquires of others, to their deadlines. Semaphores of this host cost 20 KiB and one
 * descriptor each. Up to 248 processes use one: more get MPROC_ELIMIT. */
#ifndef MPROC_SEMAPHORE_H
#define MPROC_SEMAPHORE_H

#include <mproc/place.h>

MPROC_BEGIN

#define MPROC_SEMAPHORE_MAX 2147483647      /* permits of one semaphore */

typedef struct mproc_semaphore_options {
    MPROC_OBJECT_OPTIONS;
    bool bounded;       /* by its initial value; the dead give back */
    bool posix;         /* name is "/name", as sem_open(3) takes it; mode 0600; stays until sem_unlink(3) */
} mproc_semaphore_options;

/* A new semaphore with `value` permits, 0 to MPROC_SEMAPHORE_MAX; with a name, one that mproc_semaphore_open finds while it
 * exists. and_open: one of that name is opened as it is, whatever value and the other options say.
 * -EINVAL: value below 0, no place, wrong options, both bounded and posix, or an object of another type has that name.
 * -EOVERFLOW: value above the maximum. -EEXIST: there is one of that name. -ENOMEM, -ENOSPC: no room. -EMFILE, -ENFILE: no
 * descriptor left. MPROC_EPLACE. shm: also what mproc_shm_create answers (mproc/shm.h). posix: also -ENAMETOOLONG and -EACCES. */
MPROC_API MPROC_CHECK int mproc_semaphore_create(mproc_place *place, int64_t value, const mproc_semaphore_options *options,
                                                 mproc_semaphore **ret_semaphore);
/* The named one. thread: and host: know the names given in this process (and before its fork), shm: those of all programs.
 * -ENOENT; -EINVAL: no name, or an object of another type has it. shm: also what
 * mproc_shm_open answers. */
MPROC_API MPROC_CHECK int mproc_semaphore_open(mproc_place *place, const char *name, mproc_semaphore **ret_semaphore);
/* One that exists for <semaphore.h>, whoever made it. -ENOENT, -EACCES, -EINVAL, -ENAMETOOLONG, -ENOMEM, -EMFILE. */
MPROC_API MPROC_CHECK int mproc_semaphore_open_posix(const char *name, mproc_semaphore **ret_semaphore);
/* Drops this handle, never the semaphore that others use. A bounded one's last handle in this process gives back what the
 * process holds by it. NULL and a pointer to NULL do nothing. */
MPROC_API void mproc_semaphore_close(mproc_semaphore **semaphore);

/* 0: one permit is the caller's. -ETIMEDOUT: none was free (MPROC_NOW: try). MPROC_ELIMIT: 248 other processes use it; who got
 * one can also release. -ECHILD: of the home thread, made before a fork. -EINVAL: no semaphore. MPROC_ECORRUPT: its memory was overwritten. */
MPROC_API MPROC_CHECK int mproc_semaphore_acquire(mproc_semaphore *semaphore, mproc_deadline deadline);
/* Gives back `count` permits at once (posix: one after the other), or none.
 * plain: -EOVERFLOW: there would be more than MPROC_SEMAPHORE_MAX. bounded: -ERANGE: there would be more than at first;
 * -EPERM: this process does not hold so many. -EINVAL: 0 permits, or no semaphore. MPROC_ELIMIT, -ECHILD as acquire. */
MPROC_API int  mproc_semaphore_release(mproc_semaphore *semaphore, unsigned count);
/* How many permits are free at this instant: for showing, not for deciding. */
MPROC_API int  mproc_semaphore_value(mproc_semaphore *semaphore, unsigned *ret_value);

/* Scope: MPROC_WITH_SEMAPHORE(semaphore, MPROC_FOREVER) { ... } runs the body with a permit; not at all when none was got.
 * Releases on break, return and goto out of the body; not on longjmp. */
MPROC_API mproc_semaphore *mproc__semaphore_enter(mproc_semaphore *semaphore, mproc_deadline deadline);
MPROC_API void mproc__semaphore_leave(mproc_semaphore **semaphore);
#define MPROC_WITH_SEMAPHORE(semaphore, deadline) \
    for (mproc_semaphore *mproc__held __attribute__((cleanup(mproc__semaphore_leave))) = \
    mproc__semaphore_enter(semaphore, deadline), *mproc__once = mproc__held; mproc__once; mproc__once = NULL)

MPROC_END_DECLS

#endif
