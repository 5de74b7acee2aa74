/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays over files in loops and maps: workers have the file's own pages, whatever their start method. */
#include "platform/base.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <mproc/array.h>
#include "pool/pool_common.h"

enum { NUMBERS = 20000 };

static char paths[2][256];

static mproc_array *over(int which, mproc_array_access access)
{
    mproc_array *array = NULL;
    snprintf(paths[which], sizeof paths[which], "%s/numbers-%d", support_directory(), which);
    int rc = mproc_array_open_file(
        paths[which], MPROC_ITEM_DOUBLE, NUMBERS,
        MPROC_WITH(mproc_array_file_options, .access = access, .create = access == MPROC_ARRAY_WRITE),
        &array);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return array;
}

/* Item i is i; then opened again, to be read only. */
static mproc_array *numbers_make(void)
{
    mproc_array *array = over(0, MPROC_ARRAY_WRITE);
    for (size_t i = 0; i < NUMBERS; i++)
        ck_assert_int_eq(mproc_array_set(array, i, (double)i), 0);
    mproc_array_close(&array);
    return over(0, MPROC_ARRAY_READ);
}

static void halves_check(mproc_array *array)
{
    const double *numbers = mproc_array_data(array);
    for (size_t i = 0; i < NUMBERS; i++)
        ck_assert_double_eq(numbers[i], (double)i / 2);
}

static int halve_range(mproc_call *call)
{
    mproc_array *from = mproc_call_array(call, 0), *to = mproc_call_array(call, 1);
    const double *in = mproc_array_data(from);
    double *out = mproc_array_data(to);
    size_t first, end;
    if (!in || !out || !mproc_array_lock(to) || mproc_array_set(from, 0, 1) != -EACCES)
        return MPROC_EARGUMENT;
    mproc_call_range(call, &first, &end);
    for (size_t i = first; i < end; i++)
        out[i] = in[i] / 2;
    return 0;
}

static int halve_item(mproc_call *call, const void *in, void *out)
{
    (void)call;
    *(double *)out = *(const double *)in / 2;
    return 0;
}

START_TEST(a_loop_takes_arrays_over_files_with_a_given_lock)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_lock *lock;
    mproc_array *in = numbers_make(), *out = over(1, MPROC_ARRAY_WRITE);
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    ck_assert_int_eq(mproc_array_set_lock(out, lock), 0);
    ck_assert_int_eq(unlink(paths[0]) | unlink(paths[1]), 0);
    int rc = mproc_pool_for(pool, halve_range, NUMBERS,
                            MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(in, out)));
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    halves_check(out);
    mproc_array_close(&in);
    mproc_array_close(&out);
    mproc_lock_close(&lock);
    pool_end(&pool);
}
END_TEST

START_TEST(a_map_reads_and_writes_items_of_files)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_array *in = numbers_make(), *out = over(1, MPROC_ARRAY_WRITE);
    ck_assert_int_eq(mproc_pool_map(pool, halve_item, mproc_array_data(in), sizeof(double),
                                    mproc_array_data(out), sizeof(double), NUMBERS, NULL),
                     0);
    halves_check(out);
    mproc_array_close(&in);
    mproc_array_close(&out);
    pool_end(&pool);
    ck_assert_int_eq(unlink(paths[0]) | unlink(paths[1]), 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, a_loop_takes_arrays_over_files_with_a_given_lock, METHODS_FIRST, METHODS);
    tcase_add_loop_test(tests, a_map_reads_and_writes_items_of_files, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "pool_files", add);
}
