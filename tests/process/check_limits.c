/* SPDX-License-Identifier: BSD-2-Clause */
/* Limits: each by every method and for programs, what cannot be had, and that nothing is left of a refused start. */
#include "platform/base.h"

#include <limits.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "process/program_support.h"

#define LIMITS(...) ((mproc_limits){__VA_ARGS__})

static int start_limited(int method, mproc_fn *fn, mproc_variant args, mproc_limits limits,
                         mproc_process **ret_process)
{
    return mproc_process_start(
        fn, args, MPROC_WITH(mproc_process_options, .start = (mproc_start)method, .limits = limits),
        ret_process);
}

static int run_limited(int method, mproc_fn *fn, mproc_variant args, mproc_limits limits)
{
    mproc_process *process = NULL;
    ck_done(start_limited(method, fn, args, limits, &process));
    int code = join(process);
    mproc_process_close(&process);
    return code;
}

/* Refused with this code and a story with this part, nothing is left, and the next start works. */
static void refused(int method, mproc_limits limits, int code, const char *part)
{
    mproc_process *process = NULL;
    ck_assert_int_eq(start_limited(method, nothing, MPROC_NONE, limits, &process), code);
    ck_assert_ptr_null(process);
    story_has(part);
    ck_assert_int_eq(run(method, nothing, MPROC_NONE), 0);
}

/* ---- memory ---- */

enum { SMALL_BYTES = 8 << 20, LARGE_BYTES = 512 << 20, CAP_BYTES = 128 << 20, ARGUMENT_BYTES = 96 << 20 };

START_TEST(less_memory_than_a_child_has_from_the_beginning_is_an_error_of_its_start)
{
    warm();
    refused(_i, LIMITS(.memory_bytes = 4096), -ENOMEM, "limits.memory_bytes");
}
END_TEST

#ifndef MPROC__SANITIZED /* whose shadow is private memory, more than any limit */
static int maps(size_t size_bytes, int flags)
{
    void *at = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? -1 : munmap(at, size_bytes);
}

static int meets_its_memory(mproc_call *call)
{
    (void)call;
    if (maps(SMALL_BYTES, MAP_PRIVATE) < 0)
        return 1;
    if (maps(LARGE_BYTES, MAP_PRIVATE) == 0)
        return 2;
    return maps(LARGE_BYTES, MAP_SHARED | MAP_NORESERVE) == 0 ? 0 : 3;
}

START_TEST(private_memory_ends_at_the_limit_and_shared_memory_does_not_count)
{
    warm();
    ck_assert_int_eq(run_limited(_i, meets_its_memory, MPROC_NONE, LIMITS(.memory_bytes = CAP_BYTES)), 0);
}
END_TEST

START_TEST(an_argument_that_does_not_fit_under_the_limit_is_an_error_of_the_start)
{
    warm();
    char *text = malloc(ARGUMENT_BYTES);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', ARGUMENT_BYTES);
    text[ARGUMENT_BYTES - 1] = '\0';
    mproc_process *process = NULL;
    int rc = start_limited(_i, nothing, MPROC_ARGS(text), LIMITS(.memory_bytes = CAP_BYTES), &process);
    free(text);
    ck_assert_int_eq(rc, -ENOMEM);
    ck_assert_ptr_null(process);
    ck_assert_int_eq(run(_i, nothing, MPROC_NONE), 0);
}
END_TEST
#endif

/* ---- CPUs and priority ---- */

static int last_cpu(void)
{
    cpu_set_t set;
    int last = -1;
    ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set))
            last = cpu;
    return last;
}

static int has_one_cpu(mproc_call *call)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1;
    return CPU_COUNT(&set) == 1 && CPU_ISSET((int)mproc_call_int(call, 0), &set) ? 0 : 2;
}

START_TEST(a_child_runs_on_the_given_cpus_and_its_starter_where_it_did)
{
    cpu_set_t before, after;
    int cpus[] = {last_cpu(), last_cpu()};
    warm();
    ck_assert_int_eq(sched_getaffinity(0, sizeof before, &before), 0);
    ck_assert_int_eq(run_limited(_i, has_one_cpu, MPROC_ARGS(cpus[0]), LIMITS(.cpus = cpus, .cpu_count = 2)),
                     0);
    ck_assert_int_eq(sched_getaffinity(0, sizeof after, &after), 0);
    ck_assert(CPU_EQUAL(&before, &after));
}
END_TEST

