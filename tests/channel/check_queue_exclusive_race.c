/* SPDX-License-Identifier: BSD-2-Clause */
/* Queues with one user on a side, with both sides, a shutdown or a sweep at work at the same time. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "channel/queue_common.h"
#include "support/support.h"

static const mproc__home homes[] = {MPROC__HOME_HOST, MPROC__HOME_THREAD};

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(8000));
}

static mproc_queue *make(int home, mproc_role exclusive, bool redeliver)
{
    mproc_queue *queue = queue_make(homes[home], MPROC_WITH(mproc_queue_options, .redeliver = redeliver,
                                                            .max_bytes = 16384, .exclusive = exclusive));
    ck_assert_ptr_nonnull(queue);
    return queue;
}

enum { STREAM_ITEMS = 60000, STREAM_BYTES_MOST = 1500, ROUNDS = 300, ROUND_ITEMS = 64 };

typedef struct stream {
    mproc_queue *queue;
    _Atomic unsigned put, got; /* of what is counted */
    _Atomic int wrong;
} stream;

static size_t stream_bytes(unsigned number)
{
    return number % 64 == 0 ? STREAM_BYTES_MOST : sizeof number + number % 90;
}

static void *stream_put(void *context)
{
    stream *s = context;
    unsigned message[STREAM_BYTES_MOST / sizeof(unsigned) + 1] = {0};
    for (unsigned i = 0; i < STREAM_ITEMS; i++) {
        message[0] = i;
        if (mproc_queue_put(s->queue, message, stream_bytes(i), soon()) < 0)
            s->wrong = 1;
    }
    if (mproc_queue_shutdown(s->queue, false) < 0)
        s->wrong = 2;
    return NULL;
}

static void *stream_get(void *context)
{
    stream *s = context;
    unsigned message[STREAM_BYTES_MOST / sizeof(unsigned) + 1];
    size_t size = 0;
    int rc;
    for (unsigned i = 0; (rc = mproc_queue_get(s->queue, message, sizeof message, soon(), &size)) == 0; i++) {
        if (message[0] != i || size != stream_bytes(i))
            s->wrong = 3;
        s->got++;
    }
    if (rc != MPROC_EEND)
        s->wrong = 4;
    return NULL;
}

static int stream_put_process(void *context)
{
    stream s = *(stream *)context;
    stream_put(&s);
    return s.wrong;
}

static void stream_run(stream *s, int home)
{
    pthread_t producer;
    pid_t child = 0;
    if (homes[home] == MPROC__HOME_HOST)
        child = support_fork(stream_put_process, s);
    else
        ck_assert_int_eq(pthread_create(&producer, NULL, stream_put, s), 0);
    stream_get(s);
    if (child)
        ck_assert_int_eq(support_reap(child, 10000), 0);
    else
        pthread_join(producer, NULL);
}

START_TEST(a_stream_arrives_whole_and_in_order_and_ends)
{
    static const mproc_role sides[] = {MPROC_ROLE_BOTH, MPROC_ROLE_WRITE, MPROC_ROLE_READ};
    for (unsigned i = 0; i < MPROC__COUNT(sides); i++) {
        stream s = {.queue = make(_i, sides[i], i == 2)};
        stream_run(&s, _i);
        ck_assert_int_eq(s.wrong, 0);
        ck_assert_uint_eq(s.got, STREAM_ITEMS);
        ck_assert_ptr_null(queue_verify(s.queue, 0));
        mproc_queue_close(&s.queue);
    }
}
END_TEST

/* Puts until the end: what was said to be put, in records, blocks and batches. */
static void *race_put(void *context)
{
    stream *s = context;
    unsigned numbers[8] = {0}, mine = 0;
    uint8_t large[STREAM_BYTES_MOST] = {0};
    size_t count;
    int rc = 0;
    for (unsigned i = 0; rc == 0; i++) {
        if (i % 5 == 0) {
            rc = mproc_queue_put(s->queue, large, sizeof large, soon());
            count = 1;
        } else {
            rc = mproc_queue_put_many(s->queue, numbers, sizeof numbers[0], 1 + i % 8, soon(), &count);
        }
        mine += rc == 0 ? (unsigned)count : 0;
    }
    s->put = mine;
    if (rc != MPROC_ECLOSED)
        s->wrong = 5;
    return NULL;
}

static void *race_get(void *context)
{
    stream *s = context;
    uint8_t message[STREAM_BYTES_MOST];
    int rc;
    while ((rc = mproc_queue_get(s->queue, message, sizeof message, soon(), NULL)) == 0)
        s->got++;
    if (rc != MPROC_EEND)
        s->wrong = 6;
    return NULL;
}

static void race_round(stream *s)
{
    pthread_t producer, consumer;
    ck_assert_int_eq(pthread_create(&producer, NULL, race_put, s), 0);
    ck_assert_int_eq(pthread_create(&consumer, NULL, race_get, s), 0);
    while (s->got < ROUND_ITEMS)
        sched_yield();
    ck_assert_int_eq(mproc_queue_shutdown(s->queue, false), 0);
    pthread_join(producer, NULL);
    pthread_join(consumer, NULL);
}

