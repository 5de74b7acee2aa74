/* SPDX-License-Identifier: BSD-2-Clause */
/* Handles: types at the door, references, stories. */
#include "platform/base.h"

#include <pthread.h>

#include <mproc/call.h>

#include "data/thing.h"

START_TEST(closing_nulls_and_destroys_once)
{
    thing *t = thing_create(&thing_ops, 1, -1);
    void *handle = t;

    mproc__handle_close(&handle, MPROC_TYPE_LOCK);
    ck_assert_ptr_null(handle);
    ck_assert_int_eq(things_alive, 0);
    mproc__handle_close(&handle, MPROC_TYPE_LOCK);
    mproc__handle_close(NULL, MPROC_TYPE_LOCK);
}
END_TEST

START_TEST(closing_as_another_type_does_nothing)
{
    void *handle = thing_create(&thing_ops, 1, -1);

    mproc__handle_close(&handle, MPROC_TYPE_QUEUE);
    ck_assert_ptr_nonnull(handle);
    ck_assert_int_eq(things_alive, 1);
    mproc__handle_close(&handle, MPROC_TYPE_LOCK);
}
END_TEST

START_TEST(a_kept_handle_outlives_its_first_owner)
{
    void *handle = thing_create(&thing_ops, 1, -1), *mine = mproc_keep(handle);

    ck_assert_ptr_eq(mine, handle);
    mproc__handle_close(&handle, MPROC_TYPE_LOCK);
    ck_assert_int_eq(things_alive, 1);
    ck_assert_int_eq(mproc_type_of(mine), MPROC_TYPE_LOCK);
    mproc__handle_close(&mine, MPROC_TYPE_LOCK);
    ck_assert_int_eq(things_alive, 0);
    ck_assert_ptr_null(mproc_keep(NULL));
}
END_TEST

START_TEST(what_is_no_handle_is_refused)
{
    uint32_t garbage[64] = {0};
    void *handle = thing_create(&thing_ops, 1, -1);

    ck_assert_int_eq(mproc_type_of(NULL), MPROC_TYPE_NONE);
    ck_assert_int_eq(mproc_type_of(garbage), MPROC_TYPE_NONE);
    ck_assert_int_eq(mproc__handle_check(NULL, MPROC_TYPE_LOCK), -EINVAL);
    ck_assert_int_eq(mproc__handle_check(garbage, MPROC_TYPE_LOCK), -EINVAL);
    ck_assert_int_eq(mproc__handle_check(handle, MPROC_TYPE_QUEUE), -EINVAL);
    ck_assert_int_eq(mproc__handle_check(handle, MPROC_TYPE_LOCK), 0);
    mproc__handle_close(&handle, MPROC_TYPE_LOCK);
}
END_TEST

START_TEST(a_handle_describes_itself)
{
    void *lock = thing_create(&thing_ops, 42, -1), *pool = thing_create(&rock_ops, 1, -1);
    char text[32], small[4];

    ck_assert_int_eq(mproc_describe(lock, text, sizeof(text)), 7);
    ck_assert_str_eq(text, "lock 42");
    ck_assert_int_eq(mproc_describe(lock, small, sizeof(small)), 7);
    ck_assert_str_eq(small, "loc");
    mproc_describe(pool, text, sizeof(text));
    ck_assert_str_eq(text, "pool");
    mproc_describe(NULL, text, sizeof(text));
    ck_assert_str_eq(text, "nothing");
    mproc__handle_close(&lock, MPROC_TYPE_LOCK);
    mproc__handle_close(&pool, MPROC_TYPE_POOL);
}
END_TEST

START_TEST(a_failure_is_told_by_the_handle_and_by_the_thread)
{
    void *lock = thing_create(&thing_ops, 42, -1);

    ck_assert_ptr_null(mproc_error_of(lock));
    ck_assert_ptr_null(mproc_error_of(NULL));
    ck_assert_int_eq(mproc__handle_fail(lock, -EPERM, "not %s", "yours"), -EPERM);
    ck_assert_str_eq(mproc_error_text(mproc_last_error()), "EPERM: not yours");
    mproc__fail_plain(-EINVAL);
    ck_assert_str_eq(mproc_error_text(mproc_error_of(lock)), "EPERM: not yours");
    mproc__handle_close(&lock, MPROC_TYPE_LOCK);
}
END_TEST

static void *fail_often(void *context)
{
    for (int i = 0; i < 2000; i++)
        mproc__handle_fail(context, -EPERM, "%s", i % 2 ? "aaaaaaaaaaaaaaaa" : "bbbbbbbb");
    return NULL;
}

START_TEST(a_story_read_while_others_fail_is_one_of_theirs)
{
    void *lock = thing_create(&thing_ops, 42, -1);
    pthread_t threads[2];

    mproc__handle_fail(lock, -EPERM, "bbbbbbbb");
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fail_often, lock), 0);
    for (int i = 0; i < 2000; i++) {
        const char *text = mproc_error_text(mproc_error_of(lock));
        if (strcmp(text, "EPERM: aaaaaaaaaaaaaaaa") != 0)
            ck_assert_str_eq(text, "EPERM: bbbbbbbb");
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    mproc__handle_close(&lock, MPROC_TYPE_LOCK);
}
END_TEST

START_TEST(without_memory_the_threads_story_is_left)
{
    void *lock = thing_create(&thing_ops, 42, -1);
    int code;

    support_fail_allocation(1);
    code = mproc__handle_fail(lock, -EPERM, "not yours");
    ck_assert(support_allocation_failed());
    ck_assert_int_eq(code, -EPERM);
    ck_assert_str_eq(mproc_error_text(mproc_last_error()), "EPERM: not yours");
    ck_assert_ptr_null(mproc_error_of(lock));
    mproc__handle_close(&lock, MPROC_TYPE_LOCK);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("handle");
    TCase *all = support_case(suite, "handle");

    tcase_add_test(all, closing_nulls_and_destroys_once);
    tcase_add_test(all, closing_as_another_type_does_nothing);
    tcase_add_test(all, a_kept_handle_outlives_its_first_owner);
    tcase_add_test(all, what_is_no_handle_is_refused);
    tcase_add_test(all, a_handle_describes_itself);
    tcase_add_test(all, a_failure_is_told_by_the_handle_and_by_the_thread);
    tcase_add_test(all, a_story_read_while_others_fail_is_one_of_theirs);
    tcase_add_test(all, without_memory_the_threads_story_is_left);
    return support_run(suite, argc, argv);
}
