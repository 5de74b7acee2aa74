/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays: made, found, their locks, given away. Loop tests run once for each home: 0 host, 1 thread. */
#include "platform/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mproc/call.h>
#include "data/parcel.h"
#include "shm/place.h"
#include "support/support.h"
#include "sync/array.h"
#include "sync/nouns.h"

static mproc_place *place;
static mproc_array *array;

static void place_make(int home)
{
    if (home == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
}

static void array_make(int home, mproc_item item, size_t count, const mproc_array_options *options)
{
    place_make(home);
    int code = mproc_array_create(place, item, count, options, &array);
    ck_assert_msg(code == 0, "%s", mproc_error_text(mproc_last_error()));
}

static void array_drop(void)
{
    mproc_array_close(&array);
    ck_assert_ptr_null(array);
    mproc_place_close(&place);
}

static int in_child(support_fn *fn)
{
    return support_reap(support_fork(fn, NULL), 10000);
}

typedef struct errand {
    support_fn *fn;
    int status;
} errand;

static void *errand_run(void *argument)
{
    errand *job = argument;
    job->status = job->fn(NULL);
    return NULL;
}

/* Another process for a host array, another thread for one of threads. */
static int elsewhere(int home, support_fn *fn)
{
    errand job = {fn, -1};
    pthread_t thread;
    if (home == 0)
        return in_child(fn);
    ck_assert_int_eq(pthread_create(&thread, NULL, errand_run, &job), 0);
    pthread_join(thread, NULL);
    return job.status;
}

/* As over a socket: another handle on the same memory. */
static mproc_array *crossed(mproc_array *source)
{
    mproc__parcel parcel = {0};
    mproc_variant item = mproc_handle(source), received;
    mproc__nouns_register();
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_items(&item, 1)), 0);
    for (size_t i = 0; i < parcel.fd_count; i++)
        parcel.fds[i] = dup(parcel.fds[i]);
    ck_assert_int_eq(mproc__parcel_unpack(&parcel, &received), 0);
    mproc__parcel_clear(&parcel, true);
    mproc_array *copy = mproc_variant_get_handle(mproc_variant_at(received, 0), MPROC_TYPE_ARRAY);
    ck_assert_ptr_nonnull(mproc_keep(copy));
    mproc_variant_clear(&received);
    return copy;
}

/* ---- items and sizes ---- */

static const size_t item_bytes[] = {
    [MPROC_ITEM_INT8] = 1,  [MPROC_ITEM_UINT8] = 1,  [MPROC_ITEM_INT16] = 2, [MPROC_ITEM_UINT16] = 2,
    [MPROC_ITEM_INT32] = 4, [MPROC_ITEM_UINT32] = 4, [MPROC_ITEM_INT64] = 8, [MPROC_ITEM_UINT64] = 8,
    [MPROC_ITEM_FLOAT] = 4, [MPROC_ITEM_DOUBLE] = 8};

/* shows: SCTY-02 */
START_TEST(every_item_type_has_its_size_and_an_unknown_one_is_refused_by_name)
{
    place_make(_i);
    for (mproc_item item = MPROC_ITEM_INT8; item <= MPROC_ITEM_DOUBLE; item++) {
        ck_assert_int_eq(mproc_array_create(place, item, 3, NULL, &array), 0);
        ck_assert_uint_eq(mproc_array_item_bytes(array), item_bytes[item]);
        ck_assert_int_eq(mproc_array_item(array), item);
        ck_assert_uint_eq(mproc_array_count(array), 3);
        mproc_array_close(&array);
    }
    for (int wrong = -1; wrong <= MPROC_ITEM_BYTES + 1; wrong += MPROC_ITEM_BYTES + 2) {
        ck_assert_int_eq(mproc_array_create(place, (mproc_item)wrong, 3, NULL, &array), -EINVAL);
        ck_assert_ptr_nonnull(
            strstr(mproc_error_text(mproc_last_error()), "int8 to uint64, float, double and bytes"));
    }
    ck_assert_int_eq(mproc_array_create(place, (mproc_item)0, 3, NULL, &array), -EINVAL);
    mproc_place_close(&place);
}
END_TEST

