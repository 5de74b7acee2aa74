/* SPDX-License-Identifier: BSD-2-Clause */
/* The descriptor of a pollable event. Loop tests run once for each home: 0 host, 1 thread. */
#include "platform/base.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mproc/wait.h>
#include "data/parcel.h"
#include "event_common.h"
#include "sync/nouns.h"

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

int main(int argc, char **argv)
{
    Suite *suite = suite_create("event poll");
    TCase *descriptor = support_case(suite, "descriptor");
    tcase_add_loop_test(descriptor, the_descriptor_is_readable_while_the_event_is_set, 0, 2);
    tcase_add_test(descriptor, a_process_that_polls_is_woken_by_another_ones_set);
    tcase_add_test(descriptor, the_descriptor_is_right_at_rest_whoever_set_and_cleared_at_once);
    tcase_add_loop_test(descriptor, an_event_crosses_with_its_descriptor, 0, 2);
    tcase_add_test(descriptor, a_parcel_without_the_second_descriptor_is_refused);
    tcase_add_test(descriptor, what_a_killed_drainer_took_is_made_good_by_set_and_by_asking_again);
    return support_run(suite, argc, argv);
}
