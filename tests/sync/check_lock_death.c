/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks whose owners die, or end with their thread. Loop tests run once for each home: 0 host, 1 thread. */
#include "platform/base.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lock_common.h"
#include "platform/platform.h"
#include "platform/robust.h"
#include "sync/lock_inside.h"

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

static _Atomic int *hogging;
static int hog_cpu;

static void stay_on(int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
}

/* The first or the last CPU that this program may use. */
static int one_cpu(bool last)
{
    cpu_set_t allowed;
    int found = -1;
    ck_assert_int_eq(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE && (found < 0 || last); cpu++)
        found = CPU_ISSET(cpu, &allowed) ? cpu : found;
    return found;
}

static int wait_beside_the_hog(void *unused)
{
    stay_on(hog_cpu);
    return end_holding(unused);
}

/* Has that CPU before all ordinary threads. Without the right to it takes its share, and the test shows less. */
static int hog(void *unused)
{
    (void)unused;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    stay_on(hog_cpu);
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
    int64_t end_ns = mproc__now_ns() + INT64_C(400000000);
    atomic_store(hogging, 1);
    while (atomic_load(hogging) == 1 && mproc__now_ns() < end_ns)
        ;
    return 0;
}

static bool hog_runs(void *unused)
{
    (void)unused;
    return atomic_load(hogging) == 1;
}

static int wait_and_say_when(void *unused)
{
    (void)unused;
    int code = mproc_lock_acquire(lock, MPROC_FOREVER);
    *killed_at = mproc__now_ns();
    return code == 0 ? mproc_lock_release(lock) : 1;
}

/* The first in the kernel's row is killed, and dies only when it gets a CPU: the wake of a release goes to it. The lock
 * is taken again meanwhile: at the late death, the kernel then sees no reason to hand the wake on. */
START_TEST(a_sleeper_that_dies_late_takes_no_wake_with_it)
{
    killed_at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    hogging = (_Atomic int *)(killed_at + 1);
    hog_cpu = one_cpu(true);
    stay_on(one_cpu(false));
    lock_make(0, MPROC_WITH(mproc_lock_options, .recursive = _i == 1));
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    pid_t doomed = support_fork(wait_beside_the_hog, NULL);
    ck_assert(support_until_asleep(doomed, LONG_MS));
    pid_t waiter = support_fork(wait_and_say_when, NULL);
    ck_assert(support_until_asleep(waiter, LONG_MS));
    pid_t busy = hog_cpu == one_cpu(false) ? 0 : support_fork(hog, NULL);
    ck_assert(busy == 0 || support_until(hog_runs, NULL, LONG_MS));
    kill(doomed, SIGKILL);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    atomic_store(hogging, 2);
    ck_assert_int_eq(support_reap(doomed, LONG_MS), 256 + SIGKILL);
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    int status = support_reap(waiter, LONG_MS);
    ck_assert_int_eq(status, 0);
    /* Where libc does it all there is no note for the next owner: the waiter's own look, half a second into its wait. */
    ck_assert_int_lt(*killed_at - start, live_ns() + (MPROC__ROBUST_LIST ? 0 : 500000000));
    ck_assert(busy == 0 || support_reap(busy, LONG_MS) == 0);
    munmap(killed_at, 4096);
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

static mproc__lock_shared *shared_now(void)
{
    return mproc__lock_local_of(lock)->shared;
}

static int repair_finds_it_repaired(void *unused)
{
    (void)unused;
    return mproc_lock_repair(lock) == MPROC_ESTATE ? 0 : 1;
}

/* Holds it as after somebody else's repair, once the parent has seen that a second repairer waits for it. */
static int hold_repaired_and_die(void *unused)
{
    (void)unused;
    mproc__lock_shared *shared = shared_now();
    if (mproc__robust_acquire(&shared->robust, MPROC_NOW) != 0)
        return 1;
    raise(SIGSTOP);
    atomic_store(&shared->owner, (uint64_t)getpid() | (uint64_t)mproc__tid() << 32);
    atomic_store(&shared->poisoned, 0);
    kill(getpid(), SIGKILL);
    return 2;
}

/* Two repair at once, and a third one acquires in between: here this thread does what the first and the third do. */
START_TEST(a_repairer_that_came_second_waits_for_no_hold)
{
    lock_make(0, MPROC_WITH(mproc_lock_options, .poison = true));
    ck_assert_int_eq(in_child(die_holding), 256 + SIGKILL);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), MPROC_EPOISONED);
    ck_assert_int_eq(mproc__robust_acquire(&shared_now()->robust, MPROC_NOW), 0);
    pid_t second = support_fork(repair_finds_it_repaired, NULL);
    ck_assert(support_until_asleep(second, 5000));
    atomic_store(&shared_now()->poisoned, 0);
    ck_assert_int_eq(support_reap(second, LONG_MS), 0);
    ck_assert_int_eq(mproc__robust_release(&shared_now()->robust), 0);
    ck_assert_int_eq(in_child(try_now), 0);
    lock_drop();
}
END_TEST

static bool is_stopped(void *pid)
{
    int status;
    return waitpid(*(pid_t *)pid, &status, WNOHANG | WUNTRACED) > 0 && WIFSTOPPED(status);
}

START_TEST(a_death_after_a_repair_is_told_though_a_second_repairer_saw_it_first)
{
    lock_make(0, MPROC_WITH(mproc_lock_options, .poison = true));
    ck_assert_int_eq(in_child(die_holding), 256 + SIGKILL);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), MPROC_EPOISONED);
    pid_t victim = support_fork(hold_repaired_and_die, NULL);
    ck_assert(support_until(is_stopped, &victim, 5000));
    pid_t second = support_fork(repair_finds_it_repaired, NULL);
    ck_assert(support_until_asleep(second, 5000));
    kill(victim, SIGCONT);
    ck_assert_int_eq(support_reap(victim, 5000), 256 + SIGKILL);
    ck_assert_int_eq(support_reap(second, LONG_MS), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, mproc_after_ms(5000)), MPROC_EPOISONED);
    ck_assert_int_eq(told_pid(), victim);
    ck_assert_int_eq(mproc_lock_repair(lock), 0);
    ck_assert_int_eq(in_child(try_now), 0);
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
    tcase_add_loop_test(death, a_sleeper_that_dies_late_takes_no_wake_with_it, 0, 2);
    tcase_add_test(death, a_dead_owner_is_told_once_or_poisons_the_lock_until_it_is_repaired);
    tcase_add_test(death, a_repairer_that_came_second_waits_for_no_hold);
    tcase_add_test(death, a_death_after_a_repair_is_told_though_a_second_repairer_saw_it_first);
    tcase_add_test(death, tokens_grow_with_every_hold_also_over_a_death);
    return support_run(suite, argc, argv);
}
