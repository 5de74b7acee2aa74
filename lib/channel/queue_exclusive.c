/* SPDX-License-Identifier: BSD-2-Clause */
/* Sides of a queue with one user.
 *
 * The role is a robust lock beside the side's own. Its user takes it in its first call and keeps it; each later call that
 * takes the side's lock looks whether the word still names the calling thread. So nothing here has to guess who lives: a
 * thread that ends, a process that dies or execs loses the role at once, by the kernel's hand, and the next caller has it.
 * Being alone, it is given its side at its first call, and again after each revocation (side.h); a sweep, a join or a
 * shutdown takes the side's lock, as in any queue.
 * Rejected: a word of ours with row and thread, set by a compare and swap. It would need a sweep for processes and a
 * destructor for threads to say what the kernel says of the robust lock, and would be free later. The role as the only
 * guard, so that nobody else ever waits for a user that is stopped inside a call: shutdown and the end then have to be
 * agreed with puts that are under way, by a protocol of its own. */
#include "platform/base.h"

#include <linux/futex.h>
#include <signal.h>
#include <unistd.h>

#include "channel/queue.h"
#include "platform/story.h"

static mproc__robust_shared *role_lock(mproc_queue *queue, mproc_role side)
{
    return side == MPROC_ROLE_WRITE ? &queue->shared->writer.lock : &queue->shared->reader.lock;
}

static pid_t role_thread(const mproc__robust_shared *lock)
{
    return (pid_t)(atomic_load_explicit(mproc__robust_word(lock), memory_order_relaxed) & FUTEX_TID_MASK);
}

static int role_busy(mproc_queue *queue, mproc_role side, pid_t tid)
{
    const char *what = side == MPROC_ROLE_WRITE ? "producer" : "consumer";
    pid_t pid = tid > 0 ? mproc__process_of_thread(tid) : 0;
    if (pid == 0)
        return mproc__handle_fail(&queue->handle, -EBUSY, "the queue's only %s has just changed", what);
    mproc__fail(-EBUSY, "thread %d of process %d is the queue's only %s", (int)tid, (int)pid, what);
    mproc__fail_number(MPROC_ERROR_PID, pid);
    return mproc__handle_story(&queue->handle, -EBUSY);
}

int mproc__queue_exclusive_take(mproc_queue *queue, mproc_role side)
{
    mproc__robust_shared *lock = role_lock(queue, side);
    pid_t tid = role_thread(lock);
    if (tid == mproc__tid())
        return 0;
    int rc = mproc__robust_acquire(lock, MPROC_NOW);
    if (rc == -ETIMEDOUT)
        return role_busy(queue, side, tid);
    return rc < 0 ? rc : 0; /* MPROC_RECOVERED: nothing of the dead one's is half done */
}

/* False: it is another thread's of this process. */
static bool role_leave(mproc__robust_shared *lock)
{
    if (mproc__robust_is_linked(lock))
        (void)mproc__robust_release(lock);
    pid_t tid = role_thread(lock);
    return tid == 0 || tid == mproc__tid() || tgkill(mproc__pid(), tid, 0) != 0;
}

/* A leak for as long as the process lives is better than another object that hangs: to unmap the word would cut the kernel's
 * walk through that thread's robust locks. */
bool mproc__queue_exclusive_leave(mproc_queue *queue, unsigned sides)
{
    sides &= queue->exclusive;
    if (sides & MPROC_ROLE_READ)
        mproc__side_give_up(&queue->shared->get.side);
    if (sides & MPROC_ROLE_WRITE)
        mproc__side_give_up(&queue->shared->put.side);
    bool reader = !(sides & MPROC_ROLE_READ) || role_leave(&queue->shared->reader.lock);
    bool writer = !(sides & MPROC_ROLE_WRITE) || role_leave(&queue->shared->writer.lock);
    return reader && writer;
}
