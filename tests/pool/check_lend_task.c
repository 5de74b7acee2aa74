/* SPDX-License-Identifier: BSD-2-Clause */
/* Handles among the arguments of single tasks: as with loops, and let go of with the task. */
#include "platform/base.h"

#include <string.h>
#include <unistd.h>

#include "data/handle.h"
#include "pool/pool_common.h"
#include "shm/place.h"

enum { TASKS = 20, ENTRIES = 64, LARGE = 3000 };

static mproc_array *array_make(void)
{
    mproc_array *array = NULL;
    int rc = mproc_array_create(NULL, MPROC_ITEM_INT64, 2, NULL, &array);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return array;
}

static int64_t *items_of(mproc_array *array)
{
    return mproc_array_data(array);
}

static mproc_queue *queue_make(void)
{
    mproc_queue *queue = NULL;
    ck_assert_int_eq(mproc_queue_create(NULL, NULL, &queue), 0);
    ck_assert_int_eq(mproc_queue_role(queue, MPROC_ROLE_READ), 0);
    return queue;
}

/* (array, lock, queue, n, anything): adds n to the array's first under the lock, and puts n. */
static int task_use(mproc_call *call)
{
    volatile int64_t *sum = mproc_array_data(mproc_call_array(call, 0));
    mproc_lock *lock = mproc_call_lock(call, 1);
    mproc_queue *queue = mproc_call_queue(call, 2);
    int64_t n = mproc_call_int(call, 3);
    int rc = mproc_call_check(call);
    if (rc == 0)
        rc = mproc_lock_acquire(lock, MPROC_FOREVER);
    for (int64_t i = 0; rc == 0 && i < n; i++)
        *sum += 1;
    if (rc == 0)
        rc = mproc_lock_release(lock);
    return rc == 0 ? mproc_queue_put(queue, &n, sizeof n, MPROC_FOREVER) : rc;
}

/* Nobody writes any more: no worker keeps a queue when its task has ended. */
static int64_t queue_sum(mproc_queue *queue)
{
    int64_t sum = 0, count;
    size_t size;
    int rc;
    while ((rc = mproc_queue_get(queue, &count, sizeof count, mproc_after_ms(support_ms(5000)), &size)) == 0)
        sum += count;
    ck_assert_msg(rc == MPROC_EEND, "%s", mproc_errname(rc));
    return sum;
}

/* Small arguments and such as need a block. */
static void uses_check(mproc_start start, size_t bytes)
{
    static char ballast[LARGE];
    mproc_lock *lock;
    mproc_future *futures[TASKS];
    mproc_pool *pool = pool_make(start, 2);
    mproc_array *array = array_make();
    mproc_queue *queue = queue_make();
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_use, MPROC_ARGS(array, lock, queue, i, mproc_bytes(ballast, bytes)));
    for (int i = 0; i < TASKS; i++) {
        int rc = result_code(futures[i]);
        ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
        mproc_future_close(&futures[i]);
    }
    ck_assert_int_eq(items_of(array)[0], TASKS * (TASKS - 1) / 2);
    ck_assert_int_eq(queue_sum(queue), TASKS * (TASKS - 1) / 2);
    mproc_queue_close(&queue);
    mproc_lock_close(&lock);
    mproc_array_close(&array);
    pool_end(&pool);
}

/* shows: START-D */
START_TEST(handles_are_arguments_of_tasks)
{
    uses_check(METHOD, 0);
    uses_check(METHOD, LARGE);
}
END_TEST

/* The task has what its submitter has closed. */
START_TEST(a_handle_may_be_closed_when_it_was_submitted)
{
    mproc_lock *lock;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_array *array = array_make();
    mproc_queue *queue = queue_make();
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    mproc_future *first = submit(pool, task_until_stopped, MPROC_NONE);
    mproc_future *future = submit(pool, task_use, MPROC_ARGS(array, lock, queue, 3));
    mproc_array_close(&array);
    mproc_lock_close(&lock);
    ck_assert_int_eq(mproc_future_cancel(first, true), 0);
    ck_assert_int_eq(result_code(future), 0);
    ck_assert_int_eq(queue_sum(queue), 3);
    mproc_queue_close(&queue);
    mproc_future_close(&future);
    mproc_future_close(&first);
    pool_end(&pool);
}
END_TEST

