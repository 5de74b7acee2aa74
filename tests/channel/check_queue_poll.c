/* SPDX-License-Identifier: BSD-2-Clause */
/* The descriptor of a pollable queue, and mproc_wait on it. */
#include "platform/base.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <mproc/error.h>
#include <mproc/wait.h>
#include "channel/queue_common.h"
#include "support/support.h"

enum { LONG_MS = 10000 };

static mproc_queue *queue;

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LONG_MS));
}

static bool readable(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, 0) == 1;
}

static int wait_for(mproc_deadline deadline)
{
    mproc_wait_item item = {.handle = queue};
    return mproc_wait(&item, 1, MPROC_WAIT_ANY, deadline, NULL);
}

static int put(int number)
{
    return mproc_queue_put(queue, &number, sizeof number, soon());
}

static int get(mproc_deadline deadline)
{
    int number = -1000;
    int rc = mproc_queue_get(queue, &number, sizeof number, deadline, NULL);
    return rc < 0 ? rc : number;
}

static void make(mproc__home home, const mproc_queue_options *options)
{
    queue = queue_make(home, options);
    ck_assert_ptr_nonnull(queue);
}

static int in_child(support_fn *fn)
{
    return support_reap(support_fork(fn, NULL), LONG_MS);
}

/* ---- level triggered ---- */

static const mproc_queue_options kinds[] = {
    {.size = sizeof kinds[0], .pollable = true},
    {.size = sizeof kinds[0], .pollable = true, .redeliver = true},
    {.size = sizeof kinds[0], .pollable = true, .order = MPROC_ORDER_LIFO},
    {.size = sizeof kinds[0], .pollable = true, .order = MPROC_ORDER_PRIORITY},
    {.size = sizeof kinds[0], .pollable = true, .exclusive = MPROC_ROLE_READ},
};

