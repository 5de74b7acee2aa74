/* SPDX-License-Identifier: BSD-2-Clause */
/* What layers L2 and L3 share, as arguments: it reaches the children of every start method. */
#include "platform/base.h"

#include <dirent.h>

#include <signal.h>

#include "process/process_support.h"
#include "process/sync_travellers.h"
#include "shm/place.h"

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LIMIT_MS));
}

/* ---- every noun, by every method, from every place ---- */

/* Where it lives, and how the child comes to it. */
typedef enum way { HOST, FILES, FILES_BY_NAME, THREAD, WAYS } way;
static const char *const way_names[WAYS] = {"host", "shm", "shm by name", "thread"};
static const char address[] = "shm:/check-crossing";
static const char its_name[] = "it";

/* Threads share the program's place; by name the other methods' children open their own. */
static void place_open(way how, mproc_place **ret_place)
{
    int code = 0;
    *ret_place = NULL;
    if (how == THREAD)
        code = mproc__place_local(MPROC__HOME_THREAD, ret_place);
    else if (how != HOST)
        code = mproc__place_shm(address, MPROC_WITH(mproc_place_options, .owner = true), ret_place);
    ck_assert_int_eq(code, 0);
}

/* In a child: what it was given, or finds. To be closed in both cases: `found` tells. */
static void *object_of(mproc_call *call, const traveller *t, void **ret_found)
{
    mproc_place *place;
    *ret_found = NULL;
    if (mproc_call_arg(call, ARG_OBJECT).kind != MPROC_KIND_NULL)
        return mproc_call_handle(call, ARG_OBJECT, t->type);
    if (mproc__place_shm(address, NULL, &place) < 0)
        return NULL;
    (void)t->open(place, its_name, ret_found);
    mproc_place_close(&place);
    return *ret_found;
}

static int meets_its_parent(mproc_call *call)
{
    const traveller *t = &travellers[mproc_call_int(call, ARG_NOUN)];
    void *found, *object = object_of(call, t, &found);
    int code = object ? t->child(call, object) : 50;
    mproc__handle_close(&found, t->type);
    return code;
}

static int leaves_it_and_is_killed(mproc_call *call)
{
    const traveller *t = &travellers[mproc_call_int(call, ARG_NOUN)];
    void *found, *object = object_of(call, t, &found);
    if (!object || t->leave(object))
        return 51;
    raise(SIGKILL);
    return 52;
}

static int done(int (*part)(void *object), void *object)
{
    return part ? part(object) : 0;
}

static mproc_process *send(const traveller *t, int method, way how, mproc_fn *fn, void *object,
                           const gate *said)
{
    mproc_variant given = how == FILES_BY_NAME ? MPROC_NONE : mproc_handle(object);
    return start(method, fn, MPROC_ARGS((int64_t)(t - travellers), given, mproc_fd(said->write_fd)));
}

static void go(const traveller *t, int method, way how)
{
    mproc_place *place;
    void *object = NULL;
    gate said = gate_make();
    place_open(how, &place);
    ck_assert_int_eq(t->create(place, its_name, &object), 0);
    ck_assert_int_eq(done(t->hold, object), 0);
    mproc_process *child = send(t, method, how, meets_its_parent, object, &said);
    gate_await(&said);
    ck_assert_int_eq(done(t->let, object), 0);
    ck_assert_msg(join(child) == 0, "%s, %s, method %d", t->name, way_names[how], method);
    mproc_process_close(&child);
    ck_assert_int_eq(done(t->after, object), 0);
    mproc__handle_close(&object, t->type);
    mproc_place_close(&place);
    gate_destroy(&said);
}

/* shows: START-D */
START_TEST(every_noun_is_shared_with_a_child_of_every_method_in_every_place)
{
    const traveller *t = &travellers[_i / (ALL_METHODS - FIRST_METHOD)];
    int method = FIRST_METHOD + _i % (ALL_METHODS - FIRST_METHOD);
    warm();
    for (way how = HOST; how < (method < PROCESS_METHODS ? THREAD : WAYS); how++)
        go(t, method, how);
}
END_TEST

/* shows: DEATH-1 */
START_TEST(what_a_killed_child_of_any_method_left_is_found_and_told)
{
    const traveller *t = &travellers[_i / (PROCESS_METHODS - FIRST_METHOD)];
    int method = FIRST_METHOD + _i % (PROCESS_METHODS - FIRST_METHOD);
    warm();
    for (way how = HOST; how < THREAD; how++) {
        mproc_place *place;
        void *object = NULL;
        gate said = gate_make();
        place_open(how, &place);
        ck_assert_int_eq(t->create(place, its_name, &object), 0);
        mproc_process *child = send(t, method, how, leaves_it_and_is_killed, object, &said);
        ck_assert_msg(join(child) == -SIGKILL, "%s, %s, method %d", t->name, way_names[how], method);
        mproc_process_close(&child);
        ck_assert_msg(t->mourn(object) == 0, "%s, %s, method %d", t->name, way_names[how], method);
        mproc__handle_close(&object, t->type);
        mproc_place_close(&place);
        gate_destroy(&said);
    }
}
END_TEST

static int refused(int method, void *object)
{
    mproc_process *none = NULL;
    int code = mproc_process_start(meets_its_parent, MPROC_ARGS(0, mproc_handle(object)),
                                   MPROC_WITH(mproc_process_options, .start = (mproc_start)method), &none);
    ck_assert_ptr_null(none);
    return code;
}

/* Also by fork, where the child has a copy of it that answers -ECHILD to each call. */
START_TEST(what_only_this_process_has_is_refused_when_a_process_is_started)
{
    const traveller *t = &travellers[_i];
    mproc_place *place;
    void *object = NULL;
    warm();
    place_open(THREAD, &place);
    ck_assert_int_eq(t->create(place, its_name, &object), 0);
    for (int method = FIRST_METHOD; method < PROCESS_METHODS; method++) {
        ck_assert_int_eq(refused(method, object), MPROC_ECANNOTCROSS);
        ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "cannot go there"));
    }
    mproc__handle_close(&object, t->type);
    mproc_place_close(&place);
}
END_TEST

/* ---- array ---- */

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
    TCase *nouns = support_case(suite, "nouns");
    int count = (int)traveller_count();
    tcase_add_loop_test(nouns, every_noun_is_shared_with_a_child_of_every_method_in_every_place, 0,
                        count * (ALL_METHODS - FIRST_METHOD));
    tcase_add_loop_test(nouns, what_a_killed_child_of_any_method_left_is_found_and_told, 0,
                        count * (PROCESS_METHODS - FIRST_METHOD));
    tcase_add_loop_test(nouns, what_only_this_process_has_is_refused_when_a_process_is_started, 0, count);
    TCase *array = support_case(suite, "array");
    tcase_add_loop_test(array,
                        values_and_arrays_reach_children_of_every_method_without_a_name_in_the_file_system,
                        FIRST_METHOD, ALL_METHODS);
    TCase *condition = support_case(suite, "condition");
    tcase_add_loop_test(condition, conditions_reach_children_of_every_method_with_the_lock_they_were_given,
                        FIRST_METHOD, ALL_METHODS);
    return support_run(suite, argc, argv);
}
