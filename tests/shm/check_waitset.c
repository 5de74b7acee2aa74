/* SPDX-License-Identifier: BSD-2-Clause */
/* Sets of descriptors, and of handles that are early or keep something that their descriptor does not tell. */
#include "platform/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <mproc/error.h>
#include <mproc/wait.h>
#include "data/handle.h"
#include "platform/platform.h"
#include "support/support.h"

typedef struct toy {
    mproc__handle handle;
    int fd;
    bool keeps;
    unsigned false_yes;
    bool closed;
} toy;

static void toy_destroy(mproc__handle *handle)
{
    toy *it = MPROC__CONTAINER(handle, toy, handle);
    close(it->fd);
    it->closed = true;
    mproc__handle_fini(handle);
}

static int toy_wait_fd(mproc__handle *handle)
{
    return MPROC__CONTAINER(handle, toy, handle)->fd;
}

static bool toy_ready(mproc__handle *handle, bool readable)
{
    toy *it = MPROC__CONTAINER(handle, toy, handle);
    if (it->keeps)
        return true;
    if (!readable || it->false_yes == 0)
        return readable;
    it->false_yes--;
    return false;
}

#define TOY_OPS(number)                                                                                      \
    {                                                                                                        \
        .type = number, .noun = "toy", .destroy = toy_destroy, .wait_fd = toy_wait_fd, .ready = toy_ready,   \
        .once = (number) == MPROC_TYPE_PROCESS                                                               \
    }
static const mproc__handle_ops toy_ops = TOY_OPS(MPROC_TYPE_OBJECT);
static const mproc__handle_ops ending_ops = TOY_OPS(MPROC_TYPE_PROCESS);
static const mproc__handle_ops deaf_ops = {
    .type = MPROC_TYPE_OBJECT, .noun = "deaf toy", .destroy = toy_destroy};

static toy toys[3];
static mproc_waitset *set;

static void toys_make(const mproc__handle_ops *ops)
{
    ck_assert_int_eq(mproc_waitset_create(&set), 0);
    for (size_t i = 0; i < 3; i++) {
        toys[i] = (toy){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
        ck_assert_int_ge(toys[i].fd, 0);
        mproc__handle_init(&toys[i].handle, ops);
    }
}

static void toys_drop(void)
{
    mproc_waitset_close(&set);
    ck_assert_ptr_null(set);
    for (size_t i = 0; i < 3; i++)
        if (!toys[i].closed)
            mproc__handle_release(&toys[i].handle);
}

static int next(mproc_ready *ready)
{
    return mproc_waitset_next(set, MPROC_NOW, ready);
}

START_TEST(descriptors_are_told_of_each_in_its_turn)
{
    int pipes[3][2];
    mproc_ready ready;
    ck_assert_int_eq(mproc_waitset_create(&set), 0);
    ck_assert_int_eq(next(&ready), MPROC_EEND);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pipe(pipes[i]), 0);
        ck_assert_int_eq(mproc_waitset_add_fd(set, pipes[i][0], EPOLLIN, &pipes[i]), 0);
    }
    ck_assert_int_eq(next(&ready), -ETIMEDOUT);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(write(pipes[i][1], "x", 1), 1);
    unsigned told[3] = {0};
    for (int i = 0; i < 12; i++) {
        ck_assert_int_eq(next(&ready), 0);
        ck_assert_ptr_null(ready.handle);
        ck_assert_uint_eq(ready.events, EPOLLIN);
        size_t which = (size_t)((int(*)[2])ready.context - pipes);
        ck_assert_int_eq(ready.fd, pipes[which][0]);
        told[which]++;
    }
    ck_assert(told[0] == 4 && told[1] == 4 && told[2] == 4);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(mproc_waitset_remove_fd(set, pipes[i][0]), 0);
        ck_assert_int_eq(mproc_waitset_remove_fd(set, pipes[i][0]), -ENOENT);
        close(pipes[i][0]), close(pipes[i][1]);
    }
    ck_assert_int_eq(next(&ready), MPROC_EEND);
    mproc_waitset_close(&set);
}
END_TEST

START_TEST(one_that_keeps_something_starves_nobody_and_is_not_starved)
{
    mproc_ready ready;
    unsigned told[3] = {0};
    toys_make(&toy_ops);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(mproc_waitset_add(set, &toys[i], &told[i]), 0);
    toys[0].keeps = true;
    ck_assert_int_eq(eventfd_write(toys[1].fd, 1), 0);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(next(&ready), 0);
        ck_assert_int_eq(ready.fd, -1);
        ++*(unsigned *)ready.context;
    }
    ck_assert(told[0] == 10 && told[1] == 10 && told[2] == 0);
    toys[0].keeps = false;
    ck_assert_int_eq(next(&ready), 0);
    ck_assert_ptr_eq(ready.handle, &toys[1]);
    toys_drop();
}
END_TEST

