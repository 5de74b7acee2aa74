/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <mproc/sync.h>

#include "shm/noun.h"
#include "sync/noun_cases.h"

/* ---- lock ---- */

static int lock_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = name, .recursive = true),
                             (mproc_lock **)ret_object);
}

static int lock_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_lock_open(place, name, (mproc_lock **)ret_object);
}

static int lock_block(void *object, mproc_deadline deadline)
{
    return mproc_lock_acquire(object, deadline);
}

static int lock_vacate(void *object)
{
    return mproc_lock_release(object);
}

static int lock_occupy(void *object)
{
    return mproc_lock_acquire(object, MPROC_FOREVER);
}

static int lock_use(void *object)
{
    uint64_t token;
    int rc = mproc_lock_acquire(object, MPROC_NOW);
    if (rc >= 0)
        rc = mproc_lock_token(object, &token);
    return rc < 0 ? rc : mproc_lock_release(object);
}

static void lock_everything(void *object, mproc_deadline deadline)
{
    uint64_t token;
    int rc = mproc_lock_acquire(object, deadline);
    noun_any(mproc_lock_token(object, &token));
    noun_any(mproc_lock_is_held(object));
    if (rc >= 0)
        noun_any(mproc_lock_release(object));
    noun_any(mproc_lock_release(object));
    noun_any(mproc_lock_repair(object));
}

/* ---- semaphore ---- */

static int plain_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_semaphore_create(place, 1, MPROC_WITH(mproc_semaphore_options, .name = name),
                                  (mproc_semaphore **)ret_object);
}

static int bounded_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_semaphore_create(place, 1,
                                  MPROC_WITH(mproc_semaphore_options, .name = name, .bounded = true),
                                  (mproc_semaphore **)ret_object);
}

static int semaphore_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_semaphore_open(place, name, (mproc_semaphore **)ret_object);
}

static int semaphore_block(void *object, mproc_deadline deadline)
{
    return mproc_semaphore_acquire(object, deadline);
}

static int semaphore_vacate(void *object)
{
    return mproc_semaphore_release(object, 1);
}

static int semaphore_occupy(void *object)
{
    return mproc_semaphore_acquire(object, MPROC_FOREVER);
}

static int semaphore_use(void *object)
{
    unsigned value;
    int rc = mproc_semaphore_acquire(object, MPROC_NOW);
    if (rc == 0)
        rc = mproc_semaphore_value(object, &value);
    return rc < 0 ? rc : mproc_semaphore_release(object, 1);
}

static void semaphore_everything(void *object, mproc_deadline deadline)
{
    unsigned value;
    int rc = mproc_semaphore_acquire(object, deadline);
    noun_any(mproc_semaphore_value(object, &value));
    if (rc == 0)
        noun_any(mproc_semaphore_release(object, 1));
    noun_any(mproc_semaphore_release(object, 3));
}

const noun_case noun_cases[] = {
    {"lock", MPROC_TYPE_LOCK, lock_create, lock_open, mproc__noun_unpack, lock_use, lock_occupy, lock_block,
     lock_vacate, lock_everything},
    {"semaphore", MPROC_TYPE_SEMAPHORE, plain_create, semaphore_open, mproc__noun_unpack, semaphore_use,
     semaphore_occupy, semaphore_block, semaphore_vacate, semaphore_everything},
    {"bounded semaphore", MPROC_TYPE_SEMAPHORE, bounded_create, semaphore_open, mproc__noun_unpack,
     semaphore_use, semaphore_occupy, semaphore_block, semaphore_vacate, semaphore_everything},
    {.name = NULL},
};

unsigned noun_case_count(void)
{
    return (unsigned)MPROC__COUNT(noun_cases) - 1;
}
