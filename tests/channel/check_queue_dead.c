/* SPDX-License-Identifier: BSD-2-Clause */
/* Dead letters: what was delivered too often, where it goes, who gets it, and that it is there once whoever dies. */
#include "platform/base.h"

#include <signal.h>
#include <string.h>

#include "channel/queue_people.h"

enum { LARGE = 3000, DELIVERIES = 2 };

typedef struct homed {
    mproc__home home;
    bool redeliver;
    mproc_order order;
} homed;

static const homed homes[] = {
    {MPROC__HOME_HOST, true, MPROC_ORDER_FIFO},  {MPROC__HOME_THREAD, true, MPROC_ORDER_FIFO},
    {MPROC__HOME_HOST, false, MPROC_ORDER_FIFO}, {MPROC__HOME_THREAD, false, MPROC_ORDER_FIFO},
    {MPROC__HOME_HOST, true, MPROC_ORDER_LIFO},  {MPROC__HOME_HOST, true, MPROC_ORDER_PRIORITY}};

static mproc_queue *make_keeping(int which)
{
    const homed *h = &homes[which];
    mproc_queue *queue =
        queue_make(h->home, MPROC_WITH(mproc_queue_options, .redeliver = h->redeliver, .order = h->order,
                                       .max_deliveries = DELIVERIES, .keep_dead = true, .max_bytes = 16384));
    ck_assert_ptr_nonnull(queue);
    return queue;
}

static mproc_loan take(mproc_queue *queue)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    return loan;
}

static mproc_loan take_dead(mproc_queue *queue)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_take_dead(queue, soon(), &loan), 0);
    return loan;
}

static int dead_now(mproc_queue *queue)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    return mproc_queue_take_dead(queue, MPROC_NOW, &loan);
}

/* Takes what is there and gives it back until it is dead. */
static void let_die(mproc_queue *queue)
{
    for (int i = 0; i < DELIVERIES; i++) {
        mproc_loan loan = take(queue);
        ck_assert_uint_eq(loan.delivery, (unsigned)i + 1);
        ck_assert_int_eq(mproc_queue_give_back(queue, &loan), 0);
    }
}

static void dead_counts(mproc_queue *queue, size_t kept, size_t dropped)
{
    size_t is_kept = 99, is_dropped = 99;
    ck_assert_int_eq(mproc_queue_count_dead(queue, &is_kept, &is_dropped), 0);
    ck_assert_uint_eq(is_kept, kept);
    ck_assert_uint_eq(is_dropped, dropped);
    ck_assert_int_eq(mproc_queue_count_dead(queue, NULL, NULL), 0);
}

