/* SPDX-License-Identifier: BSD-2-Clause */
/* What /proc tells of processes and threads, and of frozen ones. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/cgroup.h"
#include "platform/platform.h"
#include "support/support.h"

static int rest(void *unused)
{
    (void)unused;
    prctl(PR_SET_NAME, "a) b\n(c");
    while (pause() != 0) /* ever: it is killed */
        ;
    return 0;
}

typedef struct expected {
    pid_t pid;
    char state;
} expected;

static bool in_state(void *context)
{
    const expected *want = context;
    mproc__process_view view;
    return mproc__process_view_get(want->pid, &view) == 0 && view.state == want->state;
}

static bool named(void *context)
{
    const expected *want = context;
    mproc__process_view view;
    return mproc__process_view_get(want->pid, &view) == 0 && strcmp(view.name, "a) b?(c") == 0;
}

START_TEST(a_process_is_seen_running_stopped_ended_and_gone)
{
    mproc__process_view view;
    int64_t before_ns = mproc__now_ns();
    pid_t child = support_fork(rest, NULL);
    ck_assert(support_until(named, &(expected){child, 0}, 5000));
    ck_assert(support_until(in_state, &(expected){child, 'S'}, 5000));
    ck_assert_int_eq(mproc__process_view_get(child, &view), 0);
    ck_assert_int_eq(view.pid, child);
    ck_assert_uint_eq(view.threads, 1);
    /* A tick is 10 ms, and the kernel rounds down. */
    ck_assert_int_gt(view.started_ns, before_ns - 20000000);
    ck_assert_int_lt(view.started_ns, mproc__now_ns());
    kill(child, SIGSTOP);
    ck_assert(support_until(in_state, &(expected){child, 'T'}, 5000));
    kill(child, SIGKILL);
    ck_assert(support_until(in_state, &(expected){child, 'Z'}, 5000));
    ck_assert_int_eq(support_reap(child, 5000), 256 + SIGKILL);
    ck_assert_int_eq(mproc__process_view_get(child, &view), -ESRCH);
    ck_assert_int_eq(mproc__process_view_get(0, &view), -ESRCH);
    ck_assert_int_eq(mproc__process_view_get(-1, &view), -ESRCH);
}
END_TEST

static void *look_at_oneself(void *argument)
{
    return (void *)(intptr_t)mproc__process_view_get(mproc__tid(), argument);
}

START_TEST(a_thread_tells_its_process)
{
    mproc__process_view view, own;
    pthread_t thread;
    void *code;
    ck_assert_int_eq(pthread_create(&thread, NULL, look_at_oneself, &view), 0);
    ck_assert_int_eq(pthread_join(thread, &code), 0);
    ck_assert_ptr_null(code);
    ck_assert_int_eq(view.pid, getpid());
    ck_assert_uint_ge(view.threads, 2);
    ck_assert_int_eq(mproc__process_view_get(getpid(), &own), 0);
    uint64_t start, stack;
    ck_assert_int_eq(mproc__process_times(getpid(), &start, &stack), 0);
    ck_assert_uint_eq(own.start_ticks, start);
    ck_assert_uint_ge(view.start_ticks, start);
}
END_TEST

/* ---- frozen ---- */

static bool text_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    bool good = file && fputs(text, file) >= 0;
    return file && fclose(file) == 0 && good;
}

static bool frozen(void *context)
{
    return mproc__cgroup_frozen(*(pid_t *)context);
}

static bool thawed(void *context)
{
    return !frozen(context);
}

/* The group of a process that was just reaped is busy for a moment. */
static bool removed(void *context)
{
    return rmdir(context) == 0;
}

static void freeze_and_thaw(const char *group, const char *file, const char *on, const char *off)
{
    char procs[256], control[256], number[16];
    pid_t child = support_fork(rest, NULL);
    snprintf(procs, sizeof(procs), "%s/cgroup.procs", group);
    snprintf(control, sizeof(control), "%s/%s", group, file);
    snprintf(number, sizeof(number), "%d", (int)child);
    ck_assert(thawed(&child));
    bool entered = text_write(procs, number) && text_write(control, on);
    bool seen = entered && support_until(frozen, &child, 5000);
    ck_assert(text_write(control, off));
    bool unseen = support_until(thawed, &child, 5000);
    support_kill(child);
    ck_assert(support_until(removed, (void *)(uintptr_t)group, 5000));
    ck_assert(!entered || (seen && unseen));
}

/* As root, where groups can be made; elsewhere there is nothing to see. */
START_TEST(a_frozen_process_is_seen)
{
    char group[128];
    snprintf(group, sizeof(group), "/sys/fs/cgroup/freezer/mproc-view-%d", (int)getpid());
    if (mkdir(group, 0755) == 0)
        freeze_and_thaw(group, "freezer.state", "FROZEN", "THAWED");
    snprintf(group, sizeof(group), "/sys/fs/cgroup/unified/mproc-view-%d", (int)getpid());
    if (access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0)
        snprintf(group, sizeof(group), "/sys/fs/cgroup/mproc-view-%d", (int)getpid());
    if (mkdir(group, 0755) == 0)
        freeze_and_thaw(group, "cgroup.freeze", "1", "0");
    ck_assert(!mproc__cgroup_frozen(getpid()));
    ck_assert(!mproc__cgroup_frozen(INT32_MAX));
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("process_view");
    TCase *views = support_case(suite, "views");
    if (!SUPPORT_THREAD_SANITIZER) /* counts threads */
        tcase_add_test(views, a_process_is_seen_running_stopped_ended_and_gone);
    tcase_add_test(views, a_thread_tells_its_process);
    tcase_add_test(views, a_frozen_process_is_seen);
    return support_run(suite, argc, argv);
}
