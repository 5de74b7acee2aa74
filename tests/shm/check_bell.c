/* SPDX-License-Identifier: BSD-2-Clause */
/* Bells over a segment with nothing but a word in it. Loop tests run at home host (0) and thread (1). */
#include "platform/base.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/bell.h"
#include "shm/segment_inside.h"
#include "support/support.h"

enum { LONG_MS = 10000 };

typedef struct thing_shared {
    mproc__bell_shared bell;
    _Atomic uint32_t word;
} thing_shared;

static mproc__segment *segment;
static thing_shared *thing;
static mproc__bell bell;

static void make(int home, bool pollable)
{
    ck_assert_int_eq(mproc__segment_create(home == 0 ? MPROC__HOME_HOST : MPROC__HOME_THREAD,
                                           MPROC_TYPE_EVENT, NULL, sizeof *thing, 0, &segment),
                     0);
    thing = mproc__segment_root(segment);
    thing->bell.pollable = pollable;
    ck_assert_int_eq(mproc__bell_open(&bell, &thing->bell, segment), 0);
}

static void drop(void)
{
    mproc__bell_close(&bell);
    mproc__segment_release(segment);
}

static int bell_fd(void)
{
    bool fresh;
    return mproc__bell_fd(&bell, &fresh);
}

static bool readable(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, 0) == 1;
}

static void ring(void)
{
    atomic_thread_fence(memory_order_seq_cst);
    mproc__bell_ring(&bell);
}

START_TEST(an_edge_lasts_until_it_is_quieted_and_rings_only_when_armed)
{
    bool fresh;
    make(_i, true);
    ck_assert(!mproc__bell_quiet(&bell)); /* nobody polls */
    ring();
    int fd = mproc__bell_fd(&bell, &fresh);
    ck_assert(fd >= 0 && fresh && readable(fd));
    ck_assert_int_eq(mproc__bell_fd(&bell, &fresh), fd);
    ck_assert(!fresh);
    for (int i = 0; i < 3; i++) {
        ck_assert(mproc__bell_quiet(&bell));
        ck_assert(!readable(fd));
        ck_assert_uint_eq(thing->bell.armed, 1);
        ring();
        ck_assert_uint_eq(thing->bell.armed, 0);
        ck_assert(readable(fd) && readable(fd));
    }
    ck_assert(mproc__bell_quiet(&bell));
    mproc__bell_again(&bell);
    ck_assert(readable(fd));
    ck_assert_uint_eq(thing->bell.armed, 1);
    drop();
}
END_TEST

START_TEST(without_the_option_a_bell_is_silent)
{
    make(_i, false);
    ck_assert(!mproc__bell_pollable(&bell));
    ck_assert(!mproc__bell_quiet(&bell));
    ring();
    mproc__bell_ring_now(&bell);
    mproc__bell_again(&bell);
    drop();
}
END_TEST

/* As after close_range(3, ~0), when the program then opens a file of its own. */
START_TEST(a_file_that_has_the_number_of_a_bells_by_now_is_given_to_nobody)
{
    mproc__parcel parcel = {.allow_fds = true};
    make(_i, true);
    ck_assert_int_eq(mproc__bell_pack(&bell, &parcel), 0);
    ck_assert_uint_eq(parcel.fd_count, 1);
    int ours = dup(bell.fd), other = open("/dev/null", O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(dup2(other, bell.fd), bell.fd);
    ck_assert_int_eq(mproc__bell_pack(&bell, &parcel), MPROC_ECANNOTCROSS);
    close(bell.fd);
    ck_assert_int_eq(mproc__bell_pack(&bell, &parcel), MPROC_ECANNOTCROSS);
    ck_assert_uint_eq(parcel.fd_count, 1);
    ck_assert_int_eq(dup2(ours, bell.fd), bell.fd);
    close(ours);
    close(other);
    mproc__parcel_clear(&parcel, false);
    drop();
}
END_TEST

/* ---- others ---- */

static int polls_quiets_and_rings(void *parents_fd)
{
    int fd = bell_fd();
    if (fd < 0 || mproc__segment_join(segment) < 0 || !readable(fd) || !mproc__bell_quiet(&bell) ||
        readable(fd))
        return 1;
    ring();
    if (!readable(fd))
        return 2;
    return mproc__bell_quiet(&bell) && !readable(fd) && *(int *)parents_fd >= 0 ? 0 : 3;
}

START_TEST(each_process_has_edges_of_its_own)
{
    make(0, true);
    int fd = bell_fd();
    ck_assert(mproc__bell_quiet(&bell));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(support_reap(support_fork(polls_quiets_and_rings, &fd), LONG_MS), 0);
        ck_assert(readable(fd));
        ck_assert(mproc__bell_quiet(&bell));
        ck_assert(!readable(fd));
    }
    drop();
}
END_TEST

