/* SPDX-License-Identifier: BSD-2-Clause */
/* Writers that are announced: a process that has not called yet is in no row, and "in no row" must not be taken for "gone".
 *
 * An announcement is a row of its own in the name of the process, so that the sleepers look after its life as they do after
 * a participant's. The process joins by another row, as always, and when it first writes it takes its announcements away;
 * should it die in between, whoever sweeps the announcement finds that it came. Rejected: to let the process take over
 * the announced row at its first call; it may have called before it was announced, and from several handles. */
#include "platform/base.h"

#include "channel/queue.h"

/* The row's life word is held. */
static bool expect_mark(mproc__segment *segment, unsigned row, void *context)
{
    (void)segment;
    mproc_queue *queue = context;
    return !(mproc__queue_role_swap(queue, row, 0, MPROC__ROLE_PENDING) & MPROC__ROLE_PENDING);
}

static bool expect_unmark(mproc__segment *segment, unsigned row, void *context)
{
    (void)segment;
    mproc_queue *queue = context;
    return mproc__queue_role_swap(queue, row, MPROC__ROLE_PENDING, 0) & MPROC__ROLE_PENDING;
}

void mproc__queue_expected_came(mproc_queue *queue)
{
    unsigned rows = mproc__segment_rows(queue->segment);
    for (unsigned row = 0; queue->process_shared && row < rows; row++)
        if ((atomic_load_explicit(&queue->shared->roles.rows[row], memory_order_seq_cst) &
             MPROC__ROLE_PENDING) &&
            mproc__segment_row_pid(queue->segment, row) == mproc__pid())
            mproc__segment_unannounce(queue->segment, row, mproc__pid(), expect_unmark, queue);
}

/* It has ended, been waited for, and never came. */
static void expect_lost(mproc_queue *queue, int row)
{
    mproc__queue_role_lose(queue, (unsigned)row);
    atomic_thread_fence(memory_order_seq_cst);
    mproc__queue_post(queue, &queue->shared->items);
    mproc__bell_ring(&queue->bell);
}

int mproc_queue_expect(mproc_queue *queue, int pid)
{
    int row = mproc__queue_enter(queue);
    if (row < 0)
        return row;
    if (pid <= 0)
        return mproc__handle_fail(&queue->handle, -EINVAL, "no process has the number %d", pid);
    if (!queue->process_shared)
        return mproc__handle_fail(&queue->handle, MPROC_EPLACE,
                                  "no other process can write to a queue of thread:");
    uint64_t start = 0, stack;
    (void)mproc__process_times(pid, &start, &stack); /* unknown stays 0 */
    atomic_store_explicit(&queue->shared->counting, 1, memory_order_seq_cst);
    if (mproc__queue_role_came(queue, pid, start))
        return 0;
    int announced = mproc__segment_announce(queue->segment, pid, expect_mark, queue);
    if (announced == -ESRCH) {
        if (!mproc__queue_role_came(queue, pid, start)) /* or it came and went since the last look */
            expect_lost(queue, row);
    } else if (announced < 0) {
        return mproc__queue_answer(queue, announced);
    } else if (mproc__queue_role_came(queue, pid, start)) {
        mproc__segment_unannounce(queue->segment, (unsigned)announced, pid, expect_unmark, queue);
    }
    return 0;
}
