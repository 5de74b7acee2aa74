/* SPDX-License-Identifier: BSD-2-Clause */
/* Any process: found, told apart from who has its pid later, read while it ends, hidden, elsewhere. */
#include "platform/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "platform/proc.h"
#include "support/support.h"

static int rest(void *name)
{
    if (name)
        prctl(PR_SET_NAME, name);
    while (pause() != 0) /* ever: it is killed */
        ;
    return 0;
}

static mproc_running found(int64_t pid)
{
    mproc_running which = {0};
    int rc = mproc_running_find(pid, &which);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return which;
}

static int get(mproc_running which, mproc_running_stats *ret_stats)
{
    mproc_options_init(ret_stats, sizeof *ret_stats);
    return mproc_running_get(which, ret_stats);
}

static bool in_state(int64_t pid, unsigned state)
{
    mproc_running_stats stats;
    return get((mproc_running){.pid = pid}, &stats) == 0 && stats.state == state;
}

static bool zombie(void *context)
{
    return in_state(*(pid_t *)context, 'Z');
}

static bool stopped(void *context)
{
    return in_state(*(pid_t *)context, 'T');
}

static bool named(void *context)
{
    mproc_running_stats stats;
    return get((mproc_running){.pid = *(pid_t *)context}, &stats) == 0 &&
           strcmp(stats.name, "a) R 1\n(b") == 0;
}

START_TEST(this_process_is_told_as_it_knows_itself)
{
    mproc_running_stats stats;
    mproc_running self = found(0);
    ck_assert_int_eq(self.pid, getpid());
    ck_assert_int_eq(get(self, &stats), 0);
    ck_assert_int_eq(stats.which.pid, self.pid);
    ck_assert_uint_eq(stats.which.start, self.start);
    ck_assert_int_eq(stats.parent_pid, getppid());
    ck_assert_int_eq(stats.group_pid, getpgrp());
    ck_assert_int_eq(stats.session_pid, getsid(0));
    ck_assert_uint_eq(stats.uid, getuid());
    ck_assert_uint_eq(stats.effective_gid, getegid());
    ck_assert_uint_eq(stats.state, 'R');
    ck_assert_uint_eq(stats.kernel_thread, 0);
    ck_assert_int_gt(stats.rss_bytes, 0);
    ck_assert_int_ge(stats.rss_max_bytes, stats.rss_bytes);
    ck_assert_int_gt(stats.vms_bytes, stats.rss_bytes);
    ck_assert_int_gt(stats.cpu_ns, 0);
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    ck_assert_int_lt(stats.start_ns, (int64_t)boot.tv_sec * 1000000000 + boot.tv_nsec);
    ck_assert_int_le(stats.taken_ns, mproc__now_ns());
}
END_TEST

START_TEST(an_odd_name_is_told_as_it_is)
{
    char name[] = "a) R 1\n(b";
    mproc_running_stats stats;
    pid_t child = support_fork(rest, name);
    ck_assert(support_until(named, &child, 5000));
    ck_assert_int_eq(get(found(child), &stats), 0);
    ck_assert_int_eq(stats.parent_pid, getpid());
    support_kill(child);
}
END_TEST

START_TEST(a_stopped_a_zombie_and_a_collected_process_differ)
{
    mproc_running_stats stats;
    pid_t child = support_fork(rest, NULL);
    mproc_running which = found(child);
    kill(child, SIGSTOP);
    ck_assert(support_until(stopped, &child, 5000));
    kill(child, SIGKILL);
    ck_assert(support_until(zombie, &child, 5000));
    ck_assert_int_eq(get(which, &stats), 0);
    ck_assert_int_eq(stats.rss_bytes, 0);
    ck_assert_int_eq(support_reap(child, 5000), 256 + SIGKILL);
    ck_assert_int_eq(get(which, &stats), -ESRCH);
    ck_assert_int_eq(mproc_running_find(child, &which), -ESRCH);
}
END_TEST

