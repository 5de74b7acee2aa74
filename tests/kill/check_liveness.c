/* SPDX-License-Identifier: BSD-2-Clause */
/* Who is dead? The cases of participants.c in which another kernel object than the life word would answer wrongly: closed
 * descriptors (file locks go), unmapped segments (robust lists break), and process numbers that are used again. */
#include "platform/base.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <mproc/sync.h>

#include "platform/platform.h"
#include "shm/segment_inside.h"
#include "support/support.h"

enum { MINE = 0, THEIRS = 1, LIVE_MS = 250, HARD_MS = 5000, NOT_ALLOWED = 77 };

typedef struct scratch {
    _Atomic int step;
    _Atomic unsigned sweeps[4]; /* by row */
    mproc__robust_shared lock;
} scratch;

static mproc__segment *segment;
static scratch *shared;

static int on_sweep(mproc__segment *swept, unsigned row, void *context)
{
    (void)swept;
    (void)context;
    if (row < MPROC__COUNT(shared->sweeps))
        atomic_fetch_add(&shared->sweeps[row], 1);
    return 0;
}

static int make(void)
{
    int code =
        mproc__segment_create(MPROC__HOME_HOST, MPROC_TYPE_QUEUE, "test", sizeof(scratch), 0, &segment);
    if (code < 0)
        return code;
    shared = mproc__segment_root(segment);
    mproc__robust_init(&shared->lock, true);
    mproc__segment_on_sweep(segment, on_sweep, NULL);
    return mproc__segment_join(segment) == MINE ? 0 : -1;
}

static bool stepped(void *unused)
{
    (void)unused;
    return atomic_load(&shared->step) != 0;
}

static int say_and_stay(void)
{
    atomic_store(&shared->step, 1);
    while (pause() != 0) /* ever: it is killed */
        ;
    return 0;
}

static bool row_dead(void *unused)
{
    (void)unused;
    return !mproc__segment_row_alive(segment, THEIRS);
}

/* ---- descriptors: alive, whatever it closes ---- */

static int join_and_close_another(void *unused)
{
    (void)unused;
    int again = dup(mproc__segment_fd(segment));
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", again);
    int opened = open(path, O_RDWR | O_CLOEXEC);
    if (mproc__segment_join(segment) != THEIRS || opened < 0 || close(opened) != 0 || close(again) != 0)
        return 1;
    return say_and_stay();
}

static int join_and_close_all(void *unused)
{
    (void)unused;
    if (mproc__segment_join(segment) != THEIRS || syscall(SYS_close_range, 3u, ~0u, 0u) != 0)
        return 1;
    return say_and_stay();
}

static void is_alive_until_killed(support_fn *fn)
{
    ck_assert_int_eq(make(), 0);
    pid_t child = support_fork(fn, NULL);
    ck_assert(support_until(stepped, NULL, HARD_MS));
    ck_assert(mproc__segment_row_alive(segment, THEIRS));
    ck_assert_uint_eq(mproc__segment_sweep(segment), 0);
    kill(child, SIGKILL);
    ck_assert(support_until(row_dead, NULL, LIVE_MS));
    ck_assert_uint_eq(mproc__segment_sweep(segment), 1);
    ck_assert_uint_eq(shared->sweeps[THEIRS], 1);
    support_reap(child, HARD_MS);
    mproc__segment_release(segment);
}

START_TEST(a_process_that_closed_another_descriptor_of_the_segment_is_alive)
{
    is_alive_until_killed(join_and_close_another);
}
END_TEST

START_TEST(a_process_that_closed_all_its_descriptors_is_alive)
{
    is_alive_until_killed(join_and_close_all);
}
END_TEST

/* ---- the same process number again. In a PID namespace of its own, where root may choose the next number. ---- */

static int choose_next_pid(pid_t pid)
{
    char text[16];
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    int length = snprintf(text, sizeof(text), "%d", (int)pid - 1);
    bool done = fd >= 0 && write(fd, text, (size_t)length) == length;
    if (fd >= 0)
        close(fd);
    return done ? 0 : -1;
}

/* Whether a process that starts now has a start time of its own, later than this one. */
static bool starts_later(void *start)
{
    long hertz = sysconf(_SC_CLK_TCK);
    struct timespec now;
    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0)
        return false;
    uint64_t ticks =
        (uint64_t)now.tv_sec * (uint64_t)hertz + (uint64_t)now.tv_nsec * (uint64_t)hertz / 1000000000;
    return ticks > *(uint64_t *)start;
}

static bool await_later_start(pid_t pid)
{
    uint64_t start = 0, stack = 0;
    return mproc__process_times(pid, &start, &stack) == 0 && support_until(starts_later, &start, HARD_MS);
}

static int join_lock_and_stay(void *unused)
{
    (void)unused;
    if (mproc__segment_join(segment) != THEIRS || mproc__robust_acquire(&shared->lock, MPROC_NOW) != 0)
        return 1;
    return say_and_stay();
}

static void *join_in_thread(void *unused)
{
    (void)unused;
    return mproc__segment_join(segment) == THEIRS ? NULL : segment;
}

static int join_by_a_thread_that_ends(void *unused)
{
    (void)unused;
    pthread_t thread;
    void *failed = segment;
    if (pthread_create(&thread, NULL, join_in_thread, NULL) != 0 || pthread_join(thread, &failed) != 0 ||
        failed)
        return 1;
    return say_and_stay();
}