START_TEST(sizes_that_make_no_sense_are_refused_and_leave_nothing)
{
    place_make(_i);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_INT32, 0, NULL, &array), -EINVAL);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_INT32, SIZE_MAX / 4 + 2, NULL, &array), -EOVERFLOW);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_INT8, (size_t)-1, NULL, &array), -EOVERFLOW);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_BYTES, 3, NULL, &array), -EINVAL);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_BYTES, SIZE_MAX / 8,
                                        MPROC_WITH(mproc_array_options, .item_bytes = 9), &array),
                     -EOVERFLOW);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_INT32, 3,
                                        MPROC_WITH(mproc_array_options, .item_bytes = 8), &array),
                     -EINVAL);
    int huge = mproc_array_create(place, MPROC_ITEM_INT64, (size_t)1 << 44, NULL, &array);
    ck_assert_msg(huge == -ENOMEM || huge == -ENOSPC, "%d", huge);
    ck_assert_ptr_null(array);
    mproc_place_close(&place);
}
END_TEST

/* shows: SCTY-06 */
START_TEST(an_array_of_a_size_is_zeros_also_where_there_was_another_before)
{
    place_make(_i);
    for (int round = 0; round < 3; round++) {
        ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_UINT8, 100000, NULL, &array), 0);
        unsigned char *bytes = mproc_array_data(array);
        for (size_t i = 0; i < 100000; i++)
            ck_assert_uint_eq(bytes[i], 0);
        memset(bytes, 0xa5, 100000);
        mproc_array_close(&array);
    }
    mproc_place_close(&place);
}
END_TEST

/* ---- seen elsewhere ---- */

enum { VALUES = 5 };
static mproc_array *values[VALUES];

static int changes_values(void *unused)
{
    (void)unused;
    int code = mproc_array_set_int(values[0], 0, -43);
    code = code ? code : mproc_array_set(values[1], 0, -1.5);
    code = code ? code : mproc_array_set_int(values[2], 0, -44);
    code = code ? code : mproc_array_set_int(values[3], 0, (int64_t)1 << 40);
    return code ? code : mproc_array_set_text(values[4], "x");
}

/* shows: SCTY-01 */
START_TEST(values_show_what_they_were_made_with_and_then_what_a_child_stored)
{
    int home = _i % 2;
    bool unlocked = _i >= 2;
    const mproc_item types[VALUES] = {MPROC_ITEM_INT32, MPROC_ITEM_DOUBLE, MPROC_ITEM_INT16, MPROC_ITEM_INT64,
                                      MPROC_ITEM_INT8};
    const int32_t integer = 7;
    const double real = 3.25;
    const int16_t small = 8;
    const int64_t large = INT64_MIN + 1;
    const char letter = 'c';
    const void *initial[VALUES] = {&integer, &real, &small, &large, &letter};
    int64_t number;
    double seen;
    char text[2];
    place_make(home);
    for (int i = 0; i < VALUES; i++)
        ck_assert_int_eq(
            mproc_array_create(place, types[i], 1,
                               MPROC_WITH(mproc_array_options, .initial = initial[i], .unlocked = unlocked),
                               &values[i]),
            0);
    ck_assert(mproc_array_get_int(values[0], 0, &number) == 0 && number == 7);
    ck_assert(mproc_array_get(values[1], 0, &seen) == 0 && seen == 3.25);
    ck_assert(mproc_array_get_int(values[2], 0, &number) == 0 && number == 8);
    ck_assert(mproc_array_get_int(values[3], 0, &number) == 0 && number == INT64_MIN + 1);
    ck_assert(mproc_array_get_text(values[4], text, 2, NULL) == 0 && text[0] == 'c');
    ck_assert_int_eq(elsewhere(home, changes_values), 0);
    ck_assert(mproc_array_get_int(values[0], 0, &number) == 0 && number == -43);
    ck_assert(mproc_array_get(values[1], 0, &seen) == 0 && seen == -1.5);
    ck_assert(mproc_array_get_int(values[2], 0, &number) == 0 && number == -44);
    ck_assert(mproc_array_get_int(values[3], 0, &number) == 0 && number == (int64_t)1 << 40);
    ck_assert(mproc_array_get_text(values[4], text, 2, NULL) == 0 && text[0] == 'x');
    for (int i = 0; i < VALUES; i++)
        mproc_array_close(&values[i]);
    mproc_place_close(&place);
}
END_TEST

