/* SPDX-License-Identifier: BSD-2-Clause */
/* Reader-writer locks of this process's threads and of this host: the public calls, made, shown and closed. */
#include "platform/base.h"

#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "shm/explain.h"
#include "shm/place.h"
#include "sync/rwlock_inside.h"

/* A wait that ends by its deadline is no story, but one from before must not look like it. */
static int rwlock_story(mproc_rwlock *rwlock, int code)
{
    return code == -ETIMEDOUT ? mproc__fail_plain(code) : mproc__handle_story(&rwlock->handle, code);
}

/* The first line of every call: a lock of this process's threads is none in a fork child, and owner ids mean nothing in
 * a child of another namespace. */
static int rwlock_check(mproc_rwlock *rwlock)
{
    int code = mproc__handle_check(rwlock, MPROC_TYPE_RWLOCK);
    if (code < 0)
        return code;
    uint64_t now = mproc__incarnation();
    if (MPROC__LIKELY(atomic_load_explicit(&rwlock->checked_in, memory_order_relaxed) == now))
        return 0;
    code = mproc__segment_enter(rwlock->segment);
    if (code < 0)
        return rwlock_story(rwlock, code);
    atomic_store_explicit(&rwlock->checked_in, now, memory_order_relaxed);
    return 0;
}

/* ---- acquire, release ---- */

int mproc_rwlock_acquire_read(mproc_rwlock *rwlock, mproc_deadline deadline)
{
    int code = rwlock_check(rwlock);
    if (code < 0)
        return code;
    mproc__rwhold *hold = mproc__rwhold_find(rwlock->shared->identity);
    if (!hold) {
        code = mproc__rwlock_read(rwlock, deadline);
        return code < 0 ? rwlock_story(rwlock, code) : code;
    }
    if (hold->reads == 0)
        return mproc__handle_fail(&rwlock->handle, -EDEADLK, "this thread writes");
    if (hold->reads == UINT_MAX)
        return mproc__handle_fail(&rwlock->handle, -EAGAIN, "acquired too many times");
    hold->reads++;
    return 0;
}

int mproc_rwlock_acquire_write(mproc_rwlock *rwlock, mproc_deadline deadline)
{
    int code = rwlock_check(rwlock);
    if (code < 0)
        return code;
    const mproc__rwhold *hold = mproc__rwhold_find(rwlock->shared->identity);
    if (hold)
        return mproc__handle_fail(&rwlock->handle, -EDEADLK, "this thread %s already",
                                  hold->reads ? "reads" : "writes");
    code = mproc__rwlock_write(rwlock, deadline);
    return code < 0 ? rwlock_story(rwlock, code) : code;
}

/* Through the handle that acquired it, whose mapping the kernel knows. */
static void hold_end(mproc__rwhold *hold)
{
    mproc__rwhold ended = *hold;
    mproc__rwhold_drop(hold);
    if (ended.reads)
        mproc__rwlock_leave(ended.rwlock, ended.seat);
    else
        mproc__rwlock_unwrite(ended.rwlock);
}

int mproc_rwlock_release(mproc_rwlock *rwlock)
{
    int code = rwlock_check(rwlock);
    if (code < 0)
        return code;
    mproc__rwhold *hold = mproc__rwhold_find(rwlock->shared->identity);
    if (!hold)
        return mproc__handle_fail(&rwlock->handle, -EPERM, "this thread holds nothing of it");
    if (hold->reads > 1)
        hold->reads--;
    else
        hold_end(hold);
    return 0;
}

int mproc_rwlock_repair(mproc_rwlock *rwlock)
{
    int code = rwlock_check(rwlock);
    if (code < 0)
        return code;
    code = mproc__rwlock_repair(rwlock);
    return code < 0 ? rwlock_story(rwlock, code) : code;
}

/* ---- shown ---- */

/* 0: nobody. A dead one writes no more. */
static uint64_t writer_of(const mproc__rwlock_shared *shared)
{
    uint32_t gate = atomic_load_explicit(&shared->gate, memory_order_acquire);
    uint64_t owner = atomic_load_explicit(&shared->owner, memory_order_relaxed);
    uint32_t word = atomic_load_explicit(mproc__robust_word(&shared->writer), memory_order_relaxed);
    bool alive = (word & FUTEX_TID_MASK) == owner >> 32 && !mproc__rwlock_is_orphaned(shared);
    return (gate & MPROC__GATE_WRITING) && alive ? owner : 0;
}

