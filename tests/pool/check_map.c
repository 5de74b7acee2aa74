/* SPDX-License-Identifier: BSD-2-Clause */
/* map over arrays: right, whole, and each failure in its place. */
#include "platform/base.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool_common.h"

static int item_double(mproc_call *call, const void *in, void *out)
{
    (void)call;
    *(double *)out = *(const double *)in * 2;
    return 0;
}

/* Of an int: 7 fails, 13 kills its process, 17 hangs, 19 dies in its first attempt, all others are negated. */
static int item_int(mproc_call *call, const void *in, void *out)
{
    int n = *(const int *)in;
    if (n == 7)
        return mproc_call_fail(call, -EDOM, "seven");
    if (n == 13 || (n == 19 && mproc_call_attempt(call) == 1))
        raise(SIGKILL);
    while (n == 17 && !mproc_call_stopping(call))
        usleep(1000);
    *(int *)out = -n;
    return 0;
}

static int item_add(mproc_call *call, const void *in, void *out)
{
    *(int *)out = *(const int *)in + (int)mproc_call_int(call, 0);
    return 0;
}

static int item_slow(mproc_call *call, const void *in, void *out)
{
    (void)in;
    (void)out;
    for (int i = 0; i < 20 && !mproc_call_stopping(call); i++)
        usleep(1000);
    return 0;
}

enum { INTS = 40 };

static void ints_fill(int *in, int first)
{
    for (int i = 0; i < INTS; i++)
        in[i] = first + i;
}

/* shows: POOL-03 EXEC-02 */
START_TEST(a_million_doubles_come_back_in_order)
{
    enum { COUNT = 1000000 };
    double *in = malloc(COUNT * sizeof *in), *out = calloc(COUNT, sizeof *out);
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int i = 0; i < COUNT; i++)
        in[i] = i;
    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(mproc_pool_map(pool, item_double, in, sizeof *in, out, sizeof *out, COUNT, NULL), 0);
        int wrong = 0;
        for (int i = 0; i < COUNT; i++)
            wrong += out[i] != 2.0 * i;
        ck_assert_int_eq(wrong, 0);
    }
    pool_end(&pool);
    free(in);
    free(out);
}
END_TEST

/* shows: POOL-03 EXEC-02 */
START_TEST(any_chunk_gives_the_same)
{
    static const size_t chunks[] = {1, 6, 39, 40, 41, 1000};
    int in[INTS], out[INTS];
    mproc_pool *pool = pool_make(METHOD, 3);
    ints_fill(in, 100);
    for (size_t i = 0; i < MPROC__COUNT(chunks); i++) {
        memset(out, 0, sizeof out);
        ck_assert_int_eq(mproc_pool_map(pool, item_int, in, sizeof *in, out, sizeof *out, INTS,
                                        MPROC_WITH(mproc_map_options, .chunk = chunks[i])),
                         0);
        for (int k = 0; k < INTS; k++)
            ck_assert_int_eq(out[k], -in[k]);
    }
    pool_end(&pool);
}
END_TEST

/* shows: POOL-09 */
START_TEST(nothing_maps_to_nothing)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *future;
    ck_assert_int_eq(mproc_pool_map(pool, item_int, NULL, 4, NULL, 4, 0, NULL), 0);
    ck_assert_int_eq(
        mproc_pool_map(pool, item_int, NULL, 4, NULL, 4, 0, MPROC_WITH(mproc_map_options, .chunk = 5)), 0);
    ck_assert_int_eq(mproc_pool_map_start(pool, item_int, NULL, 4, NULL, 4, 0, NULL, &future), 0);
    ck_assert_int_eq(mproc_future_wait(future, mproc_after_ms(support_ms(2000))), 0);
    ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_DONE);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

/* shows: POOL-06 */
START_TEST(a_failing_item_is_told_after_all_were_tried)
{
    int in[INTS], out[INTS], status[INTS];
    mproc_pool *pool = pool_make(METHOD, 2);
    ints_fill(in, 0);
    in[13] = in[17] = in[19] = 50;
    in[30] = 7;
    int rc = mproc_pool_map(pool, item_int, in, sizeof *in, out, sizeof *out, INTS,
                            MPROC_WITH(mproc_map_options, .status = status));
    ck_assert_int_eq(rc, -EDOM);
    const mproc_error *story = mproc_last_error();
    int64_t item = -1;
    ck_assert_ptr_nonnull(strstr(mproc_error_text(story), "seven"));
    ck_assert_int_eq(mproc_error_number(story, MPROC_ERROR_ITEM, &item), 0);
    ck_assert_int_eq(item, 7);
    for (int i = 0; i < INTS; i++) {
        ck_assert_int_eq(status[i], in[i] == 7 ? -EDOM : 0);
        if (in[i] != 7)
            ck_assert_int_eq(out[i], -in[i]);
    }
    pool_end(&pool);
}
END_TEST

/* shows: POOL-29 DEATH-6 */
START_TEST(a_death_costs_one_item)
{
    int in[INTS], out[INTS], status[INTS];
    mproc_pool *pool = pool_make(METHOD, 2);
    ints_fill(in, 10);
    in[7] = in[9] = 50;
    for (size_t chunk = 0; chunk < 20; chunk += 10) {
        int rc = mproc_pool_map(pool, item_int, in, sizeof *in, out, sizeof *out, INTS,
                                MPROC_WITH(mproc_map_options, .status = status, .chunk = chunk));
        int64_t item = -1;
        ck_assert_int_eq(rc, MPROC_EDIED);
        ck_assert_int_eq(mproc_error_number(mproc_last_error(), MPROC_ERROR_ITEM, &item), 0);
        ck_assert_int_eq(item, 3);
        for (int i = 0; i < INTS; i++) {
            ck_assert_msg(status[i] == (in[i] == 13 ? MPROC_EDIED : 0), "status %d is %d", i, status[i]);
            if (in[i] != 13)
                ck_assert_int_eq(out[i], -in[i]);
        }
    }
    pool_end(&pool);
}
END_TEST