typedef struct point {
    double x, y;
    int16_t label;
} point;

static int moves_points(void *unused)
{
    (void)unused;
    point *points = mproc_array_data(array);
    if (!points)
        return 1;
    for (size_t i = 0; i < mproc_array_count(array); i++) {
        points[i].x *= 2;
        points[i].y *= 2;
        points[i].label++;
    }
    return 0;
}

/* shows: SCTY-08 */
START_TEST(structs_are_shared_singly_and_in_arrays)
{
    const point three[] = {{1, 2, 3}, {-1.5, 0.5, -4}, {1e300, 0, 0}};
    point back[3];
    place_make(_i);
    for (size_t count = 1; count <= 3; count += 2) {
        ck_assert_int_eq(
            mproc_array_create(place, MPROC_ITEM_BYTES, count,
                               MPROC_WITH(mproc_array_options, .item_bytes = sizeof(point), .initial = three),
                               &array),
            0);
        ck_assert_uint_eq(mproc_array_item_bytes(array), sizeof(point));
        ck_assert_int_eq(elsewhere(_i, moves_points), 0);
        ck_assert_int_eq(mproc_array_read(array, 0, count, back), 0);
        for (size_t i = 0; i < count; i++)
            ck_assert(back[i].x == three[i].x * 2 && back[i].y == three[i].y * 2 &&
                      back[i].label == three[i].label + 1);
        mproc_array_close(&array);
    }
    mproc_place_close(&place);
}
END_TEST

/* ---- locks ---- */

/* shows: SCTY-03 */
START_TEST(an_array_has_its_own_recursive_lock_a_given_one_or_none)
{
    mproc_lock *given, *lock;
    array_make(_i, MPROC_ITEM_INT32, 5, NULL);
    lock = mproc_array_lock(array);
    ck_assert_ptr_nonnull(lock);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert_int_eq(mproc_lock_release(lock), -EPERM);
    mproc_array_close(&array);
    ck_assert_int_eq(mproc_lock_create(place, NULL, &given), 0);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_INT32, 5,
                                        MPROC_WITH(mproc_array_options, .lock = given), &array),
                     0);
    ck_assert_ptr_eq(mproc_array_lock(array), given);
    lock = given;
    mproc_lock_close(&given);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    mproc_array_close(&array);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_INT32, 5,
                                        MPROC_WITH(mproc_array_options, .unlocked = true), &array),
                     0);
    ck_assert_ptr_null(mproc_array_lock(array));
    ck_assert_int_eq(mproc_error_code(mproc_last_error()), MPROC_ESTATE);
    ck_assert_int_eq(mproc_array_set_int(array, 0, 1), 0);
    mproc_array *refused = NULL;
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_INT32, 5,
                                        MPROC_WITH(mproc_array_options, .lock = (mproc_lock *)(void *)array),
                                        &refused),
                     -EINVAL);
    ck_assert_ptr_null(refused);
    array_drop();
}
END_TEST