START_TEST(what_was_delivered_too_often_is_a_dead_letter_and_nothing_else)
{
    mproc_queue *queue = make_keeping(_i);
    size_t items, taken;
    ck_assert_int_eq(put_number(queue, 5), 0);
    let_die(queue);
    dead_counts(queue, 1, 0);
    ck_assert_int_eq(get_number(queue, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_counts(queue, &items, &taken, NULL), 0);
    ck_assert_uint_eq(items + taken, 0);
    mproc_loan dead = take_dead(queue);
    ck_assert_uint_eq(dead.delivery, DELIVERIES + 1);
    ck_assert_uint_eq(dead.data_bytes, sizeof(int));
    ck_assert_int_eq(*(const int *)dead.data, 5);
    dead_counts(queue, 0, 0);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_done(queue, &dead), 0);
    ck_assert_int_eq(dead_now(queue), -ETIMEDOUT);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(dead_letters_come_oldest_first_whole_whatever_their_size)
{
    mproc_queue *queue = make_keeping(_i);
    uint8_t large[LARGE];
    for (int i = 0; i < 3; i++) {
        memset(large, i, sizeof large);
        ck_assert_int_eq(mproc_queue_put(queue, large, sizeof large, soon()), 0);
        let_die(queue);
    }
    for (int i = 0; i < 3; i++) {
        memset(large, i, sizeof large);
        mproc_loan dead = take_dead(queue);
        ck_assert_uint_eq(dead.data_bytes, sizeof large);
        ck_assert_int_eq(memcmp(dead.data, large, sizeof large), 0);
        ck_assert_int_eq(mproc_queue_done(queue, &dead), 0);
    }
    ck_assert_int_eq(dead_now(queue), -ETIMEDOUT);
    mproc_queue_close(&queue);
}
END_TEST

enum { MANY = 100 };

/* The first and the last one put die, with few takes and many arrivals in between. */
START_TEST(the_oldest_is_the_first_that_came_also_by_priority)
{
    mproc_queue *queue =
        queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .order = MPROC_ORDER_PRIORITY,
                                                .max_deliveries = 1, .keep_dead = true));
    ck_assert_ptr_nonnull(queue);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(
            mproc_queue_put_priority(queue, &i, sizeof i, i == 0 || i == MANY - 1 ? 0 : 1, MPROC_NOW), 0);
    for (int i = 0; i < 2; i++) {
        mproc_loan loan = take(queue);
        ck_assert_int_eq(*(const int *)loan.data, i == 0 ? 0 : MANY - 1);
        ck_assert_int_eq(mproc_queue_give_back(queue, &loan), 0);
    }
    mproc_loan first = take_dead(queue), second = take_dead(queue);
    ck_assert_int_eq(*(const int *)first.data, 0);
    ck_assert_int_eq(*(const int *)second.data, MANY - 1);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_dead_letter_that_is_given_back_is_one_still)
{
    mproc_queue *queue = make_keeping(_i);
    ck_assert_int_eq(put_number(queue, 5), 0);
    let_die(queue);
    for (int i = 0; i < 300; i++) {
        mproc_loan dead = take_dead(queue), copy = dead;
        ck_assert_int_eq(dead_now(queue), -ETIMEDOUT);
        ck_assert_int_eq(mproc_queue_give_back(queue, &dead), 0);
        ck_assert_int_eq(mproc_queue_done(queue, &copy), MPROC_ESTATE);
    }
    dead_counts(queue, 1, 0);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_value_that_died_can_be_read_as_one)
{
    mproc_queue *queue = make_keeping(_i);
    mproc_variant item;
    ck_assert_int_eq(mproc_queue_put_variant(queue, mproc_text("poison"), soon()), 0);
    let_die(queue);
    mproc_loan dead = take_dead(queue);
    ck_assert_int_eq(mproc_queue_loan_variant(&dead, &item), 0);
    ck_assert_int_eq(item.kind, MPROC_KIND_TEXT);
    ck_assert_int_eq(mproc_queue_put_variant(queue, item, soon()), 0); /* once more */
    ck_assert_int_eq(mproc_queue_done(queue, &dead), 0);
    let_die(queue);
    dead_counts(queue, 1, 0);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(without_keep_dead_they_are_dropped_and_counted)
{
    mproc_queue *queue = queue_make(
        (mproc__home)_i, MPROC_WITH(mproc_queue_options, .redeliver = true, .max_deliveries = DELIVERIES));
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(put_number(queue, 5), 0);
    let_die(queue);
    dead_counts(queue, 0, 1);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_take_dead(queue, MPROC_NOW, &loan), -EINVAL);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    mproc_queue *queue = make_keeping(_i);
    mproc_loan loan = MPROC_LOAN_INIT, bad = {0};
    ck_assert_int_eq(put_number(queue, 5), 0);
    let_die(queue);
    ck_assert_int_eq(mproc_queue_take_dead(NULL, MPROC_NOW, &loan), -EINVAL);
    ck_assert_int_eq(mproc_queue_take_dead(queue, MPROC_NOW, NULL), -EINVAL);
    ck_assert_int_eq(mproc_queue_take_dead(queue, MPROC_NOW, &bad), -EINVAL);
    ck_assert_int_eq(mproc_queue_count_dead(NULL, NULL, NULL), -EINVAL);
    dead_counts(queue, 1, 0);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(dead_letters_are_room_until_they_are_done)
{
    mproc_queue *queue = make_keeping(0);
    uint8_t large[LARGE] = {0};
    size_t kept = 0;
    while (mproc_queue_put(queue, large, sizeof large, MPROC_NOW) == 0) {
        let_die(queue);
        kept++;
    }
    ck_assert_uint_ge(kept, 4);
    dead_counts(queue, kept, 0);
    mproc_loan dead = take_dead(queue);
    ck_assert_int_eq(mproc_queue_done(queue, &dead), 0);
    ck_assert_int_eq(mproc_queue_put(queue, large, sizeof large, MPROC_NOW), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- the end ---- */

START_TEST(after_shutdown_the_dead_are_taken_and_then_comes_the_end)
{
    mproc_queue *queue = make_keeping(0);
    ck_assert_int_eq(put_number(queue, 1), 0);
    let_die(queue);
    ck_assert_int_eq(put_number(queue, 2), 0);
    mproc_loan taken = take(queue);
    ck_assert_int_eq(mproc_queue_shutdown(queue, _i == 1), 0);
    mproc_loan dead = take_dead(queue);
    ck_assert_int_eq(dead_now(queue), -ETIMEDOUT); /* the taken one may yet die */
    ck_assert_int_eq(mproc_queue_done(queue, &taken), 0);
    ck_assert_int_eq(dead_now(queue), MPROC_EEND);
    ck_assert_int_eq(mproc_queue_give_back(queue, &dead), 0);
    dead_counts(queue, 1, 0); /* a discard, too, leaves the dead */
    dead = take_dead(queue);
    ck_assert_int_eq(mproc_queue_done(queue, &dead), 0);
    ck_assert_int_eq(dead_now(queue), MPROC_EEND);
    mproc_queue_close(&queue);
}
END_TEST

/* Given back, and then discarded: nobody will take it, so it cannot die. */
START_TEST(what_was_given_back_and_discarded_does_not_keep_the_end_away)
{
    mproc_queue *queue = make_keeping(_i);
    ck_assert_int_eq(put_number(queue, 1), 0);
    mproc_loan loan = take(queue);
    ck_assert_int_eq(mproc_queue_give_back(queue, &loan), 0);
    ck_assert_int_eq(dead_now(queue), -ETIMEDOUT);
    ck_assert_int_eq(mproc_queue_shutdown(queue, true), 0);
    ck_assert_int_eq(dead_now(queue), MPROC_EEND);
    mproc_queue_close(&queue);
}
END_TEST

/* The producer died when the block was queued, and before the tail store. */
START_TEST(an_item_that_is_not_yet_counted_keeps_the_end_away)
{
    mproc_queue *queue = make_keeping(_i);
    ck_assert_int_eq(put_number(queue, 1), 0);
    atomic_store(&queue->shared->order.stale, 1);
    atomic_store(&queue->shared->tail, atomic_load(&queue->shared->head));
    ck_assert_int_eq(mproc_queue_shutdown(queue, false), 0);
    ck_assert_int_eq(dead_now(queue), -ETIMEDOUT);
    ck_assert_int_eq(get_number(queue, MPROC_NOW), 1);
    ck_assert_int_eq(dead_now(queue), MPROC_EEND);
    mproc_queue_close(&queue);
}
END_TEST

static int waits_for_ever(void *context)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    return mproc_queue_take_dead(context, MPROC_FOREVER, &loan) == MPROC_EEND ? 0 : 1;
}

START_TEST(who_waits_for_the_dead_wakes_when_a_get_empties_the_queue)
{
    mproc_queue *queue = make_keeping(_i);
    ck_assert_int_eq(put_number(queue, 1), 0);
    ck_assert_int_eq(mproc_queue_shutdown(queue, false), 0);
    pid_t waiter = support_fork(waits_for_ever, queue);
    ck_assert(support_until_asleep(waiter, 3000));
    ck_assert_int_eq(get_number(queue, MPROC_NOW), 1);
    ends_well(waiter);
    mproc_queue_close(&queue);
}
END_TEST

static int waits_for_the_dead(void *context)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc = mproc_queue_take_dead(context, soon(), &loan);
    return rc == 0 ? 10 : rc == MPROC_EEND ? 11 : 12;
}

START_TEST(who_waits_for_the_dead_wakes_for_one_and_for_the_end)
{
    mproc_queue *queue = make_keeping(0);
    ck_assert_int_eq(put_number(queue, 1), 0);
    pid_t waiter = support_fork(waits_for_the_dead, queue);
    ck_assert(support_until_asleep(waiter, 3000));
    if (_i == 0) {
        let_die(queue);
        ck_assert_int_eq(support_reap(waiter, 5000), 10);
    } else {
        mproc_loan last = take(queue);
        ck_assert_int_eq(mproc_queue_shutdown(queue, false), 0);
        ck_assert(support_until_asleep(waiter, 3000));
        ck_assert_int_eq(mproc_queue_done(queue, &last), 0);
        ck_assert_int_eq(support_reap(waiter, 5000), 11);
    }
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(the_last_writers_end_ends_the_wait_for_dead_letters)
{
    mproc_queue *queue = make_keeping(0);
    ck_assert_int_eq(mproc_queue_role(queue, MPROC_ROLE_READ), 0);
    pid_t writer = fork_staying(writes_one, queue);
    ck_assert_int_eq(get_number(queue, soon()), 7);
    pid_t killer = kill_when_i_sleep(writer);
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_take_dead(queue, soon(), &loan), MPROC_EEND);
    ends_well(killer);
    ck_assert_int_eq(support_reap(writer, 5000), 256 + SIGKILL);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- deaths ---- */

static int takes_and_dies(void *context)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    return mproc_queue_take(context, soon(), &loan) < 0 || raise(SIGKILL) != 0;
}

static int takes_dead_and_dies(void *context)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    return mproc_queue_take_dead(context, soon(), &loan) < 0 || raise(SIGKILL) != 0;
}

