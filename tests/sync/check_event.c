/* SPDX-License-Identifier: BSD-2-Clause */
/* Events of the homes thread and host. Loop tests run once for each: 0 host, 1 thread. */
#include "platform/base.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mproc/wait.h>
#include "data/parcel.h"
#include "platform/platform.h"
#include "shm/place.h"
#include "shm/report.h"
#include "support/support.h"
#include "sync/event.h"
#include "sync/nouns.h"

/* What the guarantees call LIVE on a loaded machine, which one that runs tests is; KILLSWEEP holds to the 50 ms. */
enum { LIVE_MS = 250, LONG_MS = 10000 };

static mproc_place *place;
static mproc_event *event;

static void event_make(int home, const mproc_event_options *options)
{
    if (home == 1)
        ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &place), 0);
    ck_assert_int_eq(mproc_event_create(place, options, &event), 0);
}

static void event_drop(void)
{
    mproc_event_close(&event);
    ck_assert_ptr_null(event);
    mproc_place_close(&place);
}

static int64_t since_ms(int64_t start_ns)
{
    return (mproc__now_ns() - start_ns) / 1000000;
}

/* ---- children and threads: they answer by status ---- */

static int in_child(support_fn *fn)
{
    return support_reap(support_fork(fn, NULL), LONG_MS);
}

typedef struct errand {
    support_fn *fn;
    _Atomic pid_t tid;
    int status;
} errand;

static void *errand_run(void *argument)
{
    errand *job = argument;
    atomic_store(&job->tid, mproc__tid());
    job->status = job->fn(NULL);
    return NULL;
}

static int wait_long(void *unused)
{
    (void)unused;
    return mproc_event_wait(event, mproc_after_ms(support_ms(LONG_MS))) == 0 ? 0 : 1;
}

static int wait_now(void *unused)
{
    (void)unused;
    int code = mproc_event_wait(event, MPROC_NOW);
    return code == 0 ? 0 : code == -ETIMEDOUT ? 1 : 2;
}

/* A sleeper in another process (host) or thread. */
typedef struct sleeper {
    bool is_process;
    pid_t pid;
    pthread_t thread;
    errand job;
} sleeper;

static bool has_tid(void *job)
{
    return atomic_load(&((errand *)job)->tid) != 0;
}

static void sleeper_start(int home, sleeper *s)
{
    *s = (sleeper){.is_process = home == 0, .job = {.fn = wait_long, .status = -1}};
    if (s->is_process) {
        s->pid = support_fork(wait_long, NULL);
    } else {
        ck_assert_int_eq(pthread_create(&s->thread, NULL, errand_run, &s->job), 0);
        ck_assert(support_until(has_tid, &s->job, LONG_MS));
        s->pid = atomic_load(&s->job.tid);
    }
    ck_assert(support_until_asleep(s->pid, LONG_MS));
}

static int sleeper_end(sleeper *s)
{
    if (s->is_process)
        return support_reap(s->pid, LONG_MS);
    pthread_join(s->thread, NULL);
    return s->job.status;
}

/* ---- set, clear, wait ---- */

/* shows: SYNC-26 */
START_TEST(an_event_is_unset_at_first_and_set_ends_every_wait)
{
    event_make(_i, NULL);
    ck_assert(!mproc_event_is_set(event));
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_lt(since_ms(start), support_ms(LIVE_MS));
    start = mproc__now_ns();
    ck_assert_int_eq(mproc_event_wait(event, mproc_after_ms(30)), -ETIMEDOUT);
    ck_assert_int_ge(since_ms(start), 30);
    ck_assert_int_lt(since_ms(start), 30 + support_ms(LIVE_MS));
    for (int round = 0; round < 2; round++) {
        for (int again = 0; again < 2; again++) {
            ck_assert_int_eq(mproc_event_set(event), 0);
            ck_assert(mproc_event_is_set(event));
            ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), 0);
            ck_assert_int_eq(mproc_event_wait(event, MPROC_FOREVER), 0);
        }
        for (int again = 0; again < 2; again++) {
            ck_assert_int_eq(mproc_event_clear(event), 0);
            ck_assert(!mproc_event_is_set(event));
            ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), -ETIMEDOUT);
        }
    }
    event_drop();
}
END_TEST

static int set_it(void *unused)
{
    (void)unused;
    return mproc_event_set(event);
}

