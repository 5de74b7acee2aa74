/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks of the homes thread and host: acquired, released, asked. Loop tests run once for each: 0 host, 1 thread. */
#include "platform/base.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lock_common.h"
#include "platform/platform.h"

/* shows: SYNC-01 */
START_TEST(a_held_lock_is_refused_and_a_second_release_too)
{
    lock_make(_i, NULL);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), -EDEADLK);
    ck_assert_int_eq(elsewhere(_i, try_now), 1);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert_int_eq(mproc_lock_release(lock), -EPERM);
    ck_assert_int_eq(elsewhere(_i, try_now), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    lock_drop();
}
END_TEST

static int *counter;
enum { ROUNDS = 5000 };

static int count_up(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        if (mproc_lock_acquire(lock, MPROC_FOREVER) != 0)
            return 1;
        volatile int *seen = counter;
        *seen = *seen + 1;
        if (mproc_lock_release(lock) != 0)
            return 2;
    }
    return 0;
}

/* shows: SYNC-03 */
START_TEST(a_counter_under_the_lock_ends_exact_between_processes)
{
    lock_make(0, NULL);
    counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[3];
    for (int i = 0; i < 3; i++)
        children[i] = support_fork(count_up, NULL);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(support_reap(children[i], 15000), 0);
    ck_assert_int_eq(*counter, 3 * ROUNDS);
    munmap(counter, 4096);
    lock_drop();
}
END_TEST

/* shows: SYNC-03 */
START_TEST(a_counter_under_the_lock_ends_exact_between_threads)
{
    int count = 0;
    counter = &count;
    lock_make(_i, NULL);
    pthread_t threads[3];
    errand jobs[3];
    for (int i = 0; i < 3; i++) {
        jobs[i] = (errand){count_up, -1};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, errand_run, &jobs[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(jobs[i].status, 0);
    }
    ck_assert_int_eq(count, 3 * ROUNDS);
    lock_drop();
}
END_TEST

static int asks_held(void *unused)
{
    (void)unused;
    return mproc_lock_is_held(lock);
}

/* shows: SYNC-04 */
START_TEST(is_held_is_true_until_the_last_release_here_and_elsewhere)
{
    bool recursive = _i >= 2;
    int home = _i % 2;
    lock_make(home, MPROC_WITH(mproc_lock_options, .recursive = recursive));
    ck_assert(!mproc_lock_is_held(lock));
    ck_assert_int_eq(elsewhere(home, asks_held), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    if (recursive) {
        ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
        ck_assert_int_eq(mproc_lock_release(lock), 0);
    }
    ck_assert(mproc_lock_is_held(lock));
    ck_assert_int_eq(elsewhere(home, asks_held), 1);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert(!mproc_lock_is_held(lock));
    ck_assert_int_eq(elsewhere(home, asks_held), 0);
    lock_drop();
}
END_TEST

static int times_out(void *unused)
{
    (void)unused;
    int64_t start = mproc__now_ns();
    if (mproc_lock_acquire(lock, mproc_after_ms(-5)) != -ETIMEDOUT || mproc__now_ns() - start > live_ns())
        return 1;
    start = mproc__now_ns();
    if (mproc_lock_acquire(lock, mproc_after_ms(30)) != -ETIMEDOUT)
        return 2;
    int64_t took = mproc__now_ns() - start;
    return took < 30000000 ? 3 : took > 30000000 + live_ns() ? 4 : 0;
}

/* shows: SYNC-05 */
START_TEST(a_timed_acquire_ends_at_its_deadline)
{
    lock_make(_i % 2, MPROC_WITH(mproc_lock_options, .recursive = _i >= 2));
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_FOREVER), 0);
    ck_assert_int_eq(elsewhere(_i % 2, times_out), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    lock_drop();
}
END_TEST

static int waits_for_ever(void *unused)
{
    (void)unused;
    int code = mproc_lock_acquire(lock, MPROC_FOREVER);
    return code == 0 ? mproc_lock_release(lock) : 1;
}

/* shows: SYNC-05 */
START_TEST(an_acquire_without_a_deadline_ends_when_the_owner_releases)
{
    lock_make(0, MPROC_WITH(mproc_lock_options, .recursive = _i == 1));
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    pid_t child = support_fork(waits_for_ever, NULL);
    ck_assert(support_until_asleep(child, LONG_MS));
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert_int_eq(support_reap(child, LONG_MS), 0);
    lock_drop();
}
END_TEST

static int release_is_refused(void *unused)
{
    (void)unused;
    return mproc_lock_release(lock) == -EPERM ? try_now(NULL) : 3;
}

/* shows: SYNC-06 SYNC-07 */
START_TEST(a_recursive_lock_needs_as_many_releases_and_belongs_to_its_thread)
{
    lock_make(_i, MPROC_WITH(mproc_lock_options, .recursive = true));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(elsewhere(_i, release_is_refused), 1);
        ck_assert_int_eq(in_thread(release_is_refused), 1);
        ck_assert_int_eq(mproc_lock_release(lock), 0);
    }
    ck_assert_int_eq(mproc_lock_release(lock), -EPERM);
    ck_assert_int_eq(elsewhere(_i, try_now), 0);
    lock_drop();
}
END_TEST

