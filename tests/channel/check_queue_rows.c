/* SPDX-License-Identifier: BSD-2-Clause */
/* Fullness and emptiness as the reference describes them, in every form of a call and from both sides. */
#include "platform/base.h"

#include <unistd.h>

#include "channel/queue_people.h"
#include "platform/platform.h"

enum { ROOM = 6, WAIT_MS = 50 };

static size_t count(const mproc_queue *queue)
{
    size_t items = 99;
    ck_assert_int_eq(mproc_queue_counts(queue, &items, NULL, NULL), 0);
    return items;
}

static int put_in_some_way(mproc_queue *queue, int way, mproc_deadline deadline)
{
    size_t many;
    int value = way;
    switch (way) {
    case 0:
    case 1:
    case 2:
        return mproc_queue_put(queue, &value, sizeof value, deadline);
    case 3:
        return mproc_queue_put_variant(queue, mproc_int(way), deadline);
    case 4:
        return mproc_queue_put_many(queue, &value, sizeof value, 1, deadline, &many);
    default:
        return mproc_queue_put_priority(queue, &value, sizeof value, 0, deadline);
    }
}

/* Blocking for ever, with a deadline, not at all; bytes, a value, a batch.
 * shows: QUEUE-01 */
START_TEST(puts_in_every_form_fill_a_queue_of_six_and_no_more)
{
    mproc_queue *queue = queue_make((mproc__home)_i, MPROC_WITH(mproc_queue_options, .max_items = ROOM));
    mproc_deadline forms[] = {MPROC_FOREVER, soon(), MPROC_NOW, MPROC_FOREVER, soon(), MPROC_NOW};
    for (int way = 0; way < ROOM; way++) {
        ck_assert_uint_eq(count(queue), (size_t)way);
        ck_assert_int_eq(put_in_some_way(queue, way, forms[way]), 0);
    }
    for (int way = 0; way < ROOM; way++)
        ck_assert_int_eq(put_in_some_way(queue, way, MPROC_NOW), -ETIMEDOUT);
    ck_assert_uint_eq(count(queue), ROOM);
    mproc_queue_close(&queue);
}
END_TEST

/* shows: QUEUE-02 */
START_TEST(a_timed_put_into_a_full_queue_fails_after_its_time_and_a_try_at_once)
{
    mproc_queue *queue = queue_make((mproc__home)_i, MPROC_WITH(mproc_queue_options, .max_items = 1));
    ck_assert_int_eq(put_number(queue, 1), 0);
    static const int asked_ms[] = {0, -WAIT_MS, WAIT_MS};
    for (int i = 0; i < 3; i++) {
        int64_t begun = mproc__now_ns();
        ck_assert_int_eq(mproc_queue_put(queue, "x", 1, mproc_after_ms(asked_ms[i])), -ETIMEDOUT);
        int64_t taken_ms = (mproc__now_ns() - begun) / 1000000;
        ck_assert_int_ge(taken_ms, asked_ms[i]);
        ck_assert_int_lt(taken_ms, WAIT_MS + support_ms(1000));
    }
    mproc_queue_close(&queue);
}
END_TEST

/* Says over `answers` how many items it sees each time it is asked over `asks`. */
typedef struct talk {
    mproc_queue *queue, *asks, *answers;
} talk;

static int counts_when_asked(void *context)
{
    talk *t = context;
    size_t items = 99;
    while (get_number(t->asks, soon()) > 0)
        if (mproc_queue_counts(t->queue, &items, NULL, NULL) < 0 || put_number(t->answers, (int)items) < 0)
            return 1;
    return 0;
}

static void both_see(talk *t, size_t items)
{
    ck_assert_uint_eq(count(t->queue), items);
    ck_assert_int_eq(put_number(t->asks, 1), 0);
    ck_assert_int_eq(get_number(t->answers, soon()), (int)items);
}

/* shows: SQUE-01 QUEUE-08 */
START_TEST(emptiness_is_right_in_both_processes_around_two_puts)
{
    talk t = {make(NULL), make(NULL), make(NULL)};
    pid_t other = support_fork(counts_when_asked, &t);
    both_see(&t, 0);
    ck_assert_int_eq(put_number(t.queue, 1), 0);
    both_see(&t, 1);
    ck_assert_int_eq(put_number(t.queue, 2), 0);
    both_see(&t, 2);
    ck_assert_int_eq(get_number(t.queue, MPROC_FOREVER), 1);
    both_see(&t, 1);
    ck_assert_int_eq(get_number(t.queue, MPROC_FOREVER), 2);
    both_see(&t, 0);
    ck_assert_int_eq(put_number(t.asks, 0), 0);
    ends_well(other);
    mproc_queue_close(&t.queue);
    mproc_queue_close(&t.asks);
    mproc_queue_close(&t.answers);
}
END_TEST

static int reads_when_the_putter_sleeps(void *context)
{
    return !support_until_asleep(getppid(), 3000) || get_number(context, MPROC_NOW) != 1;
}

/* shows: SQUE-02 */
START_TEST(a_put_into_a_full_queue_waits_for_room_itself)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .max_items = 1));
    ck_assert_int_eq(put_number(queue, 1), 0);
    pid_t reader = support_fork(reads_when_the_putter_sleeps, queue);
    ck_assert_int_eq(put_number(queue, 2), 0);
    ends_well(reader);
    ck_assert_int_eq(get_number(queue, MPROC_NOW), 2);
    mproc_queue_close(&queue);
}
END_TEST

/* shows: JQUE-02 */
START_TEST(join_of_a_queue_without_unfinished_items_returns_at_once)
{
    mproc_queue *queue = queue_make((mproc__home)_i, MPROC_WITH(mproc_queue_options, .redeliver = true));
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    ck_assert_int_eq(put_number(queue, 1), 0);
    ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loan), 0);
    ck_assert_int_eq(mproc_queue_join(queue, mproc_after_ms(20)), -ETIMEDOUT);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    mproc_queue_close(&queue);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue_rows");
    TCase *both = support_case(suite, "both homes");
    tcase_add_loop_test(both, puts_in_every_form_fill_a_queue_of_six_and_no_more, 0, 2);
    tcase_add_loop_test(both, a_timed_put_into_a_full_queue_fails_after_its_time_and_a_try_at_once, 0, 2);
    tcase_add_loop_test(both, join_of_a_queue_without_unfinished_items_returns_at_once, 0, 2);
    TCase *processes = support_case(suite, "processes");
    tcase_add_test(processes, emptiness_is_right_in_both_processes_around_two_puts);
    tcase_add_test(processes, a_put_into_a_full_queue_waits_for_room_itself);
    return support_run(suite, argc, argv);
}
