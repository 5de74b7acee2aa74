/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks: the public calls. What a lock is in a home is in lock_local.c and, for servers, in lib/manager. */
#include "platform/base.h"

#include "platform/story.h"
#include "shm/place.h"
#include "sync/lock.h"

static inline const mproc__lock_ops *lock_ops(const mproc_lock *lock)
{
    return (const mproc__lock_ops *)(const void *)lock->handle.ops;
}

int mproc_lock_create(mproc_place *place, const mproc_lock_options *options, mproc_lock **ret_lock)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__options_check(options, sizeof(*options), sizeof(*options), "mproc_lock_options");
    if (code == 0)
        code = mproc__place_home(place, &home);
    if (code == 0 && !ret_lock)
        code = mproc__fail(-EINVAL, "nowhere to put the lock");
    if (code < 0)
        return code;
    if (home == MPROC__HOME_SERVER)
        return place->server->lock_create(place, options, ret_lock);
    return mproc__lock_local_create(place, options, ret_lock);
}

int mproc_lock_open(mproc_place *place, const char *name, mproc_lock **ret_lock)
{
    mproc__home home = MPROC__HOME_HOST;
    int code = mproc__place_home(place, &home);
    if (code == 0 && (!name || !ret_lock))
        code = mproc__fail(-EINVAL, "no name, or nowhere to put the lock");
    if (code < 0)
        return code;
    if (home == MPROC__HOME_SERVER)
        return place->server->lock_open(place, name, ret_lock);
    return mproc__lock_local_open(place, name, ret_lock);
}

void mproc_lock_close(mproc_lock **lock)
{
    mproc__handle_close((void **)lock, MPROC_TYPE_LOCK);
}

int mproc_lock_acquire(mproc_lock *lock, mproc_deadline deadline)
{
    int code = mproc__handle_check(lock, MPROC_TYPE_LOCK);
    return MPROC__LIKELY(code == 0) ? lock_ops(lock)->acquire(lock, deadline) : code;
}

int mproc_lock_release(mproc_lock *lock)
{
    int code = mproc__handle_check(lock, MPROC_TYPE_LOCK);
    return MPROC__LIKELY(code == 0) ? lock_ops(lock)->release(lock) : code;
}

bool mproc_lock_is_held(const mproc_lock *lock)
{
    return mproc__handle_check(lock, MPROC_TYPE_LOCK) == 0 && lock_ops(lock)->is_held(lock);
}

int mproc_lock_owner(mproc_lock *lock, int *ret_pid, int *ret_tid)
{
    int pid, tid;
    int code = mproc__handle_check(lock, MPROC_TYPE_LOCK);
    if (code == 0 && !lock_ops(lock)->owner)
        code = mproc__handle_fail(&lock->handle, MPROC_EPLACE, "the server does not tell who holds a lock");
    if (code == 0)
        code = lock_ops(lock)->owner(lock, ret_pid ? ret_pid : &pid, ret_tid ? ret_tid : &tid);
    return code;
}

int mproc_lock_repair(mproc_lock *lock)
{
    int code = mproc__handle_check(lock, MPROC_TYPE_LOCK);
    return code == 0 ? lock_ops(lock)->repair(lock) : code;
}

int mproc_lock_token(mproc_lock *lock, uint64_t *ret_token)
{
    int code = mproc__handle_check(lock, MPROC_TYPE_LOCK);
    if (code == 0 && !ret_token)
        return mproc__handle_fail(&lock->handle, -EINVAL, "nowhere to put the token");
    return code == 0 ? lock_ops(lock)->token(lock, ret_token) : code;
}

mproc_lock *mproc__lock_enter(mproc_lock *lock, mproc_deadline deadline)
{
    return mproc_lock_acquire(lock, deadline) >= 0 ? lock : NULL;
}

void mproc__lock_leave(mproc_lock **lock)
{
    if (*lock)
        mproc_lock_release(*lock);
}
