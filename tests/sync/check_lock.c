/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks of the homes thread and host. Loop tests run once for each: 0 host, 1 thread. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/parcel.h"
#include "platform/platform.h"
#include "shm/place.h"
#include "support/support.h"
#include "sync/lock.h"
#include "sync/nouns.h"

/* What the guarantees call LIVE on a loaded machine, which one that runs tests is; KILLSWEEP holds to the 50 ms. */
enum { LIVE_MS = 250 };

static mproc_place *place;
static mproc_lock *lock;

static void lock_make(int home, const mproc_lock_options *options)
{
    if (home == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    ck_assert_int_eq(mproc_lock_create(place, options, &lock), 0);
}

static void lock_drop(void)
{
    mproc_lock_close(&lock);
    ck_assert_ptr_null(lock);
    mproc_place_close(&place);
}

static int64_t told_pid(void)
{
    int64_t pid = -1;
    const mproc_error *story = mproc_error_of(lock);
    return story && mproc_error_number(story, MPROC_ERROR_PID, &pid) == 0 ? pid : -1;
}

/* ---- children and threads: they answer by status ---- */

static int try_now(void *unused)
{
    (void)unused;
    int code = mproc_lock_acquire(lock, MPROC_NOW);
    if (code == 0)
        code = mproc_lock_release(lock);
    return code == -ETIMEDOUT ? 1 : code == 0 ? 0 : 2;
}

static int in_child(support_fn *fn)
{
    return support_reap(support_fork(fn, NULL), 10000);
}

typedef struct errand {
    support_fn *fn;
    int status;
} errand;

static void *job_run(void *argument)
{
    errand *job = argument;
    job->status = job->fn(NULL);
    return NULL;
}

static int in_thread(support_fn *fn)
{
    errand job = {fn, -1};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, job_run, &job), 0);
    pthread_join(thread, NULL);
    return job.status;
}

/* Another process for a host lock, another thread for the rest. */
static int elsewhere(int home, support_fn *fn)
{
    return home == 0 ? in_child(fn) : in_thread(fn);
}

static int die_holding(void *unused)
{
    (void)unused;
    if (mproc_lock_acquire(lock, MPROC_FOREVER) < 0)
        return 1;
    kill(getpid(), SIGKILL);
    return 2;
}

static int end_holding(void *unused)
{
    (void)unused;
    return mproc_lock_acquire(lock, MPROC_FOREVER);
}

/* ---- tests ---- */

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
        ck_assert_int_eq(pthread_create(&threads[i], NULL, job_run, &jobs[i]), 0);
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
    if (mproc_lock_acquire(lock, mproc_after_ms(-5)) != -ETIMEDOUT ||
        mproc__now_ns() - start > (int64_t)support_ms(LIVE_MS) * 1000000)
        return 1;
    start = mproc__now_ns();
    if (mproc_lock_acquire(lock, mproc_after_ms(30)) != -ETIMEDOUT)
        return 2;
    int64_t took = mproc__now_ns() - start;
    return took < 30000000 ? 3 : took > 30000000 + (int64_t)support_ms(LIVE_MS) * 1000000 ? 4 : 0;
}

/* shows: SYNC-05 TIME-1 */
START_TEST(a_timed_acquire_ends_at_its_deadline)
{
    lock_make(_i % 2, MPROC_WITH(mproc_lock_options, .recursive = _i >= 2));
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_FOREVER), 0);
    ck_assert_int_eq(elsewhere(_i % 2, times_out), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
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

/* shows: SYNC-36 DEATH-1 DEATH-3 */
START_TEST(a_killed_owners_lock_goes_to_the_next_who_is_told_once)
{
    lock_make(0, MPROC_WITH(mproc_lock_options, .recursive = _i == 1));
    pid_t victim = support_fork(die_holding, NULL);
    ck_assert_int_eq(support_reap(victim, 5000), 256 + SIGKILL);
    ck_assert(!mproc_lock_is_held(lock));
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_lock_acquire(lock, mproc_after_ms(5000)), MPROC_RECOVERED);
    ck_assert_int_lt(mproc__now_ns() - start, (int64_t)support_ms(LIVE_MS) * 1000000);
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
    if (mproc_lock_acquire(lock, mproc_after_ms(10000)) != MPROC_RECOVERED)
        return 1;
    int64_t took = mproc__now_ns() - *killed_at;
    return mproc_lock_release(lock) != 0 ? 2 : took > (int64_t)support_ms(LIVE_MS) * 1000000 ? 3 : 0;
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

/* shows: DEATH-1 DEATH-3 */
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
    ck_assert_int_eq(support_reap(waiter, 10000), 0);
    munmap(killed_at, 4096);
    lock_drop();
}
END_TEST