START_TEST(cpus_that_are_not_there_are_refused_by_number)
{
    int beside[] = {last_cpu(), 8191}, none[] = {8191}, negative[] = {-1}, huge[] = {8192};
    warm();
    refused(_i, LIMITS(.cpus = beside, .cpu_count = 2), -EINVAL, "CPU 8191");
    refused(_i, LIMITS(.cpus = none, .cpu_count = 1), -EINVAL, "CPU 8191");
    refused(_i, LIMITS(.cpus = negative, .cpu_count = 1), -EINVAL, "-1 is no number");
    refused(_i, LIMITS(.cpus = huge, .cpu_count = 1), -EINVAL, "8192 is no number");
    refused(_i, LIMITS(.cpus = none), -EINVAL, "no CPU");
    refused(_i, LIMITS(.cpu_count = 1), -EINVAL, "no CPU");
}
END_TEST

static int has_nice(mproc_call *call)
{
    return getpriority(PRIO_PROCESS, 0) == mproc_call_int(call, 0) ? 0 : 1;
}

START_TEST(nice_is_added_to_the_starters_and_ends_at_the_weakest)
{
    warm();
    int before = getpriority(PRIO_PROCESS, 0);
    int five = before + 5 > 19 ? 19 : before + 5;
    ck_assert_int_eq(run_limited(_i, has_nice, MPROC_ARGS(five), LIMITS(.nice = 5)), 0);
    ck_assert_int_eq(run_limited(_i, has_nice, MPROC_ARGS(19), LIMITS(.nice = 39)), 0);
    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), before);
    refused(_i, LIMITS(.nice = 40), -EINVAL, "limits.nice");
    refused(_i, LIMITS(.nice = INT_MIN), -EINVAL, "limits.nice");
}
END_TEST

/* In a process of its own, which is nobody, or was nobody special before. */
static int wants_to_be_strong(void *context)
{
    mproc_process *process = NULL;
    if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
        return 2;
    int rc = start_limited(*(int *)context, nothing, MPROC_NONE, LIMITS(.nice = -39), &process);
    if (rc != -EACCES && rc != -EPERM)
        return 3;
    if (!strstr(mproc_error_text(mproc_last_error()), "limits.nice"))
        return 4;
    return mproc_process_start(nothing, MPROC_NONE,
                               MPROC_WITH(mproc_process_options, .start = MPROC_START_FORK), &process) == 0 &&
                   mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), NULL) == 0
               ? 0
               : 5;
}

START_TEST(a_stronger_priority_is_not_for_everybody)
{
    int method = _i;
    int status = support_reap(support_fork(wants_to_be_strong, &method), LIMIT_MS);
    support_children_kill(); /* its nursery, which is on its way */
    ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- descriptors that the user has under way ---- */

static int has_sixteen(mproc_call *call)
{
    struct rlimit limit;
    (void)call;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 16 && limit.rlim_max == 16 ? 0 : 1;
}

/* More than the child may have open, of the same user. Without a spare it sends a descriptor of itself. */
static int starts_beside_many_under_way(void *unused)
{
    int pair[2], status = -1;
    mproc_process *process = NULL;
    (void)unused;
    if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
        return 2;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return 3;
    for (int i = 0; i < 40; i++)
        if (mproc__fd_send(pair[0], "x", 1, &pair[0], 1, MPROC_FOREVER) < 0)
            return 4;
    mproc_set_spares(0);
    if (start_limited(MPROC_START_FORKSERVER, has_sixteen, MPROC_NONE, LIMITS(.descriptors = 16), &process) <
        0)
        return 5;
    int rc = mproc_process_join(process, mproc_after_ms(support_ms(LIMIT_MS)), &status);
    return rc < 0 ? 6 : status;
}

START_TEST(what_others_of_the_user_have_under_way_does_not_count_against_a_childs_descriptors)
{
    int status = support_reap(support_fork(starts_beside_many_under_way, NULL), LIMIT_MS);
    support_children_kill();
    ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- numbers of the system ---- */

static int limit_is(__rlimit_resource_t resource, rlim_t soft, rlim_t hard)
{
    struct rlimit limit;
    return getrlimit(resource, &limit) == 0 && limit.rlim_cur == soft && limit.rlim_max == hard;
}

static int has_its_numbers(mproc_call *call)
{
    (void)call;
    if (!limit_is(RLIMIT_CPU, 1000, 1001))
        return 1;
    if (!limit_is(RLIMIT_NOFILE, 40, 40))
        return 2;
    if (!limit_is(RLIMIT_CORE, 0, 0))
        return 3;
    return fcntl(0, F_DUPFD, 40) < 0 ? 0 : 4;
}

START_TEST(cpu_time_descriptors_and_core_files_are_limited)
{
    struct rlimit before, after;
    warm();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(run_limited(_i, has_its_numbers, MPROC_NONE,
                                 LIMITS(.cpu_seconds = 1000, .descriptors = 40, .no_core = true)),
                     0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &after), 0);
    ck_assert(before.rlim_cur == after.rlim_cur && before.rlim_max == after.rlim_max);
}
END_TEST

static int works_on(mproc_call *call)
{
    while (!mproc_call_stopping(call)) {
    }
    return 0;
}

START_TEST(one_that_has_used_up_its_time_is_ended_by_the_signal_for_it)
{
    warm();
    ck_assert_int_eq(run_limited(MPROC_START_FORK, works_on, MPROC_NONE, LIMITS(.cpu_seconds = 1)), -SIGXCPU);
}
END_TEST

/* ---- control groups ---- */

/* What a child does to join is a write to one file of the directory; a plain file keeps it. */
static void group_make(char *directory, size_t size_bytes, const char *file, const char *text)
{
    char path[PATH_MAX + 32];
    snprintf(directory, size_bytes, "%s/group", support_directory());
    (void)mkdir(directory, 0700);
    snprintf(path, sizeof path, "%s/%s", directory, file);
    FILE *stream = fopen(path, "w");
    ck_assert_ptr_nonnull(stream);
    fputs(text, stream);
    fclose(stream);
}

static void group_remove(const char *directory, const char *file)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    unlink(path);
    rmdir(directory);
}

