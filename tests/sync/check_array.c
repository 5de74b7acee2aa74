/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays: made, found, their locks, given away. Loop tests run once for each home: 0 host, 1 thread, 2 shm. */
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
#include "sync/array_common.h"
#include "sync/nouns.h"

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
    const char *where = _i == 0 ? "host" : _i == 1 ? "thread" : "shm";
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
    tcase_add_loop_test(made, every_item_type_has_its_size_and_an_unknown_one_is_refused_by_name, 0, 3);
    tcase_add_loop_test(made, sizes_that_make_no_sense_are_refused_and_leave_nothing, 0, 3);
    tcase_add_loop_test(made, an_array_of_a_size_is_zeros_also_where_there_was_another_before, 0, 3);
    tcase_add_loop_test(made, values_show_what_they_were_made_with_and_then_what_a_child_stored, 0, 4);
    tcase_add_loop_test(made, structs_are_shared_singly_and_in_arrays, 0, 3);
    TCase *handle = support_case(suite, "handle");
    tcase_add_loop_test(handle, a_copy_has_the_content_and_a_life_of_its_own, 0, 3);
    tcase_add_loop_test(handle, a_named_array_is_found_while_it_exists, 0, 3);
    tcase_add_test(handle, an_array_of_threads_cannot_cross_and_is_not_a_fork_childs);
    tcase_add_test(handle, a_damaged_array_is_found_when_it_is_attached);
    tcase_add_loop_test(handle, a_description_says_what_and_where_it_is, 0, 3);
    tcase_add_loop_test(handle, no_memory_for_an_array_is_an_error_that_leaves_nothing, 0, 3);
    tcase_add_test(handle, what_is_no_array_is_refused);
    return support_run(suite, argc, argv);
}
