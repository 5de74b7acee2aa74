/* SPDX-License-Identifier: BSD-2-Clause */
/* Loans and the acknowledged mode, among the living. What a death does to them is in check_queue_block.c. */
#include "platform/base.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "channel/queue_common.h"
#include "support/support.h"

static const mproc__home homes[] = {MPROC__HOME_HOST, MPROC__HOME_THREAD};

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(5000));
}

static mproc_queue *make(int home, bool redeliver)
{
    mproc_queue *queue = queue_make(homes[home], MPROC_WITH(mproc_queue_options, .redeliver = redeliver,
                                                            .max_deliveries = 3, .max_bytes = 65536));
    ck_assert_ptr_nonnull(queue);
    return queue;
}

static void put_int(mproc_queue *queue, int value)
{
    ck_assert_int_eq(mproc_queue_put(queue, &value, sizeof value, soon()), 0);
}

static mproc_loan take_int(mproc_queue *queue, int value, uint32_t delivery)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    ck_assert_uint_eq(loan.data_bytes, sizeof value);
    ck_assert_int_eq(memcmp(loan.data, &value, sizeof value), 0);
    ck_assert_uint_eq(loan.delivery, delivery);
    return loan;
}

static void counts(mproc_queue *queue, size_t items, size_t taken)
{
    size_t is_items, is_taken;
    ck_assert_int_eq(mproc_queue_counts(queue, &is_items, &is_taken, NULL), 0);
    ck_assert_uint_eq(is_items, items);
    ck_assert_uint_eq(is_taken, taken);
}

START_TEST(what_is_written_into_a_reserved_loan_is_what_is_taken)
{
    mproc_queue *queue = make(_i, false);
    mproc_loan in = MPROC_LOAN_INIT, out = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_reserve(queue, 10000, soon(), &in), 0);
    ck_assert_uint_eq(in.data_bytes, 10000);
    memset(in.data, 'a', 10000);
    in.data_bytes = 9000;
    counts(queue, 0, 0);
    ck_assert_int_eq(mproc_queue_commit(queue, &in), 0);
    ck_assert_ptr_null(in.data);
    ck_assert_int_eq(mproc_queue_commit(queue, &in), MPROC_ESTATE);
    counts(queue, 1, 0);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &out), 0);
    ck_assert_uint_eq(out.data_bytes, 9000);
    ck_assert_int_eq(((char *)out.data)[8999], 'a');
    ck_assert_int_eq(mproc_queue_done(queue, &out), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_dropped_loan_leaves_nothing_and_a_copy_of_it_is_refused)
{
    mproc_queue *queue = make(_i, true);
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_reserve(queue, 100, soon(), &loan), 0);
    mproc_loan copy = loan;
    ck_assert_int_eq(mproc_queue_done(queue, &copy), MPROC_ESTATE);
    copy.data_bytes = 5000;
    ck_assert_int_eq(mproc_queue_commit(queue, &copy), -EINVAL);
    ck_assert_int_eq(mproc_queue_drop(queue, &loan), 0);
    ck_assert_int_eq(mproc_queue_drop(queue, &copy), MPROC_ESTATE);
    ck_assert_int_eq(mproc_queue_commit(queue, &copy), MPROC_ESTATE);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_committed_loan_cannot_be_committed_by_a_copy)
{
    mproc_queue *queue = make(_i, false);
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_reserve(queue, 100, soon(), &loan), 0);
    mproc_loan copy = loan;
    ck_assert_int_eq(mproc_queue_commit(queue, &loan), 0);
    ck_assert_int_eq(mproc_queue_commit(queue, &copy), MPROC_ESTATE);
    ck_assert_int_eq(mproc_queue_drop(queue, &copy), MPROC_ESTATE);
    counts(queue, 1, 0);
    mproc_queue_close(&queue);
}
END_TEST

/* shows: JQUE-03 */
START_TEST(done_twice_is_an_error_and_changes_nothing)
{
    for (int redeliver = 0; redeliver < 2; redeliver++) {
        mproc_queue *queue = make(_i, redeliver);
        put_int(queue, 1);
        put_int(queue, 2);
        mproc_loan first = take_int(queue, 1, 1), second = take_int(queue, 2, 1), copy = first;
        counts(queue, 0, redeliver ? 2 : 0);
        ck_assert_int_eq(mproc_queue_done(queue, &first), 0);
        ck_assert_int_eq(mproc_queue_done(queue, &first), MPROC_ESTATE);
        ck_assert_int_eq(mproc_queue_done(queue, &copy), MPROC_ESTATE);
        ck_assert_int_eq(mproc_queue_give_back(queue, &copy), MPROC_ESTATE);
        counts(queue, 0, redeliver ? 1 : 0);
        ck_assert_int_eq(mproc_queue_done(queue, &second), 0);
        ck_assert_ptr_null(queue_verify(queue, 0));
        mproc_queue_close(&queue);
    }
}
END_TEST

