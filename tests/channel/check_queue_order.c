/* SPDX-License-Identifier: BSD-2-Clause */
/* LIFO and priority queues against a simple model, at both homes (loop index 0: host, 1: threads). */
#include "platform/base.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/queue_common.h"
#include "support/support.h"

static const mproc__home homes[] = {MPROC__HOME_HOST, MPROC__HOME_THREAD};

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(5000));
}

static mproc_queue *make(int home, mproc_order order, size_t max_items, bool redeliver)
{
    mproc_queue *queue = queue_make(homes[home], MPROC_WITH(mproc_queue_options, .order = order,
                                                            .max_items = max_items, .redeliver = redeliver));
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
    size_t size = 0;
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, soon(), &size), 0);
    ck_assert_uint_eq(size, sizeof value);
    return value;
}

static size_t count(mproc_queue *queue)
{
    size_t items = 99;
    ck_assert_int_eq(mproc_queue_counts(queue, &items, NULL, NULL), 0);
    return items;
}

static void end(mproc_queue *queue)
{
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}

/* ---- order ---- */

START_TEST(a_lifo_queue_gives_the_newest_first)
{
    mproc_queue *queue = make(_i, MPROC_ORDER_LIFO, 0, false);
    for (int i = 0; i < 100; i++)
        put_int(queue, i, 0);
    ck_assert_uint_eq(count(queue), 100);
    for (int i = 99; i >= 50; i--)
        ck_assert_int_eq(get_int(queue), i);
    put_int(queue, 1000, 0);
    ck_assert_int_eq(get_int(queue), 1000);
    for (int i = 49; i >= 0; i--)
        ck_assert_int_eq(get_int(queue), i);
    ck_assert_int_eq(mproc_queue_get(queue, NULL, 0, MPROC_NOW, NULL), -ETIMEDOUT);
    end(queue);
}
END_TEST

START_TEST(the_smallest_priority_comes_first_and_equals_in_order_of_arrival)
{
    static const int32_t priorities[] = {5, INT32_MAX, 0, -1, INT32_MIN, 5, 0, INT32_MIN, INT32_MAX, -1};
    static const int expected[] = {4, 7, 3, 9, 2, 6, 0, 5, 1, 8};
    mproc_queue *queue = make(_i, MPROC_ORDER_PRIORITY, 0, false);
    for (int i = 0; i < 10; i++)
        put_int(queue, i, priorities[i]);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(get_int(queue), expected[i]);
    end(queue);
}
END_TEST

START_TEST(a_plain_put_is_of_priority_0_and_a_loan_carries_one)
{
    mproc_queue *queue = make(_i, MPROC_ORDER_PRIORITY, 0, true);
    mproc_loan loan = MPROC_LOAN_INIT;
    put_int(queue, 1, 1);
    ck_assert_int_eq(mproc_queue_put(queue, "plain", 5, soon()), 0);
    ck_assert_int_eq(mproc_queue_reserve(queue, 3, soon(), &loan), 0);
    ck_assert_int_eq(loan.priority, 0);
    loan.priority = -7;
    memcpy(loan.data, "low", 3);
    ck_assert_int_eq(mproc_queue_commit(queue, &loan), 0);
    ck_assert_int_eq(mproc_queue_put_priority_variant(queue, mproc_int(9), -3, soon()), 0);
    static const int32_t expected[] = {-7, -3, 0, 1};
    for (size_t i = 0; i < MPROC__COUNT(expected); i++) {
        ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
        ck_assert_int_eq(loan.priority, expected[i]);
        ck_assert_uint_eq(loan.delivery, 1);
        ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    }
    end(queue);
}
END_TEST

START_TEST(a_priority_is_refused_where_there_is_none)
{
    static const mproc_order orders[] = {MPROC_ORDER_FIFO, MPROC_ORDER_LIFO};
    for (size_t i = 0; i < MPROC__COUNT(orders); i++) {
        mproc_queue *queue = make(_i, orders[i], 0, false);
        mproc_loan loan = MPROC_LOAN_INIT;
        ck_assert_int_eq(mproc_queue_put_priority(queue, "x", 1, 3, MPROC_NOW), -EINVAL);
        ck_assert_int_eq(mproc_queue_put_priority_variant(queue, mproc_int(1), -3, MPROC_NOW), -EINVAL);
        ck_assert_int_eq(mproc_queue_reserve(queue, 1, soon(), &loan), 0);
        loan.priority = 1;
        ck_assert_int_eq(mproc_queue_commit(queue, &loan), -EINVAL);
        loan.priority = 0;
        ck_assert_int_eq(mproc_queue_drop(queue, &loan), 0);
        ck_assert_uint_eq(count(queue), 0);
        ck_assert_int_eq(mproc_queue_put_priority(queue, "x", 1, 0, MPROC_NOW), 0);
        ck_assert_uint_eq(count(queue), 1);
        end(queue);
    }
    mproc_queue *queue = NULL;
    ck_assert_int_eq(
        mproc_queue_create(NULL, MPROC_WITH(mproc_queue_options, .order = (mproc_order)3), &queue), -EINVAL);
    ck_assert_ptr_null(queue);
}
END_TEST