START_TEST(a_lock_that_cannot_be_where_the_array_is_is_refused)
{
    mproc_lock *host_lock, *thread_lock;
    array_make(1, MPROC_ITEM_INT32, 1, MPROC_WITH(mproc_array_options, .unlocked = true));
    mproc_array *refused = NULL;
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &host_lock), 0);
    ck_assert_int_eq(mproc_lock_create(place, NULL, &thread_lock), 0);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_INT32, 1,
                                        MPROC_WITH(mproc_array_options, .lock = host_lock), &refused),
                     -EINVAL);
    ck_assert_int_eq(mproc_array_create(NULL, MPROC_ITEM_INT32, 1,
                                        MPROC_WITH(mproc_array_options, .lock = thread_lock), &refused),
                     -EINVAL);
    ck_assert_int_eq(
        mproc_array_create(place, MPROC_ITEM_INT32, 1,
                           MPROC_WITH(mproc_array_options, .lock = thread_lock, .unlocked = true), &refused),
        -EINVAL);
    ck_assert_int_eq(mproc_array_set_lock(array, host_lock), -EINVAL);
    ck_assert_int_eq(mproc_array_set_lock(array, (mproc_lock *)(void *)place), -EINVAL);
    ck_assert_ptr_null(mproc_array_lock(array));
    ck_assert_ptr_null(refused);
    mproc_lock_close(&host_lock);
    mproc_lock_close(&thread_lock);
    array_drop();
}
END_TEST

static int finds_the_lock_held(void *unused)
{
    (void)unused;
    mproc_lock *lock = mproc_array_lock(array);
    return lock && mproc_lock_acquire(lock, MPROC_NOW) == -ETIMEDOUT ? 0 : 1;
}

/* shows: SCTY-11 */
START_TEST(an_array_made_without_a_lock_is_given_one_afterwards_once)
{
    int home = _i % 2;
    bool own = _i >= 2;
    mproc_lock *given = NULL;
    array_make(home, MPROC_ITEM_INT32, 2, MPROC_WITH(mproc_array_options, .unlocked = true));
    int32_t *items = mproc_array_data(array);
    items[1] = 9;
    if (!own)
        ck_assert_int_eq(mproc_lock_create(place, NULL, &given), 0);
    ck_assert_int_eq(mproc_array_set_lock(array, given), 0);
    ck_assert_int_eq(mproc_array_set_lock(array, given), MPROC_ESTATE);
    ck_assert_int_eq(mproc_array_set_lock(array, NULL), MPROC_ESTATE);
    mproc_lock_close(&given);
    ck_assert_int_eq(mproc_lock_acquire(mproc_array_lock(array), MPROC_NOW), 0);
    ck_assert_int_eq(elsewhere(home, finds_the_lock_held), 0);
    ck_assert_int_eq(mproc_lock_release(mproc_array_lock(array)), 0);
    ck_assert_ptr_eq(mproc_array_data(array), items);
    ck_assert_int_eq(items[1], 9);
    array_drop();
}
END_TEST

START_TEST(a_lock_of_its_own_given_later_is_found_through_every_handle)
{
    array_make(0, MPROC_ITEM_INT32, 2, MPROC_WITH(mproc_array_options, .unlocked = true));
    mproc_array *other = crossed(array);
    ck_assert_ptr_null(mproc_array_lock(other));
    ck_assert_int_eq(mproc_array_set_lock(other, NULL), 0);
    ck_assert_int_eq(mproc_array_set_lock(array, NULL), MPROC_ESTATE);
    ck_assert_int_eq(mproc_lock_acquire(mproc_array_lock(array), MPROC_NOW), 0);
    ck_assert(mproc_lock_is_held(mproc_array_lock(other)));
    ck_assert_int_eq(mproc_lock_release(mproc_array_lock(array)), 0);
    mproc_array_close(&other);
    array_drop();
}
END_TEST

enum { PROCESSES = 4, ADDS = 3000 };

static int adds_under_the_lock(void *unused)
{
    (void)unused;
    volatile int64_t *total = mproc_array_data(array);
    for (int i = 0; i < ADDS; i++)
        MPROC_WITH_LOCK(mproc_array_lock(array), mproc_after_ms(20000))
    *total = *total + 1;
    return 0;
}

