/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks of this process's threads and of this host, acquired and released: a robust mutex with a few words beside it. */
#include "platform/base.h"

#include <signal.h>
#include <unistd.h>

#include "platform/story.h"
#include "sync/lock_inside.h"

typedef mproc__local_lock local_lock;
typedef mproc__lock_shared lock_shared;

static inline local_lock *local_of(const mproc_lock *lock)
{
    return mproc__lock_local_of(lock);
}

static int local_story(local_lock *lock, int code)
{
    return code == -ETIMEDOUT ? code : mproc__handle_story(&lock->base.handle, code);
}

/* Every call but the quick ones begins with it: a lock of this process's threads is none in a fork child, and owner ids
 * mean nothing in a child of another namespace. */
static int local_check(local_lock *lock)
{
    uint64_t now = mproc__incarnation();
    if (MPROC__LIKELY(atomic_load_explicit(&lock->checked_in, memory_order_relaxed) == now))
        return 0;
    int code = mproc__segment_enter(lock->segment);
    if (code < 0)
        return local_story(lock, code);
    atomic_store_explicit(&lock->checked_in, now, memory_order_relaxed);
    return 0;
}

/* ---- acquire ---- */

/* Right after the mutex: this hold gets its number and its owner. */
static inline void hold_begin(lock_shared *shared, uint64_t who)
{
    uint64_t token = atomic_load_explicit(&shared->token, memory_order_relaxed);
    atomic_store_explicit(&shared->token, token + 1, memory_order_relaxed);
    atomic_store_explicit(&shared->owner, who, memory_order_relaxed);
}

static void hold_begin_slow(lock_shared *shared, uint64_t who)
{
    atomic_store_explicit(&shared->depth, 0, memory_order_relaxed);
    hold_begin(shared, who);
}

static uint64_t who_slow(void)
{
    return (uint32_t)mproc__pid() | (uint64_t)mproc__tid() << 32;
}

static int dead_story(local_lock *lock, int code, uint64_t who)
{
    uint32_t pid = (uint32_t)who;
    if (pid)
        mproc__fail(code, "process %u died or its thread %u ended while holding the lock", (unsigned)pid,
                    (unsigned)(who >> 32));
    else
        mproc__fail(code, "the owner died while acquiring or releasing the lock");
    if (pid)
        mproc__fail_number(MPROC_ERROR_PID, pid);
    return mproc__handle_story(&lock->base.handle, code);
}

/* The mutex is held. */
static int poison_answer(local_lock *lock)
{
    uint64_t dead = atomic_load_explicit(&lock->shared->dead, memory_order_relaxed);
    mproc__robust_release(&lock->shared->robust);
    return dead_story(lock, MPROC_EPOISONED, dead);
}

/* The mutex is held: from here on nobody gets the lock before it is repaired. */
static void poison(lock_shared *shared, uint64_t dead)
{
    atomic_store_explicit(&shared->dead, dead, memory_order_relaxed);
    atomic_store_explicit(&shared->owner, 0, memory_order_relaxed);
    atomic_store_explicit(&shared->poisoned, 1, memory_order_release);
}

/* The mutex is held and its last owner died with it. */
static int acquire_after_death(local_lock *lock)
{
    lock_shared *shared = lock->shared;
    uint64_t dead = atomic_load_explicit(&shared->owner, memory_order_relaxed);
    if (!(lock->options & MPROC__LOCK_POISON)) {
        hold_begin_slow(shared, who_slow());
        return dead_story(lock, MPROC_RECOVERED, dead);
    }
    if (!atomic_load_explicit(&shared->poisoned, memory_order_relaxed))
        poison(shared, dead);
    return poison_answer(lock);
}

/* The mutex is held and nobody died with it. */
static int hold_or_poison(local_lock *lock, uint64_t who)
{
    if (MPROC__UNLIKELY(atomic_load_explicit(&lock->shared->poisoned, memory_order_relaxed)))
        return poison_answer(lock);
    hold_begin_slow(lock->shared, who);
    return 0;
}

static int acquire_asleep(local_lock *lock, mproc_deadline deadline)
{
    int slot = mproc__waiting_begin(lock->segment, MPROC__WAIT_ACQUIRE);
    int code = mproc__robust_acquire_asleep(&lock->shared->robust, deadline);
    mproc__waiting_end(lock->segment, slot);
    return code;
}

static int acquire_mutex(local_lock *lock, mproc_deadline deadline)
{
    int code = mproc__robust_acquire_awake(&lock->shared->robust, deadline);
    if (code == -EBUSY)
        code = deadline.ns > 0 ? acquire_asleep(lock, deadline) : mproc__fail_plain(-ETIMEDOUT);
    if (code == MPROC_RECOVERED)
        return acquire_after_death(lock);
    return code < 0 ? local_story(lock, code) : hold_or_poison(lock, who_slow());
}

