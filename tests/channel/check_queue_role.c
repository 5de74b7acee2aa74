/* SPDX-License-Identifier: BSD-2-Clause */
/* Who reads and who writes, and what the others are told when nobody does any more. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel/queue_people.h"
#include "support/support.h"

enum { WRITERS = 4, READERS = 3, EACH = 500, LARGE = 40000 };

/* ---- readers ---- */

START_TEST(in_a_queue_that_does_not_count_nothing_ends_by_itself)
{
    mproc_queue *queue = make(NULL);
    ends_well(support_fork(writes_one, queue));
    ck_assert_int_eq(get_number(queue, soon()), 7);
    ck_assert_int_eq(get_number(queue, mproc_after_ms(30)), -ETIMEDOUT);
    mproc_queue_close(&queue);
}
END_TEST

typedef struct message {
    int writer, number, sum;
    uint8_t bytes[200];
} message;

static int writes_all(void *context)
{
    mproc_queue *queue = context;
    message m = {.writer = getpid()};
    for (m.number = 0; m.number < EACH; m.number++) {
        m.sum = m.writer + m.number;
        memset(m.bytes, m.sum, sizeof m.bytes);
        if (mproc_queue_put(queue, &m, sizeof m, soon()) < 0)
            return 1;
    }
    return 0;
}

/* Ends by the end: the exit status says whether every message was whole; how many goes into `counted`. */
typedef struct reading {
    mproc_queue *queue, *counted;
} reading;

static int reads_all(void *context)
{
    const reading *r = context;
    message m;
    int rc, count = 0;
    while ((rc = mproc_queue_get(r->queue, &m, sizeof m, soon(), NULL)) == 0) {
        uint8_t same[sizeof m.bytes];
        memset(same, m.sum, sizeof same);
        if (m.sum != m.writer + m.number || memcmp(same, m.bytes, sizeof same) != 0)
            return 1;
        count++;
    }
    return rc == MPROC_EEND && put_number(r->counted, count) == 0 ? 0 : 2;
}

/* shows: SQUE-04 DEATH-7 */
START_TEST(many_readers_get_all_of_many_writers_unmixed_and_then_the_end)
{
    reading r = {.queue =
                     make(MPROC_WITH(mproc_queue_options, .max_bytes = 16384, .expected_writers = WRITERS)),
                 .counted = make(NULL)};
    pid_t children[WRITERS + READERS];
    int total = 0;
    for (int i = 0; i < READERS; i++)
        children[i] = support_fork(reads_all, &r);
    for (int i = 0; i < WRITERS; i++)
        children[READERS + i] = support_fork(writes_all, r.queue);
    for (int i = 0; i < WRITERS + READERS; i++)
        ends_well(children[i]);
    for (int i = 0; i < READERS; i++)
        total += get_number(r.counted, soon());
    ck_assert_int_eq(total, WRITERS * EACH);
    mproc_queue_close(&r.queue);
    mproc_queue_close(&r.counted);
}
END_TEST

START_TEST(the_close_of_the_last_writer_ends_a_queue_after_its_items)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_READ));
    ck_assert_int_eq(get_number(queue, MPROC_NOW), -ETIMEDOUT);
    ends_well(support_fork(writes_one_and_closes, queue));
    ck_assert_int_eq(get_number(queue, MPROC_NOW), 7);
    ck_assert_int_eq(get_number(queue, MPROC_NOW), MPROC_EEND);
    ck_assert_int_eq(get_number(queue, MPROC_FOREVER), MPROC_EEND);
    mproc_queue_close(&queue);
}
END_TEST

