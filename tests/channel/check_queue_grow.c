/* SPDX-License-Identifier: BSD-2-Clause */
/* Queues that begin small and grow up to their budget: homes (loop index 0: host, 1: threads, 2: shm:), then memory that is
 * not to be had. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/queue_common.h"
#include "shm/named_common.h"
#include "support/support.h"

enum { BUDGET = 8 << 20, ITEM = 1000, BLOCK = 20000, LIMIT_MS = 20000 };

static mproc_place *place;
static mproc_queue *queue;

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(10000));
}

static void make(int home, const mproc_queue_options *options)
{
    int rc = home == 1   ? mproc__place_local(MPROC__HOME_THREAD, &place)
             : home == 2 ? mproc__place_shm("shm:/check-grow", NULL, &place)
                         : mproc__place_local(MPROC__HOME_HOST, &place);
    ck_assert_int_eq(rc, 0);
    rc = mproc_queue_create(place, options, &queue);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
}

static void drop(void)
{
    mproc_queue_close(&queue);
    mproc_place_close(&place);
}

/* What the queue's segment has of memory. */
static size_t held_bytes(void)
{
    struct stat status;
    ck_assert_int_eq(fstat(mproc__segment_fd(queue->segment), &status), 0);
    return (size_t)status.st_blocks * 512;
}

static uint32_t tail_ring(void)
{
    return mproc__position_ring(queue->shared->tail);
}

static uint8_t *numbered(size_t number, size_t size_bytes)
{
    static uint8_t buffer[BLOCK];
    memset(buffer, (int)(number % 251), size_bytes);
    memcpy(buffer, &number, sizeof(number));
    return buffer;
}

static bool is_numbered(const uint8_t *buffer, size_t number, size_t size_bytes)
{
    return memcmp(buffer, numbered(number, size_bytes), size_bytes) == 0;
}

static size_t fill(size_t size_bytes, size_t most)
{
    size_t count = 0;
    while (count < most && mproc_queue_put(queue, numbered(count, size_bytes), size_bytes, MPROC_NOW) == 0)
        count++;
    return count;
}

static void drain(size_t first, size_t count, size_t size_bytes)
{
    static uint8_t buffer[BLOCK];
    size_t got;
    for (size_t i = first; i < first + count; i++) {
        ck_assert_int_eq(mproc_queue_get(queue, buffer, sizeof(buffer), MPROC_NOW, &got), 0);
        ck_assert(got == size_bytes && is_numbered(buffer, i, size_bytes));
    }
}

static size_t items(void)
{
    size_t count;
    ck_assert_int_eq(mproc_queue_counts(queue, &count, NULL, NULL), 0);
    return count;
}

/* ---- what it costs ---- */

START_TEST(a_budget_of_one_gibibyte_costs_less_than_one_mebibyte_at_creation)
{
    for (int mode = 0; mode < 2; mode++) {
        make(_i, MPROC_WITH(mproc_queue_options, .max_bytes = (size_t)1 << 30, .redeliver = mode == 1));
        ck_assert_uint_lt(held_bytes(), 1 << 20);
        ck_assert_int_eq(mproc_queue_put(queue, "small", 5, MPROC_NOW), 0);
        ck_assert_uint_lt(held_bytes(), 1 << 20);
        drop();
    }
}
END_TEST

