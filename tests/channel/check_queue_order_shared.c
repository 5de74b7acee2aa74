/* SPDX-License-Identifier: BSD-2-Clause */
/* LIFO and priority queues with several at once: sleepers, crowds of threads and processes, deaths, stopped ones, damage. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/heap.h"
#include "channel/queue_common.h"
#include "support/support.h"

static const mproc__home homes[] = {MPROC__HOME_HOST, MPROC__HOME_THREAD};

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(5000));
}

static mproc_queue *make(mproc__home home, mproc_order order, size_t max_items, bool redeliver)
{
    mproc_queue *queue =
        queue_make(home, MPROC_WITH(mproc_queue_options, .order = order, .max_items = max_items,
                                    .redeliver = redeliver, .max_deliveries = 20));
    ck_assert_ptr_nonnull(queue);
    return queue;
}

static void put_int(mproc_queue *queue, int value, int32_t priority)
{
    ck_assert_int_eq(mproc_queue_put_priority(queue, &value, sizeof value, priority, soon()), 0);
}

static int get_int(mproc_queue *queue)
{
    int value = -1;
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, soon(), NULL), 0);
    return value;
}

static void end(mproc_queue *queue)
{
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}

/* ---- sleepers ---- */

typedef struct sleeper {
    mproc_queue *queue;
    pthread_t thread;
    _Atomic pid_t tid;
    bool puts;
    int value, result;
} sleeper;

static void *sleep_and_move(void *context)
{
    sleeper *s = context;
    s->tid = mproc__tid();
    s->result = s->puts ? mproc_queue_put_priority(s->queue, &s->value, sizeof s->value, -1, soon())
                        : mproc_queue_get(s->queue, &s->value, sizeof s->value, soon(), NULL);
    return NULL;
}

static void sleeper_start(sleeper *s, mproc_queue *queue, bool puts, int value)
{
    *s = (sleeper){.queue = queue, .puts = puts, .value = value};
    ck_assert_int_eq(pthread_create(&s->thread, NULL, sleep_and_move, s), 0);
    while (s->tid == 0)
        ;
    ck_assert(support_until_asleep(s->tid, 5000));
}

static void sleeper_end(sleeper *s)
{
    ck_assert_int_eq(pthread_join(s->thread, NULL), 0);
    ck_assert_int_eq(s->result, 0);
}

START_TEST(a_put_wakes_a_getter_and_a_get_a_putter_of_an_ordered_queue)
{
    mproc_queue *queue = make(homes[_i], MPROC_ORDER_PRIORITY, 1, false);
    sleeper s;
    for (int round = 0; round < 20; round++) {
        sleeper_start(&s, queue, false, 0);
        put_int(queue, 7, 3);
        sleeper_end(&s);
        ck_assert_int_eq(s.value, 7);
        put_int(queue, 8, 0);
        sleeper_start(&s, queue, true, 9);
        ck_assert_int_eq(get_int(queue), 8);
        sleeper_end(&s);
        ck_assert_int_eq(get_int(queue), 9);
    }
    end(queue);
}
END_TEST

START_TEST(give_back_wakes_a_sleeping_getter)
{
    mproc_queue *queue = make(homes[_i], MPROC_ORDER_LIFO, 0, true);
    mproc_loan loan = MPROC_LOAN_INIT;
    sleeper s;
    put_int(queue, 5, 0);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    sleeper_start(&s, queue, false, 0);
    ck_assert_int_eq(mproc_queue_give_back(queue, &loan), 0);
    sleeper_end(&s);
    ck_assert_int_eq(s.value, 5);
    end(queue);
}
END_TEST

/* ---- crowds ---- */

enum { CROWD = 3, CROWD_ITEMS = 2000, PRIORITIES = 4 };

typedef struct crowd {
    mproc_queue *queue;
    uint32_t number;
    uint32_t next[CROWD][PRIORITIES]; /* the least that may come from that producer with that priority */
    unsigned got;
    bool disorder;
} crowd;

