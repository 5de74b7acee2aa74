/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads that come and go with life words. */
#include "platform/base.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "platform/robust.h"
#include "shm/segment_inside.h"
#include "support/support.h"

static mproc__segment *segment, *other;

static void make(mproc__segment **ret_segment)
{
    ck_assert_int_eq(mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "test", 4096, 0, ret_segment),
                     0);
}

static void *join_it(void *unused)
{
    (void)unused;
    return (void *)(intptr_t)mproc__segment_join(segment);
}

static int join_in_thread(void)
{
    pthread_t thread;
    void *row;
    ck_assert_int_eq(pthread_create(&thread, NULL, join_it, NULL), 0);
    pthread_join(thread, &row);
    return (int)(intptr_t)row;
}

START_TEST(one_process_has_one_row_whichever_threads_use_it)
{
    make(&segment);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(join_in_thread(), 0);
    ck_assert_int_eq(mproc__segment_join(segment), 0);
    ck_assert_int_eq(join_in_thread(), 0);
    ck_assert_uint_eq(mproc__segment_rows(segment), 1);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(a_row_handed_back_is_left_by_the_last_release)
{
    mproc__segment *copy;
    make(&segment);
    int fd = fcntl(mproc__segment_fd(segment), F_DUPFD_CLOEXEC, 0);
    ck_assert_int_eq(mproc__segment_attach(fd, MPROC_TYPE_QUEUE, &copy), 0);
    ck_assert_int_eq(join_in_thread(), 0);
    mproc__segment_release(segment);
    ck_assert_int_eq(mproc__segment_row_pid(copy, 0), 0);
    mproc__segment_release(copy);
}
END_TEST

static pthread_barrier_t joined, released;

static void *join_and_outlive(void *unused)
{
    (void)unused;
    mproc__segment_join(segment);
    pthread_barrier_wait(&joined);
    pthread_barrier_wait(&released);
    return NULL;
}

/* The fixture hunts the mapping and the descriptor afterwards. */
START_TEST(a_segment_released_by_another_thread_goes_when_the_joining_thread_ends)
{
    mproc__segment *copy;
    pthread_t thread;
    pthread_barrier_init(&joined, NULL, 2);
    pthread_barrier_init(&released, NULL, 2);
    make(&segment);
    int fd = fcntl(mproc__segment_fd(segment), F_DUPFD_CLOEXEC, 0);
    ck_assert_int_eq(mproc__segment_attach(fd, MPROC_TYPE_QUEUE, &copy), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, join_and_outlive, NULL), 0);
    pthread_barrier_wait(&joined);
    mproc__segment_release(segment);
    ck_assert(mproc__segment_row_alive(copy, 0));
    pthread_barrier_wait(&released);
    pthread_join(thread, NULL);
    ck_assert(!mproc__segment_row_alive(copy, 0));
    mproc__segment_release(copy);
    pthread_barrier_destroy(&joined);
    pthread_barrier_destroy(&released);
}
END_TEST

static void *hold_both(void *unused)
{
    (void)unused;
    if (mproc__robust_acquire(mproc__segment_root(segment), MPROC_NOW) != 0 ||
        mproc__segment_join(other) != 0)
        _exit(3);
    pthread_barrier_wait(&joined);
    for (;;)
        pause();
}

static int lock_release_die(void *unused)
{
    (void)unused;
    pthread_t thread;
    pthread_barrier_init(&joined, NULL, 2);
    if (pthread_create(&thread, NULL, hold_both, NULL) != 0)
        return 1;
    pthread_barrier_wait(&joined);
    mproc__segment_release(other);
    kill(getpid(), SIGKILL);
    return 2;
}

/* The kernel walks a dead thread's robust mutexes from the latest back and stops where memory is missing. */
START_TEST(releasing_a_segment_does_not_strand_a_lock_taken_before_in_another)
{
    make(&segment);
    make(&other);
    mproc__robust_shared *lock = mproc__segment_root(segment);
    mproc__robust_init(lock, true);
    ck_assert_int_eq(support_reap(support_fork(lock_release_die, NULL), 5000), 256 + SIGKILL);
    ck_assert_int_eq(mproc__robust_acquire(lock, mproc_after_ms(1000)), MPROC_RECOVERED);
    ck_assert_int_eq(mproc__robust_release(lock), 0);
    mproc__segment_release(other);
    mproc__segment_release(segment);
}
END_TEST