/* A recursive lock that the calling thread holds. */
static int acquire_again(local_lock *lock)
{
    uint32_t depth = atomic_load_explicit(&lock->shared->depth, memory_order_relaxed);
    if (MPROC__UNLIKELY(depth == UINT32_MAX))
        return mproc__handle_fail(&lock->base.handle, -EAGAIN, "acquired too many times");
    atomic_store_explicit(&lock->shared->depth, depth + 1, memory_order_relaxed);
    return 0;
}

/* Out of line, or the quick way would save registers for it. */
static __attribute__((noinline)) int acquire_slow(local_lock *lock, mproc_deadline deadline)
{
    int code = local_check(lock);
    if (code < 0)
        return code;
    if ((lock->options & MPROC__LOCK_RECURSIVE) && mproc__robust_is_mine(&lock->shared->robust))
        return acquire_again(lock);
    return acquire_mutex(lock, deadline);
}

static int local_acquire(mproc_lock *base, mproc_deadline deadline)
{
    local_lock *lock = local_of(base);
    const mproc__me *me = &mproc__me_now;
    if (MPROC__UNLIKELY(atomic_load_explicit(&lock->checked_in, memory_order_relaxed) != me->incarnation))
        return acquire_slow(lock, deadline);
    if (MPROC__UNLIKELY(lock->options & MPROC__LOCK_RECURSIVE) &&
        mproc__robust_is_held(&lock->shared->robust))
        return acquire_again(lock);
    if (MPROC__UNLIKELY(!mproc__robust_take(&lock->shared->robust)))
        return acquire_slow(lock, deadline);
    if (MPROC__UNLIKELY(lock->options != 0))
        return hold_or_poison(lock, me->who);
    hold_begin(lock->shared, me->who);
    return 0;
}

/* ---- release ---- */

/* The owner's name goes before the lock does. */
static int release_mutex(local_lock *lock)
{
    atomic_store_explicit(&lock->shared->owner, 0, memory_order_relaxed);
    return mproc__robust_release(&lock->shared->robust);
}

void mproc__lock_release_whole(local_lock *lock)
{
    release_mutex(lock);
}

/* The calling thread holds it. */
static int release_one(local_lock *lock)
{
    uint32_t depth = atomic_load_explicit(&lock->shared->depth, memory_order_relaxed);
    if (!(lock->options & MPROC__LOCK_RECURSIVE) || depth == 0)
        return release_mutex(lock);
    atomic_store_explicit(&lock->shared->depth, depth - 1, memory_order_relaxed);
    return 0;
}

static __attribute__((noinline)) int release_slow(local_lock *lock)
{
    int code = local_check(lock);
    if (code < 0)
        return code;
    if (!mproc__robust_is_mine(&lock->shared->robust))
        return mproc__handle_fail(&lock->base.handle, -EPERM, "this thread does not hold the lock");
    return release_one(lock);
}

static int local_release(mproc_lock *base)
{
    local_lock *lock = local_of(base);
    if (MPROC__UNLIKELY(atomic_load_explicit(&lock->checked_in, memory_order_relaxed) !=
                            mproc__me_now.incarnation ||
                        !mproc__robust_is_held(&lock->shared->robust)))
        return release_slow(lock);
    return MPROC__LIKELY(lock->options == 0) ? release_mutex(lock) : release_one(lock);
}

/* ---- the rest ---- */

bool mproc__lock_holder(const lock_shared *shared, pid_t *ret_pid, pid_t *ret_tid)
{
    uint32_t word = atomic_load_explicit(mproc__robust_word(&shared->robust), memory_order_acquire);
    uint64_t owner = atomic_load_explicit(&shared->owner, memory_order_relaxed);
    *ret_tid = (pid_t)(word & FUTEX_TID_MASK);
    *ret_pid = *ret_tid != 0 && (pid_t)(owner >> 32) == *ret_tid ? (pid_t)(owner & UINT32_MAX) : 0;
    return *ret_tid != 0;
}

static bool local_is_held(const mproc_lock *base)
{
    pid_t pid, tid;
    return mproc__lock_holder(local_of(base)->shared, &pid, &tid);
}

/* An owner between its mutex and its name, or stopped there, is asked of the system, which knows every thread. */
static int local_owner(mproc_lock *base, int *ret_pid, int *ret_tid)
{
    pid_t pid = 0, tid = 0;
    int code = local_check(local_of(base));
    if (code < 0)
        return code;
    if (mproc__lock_holder(local_of(base)->shared, &pid, &tid) && !pid)
        pid = mproc__process_of_thread(tid);
    *ret_pid = pid;
    *ret_tid = tid;
    return 0;
}