/* The newcomer: has the dead one's number, is not taken for it and does not take its things for its own. */
static int newcomer_locks(void *unused)
{
    (void)unused;
    int code = mproc__robust_acquire(&shared->lock, MPROC_NOW);
    if (code != MPROC_RECOVERED || mproc__robust_release(&shared->lock) != 0)
        return 1;
    if (mproc__segment_row_alive(segment, THEIRS))
        return 2;
    int row = mproc__segment_join(segment);
    if (row < 0 || !mproc__segment_row_alive(segment, (unsigned)row))
        return 3;
    return say_and_stay();
}

static int newcomer_stays(void *unused)
{
    (void)unused;
    return say_and_stay();
}

static pid_t start(support_fn *fn)
{
    atomic_store(&shared->step, 0);
    pid_t child = support_fork(fn, NULL);
    return support_until(stepped, NULL, HARD_MS) ? child : -1;
}

/* The first lives and dies, the second gets its number. 0: row THEIRS was dead and swept once, and nobody else's was. */
static int number_again(support_fn *first, support_fn *second)
{
    int code = make();
    if (code < 0)
        return 10;
    pid_t dead = start(first);
    if (dead < 0 || !mproc__segment_row_alive(segment, THEIRS))
        return 11;
    if (!await_later_start(dead))
        return 19;
    support_kill(dead);
    if (choose_next_pid(dead) < 0)
        return NOT_ALLOWED;
    pid_t newcomer = start(second);
    if (newcomer != dead)
        return newcomer < 0 ? 12 : NOT_ALLOWED;
    mproc__segment_sweep(segment);
    if (atomic_load(&shared->sweeps[THEIRS]) != 1 || !mproc__segment_row_alive(segment, MINE))
        return 13;
    for (unsigned row = 0; row < mproc__segment_rows(segment); row++)
        if (mproc__segment_row_pid(segment, row) && !mproc__segment_row_alive(segment, row))
            return 14;
    support_kill(newcomer);
    return 0;
}

static int held_number_again(void *unused)
{
    (void)unused;
    return number_again(join_lock_and_stay, newcomer_locks);
}

static int handed_back_number_again(void *unused)
{
    (void)unused;
    return number_again(join_by_a_thread_that_ends, newcomer_stays);
}

/* The first process of a new PID namespace runs fn; its end ends all others of it. */
static int in_own_namespace(void *context)
{
    support_fn **fn = context;
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0)
        return NOT_ALLOWED;
    pid_t first = fork();
    if (first == 0) {
        if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("proc", "/proc", "proc", 0, NULL) != 0)
            _exit(NOT_ALLOWED);
        _exit((*fn)(NULL));
    }
    return support_reap(first, HARD_MS);
}

static void with_number_again(support_fn *fn)
{
    int answer = support_reap(support_fork(in_own_namespace, (void *)&fn), 2 * HARD_MS);
    if (answer == NOT_ALLOWED)
        printf("check_liveness: not tried: a PID namespace in which numbers can be chosen needs root\n");
    else
        ck_assert_int_eq(answer, 0);
}

START_TEST(a_newcomer_with_the_number_of_a_dead_holder_recovers_and_is_not_swept)
{
    with_number_again(held_number_again);
}
END_TEST

START_TEST(a_newcomer_does_not_keep_the_handed_back_row_of_the_dead_alive)
{
    with_number_again(handed_back_number_again);
}
END_TEST

/* ---- two segments: the lock taken last is gone from this process's memory when it dies ---- */

static mproc_lock *first, *last;
static pthread_barrier_t holding;

static void *hold_both(void *unused)
{
    (void)unused;
    if (mproc_lock_acquire(first, MPROC_NOW) != 0 || mproc_lock_acquire(last, MPROC_NOW) != 0)
        _exit(3);
    pthread_barrier_wait(&holding);
    for (;;)
        pause();
}

static int close_the_last_and_die(void *unused)
{
    (void)unused;
    pthread_t thread;
    pthread_barrier_init(&holding, NULL, 2);
    if (pthread_create(&thread, NULL, hold_both, NULL) != 0)
        return 1;
    pthread_barrier_wait(&holding);
    mproc_lock_close(&last);
    kill(getpid(), SIGKILL);
    return 2;
}

/* shows: DEATH-3 */
START_TEST(both_locks_are_recovered_when_the_one_taken_last_was_closed_before_the_death)
{
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &first), 0);
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &last), 0);
    ck_assert_int_eq(support_reap(support_fork(close_the_last_and_die, NULL), HARD_MS), 256 + SIGKILL);
    ck_assert_int_eq(mproc_lock_acquire(first, mproc_after_ms(LIVE_MS)), MPROC_RECOVERED);
    ck_assert_int_eq(mproc_lock_acquire(last, mproc_after_ms(LIVE_MS)), MPROC_RECOVERED);
    ck_assert_int_eq(mproc_lock_release(last), 0);
    ck_assert_int_eq(mproc_lock_release(first), 0);
    ck_assert_int_eq(mproc_lock_acquire(first, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_release(first), 0);
    mproc_lock_close(&first);
    mproc_lock_close(&last);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("liveness");
    TCase *matrix = support_case(suite, "matrix");
    tcase_add_test(matrix, a_process_that_closed_another_descriptor_of_the_segment_is_alive);
    tcase_add_test(matrix, a_process_that_closed_all_its_descriptors_is_alive);
    tcase_add_test(matrix, a_newcomer_with_the_number_of_a_dead_holder_recovers_and_is_not_swept);
    tcase_add_test(matrix, a_newcomer_does_not_keep_the_handed_back_row_of_the_dead_alive);
    tcase_add_test(matrix, both_locks_are_recovered_when_the_one_taken_last_was_closed_before_the_death);
    return support_run(suite, argc, argv);
}
