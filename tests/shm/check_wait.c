/* SPDX-License-Identifier: BSD-2-Clause */
/* mproc_wait over descriptors, and over handles that are early or know more than their descriptor. */
#include "platform/base.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <mproc/error.h>
#include <mproc/wait.h>
#include "data/handle.h"
#include "platform/platform.h"
#include "support/faultloop.h"
#include "support/support.h"

/* ---- a handle for the tests ---- */

typedef struct toy {
    mproc__handle handle;
    int fd;
    bool holds;         /* something that the descriptor does not tell */
    unsigned false_yes; /* times that the descriptor says yes and there is nothing */
    unsigned asked;
} toy;

static void toy_destroy(mproc__handle *handle)
{
    toy *it = MPROC__CONTAINER(handle, toy, handle);
    close(it->fd);
    mproc__handle_fini(handle);
}

static int toy_wait_fd(mproc__handle *handle)
{
    return MPROC__CONTAINER(handle, toy, handle)->fd;
}

static bool toy_ready(mproc__handle *handle, bool readable)
{
    toy *it = MPROC__CONTAINER(handle, toy, handle);
    it->asked++;
    if (it->holds)
        return true;
    if (!readable || it->false_yes == 0)
        return readable;
    it->false_yes--;
    return false;
}

static const mproc__handle_ops toy_ops = {.type = MPROC_TYPE_OBJECT,
                                          .noun = "toy",
                                          .destroy = toy_destroy,
                                          .wait_fd = toy_wait_fd,
                                          .ready = toy_ready};
static const mproc__handle_ops deaf_ops = {
    .type = MPROC_TYPE_OBJECT, .noun = "deaf toy", .destroy = toy_destroy};

static void toy_make(toy *it, const mproc__handle_ops *ops)
{
    *it = (toy){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    ck_assert_int_ge(it->fd, 0);
    mproc__handle_init(&it->handle, ops);
}

static int wait_ms(mproc_wait_item *items, size_t count, mproc_wait_mode mode, int ms, size_t *ret_count)
{
    return mproc_wait(items, count, mode, mproc_after_ms(ms), ret_count);
}

/* ---- descriptors ---- */

START_TEST(only_what_is_ready_is_said_to_be)
{
    int first[2], second[2];
    size_t count = 99;
    ck_assert_int_eq(pipe(first), 0);
    ck_assert_int_eq(pipe(second), 0);
    mproc_wait_item items[] = {{.fd = first[0], .events = POLLIN, .ready = 7},
                               {.fd = second[0], .events = POLLIN, .ready = 7}};
    int64_t begun = mproc__now_ns();
    ck_assert_int_eq(wait_ms(items, 2, MPROC_WAIT_ANY, 100, &count), -ETIMEDOUT);
    ck_assert_int_ge(mproc__now_ns() - begun, 100 * INT64_C(1000000));
    ck_assert_uint_eq(count, 0);
    ck_assert_uint_eq(items[0].ready | items[1].ready, 0);
    ck_assert_int_eq(write(second[1], "x", 1), 1);
    ck_assert_int_eq(mproc_wait(items, 2, MPROC_WAIT_ANY, MPROC_FOREVER, &count), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(items[0].ready, 0);
    ck_assert_uint_eq(items[1].ready, POLLIN);
    close(second[1]);
    ck_assert_int_eq(mproc_wait(items, 2, MPROC_WAIT_ANY, MPROC_NOW, NULL), 0);
    ck_assert_uint_eq(items[1].ready, POLLIN | POLLHUP);
    close(first[0]), close(first[1]), close(second[0]);
}
END_TEST

static void *writes_soon(void *argument)
{
    struct timespec pause = {.tv_nsec = 20000000};
    for (int *fd = argument; *fd >= 0; fd++) {
        nanosleep(&pause, NULL);
        ck_assert_int_eq(write(*fd, "x", 1), 1);
    }
    return NULL;
}

START_TEST(all_waits_for_the_last_and_counts_those_that_were_ready_in_between)
{
    int first[2], second[2];
    size_t count = 99;
    pthread_t thread;
    ck_assert_int_eq(pipe(first), 0);
    ck_assert_int_eq(pipe(second), 0);
    mproc_wait_item items[] = {{.fd = first[0], .events = POLLIN}, {.fd = second[0], .events = POLLIN}};
    int writers[] = {first[1], second[1], -1};
    pthread_create(&thread, NULL, writes_soon, writers);
    ck_assert_int_eq(wait_ms(items, 2, MPROC_WAIT_ALL, support_ms(5000), &count), 0);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(count, 2);
    ck_assert(items[0].ready && items[1].ready);
    char byte;
    ck_assert_int_eq(read(second[0], &byte, 1), 1);
    ck_assert_int_eq(wait_ms(items, 2, MPROC_WAIT_ALL, 10, &count), -ETIMEDOUT);
    ck_assert_uint_eq(count, 1);
    ck_assert(items[0].ready && !items[1].ready);
    close(first[0]), close(first[1]), close(second[0]), close(second[1]);
}
END_TEST

/* shows: WAIT-05 WAIT-06 */
START_TEST(a_deadline_in_the_past_looks_once_and_no_items_wait_for_theirs)
{
    int fds[2];
    size_t count = 99;
    ck_assert_int_eq(pipe(fds), 0);
    mproc_wait_item item = {.fd = fds[0], .events = POLLIN};
    int64_t begun = mproc__now_ns();
    const mproc_deadline pasts[] = {MPROC_NOW, mproc_after_ms(0), mproc_after_ms(-1000), {-1}, {INT64_MIN}};
    for (size_t i = 0; i < MPROC__COUNT(pasts); i++)
        ck_assert_int_eq(mproc_wait(&item, 1, MPROC_WAIT_ANY, pasts[i], NULL), -ETIMEDOUT);
    ck_assert_int_lt(mproc__now_ns() - begun, support_ms(1000) * INT64_C(1000000));
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    for (size_t i = 0; i < MPROC__COUNT(pasts); i++)
        ck_assert_int_eq(mproc_wait(&item, 1, MPROC_WAIT_ANY, pasts[i], NULL), 0);
    begun = mproc__now_ns();
    ck_assert_int_eq(wait_ms(NULL, 0, MPROC_WAIT_ANY, 50, &count), -ETIMEDOUT);
    ck_assert_int_ge(mproc__now_ns() - begun, 50 * INT64_C(1000000));
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(mproc_wait(NULL, 0, MPROC_WAIT_ALL, MPROC_FOREVER, &count), 0);
    close(fds[0]), close(fds[1]);
}
END_TEST

static atomic_int alarms;

static void on_alarm(int number)
{
    (void)number;
    alarms++;
}

/* shows: WAIT-07 */
START_TEST(signals_do_not_shorten_the_wait_over_hundreds_of_high_descriptors)
{
    enum { COUNT = 500, HIGH = 1500 };
    static mproc_wait_item items[COUNT];
    int fds[2];
    size_t count;
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit wanted = {.rlim_cur = HIGH + COUNT, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &wanted), 0);
    ck_assert_int_eq(pipe(fds), 0);
    for (int i = 0; i < COUNT; i++) {
        int fd = fcntl(fds[0], F_DUPFD_CLOEXEC, HIGH);
        ck_assert_int_ge(fd, HIGH);
        items[i] = (mproc_wait_item){.fd = fd, .events = POLLIN};
    }
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL);
    const struct itimerval often = {.it_interval.tv_usec = 5000, .it_value.tv_usec = 5000};
    ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    int64_t begun = mproc__now_ns();
    ck_assert_int_eq(wait_ms(items, COUNT, MPROC_WAIT_ANY, 150, &count), -ETIMEDOUT);
    ck_assert_int_ge(mproc__now_ns() - begun, 150 * INT64_C(1000000));
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    ck_assert_int_ge(alarms, 2);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    ck_assert_int_eq(wait_ms(items, COUNT, MPROC_WAIT_ALL, support_ms(5000), &count), 0);
    ck_assert_uint_eq(count, COUNT);
    for (int i = 0; i < COUNT; i++)
        close(items[i].fd);
    close(fds[0]), close(fds[1]);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    signal(SIGALRM, SIG_DFL);
}
END_TEST

