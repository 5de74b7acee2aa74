/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <limits.h>

#include <mproc/sync.h>

#include "shm/noun.h"
#include "shm/shm.h"
#include "shm/shm_list.h"
#include "sync/array.h"
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

/* No occupant: the permits of a plain semaphore stay away when one who took them is killed. */
static int plain_block(void *object, mproc_deadline deadline)
{
    int rc = mproc_semaphore_acquire(object, MPROC_NOW);
    if (rc < 0)
        return rc;
    rc = mproc_semaphore_acquire(object, deadline);
    noun_any(mproc_semaphore_release(object, rc < 0 ? 1 : 2));
    return rc;
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

/* ---- array ---- */

static int array_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_array_create(place, MPROC_ITEM_INT32, 5, MPROC_WITH(mproc_array_options, .name = name),
                              (mproc_array **)ret_object);
}

static int array_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_array_open(place, name, (mproc_array **)ret_object);
}

static int array_block(void *object, mproc_deadline deadline)
{
    return mproc_lock_acquire(mproc_array_lock(object), deadline);
}

static int array_vacate(void *object)
{
    return mproc_lock_release(mproc_array_lock(object));
}

static int array_occupy(void *object)
{
    return mproc_lock_acquire(mproc_array_lock(object), MPROC_FOREVER);
}

static int array_use(void *object)
{
    int32_t items[5];
    int64_t sum;
    int rc = mproc_array_add_int(object, 4, 1, &sum);
    if (rc == 0)
        rc = mproc_array_add_int(object, 4, -1, NULL);
    if (rc == 0)
        rc = mproc_array_read(object, 0, 5, items);
    return rc == 0 ? lock_use(mproc_array_lock(object)) : rc;
}

static void array_everything(void *object, mproc_deadline deadline)
{
    int32_t items[5] = {1, 2, 3, 4, 5};
    char text[300];
    double real;
    int64_t number;
    mproc_array *copy;
    for (size_t i = 0; i < 6; i++) {
        noun_any(mproc_array_add_int(object, i, 1, &number));
        noun_any(mproc_array_set_int(object, i, 1));
        noun_any(mproc_array_get_int(object, i, &number));
        noun_any(mproc_array_compare_set_int(object, i, 1, 2, NULL));
        noun_any(mproc_array_get(object, i, &real));
    }
    noun_any(mproc_array_write(object, 0, 5, items));
    noun_any(mproc_array_read(object, 0, 5, items));
    noun_any(mproc_array_set_text(object, "text"));
    noun_any(mproc_array_set_lock(object, NULL));
    noun_any(mproc_describe(object, text, sizeof(text)));
    if (mproc_array_copy(object, NULL, NULL, &copy) == 0)
        mproc_array_close(&copy);
    if (mproc_array_lock(object))
        lock_everything(mproc_array_lock(object), deadline);
}

/* ---- shm ---- */

static int shm_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_shm_create(place, 100, MPROC_WITH(mproc_shm_options, .name = name),
                            (mproc_shm **)ret_object);
}

static int shm_open_named(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_shm_open(place, name, (mproc_shm **)ret_object);
}

static int shm_use(void *object)
{
    unsigned char *data = mproc_shm_data(object);
    if (!data || mproc_shm_size(object) != 100)
        return -EINVAL;
    data[99]++;
    return 0;
}

static void shm_everything(void *object, mproc_deadline deadline)
{
    char text[300];
    (void)deadline;
    unsigned char *data = mproc_shm_data(object);
    for (size_t i = 0; data && i < mproc_shm_size(object); i++)
        data[i]++;
    (void)mproc_shm_name(object);
    noun_any(mproc_describe(object, text, sizeof(text)));
}

/* ---- shm_list ---- */

static int list_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_shm_list_create(place, MPROC_ARGS("some text", 2, mproc_null()),
                                 MPROC_WITH(mproc_shm_list_options, .name = name),
                                 (mproc_shm_list **)ret_object);
}

static int list_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_shm_list_open(place, name, (mproc_shm_list **)ret_object);
}

static int list_block(void *object, mproc_deadline deadline)
{
    return mproc_shm_list_set(object, 1, mproc_int(2), deadline);
}

/* No call holds the writers' turn for longer than a copy takes. */
static int list_occupy(void *object)
{
    mproc_shm_list *list = object;
    return mproc__robust_acquire(&list->shared->writers, MPROC_FOREVER);
}

static int list_vacate(void *object)
{
    mproc_shm_list *list = object;
    return mproc__robust_release(&list->shared->writers);
}

static int list_use(void *object)
{
    mproc_variant values;
    int rc = mproc_shm_list_set(object, 0, mproc_text("other"), MPROC_NOW);
    if (rc == 0)
        rc = mproc_shm_list_values(object, &values);
    if (rc == 0)
        mproc_variant_clear(&values);
    return rc;
}

