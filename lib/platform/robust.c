/* SPDX-License-Identifier: BSD-2-Clause */
/* The robust mutex: glibc's, because the kernel's list of them has one owner a thread, and it is glibc. What happens
 * when the short way of robust_list.h is not enough. */
#include "platform/base.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
#if MPROC__THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

#include "platform/platform.h"
#include "platform/robust.h"
#include "platform/story.h"

/* Pauses between two looks at a lock that is held: rows of them, doubling. Each look takes the line from the owner, which
 * then holds longer: with two contenders on two CPUs rows up to 128 gave 1.6 (any CPU) to 2.5 (pinned) times the holds a
 * second of libc's mutex, rows up to 16 gave 1.0 to 1.4. A row never is longer than the wait before it, and the
 * longest is a quarter of a futex wake. */
enum { ROBUST_PAUSES_FIRST = 4, ROBUST_PAUSES_MAX = 128 };

/* glibc's names for what we make of a mutex, and the bit that says who may map it. */
enum { ROBUST_KIND = 16, ROBUST_KIND_SHARED = 128 };

/* Into a wait, when something has gone wrong if it is not over; MEM-2 wants damage told within a second. And from then on:
 * two deaths at once can still take a wake along (robust_list.h: a sleeper's, and that of an owner between taking the lock
 * and obeying the note). 100 sleepers use under a thousandth of a CPU for it. */
enum { ROBUST_LOOK_MS = 500, ROBUST_LOOK_AGAIN_MS = 5000 };
_Static_assert((int)ROBUST_LOOK_MS < (int)MPROC__ROBUST_SLICE_MS, "there is a look in every such slice");

/* Where even the question is denied, nobody knows, and the registration is taken for done. */
int mproc__robust_check(void)
{
    struct robust_list_head *list = NULL;
    size_t size_bytes = 0;
    if (mproc__me_is_true(&mproc__me_now) || syscall(SYS_get_robust_list, 0, &list, &size_bytes) != 0 || list)
        return 0;
    return mproc__fail(-ENOSYS,
                       "set_robust_list is denied or missing here: the deaths of this process would go "
                       "unnoticed. The place thread: needs no such thing");
}

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
        mproc__robust_look_at_note(robust);
        return 0;
    case EOWNERDEAD:
        /* At once: an owner who dies before this call would leave the mutex unusable for good (ENOTRECOVERABLE). That
         * the data needs a look is told by the return value and by words of the caller's beside the mutex. */
        error = pthread_mutex_consistent(&robust->mutex);
        mproc__robust_look_at_note(robust);
        if (error == 0)
            return MPROC_RECOVERED;
        (void)mproc__robust_release(robust);
        return mproc__fail(MPROC_ECORRUPT, "the lock was overwritten");
    case EBUSY:
    case ETIMEDOUT:
        return -error;
    case EDEADLK:
        return mproc__fail(-EDEADLK, "this thread holds the lock already");
    default:
        return mproc__fail(MPROC_ECORRUPT, "the lock is not usable: %s", mproc_strerror(-error));
    }
}

/* What libc decides by; anything else there and it would do other things than we mean, or abort. */
static bool robust_is_whole(const mproc__robust_shared *robust)
{
    int kind = robust->mutex.__data.__kind & ~ROBUST_KIND_SHARED;
    return MPROC__LIKELY(kind == ROBUST_KIND);
}

/* A look at the kind each time: a peer may have written there since the last one. */
static int robust_try(mproc__robust_shared *robust)
{
    return robust_answer(robust, robust_is_whole(robust) ? pthread_mutex_trylock(&robust->mutex) : EINVAL);
}

/* Looks at the word, with pauses doubling in between, until it seems free; -EBUSY when the budget is used up. */
static int robust_spin(mproc__robust_shared *robust)
{
    unsigned budget = mproc__spin_budget();
    int result = -EBUSY;

    for (unsigned row = ROBUST_PAUSES_FIRST; budget >= row && result == -EBUSY;
         row = row < ROBUST_PAUSES_MAX ? row * 2 : row) {
        for (unsigned i = 0; i < row; i++)
            mproc__pause();
        budget -= row;
        if (robust_owner(robust) == 0)
            result = mproc__robust_take(robust) ? 0 : robust_try(robust);
    }
    return result;
}

#if MPROC__THREAD_SANITIZER
/* There where the sanitizer follows clocklock; those of gcc 12 and clang 14 do not, and must be told who has the mutex. */
extern int __interceptor_pthread_mutex_clocklock(void) __attribute__((weak));

