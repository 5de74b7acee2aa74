/* SPDX-License-Identifier: BSD-2-Clause */
/* More workers and fewer, at rest and at work. */
#include "platform/base.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "platform/platform.h"
#include "pool/pool_common.h"

typedef struct expected {
    mproc_pool *pool;
    int64_t alive;
} expected;

static bool alive_is(void *context)
{
    const expected *of = context;
    return stat_of(of->pool, "alive") == of->alive;
}

static void await_alive(mproc_pool *pool, int64_t alive)
{
    expected of = {.pool = pool, .alive = alive};
    ck_assert_msg(support_until(alive_is, &of, 10000), "%d alive, not %d", (int)stat_of(pool, "alive"),
                  (int)alive);
}

START_TEST(a_pool_grows_while_it_works)
{
    mproc_future *futures[3];
    mproc_pool *pool = pool_make(METHOD, 1);
    for (int i = 0; i < 3; i++)
        futures[i] = submit(pool, task_until_stopped, MPROC_NONE);
    ck_assert(support_until(is_running, futures[0], 5000));
    ck_assert_int_eq(mproc_future_get_state(futures[1]), MPROC_FUTURE_PENDING);
    ck_assert_int_eq(mproc_pool_resize(pool, 3), 0);
    for (int i = 1; i < 3; i++)
        ck_assert(support_until(is_running, futures[i], 5000));
    ck_assert_int_eq(stat_of(pool, "workers"), 3);
    ck_assert_int_eq(stat_of(pool, "died"), 0);
    ck_assert_int_eq(mproc_pool_stop(pool, false, mproc_after_ms(support_ms(5000)), NULL), 0);
    for (int i = 0; i < 3; i++)
        mproc_future_close(&futures[i]);
    mproc_pool_close(&pool);
}
END_TEST

static int task_nap(mproc_call *call)
{
    usleep(30000);
    return task_square(call);
}

START_TEST(those_who_leave_end_what_they_are_at)
{
    enum { TASKS = 12 };
    mproc_future *futures[TASKS];
    mproc_pool *pool = pool_make(METHOD, 4);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_nap, MPROC_ARGS(i));
    ck_assert(support_until(is_running, futures[0], 5000));
    ck_assert_int_eq(mproc_pool_resize(pool, 1), 0);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(result_int(futures[i]), i * i);
    await_alive(pool, 1);
    ck_assert_int_eq(stat_of(pool, "died"), 0);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(7))), 49);
    pool_end(&pool);
}
END_TEST

START_TEST(up_and_down_again_and_again_loses_nothing)
{
    enum { TASKS = 400, ROUNDS = 20 };
    static mproc_future *futures[TASKS];
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < TASKS; i++) {
        futures[i] = submit(pool, task_square, MPROC_ARGS(i));
        if (i % (TASKS / ROUNDS) == 0)
            ck_assert_int_eq(mproc_pool_resize(pool, 1 + (unsigned)(i * 7 / 20) % 5), 0);
    }
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(result_int(futures[i]), i * i);
    ck_assert_int_eq(mproc_pool_resize(pool, 3), 0);
    await_alive(pool, 3);
    ck_assert_int_eq(mproc_pool_resize(pool, 2), 0);
    await_alive(pool, 2);
    ck_assert_int_eq(stat_of(pool, "died"), 0);
    pool_end(&pool);
}
END_TEST

static int item_double(mproc_call *call, const void *in, void *out)
{
    (void)call;
    usleep(50);
    *(int *)out = *(const int *)in * 2;
    return 0;
}

START_TEST(a_map_goes_on_whatever_the_size_becomes)
{
    enum { COUNT = 3000 };
    static int in[COUNT], out[COUNT];
    mproc_future *map;
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < COUNT; i++)
        in[i] = i;
    ck_assert_int_eq(mproc_pool_map_start(pool, item_double, in, 4, out, 4, COUNT, NULL, &map), 0);
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(mproc_pool_resize(pool, 1 + i * 3 % 5), 0);
    ck_assert_int_eq(result_code(map), 0);
    mproc_future_close(&map);
    for (int i = 0; i < COUNT; i++)
        ck_assert_int_eq(out[i], 2 * i);
    ck_assert_int_eq(mproc_pool_map(pool, item_double, in, 4, out, 4, 100, NULL), 0);
    pool_end(&pool);
}
END_TEST

START_TEST(bad_sizes_are_refused)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    ck_assert_int_eq(mproc_pool_resize(NULL, 1), -EINVAL);
    ck_assert_int_eq(mproc_pool_resize(pool, 1000000), -EINVAL);
    ck_assert_int_eq(stat_of(pool, "workers"), 1);
    ck_assert_int_eq(mproc_pool_resize(pool, 0), 0);
    ck_assert_int_eq(stat_of(pool, "workers"), mproc_cpu_count());
    ck_assert_int_eq(mproc_pool_stop(pool, true, mproc_after_ms(support_ms(5000)), NULL), 0);
    ck_assert_int_eq(mproc_pool_resize(pool, 2), MPROC_ECLOSED);
    mproc_pool_close(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_pool_grows_while_it_works, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, those_who_leave_end_what_they_are_at, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, up_and_down_again_and_again_loses_nothing, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_map_goes_on_whatever_the_size_becomes, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, bad_sizes_are_refused, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "resize", add);
}
