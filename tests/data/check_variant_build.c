/* SPDX-License-Identifier: BSD-2-Clause */
/* Growing, copying and clearing: who owns what. */
#include "platform/base.h"

#include <fcntl.h>

#include "data/thing.h"
#include "data/variant.h"

enum { MANY = 5000 };

START_TEST(the_first_append_makes_a_list)
{
    mproc_variant list = mproc_null();
    char word[] = "word";

    ck_assert_int_eq(mproc_variant_append(&list, mproc_text(word)), 0);
    word[0] = 'x'; /* items are copied */
    for (int i = 1; i < MANY; i++)
        ck_assert_int_eq(mproc_variant_append(&list, mproc_int(i)), 0);
    ck_assert_uint_eq(mproc_variant_count(list), MANY);
    ck_assert_str_eq(mproc_variant_get_text(mproc_variant_at(list, 0)), "word");
    ck_assert_int_eq(mproc_variant_at(list, MANY - 1).number, MANY - 1);
    mproc_variant_clear(&list);
    ck_assert_uint_eq(list.kind, MPROC_KIND_NULL);
    mproc_variant_clear(&list);
    mproc_variant_clear(NULL);
}
END_TEST

START_TEST(a_dict_of_many_keys_finds_each)
{
    mproc_variant dict = mproc_null();
    char key[32];

    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        ck_assert_int_eq(mproc_variant_set(&dict, key, mproc_int(i)), 0);
    }
    for (int i = 0; i < MANY; i += 2) {
        snprintf(key, sizeof(key), "key %d", i);
        ck_assert_int_eq(mproc_variant_set(&dict, key, mproc_text("even")), 0);
    }
    ck_assert_uint_eq(mproc_variant_count(dict), MANY);
    for (int i = 0; i < MANY; i++) {
        const char *name;
        mproc_variant item;
        snprintf(key, sizeof(key), "key %d", i);
        if (i % 2 == 0)
            ck_assert_str_eq(mproc_variant_get_text(mproc_variant_find(dict, key)), "even");
        else
            ck_assert_int_eq(mproc_variant_find(dict, key).number, i);
        ck_assert_int_eq(mproc_variant_entry(dict, (size_t)i, &name, &item), 0);
        ck_assert_str_eq(name, key); /* in the order they were set */
    }
    ck_assert_uint_eq(mproc_variant_find(dict, "absent").kind, MPROC_KIND_INVALID);
    ck_assert_uint_eq(mproc_variant_find(dict, NULL).kind, MPROC_KIND_INVALID);
    ck_assert_uint_eq(mproc_variant_find(mproc_int(1), "x").kind, MPROC_KIND_INVALID);
    mproc_variant_clear(&dict);
}
END_TEST

START_TEST(wrong_kinds_do_not_grow)
{
    mproc_variant number = mproc_int(1), borrowed = MPROC_ARGS(1, 2), dict = mproc_null(),
                  list = mproc_null();

    ck_assert_int_eq(mproc_variant_append(&number, mproc_int(2)), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_variant_append(&borrowed, mproc_int(2)), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_variant_append(&list, mproc_text("\xff")), MPROC_EARGUMENT);
    ck_assert_uint_eq(list.kind, MPROC_KIND_NULL);
    ck_assert_int_eq(mproc_variant_set(&dict, "k", mproc_int(1)), 0);
    ck_assert_int_eq(mproc_variant_append(&dict, mproc_int(2)), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_variant_set(&dict, "\xff", mproc_int(2)), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_variant_set(&dict, NULL, mproc_int(2)), -EINVAL);
    ck_assert_int_eq(mproc_variant_set(NULL, "k", mproc_int(2)), -EINVAL);
    ck_assert_uint_eq(mproc_variant_count(dict), 1);
    mproc_variant_clear(&dict);
}
END_TEST

START_TEST(an_item_seen_from_outside_owns_nothing)
{
    mproc_variant inner = mproc_null(), outer = mproc_null(), seen;

    ck_assert_int_eq(mproc_variant_append(&inner, mproc_text("deep")), 0);
    ck_assert_int_eq(mproc_variant_append(&outer, inner), 0);
    mproc_variant_clear(&inner);
    seen = mproc_variant_at(outer, 0);
    ck_assert_int_eq(mproc_variant_append(&seen, mproc_int(1)), MPROC_EARGUMENT);
    mproc_variant_clear(&seen);
    ck_assert_str_eq(mproc_variant_get_text(mproc_variant_at(mproc_variant_at(outer, 0), 0)), "deep");
    mproc_variant_clear(&outer);
}
END_TEST

