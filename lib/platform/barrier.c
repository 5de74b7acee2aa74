/* SPDX-License-Identifier: BSD-2-Clause */
/* A fence for two, paid by one: the side that seldom comes makes a system call, and the side that comes all the time
 * makes none of its own. By membarrier's global expedited command, the one that reaches other processes: it interrupts
 * the CPUs on which a thread of a registered process runs (3 us with one such, 0.3 with none), and a thread that does not run
 * has passed a fence when it was switched out. */
#include "platform/base.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/platform.h"

static _Atomic uint64_t joined; /* the incarnation that did */

bool mproc__barrier_joined(void)
{
    return atomic_load_explicit(&joined, memory_order_relaxed) == mproc__incarnation();
}

int mproc__barrier_join(void)
{
    if (mproc__barrier_joined())
        return 0;
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) != 0)
        return -ENOSYS;
    atomic_store_explicit(&joined, mproc__incarnation(), memory_order_relaxed);
    return 0;
}

int mproc__barrier(void)
{
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) != 0)
        return -ENOSYS;
    return 0;
}
