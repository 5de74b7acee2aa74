/* SPDX-License-Identifier: BSD-2-Clause */
/* Arrays over files: what is in the file is the array, for whoever has it. */
#include "platform/base.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/parcel.h"
#include "sync/array_common.h"
#include "support/faultloop.h"
#include "sync/array.h"
#include "sync/nouns.h"

enum { NUMBERS = 5000 };

static char path[256];

/* A file of `count` doubles 0, 1, 2 ... behind `offset` bytes of something else. */
static void file_make(size_t offset, size_t count)
{
    snprintf(path, sizeof path, "%s/numbers", support_directory());
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    for (size_t i = 0; i < offset; i++)
        fputc('x', file);
    for (size_t i = 0; i < count; i++) {
        double number = (double)i;
        ck_assert_uint_eq(fwrite(&number, sizeof number, 1, file), 1);
    }
    ck_assert_int_eq(fclose(file), 0);
}

static double number_in_file(size_t offset)
{
    double number = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(pread(fd, &number, sizeof number, (off_t)offset), sizeof number);
    close(fd);
    return number;
}

static int opened(size_t count, const mproc_array_file_options *options)
{
    return mproc_array_open_file(path, MPROC_ITEM_DOUBLE, count, options, &array);
}

static double number(size_t index)
{
    double value = -1;
    ck_assert_int_eq(mproc_array_get(array, index, &value), 0);
    return value;
}

static void drop(void)
{
    mproc_array_close(&array);
    unlink(path);
}

/* ---- read ---- */

START_TEST(an_array_shows_what_is_in_its_file)
{
    double some[3];
    file_make(0, NUMBERS);
    ck_assert_int_eq(opened(0, NULL), 0);
    ck_assert_uint_eq(mproc_array_count(array), NUMBERS);
    for (size_t i = 0; i < NUMBERS; i++)
        ck_assert_double_eq(number(i), (double)i);
    ck_assert_int_eq(mproc_array_read(array, NUMBERS - 3, 3, some), 0);
    ck_assert_double_eq(some[2], NUMBERS - 1);
    ck_assert_double_eq(((const double *)mproc_array_data(array))[17], 17);
    ck_assert_int_eq(mproc_array_get(array, NUMBERS, some), -ERANGE);
    ck_assert_int_eq(mproc_array_read(array, NUMBERS - 2, 3, some), -ERANGE);
    drop();
}
END_TEST

START_TEST(items_may_begin_anywhere_in_the_file_and_be_fewer_than_it_has)
{
    const size_t offsets[] = {8, 128, 4096, 4096 + 64};
    for (size_t i = 0; i < 4; i++) {
        file_make(offsets[i], NUMBERS);
        ck_assert_int_eq(opened(7, MPROC_WITH(mproc_array_file_options, .offset_bytes = offsets[i])), 0);
        ck_assert_uint_eq(mproc_array_count(array), 7);
        ck_assert_double_eq(number(0), 0);
        ck_assert_double_eq(number(6), 6);
        ck_assert_int_eq(mproc_array_get(array, 7, &(double){0}), -ERANGE);
        drop();
    }
}
END_TEST

START_TEST(half_an_item_at_the_end_of_a_file_is_none)
{
    file_make(0, 3);
    ck_assert_int_eq(truncate(path, 23), 0);
    ck_assert_int_eq(opened(0, NULL), 0);
    ck_assert_uint_eq(mproc_array_count(array), 2);
    drop();
    file_make(0, 0);
    ck_assert_int_eq(opened(0, NULL), -ERANGE);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "no whole item"));
    unlink(path);
}
END_TEST

