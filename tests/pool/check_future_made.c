/* SPDX-License-Identifier: BSD-2-Clause */
/* Futures that a program ends itself. */
#include "platform/base.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "platform/platform.h"
#include "pool/pool_common.h"

static mproc_future *made(void)
{
    mproc_future *future = NULL;
    ck_assert_int_eq(mproc_future_create(&future), 0);
    return future;
}

typedef enum made_state { PENDING, RUNNING, DONE, FAILED, CANCELLED, STATES } made_state;

static mproc_future *made_in(made_state state)
{
    mproc_future *future = made();
    if (state != PENDING && state != CANCELLED)
        ck_assert_int_eq(mproc_future_set_running(future), 0);
    if (state == DONE)
        ck_assert_int_eq(mproc_future_set_result(future, MPROC_V(42)), 0);
    else if (state == FAILED)
        ck_assert_int_eq(mproc_future_set_failed(future, -EIO, "the disk is gone"), 0);
    else if (state == CANCELLED)
        ck_assert_int_eq(mproc_future_cancel(future, false), 0);
    ck_assert_int_eq(mproc_future_get_state(future), state);
    return future;
}

/* What each call answers in each state, and the state afterwards. */
static const struct row {
    int result, set_running, set_done, set_failed, cancel, stop;
    made_state after_cancel;
} table[STATES] = {
    [PENDING] = {-ETIMEDOUT, 0, 0, 0, 0, 0, CANCELLED},
    [RUNNING] = {-ETIMEDOUT, MPROC_ESTATE, 0, 0, -EBUSY, 0, RUNNING},
    [DONE] = {0, MPROC_ESTATE, MPROC_ESTATE, MPROC_ESTATE, MPROC_ESTATE, MPROC_ESTATE, DONE},
    [FAILED] = {-EIO, MPROC_ESTATE, MPROC_ESTATE, MPROC_ESTATE, MPROC_ESTATE, MPROC_ESTATE, FAILED},
    [CANCELLED] = {-ECANCELED, -ECANCELED, MPROC_ESTATE, MPROC_ESTATE, 0, 0, CANCELLED},
};

/* shows: FUT-01 FUT-02 FUT-03 FUT-07 FUT-08 */
START_TEST(every_call_in_every_state)
{
    for (made_state state = PENDING; state < STATES; state++) {
        const struct row *is = &table[state];
        mproc_future *f = made_in(state);
        ck_assert_int_eq(mproc_future_result(f, MPROC_NOW, NULL), is->result);
        ck_assert_int_eq(mproc_future_cancel(f, false), is->cancel);
        ck_assert_int_eq(mproc_future_get_state(f), is->after_cancel);
        mproc_future_close(&f);
        f = made_in(state);
        ck_assert_int_eq(mproc_future_cancel(f, true), is->stop);
        ck_assert_int_eq(mproc_future_get_state(f), is->stop == 0 ? CANCELLED : state);
        mproc_future_close(&f);
        f = made_in(state);
        ck_assert_int_eq(mproc_future_set_running(f), is->set_running);
        ck_assert_int_eq(mproc_future_get_state(f), is->set_running == 0 ? RUNNING : state);
        mproc_future_close(&f);
        f = made_in(state);
        ck_assert_int_eq(mproc_future_set_result(f, MPROC_V("new")), is->set_done);
        ck_assert_int_eq(mproc_future_get_state(f), is->set_done == 0 ? DONE : state);
        mproc_future_close(&f);
        f = made_in(state);
        ck_assert_int_eq(mproc_future_set_failed(f, -EPERM, "new"), is->set_failed);
        ck_assert_int_eq(mproc_future_result(f, MPROC_NOW, NULL), is->set_failed == 0 ? -EPERM : is->result);
        mproc_future_close(&f);
    }
}
END_TEST

/* shows: FUT-07 */
START_TEST(the_first_outcome_stays)
{
    mproc_variant value;
    int64_t number = 0;
    mproc_future *future = made_in(DONE);
    ck_assert_int_eq(mproc_future_set_result(future, MPROC_V(43)), MPROC_ESTATE);
    ck_assert_int_eq(mproc_future_set_failed(future, -EIO, NULL), MPROC_ESTATE);
    ck_assert_int_eq(mproc_future_set_progress(future, 1, 2), MPROC_ESTATE);
    ck_assert_int_eq(mproc_future_result(future, MPROC_NOW, &value), 0);
    ck_assert_int_eq(mproc_variant_get_int(value, &number), 0);
    ck_assert_int_eq(number, 42);
    mproc_future_close(&future);
    future = made_in(FAILED);
    ck_assert_int_eq(mproc_future_set_result(future, MPROC_V(43)), MPROC_ESTATE);
    ck_assert_int_eq(mproc_future_result(future, MPROC_NOW, NULL), -EIO);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(future)), "the disk is gone"));
    mproc_future_close(&future);
}
END_TEST

