/* SPDX-License-Identifier: BSD-2-Clause */
/* In which order tasks begin, and which do not begin at all. */
#include "platform/base.h"

#include <string.h>
#include <unistd.h>

#include "pool/layout.h"
#include "pool/pool_common.h"
#include "pool/ready.h"

/* ---- the rings alone ---- */

static mproc__pool_view view_make(void)
{
    mproc__pool_view view;
    mproc__pool_limits limits = {.workers = 1, .tasks = 128, .bytes = 4096, .start = MPROC_START_THREAD};
    ck_assert_int_eq(mproc__view_create(&limits, &view), 0);
    ck_assert_int_eq(mproc__view_reserve_slots(&view, 128), 0);
    for (uint32_t slot = 0; slot < 128; slot++)
        view.slots[slot].priority = slot % MPROC__PRIORITIES;
    for (uint32_t priority = 0; priority < MPROC__PRIORITIES; priority++)
        ck_assert_int_eq(mproc__ready_reserve(&view, priority), 0);
    return view;
}

static uint32_t pop(mproc__pool_view *view)
{
    uint32_t slot;
    return mproc__ready_pop(view, &slot) ? slot : UINT32_MAX;
}

START_TEST(the_highest_priority_comes_first_and_within_it_the_first)
{
    mproc__pool_view view = view_make();
    ck_assert(!mproc__ready_any(&view));
    for (uint32_t slot = 0; slot < 3 * MPROC__PRIORITIES; slot++)
        mproc__ready_push(&view, slot);
    ck_assert(mproc__ready_any(&view));
    for (uint32_t priority = MPROC__PRIORITIES; priority-- > 0;)
        for (uint32_t lap = 0; lap < 3; lap++)
            ck_assert_uint_eq(pop(&view), lap * MPROC__PRIORITIES + priority);
    ck_assert_uint_eq(pop(&view), UINT32_MAX);
    mproc__view_close(&view);
}
END_TEST

START_TEST(what_is_put_back_comes_before_its_equals_and_after_its_betters)
{
    mproc__pool_view view = view_make();
    mproc__ready_push(&view, 3);
    mproc__ready_push(&view, 4);
    mproc__ready_return(&view, 3 + MPROC__PRIORITIES);
    ck_assert_uint_eq(pop(&view), 4);
    ck_assert_uint_eq(pop(&view), 3 + MPROC__PRIORITIES);
    ck_assert_uint_eq(pop(&view), 3);
    ck_assert_uint_eq(pop(&view), UINT32_MAX);
    ck_assert(!mproc__ready_any(&view));
    mproc__view_close(&view);
}
END_TEST

START_TEST(more_than_the_cells_hold_asks_for_a_search)
{
    mproc__pool_view view = view_make();
    for (uint32_t i = 0; i < MPROC__READY_RETURNED; i++)
        mproc__ready_return(&view, 0);
    ck_assert_uint_eq(atomic_load(&view.shared->rescan), 0);
    mproc__ready_return(&view, 0);
    ck_assert_uint_eq(atomic_load(&view.shared->rescan), 1);
    for (uint32_t i = 0; i < MPROC__READY_RETURNED; i++)
        ck_assert_uint_eq(pop(&view), 0);
    ck_assert_uint_eq(pop(&view), UINT32_MAX);
    mproc__view_close(&view);
}
END_TEST

/* ---- in a pool ---- */

/* -> how many of these this worker has run. */
static int task_count(mproc_call *call)
{
    static int64_t runs;
    return mproc_call_return(call, mproc_int(runs++));
}

static mproc_future *submit_at(mproc_pool *pool, mproc_fn *fn, const mproc_task_options *options)
{
    mproc_future *future = NULL;
    int rc = mproc_pool_submit(pool, fn, MPROC_NONE, options, &future);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return future;
}

/* The only worker, kept from everything else until it is let go. */
static mproc_future *worker_hold(mproc_pool *pool)
{
    mproc_future *held = submit(pool, task_until_stopped, MPROC_NONE);
    ck_assert(support_until(is_running, held, 5000));
    return held;
}

static void worker_let_go(mproc_future *held)
{
    ck_assert_int_eq(mproc_future_cancel(held, true), 0);
    mproc_future_close(&held);
}

START_TEST(tasks_begin_by_priority_then_in_order)
{
    static const int priorities[] = {0, -7, 7, 0, 3, 7, -7, -1};
    static const int places[] = {3, 6, 0, 4, 2, 1, 7, 5};
    mproc_future *futures[MPROC__COUNT(priorities)];
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *held = worker_hold(pool);
    for (size_t i = 0; i < MPROC__COUNT(priorities); i++)
        futures[i] = submit_at(pool, task_count, MPROC_WITH(mproc_task_options, .priority = priorities[i]));
    worker_let_go(held);
    int64_t first = -1;
    for (size_t i = 0; i < MPROC__COUNT(priorities); i++) {
        int64_t place = result_int(futures[i]);
        first = first < 0 ? place - places[i] : first;
        ck_assert_int_eq(place - first, places[i]);
    }
    pool_end(&pool);
}
END_TEST

