/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include "process/process_support.h"
#include "process/sync_travellers.h"

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LIMIT_MS));
}

/* ---- lock, recursive or not ---- */

static int lock_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = name), (mproc_lock **)ret_object);
}

static int rlock_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = name, .recursive = true),
                             (mproc_lock **)ret_object);
}

static int lock_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_lock_open(place, name, (mproc_lock **)ret_object);
}

static int lock_hold(void *lock)
{
    return mproc_lock_acquire(lock, MPROC_NOW) == 0 ? 0 : 1;
}

static int lock_let(void *lock)
{
    return mproc_lock_release(lock) == 0 ? 0 : 2;
}

static int lock_child(mproc_call *call, void *lock)
{
    if (mproc_lock_acquire(lock, MPROC_NOW) != -ETIMEDOUT || mproc_lock_release(lock) != -EPERM)
        return 3;
    if (gate_say(call, ARG_GATE) || mproc_lock_acquire(lock, soon()) != 0)
        return 4;
    return lock_let(lock);
}

static int lock_after(void *lock)
{
    return lock_hold(lock) || lock_let(lock);
}

static int rlock_hold(void *lock)
{
    return lock_hold(lock) || lock_hold(lock);
}

static int rlock_let(void *lock)
{
    return lock_let(lock) || !mproc_lock_is_held(lock) || lock_let(lock);
}

static int rlock_child(mproc_call *call, void *lock)
{
    int fault = lock_child(call, lock);
    return fault ? fault : lock_after(lock) || rlock_hold(lock) || rlock_let(lock);
}

static int lock_leave(void *lock)
{
    return mproc_lock_acquire(lock, soon()) == 0 ? 0 : 5;
}

static int lock_mourn(void *lock)
{
    return mproc_lock_acquire(lock, soon()) == MPROC_RECOVERED ? lock_let(lock) : 6;
}

/* ---- semaphore, bounded or not ---- */

static int semaphore_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_semaphore_create(place, 0, MPROC_WITH(mproc_semaphore_options, .name = name),
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

static int semaphore_hold(void *semaphore)
{
    return mproc_semaphore_acquire(semaphore, MPROC_NOW) == 0 ? 0 : 1;
}

static int semaphore_let(void *semaphore)
{
    return mproc_semaphore_release(semaphore, 1) == 0 ? 0 : 2;
}

static int semaphore_wait(mproc_call *call, void *semaphore)
{
    if (mproc_semaphore_acquire(semaphore, MPROC_NOW) != -ETIMEDOUT)
        return 3;
    return gate_say(call, ARG_GATE) || mproc_semaphore_acquire(semaphore, soon()) != 0 ? 4 : 0;
}

static int semaphore_child(mproc_call *call, void *semaphore)
{
    int fault = semaphore_wait(call, semaphore);
    return fault ? fault : mproc_semaphore_release(semaphore, 2) != 0;
}

static int bounded_child(mproc_call *call, void *semaphore)
{
    int fault = semaphore_wait(call, semaphore);
    return fault ? fault : semaphore_let(semaphore);
}

static int semaphore_after(void *semaphore)
{
    unsigned value;
    return mproc_semaphore_value(semaphore, &value) == 0 && value == 2 ? 0 : 5;
}

static int bounded_after(void *semaphore)
{
    return semaphore_hold(semaphore) || semaphore_let(semaphore) ||
           mproc_semaphore_release(semaphore, 1) != -ERANGE;
}

static int semaphore_mourn(void *semaphore)
{
    return mproc_semaphore_acquire(semaphore, soon()) == 0 ? 0 : 6;
}

static int bounded_mourn(void *semaphore)
{
    return semaphore_mourn(semaphore) || semaphore_let(semaphore);
}

/* ---- event ---- */

static int event_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_event_create(place, MPROC_WITH(mproc_event_options, .name = name),
                              (mproc_event **)ret_object);
}

static int event_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_event_open(place, name, (mproc_event **)ret_object);
}

static int event_child(mproc_call *call, void *event)
{
    if (mproc_event_is_set(event) || gate_say(call, ARG_GATE))
        return 1;
    return mproc_event_wait(event, soon()) || mproc_event_clear(event) ? 2 : 0;
}

static int event_let(void *event)
{
    return mproc_event_set(event);
}

static int event_after(void *event)
{
    return mproc_event_is_set(event);
}

static int event_mourn(void *event)
{
    return mproc_event_wait(event, soon());
}

/* ---- condition: the parent waits for the child, then the child for the parent ---- */

