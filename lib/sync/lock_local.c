/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks of this process's threads and of this host: a robust mutex with a few words beside it. */
#include "platform/base.h"

#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/robust.h"
#include "platform/story.h"
#include "shm/place.h"
#include "sync/lock.h"

enum { OPTION_RECURSIVE = 1, OPTION_POISON = 2 };

/* No field needs repair after a death: each is one word whose every value is right. */
typedef struct lock_shared {
    /* Made consistent in the call that learns of the death: ENOTRECOVERABLE would be final, which is why poison is a
     * word of ours. */
    mproc__robust_shared robust;
    /* Number of the present hold, written under the lock right after acquiring as the old one + 1. An owner that dies
     * before that store leaves its number to the next, which nobody has seen. */
    _Atomic uint64_t token;
    /* The owner's pid: written after acquiring, zeroed before releasing, so a successor of the dead never names the one
     * before. 0 after a death: it died inside acquire or release. Read without the lock only to describe. */
    _Atomic uint32_t owner_pid;
    /* Under the lock: 1 from the first acquire after a death until the repair; a recoverer that dies before the store
     * leaves the kernel's mark to the next one. */
    _Atomic uint32_t poisoned;
    _Atomic uint32_t dead_pid; /* who did it; written before `poisoned` */
    uint32_t options;          /* written by the creator before anyone else has the lock */
} lock_shared;

typedef struct local_lock {
    mproc_lock base;
    lock_shared *shared;
    bool plain; /* neither recursive nor poison: nothing to look at after the mutex */
    uint32_t options;
    /* Acquires beyond the first. Only the owning thread writes it; a successor begins with 0. Private, because a count
     * in shared memory would have to be repaired after a death. */
    unsigned depth;
    mproc__segment *segment;
    bool embedded; /* in the segment of another object, which is what crosses */
} local_lock;

static inline local_lock *local_of(const mproc_lock *lock)
{
    return (local_lock *)(uintptr_t)lock;
}

static pid_t owner_tid(const local_lock *lock)
{
    return (pid_t)(atomic_load_explicit(mproc__robust_word(&lock->shared->robust), memory_order_acquire) &
                   FUTEX_TID_MASK);
}

static int local_story(local_lock *lock, int code)
{
    return code == -ETIMEDOUT ? code : mproc__handle_story(&lock->base.handle, code);
}

/* ---- acquire ---- */

/* Right after the mutex: this hold gets its number and its owner. */
static inline void hold_begin(lock_shared *shared)
{
    uint64_t token = atomic_load_explicit(&shared->token, memory_order_relaxed);
    atomic_store_explicit(&shared->token, token + 1, memory_order_relaxed);
    atomic_store_explicit(&shared->owner_pid, (uint32_t)mproc__pid(), memory_order_relaxed);
}

static int dead_story(local_lock *lock, int code, uint32_t pid)
{
    if (pid)
        mproc__fail(code, "process %u died or its thread ended while holding the lock", (unsigned)pid);
    else
        mproc__fail(code, "the owner died while acquiring or releasing the lock");
    if (pid)
        mproc__fail_number(MPROC_ERROR_PID, pid);
    return mproc__handle_story(&lock->base.handle, code);
}

/* The mutex is held. */
static int poison_answer(local_lock *lock)
{
    uint32_t pid = atomic_load_explicit(&lock->shared->dead_pid, memory_order_relaxed);
    mproc__robust_release(&lock->shared->robust);
    return dead_story(lock, MPROC_EPOISONED, pid);
}

/* The mutex is held and its last owner died with it. */
static int acquire_after_death(local_lock *lock)
{
    lock_shared *shared = lock->shared;
    uint32_t pid = atomic_load_explicit(&shared->owner_pid, memory_order_relaxed);
    lock->depth = 0;
    if (!(lock->options & OPTION_POISON)) {
        hold_begin(shared);
        return dead_story(lock, MPROC_RECOVERED, pid);
    }
    atomic_store_explicit(&shared->dead_pid, pid, memory_order_relaxed);
    atomic_store_explicit(&shared->owner_pid, 0, memory_order_relaxed);
    atomic_store_explicit(&shared->poisoned, 1, memory_order_release);
    return poison_answer(lock);
}