typedef struct crowd_item {
    uint32_t producer, number;
} crowd_item;

static void *crowd_put(void *context)
{
    crowd *c = context;
    for (uint32_t i = 0; i < CROWD_ITEMS; i++) {
        crowd_item item = {c->number, i};
        if (mproc_queue_put_priority(c->queue, &item, sizeof item, (int32_t)(i % PRIORITIES), soon()) < 0)
            return context;
    }
    return NULL;
}

static void *crowd_take(void *context)
{
    crowd *c = context;
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc;
    while ((rc = mproc_queue_take(c->queue, soon(), &loan)) == 0) {
        crowd_item item;
        memcpy(&item, loan.data, sizeof item);
        uint32_t *next = &c->next[item.producer][loan.priority];
        c->disorder |= item.number < *next;
        *next = item.number + 1;
        c->got++;
        if (mproc_queue_done(c->queue, &loan) < 0)
            return context;
    }
    return rc == MPROC_EEND ? NULL : context;
}

START_TEST(many_threads_get_every_item_once_and_each_producers_equals_in_order)
{
    mproc_queue *queue = make(homes[_i], MPROC_ORDER_PRIORITY, 50, true);
    static crowd c[2 * CROWD];
    pthread_t thread[2 * CROWD];
    unsigned got = 0;
    for (uint32_t i = 0; i < 2 * CROWD; i++) {
        c[i] = (crowd){.queue = queue, .number = i};
        pthread_create(&thread[i], NULL, i < CROWD ? crowd_put : crowd_take, &c[i]);
    }
    for (int i = 0; i < 2 * CROWD; i++) {
        void *wrong;
        if (i == CROWD)
            ck_assert_int_eq(mproc_queue_shutdown(queue, false), 0);
        pthread_join(thread[i], &wrong);
        ck_assert_ptr_null(wrong);
        ck_assert(!c[i].disorder);
        got += c[i].got;
    }
    ck_assert_uint_eq(got, CROWD * CROWD_ITEMS);
    end(queue);
}
END_TEST

/* ---- processes ---- */

static int child_puts_backwards(void *context)
{
    for (int i = 20; i-- > 0;)
        if (mproc_queue_put_priority(context, &i, sizeof i, i, soon()) < 0)
            return 1;
    return 0;
}

/* shows: WORK-7 */
START_TEST(what_a_child_put_comes_out_sorted_after_it_is_gone)
{
    mproc_queue *queue = make(MPROC__HOME_HOST, MPROC_ORDER_PRIORITY, 0, false);
    ck_assert_int_eq(support_reap(support_fork(child_puts_backwards, queue), 5000), 0);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(get_int(queue), i);
    end(queue);
}
END_TEST

static int child_takes_three_and_dies(void *context)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    for (int i = 0; i < 3; i++)
        if (mproc_queue_take(context, soon(), &loan) < 0)
            return 1;
    raise(SIGKILL);
    return 2;
}

static void take_expect(mproc_queue *queue, int value, uint32_t delivery)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    ck_assert_int_eq(memcmp(loan.data, &value, sizeof value), 0);
    ck_assert_int_eq(loan.priority, value % 2);
    ck_assert_uint_eq(loan.delivery, delivery);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
}

/* The even ones are of priority 0, the odd ones of 1: taken were 0, 2 and 4. */
START_TEST(what_the_dead_had_taken_comes_again_marked_in_its_place)
{
    mproc_queue *queue = make(MPROC__HOME_HOST, MPROC_ORDER_PRIORITY, 0, true);
    for (int i = 0; i < 8; i++)
        put_int(queue, i, i % 2);
    pid_t child = support_fork(child_takes_three_and_dies, queue);
    ck_assert_int_eq(support_reap(child, 5000), 256 + SIGKILL);
    put_int(queue, 8, 0);
    mproc__segment_sweep(queue->segment);
    size_t items, taken;
    ck_assert_int_eq(mproc_queue_counts(queue, &items, &taken, NULL), 0);
    ck_assert_uint_eq(items, 9);
    ck_assert_uint_eq(taken, 0);
    static const int expected[] = {0, 2, 4, 6, 8, 1, 3, 5, 7};
    for (size_t i = 0; i < MPROC__COUNT(expected); i++)
        take_expect(queue, expected[i], i < 3 ? 2 : 1);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    end(queue);
}
END_TEST

