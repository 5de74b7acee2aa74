/* SPDX-License-Identifier: BSD-2-Clause */
/* Raw shared memory in all its homes: made, opened, read, closed, refused. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/shm.h"
#include "support/support.h"

enum { HOME_THREAD, HOME_HOST, HOME_SHM, HOMES };

static mproc_place *place;
static mproc_shm *shm, *other;

static void open_place(int home)
{
    mproc__noun_register(&mproc__shm_noun);
    if (home == HOME_SHM)
        ck_assert_int_eq(mproc__place_shm("shm:/check", NULL, &place), 0);
    else
        ck_assert_int_eq(
            mproc__place_local(home == HOME_HOST ? MPROC__HOME_HOST : MPROC__HOME_THREAD, &place), 0);
}

static int make(size_t size_bytes, const char *name)
{
    return mproc_shm_create(place, size_bytes, MPROC_WITH(mproc_shm_options, .name = name), &shm);
}

static bool file_there(const char *file, mode_t *ret_mode)
{
    char path[400];
    struct stat status;
    snprintf(path, sizeof(path), "/dev/shm/%s", file);
    if (lstat(path, &status) < 0)
        return false;
    if (ret_mode)
        *ret_mode = status.st_mode & 07777;
    return true;
}

/* shows: SHM-01 */
START_TEST(new_memory_is_zero_writable_private_to_its_user_and_says_name_and_size)
{
    char text[200];
    mode_t mode = 0600;
    open_place(_i);
    umask(0777);
    ck_assert_int_eq(make(5000, "one"), 0);
    unsigned char *data = mproc_shm_data(shm);
    ck_assert_uint_eq((uintptr_t)data % 128, 0);
    for (int i = 0; i < 5000; i++)
        ck_assert_uint_eq(data[i], 0);
    memset(data, 0xa5, 5000);
    ck_assert_uint_eq(data[4999], 0xa5);
    ck_assert_uint_eq(mproc_shm_size(shm), 5000);
    ck_assert_str_eq(mproc_shm_name(shm), "one");
    ck_assert_int_gt(mproc_describe(shm, text, sizeof(text)), 0);
    ck_assert_ptr_nonnull(strstr(text, "one"));
    ck_assert_ptr_nonnull(strstr(text, "5000"));
    ck_assert_int_eq(file_there("check%one", &mode), _i == HOME_SHM);
    ck_assert_uint_eq(mode, 0600);
    ck_assert_int_eq(mproc_type_of(shm), MPROC_TYPE_SHM);
    mproc_shm_close(&shm);
    mproc_place_close(&place);
}
END_TEST

static int says_more(void *unused)
{
    (void)unused;
    mproc_shm *mine;
    if (mproc_shm_open(place, "one", &mine) < 0 || strcmp(mproc_shm_data(mine), "hello") != 0)
        return 1;
    strcpy(mproc_shm_data(mine), "world");
    mproc_shm_close(&mine);
    return 0;
}

/* shows: SHM-02 */
START_TEST(who_opens_a_name_sees_the_same_bytes_and_the_real_size)
{
    open_place(_i);
    ck_assert_int_eq(make(5000, "one"), 0);
    strcpy(mproc_shm_data(shm), "hello");
    /* There is no size to give to open; one given with and_open is ignored. */
    ck_assert_int_eq(mproc_shm_open(place, "one", &other), 0);
    ck_assert_uint_eq(mproc_shm_size(other), 5000);
    ck_assert_str_eq(mproc_shm_data(other), "hello");
    if (_i != HOME_THREAD) {
        ck_assert_int_eq(support_reap(support_fork(says_more, NULL), 5000), 0);
        ck_assert_str_eq(mproc_shm_data(other), "world");
    }
    mproc_shm_close(&other);
    mproc_shm_close(&shm);
    mproc_place_close(&place);
}
END_TEST

