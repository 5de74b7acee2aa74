/* SPDX-License-Identifier: BSD-2-Clause */
/* What layers L2 and L3 share, as arguments: it reaches the children of every start method. */
#include "platform/base.h"

#include <dirent.h>

#include <mproc/sync.h>
#include "process/process_support.h"

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LIMIT_MS));
}

/* Names in /dev/shm. */
static unsigned names_count(void)
{
    DIR *directory = opendir("/dev/shm");
    unsigned count = 0;
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

/* ---- array ---- */

enum { ROUNDS = 500 };

/* Arguments: a value with a lock of its own, an array without, one with a given lock, structs; the names before. */
static int works_on_arrays(mproc_call *call)
{
    mproc_array *value = mproc_call_array(call, 0), *bare = mproc_call_array(call, 1);
    mproc_array *given = mproc_call_array(call, 2), *bytes = mproc_call_array(call, 3);
    if (names_count() != (unsigned)mproc_call_int(call, 4))
        return 1;
    int64_t *total = mproc_array_data(value);
    for (int i = 0; i < ROUNDS; i++) {
        MPROC_WITH_LOCK(mproc_array_lock(value), soon())
        *total += 1;
    }
    if (mproc_array_lock(bare) || mproc_array_count(bare) != 3)
        return 2;
    double seen;
    if (mproc_array_add(bare, 2, 0.5, &seen) < 0 || mproc_array_get(bare, 1, &seen) < 0 || seen != 1.25)
        return 3;
    if (mproc_lock_acquire(mproc_array_lock(given), soon()) != 0 || mproc_array_set_int(given, 0, -7) < 0 ||
        mproc_lock_release(mproc_array_lock(given)) < 0)
        return 4;
    return mproc_array_item_bytes(bytes) == 3 && mproc_array_write(bytes, 1, 1, "xyz") == 0 ? 0 : 5;
}

static mproc_array *array_of(mproc_item item, size_t count, const mproc_array_options *options)
{
    mproc_array *array;
    ck_assert_int_eq(mproc_array_create(NULL, item, count, options, &array), 0);
    return array;
}

/* shows: SCTY-12 START-D */
START_TEST(values_and_arrays_reach_children_of_every_method_without_a_name_in_the_file_system)
{
    const double numbers[] = {0.5, 1.25, 2};
    mproc_lock *lock;
    int64_t seen;
    double real;
    warm();
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    mproc_array *value = array_of(MPROC_ITEM_INT64, 1, NULL);
    mproc_array *bare =
        array_of(MPROC_ITEM_DOUBLE, 3, MPROC_WITH(mproc_array_options, .initial = numbers, .unlocked = true));
    mproc_array *given = array_of(MPROC_ITEM_INT8, 1, MPROC_WITH(mproc_array_options, .lock = lock));
    mproc_array *bytes = array_of(MPROC_ITEM_BYTES, 2, MPROC_WITH(mproc_array_options, .item_bytes = 3));
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    mproc_process *child = start(_i, works_on_arrays, MPROC_ARGS(value, bare, given, bytes, names_count()));
    for (int i = 0; i < ROUNDS; i++)
        MPROC_WITH_LOCK(mproc_array_lock(value), soon())
    *(int64_t *)mproc_array_data(value) += 1;
    ck_assert(mproc_array_get_int(given, 0, &seen) == 0 && seen == 0); /* it waits for our lock */
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert_int_eq(join(child), 0);
    ck_assert(mproc_array_get_int(value, 0, &seen) == 0 && seen == 2 * ROUNDS);
    ck_assert(mproc_array_get(bare, 2, &real) == 0 && real == 2.5);
    ck_assert(mproc_array_get_int(given, 0, &seen) == 0 && seen == -7);
    ck_assert_int_eq(memcmp(mproc_array_data(bytes), "\0\0\0xyz", 6), 0);
    mproc_process_close(&child);
    mproc_array_close(&value);
    mproc_array_close(&bare);
    mproc_array_close(&given);
    mproc_array_close(&bytes);
    mproc_lock_close(&lock);
}
END_TEST

/* ---- condition ---- */

enum { TURNS = 50 };

typedef struct turn {
    mproc_array *number;
    int64_t wanted;
} turn;

static bool is_turn(void *context)
{
    turn *t = context;
    int64_t now;
    return mproc_array_get_int(t->number, 0, &now) == 0 && now == t->wanted;
}

/* With the lock held: waits until the number is `wanted`, then raises it and says so. */
static int take_turn(mproc_condition *condition, mproc_array *number, int64_t wanted)
{
    turn t = {number, wanted};
    int code = mproc_condition_wait_for(condition, is_turn, &t, soon());
    if (code == 0)
        code = mproc_array_set_int(number, 0, wanted + 1);
    return code < 0 ? code : mproc_condition_notify(condition, 1);
}

static int take_turns(mproc_condition *condition, mproc_array *number, int64_t first)
{
    int code = mproc_lock_acquire(mproc_condition_lock(condition), soon());
    for (int64_t i = first; code == 0 && i < 2 * TURNS; i += 2)
        code = take_turn(condition, number, i);
    return mproc_lock_release(mproc_condition_lock(condition)) < 0 ? 9 : code;
}

/* Arguments: the condition, its number, the lock it was given or nothing. */
static int takes_turns(mproc_call *call)
{
    mproc_condition *condition = mproc_call_handle(call, 0, MPROC_TYPE_CONDITION);
    mproc_array *number = mproc_call_array(call, 1);
    mproc_lock *given = mproc_call_count(call) > 2 ? mproc_call_lock(call, 2) : NULL;
    if (mproc_lock_acquire(mproc_condition_lock(condition), soon()) != 0)
        return 1;
    if (given && !mproc_lock_is_held(given))
        return 2;
    if (mproc_lock_release(mproc_condition_lock(condition)) != 0)
        return 3;
    return take_turns(condition, number, 1) == 0 ? 0 : 4;
}

static void turns_by(int method, mproc_lock *lock)
{
    mproc_condition *condition;
    mproc_array *number = array_of(MPROC_ITEM_INT32, 1, NULL);
    ck_assert_int_eq(
        mproc_condition_create(NULL, MPROC_WITH(mproc_condition_options, .lock = lock), &condition), 0);
    mproc_process *child = lock ? start(method, takes_turns, MPROC_ARGS(condition, number, lock))
                                : start(method, takes_turns, MPROC_ARGS(condition, number));
    ck_assert_int_eq(take_turns(condition, number, 0), 0);
    ck_assert_int_eq(join(child), 0);
    mproc_process_close(&child);
    mproc_condition_close(&condition);
    mproc_array_close(&number);
}

/* shows: START-D */
START_TEST(conditions_reach_children_of_every_method_with_the_lock_they_were_given)
{
    mproc_lock *given;
    warm();
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &given), 0);
    turns_by(_i, NULL);
    turns_by(_i, given);
    mproc_lock_close(&given);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("sync_crossing");
    TCase *array = support_case(suite, "array");
    tcase_add_loop_test(array,
                        values_and_arrays_reach_children_of_every_method_without_a_name_in_the_file_system,
                        FIRST_METHOD, ALL_METHODS);
    TCase *condition = support_case(suite, "condition");
    tcase_add_loop_test(condition, conditions_reach_children_of_every_method_with_the_lock_they_were_given,
                        FIRST_METHOD, ALL_METHODS);
    return support_run(suite, argc, argv);
}