START_TEST(what_is_given_back_keeps_its_priority_and_its_place)
{
    mproc_queue *queue = make(_i, MPROC_ORDER_PRIORITY, 0, _i == 0);
    mproc_loan first = MPROC_LOAN_INIT, second = MPROC_LOAN_INIT;
    for (int i = 0; i < 4; i++)
        put_int(queue, i, 1);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &first), 0);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &second), 0);
    put_int(queue, 10, 0);
    ck_assert_int_eq(mproc_queue_give_back(queue, &second), 0);
    ck_assert_uint_eq(count(queue), 4);
    ck_assert_int_eq(mproc_queue_give_back(queue, &first), 0);
    ck_assert_uint_eq(count(queue), 5);
    ck_assert_int_eq(get_int(queue), 10);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &first), 0);
    ck_assert_uint_eq(first.delivery, 2);
    ck_assert_int_eq(memcmp(first.data, &(int){0}, sizeof(int)), 0);
    ck_assert_int_eq(mproc_queue_done(queue, &first), 0);
    for (int i = 1; i < 4; i++)
        ck_assert_int_eq(get_int(queue), i);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    end(queue);
}
END_TEST

START_TEST(a_bounded_one_is_full_at_max_items_whatever_was_given_back)
{
    for (mproc_order order = MPROC_ORDER_LIFO; order <= MPROC_ORDER_PRIORITY; order++) {
        mproc_queue *queue = make(_i, order, 2, false);
        mproc_loan loan = MPROC_LOAN_INIT;
        put_int(queue, 1, 0);
        put_int(queue, 2, 0);
        ck_assert_int_eq(mproc_queue_put(queue, "x", 1, mproc_after_ms(20)), -ETIMEDOUT);
        ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
        put_int(queue, 3, 0);
        ck_assert_int_eq(mproc_queue_give_back(queue, &loan), 0);
        ck_assert_uint_eq(count(queue), 3);
        ck_assert_int_eq(mproc_queue_put(queue, "x", 1, MPROC_NOW), -ETIMEDOUT);
        (void)get_int(queue);
        ck_assert_int_eq(mproc_queue_put(queue, "x", 1, MPROC_NOW), -ETIMEDOUT);
        (void)get_int(queue);
        put_int(queue, 4, 0);
        ck_assert_uint_eq(count(queue), 2);
        end(queue);
    }
}
END_TEST

START_TEST(both_kinds_of_shutdown_end_an_ordered_queue)
{
    for (int discard = 0; discard < 2; discard++) {
        mproc_queue *queue = make(_i, MPROC_ORDER_PRIORITY, 0, true);
        put_int(queue, 1, 1);
        put_int(queue, 0, 0);
        ck_assert_int_eq(mproc_queue_shutdown(queue, discard), 0);
        ck_assert_int_eq(mproc_queue_put_priority(queue, "x", 1, 1, soon()), MPROC_ECLOSED);
        ck_assert_uint_eq(count(queue), discard ? 0 : 2);
        if (!discard) {
            ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), -ETIMEDOUT);
            ck_assert_int_eq(get_int(queue), 0);
            ck_assert_int_eq(get_int(queue), 1);
        }
        ck_assert_int_eq(mproc_queue_get(queue, NULL, 0, soon(), NULL), MPROC_EEND);
        ck_assert_int_eq(mproc_queue_join(queue, soon()), 0);
        ck_assert_ptr_null(queue_verify(queue, 0));
        mproc_queue_close(&queue);
    }
}
END_TEST

START_TEST(batches_go_in_and_come_out_by_the_same_order)
{
    mproc_queue *queue = make(_i, MPROC_ORDER_LIFO, 0, false);
    int in[50], out[60];
    size_t moved = 0;
    for (int i = 0; i < 50; i++)
        in[i] = i;
    ck_assert_int_eq(mproc_queue_put_many(queue, in, sizeof(int), 50, soon(), &moved), 0);
    ck_assert_uint_eq(moved, 50);
    ck_assert_int_eq(mproc_queue_get_many(queue, out, sizeof(int), 60, soon(), &moved), 0);
    ck_assert_uint_eq(moved, 50);
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(out[i], 49 - i);
    end(queue);
}
END_TEST