/* shows: SYNC-08 */
START_TEST(a_child_forked_while_the_lock_is_held_is_not_its_owner)
{
    lock_make(0, MPROC_WITH(mproc_lock_options, .recursive = _i == 1));
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(in_child(release_is_refused), 1);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    lock_drop();
}
END_TEST

static int leave_by_return(void)
{
    MPROC_WITH_LOCK(lock, MPROC_FOREVER)
    return mproc_lock_is_held(lock);
    return -1;
}

/* shows: SYNC-09 */
START_TEST(a_scope_releases_on_every_way_out)
{
    int runs = 0;
    lock_make(_i, NULL);
    MPROC_WITH_LOCK(lock, MPROC_FOREVER)
    runs++;
    ck_assert(!mproc_lock_is_held(lock));
    for (int i = 0; i < 2; i++)
        MPROC_WITH_LOCK(lock, MPROC_FOREVER)
        {
            runs++;
            break;
        }
    ck_assert(!mproc_lock_is_held(lock));
    ck_assert_int_eq(leave_by_return(), 1);
    ck_assert(!mproc_lock_is_held(lock));
    ck_assert_int_eq(runs, 3);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    MPROC_WITH_LOCK(lock, MPROC_NOW)
    runs++;
    ck_assert_int_eq(runs, 3); /* not got: not run, and not released */
    ck_assert(mproc_lock_is_held(lock));
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    lock_drop();
}
END_TEST

static pid_t holder_pid, holder_tid;

static int describes_other(void *unused)
{
    (void)unused;
    char text[200];
    mproc_describe(lock, text, sizeof(text));
    char wanted[64];
    snprintf(wanted, sizeof(wanted),
             holder_pid == getpid() ? "held by thread %d of this process" : "held by process %d",
             holder_pid == getpid() ? (int)holder_tid : (int)holder_pid);
    return strstr(text, wanted) && strstr(text, "depth 2") ? 0 : 1;
}

/* shows: SYNC-10 */
START_TEST(a_description_says_who_holds_it)
{
    char text[200];
    lock_make(_i, MPROC_WITH(mproc_lock_options, .name = "jobs", .recursive = true));
    ck_assert_int_gt(mproc_describe(lock, text, sizeof(text)), 0);
    ck_assert_ptr_nonnull(strstr(text, "jobs"));
    ck_assert_ptr_nonnull(strstr(text, "free"));
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    mproc_describe(lock, text, sizeof(text));
    holder_pid = getpid();
    holder_tid = mproc__tid();
    ck_assert_ptr_nonnull(strstr(text, "this thread, depth 2"));
    ck_assert_int_eq(elsewhere(_i, describes_other), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    lock_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lock");
    TCase *basic = support_case(suite, "basic");
    tcase_add_loop_test(basic, a_held_lock_is_refused_and_a_second_release_too, 0, 2);
    tcase_add_test(basic, a_counter_under_the_lock_ends_exact_between_processes);
    tcase_add_loop_test(basic, a_counter_under_the_lock_ends_exact_between_threads, 0, 2);
    tcase_add_loop_test(basic, is_held_is_true_until_the_last_release_here_and_elsewhere, 0, 4);
    tcase_add_loop_test(basic, a_timed_acquire_ends_at_its_deadline, 0, 4);
    tcase_add_loop_test(basic, an_acquire_without_a_deadline_ends_when_the_owner_releases, 0, 2);
    tcase_add_loop_test(basic, a_recursive_lock_needs_as_many_releases_and_belongs_to_its_thread, 0, 2);
    tcase_add_loop_test(basic, a_child_forked_while_the_lock_is_held_is_not_its_owner, 0, 2);
    tcase_add_loop_test(basic, a_scope_releases_on_every_way_out, 0, 2);
    tcase_add_loop_test(basic, a_description_says_who_holds_it, 0, 2);
    return support_run(suite, argc, argv);
}
