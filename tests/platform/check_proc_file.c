/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole files and links into a text that grows. */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/proc.h"
#include "support/support.h"

static char path[512];

static const char *file_make(size_t bytes)
{
    snprintf(path, sizeof path, "%s/file", support_directory());
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    for (size_t i = 0; i < bytes; i++)
        fputc('a' + (int)(i % 26), file);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

static bool is_whole(const mproc__proc_text *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (text->bytes[i] != (char)('a' + (int)(i % 26)))
            return false;
    return text->length == bytes && text->bytes[bytes] == '\0';
}

START_TEST(files_of_every_size_are_read_whole_and_the_buffer_is_used_again)
{
    static const size_t sizes[] = {0, 1, 4094, 4095, 4096, 8191, 8192, 100000, 5};
    mproc__proc_text text;
    mproc__proc_text_begin(&text);
    for (size_t i = 0; i < MPROC__COUNT(sizes); i++) {
        ck_assert_int_eq(mproc__proc_read(AT_FDCWD, file_make(sizes[i]), &text), 0);
        ck_assert(is_whole(&text, sizes[i]));
        ck_assert_int_eq(mproc__proc_read_record(AT_FDCWD, path, &text), 0);
        ck_assert(is_whole(&text, sizes[i]));
    }
    mproc__proc_text_end(&text);
    ck_assert_ptr_eq(text.bytes, text.inside);
}
END_TEST

START_TEST(the_target_of_a_link_is_read_whole)
{
    mproc__proc_text text;
    char target[4001], name[512];
    memset(target, 'x', sizeof target - 1);
    target[sizeof target - 1] = '\0';
    snprintf(name, sizeof name, "%s/link", support_directory());
    mproc__proc_text_begin(&text);
    for (size_t bytes = 1; bytes < sizeof target; bytes *= 10) {
        ck_assert_int_eq(symlink(target + sizeof target - 1 - bytes, name), 0);
        ck_assert_int_eq(mproc__proc_link(AT_FDCWD, name, &text), 0);
        ck_assert_uint_eq(text.length, bytes);
        ck_assert_str_eq(text.bytes, target + sizeof target - 1 - bytes);
        unlink(name);
    }
    ck_assert_int_eq(mproc__proc_link(AT_FDCWD, name, &text), -ESRCH);
    ck_assert_uint_eq(text.length, 0);
    mproc__proc_text_end(&text);
}
END_TEST

START_TEST(what_cannot_be_read_leaves_an_empty_text)
{
    mproc__proc_text text;
    mproc__proc_text_begin(&text);
    ck_assert_int_eq(mproc__proc_read(AT_FDCWD, file_make(7), &text), 0);
    ck_assert_int_eq(mproc__proc_read(AT_FDCWD, "/proc/0/stat", &text), -ESRCH);
    ck_assert_uint_eq(text.length, 0);
    ck_assert_str_eq(text.bytes, "");
    ck_assert_int_eq(mproc__proc_read(AT_FDCWD, support_directory(), &text), -EISDIR);
    mproc__proc_text_end(&text);
}
END_TEST

START_TEST(an_allocation_that_fails_is_an_error_and_the_next_read_works)
{
    mproc__proc_text text;
    mproc__proc_text_begin(&text);
    (void)file_make(20000);
    for (unsigned n = 1;; n++) {
        support_fail_allocation(n);
        int rc = mproc__proc_read(AT_FDCWD, path, &text);
        if (!support_allocation_failed())
            break;
        ck_assert_int_eq(rc, -ENOMEM);
    }
    support_fail_allocation(0);
    ck_assert(is_whole(&text, 20000));
    mproc__proc_text_end(&text);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("proc_file");
    TCase *all = support_case(suite, "files");
    tcase_add_test(all, files_of_every_size_are_read_whole_and_the_buffer_is_used_again);
    tcase_add_test(all, the_target_of_a_link_is_read_whole);
    tcase_add_test(all, what_cannot_be_read_leaves_an_empty_text);
    tcase_add_test(all, an_allocation_that_fails_is_an_error_and_the_next_read_works);
    return support_run(suite, argc, argv);
}
