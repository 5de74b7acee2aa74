/* SPDX-License-Identifier: BSD-2-Clause */
/* The robust mutex that shared structures embed: acquired again after its owner's death, consistent at once. L0.
 *
 * It is a pthread mutex in every byte, so that a library built without the shortcut below, a sanitizer's build and ours
 * can use the same one at the same time. The shortcut (robust_list.h) takes and gives back a free one without a call
 * into libc; whatever is not free goes to libc. */
#ifndef MPROC__PLATFORM_ROBUST_H
#define MPROC__PLATFORM_ROBUST_H

#include "platform/base.h"

#include <pthread.h>

#include <mproc/deadline.h>

typedef struct mproc__robust_shared {
    pthread_mutex_t mutex; /* written by its owner and, at the owner's death, by the kernel */
} mproc__robust_shared;

#include "platform/robust_list.h"

/* 0; -ENOSYS: the kernel does not know of this thread's robust mutexes (set_robust_list is denied or missing: some
 * sandboxes, emulators of other machines), so nobody would be told of its death. */
int mproc__robust_check(void);
void mproc__robust_init(mproc__robust_shared *robust, bool shared);
/* What happens when the lock was not free, and when it could not be given back the short way. */
int mproc__robust_acquire_slow(mproc__robust_shared *robust, mproc_deadline deadline);
int mproc__robust_release_slow(mproc__robust_shared *robust);
/* The halves of the former, for a caller that has something to do before a sleep: tries and spins (-EBUSY: still not
 * free); sleeps, which is not for a deadline that has passed. */
int mproc__robust_acquire_awake(mproc__robust_shared *robust, mproc_deadline deadline);
int mproc__robust_acquire_asleep(mproc__robust_shared *robust, mproc_deadline deadline);
/* For a caller that sleeps in slices: within one of this length a lock that nobody can hold is told from one that is held. */
enum { MPROC__ROBUST_SLICE_MS = 600 };

/* 0: held. MPROC_RECOVERED: held, the owner died; the mutex is already consistent again. -ETIMEDOUT; -EDEADLK: this
 * thread holds it; MPROC_ECORRUPT. Tries, spins for mproc__spin_budget(), then sleeps in the kernel. */
static inline int mproc__robust_acquire(mproc__robust_shared *robust, mproc_deadline deadline)
{
    return MPROC__LIKELY(mproc__robust_take(robust)) ? 0 : mproc__robust_acquire_slow(robust, deadline);
}
/* 0, or -EPERM: not this thread's. */
static inline int mproc__robust_release(mproc__robust_shared *robust)
{
    return MPROC__LIKELY(mproc__robust_give(robust)) ? 0 : mproc__robust_release_slow(robust);
}
/* The word the kernel marks: owner's tid | FUTEX_WAITERS | FUTEX_OWNER_DIED. */
_Atomic uint32_t *mproc__robust_word(const mproc__robust_shared *robust);
bool mproc__robust_is_mine(const mproc__robust_shared *robust);
/* Whether it is on this thread's list: it was taken, through this mapping, and not given back, whatever its word says now.
 * Unmapping it would cut the kernel's walk through that list, and the thread's next lock would write to what is no longer
 * there. Where the list cannot be read: whether this thread holds it. */
bool mproc__robust_is_linked(const mproc__robust_shared *robust);
/* Takes it off that list and leaves its word alone, which names somebody else. Only when this thread is known
 * (mproc__me_look). */
void mproc__robust_forget(mproc__robust_shared *robust);

#endif
