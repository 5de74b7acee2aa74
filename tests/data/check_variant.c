/* SPDX-License-Identifier: BSD-2-Clause */
/* Variants from plain values, and back. */
#include "platform/base.h"

#include <math.h>

#include "data/thing.h"
#include "data/variant.h"

START_TEST(each_constructor_gives_its_kind)
{
    int x = 0;

    ck_assert_uint_eq(mproc_null().kind, MPROC_KIND_NULL);
    ck_assert_uint_eq(mproc_bool(true).kind, MPROC_KIND_BOOL);
    ck_assert_uint_eq(mproc_int(-1).kind, MPROC_KIND_INT);
    ck_assert_uint_eq(mproc_uint(INT64_MAX).kind, MPROC_KIND_INT);
    ck_assert_uint_eq(mproc_double(0.5).kind, MPROC_KIND_DOUBLE);
    ck_assert_uint_eq(mproc_text("x").kind, MPROC_KIND_TEXT);
    ck_assert_uint_eq(mproc_bytes("x", 1).kind, MPROC_KIND_BYTES);
    ck_assert_uint_eq(mproc_items(NULL, 0).kind, MPROC_KIND_LIST);
    ck_assert_uint_eq(mproc_fd(0).kind, MPROC_KIND_FD);
    ck_assert_uint_eq(mproc_pointer(&x).kind, MPROC_KIND_POINTER);
}
END_TEST

START_TEST(null_pointers_are_null)
{
    ck_assert_uint_eq(mproc_text(NULL).kind, MPROC_KIND_NULL);
    ck_assert_uint_eq(mproc_handle(NULL).kind, MPROC_KIND_NULL);
    ck_assert_uint_eq(mproc_pointer(NULL).kind, MPROC_KIND_NULL);
    ck_assert_ptr_nonnull(mproc_bytes(NULL, 0).data);
}
END_TEST

START_TEST(what_cannot_be_a_value_is_invalid)
{
    uint32_t garbage[16] = {0};

    ck_assert_uint_eq(mproc_uint(UINT64_C(1) << 63).kind, MPROC_KIND_INVALID);
    ck_assert_uint_eq(mproc_text("\xff").kind, MPROC_KIND_INVALID);
    ck_assert_uint_eq(mproc_bytes(NULL, 3).kind, MPROC_KIND_INVALID);
    ck_assert_uint_eq(mproc_items(NULL, 3).kind, MPROC_KIND_INVALID);
    ck_assert_uint_eq(mproc_handle(garbage).kind, MPROC_KIND_INVALID);
    ck_assert_uint_eq(mproc_fd(-1).kind, MPROC_KIND_INVALID);
}
END_TEST

START_TEST(ints_widen_to_double_and_bits_to_bool_nothing_else)
{
    int64_t whole = 0;
    double real = 0;
    bool truth = false;

    ck_assert_int_eq(mproc_variant_get_int(mproc_int(INT64_MIN), &whole), 0);
    ck_assert_int_eq(whole, INT64_MIN);
    ck_assert_int_eq(mproc_variant_get_double(mproc_int(3), &real), 0);
    ck_assert(real == 3.0);
    ck_assert_int_eq(mproc_variant_get_bool(mproc_int(1), &truth), 0);
    ck_assert(truth);
    ck_assert_int_eq(mproc_variant_get_bool(mproc_int(2), &truth), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_variant_get_int(mproc_double(3), &whole), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_variant_get_int(mproc_bool(true), &whole), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_variant_get_double(mproc_text("3"), &real), MPROC_EARGUMENT);
    ck_assert_ptr_nonnull(
        strstr(mproc_error_text(mproc_last_error()), "a value is text, double was asked for"));
}
END_TEST

START_TEST(text_and_bytes_are_not_taken_for_each_other)
{
    size_t size_bytes = 9;

    ck_assert_str_eq(mproc_variant_get_text(mproc_text("abc")), "abc");
    ck_assert_ptr_null(mproc_variant_get_text(mproc_bytes("abc", 4)));
    ck_assert_mem_eq(mproc_variant_get_bytes(mproc_bytes("a\0c", 3), &size_bytes), "a\0c", 3);
    ck_assert_uint_eq(size_bytes, 3);
    ck_assert_ptr_null(mproc_variant_get_bytes(mproc_text("abc"), &size_bytes));
    ck_assert_uint_eq(size_bytes, 0);
}
END_TEST

