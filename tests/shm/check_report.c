/* SPDX-License-Identifier: BSD-2-Clause */
/* What a noun may say of an object, garbage included. */
#include "platform/base.h"

#include <string.h>

#include "shm/report.h"
#include "support/support.h"

static mproc__report report;

START_TEST(lines_and_holders_are_kept_as_said)
{
    mproc__report_clear(&report);
    mproc__report_state(&report, "recursive, depth %d", 3);
    mproc__report_state(&report, "poisoned");
    mproc__report_holder(&report, 10, 11, "owner");
    mproc__report_holder(&report, 20, 0, "3 permits");
    ck_assert_str_eq(report.state, "recursive, depth 3\npoisoned");
    ck_assert_uint_eq(mproc__report_told(&report), 2);
    ck_assert_int_eq(report.holders[0].pid, 10);
    ck_assert_int_eq(report.holders[0].tid, 11);
    ck_assert_str_eq(report.holders[1].as, "3 permits");
    mproc__report_clear(&report);
    ck_assert_str_eq(report.state, "");
    ck_assert_uint_eq(mproc__report_told(&report), 0);
}
END_TEST

START_TEST(what_cannot_be_printed_or_counted_is_made_harmless)
{
    mproc__report_clear(&report);
    mproc__report_state(&report, "name %s", "a\nb\033[2Jc\x7f\xc3\xa4");
    mproc__report_holder(&report, -5, INT32_MIN, "own\ner");
    ck_assert_str_eq(report.state, "name a?b?[2Jc?\xc3\xa4");
    ck_assert_int_eq(report.holders[0].pid, 0);
    ck_assert_int_eq(report.holders[0].tid, 0);
    ck_assert_str_eq(report.holders[0].as, "own?er");
}
END_TEST

START_TEST(more_than_fits_is_cut_and_counted)
{
    char longest[4 * MPROC__REPORT_STATE_BYTES];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    mproc__report_clear(&report);
    for (int i = 0; i < 3; i++)
        mproc__report_state(&report, "%s", longest);
    ck_assert_uint_eq(strlen(report.state), MPROC__REPORT_STATE_BYTES - 1);
    for (int i = 0; i < 2 * MPROC__REPORT_HOLDERS; i++)
        mproc__report_holder(&report, i + 1, i + 1, longest);
    ck_assert_uint_eq(report.holder_count, 2 * MPROC__REPORT_HOLDERS);
    ck_assert_uint_eq(mproc__report_told(&report), MPROC__REPORT_HOLDERS);
    ck_assert_int_eq(report.holders[MPROC__REPORT_HOLDERS - 1].pid, MPROC__REPORT_HOLDERS);
    ck_assert_uint_eq(strlen(report.holders[0].as), MPROC__REPORT_AS_BYTES - 1);
}
END_TEST

START_TEST(lines_that_just_fill_the_room_stay_whole)
{
    char line[MPROC__REPORT_STATE_BYTES];
    for (size_t length = MPROC__REPORT_STATE_BYTES - 4; length < MPROC__REPORT_STATE_BYTES; length++) {
        memset(line, 'x', length);
        line[length] = '\0';
        mproc__report_clear(&report);
        mproc__report_state(&report, "%s", line);
        mproc__report_state(&report, "yy");
        ck_assert_uint_lt(strlen(report.state), MPROC__REPORT_STATE_BYTES);
        ck_assert_uint_ge(strlen(report.state), length);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("report");
    TCase *words = support_case(suite, "words");
    tcase_add_test(words, lines_and_holders_are_kept_as_said);
    tcase_add_test(words, what_cannot_be_printed_or_counted_is_made_harmless);
    tcase_add_test(words, more_than_fits_is_cut_and_counted);
    tcase_add_test(words, lines_that_just_fill_the_room_stay_whole);
    return support_run(suite, argc, argv);
}
