/* SPDX-License-Identifier: BSD-2-Clause */
/* The state machine of a task slot: every arrow, and no other. */
#include "platform/base.h"

#include "pool/task.h"
#include "support/support.h"

enum { WORKER = 5, LIFE = 9 };

static mproc__task_word now(_Atomic uint64_t *word)
{
    return mproc__task_load(word);
}

/* A word in the state wanted, worker and life as above. */
static void bring(_Atomic uint64_t *word, mproc__task_state state)
{
    mproc__task_word claimed;
    *word = 0;
    if (state == MPROC__TASK_FREE)
        return;
    mproc__task_publish(word, state == MPROC__TASK_WAITING);
    if (state == MPROC__TASK_WAITING)
        return;
    if (state == MPROC__TASK_CANCELLED)
        ck_assert_int_eq(mproc__task_cancel(word, 1, false), 0);
    if (state == MPROC__TASK_READY || state == MPROC__TASK_CANCELLED)
        return;
    ck_assert(mproc__task_claim(word, WORKER, LIFE, &claimed));
    if (state == MPROC__TASK_STOPPING)
        ck_assert_int_eq(mproc__task_cancel(word, 1, true), 0);
    if (state == MPROC__TASK_DONE)
        ck_assert(mproc__task_finish(word, claimed));
    if (state == MPROC__TASK_DIED)
        ck_assert_int_eq(mproc__task_bury(word, WORKER, LIFE, 1), MPROC__TASK_DIED);
    if (state == MPROC__TASK_EXPIRED) {
        ck_assert(mproc__task_expire(word, claimed));
        mproc__task_bury(word, WORKER, LIFE, 9);
    }
}

START_TEST(a_word_survives_packing)
{
    mproc__task_word task = {.state = MPROC__TASK_EXPIRED,
                             .reason = MPROC__TASK_BY_LIMIT,
                             .attempt = MPROC__TASK_ATTEMPTS,
                             .worker = 255,
                             .life = 65535,
                             .serial = MPROC__TASK_SERIALS - 1};
    mproc__task_word back = mproc__task_unpack(mproc__task_pack(task));
    ck_assert_mem_eq(&task, &back, sizeof task);
}
END_TEST

START_TEST(only_a_ready_task_is_claimed)
{
    for (mproc__task_state state = MPROC__TASK_FREE; state <= MPROC__TASK_EXPIRED; state++) {
        _Atomic uint64_t word;
        mproc__task_word claimed;
        bring(&word, state);
        ck_assert_int_eq(now(&word).state, state);
        ck_assert_int_eq(mproc__task_claim(&word, 1, 2, &claimed), state == MPROC__TASK_READY);
        if (state == MPROC__TASK_READY) {
            ck_assert_int_eq(now(&word).state, MPROC__TASK_RUNNING);
            ck_assert_uint_eq(now(&word).worker, 1);
            ck_assert_uint_eq(now(&word).life, 2);
            ck_assert_uint_eq(now(&word).attempt, 1);
        }
    }
}
END_TEST

/* shows: FUT-02 */
START_TEST(cancelling_follows_the_table)
{
    static const struct {
        int gentle, forced;
        mproc__task_state after_gentle, after_forced;
    } table[] = {
        [MPROC__TASK_FREE] = {-EALREADY, -EALREADY, MPROC__TASK_FREE, MPROC__TASK_FREE},
        [MPROC__TASK_WAITING] = {0, 0, MPROC__TASK_CANCELLED, MPROC__TASK_CANCELLED},
        [MPROC__TASK_READY] = {0, 0, MPROC__TASK_CANCELLED, MPROC__TASK_CANCELLED},
        [MPROC__TASK_RUNNING] = {-EBUSY, 0, MPROC__TASK_RUNNING, MPROC__TASK_STOPPING},
        [MPROC__TASK_STOPPING] = {0, 0, MPROC__TASK_STOPPING, MPROC__TASK_STOPPING},
        [MPROC__TASK_DONE] = {-EALREADY, -EALREADY, MPROC__TASK_DONE, MPROC__TASK_DONE},
        [MPROC__TASK_DIED] = {-EALREADY, -EALREADY, MPROC__TASK_DIED, MPROC__TASK_DIED},
        [MPROC__TASK_CANCELLED] = {-EALREADY, -EALREADY, MPROC__TASK_CANCELLED, MPROC__TASK_CANCELLED},
        [MPROC__TASK_EXPIRED] = {-EALREADY, -EALREADY, MPROC__TASK_EXPIRED, MPROC__TASK_EXPIRED},
    };
    for (mproc__task_state state = MPROC__TASK_FREE; state <= MPROC__TASK_EXPIRED; state++) {
        _Atomic uint64_t word;
        bring(&word, state);
        ck_assert_int_eq(mproc__task_cancel(&word, 1, false), table[state].gentle);
        ck_assert_int_eq(now(&word).state, table[state].after_gentle);
        bring(&word, state);
        ck_assert_int_eq(mproc__task_cancel(&word, 1, true), table[state].forced);
        ck_assert_int_eq(now(&word).state, table[state].after_forced);
        ck_assert_int_eq(mproc__task_cancel(&word, 2, true), -EALREADY);
    }
}
END_TEST