static int condition_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_condition_create(place, MPROC_WITH(mproc_condition_options, .name = name),
                                  (mproc_condition **)ret_object);
}

static int condition_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_condition_open(place, name, (mproc_condition **)ret_object);
}

static int condition_hold(void *condition)
{
    return lock_hold(mproc_condition_lock(condition));
}

static int condition_child(mproc_call *call, void *condition)
{
    mproc_lock *lock = mproc_condition_lock(condition);
    if (mproc_lock_acquire(lock, MPROC_NOW) != -ETIMEDOUT || gate_say(call, ARG_GATE))
        return 1;
    if (mproc_lock_acquire(lock, soon()) != 0 || mproc_condition_notify(condition, 1))
        return 2;
    return mproc_condition_wait(condition, soon()) || lock_let(lock) ? 3 : 0;
}

static int condition_let(void *condition)
{
    if (mproc_condition_wait(condition, soon()) || mproc_condition_notify(condition, 1))
        return 4;
    return lock_let(mproc_condition_lock(condition));
}

static int condition_after(void *condition)
{
    return lock_after(mproc_condition_lock(condition));
}

static int condition_leave(void *condition)
{
    return lock_leave(mproc_condition_lock(condition));
}

static int condition_mourn(void *condition)
{
    return lock_mourn(mproc_condition_lock(condition));
}

/* ---- barrier of two ---- */

static int barrier_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_barrier_create(place, 2, MPROC_WITH(mproc_barrier_options, .name = name),
                                (mproc_barrier **)ret_object);
}

static int barrier_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_barrier_open(place, name, (mproc_barrier **)ret_object);
}

static int barrier_meet(void *barrier)
{
    unsigned index;
    for (int round = 0; round < 3; round++)
        if (mproc_barrier_wait(barrier, soon(), &index) || index > 1)
            return 1;
    return 0;
}

static int barrier_child(mproc_call *call, void *barrier)
{
    return gate_say(call, ARG_GATE) || barrier_meet(barrier);
}

static int barrier_after(void *barrier)
{
    unsigned parties, waiting;
    bool broken;
    if (mproc_barrier_status(barrier, &parties, &waiting, &broken))
        return 2;
    return parties == 2 && waiting == 0 && !broken ? 0 : 3;
}

static int barrier_leave(void *barrier)
{
    return mproc_barrier_join(barrier);
}

static int barrier_mourn(void *barrier)
{
    return mproc_barrier_wait(barrier, soon(), NULL) == MPROC_EBROKEN ? 0 : 4;
}

/* ---- reader-writer lock ---- */

static int rwlock_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_rwlock_create(place, MPROC_WITH(mproc_rwlock_options, .name = name),
                               (mproc_rwlock **)ret_object);
}

static int rwlock_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_rwlock_open(place, name, (mproc_rwlock **)ret_object);
}

static int rwlock_hold(void *rwlock)
{
    return mproc_rwlock_acquire_read(rwlock, MPROC_NOW) == 0 ? 0 : 1;
}

static int rwlock_let(void *rwlock)
{
    return mproc_rwlock_release(rwlock) == 0 ? 0 : 2;
}

static int rwlock_child(mproc_call *call, void *rwlock)
{
    if (mproc_rwlock_acquire_write(rwlock, MPROC_NOW) != -ETIMEDOUT)
        return 3;
    if (mproc_rwlock_acquire_read(rwlock, soon()) != 0 || rwlock_let(rwlock))
        return 4;
    if (gate_say(call, ARG_GATE) || mproc_rwlock_acquire_write(rwlock, soon()) != 0)
        return 5;
    return rwlock_let(rwlock);
}

static int rwlock_after(void *rwlock)
{
    return rwlock_hold(rwlock) || rwlock_let(rwlock);
}

static int rwlock_leave(void *rwlock)
{
    return mproc_rwlock_acquire_write(rwlock, soon()) == 0 ? 0 : 6;
}

static int rwlock_mourn(void *rwlock)
{
    return mproc_rwlock_acquire_write(rwlock, soon()) == MPROC_RECOVERED ? rwlock_let(rwlock) : 7;
}

/* ---- memory: array, bytes, list ---- */

static int array_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_array_create(place, MPROC_ITEM_INT32, 2, MPROC_WITH(mproc_array_options, .name = name),
                              (mproc_array **)ret_object);
}

static int array_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_array_open(place, name, (mproc_array **)ret_object);
}

static int array_hold(void *array)
{
    return mproc_array_set_int(array, 0, 5);
}

