/* SPDX-License-Identifier: BSD-2-Clause */
/* The identity of this process in its family, and the program's default start method. */
#include "platform/base.h"

#include <pthread.h>
#include <string.h>

#include "platform/platform.h"
#include "platform/story.h"
#include "process/self.h"

static mproc__self self; /* zero: the first process */
static pthread_once_t self_once = PTHREAD_ONCE_INIT;

/* 0: not set yet. METHOD_USED: starts have used the default, so that setting it now would give one program
 * two defaults. */
enum { METHOD_USED = 0x100 };
static _Atomic unsigned default_method;

/* A child that the program forked by itself begins a family of its own. One that the library forks is told
 * who it is right after. */
static void self_forget(void)
{
    memset(&self, 0, sizeof self);
}

static void self_begin(void)
{
    pthread_atfork(NULL, NULL, self_forget);
}

mproc__self *mproc__self_get(void)
{
    pthread_once(&self_once, self_begin);
    return &self;
}

void mproc__self_for_child(mproc__self *ret_child)
{
    uint64_t stack;
    const mproc__self *me = mproc__self_get();
    memset(ret_child, 0, sizeof *ret_child);
    memcpy(ret_child->parent_name, me->name[0] ? me->name : MPROC__MAIN_NAME,
           me->name[0] ? sizeof me->name : sizeof MPROC__MAIN_NAME);
    ret_child->parent_pid = mproc__pid();
    if (mproc__process_times(ret_child->parent_pid, &ret_child->parent_start_ticks, &stack) < 0)
        ret_child->parent_start_ticks = 0;
}

int mproc_set_start(mproc_start method)
{
    unsigned none = 0;
    if (method < MPROC_START_FORK || method > MPROC_START_THREAD)
        return mproc__fail(-EINVAL, "mproc_set_start: %d is no start method", (int)method);
    if (!atomic_compare_exchange_strong(&default_method, &none, (unsigned)method))
        return mproc__fail(MPROC_ESTATE,
                           "mproc_set_start: the default is set once, before the first start uses it");
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
