/* SPDX-License-Identifier: BSD-2-Clause */
/* UTF-8, its borders one by one. */
#include "platform/base.h"

#include <string.h>

#include "data/variant.h"
#include "support/support.h"

static const char *const good[] = {"",
                                   "plain ascii, longer than a word",
                                   "\x7f",
                                   "\xc2\x80",
                                   "\xdf\xbf",
                                   "\xe0\xa0\x80",
                                   "\xed\x9f\xbf",
                                   "\xee\x80\x80",
                                   "\xef\xbf\xbf",
                                   "\xf0\x90\x80\x80",
                                   "\xf4\x8f\xbf\xbf",
                                   "Fl\xc3\xb6te mit 12345678 \xe2\x82\xac"};
static const char *const bad[] = {"\x80",
                                  "\xbf",
                                  "\xc0\x80",
                                  "\xc1\xbf",
                                  "\xc2",
                                  "\xc2\x41",
                                  "\xe0\x9f\xbf",
                                  "\xe1\x80",
                                  "\xed\xa0\x80",
                                  "\xed\xbf\xbf",
                                  "\xf0\x8f\xbf\xbf",
                                  "\xf4\x90\x80\x80",
                                  "\xf5\x80\x80\x80",
                                  "\xf1\x80\x80\x41",
                                  "\xff",
                                  "12345678\xff",
                                  "1234567\xc3"};

START_TEST(well_formed_sequences_pass)
{
    ck_assert_msg(mproc__utf8_valid(good[_i], strlen(good[_i])), "sample %d", _i);
}
END_TEST

START_TEST(ill_formed_sequences_do_not)
{
    ck_assert_msg(!mproc__utf8_valid(bad[_i], strlen(bad[_i])), "sample %d", _i);
}
END_TEST

START_TEST(a_nul_inside_is_no_text)
{
    for (size_t at = 0; at < 16; at++) {
        char text[16];

        memset(text, 'x', sizeof(text));
        ck_assert(mproc__utf8_valid(text, sizeof(text)));
        text[at] = '\0';
        ck_assert_msg(!mproc__utf8_valid(text, sizeof(text)), "NUL at %zu", at);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("utf8");
    TCase *all = support_case(suite, "utf8");

    tcase_add_loop_test(all, well_formed_sequences_pass, 0, MPROC__COUNT(good));
    tcase_add_loop_test(all, ill_formed_sequences_do_not, 0, MPROC__COUNT(bad));
    tcase_add_test(all, a_nul_inside_is_no_text);
    return support_run(suite, argc, argv);
}