/* (queue) -> sum until its end. */
static int task_sum(mproc_call *call)
{
    int64_t sum = 0, item;
    size_t size;
    int rc;
    mproc_queue *queue = mproc_call_queue(call, 0);
    while ((rc = mproc_queue_get(queue, &item, sizeof item, mproc_after_ms(support_ms(5000)), &size)) == 0)
        sum += item;
    return rc == MPROC_EEND ? mproc_call_return(call, mproc_int(sum)) : rc;
}

/* The pool keeps the queue, and with it a role that was not given up. */
START_TEST(a_reader_finds_the_end_of_what_its_submitter_wrote)
{
    mproc_queue *queue = NULL;
    mproc_pool *pool = pool_make(METHOD, 1);
    ck_assert_int_eq(mproc_queue_create(NULL, NULL, &queue), 0);
    ck_assert_int_eq(mproc_queue_role(queue, MPROC_ROLE_WRITE), 0);
    for (int64_t i = 1; i <= 3; i++)
        ck_assert_int_eq(mproc_queue_put(queue, &i, sizeof i, MPROC_NOW), 0);
    mproc_future *future = submit(pool, task_sum, MPROC_ARGS(queue));
    ck_assert_int_eq(mproc_queue_role(queue, (mproc_role)0), 0);
    mproc_queue_close(&queue);
    ck_assert_int_eq(result_int(future), 6);
    pool_end(&pool);
}
END_TEST

static int task_touch(mproc_call *call)
{
    mproc_array *array = mproc_call_array(call, 0);
    if (array)
        ((int64_t *)mproc_array_data(array))[0]++;
    return mproc_call_check(call);
}

static int task_die_then_touch(mproc_call *call)
{
    if (mproc_call_attempt(call) == 1)
        _exit(3);
    return task_touch(call);
}

/* shows: WORK-2 */
START_TEST(a_task_tried_again_finds_its_handles_again)
{
    mproc_future *future;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_array *array = array_make();
    ck_assert_int_eq(mproc_pool_submit(pool, task_die_then_touch, MPROC_ARGS(array),
                                       MPROC_WITH(mproc_task_options, .retries = 1), &future),
                     0);
    ck_assert_int_eq(result_code(future), 0);
    ck_assert_int_eq(items_of(array)[0], 1);
    mproc_future_close(&future);
    mproc_array_close(&array);
    pool_end(&pool);
}
END_TEST

/* As many different ones as can be lent; submit waits for one more, and refuses what can never be. */
START_TEST(so_many_handles_wait_for_room)
{
    mproc_array *arrays[ENTRIES + 1];
    mproc_future *futures[ENTRIES + 1];
    mproc_variant all = mproc_null();
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *first = submit(pool, task_until_stopped, MPROC_NONE);
    for (int i = 0; i <= ENTRIES; i++) {
        arrays[i] = array_make();
        ck_assert_int_eq(mproc_variant_append(&all, mproc_handle(arrays[i])), 0);
    }
    for (int i = 0; i < ENTRIES; i++)
        futures[i] = submit(pool, task_touch, MPROC_ARGS(arrays[i]));
    mproc_task_options options = {.size = sizeof options, .submit_deadline = mproc_after_ms(5)};
    ck_assert_int_eq(
        mproc_pool_submit(pool, task_touch, MPROC_ARGS(arrays[ENTRIES]), &options, &futures[ENTRIES]),
        -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(pool)), "64 handles"));
    ck_assert_int_eq(mproc_future_cancel(first, true), 0);
    futures[ENTRIES] = submit(pool, task_touch, MPROC_ARGS(arrays[ENTRIES]));
    for (int i = 0; i <= ENTRIES; i++) {
        ck_assert_int_eq(result_code(futures[i]), 0);
        ck_assert_int_eq(items_of(arrays[i])[0], 1);
        mproc_future_close(&futures[i]);
    }
    ck_assert_int_eq(mproc_pool_submit(pool, task_touch, all, NULL, &futures[0]), MPROC_ELIMIT);
    mproc_variant_clear(&all);
    for (int i = 0; i <= ENTRIES; i++)
        mproc_array_close(&arrays[i]);
    mproc_future_close(&first);
    pool_end(&pool);
}
END_TEST