START_TEST(nothing_is_written_through_an_array_that_was_opened_to_read)
{
    bool set = true;
    int64_t whole;
    file_make(0, 4);
    ck_assert_int_eq(chmod(path, 0400), 0);
    ck_assert_int_eq(opened(0, NULL), 0);
    ck_assert_int_eq(mproc_array_set(array, 0, 5), -EACCES);
    ck_assert_int_eq(mproc_array_add(array, 0, 5, NULL), -EACCES);
    ck_assert_int_eq(mproc_array_compare_set(array, 0, 0, 5, &set), -EACCES);
    ck_assert_int_eq(mproc_array_write(array, 0, 1, &(double){5}), -EACCES);
    ck_assert_int_eq(mproc_array_set(array, 4, 5), -ERANGE);
    ck_assert_double_eq(number(0), 0);
    ck_assert_int_eq(mproc_array_flush(array), MPROC_ESTATE);
    mproc_array_close(&array);
    ck_assert_int_eq(mproc_array_open_file(path, MPROC_ITEM_INT64, 0, NULL, &array), 0);
    ck_assert_int_eq(mproc_array_set_int(array, 0, 5), -EACCES);
    ck_assert_int_eq(mproc_array_add_int(array, 0, 5, NULL), -EACCES);
    ck_assert_int_eq((mproc_array_add_int)(array, 0, 5, NULL), -EACCES);
    ck_assert_int_eq(mproc_array_compare_set_int(array, 0, 0, 5, &set), -EACCES);
    ck_assert_int_eq(mproc_array_get_int(array, 0, &whole), 0);
    ck_assert_int_eq(whole, 0);
    mproc_array_close(&array);
    ck_assert_int_eq(mproc_array_open_file(path, MPROC_ITEM_UINT8, 0, NULL, &array), 0);
    ck_assert_int_eq(mproc_array_set_text(array, "x"), -EACCES);
    drop();
}
END_TEST

/* ---- written ---- */

static int writes_its_number(void *unused)
{
    (void)unused;
    return mproc_array_set(array, 1, 42) == 0 && mproc_array_add(array, 2, 0.5, NULL) == 0 ? 0 : 1;
}

START_TEST(what_a_process_writes_the_file_and_the_others_have)
{
    file_make(0, NUMBERS);
    ck_assert_int_eq(opened(0, MPROC_WITH(mproc_array_file_options, .access = MPROC_ARRAY_WRITE)), 0);
    ck_assert_int_eq(in_child(writes_its_number), 0);
    ck_assert_double_eq(number(1), 42);
    ck_assert_double_eq(number(2), 2.5);
    ck_assert_int_eq(mproc_array_flush(array), 0);
    ck_assert_double_eq(number_in_file(8), 42);
    drop();
}
END_TEST

START_TEST(what_a_process_changes_in_private_nobody_else_sees)
{
    file_make(0, NUMBERS);
    ck_assert_int_eq(chmod(path, 0400), 0);
    ck_assert_int_eq(opened(0, MPROC_WITH(mproc_array_file_options, .access = MPROC_ARRAY_PRIVATE)), 0);
    ck_assert_int_eq(mproc_array_set(array, 0, -1), 0);
    ck_assert_int_eq(in_child(writes_its_number), 0);
    ck_assert_double_eq(number(0), -1);
    ck_assert_double_eq(number(1), 1);
    ck_assert_double_eq(number_in_file(0), 0);
    ck_assert_int_eq(mproc_array_flush(array), MPROC_ESTATE);
    mproc_array *other = crossed(array);
    double first;
    ck_assert_int_eq(mproc_array_get(other, 0, &first), 0);
    ck_assert_double_eq(first, 0);
    mproc_array_close(&other);
    drop();
}
END_TEST

START_TEST(a_file_is_made_with_room_and_zeros_and_lengthened_where_it_is_short)
{
    struct stat what;
    const mproc_array_file_options *create =
        MPROC_WITH(mproc_array_file_options, .access = MPROC_ARRAY_WRITE, .create = true, .offset_bytes = 64);
    snprintf(path, sizeof path, "%s/made", support_directory());
    ck_assert_int_eq(opened(1000, create), 0);
    ck_assert_double_eq(number(999), 0);
    ck_assert_int_eq(mproc_array_set(array, 999, 7), 0);
    mproc_array_close(&array);
    ck_assert_int_eq(stat(path, &what), 0);
    ck_assert_int_eq(what.st_size, 64 + 8000);
    ck_assert_int_ge(what.st_blocks * 512, 8000);
    ck_assert_int_eq(opened(3000, create), 0);
    ck_assert_double_eq(number(999), 7);
    ck_assert_double_eq(number(2999), 0);
    mproc_array_close(&array);
    ck_assert_int_eq(opened(10, create), 0);
    mproc_array_close(&array);
    ck_assert_int_eq(stat(path, &what), 0);
    ck_assert_int_eq(what.st_size, 64 + 24000);
    unlink(path);
}
END_TEST