/* shows: WORK-2 */
START_TEST(an_item_is_tried_again_after_a_death)
{
    int in[INTS], out[INTS];
    mproc_pool *pool = pool_make(METHOD, 2);
    ints_fill(in, 18);
    int rc = mproc_pool_map(pool, item_int, in, sizeof *in, out, sizeof *out, INTS,
                            MPROC_WITH(mproc_map_options, .retries = 1));
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    for (int i = 0; i < INTS; i++)
        ck_assert_int_eq(out[i], -in[i]);
    pool_end(&pool);
}
END_TEST

/* shows: WORK-1 */
START_TEST(an_item_past_its_time_limit_fails_alone)
{
    int in[INTS], out[INTS], status[INTS];
    mproc_pool *pool = pool_make(METHOD, 2);
    ints_fill(in, 15);
    in[4] = 50;
    int rc = mproc_pool_map(
        pool, item_int, in, sizeof *in, out, sizeof *out, INTS,
        MPROC_WITH(mproc_map_options, .status = status, .time_limit_ms = (uint32_t)support_ms(100)));
    ck_assert_int_eq(rc, -ETIME);
    for (int i = 0; i < INTS; i++)
        ck_assert_msg(status[i] == (in[i] == 17 ? -ETIME : 0), "status %d is %d", i, status[i]);
    pool_end(&pool);
}
END_TEST

START_TEST(further_arguments_reach_every_item)
{
    int in[INTS], out[INTS];
    mproc_pool *pool = pool_make(METHOD, 2);
    ints_fill(in, 0);
    ck_assert_int_eq(mproc_pool_map(pool, item_add, in, sizeof *in, out, sizeof *out, INTS,
                                    MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(1000))),
                     0);
    for (int i = 0; i < INTS; i++)
        ck_assert_int_eq(out[i], i + 1000);
    pool_end(&pool);
}
END_TEST

static bool map_is_running(void *future)
{
    uint64_t done = 0, total;
    return mproc_future_progress(future, &done, &total) == 0 && done > 0;
}

/* shows: POOL-04 WORK-1 */
START_TEST(a_map_shows_progress_and_can_be_cancelled)
{
    enum { COUNT = 100000 };
    char *in = calloc(COUNT, 1);
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *future;
    uint64_t done, total;
    ck_assert_int_eq(mproc_pool_map_start(pool, item_slow, in, 1, NULL, 0, COUNT, NULL, &future), 0);
    ck_assert(support_until(map_is_running, future, 5000));
    ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_RUNNING);
    ck_assert_int_eq(mproc_future_cancel(future, false), -EBUSY);
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    ck_assert_int_eq(mproc_future_result(future, mproc_after_ms(support_ms(5000)), NULL), -ECANCELED);
    ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_CANCELLED);
    ck_assert_int_eq(mproc_future_progress(future, &done, &total), 0);
    ck_assert_uint_eq(total, COUNT);
    ck_assert_uint_lt(done, COUNT);
    mproc_future_close(&future);
    /* The next map finds nothing of it. */
    ck_assert_int_eq(mproc_pool_map(pool, item_slow, in, 1, NULL, 0, 4, NULL), 0);
    pool_end(&pool);
    free(in);
}
END_TEST

START_TEST(several_maps_run_at_once)
{
    enum { MAPS = 10 };
    int in[INTS], out[MAPS][INTS];
    mproc_future *futures[MAPS];
    mproc_pool *pool = pool_make(METHOD, 2);
    ints_fill(in, 100);
    for (int i = 0; i < MAPS; i++)
        ck_assert_int_eq(mproc_pool_map_start(pool, item_add, in, sizeof *in, out[i], sizeof *out[i], INTS,
                                              MPROC_WITH(mproc_map_options, .args = MPROC_ARGS(i)),
                                              &futures[i]),
                         0);
    for (int i = MAPS - 1; i >= 0; i--) {
        ck_assert_int_eq(mproc_future_result(futures[i], mproc_after_ms(support_ms(5000)), NULL), 0);
        for (int k = 0; k < INTS; k++)
            ck_assert_int_eq(out[i][k], in[k] + i);
        mproc_future_close(&futures[i]);
    }
    pool_end(&pool);
}
END_TEST

START_TEST(bad_arrays_are_refused)
{
    int value = 0;
    mproc_pool *pool = pool_make(MPROC_START_THREAD, 1);
    ck_assert_int_eq(mproc_pool_map(pool, NULL, &value, 4, &value, 4, 1, NULL), -EINVAL);
    ck_assert_int_eq(mproc_pool_map(pool, item_int, NULL, 4, &value, 4, 1, NULL), -EINVAL);
    ck_assert_int_eq(mproc_pool_map(pool, item_int, &value, 4, NULL, 4, 1, NULL), -EINVAL);
    ck_assert_int_eq(mproc_pool_map(pool, item_int, &value, SIZE_MAX / 2, &value, 4, 1000, NULL), -EMSGSIZE);
    pool_end(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_million_doubles_come_back_in_order, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, any_chunk_gives_the_same, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, nothing_maps_to_nothing, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_failing_item_is_told_after_all_were_tried, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_death_costs_one_item, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, an_item_is_tried_again_after_a_death, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, an_item_past_its_time_limit_fails_alone, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, further_arguments_reach_every_item, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_map_shows_progress_and_can_be_cancelled, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, several_maps_run_at_once, METHODS_FIRST, METHODS);
    tcase_add_test(all, bad_arrays_are_refused);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "map", add);
}
