/* SPDX-License-Identifier: BSD-2-Clause */
/* What a death leaves: blocks half made, in the ring, or taken, each in the state in which a kill would leave it. The
 * kill sweep finds such states by itself; here each has a name. */
#include "platform/base.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel/queue_common.h"
#include "support/support.h"

enum { LARGE = 3000 };

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(5000));
}

static mproc_queue *make(bool redeliver)
{
    mproc_queue *queue = queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .redeliver = redeliver,
                                                                 .max_deliveries = 2, .max_bytes = 65536));
    ck_assert_ptr_nonnull(queue);
    return queue;
}

static int put_number(mproc_queue *queue, int value)
{
    uint8_t message[LARGE] = {0};
    memcpy(message, &value, sizeof value);
    return mproc_queue_put(queue, message, sizeof message, soon());
}

static int get_number(mproc_queue *queue)
{
    uint8_t message[LARGE];
    int value, rc = mproc_queue_get(queue, message, sizeof message, soon(), NULL);
    memcpy(&value, message, sizeof value);
    return rc < 0 ? rc : value;
}

/* Runs fn in a child that ends by SIGKILL right after it. */
static void die_after(support_fn *fn, mproc_queue *queue)
{
    ck_assert_int_eq(support_reap(support_fork(fn, queue), 5000), 256 + SIGKILL);
}

static void swept(mproc_queue *queue)
{
    ck_assert_uint_eq(mproc__segment_sweep(queue->segment), 1);
    ck_assert_ptr_null(queue_verify(queue, 0));
}

static int dies_with_reserved(void *context)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    if (mproc_queue_reserve(context, LARGE, soon(), &loan) < 0)
        return 1;
    return kill(getpid(), SIGKILL);
}

/* shows: DEATH-1 */
START_TEST(a_block_that_its_dead_owner_never_put_is_freed)
{
    mproc_queue *queue = make(_i);
    die_after(dies_with_reserved, queue);
    ck_assert_ptr_null(queue_verify(queue, 1));
    swept(queue);
    mproc_queue_close(&queue);
}
END_TEST

static int dies_after_put(void *context)
{
    if (put_number(context, 1) < 0 || put_number(context, 2) < 0)
        return 1;
    return kill(getpid(), SIGKILL);
}