static int to_parent[2];

static int joins_and_waits(void *unused)
{
    (void)unused;
    if (mproc__segment_join(segment) < 0 || write(to_parent[1], "x", 1) != 1)
        return 1;
    pause();
    return 2;
}

static void await(int count)
{
    char bytes[64];
    ck_assert_int_eq(
        mproc__fd_read_all(to_parent[0], bytes, (size_t)count, mproc_after_ms(support_ms(LONG_MS))), 0);
}

/* Twenty come while we poll, and are heard; each death is heard; those whose rows are gone cost nothing. */
START_TEST(who_joins_is_watched_and_who_dies_is_heard_and_forgotten)
{
    enum { OTHERS = 20 };
    pid_t others[OTHERS];
    make(0, true);
    ck_assert_int_eq(pipe(to_parent), 0);
    struct pollfd one = {.fd = bell_fd(), .events = POLLIN};
    ck_assert(mproc__bell_quiet(&bell));
    for (int i = 0; i < OTHERS; i++)
        others[i] = support_fork(joins_and_waits, NULL);
    await(OTHERS);
    ck_assert(readable(one.fd));
    ck_assert(mproc__bell_quiet(&bell));
    ck_assert(!readable(one.fd));
    for (int i = 0; i < OTHERS; i++) {
        kill(others[i], SIGKILL);
        ck_assert_int_eq(poll(&one, 1, support_ms(LONG_MS)), 1);
        ck_assert(mproc__bell_quiet(&bell));
        ck_assert(!readable(one.fd));
        ck_assert_int_eq(support_reap(others[i], LONG_MS), 256 + SIGKILL);
    }
    drop();
    close(to_parent[0]), close(to_parent[1]);
}
END_TEST

/* One that nobody could get a pidfd for is buried by the next try; until then its death is not heard. */
START_TEST(without_descriptors_left_the_dead_are_buried_by_the_next_try)
{
    struct rlimit limit;
    make(0, true);
    ck_assert_int_eq(pipe(to_parent), 0);
    int fd = bell_fd();
    ck_assert(mproc__bell_quiet(&bell));
    pid_t other = support_fork(joins_and_waits, NULL);
    await(1);
    int first = dup(0);
    close(first);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)first, limit.rlim_max}), 0);
    ck_assert(mproc__bell_quiet(&bell));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    kill(other, SIGKILL);
    ck_assert_int_eq(support_reap(other, LONG_MS), 256 + SIGKILL);
    ck_assert(!readable(fd));
    ck_assert(mproc__bell_quiet(&bell));
    ck_assert_int_eq(mproc__segment_sweep(segment), 0);
    drop();
    close(to_parent[0]), close(to_parent[1]);
}
END_TEST

static int joins_and_loses_its_life_word(void *unused)
{
    (void)unused;
    if (mproc__segment_join(segment) < 0)
        return 1;
    atomic_store(mproc__robust_word(&segment->shared->rows[segment->row].life), (uint32_t)getppid());
    return joins_and_waits(NULL);
}