static void list_everything(void *object, mproc_deadline deadline)
{
    mproc_variant seen;
    mproc_shm_list *copy;
    size_t number;
    char text[300];
    for (int64_t i = -4; i < 4; i++) {
        noun_any(mproc_shm_list_set(object, i, mproc_text("text"), deadline));
        if (mproc_shm_list_get(object, i, &seen) == 0)
            mproc_variant_clear(&seen);
    }
    noun_any(mproc_shm_list_find(object, mproc_int(3), &number));
    noun_any(mproc_shm_list_occurrences(object, mproc_text("text"), &number));
    if (mproc_shm_list_values(object, &seen) == 0)
        mproc_variant_clear(&seen);
    if (mproc_shm_list_formats(object, &seen) == 0)
        mproc_variant_clear(&seen);
    noun_any(mproc_describe(object, text, sizeof(text)));
    if (mproc_shm_list_copy(object, NULL, NULL, &copy) == 0)
        mproc_shm_list_close(&copy);
}

/* ---- condition ---- */

static int condition_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_condition_create(place, MPROC_WITH(mproc_condition_options, .name = name),
                                  (mproc_condition **)ret_object);
}

static int condition_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_condition_open(place, name, (mproc_condition **)ret_object);
}

static bool never(void *unused)
{
    (void)unused;
    return false;
}

/* One wait of either kind, the lock held around it. */
static int condition_wait_by(mproc_condition *condition, mproc_condition_fn *fn, mproc_deadline deadline)
{
    int rc = mproc_lock_acquire(mproc_condition_lock(condition), deadline);
    if (rc < 0)
        return rc;
    rc = fn ? mproc_condition_wait_for(condition, fn, NULL, deadline)
            : mproc_condition_wait(condition, deadline);
    int released = mproc_lock_release(mproc_condition_lock(condition));
    return released < 0 ? released : rc;
}

static int condition_block(void *object, mproc_deadline deadline)
{
    return condition_wait_by(object, NULL, deadline);
}

static int condition_block_asking(void *object, mproc_deadline deadline)
{
    return condition_wait_by(object, never, deadline);
}

static int condition_use(void *object)
{
    mproc_lock *lock = mproc_condition_lock(object);
    int rc = mproc_lock_acquire(lock, MPROC_NOW);
    if (rc < 0)
        return rc;
    rc = mproc_condition_notify(object, 2);
    int waited = mproc_condition_wait(object, MPROC_NOW);
    if (rc == 0 && waited != -ETIMEDOUT)
        rc = waited;
    int released = mproc_lock_release(lock);
    return rc < 0 ? rc : released;
}

static void condition_everything(void *object, mproc_deadline deadline)
{
    mproc_lock *lock = mproc_condition_lock(object);
    char text[200];
    int rc = mproc_lock_acquire(lock, deadline);
    noun_any(mproc_condition_notify(object, 1));
    noun_any(mproc_condition_wait(object, deadline));
    noun_any(mproc_condition_notify(object, UINT_MAX));
    noun_any(mproc_condition_wait_for(object, never, NULL, deadline));
    if (rc >= 0)
        noun_any(mproc_lock_release(lock));
    noun_any(mproc_describe(object, text, sizeof(text)));
}

static void condition_in_time(void *object, mproc_deadline deadline)
{
    mproc_lock *lock = mproc_condition_lock(object);
    for (int i = 0; i < 50; i++) {
        int rc = mproc_lock_acquire(lock, deadline);
        noun_any(mproc_condition_notify(object, i % 2 ? 1 : UINT_MAX));
        if (rc >= 0)
            noun_any(mproc_lock_release(lock));
    }
}

/* ---- rwlock ---- */

static int rwlock_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_rwlock_create(place, MPROC_WITH(mproc_rwlock_options, .name = name),
                               (mproc_rwlock **)ret_object);
}

static int rwlock_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_rwlock_open(place, name, (mproc_rwlock **)ret_object);
}

static int rwlock_use(void *object)
{
    unsigned readers;
    int rc = mproc_rwlock_acquire_write(object, MPROC_NOW);
    if (rc >= 0)
        rc = mproc_rwlock_release(object);
    if (rc >= 0)
        rc = mproc_rwlock_acquire_read(object, MPROC_NOW);
    if (rc >= 0)
        rc = mproc_rwlock_holders(object, &readers, NULL, NULL);
    return rc < 0 ? rc : mproc_rwlock_release(object);
}

static int rwlock_occupy(void *object)
{
    return mproc_rwlock_acquire_read(object, MPROC_FOREVER);
}

static int rwlock_block(void *object, mproc_deadline deadline)
{
    return mproc_rwlock_acquire_write(object, deadline);
}

static int rwlock_vacate(void *object)
{
    return mproc_rwlock_release(object);
}

