/* SPDX-License-Identifier: BSD-2-Clause */
/* Arguments by kind and method: the same program has the same result by each method, or the start is refused with an error
 * that names the argument, and nothing is left. */
#include "platform/base.h"

#include <float.h>
#include <limits.h>
#include <math.h>

#include <mproc/connection.h>
#include <mproc/lock.h>
#include <mproc/queue.h>
#include "process/process_support.h"
#include "shm/place.h"

/* ---- values ---- */

enum { LARGE = 3 << 20, MANY = 5000 };

/* Without assertions: children make them, too. */
static void add(mproc_variant *list, mproc_variant item)
{
    if (mproc_variant_append(list, item) != 0)
        abort();
}

static void put(mproc_variant *dict, const char *key, mproc_variant item)
{
    if (mproc_variant_set(dict, key, item) != 0)
        abort();
}

static mproc_variant nulls(void)
{
    return mproc_null();
}

static mproc_variant truths(void)
{
    mproc_variant list = mproc_null();
    add(&list, mproc_bool(true));
    add(&list, mproc_bool(false));
    return list;
}

static mproc_variant integers(void)
{
    static const int64_t numbers[] = {0, 1, -1, INT64_MAX, INT64_MIN, 127, 128, -129};
    mproc_variant list = mproc_null();
    for (size_t i = 0; i < MPROC__COUNT(numbers); i++)
        add(&list, mproc_int(numbers[i]));
    return list;
}

static mproc_variant reals(void)
{
    static const double numbers[] = {0.0, -0.0, 0.1, DBL_MAX, DBL_MIN, DBL_TRUE_MIN, -INFINITY};
    mproc_variant list = mproc_null();
    for (size_t i = 0; i < MPROC__COUNT(numbers); i++)
        add(&list, mproc_double(numbers[i]));
    return list;
}

static mproc_variant texts(void)
{
    mproc_variant list = mproc_null();
    add(&list, mproc_text(""));
    add(&list, mproc_text("plain"));
    add(&list, mproc_text("na\xc3\xafve \xe2\x82\xac \xf0\x9f\x8c\x8d\n\x01"));
    return list;
}

static mproc_variant raw(void)
{
    mproc_variant list = mproc_null();
    add(&list, mproc_bytes(NULL, 0));
    add(&list, mproc_bytes("\0\xff\0", 3));
    return list;
}

static mproc_variant large(void)
{
    mproc_variant made = mproc_null();
    char *text = malloc(LARGE + 1);
    if (!text)
        abort();
    memset(text, 'y', LARGE);
    text[LARGE] = '\0';
    add(&made, mproc_text(text));
    add(&made, mproc_bytes(text, LARGE));
    free(text);
    return made;
}

static mproc_variant many(void)
{
    mproc_variant list = mproc_null();
    for (int i = 0; i < MANY; i++)
        add(&list, mproc_int(i));
    return list;
}

static mproc_variant dictionary(void)
{
    mproc_variant dict = mproc_null();
    put(&dict, "z", mproc_int(1));
    put(&dict, "", MPROC_ARGS("empty key", 2.5));
    put(&dict, "\xc3\xa4", mproc_null());
    return dict;
}

/* As deep as arguments may be: they are one level themselves. */
static mproc_variant deep(void)
{
    mproc_variant inner = mproc_int(5);
    for (int level = 0; level < 31; level++) {
        mproc_variant outer = mproc_null();
        add(&outer, inner);
        mproc_variant_clear(&inner);
        inner = outer;
    }
    return inner;
}

static mproc_variant (*const values[])(void) = {nulls, truths, integers, reals, texts,
                                                raw,   large,  many,     deep,  dictionary};

/* A child by exec has the same table, at the same place. Doubles to the bit, also -0.0. */
static int compares(mproc_call *call)
{
    mproc_variant expected = values[mproc_call_int(call, 0)](), given = mproc_call_arg(call, 1);
    char own[4096], its[4096];
    mproc_variant_print(expected, own, sizeof own);
    mproc_variant_print(given, its, sizeof its);
    bool same = mproc_variant_equal(expected, given) && strcmp(own, its) == 0;
    mproc_variant_clear(&expected);
    return same ? 0 : 1;
}