enum { SLEEPERS = 4 };

/* shows: SYNC-27 */
START_TEST(set_from_another_process_wakes_all_who_wait)
{
    sleeper sleepers[SLEEPERS];
    event_make(0, NULL);
    for (int i = 0; i < SLEEPERS; i++) /* processes, and one thread of this */
        sleeper_start(i == 0, &sleepers[i]);
    ck_assert_int_eq(in_child(set_it), 0);
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert_int_eq(sleeper_end(&sleepers[i]), 0);
    ck_assert_int_eq(in_child(wait_now), 0);
    event_drop();
}
END_TEST

START_TEST(set_and_clear_in_a_row_release_all_who_waited)
{
    sleeper sleepers[SLEEPERS];
    event_make(_i, NULL);
    for (int i = 0; i < SLEEPERS; i++)
        sleeper_start(_i, &sleepers[i]);
    ck_assert_int_eq(mproc_event_set(event), 0);
    ck_assert_int_eq(mproc_event_clear(event), 0);
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert_int_eq(sleeper_end(&sleepers[i]), 0);
    ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), -ETIMEDOUT);
    event_drop();
}
END_TEST

START_TEST(an_event_can_be_set_from_the_start)
{
    event_make(_i, MPROC_WITH(mproc_event_options, .set = true));
    ck_assert(mproc_event_is_set(event));
    ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_event_clear(event), 0);
    ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), -ETIMEDOUT);
    event_drop();
}
END_TEST

/* shows: SYNC-28 */
START_TEST(a_description_tells_set_or_unset)
{
    char text[200];
    event_make(_i, MPROC_WITH(mproc_event_options, .name = "door"));
    mproc_describe(event, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, "event door on "));
    ck_assert_ptr_nonnull(strstr(text, ", not set"));
    ck_assert_int_eq(mproc_event_set(event), 0);
    mproc_describe(event, text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, ", set"));
    event_drop();
}
END_TEST

static mproc_event *back;
enum { TRIPS = 2000 };

static int answer_all(void *unused)
{
    (void)unused;
    for (int i = 0; i < TRIPS; i++)
        if (wait_long(NULL) || mproc_event_clear(event) || mproc_event_set(back))
            return 1;
    return 0;
}

static void ask_all(void)
{
    for (int i = 0; i < TRIPS; i++) {
        ck_assert_int_eq(mproc_event_set(event), 0);
        ck_assert_int_eq(mproc_event_wait(back, mproc_after_ms(support_ms(LONG_MS))), 0);
        ck_assert_int_eq(mproc_event_clear(back), 0);
    }
}

START_TEST(two_sides_take_turns_without_a_lost_wake)
{
    errand job = {.fn = answer_all, .status = -1};
    pthread_t thread;
    pid_t child = 0;
    event_make(_i, NULL);
    ck_assert_int_eq(mproc_event_create(place, NULL, &back), 0);
    if (_i == 0)
        child = support_fork(answer_all, NULL);
    else
        ck_assert_int_eq(pthread_create(&thread, NULL, errand_run, &job), 0);
    ask_all();
    if (_i == 0) {
        ck_assert_int_eq(support_reap(child, LONG_MS), 0);
    } else {
        pthread_join(thread, NULL);
        ck_assert_int_eq(job.status, 0);
    }
    mproc_event_close(&back);
    event_drop();
}
END_TEST

static void interrupt(int number)
{
    (void)number;
}

static int interrupted_wait(void *unused)
{
    (void)unused;
    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGUSR1, &action, NULL);
    int64_t start = mproc__now_ns();
    if (mproc_event_wait(event, mproc_after_ms(150)) != -ETIMEDOUT)
        return 1;
    return since_ms(start) < 150 ? 2 : 0;
}

START_TEST(a_wait_goes_on_after_a_signal_and_keeps_its_deadline)
{
    event_make(0, NULL);
    pid_t child = support_fork(interrupted_wait, NULL);
    ck_assert(support_until_asleep(child, LONG_MS));
    kill(child, SIGUSR1);
    ck_assert_int_eq(support_reap(child, LONG_MS), 0);
    event_drop();
}
END_TEST

/* ---- deaths ---- */

static int sleep_forever(void *unused)
{
    (void)unused;
    return mproc_event_wait(event, MPROC_FOREVER);
}