/* shows: DEATH-3 */
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

/* shows: DEATH-3 */
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
    ck_assert_int_eq(mproc_lock_acquire(lock, mproc_after_ms(support_ms(10000))), MPROC_RECOVERED);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    pthread_join(thread, &failed);
    ck_assert_ptr_null(failed);
    pthread_barrier_destroy(&holding);
    lock_drop();
}
END_TEST

/* shows: DEATH-3 */
START_TEST(a_poisoned_lock_fails_for_all_until_it_is_repaired)
{
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

static int all_answer_child(void *unused)
{
    (void)unused;
    uint64_t token;
    if (mproc_lock_acquire(lock, MPROC_NOW) != -ECHILD || mproc_lock_release(lock) != -ECHILD)
        return 1;
    return mproc_lock_repair(lock) == -ECHILD && mproc_lock_token(lock, &token) == -ECHILD ? 0 : 2;
}

START_TEST(a_thread_lock_answers_echild_in_a_fork_child)
{
    lock_make(1, NULL);
    ck_assert_int_eq(in_child(all_answer_child), 0);
    lock_drop();
}
END_TEST

START_TEST(closing_a_held_lock_releases_it)
{
    mproc_lock *copy;
    lock_make(0, MPROC_WITH(mproc_lock_options, .recursive = true));
    mproc__nouns_register();
    mproc_variant list = mproc_null(), received;
    ck_assert_int_eq(mproc_variant_append(&list, mproc_handle(lock)), 0);
    mproc__parcel parcel = {0};
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, list), 0);
    ck_assert_uint_eq(parcel.fd_count, 1);
    parcel.fds[0] = dup(parcel.fds[0]); /* as a socket would */
    ck_assert_int_eq(mproc__parcel_unpack(&parcel, &received), 0);
    copy = mproc_variant_get_handle(mproc_variant_at(received, 0), MPROC_TYPE_LOCK);
    ck_assert_ptr_nonnull(copy);
    ck_assert_ptr_ne(copy, lock);
    ck_assert_int_eq(mproc_lock_acquire(copy, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_acquire(copy, MPROC_NOW), 0);
    ck_assert_int_eq(in_child(try_now), 1);
    mproc_variant_clear(&received);
    ck_assert_int_eq(in_child(try_now), 0);
    mproc_variant_clear(&list);
    mproc__parcel_clear(&parcel, true);
    lock_drop();
}
END_TEST

START_TEST(a_thread_lock_cannot_cross)
{
    lock_make(1, NULL);
    mproc__parcel parcel = {0};
    mproc_variant item = mproc_handle(lock);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_items(&item, 1)), MPROC_ECANNOTCROSS);
    mproc__parcel_clear(&parcel, false);
    lock_drop();
}
END_TEST

START_TEST(a_named_lock_is_found_while_it_exists)
{
    mproc_lock *again, *same;
    lock_make(_i, MPROC_WITH(mproc_lock_options, .name = "door"));
    ck_assert_int_eq(mproc_lock_open(place, "door", &again), 0);
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert(mproc_lock_is_held(again));
    ck_assert_int_eq(mproc_lock_release(again), 0);
    ck_assert_int_eq(mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = "door"), &same),
                     -EEXIST);
    ck_assert_int_eq(
        mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = "door", .and_open = true), &same), 0);
    ck_assert_int_eq(mproc_lock_open(place, "window", &again), -ENOENT);
    mproc_lock_close(&same);
    mproc_lock_close(&again);
    mproc_lock_close(&lock);
    ck_assert_int_eq(mproc_lock_open(place, "door", &again), -ENOENT);
    mproc_place_close(&place);
}
END_TEST