START_TEST(holes_are_filled_before_anybody_writes_into_them)
{
    struct stat what;
    file_make(0, 0);
    ck_assert_int_eq(truncate(path, 1 << 20), 0);
    ck_assert_int_eq(opened(0, MPROC_WITH(mproc_array_file_options, .access = MPROC_ARRAY_WRITE)), 0);
    ck_assert_int_eq(stat(path, &what), 0);
    ck_assert_int_ge(what.st_blocks * 512, 1 << 20);
    drop();
}
END_TEST

START_TEST(without_room_nothing_is_made)
{
    const struct rlimit small = {4096, RLIM_INFINITY}, all = {RLIM_INFINITY, RLIM_INFINITY};
    snprintf(path, sizeof path, "%s/large", support_directory());
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    int code =
        opened(NUMBERS, MPROC_WITH(mproc_array_file_options, .access = MPROC_ARRAY_WRITE, .create = true));
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
    ck_assert_int_eq(code, -EFBIG);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "room for 5000 items"));
    ck_assert_ptr_null(array);
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

/* ---- given away ---- */

START_TEST(a_handle_that_crosses_has_the_same_file_with_the_same_rights)
{
    double value;
    file_make(128, NUMBERS);
    ck_assert_int_eq(
        opened(0, MPROC_WITH(mproc_array_file_options, .access = MPROC_ARRAY_WRITE, .offset_bytes = 128)), 0);
    ck_assert_int_eq(unlink(path), 0); /* the descriptor goes, not the name */
    mproc_array *other = crossed(array);
    ck_assert_int_eq(mproc_array_set(other, 3, 9), 0);
    ck_assert_double_eq(number(3), 9);
    ck_assert_ptr_null(mproc_array_lock(other));
    mproc_array_close(&other);
    mproc_array_close(&array);
    file_make(0, NUMBERS);
    ck_assert_int_eq(opened(5, NULL), 0);
    other = crossed(array);
    ck_assert_uint_eq(mproc_array_count(other), 5);
    ck_assert_int_eq(mproc_array_set(other, 3, 9), -EACCES);
    ck_assert_int_eq(mproc_array_get(other, 4, &value), 0);
    ck_assert_double_eq(value, 4);
    mproc_array_close(&other);
    drop();
}
END_TEST

START_TEST(its_lock_crosses_with_it_its_own_or_a_given_one)
{
    mproc_lock *lock = NULL;
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    for (int given = 0; given < 2; given++) {
        file_make(0, NUMBERS);
        ck_assert_int_eq(opened(0, NULL), 0);
        ck_assert_ptr_null(mproc_array_lock(array));
        ck_assert_int_eq(mproc_array_set_lock(array, given ? lock : NULL), 0);
        mproc_array *other = crossed(array);
        ck_assert_int_eq(mproc_lock_acquire(mproc_array_lock(array), MPROC_NOW), 0);
        ck_assert(mproc_lock_is_held(mproc_array_lock(other)));
        ck_assert_int_eq(mproc_lock_release(mproc_array_lock(array)), 0);
        mproc_array_close(&other);
        drop();
    }
    mproc_lock_close(&lock);
}
END_TEST

START_TEST(a_copy_is_an_array_of_its_own)
{
    mproc_array *copy = NULL;
    double value;
    file_make(0, NUMBERS);
    ck_assert_int_eq(opened(0, NULL), 0);
    ck_assert_int_eq(mproc_array_copy(array, NULL, NULL, &copy), 0);
    ck_assert_int_eq(mproc_array_set(copy, 4, -4), 0);
    ck_assert_double_eq(number(4), 4);
    ck_assert_int_eq(mproc_array_get(copy, NUMBERS - 1, &value), 0);
    ck_assert_double_eq(value, NUMBERS - 1);
    ck_assert_int_eq(mproc_array_flush(copy), MPROC_ESTATE);
    mproc_array_close(&copy);
    drop();
}
END_TEST