/* shows: FUT-09 */
START_TEST(a_failure_without_words_is_a_failure)
{
    static const char *const texts[] = {NULL, ""};
    for (size_t i = 0; i < MPROC__COUNT(texts); i++) {
        mproc_future *future = made();
        ck_assert_int_eq(mproc_future_set_failed(future, -EIO, texts[i]), 0);
        ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_FAILED);
        ck_assert_int_eq(mproc_future_result(future, MPROC_NOW, NULL), -EIO);
        ck_assert_int_eq(mproc_error_code(mproc_error_of(future)), -EIO);
        mproc_future_close(&future);
    }
    mproc_future *future = made();
    ck_assert_int_eq(mproc_future_set_failed(future, 0, "x"), -EINVAL);
    ck_assert_int_eq(mproc_future_set_failed(future, 1, "x"), -EINVAL);
    ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_PENDING);
    mproc_future_close(&future);
}
END_TEST

static int fail_empty(mproc_call *call)
{
    return mproc_call_fail(call, (int)mproc_call_int(call, 0), "%s", "");
}

/* shows: FUT-09 */
START_TEST(a_task_that_fails_without_words_or_code_has_failed)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    static const int codes[] = {-EIO, 0};
    for (size_t i = 0; i < MPROC__COUNT(codes); i++) {
        mproc_future *future = submit(pool, fail_empty, MPROC_ARGS(codes[i]));
        ck_assert_int_eq(result_code(future), codes[i] ? codes[i] : -EINVAL);
        ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_FAILED);
        ck_assert_ptr_nonnull(mproc_error_of(future));
        mproc_future_close(&future);
    }
    pool_end(&pool);
}
END_TEST

/* ---- threads ---- */

static bool asleep_soon(void *thread)
{
    return support_until_asleep(*(pid_t *)thread, 5000);
}

typedef struct waiter {
    mproc_future *future;
    _Atomic pid_t tid;
    int code;
} waiter;

static void *waiter_run(void *context)
{
    waiter *self = context;
    atomic_store(&self->tid, mproc__tid());
    self->code = mproc_future_result(self->future, mproc_after_ms(support_ms(10000)), NULL);
    return NULL;
}

static bool has_tid(void *context)
{
    return atomic_load(&((waiter *)context)->tid) != 0;
}

/* shows: FUT-04 */
START_TEST(a_blocked_result_wakes_by_value_failure_and_cancel)
{
    static const int codes[] = {0, -EIO, -ECANCELED};
    for (int how = 0; how < 3; how++) {
        pthread_t thread;
        waiter self = {.future = made()};
        ck_assert_int_eq(pthread_create(&thread, NULL, waiter_run, &self), 0);
        ck_assert(support_until(has_tid, &self, 5000));
        pid_t tid = self.tid;
        ck_assert(asleep_soon(&tid));
        ck_assert_int_eq(how == 0   ? mproc_future_set_result(self.future, MPROC_V(1))
                         : how == 1 ? mproc_future_set_failed(self.future, -EIO, "no")
                                    : mproc_future_cancel(self.future, false),
                         0);
        pthread_join(thread, NULL);
        ck_assert_int_eq(self.code, codes[how]);
        mproc_future_close(&self.future);
    }
}
END_TEST

static void *ender_run(void *context)
{
    (void)mproc_future_set_result(context, MPROC_V("a value"));
    return NULL;
}

/* The one handle is closed while the call that ended it may be under way. */
START_TEST(whoever_waits_may_close_at_once)
{
    for (int i = 0; i < 300; i++) {
        pthread_t thread;
        mproc_future *future = made();
        ck_assert_int_eq(pthread_create(&thread, NULL, ender_run, future), 0);
        ck_assert_int_eq(mproc_future_wait(future, mproc_after_ms(support_ms(10000))), 0);
        mproc_future_close(&future);
        pthread_join(thread, NULL);
    }
}
END_TEST

