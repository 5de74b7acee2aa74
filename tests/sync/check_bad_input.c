/* SPDX-License-Identifier: BSD-2-Clause */
/* What no program means to pass, to every public call of shm.h and sync.h: each its own error, and nothing happens. */
#include "platform/base.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <mproc/shm.h>
#include <mproc/sync.h>
#include "data/handle.h"
#include "shm/place.h"
#include "support/support.h"
#include "sync/nouns.h"

enum { LIMIT_MS = 5000 };

static mproc_place *place;
static void *objects[MPROC_TYPE_SHM_LIST + 1]; /* one of each noun, by type */

static bool never(void *unused)
{
    (void)unused;
    return false;
}

/* ---- every call on an object, with good arguments; for calls that return no code, 1 is an answer ---- */

#define CALL(name, ...)                                                                                      \
    static int name(void *object)                                                                            \
    {                                                                                                        \
        return __VA_ARGS__;                                                                                  \
    }
#define SOME(answer) ((answer) ? 1 : -EINVAL)

static uint64_t number_u64;
static int64_t number;
static size_t number_size;
static unsigned number_unsigned;
static double real;
static bool truth;
static mproc_variant value;
static char text[16];

CALL(lock_acquire, mproc_lock_acquire(object, MPROC_NOW))
CALL(lock_release, mproc_lock_release(object))
CALL(lock_is_held, SOME(mproc_lock_is_held(object)))
CALL(lock_owner, mproc_lock_owner(object, NULL, NULL))
CALL(lock_repair, mproc_lock_repair(object))
CALL(lock_token, mproc_lock_token(object, &number_u64))
CALL(rwlock_read, mproc_rwlock_acquire_read(object, MPROC_NOW))
CALL(rwlock_write, mproc_rwlock_acquire_write(object, MPROC_NOW))
CALL(rwlock_release, mproc_rwlock_release(object))
CALL(rwlock_holders, mproc_rwlock_holders(object, NULL, NULL, NULL))
CALL(rwlock_repair, mproc_rwlock_repair(object))
CALL(semaphore_acquire, mproc_semaphore_acquire(object, MPROC_NOW))
CALL(semaphore_release, mproc_semaphore_release(object, 1))
CALL(semaphore_value, mproc_semaphore_value(object, &number_unsigned))
CALL(condition_lock, SOME(mproc_condition_lock(object)))
CALL(condition_wait, mproc_condition_wait(object, MPROC_NOW))
CALL(condition_wait_for, mproc_condition_wait_for(object, never, NULL, MPROC_NOW))
CALL(condition_notify, mproc_condition_notify(object, 1))
CALL(event_set, mproc_event_set(object))
CALL(event_clear, mproc_event_clear(object))
CALL(event_is_set, SOME(mproc_event_is_set(object)))
CALL(event_wait, mproc_event_wait(object, MPROC_NOW))
CALL(barrier_join, mproc_barrier_join(object))
CALL(barrier_wait, mproc_barrier_wait(object, MPROC_NOW, NULL))
CALL(barrier_abort, mproc_barrier_abort(object))
CALL(barrier_reset, mproc_barrier_reset(object))
CALL(barrier_status, mproc_barrier_status(object, NULL, NULL, NULL))
CALL(array_data, SOME(mproc_array_data(object)))
CALL(array_count, SOME(mproc_array_count(object)))
CALL(array_item, SOME(mproc_array_item(object)))
CALL(array_item_bytes, SOME(mproc_array_item_bytes(object)))
CALL(array_lock, SOME(mproc_array_lock(object)))
CALL(array_set_lock, mproc_array_set_lock(object, NULL))
CALL(array_read, mproc_array_read(object, 0, 1, text))
CALL(array_write, mproc_array_write(object, 0, 1, text))
CALL(array_get, mproc_array_get(object, 0, &real))
CALL(array_set, mproc_array_set(object, 0, 1))
CALL(array_add, mproc_array_add(object, 0, 1, &real))
CALL(array_compare_set, mproc_array_compare_set(object, 0, 0, 0, &truth))
CALL(array_get_int, mproc_array_get_int(object, 0, &number))
CALL(array_set_int, mproc_array_set_int(object, 0, 1))
CALL(array_add_int, mproc_array_add_int(object, 0, 1, &number))
CALL(array_compare_set_int, mproc_array_compare_set_int(object, 0, 0, 0, &truth))
CALL(array_set_text, mproc_array_set_text(object, ""))
CALL(array_get_text, mproc_array_get_text(object, text, sizeof(text), &number_size))
CALL(shm_data, SOME(mproc_shm_data(object)))
CALL(shm_size, SOME(mproc_shm_size(object)))
CALL(shm_name, SOME(mproc_shm_name(object)))
CALL(list_count, SOME(mproc_shm_list_count(object)))
CALL(list_get, mproc_shm_list_get(object, 0, &value))
CALL(list_set, mproc_shm_list_set(object, 0, mproc_int(1), MPROC_NOW))
CALL(list_find, mproc_shm_list_find(object, mproc_int(1), &number_size))
CALL(list_occurrences, mproc_shm_list_occurrences(object, mproc_int(1), &number_size))
CALL(list_values, mproc_shm_list_values(object, &value))
CALL(list_formats, mproc_shm_list_formats(object, &value))

