/* SPDX-License-Identifier: BSD-2-Clause */
/* The one list of the nouns of L2 and L3. */
#include "platform/base.h"

#include "shm/shm.h"
#include "shm/shm_list.h"
#include "sync/array.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/lock.h"
#include "sync/nouns.h"
#include "sync/rwlock.h"
#include "sync/semaphore.h"

void mproc__nouns_register(void)
{
    mproc__noun_register(&mproc__array_noun);
    mproc__noun_register(&mproc__barrier_noun);
    mproc__noun_register(&mproc__condition_noun);
    mproc__noun_register(&mproc__event_noun);
    mproc__noun_register(&mproc__lock_noun);
    mproc__noun_register(&mproc__rwlock_noun);
    mproc__noun_register(&mproc__semaphore_noun);
    mproc__noun_register(&mproc__shm_noun);
    mproc__noun_register(&mproc__shm_list_noun);
}
