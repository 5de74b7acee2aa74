/* SPDX-License-Identifier: BSD-2-Clause */
/* The slots in which sleepers say that they wait. */
#include "platform/base.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/platform.h"
#include "shm/segment_inside.h"
#include "support/support.h"

enum { THREADS = 8, TIMES = 2000 };

static mproc__segment *segment;

static void make(mproc__home home)
{
    ck_assert_int_eq(mproc__segment_create(home, MPROC_TYPE_QUEUE, "waiting", 64, 0, &segment), 0);
}

static uint64_t word_of(int slot)
{
    return atomic_load(&segment->shared->waiters[slot].word);
}

static unsigned taken(void)
{
    unsigned count = 0;
    for (int i = 0; i < MPROC__WAITERS; i++)
        count += word_of(i) != 0;
    return count;
}

START_TEST(a_slot_tells_who_waits_for_what_and_since_when)
{
    make(MPROC__HOME_HOST);
    int64_t before_ns = mproc__now_ns();
    int slot = mproc__waiting_begin(segment, MPROC__WAIT_ITEM);
    ck_assert_int_ge(slot, 0);
    ck_assert_uint_eq(word_of(slot) & UINT32_MAX, (uint32_t)mproc__tid());
    ck_assert_uint_eq(word_of(slot) >> 32, MPROC__WAIT_ITEM);
    ck_assert_int_ge(atomic_load(&segment->shared->waiters[slot].since_ns), before_ns);
    ck_assert_int_le(atomic_load(&segment->shared->waiters[slot].since_ns), mproc__now_ns());
    mproc__waiting_end(segment, slot);
    ck_assert_uint_eq(taken(), 0);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(waiting_in_a_thread_home_needs_no_slot)
{
    make(MPROC__HOME_THREAD);
    ck_assert_int_eq(mproc__waiting_begin(segment, MPROC__WAIT_READ), -1);
    mproc__waiting_end(segment, -1);
    mproc__segment_release(segment);
}
END_TEST

START_TEST(a_full_table_is_no_reason_not_to_wait)
{
    int slots[MPROC__WAITERS];
    make(MPROC__HOME_HOST);
    for (int i = 0; i < MPROC__WAITERS; i++)
        ck_assert_int_ge(slots[i] = mproc__waiting_begin(segment, MPROC__WAIT_SET), 0);
    ck_assert_uint_eq(taken(), MPROC__WAITERS);
    ck_assert_int_eq(mproc__waiting_begin(segment, MPROC__WAIT_SET), -1);
    mproc__waiting_end(segment, slots[5]);
    ck_assert_int_eq(mproc__waiting_begin(segment, MPROC__WAIT_ROOM), slots[5]);
    mproc__segment_release(segment);
}
END_TEST

static int wait_and_die(void *unused)
{
    (void)unused;
    if (mproc__waiting_begin(segment, MPROC__WAIT_NOTIFY) < 0)
        return 1;
    raise(SIGKILL);
    return 2;
}

START_TEST(the_slots_of_the_dead_are_taken_again)
{
    make(MPROC__HOME_HOST);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(support_reap(support_fork(wait_and_die, NULL), 5000), 256 + SIGKILL);
    ck_assert_uint_eq(taken(), 3);
    for (int i = 0; i < MPROC__WAITERS; i++)
        ck_assert_int_ge(mproc__waiting_begin(segment, MPROC__WAIT_PARTIES), 0);
    ck_assert_int_eq(mproc__waiting_begin(segment, MPROC__WAIT_PARTIES), -1);
    for (int i = 0; i < MPROC__WAITERS; i++)
        ck_assert_uint_eq(word_of(i) & UINT32_MAX, (uint32_t)mproc__tid());
    mproc__segment_release(segment);
}
END_TEST

/* A slot that is ours is nobody else's. */
static void *begin_and_end(void *unused)
{
    (void)unused;
    for (int i = 0; i < TIMES; i++) {
        int slot = mproc__waiting_begin(segment, MPROC__WAIT_RESULT);
        if (slot < 0 || (word_of(slot) & UINT32_MAX) != (uint32_t)mproc__tid())
            return segment;
        mproc__waiting_end(segment, slot);
    }
    return NULL;
}

START_TEST(threads_share_the_table)
{
    pthread_t threads[THREADS];
    void *wrong;
    make(MPROC__HOME_HOST);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, begin_and_end, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &wrong);
        ck_assert_ptr_null(wrong);
    }
    ck_assert_uint_eq(taken(), 0);
    mproc__segment_release(segment);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("waiting");
    TCase *slots = support_case(suite, "slots");
    tcase_add_test(slots, a_slot_tells_who_waits_for_what_and_since_when);
    tcase_add_test(slots, waiting_in_a_thread_home_needs_no_slot);
    tcase_add_test(slots, a_full_table_is_no_reason_not_to_wait);
    tcase_add_test(slots, the_slots_of_the_dead_are_taken_again);
    tcase_add_test(slots, threads_share_the_table);
    return support_run(suite, argc, argv);
}