START_TEST(what_was_put_before_a_shutdown_is_had_before_the_end)
{
    static const mproc_role sides[] = {MPROC_ROLE_BOTH, MPROC_ROLE_WRITE, MPROC_ROLE_READ};
    for (unsigned round = 0; round < ROUNDS; round++) {
        stream s = {.queue = make(_i, sides[round % 3], round % 2)};
        race_round(&s);
        ck_assert_int_eq(s.wrong, 0);
        ck_assert_uint_eq(s.put, s.got);
        ck_assert_ptr_null(queue_verify(s.queue, 0));
        mproc_queue_close(&s.queue);
    }
}
END_TEST

/* ---- who falls asleep while the other side commits without a fence ---- */

enum { NAPS = 4000, NAP_PAUSES = 1024 };

/* Pauses that end a little before, in and after the moment in which the other one gives up spinning and sleeps. */
static void nap_pause(unsigned number)
{
    for (unsigned i = 0; i < number * 2654435761u % NAP_PAUSES; i++)
        mproc__pause();
}

static void *naps_put(void *context)
{
    stream *s = context;
    for (unsigned i = 0; i < NAPS; i++) {
        if (i % 2)
            nap_pause(i);
        if (mproc_queue_put(s->queue, &i, sizeof i, soon()) < 0)
            s->wrong = 7;
    }
    return NULL;
}

static int naps_put_process(void *context)
{
    stream s = *(stream *)context;
    naps_put(&s);
    return s.wrong;
}

/* With one place, so that both sides sleep now and then; a wake that is lost is a deadline that passes. */
START_TEST(no_wake_is_lost_to_one_who_falls_asleep)
{
    stream s = {.queue = queue_make(homes[_i], MPROC_WITH(mproc_queue_options, .max_items = 1,
                                                          .exclusive = MPROC_ROLE_BOTH))};
    ck_assert_ptr_nonnull(s.queue);
    pthread_t producer;
    pid_t child = _i == 0 ? support_fork(naps_put_process, &s) : 0;
    if (!child)
        ck_assert_int_eq(pthread_create(&producer, NULL, naps_put, &s), 0);
    for (unsigned i = 0, number; i < NAPS; i++) {
        if (i % 3 == 0)
            nap_pause(i);
        ck_assert_int_eq(mproc_queue_get(s.queue, &number, sizeof number, soon(), NULL), 0);
        ck_assert_uint_eq(number, i);
    }
    if (child)
        ck_assert_int_eq(support_reap(child, 5000), 0);
    else
        pthread_join(producer, NULL);
    ck_assert_int_eq(s.wrong, 0);
    mproc_queue_close(&s.queue);
}
END_TEST

/* ---- the sweep beside an owner ---- */

enum { DEATHS = 40 };

typedef struct victims {
    mproc_queue *queue;
    _Atomic unsigned *put; /* shared: how many the producers have said to be put, all together */
} victims;

static int victim(void *context)
{
    victims *v = context;
    uint8_t large[STREAM_BYTES_MOST] = {0};
    for (;;) {
        unsigned number = *v->put;
        memcpy(large, &number, sizeof number);
        if (mproc_queue_put(v->queue, large, number % 2 ? sizeof large : sizeof number, MPROC_FOREVER) < 0)
            return 1;
        *v->put = number + 1;
    }
}

static void *victims_kill(void *context)
{
    victims *v = context;
    for (int i = 0; i < DEATHS; i++) {
        unsigned before = *v->put;
        pid_t child = support_fork(victim, v);
        while (*v->put < before + 20)
            sched_yield();
        support_kill(child);
        mproc__segment_sweep(v->queue->segment);
    }
    return mproc_queue_shutdown(v->queue, false) == 0 ? v : NULL;
}

/* One put was under way at each death; it is there whole, or not at all and its number is used again. */
START_TEST(nothing_is_lost_when_producers_die_beside_an_exclusive_consumer)
{
    victims v = {make(0, MPROC_ROLE_BOTH, _i == 1), NULL};
    v.put = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_t killer;
    ck_assert_int_eq(pthread_create(&killer, NULL, victims_kill, &v), 0);
    uint8_t message[STREAM_BYTES_MOST];
    unsigned next = 0, again = 0, number;
    int rc;
    while ((rc = mproc_queue_get(v.queue, message, sizeof message, soon(), NULL)) == 0) {
        memcpy(&number, message, sizeof number);
        again += number + 1 == next;
        ck_assert(number == next || number + 1 == next);
        next = number + 1;
    }
    ck_assert_int_eq(rc, MPROC_EEND);
    void *killed = NULL;
    pthread_join(killer, &killed);
    ck_assert_ptr_nonnull(killed);
    ck_assert(next == *v.put || next == *v.put + 1);
    ck_assert_uint_le(again, DEATHS);
    ck_assert_int_eq(mproc_queue_join(v.queue, soon()), 0);
    ck_assert_ptr_null(queue_verify(v.queue, 0));
    munmap((void *)v.put, 4096);
    mproc_queue_close(&v.queue);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue exclusive race");
    TCase *together = support_case(suite, "together");
    tcase_set_timeout(together, support_ms(60000) / 1000.0);
    tcase_add_loop_test(together, a_stream_arrives_whole_and_in_order_and_ends, 0, 2);
    tcase_add_loop_test(together, what_was_put_before_a_shutdown_is_had_before_the_end, 0, 2);
    tcase_add_loop_test(together, no_wake_is_lost_to_one_who_falls_asleep, 0, 2);
    tcase_add_loop_test(together, nothing_is_lost_when_producers_die_beside_an_exclusive_consumer, 0, 2);
    return support_run(suite, argc, argv);
}