/* shows: DEATH-7 */
START_TEST(a_killed_last_writer_ends_the_wait_of_a_sleeper)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_READ));
    pid_t writer = fork_staying(writes_one, queue);
    ck_assert_int_eq(get_number(queue, soon()), 7);
    pid_t killer = kill_when_i_sleep(writer);
    ck_assert_int_eq(get_number(queue, soon()), MPROC_EEND);
    ends_well(killer);
    ck_assert_int_eq(support_reap(writer, 5000), 256 + SIGKILL);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(every_way_of_getting_is_told_of_the_end)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_READ, .redeliver = _i == 1));
    ends_well(support_fork(writes_one, queue));
    ck_assert_int_eq(get_number(queue, soon()), 7);
    ck_assert(every_way_of_getting(queue, MPROC_EEND));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(an_end_is_over_when_a_new_writer_comes)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_READ));
    for (int i = 0; i < 3; i++) {
        ends_well(support_fork(writes_one, queue));
        ck_assert_int_eq(get_number(queue, soon()), 7);
        ck_assert_int_eq(get_number(queue, MPROC_NOW), MPROC_EEND);
    }
    pid_t writer = fork_staying(writes_one, queue);
    ck_assert_int_eq(get_number(queue, soon()), 7);
    ck_assert_int_eq(get_number(queue, mproc_after_ms(20)), -ETIMEDOUT);
    support_kill(writer);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(there_is_no_end_before_all_expected_writers_have_come)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .expected_writers = 3));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(get_number(queue, mproc_after_ms(20)), -ETIMEDOUT);
        ends_well(support_fork(writes_one, queue));
        ck_assert_int_eq(get_number(queue, soon()), 7);
    }
    ck_assert_int_eq(get_number(queue, soon()), MPROC_EEND);
    mproc_queue_close(&queue);
}
END_TEST

static int writes_and_declares_to_read(void *context)
{
    return put_number(context, 7) < 0 || put_number(context, 8) < 0 ||
           mproc_queue_role(context, MPROC_ROLE_READ) < 0;
}

static int writes_and_gives_up(void *context)
{
    return put_number(context, 7) < 0 || put_number(context, 8) < 0 || mproc_queue_role(context, 0) < 0;
}

START_TEST(a_writer_that_gives_its_role_up_is_waited_for_no_longer)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_READ));
    pid_t writer = fork_staying(_i ? writes_and_gives_up : writes_and_declares_to_read, queue);
    ck_assert_int_eq(get_number(queue, MPROC_NOW), 7);
    ck_assert_int_eq(get_number(queue, MPROC_NOW), 8);
    ck_assert_int_eq(get_number(queue, MPROC_NOW), MPROC_EEND);
    support_kill(writer);
    mproc_queue_close(&queue);
}
END_TEST

static int sleeps_until_the_end(void *context)
{
    return get_number(context, soon()) != MPROC_EEND;
}

START_TEST(giving_a_role_up_wakes_those_who_sleep)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_WRITE));
    pid_t readers[READERS];
    for (int i = 0; i < READERS; i++)
        readers[i] = support_fork(sleeps_until_the_end, queue);
    for (int i = 0; i < READERS; i++)
        ck_assert(support_until_asleep(readers[i], 3000));
    if (_i == 0)
        ck_assert_int_eq(mproc_queue_role(queue, 0), 0);
    else
        mproc_queue_close(&queue);
    for (int i = 0; i < READERS; i++)
        ends_well(readers[i]);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(the_items_of_one_killed_right_after_its_put_come_before_the_end)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_READ));
    for (int i = 0; i < 30; i++) {
        pid_t writer = support_fork(writes_one_and_dies, queue);
        int first = get_number(queue, soon());
        while (i > 0 && first == MPROC_EEND) /* the one before has ended; this one has not come yet */
            first = get_number(queue, soon());
        ck_assert_int_eq(first, 7);
        ck_assert_int_eq(get_number(queue, soon()), MPROC_EEND);
        ck_assert_int_eq(support_reap(writer, 5000), 256 + SIGKILL);
    }
    mproc_queue_close(&queue);
}
END_TEST

/* ---- declared roles ---- */

