/* SPDX-License-Identifier: BSD-2-Clause */
/* Variants through queues of all four kinds: home (odd: threads) and mode (2 and up: acknowledged). */
#include "platform/base.h"

#include <string.h>

#include "channel/queue_common.h"
#include "support/support.h"

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(5000));
}

static mproc_queue *make(int which)
{
    mproc_queue *queue = queue_make(which & 1 ? MPROC__HOME_THREAD : MPROC__HOME_HOST,
                                    MPROC_WITH(mproc_queue_options, .redeliver = which >= 2));
    ck_assert_ptr_nonnull(queue);
    return queue;
}

/* shows: SQUE-01 QUEUE-17 */
START_TEST(a_nested_value_comes_out_equal)
{
    mproc_queue *queue = make(_i);
    char text[] = "words";
    mproc_variant big = mproc_null(), got;
    for (int i = 0; i < 500; i++)
        ck_assert_int_eq(mproc_variant_append(&big, MPROC_ARGS(i, "text of some length", 2.5)), 0);
    ck_assert_int_eq(
        mproc_queue_put_variant(queue, MPROC_ARGS(text, 3, mproc_bool(true), MPROC_NONE), soon()), 0);
    ck_assert_int_eq(mproc_queue_put_variant(queue, big, soon()), 0);
    strcpy(text, "other"); /* what was put is a copy */
    ck_assert_int_eq(mproc_queue_get_variant(queue, soon(), &got), 0);
    ck_assert(mproc_variant_equal(got, MPROC_ARGS("words", 3, mproc_bool(true), MPROC_NONE)));
    mproc_variant_clear(&got);
    ck_assert_int_eq(mproc_queue_get_variant(queue, soon(), &got), 0);
    ck_assert(mproc_variant_equal(got, big));
    mproc_variant_clear(&got);
    mproc_variant_clear(&big);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_bytes_message_is_a_bytes_variant_and_the_reverse)
{
    mproc_queue *queue = make(_i);
    char buffer[10];
    size_t size;
    mproc_variant got;
    ck_assert_int_eq(mproc_queue_put_variant(queue, mproc_bytes("abc", 3), soon()), 0);
    ck_assert_int_eq(mproc_queue_get(queue, buffer, sizeof buffer, soon(), &size), 0);
    ck_assert_uint_eq(size, 3);
    ck_assert_int_eq(mproc_queue_put(queue, "abc", 3, soon()), 0);
    ck_assert_int_eq(mproc_queue_get_variant(queue, soon(), &got), 0);
    ck_assert_int_eq(got.kind, MPROC_KIND_BYTES);
    ck_assert(mproc_variant_equal(got, mproc_bytes("abc", 3)));
    mproc_variant_clear(&got);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(get_of_bytes_keeps_a_variant_for_those_who_can_read_it)
{
    mproc_queue *queue = make(_i);
    char buffer[10];
    size_t n;
    mproc_variant got;
    ck_assert_int_eq(mproc_queue_put_variant(queue, mproc_int(5), soon()), 0);
    ck_assert_int_eq(mproc_queue_get(queue, buffer, sizeof buffer, soon(), NULL), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_queue_get_many(queue, buffer, 1, 2, soon(), &n), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_queue_get_variant(queue, soon(), &got), 0);
    ck_assert_int_eq(got.number, 5);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_loan_gives_the_variant_borrowed)
{
    mproc_queue *queue = make(_i);
    mproc_loan loan = MPROC_LOAN_INIT;
    mproc_variant item;
    ck_assert_int_eq(mproc_queue_loan_variant(&loan, &item), -EINVAL);
    ck_assert_int_eq(mproc_queue_put_variant(queue, MPROC_ARGS("one", 2), soon()), 0);
    ck_assert_int_eq(mproc_queue_put(queue, "bytes", 5, soon()), 0);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(mproc_queue_loan_variant(&loan, &item), 0);
        ck_assert(mproc_variant_equal(item, MPROC_ARGS("one", 2)));
        mproc_variant_clear(&item); /* harmless: it is borrowed */
    }
    ck_assert_int_eq(mproc_queue_give_back(queue, &loan), 0);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    ck_assert_uint_eq(loan.delivery, 2);
    ck_assert_int_eq(mproc_queue_loan_variant(&loan, &item), 0);
    ck_assert(mproc_variant_equal(item, MPROC_ARGS("one", 2)));
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    ck_assert_int_eq(mproc_queue_loan_variant(&loan, &item), 0);
    ck_assert(mproc_variant_equal(item, mproc_bytes("bytes", 5)));
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

/* shows: QUEUE-15 QUEUE-19 SQUE-02 WORK-4 */
START_TEST(what_cannot_be_carried_is_refused_and_takes_no_room)
{
    mproc_queue *queue = queue_make(_i & 1 ? MPROC__HOME_THREAD : MPROC__HOME_HOST,
                                    MPROC_WITH(mproc_queue_options, .max_items = 1, .redeliver = _i >= 2));
    size_t items;
    mproc_variant got;
    ck_assert_int_eq(mproc_queue_put_variant(queue, MPROC_ARGS(1, queue), MPROC_NOW), MPROC_ECANNOTCROSS);
    ck_assert_int_eq(mproc_error_code(mproc_error_of(queue)), MPROC_ECANNOTCROSS);
    ck_assert_int_eq(mproc_queue_put_variant(queue, mproc_pointer(&items), MPROC_NOW), MPROC_ECANNOTCROSS);
    ck_assert_int_eq(mproc_queue_put_variant(queue, mproc_uint(UINT64_MAX), MPROC_NOW), MPROC_EARGUMENT);
    ck_assert_int_eq(mproc_queue_counts(queue, &items, NULL, NULL), 0);
    ck_assert_uint_eq(items, 0);
    ck_assert_int_eq(mproc_queue_put_variant(queue, mproc_int(1), MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_get_variant(queue, MPROC_NOW, &got), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

/* Decoding fails for want of memory: the item goes back, counted, and is got by the next try. */
START_TEST(an_item_that_could_not_be_decoded_is_not_lost)
{
    for (unsigned n = 1;; n++) {
        mproc_queue *queue = make(_i);
        mproc_variant got = mproc_null();
        ck_assert_int_eq(mproc_queue_put_variant(queue, MPROC_ARGS("one", 2), soon()), 0);
        support_fail_allocation(n);
        int rc = mproc_queue_get_variant(queue, soon(), &got);
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        if (failed) {
            ck_assert_int_eq(rc, -ENOMEM);
            ck_assert_int_eq(mproc_queue_get_variant(queue, soon(), &got), 0);
        }
        ck_assert(mproc_variant_equal(got, MPROC_ARGS("one", 2)));
        mproc_variant_clear(&got);
        ck_assert_ptr_null(queue_verify(queue, 0));
        mproc_queue_close(&queue);
        if (!failed)
            return;
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue variants");
    TCase *all = support_case(suite, "homes and modes");
    tcase_add_loop_test(all, a_nested_value_comes_out_equal, 0, 4);
    tcase_add_loop_test(all, a_bytes_message_is_a_bytes_variant_and_the_reverse, 0, 4);
    tcase_add_loop_test(all, get_of_bytes_keeps_a_variant_for_those_who_can_read_it, 0, 4);
    tcase_add_loop_test(all, a_loan_gives_the_variant_borrowed, 0, 4);
    tcase_add_loop_test(all, what_cannot_be_carried_is_refused_and_takes_no_room, 0, 4);
    tcase_add_loop_test(all, an_item_that_could_not_be_decoded_is_not_lost, 0, 4);
    return support_run(suite, argc, argv);
}
