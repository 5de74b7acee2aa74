/* SPDX-License-Identifier: BSD-2-Clause */
/* The locks of arrays: own, given, none; and how a given one crosses. Loop tests run once for each home: 0 host, 1 thread,
 * 2 shm. */
#include "platform/base.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/parcel.h"
#include "sync/array_common.h"
#include "sync/nouns.h"

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

/* Of what the other side says, nothing is touched that it could not have meant. */
START_TEST(a_given_lock_that_may_only_be_read_is_refused)
{
    mproc_lock *lock;
    char path[64];
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    array_make(0, MPROC_ITEM_INT32, 4, MPROC_WITH(mproc_array_options, .lock = lock));
    mproc_variant item = mproc_handle(array), received;
    mproc__nouns_register();
    mproc__parcel parcel = {0};
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_items(&item, 1)), 0);
    ck_assert_uint_eq(parcel.fd_count, 2);
    parcel.fds[0] = dup(parcel.fds[0]);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", parcel.fds[1]);
    parcel.fds[1] = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(parcel.fds[1], 0);
    ck_assert_int_eq(mproc__parcel_unpack(&parcel, &received), -EACCES);
    mproc__parcel_clear(&parcel, true);
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

int main(int argc, char **argv)
{
    Suite *suite = suite_create("array_lock");
    TCase *lock = support_case(suite, "lock");
    tcase_add_loop_test(lock, an_array_has_its_own_recursive_lock_a_given_one_or_none, 0, 3);
    tcase_add_test(lock, a_lock_that_cannot_be_where_the_array_is_is_refused);
    tcase_add_loop_test(lock, an_array_made_without_a_lock_is_given_one_afterwards_once, 0, 4);
    tcase_add_test(lock, a_lock_of_its_own_given_later_is_found_through_every_handle);
    tcase_add_test(lock, read_modify_write_under_the_lock_of_many_processes_is_exact);
    tcase_add_test(lock, who_finds_a_half_changed_array_is_told);
    tcase_add_loop_test(lock, a_given_lock_crosses_with_the_array_also_one_that_is_another_arrays, 0, 2);
    tcase_add_test(lock, a_parcel_with_a_part_missing_is_refused);
    tcase_add_test(lock, a_given_lock_that_may_only_be_read_is_refused);
    tcase_add_loop_test(lock, a_failed_create_leaves_no_lock_behind, 0, 3);
    return support_run(suite, argc, argv);
}