/* ---- bad input ---- */

static void refused(int code, const char *file, mproc_item item, size_t count,
                    const mproc_array_file_options *options)
{
    mproc_array *none = NULL;
    ck_assert_int_eq(mproc_array_open_file(file, item, count, options, &none), code);
    ck_assert_ptr_null(none);
}

START_TEST(what_is_no_file_of_such_items_is_refused)
{
    char fifo[256];
    file_make(0, 4);
    snprintf(fifo, sizeof fifo, "%s/fifo", support_directory());
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    refused(-ENODEV, fifo, MPROC_ITEM_DOUBLE, 0, NULL);
    refused(-ENODEV, "/dev/zero", MPROC_ITEM_DOUBLE, 1, NULL);
    refused(-EISDIR, support_directory(), MPROC_ITEM_DOUBLE, 0, NULL);
    refused(-ENOENT, "/nowhere/at/all", MPROC_ITEM_DOUBLE, 0, NULL);
    refused(-ENOENT, "", MPROC_ITEM_DOUBLE, 0, NULL);
    refused(-ERANGE, path, MPROC_ITEM_DOUBLE, 5, NULL);
    refused(-ERANGE, path, MPROC_ITEM_DOUBLE, 5,
            MPROC_WITH(mproc_array_file_options, .access = MPROC_ARRAY_WRITE));
    refused(-ERANGE, path, MPROC_ITEM_DOUBLE, 4, MPROC_WITH(mproc_array_file_options, .offset_bytes = 8));
    refused(-ERANGE, path, MPROC_ITEM_DOUBLE, 0, MPROC_WITH(mproc_array_file_options, .offset_bytes = 800));
    refused(-EINVAL, path, MPROC_ITEM_DOUBLE, 1, MPROC_WITH(mproc_array_file_options, .offset_bytes = 4));
    refused(-EINVAL, path, MPROC_ITEM_DOUBLE, 1,
            MPROC_WITH(mproc_array_file_options, .offset_bytes = UINT64_MAX - 7));
    refused(-EINVAL, path, MPROC_ITEM_DOUBLE, 1, MPROC_WITH(mproc_array_file_options, .item_bytes = 4));
    refused(-EINVAL, path, MPROC_ITEM_BYTES, 1, NULL);
    refused(-EINVAL, path, (mproc_item)0, 1, NULL);
    refused(-EINVAL, path, MPROC_ITEM_DOUBLE, 1, MPROC_WITH(mproc_array_file_options, .create = true));
    refused(-EINVAL, path, MPROC_ITEM_DOUBLE, 0,
            MPROC_WITH(mproc_array_file_options, .access = MPROC_ARRAY_WRITE, .create = true));
    refused(-EINVAL, path, MPROC_ITEM_DOUBLE, 1,
            MPROC_WITH(mproc_array_file_options, .access = (mproc_array_access)3));
    refused(-EOVERFLOW, path, MPROC_ITEM_DOUBLE, SIZE_MAX / 4, NULL);
    refused(-EINVAL, NULL, MPROC_ITEM_DOUBLE, 0, NULL);
    ck_assert_int_eq(mproc_array_open_file(path, MPROC_ITEM_DOUBLE, 0, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_array_flush(NULL), -EINVAL);
    unlink(fifo);
    unlink(path);
}
END_TEST

START_TEST(a_file_that_was_cut_is_refused_where_it_arrives)
{
    mproc__parcel parcel = {0};
    mproc_variant received;
    file_make(0, NUMBERS);
    ck_assert_int_eq(opened(0, NULL), 0);
    mproc__nouns_register();
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, MPROC_V(array)), 0);
    ck_assert_int_eq(truncate(path, 800), 0);
    for (size_t i = 0; i < parcel.fd_count; i++)
        parcel.fds[i] = dup(parcel.fds[i]);
    ck_assert_int_eq(mproc__parcel_unpack(&parcel, &received), -ERANGE);
    mproc__parcel_clear(&parcel, true);
    drop();
}
END_TEST