/* ---- handles ---- */

START_TEST(a_handle_that_holds_something_is_ready_though_its_descriptor_is_not)
{
    toy it;
    toy_make(&it, &toy_ops);
    it.holds = true;
    mproc_wait_item item = {.handle = &it};
    ck_assert_int_eq(mproc_wait(&item, 1, MPROC_WAIT_ANY, MPROC_FOREVER, NULL), 0);
    ck_assert_uint_eq(item.ready, POLLIN);
    ck_assert_uint_eq(it.asked, 1);
    mproc__handle_release(&it.handle);
}
END_TEST

typedef struct scene {
    const void *argument; /* the mode */
    toy it;
} scene;

_Static_assert(sizeof(scene) <= FAULT_SCENE_BYTES, "the scene fits");

static int scene_make(void *context)
{
    scene *s = context;
    toy_make(&s->it, &toy_ops);
    s->it.holds = true;
    return 0;
}

static int scene_wait(void *context)
{
    scene *s = context;
    mproc_wait_item item = {.handle = &s->it};
    return wait_ms(&item, 1, *(const mproc_wait_mode *)s->argument, support_ms(8000), NULL);
}

static int scene_check(void *context, int rc)
{
    (void)context;
    return rc == 0 ? 0 : 1;
}

static void scene_drop(void *context)
{
    scene *s = context;
    mproc__handle_release(&s->it.handle);
}

/* The first look is interrupted before anybody has been asked, again and again: the wait must not sleep then. */
START_TEST(an_interrupted_look_is_repeated_before_any_sleep)
{
    static const mproc_wait_mode modes[] = {MPROC_WAIT_ANY, MPROC_WAIT_ALL};
    const fault_case fault = {.name = "wait",
                              .argument = &modes[_i],
                              .setup = scene_make,
                              .call = scene_wait,
                              .check = scene_check,
                              .cleanup = scene_drop};
    fault_interruptions(&fault);
}
END_TEST