static int array_copy(void *object)
{
    mproc_array *copy = NULL;
    int rc = mproc_array_copy(object, NULL, NULL, &copy);
    mproc_array_close(&copy);
    return rc;
}

static int list_copy(void *object)
{
    mproc_shm_list *copy = NULL;
    int rc = mproc_shm_list_copy(object, NULL, NULL, &copy);
    mproc_shm_list_close(&copy);
    return rc;
}

typedef struct row {
    const char *name;
    mproc_type_id type;
    int (*call)(void *object);
    int in_child; /* on an object of the home thread that a fork child inherited */
} row;

/* clang-format off */
#define ROW(type, call)   {#call, MPROC_TYPE_##type, call, -ECHILD}
#define WORKS(type, call) {#call, MPROC_TYPE_##type, call, 1}
#define EMPTY(type, call) {#call, MPROC_TYPE_##type, call, -EINVAL} /* returns no code: false or NULL */
/* clang-format on */

static const row rows[] = {
    ROW(LOCK, lock_acquire),
    ROW(LOCK, lock_release),
    EMPTY(LOCK, lock_is_held),
    ROW(LOCK, lock_owner),
    ROW(LOCK, lock_repair),
    ROW(LOCK, lock_token),
    ROW(RWLOCK, rwlock_read),
    ROW(RWLOCK, rwlock_write),
    ROW(RWLOCK, rwlock_release),
    ROW(RWLOCK, rwlock_holders),
    ROW(RWLOCK, rwlock_repair),
    ROW(SEMAPHORE, semaphore_acquire),
    ROW(SEMAPHORE, semaphore_release),
    ROW(SEMAPHORE, semaphore_value),
    WORKS(CONDITION, condition_lock),
    ROW(CONDITION, condition_wait),
    ROW(CONDITION, condition_wait_for),
    ROW(CONDITION, condition_notify),
    ROW(EVENT, event_set),
    ROW(EVENT, event_clear),
    EMPTY(EVENT, event_is_set),
    ROW(EVENT, event_wait),
    ROW(BARRIER, barrier_join),
    ROW(BARRIER, barrier_wait),
    ROW(BARRIER, barrier_abort),
    ROW(BARRIER, barrier_reset),
    ROW(BARRIER, barrier_status),
    EMPTY(ARRAY, array_data),
    WORKS(ARRAY, array_count),
    WORKS(ARRAY, array_item),
    WORKS(ARRAY, array_item_bytes),
    WORKS(ARRAY, array_lock),
    ROW(ARRAY, array_set_lock),
    ROW(ARRAY, array_read),
    ROW(ARRAY, array_write),
    ROW(ARRAY, array_get),
    ROW(ARRAY, array_set),
    ROW(ARRAY, array_add),
    ROW(ARRAY, array_compare_set),
    ROW(ARRAY, array_get_int),
    ROW(ARRAY, array_set_int),
    ROW(ARRAY, array_add_int),
    ROW(ARRAY, array_compare_set_int),
    ROW(ARRAY, array_set_text),
    ROW(ARRAY, array_get_text),
    ROW(ARRAY, array_copy),
    EMPTY(SHM, shm_data),
    WORKS(SHM, shm_size),
    WORKS(SHM, shm_name),
    WORKS(SHM_LIST, list_count),
    ROW(SHM_LIST, list_get),
    ROW(SHM_LIST, list_set),
    ROW(SHM_LIST, list_find),
    ROW(SHM_LIST, list_occurrences),
    ROW(SHM_LIST, list_values),
    ROW(SHM_LIST, list_formats),
    ROW(SHM_LIST, list_copy),
};

