/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a process as values: words, files, threads, what is denied. */
#include "platform/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mproc/running.h>
#include <mproc/variant.h>
#include "platform/platform.h"
#include "support/support.h"

static mproc_variant detail(int64_t pid, uint32_t parts)
{
    mproc_variant dict = mproc_null();
    int rc = mproc_running_detail((mproc_running){.pid = pid}, parts, &dict);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return dict;
}

/* ---- a program with odd words: this one, exec'd anew by /proc/self/exe with an argument that says so ---- */

static const char *const odd_arguments[] = {"rest", "", "a b", "x\ny", "\xff\xfe", ")("};
static const char *const odd_environment[] = {
    "A=1", "A=2", "B=x=y", "C=", "=hidden", "noequals", "\xff=3", "D=\xfe"};

static int program_rest(void *context)
{
    char *arguments[MPROC__COUNT(odd_arguments) + 2] = {(char *)(uintptr_t) "odd"};
    char *environment[MPROC__COUNT(odd_environment) + 1] = {NULL};
    for (size_t i = 0; i < MPROC__COUNT(odd_arguments); i++)
        arguments[i + 1] = (char *)(uintptr_t)odd_arguments[i];
    for (size_t i = 0; i < MPROC__COUNT(odd_environment); i++)
        environment[i] = (char *)(uintptr_t)odd_environment[i];
    if (chdir(context) != 0)
        return 1;
    execve("/proc/self/exe", arguments, environment);
    return 1;
}

static bool runs_the_program(void *context)
{
    mproc_variant dict = mproc_null();
    if (mproc_running_detail((mproc_running){.pid = *(pid_t *)context}, MPROC_RUNNING_COMMAND, &dict) < 0)
        return false;
    mproc_variant command = mproc_variant_find(dict, "command");
    const char *first = mproc_variant_get_text(mproc_variant_at(command, 0));
    bool runs = first && strcmp(first, "odd") == 0;
    mproc_variant_clear(&dict);
    return runs;
}

static bool is_word(mproc_variant value, const char *word)
{
    size_t bytes = 0;
    const char *text = mproc_variant_get_text(value);
    if (text)
        return strcmp(text, word) == 0;
    const void *data = mproc_variant_get_bytes(value, &bytes);
    return data && bytes == strlen(word) && memcmp(data, word, bytes) == 0;
}

START_TEST(odd_words_come_through_as_they_are)
{
    char own[4096] = "";
    ck_assert_int_gt(readlink("/proc/self/exe", own, sizeof own - 1), 0);
    pid_t child = support_fork(program_rest, (void *)(uintptr_t)support_directory());
    ck_assert(support_until(runs_the_program, &child, 10000));
    mproc_variant dict = detail(child, MPROC_RUNNING_COMMAND | MPROC_RUNNING_ENVIRONMENT |
                                           MPROC_RUNNING_EXECUTABLE | MPROC_RUNNING_DIRECTORY);
    mproc_variant command = mproc_variant_find(dict, "command");
    ck_assert_uint_eq(mproc_variant_count(command), MPROC__COUNT(odd_arguments) + 1);
    for (size_t i = 0; i < MPROC__COUNT(odd_arguments); i++)
        ck_assert(is_word(mproc_variant_at(command, i + 1), odd_arguments[i]));
    mproc_variant environment = mproc_variant_find(dict, "environment");
    ck_assert_uint_eq(mproc_variant_count(environment), 4);
    ck_assert(is_word(mproc_variant_find(environment, "A"), "1"));
    ck_assert(is_word(mproc_variant_find(environment, "B"), "x=y"));
    ck_assert(is_word(mproc_variant_find(environment, "C"), ""));
    ck_assert(is_word(mproc_variant_find(environment, "D"), "\xfe"));
    ck_assert(is_word(mproc_variant_find(dict, "executable"), own));
    ck_assert(is_word(mproc_variant_find(dict, "directory"), support_directory()));
    ck_assert_int_eq(mproc_variant_find(dict, "denied").kind, MPROC_KIND_INVALID);
    ck_assert_int_eq(mproc_variant_find(dict, "files").kind, MPROC_KIND_INVALID);
    mproc_variant_clear(&dict);
    support_kill(child);
}
END_TEST

