/* SPDX-License-Identifier: BSD-2-Clause */
/* Handles of locks: made, named, given away, closed, refused. Loop tests run once for each home: 0 host, 1 thread. */
#include "platform/base.h"

#include <sys/resource.h>
#include <unistd.h>

#include "data/parcel.h"
#include "lock_common.h"
#include "sync/nouns.h"

static int all_answer_child(void *unused)
{
    (void)unused;
    uint64_t token;
    if (mproc_lock_acquire(lock, MPROC_NOW) != -ECHILD || mproc_lock_release(lock) != -ECHILD)
        return 1;
    return mproc_lock_repair(lock) == -ECHILD && mproc_lock_token(lock, &token) == -ECHILD ? 0 : 2;
}

START_TEST(a_thread_lock_answers_echild_in_a_fork_child)
{
    lock_make(1, NULL);
    ck_assert_int_eq(in_child(all_answer_child), 0);
    lock_drop();
}
END_TEST

START_TEST(closing_a_held_lock_releases_it)
{
    mproc_lock *copy;
    lock_make(0, MPROC_WITH(mproc_lock_options, .recursive = true));
    mproc__nouns_register();
    mproc_variant list = mproc_null(), received;
    ck_assert_int_eq(mproc_variant_append(&list, mproc_handle(lock)), 0);
    mproc__parcel parcel = {0};
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, list), 0);
    ck_assert_uint_eq(parcel.fd_count, 1);
    parcel.fds[0] = dup(parcel.fds[0]); /* as a socket would */
    ck_assert_int_eq(mproc__parcel_unpack(&parcel, &received), 0);
    copy = mproc_variant_get_handle(mproc_variant_at(received, 0), MPROC_TYPE_LOCK);
    ck_assert_ptr_nonnull(copy);
    ck_assert_ptr_ne(copy, lock);
    ck_assert_int_eq(mproc_lock_acquire(copy, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_acquire(copy, MPROC_NOW), 0);
    ck_assert_int_eq(in_child(try_now), 1);
    mproc_variant_clear(&received);
    ck_assert_int_eq(in_child(try_now), 0);
    mproc_variant_clear(&list);
    mproc__parcel_clear(&parcel, true);
    lock_drop();
}
END_TEST

START_TEST(a_thread_lock_cannot_cross)
{
    lock_make(1, NULL);
    mproc__parcel parcel = {0};
    mproc_variant item = mproc_handle(lock);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_items(&item, 1)), MPROC_ECANNOTCROSS);
    mproc__parcel_clear(&parcel, false);
    lock_drop();
}
END_TEST

START_TEST(a_named_lock_is_found_while_it_exists)
{
    mproc_lock *again, *same;
    lock_make(_i, MPROC_WITH(mproc_lock_options, .name = "door"));
    ck_assert_int_eq(mproc_lock_open(place, "door", &again), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert(mproc_lock_is_held(again));
    ck_assert_int_eq(mproc_lock_release(again), 0);
    ck_assert_int_eq(mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = "door"), &same),
                     -EEXIST);
    ck_assert_int_eq(
        mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = "door", .and_open = true), &same), 0);
    ck_assert_int_eq(mproc_lock_open(place, "window", &again), -ENOENT);
    mproc_lock_close(&same);
    mproc_lock_close(&again);
    mproc_lock_close(&lock);
    ck_assert_int_eq(mproc_lock_open(place, "door", &again), -ENOENT);
    mproc_place_close(&place);
}
END_TEST

/* shows: SYNC-37 */
START_TEST(very_many_locks_end_in_a_clean_error)
{
    mproc_lock *locks[64];
    struct rlimit old, few;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = (struct rlimit){32, old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    int count = 0, code = 0;
    while (count < 64 && (code = mproc_lock_create(NULL, NULL, &locks[count])) == 0)
        count++;
    ck_assert_int_eq(code, -EMFILE);
    ck_assert_int_gt(count, 4);
    while (count > 0)
        mproc_lock_close(&locks[--count]);
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &locks[0]), 0);
    mproc_lock_close(&locks[0]);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
}
END_TEST

START_TEST(no_memory_for_a_lock_is_an_error_that_leaves_nothing)
{
    if (_i == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    for (unsigned n = 1;; n++) {
        support_fail_allocation(n);
        int code = mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = "x"), &lock);
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        if (!failed) {
            ck_assert_int_eq(code, 0);
            ck_assert_uint_gt(n, 3);
            break;
        }
        ck_assert_int_eq(code, -ENOMEM);
    }
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    lock_drop();
}
END_TEST

START_TEST(what_is_no_lock_is_refused)
{
    mproc_lock *none = NULL;
    ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    ck_assert_int_eq(mproc_lock_acquire(none, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_lock_acquire((mproc_lock *)(void *)place, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_lock_release(none), -EINVAL);
    ck_assert(!mproc_lock_is_held(none));
    ck_assert_int_eq(mproc_lock_create((mproc_place *)(void *)"no place at all", NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_lock_create(NULL, &(mproc_lock_options){.size = 4}, &none), -EINVAL);
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_lock_open(NULL, "x", NULL), -EINVAL);
    mproc_lock_close(&none);
    mproc_place_close(&place);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lock handle");
    TCase *handle = support_case(suite, "handle");
    tcase_add_test(handle, a_thread_lock_answers_echild_in_a_fork_child);
    tcase_add_test(handle, closing_a_held_lock_releases_it);
    tcase_add_test(handle, a_thread_lock_cannot_cross);
    tcase_add_loop_test(handle, a_named_lock_is_found_while_it_exists, 0, 2);
    tcase_add_test(handle, very_many_locks_end_in_a_clean_error);
    tcase_add_loop_test(handle, no_memory_for_a_lock_is_an_error_that_leaves_nothing, 0, 2);
    tcase_add_test(handle, what_is_no_lock_is_refused);
    return support_run(suite, argc, argv);
}