/* ---- against a model ---- */

enum { MODEL_MOST = 300, MODEL_STEPS = 4000, MODEL_SIZE_MOST = 2000 };

typedef struct model_item {
    int32_t priority;
    uint64_t arrival;
    uint32_t value;
    size_t size_bytes;
    uint32_t delivery;
    bool is_variant;
    mproc_loan loan; /* taken when its id is not 0 */
} model_item;

typedef struct model {
    mproc_queue *queue;
    mproc_order order;
    model_item items[MODEL_MOST];
    size_t count;
    uint64_t arrivals;
    uint64_t random;
} model;

static uint32_t below(model *m, uint32_t limit)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (uint32_t)(m->random >> 11) % limit;
}

static bool model_before(const model *m, const model_item *a, const model_item *b)
{
    if (m->order == MPROC_ORDER_LIFO)
        return a->arrival > b->arrival;
    return a->priority != b->priority ? a->priority < b->priority : a->arrival < b->arrival;
}

static model_item *model_first(model *m)
{
    model_item *first = NULL;
    for (size_t i = 0; i < m->count; i++)
        if (m->items[i].loan.id == 0 && (!first || model_before(m, &m->items[i], first)))
            first = &m->items[i];
    return first;
}

static model_item *model_taken(model *m)
{
    size_t from = m->count ? below(m, (uint32_t)m->count) : 0;
    for (size_t i = 0; i < m->count; i++)
        if (m->items[(from + i) % m->count].loan.id != 0)
            return &m->items[(from + i) % m->count];
    return NULL;
}

static void model_remove(model *m, model_item *item)
{
    *item = m->items[--m->count];
}

static void item_bytes(const model_item *item, uint8_t *ret_bytes)
{
    memset(ret_bytes, (int)item->value, item->size_bytes);
    memcpy(ret_bytes, &item->value, sizeof item->value);
}

static void model_put(model *m)
{
    static const int32_t priorities[] = {INT32_MIN, -1, 0, 0, 1, 2, INT32_MAX};
    uint8_t bytes[MODEL_SIZE_MOST];
    model_item *item = &m->items[m->count];
    *item = (model_item){.arrival = m->arrivals++, .loan = MPROC_LOAN_INIT};
    item->value = (uint32_t)item->arrival * 2654435761u;
    item->size_bytes = 4 + below(m, below(m, 4) == 0 ? MODEL_SIZE_MOST - 4 : 40);
    if (m->order == MPROC_ORDER_PRIORITY)
        item->priority = priorities[below(m, MPROC__COUNT(priorities))];
    item_bytes(item, bytes);
    mproc_loan loan = MPROC_LOAN_INIT;
    switch (below(m, 3)) {
    case 0:
        ck_assert_int_eq(mproc_queue_reserve(m->queue, item->size_bytes + 9, soon(), &loan), 0);
        memcpy(loan.data, bytes, item->size_bytes);
        loan.data_bytes = item->size_bytes;
        loan.priority = item->priority;
        ck_assert_int_eq(mproc_queue_commit(m->queue, &loan), 0);
        break;
    case 1:
        item->is_variant = true;
        ck_assert_int_eq(
            mproc_queue_put_priority_variant(m->queue, mproc_int(item->value), item->priority, soon()), 0);
        break;
    default:
        ck_assert_int_eq(mproc_queue_put_priority(m->queue, bytes, item->size_bytes, item->priority, soon()),
                         0);
    }
    m->count++;
}

static void model_get(model *m)
{
    uint8_t bytes[MODEL_SIZE_MOST], expected[MODEL_SIZE_MOST];
    size_t size = 0;
    model_item *first = model_first(m);
    if (!first) {
        ck_assert_int_eq(mproc_queue_get(m->queue, bytes, sizeof bytes, MPROC_NOW, NULL), -ETIMEDOUT);
        return;
    }
    if (first->is_variant) {
        mproc_variant got = mproc_null();
        ck_assert_int_eq(mproc_queue_get(m->queue, bytes, sizeof bytes, soon(), NULL), MPROC_EARGUMENT);
        ck_assert_int_eq(mproc_queue_get_variant(m->queue, soon(), &got), 0);
        ck_assert_int_eq(got.number, first->value);
        mproc_variant_clear(&got);
    } else {
        ck_assert_int_eq(mproc_queue_get(m->queue, bytes, 1, soon(), &size), MPROC_ETOOSMALL);
        ck_assert_uint_eq(size, first->size_bytes);
        ck_assert_int_eq(mproc_queue_get(m->queue, bytes, sizeof bytes, soon(), &size), 0);
        item_bytes(first, expected);
        ck_assert_uint_eq(size, first->size_bytes);
        ck_assert_int_eq(memcmp(bytes, expected, size), 0);
    }
    model_remove(m, first);
}