START_TEST(a_budget_of_32_gibibytes_can_be_had)
{
    make(_i, MPROC_WITH(mproc_queue_options, .max_bytes = (size_t)32 << 30, .max_items = 16000000));
    ck_assert_int_eq(mproc_queue_put(queue, numbered(0, ITEM), ITEM, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_put(queue, numbered(1, BLOCK), BLOCK, MPROC_NOW), 0);
    drain(0, 1, ITEM);
    drain(1, 1, BLOCK);
    drop();
}
END_TEST

/* Traffic that stays small keeps the memory small, however much of it there is. */
START_TEST(a_queue_that_is_drained_does_not_grow)
{
    make(_i, MPROC_WITH(mproc_queue_options, .max_bytes = (size_t)1 << 30));
    size_t before = held_bytes();
    for (int round = 0; round < 40; round++) {
        ck_assert_uint_eq(fill(ITEM, 100), 100);
        drain(0, 100, ITEM);
        ck_assert_uint_eq(fill(BLOCK, 8), 8);
        drain(0, 8, BLOCK);
    }
    ck_assert_uint_eq(held_bytes(), before);
    ck_assert_uint_eq(tail_ring(), 0);
    drop();
}
END_TEST

START_TEST(the_memory_of_smaller_rings_is_given_back)
{
    make(_i, MPROC_WITH(mproc_queue_options, .max_bytes = (size_t)64 << 20));
    size_t before = held_bytes(), count = fill(ITEM, 10000);
    ck_assert_uint_ge(tail_ring(), 5);
    size_t last = queue->ring.first_bytes << tail_ring();
    ck_assert_uint_ge(held_bytes(), before + last + last / 2);
    drain(0, count, ITEM);
    ck_assert_uint_le(held_bytes(), before + last);
    ck_assert_uint_eq(items(), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    drop();
}
END_TEST

/* ---- up to the budget ---- */

/* shows: WORK-3 */
START_TEST(it_fills_up_to_its_budget_and_drains_in_order)
{
    size_t size_bytes = _i < 3 ? ITEM : BLOCK;
    make(_i % 3, MPROC_WITH(mproc_queue_options, .max_bytes = BUDGET));
    size_t most = BUDGET / (mproc__record_bytes(size_bytes));
    for (int round = 0; round < 3; round++) {
        size_t count = fill(size_bytes, SIZE_MAX);
        ck_assert_uint_eq(items(), count);
        ck_assert_uint_le(count, most);
        ck_assert_uint_ge(count, most - most / 40);
        ck_assert_int_eq(mproc_queue_put(queue, numbered(0, size_bytes), size_bytes, mproc_after_ms(1)),
                         -ETIMEDOUT);
        drain(0, count, size_bytes);
        ck_assert_uint_eq(items(), 0);
    }
    ck_assert_ptr_null(queue_verify(queue, 0));
    drop();
}
END_TEST

START_TEST(max_items_stays_exact_while_it_grows)
{
    enum { MOST = 5000 };
    make(_i % 3, MPROC_WITH(mproc_queue_options, .max_items = MOST, .max_bytes = (size_t)1 << 28,
                            .redeliver = _i > 2));
    for (int round = 0; round < 2; round++) {
        ck_assert_uint_eq(fill(ITEM, SIZE_MAX), MOST);
        drain(0, MOST / 2, ITEM);
        for (size_t i = 0; i < MOST / 2; i++)
            ck_assert_int_eq(mproc_queue_put(queue, numbered(MOST + i, ITEM), ITEM, MPROC_NOW), 0);
        ck_assert_int_eq(mproc_queue_put(queue, "x", 1, MPROC_NOW), -ETIMEDOUT);
        drain(MOST / 2, MOST, ITEM);
    }
    drop();
}
END_TEST

/* Whatever was asked for, there is an end, and what is queued is never more than the header says. */
static const struct {
    mproc_queue_options options;
    size_t most_bytes;
} bounds[] = {
    {{.size = sizeof(mproc_queue_options)}, 1 << 20},
    {{.size = sizeof(mproc_queue_options), .max_items = 100}, 100 * ITEM},
    {{.size = sizeof(mproc_queue_options), .max_items = 30000}, 4 << 20},
    {{.size = sizeof(mproc_queue_options), .redeliver = true}, 1 << 20},
    {{.size = sizeof(mproc_queue_options), .order = MPROC_ORDER_LIFO}, 1 << 20},
    {{.size = sizeof(mproc_queue_options), .order = MPROC_ORDER_PRIORITY, .max_bytes = 3 << 20}, 3 << 20},
    {{.size = sizeof(mproc_queue_options), .max_bytes = 3 << 20}, 4 << 20},
};

START_TEST(no_queue_is_without_a_bound)
{
    size_t which = (size_t)_i / 2;
    make(_i % 2, &bounds[which].options);
    size_t count = fill(ITEM, SIZE_MAX);
    ck_assert_uint_gt(count, 0);
    ck_assert_uint_le(count * ITEM, bounds[which].most_bytes);
    drop();
}
END_TEST

/* What was taken and not done counts, too, where it lies in the queue's memory: blocks. */
START_TEST(taken_items_that_are_not_done_count_against_the_budget)
{
    size_t size_bytes = _i < 2 ? ITEM : BLOCK, count = 0;
    make(_i % 2, MPROC_WITH(mproc_queue_options, .redeliver = _i < 2, .max_bytes = BUDGET));
    for (; mproc_queue_put(queue, numbered(count, size_bytes), size_bytes, MPROC_NOW) == 0; count++) {
        mproc_loan loan = MPROC_LOAN_INIT;
        ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loan), 0);
        ck_assert_uint_le(count * size_bytes, BUDGET);
    }
    ck_assert_uint_ge(count * size_bytes, BUDGET / 3);
    drop();
}
END_TEST

