/* SPDX-License-Identifier: BSD-2-Clause */
/* The robust mutex that shared structures embed: acquired again after its owner's death, consistent at once. L0. */
#ifndef MPROC__PLATFORM_ROBUST_H
#define MPROC__PLATFORM_ROBUST_H

#include "platform/base.h"

#include <pthread.h>

#include <mproc/deadline.h>

typedef struct mproc__robust_shared {
    pthread_mutex_t mutex; /* written by glibc and, at the owner's death, by the kernel */
} mproc__robust_shared;

void mproc__robust_init(mproc__robust_shared *robust, bool shared);
/* What happens when trylock answered `error`, and when unlock failed. */
int mproc__robust_acquire_slow(mproc__robust_shared *robust, int error, mproc_deadline deadline);
int mproc__robust_not_mine(void);

/* 0: held. MPROC_RECOVERED: held, the owner died; the mutex is already consistent again. -ETIMEDOUT; -EDEADLK: this
 * thread holds it; MPROC_ECORRUPT. Tries, spins for mproc__spin_budget(), then sleeps in the kernel. Inline like its
 * counterpart: the calls in between would be a tenth of an uncontended hold. */
static inline int mproc__robust_acquire(mproc__robust_shared *robust, mproc_deadline deadline)
{
    int error = pthread_mutex_trylock(&robust->mutex);
    return MPROC__LIKELY(error == 0) ? 0 : mproc__robust_acquire_slow(robust, error, deadline);
}
/* 0, or -EPERM: not this thread's. */
static inline int mproc__robust_release(mproc__robust_shared *robust)
{
    return MPROC__LIKELY(pthread_mutex_unlock(&robust->mutex) == 0) ? 0 : mproc__robust_not_mine();
}
/* The word the kernel marks: owner's tid | FUTEX_WAITERS | FUTEX_OWNER_DIED. */
_Atomic uint32_t *mproc__robust_word(const mproc__robust_shared *robust);
bool mproc__robust_is_mine(const mproc__robust_shared *robust);

#endif
