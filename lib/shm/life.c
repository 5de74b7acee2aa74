/* SPDX-License-Identifier: BSD-2-Clause */
/* Which thread of this process holds which life word, and what happens when that thread ends.
 *
 * A robust mutex is tied to a thread. The one that joins a segment takes the life word; when it ends in an orderly way,
 * a thread-exit destructor hands the word back (to the kernel, a thread that ends with it looks like a death), and the
 * process's next call takes it again. While the word is on a thread's list of robust mutexes its memory must stay
 * mapped: the kernel walks that list at death and stops at the first bad address, which would strand every robust mutex
 * the thread took earlier, in any segment (measured). So the last release by another thread leaves the unmapping to the
 * holder's exit.
 *
 * A thread that ends by the raw exit system call runs no destructor and looks dead; the library does not support it. */
#include "platform/base.h"

#include <pthread.h>

#include "platform/story.h"
#include "shm/segment_inside.h"

typedef struct mproc__life {
    mproc__segment *first; /* this thread holds the life words of these */
    uint64_t incarnation;  /* that filled the list; a fork child finds its parent's */
} mproc__life;

static _Thread_local mproc__life life_of_thread;

/* Guards the list and the membership fields of all segments of this process; held for microseconds. fork takes it, so
 * that a child never finds it locked by a thread it does not have. */
MPROC__FORK_DATA static pthread_mutex_t life_guard = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t life_key;
static int life_code;

MPROC__FORK_TEXT static void guard_lock(void)
{
    pthread_mutex_lock(&life_guard);
}

MPROC__FORK_TEXT static void guard_unlock(void)
{
    pthread_mutex_unlock(&life_guard);
}

/* A fork child holds none of the parent's words: libc gave it an empty list. */
static void life_forget(mproc__life *life)
{
    while (life->first) {
        mproc__segment *segment = life->first;
        life->first = segment->holder_next;
        if (segment->orphan)
            mproc__segment_destroy(segment);
    }
    life->incarnation = mproc__incarnation();
}

static void life_unlink(mproc__life *life, mproc__segment *segment)
{
    mproc__segment **link = &life->first;
    while (*link != segment)
        link = &(*link)->holder_next;
    *link = segment->holder_next;
    segment->holder = NULL;
    atomic_store_explicit(&segment->joined, 0, memory_order_release);
}

/* What other threads released last goes with this thread's next call of the kind, not only at its end: else a thread
 * that makes one object after the other would keep the memory of all. */
static void life_collect(mproc__life *life)
{
    mproc__segment **link = &life->first;
    while (*link) {
        mproc__segment *segment = *link;
        if (!segment->orphan) {
            link = &segment->holder_next;
            continue;
        }
        life_unlink(life, segment);
        mproc__row_leave(segment);
        mproc__segment_destroy(segment);
    }
}

/* The thread ends. */
static void life_end(void *argument)
{
    mproc__life *life = argument;
    guard_lock();
    if (life->incarnation != mproc__incarnation())
        life_forget(life);
    while (life->first) {
        mproc__segment *segment = life->first;
        life_unlink(life, segment);
        if (segment->orphan) {
            mproc__row_leave(segment);
            mproc__segment_destroy(segment);
        } else {
            mproc__row_hand_back(segment);
        }
    }
    guard_unlock();
}

/* From the program's start, as in names.c; linked statically, too, before any constructor of the program, which may start
 * processes: hence the priority, here and there. */
__attribute__((constructor(101))) static void life_start(void)
{
    life_code = -pthread_key_create(&life_key, life_end);
    if (life_code == 0)
        life_code = -pthread_atfork(guard_lock, guard_unlock, guard_unlock);
}

/* This thread's list, with the destructor armed (again, when another destructor comes after ours). */
static int life_arm(mproc__life **ret_life)
{
    int code = life_code;
    if (code == 0)
        code = -pthread_setspecific(life_key, &life_of_thread);
    if (code < 0)
        return mproc__fail(code, "cannot watch the end of this thread");
    *ret_life = &life_of_thread;
    return 0;
}

static int life_take(mproc__segment *segment, mproc__life *life)
{
    if (life->incarnation != mproc__incarnation())
        life_forget(life);
    life_collect(life);
    bool have_row = segment->row_incarnation == mproc__incarnation();
    if (!have_row || !mproc__row_retake(segment)) {
        int code = mproc__row_take(segment);
        if (code < 0)
            return code;
    }
    segment->row_incarnation = mproc__incarnation();
    segment->holder = life;
    segment->holder_next = life->first;
    life->first = segment;
    atomic_store_explicit(&segment->joined, segment->row_incarnation, memory_order_release);
    return 0;
}

int mproc__life_join(mproc__segment *segment)
{
    mproc__life *life;
    int code = life_arm(&life);
    if (code < 0)
        return code;
    code = mproc__robust_check();
    if (code == 0)
        code = mproc__segment_enter(segment);
    if (code < 0)
        return code;
    guard_lock();
    if (atomic_load_explicit(&segment->joined, memory_order_acquire) != mproc__incarnation())
        code = life_take(segment, life);
    guard_unlock();
    return code < 0 ? code : (int)segment->row;
}

bool mproc__life_leave(mproc__segment *segment)
{
    bool free_now = true;
    guard_lock();
    if (life_of_thread.incarnation != mproc__incarnation())
        life_forget(
            &life_of_thread); /* a fork child's list still holds this segment, which is about to be freed */
    life_collect(&life_of_thread);
    if (segment->row_incarnation != mproc__incarnation()) {
        /* never joined, or a fork child's copy: nothing of ours is in the table */
    } else if (segment->holder == &life_of_thread) {
        life_unlink(&life_of_thread, segment);
        mproc__row_leave(segment);
    } else if (segment->holder) {
        segment->orphan = true;
        free_now = false;
    } else if (mproc__row_retake(segment)) {
        mproc__row_leave(segment);
    }
    guard_unlock();
    return free_now;
}

void mproc__segment_seat(const mproc__segment *segment, const _Atomic uint64_t **ret_joined,
                         const unsigned **ret_row)
{
    *ret_joined = &segment->joined;
    *ret_row = &segment->row;
}

int mproc__segment_join(mproc__segment *segment)
{
    if (!segment->shared)
        return 0;
    if (MPROC__LIKELY(atomic_load_explicit(&segment->joined, memory_order_acquire) == mproc__incarnation()))
        return (int)segment->row;
    return mproc__life_join(segment);
}
