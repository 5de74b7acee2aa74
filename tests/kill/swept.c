/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <sched.h>

#include "kill/killsweep.h"
#include "platform/platform.h"
#include "shm/segment_inside.h"

/* A row whose word another process holds is being swept. */
static bool is_quiet(mproc__segment *segment, unsigned row)
{
    pid_t pid = mproc__segment_row_pid(segment, row);
    uint32_t word = atomic_load(mproc__robust_word(&segment->shared->rows[row].life));
    pid_t holder = (pid_t)(word & FUTEX_TID_MASK);
    return pid == 0 ||
           (mproc__segment_row_alive(segment, row) && (!holder || mproc__process_of_thread(holder) == pid));
}

static bool all_quiet(mproc__segment *segment)
{
    for (unsigned row = 0; row < mproc__segment_rows(segment); row++)
        if (!is_quiet(segment, row))
            return false;
    return true;
}

bool kill_swept(mproc__segment *segment)
{
    mproc_deadline deadline = mproc_after_ms(KILL_HARD_MS);
    for (;;) {
        mproc__segment_sweep(segment);
        if (all_quiet(segment))
            return true;
        if (mproc__deadline_past(deadline))
            return false;
        sched_yield();
    }
}