/* ---- what has ended, and nobody has looked at ---- */

static int nothing(mproc_call *call)
{
    (void)call;
    return 0;
}

static mproc_variant entries_make(mproc_array *arrays[ENTRIES])
{
    mproc_variant all = mproc_null();
    for (int i = 0; i < ENTRIES; i++) {
        arrays[i] = array_make();
        ck_assert_int_eq(mproc_variant_append(&all, mproc_handle(arrays[i])), 0);
    }
    return all;
}

static void entries_close(mproc_array *arrays[ENTRIES])
{
    for (int i = 0; i < ENTRIES; i++)
        mproc_array_close(&arrays[i]);
}

/* Nobody but the submitter could see that the loop has ended. */
START_TEST(a_loop_that_has_ended_makes_room_for_a_task)
{
    mproc_future *loop = NULL, *future = NULL;
    mproc_array *arrays[ENTRIES], *more = array_make();
    mproc_variant all = entries_make(arrays);
    mproc_pool *pool = pool_make(METHOD, 2);
    ck_assert_int_eq(
        mproc_pool_for_start(pool, nothing, 10, MPROC_WITH(mproc_map_options, .args = all), &loop), 0);
    mproc_variant_clear(&all);
    ck_assert_int_eq(
        mproc_pool_submit(pool, task_touch, MPROC_ARGS(more),
                          MPROC_WITH(mproc_task_options, .submit_deadline = mproc_after_ms(support_ms(5000))),
                          &future),
        0);
    ck_assert_int_eq(result_code(future), 0);
    ck_assert_int_eq(items_of(more)[0], 1);
    ck_assert_int_eq(result_code(loop), 0);
    mproc_future_close(&future);
    mproc_future_close(&loop);
    entries_close(arrays);
    mproc_array_close(&more);
    pool_end(&pool);
}
END_TEST

/* A look at the task after it does not count for the task. */
START_TEST(tasks_that_have_ended_make_room_for_a_loop)
{
    mproc_array *arrays[ENTRIES], *more = array_make();
    mproc_variant all = entries_make(arrays);
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, nothing, all);
    mproc_future_close(&future);
    mproc_variant_clear(&all);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(2))), 4);
    int rc = mproc_pool_for(pool, task_touch, 1, MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(more)));
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    ck_assert_int_eq(items_of(more)[0], 1);
    entries_close(arrays);
    mproc_array_close(&more);
    pool_end(&pool);
}
END_TEST

/* More than can be lent at once, one after the other. */
START_TEST(handles_come_and_go)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < 3 * ENTRIES; i++) {
        mproc_array *array = array_make();
        mproc_future *future = submit(pool, task_touch, MPROC_ARGS(array));
        ck_assert_int_eq(result_code(future), 0);
        ck_assert_int_eq(items_of(array)[0], 1);
        mproc_future_close(&future);
        mproc_array_close(&array);
    }
    pool_end(&pool);
}
END_TEST

