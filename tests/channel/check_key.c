/* SPDX-License-Identifier: BSD-2-Clause */
#include "platform/base.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/auth.h"
#include "support/support.h"

static const char *file_write(const char *name, const char *text, mode_t mode)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", support_directory(), name);
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

static const char *story(void)
{
    return mproc_error_text(mproc_last_error());
}

START_TEST(a_key_comes_from_a_private_file)
{
    mproc__key key;
    ck_assert_int_eq(mproc__key_from_options(NULL, 0, file_write("key", "0123456789abcdef\n", 0600), &key),
                     0);
    ck_assert(key.set);
    ck_assert_uint_eq(key.size_bytes, 16);
    ck_assert_mem_eq(key.bytes, "0123456789abcdef", 16);
    mproc__key_clear(&key);
    ck_assert(!key.set);
}
END_TEST

/* shows: SEC-2 */
START_TEST(a_key_file_that_others_can_read_is_refused)
{
    mproc__key key;
    const mode_t modes[] = {0640, 0604, 0620, 0666};
    for (size_t i = 0; i < MPROC__COUNT(modes); i++) {
        const char *path = file_write("open", "0123456789abcdef\n", modes[i]);
        ck_assert_int_eq(mproc__key_from_options(NULL, 0, path, &key), -EACCES);
        ck_assert_ptr_nonnull(strstr(story(), path));
        ck_assert(!key.set);
    }
}
END_TEST

/* shows: SEC-2 SEC-4 */
START_TEST(a_short_key_file_is_refused_without_showing_it)
{
    mproc__key key;
    ck_assert_int_eq(mproc__key_from_options(NULL, 0, file_write("short", "fifteen-letters\n", 0600), &key),
                     MPROC_EAUTH);
    ck_assert_ptr_null(strstr(story(), "fifteen-letters"));
    ck_assert_int_eq(mproc__key_from_options(NULL, 0, file_write("empty", "", 0600), &key), MPROC_EAUTH);
}
END_TEST

START_TEST(what_is_no_key_file_is_refused_by_name)
{
    mproc__key key;
    char fifo[256], longer[2000];
    snprintf(fifo, sizeof fifo, "%s/fifo", support_directory());
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    memset(longer, 'k', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    ck_assert_int_eq(mproc__key_from_options(NULL, 0, "/nowhere/key", &key), -ENOENT);
    ck_assert_ptr_nonnull(strstr(story(), "/nowhere/key"));
    ck_assert_int_eq(mproc__key_from_options(NULL, 0, support_directory(), &key), -EACCES);
    ck_assert_int_eq(mproc__key_from_options(NULL, 0, fifo, &key), -EACCES);
    ck_assert_int_eq(mproc__key_from_options(NULL, 0, file_write("long", longer, 0600), &key), -EINVAL);
    ck_assert_int_eq(mproc__key_from_options("k", 1, "also a file", &key), -EINVAL);
    unlink(fifo);
}
END_TEST

/* shows: AUTH-10 */
START_TEST(the_program_key_serves_where_none_is_given)
{
    mproc__key key;
    ck_assert_int_eq(mproc__key_from_options(NULL, 0, NULL, &key), 0);
    ck_assert(!key.set);
    ck_assert_int_eq(mproc_set_key("the program's own key", 21), 0);
    ck_assert_int_eq(mproc__key_from_options(NULL, 0, NULL, &key), 0);
    ck_assert(key.set);
    ck_assert_uint_eq(key.size_bytes, 21);
    ck_assert_int_eq(mproc__key_from_options("mine", 4, NULL, &key), 0);
    ck_assert_uint_eq(key.size_bytes, 4);
    ck_assert_int_eq(mproc_set_key(NULL, 0), 0);
    ck_assert_int_eq(mproc__key_program(&key), 0);
    ck_assert(!key.set);
}
END_TEST

static int child_knows_key(void *context)
{
    mproc__key key;
    (void)context;
    return mproc__key_program(&key) == 0 && key.set && memcmp(key.bytes, "inherited by forked", 19) == 0 ? 0
                                                                                                         : 1;
}

/* shows: AUTH-10 */
START_TEST(a_forked_child_has_the_program_key)
{
    ck_assert_int_eq(mproc_set_key("inherited by forked", 19), 0);
    ck_assert_int_eq(support_reap(support_fork(child_knows_key, NULL), 2000), 0);
    ck_assert_int_eq(mproc_set_key(NULL, 0), 0);
}
END_TEST

/* shows: SEC-2 */
START_TEST(a_short_program_key_is_refused)
{
    mproc__key key;
    char longest[MPROC__KEY_BYTES + 1] = {0};
    ck_assert_int_eq(mproc_set_key("the key of before", 17), 0);
    ck_assert_int_eq(mproc_set_key(longest, sizeof longest), -EINVAL);
    ck_assert_int_eq(mproc_set_key("short", 5), -EINVAL);
    ck_assert_int_eq(mproc__key_program(&key), 0);
    ck_assert(key.set); /* what was refused changed nothing */
    ck_assert_mem_eq(key.bytes, "the key of before", 17);
    mproc__key_clear(&key);
    ck_assert_int_eq(mproc_set_key(NULL, 0), 0);
    ck_assert_int_eq(mproc_set_key(NULL, 5), -EINVAL);
}
END_TEST

/* shows: SEC-4 */
START_TEST(a_long_lived_key_is_left_out_of_core_files)
{
    mproc__key *key = mproc__key_create();
    char line[256];
    bool mine = false, left_out = false;
    ck_assert_ptr_nonnull(key);
    FILE *maps = fopen("/proc/self/smaps", "re");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            mine = (uintptr_t)key >= from && (uintptr_t)key < to;
        if (mine && strncmp(line, "VmFlags:", 8) == 0)
            left_out = strstr(line, " dd") != NULL;
    }
    fclose(maps);
    ck_assert(left_out);
    mproc__key_destroy(key);
    mproc__key_destroy(NULL);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("key");
    TCase *keys = support_case(suite, "keys");
    tcase_add_test(keys, a_key_comes_from_a_private_file);
    tcase_add_test(keys, a_key_file_that_others_can_read_is_refused);
    tcase_add_test(keys, a_short_key_file_is_refused_without_showing_it);
    tcase_add_test(keys, what_is_no_key_file_is_refused_by_name);
    tcase_add_test(keys, the_program_key_serves_where_none_is_given);
    tcase_add_test(keys, a_forked_child_has_the_program_key);
    tcase_add_test(keys, a_short_program_key_is_refused);
    tcase_add_test(keys, a_long_lived_key_is_left_out_of_core_files);
    return support_run(suite, argc, argv);
}