/* shows: START-D */
START_TEST(a_value_of_any_kind_is_the_same_in_a_child_of_any_method)
{
    warm();
    for (size_t i = 0; i < MPROC__COUNT(values); i++) {
        mproc_variant value = values[i]();
        mproc_process *process = start(_i, compares, MPROC_ARGS((int64_t)i, value));
        mproc_variant_clear(&value);
        ck_assert_msg(join(process) == 0, "value %zu by method %d", i, _i);
        mproc_process_close(&process);
    }
}
END_TEST

static int has_the_whole_as_its_arguments(mproc_call *call)
{
    return mproc_call_count(call) == 0 ? 40 : (int)mproc_call_count(call);
}

START_TEST(a_list_that_was_built_is_the_arguments_and_none_are_none)
{
    mproc_variant list = mproc_null();
    warm();
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(mproc_variant_append(&list, mproc_int(i)), 0);
    ck_assert_int_eq(run(_i, has_the_whole_as_its_arguments, list), 20);
    ck_assert_int_eq(run(_i, has_the_whole_as_its_arguments, MPROC_NONE), 40);
    mproc_variant_clear(&list);
}
END_TEST

/* ---- shared objects inside other values ---- */

static int puts_through_both(mproc_call *call)
{
    mproc_variant outer = mproc_call_arg(call, 1);
    mproc_queue *direct = mproc_call_queue(call, 0);
    mproc_queue *inside = mproc_variant_get_handle(
        mproc_variant_at(mproc_variant_find(mproc_variant_at(outer, 1), "queues"), 0), MPROC_TYPE_QUEUE);
    if (!direct || !inside)
        return 1;
    if (mproc_queue_put(direct, "direct", 7, MPROC_NOW) != 0)
        return 2;
    return mproc_queue_put(inside, "inside", 7, MPROC_NOW) == 0 ? 0 : 3;
}

