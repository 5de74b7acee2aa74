/* SPDX-License-Identifier: BSD-2-Clause */
/* All processes, and descent. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mproc/running.h>
#include "platform/platform.h"
#include "support/support.h"

enum { MANY = 16384 };
static mproc_running list[MANY];

static bool listed(int64_t pid, size_t count)
{
    for (size_t i = 0; i < count && i < MANY; i++)
        if (list[i].pid == pid)
            return true;
    return false;
}

START_TEST(the_list_has_everyone_once_in_order)
{
    size_t count = 0, again = 0;
    mproc_running self;
    ck_assert_int_eq(mproc_running_list(list, MANY, &count), 0);
    ck_assert_uint_lt(count, MANY);
    ck_assert(listed(getpid(), count) && listed(getppid(), count));
    for (size_t i = 1; i < count; i++)
        ck_assert_int_gt(list[i].pid, list[i - 1].pid);
    ck_assert_int_eq(mproc_running_find(0, &self), 0);
    for (size_t i = 0; i < count; i++)
        ck_assert(list[i].pid != self.pid || list[i].start == self.start);
    ck_assert_int_eq(mproc_running_list(NULL, 0, &again), 0);
    ck_assert_uint_ge(again, 2);
}
END_TEST

START_TEST(too_little_room_gives_the_first_and_the_number)
{
    mproc_running two[3] = {{0}, {0}, {.pid = -7}};
    size_t count = 0;
    ck_assert_int_eq(mproc_running_list(two, 2, &count), 0);
    ck_assert_uint_ge(count, 2);
    ck_assert_int_gt(two[1].pid, two[0].pid);
    ck_assert_int_eq(two[2].pid, -7);
}
END_TEST

/* ---- descent: a chain of processes, each a child of the one before ---- */

typedef struct chain {
    int depth, ready_fd;
} chain;

static int link_rest(void *context)
{
    const chain *of = context;
    if (of->depth > 1) {
        chain next = {of->depth - 1, of->ready_fd};
        if (fork() == 0)
            _exit(link_rest(&next));
    } else if (write(of->ready_fd, "r", 1) != 1) {
        return 1;
    }
    while (pause() != 0) /* ever: it is killed */
        ;
    return 0;
}

START_TEST(children_and_descendants_are_found)
{
    int fds[2];
    char byte;
    size_t count;
    ck_assert_int_eq(pipe(fds), 0);
    chain four = {4, fds[1]};
    pid_t child = support_fork(link_rest, &four), other = support_fork(link_rest, &(chain){1, fds[1]});
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(mproc__fd_read_all(fds[0], &byte, 1, mproc_after_ms(support_ms(5000))), 0);
    ck_assert_int_eq(mproc_running_children((mproc_running){0}, false, list, MANY, &count), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert(listed(child, count) && listed(other, count));
    ck_assert_int_eq(mproc_running_children((mproc_running){0}, true, list, MANY, &count), 0);
    ck_assert_uint_eq(count, 5);
    ck_assert(!listed(getpid(), count));
    ck_assert_int_eq(mproc_running_children((mproc_running){.pid = child}, true, list, 1, &count), 0);
    ck_assert_uint_eq(count, 3);
    ck_assert_int_eq(mproc_running_children((mproc_running){.pid = other}, true, NULL, 0, &count), 0);
    ck_assert_uint_eq(count, 0);
    support_children_kill();
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(allocations_that_fail_are_errors_and_leave_nothing)
{
    for (unsigned n = 1;; n++) {
        size_t count = 99;
        support_fail_allocation(n);
        int rc = mproc_running_children((mproc_running){0}, true, NULL, 0, &count);
        if (!support_allocation_failed())
            break;
        ck_assert_int_eq(rc, -ENOMEM);
        ck_assert_uint_eq(count, 99);
    }
    support_fail_allocation(0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("running_list");
    TCase *all = support_case(suite, "list");
    tcase_add_test(all, the_list_has_everyone_once_in_order);
    tcase_add_test(all, too_little_room_gives_the_first_and_the_number);
    tcase_add_test(all, children_and_descendants_are_found);
    tcase_add_test(all, allocations_that_fail_are_errors_and_leave_nothing);
    return support_run(suite, argc, argv);
}