static void rwlock_everything(void *object, mproc_deadline deadline)
{
    unsigned readers;
    int pid, tid;
    int rc = mproc_rwlock_acquire_read(object, deadline);
    noun_any(mproc_rwlock_holders(object, &readers, &pid, &tid));
    if (rc >= 0)
        noun_any(mproc_rwlock_release(object));
    rc = mproc_rwlock_acquire_write(object, deadline);
    noun_any(mproc_rwlock_holders(object, &readers, &pid, &tid));
    if (rc >= 0)
        noun_any(mproc_rwlock_release(object));
    noun_any(mproc_rwlock_release(object));
    noun_any(mproc_rwlock_repair(object));
}

/* A reader that waits for a writer. */
static int rwlock_occupy_write(void *object)
{
    return mproc_rwlock_acquire_write(object, MPROC_FOREVER);
}

static int rwlock_block_read(void *object, mproc_deadline deadline)
{
    return mproc_rwlock_acquire_read(object, deadline);
}

/* ---- barrier: of two, and the other one never comes ---- */

static int barrier_create(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_barrier_create(place, 2, MPROC_WITH(mproc_barrier_options, .name = name),
                                (mproc_barrier **)ret_object);
}

static int barrier_open(mproc_place *place, const char *name, void **ret_object)
{
    return mproc_barrier_open(place, name, (mproc_barrier **)ret_object);
}

static int barrier_use(void *object)
{
    unsigned waiting;
    int rc = mproc_barrier_join(object);
    if (rc == 0)
        rc = mproc_barrier_abort(object);
    if (rc == 0)
        rc = mproc_barrier_reset(object);
    if (rc == 0)
        rc = mproc_barrier_status(object, NULL, &waiting, NULL);
    return rc;
}

/* A deadline breaks it. */
static int barrier_block(void *object, mproc_deadline deadline)
{
    int rc = mproc_barrier_wait(object, deadline, NULL);
    int reset = mproc_barrier_reset(object);
    return rc == -ETIMEDOUT && reset < 0 ? reset : rc;
}

static void barrier_everything(void *object, mproc_deadline deadline)
{
    unsigned index, parties, waiting;
    bool broken;
    noun_any(mproc_barrier_join(object));
    for (int round = 0; round < 2; round++) {
        noun_any(mproc_barrier_wait(object, deadline, &index));
        noun_any(mproc_barrier_status(object, &parties, &waiting, &broken));
        noun_any(mproc_barrier_abort(object));
        noun_any(mproc_barrier_wait(object, MPROC_NOW, &index));
        noun_any(mproc_barrier_reset(object));
    }
}

const noun_case noun_cases[] = {
    {"lock", MPROC_TYPE_LOCK, lock_create, lock_open, mproc__noun_unpack, lock_use, lock_occupy, lock_block,
     lock_vacate, lock_everything},
    {"semaphore", MPROC_TYPE_SEMAPHORE, plain_create, semaphore_open, mproc__noun_unpack, semaphore_use, NULL,
     plain_block, NULL, semaphore_everything},
    {"bounded semaphore", MPROC_TYPE_SEMAPHORE, bounded_create, semaphore_open, mproc__noun_unpack,
     semaphore_use, semaphore_occupy, semaphore_block, semaphore_vacate, semaphore_everything},
    {"array", MPROC_TYPE_ARRAY, array_create, array_open, mproc__array_unpack, array_use, array_occupy,
     array_block, array_vacate, array_everything},
    {"shm", MPROC_TYPE_SHM, shm_create, shm_open_named, mproc__noun_unpack, shm_use, NULL, NULL, NULL,
     shm_everything},
    {"shm_list", MPROC_TYPE_SHM_LIST, list_create, list_open, mproc__noun_unpack, list_use, list_occupy,
     list_block, list_vacate, list_everything},
    {"condition", MPROC_TYPE_CONDITION, condition_create, condition_open, mproc__noun_unpack, condition_use,
     NULL, condition_block, NULL, condition_everything, condition_in_time},
    {"condition asked", MPROC_TYPE_CONDITION, condition_create, condition_open, mproc__noun_unpack,
     condition_use, NULL, condition_block_asking, NULL, condition_everything, condition_in_time},
    {"rwlock, written", MPROC_TYPE_RWLOCK, rwlock_create, rwlock_open, mproc__noun_unpack, rwlock_use,
     rwlock_occupy, rwlock_block, rwlock_vacate, rwlock_everything},
    {"rwlock, read", MPROC_TYPE_RWLOCK, rwlock_create, rwlock_open, mproc__noun_unpack, rwlock_use,
     rwlock_occupy_write, rwlock_block_read, rwlock_vacate, rwlock_everything},
    {"barrier", MPROC_TYPE_BARRIER, barrier_create, barrier_open, mproc__noun_unpack, barrier_use, NULL,
     barrier_block, NULL, barrier_everything},
    {.name = NULL},
};

unsigned noun_case_count(void)
{
    return (unsigned)MPROC__COUNT(noun_cases) - 1;
}
