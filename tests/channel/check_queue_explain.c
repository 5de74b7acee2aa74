/* SPDX-License-Identifier: BSD-2-Clause */
/* What explain tells of a queue, from a copy of its first bytes. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "channel/queue_common.h"
#include "shm/report.h"
#include "support/support.h"

static mproc__report report;
static mproc__queue_shared copy;

static void explain(const mproc_queue *queue)
{
    memcpy(&copy, queue->shared, sizeof(copy));
    mproc__report_clear(&report);
    mproc__queue_explain(&copy, sizeof(copy), &report);
}

static void explain_damaged(size_t size_bytes)
{
    mproc__report_clear(&report);
    mproc__queue_explain(&copy, size_bytes, &report);
}

START_TEST(items_and_their_room_are_told)
{
    mproc_queue *queue = queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .max_bytes = 4096));
    explain(queue);
    ck_assert_str_eq(report.state, "open, 0 items in 0 of 4096 bytes");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mproc_queue_put(queue, "four", 4, MPROC_NOW), 0);
    explain(queue);
    ck_assert_ptr_nonnull(strstr(report.state, "open, 3 items in "));
    ck_assert_uint_eq(mproc__report_told(&report), 0);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(what_kind_of_queue_it_is_is_told)
{
    mproc_queue *queue =
        queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .max_items = 10, .redeliver = true));
    explain(queue);
    ck_assert_ptr_nonnull(strstr(report.state, ", acknowledged"));
    ck_assert_ptr_nonnull(strstr(report.state, "\nat most 10 items"));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(the_order_is_told_unless_it_is_that_of_arrival)
{
    static const char *const told[] = {"open, 1 items in 16 of 4096 bytes",
                                       "open, 1 items in 16 of 4096 bytes, last in first out",
                                       "open, 1 items in 16 of 4096 bytes, by priority"};
    mproc_queue *queue = queue_make(
        MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .max_bytes = 4096, .order = (mproc_order)_i));
    ck_assert_int_eq(mproc_queue_put(queue, "eight by", 8, MPROC_NOW), 0);
    explain(queue);
    ck_assert_str_eq(report.state, told[_i]);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_queue_that_was_shut_says_so)
{
    mproc_queue *queue = queue_make(MPROC__HOME_HOST, NULL);
    ck_assert_int_eq(mproc_queue_shutdown(queue, _i == 1), 0);
    explain(queue);
    ck_assert_ptr_nonnull(
        strstr(report.state, _i == 0 ? "closed for puts, " : "closed, and what was in it is gone, "));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(who_reads_and_writes_is_told_where_it_is_counted)
{
    mproc_queue *queue = queue_make(MPROC__HOME_HOST, NULL);
    explain(queue);
    ck_assert_ptr_null(strstr(report.state, "read by"));
    ck_assert_int_eq(mproc_queue_role(queue, MPROC_ROLE_BOTH), 0);
    explain(queue);
    ck_assert_ptr_nonnull(strstr(report.state, "\nread by 1, written by 1; 1 writers came"));
    ck_assert_int_eq(mproc_queue_role(queue, MPROC_ROLE_READ), 0);
    ck_assert_int_eq(mproc_queue_expect(queue, getppid()), 0);
    explain(queue);
    ck_assert_ptr_nonnull(strstr(report.state, "\nread by 1, written by 0; 1 writers came\n"
                                               "announced and still to come: 1; never came: 0"));
    mproc_queue_close(&queue);
    queue = queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .expected_writers = 4));
    explain(queue);
    ck_assert_ptr_nonnull(strstr(report.state, "; 0 writers of 4 expected came"));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(who_stands_in_a_put_or_a_get_holds_it)
{
    mproc_queue *queue = queue_make(MPROC__HOME_HOST, NULL);
    mproc__robust_shared *lock = _i == 0 ? &queue->shared->put.side.lock : &queue->shared->get.side.lock;
    ck_assert_int_eq(mproc__robust_acquire(lock, MPROC_NOW), 0);
    explain(queue);
    mproc__robust_release(lock);
    ck_assert_uint_eq(mproc__report_told(&report), 1);
    ck_assert_int_eq(report.holders[0].tid, mproc__tid());
    ck_assert_str_eq(report.holders[0].as, _i == 0 ? "in a put" : "in a get");
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(garbage_is_told_as_such_and_never_followed)
{
    mproc_queue *queue = queue_make(MPROC__HOME_HOST, NULL);
    explain(queue);
    copy.state = 4711;
    explain_damaged(sizeof(copy));
    ck_assert_ptr_nonnull(strstr(report.state, "damaged, "));
    explain_damaged(sizeof(copy) - 1);
    ck_assert_str_eq(report.state, "");
    memset(&copy, 0xff, sizeof(copy));
    explain_damaged(sizeof(copy));
    ck_assert_ptr_nonnull(strstr(report.state, "damaged, "));
    mproc_queue_close(&queue);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue_explain");
    TCase *told = support_case(suite, "told");
    tcase_add_test(told, items_and_their_room_are_told);
    tcase_add_test(told, what_kind_of_queue_it_is_is_told);
    tcase_add_loop_test(told, the_order_is_told_unless_it_is_that_of_arrival, 0, 3);
    tcase_add_loop_test(told, a_queue_that_was_shut_says_so, 0, 2);
    tcase_add_test(told, who_reads_and_writes_is_told_where_it_is_counted);
    tcase_add_loop_test(told, who_stands_in_a_put_or_a_get_holds_it, 0, 2);
    tcase_add_test(told, garbage_is_told_as_such_and_never_followed);
    return support_run(suite, argc, argv);
}
