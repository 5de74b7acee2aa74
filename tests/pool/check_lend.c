/* SPDX-License-Identifier: BSD-2-Clause */
/* Handles and shared arrays that workers, which run already, use in maps: opened once, let go of when they are closed. */
#include "platform/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pool/pool_common.h"
#include "shm/place.h"
#include "shm/segment.h"

enum { COUNT = 1000 };

static mproc_array *array_make(size_t count)
{
    mproc_array *array = NULL;
    int rc = mproc_array_create(NULL, MPROC_ITEM_INT64, count, NULL, &array);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return array;
}

static int item_triple(mproc_call *call, const void *in, void *out)
{
    (void)call;
    *(int64_t *)out = *(const int64_t *)in * 3;
    return 0;
}

/* What lies in the middle of a shared array is read and written there, by workers of every method. */
START_TEST(shared_arrays_are_used_in_place)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_array *array = array_make(3 * COUNT);
    int64_t *items = mproc_array_data(array);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3 * COUNT; i++)
            items[i] = i;
        int rc = mproc_pool_map(pool, item_triple, items + COUNT, sizeof *items, items + 2 * COUNT,
                                sizeof *items, COUNT, NULL);
        ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
        for (int i = 0; i < COUNT; i++) {
            ck_assert_int_eq(items[i], i);
            ck_assert_int_eq(items[COUNT + i], COUNT + i);
            ck_assert_int_eq(items[2 * COUNT + i], 3 * (COUNT + i));
        }
    }
    pool_end(&pool);
    mproc_array_close(&array);
}
END_TEST

static int no_descriptors(mproc_call *call)
{
    (void)call;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 0;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 0 : -errno;
}

static int triple_all(mproc_pool *pool, mproc_array *array)
{
    int64_t *items = mproc_array_data(array);
    return mproc_pool_map(pool, item_triple, items, sizeof *items, items, sizeof *items, COUNT, NULL);
}

/* A task has used up its worker's descriptors: the worker leaves, the next one opens the array. */
START_TEST(a_worker_without_descriptors_leaves_a_map_to_the_next)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_array *array = array_make(COUNT);
    int64_t pid = result_int(submit(pool, task_pid, MPROC_NONE));
    mproc_future *future = submit(pool, no_descriptors, MPROC_NONE);
    ck_assert_int_eq(mproc_future_wait(future, mproc_after_ms(support_ms(10000))), 0);
    mproc_future_close(&future);
    int rc = triple_all(pool, array);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    ck_assert_int_ne(result_int(submit(pool, task_pid, MPROC_NONE)), pid);
    ck_assert_int_eq(stat_of(pool, "died"), 0);
    mproc_array_close(&array);
    pool_end(&pool);
}
END_TEST

/* Every worker is without: the map fails, and what needs none goes on. */
START_TEST(a_map_that_no_worker_can_open_fails_alone)
{
    mproc_pool *pool = NULL;
    int rc = mproc_pool_create(
        MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 1, .initializer = no_descriptors), &pool);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    int64_t items[COUNT] = {1};
    mproc_array *array = array_make(COUNT);
    for (int round = 0; round < 2; round++)
        ck_assert_int_eq(triple_all(pool, array), -EMFILE);
    ck_assert_int_eq(
        mproc_pool_map(pool, item_triple, items, sizeof *items, items, sizeof *items, COUNT, NULL), 0);
    ck_assert_int_eq(items[0], 3);
    mproc_array_close(&array);
    pool_end(&pool);
}
END_TEST

/* The caller sees an item while the map still runs: nothing is copied at the end. */
static int item_wait(mproc_call *call, const void *in, void *out)
{
    const _Atomic int64_t *go = in;
    atomic_store((_Atomic int64_t *)out, 1);
    while (!atomic_load(go) && !mproc_call_stopping(call))
        usleep(500);
    return 0;
}

static bool is_one(void *item)
{
    return atomic_load((_Atomic int64_t *)item) == 1;
}