static void *cancel_run(void *context)
{
    return mproc_future_cancel(context, true) == 0 ? context : NULL;
}

START_TEST(of_result_and_cancel_one_wins)
{
    for (int i = 0; i < 300; i++) {
        pthread_t thread;
        void *cancelled;
        mproc_future *future = made();
        ck_assert_int_eq(pthread_create(&thread, NULL, cancel_run, future), 0);
        int rc = mproc_future_set_result(future, MPROC_V(i));
        pthread_join(thread, &cancelled);
        ck_assert(cancelled ? rc == MPROC_ESTATE : rc == 0);
        ck_assert_int_eq(mproc_future_get_state(future),
                         cancelled ? MPROC_FUTURE_CANCELLED : MPROC_FUTURE_DONE);
        mproc_future_close(&future);
    }
}
END_TEST

/* ---- snapshot and callbacks ---- */

static void *reader_run(void *context)
{
    static const char *const wrong = "inconsistent";
    for (;;) {
        mproc_future_view view;
        int64_t number = -1;
        if (mproc_future_snapshot(context, &view) != 0)
            return (void *)wrong;
        bool ended = view.state > MPROC_FUTURE_RUNNING;
        if (!ended && (view.code != -ETIMEDOUT || view.error || view.value.kind != MPROC_KIND_NULL))
            return (void *)wrong;
        if (view.state == MPROC_FUTURE_DONE &&
            (view.code || view.error || mproc_variant_get_int(view.value, &number) < 0 || number != 7))
            return (void *)wrong;
        if (view.state == MPROC_FUTURE_FAILED &&
            (view.code != -EIO || mproc_error_code(view.error) != -EIO || view.value.kind != MPROC_KIND_NULL))
            return (void *)wrong;
        if (view.state == MPROC_FUTURE_CANCELLED && (view.code != -ECANCELED || !view.error))
            return (void *)wrong;
        if (ended)
            return NULL;
    }
}

/* shows: FUT-10 */
START_TEST(a_snapshot_is_of_one_moment)
{
    for (int i = 0; i < 150; i++) {
        pthread_t threads[2];
        void *wrong;
        mproc_future *future = made();
        for (int n = 0; n < 2; n++)
            ck_assert_int_eq(pthread_create(&threads[n], NULL, reader_run, future), 0);
        ck_assert_int_eq(mproc_future_set_running(future), 0);
        ck_assert_int_eq(i % 3 == 0   ? mproc_future_set_result(future, MPROC_V(7))
                         : i % 3 == 1 ? mproc_future_set_failed(future, -EIO, "no")
                                      : mproc_future_cancel(future, true),
                         0);
        for (int n = 0; n < 2; n++) {
            pthread_join(threads[n], &wrong);
            ck_assert_ptr_null(wrong);
        }
        mproc_future_close(&future);
    }
}
END_TEST

START_TEST(a_snapshot_shows_progress)
{
    mproc_future_view view;
    mproc_future *future = made();
    ck_assert_int_eq(mproc_future_set_progress(future, 3, 10), 0);
    ck_assert_int_eq(mproc_future_snapshot(future, &view), 0);
    ck_assert_int_eq(view.state, MPROC_FUTURE_PENDING);
    ck_assert_uint_eq(view.progress_done, 3);
    ck_assert_uint_eq(view.progress_total, 10);
    mproc_future_close(&future);
}
END_TEST

START_TEST(a_made_future_calls_back_also_when_it_is_closed_without_an_end)
{
    _Atomic unsigned calls = 0;
    mproc_future *last = made();
    for (made_state state = PENDING; state < STATES; state++) {
        mproc_future *future = made();
        ck_assert_int_eq(mproc_future_on_done(future, count_it, (void *)&calls), 0);
        if (state == RUNNING)
            ck_assert_int_eq(mproc_future_set_running(future), 0);
        else if (state == DONE)
            ck_assert_int_eq(mproc_future_set_result(future, MPROC_NONE), 0);
        else if (state == FAILED)
            ck_assert_int_eq(mproc_future_set_failed(future, -EIO, NULL), 0);
        else if (state == CANCELLED)
            ck_assert_int_eq(mproc_future_cancel(future, false), 0);
        mproc_future_close(&future);
    }
    ck_assert_int_eq(mproc_future_on_done(last, count_it, (void *)&calls), 0);
    ck_assert_int_eq(mproc_future_set_result(last, MPROC_NONE), 0);
    ck_assert_int_eq(mproc_future_wait(last, mproc_after_ms(support_ms(10000))), 0);
    ck_assert_uint_eq(calls, STATES + 1);
    mproc_future_close(&last);
}
END_TEST