/* Stops with the queue's lock, is killed there at the end. */
static int child_stops_with_the_lock(void *context)
{
    mproc_queue *queue = context;
    if (mproc__queue_enter(queue) < 0 ||
        mproc__side_lock(queue->segment, &queue->shared->get.side, soon()) < 0)
        return 1;
    raise(SIGSTOP);
    return 2;
}

static bool is_stopped(void *context)
{
    mproc_queue *queue = context;
    if (mproc__side_lock(queue->segment, &queue->shared->get.side, MPROC_NOW) < 0)
        return true;
    mproc__side_release(&queue->shared->get.side);
    return false;
}

/* shows: DEATH-11 */
START_TEST(a_stopped_holder_of_the_lock_keeps_nobody_beyond_the_deadline)
{
    mproc_queue *queue = make(MPROC__HOME_HOST, MPROC_ORDER_PRIORITY, 0, true);
    mproc_loan loan = MPROC_LOAN_INIT;
    int value;
    put_int(queue, 1, 1);
    put_int(queue, 2, 2);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    pid_t child = support_fork(child_stops_with_the_lock, queue);
    ck_assert(support_until(is_stopped, queue, 5000));
    ck_assert_int_eq(mproc_queue_put(queue, "x", 1, mproc_after_ms(20)), -ETIMEDOUT);
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, mproc_after_ms(20), NULL), -ETIMEDOUT);
    ck_assert_int_eq(mproc_queue_join(queue, mproc_after_ms(20)), -ETIMEDOUT);
    /* Without the lock: counted at once, and in its place for the next who has it. */
    ck_assert_int_eq(mproc_queue_give_back(queue, &loan), 0);
    size_t items = 0;
    ck_assert_int_eq(mproc_queue_counts(queue, &items, NULL, NULL), 0);
    ck_assert_uint_eq(items, 2);
    support_kill(child);
    put_int(queue, 0, 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(get_int(queue), i);
    end(queue);
}
END_TEST

static int child_closes_with_a_loan(void *context)
{
    mproc_queue *queue = context;
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc = mproc_queue_take(queue, soon(), &loan);
    mproc_queue_close(&queue);
    return rc < 0;
}

START_TEST(a_loan_open_at_close_goes_back_to_its_place)
{
    mproc_queue *queue = make(MPROC__HOME_HOST, MPROC_ORDER_LIFO, 0, true);
    for (int i = 0; i < 3; i++)
        put_int(queue, i, 0);
    ck_assert_int_eq(support_reap(support_fork(child_closes_with_a_loan, queue), 5000), 0);
    for (int i = 3; i-- > 0;)
        ck_assert_int_eq(get_int(queue), i);
    end(queue);
}
END_TEST

/* ---- what else lies there ---- */

/* Whatever heap and count say, a set mark makes them from the blocks again. */
START_TEST(a_stale_heap_is_made_again_from_the_blocks)
{
    mproc_queue *queue = make(homes[_i], MPROC_ORDER_PRIORITY, 0, false);
    for (int i = 0; i < 100; i++)
        put_int(queue, i, -(i % 7));
    memset(queue->ring.bytes, 0xa5, queue->ring.size_bytes);
    queue->shared->tail = queue->shared->head;
    queue->shared->order.stale = 1;
    size_t items = 0;
    ck_assert_int_eq(mproc_queue_counts(queue, &items, NULL, NULL), 0);
    ck_assert_uint_eq(items, 100);
    for (int priority = -6; priority <= 0; priority++)
        for (int i = -priority; i < 100; i += 7)
            ck_assert_int_eq(get_int(queue), i);
    ck_assert_int_eq(mproc_queue_get(queue, NULL, 0, MPROC_NOW, NULL), -ETIMEDOUT);
    end(queue);
}
END_TEST

