/* SPDX-License-Identifier: BSD-2-Clause */
/* Callbacks of futures and the thread that they run on. */
#include "platform/base.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/pool_common.h"

/* What callbacks leave behind, in order. */
typedef struct trace {
    _Atomic unsigned count;
    int names[16];
    mproc_future *futures[16];
    pthread_t threads[16];
} trace;

typedef struct note {
    trace *to;
    int name;
} note;

static int note_it(mproc_future *future, void *context)
{
    const note *from = context;
    unsigned at = atomic_load(&from->to->count);
    from->to->names[at] = from->name;
    from->to->futures[at] = future;
    from->to->threads[at] = pthread_self();
    atomic_store(&from->to->count, at + 1);
    return 0;
}

/* shows: POOL-05 FUT-05 */
START_TEST(callbacks_run_in_order_before_waiters_go_on)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    static mproc_fn *const tasks[] = {task_square, task_fail, task_until_stopped};
    for (size_t i = 0; i < MPROC__COUNT(tasks); i++) {
        trace seen = {.count = 0};
        note notes[] = {{&seen, 1}, {&seen, 2}, {&seen, 3}, {&seen, 4}};
        mproc_future *future = submit(pool, tasks[i], MPROC_ARGS(3));
        for (int n = 0; n < 3; n++)
            on_done(future, note_it, &notes[n]);
        if (tasks[i] == task_until_stopped)
            ck_assert_int_eq(mproc_future_cancel(future, true), 0);
        wait_for(future);
        ck_assert_uint_eq(atomic_load(&seen.count), 3);
        on_done(future, note_it, &notes[3]);
        ck_assert_uint_eq(atomic_load(&seen.count), 4);
        for (int n = 0; n < 4; n++) {
            ck_assert_int_eq(seen.names[n], n + 1);
            ck_assert_ptr_eq(seen.futures[n], future);
        }
        ck_assert(pthread_equal(seen.threads[3], pthread_self()));
        mproc_future_close(&future);
    }
    pool_end(&pool);
}
END_TEST

typedef struct latecomer {
    _Atomic bool inside, closed;
    mproc_future *_Atomic kept;
} latecomer;

static int keep_when_closed(mproc_future *future, void *context)
{
    latecomer *of = context;
    atomic_store(&of->inside, true);
    while (!atomic_load(&of->closed))
        sched_yield();
    atomic_store(&of->kept, mproc_keep(future));
    return 0;
}

/* Closed as its callback runs: the callback's is the only reference then. */
START_TEST(a_callback_keeps_a_future_that_was_closed_meanwhile)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    latecomer of = {.inside = false};
    mproc_future *future = submit(pool, task_until_stopped, MPROC_NONE);
    on_done(future, keep_when_closed, &of);
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    while (!atomic_load(&of.inside))
        sched_yield();
    mproc_future_close(&future);
    atomic_store(&of.closed, true);
    while (!atomic_load(&of.kept))
        sched_yield();
    mproc_future *kept = atomic_load(&of.kept);
    wait_for(kept);
    pool_end(&pool); /* waits for the service, too, to have left it */
    ck_assert_int_eq(mproc_future_get_state(kept), MPROC_FUTURE_CANCELLED);
    mproc_future_close(&kept);
}
END_TEST

/* shows: POOL-05 */
START_TEST(a_callback_has_the_whole_result_or_the_error)
{
    int64_t number = 0;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, task_square, MPROC_ARGS(7));
    on_done(future, note_outcome, &number);
    wait_for(future);
    ck_assert_int_eq(number, 49);
    mproc_future_close(&future);
    future = submit(pool, task_fail, MPROC_NONE);
    on_done(future, note_outcome, &number);
    ck_assert_int_eq(result_code(future), -ERANGE);
    ck_assert_int_eq(number, -ERANGE);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

static int add_one(mproc_call *call, const void *in, void *out)
{
    (void)call;
    *(int *)out = *(const int *)in + 1;
    return 0;
}

static int note_sum(mproc_future *future, void *context)
{
    int *numbers = context;
    numbers[1000] = mproc_future_result(future, MPROC_NOW, NULL);
    for (int i = 0; i < 1000; i++)
        numbers[1001] += numbers[i];
    return 0;
}