/* ---- objects ---- */

static int object_make(mproc_place *in, mproc_type_id type, const char *name, void **ret_object)
{
    mproc_variant item = mproc_int(1);
    switch (type) {
    case MPROC_TYPE_LOCK:
        return mproc_lock_create(in, MPROC_WITH(mproc_lock_options, .name = name), (mproc_lock **)ret_object);
    case MPROC_TYPE_RWLOCK:
        return mproc_rwlock_create(in, MPROC_WITH(mproc_rwlock_options, .name = name),
                                   (mproc_rwlock **)ret_object);
    case MPROC_TYPE_SEMAPHORE:
        return mproc_semaphore_create(in, 1, MPROC_WITH(mproc_semaphore_options, .name = name),
                                      (mproc_semaphore **)ret_object);
    case MPROC_TYPE_CONDITION:
        return mproc_condition_create(in, MPROC_WITH(mproc_condition_options, .name = name),
                                      (mproc_condition **)ret_object);
    case MPROC_TYPE_EVENT:
        return mproc_event_create(in, MPROC_WITH(mproc_event_options, .name = name),
                                  (mproc_event **)ret_object);
    case MPROC_TYPE_BARRIER:
        return mproc_barrier_create(in, 2, MPROC_WITH(mproc_barrier_options, .name = name),
                                    (mproc_barrier **)ret_object);
    case MPROC_TYPE_ARRAY:
        return mproc_array_create(in, MPROC_ITEM_INT8, 4, MPROC_WITH(mproc_array_options, .name = name),
                                  (mproc_array **)ret_object);
    case MPROC_TYPE_SHM:
        return mproc_shm_create(in, 64, MPROC_WITH(mproc_shm_options, .name = name),
                                (mproc_shm **)ret_object);
    case MPROC_TYPE_SHM_LIST:
        return mproc_shm_list_create(in, mproc_items(&item, 1),
                                     MPROC_WITH(mproc_shm_list_options, .name = name),
                                     (mproc_shm_list **)ret_object);
    default:
        return 1;
    }
}

static int object_open(mproc_place *in, mproc_type_id type, const char *name, void **ret_object)
{
    switch (type) {
    case MPROC_TYPE_LOCK:
        return mproc_lock_open(in, name, (mproc_lock **)ret_object);
    case MPROC_TYPE_RWLOCK:
        return mproc_rwlock_open(in, name, (mproc_rwlock **)ret_object);
    case MPROC_TYPE_SEMAPHORE:
        return mproc_semaphore_open(in, name, (mproc_semaphore **)ret_object);
    case MPROC_TYPE_CONDITION:
        return mproc_condition_open(in, name, (mproc_condition **)ret_object);
    case MPROC_TYPE_EVENT:
        return mproc_event_open(in, name, (mproc_event **)ret_object);
    case MPROC_TYPE_BARRIER:
        return mproc_barrier_open(in, name, (mproc_barrier **)ret_object);
    case MPROC_TYPE_ARRAY:
        return mproc_array_open(in, name, (mproc_array **)ret_object);
    case MPROC_TYPE_SHM:
        return mproc_shm_open(in, name, (mproc_shm **)ret_object);
    case MPROC_TYPE_SHM_LIST:
        return mproc_shm_list_open(in, name, (mproc_shm_list **)ret_object);
    default:
        return 1;
    }
}