/* shows: SCTY-04 */
START_TEST(read_modify_write_under_the_lock_of_many_processes_is_exact)
{
    pid_t children[PROCESSES];
    int64_t total;
    array_make(0, MPROC_ITEM_INT64, 1, NULL);
    for (int i = 0; i < PROCESSES; i++)
        children[i] = support_fork(adds_under_the_lock, NULL);
    for (int i = 0; i < PROCESSES; i++)
        ck_assert_int_eq(support_reap(children[i], 20000), 0);
    ck_assert_int_eq(mproc_array_get_int(array, 0, &total), 0);
    ck_assert_int_eq(total, PROCESSES * ADDS);
    array_drop();
}
END_TEST

static int dies_half_way(void *unused)
{
    (void)unused;
    int32_t half[5] = {9, 9, 9, 9, 9};
    if (mproc_lock_acquire(mproc_array_lock(array), MPROC_NOW) != 0)
        return 1;
    int code = mproc_array_write(array, 0, 5, half);
    kill(getpid(), SIGKILL);
    return code;
}

/* shows: DEATH-3 */
START_TEST(who_finds_a_half_changed_array_is_told)
{
    int32_t items[10];
    array_make(0, MPROC_ITEM_INT32, 10, NULL);
    ck_assert_int_eq(in_child(dies_half_way), 256 + SIGKILL);
    ck_assert_int_eq(mproc_lock_acquire(mproc_array_lock(array), mproc_after_ms(5000)), MPROC_RECOVERED);
    ck_assert_int_eq(mproc_array_read(array, 0, 10, items), 0);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(items[i], i < 5 ? 9 : 0);
    ck_assert_int_eq(mproc_lock_release(mproc_array_lock(array)), 0);
    array_drop();
}
END_TEST

/* ---- copies, names, crossing ---- */

/* shows: SCTY-10 */
START_TEST(a_copy_has_the_content_and_a_life_of_its_own)
{
    mproc_array *copy;
    const double initial[] = {1.5, -2.5, 4};
    double seen;
    array_make(_i, MPROC_ITEM_DOUBLE, 3, MPROC_WITH(mproc_array_options, .initial = initial));
    ck_assert_int_eq(mproc_array_copy(array, place, NULL, &copy), 0);
    ck_assert_uint_eq(mproc_array_count(copy), 3);
    ck_assert_int_eq(mproc_array_item(copy), MPROC_ITEM_DOUBLE);
    ck_assert_int_eq(memcmp(mproc_array_data(copy), initial, sizeof(initial)), 0);
    ck_assert_ptr_ne(mproc_array_lock(copy), mproc_array_lock(array));
    ck_assert_int_eq(mproc_array_set(array, 0, 7), 0);
    ck_assert_int_eq(mproc_array_set(copy, 1, 8), 0);
    ck_assert(mproc_array_get(copy, 0, &seen) == 0 && seen == 1.5);
    ck_assert(mproc_array_get(array, 1, &seen) == 0 && seen == -2.5);
    mproc_array_close(&copy);
    ck_assert_int_eq(
        mproc_array_copy(array, place, MPROC_WITH(mproc_array_options, .initial = initial), &copy), -EINVAL);
    ck_assert_int_eq(mproc_array_copy(array, place, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_array_copy(NULL, place, NULL, &copy), -EINVAL);
    array_drop();
}
END_TEST

START_TEST(a_named_array_is_found_while_it_exists)
{
    mproc_array *again, *same = NULL;
    int64_t seen;
    array_make(_i, MPROC_ITEM_INT32, 4, MPROC_WITH(mproc_array_options, .name = "numbers"));
    ck_assert_int_eq(mproc_array_open(place, "numbers", &again), 0);
    ck_assert_int_eq(mproc_array_set_int(array, 2, 5), 0);
    ck_assert(mproc_array_get_int(again, 2, &seen) == 0 && seen == 5);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_INT32, 4,
                                        MPROC_WITH(mproc_array_options, .name = "numbers"), &same),
                     -EEXIST);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_INT32, 4,
                                        MPROC_WITH(mproc_array_options, .name = "numbers", .and_open = true),
                                        &same),
                     0);
    ck_assert_int_eq(mproc_array_open(place, "letters", &again), -ENOENT);
    mproc_array_close(&same);
    mproc_array_close(&again);
    mproc_array_close(&array);
    ck_assert_int_eq(mproc_array_open(place, "numbers", &again), -ENOENT);
    mproc_place_close(&place);
}
END_TEST