/* shows: JQUE-01 JQUE-02 JQUE-04 */
START_TEST(join_waits_for_done_and_not_only_for_taken)
{
    mproc_queue *queue = make(_i, true);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    put_int(queue, 1);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), -ETIMEDOUT);
    mproc_loan loan = take_int(queue, 1, 1);
    ck_assert_int_eq(mproc_queue_join(queue, mproc_after_ms(10)), -ETIMEDOUT);
    ck_assert_int_eq(mproc_queue_give_back(queue, &loan), 0);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), -ETIMEDOUT);
    loan = take_int(queue, 1, 2);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* shows: QUEUE-22 */
START_TEST(after_discard_join_waits_for_those_in_work_only)
{
    mproc_queue *queue = make(_i, true);
    put_int(queue, 1);
    put_int(queue, 2);
    put_int(queue, 3);
    mproc_loan loan = take_int(queue, 1, 1), other = take_int(queue, 2, 1);
    ck_assert_int_eq(mproc_queue_shutdown(queue, true), 0);
    counts(queue, 0, 2);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    ck_assert_int_eq(mproc_queue_give_back(queue, &other), 0);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loan), MPROC_EEND);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(what_is_given_back_comes_first_and_the_oldest_of_them_first)
{
    for (int redeliver = 0; redeliver < 2; redeliver++) {
        mproc_queue *queue = make(_i, redeliver);
        for (int i = 1; i <= 4; i++)
            put_int(queue, i);
        mproc_loan one = take_int(queue, 1, 1), two = take_int(queue, 2, 1), three = take_int(queue, 3, 1);
        ck_assert_int_eq(mproc_queue_give_back(queue, &two), 0);
        ck_assert_int_eq(mproc_queue_give_back(queue, &three), 0);
        ck_assert_int_eq(mproc_queue_give_back(queue, &one), 0);
        counts(queue, 4, 0);
        for (int i = 1; i <= 4; i++) {
            mproc_loan loan = take_int(queue, i, i < 4 ? 2 : 1);
            ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
        }
        ck_assert_ptr_null(queue_verify(queue, 0));
        mproc_queue_close(&queue);
    }
}
END_TEST