START_TEST(handles_are_items_of_maps)
{
    enum { ITEMS = 10 };
    mproc_result result;
    mproc_results *results;
    mproc_variant items[ITEMS];
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_array *array = array_make();
    for (int i = 0; i < ITEMS; i++)
        items[i] = mproc_handle(array);
    mproc_array *others = array;
    ck_assert_int_eq(mproc_pool_map_variants(pool, task_touch, items, ITEMS,
                                             MPROC_WITH(mproc_map_options, .ahead = 1), &results),
                     0);
    for (int i = 0; i < ITEMS; i++) {
        ck_assert_int_eq(mproc_results_next(results, mproc_after_ms(support_ms(5000)), &result), 0);
        ck_assert_msg(result.code == 0, "%s", mproc_error_text(result.error));
    }
    ck_assert_int_eq(items_of(others)[0], ITEMS);
    mproc_results_close(&results);
    mproc_array_close(&array);
    pool_end(&pool);
}
END_TEST

/* shows: WORK-4 START-D */
START_TEST(what_cannot_be_lent_is_refused_by_name)
{
    mproc_place *threads;
    mproc_array *array;
    mproc_connection *ours, *theirs;
    mproc_future *future = NULL;
    mproc_pool *pool = pool_make(METHOD, 1);
    ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &threads), 0);
    ck_assert_int_eq(mproc_array_create(threads, MPROC_ITEM_INT64, 1, NULL, &array), 0);
    ck_assert_int_eq(mproc_connection_pair(&ours, &theirs), 0);
    ck_assert_int_eq(mproc_pool_submit(pool, task_touch, MPROC_ARGS(array), NULL, &future),
                     MPROC_ECANNOTCROSS);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(pool)), "array"));
    ck_assert_int_eq(mproc_pool_submit(pool, task_touch, MPROC_ARGS(1, ours), NULL, &future),
                     MPROC_ECANNOTCROSS);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(pool)), "connection"));
    ck_assert_ptr_null(future);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(2))), 4);
    mproc_connection_close(&ours);
    mproc_connection_close(&theirs);
    mproc_array_close(&array);
    mproc_place_close(&threads);
    pool_end(&pool);
}
END_TEST

/* ---- let go of ---- */

/* Not looked at, and the worker has nothing else to do: it alone lets go.
 * shows: EXEC-34 */
START_TEST(a_worker_lets_go_of_arguments_when_the_task_has_ended)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_array *array = array_make();
    mproc_lock *lock;
    mproc_queue *queue = queue_make();
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    mproc_future *future = submit(pool, task_use, MPROC_ARGS(array, lock, queue, 7));
    ck_assert_int_eq(queue_sum(queue), 7);
    ck_assert_int_eq(result_code(future), 0);
    mproc_future_close(&future);
    mproc_queue_close(&queue);
    mproc_lock_close(&lock);
    mproc_array_close(&array);
    pool_end(&pool);
}
END_TEST

static bool is_mine_alone(void *handle)
{
    return atomic_load(&((mproc__handle *)handle)->references) == 1;
}

/* shows: EXEC-34 */
START_TEST(a_thread_lets_go_of_arguments_when_the_task_has_ended)
{
    mproc_pool *pool = pool_make(MPROC_START_THREAD, 1);
    mproc_array *array = array_make();
    mproc_future *future = submit(pool, task_touch, MPROC_ARGS(array));
    ck_assert(support_until(is_mine_alone, array, 5000));
    ck_assert_int_eq(result_code(future), 0);
    mproc_future_close(&future);
    mproc_array_close(&array);
    pool_end(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, handles_are_arguments_of_tasks, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_handle_may_be_closed_when_it_was_submitted, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_reader_finds_the_end_of_what_its_submitter_wrote, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_task_tried_again_finds_its_handles_again, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, so_many_handles_wait_for_room, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_loop_that_has_ended_makes_room_for_a_task, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, tasks_that_have_ended_make_room_for_a_loop, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, handles_come_and_go, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, handles_are_items_of_maps, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, what_cannot_be_lent_is_refused_by_name, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_worker_lets_go_of_arguments_when_the_task_has_ended, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_test(all, a_thread_lets_go_of_arguments_when_the_task_has_ended);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "lend_task", add);
}