START_TEST(another_process_with_the_same_pid_is_not_the_one_meant)
{
    mproc_running_stats stats;
    mproc_running other = found(0);
    other.start++;
    ck_assert_int_eq(get(other, &stats), -ESRCH);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "now belongs to another"));
    size_t count;
    ck_assert_int_eq(mproc_running_children(other, true, NULL, 0, &count), -ESRCH);
}
END_TEST

static _Atomic pid_t thread_tid;

static void *thread_rest(void *gate)
{
    pthread_mutex_t *held = gate;
    atomic_store(&thread_tid, mproc__tid());
    pthread_mutex_lock(held);
    pthread_mutex_unlock(held);
    return NULL;
}

static bool thread_runs(void *unused)
{
    (void)unused;
    return atomic_load(&thread_tid) != 0;
}

START_TEST(a_thread_is_no_process)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread;
    mproc_running which;
    pthread_mutex_lock(&gate);
    ck_assert_int_eq(pthread_create(&thread, NULL, thread_rest, &gate), 0);
    ck_assert(support_until(thread_runs, NULL, 5000));
    ck_assert_int_eq(mproc_running_find(thread_tid, &which), -ESRCH);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "a thread of process"));
    pthread_mutex_unlock(&gate);
    pthread_join(thread, NULL);
}
END_TEST

/* Kernel threads are seen where this is not a pid namespace of its own. */
START_TEST(a_kernel_thread_has_no_memory)
{
    mproc_running_stats stats;
    mproc_running which;
    if (mproc_running_find(2, &which) < 0 || get(which, &stats) < 0 || strcmp(stats.name, "kthreadd") != 0)
        return;
    ck_assert_uint_eq(stats.kernel_thread, 1);
    ck_assert_int_eq(stats.rss_bytes, 0);
    ck_assert_int_eq(stats.parent_pid, 0);
}
END_TEST

/* ---- read while they end ---- */

static int starts_and_ends(void *unused)
{
    (void)unused;
    for (pid_t child; (child = fork()) >= 0; waitpid(child, NULL, 0))
        if (child == 0)
            _exit(0);
    return 1;
}

START_TEST(processes_that_end_while_they_are_read_are_whole_or_gone)
{
    enum { MANY = 4096 };
    static mproc_running list[MANY];
    pid_t mother = support_fork(starts_and_ends, NULL);
    mproc_deadline deadline = mproc_after_ms(300);
    mproc_running_stats stats;
    do {
        size_t count;
        ck_assert_int_eq(mproc_running_children((mproc_running){.pid = mother}, false, list, MANY, &count),
                         0);
        for (size_t i = 0; i < count && i < MANY; i++) {
            int rc = get(list[i], &stats);
            ck_assert_msg(rc == 0 || rc == -ESRCH, "%s", mproc_error_text(mproc_last_error()));
            ck_assert(rc < 0 || (stats.which.start == list[i].start && stats.parent_pid == mother));
        }
    } while (!mproc__deadline_past(deadline));
    support_children_kill();
}
END_TEST

/* ---- CPU time ---- */

static int burn(void *unused)
{
    (void)unused;
    while (mproc__now_ns() > 0) /* always: it is killed */
        ;
    return 0;
}

static bool burned(void *context)
{
    mproc_running_stats *before = context, after;
    double percent;
    return get(before->which, &after) == 0 && mproc_running_cpu_percent(before, &after, &percent) == 0 &&
           after.cpu_ns - before->cpu_ns > 50000000 && percent > 0 && percent < 110;
}

START_TEST(the_cpu_percentage_is_of_the_time_between_two_readings)
{
    mproc_running_stats before, self;
    double percent = -1;
    pid_t child = support_fork(burn, NULL);
    ck_assert_int_eq(get(found(child), &before), 0);
    ck_assert(support_until(burned, &before, 10000));
    ck_assert_int_eq(get(found(0), &self), 0);
    ck_assert_int_eq(mproc_running_cpu_percent(&before, &self, &percent), -EINVAL);
    ck_assert_int_eq(mproc_running_cpu_percent(&before, &before, &percent), -EINVAL);
    ck_assert_int_eq(mproc_running_cpu_percent(NULL, &before, &percent), -EINVAL);
    ck_assert_int_eq(mproc_running_cpu_percent(&before, &self, NULL), -EINVAL);
    ck_assert_double_lt(percent, 0);
    support_kill(child);
}
END_TEST

