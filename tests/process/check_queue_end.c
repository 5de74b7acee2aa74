/* SPDX-License-Identifier: BSD-2-Clause */
/* The end of a queue whose writers were started by every method. */
#include "platform/base.h"

#include <signal.h>

#include <mproc/queue.h>
#include "process/process_support.h"

enum { WRITERS = 3 };

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(LIMIT_MS));
}

static mproc_queue *make(uint32_t expected_writers)
{
    mproc_queue *queue;
    ck_assert_int_eq(mproc_queue_create(NULL,
                                        MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_READ,
                                                   .expected_writers = expected_writers),
                                        &queue),
                     0);
    return queue;
}

static int get_one(mproc_queue *queue)
{
    int64_t number = 0;
    int rc = mproc_queue_get(queue, &number, sizeof number, soon(), NULL);
    return rc < 0 ? rc : (int)number;
}

static int writes_one(mproc_call *call)
{
    int64_t number = 7;
    return mproc_queue_put(mproc_call_queue(call, 0), &number, sizeof number, soon());
}

static int writes_one_and_stays(mproc_call *call)
{
    int rc = writes_one(call);
    while (rc == 0 && pause() != 0) /* ever: it is killed */
        ;
    return rc;
}

/* shows: DEATH-7 */
START_TEST(the_last_of_several_started_writers_ends_the_queue)
{
    warm();
    mproc_queue *queue = make(WRITERS);
    mproc_process *writers[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        writers[i] = start(_i, writes_one, MPROC_ARGS(queue));
    for (int i = 0; i < WRITERS; i++)
        ck_assert_int_eq(get_one(queue), 7);
    ck_assert_int_eq(get_one(queue), MPROC_EEND);
    for (int i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(join(writers[i]), 0);
        mproc_process_close(&writers[i]);
    }
    mproc_queue_close(&queue);
}
END_TEST

/* shows: DEATH-7 */
START_TEST(a_started_writer_that_is_killed_ends_the_queue)
{
    warm();
    mproc_queue *queue = make(0);
    mproc_process *writer = start(_i, writes_one_and_stays, MPROC_ARGS(queue));
    ck_assert_int_eq(mproc_queue_expect(queue, mproc_process_pid(writer)), 0);
    ck_assert_int_eq(get_one(queue), 7);
    ck_assert_int_eq(mproc_process_signal(writer, SIGKILL), 0);
    ck_assert_int_eq(get_one(queue), MPROC_EEND);
    ck_assert_int_eq(join(writer), -SIGKILL);
    mproc_process_close(&writer);
    mproc_queue_close(&queue);
}
END_TEST

/* shows: DEATH-7 */
START_TEST(a_started_writer_that_writes_nothing_is_never)
{
    warm();
    mproc_queue *queue = make(0);
    mproc_process *writer = start(_i, nothing, MPROC_ARGS(queue));
    ck_assert_int_eq(mproc_queue_expect(queue, mproc_process_pid(writer)), 0);
    ck_assert_int_eq(get_one(queue), MPROC_ENEVER);
    ck_assert_int_eq(join(writer), 0);
    mproc_process_close(&writer);
    mproc_queue_close(&queue);
}
END_TEST

static int takes_and_stays(mproc_call *call)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc = mproc_queue_take(mproc_call_queue(call, 0), soon(), &loan);
    while (rc == 0 && pause() != 0) /* ever: it is killed */
        ;
    return rc;
}

static bool is_taken(void *context)
{
    size_t taken = 0;
    return mproc_queue_counts(context, NULL, &taken, NULL) == 0 && taken == 1;
}

START_TEST(what_a_started_reader_had_taken_when_it_was_killed_becomes_a_dead_letter)
{
    warm();
    mproc_queue *queue;
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_create(NULL,
                                        MPROC_WITH(mproc_queue_options, .redeliver = true,
                                                   .max_deliveries = 1, .keep_dead = true),
                                        &queue),
                     0);
    ck_assert_int_eq(mproc_queue_put(queue, "poison", 6, soon()), 0);
    mproc_process *reader = start(_i, takes_and_stays, MPROC_ARGS(queue));
    ck_assert(support_until(is_taken, queue, 5000));
    ck_assert_int_eq(mproc_process_signal(reader, SIGKILL), 0);
    ck_assert_int_eq(mproc_queue_take_dead(queue, soon(), &loan), 0);
    ck_assert_uint_eq(loan.data_bytes, 6);
    ck_assert_int_eq(memcmp(loan.data, "poison", 6), 0);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    ck_assert_int_eq(join(reader), -SIGKILL);
    mproc_process_close(&reader);
    mproc_queue_close(&queue);
}
END_TEST

static int takes_one_and_is_killed(mproc_call *call)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    int rc = mproc_queue_take(mproc_call_queue(call, 0), soon(), &loan);
    if (rc == 0)
        raise(SIGKILL);
    return rc == MPROC_EEND ? 3 : rc;
}

/* Shut down behind its last item, as by a producer that starts the readers afterwards. */
/* shows: DEATH-2 */
START_TEST(what_a_killed_reader_had_taken_comes_again_though_the_queue_is_shut_down)
{
    mproc_queue *queue;
    char text[16];
    mproc_loan loan = MPROC_LOAN_INIT;
    warm();
    ck_assert_int_eq(mproc_queue_create(NULL, MPROC_WITH(mproc_queue_options, .redeliver = true), &queue), 0);
    ck_assert_int_eq(mproc_queue_put(queue, "job", 4, MPROC_NOW), 0);
    ck_assert_int_eq(mproc_queue_shutdown(queue, false), 0);
    ck_assert_int_eq(run(_i, takes_one_and_is_killed, MPROC_ARGS(queue)), -SIGKILL);
    ck_assert_int_eq(run(_i, takes_one_and_is_killed, MPROC_ARGS(queue)), -SIGKILL);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    ck_assert_uint_eq(loan.delivery, 3);
    ck_assert_int_eq(mproc_queue_give_back(queue, &loan), 0);
    ck_assert_int_eq(run(_i, takes_one_and_is_killed, MPROC_ARGS(queue)), -SIGKILL);
    ck_assert_int_eq(mproc_queue_get(queue, text, sizeof text, soon(), NULL), 0);
    ck_assert_int_eq(mproc_queue_get(queue, text, sizeof text, soon(), NULL), MPROC_EEND);
    mproc_queue_close(&queue);
}
END_TEST

int main(int argc, char **argv)
{
    mproc__process_main(&argc, &argv);
    Suite *suite = suite_create("queue_end");
    TCase *started = support_case(suite, "started");
    tcase_add_loop_test(started, the_last_of_several_started_writers_ends_the_queue, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(started, a_started_writer_that_is_killed_ends_the_queue, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(started, a_started_writer_that_writes_nothing_is_never, FIRST_METHOD,
                        PROCESS_METHODS);
    tcase_add_loop_test(started, what_a_started_reader_had_taken_when_it_was_killed_becomes_a_dead_letter,
                        FIRST_METHOD, PROCESS_METHODS);
    tcase_add_loop_test(started, what_a_killed_reader_had_taken_comes_again_though_the_queue_is_shut_down,
                        FIRST_METHOD, PROCESS_METHODS);
    return support_run(suite, argc, argv);
}