START_TEST(the_first_use_of_the_side_that_was_not_declared_is_refused)
{
    mproc_queue *queue =
        queue_make((mproc__home)_i, MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_READ));
    int value = 1;
    size_t count;
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(put_number(queue, 1), -EPERM);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(queue)), "only reads"));
    ck_assert_int_eq(mproc_queue_put_variant(queue, mproc_int(1), MPROC_NOW), -EPERM);
    ck_assert_int_eq(mproc_queue_put_many(queue, &value, sizeof value, 1, MPROC_NOW, &count), -EPERM);
    ck_assert_int_eq(mproc_queue_reserve(queue, 9, MPROC_NOW, &loan), -EPERM);
    ck_assert_int_eq(mproc_queue_role(queue, MPROC_ROLE_WRITE), 0);
    ck_assert_int_eq(put_number(queue, 5), 0);
    ck_assert(every_way_of_getting(queue, -EPERM));
    ck_assert_int_eq(mproc_queue_role(queue, MPROC_ROLE_BOTH), 0);
    ck_assert_int_eq(put_number(queue, 6), 0);
    ck_assert_int_eq(get_number(queue, MPROC_NOW), 5);
    ck_assert_int_eq(get_number(queue, MPROC_NOW), 6);
    ck_assert_int_eq(get_number(queue, MPROC_NOW), -ETIMEDOUT);
    mproc_queue_close(&queue);
}
END_TEST

static int begins_without_a_role(void *context)
{
    return put_number(context, 3) < 0;
}

START_TEST(a_fork_child_begins_without_a_role)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_READ));
    ends_well(support_fork(begins_without_a_role, queue));
    ck_assert_int_eq(get_number(queue, MPROC_NOW), 3);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(wrong_roles_are_refused_without_effect)
{
    mproc_queue *queue = queue_make((mproc__home)_i, NULL), *none = NULL;
    ck_assert_int_eq(mproc_queue_role(NULL, MPROC_ROLE_READ), -EINVAL);
    ck_assert_int_eq(mproc_queue_role(queue, (mproc_role)4), -EINVAL);
    ck_assert_int_eq(mproc_queue_role(queue, (mproc_role)-1), -EINVAL);
    ck_assert_int_eq(mproc_queue_expect(NULL, 1), -EINVAL);
    ck_assert_int_eq(mproc_queue_expect(queue, 0), -EINVAL);
    ck_assert_int_eq(mproc_queue_expect(queue, -1), -EINVAL);
    ck_assert_int_eq(mproc_queue_create(NULL, MPROC_WITH(mproc_queue_options, .role = (mproc_role)4), &none),
                     -EINVAL);
    ck_assert_ptr_null(none);
    ck_assert_uint_eq(queue->shared->counting, 0);
    if (_i == MPROC__HOME_THREAD)
        ck_assert_int_eq(mproc_queue_expect(queue, getpid()), MPROC_EPLACE);
    mproc_queue_close(&queue);
}
END_TEST

static void *thread_gets(void *context)
{
    return (void *)(intptr_t)get_number(context, soon());
}

START_TEST(threads_are_told_when_their_process_gives_up_writing)
{
    mproc_queue *queue = queue_make((mproc__home)_i, NULL);
    pthread_t thread;
    void *got;
    ck_assert_int_eq(mproc_queue_role(queue, MPROC_ROLE_BOTH), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, thread_gets, queue), 0);
    ck_assert_int_eq(mproc_queue_role(queue, MPROC_ROLE_READ), 0);
    pthread_join(thread, &got);
    ck_assert_int_eq((int)(intptr_t)got, MPROC_EEND);
    mproc_queue_close(&queue);
}
END_TEST

/* ---- writers and joiners ---- */

static int fill(mproc_queue *queue)
{
    int rc;
    while ((rc = mproc_queue_put(queue, "item", 4, MPROC_NOW)) == 0)
        ;
    return rc;
}