START_TEST(a_descriptor_that_is_early_does_not_end_the_wait)
{
    toy it;
    size_t count = 99;
    toy_make(&it, &toy_ops);
    it.false_yes = 3;
    ck_assert_int_eq(eventfd_write(it.fd, 1), 0);
    mproc_wait_item item = {.handle = &it};
    ck_assert_int_eq(mproc_wait(&item, 1, MPROC_WAIT_ANY, mproc_after_ms(support_ms(5000)), &count), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(it.asked, 4);
    it.false_yes = 1;
    ck_assert_int_eq(mproc_wait(&item, 1, MPROC_WAIT_ANY, MPROC_NOW, &count), -ETIMEDOUT);
    mproc__handle_release(&it.handle);
}
END_TEST

/* ---- bad input ---- */

static int refused(mproc_wait_item *items, size_t count, int mode, const char *story)
{
    size_t ready = 77;
    int code = mproc_wait(items, count, (mproc_wait_mode)mode, MPROC_NOW, &ready);
    ck_assert_msg(strstr(mproc_error_text(mproc_last_error()), story), "%s",
                  mproc_error_text(mproc_last_error()));
    ck_assert_uint_eq(ready, 77);
    for (size_t i = 0; items && i < count && i < 3; i++)
        ck_assert_uint_eq(items[i].ready, 5);
    return code;
}

START_TEST(items_that_make_no_sense_are_refused_by_their_number)
{
    toy it;
    toy_make(&it, &deaf_ops);
    int closed = dup(it.fd);
    close(closed);
    mproc_wait_item good = {.fd = it.fd, .events = POLLIN, .ready = 5};
    mproc_wait_item nothing[] = {good, {.ready = 5}},
                    bad_fd[] = {good, {.fd = -1, .events = POLLIN, .ready = 5}},
                    shut[] = {good, {.fd = closed, .events = POLLIN, .ready = 5}},
                    deaf[] = {good, {.handle = &it, .ready = 5}};
    ck_assert_int_eq(refused(NULL, 1, MPROC_WAIT_ANY, "no items"), -EINVAL);
    ck_assert_int_eq(refused(nothing, 2, MPROC_WAIT_ANY, "item 1"), -EINVAL);
    ck_assert_int_eq(refused(bad_fd, 2, MPROC_WAIT_ALL, "item 1"), -EBADF);
    ck_assert_int_eq(refused(shut, 2, MPROC_WAIT_ANY, "item 1"), -EBADF);
    ck_assert_int_eq(refused(deaf, 2, MPROC_WAIT_ANY, "item 1: a deaf toy"), MPROC_EPLACE);
    ck_assert_int_eq(refused(&good, 1, 3, "number 3"), -EINVAL);
    uint64_t no_handle[8] = {0};
    mproc_wait_item foreign = {.handle = no_handle, .ready = 5};
    ck_assert_int_eq(refused(&foreign, 1, MPROC_WAIT_ANY, "item 0"), -EINVAL);
    mproc__handle_release(&it.handle);
}
END_TEST

START_TEST(without_memory_or_with_more_items_than_descriptors_nothing_is_waited_for)
{
    static mproc_wait_item items[40];
    for (size_t i = 0; i < MPROC__COUNT(items); i++)
        items[i] = (mproc_wait_item){.fd = 0, .events = POLLOUT, .ready = 5};
    support_fail_allocation(1);
    ck_assert_int_eq(refused(items, MPROC__COUNT(items), MPROC_WAIT_ANY, "no memory"), -ENOMEM);
    ck_assert(support_allocation_failed());
    ck_assert_int_eq(refused(items, SIZE_MAX, MPROC_WAIT_ANY, "items to wait for"), -EINVAL);
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){30, limit.rlim_max}), 0);
    ck_assert_int_eq(refused(items, MPROC__COUNT(items), MPROC_WAIT_ANY, "40 items"), -EINVAL);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("wait");
    TCase *fds = support_case(suite, "descriptors");
    tcase_add_test(fds, only_what_is_ready_is_said_to_be);
    tcase_add_test(fds, all_waits_for_the_last_and_counts_those_that_were_ready_in_between);
    tcase_add_test(fds, a_deadline_in_the_past_looks_once_and_no_items_wait_for_theirs);
    tcase_add_test(fds, signals_do_not_shorten_the_wait_over_hundreds_of_high_descriptors);
    TCase *handles = support_case(suite, "handles");
    tcase_add_test(handles, a_handle_that_holds_something_is_ready_though_its_descriptor_is_not);
    tcase_add_loop_test(handles, an_interrupted_look_is_repeated_before_any_sleep, 0, 2);
    tcase_add_test(handles, a_descriptor_that_is_early_does_not_end_the_wait);
    TCase *bad = support_case(suite, "bad input");
    tcase_add_test(bad, items_that_make_no_sense_are_refused_by_their_number);
    tcase_add_test(bad, without_memory_or_with_more_items_than_descriptors_nothing_is_waited_for);
    return support_run(suite, argc, argv);
}