/* shows: MEM-2 */
START_TEST(damage_to_heap_count_or_block_is_told_and_never_followed)
{
    mproc_queue *queue = make(homes[_i], MPROC_ORDER_PRIORITY, 0, false);
    int value;
    put_int(queue, 1, 0);
    mproc__entry_shared *entry = (void *)queue->ring.bytes, good = *entry;
    entry->block = UINT32_MAX;
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, soon(), NULL), MPROC_ECORRUPT);
    entry->block = good.block + 1;
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, soon(), NULL), MPROC_ECORRUPT);
    *entry = good;
    uint64_t tail = queue->shared->tail;
    queue->shared->tail = mproc__position_advance(queue->shared->head, 16, 0xffffff);
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, soon(), NULL), MPROC_ECORRUPT);
    ck_assert_int_eq(mproc_queue_put(queue, &value, sizeof value, soon()), MPROC_ECORRUPT);
    queue->shared->tail = tail;
    mproc__block_shared *block = mproc__queue_block(queue, good.block);
    block->size_bytes = 1u << 30;
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, soon(), NULL), MPROC_ECORRUPT);
    queue->shared->order.stale = 1; /* nor is it left out when the heap is made again */
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, soon(), NULL), MPROC_ECORRUPT);
    ck_assert_int_eq(mproc_queue_put(queue, &value, sizeof value, soon()), MPROC_ECORRUPT);
    block->size_bytes = sizeof value;
    ck_assert_int_eq(get_int(queue), 1);
    end(queue);
}
END_TEST

/* A block for each, whatever max_items was: with a limit on items alone, up to 64 bytes each. */
START_TEST(large_limits_of_items_are_exact_where_every_item_is_a_block)
{
    mproc_order order = _i & 1 ? MPROC_ORDER_PRIORITY : MPROC_ORDER_FIFO;
    mproc_queue *queue = make(homes[_i >> 1], order, 60000, true);
    uint8_t item[64] = {0};
    for (int i = 0; i < 60000; i++)
        ck_assert_int_eq(mproc_queue_put(queue, item, sizeof item, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_put(queue, item, 0, MPROC_NOW), -ETIMEDOUT);
    mproc_queue_close(&queue);
    ck_assert_int_eq(mproc_queue_create(NULL,
                                        MPROC_WITH(mproc_queue_options, .redeliver = true, .order = order,
                                                   .max_items = 16000000),
                                        &queue),
                     -EINVAL);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue_order_shared");
    TCase *both = support_case(suite, "both homes");
    tcase_add_loop_test(both, a_put_wakes_a_getter_and_a_get_a_putter_of_an_ordered_queue, 0, 2);
    tcase_add_loop_test(both, give_back_wakes_a_sleeping_getter, 0, 2);
    tcase_add_loop_test(both, many_threads_get_every_item_once_and_each_producers_equals_in_order, 0, 2);
    tcase_add_loop_test(both, a_stale_heap_is_made_again_from_the_blocks, 0, 2);
    tcase_add_loop_test(both, damage_to_heap_count_or_block_is_told_and_never_followed, 0, 2);
    tcase_add_loop_test(both, large_limits_of_items_are_exact_where_every_item_is_a_block, 0, 4);
    TCase *processes = support_case(suite, "processes");
    tcase_add_test(processes, what_a_child_put_comes_out_sorted_after_it_is_gone);
    tcase_add_test(processes, what_the_dead_had_taken_comes_again_marked_in_its_place);
    tcase_add_test(processes, a_stopped_holder_of_the_lock_keeps_nobody_beyond_the_deadline);
    tcase_add_test(processes, a_loan_open_at_close_goes_back_to_its_place);
    return support_run(suite, argc, argv);
}
