/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue of bytes: one test body for both homes (loop index 0: host, 1: threads), then what only processes can show. */
#include "platform/base.h"

#include <pthread.h>
#include <stdio.h>
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

static mproc_queue *make(int home, size_t max_items)
{
    mproc_queue *queue = queue_make(homes[home], MPROC_WITH(mproc_queue_options, .max_items = max_items));
    ck_assert_ptr_nonnull(queue);
    return queue;
}

static size_t count(mproc_queue *queue)
{
    size_t items = 99;
    ck_assert_int_eq(mproc_queue_counts(queue, &items, NULL, NULL), 0);
    return items;
}

static void put_int(mproc_queue *queue, int value)
{
    ck_assert_int_eq(mproc_queue_put(queue, &value, sizeof value, soon()), 0);
}

static int get_int(mproc_queue *queue)
{
    int value = -1;
    size_t size = 0;
    ck_assert_int_eq(mproc_queue_get(queue, &value, sizeof value, soon(), &size), 0);
    ck_assert_uint_eq(size, sizeof value);
    return value;
}

/* shows: QUEUE-01 QUEUE-02 QUEUE-07 QUEUE-08 */
START_TEST(a_bounded_queue_takes_exactly_max_items)
{
    mproc_queue *queue = make(_i, 6);
    size_t limit = 0;
    for (int i = 0; i < 6; i++) {
        ck_assert_uint_eq(count(queue), (size_t)i);
        put_int(queue, i);
    }
    ck_assert_int_eq(mproc_queue_put(queue, "x", 1, MPROC_NOW), -ETIMEDOUT);
    int64_t before = mproc__now_ns();
    ck_assert_int_eq(mproc_queue_put(queue, "x", 1, mproc_after_ms(50)), -ETIMEDOUT);
    ck_assert_int_ge(mproc__now_ns() - before, 50000000);
    ck_assert_int_eq(mproc_queue_put(queue, "x", 1, mproc_after_ms(-5)), -ETIMEDOUT);
    ck_assert_int_eq(mproc_queue_counts(queue, NULL, NULL, &limit), 0);
    ck_assert_uint_eq(limit, 6);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(get_int(queue), i);
    ck_assert_uint_eq(count(queue), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
    ck_assert_ptr_null(queue);
}
END_TEST

/* shows: QUEUE-07 */
START_TEST(without_max_items_only_bytes_bound_the_queue)
{
    mproc_queue *queue = make(_i, 0);
    uint64_t puts = 0;
    size_t limit = 99;
    while (mproc_queue_put(queue, &puts, sizeof puts, MPROC_NOW) == 0)
        puts++;
    ck_assert_uint_ge(puts, (1u << 20) / 2 / sizeof puts);
    ck_assert_uint_eq(count(queue), puts);
    ck_assert_int_eq(mproc_queue_counts(queue, NULL, NULL, &limit), 0);
    ck_assert_uint_eq(limit, 0);
    mproc_queue_close(&queue);
}
END_TEST

/* shows: QUEUE-03 */
START_TEST(get_of_an_empty_queue_times_out_and_never_early)
{
    mproc_queue *queue = make(_i, 0);
    char byte;
    ck_assert_int_eq(mproc_queue_get(queue, &byte, 1, MPROC_NOW, NULL), -ETIMEDOUT);
    int64_t before = mproc__now_ns();
    ck_assert_int_eq(mproc_queue_get(queue, &byte, 1, mproc_after_ms(100), NULL), -ETIMEDOUT);
    ck_assert_int_ge(mproc__now_ns() - before, 100000000);
    mproc_queue_close(&queue);
}
END_TEST

/* Sizes around every edge: empty, a word, the largest record, the first block, a block of many granules.
 * shows: QUEUE-17 SQUE-01 */
START_TEST(messages_of_every_size_come_out_whole_and_in_order)
{
    static const size_t sizes[] = {0, 1, 7, 8, 9, 200, 1023, 1024, 1025, 4096, 100000};
    mproc_queue *queue = make(_i, 0);
    uint8_t *data = malloc(100000), *got = malloc(100000);
    for (int round = 0; round < 30; round++) {
        for (size_t i = 0; i < MPROC__COUNT(sizes); i++) {
            memset(data, (int)i + round, sizes[i]);
            ck_assert_int_eq(mproc_queue_put(queue, data, sizes[i], soon()), 0);
            memset(data, 0xff, sizes[i]); /* what was put is a copy */
        }
        for (size_t i = 0; i < MPROC__COUNT(sizes); i++) {
            size_t size = 99;
            memset(data, (int)i + round, sizes[i]);
            ck_assert_int_eq(mproc_queue_get(queue, got, 100000, soon(), &size), 0);
            ck_assert_uint_eq(size, sizes[i]);
            ck_assert(memcmp(data, got, size) == 0);
        }
        ck_assert_ptr_null(queue_verify(queue, 0));
    }
    free(data);
    free(got);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_buffer_too_small_keeps_the_message)
{
    mproc_queue *queue = make(_i, 0);
    char small[4], large[3000] = "large", buffer[3000];
    for (size_t size = 5; size <= sizeof large; size += 2995) {
        size_t needed = 0;
        ck_assert_int_eq(mproc_queue_put(queue, large, size, soon()), 0);
        ck_assert_int_eq(mproc_queue_get(queue, small, sizeof small, soon(), &needed), MPROC_ETOOSMALL);
        ck_assert_uint_eq(needed, size);
        ck_assert_int_eq(mproc_queue_get(queue, buffer, needed, soon(), &needed), 0);
        ck_assert(memcmp(buffer, large, size) == 0);
    }
    mproc_queue_close(&queue);
}
END_TEST

/* shows: WORK-3 WORK-8 */
START_TEST(a_message_above_the_budget_is_refused_before_the_first_byte)
{
    mproc_queue *queue = queue_make(homes[_i], MPROC_WITH(mproc_queue_options, .max_bytes = 10000));
    char *data = calloc(1, 10001);
    ck_assert_int_eq(mproc_queue_put(queue, data, 10001, MPROC_NOW), -EMSGSIZE);
    ck_assert_int_eq(mproc_error_code(mproc_error_of(queue)), -EMSGSIZE);
    ck_assert_int_eq(mproc_queue_put(queue, data, (size_t)5 << 32, MPROC_NOW), -EMSGSIZE);
    ck_assert_int_eq(mproc_queue_put(queue, data, 10000, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_put(queue, data, 10000, MPROC_NOW), -ETIMEDOUT);
    size_t puts = 0;
    while (mproc_queue_put(queue, data, 1000, MPROC_NOW) == 0)
        puts++;
    ck_assert_uint_ge(puts, 5);
    ck_assert_uint_le(puts, 20);
    free(data);
    mproc_queue_close(&queue);
}
END_TEST

/* shows: QUEUE-21 */
START_TEST(after_shutdown_puts_are_refused_and_gets_drain)
{
    mproc_queue *queue = make(_i, 2);
    char byte;
    put_int(queue, 1);
    put_int(queue, 2);
    ck_assert_int_eq(mproc_queue_shutdown(queue, false), 0);
    ck_assert_int_eq(mproc_queue_shutdown(queue, false), 0);
    ck_assert_int_eq(mproc_queue_put(queue, "x", 1, MPROC_FOREVER), MPROC_ECLOSED);
    char large[2000] = "";
    ck_assert_int_eq(mproc_queue_put(queue, large, sizeof large, MPROC_FOREVER), MPROC_ECLOSED);
    ck_assert_int_eq(get_int(queue), 1);
    ck_assert_int_eq(get_int(queue), 2);
    ck_assert_int_eq(mproc_queue_get(queue, &byte, 1, MPROC_FOREVER, NULL), MPROC_EEND);
    mproc_queue_close(&queue);
}
END_TEST

/* shows: QUEUE-22 */
START_TEST(shutdown_with_discard_empties_at_once)
{
    mproc_queue *queue = make(_i, 0);
    char byte, large[2000] = "";
    put_int(queue, 1);
    ck_assert_int_eq(mproc_queue_put(queue, large, sizeof large, soon()), 0);
    ck_assert_int_eq(mproc_queue_shutdown(queue, false), 0);
    ck_assert_int_eq(mproc_queue_shutdown(queue, true), 0);
    ck_assert_int_eq(mproc_queue_get(queue, &byte, 1, MPROC_FOREVER, NULL), MPROC_EEND);
    ck_assert_uint_eq(count(queue), 0);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(join_of_a_plain_queue_waits_until_it_is_drained)
{
    mproc_queue *queue = make(_i, 0);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    put_int(queue, 1);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc_queue_join(queue, mproc_after_ms(20)), -ETIMEDOUT);
    get_int(queue);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(names_are_found_and_not_taken_twice)
{
    mproc_place *place;
    mproc_queue *first, *second, *third;
    ck_assert_int_eq(mproc__place_local(homes[_i], &place), 0);
    ck_assert_int_eq(mproc_queue_open(place, "jobs", &first), -ENOENT);
    mproc_queue_options options = {.size = sizeof options, .name = "jobs"};
    ck_assert_int_eq(mproc_queue_create(place, &options, &first), 0);
    ck_assert_int_eq(mproc_queue_create(place, &options, &second), -EEXIST);
    options.and_open = true;
    ck_assert_int_eq(mproc_queue_create(place, &options, &second), 0);
    ck_assert_int_eq(mproc_queue_open(place, "jobs", &third), 0);
    put_int(first, 7);
    char text[100];
    ck_assert_int_gt(mproc_describe(third, text, sizeof text), 0);
    ck_assert_str_eq(text, _i ? "queue jobs 1 on thread" : "queue jobs 1 on host");
    mproc_queue_close(&first);
    mproc_queue_close(&second);
    ck_assert_int_eq(get_int(third), 7);
    mproc_queue_close(&third);
    ck_assert_int_eq(mproc_queue_open(place, "jobs", &first), -ENOENT);
    mproc_place_close(&place);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    mproc_queue *queue = make(_i, 0), *none = NULL;
    mproc_loan loan = MPROC_LOAN_INIT;
    size_t n;
    ck_assert_int_eq(mproc_queue_put(NULL, "x", 1, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_queue_put(queue, NULL, 1, MPROC_NOW), -EINVAL);
    ck_assert_int_eq(mproc_queue_get(queue, NULL, 1, MPROC_NOW, NULL), -EINVAL);
    ck_assert_int_eq(mproc_queue_get_many(queue, &n, 1, 0, MPROC_NOW, &n), -EINVAL);
    loan.size = 0;
    ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loan), -EINVAL);
    ck_assert_int_eq(mproc_queue_create(NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_queue_create(NULL, &(mproc_queue_options){.size = 1}, &none), -EINVAL);
    ck_assert_int_eq(mproc_queue_create(NULL, MPROC_WITH(mproc_queue_options, .max_items = SIZE_MAX), &none),
                     -EINVAL);
    ck_assert_int_eq(mproc_queue_create(NULL, MPROC_WITH(mproc_queue_options, .max_bytes = SIZE_MAX), &none),
                     -EINVAL);
    ck_assert_int_eq(mproc_queue_create(NULL, MPROC_WITH(mproc_queue_options, .max_deliveries = 251), &none),
                     -EINVAL);
    mproc_queue_close(&none);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- threads that wait ---- */

typedef struct sleeper {
    mproc_queue *queue;
    pthread_t thread;
    _Atomic pid_t tid;
    int result;
} sleeper;

static void *sleep_get(void *context)
{
    sleeper *s = context;
    char byte;
    s->tid = mproc__tid();
    s->result = mproc_queue_get(s->queue, &byte, 1, soon(), NULL);
    return NULL;
}

static void *sleep_put(void *context)
{
    sleeper *s = context;
    s->tid = mproc__tid();
    s->result = mproc_queue_put(s->queue, "x", 1, soon());
    return NULL;
}

static void *sleep_join(void *context)
{
    sleeper *s = context;
    s->tid = mproc__tid();
    s->result = mproc_queue_join(s->queue, soon());
    return NULL;
}

static void sleeper_start(sleeper *s, mproc_queue *queue, void *(*fn)(void *))
{
    s->queue = queue;
    s->tid = 0;
    ck_assert_int_eq(pthread_create(&s->thread, NULL, fn, s), 0);
    while (s->tid == 0)
        ;
    ck_assert(support_until_asleep(s->tid, 5000));
}

static int sleeper_end(sleeper *s)
{
    ck_assert_int_eq(pthread_join(s->thread, NULL), 0);
    return s->result;
}

/* shows: QUEUE-06 */
START_TEST(a_put_wakes_a_sleeping_getter_and_a_get_a_sleeping_putter)
{
    mproc_queue *queue = make(_i, 1);
    sleeper s;
    for (int round = 0; round < 20; round++) {
        sleeper_start(&s, queue, sleep_get);
        ck_assert_int_eq(mproc_queue_put(queue, "x", 1, MPROC_NOW), 0);
        ck_assert_int_eq(sleeper_end(&s), 0);
        ck_assert_int_eq(mproc_queue_put(queue, "x", 1, MPROC_NOW), 0);
        sleeper_start(&s, queue, sleep_put);
        char byte;
        ck_assert_int_eq(mproc_queue_get(queue, &byte, 1, MPROC_NOW, NULL), 0);
        ck_assert_int_eq(sleeper_end(&s), 0);
        ck_assert_int_eq(mproc_queue_get(queue, &byte, 1, MPROC_NOW, NULL), 0);
    }
    mproc_queue_close(&queue);
}
END_TEST

/* shows: QUEUE-21 */
START_TEST(shutdown_wakes_all_who_sleep)
{
    mproc_queue *empty = make(_i, 1), *full = make(_i, 1);
    sleeper getter[3], putter[2], joiner;
    put_int(full, 1);
    for (int i = 0; i < 3; i++)
        sleeper_start(&getter[i], empty, sleep_get);
    for (int i = 0; i < 2; i++)
        sleeper_start(&putter[i], full, sleep_put);
    sleeper_start(&joiner, full, sleep_join);
    ck_assert_int_eq(mproc_queue_shutdown(empty, false), 0);
    ck_assert_int_eq(mproc_queue_shutdown(full, true), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(sleeper_end(&getter[i]), MPROC_EEND);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(sleeper_end(&putter[i]), MPROC_ECLOSED);
    ck_assert_int_eq(sleeper_end(&joiner), 0);
    mproc_queue_close(&empty);
    mproc_queue_close(&full);
}
END_TEST

/* shows: JQUE-02 */
START_TEST(several_joiners_all_wake_when_the_last_item_is_gone)
{
    mproc_queue *queue = make(_i, 0);
    sleeper joiner[3];
    put_int(queue, 1);
    put_int(queue, 2);
    for (int i = 0; i < 3; i++)
        sleeper_start(&joiner[i], queue, sleep_join);
    ck_assert_int_eq(get_int(queue), 1);
    for (int i = 0; i < 3; i++)
        ck_assert(support_until_asleep(joiner[i].tid, 5000));
    ck_assert_int_eq(get_int(queue), 2);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(sleeper_end(&joiner[i]), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- threads in numbers: every item once, each producer's in order ---- */

enum { CROWD = 3, CROWD_ITEMS = 3000 };

typedef struct crowd {
    mproc_queue *queue;
    int number;
    unsigned seen[CROWD]; /* the next expected at least */
    unsigned got;
    bool disorder;
} crowd;

static void *crowd_put(void *context)
{
    crowd *c = context;
    uint8_t message[1500] = {0};
    for (uint32_t i = 0; i < CROWD_ITEMS; i++) {
        memcpy(message, &(uint32_t[]){(uint32_t)c->number, i}, 8);
        if (mproc_queue_put(c->queue, message, i % 50 == 0 ? sizeof message : 8 + i % 100, soon()) < 0)
            return context;
    }
    return NULL;
}

static void *crowd_get(void *context)
{
    crowd *c = context;
    uint8_t message[1500];
    size_t size;
    int rc;
    while ((rc = mproc_queue_get(c->queue, message, sizeof message, soon(), &size)) == 0) {
        uint32_t at[2];
        memcpy(at, message, 8);
        c->disorder |= at[1] < c->seen[at[0]];
        c->seen[at[0]] = at[1] + 1;
        c->got++;
    }
    return rc == MPROC_EEND ? NULL : context;
}

/* shows: QUEUE-05 */
START_TEST(many_threads_put_and_get_every_item_once)
{
    mproc_queue *queue = make(_i, 100);
    crowd c[2 * CROWD];
    pthread_t thread[2 * CROWD];
    unsigned got = 0;
    for (int i = 0; i < 2 * CROWD; i++) {
        c[i] = (crowd){.queue = queue, .number = i};
        pthread_create(&thread[i], NULL, i < CROWD ? crowd_put : crowd_get, &c[i]);
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
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

/* ---- processes ---- */

static int child_drains(void *context)
{
    mproc_queue *queue = context;
    int value;
    for (int i = 0; i < 6; i++)
        if (mproc_queue_get(queue, &value, sizeof value, soon(), NULL) < 0 || value != i)
            return 1;
    return 0;
}

static int child_answers(void *context)
{
    return mproc_queue_put(context, "x", 1, soon()) < 0;
}

/* shows: QUEUE-06 QUEUE-09 WORK-7 */
START_TEST(a_child_drains_what_the_parent_put_and_wakes_its_get)
{
    mproc_queue *queue = make(0, 6);
    pid_t child = support_fork(child_drains, queue);
    ck_assert(support_until_asleep(child, 5000));
    for (int i = 0; i < 6; i++)
        put_int(queue, i);
    ck_assert_int_eq(mproc_queue_join(queue, soon()), 0);
    ck_assert_int_eq(support_reap(child, 5000), 0);
    child = support_fork(child_answers, queue);
    char byte = 0;
    ck_assert_int_eq(mproc_queue_get(queue, &byte, 1, soon(), NULL), 0);
    ck_assert_int_eq(byte, 'x');
    ck_assert_int_eq(support_reap(child, 5000), 0);
    ck_assert_uint_eq(count(queue), 0);
    mproc_queue_close(&queue);
}
END_TEST

static int child_puts_ten(void *context)
{
    for (int i = 10; i < 20; i++)
        if (mproc_queue_put(context, &i, sizeof i, soon()) < 0)
            return 1;
    return 0;
}

/* The parent has put before the fork, so that the child inherits a handle in use.
 * shows: QUEUE-10 */
START_TEST(a_child_forked_after_puts_can_itself_put_and_all_arrive)
{
    mproc_queue *queue = make(0, 0);
    for (int i = 0; i < 10; i++)
        put_int(queue, i);
    ck_assert_int_eq(support_reap(support_fork(child_puts_ten, queue), 5000), 0);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(get_int(queue), i);
    ck_assert_uint_eq(count(queue), 0);
    mproc_queue_close(&queue);
}
END_TEST

static int child_of_threads_queue(void *context)
{
    mproc_queue *queue = context;
    int rc = mproc_queue_put(queue, "x", 1, MPROC_NOW);
    mproc_queue_close(&queue);
    return rc == -ECHILD ? 0 : 1;
}

START_TEST(a_threads_queue_is_refused_in_a_fork_child)
{
    mproc_queue *queue = make(1, 0);
    ck_assert_int_eq(support_reap(support_fork(child_of_threads_queue, queue), 5000), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* Packed and unpacked: another handle over the same memory. */
START_TEST(a_packed_queue_is_the_same_queue)
{
    mproc_queue *queue = make(0, 0), *threads = make(1, 0);
    mproc__parcel parcel = {0};
    mproc_variant copy = mproc_null();
    mproc__noun_register(&mproc__queue_noun);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, false, mproc_handle(queue)), MPROC_ECANNOTCROSS);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(threads)), MPROC_ECANNOTCROSS);
    ck_assert_int_eq(mproc__parcel_pack(&parcel, true, mproc_handle(queue)), 0);
    ck_assert_uint_eq(parcel.fd_count, 1);
    parcel.fds[0] = dup(parcel.fds[0]);
    ck_assert_int_eq(mproc__parcel_unpack(&parcel, &copy), 0);
    mproc__parcel_clear(&parcel, true);
    mproc_queue *other = mproc_variant_get_handle(copy, MPROC_TYPE_QUEUE);
    ck_assert_ptr_nonnull(other);
    put_int(queue, 5);
    ck_assert_int_eq(get_int(other), 5);
    mproc_variant_clear(&copy);
    mproc_queue_close(&threads);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(no_memory_is_an_error_and_leaves_nothing)
{
    for (unsigned n = 1;; n++) {
        mproc_queue *queue = NULL;
        support_fail_allocation(n);
        int rc = mproc_queue_create(NULL, MPROC_WITH(mproc_queue_options, .name = "faulty"), &queue);
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        if (!failed) {
            ck_assert_int_eq(rc, 0);
            mproc_queue_close(&queue);
            return;
        }
        ck_assert_int_eq(rc, -ENOMEM);
        ck_assert_ptr_null(queue);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue");
    TCase *both = support_case(suite, "both homes");
    tcase_add_loop_test(both, a_bounded_queue_takes_exactly_max_items, 0, 2);
    if (QUEUE_ORDER == MPROC_ORDER_FIFO) /* others have a block for every message: fewer fit */
        tcase_add_loop_test(both, without_max_items_only_bytes_bound_the_queue, 0, 2);
    tcase_add_loop_test(both, get_of_an_empty_queue_times_out_and_never_early, 0, 2);
    tcase_add_loop_test(both, messages_of_every_size_come_out_whole_and_in_order, 0, 2);
    tcase_add_loop_test(both, a_buffer_too_small_keeps_the_message, 0, 2);
    if (QUEUE_ORDER == MPROC_ORDER_FIFO)
        tcase_add_loop_test(both, a_message_above_the_budget_is_refused_before_the_first_byte, 0, 2);
    tcase_add_loop_test(both, after_shutdown_puts_are_refused_and_gets_drain, 0, 2);
    tcase_add_loop_test(both, shutdown_with_discard_empties_at_once, 0, 2);
    tcase_add_loop_test(both, join_of_a_plain_queue_waits_until_it_is_drained, 0, 2);
    tcase_add_loop_test(both, names_are_found_and_not_taken_twice, 0, 2);
    tcase_add_loop_test(both, wrong_arguments_are_refused, 0, 2);
    tcase_add_loop_test(both, a_put_wakes_a_sleeping_getter_and_a_get_a_sleeping_putter, 0, 2);
    tcase_add_loop_test(both, shutdown_wakes_all_who_sleep, 0, 2);
    tcase_add_loop_test(both, several_joiners_all_wake_when_the_last_item_is_gone, 0, 2);
    tcase_add_loop_test(both, many_threads_put_and_get_every_item_once, 0, 2);
    TCase *processes = support_case(suite, "processes");
    tcase_add_test(processes, a_child_drains_what_the_parent_put_and_wakes_its_get);
    tcase_add_test(processes, a_child_forked_after_puts_can_itself_put_and_all_arrive);
    tcase_add_test(processes, a_threads_queue_is_refused_in_a_fork_child);
    tcase_add_test(processes, a_packed_queue_is_the_same_queue);
    tcase_add_test(processes, no_memory_is_an_error_and_leaves_nothing);
    return support_run(suite, argc, argv);
}