/* shows: DEATH-1 DEATH-4 */
START_TEST(killed_waiters_hold_up_neither_set_nor_the_others)
{
    sleeper sleepers[SLEEPERS];
    pid_t doomed[SLEEPERS];
    event_make(0, NULL);
    for (int i = 0; i < SLEEPERS; i++) {
        doomed[i] = support_fork(sleep_forever, NULL);
        sleeper_start(0, &sleepers[i]);
        ck_assert(support_until_asleep(doomed[i], LONG_MS));
    }
    for (int i = 0; i < SLEEPERS; i++)
        support_kill(doomed[i]);
    int64_t start = mproc__now_ns();
    ck_assert_int_eq(mproc_event_set(event), 0);
    for (int i = 0; i < SLEEPERS; i++)
        ck_assert_int_eq(sleeper_end(&sleepers[i]), 0);
    ck_assert_int_lt(since_ms(start), support_ms(LIVE_MS));
    event_drop();
}
END_TEST

/* shows: DEATH-11 */
START_TEST(a_stopped_waiter_holds_up_nobody)
{
    sleeper other;
    event_make(0, NULL);
    pid_t stopped = support_fork(wait_long, NULL);
    ck_assert(support_until_asleep(stopped, LONG_MS));
    kill(stopped, SIGSTOP);
    ck_assert_int_eq(waitpid(stopped, NULL, WUNTRACED), stopped);
    sleeper_start(0, &other);
    ck_assert_int_eq(mproc_event_set(event), 0);
    ck_assert_int_eq(mproc_event_clear(event), 0);
    ck_assert_int_eq(sleeper_end(&other), 0);
    kill(stopped, SIGCONT);
    ck_assert_int_eq(support_reap(stopped, LONG_MS), 0); /* it had been released before it was stopped */
    event_drop();
}
END_TEST

static long switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

static int sleeps_through(void *unused)
{
    (void)unused;
    long before = switches();
    if (mproc_event_wait(event, mproc_after_ms(300)) != -ETIMEDOUT)
        return 1;
    return switches() - before > 3 ? 2 : 0;
}

/* shows: IDLE-1 */
START_TEST(a_waiter_is_not_woken_now_and_then)
{
    event_make(0, NULL);
    pid_t other = support_fork(wait_long, NULL);
    ck_assert(support_until_asleep(other, LONG_MS));
    ck_assert_int_eq(in_child(sleeps_through), 0);
    ck_assert_int_eq(mproc_event_set(event), 0);
    ck_assert_int_eq(support_reap(other, LONG_MS), 0);
    event_drop();
}
END_TEST

/* ---- the descriptor ---- */

static bool readable(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, 0) == 1 && (one.revents & POLLIN);
}

static int polls_until_set(void *unused)
{
    (void)unused;
    struct pollfd one = {.fd = mproc_wait_fd(event), .events = POLLIN};
    if (one.fd < 0 || poll(&one, 1, support_ms(LONG_MS)) != 1)
        return 1;
    return mproc_event_wait(event, MPROC_NOW) == 0 ? 0 : 2;
}

/* shows: WAIT-1 */
START_TEST(the_descriptor_is_readable_while_the_event_is_set)
{
    event_make(_i, MPROC_WITH(mproc_event_options, .pollable = true, .set = true));
    int fd = mproc_wait_fd(event);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(mproc_wait_fd(event), fd);
    ck_assert(readable(fd)); /* set before anybody asked */
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(mproc_event_clear(event), 0);
        ck_assert(!readable(fd));
        ck_assert_int_eq(mproc_event_set(event), 0);
        ck_assert_int_eq(mproc_event_set(event), 0);
        ck_assert(readable(fd));
        ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), 0);
        ck_assert(readable(fd)); /* level, not edge */
    }
    event_drop();
}
END_TEST

START_TEST(a_process_that_polls_is_woken_by_another_ones_set)
{
    event_make(0, MPROC_WITH(mproc_event_options, .pollable = true));
    pid_t child = support_fork(polls_until_set, NULL);
    ck_assert(support_until_asleep(child, LONG_MS));
    ck_assert_int_eq(in_child(set_it), 0);
    ck_assert_int_eq(support_reap(child, LONG_MS), 0);
    event_drop();
}
END_TEST

static _Atomic int turning;