static int acquire_mutex(local_lock *lock, mproc_deadline deadline)
{
    int code = mproc__robust_acquire(&lock->shared->robust, deadline);
    if (code == MPROC_RECOVERED)
        return acquire_after_death(lock);
    if (code < 0)
        return local_story(lock, code);
    lock->depth = 0;
    if (atomic_load_explicit(&lock->shared->poisoned, memory_order_relaxed))
        return poison_answer(lock);
    hold_begin(lock->shared);
    return 0;
}

static int acquire_with_options(local_lock *lock, mproc_deadline deadline)
{
    if ((lock->options & OPTION_RECURSIVE) && mproc__robust_is_mine(&lock->shared->robust)) {
        if (lock->depth == UINT32_MAX)
            return mproc__handle_fail(&lock->base.handle, -EAGAIN, "acquired too many times");
        lock->depth++;
        return 0;
    }
    return acquire_mutex(lock, deadline);
}

static int host_acquire(mproc_lock *base, mproc_deadline deadline)
{
    local_lock *lock = local_of(base);
    if (MPROC__UNLIKELY(!lock->plain))
        return acquire_with_options(lock, deadline);
    int code = mproc__robust_acquire(&lock->shared->robust, deadline);
    if (MPROC__LIKELY(code == 0))
        hold_begin(lock->shared);
    else if (code == MPROC_RECOVERED)
        return acquire_after_death(lock);
    else
        local_story(lock, code);
    return code;
}

/* ---- release ---- */

/* The owner's name goes before the lock does. A call by somebody else puts it back: for those few instructions a death
 * would be told without a pid. Checking first who owns the mutex would cost every release a fifth of its time. */
static int release_mutex(local_lock *lock)
{
    lock_shared *shared = lock->shared;
    uint32_t pid = atomic_load_explicit(&shared->owner_pid, memory_order_relaxed);
    atomic_store_explicit(&shared->owner_pid, 0, memory_order_relaxed);
    int code = mproc__robust_release(&shared->robust);
    if (MPROC__LIKELY(code == 0))
        return 0;
    uint32_t none = 0;
    atomic_compare_exchange_strong(&shared->owner_pid, &none, pid);
    return local_story(lock, code);
}

static int host_release(mproc_lock *base)
{
    local_lock *lock = local_of(base);
    if (MPROC__LIKELY(lock->plain) || !(lock->options & OPTION_RECURSIVE))
        return release_mutex(lock);
    if (!mproc__robust_is_mine(&lock->shared->robust))
        return mproc__handle_fail(&lock->base.handle, -EPERM, "this thread does not hold the lock");
    if (lock->depth == 0)
        return release_mutex(lock);
    lock->depth--;
    return 0;
}

/* ---- the rest ---- */

static bool local_is_held(const mproc_lock *base)
{
    return owner_tid(local_of(base)) != 0;
}

/* Waits for nobody's work: a poisoned lock is held only for the instants in which others learn that it is. */
static int host_repair(mproc_lock *base)
{
    local_lock *lock = local_of(base);
    lock_shared *shared = lock->shared;
    if (!atomic_load_explicit(&shared->poisoned, memory_order_acquire))
        return mproc__handle_fail(&lock->base.handle, MPROC_ESTATE, "the lock is not poisoned");
    int code = mproc__robust_acquire(&shared->robust, MPROC_FOREVER);
    if (code < 0)
        return local_story(lock, code);
    bool poisoned = atomic_exchange(&shared->poisoned, 0);
    mproc__robust_release(&shared->robust);
    return poisoned ? 0
                    : mproc__handle_fail(&lock->base.handle, MPROC_ESTATE, "somebody else repaired the lock");
}

static int host_token(mproc_lock *base, uint64_t *ret_token)
{
    local_lock *lock = local_of(base);
    if (!mproc__robust_is_mine(&lock->shared->robust))
        return mproc__handle_fail(&lock->base.handle, -EPERM, "this thread does not hold the lock");
    *ret_token = atomic_load_explicit(&lock->shared->token, memory_order_relaxed);
    return 0;
}