/* Loop: kinds at home host, then at home thread. */
START_TEST(the_descriptor_is_readable_until_a_get_finds_nothing)
{
    enum { KINDS = MPROC__COUNT(kinds) };
    make(_i < KINDS ? MPROC__HOME_HOST : MPROC__HOME_THREAD, &kinds[_i % KINDS]);
    int fd = mproc_wait_fd(queue);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(mproc_wait_fd(queue), fd);
    ck_assert(!readable(fd));
    for (int i = 0; i < 3; i++) {
        ck_assert(put(7) == 0 && put(7) == 0);
        ck_assert(readable(fd));
        ck_assert_int_eq(wait_for(MPROC_NOW), 0);
        ck_assert_int_eq(get(MPROC_NOW), 7);
        ck_assert(readable(fd));
        ck_assert_int_eq(wait_for(MPROC_NOW), 0);
        ck_assert_int_eq(get(MPROC_NOW), 7);
        ck_assert_int_eq(i == 0 ? wait_for(MPROC_NOW) : get(MPROC_NOW), -ETIMEDOUT);
        ck_assert(!readable(fd));
    }
    ck_assert_int_eq(mproc_queue_shutdown(queue, false), 0);
    ck_assert(readable(fd));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(get(MPROC_NOW), MPROC_EEND);
        ck_assert(readable(fd));
        ck_assert_int_eq(wait_for(MPROC_NOW), 0);
    }
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(every_way_to_put_and_to_get_is_told_of)
{
    int items[3] = {1, 2, 3};
    size_t count;
    mproc_variant item;
    mproc_loan loan = MPROC_LOAN_INIT;
    make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .pollable = true));
    int fd = mproc_wait_fd(queue);
    ck_assert_int_eq(mproc_queue_put_many(queue, items, sizeof(int), 3, soon(), &count), 0);
    ck_assert(readable(fd));
    ck_assert_int_eq(mproc_queue_get_many(queue, items, sizeof(int), 3, MPROC_NOW, &count), 0);
    ck_assert_uint_eq(count, 3);
    ck_assert_int_eq(mproc_queue_get_many(queue, items, sizeof(int), 3, MPROC_NOW, &count), -ETIMEDOUT);
    ck_assert(!readable(fd));
    ck_assert_int_eq(mproc_queue_put_variant(queue, mproc_text("x"), soon()), 0);
    ck_assert(readable(fd));
    ck_assert_int_eq(mproc_queue_get_variant(queue, MPROC_NOW, &item), 0);
    mproc_variant_clear(&item);
    ck_assert_int_eq(mproc_queue_get_variant(queue, MPROC_NOW, &item), -ETIMEDOUT);
    ck_assert(!readable(fd));
    ck_assert_int_eq(mproc_queue_reserve(queue, 100000, soon(), &loan), 0);
    ck_assert(!readable(fd));
    ck_assert_int_eq(mproc_queue_commit(queue, &loan), 0);
    ck_assert(readable(fd));
    ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loan), 0);
    ck_assert_int_eq(get(MPROC_NOW), -ETIMEDOUT);
    ck_assert(!readable(fd));
    ck_assert_int_eq(mproc_queue_give_back(queue, &loan), 0);
    ck_assert(readable(fd));
    ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loan), 0);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loan), -ETIMEDOUT);
    ck_assert(!readable(fd));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_put_pays_for_pollers_only_when_one_may_sleep)
{
    make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .pollable = true));
    mproc__queue_shared *shared = queue->shared;
    ck_assert_int_eq(put(1), 0);
    ck_assert_uint_eq(shared->items.word, 0);
    ck_assert_int_eq(get(MPROC_NOW), 1);
    ck_assert_int_eq(get(MPROC_NOW), -ETIMEDOUT);
    ck_assert_uint_eq(shared->items.word, 0); /* nobody has asked for the descriptor */
    ck_assert_int_ge(mproc_wait_fd(queue), 0);
    ck_assert_uint_eq(shared->items.word & 1, 1);
    ck_assert_int_eq(put(2), 0);
    uint32_t word = shared->items.word;
    ck_assert(word % 2 == 0 && shared->bell.armed == 0);
    ck_assert_int_eq(put(3), 0);
    ck_assert_uint_eq(shared->items.word, word); /* told already */
    mproc_queue_close(&queue);
}
END_TEST

/* ---- between processes ---- */

static int polls_for_seven(void *unused)
{
    (void)unused;
    struct pollfd one = {.fd = mproc_wait_fd(queue), .events = POLLIN};
    int number = -ETIMEDOUT;
    while (number == -ETIMEDOUT && poll(&one, 1, support_ms(LONG_MS)) == 1)
        number = get(MPROC_NOW);
    return number == 7 ? 0 : 1;
}

static int puts_seven(void *unused)
{
    (void)unused;
    return put(7) != 0;
}

START_TEST(who_polls_in_another_process_is_woken_by_a_put)
{
    make(MPROC__HOME_HOST, &kinds[_i]);
    pid_t child = support_fork(polls_for_seven, NULL);
    ck_assert(support_until_asleep(child, LONG_MS));
    ck_assert_int_eq(in_child(puts_seven), 0);
    ck_assert_int_eq(support_reap(child, LONG_MS), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* The descriptor in a fork child is its own: what it finds or clears is no business of its parent's. */
static int polls_on_its_own(void *unused)
{
    (void)unused;
    int fd = mproc_wait_fd(queue);
    if (fd < 0 || !readable(fd) || get(MPROC_NOW) != 7 || get(MPROC_NOW) != -ETIMEDOUT)
        return 1;
    return readable(fd) ? 2 : 0;
}

START_TEST(a_fork_child_does_not_make_its_parents_descriptor_unreadable)
{
    make(MPROC__HOME_HOST, &kinds[0]);
    int fd = mproc_wait_fd(queue);
    ck_assert_int_eq(put(7), 0);
    ck_assert_int_eq(in_child(polls_on_its_own), 0);
    ck_assert(readable(fd));
    ck_assert_int_eq(get(MPROC_NOW), -ETIMEDOUT);
    ck_assert(!readable(fd));
    ck_assert_int_eq(in_child(puts_seven), 0);
    ck_assert(readable(fd));
    mproc_queue_close(&queue);
}
END_TEST

/* Each of two waiters takes what it finds; two putters put, and pause at times so that the waiters get to sleep. */
enum { EACH = 4000 };

static int puts_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < EACH; i++) {
        if (put(1) != 0)
            return 1;
        if (i % 64 == 0)
            usleep(200);
    }
    return 0;
}

