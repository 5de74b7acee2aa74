/* SPDX-License-Identifier: BSD-2-Clause */
/* Sides of a queue with one user, who takes no lock: the role is the lock.
 *
 * The role is a robust lock beside the ring's own two. Its user takes it in its first call and keeps it; each later call
 * only looks whether the word still names the calling thread, which is two loads. So nothing here has to guess who lives:
 * a thread that ends, a process that dies or execs loses the role at once, by the kernel's hand, and the next caller has it.
 * Rejected: a word of ours with row and thread, set by a compare and swap. It would need a sweep for processes and a
 * destructor for threads to say what the kernel says of the robust lock, and would be free later.
 *
 * What the side's own lock did for others than its user, when its user does not take it:
 *
 *   the other side     nothing: it reads head or tail by acquire, as ever
 *   sleepers           the release was the fence between commit and the look at the sleep bit. A fence at the end of a call
 *                      waits for its stores, a quarter of its time; so the call has none, and who is about to sleep has the
 *                      kernel make one on the other's CPU (mproc__queue_prepare; 3 us, the sleep itself takes 25). Where
 *                      that system call is denied to the creator, each call has its fence; a process to which it is
 *                      denied later is told so when it opens the queue, takes a role or would sleep
 *   sweep, join        look at a ring whose head may move: they read the head again after each record and before they believe
 *                      it (queue_block.c), and count blocks only after they saw the ring empty; a block that the sweep
 *                      marks under the consumer's hand is looked at once more (queue_item.c). Among themselves they still
 *                      take the side's lock
 *   shutdown           sets the state while a put or get that saw it open may be under way, or stopped. Nobody waits for
 *                      that one; it looks at the state again after its commit:
 *
 *     put: commit, fence, look at the state         get that finds nothing: look at the state, fence, look at the tail
 *
 *   (again with one barrier of the kernel's for both fences.)
 *   Of these two one sees the other. If the put sees that it is closed, it does not know whether a consumer has already
 *   answered "the end", and asks the word `sealed`: either the put counts itself in before the consumer seals it, and the
 *   consumer looks again; or the consumer seals first, and the put was none, unless its item was taken before (the head
 *   has reached the tail). A sealed ring is read by nobody any more, so that what a late put, or one that died there,
 *   stored behind the head means nothing. A discarding shutdown needs less: a late put may be one that was discarded,
 *   and a late get of a record one that came before; only a block that is LEASED after join said "all done" must not be, and
 *   is freed.
 *
 * A user that dies leaves what it leaves under a lock: before its tail or head store nothing, after it a whole item. */
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

static int barrier_denied(int rc)
{
    return mproc__fail(rc,
                       "exclusive sides of this queue need the system call membarrier, which is denied here");
}

int mproc__queue_barrier(mproc_queue *queue)
{
    atomic_thread_fence(memory_order_seq_cst);
    int rc = queue->fenceless ? mproc__barrier() : 0;
    return rc < 0 ? barrier_denied(rc) : 0;
}

int mproc__queue_exclusive_take(mproc_queue *queue, mproc_role side)
{
    mproc__robust_shared *lock = role_lock(queue, side);
    pid_t tid = role_thread(lock);
    if (tid == mproc__tid())
        return 0;
    int rc = queue->fenceless ? mproc__barrier_join() : 0;
    if (rc < 0)
        return barrier_denied(rc);
    rc = mproc__robust_acquire(lock, MPROC_NOW);
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
    bool reader = !(sides & MPROC_ROLE_READ) || role_leave(&queue->shared->reader.lock);
    bool writer = !(sides & MPROC_ROLE_WRITE) || role_leave(&queue->shared->writer.lock);
    return reader && writer;
}

int mproc__queue_put_late(mproc_queue *queue)
{
    mproc__queue_shared *shared = queue->shared;
    uint32_t sealed = atomic_load_explicit(&shared->sealed, memory_order_acquire);
    while (!(sealed & 1u))
        if (atomic_compare_exchange_weak(&shared->sealed, &sealed, sealed + 2))
            return 0;
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_acquire);
    if (head == atomic_load_explicit(&shared->tail, memory_order_relaxed))
        return 0;
    /* So that nobody counts it. */
    atomic_store_explicit(&shared->tail, head, memory_order_release);
    return MPROC_ECLOSED;
}

int mproc__queue_get_late(mproc_queue *queue, uint32_t block)
{
    mproc__block_state state;
    if (!mproc__arena_get(&queue->arena, block, &state))
        return MPROC_ECORRUPT;
    int rc = mproc__queue_block_finish(queue, block, state);
    return rc < 0 ? rc : MPROC_EEND;
}

int mproc__queue_seal(mproc_queue *queue)
{
    mproc__queue_shared *shared = queue->shared;
    if (!(queue->exclusive & MPROC_ROLE_WRITE))
        return MPROC_EEND; /* the state was set under the producers' lock: no put is under way */
    uint32_t sealed = atomic_load_explicit(&shared->sealed, memory_order_acquire);
    int rc = mproc__queue_barrier(queue);
    if (rc < 0)
        return rc;
    uint64_t head = atomic_load_explicit(&shared->head, memory_order_relaxed);
    if (atomic_load_explicit(&shared->tail, memory_order_acquire) != head)
        return -EAGAIN;
    bool told = (sealed & 1u) || atomic_compare_exchange_strong(&shared->sealed, &sealed, sealed | 1u);
    if (!told)
        return -EAGAIN;
    /* Who met a late put's record waits for one that is none now. */
    mproc__queue_post(queue, &shared->done);
    mproc__queue_post(queue, &shared->dead);
    return MPROC_EEND;
}