START_TEST(only_a_task_that_never_began_is_forgone)
{
    for (mproc__task_state state = MPROC__TASK_FREE; state <= MPROC__TASK_EXPIRED; state++) {
        _Atomic uint64_t word;
        bring(&word, state);
        ck_assert(!mproc__task_forgo(&word, 2));
        bool queued = state == MPROC__TASK_READY || state == MPROC__TASK_WAITING;
        ck_assert_int_eq(mproc__task_forgo(&word, 1), queued);
        ck_assert_int_eq(now(&word).state, queued ? MPROC__TASK_EXPIRED : state);
    }
    _Atomic uint64_t word = 0;
    mproc__task_word claimed;
    mproc__task_publish(&word, false);
    ck_assert(mproc__task_claim(&word, WORKER, LIFE, &claimed));
    ck_assert_int_eq(mproc__task_bury(&word, WORKER, LIFE, 2), MPROC__TASK_READY);
    ck_assert(!mproc__task_forgo(&word, 1));
}
END_TEST

START_TEST(only_a_waiting_task_is_released)
{
    for (mproc__task_state state = MPROC__TASK_FREE; state <= MPROC__TASK_EXPIRED; state++) {
        _Atomic uint64_t word;
        bring(&word, state);
        mproc__task_word other = now(&word);
        other.serial++;
        ck_assert(!mproc__task_release(&word, other));
        ck_assert_int_eq(mproc__task_release(&word, now(&word)), state == MPROC__TASK_WAITING);
        ck_assert_int_eq(now(&word).state, state == MPROC__TASK_WAITING ? MPROC__TASK_READY : state);
    }
}
END_TEST

START_TEST(a_stopped_task_cannot_finish)
{
    _Atomic uint64_t word = 0;
    mproc__task_word claimed;
    mproc__task_publish(&word, false);
    ck_assert(mproc__task_claim(&word, WORKER, LIFE, &claimed));
    ck_assert_int_eq(mproc__task_cancel(&word, 1, true), 0);
    ck_assert(!mproc__task_finish(&word, claimed));
    ck_assert(!mproc__task_expire(&word, claimed));
    ck_assert_int_eq(mproc__task_bury(&word, WORKER, LIFE, 9), MPROC__TASK_CANCELLED);
}
END_TEST

/* shows: WORK-2 DEATH-6 */
START_TEST(a_death_is_retried_while_attempts_are_left)
{
    _Atomic uint64_t word = 0;
    mproc__task_word claimed;
    mproc__task_publish(&word, false);
    for (unsigned attempt = 1; attempt <= 3; attempt++) {
        ck_assert(mproc__task_claim(&word, WORKER, LIFE + attempt, &claimed));
        ck_assert_uint_eq(claimed.attempt, attempt);
        ck_assert_int_eq(mproc__task_bury(&word, WORKER, LIFE + attempt, 3),
                         attempt < 3 ? MPROC__TASK_READY : MPROC__TASK_DIED);
    }
}
END_TEST

START_TEST(only_the_dead_workers_own_task_is_buried)
{
    for (mproc__task_state state = MPROC__TASK_FREE; state <= MPROC__TASK_EXPIRED; state++) {
        _Atomic uint64_t word;
        bring(&word, state);
        ck_assert_int_eq(mproc__task_bury(&word, WORKER + 1, LIFE, 1), MPROC__TASK_FREE);
        ck_assert_int_eq(mproc__task_bury(&word, WORKER, LIFE + 1, 1), MPROC__TASK_FREE);
        ck_assert_int_eq(now(&word).state, state);
        mproc__task_bury(&word, WORKER, LIFE, 1);
        bool ran = state == MPROC__TASK_RUNNING || state == MPROC__TASK_STOPPING;
        ck_assert_int_eq(now(&word).state == state, !ran);
        ck_assert_int_eq(mproc__task_bury(&word, WORKER, LIFE, 1), MPROC__TASK_FREE);
    }
}
END_TEST

START_TEST(a_slot_is_another_at_each_use)
{
    _Atomic uint64_t word = 0;
    ck_assert_uint_eq(mproc__task_publish(&word, false), 1);
    ck_assert_int_eq(mproc__task_cancel(&word, 1, false), 0);
    mproc__task_clear(&word);
    ck_assert_int_eq(now(&word).state, MPROC__TASK_FREE);
    ck_assert_uint_eq(mproc__task_publish(&word, false), 2);
    ck_assert_int_eq(mproc__task_cancel(&word, 1, true), -EALREADY);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("task");
    TCase *all = support_case(suite, "task");
    tcase_add_test(all, a_word_survives_packing);
    tcase_add_test(all, only_a_ready_task_is_claimed);
    tcase_add_test(all, cancelling_follows_the_table);
    tcase_add_test(all, only_a_task_that_never_began_is_forgone);
    tcase_add_test(all, only_a_waiting_task_is_released);
    tcase_add_test(all, a_stopped_task_cannot_finish);
    tcase_add_test(all, a_death_is_retried_while_attempts_are_left);
    tcase_add_test(all, only_the_dead_workers_own_task_is_buried);
    tcase_add_test(all, a_slot_is_another_at_each_use);
    return support_run(suite, argc, argv);
}
