/* SPDX-License-Identifier: BSD-2-Clause */
/* Options structs, the version, and checks that stay on. */
#include "platform/base.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "platform/story.h"
#include "support/support.h"

typedef struct old_options {
    size_t size;
    int workers;
} old_options;

typedef struct new_options {
    size_t size;
    int workers, pad;
    int newer;
} new_options;

START_TEST(no_options_are_the_defaults)
{
    ck_assert_int_eq(mproc__options_check(NULL, sizeof(old_options), sizeof(old_options), "pool"), 0);
}
END_TEST

START_TEST(options_without_a_size_are_refused_with_a_story)
{
    old_options options = {.workers = 3};

    ck_assert_int_eq(mproc__options_check(&options, sizeof(options), sizeof(options), "pool options"),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "pool options"));
}
END_TEST

START_TEST(options_of_a_newer_header_pass_while_the_new_fields_are_zero)
{
    new_options options = {.size = sizeof(options), .workers = 3};

    ck_assert_int_eq(mproc__options_check(&options, sizeof(old_options), sizeof(old_options), "pool"), 0);
    options.newer = 1;
    ck_assert_int_eq(mproc__options_check(&options, sizeof(old_options), sizeof(old_options), "pool"),
                     -EINVAL);
}
END_TEST

START_TEST(options_init_zeroes_and_sets_the_size)
{
    old_options options;

    memset(&options, 0x55, sizeof(options));
    mproc_options_init(&options, sizeof(options));
    ck_assert_uint_eq(options.size, sizeof(options));
    ck_assert_int_eq(options.workers, 0);
    mproc_options_init(NULL, 8);
}
END_TEST

START_TEST(the_version_of_the_library_is_the_headers)
{
    ck_assert_str_eq(mproc_version(), MPROC_VERSION_TEXT);
}
END_TEST

static int fail_an_assertion(void *context)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    (void)context;
    dup2(null, STDERR_FILENO);
    MPROC__ASSERT(1 + 1 == 3);
    return 0;
}

START_TEST(a_failed_check_ends_the_process)
{
    ck_assert_int_eq(support_reap(support_fork(fail_an_assertion, NULL), 5000), 256 + SIGABRT);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("base");
    TCase *all = support_case(suite, "base");

    tcase_add_test(all, no_options_are_the_defaults);
    tcase_add_test(all, options_without_a_size_are_refused_with_a_story);
    tcase_add_test(all, options_of_a_newer_header_pass_while_the_new_fields_are_zero);
    tcase_add_test(all, options_init_zeroes_and_sets_the_size);
    tcase_add_test(all, the_version_of_the_library_is_the_headers);
    tcase_add_test(all, a_failed_check_ends_the_process);
    return support_run(suite, argc, argv);
}
