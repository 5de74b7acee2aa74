/* SPDX-License-Identifier: BSD-2-Clause */
/* Writers that are announced, and come, or never do. */
#include "platform/base.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel/queue_people.h"

enum { WRITERS = 4 };

static int waits_to_be_killed(void *context)
{
    (void)context;
    return 0;
}

/* shows: DEATH-7 */
START_TEST(an_announced_writer_that_dies_before_it_came_is_never)
{
    mproc_queue *queue = make(NULL);
    pid_t writer = fork_staying(waits_to_be_killed, NULL);
    ck_assert_int_eq(mproc_queue_expect(queue, writer), 0);
    ck_assert_int_eq(get_number(queue, mproc_after_ms(20)), -ETIMEDOUT);
    pid_t killer = kill_when_i_sleep(writer);
    ck_assert_int_eq(get_number(queue, soon()), MPROC_ENEVER);
    ends_well(killer);
    ck_assert_int_eq(support_reap(writer, 5000), 256 + SIGKILL);
    ck_assert(every_way_of_getting(queue, MPROC_ENEVER));
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(never_is_said_after_what_the_others_wrote)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .expected_writers = 2));
    pid_t lost = fork_staying(waits_to_be_killed, NULL), came = fork_staying(writes_one, queue);
    ck_assert_int_eq(mproc_queue_expect(queue, lost), 0);
    ck_assert_int_eq(mproc_queue_expect(queue, came), 0);
    support_kill(lost);
    ck_assert_int_eq(get_number(queue, soon()), 7);
    ck_assert_int_eq(get_number(queue, mproc_after_ms(20)), -ETIMEDOUT);
    support_kill(came);
    ck_assert_int_eq(get_number(queue, soon()), MPROC_ENEVER);
    ends_well(support_fork(writes_one, queue)); /* one in its stead: two have come */
    ck_assert_int_eq(get_number(queue, soon()), 7);
    ck_assert_int_eq(get_number(queue, soon()), MPROC_EEND);
    mproc_queue_close(&queue);
}
END_TEST

/* Before, while and after it writes, dead and not waited for, and waited for: it came all the same. */
START_TEST(one_that_came_before_it_was_announced_has_come)
{
    mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .role = MPROC_ROLE_READ));
    pid_t writer = _i == 0 ? fork_staying(writes_one, queue) : support_fork(writes_one, queue);
    ck_assert_int_eq(get_number(queue, soon()), 7);
    if (_i == 1) {
        siginfo_t info;
        ck_assert_int_eq(waitid(P_PID, (id_t)writer, &info, WEXITED | WNOWAIT), 0);
    } else if (_i == 2) {
        ends_well(writer);
    }
    ck_assert_int_eq(mproc_queue_expect(queue, writer), 0);
    if (_i == 0)
        support_kill(writer);
    ck_assert_int_eq(get_number(queue, soon()), MPROC_EEND);
    if (_i == 1)
        ends_well(writer);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(one_that_ended_unseen_before_it_was_announced_never_came)
{
    mproc_queue *queue = make(NULL);
    pid_t writer = support_fork(waits_to_be_killed, NULL);
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)writer, &info, WEXITED | WNOWAIT), 0);
    if (_i == 1)
        ends_well(writer);
    ck_assert_int_eq(mproc_queue_expect(queue, writer), 0);
    ck_assert_int_eq(get_number(queue, MPROC_NOW), MPROC_ENEVER);
    if (_i == 0)
        ends_well(writer);
    mproc_queue_close(&queue);
}
END_TEST

static int writes_when_told(void *context)
{
    mproc_queue **queues = context;
    return get_number(queues[1], soon()) < 0 || put_number(queues[0], 7) < 0;
}

START_TEST(an_announced_writer_that_comes_later_is_waited_for)
{
    mproc_queue *queues[2] = {make(NULL), make(NULL)};
    pid_t writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = support_fork(writes_when_told, queues);
        ck_assert_int_eq(mproc_queue_expect(queues[0], writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(get_number(queues[0], MPROC_NOW), -ETIMEDOUT);
        ck_assert_int_eq(put_number(queues[1], 1), 0);
        ck_assert_int_eq(get_number(queues[0], soon()), 7);
    }
    ck_assert_int_eq(get_number(queues[0], soon()), MPROC_EEND);
    for (int i = 0; i < WRITERS; i++)
        ends_well(writers[i]);
    unsigned rows = mproc__segment_rows(queues[0]->segment);
    mproc__segment_sweep(queues[0]->segment);
    for (unsigned row = 0; row < rows; row++)
        if (mproc__segment_row_pid(queues[0]->segment, row) != getpid())
            ck_assert_int_eq(mproc__segment_row_pid(queues[0]->segment, row), 0);
    mproc_queue_close(&queues[0]);
    mproc_queue_close(&queues[1]);
}
END_TEST

START_TEST(announced_writers_that_race_with_their_announcement_all_count_once)
{
    for (int round = 0; round < 25; round++) {
        mproc_queue *queue = make(MPROC_WITH(mproc_queue_options, .expected_writers = WRITERS));
        pid_t writers[WRITERS];
        for (int i = 0; i < WRITERS; i++) {
            writers[i] = support_fork(writes_one, queue);
            ck_assert_int_eq(mproc_queue_expect(queue, writers[i]), 0);
        }
        for (int i = 0; i < WRITERS; i++)
            ck_assert_int_eq(get_number(queue, soon()), 7);
        ck_assert_int_eq(get_number(queue, soon()), MPROC_EEND);
        for (int i = 0; i < WRITERS; i++)
            ends_well(writers[i]);
        mproc_queue_close(&queue);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue_expect");
    TCase *announced = support_case(suite, "announced");
    tcase_add_test(announced, an_announced_writer_that_dies_before_it_came_is_never);
    tcase_add_test(announced, never_is_said_after_what_the_others_wrote);
    tcase_add_loop_test(announced, one_that_came_before_it_was_announced_has_come, 0, 3);
    tcase_add_loop_test(announced, one_that_ended_unseen_before_it_was_announced_never_came, 0, 2);
    tcase_add_test(announced, an_announced_writer_that_comes_later_is_waited_for);
    tcase_add_test(announced, announced_writers_that_race_with_their_announcement_all_count_once);
    return support_run(suite, argc, argv);
}