/* ---- files ---- */

static mproc_variant entry_of(mproc_variant list, const char *key, int64_t number)
{
    for (size_t i = 0; i < mproc_variant_count(list); i++) {
        int64_t value = -1;
        mproc_variant entry = mproc_variant_at(list, i);
        if (mproc_variant_get_int(mproc_variant_find(entry, key), &value) == 0 && value == number)
            return entry;
    }
    return mproc_null();
}

static unsigned open_fds(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

START_TEST(open_files_are_told_and_the_looks_own_are_not)
{
    char path[300], removed[330];
    snprintf(path, sizeof path, "%s/a (deleted) \xff\n", support_directory());
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    mproc_variant dict = detail(0, MPROC_RUNNING_FILES);
    mproc_variant files = mproc_variant_find(dict, "files");
    ck_assert_uint_eq(mproc_variant_count(files), open_fds());
    ck_assert(is_word(mproc_variant_find(entry_of(files, "fd", fd), "path"), path));
    mproc_variant_clear(&dict);
    unlink(path);
    snprintf(removed, sizeof removed, "%s (deleted)", path);
    dict = detail(0, MPROC_RUNNING_FILES);
    ck_assert(
        is_word(mproc_variant_find(entry_of(mproc_variant_find(dict, "files"), "fd", fd), "path"), removed));
    mproc_variant_clear(&dict);
    close(fd);
}
END_TEST

/* ---- threads, numbers ---- */

typedef struct mate {
    _Atomic pid_t tid;
    pthread_mutex_t gate;
} mate;

static void *mate_run(void *context)
{
    mate *of = context;
    pthread_setname_np(pthread_self(), "m) (ate");
    atomic_store(&of->tid, mproc__tid());
    pthread_mutex_lock(&of->gate);
    pthread_mutex_unlock(&of->gate);
    return NULL;
}

static bool mate_runs(void *context)
{
    return atomic_load(&((mate *)context)->tid) != 0;
}

START_TEST(threads_are_told_with_name_and_times)
{
    mate of = {.gate = PTHREAD_MUTEX_INITIALIZER};
    pthread_t thread;
    pthread_mutex_lock(&of.gate);
    ck_assert_int_eq(pthread_create(&thread, NULL, mate_run, &of), 0);
    ck_assert(support_until(mate_runs, &of, 5000));
    mproc_variant dict = detail(0, MPROC_RUNNING_THREADS);
    mproc_variant threads = mproc_variant_find(dict, "threads");
    ck_assert_uint_ge(mproc_variant_count(threads), 2);
    mproc_variant entry = entry_of(threads, "tid", of.tid);
    ck_assert(is_word(mproc_variant_find(entry, "name"), "m) (ate"));
    int64_t user_ns = -1;
    ck_assert_int_eq(mproc_variant_get_int(mproc_variant_find(entry, "user_ns"), &user_ns), 0);
    ck_assert_int_ge(user_ns, 0);
    ck_assert_int_ne(entry_of(threads, "tid", getpid()).kind, MPROC_KIND_NULL);
    mproc_variant_clear(&dict);
    pthread_mutex_unlock(&of.gate);
    pthread_join(thread, NULL);
}
END_TEST

START_TEST(cpus_memory_and_names_are_those_of_this_process)
{
    mproc_variant dict = detail(0, MPROC_RUNNING_CPUS | MPROC_RUNNING_MEMORY | MPROC_RUNNING_NAMES);
    cpu_set_t set;
    int64_t number = 0;
    ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
    mproc_variant cpus = mproc_variant_find(dict, "cpus");
    ck_assert_uint_eq(mproc_variant_count(cpus), (size_t)CPU_COUNT(&set));
    for (size_t i = 0; i < mproc_variant_count(cpus); i++)
        ck_assert(mproc_variant_get_int(mproc_variant_at(cpus, i), &number) == 0 &&
                  CPU_ISSET((unsigned)number, &set));
    mproc_variant memory = mproc_variant_find(dict, "memory");
    ck_assert_int_eq(mproc_variant_get_int(mproc_variant_find(memory, "uss_bytes"), &number), 0);
    ck_assert_int_gt(number, 0);
    int64_t pss = 0;
    ck_assert_int_eq(mproc_variant_get_int(mproc_variant_find(memory, "pss_bytes"), &pss), 0);
    ck_assert_int_ge(pss, number);
    mproc_variant pids = mproc_variant_find(mproc_variant_find(dict, "names"), "pids");
    ck_assert_int_eq(mproc_variant_get_int(mproc_variant_at(pids, 0), &number), 0);
    ck_assert_int_eq(number, getpid());
    mproc_variant_clear(&dict);
}
END_TEST

/* ---- denied, ended ---- */

static int is_denied(const mproc_variant dict, const char *key)
{
    int64_t code = 0;
    mproc_variant denied = mproc_variant_find(dict, "denied");
    return mproc_variant_find(dict, key).kind == MPROC_KIND_NULL &&
           mproc_variant_get_int(mproc_variant_find(denied, key), &code) == 0 && code == -EACCES;
}

/* As nobody, looking at its parent, which is root's. */
static int looks_at_another_users(void *unused)
{
    mproc_variant dict = mproc_null();
    pid_t parent = getppid();
    (void)unused;
    if (geteuid() != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        return 77;
    if (mproc_running_detail((mproc_running){.pid = parent}, MPROC_RUNNING_EVERYTHING, &dict) != 0)
        return 1;
    static const char *const refused[] = {"executable", "directory", "environment",
                                          "memory",     "files",     "connections"};
    for (size_t i = 0; i < MPROC__COUNT(refused); i++)
        if (!is_denied(dict, refused[i]))
            return 2 + (int)i;
    if (mproc_variant_count(mproc_variant_find(dict, "denied")) != MPROC__COUNT(refused))
        return 20;
    bool rest = mproc_variant_count(mproc_variant_find(dict, "command")) > 0 &&
                mproc_variant_count(mproc_variant_find(dict, "threads")) > 0 &&
                mproc_variant_count(mproc_variant_find(dict, "cpus")) > 0;
    mproc_variant_clear(&dict);
    return rest ? 0 : 21;
}

START_TEST(what_is_denied_is_said_part_by_part_and_the_rest_is_told)
{
    int status = support_reap(support_fork(looks_at_another_users, NULL), 10000);
    ck_assert_msg(status == 0 || status == 77, "status %d",
                  status); /* 77: this user may not become another */
}
END_TEST

static int ends(void *unused)
{
    (void)unused;
    return 0;
}

static bool zombie(void *context)
{
    mproc_running_stats stats = {.size = sizeof stats};
    return mproc_running_get((mproc_running){.pid = *(pid_t *)context}, &stats) == 0 && stats.state == 'Z';
}

START_TEST(a_zombie_has_its_parts_empty_and_a_collected_one_has_none)
{
    mproc_running which;
    mproc_variant dict = mproc_null();
    pid_t child = support_fork(ends, NULL);
    ck_assert(support_until(zombie, &child, 5000));
    ck_assert_int_eq(mproc_running_find(child, &which), 0);
    dict = detail(child, MPROC_RUNNING_EVERYTHING);
    ck_assert_uint_eq(mproc_variant_count(mproc_variant_find(dict, "command")), 0);
    ck_assert_int_eq(mproc_variant_find(dict, "executable").kind, MPROC_KIND_NULL);
    ck_assert_uint_eq(mproc_variant_count(mproc_variant_find(dict, "threads")), 1);
    mproc_variant_clear(&dict);
    ck_assert_int_eq(support_reap(child, 5000), 0);
    ck_assert_int_eq(mproc_running_detail(which, MPROC_RUNNING_COMMAND, &dict), -ESRCH);
    ck_assert_int_eq(dict.kind, MPROC_KIND_NULL);
}
END_TEST

static int starts_and_ends(void *unused)
{
    (void)unused;
    for (pid_t child; (child = fork()) >= 0; waitpid(child, NULL, 0))
        if (child == 0)
            _exit(0);
    return 1;
}

START_TEST(processes_that_end_while_they_are_looked_at_are_told_or_gone)
{
    pid_t mother = support_fork(starts_and_ends, NULL);
    mproc_deadline deadline = mproc_after_ms(300);
    do {
        mproc_running list[4];
        size_t count;
        ck_assert_int_eq(mproc_running_children((mproc_running){.pid = mother}, false, list, 4, &count), 0);
        for (size_t i = 0; i < count && i < 4; i++) {
            mproc_variant dict = mproc_null();
            int rc = mproc_running_detail(list[i], MPROC_RUNNING_EVERYTHING, &dict);
            ck_assert_msg(rc == 0 || rc == -ESRCH, "%s", mproc_error_text(mproc_last_error()));
            mproc_variant_clear(&dict);
        }
    } while (!mproc__deadline_past(deadline));
    support_children_kill();
}
END_TEST

/* ---- bad input ---- */

START_TEST(bad_input_is_its_own_error)
{
    mproc_variant dict = mproc_int(7);
    mproc_running self = {0};
    ck_assert_int_eq(mproc_running_detail(self, 0, &dict), -EINVAL);
    ck_assert_int_eq(mproc_running_detail(self, 1u << 31, &dict), -EINVAL);
    ck_assert_int_eq(mproc_running_detail(self, MPROC_RUNNING_CPUS, NULL), -EINVAL);
    ck_assert_int_eq(mproc_running_detail((mproc_running){.pid = -4}, MPROC_RUNNING_CPUS, &dict), -EINVAL);
    ck_assert_int_eq(dict.number, 7);
}
END_TEST

START_TEST(allocations_that_fail_are_errors_and_leave_nothing)
{
    int pair[2];
    ck_assert_int_eq(pipe2(pair, O_CLOEXEC), 0);
    for (unsigned n = 1;; n++) {
        mproc_variant dict = mproc_int(7);
        support_fail_allocation(n);
        int rc = mproc_running_detail((mproc_running){0}, MPROC_RUNNING_EVERYTHING, &dict);
        if (!support_allocation_failed()) {
            mproc_variant_clear(&dict);
            break;
        }
        ck_assert_msg(rc == -ENOMEM, "allocation %u: %s", n, mproc_errname(rc));
        ck_assert_int_eq(dict.number, 7);
    }
    support_fail_allocation(0);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "rest") == 0)
        while (pause() != 0) /* ever: it is killed */
            ;
    Suite *suite = suite_create("running_detail");
    TCase *parts = support_case(suite, "parts");
    tcase_add_test(parts, odd_words_come_through_as_they_are);
    tcase_add_test(parts, open_files_are_told_and_the_looks_own_are_not);
    tcase_add_test(parts, threads_are_told_with_name_and_times);
    tcase_add_test(parts, cpus_memory_and_names_are_those_of_this_process);
    TCase *less = support_case(suite, "less");
    tcase_add_test(less, what_is_denied_is_said_part_by_part_and_the_rest_is_told);
    tcase_add_test(less, a_zombie_has_its_parts_empty_and_a_collected_one_has_none);
    tcase_add_test(less, processes_that_end_while_they_are_looked_at_are_told_or_gone);
    TCase *input = support_case(suite, "input");
    tcase_add_test(input, bad_input_is_its_own_error);
    tcase_add_test(input, allocations_that_fail_are_errors_and_leave_nothing);
    return support_run(suite, argc, argv);
}