/* ---- where /proc shows less; made as root; where that is not allowed there is nothing to see ---- */

enum { NOT_HERE = 77 };

/* As the first of a new pid namespace, beside a /proc of its own with these options. */
static int in_namespace(support_fn *fn, const char *options)
{
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return NOT_HERE;
    pid_t first = fork();
    if (first == 0) {
        if (options && mount("proc", "/proc", "proc", 0, options) != 0)
            _exit(NOT_HERE);
        _exit(fn(NULL));
    }
    int status;
    return waitpid(first, &status, 0) == first && WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

static int looks_at_a_hidden_one(void *unused)
{
    mproc_running which = {0};
    mproc_running list[8];
    size_t count = 0;
    (void)unused;
    pid_t stranger = fork();
    if (stranger == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(NOT_HERE);
        prctl(PR_SET_DUMPABLE, 1);
        /* Process 1 is root's: seen before by pid alone, now not at all. */
        if (mproc_running_find(1, &which) != -EACCES)
            _exit(1);
        if (mproc_running_find(4711, &which) != -ESRCH)
            _exit(2);
        if (mproc_running_find(0, &which) != 0)
            _exit(3);
        if (mproc_running_list(list, 8, &count) != 0 || count != 1 || list[0].pid != getpid())
            _exit(4);
        _exit(0);
    }
    int status;
    return waitpid(stranger, &status, 0) == stranger && WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int hidden(void *unused)
{
    (void)unused;
    return in_namespace(looks_at_a_hidden_one, "hidepid=2");
}

static int looks_at_refused_files(void *unused)
{
    mproc_running which = {0}, list[8];
    size_t count = 0;
    (void)unused;
    pid_t stranger = fork();
    if (stranger == 0) {
        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(NOT_HERE);
        prctl(PR_SET_DUMPABLE, 1);
        if (mproc_running_find(1, &which) != -EACCES)
            _exit(1);
        if (mproc_running_list(list, 8, &count) != 0 || count != 2 || list[0].pid != 1 ||
            list[0].start != 0 || list[1].start == 0)
            _exit(2);
        _exit(0);
    }
    int status;
    return waitpid(stranger, &status, 0) == stranger && WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int refused(void *unused)
{
    (void)unused;
    return in_namespace(looks_at_refused_files, "hidepid=1");
}

/* A /proc with processes only: those are told, and of the machine what the kernel tells otherwise. */
static int looks_at_processes_only(void *unused)
{
    mproc_machine machine = {.size = sizeof machine};
    mproc_running which;
    (void)unused;
    if (mproc_running_find(0, &which) != 0)
        return 1;
    return mproc_machine_get(&machine) == -EACCES && machine.cpus == 0 ? 0 : 2;
}

static int processes_only(void *unused)
{
    (void)unused;
    return in_namespace(looks_at_processes_only, "subset=pid");
}

static int looks_without_proc(void *unused)
{
    mproc_running which;
    (void)unused;
    if (umount2("/proc", MNT_DETACH) != 0)
        return NOT_HERE;
    return mproc_running_find(0, &which) == -EACCES ? 0 : 1;
}

static int without_proc(void *unused)
{
    (void)unused;
    return in_namespace(looks_without_proc, NULL);
}

static int looks_at_a_foreign_proc(void *unused)
{
    mproc_running which;
    size_t count;
    (void)unused;
    if (mproc_running_find(0, &which) != MPROC_ENAMESPACE)
        return 1;
    return mproc_running_list(NULL, 0, &count) == MPROC_ENAMESPACE ? 0 : 2;
}

static int foreign(void *unused)
{
    (void)unused;
    return in_namespace(looks_at_a_foreign_proc, NULL);
}

static void allowed(int status)
{
    ck_assert_msg(status == 0 || status == NOT_HERE, "status %d", status);
}

START_TEST(a_hidden_process_is_refused_not_gone)
{
    allowed(support_reap(support_fork(hidden, NULL), 10000));
    allowed(support_reap(support_fork(refused, NULL), 10000));
}
END_TEST

static pid_t rest_begin(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(rest(NULL));
    return child;
}

/* The kernel gives numbers in turn, and in a namespace of one's own may be told where to go on. */
static bool next_pid_set(pid_t pid)
{
    FILE *file = fopen("/proc/sys/kernel/ns_last_pid", "we");
    bool good = file && fprintf(file, "%d", (int)pid - 1) > 0;
    return file && fclose(file) == 0 && good;
}

/* Whether a process that is started now has a later start than that one: starts are told apart by ticks of 10 ms. */
static bool starts_later(void *context)
{
    const mproc_running *than = context;
    mproc_running probe;
    pid_t child = rest_begin();
    bool later = mproc_running_find(child, &probe) == 0 && probe.start > than->start;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return later;
}

static int recycles_a_pid(void *unused)
{
    mproc_running before, after, list[8];
    mproc_running_stats stats, older;
    double percent;
    size_t count;
    (void)unused;
    pid_t first = rest_begin();
    if (mproc_running_find(first, &before) != 0 || get(before, &older) != 0)
        return 1;
    kill(first, SIGKILL);
    waitpid(first, NULL, 0);
    if (!support_until(starts_later, &before, 5000))
        return 5;
    if (!next_pid_set(first))
        return NOT_HERE;
    pid_t second = rest_begin();
    if (second != first)
        return NOT_HERE;
    if (get(before, &stats) != -ESRCH || mproc_running_children(before, true, list, 8, &count) != -ESRCH)
        return 2;
    if (mproc_running_find(first, &after) != 0 || after.start <= before.start || get(after, &stats) != 0)
        return 3;
    if (mproc_running_cpu_percent(&older, &stats, &percent) != -EINVAL)
        return 4;
    kill(second, SIGKILL);
    waitpid(second, NULL, 0);
    return 0;
}

static int recycled(void *unused)
{
    (void)unused;
    return in_namespace(recycles_a_pid, "");
}

START_TEST(a_recycled_pid_is_another_process)
{
    allowed(support_reap(support_fork(recycled, NULL), 10000));
}
END_TEST

static int rests_in_a_namespace(void *context)
{
    const int *ready_fd = context;
    if (unshare(CLONE_NEWPID) != 0)
        return NOT_HERE;
    pid_t first = fork();
    if (first == 0) {
        char own[16];
        int bytes = snprintf(own, sizeof own, "%d", (int)getpid());
        _exit(write(*ready_fd, own, (size_t)bytes) == bytes ? rest(NULL) : 1);
    }
    return rest(NULL);
}

START_TEST(a_process_of_an_inner_pid_namespace_has_the_pid_that_it_has_here)
{
    int fds[2];
    char inner[16] = "";
    mproc_running child;
    mproc_running_stats stats;
    size_t count = 0;
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    pid_t outer = support_fork(rests_in_a_namespace, &fds[1]);
    close(fds[1]);
    if (read(fds[0], inner, sizeof inner - 1) > 0) { /* else: it was not allowed */
        ck_assert_str_eq(inner, "1");
        ck_assert_int_eq(mproc_running_children((mproc_running){.pid = outer}, true, &child, 1, &count), 0);
        ck_assert_uint_eq(count, 1);
        ck_assert_int_ne(child.pid, 1);
        ck_assert_int_eq(get(child, &stats), 0);
        ck_assert_int_eq(stats.parent_pid, outer);
    }
    close(fds[0]);
    support_children_kill();
}
END_TEST

START_TEST(the_proc_of_another_pid_namespace_is_not_believed)
{
    allowed(support_reap(support_fork(foreign, NULL), 10000));
}
END_TEST

START_TEST(a_proc_that_tells_less_or_is_missing_is_said_to)
{
    allowed(support_reap(support_fork(processes_only, NULL), 10000));
    allowed(support_reap(support_fork(without_proc, NULL), 10000));
}
END_TEST

/* ---- bad input ---- */

START_TEST(bad_input_is_its_own_error)
{
    mproc_running which = {.pid = 1, .start = 2};
    mproc_running_stats stats = {0};
    size_t count = 7;
    ck_assert_int_eq(mproc_running_find(-1, &which), -EINVAL);
    ck_assert_int_eq(mproc_running_find(0, NULL), -EINVAL);
    ck_assert_int_eq(mproc_running_find(INT64_MAX, &which), -ESRCH);
    ck_assert_int_eq(which.pid, 1);
    ck_assert_int_eq(mproc_running_get(found(0), NULL), -EINVAL);
    ck_assert_int_eq(mproc_running_get(found(0), &stats), -EINVAL);
    stats.size = sizeof stats - 8;
    ck_assert_int_eq(mproc_running_get(found(0), &stats), -EINVAL);
    ck_assert_int_eq(stats.which.pid, 0);
    ck_assert_int_eq(mproc_running_list(NULL, 1, &count), -EINVAL);
    ck_assert_int_eq(mproc_running_list(NULL, 0, NULL), -EINVAL);
    ck_assert_int_eq(mproc_running_children(found(0), true, NULL, 3, &count), -EINVAL);
    ck_assert_uint_eq(count, 7);
}
END_TEST

START_TEST(a_larger_struct_of_a_newer_header_is_zeroed_behind_what_is_known)
{
    struct {
        mproc_running_stats stats;
        int64_t newer;
    } larger = {.stats = {.size = sizeof larger}, .newer = 5};
    ck_assert_int_eq(mproc_running_get(found(0), &larger.stats), 0);
    ck_assert_uint_eq(larger.stats.size, sizeof larger);
    ck_assert_int_eq(larger.newer, 0);
    ck_assert_int_eq(larger.stats.which.pid, getpid());
}
END_TEST

START_TEST(no_descriptor_left_is_said_and_leaves_nothing)
{
    int fds[1024], count = 0;
    mproc_running which;
    mproc_machine machine = {.size = sizeof machine};
    mproc__pid();
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 512;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (count < 1024 && (fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        count++;
    int rc = mproc_running_find(0, &which), machine_rc = mproc_machine_get(&machine);
    size_t number;
    int list_rc = mproc_running_list(NULL, 0, &number);
    while (count > 0)
        close(fds[--count]);
    limit.rlim_cur = before;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(rc, -EMFILE);
    ck_assert_int_eq(machine_rc, -EMFILE);
    ck_assert_int_eq(list_rc, -EMFILE);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("running");
    TCase *one = support_case(suite, "one");
    tcase_add_test(one, this_process_is_told_as_it_knows_itself);
    tcase_add_test(one, an_odd_name_is_told_as_it_is);
    tcase_add_test(one, a_stopped_a_zombie_and_a_collected_process_differ);
    tcase_add_test(one, another_process_with_the_same_pid_is_not_the_one_meant);
    tcase_add_test(one, a_thread_is_no_process);
    tcase_add_test(one, a_kernel_thread_has_no_memory);
    tcase_add_test(one, processes_that_end_while_they_are_read_are_whole_or_gone);
    tcase_add_test(one, the_cpu_percentage_is_of_the_time_between_two_readings);
    TCase *hiding = support_case(suite, "hiding");
    tcase_add_test(hiding, a_hidden_process_is_refused_not_gone);
    tcase_add_test(hiding, a_recycled_pid_is_another_process);
    tcase_add_test(hiding, a_process_of_an_inner_pid_namespace_has_the_pid_that_it_has_here);
    tcase_add_test(hiding, the_proc_of_another_pid_namespace_is_not_believed);
    tcase_add_test(hiding, a_proc_that_tells_less_or_is_missing_is_said_to);
    TCase *input = support_case(suite, "input");
    tcase_add_test(input, bad_input_is_its_own_error);
    tcase_add_test(input, a_larger_struct_of_a_newer_header_is_zeroed_behind_what_is_known);
    tcase_add_test(input, no_descriptor_left_is_said_and_leaves_nothing);
    return support_run(suite, argc, argv);
}