/* Batches on both sides of a link. */
START_TEST(batches_go_on_in_the_next_ring)
{
    enum { AT_ONCE = 40 };
    static uint8_t in[AT_ONCE * ITEM], out[AT_ONCE * ITEM];
    size_t put = 0, got = 0, n;
    make(_i, MPROC_WITH(mproc_queue_options, .max_bytes = BUDGET));
    for (;;) {
        for (size_t i = 0; i < AT_ONCE; i++)
            memcpy(in + i * ITEM, numbered(put + i, ITEM), ITEM);
        if (mproc_queue_put_many(queue, in, ITEM, AT_ONCE, MPROC_NOW, &n) < 0)
            break;
        put += n;
    }
    ck_assert_uint_eq(tail_ring(), queue->ring.last);
    while (mproc_queue_get_many(queue, out, ITEM, AT_ONCE, MPROC_NOW, &n) == 0)
        for (size_t i = 0; i < n; i++, got++)
            ck_assert(is_numbered(out + i * ITEM, got, ITEM));
    ck_assert_uint_eq(got, put);
    ck_assert_uint_ge(got, 8000);
    drop();
}
END_TEST

/* Without the ring's locks. */
START_TEST(exclusive_sides_grow_and_give_back_the_same)
{
    make(_i, MPROC_WITH(mproc_queue_options, .max_bytes = BUDGET, .exclusive = MPROC_ROLE_BOTH));
    for (int round = 0; round < 2; round++) {
        size_t count = fill(ITEM, SIZE_MAX);
        ck_assert_uint_eq(tail_ring(), queue->ring.last);
        ck_assert_uint_ge(count, 8000);
        drain(0, count, ITEM);
        ck_assert_int_eq(mproc_queue_get(queue, numbered(0, ITEM), ITEM, MPROC_NOW, NULL), -ETIMEDOUT);
    }
    ck_assert_uint_eq(queue->rings_shed, queue->ring.last);
    ck_assert_ptr_null(queue_verify(queue, 0));
    drop();
}
END_TEST

/* An item given back is older than all in the ring, though taken from another ring. */
START_TEST(what_is_given_back_stays_the_oldest_over_a_link)
{
    mproc_loan loans[2] = {MPROC_LOAN_INIT, MPROC_LOAN_INIT};
    make(_i, MPROC_WITH(mproc_queue_options, .max_bytes = BUDGET));
    size_t count = fill(ITEM, 2000);
    ck_assert_uint_ge(tail_ring(), 2);
    ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loans[0]), 0);
    drain(1, count - 2, ITEM);
    ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loans[1]), 0);
    ck_assert_int_eq(mproc_queue_give_back(queue, &loans[1]), 0);
    ck_assert_int_eq(mproc_queue_give_back(queue, &loans[0]), 0);
    drain(0, 1, ITEM);
    drain(count - 1, 1, ITEM);
    drop();
}
END_TEST

/* ---- many at once ---- */

enum { PRODUCERS = 3, EACH = 4000 };

static int produces(void *context)
{
    uint64_t item[12] = {*(int *)context};
    for (item[1] = 0; item[1] < EACH; item[1]++) {
        size_t size_bytes = item[1] % 50 == 0 ? BLOCK : sizeof(item);
        uint8_t *message = numbered(0, BLOCK);
        memcpy(message, item, sizeof(item));
        if (mproc_queue_put(queue, message, size_bytes, soon()) < 0)
            return 1;
    }
    return 0;
}

static void *produces_in_a_thread(void *context)
{
    uint64_t message[BLOCK / 8] = {(uint64_t) * (int *)context};
    for (uint64_t i = 0; i < EACH; i++) {
        message[1] = i;
        if (mproc_queue_put(queue, message, i % 50 == 0 ? sizeof(message) : 96, soon()) < 0)
            return context;
    }
    return NULL;
}

/* Every item once, each producer's in order; the consumer begins when the queue has grown. */
static void consume(void)
{
    static uint64_t message[BLOCK / 8];
    uint64_t next[PRODUCERS] = {0};
    for (int i = 0; i < PRODUCERS * EACH; i++) {
        size_t got;
        ck_assert_int_eq(mproc_queue_get(queue, message, sizeof(message), soon(), &got), 0);
        ck_assert_uint_lt(message[0], PRODUCERS);
        ck_assert_uint_eq(message[1], next[message[0]]++);
        ck_assert_uint_eq(got, message[1] % 50 == 0 ? BLOCK : 96);
    }
    ck_assert_uint_eq(items(), 0);
}

