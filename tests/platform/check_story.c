/* SPDX-License-Identifier: BSD-2-Clause */
/* Stories: one thread's own, one line, any length. */
#include "platform/base.h"

#include <pthread.h>
#include <string.h>

#include "platform/story.h"
#include "support/support.h"

START_TEST(fail_returns_its_code)
{
    ck_assert_int_eq(mproc__fail(-EINVAL, "x"), -EINVAL);
    ck_assert_int_eq(mproc__fail_plain(MPROC_EEND), MPROC_EEND);
    ck_assert_int_eq(mproc_error_code(mproc_last_error()), MPROC_EEND);
}
END_TEST

START_TEST(a_story_longer_than_its_room_is_cut)
{
    char text[2000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    mproc__fail(-EINVAL, "%s", text);
    ck_assert_uint_eq(strlen(mproc__story()->text), MPROC__STORY_BYTES - 1);
    ck_assert_uint_eq(strlen(mproc_error_text(mproc_last_error())),
                      strlen("EINVAL: ") + MPROC__STORY_BYTES - 1);
}
END_TEST

START_TEST(a_story_is_one_line)
{
    mproc__fail(-ENOENT, "file 'a\nb\tc\x7f'");
    ck_assert_str_eq(mproc_error_text(mproc_last_error()), "ENOENT: file 'a b c '");
}
END_TEST

START_TEST(a_story_can_quote_the_one_before)
{
    mproc__fail(-ENOENT, "no file");
    mproc__fail(-EIO, "start: %s", mproc__story()->text);
    ck_assert_str_eq(mproc_error_text(mproc_last_error()), "EIO: start: no file");
}
END_TEST

static void *fail_otherwise(void *context)
{
    (void)context;
    mproc__fail(-EPERM, "another thread");
    return NULL;
}

START_TEST(each_thread_has_its_own_story)
{
    pthread_t thread;

    mproc__fail(-EINVAL, "mine");
    ck_assert_int_eq(pthread_create(&thread, NULL, fail_otherwise, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert_str_eq(mproc_error_text(mproc_last_error()), "EINVAL: mine");
}
END_TEST

START_TEST(a_copy_has_text_and_numbers)
{
    mproc_error copy = {0};
    int64_t number;

    mproc__fail(MPROC_EDIED, "worker died");
    mproc__fail_number(MPROC_ERROR_PID, 4711);
    mproc__story_copy(mproc__story(), &copy);
    mproc__fail_plain(-EINVAL);
    ck_assert_str_eq(mproc_error_text(&copy), "MPROC_EDIED: worker died");
    ck_assert_int_eq(mproc_error_number(&copy, MPROC_ERROR_PID, &number), 0);
    ck_assert_int_eq(number, 4711);
}
END_TEST

START_TEST(failing_needs_no_memory)
{
    const char *text;
    bool allocated;

    support_fail_allocation(1);
    mproc__fail(-ENOMEM, "no memory for %d things", 3);
    text = mproc_error_text(mproc_last_error());
    allocated = support_allocation_failed();
    ck_assert(!allocated);
    ck_assert_str_eq(text, "ENOMEM: no memory for 3 things");
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("story");
    TCase *all = support_case(suite, "story");

    tcase_add_test(all, fail_returns_its_code);
    tcase_add_test(all, a_story_longer_than_its_room_is_cut);
    tcase_add_test(all, a_story_is_one_line);
    tcase_add_test(all, a_story_can_quote_the_one_before);
    tcase_add_test(all, each_thread_has_its_own_story);
    tcase_add_test(all, a_copy_has_text_and_numbers);
    tcase_add_test(all, failing_needs_no_memory);
    return support_run(suite, argc, argv);
}