static const mproc_type_id types[] = {MPROC_TYPE_LOCK,      MPROC_TYPE_RWLOCK, MPROC_TYPE_SEMAPHORE,
                                      MPROC_TYPE_CONDITION, MPROC_TYPE_EVENT,  MPROC_TYPE_BARRIER,
                                      MPROC_TYPE_ARRAY,     MPROC_TYPE_SHM,    MPROC_TYPE_SHM_LIST};

static void objects_make(mproc__home home)
{
    char name[8];
    ck_assert_int_eq(mproc__place_local(home, &place), 0);
    for (unsigned i = 0; i < MPROC__COUNT(types); i++) {
        snprintf(name, sizeof(name), "noun%u", i);
        ck_assert_int_eq(object_make(place, types[i], name, &objects[types[i]]), 0);
    }
}

static void objects_drop(void)
{
    for (unsigned i = 0; i < MPROC__COUNT(types); i++)
        mproc__handle_close(&objects[types[i]], types[i]);
    mproc_place_close(&place);
}

/* ---- what is no such object ---- */

static const uint64_t zeros[64]; /* as a closed one may look */

START_TEST(no_call_takes_nothing_or_another_object_for_its_own)
{
    const row *r = &rows[_i];
    objects_make(MPROC__HOME_HOST);
    void *other = objects[r->type == MPROC_TYPE_EVENT ? MPROC_TYPE_LOCK : MPROC_TYPE_EVENT];
    void *none[] = {NULL, other, place, (void *)(uintptr_t)zeros};
    for (unsigned i = 0; i < MPROC__COUNT(none); i++)
        ck_assert_msg(r->call(none[i]) == -EINVAL, "%s with the wrong object %u", r->name, i);
    ck_assert(!mproc_lock_is_held(objects[MPROC_TYPE_LOCK]));
    ck_assert(!mproc_event_is_set(objects[MPROC_TYPE_EVENT]));
    objects_drop();
}
END_TEST

static int call_in_child(void *context)
{
    const row *r = context;
    int rc = r->call(objects[r->type]);
    return rc == r->in_child ? 0 : rc == -EINVAL ? 2 : rc == 0 ? 3 : 4;
}

START_TEST(what_threads_share_is_refused_in_a_fork_child)
{
    row r = rows[_i];
    objects_make(MPROC__HOME_THREAD);
    int status = support_reap(support_fork(call_in_child, &r), LIMIT_MS);
    ck_assert_msg(status == 0, "%s in a fork child: %d", r.name, status);
    objects_drop();
}
END_TEST

/* ---- nowhere to put the answer, nothing to take it from ---- */

CALL(lock_token_nowhere, mproc_lock_token(object, NULL))
CALL(semaphore_value_nowhere, mproc_semaphore_value(object, NULL))
CALL(condition_wait_for_nothing, mproc_condition_wait_for(object, NULL, NULL, MPROC_NOW))
CALL(array_read_nowhere, mproc_array_read(object, 0, 1, NULL))
CALL(array_write_nothing, mproc_array_write(object, 0, 1, NULL))
CALL(array_get_int_nowhere, mproc_array_get_int(object, 0, NULL))
CALL(array_set_text_nothing, mproc_array_set_text(object, NULL))
CALL(array_get_text_nowhere, mproc_array_get_text(object, NULL, 4, &number_size))
CALL(array_copy_nowhere, mproc_array_copy(object, NULL, NULL, NULL))
CALL(list_get_nowhere, mproc_shm_list_get(object, 0, NULL))
CALL(list_find_nowhere, mproc_shm_list_find(object, mproc_int(1), NULL))
CALL(list_occurrences_nowhere, mproc_shm_list_occurrences(object, mproc_int(1), NULL))
CALL(list_values_nowhere, mproc_shm_list_values(object, NULL))
CALL(list_formats_nowhere, mproc_shm_list_formats(object, NULL))
CALL(list_copy_nowhere, mproc_shm_list_copy(object, NULL, NULL, NULL))