typedef struct tally {
    _Atomic int got;
} tally;

static void *takes_many(void *argument)
{
    tally *it = argument;
    int rc = 0;
    while (rc >= 0 && it->got < 2 * EACH) {
        rc = wait_for(soon());
        while (rc >= 0 && (rc = get(MPROC_NOW)) == 1)
            if (++it->got == 2 * EACH)
                rc = mproc_queue_shutdown(queue, false);
        rc = rc == -ETIMEDOUT ? 0 : rc;
    }
    return NULL;
}

START_TEST(nothing_is_missed_by_two_who_wait_while_two_processes_put)
{
    tally it = {0};
    pthread_t threads[2];
    make(MPROC__HOME_HOST, &kinds[0]);
    pid_t children[] = {support_fork(puts_many, NULL), support_fork(puts_many, NULL)};
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, takes_many, &it);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(support_reap(children[i], LONG_MS), 0);
    }
    ck_assert_int_eq(it.got, 2 * EACH);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- deaths ---- */

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

static void gates(bool open)
{
    if (open)
        ck_assert(pipe2(to_parent, O_CLOEXEC) == 0 && pipe2(to_child, O_CLOEXEC) == 0);
    else
        close(to_parent[0]), close(to_parent[1]), close(to_child[0]), close(to_child[1]);
}

/* Makes every eventfd of this process a dead end: a put is then one that was killed before it told of itself. */
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

static int puts_deafly_and_dies(void *parent)
{
    if (mproc_wait_fd(queue) < 0) /* takes part */
        return 1;
    if (!support_until_asleep(*(pid_t *)parent, LONG_MS) || deafen() == 0 || put(7) != 0)
        return 2;
    kill(getpid(), SIGKILL);
    return 3;
}

/* Also of one that takes part only when the other sleeps already. */
START_TEST(the_death_of_a_putter_before_it_told_anybody_ends_a_wait)
{
    pid_t self = getpid();
    make(MPROC__HOME_HOST, &kinds[_i]);
    int fd = mproc_wait_fd(queue);
    ck_assert(!readable(fd));
    for (int i = 0; i < 2; i++) {
        pid_t child = support_fork(puts_deafly_and_dies, &self);
        ck_assert_int_eq(wait_for(soon()), 0);
        ck_assert_int_eq(get(MPROC_NOW), 7);
        ck_assert_int_eq(get(MPROC_NOW), -ETIMEDOUT);
        ck_assert_int_eq(support_reap(child, LONG_MS), 256 + SIGKILL);
    }
    ck_assert(!readable(fd));
    mproc_queue_close(&queue);
}
END_TEST

static int takes_and_waits(void *unused)
{
    (void)unused;
    mproc_loan loan = MPROC_LOAN_INIT;
    if (mproc_queue_take(queue, soon(), &loan) != 0 || tell(to_parent) != 0)
        return 1;
    (void)pass(to_child);
    return 2;
}

