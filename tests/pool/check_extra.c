/* SPDX-License-Identifier: BSD-2-Clause */
/* What is kept of a task over the deaths of its workers: checkpoints, and reports of the deaths. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool_common.h"

static mproc_future *submit_retried(mproc_pool *pool, mproc_fn *fn, mproc_variant args, unsigned retries)
{
    mproc_future *future = NULL;
    int rc = mproc_pool_submit(pool, fn, args, MPROC_WITH(mproc_task_options, .retries = retries), &future);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    return future;
}

static int64_t entry_of(mproc_variant list, size_t index, const char *key)
{
    int64_t number = INT64_MIN;
    (void)mproc_variant_get_int(mproc_variant_find(mproc_variant_at(list, index), key), &number);
    return number;
}

/* (n): dies by SIGKILL in odd attempts and by exit(attempt) in even ones, until attempt n. */
static int task_die_until(mproc_call *call)
{
    unsigned attempt = mproc_call_attempt(call);
    if (attempt < mproc_call_int(call, 0)) {
        if (attempt % 2 == 0)
            _exit((int)attempt);
        raise(SIGKILL);
    }
    return mproc_call_return(call, mproc_int(attempt));
}

typedef struct wanted {
    mproc_future *future;
    size_t count;
} wanted;

static bool all_told(void *context)
{
    wanted *of = context;
    mproc_variant list;
    bool told = mproc_future_deaths(of->future, &list) == 0 && mproc_variant_count(list) == of->count;
    for (size_t i = 0; told && i < of->count; i++)
        told = entry_of(list, i, "pid") > 0;
    mproc_variant_clear(&list);
    return told;
}

static void deaths_check(mproc_future *future, size_t count, unsigned first)
{
    mproc_variant list;
    wanted of = {.future = future, .count = count};
    ck_assert(support_until(all_told, &of, 5000));
    ck_assert_int_eq(mproc_future_deaths(future, &list), 0);
    for (size_t i = 0; i < count; i++) {
        int64_t attempt = first + (int64_t)i;
        ck_assert_int_eq(entry_of(list, i, "attempt"), attempt);
        ck_assert_int_eq(entry_of(list, i, "exit_code"), attempt % 2 ? -SIGKILL : attempt);
    }
    mproc_variant_clear(&list);
}

/* shows: WORK-2 */
START_TEST(a_dead_letter_holds_a_report_of_every_death)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *future = submit_retried(pool, task_die_until, MPROC_ARGS(100), 3);
    ck_assert_int_eq(result_code(future), MPROC_EDIED);
    deaths_check(future, 4, 1);
    ck_assert_int_eq(result_code(future), MPROC_EDIED);
    const char *story = mproc_error_text(mproc_error_of(future));
    ck_assert_msg(strstr(story, "attempt 4") && strstr(story, "so did attempts 1 (pid ") &&
                      strstr(story, "signal 9"),
                  "%s", story);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

START_TEST(a_task_that_came_through_tells_its_deaths_too)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *future = submit_retried(pool, task_die_until, MPROC_ARGS(12), 20);
    ck_assert_int_eq(result_code(future), 0);
    deaths_check(future, 7, 5); /* the last eight attempts, of which the twelfth came through */
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

START_TEST(without_retries_the_one_death_is_told)
{
    mproc_variant list;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, task_die_until, MPROC_ARGS(100));
    ck_assert_int_eq(result_code(future), MPROC_EDIED);
    deaths_check(future, 1, 1);
    mproc_future_close(&future);
    future = submit(pool, task_square, MPROC_ARGS(3));
    ck_assert_int_eq(result_code(future), 0);
    ck_assert_int_eq(mproc_future_deaths(future, &list), 0);
    ck_assert_uint_eq(mproc_variant_count(list), 0);
    mproc_variant_clear(&list);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

START_TEST(what_has_not_ended_tells_nothing)
{
    mproc_variant list;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, task_until_stopped, MPROC_NONE);
    ck_assert_int_eq(mproc_future_deaths(future, &list), MPROC_ESTATE);
    ck_assert_int_eq(mproc_future_checkpoint(future, &list), MPROC_ESTATE);
    ck_assert_int_eq(mproc_future_deaths(future, NULL), -EINVAL);
    ck_assert_int_eq(mproc_future_deaths(NULL, &list), -EINVAL);
    ck_assert_int_eq(mproc_future_checkpoint(NULL, &list), -EINVAL);
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