static void robust_slept(pthread_mutex_t *mutex, int error)
{
    if (__interceptor_pthread_mutex_clocklock || (error != 0 && error != EOWNERDEAD))
        return;
    __tsan_mutex_pre_lock(mutex, 0);
    __tsan_mutex_post_lock(mutex, 0, 0);
}
#else
static inline void robust_slept(pthread_mutex_t *mutex, int error)
{
    (void)mutex;
    (void)error;
}
#endif

static int robust_sleep_until(mproc__robust_shared *robust, mproc_deadline deadline)
{
    struct timespec until = mproc__deadline_timespec(deadline);
    if (!robust_is_whole(robust))
        return robust_answer(robust, EINVAL);
    int error = pthread_mutex_clocklock(&robust->mutex, CLOCK_MONOTONIC, &until);
    robust_slept(&robust->mutex, error);
    return robust_answer(robust, error);
}

/* The word names a thread that does not exist. The kernel takes the name of one that dies (not of one that execs beside
 * the first thread) out of the word before it gives the number away, so the word was overwritten, or that thread held
 * more mutexes than the kernel looks after. Or it says that somebody waits for nobody, which nobody ever writes: a
 * release leaves 0, a death the mark of a death. */
static bool robust_owner_is_nobody(const mproc__robust_shared *robust)
{
    pid_t owner = robust_owner(robust);
    if (owner == 0)
        return atomic_load_explicit(mproc__robust_word(robust), memory_order_relaxed) == FUTEX_WAITERS;
    return kill(owner, 0) != 0 && errno == ESRCH && robust_owner(robust) == owner;
}

/* With looks, so that nobody waits for a nobody for ever. */
static int robust_sleep(mproc__robust_shared *robust, mproc_deadline deadline)
{
    mproc_deadline look = mproc_after_ms(ROBUST_LOOK_MS);
    while (look.ns < deadline.ns) {
        int result = robust_sleep_until(robust, look);
        if (result != -ETIMEDOUT)
            return result;
        if (!robust_is_whole(robust))
            return robust_answer(robust, EINVAL);
        if (robust_owner_is_nobody(robust))
            return mproc__fail(MPROC_ECORRUPT, "the lock is held by a thread that does not exist");
        look = mproc_after_ms(ROBUST_LOOK_AGAIN_MS);
    }
    return robust_sleep_until(robust, deadline);
}

/* A look before the try: a second failing exchange right after the caller's would take the line from the owner again. */
int mproc__robust_acquire_awake(mproc__robust_shared *robust, mproc_deadline deadline)
{
    if (!mproc__me_is_true(&mproc__me_now))
        mproc__me_look();
    if (!robust_is_whole(robust))
        return robust_answer(robust, EINVAL);
    int result = robust_owner(robust) == 0 ? robust_try(robust) : -EBUSY;
    if (result != -EBUSY)
        return result;
    if (mproc__robust_is_mine(robust))
        return robust_answer(robust, EDEADLK);
    return deadline.ns > 0 ? robust_spin(robust) : result;
}

int mproc__robust_acquire_asleep(mproc__robust_shared *robust, mproc_deadline deadline)
{
    int result = robust_sleep(robust, deadline);
    return result == -ETIMEDOUT ? mproc__fail_plain(-ETIMEDOUT) : result;
}

int mproc__robust_acquire_slow(mproc__robust_shared *robust, mproc_deadline deadline)
{
    int result = mproc__robust_acquire_awake(robust, deadline);
    if (result != -EBUSY)
        return result;
    return deadline.ns > 0 ? mproc__robust_acquire_asleep(robust, deadline) : mproc__fail_plain(-ETIMEDOUT);
}

/* The short way gives up when the thread does not know itself yet, or when the word does not name it. Then libc would say
 * EPERM, if it is asked about a mutex as we make them; of one whose kind was overwritten, too, it would end a transaction
 * that never began or restore a priority (signals, asserts). And a lock that was taken by us and overwritten since must
 * come off our list: its memory may be gone at the next lock. */
int mproc__robust_release_slow(mproc__robust_shared *robust)
{
    bool given;
    if (mproc__me_is_true(&mproc__me_now) || mproc__me_look()) {
        given = mproc__robust_give(robust);
        if (!given)
            mproc__robust_forget(robust);
    } else {
        given = robust_is_whole(robust) && pthread_mutex_unlock(&robust->mutex) == 0;
    }
    return given ? 0 : mproc__fail(-EPERM, "this thread does not hold the lock");
}
