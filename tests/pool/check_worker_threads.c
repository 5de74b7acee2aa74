/* SPDX-License-Identifier: BSD-2-Clause */
/* Workers that are threads share what the program has: arguments, results and items are the caller's own objects, and
 * what fails is told as it was said. What holds for all workers alike is shown for threads by the loops over methods. */
#include "platform/base.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "pool/pool_common.h"

enum { WORKERS = 3, ITEMS = 100 };

typedef struct account {
    _Atomic int64_t sum;
} account;

static const void *pointer_of(mproc_variant value)
{
    ck_assert_int_eq(value.kind, MPROC_KIND_POINTER);
    return value.data;
}

/* The account that is the argument; NULL: it is none. */
static account *account_of(mproc_call *call)
{
    mproc_variant value = mproc_call_arg(call, 0);
    return value.kind == MPROC_KIND_POINTER ? (account *)(uintptr_t)value.data : NULL;
}

static mproc_pool *threads_make(void)
{
    return pool_make(MPROC_START_THREAD, WORKERS);
}

/* (account, int) -> the account */
static int task_pay_in(mproc_call *call)
{
    account *to = account_of(call);
    int64_t amount = mproc_call_int(call, 1);
    if (!to || mproc_call_check(call) < 0)
        return MPROC_EARGUMENT;
    atomic_fetch_add(&to->sum, amount);
    return mproc_call_return(call, mproc_pointer(to));
}

/* shows: TPOOL-01 */
START_TEST(a_task_is_given_the_callers_object_and_gives_it_back)
{
    mproc_pool *pool = threads_make();
    account own = {0};
    mproc_future *futures[ITEMS];
    for (int i = 0; i < ITEMS; i++)
        futures[i] = submit(pool, task_pay_in, MPROC_ARGS(mproc_pointer(&own), i));
    for (int i = 0; i < ITEMS; i++) {
        mproc_variant value = mproc_null();
        ck_assert_int_eq(mproc_future_result(futures[i], mproc_after_ms(support_ms(10000)), &value), 0);
        ck_assert_ptr_eq(pointer_of(value), &own);
        mproc_future_close(&futures[i]);
    }
    ck_assert_int_eq(atomic_load(&own.sum), ITEMS * (ITEMS - 1) / 2);
    pool_end(&pool);
}
END_TEST

/* Of each list (account, int); in order, and as they end.
 * shows: TPOOL-01 */
START_TEST(items_of_maps_are_the_callers_objects_whatever_the_order)
{
    mproc_pool *pool = threads_make();
    static account own[ITEMS];
    mproc_variant items[ITEMS], pairs[ITEMS][2];
    for (int unordered = 0; unordered < 2; unordered++) {
        mproc_results *results = NULL;
        mproc_result one;
        for (int i = 0; i < ITEMS; i++) {
            pairs[i][0] = mproc_pointer(&own[i]);
            pairs[i][1] = mproc_int(i);
            items[i] = mproc_items(pairs[i], 2);
        }
        ck_assert_int_eq(mproc_pool_map_variants(
                             pool, task_pay_in, items, ITEMS,
                             MPROC_WITH(mproc_map_options, .unpack = true, .unordered = unordered), &results),
                         0);
        for (int i = 0; i < ITEMS; i++) {
            ck_assert_int_eq(mproc_results_next(results, mproc_after_ms(support_ms(10000)), &one), 0);
            ck_assert_int_eq(one.code, 0);
            ck_assert(unordered || one.index == (size_t)i);
            ck_assert_ptr_eq(pointer_of(one.value), &own[one.index]);
        }
        ck_assert_int_eq(mproc_results_next(results, MPROC_NOW, &one), MPROC_EEND);
        mproc_results_close(&results);
    }
    for (int i = 0; i < ITEMS; i++)
        ck_assert_int_eq(atomic_load(&own[i].sum), 2 * i);
    pool_end(&pool);
}
END_TEST

/* The addresses themselves, where it is told to write. */
static int item_addresses(mproc_call *call, const void *in, void *out)
{
    (void)call;
    const void *pair[] = {in, out};
    memcpy(out, pair, sizeof pair);
    return 0;
}

/* shows: TPOOL-01 */
START_TEST(a_map_over_arrays_works_in_the_callers_arrays)
{
    typedef const void *address_pair[2];
    mproc_pool *pool = threads_make();
    char in[ITEMS];
    address_pair out[ITEMS];
    ck_assert_int_eq(mproc_pool_map(pool, item_addresses, in, 1, out, sizeof *out, ITEMS, NULL), 0);
    for (int i = 0; i < ITEMS; i++) {
        ck_assert_ptr_eq(out[i][0], &in[i]);
        ck_assert_ptr_eq(out[i][1], &out[i]);
    }
    pool_end(&pool);
}
END_TEST