/* shows: START-D */
START_TEST(an_object_inside_dicts_and_lists_and_given_twice_is_one_object)
{
    mproc_queue *queue;
    char text[16];
    size_t size_bytes;
    warm();
    ck_assert_int_eq(mproc_queue_create(NULL, NULL, &queue), 0);
    mproc_variant dict = mproc_null();
    ck_assert_int_eq(mproc_variant_set(&dict, "queues", MPROC_ARGS(queue, queue)), 0);
    ck_assert_int_eq(run(_i, puts_through_both, MPROC_ARGS(queue, MPROC_ARGS(1, dict))), 0);
    ck_assert_int_eq(mproc_queue_get(queue, text, sizeof text, MPROC_NOW, &size_bytes), 0);
    ck_assert_str_eq(text, "direct");
    ck_assert_int_eq(mproc_queue_get(queue, text, sizeof text, MPROC_NOW, &size_bytes), 0);
    ck_assert_str_eq(text, "inside");
    mproc_variant_clear(&dict);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- refused ---- */

typedef struct bad {
    const char *what;
    mproc_variant (*make)(void);
    int by_process, by_thread; /* the error; 0: a thread has it as it is */
} bad;

static mproc_place *local;
static mproc_lock *lock;
static mproc_queue *queue;
static mproc_process *self;

static mproc_variant too_large_number(void)
{
    return mproc_uint(UINT64_MAX);
}

static mproc_variant no_utf8(void)
{
    return mproc_text("\xff");
}

static mproc_variant pointer(void)
{
    return mproc_pointer(&local);
}

static mproc_variant threads_lock(void)
{
    return mproc_handle(lock);
}

static mproc_variant threads_queue(void)
{
    return mproc_handle(queue);
}

static mproc_variant process_itself(void)
{
    return mproc_handle(self);
}

static mproc_variant no_descriptor(void)
{
    return mproc_fd(-1);
}

static mproc_variant closed_descriptor(void)
{
    int fd = dup(0);
    close(fd);
    return mproc_fd(fd);
}

static mproc_variant too_deep(void)
{
    static mproc_variant levels[40];
    for (size_t i = 1; i < MPROC__COUNT(levels); i++)
        levels[i] = mproc_items(&levels[i - 1], 1);
    return levels[MPROC__COUNT(levels) - 1];
}

static const bad bads[] = {
    {"a number above INT64_MAX", too_large_number, MPROC_EARGUMENT, MPROC_EARGUMENT},
    {"a text that is no UTF-8", no_utf8, MPROC_EARGUMENT, MPROC_EARGUMENT},
    {"40 levels", too_deep, MPROC_EARGUMENT, MPROC_EARGUMENT},
    {"a pointer", pointer, MPROC_ECANNOTCROSS, 0},
    {"a lock of thread:", threads_lock, MPROC_ECANNOTCROSS, 0},
    {"a queue of thread:", threads_queue, MPROC_ECANNOTCROSS, 0},
    {"a process", process_itself, MPROC_ECANNOTCROSS, 0},
    {"no descriptor", no_descriptor, MPROC_EARGUMENT, MPROC_EARGUMENT},
    {"a closed descriptor", closed_descriptor, -EBADF, -EBADF},
};

static void check_refused(int method, const bad *of, mproc_variant args)
{
    mproc_process *process = NULL;
    int expected = method == MPROC_START_THREAD ? of->by_thread : of->by_process;
    int code = mproc_process_start(nothing, args,
                                   MPROC_WITH(mproc_process_options, .start = (mproc_start)method), &process);
    ck_assert_msg(code == expected, "%s by method %d: %s", of->what, method, mproc_errname(code));
    if (code == 0) {
        ck_assert_int_eq(join(process), 0);
        mproc_process_close(&process);
        return;
    }
    ck_assert_ptr_null(process);
    ck_assert_msg(strstr(mproc_error_text(mproc_last_error()), "argument 2: ") != NULL, "%s by method %d: %s",
                  of->what, method, mproc_error_text(mproc_last_error()));
}

/* shows: START-D START-07 */
START_TEST(what_cannot_go_is_refused_by_every_method_alike_and_the_error_names_the_argument)
{
    mproc_variant list;
    warm();
    ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &local), 0);
    ck_assert_int_eq(mproc_lock_create(local, NULL, &lock), 0);
    ck_assert_int_eq(mproc_queue_create(local, NULL, &queue), 0);
    self = start(MPROC_START_FORK, nothing, MPROC_NONE);
    ck_assert_int_eq(join(self), 0);
    for (size_t i = 0; i < MPROC__COUNT(bads); i++) {
        check_refused(_i, &bads[i], MPROC_ARGS("first", 1, bads[i].make()));
        check_refused(_i, &bads[i], MPROC_ARGS("first", 1, MPROC_ARGS(0, MPROC_ARGS(bads[i].make()))));
    }
    ck_assert_int_eq(mproc_process_children(&list), 0);
    ck_assert_uint_eq(mproc_variant_count(list), 0);
    mproc_variant_clear(&list);
    mproc_process_close(&self);
    mproc_queue_close(&queue);
    mproc_lock_close(&lock);
    mproc_place_close(&local);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("arguments");
    TCase *kinds = support_case(suite, "kinds");
    tcase_add_loop_test(kinds, a_value_of_any_kind_is_the_same_in_a_child_of_any_method, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(kinds, a_list_that_was_built_is_the_arguments_and_none_are_none, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(kinds, an_object_inside_dicts_and_lists_and_given_twice_is_one_object, FIRST_METHOD,
                        ALL_METHODS);
    TCase *refused = support_case(suite, "refused");
    tcase_add_loop_test(refused,
                        what_cannot_go_is_refused_by_every_method_alike_and_the_error_names_the_argument,
                        FIRST_METHOD, ALL_METHODS);
    return support_run(suite, argc, argv);
}
