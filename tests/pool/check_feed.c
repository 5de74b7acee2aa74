/* SPDX-License-Identifier: BSD-2-Clause */
/* Maps over a source: asked for as much as is wanted, failing anywhere, without end. */
#include "platform/base.h"

#include <stdio.h>
#include <string.h>

#include "pool/pool_common.h"

/* Gives 0, 1, 2 ... as ints, or as texts in a buffer that the next call overwrites. */
typedef struct counter {
    int64_t given;
    int64_t end; /* then it ends, with this code; -1: never */
    int code;
    bool story, text;
    char buffer[32];
    mproc_results **results; /* used by the source itself: not allowed */
    int used;
} counter;

static int counter_next(void *context, mproc_variant *ret_item)
{
    counter *self = context;
    mproc_result result;
    if (self->results && *self->results)
        self->used = mproc_results_next(*self->results, MPROC_NOW, &result);
    if (self->given == self->end) {
        return self->story ? mproc_results_next(NULL, MPROC_NOW, &result) : self->code; /* -EINVAL */
    }
    snprintf(self->buffer, sizeof self->buffer, "%lld", (long long)self->given);
    *ret_item = self->text ? mproc_text(self->buffer) : mproc_int(self->given);
    self->given++;
    return 0;
}

static mproc_deadline soon(void)
{
    return mproc_after_ms(support_ms(10000));
}

static mproc_results *feed(mproc_pool *pool, mproc_fn *fn, counter *from, const mproc_map_options *options)
{
    mproc_results *results = NULL;
    int rc = mproc_pool_map_source(pool, fn, counter_next, from, options, &results);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return results;
}

static void next_is(mproc_results *results, size_t index, int64_t number)
{
    mproc_result result;
    int64_t got = -1;
    int rc = mproc_results_next(results, soon(), &result);
    ck_assert_msg(rc == 0, "%zu: %s", index, mproc_error_text(mproc_last_error()));
    ck_assert_msg(result.code == 0, "%zu: %s", index, mproc_error_text(result.error));
    ck_assert_uint_eq(result.index, index);
    ck_assert_int_eq(mproc_variant_get_int(result.value, &got), 0);
    ck_assert_int_eq(got, number);
}

static int next_code(mproc_results *results)
{
    mproc_result result;
    return mproc_results_next(results, soon(), &result);
}

START_TEST(an_endless_source_is_read_for_as_long_as_one_likes)
{
    enum { ITEMS = 5000 };
    counter from = {.end = -1};
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_results *results = feed(pool, task_square, &from, NULL);
    for (int64_t i = 0; i < ITEMS; i++)
        next_is(results, (size_t)i, i * i);
    mproc_results_close(&results);
    ck_assert_int_ge(from.given, ITEMS);
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(3))), 9);
    pool_end(&pool);
}
END_TEST

/* shows: EXEC-07 WORK-3 */
START_TEST(never_more_than_ahead_are_asked_for)
{
    static const size_t aheads[] = {1, 2, 5, 100}, chunks[] = {0, 1, 3, 200};
    mproc_pool *pool = pool_make(METHOD, 2);
    for (size_t i = 0; i < MPROC__COUNT(aheads) * MPROC__COUNT(chunks); i++) {
        size_t ahead = aheads[i % MPROC__COUNT(aheads)], chunk = chunks[i / MPROC__COUNT(aheads)];
        counter from = {.end = -1};
        mproc_results *results =
            feed(pool, task_square, &from, MPROC_WITH(mproc_map_options, .ahead = ahead, .chunk = chunk));
        ck_assert_int_le(from.given, ahead);
        if (chunk == 1)
            ck_assert_int_eq(from.given, ahead);
        for (int64_t read = 0; read < 300; read++) {
            next_is(results, (size_t)read, read * read);
            ck_assert_int_le(from.given, read + ahead);
        }
        mproc_results_close(&results);
    }
    pool_end(&pool);
}
END_TEST

/* shows: POOL-10 */
START_TEST(a_source_that_fails_is_told_once_and_the_pool_goes_on)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    for (int twice = 0; twice < 2; twice++)
        for (int at = 0; at <= 3; at += 3) {
            counter from = {.end = at, .code = -EDOM};
            mproc_results *results = feed(pool, task_square, &from, NULL);
            for (int i = 0; i < at; i++)
                next_is(results, (size_t)i, i * i);
            ck_assert_int_eq(next_code(results), -EDOM);
            ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), at ? "item 3" : "item 0"));
            ck_assert_int_eq(next_code(results), MPROC_EEND);
            mproc_results_close(&results);
        }
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(3))), 9);
    pool_end(&pool);
}
END_TEST

