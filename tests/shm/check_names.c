/* SPDX-License-Identifier: BSD-2-Clause */
/* The directory of names, with handles of the test's own making. */
#include "platform/base.h"

#include <pthread.h>
#include <stdlib.h>

#include "shm/place.h"
#include "support/support.h"

static unsigned destroyed;

static void thing_destroy(mproc__handle *handle)
{
    mproc__names_remove(handle);
    mproc__handle_fini(handle);
    free(handle);
    destroyed++;
}

static const mproc__handle_ops thing_ops = {
    .type = MPROC_TYPE_EVENT, .noun = "thing", .destroy = thing_destroy};

static mproc__handle *thing(void)
{
    mproc__handle *handle = malloc(sizeof(*handle));
    mproc__handle_init(handle, &thing_ops);
    return handle;
}

START_TEST(a_name_finds_its_object_in_its_home_only_and_keeps_it)
{
    mproc__handle *one = thing(), *found;
    ck_assert_int_eq(mproc__names_add(MPROC__HOME_HOST, "one", one), 0);
    ck_assert_int_eq(mproc__names_find(MPROC__HOME_HOST, "one", MPROC_TYPE_EVENT, &found), 0);
    ck_assert_ptr_eq(found, one);
    ck_assert_int_eq(mproc__names_find(MPROC__HOME_THREAD, "one", MPROC_TYPE_EVENT, &found), -ENOENT);
    ck_assert_int_eq(mproc__names_find(MPROC__HOME_HOST, "two", MPROC_TYPE_EVENT, &found), -ENOENT);
    ck_assert_int_eq(mproc__names_find(MPROC__HOME_HOST, "one", MPROC_TYPE_LOCK, &found), -EINVAL);
    mproc__handle_release(one);
    ck_assert_uint_eq(destroyed, 0);
    mproc__handle_release(one);
    ck_assert_uint_eq(destroyed, 1);
    ck_assert_int_eq(mproc__names_find(MPROC__HOME_HOST, "one", MPROC_TYPE_EVENT, &found), -ENOENT);
}
END_TEST

START_TEST(a_name_is_given_once_until_it_is_unlinked)
{
    mproc__handle *one = thing(), *two = thing(), *found;
    ck_assert_int_eq(mproc__names_add(MPROC__HOME_HOST, "n", one), 0);
    ck_assert_int_eq(mproc__names_add(MPROC__HOME_HOST, "n", two), -EEXIST);
    ck_assert_int_eq(mproc__names_add(MPROC__HOME_THREAD, "n", two), 0);
    ck_assert_int_eq(mproc__names_remove_name(MPROC__HOME_HOST, "n"), 0);
    ck_assert_int_eq(mproc__names_remove_name(MPROC__HOME_HOST, "n"), -ENOENT);
    ck_assert_int_eq(mproc__names_add(MPROC__HOME_HOST, "n", two), 0);
    ck_assert_int_eq(mproc__names_find(MPROC__HOME_HOST, "n", MPROC_TYPE_EVENT, &found), 0);
    ck_assert_ptr_eq(found, two);
    mproc__handle_release(two);
    mproc__handle_release(two);
    mproc__handle_release(one);
    ck_assert_uint_eq(destroyed, 2);
}
END_TEST

START_TEST(the_list_says_name_type_and_holders)
{
    mproc__handle *one = thing();
    mproc_variant list;
    int64_t holders;
    ck_assert_int_eq(mproc__names_list(MPROC__HOME_HOST, &list), 0);
    ck_assert_int_eq(list.kind, MPROC_KIND_LIST);
    ck_assert_uint_eq(mproc_variant_count(list), 0);
    mproc_variant_clear(&list);
    ck_assert_int_eq(mproc__names_add(MPROC__HOME_HOST, "one", one), 0);
    mproc__handle_keep(one);
    ck_assert_int_eq(mproc__names_list(MPROC__HOME_HOST, &list), 0);
    ck_assert_uint_eq(mproc_variant_count(list), 1);
    mproc_variant item = mproc_variant_at(list, 0);
    ck_assert_str_eq(mproc_variant_get_text(mproc_variant_find(item, "name")), "one");
    ck_assert_str_eq(mproc_variant_get_text(mproc_variant_find(item, "type")), "thing");
    ck_assert_int_eq(mproc_variant_get_int(mproc_variant_find(item, "holders"), &holders), 0);
    ck_assert_int_eq(holders, 2);
    mproc_variant_clear(&list);
    mproc__handle_release(one);
    mproc__handle_release(one);
    one = thing();
    ck_assert_int_eq(mproc__names_add(MPROC__HOME_HOST, "one\xff", one), 0);
    ck_assert_int_eq(mproc__names_list(MPROC__HOME_HOST, &list), 0);
    ck_assert_int_eq(mproc_variant_find(mproc_variant_at(list, 0), "name").kind, MPROC_KIND_BYTES);
    mproc_variant_clear(&list);
    mproc__handle_release(one);
}
END_TEST

static int finds_one(void *unused)
{
    (void)unused;
    mproc__handle *found;
    return mproc__names_find(MPROC__HOME_HOST, "one", MPROC_TYPE_EVENT, &found);
}

START_TEST(a_fork_child_has_a_copy)
{
    mproc__handle *one = thing();
    ck_assert_int_eq(mproc__names_add(MPROC__HOME_HOST, "one", one), 0);
    ck_assert_int_eq(support_reap(support_fork(finds_one, NULL), 5000), 0);
    mproc__handle_release(one);
}
END_TEST

static void *find_and_release(void *unused)
{
    (void)unused;
    mproc__handle *found;
    for (int i = 0; i < 3000; i++)
        if (mproc__names_find(MPROC__HOME_HOST, "n", MPROC_TYPE_EVENT, &found) == 0)
            mproc__handle_release(found);
    return NULL;
}

START_TEST(finding_while_the_last_holder_leaves_gives_it_whole_or_not_at_all)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, find_and_release, NULL), 0);
    for (int i = 0; i < 3000; i++) {
        mproc__handle *one = thing();
        ck_assert_int_eq(mproc__names_add(MPROC__HOME_HOST, "n", one), 0);
        mproc__handle_release(one);
        mproc__names_remove_name(MPROC__HOME_HOST, "n"); /* where the finder still holds it */
    }
    pthread_join(thread, NULL);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("names");
    TCase *names = support_case(suite, "names");
    tcase_add_test(names, a_name_finds_its_object_in_its_home_only_and_keeps_it);
    tcase_add_test(names, a_name_is_given_once_until_it_is_unlinked);
    tcase_add_test(names, the_list_says_name_type_and_holders);
    tcase_add_test(names, a_fork_child_has_a_copy);
    tcase_add_test(names, finding_while_the_last_holder_leaves_gives_it_whole_or_not_at_all);
    return support_run(suite, argc, argv);
}