START_TEST(an_early_descriptor_is_not_told_of)
{
    mproc_ready ready;
    toys_make(&toy_ops);
    ck_assert_int_eq(mproc_waitset_add(set, &toys[0], NULL), 0);
    ck_assert_int_eq(eventfd_write(toys[0].fd, 1), 0);
    toys[0].false_yes = 1;
    ck_assert_int_eq(next(&ready), -ETIMEDOUT);
    toys[0].false_yes = 2;
    ck_assert_int_eq(mproc_waitset_next(set, mproc_after_ms(support_ms(5000)), &ready), 0);
    ck_assert_uint_eq(toys[0].false_yes, 0);
    toys_drop();
}
END_TEST

/* The kernel tells of one at a time, and of the early ones first. */
START_TEST(early_descriptors_do_not_hide_one_that_is_ready)
{
    mproc_ready ready;
    toys_make(&toy_ops);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(mproc_waitset_add(set, &toys[i], NULL), 0);
        ck_assert_int_eq(eventfd_write(toys[i].fd, 1), 0);
    }
    for (int i = 0; i < 4; i++) {
        toys[0].false_yes = toys[1].false_yes = 1;
        ck_assert_int_eq(next(&ready), 0);
        toys[0].false_yes = toys[1].false_yes = 100;
        ck_assert_int_eq(next(&ready), 0);
        ck_assert_ptr_eq(ready.handle, &toys[2]);
    }
    toys[2].false_yes = 100;
    ck_assert_int_eq(next(&ready), -ETIMEDOUT);
    toys_drop();
}
END_TEST

START_TEST(to_wait_for_a_set_takes_no_turn_in_it)
{
    mproc_ready ready;
    unsigned told[2] = {0};
    toys_make(&toy_ops);
    mproc_wait_item item = {.handle = set};
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(mproc_waitset_add(set, &toys[i], &told[i]), 0);
        toys[i].keeps = true;
    }
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(mproc_wait(&item, 1, MPROC_WAIT_ANY, MPROC_NOW, NULL), 0);
        ck_assert_int_eq(next(&ready), 0);
        ++*(unsigned *)ready.context;
    }
    ck_assert(told[0] == 5 && told[1] == 5);
    toys_drop();
}
END_TEST

START_TEST(what_ends_is_told_of_once_and_leaves)
{
    mproc_ready ready;
    toys_make(&ending_ops);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(mproc_waitset_add(set, &toys[i], NULL), 0);
        ck_assert_int_eq(eventfd_write(toys[i].fd, 1), 0);
    }
    ck_assert_int_eq(next(&ready), 0);
    void *first = ready.handle;
    ck_assert_int_eq(next(&ready), 0);
    ck_assert_ptr_ne(ready.handle, first);
    ck_assert_int_eq(next(&ready), MPROC_EEND);
    ck_assert_int_eq(mproc_waitset_remove(set, first), -ENOENT);
    toys_drop();
}
END_TEST

START_TEST(a_set_keeps_what_is_in_it_and_lets_go_of_what_leaves)
{
    toys_make(&toy_ops);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(mproc_waitset_add(set, &toys[i], NULL), 0);
        mproc__handle_release(&toys[i].handle);
        ck_assert(!toys[i].closed);
    }
    ck_assert_int_eq(mproc_waitset_remove(set, &toys[0]), 0);
    ck_assert(toys[0].closed && !toys[1].closed);
    mproc_waitset_close(&set);
    ck_assert(toys[1].closed);
    toys_drop();
}
END_TEST

START_TEST(hundreds_come_and_go_in_one_set)
{
    enum { COUNT = 300 };
    static int fds[COUNT];
    mproc_ready ready;
    ck_assert_int_eq(mproc_waitset_create(&set), 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < COUNT; i++) {
            fds[i] = eventfd(i % 3 == 0, EFD_CLOEXEC);
            ck_assert_int_eq(mproc_waitset_add_fd(set, fds[i], EPOLLIN, &fds[i]), 0);
        }
        for (int i = 0; i < COUNT / 3; i++) {
            ck_assert_int_eq(next(&ready), 0);
            ck_assert_int_eq(mproc_waitset_remove_fd(set, ready.fd), 0);
            close(ready.fd);
            *(int *)ready.context = -1;
        }
        ck_assert_int_eq(next(&ready), -ETIMEDOUT);
        for (int i = 0; i < COUNT; i++)
            if (fds[i] >= 0) {
                ck_assert_int_eq(mproc_waitset_remove_fd(set, fds[i]), 0);
                close(fds[i]);
            }
    }
    mproc_waitset_close(&set);
}
END_TEST

