/* SPDX-License-Identifier: BSD-2-Clause */
/* The robust mutex. glibc's, because the kernel's robust list has one owner per thread, and it is glibc. */
#include "platform/base.h"

#include <linux/futex.h>

#include "platform/platform.h"
#include "platform/robust.h"
#include "platform/story.h"

/* The longest row of pauses between two looks. Longer rows win when both sides are pinned and lose when they are not;
 * measured with two contenders. */
enum { ROBUST_PAUSES_MAX = 16 };

void mproc__robust_init(mproc__robust_shared *robust, bool shared)
{
    pthread_mutexattr_t attributes;

    MPROC__ASSERT(pthread_mutexattr_init(&attributes) == 0);
    MPROC__ASSERT(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0);
    MPROC__ASSERT(pthread_mutexattr_setpshared(&attributes, shared ? PTHREAD_PROCESS_SHARED
                                                                   : PTHREAD_PROCESS_PRIVATE) == 0);
    MPROC__ASSERT(pthread_mutex_init(&robust->mutex, &attributes) == 0);
    pthread_mutexattr_destroy(&attributes);
}

/* glibc's layout: the lock word is the mutex's first member, on every architecture, since robust mutexes exist. */
_Atomic uint32_t *mproc__robust_word(const mproc__robust_shared *robust)
{
    return (_Atomic uint32_t *)(void *)&((mproc__robust_shared *)robust)->mutex.__data.__lock;
}

static pid_t robust_owner(const mproc__robust_shared *robust)
{
    return (pid_t)(atomic_load_explicit(mproc__robust_word(robust), memory_order_relaxed) & FUTEX_TID_MASK);
}

bool mproc__robust_is_mine(const mproc__robust_shared *robust)
{
    return robust_owner(robust) == mproc__tid();
}

/* What a pthread call answered, in our words. EBUSY stays, negative. */
static int robust_answer(mproc__robust_shared *robust, int error)
{
    switch (error) {
    case 0:
        return 0;
    case EOWNERDEAD:
        /* At once: an owner who dies before this call would leave the mutex unusable for good (ENOTRECOVERABLE). That
         * the data needs a look is told by the return value and by words of the caller's beside the mutex. */
        MPROC__ASSERT(pthread_mutex_consistent(&robust->mutex) == 0);
        return MPROC_RECOVERED;
    case EBUSY:
    case ETIMEDOUT:
        return -error;
    case EDEADLK:
        return mproc__fail(-EDEADLK, "this thread holds the lock already");
    default:
        return mproc__fail(MPROC_ECORRUPT, "the lock is not usable: %s", mproc_strerror(-error));
    }
}

static int robust_try(mproc__robust_shared *robust)
{
    return robust_answer(robust, pthread_mutex_trylock(&robust->mutex));
}

/* Looks at the word, with pauses doubling in between, until it seems free; -EBUSY when the budget is used up. */
static int robust_spin(mproc__robust_shared *robust)
{
    unsigned budget = mproc__spin_budget();
    int result = -EBUSY;

    for (unsigned row = 1; budget >= row && result == -EBUSY; row = row < ROBUST_PAUSES_MAX ? row * 2 : row) {
        for (unsigned i = 0; i < row; i++)
            mproc__pause();
        budget -= row;
        if (robust_owner(robust) == 0)
            result = robust_try(robust);
    }
    return result;
}

static int robust_sleep(mproc__robust_shared *robust, mproc_deadline deadline)
{
    struct timespec until;
    int error;

    if (deadline.ns == INT64_MAX) {
        error = pthread_mutex_lock(&robust->mutex);
    } else {
        until = mproc__deadline_timespec(deadline);
        error = pthread_mutex_clocklock(&robust->mutex, CLOCK_MONOTONIC, &until);
    }
    return robust_answer(robust, error);
}

int mproc__robust_acquire_slow(mproc__robust_shared *robust, int error, mproc_deadline deadline)
{
    int result = robust_answer(robust, error);

    if (result != -EBUSY)
        return result;
    if (mproc__robust_is_mine(robust))
        return robust_answer(robust, EDEADLK);
    if (deadline.ns > 0)
        result = robust_spin(robust);
    if (result == -EBUSY && deadline.ns > 0)
        result = robust_sleep(robust, deadline);
    return result == -EBUSY || result == -ETIMEDOUT ? mproc__fail_plain(-ETIMEDOUT) : result;
}

int mproc__robust_not_mine(void)
{
    return mproc__fail(-EPERM, "this thread does not hold the lock");
}
