/* SPDX-License-Identifier: BSD-2-Clause */
/* The identity of this process in its family. */
#include "platform/base.h"

#include <pthread.h>
#include <string.h>

#include "platform/platform.h"
#include "process/self.h"

MPROC__FORK_DATA static mproc__self self; /* zero: the first process */

/* A child that the program forked by itself begins a family of its own. One that the library forks is told
 * who it is right after. */
MPROC__FORK_TEXT static void self_forget(void)
{
    memset(&self, 0, sizeof self);
    mproc__log_name_process(NULL);
    mproc__thread_forget();
}

/* At the program's start: at the first use it might come while another thread forks, too late for that child. */
__attribute__((constructor(101))) static void self_begin(void)
{
    pthread_atfork(NULL, NULL, self_forget);
}

MPROC__FORK_TEXT mproc__self *mproc__self_get(void)
{
    return &self;
}

void mproc__self_for_child(mproc__self *ret_child)
{
    const mproc__self *me = mproc__self_get();
    memset(ret_child, 0, sizeof *ret_child);
    memcpy(ret_child->parent_name, me->name[0] ? me->name : MPROC__MAIN_NAME,
           me->name[0] ? sizeof me->name : sizeof MPROC__MAIN_NAME);
    ret_child->log_level = mproc_log_get_level();
    ret_child->log_on_stderr = mproc__log_on_stderr();
    ret_child->parent_pid = mproc__pid();
    ret_child->parent_start_ticks = mproc__start_ticks();
}
