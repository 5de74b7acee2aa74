/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks whose owners die, or end with their thread. Loop tests run once for each home: 0 host, 1 thread. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lock_common.h"
#include "platform/platform.h"

/* shows: SYNC-36 */
START_TEST(a_killed_owners_lock_goes_to_the_next_who_is_told_once)
{
    lock_make(0, MPROC_WITH(mproc_lock_options, .recursive = _i == 1));
    pid_t victim = support_fork(die_holding, NULL);
    ck_assert_int_eq(support_reap(victim, 5000), 256 + SIGKILL);
    ck_assert(!mproc_lock_is_held(lock));
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_lock_acquire(lock, mproc_after_ms(5000)), MPROC_RECOVERED);
    ck_assert_int_lt(mproc__now_ns() - start, live_ns());
    ck_assert_int_eq(told_pid(), victim);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    lock_drop();
}
END_TEST

static int64_t *killed_at;

static int wait_for_recovery(void *unused)
{
    (void)unused;
    if (mproc_lock_acquire(lock, mproc_after_ms(LONG_MS)) != MPROC_RECOVERED)
        return 1;
    int64_t took = mproc__now_ns() - *killed_at;
    return mproc_lock_release(lock) != 0 ? 2 : took > live_ns() ? 3 : 0;
}

static int hold_until_killed(void *unused)
{
    (void)unused;
    if (mproc_lock_acquire(lock, MPROC_FOREVER) != 0)
        return 1;
    for (;;)
        pause();
}

static bool lock_held(void *unused)
{
    (void)unused;
    return mproc_lock_is_held(lock);
}

START_TEST(a_sleeper_gets_the_lock_as_soon_as_its_owner_is_killed)
{
    killed_at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    lock_make(0, NULL);
    pid_t owner = support_fork(hold_until_killed, NULL);
    ck_assert(support_until(lock_held, NULL, 5000));
    pid_t waiter = support_fork(wait_for_recovery, NULL);
    ck_assert(support_until_asleep(waiter, 5000));
    *killed_at = mproc__now_ns();
    support_kill(owner);
    ck_assert_int_eq(support_reap(waiter, LONG_MS), 0);
    munmap(killed_at, 4096);
    lock_drop();
}
END_TEST

START_TEST(a_thread_that_ends_with_the_lock_leaves_it_to_the_next)
{
    lock_make(_i, NULL);
    ck_assert_int_eq(in_thread(end_holding), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, mproc_after_ms(5000)), MPROC_RECOVERED);
    ck_assert_int_eq(told_pid(), getpid());
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    lock_drop();
}
END_TEST

static pthread_barrier_t holding;

static void *hold_then_end(void *waiter_tid)
{
    if (mproc_lock_acquire(lock, MPROC_NOW) != 0)
        return lock;
    pthread_barrier_wait(&holding);
    while (atomic_load((_Atomic pid_t *)waiter_tid) == 0)
        usleep(100);
    return support_until_asleep(atomic_load((_Atomic pid_t *)waiter_tid), 5000) ? NULL : lock;
}

START_TEST(a_sleeping_thread_gets_the_lock_when_its_owners_thread_ends)
{
    pthread_t thread;
    void *failed;
    _Atomic pid_t tid = 0;
    lock_make(_i, NULL);
    pthread_barrier_init(&holding, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, hold_then_end, &tid), 0);
    pthread_barrier_wait(&holding);
    atomic_store(&tid, mproc__tid());
    ck_assert_int_eq(mproc_lock_acquire(lock, mproc_after_ms(support_ms(LONG_MS))), MPROC_RECOVERED);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    pthread_join(thread, &failed);
    ck_assert_ptr_null(failed);
    pthread_barrier_destroy(&holding);
    lock_drop();
}
END_TEST

static int recovers(void *unused)
{
    (void)unused;
    int code = mproc_lock_acquire(lock, mproc_after_ms(support_ms(5000)));
    return code == MPROC_RECOVERED ? mproc_lock_release(lock) : 1;
}

/* shows: DEATH-3 */
START_TEST(a_dead_owner_is_told_once_or_poisons_the_lock_until_it_is_repaired)
{
    lock_make(0, NULL);
    ck_assert_int_eq(in_child(die_holding), 256 + SIGKILL);
    ck_assert_int_eq(in_child(recovers), 0);
    ck_assert_int_eq(in_child(try_now), 0);
    lock_drop();
    lock_make(0, MPROC_WITH(mproc_lock_options, .poison = true));
    ck_assert_int_eq(mproc_lock_repair(lock), MPROC_ESTATE);
    pid_t victim = support_fork(die_holding, NULL);
    ck_assert_int_eq(support_reap(victim, 5000), 256 + SIGKILL);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(mproc_lock_acquire(lock, mproc_after_ms(5000)), MPROC_EPOISONED);
        ck_assert_int_eq(told_pid(), victim);
        ck_assert(!mproc_lock_is_held(lock));
        ck_assert_int_eq(in_child(try_now), 2);
    }
    ck_assert_int_eq(mproc_lock_repair(lock), 0);
    ck_assert_int_eq(mproc_lock_repair(lock), MPROC_ESTATE);
    ck_assert_int_eq(in_child(try_now), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    lock_drop();
}
END_TEST

static uint64_t token_of_a_hold(void)
{
    uint64_t token = 0;
    ck_assert_int_ge(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_token(lock, &token), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    return token;
}

START_TEST(tokens_grow_with_every_hold_also_over_a_death)
{
    uint64_t token;
    lock_make(0, NULL);
    uint64_t first = token_of_a_hold();
    ck_assert_int_eq(in_child(try_now), 0);
    uint64_t second = token_of_a_hold();
    ck_assert_uint_eq(second, first + 2);
    ck_assert_int_eq(in_child(die_holding), 256 + SIGKILL);
    ck_assert_uint_gt(token_of_a_hold(), second + 1);
    ck_assert_int_eq(mproc_lock_token(lock, &token), -EPERM);
    lock_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lock death");
    TCase *death = support_case(suite, "death");
    tcase_add_loop_test(death, a_killed_owners_lock_goes_to_the_next_who_is_told_once, 0, 2);
    tcase_add_test(death, a_sleeper_gets_the_lock_as_soon_as_its_owner_is_killed);
    tcase_add_loop_test(death, a_thread_that_ends_with_the_lock_leaves_it_to_the_next, 0, 2);
    tcase_add_loop_test(death, a_sleeping_thread_gets_the_lock_when_its_owners_thread_ends, 0, 2);
    tcase_add_test(death, a_dead_owner_is_told_once_or_poisons_the_lock_until_it_is_repaired);
    tcase_add_test(death, tokens_grow_with_every_hold_also_over_a_death);
    return support_run(suite, argc, argv);
}
