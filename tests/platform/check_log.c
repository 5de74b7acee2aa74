/* SPDX-License-Identifier: BSD-2-Clause */
/* The log: silent until asked, then at and above a level. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "platform/platform.h"
#include "support/support.h"

typedef struct heard {
    unsigned count;
    mproc_log_level level;
    char text[64];
    const char *file;
    int line;
} heard;

static void listen(mproc_log_level level, const char *text, void *context)
{
    heard *ear = context;

    ear->count++;
    ear->level = level;
    ear->line = mproc_log_place(&ear->file);
    snprintf(ear->text, sizeof(ear->text), "%s", text);
    errno = EIO;
}

START_TEST(nothing_is_logged_unless_asked_for)
{
    mproc__log(MPROC_LOG_ERROR, "nobody listens");
    mproc_set_log(NULL, MPROC_LOG_DEBUG, NULL);
    mproc__log(MPROC_LOG_ERROR, "nobody listens");
}
END_TEST

START_TEST(only_messages_at_or_above_the_level_are_heard)
{
    heard ear = {0};

    mproc_set_log(listen, MPROC_LOG_WARNING, &ear);
    mproc__log(MPROC_LOG_INFO, "too low");
    ck_assert_uint_eq(ear.count, 0);
    mproc__log(MPROC_LOG_WARNING, "worker %d restarted", 7);
    ck_assert_uint_eq(ear.count, 1);
    ck_assert_str_eq(ear.text, "worker 7 restarted");
    mproc__log(MPROC_LOG_ERROR, "worse");
    ck_assert_uint_eq(ear.count, 2);
    ck_assert_int_eq(ear.level, MPROC_LOG_ERROR);
    mproc_set_log(NULL, MPROC_LOG_DEBUG, NULL);
    mproc__log(MPROC_LOG_ERROR, "silent again");
    ck_assert_uint_eq(ear.count, 2);
}
END_TEST

/* shows: LOG-02 */
START_TEST(the_place_of_a_message_is_where_it_was_logged)
{
    heard ear = {0};
    const char *file = "nothing";

    mproc_set_log(listen, MPROC_LOG_INFO, &ear);
    const int here = __LINE__ + 1;
    mproc_log(MPROC_LOG_INFO, "%s", "x");
    ck_assert_int_eq(ear.line, here);
    ck_assert_str_eq(ear.file, __FILE__);
    ck_assert_int_eq(mproc_log_place(&file), 0);
    ck_assert_ptr_null(file);
    mproc_log((mproc_log_level)0, "no level");
    mproc_log((mproc_log_level)9, "no level");
    ck_assert_uint_eq(ear.count, 1);
}
END_TEST

START_TEST(logging_leaves_errno_alone)
{
    heard ear = {0};

    mproc_set_log(listen, MPROC_LOG_DEBUG, &ear);
    errno = ENOENT;
    mproc__log(MPROC_LOG_DEBUG, "x");
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_uint_eq(ear.count, 1);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("log");
    TCase *all = support_case(suite, "log");

    tcase_add_test(all, nothing_is_logged_unless_asked_for);
    tcase_add_test(all, only_messages_at_or_above_the_level_are_heard);
    tcase_add_test(all, the_place_of_a_message_is_where_it_was_logged);
    tcase_add_test(all, logging_leaves_errno_alone);
    return support_run(suite, argc, argv);
}