START_TEST(a_given_lock_crosses_with_the_array_also_one_that_is_another_arrays)
{
    mproc_lock *lock;
    mproc_array *first;
    if (_i == 0) {
        ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    } else {
        ck_assert_int_eq(mproc_array_create(NULL, MPROC_ITEM_INT8, 1, NULL, &first), 0);
        lock = mproc_array_lock(first);
    }
    array_make(0, MPROC_ITEM_INT32, 4, MPROC_WITH(mproc_array_options, .lock = lock));
    mproc_array *other = crossed(array);
    ck_assert_int_eq(mproc_array_set_int(other, 3, 77), 0);
    ck_assert_int_eq(*((int32_t *)mproc_array_data(array) + 3), 77);
    ck_assert_ptr_ne(mproc_array_lock(other), lock);
    ck_assert_int_eq(mproc_lock_acquire(mproc_array_lock(other), MPROC_NOW), 0);
    ck_assert(mproc_lock_is_held(lock));
    ck_assert_int_eq(in_child(finds_the_lock_held), 0);
    ck_assert_int_eq(mproc_lock_release(mproc_array_lock(other)), 0);
    mproc_array *third = crossed(other);
    ck_assert(mproc_array_lock(third) && !mproc_lock_is_held(mproc_array_lock(third)));
    mproc_array_close(&third);
    mproc_array_close(&other);
    if (_i == 0)
        mproc_lock_close(&lock);
    else
        mproc_array_close(&first);
    array_drop();
}
END_TEST

START_TEST(an_array_of_threads_cannot_cross_and_is_not_a_fork_childs)
{
    array_make(1, MPROC_ITEM_INT32, 4, NULL);
    mproc__parcel parcel = {0};
    mproc_variant item = mproc_handle(array);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_items(&item, 1)), MPROC_ECANNOTCROSS);
    mproc__parcel_clear(&parcel, false);
    array_drop();
}
END_TEST

/* Whatever a packed array is made of, it is opened or refused, and nothing stays open. */
START_TEST(a_parcel_with_a_part_missing_is_refused)
{
    mproc_lock *lock;
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    array_make(0, MPROC_ITEM_INT32, 4, MPROC_WITH(mproc_array_options, .lock = lock));
    mproc_variant item = mproc_handle(array), received;
    mproc__nouns_register();
    for (size_t have = 0; have < 2; have++) {
        mproc__parcel parcel = {0};
        ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_items(&item, 1)), 0);
        ck_assert_uint_eq(parcel.fd_count, 2);
        parcel.fd_count = have;
        parcel.fds[0] = dup(parcel.fds[0]);
        ck_assert_int_eq(mproc__parcel_unpack(&parcel, &received), MPROC_EPROTOCOL);
        if (have == 0)
            close(parcel.fds[0]);
        mproc__parcel_clear(&parcel, true);
    }
    mproc_lock_close(&lock);
    array_drop();
}
END_TEST

