/* SPDX-License-Identifier: BSD-2-Clause */
/* The descriptor of a pollable event. Loop tests run once for each home: 0 host, 1 thread. */
#include "platform/base.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
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
    int code = -ETIMEDOUT; /* the setter, when it joins, makes it readable early */
    while (code == -ETIMEDOUT && poll(&one, 1, support_ms(LONG_MS)) == 1)
        code = mproc_event_wait(event, MPROC_NOW);
    return code == 0 ? 0 : 2;
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
    ck_assert_int_eq(mproc_event_clear(event), 0); /* by another handle: the next try here */
    ck_assert_int_eq(mproc_event_wait(copy, MPROC_NOW), -ETIMEDOUT);
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

/* Makes every eventfd of this process a dead end. */
static int deafen(void)
{
    char path[64], what[64];
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC), done = 0;
    for (int fd = 0; fd < 100; fd++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(path, what, sizeof what - 1);
        if (n > 0 && memmem(what, (size_t)n, "[eventfd]", 9) && dup2(null, fd) == fd)
            done++;
    }
    return done;
}

static int to_parent[2], to_child[2];

static int pass(const int *from)
{
    char byte;
    return read(from[0], &byte, 1) == 1 ? 0 : 1;
}

static int tell(const int *to)
{
    return write(to[1], "x", 1) == 1 ? 0 : 1;
}

/* What a setter leaves that is killed between its commit and its write: set, disarmed, nothing written. */
static int set_deafly_and_die(void *unused)
{
    (void)unused;
    if (mproc_event_clear(event) != 0 || tell(to_parent) != 0 || pass(to_child) != 0)
        return 1;
    if (deafen() == 0 || mproc_event_set(event) != 0)
        return 2;
    kill(getpid(), SIGKILL);
    return 3;
}

START_TEST(the_death_of_a_setter_before_its_write_is_heard_by_a_poll)
{
    event_make(0, MPROC_WITH(mproc_event_options, .pollable = true));
    ck_assert(pipe(to_parent) == 0 && pipe(to_child) == 0);
    struct pollfd one = {.fd = mproc_wait_fd(event), .events = POLLIN};
    for (int i = 0; i < 3; i++) {
        pid_t child = support_fork(set_deafly_and_die, NULL);
        ck_assert_int_eq(pass(to_parent), 0);
        ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), -ETIMEDOUT); /* gets to know the new one */
        ck_assert(!readable(one.fd));
        ck_assert_int_eq(tell(to_child), 0);
        ck_assert_int_eq(poll(&one, 1, support_ms(LONG_MS)), 1);
        ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), 0);
        ck_assert_int_eq(mproc_event_clear(event), 0);
        ck_assert_int_eq(support_reap(child, LONG_MS), 256 + SIGKILL);
    }
    event_drop();
    for (int i = 0; i < 2; i++)
        close(to_parent[i]), close(to_child[i]);
}
END_TEST

static int clear_and_poll(void *unused)
{
    (void)unused;
    int fd = mproc_wait_fd(event);
    if (fd < 0 || !readable(fd) || mproc_event_clear(event) != 0)
        return 1;
    return readable(fd) ? 2 : 0;
}

START_TEST(what_one_process_finds_does_not_make_anothers_descriptor_unreadable)
{
    event_make(0, MPROC_WITH(mproc_event_options, .pollable = true));
    int fd = mproc_wait_fd(event);
    ck_assert_int_eq(mproc_event_set(event), 0);
    ck_assert_int_eq(in_child(clear_and_poll), 0);
    ck_assert(readable(fd));
    ck_assert_int_eq(mproc_event_wait(event, MPROC_NOW), -ETIMEDOUT);
    ck_assert(!readable(fd));
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
    tcase_add_test(descriptor, the_death_of_a_setter_before_its_write_is_heard_by_a_poll);
    tcase_add_test(descriptor, what_one_process_finds_does_not_make_anothers_descriptor_unreadable);
    return support_run(suite, argc, argv);
}