START_TEST(results_appear_where_they_are_written)
{
    mproc_future *future;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_array *array = array_make(2);
    int64_t *items = mproc_array_data(array);
    ck_assert_int_eq(mproc_pool_map_start(pool, item_wait, items, sizeof *items, items + 1, sizeof *items, 1,
                                          NULL, &future),
                     0);
    ck_assert(support_until(is_one, items + 1, 5000));
    atomic_store((_Atomic int64_t *)items, 1);
    ck_assert_int_eq(mproc_future_result(future, mproc_after_ms(support_ms(5000)), NULL), 0);
    mproc_future_close(&future);
    pool_end(&pool);
    mproc_array_close(&array);
}
END_TEST

/* (array, lock, queue): adds the range's items to the array's first under the lock, one at a time, and puts the range's
 * length. */
static int range_use(mproc_call *call)
{
    size_t first, end;
    int64_t *sum = mproc_array_data(mproc_call_array(call, 0));
    mproc_lock *lock = mproc_call_lock(call, 1);
    mproc_queue *queue = mproc_call_queue(call, 2);
    if (mproc_call_check(call) < 0)
        return mproc_call_check(call);
    mproc_call_range(call, &first, &end);
    int64_t count = (int64_t)(end - first);
    int rc = mproc_lock_acquire(lock, MPROC_FOREVER);
    for (int64_t i = 0; rc == 0 && i < count; i++)
        *(volatile int64_t *)sum += 1;
    if (rc == 0)
        rc = mproc_lock_release(lock);
    return rc == 0 ? mproc_queue_put(queue, &count, sizeof count, MPROC_FOREVER) : rc;
}

/* The queue's end comes: no worker keeps what it has written to. */
static int64_t queue_sum(mproc_queue **queue)
{
    int64_t sum = 0, count;
    size_t size;
    while (mproc_queue_get(*queue, &count, sizeof count, mproc_after_ms(support_ms(5000)), &size) == 0)
        sum += count;
    ck_assert_int_eq(mproc_last_error() ? mproc_error_code(mproc_last_error()) : 0, MPROC_EEND);
    mproc_queue_close(queue);
    return sum;
}

START_TEST(handles_are_arguments_of_loops)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_array *array = array_make(1);
    mproc_lock *lock;
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    for (int round = 1; round <= 3; round++) {
        mproc_queue *queue;
        ck_assert_int_eq(mproc_queue_create(NULL, NULL, &queue), 0);
        ck_assert_int_eq(mproc_queue_role(queue, MPROC_ROLE_READ), 0);
        int rc = mproc_pool_for(
            pool, range_use, COUNT,
            MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(array, lock, queue), .chunk = 10));
        ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
        ck_assert_int_eq(queue_sum(&queue), COUNT);
        ck_assert_int_eq(*(int64_t *)mproc_array_data(array), round * COUNT);
    }
    pool_end(&pool);
    mproc_lock_close(&lock);
    mproc_array_close(&array);
}
END_TEST

static int range_nothing(mproc_call *call)
{
    return mproc_call_array(call, 0) ? 0 : mproc_call_check(call);
}

/* More arrays than the table has entries, one after the other, each closed: it does not fill up. */
START_TEST(closed_arrays_make_room)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    for (int i = 0; i < 100; i++) {
        mproc_array *array = array_make(1);
        int rc =
            mproc_pool_for(pool, range_nothing, 1, MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(array)));
        ck_assert_msg(rc == 0, "%d: %s", i, mproc_error_text(mproc_last_error()));
        mproc_array_close(&array);
    }
    pool_end(&pool);
}
END_TEST