START_TEST(an_item_whose_takers_all_die_is_a_dead_letter)
{
    mproc_queue *queue = make_keeping(0);
    ck_assert_int_eq(put_number(queue, 5), 0);
    for (int i = 0; i < DELIVERIES; i++)
        ck_assert_int_eq(support_reap(support_fork(takes_and_dies, queue), 5000), 256 + SIGKILL);
    ck_assert_int_eq(mproc_queue_join(queue, soon()), 0);
    dead_counts(queue, 1, 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(support_reap(support_fork(takes_dead_and_dies, queue), 5000), 256 + SIGKILL);
    mproc_loan dead = take_dead(queue);
    ck_assert_int_eq(*(const int *)dead.data, 5);
    ck_assert_int_eq(mproc_queue_done(queue, &dead), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_plain_queues_dead_letter_survives_its_taker_too)
{
    mproc_queue *queue = make_keeping(2);
    ck_assert_int_eq(put_number(queue, 5), 0);
    let_die(queue);
    ck_assert_int_eq(support_reap(support_fork(takes_dead_and_dies, queue), 5000), 256 + SIGKILL);
    mproc_loan dead = take_dead(queue);
    ck_assert_int_eq(mproc_queue_done(queue, &dead), 0);
    mproc_queue_close(&queue);
}
END_TEST

static int closes(void *context)
{
    mproc_queue *queue = context;
    int rc = get_number(queue, MPROC_NOW);
    mproc_queue_close(&queue);
    return rc != -ETIMEDOUT;
}

static int lets_it_die(void *context)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    for (int i = 0; i < DELIVERIES; i++)
        if (mproc_queue_take(context, soon(), &loan) < 0 || mproc_queue_give_back(context, &loan) < 0)
            return 1;
    mproc_queue *queue = context;
    mproc_queue_close(&queue);
    return 0;
}

START_TEST(a_dead_letter_stays_when_the_process_that_let_it_die_closes)
{
    mproc_queue *queue = make_keeping(0);
    ck_assert_int_eq(put_number(queue, 5), 0);
    ends_well(support_fork(lets_it_die, queue));
    ends_well(support_fork(closes, queue)); /* in the row of the one before */
    dead_counts(queue, 1, 0);
    mproc_queue_close(&queue);
}
END_TEST

int main(int argc, char **argv)
{
    int all = (int)MPROC__COUNT(homes);
    Suite *suite = suite_create("queue_dead");
    TCase *letters = support_case(suite, "letters");
    tcase_add_loop_test(letters, what_was_delivered_too_often_is_a_dead_letter_and_nothing_else, 0, all);
    tcase_add_loop_test(letters, dead_letters_come_oldest_first_whole_whatever_their_size, 0, all);
    tcase_add_test(letters, the_oldest_is_the_first_that_came_also_by_priority);
    tcase_add_loop_test(letters, a_dead_letter_that_is_given_back_is_one_still, 0, all);
    tcase_add_loop_test(letters, a_value_that_died_can_be_read_as_one, 0, all);
    tcase_add_loop_test(letters, without_keep_dead_they_are_dropped_and_counted, 0, 2);
    tcase_add_loop_test(letters, wrong_arguments_are_refused, 0, 2);
    tcase_add_test(letters, dead_letters_are_room_until_they_are_done);
    TCase *end = support_case(suite, "end");
    tcase_add_loop_test(end, after_shutdown_the_dead_are_taken_and_then_comes_the_end, 0, 2);
    tcase_add_loop_test(end, what_was_given_back_and_discarded_does_not_keep_the_end_away, 0, all);
    tcase_add_loop_test(end, an_item_that_is_not_yet_counted_keeps_the_end_away, 4, all);
    tcase_add_loop_test(end, who_waits_for_the_dead_wakes_when_a_get_empties_the_queue, 2, 3);
    tcase_add_loop_test(end, who_waits_for_the_dead_wakes_for_one_and_for_the_end, 0, 2);
    tcase_add_test(end, the_last_writers_end_ends_the_wait_for_dead_letters);
    TCase *deaths = support_case(suite, "deaths");
    tcase_add_test(deaths, an_item_whose_takers_all_die_is_a_dead_letter);
    tcase_add_test(deaths, a_plain_queues_dead_letter_survives_its_taker_too);
    tcase_add_test(deaths, a_dead_letter_stays_when_the_process_that_let_it_die_closes);
    return support_run(suite, argc, argv);
}