static const row nowhere[] = {
    ROW(LOCK, lock_token_nowhere),
    ROW(SEMAPHORE, semaphore_value_nowhere),
    ROW(CONDITION, condition_wait_for_nothing),
    ROW(ARRAY, array_read_nowhere),
    ROW(ARRAY, array_write_nothing),
    ROW(ARRAY, array_get_int_nowhere),
    ROW(ARRAY, array_set_text_nothing),
    ROW(ARRAY, array_get_text_nowhere),
    ROW(ARRAY, array_copy_nowhere),
    ROW(SHM_LIST, list_get_nowhere),
    ROW(SHM_LIST, list_find_nowhere),
    ROW(SHM_LIST, list_occurrences_nowhere),
    ROW(SHM_LIST, list_values_nowhere),
    ROW(SHM_LIST, list_formats_nowhere),
    ROW(SHM_LIST, list_copy_nowhere),
};

START_TEST(an_answer_needs_a_place_to_go)
{
    const row *r = &nowhere[_i];
    objects_make(MPROC__HOME_HOST);
    void *object = objects[r->type];
    mproc_lock *lock =
        r->type == MPROC_TYPE_LOCK ? object : mproc_condition_lock(objects[MPROC_TYPE_CONDITION]);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_msg(r->call(object) == -EINVAL, "%s", r->name);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    objects_drop();
}
END_TEST

/* ---- where and under what name ---- */

static void refused(mproc_place *in, mproc_type_id type, const char *name, int code)
{
    void *object = NULL;
    ck_assert_msg(object_make(in, type, name, &object) == code, "created a %d as '%.20s'", (int)type, name);
    ck_assert_ptr_null(object);
    ck_assert_int_eq(mproc_error_code(mproc_last_error()), code);
    ck_assert_msg(object_open(in, type, name, &object) == code, "opened a %d as '%.20s'", (int)type, name);
    ck_assert_ptr_null(object);
}

START_TEST(names_that_cannot_be_files_and_places_that_are_none)
{
    char address[40], long_name[301];
    void *object = NULL;
    mproc_place *named;
    snprintf(address, sizeof(address), "shm:/bad-%d", (int)getpid());
    memset(long_name, 'n', 300);
    long_name[300] = '\0';
    ck_assert_int_eq(mproc__place_shm(address, NULL, &named), 0);
    refused(named, types[_i], "a/b", -EINVAL);
    refused(named, types[_i], "", -EINVAL);
    refused(named, types[_i], "..", -EINVAL);
    refused(named, types[_i], long_name, -ENAMETOOLONG);
    ck_assert_int_eq(object_open(named, types[_i], NULL, &object), -EINVAL);
    ck_assert_int_eq(object_open(named, types[_i], "absent", &object), -ENOENT);
    ck_assert_ptr_null(object);
    objects_make(MPROC__HOME_HOST);
    refused(objects[types[_i]], types[_i], "x", -EINVAL);
    ck_assert_int_eq(object_make(place, types[_i], "y", NULL), -EINVAL);
    ck_assert_int_eq(object_open(place, types[_i], "y", NULL), -EINVAL);
    ck_assert_int_eq(object_open(place, types[_i], "y", &object), -ENOENT); /* nothing was made */
    mproc_place_close(&named);
    objects_drop();
}
END_TEST

START_TEST(a_name_of_another_noun_is_not_opened_as_this_one)
{
    char name[8];
    void *object = NULL;
    objects_make(_i);
    for (unsigned i = 0; i < MPROC__COUNT(types); i++) {
        snprintf(name, sizeof(name), "noun%u", (i + 1) % (unsigned)MPROC__COUNT(types));
        ck_assert_int_eq(object_open(place, types[i], name, &object), -EINVAL);
        ck_assert_ptr_null(object);
        ck_assert_int_eq(object_make(place, types[i], name, &object), -EEXIST);
    }
    objects_drop();
}
END_TEST

/* ---- sizes and numbers ---- */