static void *adds_soon(void *argument)
{
    ck_assert(support_until_asleep(getpid(), support_ms(5000))); /* the main thread */
    (void)eventfd_write(toys[1].fd, 1);
    ck_assert_int_eq(mproc_waitset_add(set, &toys[1], argument), 0);
    return NULL;
}

START_TEST(what_another_thread_adds_ends_the_sleep)
{
    mproc_ready ready;
    pthread_t thread;
    toys_make(&toy_ops);
    ck_assert_int_eq(mproc_waitset_add(set, &toys[0], NULL), 0);
    int64_t begun = mproc__now_ns();
    ck_assert_int_eq(mproc_waitset_next(set, mproc_after_ms(30), &ready), -ETIMEDOUT);
    ck_assert_int_ge(mproc__now_ns() - begun, 30 * INT64_C(1000000));
    pthread_create(&thread, NULL, adds_soon, set);
    ck_assert_int_eq(mproc_waitset_next(set, mproc_after_ms(support_ms(5000)), &ready), 0);
    ck_assert_ptr_eq(ready.context, set);
    pthread_join(thread, NULL);
    toys_drop();
}
END_TEST

START_TEST(a_set_is_waited_for_like_anything_else)
{
    mproc_waitset *outer;
    mproc_ready ready;
    toys_make(&toy_ops);
    ck_assert_int_eq(mproc_waitset_create(&outer), 0);
    ck_assert_int_eq(mproc_waitset_add(set, &toys[0], NULL), 0);
    ck_assert_int_eq(mproc_waitset_add(outer, set, NULL), 0);
    mproc_wait_item item = {.handle = set};
    ck_assert_int_eq(mproc_wait(&item, 1, MPROC_WAIT_ANY, MPROC_NOW, NULL), -ETIMEDOUT);
    ck_assert_int_eq(mproc_waitset_next(outer, MPROC_NOW, &ready), -ETIMEDOUT);
    toys[0].keeps = true;
    ck_assert_int_eq(mproc_wait(&item, 1, MPROC_WAIT_ANY, MPROC_NOW, NULL), 0);
    ck_assert_int_eq(mproc_waitset_next(outer, MPROC_NOW, &ready), 0);
    toys[0].keeps = false;
    ck_assert_int_eq(eventfd_write(toys[0].fd, 1), 0);
    ck_assert_int_eq(mproc_waitset_next(outer, MPROC_NOW, &ready), 0);
    ck_assert_ptr_eq(ready.handle, set);
    mproc_waitset_close(&outer);
    toys_drop();
}
END_TEST

/* ---- bad input ---- */

START_TEST(sets_in_a_circle_or_too_deep_are_refused)
{
    enum { DEEP = 12 };
    mproc_waitset *sets[DEEP];
    int code = 0, depth = 0;
    for (int i = 0; i < DEEP; i++)
        ck_assert_int_eq(mproc_waitset_create(&sets[i]), 0);
    ck_assert_int_eq(mproc_waitset_add(sets[0], sets[1], NULL), 0);
    ck_assert_int_eq(mproc_waitset_add(sets[1], sets[0], NULL), -ELOOP);
    ck_assert_int_eq(mproc_waitset_remove(sets[0], sets[1]), 0);
    while (code == 0 && depth + 1 < DEEP) {
        code = mproc_waitset_add(sets[depth + 1], sets[depth], NULL);
        depth += code == 0;
    }
    ck_assert_int_eq(code, -ELOOP);
    ck_assert_int_eq(depth + 1, 5); /* sets */
    for (int i = 0; i < DEEP; i++)
        mproc_waitset_close(&sets[i]);
}
END_TEST

static int uses_the_parents(void *unused)
{
    (void)unused;
    mproc_ready ready;
    if (next(&ready) != -ECHILD || mproc_waitset_add(set, &toys[1], NULL) != -ECHILD ||
        mproc_waitset_remove(set, &toys[0]) != -ECHILD || mproc_wait_fd(set) != -ECHILD ||
        mproc_waitset_add_fd(set, 0, EPOLLIN, NULL) != -ECHILD || mproc_waitset_remove_fd(set, 0) != -ECHILD)
        return 1;
    mproc_waitset_close(&set);
    return set != NULL;
}

START_TEST(a_fork_child_leaves_its_parents_set_alone)
{
    mproc_ready ready;
    toys_make(&toy_ops);
    ck_assert_int_eq(mproc_waitset_add(set, &toys[0], NULL), 0);
    ck_assert_int_eq(support_reap(support_fork(uses_the_parents, NULL), 5000), 0);
    ck_assert_int_eq(eventfd_write(toys[0].fd, 1), 0);
    ck_assert_int_eq(next(&ready), 0);
    toys_drop();
}
END_TEST

