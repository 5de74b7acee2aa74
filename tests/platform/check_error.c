/* SPDX-License-Identifier: BSD-2-Clause */
/* Every code has a name and a text of its own. */
#include "platform/base.h"

#include <string.h>

#include "platform/story.h"
#include "support/support.h"

static const struct {
    int code;
    const char *name;
} house_codes[] = {
#define X(name, number, text) {name, #name},
    MPROC_ERRORS(X)
#undef X
};

START_TEST(every_code_of_the_house_has_its_own_name_and_text)
{
    for (size_t i = 0; i < MPROC__COUNT(house_codes); i++) {
        ck_assert_str_eq(mproc_errname(house_codes[i].code), house_codes[i].name);
        ck_assert_str_ne(mproc_strerror(house_codes[i].code), "unknown error");
        for (size_t k = 0; k < i; k++) {
            ck_assert_int_ne(house_codes[i].code, house_codes[k].code);
            ck_assert_str_ne(mproc_strerror(house_codes[i].code), mproc_strerror(house_codes[k].code));
        }
    }
}
END_TEST

START_TEST(the_numbers_of_the_house_have_no_gap)
{
    for (size_t i = 0; i < MPROC__COUNT(house_codes); i++)
        ck_assert_int_eq(house_codes[i].code, -5001 - (int)i);
    ck_assert_int_eq(MPROC_ERROR_LAST, -5000 - (int)MPROC__COUNT(house_codes));
}
END_TEST

START_TEST(errno_codes_have_the_names_of_errno)
{
    ck_assert_str_eq(mproc_errname(-ETIMEDOUT), "ETIMEDOUT");
    ck_assert_str_eq(mproc_strerror(-ETIMEDOUT), "Connection timed out");
    ck_assert_str_eq(mproc_errname(0), "OK");
    ck_assert_str_eq(mproc_errname(MPROC_RECOVERED), "MPROC_RECOVERED");
}
END_TEST

/* A full and an empty queue are what the call that met them waited for, so that try, timed and blocking are one function: both
 * are its deadline passed, and which of the two is known from the call. What a remote function answers is its own code. That
 * the message which found its buffer too small can be had is shown by check_connection.
 * shows: ERR-01 */
START_TEST(every_way_to_fail_has_a_code_and_a_text_of_its_own)
{
    const int ways[] = {-ETIMEDOUT, MPROC_ECLOSED, MPROC_EEND, MPROC_ETOOSMALL, MPROC_EAUTH,   MPROC_EBROKEN,
                        -ECANCELED, MPROC_ESTATE,  -EINVAL,    MPROC_EDIED,     MPROC_EUNKNOWN};

    for (size_t i = 0; i < MPROC__COUNT(ways); i++) {
        ck_assert_int_lt(ways[i], 0);
        for (size_t k = 0; k < i; k++) {
            ck_assert_int_ne(ways[i], ways[k]);
            ck_assert_str_ne(mproc_errname(ways[i]), mproc_errname(ways[k]));
            ck_assert_str_ne(mproc_strerror(ways[i]), mproc_strerror(ways[k]));
        }
    }
}
END_TEST

START_TEST(any_number_has_some_text)
{
    const int odd[] = {17, -4000, -6000, INT32_MIN, INT32_MAX};

    for (size_t i = 0; i < MPROC__COUNT(odd); i++) {
        ck_assert_str_eq(mproc_strerror(odd[i]), "unknown error");
        ck_assert_str_eq(mproc_errname(odd[i]), "unknown");
    }
}
END_TEST

START_TEST(the_text_of_a_story_is_name_and_sentence)
{
    mproc__fail(MPROC_EKEY, "no method '%s'", "push");
    ck_assert_str_eq(mproc_error_text(mproc_last_error()), "MPROC_EKEY: no method 'push'");
    mproc__fail_plain(MPROC_ECLOSED);
    ck_assert_str_eq(mproc_error_text(mproc_last_error()), "MPROC_ECLOSED: shut down or closed");
    ck_assert_str_eq(mproc_error_text(NULL), "OK: done");
}
END_TEST

START_TEST(numbers_are_told_only_when_they_were_set)
{
    int64_t number = 0;

    mproc__fail(MPROC_EDIED, "worker 3 died");
    mproc__fail_number(MPROC_ERROR_SIGNAL, 9);
    ck_assert_int_eq(mproc_error_number(mproc_last_error(), MPROC_ERROR_SIGNAL, &number), 0);
    ck_assert_int_eq(number, 9);
    ck_assert_int_eq(mproc_error_number(mproc_last_error(), MPROC_ERROR_PID, &number), -ENOENT);
    ck_assert_int_eq(mproc_error_number(mproc_last_error(), (mproc_error_field)1000, &number), -ENOENT);
    ck_assert_int_eq(mproc_error_number(NULL, MPROC_ERROR_PID, &number), -ENOENT);
    mproc__fail(MPROC_EDIED, "another");
    ck_assert_int_eq(mproc_error_number(mproc_last_error(), MPROC_ERROR_SIGNAL, &number), -ENOENT);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("error");
    TCase *all = support_case(suite, "error");

    tcase_add_test(all, every_code_of_the_house_has_its_own_name_and_text);
    tcase_add_test(all, the_numbers_of_the_house_have_no_gap);
    tcase_add_test(all, errno_codes_have_the_names_of_errno);
    tcase_add_test(all, every_way_to_fail_has_a_code_and_a_text_of_its_own);
    tcase_add_test(all, any_number_has_some_text);
    tcase_add_test(all, the_text_of_a_story_is_name_and_sentence);
    tcase_add_test(all, numbers_are_told_only_when_they_were_set);
    return support_run(suite, argc, argv);
}
