/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks of this process's threads and of this host: made, found, given away, shown, closed, and put inside other
 * objects. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "platform/story.h"
#include "shm/explain.h"
#include "shm/place.h"
#include "sync/lock_inside.h"

/* ---- shown ---- */

/* "free", "held by this thread", "held by thread 7 of this process", "held by process 5 thread 7". */
static void holder_text(const mproc__local_lock *lock, char *buffer, size_t size_bytes)
{
    pid_t pid, tid;
    if (!mproc__lock_holder(lock->shared, &pid, &tid))
        snprintf(buffer, size_bytes, "free");
    else if (tid == mproc__tid())
        snprintf(buffer, size_bytes, "held by this thread");
    else if (pid == mproc__pid())
        snprintf(buffer, size_bytes, "held by thread %d of this process", (int)tid);
    else
        snprintf(buffer, size_bytes, "held by process %d thread %d",
                 (int)(pid ? pid : mproc__process_of_thread(tid)), (int)tid);
}

int mproc__lock_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc__local_lock *lock = MPROC__CONTAINER(handle, mproc__local_lock, base.handle);
    const char *name = mproc__segment_name(lock->segment);
    bool recursive = lock->options & MPROC__LOCK_RECURSIVE;
    char holder[64], depth[32] = "";
    holder_text(lock, holder, sizeof(holder));
    if (recursive && holder[0] == 'h')
        snprintf(depth, sizeof(depth), ", depth %u",
                 atomic_load_explicit(&lock->shared->depth, memory_order_relaxed) + 1);
    return snprintf(buffer, size_bytes, "%slock%s%s on %s, %s%s%s", recursive ? "recursive " : "",
                    *name ? " " : "", name, mproc__noun_home_text(lock->segment), holder, depth,
                    atomic_load_explicit(&lock->shared->poisoned, memory_order_relaxed) ? ", poisoned" : "");
}

static void lock_explain(const void *root, size_t size_bytes, mproc__report *report)
{
    const mproc__lock_shared *shared = root;
    pid_t pid, tid;
    if (size_bytes < sizeof(*shared))
        return;
    bool held = mproc__lock_holder(shared, &pid, &tid);
    uint64_t dead = atomic_load_explicit(&shared->dead, memory_order_relaxed);
    const char *kind = shared->options & MPROC__LOCK_RECURSIVE ? "recursive, " : "";
    if (atomic_load_explicit(&shared->poisoned, memory_order_relaxed))
        mproc__report_state(report, "%spoisoned by process %u", kind, (unsigned)(dead & UINT32_MAX));
    else
        mproc__report_state(report, "%s%s, %llu holds so far", kind, held ? "held" : "free",
                            (unsigned long long)atomic_load_explicit(&shared->token, memory_order_relaxed));
    if (held)
        mproc__report_holder(report, pid, tid, "owner");
}

/* ---- closed, given away ---- */

static bool held_by_other_thread_here(const mproc__local_lock *lock)
{
    pid_t pid, tid;
    return mproc__lock_holder(lock->shared, &pid, &tid) && tid != mproc__tid() &&
           tgkill(mproc__pid(), tid, 0) == 0;
}

/* A lock that another thread of this process still holds keeps its memory for good: unmapping it would cut the kernel's
 * walk through that thread's robust mutexes, and a leak is better than another object that hangs. What this thread holds
 * through another handle stays held. */
void mproc__lock_destroy(mproc__handle *handle)
{
    mproc__local_lock *lock = MPROC__CONTAINER(handle, mproc__local_lock, base.handle);
    mproc__names_remove(handle);
    if (mproc__robust_is_linked(&lock->shared->robust))
        mproc__lock_release_whole(lock);
    if (!held_by_other_thread_here(lock))
        mproc__segment_release(lock->segment);
    mproc__handle_fini(handle);
    free(lock);
}

int mproc__lock_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    mproc__local_lock *lock = MPROC__CONTAINER(handle, mproc__local_lock, base.handle);
    if (lock->embedded)
        return mproc__fail(MPROC_ECANNOTCROSS, "the lock is part of a %s: give that",
                           mproc__noun_of(mproc__segment_kind(lock->segment))->word);
    return mproc__noun_pack(lock->segment, parcel);
}

/* ---- made ---- */

_Static_assert(sizeof(mproc__lock_shared) <= MPROC__LOCK_BYTES,
               "whoever embeds a lock leaves this much room");

/* Keeps nothing: the segment's reference is the caller's to give. */
static int local_new(mproc__segment *segment, size_t offset, mproc__local_lock **ret_lock)
{
    if (offset > mproc__segment_size(segment) ||
        mproc__segment_size(segment) - offset < sizeof(mproc__lock_shared))
        return mproc__fail(MPROC_ECORRUPT, "a lock at byte %zu of %zu", offset, mproc__segment_size(segment));
    mproc__local_lock *lock = calloc(1, sizeof(*lock));
    if (!lock)
        return mproc__fail(-ENOMEM, "no memory for a lock");
    const mproc__lock_ops *ops =
        mproc__segment_shared(segment) ? &mproc__lock_host_ops : &mproc__lock_thread_ops;
    mproc__handle_init(&lock->base.handle, &ops->handle);
    lock->segment = segment;
    lock->shared = (mproc__lock_shared *)(void *)((unsigned char *)mproc__segment_root(segment) + offset);
    lock->options = lock->shared->options;
    lock->embedded = mproc__segment_kind(segment) != MPROC_TYPE_LOCK;
    *ret_lock = lock;
    return 0;
}

static int local_attach(mproc__segment *segment, mproc__handle **ret_handle)
{
    mproc__local_lock *lock;
    int code = local_new(segment, 0, &lock);
    if (code == 0)
        *ret_handle = &lock->base.handle;
    return code;
}

int mproc__lock_at(mproc__segment *segment, size_t offset, mproc_lock **ret_lock)
{
    mproc__local_lock *lock;
    int code = local_new(segment, offset, &lock);
    if (code < 0)
        return code;
    mproc__segment_keep(segment);
    *ret_lock = &lock->base;
    return 0;
}

void mproc__lock_build(mproc__segment *segment, size_t offset, const mproc_lock_options *options)
{
    mproc__lock_shared *shared =
        (mproc__lock_shared *)(void *)((unsigned char *)mproc__segment_root(segment) + offset);
    mproc__robust_init(&shared->robust, mproc__segment_shared(segment));
    if (options && options->recursive)
        shared->options |= MPROC__LOCK_RECURSIVE;
    if (options && options->poison)
        shared->options |= MPROC__LOCK_POISON;
}

static int local_build(mproc__segment *segment, const void *options)
{
    mproc__lock_build(segment, 0, options);
    return 0;
}

const mproc__noun mproc__lock_noun = {
    .type = MPROC_TYPE_LOCK,
    .word = "lock",
    .least_bytes = sizeof(mproc__lock_shared),
    .attach = local_attach,
    .explain = lock_explain,
};

int mproc__lock_local_create(mproc_place *place, const mproc_lock_options *options, mproc_lock **ret_lock)
{
    mproc__handle *handle;
    const mproc__making making = {
        .noun = &mproc__lock_noun,
        .place = place,
        .name = options ? options->name : NULL,
        .and_open = options && options->and_open,
        .size_bytes = sizeof(mproc__lock_shared),
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