START_TEST(what_makes_no_sense_is_refused)
{
    mproc_ready ready = {.fd = 99};
    toy deaf = {.fd = dup(0)};
    char path[300], text[64];
    mproc__handle_init(&deaf.handle, &deaf_ops);
    toys_make(&toy_ops);
    snprintf(path, sizeof path, "%s/file", support_directory());
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    unlink(path);
    ck_assert_int_eq(mproc_waitset_create(NULL), -EINVAL);
    ck_assert_int_eq(mproc_waitset_add(set, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_waitset_add(NULL, &toys[0], NULL), -EINVAL);
    ck_assert_int_eq(mproc_waitset_add((mproc_waitset *)(void *)&toys[0], &toys[1], NULL), -EINVAL);
    ck_assert_int_eq(mproc_waitset_add(set, set, NULL), -EINVAL);
    ck_assert_int_eq(mproc_waitset_add(set, &deaf, NULL), MPROC_EPLACE);
    ck_assert_int_eq(mproc_waitset_add_fd(set, -1, EPOLLIN, NULL), -EBADF);
    ck_assert_int_eq(mproc_waitset_add_fd(set, 987, EPOLLIN, NULL), -EBADF);
    ck_assert_int_eq(mproc_waitset_add_fd(set, 0, 0, NULL), -EINVAL);
    ck_assert_int_eq(mproc_waitset_add_fd(set, file, EPOLLIN, NULL), -EPERM);
    ck_assert_int_eq(mproc_waitset_remove(set, NULL), -EINVAL);
    ck_assert_int_eq(mproc_waitset_remove(set, &toys[0]), -ENOENT);
    ck_assert_int_eq(mproc_waitset_next(set, MPROC_NOW, NULL), -EINVAL);
    ck_assert_int_eq(mproc_waitset_next(NULL, MPROC_NOW, &ready), -EINVAL);
    ck_assert_int_eq(mproc_waitset_next(set, MPROC_FOREVER, &ready), MPROC_EEND);
    ck_assert_int_eq(mproc_waitset_add(set, &toys[0], NULL), 0);
    ck_assert_int_eq(mproc_waitset_add(set, &toys[0], NULL), -EEXIST);
    ck_assert_int_eq(next(&ready), -ETIMEDOUT);
    ck_assert_int_eq(ready.fd, 99);
    mproc_describe(set, text, sizeof text);
    ck_assert_str_eq(text, "waitset of 1");
    mproc_waitset_close(NULL);
    close(file);
    toys_drop();
    mproc__handle_release(&deaf.handle);
}
END_TEST

START_TEST(without_memory_nothing_is_added)
{
    mproc_ready ready;
    toys_make(&toy_ops);
    support_fail_allocation(1);
    ck_assert_int_eq(mproc_waitset_add(set, &toys[0], NULL), -ENOMEM);
    ck_assert(support_allocation_failed());
    ck_assert_int_eq(next(&ready), MPROC_EEND);
    mproc_waitset *other = NULL;
    support_fail_allocation(1);
    ck_assert_int_eq(mproc_waitset_create(&other), -ENOMEM);
    support_fail_allocation(0);
    ck_assert_ptr_null(other);
    toys_drop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("waitset");
    TCase *turns = support_case(suite, "turns");
    tcase_add_test(turns, descriptors_are_told_of_each_in_its_turn);
    tcase_add_test(turns, one_that_keeps_something_starves_nobody_and_is_not_starved);
    tcase_add_test(turns, an_early_descriptor_is_not_told_of);
    tcase_add_test(turns, early_descriptors_do_not_hide_one_that_is_ready);
    tcase_add_test(turns, to_wait_for_a_set_takes_no_turn_in_it);
    tcase_add_test(turns, what_ends_is_told_of_once_and_leaves);
    tcase_add_test(turns, a_set_keeps_what_is_in_it_and_lets_go_of_what_leaves);
    tcase_add_test(turns, hundreds_come_and_go_in_one_set);
    tcase_add_test(turns, what_another_thread_adds_ends_the_sleep);
    tcase_add_test(turns, a_set_is_waited_for_like_anything_else);
    TCase *bad = support_case(suite, "bad input");
    tcase_add_test(bad, sets_in_a_circle_or_too_deep_are_refused);
    tcase_add_test(bad, a_fork_child_leaves_its_parents_set_alone);
    tcase_add_test(bad, what_makes_no_sense_is_refused);
    tcase_add_test(bad, without_memory_nothing_is_added);
    return support_run(suite, argc, argv);
}