START_TEST(what_a_killed_taker_had_makes_the_descriptor_readable)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    make(MPROC__HOME_HOST, &kinds[1]);
    gates(true);
    int fd = mproc_wait_fd(queue);
    ck_assert_int_eq(put(7), 0);
    pid_t child = support_fork(takes_and_waits, NULL);
    ck_assert_int_eq(pass(to_parent), 0);
    ck_assert_int_eq(wait_for(MPROC_NOW), -ETIMEDOUT);
    ck_assert(!readable(fd));
    kill(child, SIGKILL);
    struct pollfd one = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&one, 1, support_ms(LONG_MS)), 1);
    ck_assert_int_eq(wait_for(soon()), 0);
    ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loan), 0);
    ck_assert_uint_eq(loan.delivery, 2);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    ck_assert_int_eq(support_reap(child, LONG_MS), 256 + SIGKILL);
    gates(false);
    mproc_queue_close(&queue);
}
END_TEST

static int takes_part_and_leaves(void *unused)
{
    (void)unused;
    return get(MPROC_NOW) == -ETIMEDOUT ? 0 : 1;
}

START_TEST(those_who_have_gone_leave_no_descriptor_and_no_noise)
{
    make(MPROC__HOME_HOST, &kinds[0]);
    int fd = mproc_wait_fd(queue), before = dup(fd);
    close(before);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(in_child(takes_part_and_leaves), 0);
        ck_assert_int_eq(wait_for(MPROC_NOW), -ETIMEDOUT);
        ck_assert(!readable(fd));
    }
    int after = dup(fd);
    close(after);
    ck_assert_int_eq(before, after);
    mproc_queue_close(&queue);
}
END_TEST

static int writes_once(void *dies)
{
    if (put(7) != 0 || tell(to_parent) != 0 || pass(to_child) != 0)
        return 1;
    if (dies)
        kill(getpid(), SIGKILL);
    mproc_queue_close(&queue);
    return tell(to_parent) || pass(to_child); /* lives on: what the parent hears is the close */
}

/* Loop: the last writer closes, or dies. */
START_TEST(the_end_that_the_last_writer_leaves_is_heard)
{
    make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .pollable = true, .role = MPROC_ROLE_READ));
    gates(true);
    int fd = mproc_wait_fd(queue);
    pid_t child = support_fork(writes_once, _i == 1 ? queue : NULL);
    ck_assert_int_eq(pass(to_parent), 0);
    ck_assert_int_eq(get(MPROC_NOW), 7);
    ck_assert_int_eq(get(MPROC_NOW), -ETIMEDOUT);
    ck_assert(!readable(fd));
    ck_assert_int_eq(tell(to_child), 0);
    ck_assert_int_eq(wait_for(soon()), 0);
    ck_assert_int_eq(get(MPROC_NOW), MPROC_EEND);
    ck_assert(readable(fd));
    ck_assert_int_eq(wait_for(MPROC_NOW), 0);
    if (_i == 0)
        ck_assert(pass(to_parent) == 0 && tell(to_child) == 0);
    ck_assert_int_eq(support_reap(child, LONG_MS), _i == 0 ? 0 : 256 + SIGKILL);
    gates(false);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- given away, refused ---- */

static mproc_queue *received_copy(size_t fds, mproc_variant *ret_received, int *ret_code)
{
    mproc__noun_register(&mproc__queue_noun);
    mproc__parcel parcel = {0};
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(queue)), 0);
    ck_assert_uint_eq(parcel.fd_count, 2);
    parcel.fd_count = fds;
    for (size_t i = 0; i < parcel.fd_count; i++)
        parcel.fds[i] = fcntl(parcel.fds[i], F_DUPFD_CLOEXEC, 0); /* as a socket would */
    *ret_code = mproc__parcel_unpack(&parcel, ret_received);
    mproc__parcel_clear(&parcel, true);
    return *ret_code == 0 ? mproc_variant_get_handle(*ret_received, MPROC_TYPE_QUEUE) : NULL;
}

