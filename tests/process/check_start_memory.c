/* SPDX-License-Identifier: BSD-2-Clause */
/* What a start costs does not depend on what the program has in memory, and a program that has most of it can still start.
 *
 * Strict overcommit is a setting of the whole machine, so that test runs on demand, as root: MPROC_TEST_OVERCOMMIT=1; a
 * guardian puts the setting back also when the test is killed. */
#include "platform/base.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "process/process_support.h"

static char *touched(size_t size_bytes)
{
    char *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    (void)madvise(memory, size_bytes,
                  MADV_NOHUGEPAGE); /* as most heaps: the page tables are what a fork copies */
    for (size_t i = 0; i < size_bytes; i += 4096)
        memory[i] = 1;
    return memory;
}

/* ---- time ---- */

enum { STARTS = 25, LARGE_BYTES = 512 << 20 };

/* The quickest: whatever else runs here can only make them slower. */
static int64_t quickest_start_ns(int method)
{
    int64_t quickest = INT64_MAX;
    for (int i = 0; i < STARTS; i++) {
        int64_t began_ns = mproc__now_ns();
        mproc_process *process = start(method, nothing, MPROC_NONE);
        int64_t took_ns = mproc__now_ns() - began_ns;
        ck_assert_int_eq(join(process), 0);
        mproc_process_close(&process);
        quickest = took_ns < quickest ? took_ns : quickest;
    }
    return quickest;
}

static const struct {
    int method;
    unsigned spares;
} ways[] = {{MPROC_START_SPAWN, 0}, {MPROC_START_FORKSERVER, 0}, {MPROC_START_FORKSERVER, 2}};

/* Not a bench: the copy of 512 MiB's page tables alone is ten to thirty times the bound. */
/* shows: START-A */
START_TEST(a_start_takes_no_longer_from_a_large_program)
{
    int method = ways[_i].method;
    ck_assert_int_eq(mproc_set_spares(ways[_i].spares), 0);
    warm();
    int64_t small_ns = quickest_start_ns(method);
    char *memory = touched(LARGE_BYTES);
    ck_assert_ptr_nonnull(memory);
    int64_t large_ns = quickest_start_ns(method);
    ck_assert_msg(large_ns < 2 * small_ns + 300000, "%lld us, %lld us with 512 MiB",
                  (long long)small_ns / 1000, (long long)large_ns / 1000);
    munmap(memory, LARGE_BYTES);
}
END_TEST

/* ---- room ---- */

enum { LIMIT_BYTES = 256 << 20, USED_PERCENT = 60 };

static int put_text(const char *directory, const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;
    close(fd);
    return rc;
}

/* A group below this process's own, by version 1 or 2, with a limit; false: not here. */
static bool group_make(char *directory, size_t size_bytes)
{
    char line[256], limit[32];
    FILE *groups = fopen("/proc/self/cgroup", "re");
    directory[0] = '\0';
    while (groups && fgets(line, sizeof line, groups)) {
        line[strcspn(line, "\n")] = '\0';
        char *path = strrchr(line, ':');
        if (path && strstr(line, ":memory:"))
            snprintf(directory, size_bytes, "/sys/fs/cgroup/memory%.180s/mproc-check-%d", path + 1,
                     (int)getpid());
        else if (path && strncmp(line, "0::", 3) == 0 && !directory[0])
            snprintf(directory, size_bytes, "/sys/fs/cgroup%.180s/mproc-check-%d", path + 1, (int)getpid());
    }
    if (groups)
        fclose(groups);
    snprintf(limit, sizeof limit, "%d", LIMIT_BYTES);
    if (!directory[0] || mkdir(directory, 0700) < 0)
        return false;
    if (put_text(directory, "memory.limit_in_bytes", limit) == 0 ||
        put_text(directory, "memory.max", limit) == 0)
        return true;
    rmdir(directory);
    return false;
}

static int starts_some(int method)
{
    for (int i = 0; i < 10; i++) {
        mproc_process *process;
        int exit_code = 99;
        if (mproc_process_start(nothing, MPROC_NONE,
                                MPROC_WITH(mproc_process_options, .start = (mproc_start)method),
                                &process) != 0 ||
            mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), &exit_code) != 0 ||
            exit_code != 0)
            return 1;
        mproc_process_close(&process);
    }
    return 0;
}