/* shows: SYNC-37 */
START_TEST(very_many_locks_end_in_a_clean_error)
{
    mproc_lock *locks[64];
    struct rlimit old, few;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = (struct rlimit){32, old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    int count = 0, code = 0;
    while (count < 64 && (code = mproc_lock_create(NULL, NULL, &locks[count])) == 0)
        count++;
    ck_assert_int_eq(code, -EMFILE);
    ck_assert_int_gt(count, 4);
    while (count > 0)
        mproc_lock_close(&locks[--count]);
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &locks[0]), 0);
    mproc_lock_close(&locks[0]);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
}
END_TEST

START_TEST(no_memory_for_a_lock_is_an_error_that_leaves_nothing)
{
    if (_i == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    for (unsigned n = 1;; n++) {
        support_fail_allocation(n);
        int code = mproc_lock_create(place, MPROC_WITH(mproc_lock_options, .name = "x"), &lock);
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        if (!failed) {
            ck_assert_int_eq(code, 0);
            ck_assert_uint_gt(n, 3);
            break;
        }
        ck_assert_int_eq(code, -ENOMEM);
    }
    ck_assert_int_eq(mproc_lock_acquire(lock, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_lock_release(lock), 0);
    lock_drop();
}
END_TEST

START_TEST(what_is_no_lock_is_refused)
{
    mproc_lock *none = NULL;
    ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    ck_assert_int_eq(mproc_lock_acquire(none, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_lock_acquire((mproc_lock *)(void *)place, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_lock_release(none), -EINVAL);
    ck_assert(!mproc_lock_is_held(none));
    ck_assert_int_eq(mproc_lock_create((mproc_place *)(void *)"no place at all", NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_lock_create(NULL, &(mproc_lock_options){.size = 4}, &none), -EINVAL);
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_lock_open(NULL, "x", NULL), -EINVAL);
    mproc_lock_close(&none);
    mproc_place_close(&place);
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
    tcase_add_loop_test(basic, a_recursive_lock_needs_as_many_releases_and_belongs_to_its_thread, 0, 2);
    tcase_add_loop_test(basic, a_child_forked_while_the_lock_is_held_is_not_its_owner, 0, 2);
    tcase_add_loop_test(basic, a_scope_releases_on_every_way_out, 0, 2);
    tcase_add_loop_test(basic, a_description_says_who_holds_it, 0, 2);
    TCase *death = support_case(suite, "death");
    tcase_add_loop_test(death, a_killed_owners_lock_goes_to_the_next_who_is_told_once, 0, 2);
    tcase_add_test(death, a_sleeper_gets_the_lock_as_soon_as_its_owner_is_killed);
    tcase_add_loop_test(death, a_thread_that_ends_with_the_lock_leaves_it_to_the_next, 0, 2);
    tcase_add_loop_test(death, a_sleeping_thread_gets_the_lock_when_its_owners_thread_ends, 0, 2);
    tcase_add_test(death, a_poisoned_lock_fails_for_all_until_it_is_repaired);
    tcase_add_test(death, tokens_grow_with_every_hold_also_over_a_death);
    TCase *handle = support_case(suite, "handle");
    tcase_add_test(handle, a_thread_lock_answers_echild_in_a_fork_child);
    tcase_add_test(handle, closing_a_held_lock_releases_it);
    tcase_add_test(handle, a_thread_lock_cannot_cross);
    tcase_add_loop_test(handle, a_named_lock_is_found_while_it_exists, 0, 2);
    tcase_add_test(handle, very_many_locks_end_in_a_clean_error);
    tcase_add_loop_test(handle, no_memory_for_a_lock_is_an_error_that_leaves_nothing, 0, 2);
    tcase_add_test(handle, what_is_no_lock_is_refused);
    return support_run(suite, argc, argv);
}
