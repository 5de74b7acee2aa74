/* SPDX-License-Identifier: BSD-2-Clause */
/* Deaths for want of memory are told as such, others are not. */
#include "platform/base.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/pool_common.h"

enum { GROUP_BYTES = 48 << 20, LIMIT_BYTES = 64 << 20, TOO_MUCH = 256 << 20 };

static void file_write(const char *directory, const char *file, const char *text)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    FILE *stream = fopen(path, "we");
    ck_assert_ptr_nonnull(stream);
    fputs(text, stream);
    ck_assert_int_eq(fclose(stream), 0);
}

/* ---- tasks ---- */

static int task_killed(mproc_call *call)
{
    (void)call;
    return raise(SIGKILL);
}

/* (directory): as the kernel does it: counts, then kills. */
static int task_killed_by_count(mproc_call *call)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/memory.events", mproc_call_text(call, 0));
    FILE *stream = fopen(path, "we");
    fputs("oom 1\noom_kill 1\n", stream);
    fclose(stream);
    return raise(SIGKILL);
}

static int task_takes_all(mproc_call *call)
{
    (void)call;
    volatile char *bytes = malloc(TOO_MUCH);
    for (size_t i = 0; bytes && i < TOO_MUCH; i += 4096)
        bytes[i] = 1;
    return bytes ? 0 : -ENOMEM;
}

/* ---- told ---- */

static mproc_pool *pool_limited(mproc_start start, mproc_limits limits)
{
    mproc_pool *pool = NULL;
    int rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = start, .workers = 1, .limits = limits),
                               &pool);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return pool;
}

static bool why_is_told(void *future)
{
    return mproc_future_result(future, MPROC_NOW, NULL) == MPROC_EDIED &&
           strstr(mproc_error_text(mproc_error_of(future)), "(pid ");
}

static void death_told(mproc_future *future, const char *text, bool oom)
{
    int64_t seen = 0;
    ck_assert_int_eq(result_code(future), MPROC_EDIED);
    ck_assert(support_until(why_is_told, future, 5000));
    const mproc_error *story = mproc_error_of(future);
    ck_assert_msg(!text == !strstr(mproc_error_text(story), "want of memory"), "%s", mproc_error_text(story));
    ck_assert_msg(!text || strstr(mproc_error_text(story), text), "%s", mproc_error_text(story));
    ck_assert_int_eq(mproc_error_number(story, MPROC_ERROR_OOM, &seen), oom ? 0 : -ENOENT);
    mproc_future_close(&future);
}

/* shows: DEATH-6 */
START_TEST(a_kill_that_the_group_has_counted_is_told_as_such_and_only_that_one)
{
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s/group-%d", support_directory(), _i);
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    file_write(directory, "cgroup.procs", "");
    file_write(directory, "memory.events", "oom 0\noom_kill 0\n");
    mproc_pool *pool = pool_limited(METHOD, (mproc_limits){.cgroup = directory});
    death_told(submit(pool, task_killed, MPROC_NONE), NULL, false);
    death_told(submit(pool, task_killed_by_count, MPROC_ARGS(directory)), "its control group counted", true);
    death_told(submit(pool, task_killed, MPROC_NONE), NULL, false);
    pool_end(&pool);
}
END_TEST

/* A group of the kernel's, where this machine lets us make one. */
static bool group_make(char *directory, size_t size_bytes)
{
    static const struct {
        const char *place, *limit;
    } versions[] = {{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"}};
    char path[PATH_MAX + 64], bytes[32];
    snprintf(bytes, sizeof bytes, "%d", (int)GROUP_BYTES);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(directory, size_bytes, "%s/mproc-check-%d", versions[i].place, (int)getpid());
        if (mkdir(directory, 0700) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, versions[i].limit);
        if (access(path, W_OK) == 0) {
            file_write(directory, versions[i].limit, bytes);
            return true;
        }
        rmdir(directory);
    }
    return false;
}

static bool group_is_removed(void *directory)
{
    return rmdir(directory) == 0;
}

/* shows: DEATH-6 */
START_TEST(what_the_kernel_kills_for_want_of_memory_is_told_as_such)
{
    char directory[PATH_MAX];
    if (!group_make(directory, sizeof directory)) {
        printf("skipped: no control group of memory can be made here (not root, or none is mounted)\n");
        return;
    }
    mproc_pool *pool = pool_limited(METHOD, (mproc_limits){.cgroup = directory});
    death_told(submit(pool, task_takes_all, MPROC_NONE), "its control group counted", true);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(5))), 25);
    pool_end(&pool);
    ck_assert(support_until(group_is_removed, directory, 5000));
}
END_TEST

#ifndef MPROC__SANITIZED /* its shadow is beyond any limit of addresses */
static int task_trusts_malloc(mproc_call *call)
{
    (void)call;
    volatile char *bytes = malloc(TOO_MUCH);
    bytes[0] = 1;
    return 0;
}

/* shows: DEATH-6 */
START_TEST(a_fault_under_a_limit_of_memory_says_that_there_is_one)
{
    mproc_pool *pool = pool_limited(METHOD, (mproc_limits){.memory_bytes = LIMIT_BYTES});
    death_told(submit(pool, task_trusts_malloc, MPROC_NONE), "its own is limited", false);
    pool_end(&pool);
}
END_TEST
#endif

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_kill_that_the_group_has_counted_is_told_as_such_and_only_that_one,
                        METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, what_the_kernel_kills_for_want_of_memory_is_told_as_such, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
#ifndef MPROC__SANITIZED
    tcase_add_loop_test(all, a_fault_under_a_limit_of_memory_says_that_there_is_one, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
#endif
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "memory", add);
}