/* Open ones make room, too, when nothing uses them; when all are in use, the story says so. */
START_TEST(open_arrays_make_room_unless_in_use)
{
    enum { ARRAYS = 70 };
    mproc_array *arrays[ARRAYS];
    mproc_variant list = mproc_null();
    mproc_pool *pool = pool_make(METHOD, 1);
    for (int i = 0; i < ARRAYS; i++) {
        arrays[i] = array_make(1);
        ck_assert_int_eq(mproc_variant_append(&list, mproc_handle(arrays[i])), 0);
        ck_assert_int_eq(mproc_pool_for(pool, range_nothing, 1,
                                        MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(arrays[i]))),
                         0);
    }
    ck_assert_int_eq(mproc_pool_for(pool, range_nothing, 1, MPROC_WITH(mproc_map_options, .args = list)),
                     MPROC_ELIMIT);
    ck_assert_int_eq(
        mproc_pool_for(pool, range_nothing, 1, MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(arrays[0]))),
        0);
    mproc_variant_clear(&list);
    for (int i = 0; i < ARRAYS; i++)
        mproc_array_close(&arrays[i]);
    pool_end(&pool);
}
END_TEST

/* Replacements, which come later, find what was lent before them. */
static int range_die(mproc_call *call)
{
    _Atomic int64_t *items = mproc_array_data(mproc_call_array(call, 0));
    size_t first, end;
    mproc_call_range(call, &first, &end);
    if (mproc_call_attempt(call) == 1 && first % 2 == 0)
        _exit(3);
    atomic_fetch_add(&items[first], 1);
    return 0;
}

START_TEST(a_new_worker_finds_what_was_lent)
{
    enum { RANGES = 6 };
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_array *array = array_make(RANGES);
    int rc =
        mproc_pool_for(pool, range_die, RANGES,
                       MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(array), .chunk = 1, .retries = 1));
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    for (int i = 0; i < RANGES; i++)
        ck_assert_int_eq(((int64_t *)mproc_array_data(array))[i], 1);
    pool_end(&pool);
    mproc_array_close(&array);
}
END_TEST

/* shows: WORK-4 */
START_TEST(what_cannot_be_lent_is_refused_by_name)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_place *threads;
    mproc_array *array;
    mproc_connection *ours, *theirs;
    ck_assert_int_eq(mproc__place_local(MPROC__HOME_THREAD, &threads), 0);
    ck_assert_int_eq(mproc_array_create(threads, MPROC_ITEM_INT64, 1, NULL, &array), 0);
    ck_assert_int_eq(mproc_connection_pair(&ours, &theirs), 0);
    ck_assert_int_eq(
        mproc_pool_for(pool, range_nothing, 1, MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(array))),
        MPROC_ECANNOTCROSS);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "array"));
    ck_assert_int_eq(
        mproc_pool_for(pool, range_nothing, 1, MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(ours))),
        MPROC_ECANNOTCROSS);
    mproc_connection_close(&ours);
    mproc_connection_close(&theirs);
    mproc_array_close(&array);
    mproc_place_close(&threads);
    pool_end(&pool);
}
END_TEST

/* A segment is found by any address inside its object, and by none beside it. */
START_TEST(addresses_lead_to_segments)
{
    mproc_array *array = array_make(COUNT);
    char *data = mproc_array_data(array), outside;
    mproc__segment *found = mproc__segment_at(data, COUNT * sizeof(int64_t));
    ck_assert_ptr_nonnull(found);
    mproc__segment *inner = mproc__segment_at(data + 8, 1);
    ck_assert_ptr_eq(inner, found);
    ck_assert_ptr_null(mproc__segment_at(data, (size_t)1 << 40));
    ck_assert_ptr_null(mproc__segment_at(&outside, 1));
    mproc__segment_release(inner);
    mproc_array_close(&array);
    ck_assert(mproc__segment_sole(found));
    mproc__segment_release(found);
    ck_assert_ptr_null(mproc__segment_at(data, 1));
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_worker_without_descriptors_leaves_a_map_to_the_next, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_map_that_no_worker_can_open_fails_alone, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, shared_arrays_are_used_in_place, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, results_appear_where_they_are_written, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, handles_are_arguments_of_loops, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, closed_arrays_make_room, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, open_arrays_make_room_unless_in_use, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_new_worker_finds_what_was_lent, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, what_cannot_be_lent_is_refused_by_name, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_test(all, addresses_lead_to_segments);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "lend", add);
}