START_TEST(a_damaged_array_is_found_when_it_is_attached)
{
    array_make(0, MPROC_ITEM_INT32, 4, NULL);
    mproc__array_shared *shared = mproc__segment_root(array->segment), whole = *shared;
    for (int damage = 0; damage < 5; damage++) {
        shared->item = damage == 0 ? 0 : damage == 1 ? MPROC_ITEM_BYTES + 1 : whole.item;
        shared->item_bytes = damage == 2 ? 5 : whole.item_bytes;
        shared->count = damage == 3 ? 0 : damage == 4 ? SIZE_MAX / 4 : whole.count;
        int fd = dup(mproc__segment_fd(array->segment));
        mproc__segment *segment;
        mproc__handle *handle;
        ck_assert_int_eq(mproc__segment_attach(fd, MPROC_TYPE_ARRAY, &segment), 0);
        ck_assert_int_eq(mproc__array_noun.attach(segment, &handle), MPROC_ECORRUPT);
        mproc__segment_release(segment);
        shared->item = whole.item;
        shared->item_bytes = whole.item_bytes;
        shared->count = whole.count;
    }
    array_drop();
}
END_TEST

START_TEST(a_description_says_what_and_where_it_is)
{
    char text[200];
    const char *where = _i == 0 ? "host" : "thread";
    char wanted[200];
    array_make(_i, MPROC_ITEM_INT16, 12, MPROC_WITH(mproc_array_options, .name = "bins"));
    snprintf(wanted, sizeof(wanted), "array bins of 12 int16 on %s, its lock free", where);
    ck_assert_int_eq(mproc_describe(array, text, sizeof(text)), (int)strlen(wanted));
    ck_assert_str_eq(text, wanted);
    ck_assert_int_eq(mproc_lock_acquire(mproc_array_lock(array), MPROC_NOW), 0);
    mproc_describe(array, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "its lock held"));
    ck_assert_int_eq(mproc_lock_release(mproc_array_lock(array)), 0);
    mproc_array_close(&array);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_BYTES, 2,
                                        MPROC_WITH(mproc_array_options, .item_bytes = 24, .unlocked = true),
                                        &array),
                     0);
    mproc_describe(array, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "of 2 bytes 24 on"));
    ck_assert_ptr_nonnull(strstr(text, ", unlocked"));
    array_drop();
}
END_TEST

START_TEST(no_memory_for_an_array_is_an_error_that_leaves_nothing)
{
    mproc_lock *lock;
    place_make(_i);
    ck_assert_int_eq(mproc_lock_create(place, NULL, &lock), 0);
    for (unsigned n = 1;; n++) {
        support_fail_allocation(n);
        int code = mproc_array_create(place, MPROC_ITEM_INT32, 4,
                                      MPROC_WITH(mproc_array_options, .name = "x", .lock = lock), &array);
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        if (!failed) {
            ck_assert_int_eq(code, 0);
            ck_assert_uint_gt(n, 3);
            break;
        }
        ck_assert_int_eq(code, -ENOMEM);
    }
    ck_assert_int_eq(mproc_array_set_int(array, 0, 1), 0);
    mproc_lock_close(&lock);
    array_drop();
}
END_TEST

/* A lock meant for an array that could not be made is not given to the next one. */
START_TEST(a_failed_create_leaves_no_lock_behind)
{
    mproc_lock *lock;
    array_make(_i, MPROC_ITEM_INT32, 4, MPROC_WITH(mproc_array_options, .name = "x"));
    mproc_array *other = NULL;
    ck_assert_int_eq(mproc_lock_create(place, NULL, &lock), 0);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_INT32, 4,
                                        MPROC_WITH(mproc_array_options, .name = "x", .lock = lock), &other),
                     -EEXIST);
    ck_assert_int_eq(mproc_array_create(place, MPROC_ITEM_INT32, 4,
                                        MPROC_WITH(mproc_array_options, .unlocked = true), &other),
                     0);
    ck_assert_ptr_null(mproc_array_lock(other));
    mproc_array_close(&other);
    mproc_lock_close(&lock);
    array_drop();
}
END_TEST

