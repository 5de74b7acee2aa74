/* SPDX-License-Identifier: BSD-2-Clause */
/* What values look like to people. */
#include "platform/base.h"

#include <math.h>

#include "data/thing.h"

static void prints(mproc_variant value, const char *wanted)
{
    char text[256];

    ck_assert_int_eq(mproc_variant_print(value, text, sizeof(text)), (int)strlen(wanted));
    ck_assert_str_eq(text, wanted);
}

START_TEST(scalars_look_like_json)
{
    prints(mproc_null(), "null");
    prints(mproc_bool(true), "true");
    prints(mproc_int(INT64_MIN), "-9223372036854775808");
    prints(mproc_double(0.1), "0.1");
    prints(mproc_double(3), "3.0");
    prints(mproc_double(1e300), "1e+300");
    prints(mproc_double(1.0 / 3), "0.3333333333333333");
    prints(mproc_double(-INFINITY), "-inf");
    prints(mproc_double(NAN), "nan");
    prints(mproc_text("a \"b\"\n\\ \x01"), "\"a \\\"b\\\"\\n\\\\ \\u0001\"");
    prints(mproc_bytes("\x00\xff", 2), "bytes(2: 00ff)");
    prints(mproc_bytes("", 0), "bytes(0)");
    prints(mproc_fd(3), "fd(3)");
    prints(mproc_text("\xff"), "invalid(a text that is not UTF-8 (send it as bytes))");
}
END_TEST

START_TEST(containers_and_handles_show_what_is_inside)
{
    void *lock = thing_create(&thing_ops, 5, -1);
    mproc_variant dict = mproc_null();

    mproc_variant_set(&dict, "a", MPROC_ARGS(1, "x"));
    mproc_variant_set(&dict, "b", mproc_handle(lock));
    prints(dict, "{\"a\": [1, \"x\"], \"b\": <lock 5>}");
    prints(mproc_items(NULL, 0), "[]");
    mproc_variant_clear(&dict);
    mproc__handle_close(&lock, MPROC_TYPE_LOCK);
}
END_TEST

START_TEST(the_length_is_told_when_the_buffer_is_short)
{
    char text[6];

    ck_assert_int_eq(mproc_variant_print(MPROC_ARGS(100, 200), text, sizeof(text)), 10);
    ck_assert_str_eq(text, "[100,");
    ck_assert_int_eq(mproc_variant_print(MPROC_ARGS(100, 200), NULL, 0), 10);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("variant_print");
    TCase *all = support_case(suite, "variant_print");

    tcase_add_test(all, scalars_look_like_json);
    tcase_add_test(all, containers_and_handles_show_what_is_inside);
    tcase_add_test(all, the_length_is_told_when_the_buffer_is_short);
    return support_run(suite, argc, argv);
}
