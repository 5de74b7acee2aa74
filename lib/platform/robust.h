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
/* 0: held. MPROC_RECOVERED: held, the owner died; the mutex is already consistent again. -ETIMEDOUT; -EDEADLK: this
 * thread holds it; MPROC_ECORRUPT. Tries, spins for mproc__spin_budget(), then sleeps in the kernel. */
int mproc__robust_acquire(mproc__robust_shared *robust, mproc_deadline deadline);
/* 0, or -EPERM: not this thread's. */
int mproc__robust_release(mproc__robust_shared *robust);
/* The word the kernel marks: owner's tid | FUTEX_WAITERS | FUTEX_OWNER_DIED. */
_Atomic uint32_t *mproc__robust_word(const mproc__robust_shared *robust);
bool mproc__robust_is_mine(const mproc__robust_shared *robust);

#endif