static int array_child(mproc_call *call, void *array)
{
    int64_t seen;
    if (mproc_array_get_int(array, 0, &seen) || seen != 5)
        return 1;
    return mproc_array_set_int(array, 1, 7) || gate_say(call, ARG_GATE);
}

static int array_after(void *array)
{
    int64_t seen;
    return mproc_array_get_int(array, 1, &seen) == 0 && seen == 7 ? 0 : 2;
}

static int array_leave(void *array)
{
    return lock_leave(mproc_array_lock(array));
}

static int array_mourn(void *array)
{
    return lock_mourn(mproc_array_lock(array));
}

static int shm_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_shm_create(place, 100, MPROC_WITH(mproc_shm_options, .name = name),
                            (mproc_shm **)ret_object);
}

static int shm_open_object(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_shm_open(place, name, (mproc_shm **)ret_object);
}

static int shm_hold(void *shm)
{
    strcpy(mproc_shm_data(shm), "out");
    return 0;
}

static int shm_child(mproc_call *call, void *shm)
{
    if (mproc_shm_size(shm) < 100 || strcmp(mproc_shm_data(shm), "out") != 0)
        return 1;
    strcpy(mproc_shm_data(shm), "back");
    return gate_say(call, ARG_GATE);
}

static int shm_after(void *shm)
{
    return strcmp(mproc_shm_data(shm), "back") != 0;
}

static int shm_leave(void *shm)
{
    strcpy(mproc_shm_data(shm), "back");
    return 0;
}

static int list_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_shm_list_create(place, MPROC_ARGS("out", 2.5, 3),
                                 MPROC_WITH(mproc_shm_list_options, .name = name),
                                 (mproc_shm_list **)ret_object);
}

static int list_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_shm_list_open(place, name, (mproc_shm_list **)ret_object);
}

static int list_child(mproc_call *call, void *list)
{
    size_t index;
    if (mproc_shm_list_find(list, mproc_text("out"), &index) || index != 0)
        return 1;
    return mproc_shm_list_set(list, 2, mproc_int(17), soon()) || gate_say(call, ARG_GATE);
}

static int list_after(void *list)
{
    size_t index;
    return mproc_shm_list_find(list, mproc_int(17), &index) || index != 2;
}

static int list_leave(void *list)
{
    return mproc_shm_list_set(list, 2, mproc_int(17), soon());
}

const traveller travellers[] = {
    {"lock", MPROC_TYPE_LOCK, lock_create, lock_open, lock_hold, lock_child, lock_let, lock_after, lock_leave,
     lock_mourn},
    {"recursive lock", MPROC_TYPE_LOCK, rlock_create, lock_open, rlock_hold, rlock_child, rlock_let,
     lock_after, lock_leave, lock_mourn},
    {"semaphore", MPROC_TYPE_SEMAPHORE, semaphore_create, semaphore_open, NULL, semaphore_child,
     semaphore_let, semaphore_after, semaphore_let, semaphore_mourn},
    {"bounded semaphore", MPROC_TYPE_SEMAPHORE, bounded_create, semaphore_open, semaphore_hold, bounded_child,
     semaphore_let, bounded_after, semaphore_hold, bounded_mourn},
    {"event", MPROC_TYPE_EVENT, event_create, event_open, NULL, event_child, event_let, event_after,
     event_let, event_mourn},
    {"condition", MPROC_TYPE_CONDITION, condition_create, condition_open, condition_hold, condition_child,
     condition_let, condition_after, condition_leave, condition_mourn},
    {"barrier", MPROC_TYPE_BARRIER, barrier_create, barrier_open, NULL, barrier_child, barrier_meet,
     barrier_after, barrier_leave, barrier_mourn},
    {"rwlock", MPROC_TYPE_RWLOCK, rwlock_create, rwlock_open, rwlock_hold, rwlock_child, rwlock_let,
     rwlock_after, rwlock_leave, rwlock_mourn},
    {"array", MPROC_TYPE_ARRAY, array_create, array_open, array_hold, array_child, NULL, array_after,
     array_leave, array_mourn},
    {"shm", MPROC_TYPE_SHM, shm_create, shm_open_object, shm_hold, shm_child, NULL, shm_after, shm_leave,
     shm_after},
    {"shm_list", MPROC_TYPE_SHM_LIST, list_create, list_open, NULL, list_child, NULL, list_after, list_leave,
     list_after},
};

unsigned traveller_count(void)
{
    return (unsigned)MPROC__COUNT(travellers);
}