/* (steps, bytes): counts steps, keeps each with a ballast of that many bytes times the step, and dies after every third. The
 * result is how many steps this last attempt took. */
static int task_steps(mproc_call *call)
{
    int64_t steps = mproc_call_int(call, 0), done = 0, bytes = mproc_call_int(call, 1);
    mproc_variant kept = mproc_call_resume(call);
    if (kept.kind != MPROC_KIND_NULL && mproc_variant_get_int(mproc_variant_at(kept, 0), &done) != 0)
        return mproc_call_fail(call, -EBADMSG, "no checkpoint");
    int64_t begin = done;
    char *ballast = calloc(1, (size_t)(bytes * steps) + 1);
    while (done < steps) {
        done++;
        size_t size = (size_t)(bytes * (steps - done));
        int rc = mproc_call_checkpoint(call, MPROC_ARGS(done, mproc_bytes(ballast, size)));
        if (rc < 0)
            return rc;
        if (done % 3 == 0 && done > begin && done < steps)
            raise(SIGKILL);
    }
    free(ballast);
    return mproc_call_return(call, mproc_int(done - begin));
}

START_TEST(a_retry_goes_on_where_the_last_checkpoint_was)
{
    static const int sizes[] = {0, 10, 1000, 20000};
    mproc_pool *pool = pool_make(METHOD, 2);
    for (size_t i = 0; i < MPROC__COUNT(sizes); i++) {
        mproc_future *future = submit_retried(pool, task_steps, MPROC_ARGS(14, sizes[i]), 10);
        ck_assert_int_eq(result_int(future), 2); /* of 14; the others were taken by four that died */
    }
    pool_end(&pool);
}
END_TEST

START_TEST(a_failed_task_leaves_its_last_checkpoint)
{
    int64_t done = -1;
    mproc_variant kept;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit_retried(pool, task_steps, MPROC_ARGS(100, 0), 2);
    ck_assert_int_eq(result_code(future), MPROC_EDIED);
    ck_assert_int_eq(mproc_future_checkpoint(future, &kept), 0);
    ck_assert_int_eq(mproc_variant_get_int(mproc_variant_at(kept, 0), &done), 0);
    ck_assert_int_eq(done, 9);
    mproc_future_close(&future);
    future = submit_retried(pool, task_square, MPROC_ARGS(4), 2);
    ck_assert_int_eq(result_code(future), 0);
    ck_assert_int_eq(mproc_future_checkpoint(future, &kept), 0);
    ck_assert_int_eq(kept.kind, MPROC_KIND_NULL);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

START_TEST(without_retries_a_checkpoint_is_kept_nowhere)
{
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc_future *future = submit(pool, task_steps, MPROC_ARGS(2, 10));
    ck_assert_int_eq(result_int(future), 2);
    pool_end(&pool);
}
END_TEST

/* Blocks of the dead, and those that a checkpoint outgrew, are free again: else the small pool would fill up. */
START_TEST(checkpoints_leave_no_blocks_behind)
{
    mproc_pool *pool = NULL;
    int rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 2,
                                          .max_queued_bytes = 1 << 20, .restarts_per_minute = 1000),
                               &pool);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    for (int round = 0; round < 15; round++) {
        mproc_future *future = submit_retried(pool, task_steps, MPROC_ARGS(8, 20000), 10);
        ck_assert_int_eq(result_int(future), 2);
    }
    pool_end(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_dead_letter_holds_a_report_of_every_death, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_task_that_came_through_tells_its_deaths_too, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, without_retries_the_one_death_is_told, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, what_has_not_ended_tells_nothing, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_retry_goes_on_where_the_last_checkpoint_was, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_failed_task_leaves_its_last_checkpoint, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, without_retries_a_checkpoint_is_kept_nowhere, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, checkpoints_leave_no_blocks_behind, METHODS_FIRST, METHODS_OF_PROCESSES);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "extra", add);
}