/* shows: FUT-11 */
START_TEST(a_made_future_describes_itself)
{
    static const char *const ends[STATES] = {"pending", "running", "done", "failed (EIO)", "cancelled"};
    for (made_state state = PENDING; state < STATES; state++) {
        char text[100];
        mproc_future *future = made_in(state);
        mproc_describe(future, text, sizeof text);
        ck_assert_ptr_nonnull(strstr(text, ends[state]));
        mproc_future_close(&future);
    }
}
END_TEST

START_TEST(what_is_not_made_cannot_be_set)
{
    mproc_pool *pool = pool_make(MPROC_START_THREAD, 1);
    mproc_future *future = submit(pool, task_until_stopped, MPROC_NONE);
    ck_assert_int_eq(mproc_future_create(NULL), -EINVAL);
    ck_assert_int_eq(mproc_future_set_running(future), -EINVAL);
    ck_assert_int_eq(mproc_future_set_result(future, MPROC_NONE), -EINVAL);
    ck_assert_int_eq(mproc_future_set_failed(future, -EIO, NULL), -EINVAL);
    ck_assert_int_eq(mproc_future_set_progress(future, 1, 2), -EINVAL);
    ck_assert_int_eq(mproc_future_set_result(NULL, MPROC_NONE), -EINVAL);
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

static int child_may_not(void *future)
{
    mproc_future *inherited = future;
    if (mproc_future_set_result(inherited, MPROC_NONE) != -ECHILD ||
        mproc_future_set_running(inherited) != -ECHILD || mproc_future_wait(inherited, MPROC_NOW) != -ECHILD)
        return 1;
    mproc_future_close(&inherited);
    return 0;
}

START_TEST(a_fork_child_may_not_end_its_parents_future)
{
    mproc_future *future = made();
    ck_assert_int_eq(support_reap(support_fork(child_may_not, future), 5000), 0);
    ck_assert_int_eq(mproc_future_set_result(future, MPROC_NONE), 0);
    mproc_future_close(&future);
}
END_TEST

START_TEST(no_memory_is_an_error_and_changes_nothing)
{
    for (unsigned n = 1;; n++) {
        _Atomic unsigned calls = 0;
        mproc_future *future = NULL;
        support_fail_allocation(n);
        int rc = mproc_future_create(&future);
        if (rc == 0)
            rc = mproc_future_on_done(future, count_it, (void *)&calls);
        if (rc == 0)
            rc = mproc_future_set_result(future, mproc_text("a text of its own"));
        bool failed = support_allocation_failed();
        support_fail_allocation(0);
        if (rc == 0)
            ck_assert_int_eq(mproc_future_wait(future, mproc_after_ms(support_ms(10000))), 0);
        else
            ck_assert(rc == -ENOMEM || rc == -EAGAIN);
        mproc_future_close(&future);
        if (!failed)
            break;
    }
}
END_TEST

static void add(TCase *all)
{
    tcase_add_test(all, every_call_in_every_state);
    tcase_add_test(all, the_first_outcome_stays);
    tcase_add_test(all, a_failure_without_words_is_a_failure);
    tcase_add_loop_test(all, a_task_that_fails_without_words_or_code_has_failed, METHODS_FIRST, METHODS);
    tcase_add_test(all, a_blocked_result_wakes_by_value_failure_and_cancel);
    tcase_add_test(all, whoever_waits_may_close_at_once);
    tcase_add_test(all, of_result_and_cancel_one_wins);
    tcase_add_test(all, a_snapshot_is_of_one_moment);
    tcase_add_test(all, a_snapshot_shows_progress);
    tcase_add_test(all, a_made_future_calls_back_also_when_it_is_closed_without_an_end);
    tcase_add_test(all, a_made_future_describes_itself);
    tcase_add_test(all, what_is_not_made_cannot_be_set);
    tcase_add_test(all, a_fork_child_may_not_end_its_parents_future);
    tcase_add_test(all, no_memory_is_an_error_and_changes_nothing);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "future_made", add);
}