START_TEST(a_child_joins_the_group_before_its_function_runs)
{
    char directory[PATH_MAX], path[PATH_MAX + 32], text[8] = "";
    warm();
    group_make(directory, sizeof directory, "cgroup.procs", "");
    ck_assert_int_eq(run_limited(_i, nothing, MPROC_NONE, LIMITS(.cgroup = directory)), 0);
    snprintf(path, sizeof path, "%s/cgroup.procs", directory);
    FILE *stream = fopen(path, "r");
    ck_assert_ptr_nonnull(stream);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, stream));
    fclose(stream);
    ck_assert_str_eq(text, "0");
    group_remove(directory, "cgroup.procs");
}
END_TEST

static int is_in_group(mproc_call *call)
{
    char line[1024];
    FILE *stream = fopen("/proc/self/cgroup", "re");
    bool found = false;
    while (stream && fgets(line, sizeof line, stream))
        found = found || strstr(line, mproc_call_text(call, 0));
    if (stream)
        fclose(stream);
    return found ? 0 : 1;
}

/* Where this system lets us make groups: version 2, or one of version 1's controllers. */
START_TEST(a_real_group_has_the_child)
{
    static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids",
                                         "/sys/fs/cgroup/freezer"};
    char name[32], directory[256];
    bool made = false;
    warm();
    snprintf(name, sizeof name, "mproc_test_%d", (int)getpid());
    for (size_t i = 0; !made && i < MPROC__COUNT(places); i++) {
        snprintf(directory, sizeof directory, "%s/cgroup.procs", places[i]);
        bool is_group = access(directory, W_OK) == 0;
        snprintf(directory, sizeof directory, "%s/%s", places[i], name);
        made = is_group && mkdir(directory, 0700) == 0;
    }
    if (!made)
        return; /* the file above has shown what is ours to show */
    int code = run_limited(_i, is_in_group, MPROC_ARGS(name), LIMITS(.cgroup = directory));
    rmdir(directory);
    ck_assert_int_eq(code, 0);
}
END_TEST

START_TEST(a_group_that_is_none_is_frozen_or_cannot_be_joined_is_refused)
{
    char directory[PATH_MAX], path[PATH_MAX + 32];
    warm();
    refused(_i, LIMITS(.cgroup = "/nowhere/at/all"), -ENOENT, "/nowhere/at/all");
    refused(_i, LIMITS(.cgroup = support_directory()), -ENOENT, "limits.cgroup");
    group_make(directory, sizeof directory, "freezer.self_freezing", "1\n");
    snprintf(path, sizeof path, "%s/cgroup.procs", directory);
    ck_assert_int_eq(symlink("/dev/full", path), 0);
    refused(_i, LIMITS(.cgroup = directory), -EBUSY, "frozen");
    group_make(directory, sizeof directory, "freezer.self_freezing", "0\n");
    refused(_i, LIMITS(.cgroup = directory), -ENOSPC, "the child's first steps: limits.cgroup");
    unlink(path);
    group_remove(directory, "freezer.self_freezing");
}
END_TEST

/* ---- threads ---- */

START_TEST(a_thread_is_refused_what_it_has_in_common_with_its_process)
{
    warm();
    refused(MPROC_START_THREAD, LIMITS(.memory_bytes = 1 << 30), -EINVAL, "limits.memory_bytes: a thread");
    refused(MPROC_START_THREAD, LIMITS(.cpu_seconds = 1), -EINVAL, "limits.cpu_seconds: a thread");
    refused(MPROC_START_THREAD, LIMITS(.descriptors = 9), -EINVAL, "limits.descriptors: a thread");
    refused(MPROC_START_THREAD, LIMITS(.no_core = true), -EINVAL, "limits.no_core: a thread");
    refused(MPROC_START_THREAD, LIMITS(.cgroup = "/"), -EINVAL, "limits.cgroup: a thread");
}
END_TEST