typedef struct room {
    const char *directory;
    int method;
} room;

/* A program of its own, with a nursery of its own, all of it in the group. */
static int has_most_of_the_room(void *context)
{
    const room *of = context;
    if (put_text(of->directory, "cgroup.procs", "0") != 0)
        return 2;
    if (!touched((size_t)LIMIT_BYTES / 100 * USED_PERCENT))
        return 3;
    return starts_some(of->method);
}

/* shows: START-A */
START_TEST(a_program_that_has_most_of_its_memory_group_can_start)
{
    char directory[300];
    if (!group_make(directory, sizeof directory)) {
        puts("no memory cgroup can be made here");
        return;
    }
    room of = {directory, _i};
    int status = support_reap(support_fork(has_most_of_the_room, &of), LIMIT_MS);
    support_children_kill();
    rmdir(directory);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- strict overcommit ---- */

enum { PARENT_BYTES = 1 << 30 };

static long number_in(const char *path, const char *key)
{
    char line[256];
    long number = -1;
    FILE *file = fopen(path, "re");
    while (file && number < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            number = strtol(line + strlen(key), NULL, 10);
    if (file)
        fclose(file);
    return number;
}

static int setting_put(const char *name, long number)
{
    char text[32];
    snprintf(text, sizeof text, "%ld", number);
    return put_text("/proc/sys/vm", name, text);
}

/* Sets it, says so, and puts it back when the other end is closed, by whomever. */
static int guardian(void *context)
{
    const gate *both = context;
    long mode = number_in("/proc/sys/vm/overcommit_memory", "");
    long ratio = number_in("/proc/sys/vm/overcommit_ratio", "");
    long kib = number_in("/proc/sys/vm/overcommit_kbytes", "");
    long committed_kib = number_in("/proc/meminfo", "Committed_AS:");
    char byte;
    close(both[0].write_fd);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    int failed = setting_put("overcommit_kbytes",
                             committed_kib + (PARENT_BYTES >> 10) / USED_PERCENT * (100 - USED_PERCENT)) ||
                 setting_put("overcommit_memory", 2);
    (void)!write(both[1].write_fd, failed ? "f" : "s", 1);
    while (read(both[0].read_fd, &byte, 1) < 0)
        ;
    failed |= setting_put("overcommit_memory", mode);
    failed |= kib > 0 ? setting_put("overcommit_kbytes", kib) : setting_put("overcommit_ratio", ratio);
    return failed ? 1 : 0;
}

/* shows: START-A */
START_TEST(a_program_that_has_most_of_what_may_be_committed_can_start_though_it_cannot_fork)
{
    gate both[2] = {gate_make(), gate_make()};
    char byte = '?';
    char *memory = touched(PARENT_BYTES);
    ck_assert_ptr_nonnull(memory);
    pid_t pid = support_fork(guardian, both);
    close(both[0].read_fd);
    (void)!read(both[1].read_fd, &byte, 1);
    pid_t copy = fork();
    if (copy == 0)
        _exit(0);
    int spawned = starts_some(MPROC_START_SPAWN), served = starts_some(MPROC_START_FORKSERVER);
    close(both[0].write_fd);
    ck_assert_int_eq(support_reap(pid, LIMIT_MS), 0);
    ck_assert_int_eq(byte, 's');
    ck_assert_msg(copy < 0, "there was room for a copy: nothing is shown");
    ck_assert_int_eq(spawned, 0);
    ck_assert_int_eq(served, 0);
    support_leaks_begin();
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("start memory");
    TCase *all = support_case(suite, "memory");
    tcase_add_loop_test(all, a_start_takes_no_longer_from_a_large_program, 0, (int)MPROC__COUNT(ways));
#ifndef MPROC__SANITIZED /* their shadows are most of the room */
    tcase_add_loop_test(all, a_program_that_has_most_of_its_memory_group_can_start, FIRST_METHOD,
                        PROCESS_METHODS);
    if (getenv("MPROC_TEST_OVERCOMMIT"))
        tcase_add_test(all, a_program_that_has_most_of_what_may_be_committed_can_start_though_it_cannot_fork);
#endif
    return support_run(suite, argc, argv);
}