/* All items before the failure, whatever the chunk: the reference drops those of the chunk that was being filled. */
/* shows: POOL-12 */
START_TEST(all_results_before_the_failure_come_first)
{
    static const struct {
        size_t chunk;
        int64_t at;
    } cases[] = {{1, 3}, {2, 7}, {4, 7}, {0, 7}};
    mproc_pool *pool = pool_make(METHOD, 2);
    for (size_t i = 0; i < MPROC__COUNT(cases); i++) {
        counter from = {.end = cases[i].at, .code = -EINVAL, .story = true};
        mproc_results *results =
            feed(pool, task_square, &from, MPROC_WITH(mproc_map_options, .chunk = cases[i].chunk));
        for (int64_t read = 0; read < cases[i].at; read++)
            next_is(results, (size_t)read, read * read);
        ck_assert_int_eq(next_code(results), -EINVAL);
        ck_assert_ptr_nonnull(strstr(mproc_error_text(mproc_last_error()), "no open"));
        ck_assert_int_eq(next_code(results), MPROC_EEND);
        mproc_results_close(&results);
    }
    pool_end(&pool);
}
END_TEST

/* shows: POOL-13 */
START_TEST(unordered_gives_all_before_the_failure_too)
{
    enum { ITEMS = 200 };
    bool seen[ITEMS] = {false};
    mproc_result result;
    counter from = {.end = ITEMS, .code = -EIO};
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_results *results = feed(pool, task_echo, &from, MPROC_WITH(mproc_map_options, .unordered = true));
    for (int i = 0; i < ITEMS; i++) {
        ck_assert_int_eq(mproc_results_next(results, soon(), &result), 0);
        ck_assert(!seen[result.index]);
        seen[result.index] = true;
    }
    ck_assert_int_eq(next_code(results), -EIO);
    ck_assert_int_eq(next_code(results), MPROC_EEND);
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

START_TEST(an_item_may_lie_in_the_sources_own_buffer)
{
    counter from = {.end = 300, .code = MPROC_EEND, .text = true};
    mproc_result result;
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_results *results =
        feed(pool, task_echo, &from, MPROC_WITH(mproc_map_options, .chunk = (size_t)_i % 2));
    for (int i = 0; i < 300; i++) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "%d", i);
        ck_assert_int_eq(mproc_results_next(results, soon(), &result), 0);
        ck_assert_int_eq(result.code, 0);
        ck_assert_str_eq(mproc_variant_get_text(result.value), wanted);
    }
    ck_assert_int_eq(next_code(results), MPROC_EEND);
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

START_TEST(a_source_cannot_read_what_it_feeds)
{
    mproc_results *results = NULL;
    counter from = {.end = 100, .code = MPROC_EEND, .results = &results};
    mproc_pool *pool = pool_make(METHOD, 1);
    results = feed(pool, task_square, &from, NULL);
    for (int i = 0; i < 100; i++)
        next_is(results, (size_t)i, i * i);
    ck_assert_int_eq(from.used, MPROC_ESTATE);
    mproc_results_close(&results);
    pool_end(&pool);
}
END_TEST

START_TEST(an_endless_source_ends_with_its_pool)
{
    mproc_result result;
    counter from = {.end = -1};
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_results *results = feed(pool, task_square, &from, MPROC_WITH(mproc_map_options, .ahead = 8));
    next_is(results, 0, 0);
    ck_assert_int_eq(mproc_pool_stop(pool, true, soon(), NULL), 0);
    int rc = 0;
    for (int i = 0; rc == 0 && i < 100; i++)
        rc = mproc_results_next(results, soon(), &result);
    ck_assert_int_eq(rc, MPROC_ECLOSED);
    ck_assert_int_eq(next_code(results), MPROC_EEND);
    mproc_results_close(&results);
    mproc_pool_close(&pool);
}
END_TEST

START_TEST(a_map_without_a_source_is_refused)
{
    mproc_results *results = NULL;
    counter from = {.end = 0};
    mproc_pool *pool = pool_make(METHOD, 1);
    ck_assert_int_eq(mproc_pool_map_source(pool, task_square, NULL, &from, NULL, &results), -EINVAL);
    ck_assert_int_eq(mproc_pool_map_source(pool, NULL, counter_next, &from, NULL, &results), -EINVAL);
    ck_assert_int_eq(mproc_pool_map_source(pool, task_square, counter_next, &from, NULL, NULL), -EINVAL);
    ck_assert_int_eq(mproc_pool_map_source(NULL, task_square, counter_next, &from, NULL, &results), -EINVAL);
    ck_assert_ptr_null(results);
    pool_end(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, an_endless_source_is_read_for_as_long_as_one_likes, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, never_more_than_ahead_are_asked_for, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_source_that_fails_is_told_once_and_the_pool_goes_on, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, all_results_before_the_failure_come_first, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, unordered_gives_all_before_the_failure_too, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, an_item_may_lie_in_the_sources_own_buffer, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_source_cannot_read_what_it_feeds, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, an_endless_source_ends_with_its_pool, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_map_without_a_source_is_refused, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "feed", add);
}