START_TEST(a_queue_crosses_with_its_descriptor)
{
    mproc_variant received;
    int code;
    make(MPROC__HOME_HOST, &kinds[0]);
    mproc_queue *copy = received_copy(2, &received, &code);
    ck_assert_ptr_nonnull(copy);
    int fd = mproc_wait_fd(copy);
    ck_assert(!readable(fd));
    ck_assert_int_eq(put(1), 0);
    ck_assert(readable(fd));
    mproc_variant_clear(&received);
    ck_assert_ptr_null(received_copy(1, &received, &code));
    ck_assert_int_eq(code, MPROC_EPROTOCOL);
    mproc_queue_close(&queue);
}
END_TEST

static int asks_in_a_child(void *unused)
{
    (void)unused;
    mproc_wait_item item = {.handle = queue};
    return mproc_wait_fd(queue) == -ECHILD && mproc_wait(&item, 1, MPROC_WAIT_ANY, MPROC_NOW, NULL) == -ECHILD
               ? 0
               : 1;
}

START_TEST(who_cannot_be_polled_says_why)
{
    mproc_place *place;
    make(MPROC__HOME_HOST, NULL);
    ck_assert_int_eq(mproc_wait_fd(queue), -EINVAL);
    ck_assert_int_eq(wait_for(MPROC_NOW), -EINVAL);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "item 0: the queue was made without"));
    mproc_queue_close(&queue);
    make(MPROC__HOME_THREAD, &kinds[0]);
    ck_assert_int_eq(in_child(asks_in_a_child), 0);
    mproc_queue_close(&queue);
    ck_assert_int_eq(mproc__place_shm("shm:/check-queue-poll", NULL, &place), 0);
    ck_assert_int_eq(mproc_queue_create(place, &kinds[0], &queue), MPROC_EPLACE);
    mproc_place_close(&place);
}
END_TEST

/* Runs `call` with fewer and fewer descriptors left, until it does not work; then nothing is left of it. */
START_TEST(without_a_descriptor_left_nothing_is_made)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int first = dup(0);
    close(first);
    int code = -1;
    for (rlim_t left = 0; code != 0; left++) {
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)first + left, limit.rlim_max}), 0);
        code = mproc_queue_create(NULL, &kinds[0], &queue);
        if (code == 0) {
            code = mproc_wait_fd(queue);
            mproc_queue_close(&queue);
            code = code > 0 ? 0 : code;
        }
        ck_assert_msg(code == 0 || code == -EMFILE, "%s", mproc_strerror(code));
        ck_assert_uint_lt(left, 10);
    }
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue poll");
    TCase *level = support_case(suite, "level");
    tcase_add_loop_test(level, the_descriptor_is_readable_until_a_get_finds_nothing, 0,
                        2 * (int)MPROC__COUNT(kinds));
    tcase_add_test(level, every_way_to_put_and_to_get_is_told_of);
    tcase_add_test(level, a_put_pays_for_pollers_only_when_one_may_sleep);
    TCase *processes = support_case(suite, "processes");
    tcase_add_loop_test(processes, who_polls_in_another_process_is_woken_by_a_put, 0,
                        (int)MPROC__COUNT(kinds));
    tcase_add_test(processes, a_fork_child_does_not_make_its_parents_descriptor_unreadable);
    tcase_add_test(processes, nothing_is_missed_by_two_who_wait_while_two_processes_put);
    TCase *deaths = support_case(suite, "deaths");
    tcase_add_loop_test(deaths, the_death_of_a_putter_before_it_told_anybody_ends_a_wait, 0,
                        (int)MPROC__COUNT(kinds));
    tcase_add_test(deaths, what_a_killed_taker_had_makes_the_descriptor_readable);
    tcase_add_loop_test(deaths, the_end_that_the_last_writer_leaves_is_heard, 0, 2);
    tcase_add_test(deaths, those_who_have_gone_leave_no_descriptor_and_no_noise);
    TCase *given = support_case(suite, "given away, refused");
    tcase_add_test(given, a_queue_crosses_with_its_descriptor);
    tcase_add_test(given, who_cannot_be_polled_says_why);
    tcase_add_test(given, without_a_descriptor_left_nothing_is_made);
    return support_run(suite, argc, argv);
}