/* The word is overwritten while it is on this thread's list, where it must not stay when its memory goes: the next lock,
 * of anything, writes to the one before it. */
START_TEST(a_life_word_overwritten_leaves_the_other_locks_alone)
{
#if MPROC__ROBUST_LIST
    static const uint32_t words[] = {0, 1, FUTEX_OWNER_DIED, FUTEX_WAITERS | 1};
    make(&segment);
    make(&other);
    ck_assert_int_eq(mproc__segment_join(segment), 0);
    void *mapping = segment->mapping;
    size_t size_bytes = segment->mapping_bytes;
    atomic_store(mproc__robust_word(&segment->shared->rows[0].life), words[_i]);
    ck_assert_uint_eq(mproc__segment_sweep(segment), 0); /* who looks is not dead */
    mproc__segment_release(segment);
    ck_assert_ptr_eq(mmap(mapping, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                     mapping);
    ck_assert_int_eq(mproc__segment_join(other), 0);
    mproc__segment_release(other);
    munmap(mapping, size_bytes);
#endif
}
END_TEST

static int child_joins(void *unused)
{
    (void)unused;
    if (mproc__segment_join(segment) != 1)
        return 1;
    if (!mproc__segment_row_alive(segment, 0) || mproc__segment_sweep(segment) != 0)
        return 2;
    mproc__segment_release(segment);
    return 0;
}

START_TEST(a_fork_child_takes_its_own_row_and_leaves_its_parents_alone)
{
    make(&segment);
    ck_assert_int_eq(mproc__segment_join(segment), 0);
    ck_assert_int_eq(support_reap(support_fork(child_joins, NULL), 5000), 0);
    ck_assert(mproc__segment_row_alive(segment, 0));
    ck_assert_int_eq(mproc__segment_row_pid(segment, 1), 0);
    mproc__segment_release(segment);
}
END_TEST

static int child_releases_only(void *unused)
{
    (void)unused;
    mproc__segment_release(segment);
    return 0;
}

START_TEST(a_fork_child_that_only_releases_touches_no_row)
{
    make(&segment);
    ck_assert_int_eq(mproc__segment_join(segment), 0);
    ck_assert_int_eq(support_reap(support_fork(child_releases_only, NULL), 5000), 0);
    ck_assert(mproc__segment_row_alive(segment, 0));
    ck_assert_int_eq(mproc__segment_row_pid(segment, 0), getpid());
    mproc__segment_release(segment);
}
END_TEST

static _Atomic bool stop;

static void *join_and_release_often(void *unused)
{
    (void)unused;
    mproc__segment *mine;
    while (!atomic_load(&stop))
        if (mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "mine", 64, 0, &mine) == 0) {
            mproc__segment_join(mine);
            mproc__segment_release(mine);
        }
    return NULL;
}

START_TEST(a_fork_in_the_middle_of_joins_leaves_the_child_able_to_join)
{
    pthread_t thread;
    make(&segment);
    ck_assert_int_eq(mproc__segment_join(segment), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, join_and_release_often, NULL), 0);
    for (int i = 0; i < 30; i++)
        ck_assert_int_eq(support_reap(support_fork(child_joins, NULL), 5000), 0);
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    mproc__segment_release(segment);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("life");
    TCase *threads = support_case(suite, "threads");
    tcase_add_test(threads, one_process_has_one_row_whichever_threads_use_it);
    tcase_add_test(threads, a_row_handed_back_is_left_by_the_last_release);
    tcase_add_test(threads, a_segment_released_by_another_thread_goes_when_the_joining_thread_ends);
    tcase_add_test(threads, releasing_a_segment_does_not_strand_a_lock_taken_before_in_another);
    tcase_add_loop_test(threads, a_life_word_overwritten_leaves_the_other_locks_alone, 0, 4);
    TCase *forks = support_case(suite, "forks");
    tcase_add_test(forks, a_fork_child_takes_its_own_row_and_leaves_its_parents_alone);
    tcase_add_test(forks, a_fork_child_that_only_releases_touches_no_row);
    tcase_add_test(forks, a_fork_in_the_middle_of_joins_leaves_the_child_able_to_join);
    return support_run(suite, argc, argv);
}