static int turn_it(void *unused)
{
    (void)unused;
    while (atomic_load(&turning))
        if (mproc_event_set(event) || mproc_event_clear(event) || wait_now(NULL) == 2)
            return 1;
    return 0;
}

START_TEST(the_descriptor_is_right_at_rest_whoever_set_and_cleared_at_once)
{
    errand jobs[3];
    pthread_t threads[3];
    event_make(0, MPROC_WITH(mproc_event_options, .pollable = true));
    int fd = mproc_wait_fd(event);
    for (int round = 0; round < 30; round++) {
        atomic_store(&turning, 1);
        for (int i = 0; i < 3; i++) {
            jobs[i] = (errand){.fn = turn_it, .status = -1};
            ck_assert_int_eq(pthread_create(&threads[i], NULL, errand_run, &jobs[i]), 0);
        }
        usleep(500);
        ck_assert_int_eq(mproc_event_set(event), 0);
        atomic_store(&turning, 0);
        for (int i = 0; i < 3; i++) {
            pthread_join(threads[i], NULL);
            ck_assert_int_eq(jobs[i].status, 0);
        }
        ck_assert(!mproc_event_is_set(event) || readable(fd));
        ck_assert_int_eq(mproc_event_set(event), 0);
        ck_assert(readable(fd));
    }
    event_drop();
}
END_TEST

static mproc_event *received_copy(mproc_variant *ret_received)
{
    mproc__nouns_register();
    mproc__parcel parcel = {0};
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(event)), 0);
    for (size_t i = 0; i < parcel.fd_count; i++)
        parcel.fds[i] = dup(parcel.fds[i]); /* as a socket would */
    ck_assert_int_eq(mproc__parcel_unpack(&parcel, ret_received), 0);
    mproc__parcel_clear(&parcel, true);
    return mproc_variant_get_handle(*ret_received, MPROC_TYPE_EVENT);
}

START_TEST(an_event_crosses_with_its_descriptor)
{
    mproc_variant received;
    event_make(0, MPROC_WITH(mproc_event_options, .pollable = _i == 1));
    mproc_event *copy = received_copy(&received);
    ck_assert_ptr_nonnull(copy);
    ck_assert_ptr_ne(copy, event);
    int fd = mproc_wait_fd(copy);
    ck_assert_int_eq(fd >= 0, _i == 1);
    ck_assert_int_eq(mproc_event_set(event), 0);
    ck_assert_int_eq(mproc_event_wait(copy, MPROC_NOW), 0);
    ck_assert_int_eq(readable(fd), _i == 1);
    ck_assert_int_eq(mproc_event_clear(event), 0);
    ck_assert(!readable(fd));
    mproc_variant_clear(&received);
    event_drop();
}
END_TEST

START_TEST(a_parcel_without_the_second_descriptor_is_refused)
{
    mproc_variant received;
    mproc__nouns_register();
    event_make(0, MPROC_WITH(mproc_event_options, .pollable = true));
    mproc__parcel parcel = {0};
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(event)), 0);
    ck_assert_uint_eq(parcel.fd_count, 2);
    parcel.fd_count = 1;
    parcel.fds[0] = dup(parcel.fds[0]);
    ck_assert_int_eq(mproc__parcel_unpack(&parcel, &received), MPROC_EPROTOCOL);
    mproc__parcel_clear(&parcel, true);
    event_drop();
}
END_TEST

static _Atomic int *taken;

/* What a drainer does between its two steps. */
static int drain_and_die(void *unused)
{
    (void)unused;
    uint64_t count;
    if (mproc_event_clear(event) != 0) /* takes part */
        return 1;
    if (mproc_event_set(event) != 0 || read(mproc_wait_fd(event), &count, sizeof(count)) != sizeof(count))
        return 2;
    atomic_store(taken, 1);
    kill(getpid(), SIGKILL);
    return 3;
}

START_TEST(what_a_killed_drainer_took_is_made_good_by_set_and_by_asking_again)
{
    event_make(0, MPROC_WITH(mproc_event_options, .pollable = true));
    taken = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int fd = mproc_wait_fd(event);
    for (int i = 0; i < 2; i++) {
        atomic_store(taken, 0);
        ck_assert_int_eq(in_child(drain_and_die), 256 + SIGKILL);
        ck_assert_int_eq(atomic_load(taken), 1);
        ck_assert(!readable(fd));
        ck_assert_int_ge(i == 0 ? mproc_event_set(event) : mproc_wait_fd(event), 0);
        ck_assert(readable(fd));
    }
    munmap(taken, 4096);
    event_drop();
}
END_TEST

