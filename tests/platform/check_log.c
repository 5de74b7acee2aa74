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
} heard;

static void listen(mproc_log_level level, const char *text, void *context)
{
    heard *ear = context;

    ear->count++;
    ear->level = level;
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
    tcase_add_test(all, logging_leaves_errno_alone);
    return support_run(suite, argc, argv);
}