/* shows: DEATH-2 WORK-7 QUEUE-20 */
START_TEST(what_was_put_no_longer_needs_its_producer)
{
    mproc_queue *queue = make(_i);
    die_after(dies_after_put, queue);
    swept(queue);
    die_after(dies_after_put, queue); /* gets the same row, and is swept again */
    swept(queue);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(get_number(queue), i % 2 + 1);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

/* Between the word QUEUED and the tail store. */
static int dies_before_tail(void *context)
{
    mproc_queue *queue = context;
    uint32_t block;
    mproc__block_state state;
    if (mproc__queue_enter(queue) < 0 ||
        mproc__queue_block_make(queue, 10, MPROC__ITEM_BYTES, MPROC_NOW, &block) < 0 ||
        !mproc__arena_get(&queue->arena, block, &state))
        return 1;
    mproc__block_state queued = state;
    queued.state = MPROC__BLOCK_QUEUED;
    if (!mproc__arena_swap(&queue->arena, block, state, queued) ||
        mproc__side_lock(queue->segment, &queue->shared->put.side, MPROC_FOREVER) < 0)
        return 2;
    return kill(getpid(), SIGKILL);
}

/* shows: DEATH-1 DEATH-2 */
START_TEST(a_producer_that_dies_before_its_tail_store_leaves_no_item)
{
    mproc_queue *queue = make(_i);
    die_after(dies_before_tail, queue);
    swept(queue);
    ck_assert_int_eq(put_number(queue, 1), 0);
    ck_assert_int_eq(get_number(queue), 1);
    mproc_queue_close(&queue);
}
END_TEST

/* Between the word LEASED and the head store. */
static int dies_before_head(void *context)
{
    mproc_queue *queue = context;
    mproc__queue_item item;
    int row = mproc__queue_enter(queue);
    if (row < 0 || mproc__side_lock(queue->segment, &queue->shared->get.side, MPROC_FOREVER) < 0 ||
        mproc__queue_peek(queue, &item) < 0)
        return 1;
    mproc__block_state leased = item.state;
    leased.state = MPROC__BLOCK_LEASED;
    leased.number = 1;
    leased.owner = (uint8_t)row;
    if (!mproc__arena_swap(&queue->arena, item.block, item.state, leased))
        return 2;
    return kill(getpid(), SIGKILL);
}

/* shows: DEATH-1 DEATH-2 QUEUE-20 */
START_TEST(a_consumer_that_dies_before_its_head_store_took_nothing)
{
    mproc_queue *queue = make(_i);
    ck_assert_int_eq(put_number(queue, 1), 0);
    ck_assert_int_eq(put_number(queue, 2), 0);
    die_after(dies_before_head, queue);
    mproc_loan loan = MPROC_LOAN_INIT;
    if (_i == 0)
        swept(queue); /* before the next take, or only after it: in acknowledged mode */
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    ck_assert_uint_eq(loan.delivery, 1);
    if (_i == 1)
        swept(queue);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    ck_assert_int_eq(get_number(queue), 2);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

static int dies_with_taken(void *context)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    if (mproc_queue_take(context, soon(), &loan) < 0)
        return 1;
    return kill(getpid(), SIGKILL);
}

/* shows: DEATH-2 QUEUE-20 */
START_TEST(what_the_dead_had_taken_is_delivered_again_marked_and_first)
{
    mproc_queue *queue = make(true);
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(put_number(queue, 1), 0);
    ck_assert_int_eq(put_number(queue, 2), 0);
    die_after(dies_with_taken, queue);
    swept(queue);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    ck_assert_uint_eq(loan.delivery, 2);
    ck_assert_int_eq(*(int *)loan.data, 1);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    ck_assert_int_eq(get_number(queue), 2);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* Nobody sleeps here, so nobody is woken by the death.
 * shows: DEATH-1 DEATH-2 */
START_TEST(who_only_tries_finds_what_the_dead_had_taken)
{
    mproc_queue *queue = make(true);
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(put_number(queue, 1), 0);
    die_after(dies_with_taken, queue);
    ck_assert_int_eq(mproc_queue_take(queue, MPROC_NOW, &loan), 0);
    ck_assert_uint_eq(loan.delivery, 2);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    mproc_queue_close(&queue);
}
END_TEST

/* shows: DEATH-1 */
START_TEST(who_only_tries_finds_the_room_that_the_dead_had_taken)
{
    mproc_queue *queue = queue_make(MPROC__HOME_HOST, MPROC_WITH(mproc_queue_options, .max_bytes = LARGE));
    ck_assert_int_eq(put_number(queue, 1), 0);
    die_after(dies_with_taken, queue);
    uint8_t message[LARGE] = {0};
    ck_assert_int_eq(mproc_queue_put(queue, message, sizeof message, MPROC_NOW), 0);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(an_item_that_kills_its_takers_is_dropped_in_the_end)
{
    mproc_queue *queue = make(true);
    ck_assert_int_eq(put_number(queue, 1), 0);
    die_after(dies_with_taken, queue);
    swept(queue);
    die_after(dies_with_taken, queue);
    swept(queue);
    ck_assert_uint_eq(queue->shared->dropped, 1);
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    mproc_queue_close(&queue);
}
END_TEST

START_TEST(a_plain_queue_loses_what_the_dead_had_taken_and_nothing_else)
{
    mproc_queue *queue = make(false);
    ck_assert_int_eq(put_number(queue, 1), 0);
    ck_assert_int_eq(put_number(queue, 2), 0);
    die_after(dies_with_taken, queue);
    swept(queue);
    ck_assert_int_eq(get_number(queue), 2);
    mproc_queue_close(&queue);
}
END_TEST

/* Between the word RETURNED and the mark that says so. */
static int dies_before_mark(void *context)
{
    mproc_queue *queue = context;
    mproc_loan loan = MPROC_LOAN_INIT;
    mproc__block_state state, returned;
    if (mproc_queue_take(queue, soon(), &loan) < 0)
        return 1;
    uint32_t block = (uint32_t)loan.id & 0xffffff;
    if (!mproc__arena_get(&queue->arena, block, &state))
        return 2;
    returned = state;
    returned.state = MPROC__BLOCK_RETURNED;
    if (!mproc__arena_swap(&queue->arena, block, state, returned))
        return 3;
    return kill(getpid(), SIGKILL);
}

/* shows: DEATH-2 DEATH-8 */
START_TEST(an_item_given_back_by_one_who_died_over_it_is_found)
{
    mproc_queue *queue = make(true);
    char byte[LARGE];
    ck_assert_int_eq(put_number(queue, 1), 0);
    die_after(dies_before_mark, queue);
    ck_assert_uint_eq(queue->shared->returned_marks, 0);
    ck_assert_int_eq(mproc_queue_get(queue, byte, sizeof byte, MPROC_NOW, NULL), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    ck_assert_int_eq(mproc_queue_join(queue, MPROC_NOW), 0);
    mproc_queue_close(&queue);
}
END_TEST

typedef struct lent {
    mproc_queue *queue;
    mproc_loan loan;
} lent;

static int gives_back_anothers_and_dies(void *context)
{
    lent *l = context;
    mproc__block_state state, returned;
    uint32_t block = (uint32_t)l->loan.id & 0xffffff;
    if (mproc__queue_enter(l->queue) < 0 || !mproc__arena_get(&l->queue->arena, block, &state))
        return 1;
    returned = state;
    returned.state = MPROC__BLOCK_RETURNED;
    return mproc__arena_swap(&l->queue->arena, block, state, returned) ? kill(getpid(), SIGKILL) : 2;
}

/* The giver dies before the mark; the taker, whose name the block still bears, lives. */
START_TEST(an_item_given_back_for_another_by_one_who_died_over_it_is_found)
{
    lent l = {make(true), MPROC_LOAN_INIT};
    char byte[LARGE];
    ck_assert_int_eq(put_number(l.queue, 1), 0);
    ck_assert_int_eq(mproc_queue_take(l.queue, soon(), &l.loan), 0);
    ck_assert_int_eq(support_reap(support_fork(gives_back_anothers_and_dies, &l), 5000), 256 + SIGKILL);
    ck_assert_uint_eq(l.queue->shared->returned_marks, 0);
    ck_assert_int_eq(mproc_queue_get(l.queue, byte, sizeof byte, MPROC_NOW, NULL), 0);
    ck_assert_ptr_null(queue_verify(l.queue, 0));
    ck_assert_int_eq(mproc_queue_join(l.queue, MPROC_NOW), 0);
    mproc_queue_close(&l.queue);
}
END_TEST

static int waits_for_item(void *context)
{
    return get_number(context) == 1 ? 0 : 1;
}

/* Takes, and sleeps until killed. */
static int takes_and_sleeps(void *context)
{
    mproc_loan loan = MPROC_LOAN_INIT;
    if (mproc_queue_take(context, soon(), &loan) < 0)
        return 1;
    for (;;)
        pause();
}

/* shows: DEATH-1 DEATH-2 */
START_TEST(the_death_of_a_taker_wakes_a_sleeping_consumer)
{
    mproc_queue *queue = make(true);
    ck_assert_int_eq(put_number(queue, 1), 0);
    pid_t taker = support_fork(takes_and_sleeps, queue);
    ck_assert(support_until_asleep(taker, 5000));
    pid_t waiter = support_fork(waits_for_item, queue);
    ck_assert(support_until_asleep(waiter, 5000));
    support_kill(taker);
    ck_assert_int_eq(support_reap(waiter, 2000), 0);
    mproc_queue_close(&queue);
}
END_TEST

static int joins(void *context)
{
    return mproc_queue_join(context, soon()) < 0;
}

/* shows: DEATH-1 */
START_TEST(the_death_of_the_last_taker_of_a_dropped_item_wakes_a_joiner)
{
    mproc_queue *queue = make(true);
    ck_assert_int_eq(put_number(queue, 1), 0);
    die_after(dies_with_taken, queue);
    swept(queue);
    pid_t taker = support_fork(takes_and_sleeps, queue);
    ck_assert(support_until_asleep(taker, 5000));
    pid_t joiner = support_fork(joins, queue);
    ck_assert(support_until_asleep(joiner, 5000));
    support_kill(taker);
    ck_assert_int_eq(support_reap(joiner, 2000), 0);
    mproc_queue_close(&queue);
}
END_TEST

static int takes_and_closes(void *context)
{
    mproc_queue *queue = context;
    mproc_loan loan = MPROC_LOAN_INIT, half_made = MPROC_LOAN_INIT;
    if (mproc_queue_take(queue, soon(), &loan) < 0 || mproc_queue_reserve(queue, 10, soon(), &half_made) < 0)
        return 1;
    mproc_queue_close(&queue);
    return 0;
}

START_TEST(an_orderly_close_gives_open_loans_back)
{
    mproc_queue *queue = make(true);
    ck_assert_int_eq(put_number(queue, 1), 0);
    ck_assert_int_eq(support_reap(support_fork(takes_and_closes, queue), 5000), 0);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_loan loan = MPROC_LOAN_INIT;
    ck_assert_int_eq(mproc_queue_take(queue, soon(), &loan), 0);
    ck_assert_uint_eq(loan.delivery, 2);
    ck_assert_int_eq(mproc_queue_done(queue, &loan), 0);
    mproc_queue_close(&queue);
}
END_TEST

static int stops_with_the_lock(void *context)
{
    mproc_queue *queue = context;
    if (mproc__side_lock(queue->segment, &queue->shared->get.side, MPROC_NOW) < 0)
        return 1;
    raise(SIGSTOP);
    mproc__side_release(&queue->shared->get.side);
    return 0;
}

static pid_t stopped_with_the_lock(mproc_queue *queue)
{
    int status;
    pid_t child = support_fork(stops_with_the_lock, queue);
    ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
    ck_assert(WIFSTOPPED(status));
    return child;
}

/* The consumers' lock is held by one who is stopped, not dead: the sweep waits for it, and nobody's deadline does. */
START_TEST(what_cannot_be_swept_now_is_swept_later_and_nobody_waits_for_it)
{
    mproc_queue *queue = make(true);
    ck_assert_int_eq(put_number(queue, 1), 0);
    die_after(_i == 0 ? dies_with_reserved : dies_with_taken, queue);
    pid_t stopped = stopped_with_the_lock(queue);
    uint8_t message[LARGE];
    mproc_deadline patience = mproc_after_ms(support_ms(500));
    int rc = mproc_queue_get(queue, message, sizeof message, mproc_after_ms(50), NULL);
    ck_assert_int_eq(rc, -ETIMEDOUT);
    ck_assert_uint_eq(mproc__segment_sweep(queue->segment), 0);
    ck_assert_int_gt(patience.ns, mproc_after_ms(0).ns);
    kill(stopped, SIGCONT);
    ck_assert_int_eq(support_reap(stopped, 5000), 0);
    swept(queue);
    ck_assert_int_eq(get_number(queue), 1);
    ck_assert_ptr_null(queue_verify(queue, 0));
    mproc_queue_close(&queue);
}
END_TEST

static int takes_and_closes_late(void *context)
{
    mproc_queue *queue = context;
    mproc_loan loan = MPROC_LOAN_INIT;
    if (mproc_queue_take(queue, soon(), &loan) < 0)
        return 1;
    raise(SIGSTOP);
    mproc_queue_close(&queue);
    return 0;
}

START_TEST(a_close_that_cannot_settle_leaves_that_to_the_next_sweep)
{
    mproc_queue *queue = make(true);
    int status;
    ck_assert_int_eq(put_number(queue, 1), 0);
    pid_t taker = support_fork(takes_and_closes_late, queue);
    ck_assert_int_eq(waitpid(taker, &status, WUNTRACED), taker);
    pid_t stopped = stopped_with_the_lock(queue);
    kill(taker, SIGCONT);
    ck_assert_int_eq(support_reap(taker, 500), 0);
    kill(stopped, SIGCONT);
    ck_assert_int_eq(support_reap(stopped, 5000), 0);
    swept(queue);
    ck_assert_int_eq(get_number(queue), 1);
    mproc_queue_close(&queue);
}
END_TEST

/* shows: MEM-2 */
START_TEST(damage_is_told_and_never_followed)
{
    mproc_queue *queue = make(false);
    char buffer[LARGE];
    ck_assert_int_eq(put_number(queue, 1), 0);
    mproc__descriptor_shared *descriptor = (void *)(queue->ring.bytes + 8);
    uint32_t block = descriptor->block;
    descriptor->block = 0xfffff0;
    ck_assert_int_eq(mproc_queue_get(queue, buffer, sizeof buffer, soon(), NULL), MPROC_ECORRUPT);
    descriptor->block = block;
    descriptor->size_bytes = 1u << 30;
    ck_assert_int_eq(mproc_queue_get(queue, buffer, sizeof buffer, soon(), NULL), MPROC_ECORRUPT);
    mproc__queue_block(queue, block)->size_bytes = 1u << 30;
    ck_assert_int_eq(mproc_queue_get(queue, buffer, sizeof buffer, soon(), NULL), MPROC_ECORRUPT);
    queue->shared->tail = UINT64_MAX;
    ck_assert_int_eq(mproc_queue_put(queue, "x", 1, soon()), MPROC_ECORRUPT);
    ck_assert_int_eq(mproc_error_code(mproc_error_of(queue)), MPROC_ECORRUPT);
    mproc_queue_close(&queue);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("queue blocks");
    TCase *deaths = support_case(suite, "deaths");
    tcase_add_loop_test(deaths, a_block_that_its_dead_owner_never_put_is_freed, 0, 2);
    tcase_add_loop_test(deaths, what_was_put_no_longer_needs_its_producer, 0, 2);
    tcase_add_loop_test(deaths, a_producer_that_dies_before_its_tail_store_leaves_no_item, 0, 2);
    tcase_add_loop_test(deaths, a_consumer_that_dies_before_its_head_store_took_nothing, 0, 2);
    tcase_add_test(deaths, what_the_dead_had_taken_is_delivered_again_marked_and_first);
    tcase_add_test(deaths, who_only_tries_finds_what_the_dead_had_taken);
    tcase_add_test(deaths, who_only_tries_finds_the_room_that_the_dead_had_taken);
    tcase_add_test(deaths, an_item_that_kills_its_takers_is_dropped_in_the_end);
    tcase_add_test(deaths, a_plain_queue_loses_what_the_dead_had_taken_and_nothing_else);
    tcase_add_test(deaths, an_item_given_back_by_one_who_died_over_it_is_found);
    tcase_add_test(deaths, an_item_given_back_for_another_by_one_who_died_over_it_is_found);
    tcase_add_test(deaths, the_death_of_a_taker_wakes_a_sleeping_consumer);
    tcase_add_test(deaths, the_death_of_the_last_taker_of_a_dropped_item_wakes_a_joiner);
    tcase_add_test(deaths, an_orderly_close_gives_open_loans_back);
    tcase_add_loop_test(deaths, what_cannot_be_swept_now_is_swept_later_and_nobody_waits_for_it, 0, 2);
    tcase_add_test(deaths, a_close_that_cannot_settle_leaves_that_to_the_next_sweep);
    tcase_add_test(deaths, damage_is_told_and_never_followed);
    return support_run(suite, argc, argv);
}