static void model_take(model *m)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    model_item *first = model_first(m);
    if (!first) {
        ck_assert_int_eq(mproc_queue_take(m->queue, MPROC_NOW, &loan), -ETIMEDOUT);
        return;
    }
    ck_assert_int_eq(mproc_queue_take(m->queue, soon(), &loan), 0);
    ck_assert_int_eq(loan.priority, first->priority);
    ck_assert_uint_eq(loan.delivery, first->delivery + 1);
    if (first->is_variant) {
        mproc_variant got;
        ck_assert_int_eq(mproc_queue_loan_variant(&loan, &got), 0);
        ck_assert_int_eq(got.number, first->value);
    } else {
        uint8_t expected[MODEL_SIZE_MOST];
        item_bytes(first, expected);
        ck_assert_uint_eq(loan.data_bytes, first->size_bytes);
        ck_assert_int_eq(memcmp(loan.data, expected, loan.data_bytes), 0);
    }
    first->loan = loan;
    first->delivery++;
}

static void model_settle(model *m, bool give_back)
{
    model_item *taken = model_taken(m);
    if (!taken)
        return;
    ck_assert_int_eq((give_back ? mproc_queue_give_back : mproc_queue_done)(m->queue, &taken->loan), 0);
    if (!give_back || taken->delivery >= 3)
        model_remove(m, taken);
}

static void model_step(model *m)
{
    size_t items, taken = 0, queued = 0;
    uint32_t dice = below(m, 100);
    uint32_t puts = m->arrivals / 500 % 2 ? 25 : 50; /* it fills and drains by turns */
    if (dice < puts && m->count < MODEL_MOST)
        model_put(m);
    else if (dice < 70)
        model_get(m);
    else if (dice < 85)
        model_take(m);
    else
        model_settle(m, dice < 93);
    for (size_t i = 0; i < m->count; i++)
        queued += m->items[i].loan.id == 0;
    ck_assert_int_eq(mproc_queue_counts(m->queue, &items, &taken, NULL), 0);
    ck_assert_uint_eq(items, queued);
    if (m->queue->redeliver)
        ck_assert_uint_eq(taken, m->count - queued);
}

/* Loop index: home, order, acknowledged or not. */
START_TEST(thousands_of_random_calls_agree_with_a_model)
{
    static model m;
    m = (model){.order = _i & 2 ? MPROC_ORDER_LIFO : MPROC_ORDER_PRIORITY, .random = 88172645463325252u};
    m.queue = queue_make(homes[_i & 1], MPROC_WITH(mproc_queue_options, .order = m.order,
                                                   .redeliver = (_i & 4) != 0, .max_deliveries = 3));
    ck_assert_ptr_nonnull(m.queue);
    for (int step = 0; step < MODEL_STEPS; step++) {
        model_step(&m);
        if (step % 100 == 0)
            ck_assert_ptr_null(queue_verify(m.queue, 0));
    }
    for (size_t i = m.count; i-- > 0;)
        if (m.items[i].loan.id != 0) {
            ck_assert_int_eq(mproc_queue_done(m.queue, &m.items[i].loan), 0);
            model_remove(&m, &m.items[i]);
        }
    while (m.count > 0)
        model_get(&m);
    ck_assert_int_eq(mproc_queue_join(m.queue, MPROC_NOW), 0);
    end(m.queue);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue_order");
    TCase *order = support_case(suite, "order");
    tcase_add_loop_test(order, a_lifo_queue_gives_the_newest_first, 0, 2);
    tcase_add_loop_test(order, the_smallest_priority_comes_first_and_equals_in_order_of_arrival, 0, 2);
    tcase_add_loop_test(order, a_plain_put_is_of_priority_0_and_a_loan_carries_one, 0, 2);
    tcase_add_loop_test(order, a_priority_is_refused_where_there_is_none, 0, 2);
    tcase_add_loop_test(order, what_is_given_back_keeps_its_priority_and_its_place, 0, 2);
    tcase_add_loop_test(order, a_bounded_one_is_full_at_max_items_whatever_was_given_back, 0, 2);
    tcase_add_loop_test(order, both_kinds_of_shutdown_end_an_ordered_queue, 0, 2);
    tcase_add_loop_test(order, batches_go_in_and_come_out_by_the_same_order, 0, 2);
    tcase_add_loop_test(order, thousands_of_random_calls_agree_with_a_model, 0, 8);
    return support_run(suite, argc, argv);
}