START_TEST(what_is_no_array_is_refused)
{
    mproc_array *none = NULL, *wrong;
    array_make(1, MPROC_ITEM_INT32, 4, NULL);
    wrong = (mproc_array *)(void *)place;
    ck_assert_int_eq(mproc_array_create(NULL, MPROC_ITEM_INT32, 4, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_array_create((mproc_place *)(void *)array, MPROC_ITEM_INT32, 4, NULL, &none),
                     -EINVAL);
    ck_assert_int_eq(mproc_array_create(NULL, MPROC_ITEM_INT32, 4, &(mproc_array_options){.size = 4}, &none),
                     -EINVAL);
    ck_assert_int_eq(mproc_array_open(NULL, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_array_open(NULL, "x", NULL), -EINVAL);
    for (int i = 0; i < 2; i++) {
        mproc_array *bad = i == 0 ? NULL : wrong;
        ck_assert_ptr_null(mproc_array_data(bad));
        ck_assert_uint_eq(mproc_array_count(bad), 0);
        ck_assert_uint_eq(mproc_array_item_bytes(bad), 0);
        ck_assert_int_eq(mproc_array_item(bad), 0);
        ck_assert_ptr_null(mproc_array_lock(bad));
        ck_assert_int_eq(mproc_array_set_lock(bad, NULL), -EINVAL);
        ck_assert_int_eq(mproc_array_copy(bad, NULL, NULL, &none), -EINVAL);
    }
    ck_assert_ptr_null(none);
    mproc_array_close(&none);
    mproc_array_close(NULL);
    array_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("array");
    TCase *made = support_case(suite, "made");
    tcase_add_loop_test(made, every_item_type_has_its_size_and_an_unknown_one_is_refused_by_name, 0, 2);
    tcase_add_loop_test(made, sizes_that_make_no_sense_are_refused_and_leave_nothing, 0, 2);
    tcase_add_loop_test(made, an_array_of_a_size_is_zeros_also_where_there_was_another_before, 0, 2);
    tcase_add_loop_test(made, values_show_what_they_were_made_with_and_then_what_a_child_stored, 0, 4);
    tcase_add_loop_test(made, structs_are_shared_singly_and_in_arrays, 0, 2);
    TCase *lock = support_case(suite, "lock");
    tcase_add_loop_test(lock, an_array_has_its_own_recursive_lock_a_given_one_or_none, 0, 2);
    tcase_add_test(lock, a_lock_that_cannot_be_where_the_array_is_is_refused);
    tcase_add_loop_test(lock, an_array_made_without_a_lock_is_given_one_afterwards_once, 0, 4);
    tcase_add_test(lock, a_lock_of_its_own_given_later_is_found_through_every_handle);
    tcase_add_test(lock, read_modify_write_under_the_lock_of_many_processes_is_exact);
    tcase_add_test(lock, who_finds_a_half_changed_array_is_told);
    TCase *handle = support_case(suite, "handle");
    tcase_add_loop_test(handle, a_copy_has_the_content_and_a_life_of_its_own, 0, 2);
    tcase_add_loop_test(handle, a_named_array_is_found_while_it_exists, 0, 2);
    tcase_add_loop_test(handle, a_given_lock_crosses_with_the_array_also_one_that_is_another_arrays, 0, 2);
    tcase_add_test(handle, an_array_of_threads_cannot_cross_and_is_not_a_fork_childs);
    tcase_add_test(handle, a_parcel_with_a_part_missing_is_refused);
    tcase_add_test(handle, a_damaged_array_is_found_when_it_is_attached);
    tcase_add_loop_test(handle, a_description_says_what_and_where_it_is, 0, 2);
    tcase_add_loop_test(handle, no_memory_for_an_array_is_an_error_that_leaves_nothing, 0, 2);
    tcase_add_loop_test(handle, a_failed_create_leaves_no_lock_behind, 0, 2);
    tcase_add_test(handle, what_is_no_array_is_refused);
    return support_run(suite, argc, argv);
}