/* As after close_range(3, ~0), when the program then opens a file of its own. */
START_TEST(a_file_that_has_the_number_of_the_arrays_by_now_is_given_to_nobody)
{
    mproc__parcel parcel = {0};
    file_make(0, NUMBERS);
    ck_assert_int_eq(opened(0, NULL), 0);
    int number = array->file.fd;
    int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(dup2(other, number), number);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, MPROC_V(array)), MPROC_ECANNOTCROSS);
    ck_assert_uint_eq(parcel.fd_count, 0);
    mproc__parcel_clear(&parcel, false);
    drop();
    ck_assert_int_eq(close(number), 0);
    close(other);
}
END_TEST

/* ---- what the system refuses ---- */

typedef struct fault_scene {
    const void *argument;
    mproc_array *made;
} fault_scene;

static int fault_setup(void *scene)
{
    (void)scene;
    file_make(0, NUMBERS);
    return 0;
}

static int fault_open(void *memory)
{
    fault_scene *scene = memory;
    return mproc_array_open_file(
        path, MPROC_ITEM_DOUBLE, NUMBERS + 1,
        MPROC_WITH(mproc_array_file_options, .access = MPROC_ARRAY_WRITE, .create = true), &scene->made);
}

static int fault_check(void *memory, int rc)
{
    fault_scene *scene = memory;
    double value;
    if (rc < 0 && (scene->made || !mproc_last_error()))
        return 1;
    if (rc < 0)
        return mproc_array_open_file(path, MPROC_ITEM_DOUBLE, NUMBERS, NULL, &scene->made) == 0 ? 0 : 2;
    return mproc_array_get(scene->made, NUMBERS - 1, &value) == 0 && value == NUMBERS - 1 ? 0 : 3;
}

static void fault_cleanup(void *memory)
{
    fault_scene *scene = memory;
    mproc_array_close(&scene->made);
    unlink(path);
}

static const fault_case opening_fault = {.name = "array open_file",
                                         .setup = fault_setup,
                                         .call = fault_open,
                                         .check = fault_check,
                                         .cleanup = fault_cleanup};

START_TEST(whatever_fails_while_it_is_opened_leaves_nothing)
{
    fault_allocations(&opening_fault);
    /* Not with the address sanitizer: the call that fails may be its own mmap inside an allocation. */
#ifndef MPROC__SANITIZED
    fault_system_calls(&opening_fault);
#endif
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("array_file");
    TCase *tests = support_case(suite, "file");
    tcase_add_test(tests, an_array_shows_what_is_in_its_file);
    tcase_add_test(tests, items_may_begin_anywhere_in_the_file_and_be_fewer_than_it_has);
    tcase_add_test(tests, half_an_item_at_the_end_of_a_file_is_none);
    tcase_add_test(tests, nothing_is_written_through_an_array_that_was_opened_to_read);
    tcase_add_test(tests, what_a_process_writes_the_file_and_the_others_have);
    tcase_add_test(tests, what_a_process_changes_in_private_nobody_else_sees);
    tcase_add_test(tests, a_file_is_made_with_room_and_zeros_and_lengthened_where_it_is_short);
    tcase_add_test(tests, holes_are_filled_before_anybody_writes_into_them);
    tcase_add_test(tests, without_room_nothing_is_made);
    tcase_add_test(tests, a_handle_that_crosses_has_the_same_file_with_the_same_rights);
    tcase_add_test(tests, its_lock_crosses_with_it_its_own_or_a_given_one);
    tcase_add_test(tests, a_copy_is_an_array_of_its_own);
    tcase_add_test(tests, what_is_no_file_of_such_items_is_refused);
    tcase_add_test(tests, a_file_that_was_cut_is_refused_where_it_arrives);
    tcase_add_test(tests, a_file_that_has_the_number_of_the_arrays_by_now_is_given_to_nobody);
    TCase *faults = support_case(suite, "faults");
    tcase_set_timeout(faults, support_ms(60000) / 1000);
    tcase_add_test(faults, whatever_fails_while_it_is_opened_leaves_nothing);
    return support_run(suite, argc, argv);
}