/* ---- handles ---- */

static int all_answer_echild(void *unused)
{
    (void)unused;
    if (mproc_event_set(event) != -ECHILD || mproc_event_clear(event) != -ECHILD)
        return 1;
    if (mproc_event_wait(event, MPROC_NOW) != -ECHILD || mproc_wait_fd(event) != -ECHILD)
        return 2;
    mproc_event_close(&event);
    return 0;
}

START_TEST(a_thread_event_answers_echild_in_a_fork_child)
{
    event_make(1, MPROC_WITH(mproc_event_options, .pollable = true));
    ck_assert_int_eq(in_child(all_answer_echild), 0);
    event_drop();
}
END_TEST

START_TEST(a_thread_event_cannot_cross)
{
    event_make(1, NULL);
    mproc__parcel parcel = {0};
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(event)), MPROC_ECANNOTCROSS);
    mproc__parcel_clear(&parcel, false);
    event_drop();
}
END_TEST

static int closes_while_others_wait(void *unused)
{
    (void)unused;
    if (mproc_event_clear(event) != 0)
        return 1;
    mproc_event_close(&event);
    return 0;
}

START_TEST(closing_while_others_wait_leaves_them_waiting)
{
    sleeper other;
    event_make(0, NULL);
    sleeper_start(0, &other);
    ck_assert_int_eq(in_child(closes_while_others_wait), 0);
    ck_assert(support_until_asleep(other.pid, LONG_MS));
    ck_assert_int_eq(mproc_event_set(event), 0);
    ck_assert_int_eq(sleeper_end(&other), 0);
    event_drop();
}
END_TEST

START_TEST(a_named_event_is_found_while_it_exists)
{
    mproc_event *again = NULL;
    event_make(_i, MPROC_WITH(mproc_event_options, .name = "door"));
    ck_assert_int_eq(mproc_event_open(place, "door", &again), 0);
    ck_assert_int_eq(mproc_event_set(again), 0);
    ck_assert(mproc_event_is_set(event));
    mproc_event_close(&again);
    ck_assert_int_eq(mproc_event_create(place, MPROC_WITH(mproc_event_options, .name = "door"), &again),
                     -EEXIST);
    ck_assert_int_eq(
        mproc_event_create(place, MPROC_WITH(mproc_event_options, .name = "door", .and_open = true), &again),
        0);
    ck_assert(mproc_event_is_set(again));
    mproc_event_close(&again);
    ck_assert_int_eq(mproc_event_open(place, "window", &again), -ENOENT);
    ck_assert_ptr_null(again);
    event_drop();
}
END_TEST

START_TEST(no_memory_for_an_event_is_an_error_that_leaves_nothing)
{
    mproc_event *other = NULL;
    event_make(_i, NULL);
    for (unsigned n = 1;; n++) {
        support_fail_allocation(n);
        int code =
            mproc_event_create(place, MPROC_WITH(mproc_event_options, .name = "n", .pollable = true), &other);
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        if (!failed) {
            ck_assert_int_eq(code, 0);
            ck_assert_uint_gt(n, 1);
            break;
        }
        ck_assert_int_eq(code, -ENOMEM);
        ck_assert_ptr_null(other);
    }
    mproc_event_close(&other);
    event_drop();
}
END_TEST