static int local_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const local_lock *lock = MPROC__CONTAINER(handle, local_lock, base.handle);
    const char *name = mproc__segment_name(lock->segment);
    char holder[64] = "free";
    if (mproc__robust_is_mine(&lock->shared->robust))
        snprintf(holder, sizeof(holder), "held by this thread, depth %u", lock->depth + 1);
    else if (owner_tid(lock))
        snprintf(holder, sizeof(holder), "held by process %u thread %d",
                 (unsigned)atomic_load_explicit(&lock->shared->owner_pid, memory_order_relaxed),
                 (int)owner_tid(lock));
    return snprintf(buffer, size_bytes, "%slock%s%s on %s, %s%s",
                    lock->options & OPTION_RECURSIVE ? "recursive " : "", *name ? " " : "", name,
                    mproc__noun_home_text(lock->segment), holder,
                    atomic_load_explicit(&lock->shared->poisoned, memory_order_relaxed) ? ", poisoned" : "");
}

static bool held_by_other_thread_here(const local_lock *lock)
{
    pid_t tid = owner_tid(lock);
    return tid && tgkill(mproc__pid(), tid, 0) == 0;
}

/* A lock that another thread of this process still holds keeps its memory for good: unmapping it would cut the kernel's
 * walk through that thread's robust mutexes, and a leak is better than another object that hangs. */
static void local_destroy(mproc__handle *handle)
{
    local_lock *lock = MPROC__CONTAINER(handle, local_lock, base.handle);
    mproc__names_remove(handle);
    if (mproc__robust_is_mine(&lock->shared->robust))
        release_mutex(lock);
    if (!held_by_other_thread_here(lock))
        mproc__segment_release(lock->segment);
    mproc__handle_fini(handle);
    free(lock);
}

static int host_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    local_lock *lock = MPROC__CONTAINER(handle, local_lock, base.handle);
    if (lock->embedded)
        return mproc__fail(MPROC_ECANNOTCROSS, "the lock is part of a %s: give that",
                           mproc__noun_of(mproc__segment_kind(lock->segment))->word);
    return mproc__noun_pack(lock->segment, parcel);
}

/* ---- for the layer: conditions and arrays ---- */

static bool is_local(const mproc_lock *lock);

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
    *ret_levels = lock->depth + 1;
    lock->depth = 0;
    return release_mutex(lock);
}

int mproc__lock_acquire_all(mproc_lock *base, unsigned levels, mproc_deadline deadline)
{
    int code = mproc_lock_acquire(base, deadline);
    if (code >= 0)
        local_of(base)->depth = levels - 1;
    return code;
}

/* ---- the thread home: the same, after a look whether this is still the process that made it ---- */

static int thread_acquire(mproc_lock *base, mproc_deadline deadline)
{
    int code = mproc__segment_check(local_of(base)->segment);
    return MPROC__LIKELY(code == 0) ? host_acquire(base, deadline) : local_story(local_of(base), code);
}

static int thread_release(mproc_lock *base)
{
    int code = mproc__segment_check(local_of(base)->segment);
    return MPROC__LIKELY(code == 0) ? host_release(base) : local_story(local_of(base), code);
}

static int thread_repair(mproc_lock *base)
{
    int code = mproc__segment_check(local_of(base)->segment);
    return code == 0 ? host_repair(base) : local_story(local_of(base), code);
}

static int thread_token(mproc_lock *base, uint64_t *ret_token)
{
    int code = mproc__segment_check(local_of(base)->segment);
    return code == 0 ? host_token(base, ret_token) : local_story(local_of(base), code);
}

static const mproc__lock_ops host_ops = {
    .handle = {.type = MPROC_TYPE_LOCK,
               .noun = "lock",
               .destroy = local_destroy,
               .describe = local_describe,
               .pack = host_pack},
    .acquire = host_acquire,
    .release = host_release,
    .is_held = local_is_held,
    .repair = host_repair,
    .token = host_token,
};