/* shows: POOL-05 */
START_TEST(the_callback_of_a_map_sees_all_results)
{
    static int in[1000], out[1002];
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *future = NULL;
    for (int i = 0; i < 1000; i++)
        in[i] = i;
    out[1000] = -1;
    out[1001] = 0;
    ck_assert_int_eq(
        mproc_pool_map_start(pool, add_one, in, sizeof(int), out, sizeof(int), 1000, NULL, &future), 0);
    on_done(future, note_sum, out);
    wait_for(future);
    ck_assert_int_eq(out[1000], 0);
    ck_assert_int_eq(out[1001], 1000 * 999 / 2 + 1000);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

static void count_log(mproc_log_level level, const char *text, void *context)
{
    if (level == MPROC_LOG_ERROR && strstr(text, "callback"))
        atomic_fetch_add((_Atomic unsigned *)context, 1);
}

static int fail_it(mproc_future *future, void *context)
{
    (void)future;
    atomic_fetch_add((_Atomic unsigned *)context, 1);
    return -EIO;
}

/* shows: FUT-06 */
START_TEST(a_failing_callback_is_logged_and_stops_nothing)
{
    _Atomic unsigned calls = 0, logged = 0;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_set_log(count_log, MPROC_LOG_ERROR, (void *)&logged);
    mproc_future *future = submit(pool, task_square, MPROC_ARGS(5));
    on_done(future, fail_it, &calls);
    on_done(future, count_it, &calls);
    wait_for(future);
    ck_assert_uint_eq(calls, 2);
    ck_assert_uint_eq(logged, 1);
    on_done(future, fail_it, &calls);
    ck_assert_uint_eq(calls, 3);
    ck_assert_uint_eq(logged, 2);
    mproc_set_log(NULL, MPROC_LOG_ERROR, NULL);
    ck_assert_int_eq(result_int(future), 25);
    pool_end(&pool);
}
END_TEST

/* ---- what callbacks may do ---- */

typedef struct chain {
    mproc_pool *second;
    mproc_future *next;
    _Atomic int code;
} chain;

static int submit_next(mproc_future *future, void *context)
{
    chain *link = context;
    mproc_variant value;
    int64_t number = 0;
    int rc = mproc_future_result(future, MPROC_NOW, &value);
    if (rc == 0)
        rc = mproc_variant_get_int(value, &number);
    if (rc == 0)
        rc = mproc_pool_submit(link->second, task_square, MPROC_ARGS(number), NULL, &link->next);
    atomic_store(&link->code, rc);
    return rc;
}

START_TEST(a_task_of_one_pool_follows_one_of_another)
{
    mproc_pool *first = pool_make(METHOD, 1);
    chain link = {.second = pool_make(MPROC_START_THREAD, 1), .code = -1};
    mproc_future *future = submit(first, task_square, MPROC_ARGS(3));
    on_done(future, submit_next, &link);
    wait_for(future);
    ck_assert_int_eq(link.code, 0);
    ck_assert_int_eq(result_int(link.next), 81);
    mproc_future_close(&future);
    pool_end(&link.second);
    pool_end(&first);
}
END_TEST

static int close_it(mproc_future *future, void *context)
{
    mproc_future **mine = context;
    (void)future;
    mproc_future_close(mine);
    return 0;
}

static int stop_it(mproc_future *future, void *context)
{
    mproc_pool **pool = context;
    (void)future;
    int rc = mproc_pool_stop(*pool, true, mproc_after_ms(support_ms(5000)), NULL);
    mproc_pool_close(pool);
    return rc;
}

static bool is_null(void *pointer)
{
    return __atomic_load_n((void **)pointer, __ATOMIC_ACQUIRE) == NULL;
}

START_TEST(a_callback_may_close_its_future_and_its_pool)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, task_square, MPROC_ARGS(3));
    on_done(future, close_it, &future);
    ck_assert(support_until(is_null, &future, 10000));
    future = submit(pool, task_square, MPROC_ARGS(3));
    on_done(future, stop_it, &pool);
    wait_for(future);
    ck_assert_ptr_null(pool);
    ck_assert_int_eq(result_int(future), 9);
    pool = pool_make(METHOD, 1); /* the memory that another thread could not unmap goes now */
    pool_end(&pool);
}
END_TEST

START_TEST(a_closed_future_calls_back_all_the_same)
{
    _Atomic unsigned calls = 0;
    int64_t number = 0;
    mproc_pool *pool = pool_make(METHOD, 1);
    for (int i = 0; i < 100; i++) {
        mproc_future *future = submit(pool, task_square, MPROC_ARGS(9));
        on_done(future, note_outcome, &number);
        on_done(future, count_it, &calls);
        mproc_future_close(&future);
    }
    mproc_future *last = submit(pool, task_square, MPROC_ARGS(1));
    on_done(last, count_it, &calls);
    wait_for(last);
    mproc_future_close(&last);
    ck_assert_int_eq(number, 81);
    pool_end(&pool);
    ck_assert_uint_eq(calls, 101);
}
END_TEST