START_TEST(no_descriptor_for_an_event_is_an_error_that_leaves_nothing)
{
    struct rlimit limit, none;
    mproc_event *other = NULL;
    event_make(0, NULL);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int next = dup(0);
    close(next);
    for (int room = 0; room < 2; room++) { /* the segment's, then the second one */
        none = (struct rlimit){.rlim_cur = (rlim_t)(next + room), .rlim_max = limit.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        int code = mproc_event_create(NULL, MPROC_WITH(mproc_event_options, .pollable = true), &other);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ck_assert_int_eq(code, -EMFILE);
        ck_assert_ptr_null(other);
    }
    event_drop();
}
END_TEST

START_TEST(what_is_no_event_is_refused)
{
    mproc_lock *lock;
    mproc_event *none = NULL;
    event_make(_i, NULL);
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    ck_assert_int_eq(mproc_event_set(NULL), -EINVAL);
    ck_assert_int_eq(mproc_event_clear(NULL), -EINVAL);
    ck_assert_int_eq(mproc_event_wait(NULL, MPROC_NOW), -EINVAL);
    ck_assert(!mproc_event_is_set(NULL));
    ck_assert_int_eq(mproc_event_set((mproc_event *)(void *)lock), -EINVAL);
    ck_assert_int_eq(mproc_wait_fd(lock), MPROC_EPLACE);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(lock)), "lock"));
    ck_assert_int_eq(mproc_wait_fd(event), -EINVAL);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(event)), "pollable"));
    ck_assert_int_eq(mproc_wait_fd(NULL), -EINVAL);
    ck_assert_int_eq(mproc_event_create(place, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_event_create((mproc_place *)(void *)lock, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_event_create(place, &(mproc_event_options){.set = true}, &none), -EINVAL);
    ck_assert_int_eq(mproc_event_open(place, NULL, &none), -EINVAL);
    ck_assert_int_eq(mproc_event_open(place, "door", NULL), -EINVAL);
    ck_assert_ptr_null(none);
    mproc_event_close(NULL);
    mproc_event_close(&none);
    mproc_lock_close(&lock);
    event_drop();
}
END_TEST

START_TEST(an_explanation_tells_set_or_unset)
{
    struct mproc__report *report = malloc(sizeof(*report));
    uint64_t root[64] = {0};
    mproc__report_clear(report);
    mproc__event_noun.explain(root, sizeof(root), report);
    ck_assert_str_eq(report->state, "not set");
    mproc__report_clear(report);
    memset(root, 0xff, sizeof(root));
    mproc__event_noun.explain(root, sizeof(root), report);
    ck_assert_str_eq(report->state, "set");
    free(report);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("event");
    TCase *state = support_case(suite, "state");
    tcase_add_loop_test(state, an_event_is_unset_at_first_and_set_ends_every_wait, 0, 2);
    tcase_add_test(state, set_from_another_process_wakes_all_who_wait);
    tcase_add_loop_test(state, set_and_clear_in_a_row_release_all_who_waited, 0, 2);
    tcase_add_loop_test(state, an_event_can_be_set_from_the_start, 0, 2);
    tcase_add_loop_test(state, a_description_tells_set_or_unset, 0, 2);
    tcase_add_loop_test(state, two_sides_take_turns_without_a_lost_wake, 0, 2);
    tcase_add_test(state, a_wait_goes_on_after_a_signal_and_keeps_its_deadline);
    TCase *death = support_case(suite, "death");
    tcase_add_test(death, killed_waiters_hold_up_neither_set_nor_the_others);
    tcase_add_test(death, a_stopped_waiter_holds_up_nobody);
    tcase_add_test(death, a_waiter_is_not_woken_now_and_then);
    TCase *descriptor = support_case(suite, "descriptor");
    tcase_add_loop_test(descriptor, the_descriptor_is_readable_while_the_event_is_set, 0, 2);
    tcase_add_test(descriptor, a_process_that_polls_is_woken_by_another_ones_set);
    tcase_add_test(descriptor, the_descriptor_is_right_at_rest_whoever_set_and_cleared_at_once);
    tcase_add_loop_test(descriptor, an_event_crosses_with_its_descriptor, 0, 2);
    tcase_add_test(descriptor, a_parcel_without_the_second_descriptor_is_refused);
    tcase_add_test(descriptor, what_a_killed_drainer_took_is_made_good_by_set_and_by_asking_again);
    TCase *handle = support_case(suite, "handle");
    tcase_add_test(handle, a_thread_event_answers_echild_in_a_fork_child);
    tcase_add_test(handle, a_thread_event_cannot_cross);
    tcase_add_test(handle, closing_while_others_wait_leaves_them_waiting);
    tcase_add_loop_test(handle, a_named_event_is_found_while_it_exists, 0, 2);
    tcase_add_loop_test(handle, no_memory_for_an_event_is_an_error_that_leaves_nothing, 0, 2);
    tcase_add_test(handle, no_descriptor_for_an_event_is_an_error_that_leaves_nothing);
    tcase_add_loop_test(handle, what_is_no_event_is_refused, 0, 2);
    tcase_add_test(handle, an_explanation_tells_set_or_unset);
    return support_run(suite, argc, argv);
}