static const mproc__lock_ops thread_ops = {
    .handle = {.type = MPROC_TYPE_LOCK, .noun = "lock", .destroy = local_destroy, .describe = local_describe},
    .acquire = thread_acquire,
    .release = thread_release,
    .is_held = local_is_held,
    .repair = thread_repair,
    .token = thread_token,
};

static bool is_local(const mproc_lock *lock)
{
    const void *ops = lock->handle.ops;
    return ops == &host_ops || ops == &thread_ops;
}

/* ---- made ---- */

_Static_assert(sizeof(lock_shared) <= MPROC__LOCK_BYTES, "whoever embeds a lock leaves this much room");

/* Keeps nothing: the segment's reference is the caller's to give. */
static int local_new(mproc__segment *segment, size_t offset, local_lock **ret_lock)
{
    if (offset > mproc__segment_size(segment) || mproc__segment_size(segment) - offset < sizeof(lock_shared))
        return mproc__fail(MPROC_ECORRUPT, "a lock at byte %zu of %zu", offset, mproc__segment_size(segment));
    local_lock *lock = calloc(1, sizeof(*lock));
    if (!lock)
        return mproc__fail(-ENOMEM, "no memory for a lock");
    const mproc__lock_ops *ops = mproc__segment_shared(segment) ? &host_ops : &thread_ops;
    mproc__handle_init(&lock->base.handle, &ops->handle);
    lock->segment = segment;
    lock->shared = (lock_shared *)(void *)((unsigned char *)mproc__segment_root(segment) + offset);
    lock->options = lock->shared->options;
    lock->plain = lock->options == 0;
    lock->embedded = mproc__segment_kind(segment) != MPROC_TYPE_LOCK;
    *ret_lock = lock;
    return 0;
}

static int local_attach(mproc__segment *segment, mproc__handle **ret_handle)
{
    local_lock *lock;
    int code = local_new(segment, 0, &lock);
    if (code == 0)
        *ret_handle = &lock->base.handle;
    return code;
}

int mproc__lock_at(mproc__segment *segment, size_t offset, mproc_lock **ret_lock)
{
    local_lock *lock;
    int code = local_new(segment, offset, &lock);
    if (code < 0)
        return code;
    mproc__segment_keep(segment);
    *ret_lock = &lock->base;
    return 0;
}

void mproc__lock_build(mproc__segment *segment, size_t offset, const mproc_lock_options *options)
{
    lock_shared *shared = (lock_shared *)(void *)((unsigned char *)mproc__segment_root(segment) + offset);
    mproc__robust_init(&shared->robust, mproc__segment_shared(segment));
    if (options && options->recursive)
        shared->options |= OPTION_RECURSIVE;
    if (options && options->poison)
        shared->options |= OPTION_POISON;
}

static int local_build(mproc__segment *segment, const void *options)
{
    mproc__lock_build(segment, 0, options);
    return 0;
}

const mproc__noun mproc__lock_noun = {
    .type = MPROC_TYPE_LOCK,
    .word = "lock",
    .least_bytes = sizeof(lock_shared),
    .attach = local_attach,
};

int mproc__lock_local_create(mproc_place *place, const mproc_lock_options *options, mproc_lock **ret_lock)
{
    mproc__handle *handle;
    const mproc__making making = {
        .noun = &mproc__lock_noun,
        .place = place,
        .name = options ? options->name : NULL,
        .and_open = options && options->and_open,
        .size_bytes = sizeof(lock_shared),
        .build = local_build,
        .how = options,
    };
    int code = mproc__noun_create(&making, &handle);
    if (code == 0)
        *ret_lock = MPROC__CONTAINER(handle, mproc_lock, handle);
    return code;
}

int mproc__lock_local_open(mproc_place *place, const char *name, mproc_lock **ret_lock)
{
    mproc__handle *handle;
    int code = mproc__noun_open(&mproc__lock_noun, place, name, &handle);
    if (code == 0)
        *ret_lock = MPROC__CONTAINER(handle, mproc_lock, handle);
    return code;
}
