/* SPDX-License-Identifier: BSD-2-Clause */
/* What closing a handle does and does not, and how long a call waits for others. */
#include "platform/base.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "channel/queue_people.h"
#include "platform/platform.h"

enum { BUDGET = 1 << 20, WAIT_MS = 150 };

/* Every call, on a handle that is not there. */
static void refused_everywhere(mproc_queue *closed)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    mproc_variant item;
    size_t count = 99;
    int value = 5;
    ck_assert_int_eq(put_number(closed, 1), -EINVAL);
    ck_assert_int_eq(mproc_queue_get(closed, &value, sizeof value, MPROC_FOREVER, &count), -EINVAL);
    ck_assert_int_eq(mproc_queue_put_variant(closed, mproc_int(1), MPROC_FOREVER), -EINVAL);
    ck_assert_int_eq(mproc_queue_get_variant(closed, MPROC_FOREVER, &item), -EINVAL);
    ck_assert_int_eq(mproc_queue_put_many(closed, &value, sizeof value, 1, MPROC_FOREVER, &count), -EINVAL);
    ck_assert_int_eq(mproc_queue_get_many(closed, &value, sizeof value, 1, MPROC_FOREVER, &count), -EINVAL);
    ck_assert_int_eq(mproc_queue_reserve(closed, 8, MPROC_FOREVER, &loan), -EINVAL);
    ck_assert_int_eq(mproc_queue_take(closed, MPROC_FOREVER, &loan), -EINVAL);
    ck_assert_int_eq(mproc_queue_join(closed, MPROC_FOREVER), -EINVAL);
    ck_assert_int_eq(mproc_queue_shutdown(closed, true), -EINVAL);
    ck_assert_int_eq(mproc_queue_counts(closed, &count, &count, &count), -EINVAL);
    ck_assert_uint_eq(count, 99);
    ck_assert_int_eq(value, 5);
}

/* shows: QUEUE-13 QUEUE-14 SQUE-03 */
START_TEST(a_closed_handle_is_refused_by_every_call_and_closing_again_is_harmless)
{
    mproc_queue *unused = queue_make((mproc__home)_i, NULL), *used = queue_make((mproc__home)_i, NULL);
    mproc_queue_close(&unused);
    ck_assert_ptr_null(unused);
    ck_assert_int_eq(put_number(used, 1), 0);
    ck_assert_int_eq(get_number(used, MPROC_NOW), 1);
    mproc_queue_close(&used);
    ck_assert_ptr_null(used);
    refused_everywhere(used);
    mproc_queue_close(&used);
    mproc_queue_close(NULL);
    refused_everywhere(used);
}
END_TEST

/* A put that returned is written: to close right after it loses nothing, and needs nobody to wait.
 * shows: WORK-7 QUEUE-13 */
START_TEST(close_right_after_a_put_loses_nothing_and_waits_for_nobody)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .max_bytes = 2 * BUDGET));
    static uint8_t large[BUDGET], got[BUDGET];
    memset(large, 7, sizeof large);
    ends_well(support_fork(writes_one_and_closes, queue));
    mproc_queue *kept = NULL;
    ck_assert_int_eq(mproc_queue_put(queue, large, sizeof large, MPROC_NOW), 0);
    mproc__handle_keep(&queue->handle); /* as a second opener of its name has it */
    kept = queue;
    mproc_queue_close(&queue);
    ck_assert_int_eq(get_number(kept, MPROC_NOW), 7);
    ck_assert_int_eq(mproc_queue_get(kept, got, sizeof got, MPROC_NOW, NULL), 0);
    ck_assert_int_eq(memcmp(got, large, sizeof got), 0);
    mproc_queue_close(&kept);
}
END_TEST

static int closes_its_own(void *context)
{
    mproc_queue *queue = context;
    mproc_queue_close(&queue);
    return 0;
}