typedef struct meeting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool inside, leave;
    mproc_future *other;
    int code;
} meeting;

static int stay_inside(mproc_future *future, void *context)
{
    meeting *at = context;
    (void)future;
    pthread_mutex_lock(&at->lock);
    at->inside = true;
    pthread_cond_broadcast(&at->changed);
    while (!at->leave)
        pthread_cond_wait(&at->changed, &at->lock);
    pthread_mutex_unlock(&at->lock);
    if (at->other)
        at->code = mproc_future_wait(at->other, mproc_after_ms(support_ms(5000)));
    return 0;
}

static void await_inside(meeting *at)
{
    pthread_mutex_lock(&at->lock);
    while (!at->inside)
        pthread_cond_wait(&at->changed, &at->lock);
    pthread_mutex_unlock(&at->lock);
}

static void let_leave(meeting *at)
{
    pthread_mutex_lock(&at->lock);
    at->leave = true;
    pthread_cond_broadcast(&at->changed);
    pthread_mutex_unlock(&at->lock);
}

/* What has no callbacks goes on; of the one whose callback runs nobody sees the end; cancelling it is too late. */
START_TEST(a_long_callback_holds_nobody_else)
{
    meeting at = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, task_until_stopped, MPROC_NONE);
    on_done(future, stay_inside, &at);
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    await_inside(&at);
    ck_assert_int_eq(mproc_future_wait(future, MPROC_NOW), -ETIMEDOUT);
    ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_RUNNING);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(4))), 16);
    let_leave(&at);
    ck_assert_int_eq(result_code(future), -ECANCELED);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

START_TEST(a_callback_may_wait_for_a_future_with_callbacks)
{
    _Atomic unsigned calls = 0;
    meeting at = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .code = -1};
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, task_until_stopped, MPROC_NONE);
    at.other = submit(pool, task_square, MPROC_ARGS(4));
    on_done(future, stay_inside, &at);
    on_done(at.other, count_it, (void *)&calls);
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    await_inside(&at);
    let_leave(&at);
    wait_for(future);
    ck_assert_int_eq(at.code, 0);
    ck_assert_int_eq(result_int(at.other), 16);
    ck_assert_uint_eq(calls, 1);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

static int add_another(mproc_future *future, void *context)
{
    return mproc_future_on_done(future, note_it, context);
}

START_TEST(a_callback_adds_a_callback_behind_the_others)
{
    trace seen = {.count = 0};
    note late = {&seen, 2}, early = {&seen, 1};
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *gate = submit(pool, task_until_stopped, MPROC_NONE);
    on_done(gate, add_another, &late);
    on_done(gate, note_it, &early);
    ck_assert_int_eq(mproc_future_cancel(gate, true), 0);
    wait_for(gate);
    ck_assert_uint_eq(seen.count, 2);
    ck_assert_int_eq(seen.names[0], 1);
    ck_assert_int_eq(seen.names[1], 2);
    mproc_future_close(&gate);
    pool_end(&pool);
}
END_TEST

START_TEST(callbacks_are_refused_with_a_reason)
{
    mproc_pool *pool = pool_make(MPROC_START_THREAD, 1);
    mproc_future *future = submit(pool, task_square, MPROC_ARGS(2)), *none = NULL;
    ck_assert_int_eq(mproc_future_on_done(NULL, count_it, NULL), -EINVAL);
    ck_assert_int_eq(mproc_future_on_done((mproc_future *)pool, count_it, NULL), -EINVAL);
    ck_assert_int_eq(mproc_future_on_done(future, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_future_snapshot(future, NULL), -EINVAL);
    ck_assert_int_eq(mproc_future_on_done(none, count_it, NULL), -EINVAL);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, callbacks_run_in_order_before_waiters_go_on, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_callback_has_the_whole_result_or_the_error, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, the_callback_of_a_map_sees_all_results, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_failing_callback_is_logged_and_stops_nothing, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_task_of_one_pool_follows_one_of_another, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_callback_may_close_its_future_and_its_pool, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_closed_future_calls_back_all_the_same, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_callback_keeps_a_future_that_was_closed_meanwhile, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_long_callback_holds_nobody_else, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_callback_may_wait_for_a_future_with_callbacks, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_callback_adds_a_callback_behind_the_others, METHODS_FIRST, METHODS);
    tcase_add_test(all, callbacks_are_refused_with_a_reason);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "future_callback", add);
}