/* ---- programs ---- */

START_TEST(a_program_finds_every_limit_on)
{
    char text[256], want[256], directory[PATH_MAX];
    int cpu = last_cpu(), nice = getpriority(PRIO_PROCESS, 0) + 3;
    group_make(directory, sizeof directory, "cgroup.procs", "");
    mproc_limits limits = {.memory_bytes = CAP_BYTES,
                           .cpus = &cpu,
                           .cpu_count = 1,
                           .nice = 3,
                           .cpu_seconds = 77,
                           .descriptors = 55,
                           .no_core = true,
                           .cgroup = directory};
    warm();
    ck_assert_int_eq(capture(SHELL("ulimit -d; nice; ulimit -t; ulimit -n; ulimit -c; grep Cpus_allowed_list "
                                   "/proc/self/status; ls /proc/self/fd | wc -l"),
                             OPTIONS(.limits = limits), text, sizeof text),
                     0);
    /* 0 to 2, and the one of ls for the directory: none of ours */
    snprintf(want, sizeof want, "%d\n%d\n77\n55\n0\nCpus_allowed_list:\t%d\n4\n", CAP_BYTES / 1024,
             nice > 19 ? 19 : nice, cpu);
    ck_assert_str_eq(text, want);
    group_remove(directory, "cgroup.procs");
}
END_TEST

START_TEST(a_limit_that_a_program_cannot_have_is_an_error_of_its_start)
{
    int cpus[] = {8191};
    char directory[PATH_MAX];
    mproc_process *process = NULL;
    warm();
    group_make(directory, sizeof directory, "freezer.self_freezing", "1\n");
    group_remove(directory, "freezer.self_freezing");
    ck_assert_int_eq(mproc_process_start_program(SHELL("exit 0"),
                                                 OPTIONS(.limits = {.cpus = cpus, .cpu_count = 1}), &process),
                     -EINVAL);
    story_has("limits.cpus: there is no CPU 8191");
    ck_assert_int_eq(
        mproc_process_start_program(SHELL("exit 0"), OPTIONS(.limits.cgroup = directory), &process), -ENOENT);
    story_has("limits.cgroup");
    ck_assert_int_eq(mproc_process_start_program(SHELL("exit 0"), OPTIONS(.limits.nice = 50), &process),
                     -EINVAL);
    ck_assert_ptr_null(process);
    char text[16];
    ck_assert_int_eq(capture(SHELL("echo on"), OPTIONS(.name = "next"), text, sizeof text), 0);
    ck_assert_str_eq(text, "on\n");
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("limits");
    TCase *each = support_case(suite, "each");
#ifndef MPROC__SANITIZED
    tcase_add_loop_test(each, private_memory_ends_at_the_limit_and_shared_memory_does_not_count, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(each, an_argument_that_does_not_fit_under_the_limit_is_an_error_of_the_start,
                        MPROC_START_SPAWN, PROCESS_METHODS);
#endif
    tcase_add_loop_test(each, less_memory_than_a_child_has_from_the_beginning_is_an_error_of_its_start,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(each, a_child_runs_on_the_given_cpus_and_its_starter_where_it_did, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_loop_test(each, cpus_that_are_not_there_are_refused_by_number, FIRST_METHOD, ALL_METHODS);
    tcase_add_loop_test(each, nice_is_added_to_the_starters_and_ends_at_the_weakest, FIRST_METHOD,
                        ALL_METHODS);
    tcase_add_test(each, one_that_has_used_up_its_time_is_ended_by_the_signal_for_it);
    tcase_add_loop_test(each, a_stronger_priority_is_not_for_everybody, FIRST_METHOD, ALL_METHODS);
    tcase_add_test(each, what_others_of_the_user_have_under_way_does_not_count_against_a_childs_descriptors);
    tcase_add_loop_test(each, cpu_time_descriptors_and_core_files_are_limited, FIRST_METHOD, PROCESS_METHODS);
    TCase *groups = support_case(suite, "groups");
    tcase_add_loop_test(groups, a_child_joins_the_group_before_its_function_runs, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(groups, a_real_group_has_the_child, FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(groups, a_group_that_is_none_is_frozen_or_cannot_be_joined_is_refused, FIRST_METHOD,
                        PROCESS_METHODS);
    TCase *others = support_case(suite, "threads and programs");
    tcase_add_test(others, a_thread_is_refused_what_it_has_in_common_with_its_process);
    tcase_add_test(others, a_program_finds_every_limit_on);
    tcase_add_test(others, a_limit_that_a_program_cannot_have_is_an_error_of_its_start);
    return support_run(suite, argc, argv);
}