/* shows: QUEUE-18 */
START_TEST(a_writer_that_waits_for_room_is_told_when_the_last_reader_is_killed)
{
    static uint8_t large[LARGE];
    mproc_queue *queue =
        make(MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_WRITE, .max_bytes = LARGE * 3 / 2));
    ck_assert_int_eq(put_number(queue, 1), 0);
    pid_t reader = fork_staying(reads_one, queue);
    ck_assert_int_eq(mproc_queue_put(queue, large, LARGE, soon()), 0);
    ck_assert_int_eq(mproc_queue_put(queue, large, LARGE, MPROC_NOW), -ETIMEDOUT);
    pid_t killer = kill_when_i_sleep(reader);
    ck_assert_int_eq(mproc_queue_put(queue, large, LARGE, soon()), -EPIPE);
    ends_well(killer);
    ck_assert_int_eq(support_reap(reader, 5000), 256 + SIGKILL);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(every_way_of_putting_is_told_that_nobody_reads)
{
    mproc_queue *queue = make(
        MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_WRITE, .max_bytes = 4096, .redeliver = _i == 1));
    static uint8_t large[3000];
    mproc_loan loan = MPROC_LOAN_INIT;
    size_t count;
    ck_assert_int_eq(fill(queue), -ETIMEDOUT); /* no reader yet: one may come */
    ends_well(support_fork(reads_one, queue));
    ck_assert_int_eq(fill(queue), -EPIPE);
    ck_assert_int_eq(mproc_queue_put(queue, large, sizeof large, soon()), -EPIPE);
    ck_assert_int_eq(mproc_queue_put_variant(queue, mproc_text("text"), soon()), -EPIPE);
    ck_assert_int_eq(mproc_queue_put_many(queue, large, 4, 3, soon(), &count), -EPIPE);
    if (_i == 0) { /* memory there is, but no place in the row */
        ck_assert_int_eq(mproc_queue_reserve(queue, sizeof large, soon(), &loan), 0);
        ck_assert_int_eq(mproc_queue_commit(queue, &loan), -EPIPE);
        ck_assert_int_eq(mproc_queue_drop(queue, &loan), 0);
    } else {
        ck_assert_int_eq(mproc_queue_reserve(queue, sizeof large, soon(), &loan), -EPIPE);
    }
    ck_assert_int_eq(mproc_queue_join(queue, soon()), -EPIPE);
    pid_t reader = fork_staying(reads_one, queue);
    ck_assert_int_eq(fill(queue), -ETIMEDOUT);
    support_kill(reader);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_joiner_is_told_when_the_last_reader_is_killed)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_WRITE, .redeliver = true));
    ck_assert_int_eq(put_number(queue, 1), 0);
    ck_assert_int_eq(put_number(queue, 2), 0);
    pid_t reader = fork_staying(reads_one, queue);
    pid_t killer = kill_when_i_sleep(reader);
    ck_assert_int_eq(mproc_queue_join(queue, soon()), -EPIPE);
    ends_well(killer);
    ck_assert_int_eq(support_reap(reader, 5000), 256 + SIGKILL);
    mproc_queue_close(&queue);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue_role");
    TCase *readers = support_case(suite, "readers");
    tcase_add_test(readers, in_a_queue_that_does_not_count_nothing_ends_by_itself);
    tcase_add_test(readers, many_readers_get_all_of_many_writers_unmixed_and_then_the_end);
    tcase_add_test(readers, the_close_of_the_last_writer_ends_a_queue_after_its_items);
    tcase_add_test(readers, a_killed_last_writer_ends_the_wait_of_a_sleeper);
    tcase_add_loop_test(readers, every_way_of_getting_is_told_of_the_end, 0, 2);
    tcase_add_test(readers, an_end_is_over_when_a_new_writer_comes);
    tcase_add_test(readers, there_is_no_end_before_all_expected_writers_have_come);
    tcase_add_loop_test(readers, a_writer_that_gives_its_role_up_is_waited_for_no_longer, 0, 2);
    tcase_add_loop_test(readers, giving_a_role_up_wakes_those_who_sleep, 0, 2);
    tcase_add_test(readers, the_items_of_one_killed_right_after_its_put_come_before_the_end);
    TCase *declared = support_case(suite, "declared");
    tcase_add_loop_test(declared, the_first_use_of_the_side_that_was_not_declared_is_refused, 0, 2);
    tcase_add_test(declared, a_fork_child_begins_without_a_role);
    tcase_add_loop_test(declared, wrong_roles_are_refused_without_effect, 0, 2);
    tcase_add_loop_test(declared, threads_are_told_when_their_process_gives_up_writing, 0, 2);
    TCase *writers = support_case(suite, "writers");
    tcase_add_test(writers, a_writer_that_waits_for_room_is_told_when_the_last_reader_is_killed);
    tcase_add_loop_test(writers, every_way_of_putting_is_told_that_nobody_reads, 0, 2);
    tcase_add_test(writers, a_joiner_is_told_when_the_last_reader_is_killed);
    return support_run(suite, argc, argv);
}