static unsigned readers_of(const mproc__rwlock_shared *shared)
{
    unsigned readers = 0;
    for (unsigned i = 0; i < MPROC__ROWS; i++)
        readers += mproc__reading(atomic_load_explicit(&shared->rows[i].word, memory_order_relaxed));
    return readers;
}

int mproc_rwlock_holders(mproc_rwlock *rwlock, unsigned *ret_readers, int *ret_writer_pid,
                         int *ret_writer_tid)
{
    int code = rwlock_check(rwlock);
    if (code < 0)
        return code;
    mproc__segment_sweep(rwlock->segment); /* the dead hold nothing */
    uint64_t writer = writer_of(rwlock->shared);
    if (ret_readers)
        *ret_readers = readers_of(rwlock->shared);
    if (ret_writer_pid)
        *ret_writer_pid = (int)(writer & UINT32_MAX);
    if (ret_writer_tid)
        *ret_writer_tid = (int)(writer >> 32);
    return 0;
}

static void holders_text(const mproc_rwlock *rwlock, char *buffer, size_t size_bytes)
{
    uint64_t writer = writer_of(rwlock->shared);
    unsigned readers = readers_of(rwlock->shared);
    const mproc__rwhold *mine = mproc__rwhold_find(rwlock->shared->identity);
    if (mine && !mine->reads)
        snprintf(buffer, size_bytes, "written by this thread");
    else if (writer)
        snprintf(buffer, size_bytes, "written by process %u thread %u", (unsigned)(uint32_t)writer,
                 (unsigned)(writer >> 32));
    else if (readers)
        snprintf(buffer, size_bytes, "read by %u%s", readers, mine ? ", this thread among them" : "");
    else
        snprintf(buffer, size_bytes, "free");
}

static int rwlock_describe(const mproc__handle *handle, char *buffer, size_t size_bytes)
{
    const mproc_rwlock *rwlock = MPROC__CONTAINER(handle, mproc_rwlock, handle);
    const char *name = mproc__segment_name(rwlock->segment);
    uint32_t gate = atomic_load(&rwlock->shared->gate);
    char holders[80];
    holders_text(rwlock, holders, sizeof(holders));
    return snprintf(buffer, size_bytes, "rwlock%s%s on %s, %s%s", *name ? " " : "", name,
                    mproc__noun_home_text(rwlock->segment), holders,
                    gate & MPROC__GATE_POISONED ? ", poisoned" : "");
}

static void rwlock_explain(const void *root, size_t size_bytes, mproc__report *report)
{
    const mproc__rwlock_shared *shared = root;
    if (size_bytes < sizeof(*shared))
        return;
    uint32_t gate = atomic_load_explicit(&shared->gate, memory_order_acquire);
    uint64_t owner = atomic_load_explicit(&shared->owner, memory_order_relaxed);
    uint64_t dead = atomic_load_explicit(&shared->dead, memory_order_relaxed);
    mproc__report_state(report, "%s%s",
                        gate & MPROC__GATE_WRITING  ? "written"
                        : gate & MPROC__GATE_CLOSED ? "a writer waits for the readers"
                                                    : "open",
                        gate & MPROC__GATE_POISONED ? ", poisoned"
                        : gate & MPROC__GATE_NEWS   ? ", a writer died"
                                                    : "");
    if (gate & (MPROC__GATE_POISONED | MPROC__GATE_NEWS))
        mproc__report_state(report, "process %u died writing", (unsigned)(uint32_t)dead);
    if (gate & MPROC__GATE_CLOSED)
        mproc__report_holder(report, (pid_t)(uint32_t)owner, (pid_t)(owner >> 32), "writer");
    for (unsigned i = 0; i < MPROC__ROWS; i++) {
        const mproc__rwlock_row_shared *row = &shared->rows[i];
        if (mproc__reading(atomic_load_explicit(&row->word, memory_order_relaxed)))
            mproc__report_holder(report, (pid_t)atomic_load_explicit(&row->pid, memory_order_relaxed), 0,
                                 "reader");
    }
}

/* ---- closed ---- */

/* Another thread of this process still holds, or waits for, something through this handle. What this thread holds, it holds
 * through another one. */
static bool is_used_here(mproc_rwlock *rwlock)
{
    uint32_t word = atomic_load(mproc__robust_word(&rwlock->shared->writer));
    pid_t tid = (pid_t)(word & FUTEX_TID_MASK);
    if (tid && tid != mproc__tid() && tgkill(mproc__pid(), tid, 0) == 0)
        return true;
    if (atomic_load(&rwlock->seat_in) != mproc__incarnation())
        return false;
    unsigned row = (uint32_t)atomic_load(&rwlock->seat) - 1;
    mproc__readers readers = atomic_load(&rwlock->shared->rows[row].word);
    return mproc__reading(readers) || mproc__readers_waiting(readers);
}