/* The kernel does not mark a word that says another thread's number, so this row stays. */
START_TEST(one_that_nobody_can_bury_is_heard_once)
{
    make(0, true);
    ck_assert_int_eq(pipe(to_parent), 0);
    struct pollfd one = {.fd = bell_fd(), .events = POLLIN};
    ck_assert(mproc__bell_quiet(&bell));
    pid_t other = support_fork(joins_and_loses_its_life_word, NULL);
    await(1);
    ck_assert(mproc__bell_quiet(&bell));
    ck_assert(!readable(one.fd));
    kill(other, SIGKILL);
    ck_assert_int_eq(poll(&one, 1, support_ms(LONG_MS)), 1);
    ck_assert(mproc__bell_quiet(&bell));
    ck_assert(!readable(one.fd));
    ck_assert_int_eq(mproc__segment_row_pid(segment, 0), other);
    ring();
    ck_assert(readable(one.fd));
    ck_assert_int_eq(support_reap(other, LONG_MS), 256 + SIGKILL);
    drop();
    close(to_parent[0]), close(to_parent[1]);
}
END_TEST

static void *asks(void *argument)
{
    *(int *)argument = bell_fd();
    return NULL;
}

START_TEST(threads_that_ask_at_once_get_one_descriptor)
{
    enum { THREADS = 4 };
    for (int round = 0; round < 50; round++) {
        pthread_t threads[THREADS];
        int fds[THREADS];
        make(_i, true);
        for (int i = 0; i < THREADS; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, asks, &fds[i]), 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < THREADS; i++)
            ck_assert_int_eq(fds[i], fds[0]);
        ck_assert(readable(fds[0]));
        drop();
    }
}
END_TEST

/* One rings for each look of the other that found nothing; no ring is lost. */
enum { TURNS = 3000 };

static void *turns(void *unused)
{
    struct pollfd one = {.fd = bell_fd(), .events = POLLIN};
    (void)unused;
    for (uint32_t seen = 0; seen < TURNS; seen = atomic_load(&thing->word)) {
        if (atomic_load(&thing->word) != seen || !mproc__bell_quiet(&bell))
            continue;
        if (atomic_load(&thing->word) != seen)
            mproc__bell_again(&bell); /* the edge that went may have been the other thread's */
        else if (poll(&one, 1, support_ms(LONG_MS)) != 1)
            return &bell; /* lost */
    }
    return NULL;
}

START_TEST(no_ring_is_lost_between_a_look_and_a_poll)
{
    pthread_t threads[2];
    void *lost[2];
    make(_i, true);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, turns, NULL);
    for (int i = 0; i < TURNS; i++) {
        atomic_fetch_add(&thing->word, 1);
        ring();
        if (i % 16 == 0)
            sched_yield();
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], &lost[i]);
    ck_assert_ptr_null(lost[0]);
    ck_assert_ptr_null(lost[1]);
    drop();
}
END_TEST

START_TEST(without_memory_or_descriptors_there_is_no_bell)
{
    struct rlimit limit;
    make(0, true);
    support_fail_allocation(1);
    ck_assert_int_eq(bell_fd(), -ENOMEM);
    ck_assert(support_allocation_failed());
    int first = dup(0);
    close(first);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)first, limit.rlim_max}), 0);
    ck_assert_int_eq(bell_fd(), -EMFILE);
    mproc__bell other;
    ck_assert_int_eq(mproc__bell_open(&other, &thing->bell, segment), -EMFILE);
    ck_assert(!mproc__bell_pollable(&other));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_ge(bell_fd(), 0);
    drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("bell");
    TCase *edges = support_case(suite, "edges");
    tcase_add_loop_test(edges, an_edge_lasts_until_it_is_quieted_and_rings_only_when_armed, 0, 2);
    tcase_add_loop_test(edges, without_the_option_a_bell_is_silent, 0, 2);
    tcase_add_loop_test(edges, threads_that_ask_at_once_get_one_descriptor, 0, 2);
    tcase_add_loop_test(edges, no_ring_is_lost_between_a_look_and_a_poll, 0, 2);
    tcase_add_loop_test(edges, a_file_that_has_the_number_of_a_bells_by_now_is_given_to_nobody, 0, 2);
    tcase_add_test(edges, without_memory_or_descriptors_there_is_no_bell);
    TCase *others = support_case(suite, "others");
    tcase_add_test(others, each_process_has_edges_of_its_own);
    tcase_add_test(others, who_joins_is_watched_and_who_dies_is_heard_and_forgotten);
    tcase_add_test(others, one_that_nobody_can_bury_is_heard_once);
    tcase_add_test(others, without_descriptors_left_the_dead_are_buried_by_the_next_try);
    return support_run(suite, argc, argv);
}