/* shows: SHM-03 */
START_TEST(without_a_size_or_a_name_to_open_nothing_happens)
{
    open_place(_i);
    ck_assert_int_eq(make(0, "one"), -EINVAL);
    ck_assert_int_eq(make((size_t)-1, "one"), -EINVAL);
    ck_assert_int_eq(make((size_t)-4096, NULL), -EINVAL);
    ck_assert_int_eq(make(SIZE_MAX / 2 + 1, NULL), -EINVAL);
    ck_assert_int_eq(mproc_shm_open(place, NULL, &shm), -EINVAL);
    ck_assert_int_eq(mproc_shm_open(place, "one", NULL), -EINVAL);
    ck_assert_int_eq(mproc_shm_create(place, 10, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_shm_create((mproc_place *)(void *)"no place at all.", 10, NULL, &shm), -EINVAL);
    ck_assert_int_eq(mproc_shm_create(place, 10, &(mproc_shm_options){.size = 1}, &shm), -EINVAL);
    ck_assert_int_eq(mproc_shm_create(place, 10, MPROC_WITH(mproc_shm_options, .mode = 0700), &shm), -EINVAL);
    ck_assert_ptr_null(shm);
    ck_assert_int_eq(mproc_shm_open(place, "one", &shm), -ENOENT);
    mproc_place_close(&place);
}
END_TEST

/* shows: SHM-04 */
START_TEST(a_taken_name_is_told_and_opening_or_making_keeps_what_is_there)
{
    open_place(_i);
    ck_assert_int_eq(mproc_shm_open(place, "one", &shm), -ENOENT);
    ck_assert_int_eq(make(5000, "one"), 0);
    strcpy(mproc_shm_data(shm), "hello");
    ck_assert_int_eq(mproc_shm_create(place, 100, MPROC_WITH(mproc_shm_options, .name = "one"), &other),
                     -EEXIST);
    ck_assert_int_eq(mproc_shm_create(place, 100000,
                                      MPROC_WITH(mproc_shm_options, .name = "one", .and_open = true), &other),
                     0);
    ck_assert_uint_eq(mproc_shm_size(other), 5000);
    ck_assert_str_eq(mproc_shm_data(other), "hello");
    mproc_shm_close(&other);
    ck_assert_int_eq(
        mproc_shm_create(place, 100, MPROC_WITH(mproc_shm_options, .name = "two", .and_open = true), &other),
        0);
    ck_assert_uint_eq(mproc_shm_size(other), 100);
    mproc_shm_close(&other);
    mproc_shm_close(&shm);
    mproc_place_close(&place);
}
END_TEST

/* So many random numbers from now on are all the same. The library in this program calls ours instead of libc's. */
static unsigned same_numbers;

ssize_t getrandom(void *buffer, size_t size_bytes, unsigned flags)
{
    if (same_numbers == 0)
        return syscall(SYS_getrandom, buffer, size_bytes, flags);
    same_numbers--;
    memset(buffer, 0x11, size_bytes);
    return (ssize_t)size_bytes;
}

/* shows: SHM-05 */
START_TEST(memory_made_without_a_name_gets_a_fresh_one_also_when_the_first_is_taken)
{
    open_place(HOME_SHM);
    same_numbers = 1;
    ck_assert_int_eq(make(10, NULL), 0);
    ck_assert_uint_eq(same_numbers, 0);
    ck_assert_ptr_nonnull(strstr(mproc_shm_name(shm), "1111111111111111"));
    same_numbers = 3;
    ck_assert_int_eq(mproc_shm_create(place, 10, NULL, &other), 0);
    ck_assert_uint_eq(same_numbers, 0); /* it was told three times that the name is taken */
    ck_assert_ptr_nonnull(mproc_shm_name(shm));
    ck_assert_str_ne(mproc_shm_name(shm), mproc_shm_name(other));
    mproc_shm_close(&other);
    ck_assert_int_eq(mproc_shm_open(place, mproc_shm_name(shm), &other), 0);
    strcpy(mproc_shm_data(shm), "same");
    ck_assert_str_eq(mproc_shm_data(other), "same");
    mproc_shm_close(&other);
    mproc_shm_close(&shm);
    mproc_place_close(&place);
    ck_assert_int_eq(mproc_shm_create(NULL, 10, NULL, &shm), 0);
    ck_assert_ptr_null(mproc_shm_name(shm));
    mproc_shm_close(&shm);
}
END_TEST

/* shows: SHM-06 */
START_TEST(closing_unmaps_here_only_and_again_does_nothing)
{
    open_place(_i);
    ck_assert_int_eq(make(10, "one"), 0);
    ck_assert_int_eq(mproc_shm_open(place, "one", &other), 0);
    strcpy(mproc_shm_data(shm), "hello");
    mproc_shm_close(&shm);
    ck_assert_ptr_null(shm);
    mproc_shm_close(&shm);
    mproc_shm_close(NULL);
    ck_assert_ptr_null(mproc_shm_data(shm));
    ck_assert_uint_eq(mproc_shm_size(shm), 0);
    ck_assert_ptr_null(mproc_shm_name(shm));
    ck_assert_str_eq(mproc_shm_data(other), "hello");
    uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *page = (void *)((uintptr_t)mproc_shm_data(other) / page_bytes * page_bytes);
    ck_assert_int_eq(msync(page, page_bytes, MS_ASYNC), 0);
    mproc_shm_close(&other); /* the last one */
    ck_assert(msync(page, page_bytes, MS_ASYNC) < 0 && errno == ENOMEM);
    mproc_place_close(&place);
}
END_TEST

/* shows: SHM-07 */
START_TEST(unlinking_works_once_and_leaves_what_is_mapped)
{
    open_place(_i);
    ck_assert_int_eq(make(10, "one"), 0);
    strcpy(mproc_shm_data(shm), "hello");
    ck_assert_int_eq(mproc_place_unlink(place, "one"), 0);
    ck_assert_int_eq(mproc_place_unlink(place, "one"), -ENOENT);
    ck_assert_int_eq(mproc_shm_open(place, "one", &other), -ENOENT);
    ck_assert_str_eq(mproc_shm_data(shm), "hello");
    ck_assert_int_eq(mproc_shm_create(place, 20, MPROC_WITH(mproc_shm_options, .name = "one"), &other), 0);
    mproc_shm_close(&shm);
    ck_assert_uint_eq(mproc_shm_size(other), 20);
    ck_assert_int_eq(mproc_shm_open(place, "one", &shm), 0);
    ck_assert_uint_eq(mproc_shm_size(shm), 20);
    mproc_shm_close(&shm);
    mproc_shm_close(&other);
    mproc_place_close(&place);
}
END_TEST

static int uses_inherited(void *unused)
{
    (void)unused;
    char *data = mproc_shm_data(shm);
    if (!data)
        return mproc_error_code(mproc_error_of(shm)) == -ECHILD ? 20 : 1;
    strcpy(data, "child");
    mproc_shm_close(&shm);
    return 0;
}

START_TEST(a_fork_child_has_what_is_shared_and_not_what_is_for_threads)
{
    open_place(_i);
    ck_assert_int_eq(make(10, "one"), 0);
    ck_assert_int_eq(support_reap(support_fork(uses_inherited, NULL), 5000), _i == HOME_THREAD ? 20 : 0);
    ck_assert_str_eq(mproc_shm_data(shm), _i == HOME_THREAD ? "" : "child");
    mproc_shm_close(&shm);
    mproc_place_close(&place);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("shm");
    TCase *life = support_case(suite, "life");
    tcase_add_loop_test(life, new_memory_is_zero_writable_private_to_its_user_and_says_name_and_size, 0,
                        HOMES);
    tcase_add_loop_test(life, who_opens_a_name_sees_the_same_bytes_and_the_real_size, 0, HOMES);
    tcase_add_loop_test(life, without_a_size_or_a_name_to_open_nothing_happens, 0, HOMES);
    tcase_add_loop_test(life, a_taken_name_is_told_and_opening_or_making_keeps_what_is_there, 0, HOMES);
    tcase_add_test(life, memory_made_without_a_name_gets_a_fresh_one_also_when_the_first_is_taken);
    tcase_add_loop_test(life, closing_unmaps_here_only_and_again_does_nothing, 0, HOMES);
    tcase_add_loop_test(life, unlinking_works_once_and_leaves_what_is_mapped, 0, HOMES);
    tcase_add_loop_test(life, a_fork_child_has_what_is_shared_and_not_what_is_for_threads, 0, HOMES);
    return support_run(suite, argc, argv);
}