START_TEST(absurd_sizes_are_refused_before_anything_is_made)
{
    static const size_t sizes[] = {0, SIZE_MAX, SIZE_MAX / 2, (size_t)INT64_MAX, (size_t)INT64_MAX + 1};
    static const int64_t values[] = {-1, INT64_MIN, INT64_MAX, INT64_C(1) << 31, INT64_C(1) << 32};
    mproc_shm *shm = NULL;
    mproc_array *array = NULL;
    mproc_semaphore *semaphore = NULL;
    mproc_barrier *barrier = NULL;
    for (unsigned i = 0; i < MPROC__COUNT(sizes); i++) {
        ck_assert_int_eq(mproc_shm_create(NULL, sizes[i], NULL, &shm), -EINVAL);
        if (sizes[i])
            ck_assert_int_eq(mproc_array_create(NULL, MPROC_ITEM_DOUBLE, sizes[i], NULL, &array), -EOVERFLOW);
    }
    ck_assert_int_eq(mproc_array_create(NULL, MPROC_ITEM_BYTES, 1, NULL, &array), -EINVAL);
    ck_assert_int_eq(mproc_array_create(NULL, (mproc_item)0, 1, NULL, &array), -EINVAL);
    ck_assert_int_eq(mproc_array_create(NULL, (mproc_item)99, 1, NULL, &array), -EINVAL);
    for (unsigned i = 0; i < MPROC__COUNT(values); i++)
        ck_assert_int_eq(mproc_semaphore_create(NULL, values[i], NULL, &semaphore),
                         values[i] < 0 ? -EINVAL : -EOVERFLOW);
    ck_assert_int_eq(mproc_array_create(NULL, MPROC_ITEM_DOUBLE, 1, NULL, &array), 0);
    ck_assert_int_eq(mproc_array_get(array, 0, NULL), -EINVAL);
    ck_assert_int_eq(mproc_array_get(array, 1, &real), -ERANGE);
    ck_assert_int_eq(mproc_array_get(array, SIZE_MAX, &real), -ERANGE);
    mproc_array_close(&array);
    ck_assert_int_eq(mproc_barrier_create(NULL, 0, NULL, &barrier), -EINVAL);
    ck_assert_int_eq(mproc_barrier_create(NULL, UINT_MAX, NULL, &barrier), -EINVAL);
    ck_assert(!shm && !array && !semaphore && !barrier);
}
END_TEST

START_TEST(options_of_an_impossible_size_are_refused)
{
    mproc_lock_options lock = {.size = 1};
    mproc_event_options event = {.size = SIZE_MAX};
    mproc_lock *no_lock = NULL;
    mproc_event *no_event = NULL;
    ck_assert_int_eq(mproc_lock_create(NULL, &lock, &no_lock), -EINVAL);
    ck_assert_int_eq(mproc_event_create(NULL, &event, &no_event), -EINVAL);
    ck_assert(!no_lock && !no_event);
}
END_TEST

/* ---- deadlines ---- */

static int blocks_in_child(void *unused)
{
    static const mproc_deadline past[] = {{0}, {1}, {-1}, {INT64_MIN}};
    unsigned late = 0;
    (void)unused;
    for (unsigned i = 0; i < MPROC__COUNT(past); i++) {
        late += mproc_lock_acquire(objects[MPROC_TYPE_LOCK], past[i]) == -ETIMEDOUT;
        late += mproc_rwlock_acquire_read(objects[MPROC_TYPE_RWLOCK], past[i]) == -ETIMEDOUT;
        late += mproc_rwlock_acquire_write(objects[MPROC_TYPE_RWLOCK], past[i]) == -ETIMEDOUT;
        late += mproc_semaphore_acquire(objects[MPROC_TYPE_SEMAPHORE], past[i]) == -ETIMEDOUT;
        late += mproc_event_wait(objects[MPROC_TYPE_EVENT], past[i]) == -ETIMEDOUT;
        late += mproc_barrier_wait(objects[MPROC_TYPE_BARRIER], past[i], NULL) == -ETIMEDOUT;
    }
    return late == 6 * MPROC__COUNT(past) ? 0 : 1;
}

