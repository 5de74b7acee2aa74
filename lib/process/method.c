/* SPDX-License-Identifier: BSD-2-Clause */
/* The program's default start method: what a start gets whose options name none. */
#include "platform/base.h"

#include "platform/story.h"
#include "process/self.h"

/* 0: not set yet. METHOD_USED: starts have used the default, so that setting it now would give one program
 * two defaults. */
enum { METHOD_USED = 0x100 };
MPROC__FORK_DATA static _Atomic unsigned default_method;

int mproc_set_start(mproc_start method)
{
    unsigned none = 0;
    if (method < MPROC_START_FORK || method > MPROC_START_THREAD)
        return mproc__fail(-EINVAL, "mproc_set_start: %d is no start method", (int)method);
    if (!atomic_compare_exchange_strong(&default_method, &none, (unsigned)method))
        return mproc__fail(MPROC_ESTATE,
                           "mproc_set_start: the default is set once, before the first start uses it; "
                           "mproc_reset_start changes it at any time");
    return 0;
}

int mproc_reset_start(mproc_start method)
{
    if (method < MPROC_START_DEFAULT || method > MPROC_START_THREAD)
        return mproc__fail(-EINVAL, "mproc_reset_start: %d is no start method", (int)method);
    atomic_store(&default_method, (unsigned)method);
    return 0;
}

mproc_start mproc_get_start(void)
{
    unsigned method = atomic_load(&default_method) & ~(unsigned)METHOD_USED;
    if (method)
        return (mproc_start)method;
    return mproc__self_get()->method ? mproc__self_get()->method : MPROC_START_FORK;
}

bool mproc__start_named(void)
{
    return atomic_load(&default_method) & ~(unsigned)METHOD_USED;
}

void mproc__start_use_default(void)
{
    atomic_fetch_or(&default_method, METHOD_USED);
}

MPROC__FORK_TEXT void mproc__start_forget(void)
{
    atomic_store(&default_method, 0);
}