static int keep_value(mproc_future *future, void *context)
{
    const void **seen = context;
    mproc_variant value;
    int rc = mproc_future_result(future, MPROC_NOW, &value);
    if (rc == 0)
        *seen = value.data;
    return rc;
}

START_TEST(a_callback_is_given_the_object_too)
{
    mproc_pool *pool = threads_make();
    account own = {0};
    const void *seen = NULL;
    mproc_future *future = submit(pool, task_pay_in, MPROC_ARGS(mproc_pointer(&own), 7));
    ck_assert_int_eq(mproc_future_on_done(future, keep_value, &seen), 0);
    ck_assert_int_eq(result_code(future), 0);
    ck_assert_ptr_eq(seen, &own);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

static int item_fails(mproc_call *call, const void *in, void *out)
{
    (void)in;
    (void)out;
    return mproc_call_fail(call, -ERANGE, "too big");
}

/* The code, and the sentence, as the function gave them: nothing around.
 * shows: TPOOL-01 */
START_TEST(a_failure_is_told_as_the_task_said_it)
{
    mproc_pool *pool = threads_make();
    mproc_future *future = submit(pool, task_fail, MPROC_NONE);
    char in = 0, out;
    ck_assert_int_eq(result_code(future), -ERANGE);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_error_of(future)), "too big"));
    mproc_future_close(&future);
    ck_assert_int_eq(mproc_pool_map(pool, item_fails, &in, 1, &out, 1, 1, NULL), -ERANGE);
    ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "too big"));
    pool_end(&pool);
}
END_TEST

/* A pointer means nothing to a process, and is refused before anything is queued. */
START_TEST(a_pointer_does_not_cross_to_a_process)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = NULL;
    account own = {0};
    int rc = mproc_pool_submit(pool, task_pay_in, MPROC_ARGS(mproc_pointer(&own), 1), NULL, &future);
    ck_assert_msg(rc == MPROC_ECANNOTCROSS, "%s", mproc_errname(rc));
    ck_assert_ptr_null(future);
    ck_assert_int_eq(stat_of(pool, "accepted"), 0);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(3))), 9);
    pool_end(&pool);
}
END_TEST

static int count_in(mproc_call *call)
{
    account *own = account_of(call);
    if (!own)
        return MPROC_EARGUMENT;
    atomic_fetch_add(&own->sum, 1);
    return 0;
}

/* shows: TPOOL-03 */
START_TEST(threads_are_as_many_as_processes_and_begin_with_their_initializer)
{
    mproc_pool *pool = NULL;
    account own = {0};
    ck_assert_int_eq(
        mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = MPROC_START_THREAD, .initializer = count_in,
                                     .initializer_args = MPROC_ARGS(mproc_pointer(&own))),
                          &pool),
        0);
    ck_assert_int_eq(stat_of(pool, "workers"), mproc_cpu_count());
    ck_assert_int_eq(atomic_load(&own.sum), mproc_cpu_count());
    pool_end(&pool);
    ck_assert_int_eq(
        mproc_pool_create(
            MPROC_WITH(mproc_pool_options, .start = MPROC_START_THREAD, .initializer = set_up_fail), &pool),
        -ENOENT);
    ck_assert_ptr_null(pool);
    /* What is of processes only; the other half of a context, how they are started, is what `start` has said. */
    ck_assert_int_eq(
        mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = MPROC_START_THREAD, .tasks_per_worker = 1),
                          &pool),
        -EINVAL);
    ck_assert_int_eq(mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = MPROC_START_THREAD,
                                                  .limits.memory_bytes = 64 << 20),
                                       &pool),
                     -EINVAL);
    ck_assert_ptr_null(pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_test(all, a_task_is_given_the_callers_object_and_gives_it_back);
    tcase_add_test(all, items_of_maps_are_the_callers_objects_whatever_the_order);
    tcase_add_test(all, a_map_over_arrays_works_in_the_callers_arrays);
    tcase_add_test(all, a_callback_is_given_the_object_too);
    tcase_add_test(all, a_failure_is_told_as_the_task_said_it);
    tcase_add_loop_test(all, a_pointer_does_not_cross_to_a_process, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_test(all, threads_are_as_many_as_processes_and_begin_with_their_initializer);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "worker_threads", add);
}