START_TEST(a_deadline_in_the_past_is_a_try_that_leaves_nothing_behind)
{
    objects_make(MPROC__HOME_HOST);
    ck_assert_int_eq(mproc_lock_acquire(objects[MPROC_TYPE_LOCK], MPROC_NOW), 0);
    ck_assert_int_eq(mproc_rwlock_acquire_write(objects[MPROC_TYPE_RWLOCK], MPROC_NOW), 0);
    ck_assert_int_eq(mproc_semaphore_acquire(objects[MPROC_TYPE_SEMAPHORE], MPROC_NOW), 0);
    ck_assert_int_eq(support_reap(support_fork(blocks_in_child, NULL), LIMIT_MS), 0);
    ck_assert_int_eq(mproc_lock_release(objects[MPROC_TYPE_LOCK]), 0);
    ck_assert_int_eq(mproc_rwlock_release(objects[MPROC_TYPE_RWLOCK]), 0);
    ck_assert_int_eq(mproc_semaphore_release(objects[MPROC_TYPE_SEMAPHORE], 1), 0);
    ck_assert_int_eq(semaphore_value(objects[MPROC_TYPE_SEMAPHORE]), 0);
    ck_assert_uint_eq(number_unsigned, 1);
    ck_assert_int_eq(mproc_barrier_status(objects[MPROC_TYPE_BARRIER], NULL, &number_unsigned, &truth), 0);
    ck_assert(number_unsigned == 0 && !truth);
    ck_assert_int_eq(mproc_lock_acquire(objects[MPROC_TYPE_LOCK], MPROC_NOW), 0);
    ck_assert_int_eq(mproc_rwlock_acquire_write(objects[MPROC_TYPE_RWLOCK], MPROC_NOW), 0);
    objects_drop(); /* which releases both */
}
END_TEST

/* ---- what was not acquired ---- */

START_TEST(who_holds_nothing_releases_nothing)
{
    objects_make(_i);
    for (unsigned twice = 0; twice < 2; twice++) {
        ck_assert_int_eq(mproc_lock_release(objects[MPROC_TYPE_LOCK]), -EPERM);
        ck_assert_int_eq(mproc_lock_token(objects[MPROC_TYPE_LOCK], &number_u64), -EPERM);
        ck_assert_int_eq(mproc_lock_repair(objects[MPROC_TYPE_LOCK]), MPROC_ESTATE);
        ck_assert_int_eq(mproc_rwlock_release(objects[MPROC_TYPE_RWLOCK]), -EPERM);
        ck_assert_int_eq(mproc_rwlock_repair(objects[MPROC_TYPE_RWLOCK]), MPROC_ESTATE);
        ck_assert_int_eq(mproc_semaphore_release(objects[MPROC_TYPE_SEMAPHORE], 0), -EINVAL);
        ck_assert_int_eq(mproc_condition_notify(objects[MPROC_TYPE_CONDITION], 1), -EPERM);
        ck_assert_int_eq(mproc_condition_wait(objects[MPROC_TYPE_CONDITION], MPROC_NOW), -EPERM);
    }
    ck_assert_int_eq(mproc_lock_acquire(objects[MPROC_TYPE_LOCK], MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_release(objects[MPROC_TYPE_LOCK]), 0);
    ck_assert_int_eq(mproc_lock_release(objects[MPROC_TYPE_LOCK]), -EPERM);
    objects_drop();
}
END_TEST

int main(int argc, char **argv)
{
    mproc__nouns_register();
    Suite *suite = suite_create("bad input");
    TCase *calls = support_case(suite, "calls");
    tcase_add_loop_test(calls, no_call_takes_nothing_or_another_object_for_its_own, 0,
                        (int)MPROC__COUNT(rows));
    tcase_add_loop_test(calls, what_threads_share_is_refused_in_a_fork_child, 0, (int)MPROC__COUNT(rows));
    tcase_add_loop_test(calls, an_answer_needs_a_place_to_go, 0, (int)MPROC__COUNT(nowhere));
    TCase *making = support_case(suite, "making");
    tcase_add_loop_test(making, names_that_cannot_be_files_and_places_that_are_none, 0,
                        (int)MPROC__COUNT(types));
    tcase_add_loop_test(making, a_name_of_another_noun_is_not_opened_as_this_one, 0, 2);
    tcase_add_test(making, absurd_sizes_are_refused_before_anything_is_made);
    tcase_add_test(making, options_of_an_impossible_size_are_refused);
    TCase *use = support_case(suite, "use");
    tcase_add_test(use, a_deadline_in_the_past_is_a_try_that_leaves_nothing_behind);
    tcase_add_loop_test(use, who_holds_nothing_releases_nothing, 0, 2);
    return support_run(suite, argc, argv);
}