/* What another thread still uses keeps its memory for good: unmapping it would cut the kernel's walk through that thread's
 * robust mutexes, and a leak is better than another object that hangs. */
static void rwlock_destroy(mproc__handle *handle)
{
    mproc_rwlock *rwlock = MPROC__CONTAINER(handle, mproc_rwlock, handle);
    mproc__names_remove(handle);
    mproc__rwhold *hold = mproc__rwhold_find(rwlock->shared->identity);
    if (hold && hold->rwlock == rwlock)
        hold_end(hold);
    mproc__handle_fini(handle);
    if (is_used_here(rwlock))
        return;
    mproc__segment_release(rwlock->segment);
    free(rwlock);
}

static int rwlock_pack(mproc__handle *handle, mproc__parcel *parcel)
{
    return mproc__noun_pack(MPROC__CONTAINER(handle, mproc_rwlock, handle)->segment, parcel);
}

/* ---- made ---- */

static const mproc__handle_ops rwlock_ops = {.type = MPROC_TYPE_RWLOCK,
                                             .noun = "rwlock",
                                             .destroy = rwlock_destroy,
                                             .describe = rwlock_describe,
                                             .pack = rwlock_pack};

static int rwlock_attach(mproc__segment *segment, mproc__handle **ret_handle)
{
    mproc_rwlock *rwlock = calloc(1, sizeof(*rwlock));
    if (!rwlock)
        return mproc__fail(-ENOMEM, "no memory for a rwlock");
    mproc__handle_init(&rwlock->handle, &rwlock_ops);
    rwlock->segment = segment;
    rwlock->shared = mproc__segment_root(segment);
    rwlock->options = rwlock->shared->options;
    mproc__segment_on_sweep(segment, mproc__rwlock_sweep, NULL);
    *ret_handle = &rwlock->handle;
    return 0;
}

const mproc__noun mproc__rwlock_noun = {
    .type = MPROC_TYPE_RWLOCK,
    .word = "rwlock",
    .least_bytes = sizeof(mproc__rwlock_shared),
    .attach = rwlock_attach,
    .explain = rwlock_explain,
};

static int rwlock_build(mproc__segment *segment, const void *how)
{
    const mproc_rwlock_options *options = how;
    mproc__rwlock_shared *shared = mproc__segment_root(segment);
    mproc__robust_init(&shared->writer, mproc__segment_shared(segment));
    shared->options = options && options->poison ? MPROC__RWLOCK_POISON : 0;
    return mproc__random(&shared->identity, sizeof(shared->identity));
}

static int rwlock_place(mproc_place *place, mproc_rwlock **ret_rwlock)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(place, &home);
    if (code == 0 && !ret_rwlock)
        code = mproc__fail(-EINVAL, "nowhere to put the rwlock");
    if (code == 0 && home == MPROC__HOME_SERVER)
        code = mproc__fail(MPROC_EPLACE, "servers have no reader-writer locks");
    return code;
}

int mproc_rwlock_create(mproc_place *place, const mproc_rwlock_options *options, mproc_rwlock **ret_rwlock)
{
    mproc__handle *handle;
    int code = mproc__options_check(options, sizeof(*options), sizeof(*options), "mproc_rwlock_options");
    if (code == 0)
        code = rwlock_place(place, ret_rwlock);
    if (code < 0)
        return code;
    const mproc__making making = {
        .noun = &mproc__rwlock_noun,
        .place = place,
        .name = options ? options->name : NULL,
        .and_open = options && options->and_open,
        .size_bytes = sizeof(mproc__rwlock_shared),
        .build = rwlock_build,
        .how = options,
    };
    code = mproc__noun_create(&making, &handle);
    if (code == 0)
        *ret_rwlock = MPROC__CONTAINER(handle, mproc_rwlock, handle);
    return code;
}

int mproc_rwlock_open(mproc_place *place, const char *name, mproc_rwlock **ret_rwlock)
{
    mproc__handle *handle;
    int code = rwlock_place(place, ret_rwlock);
    if (code == 0)
        code = mproc__noun_open(&mproc__rwlock_noun, place, name, &handle);
    if (code == 0)
        *ret_rwlock = MPROC__CONTAINER(handle, mproc_rwlock, handle);
    return code;
}

void mproc_rwlock_close(mproc_rwlock **rwlock)
{
    mproc__handle_close((void **)rwlock, MPROC_TYPE_RWLOCK);
}