START_TEST(a_priority_out_of_range_is_refused)
{
    mproc_future *future = NULL;
    mproc_pool *pool = pool_make(METHOD, 1);
    for (int wrong = -8; wrong <= 8; wrong += 16)
        ck_assert_int_eq(mproc_pool_submit(pool, task_count, MPROC_NONE,
                                           MPROC_WITH(mproc_task_options, .priority = wrong), &future),
                         -EINVAL);
    ck_assert_ptr_null(future);
    pool_end(&pool);
}
END_TEST

START_TEST(a_task_that_cannot_begin_in_time_does_not_run)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *held = worker_hold(pool);
    mproc_future *late = submit_at(
        pool, task_count, MPROC_WITH(mproc_task_options, .begin_by = mproc_after_ms(30), .label = "soup"));
    mproc_future *later =
        submit_at(pool, task_count, MPROC_WITH(mproc_task_options, .begin_by = mproc_after_ms(30)));
    mproc_future *in_time = submit_at(
        pool, task_square,
        MPROC_WITH(mproc_task_options, .begin_by = mproc_after_ms(support_ms(60000)), .priority = -1));
    mproc_future_close(&in_time);
    ck_assert_int_eq(result_code(late), -ETIME); /* told at its time, while the worker is busy */
    ck_assert_int_eq(mproc_future_get_state(held), MPROC_FUTURE_RUNNING);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(late)), "soup"));
    worker_let_go(held);
    ck_assert_int_eq(result_code(later), -ETIME);
    mproc_future *next = submit_at(
        pool, task_count, MPROC_WITH(mproc_task_options, .begin_by = mproc_after_ms(support_ms(60000))));
    if (METHOD != MPROC_START_THREAD)
        ck_assert_int_eq(result_int(next), 0);
    else
        mproc_future_close(&next);
    mproc_future_close(&late);
    mproc_future_close(&later);
    pool_end(&pool);
}
END_TEST

/* shows: WORK-2 */
START_TEST(what_died_is_tried_again_before_its_equals)
{
    enum { AFTER = 20 };
    mproc_future *futures[AFTER];
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *held = worker_hold(pool);
    mproc_future *dies = submit_at(pool, task_die_once, MPROC_WITH(mproc_task_options, .retries = 1));
    for (int i = 0; i < AFTER; i++)
        futures[i] = submit_at(pool, task_until_stopped, NULL);
    worker_let_go(held);
    ck_assert_int_eq(result_int(dies), 2); /* those behind it would keep the worker for ever */
    for (int i = 0; i < AFTER; i++) {
        (void)mproc_future_cancel(futures[i], true);
        mproc_future_close(&futures[i]);
    }
    pool_end(&pool);
}
END_TEST

START_TEST(a_function_is_found_by_its_registered_name)
{
    mproc_future *future = NULL;
    mproc_pool *pool = pool_make(METHOD, 1);
    bool copies = METHOD == MPROC_START_FORK || METHOD == MPROC_START_THREAD;
    ck_assert_int_eq(mproc_pool_submit_name(pool, "square", MPROC_ARGS(7), NULL, &future), 0);
    ck_assert_int_eq(result_int(future), 49);
    future = NULL;
    int rc = mproc_pool_submit_name(pool, "nobody", MPROC_ARGS(7), NULL, &future);
    ck_assert_int_eq(copies ? rc : result_code(future), MPROC_EFUNCTION);
    mproc_future_close(&future);
    ck_assert_int_eq(mproc_pool_submit_name(pool, NULL, MPROC_NONE, NULL, &future), -EINVAL);
    char name[4096];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    ck_assert_int_eq(mproc_pool_submit_name(pool, name, MPROC_NONE, NULL, &future), -ENAMETOOLONG);
    pool_end(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_test(all, the_highest_priority_comes_first_and_within_it_the_first);
    tcase_add_test(all, what_is_put_back_comes_before_its_equals_and_after_its_betters);
    tcase_add_test(all, more_than_the_cells_hold_asks_for_a_search);
    tcase_add_loop_test(all, tasks_begin_by_priority_then_in_order, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_priority_out_of_range_is_refused, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_task_that_cannot_begin_in_time_does_not_run, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, what_died_is_tried_again_before_its_equals, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_function_is_found_by_its_registered_name, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    (void)mproc_register("square", task_square); /* here, so that spawned workers do as well */
    return pool_tests_main(argc, argv, "ready", add);
}
