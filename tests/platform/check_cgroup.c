/* SPDX-License-Identifier: BSD-2-Clause */
/* Control groups: reading their files, and walking up from one's own. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "platform/cgroup.h"
#include "support/support.h"

static void file_write(const char *name, const char *text)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", support_directory(), name);
    file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

START_TEST(max_a_missing_word_and_a_missing_file_are_no_limit)
{
    file_write("cpu.max", "max 100000\n");
    file_write("memory.max", "1048576\n");
    file_write("empty", "");
    ck_assert_int_eq(mproc__cgroup_number(support_directory(), "cpu.max", 0), INT64_MAX);
    ck_assert_int_eq(mproc__cgroup_number(support_directory(), "cpu.max", 1), 100000);
    ck_assert_int_eq(mproc__cgroup_number(support_directory(), "cpu.max", 2), INT64_MAX);
    ck_assert_int_eq(mproc__cgroup_number(support_directory(), "memory.max", 0), 1048576);
    ck_assert_int_eq(mproc__cgroup_number(support_directory(), "empty", 0), INT64_MAX);
    ck_assert_int_eq(mproc__cgroup_number(support_directory(), "absent", 0), INT64_MAX);
}
END_TEST

START_TEST(a_key_is_found_as_a_whole_word)
{
    file_write("memory.stat", "anon 5\ninactive_file_x 6\ninactive_file 4096\n");
    ck_assert_int_eq(mproc__cgroup_keyed(support_directory(), "memory.stat", "inactive_file"), 4096);
    ck_assert_int_eq(mproc__cgroup_keyed(support_directory(), "memory.stat", "file"), 0);
    ck_assert_int_eq(mproc__cgroup_keyed(support_directory(), "absent", "anon"), 0);
}
END_TEST

typedef struct walked {
    unsigned count;
    char last[4096];
    bool upwards;
} walked;

static void remember(const char *directory, bool version_2, void *context)
{
    walked *seen = context;
    size_t length = strlen(directory);

    (void)version_2;
    /* The two hierarchies begin anew; within one, each directory is the parent of the one before. */
    if (seen->count > 0 && strncmp(seen->last, directory, length) != 0 && strncmp(seen->last, "/sys", 4) != 0)
        seen->upwards = false;
    snprintf(seen->last, sizeof(seen->last), "%s", directory);
    seen->count++;
    ck_assert_int_eq(access(directory, F_OK), 0);
}

START_TEST(the_walk_visits_directories_that_exist)
{
    walked seen = {.upwards = true};

    mproc__cgroup_walk("memory", remember, &seen);
    ck_assert(seen.upwards);
    mproc__cgroup_walk("no-such-controller", remember, &seen);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("cgroup");
    TCase *all = support_case(suite, "cgroup");

    tcase_add_test(all, max_a_missing_word_and_a_missing_file_are_no_limit);
    tcase_add_test(all, a_key_is_found_as_a_whole_word);
    tcase_add_test(all, the_walk_visits_directories_that_exist);
    return support_run(suite, argc, argv);
}