/* Waits for nobody's work: a poisoned lock is held only for the instants in which others learn that it is. Somebody else may
 * repair it meanwhile and a third one acquire it, for as long as it likes: hence slices, with a look in between; the later
 * ones are long enough to find a lock that was overwritten. */
static int acquire_to_repair(local_lock *lock)
{
    lock_shared *shared = lock->shared;
    int64_t slice_ms = MPROC__SWEEP_MS;
    int code;
    do {
        if (!atomic_load_explicit(&shared->poisoned, memory_order_acquire))
            return mproc__handle_fail(&lock->base.handle, MPROC_ESTATE, "the lock is not poisoned");
        code = mproc__robust_acquire(&shared->robust, mproc_after_ms(slice_ms));
        slice_ms = MPROC__ROBUST_SLICE_MS;
    } while (code == -ETIMEDOUT);
    return code < 0 ? local_story(lock, code) : code;
}

/* The mark of a death comes once. That of one who held after somebody else's repair is for the next to be told of. */
static int local_repair(mproc_lock *base)
{
    local_lock *lock = local_of(base);
    lock_shared *shared = lock->shared;
    int code = local_check(lock);
    if (code < 0)
        return code;
    code = acquire_to_repair(lock);
    if (code < 0)
        return code;
    bool poisoned = atomic_exchange(&shared->poisoned, 0);
    if (!poisoned && code == MPROC_RECOVERED)
        poison(shared, atomic_load_explicit(&shared->owner, memory_order_relaxed));
    mproc__robust_release(&shared->robust);
    return poisoned ? 0
                    : mproc__handle_fail(&lock->base.handle, MPROC_ESTATE, "somebody else repaired the lock");
}

static int local_token(mproc_lock *base, uint64_t *ret_token)
{
    local_lock *lock = local_of(base);
    int code = local_check(lock);
    if (code < 0)
        return code;
    if (!mproc__robust_is_mine(&lock->shared->robust))
        return mproc__handle_fail(&lock->base.handle, -EPERM, "this thread does not hold the lock");
    *ret_token = atomic_load_explicit(&lock->shared->token, memory_order_relaxed);
    return 0;
}

/* ---- for the layer: conditions and arrays ---- */

static bool is_local(const mproc_lock *lock)
{
    const void *ops = lock->handle.ops;
    return ops == &mproc__lock_host_ops || ops == &mproc__lock_thread_ops;
}

mproc__segment *mproc__lock_segment(const mproc_lock *lock)
{
    return is_local(lock) ? local_of(lock)->segment : NULL;
}

size_t mproc__lock_offset(const mproc_lock *lock)
{
    const local_lock *local = local_of(lock);
    return (size_t)((unsigned char *)local->shared - (unsigned char *)mproc__segment_root(local->segment));
}

bool mproc__lock_is_mine(const mproc_lock *lock)
{
    return is_local(lock) && mproc__robust_is_mine(&local_of(lock)->shared->robust);
}

int mproc__lock_release_all(mproc_lock *base, unsigned *ret_levels)
{
    if (!mproc__lock_is_mine(base))
        return mproc__handle_fail(&base->handle, -EPERM, "this thread does not hold the lock");
    local_lock *lock = local_of(base);
    *ret_levels = atomic_load_explicit(&lock->shared->depth, memory_order_relaxed) + 1;
    return release_mutex(lock);
}

int mproc__lock_acquire_all(mproc_lock *base, unsigned levels, mproc_deadline deadline)
{
    int code = mproc_lock_acquire(base, deadline);
    if (code >= 0 && (local_of(base)->options & MPROC__LOCK_RECURSIVE))
        atomic_store_explicit(&local_of(base)->shared->depth, levels - 1, memory_order_relaxed);
    return code;
}

/* The calls are the same in both homes: what differs is whether the object can be given away. */
#define LOCK_CALLS                                                                                           \
    .acquire = local_acquire, .release = local_release, .is_held = local_is_held, .owner = local_owner,      \
    .repair = local_repair, .token = local_token

const mproc__lock_ops mproc__lock_host_ops = {
    .handle = {.type = MPROC_TYPE_LOCK,
               .noun = "lock",
               .destroy = mproc__lock_destroy,
               .describe = mproc__lock_describe,
               .pack = mproc__lock_pack},
    LOCK_CALLS,
};

const mproc__lock_ops mproc__lock_thread_ops = {
    .handle = {.type = MPROC_TYPE_LOCK,
               .noun = "lock",
               .destroy = mproc__lock_destroy,
               .describe = mproc__lock_describe},
    LOCK_CALLS,
};