START_TEST(one_process_closes_for_itself_alone)
{
    mproc_queue *queue = make(NULL);
    ck_assert_int_eq(put_number(queue, 1), 0);
    ends_well(support_fork(closes_its_own, queue));
    ends_well(support_fork(writes_one_and_closes, queue));
    ck_assert_int_eq(get_number(queue, MPROC_NOW), 1);
    ck_assert_int_eq(get_number(queue, MPROC_NOW), 7);
    ck_assert_int_eq(put_number(queue, 2), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- one deadline ---- */

static int holds_the_consumers_lock(void *context)
{
    mproc_queue *queue = context;
    return mproc__queue_enter(queue) < 0 ||
           mproc__side_lock(queue->segment, &queue->shared->get.side, soon()) < 0;
}

static int get_in_some_way(mproc_queue *queue, int way, mproc_deadline deadline)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    mproc_variant item;
    size_t count;
    int value;
    switch (way) {
    case 0:
        return mproc_queue_get(queue, &value, sizeof value, deadline, NULL);
    case 1:
        return mproc_queue_get_variant(queue, deadline, &item);
    case 2:
        return mproc_queue_get_many(queue, &value, sizeof value, 1, deadline, &count);
    default:
        return mproc_queue_take(queue, deadline, &loan);
    }
}

/* The queue has an item, and another reader stands still in the middle of its get.
 * shows: QUEUE-04 */
START_TEST(the_deadline_bounds_the_wait_for_another_reader_too)
{
    mproc_queue *queue = make(NULL);
    ck_assert_int_eq(put_number(queue, 1), 0);
    pid_t reader = fork_staying(holds_the_consumers_lock, queue);
    int64_t begun = mproc__now_ns();
    ck_assert_int_eq(get_in_some_way(queue, _i, mproc_after_ms(WAIT_MS)), -ETIMEDOUT);
    int64_t taken_ms = (mproc__now_ns() - begun) / 1000000;
    ck_assert_int_ge(taken_ms, WAIT_MS);
    ck_assert_int_lt(taken_ms, WAIT_MS + support_ms(1000));
    ck_assert_int_eq(get_in_some_way(queue, _i, MPROC_NOW), -ETIMEDOUT);
    support_kill(reader);
    ck_assert_int_eq(get_number(queue, soon()), 1);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- sizes that do not fit 32 bits ---- */

#define HUGE ((size_t)4 << 30)

/* The data cannot even be read.
 * shows: WORK-8 */
START_TEST(what_is_larger_than_the_queue_is_refused_before_its_first_byte)
{
    static const size_t sizes[] = {BUDGET + 1, HUGE, HUGE + 1, HUGE + BUDGET, SIZE_MAX / 2, SIZE_MAX};
    mproc_queue *queue =
        queue_make((mproc__home)_i, MPROC_WITH(mproc_queue_options, .max_bytes = BUDGET, .redeliver = true));
    void *data = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < MPROC__COUNT(sizes); i++) {
        mproc_loan loan = MPROC_LOAN_INIT;
        size_t count;
        ck_assert_int_eq(mproc_queue_put(queue, data, sizes[i], MPROC_FOREVER), -EMSGSIZE);
        ck_assert_int_eq(mproc_queue_put_many(queue, data, sizes[i], 1, MPROC_FOREVER, &count), -EMSGSIZE);
        ck_assert_int_eq(mproc_queue_reserve(queue, sizes[i], MPROC_FOREVER, &loan), -EMSGSIZE);
    }
    ck_assert_int_eq(get_number(queue, MPROC_NOW), -ETIMEDOUT);
    ck_assert_ptr_null(queue_verify(queue, 0));
    munmap(data, 4096);
    mproc_queue_close(&queue);
}
END_TEST

static void mark(uint8_t *data, size_t size_bytes)
{
    memcpy(data, "begin", 5);
    memcpy(data + HUGE - 3, "middle", 6);
    memcpy(data + size_bytes - 3, "end", 3);
}

/* In a loan, so that only the pages with a mark are ever touched in the home thread; on the host, where there is memory.
 * shows: WORK-8 */
START_TEST(a_message_above_four_gigabytes_arrives_whole)
{
    size_t size_bytes = HUGE + 12345;
    if (_i == MPROC__HOME_HOST && mproc__memory_room(3 * HUGE) < 0)
        return;
    mproc_queue *queue = queue_make(
        (mproc__home)_i, MPROC_WITH(mproc_queue_options, .max_bytes = HUGE + BUDGET, .redeliver = true));
    ck_assert_ptr_nonnull(queue);
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_reserve(queue, size_bytes, soon(), &loan), 0);
    ck_assert_uint_eq(loan.data_bytes, size_bytes);
    mark(loan.data, size_bytes);
    ck_assert_int_eq(mproc_queue_commit(queue, &loan), 0);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    ck_assert_uint_eq(loan.data_bytes, size_bytes);
    const uint8_t *data = loan.data;
    ck_assert_mem_eq(data, "begin", 5);
    ck_assert_mem_eq(data + HUGE - 3, "middle", 6);
    ck_assert_mem_eq(data + size_bytes - 3, "end", 3);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    mproc_queue_close(&queue);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue_close");
    TCase *close_case = support_case(suite, "close");
    tcase_add_loop_test(close_case, a_closed_handle_is_refused_by_every_call_and_closing_again_is_harmless, 0,
                        2);
    tcase_add_test(close_case, close_right_after_a_put_loses_nothing_and_waits_for_nobody);
    tcase_add_test(close_case, one_process_closes_for_itself_alone);
    TCase *deadline = support_case(suite, "deadline");
    tcase_add_loop_test(deadline, the_deadline_bounds_the_wait_for_another_reader_too, 0, 4);
    TCase *sizes = support_case(suite, "sizes");
    tcase_add_loop_test(sizes, what_is_larger_than_the_queue_is_refused_before_its_first_byte, 0, 2);
    tcase_add_loop_test(sizes, a_message_above_four_gigabytes_arrives_whole, 0, 2);
    return support_run(suite, argc, argv);
}