START_TEST(a_list_can_be_put_into_itself_as_a_copy)
{
    mproc_variant list = mproc_null();

    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(mproc_variant_append(&list, list), 0);
    ck_assert_uint_eq(mproc_variant_count(list), 5);
    ck_assert_uint_eq(mproc_variant_count(mproc_variant_at(list, 4)), 4);
    mproc_variant_clear(&list);
}
END_TEST

START_TEST(more_than_32_levels_are_refused)
{
    mproc_variant levels[40] = {[0] = mproc_int(1)}, copy;

    for (size_t i = 1; i < MPROC__COUNT(levels); i++)
        levels[i] = mproc_items(&levels[i - 1], 1);
    ck_assert_int_eq(mproc_variant_copy(levels[32], &copy), 0);
    mproc_variant_clear(&copy);
    ck_assert_int_eq(mproc_variant_copy(levels[33], &copy), MPROC_EARGUMENT);
}
END_TEST

START_TEST(a_copied_handle_is_kept_and_a_copied_descriptor_duplicated)
{
    void *lock = thing_create(&thing_ops, 1, -1);
    mproc_variant list, args = MPROC_ARGS(mproc_handle(lock), mproc_fd(0));

    ck_assert_int_eq(mproc_variant_copy(args, &list), 0);
    mproc__handle_close(&lock, MPROC_TYPE_LOCK);
    ck_assert_int_eq(things_alive, 1);
    ck_assert_int_gt(mproc_variant_at(list, 1).number, 0);
    ck_assert_int_eq(fcntl((int)mproc_variant_at(list, 1).number, F_GETFD), FD_CLOEXEC);
    mproc_variant_clear(&list);
    ck_assert_int_eq(things_alive, 0);
    ck_assert_int_eq(mproc_variant_copy(mproc_fd(999), &list), -EBADF);
}
END_TEST

START_TEST(dicts_are_equal_in_any_order)
{
    mproc_variant a = mproc_null(), b = mproc_null();

    mproc_variant_set(&a, "x", mproc_int(1));
    mproc_variant_set(&a, "y", mproc_int(2));
    mproc_variant_set(&b, "y", mproc_int(2));
    mproc_variant_set(&b, "x", mproc_int(1));
    ck_assert(mproc_variant_equal(a, b));
    mproc_variant_set(&b, "x", mproc_int(3));
    ck_assert(!mproc_variant_equal(a, b));
    mproc_variant_clear(&a);
    mproc_variant_clear(&b);
}
END_TEST

/* Builds a dict of 12 entries (a table is needed) with a list in each and copies it. */
static int build_and_copy(mproc_variant *ret_dict)
{
    mproc_variant dict = mproc_null();
    char key[16];
    int code = 0;

    for (int i = 0; i < 12 && code == 0; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        code = mproc_variant_set(&dict, key, MPROC_ARGS(i, "text", mproc_bytes("b", 1)));
    }
    if (code == 0)
        code = mproc_variant_copy(dict, ret_dict);
    mproc_variant_clear(&dict);
    return code;
}

START_TEST(every_failing_allocation_leaves_nothing_behind)
{
    mproc_variant dict = mproc_null();
    bool failed = true;
    unsigned n;

    for (n = 1; failed; n++) {
        int code;
        support_fail_allocation(n);
        code = build_and_copy(&dict);
        failed = support_allocation_failed();
        ck_assert_int_eq(code, failed ? -ENOMEM : 0);
    }
    ck_assert_uint_gt(n, 50);
    ck_assert_uint_eq(mproc_variant_count(dict), 12);
    mproc_variant_clear(&dict);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("variant_build");
    TCase *all = support_case(suite, "variant_build");

    tcase_add_test(all, the_first_append_makes_a_list);
    tcase_add_test(all, a_dict_of_many_keys_finds_each);
    tcase_add_test(all, wrong_kinds_do_not_grow);
    tcase_add_test(all, an_item_seen_from_outside_owns_nothing);
    tcase_add_test(all, a_list_can_be_put_into_itself_as_a_copy);
    tcase_add_test(all, more_than_32_levels_are_refused);
    tcase_add_test(all, a_copied_handle_is_kept_and_a_copied_descriptor_duplicated);
    tcase_add_test(all, dicts_are_equal_in_any_order);
    tcase_add_test(all, every_failing_allocation_leaves_nothing_behind);
    return support_run(suite, argc, argv);
}