static bool has_grown(void *unused)
{
    (void)unused;
    return tail_ring() > 0;
}

START_TEST(many_processes_make_it_grow_at_once)
{
    pid_t children[PRODUCERS];
    int numbers[PRODUCERS];
    make(_i * 2, MPROC_WITH(mproc_queue_options, .max_bytes = BUDGET));
    for (int i = 0; i < PRODUCERS; i++) {
        numbers[i] = i;
        children[i] = support_fork(produces, &numbers[i]);
    }
    ck_assert(support_until(has_grown, NULL, LIMIT_MS));
    consume();
    for (int i = 0; i < PRODUCERS; i++)
        ck_assert_int_eq(support_reap(children[i], LIMIT_MS), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    drop();
}
END_TEST

START_TEST(many_threads_make_it_grow_at_once)
{
    pthread_t threads[PRODUCERS];
    int numbers[PRODUCERS];
    void *failed;
    make(_i, MPROC_WITH(mproc_queue_options, .max_bytes = BUDGET));
    for (int i = 0; i < PRODUCERS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, produces_in_a_thread, &numbers[i]), 0);
    }
    consume();
    for (int i = 0; i < PRODUCERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
    drop();
}
END_TEST

/* ---- no memory ---- */

/* /dev/shm of a few mebibytes: the queue grows as far as it goes, stays whole, and is full then; never a signal. */
static int child_of_a_small_system(void *context)
{
    static uint8_t buffer[BLOCK];
    size_t size_bytes = *(int *)context ? BLOCK : ITEM, got;
    mproc_queue *grown;
    if (mproc__place_shm("shm:/check-grow", NULL, &place) < 0 ||
        mproc_queue_create(place, MPROC_WITH(mproc_queue_options, .name = "q", .max_bytes = (size_t)1 << 30),
                           &grown) < 0)
        return 1;
    queue = grown;
    for (int round = 0; round < 3; round++) {
        size_t count = fill(size_bytes, SIZE_MAX);
        if (count * size_bytes < 1000000 || count * size_bytes > 4 << 20)
            return 2;
        for (size_t i = 0; i < count; i++)
            if (mproc_queue_get(queue, buffer, sizeof(buffer), MPROC_NOW, &got) < 0 || got != size_bytes ||
                !is_numbered(buffer, i, size_bytes))
                return 3;
        if (mproc_queue_get(queue, buffer, sizeof(buffer), MPROC_NOW, &got) != -ETIMEDOUT)
            return 4;
    }
    drop();
    return 0;
}

/* shows: MEM-1 */
START_TEST(without_memory_it_stays_as_large_as_it_is)
{
    if (!named_own_directory("size=4m")) {
        named_skipped("a /dev/shm of 4 MiB");
        return;
    }
    ck_assert_int_eq(support_reap(support_fork(child_of_a_small_system, &_i), LIMIT_MS), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue_grow");
    TCase *cost = support_case(suite, "cost");
    tcase_add_test(cost, a_budget_of_one_gibibyte_costs_less_than_one_mebibyte_at_creation);
    tcase_add_loop_test(cost, a_budget_of_32_gibibytes_can_be_had, 0, 3);
    tcase_add_test(cost, a_queue_that_is_drained_does_not_grow);
    tcase_add_test(cost, the_memory_of_smaller_rings_is_given_back);
    TCase *budget = support_case(suite, "budget");
    tcase_add_loop_test(budget, it_fills_up_to_its_budget_and_drains_in_order, 0, 6);
    tcase_add_loop_test(budget, no_queue_is_without_a_bound, 0, 2 * (int)MPROC__COUNT(bounds));
    tcase_add_loop_test(budget, taken_items_that_are_not_done_count_against_the_budget, 0, 4);
    tcase_add_loop_test(budget, max_items_stays_exact_while_it_grows, 0, 6);
    tcase_add_loop_test(budget, batches_go_on_in_the_next_ring, 0, 3);
    tcase_add_loop_test(budget, exclusive_sides_grow_and_give_back_the_same, 0, 3);
    tcase_add_loop_test(budget, what_is_given_back_stays_the_oldest_over_a_link, 0, 3);
    TCase *crowd = support_case(suite, "crowd");
    tcase_add_loop_test(crowd, many_processes_make_it_grow_at_once, 0, 2);
    tcase_add_loop_test(crowd, many_threads_make_it_grow_at_once, 0, 3);
    TCase *poor = support_case(suite, "poor");
    tcase_add_loop_test(poor, without_memory_it_stays_as_large_as_it_is, 0, 2);
    return support_run(suite, argc, argv);
}