START_TEST(above_max_deliveries_an_item_is_dropped)
{
    mproc_queue *queue = make(_i, true);
    put_int(queue, 1);
    for (uint32_t delivery = 1; delivery <= 3; delivery++) {
        mproc_loan loan = take_int(queue, 1, delivery);
        ck_assert_int_eq(mproc_queue_give_back(queue, &loan), 0);
    }
    counts(queue, 0, 0);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    ck_assert_uint_eq(queue->shared->dropped, 1);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

/* A loan holds no lock and no part of the ring: any number may be open, in any order. */
START_TEST(open_loans_stop_nobody)
{
    mproc_queue *queue = make(_i, false);
    mproc_loan loans[50];
    for (int i = 0; i < 50; i++)
        put_int(queue, i);
    for (int i = 0; i < 50; i++)
        loans[i] = take_int(queue, i, 1);
    put_int(queue, 99);
    mproc_loan last = take_int(queue, 99, 1);
    for (int i = 0; i < 50; i += 2)
        ck_assert_int_eq(mproc_queue_done(queue, &loans[i]), 0);
    ck_assert_int_eq(memcmp(loans[49].data, &(int){49}, sizeof(int)), 0);
    (void)last; /* close frees the copies that are still out */
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(reserve_waits_until_a_block_is_free)
{
    mproc_queue *queue = make(_i, true);
    mproc_loan first = MPROC_LOAN_INIT, second = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_reserve(queue, 60000, MPROC_NOW, &first), 0);
    ck_assert_int_eq(mproc_queue_reserve(queue, 60000, MPROC_NOW, &second), -ETIMEDOUT);
    ck_assert_int_eq(mproc_queue_reserve(queue, 70000, MPROC_NOW, &second), -EMSGSIZE);
    ck_assert_int_eq(mproc_queue_drop(queue, &first), 0);
    ck_assert_int_eq(mproc_queue_reserve(queue, 60000, MPROC_NOW, &second), 0);
    ck_assert_int_eq(mproc_queue_drop(queue, &second), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- done elsewhere ---- */

typedef struct errand {
    mproc_queue *queue;
    mproc_loan loan;
} errand;

static int child_is_done(void *context)
{
    errand *e = context;
    mproc_loan by_id = MPROC_LOAN_INIT;
    by_id.id = e->loan.id;
    return mproc_queue_done(e->queue, &by_id) != 0;
}

/* shows: JQUE-04 */
START_TEST(done_may_come_from_another_process_with_the_id_alone)
{
    errand e = {.queue = make(0, true)};
    put_int(e.queue, 1);
    e.loan = take_int(e.queue, 1, 1);
    ck_assert_int_eq(support_reap(support_fork(child_is_done, &e), 5000), 0);
    ck_assert_int_eq(mproc_queue_join(e.queue, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_done(e.queue, &e.loan), MPROC_ESTATE);
    mproc_queue_close(&e.queue);
}
END_TEST

static int child_works(void *context)
{
    mproc_queue *queue = context;
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc;
    while ((rc = mproc_queue_take(queue, soon(), &loan)) == 0) {
        usleep(1000); /* the work */
        if (mproc_queue_done(queue, &loan) < 0)
            return 1;
    }
    return rc == MPROC_EEND ? 0 : 2;
}

/* shows: JQUE-01 */
START_TEST(join_returns_when_four_workers_have_done_all)
{
    mproc_queue *queue = make(0, true);
    pid_t workers[4];
    for (int i = 0; i < 4; i++)
        workers[i] = support_fork(child_works, queue);
    for (int i = 0; i < 40; i++)
        put_int(queue, i);
    ck_assert_int_eq(mproc_queue_join(queue, soon()), 0);
    counts(queue, 0, 0);
    ck_assert_int_eq(mproc_queue_shutdown(queue, false), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(support_reap(workers[i], 5000), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

static atomic_bool borrowing;

static void *borrow_for_ever(void *context)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    while (atomic_load(&borrowing))
        if (mproc_queue_reserve(context, 10, MPROC_NOW, &loan) == 0)
            (void)mproc_queue_drop(context, &loan);
    return NULL;
}

static int borrows_once(void *context)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    return mproc_queue_reserve(context, 10, soon(), &loan) == 0 ? mproc_queue_drop(context, &loan) : 1;
}

START_TEST(a_fork_child_borrows_whatever_the_parents_threads_were_doing)
{
    mproc_queue *queue = make(0, true);
    pthread_t thread;
    atomic_store(&borrowing, true);
    ck_assert_int_eq(pthread_create(&thread, NULL, borrow_for_ever, queue), 0);
    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(support_reap(support_fork(borrows_once, queue), 5000), 0);
    atomic_store(&borrowing, false);
    pthread_join(thread, NULL);
    mproc_queue_close(&queue);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue loans");
    TCase *both = support_case(suite, "both homes");
    tcase_add_loop_test(both, what_is_written_into_a_reserved_loan_is_what_is_taken, 0, 2);
    tcase_add_loop_test(both, a_dropped_loan_leaves_nothing_and_a_copy_of_it_is_refused, 0, 2);
    tcase_add_loop_test(both, a_committed_loan_cannot_be_committed_by_a_copy, 0, 2);
    tcase_add_loop_test(both, done_twice_is_an_error_and_changes_nothing, 0, 2);
    tcase_add_loop_test(both, join_waits_for_done_and_not_only_for_taken, 0, 2);
    tcase_add_loop_test(both, after_discard_join_waits_for_those_in_work_only, 0, 2);
    tcase_add_loop_test(both, what_is_given_back_comes_first_and_the_oldest_of_them_first, 0, 2);
    tcase_add_loop_test(both, above_max_deliveries_an_item_is_dropped, 0, 2);
    tcase_add_loop_test(both, open_loans_stop_nobody, 0, 2);
    tcase_add_loop_test(both, reserve_waits_until_a_block_is_free, 0, 2);
    TCase *processes = support_case(suite, "processes");
    tcase_add_test(processes, done_may_come_from_another_process_with_the_id_alone);
    tcase_add_test(processes, join_returns_when_four_workers_have_done_all);
    tcase_add_test(processes, a_fork_child_borrows_whatever_the_parents_threads_were_doing);
    return support_run(suite, argc, argv);
}