START_TEST(arguments_become_a_list_of_their_kinds)
{
    unsigned char small = 200;
    mproc_variant args = MPROC_ARGS(1, "two", 3.0, small, mproc_bool(true), (void *)&small, 7ul);

    ck_assert_uint_eq(mproc_variant_count(args), 7);
    ck_assert_uint_eq(mproc_variant_at(args, 0).kind, MPROC_KIND_INT);
    ck_assert_uint_eq(mproc_variant_at(args, 1).kind, MPROC_KIND_TEXT);
    ck_assert_uint_eq(mproc_variant_at(args, 2).kind, MPROC_KIND_DOUBLE);
    ck_assert_int_eq(mproc_variant_at(args, 3).number, 200);
    ck_assert_uint_eq(mproc_variant_at(args, 4).kind, MPROC_KIND_BOOL);
    ck_assert_uint_eq(mproc_variant_at(args, 5).kind, MPROC_KIND_POINTER);
    ck_assert_uint_eq(mproc_variant_at(args, 6).kind, MPROC_KIND_INT);
    ck_assert_uint_eq(mproc_variant_at(args, 7).kind, MPROC_KIND_INVALID);
    ck_assert_uint_eq(mproc_variant_at(mproc_int(1), 0).kind, MPROC_KIND_INVALID);
    ck_assert_uint_eq(mproc_variant_count(MPROC_NONE), 0);
}
END_TEST

START_TEST(a_handle_comes_out_as_the_type_it_is)
{
    void *lock = thing_create(&thing_ops, 1, -1);
    mproc_variant value = mproc_handle(lock);

    ck_assert_ptr_eq(mproc_variant_get_handle(value, MPROC_TYPE_LOCK), lock);
    ck_assert_ptr_null(mproc_variant_get_handle(value, MPROC_TYPE_QUEUE));
    ck_assert_ptr_null(mproc_variant_get_handle(mproc_int(1), MPROC_TYPE_LOCK));
    mproc__handle_close(&lock, MPROC_TYPE_LOCK);
}
END_TEST

START_TEST(an_answer_that_has_nowhere_to_go_is_an_error)
{
    mproc_variant dict = mproc_null(), item;
    const char *key;

    ck_assert_int_eq(mproc_variant_get_int(mproc_int(1), NULL), -EINVAL);
    ck_assert_int_eq(mproc_variant_get_double(mproc_int(1), NULL), -EINVAL);
    ck_assert_int_eq(mproc_variant_get_bool(mproc_int(1), NULL), -EINVAL);
    ck_assert_int_eq(mproc_variant_copy(mproc_int(1), NULL), -EINVAL);
    ck_assert_int_eq(mproc_error_code(mproc_last_error()), -EINVAL);
    ck_assert_ptr_nonnull(mproc_variant_get_bytes(mproc_bytes("x", 1), NULL));
    ck_assert_int_eq(mproc_variant_append(NULL, mproc_int(1)), -EINVAL);
    ck_assert_int_eq(mproc_variant_set(&dict, NULL, mproc_int(1)), -EINVAL);
    ck_assert_int_eq(mproc_variant_set(&dict, "k", mproc_int(1)), 0);
    ck_assert_int_eq(mproc_variant_entry(dict, 0, NULL, &item), -EINVAL);
    ck_assert_int_eq(mproc_variant_entry(dict, 0, &key, NULL), -EINVAL);
    ck_assert_int_eq(mproc_variant_entry(dict, 0, &key, &item), 0);
    mproc_variant_clear(NULL);
    mproc_variant_clear(&dict);
}
END_TEST

START_TEST(equality_looks_at_kind_and_contents)
{
    ck_assert(mproc_variant_equal(MPROC_ARGS(1, "a", 2.5), MPROC_ARGS(1, "a", 2.5)));
    ck_assert(!mproc_variant_equal(MPROC_ARGS(1, "a"), MPROC_ARGS(1, "b")));
    ck_assert(!mproc_variant_equal(MPROC_ARGS(1), MPROC_ARGS(1, 1)));
    ck_assert(!mproc_variant_equal(mproc_int(1), mproc_double(1)));
    ck_assert(!mproc_variant_equal(mproc_text("a"), mproc_bytes("a", 1)));
    ck_assert(mproc_variant_equal(mproc_bytes(NULL, 0), mproc_bytes("", 0)));
    ck_assert(!mproc_variant_equal(mproc_double(NAN), mproc_double(NAN)));
    ck_assert(mproc_variant_equal(mproc_null(), mproc_null()));
    ck_assert(!mproc_variant_equal(mproc_text("\xff"), mproc_text("\xff")));
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("variant");
    TCase *all = support_case(suite, "variant");

    tcase_add_test(all, each_constructor_gives_its_kind);
    tcase_add_test(all, null_pointers_are_null);
    tcase_add_test(all, what_cannot_be_a_value_is_invalid);
    tcase_add_test(all, ints_widen_to_double_and_bits_to_bool_nothing_else);
    tcase_add_test(all, text_and_bytes_are_not_taken_for_each_other);
    tcase_add_test(all, arguments_become_a_list_of_their_kinds);
    tcase_add_test(all, a_handle_comes_out_as_the_type_it_is);
    tcase_add_test(all, an_answer_that_has_nowhere_to_go_is_an_error);
    tcase_add_test(all, equality_looks_at_kind_and_contents);
    return support_run(suite, argc, argv);
}
