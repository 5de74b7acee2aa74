/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows in the name of processes that have not called yet.
 *
 * Such a row looks like one whose life word was handed back: nobody holds the word, and pidfd and start time answer whether
 * the process lives. So sweepers and sleepers need to know nothing new. The stack address stays unknown: the process may
 * become another program before it calls. */
#include "platform/base.h"

#include <errno.h>
#include <signal.h>

#include "platform/story.h"
#include "shm/segment_inside.h"

int mproc__segment_announce(mproc__segment *segment, pid_t pid, mproc__mark_fn *mark, void *context)
{
    uint64_t start = 0, stack = 0;
    int code = mproc__process_times(pid, &start, &stack);
    if (code < 0 && kill(pid, 0) < 0 && errno == ESRCH)
        return mproc__fail(-ESRCH, "there is no process %d", (int)pid);
    int index = mproc__row_claim(segment);
    if (index < 0)
        return index;
    mproc__row_shared *row = &segment->shared->rows[index];
    atomic_store_explicit(&row->start_ticks, start, memory_order_relaxed);
    atomic_store_explicit(&row->stack_address, 0, memory_order_relaxed);
    mproc__row_sign(segment, (unsigned)index, pid, MPROC__IDENTITY_HANDED_BACK);
    (void)mark(segment, (unsigned)index, context);
    mproc__robust_release(&row->life);
    mproc__membership_changed(segment->shared);
    return index;
}

void mproc__segment_unannounce(mproc__segment *segment, unsigned index, pid_t pid, mproc__mark_fn *unmark,
                               void *context)
{
    mproc__row_shared *row = &segment->shared->rows[index];
    if (mproc__robust_acquire(&row->life, mproc_after_ms(MPROC__SWEEP_MS)) < 0)
        return;
    uint64_t identity = atomic_load_explicit(&row->identity, memory_order_acquire);
    bool still = (pid_t)(identity & UINT32_MAX) == pid && (identity & MPROC__IDENTITY_HANDED_BACK) &&
                 !(identity & MPROC__IDENTITY_UNBURIED);
    if (still && unmark(segment, index, context)) {
        atomic_store_explicit(&row->identity, 0, memory_order_release);
        mproc__membership_changed(segment->shared);
    }
    mproc__robust_release(&row->life);
}
