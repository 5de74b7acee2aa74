/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers, names and limits of workers. */
#include "platform/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "platform/platform.h"
#include "pool/pool_common.h"

static bool nine_completed(void *pool)
{
    return stat_of(pool, "completed") == 9;
}

START_TEST(every_end_is_counted)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *runs = submit(pool, task_until_stopped, MPROC_NONE), *fails[3];
    ck_assert(support_until(is_running, runs, 5000));
    for (int i = 0; i < 3; i++)
        fails[i] = submit(pool, task_fail, MPROC_NONE);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(i))), i * i);
    ck_assert_int_eq(stat_of(pool, "running"), 1);
    ck_assert_int_eq(stat_of(pool, "accepted"), 9);
    ck_assert_int_eq(stat_of(pool, "queued"), 0);
    ck_assert_int_eq(mproc_future_cancel(runs, true), 0);
    ck_assert_int_eq(result_code(runs), -ECANCELED);
    ck_assert_int_eq(stat_of(pool, "failed"), 3);
    ck_assert_int_eq(stat_of(pool, "cancelled"), 1);
    ck_assert(
        support_until(nine_completed, pool, 5000)); /* the worker counts when the result is handed over */
    mproc_future_close(&runs);
    for (int i = 0; i < 3; i++)
        mproc_future_close(&fails[i]);
    pool_end(&pool);
}
END_TEST

static bool worker_find(mproc_pool *pool, const char *state, int64_t *ret_pid)
{
    mproc_variant stats;
    bool found = false;
    ck_assert_int_eq(mproc_pool_stats(pool, &stats), 0);
    mproc_variant each = mproc_variant_find(stats, "each");
    for (size_t i = 0; i < mproc_variant_count(each); i++) {
        mproc_variant one = mproc_variant_at(each, i);
        if (strcmp(mproc_variant_get_text(mproc_variant_find(one, "state")), state) == 0)
            found = mproc_variant_get_int(mproc_variant_find(one, "pid"), ret_pid) == 0;
    }
    mproc_variant_clear(&stats);
    return found;
}

static bool one_idle(void *pool)
{
    return stat_of(pool, "idle") == 1;
}

START_TEST(each_worker_is_told_of)
{
    int64_t busy = 0, idle = 0;
    mproc_pool *pool = pool_make(METHOD, 2);
    ck_assert_int_eq(stat_of(pool, "alive"), 2);
    mproc_future *runs = submit(pool, task_until_stopped, MPROC_NONE);
    ck_assert(support_until(is_running, runs, 5000));
    ck_assert(support_until(one_idle, pool, 5000));
    ck_assert(worker_find(pool, "busy", &busy));
    ck_assert(worker_find(pool, "idle", &idle));
    ck_assert_int_ne(busy, idle);
    if (METHOD != MPROC_START_THREAD)
        ck_assert_int_eq(result_int(submit(pool, task_pid, MPROC_NONE)), idle);
    ck_assert_int_eq(mproc_pool_stop(pool, false, mproc_after_ms(support_ms(5000)), NULL), 0);
    ck_assert_int_eq(stat_of(pool, "alive"), 0);
    mproc_future_close(&runs);
    mproc_pool_close(&pool);
}
END_TEST

static int task_name(mproc_call *call)
{
    char name[32] = "";
    FILE *comm = fopen("/proc/thread-self/comm", "re");
    if (comm && fgets(name, sizeof name, comm))
        name[strcspn(name, "\n")] = 0;
    if (comm)
        fclose(comm);
    return mproc_call_return(call, mproc_text(name));
}

static void name_check(mproc_pool *pool, const char *begin)
{
    mproc_variant name;
    mproc_future *future = submit(pool, task_name, MPROC_NONE);
    ck_assert_int_eq(mproc_future_result(future, mproc_after_ms(support_ms(10000)), &name), 0);
    const char *text = mproc_variant_get_text(name);
    ck_assert_msg(strncmp(text, begin, strlen(begin)) == 0, "%s", text);
    if (strcmp(begin, "pool") == 0)
        ck_assert_str_eq(strchr(text, '-'), "-1");
    mproc_future_close(&future);
}

/* shows: EXEC-18 */
START_TEST(a_workers_name_shows_in_ps)
{
    mproc_pool *pool = NULL;
    ck_assert_int_eq(
        mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 1, .name = "grep"),
                          &pool),
        0);
    name_check(pool, "grep-1");
    pool_end(&pool);
    pool = pool_make(METHOD, 1);
    name_check(pool, METHOD == MPROC_START_THREAD ? "pool" : "PoolWorker-1");
    pool_end(&pool);
}
END_TEST

static int nothing(mproc_call *call)
{
    (void)call;
    return 0;
}

/* What the first start leaves for the program's life. */
static void excuse_nursery(mproc_start start)
{
    mproc_process *process = NULL;
    ck_assert_int_eq(
        mproc_process_start(nothing, MPROC_NONE, MPROC_WITH(mproc_process_options, .start = start), &process),
        0);
    ck_assert_int_eq(mproc_process_join(process, mproc_after_ms(support_ms(10000)), NULL), 0);
    mproc_process_close(&process);
    support_leaks_begin();
}

static int task_child(mproc_call *call)
{
    mproc_process *process = NULL;
    mproc_pool *pool = NULL;
    int rc = mproc_process_start(task_pid, MPROC_NONE, NULL, &process);
    if (rc == 0)
        return mproc_call_fail(call, -EEXIST, "a process was started");
    int pool_rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .workers = 1), &pool);
    return mproc_call_return(call, mproc_int(rc == -EPERM && pool_rc == -EPERM));
}

static int child_with_pool(mproc_call *call)
{
    mproc_pool *pool = NULL;
    mproc_future *future = NULL;
    mproc_variant value;
    int64_t number = 0;
    mproc_start start = (mproc_start)mproc_call_int(call, 0);
    int rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = start, .workers = 2), &pool);
    if (rc == 0)
        rc = mproc_pool_submit(pool, task_square, MPROC_ARGS(6), NULL, &future);
    if (rc == 0)
        rc = mproc_future_result(future, mproc_after_ms(support_ms(10000)), &value);
    if (rc == 0)
        (void)mproc_variant_get_int(value, &number);
    mproc_future_close(&future);
    mproc_pool_close(&pool);
    return rc < 0 ? rc : (int)number;
}

/* shows: POOL-30 */
START_TEST(a_child_may_have_a_pool_and_a_worker_none)
{
    mproc_process *process = NULL;
    int code = 0;
    excuse_nursery(METHOD);
    ck_assert_int_eq(mproc_process_start(child_with_pool, MPROC_ARGS((int)METHOD),
                                         MPROC_WITH(mproc_process_options, .start = METHOD), &process),
                     0);
    ck_assert_int_eq(mproc_process_join(process, mproc_after_ms(support_ms(20000)), &code), 0);
    ck_assert_int_eq(code, 36);
    mproc_process_close(&process);
    mproc_pool *pool = pool_make(METHOD, 1);
    ck_assert_int_eq(result_int(submit(pool, task_child, MPROC_NONE)), 1);
    name_check(pool, "PoolWorker-1");
    pool_end(&pool);
}
END_TEST

static int task_hoard(mproc_call *call)
{
    void *memory = malloc((size_t)mproc_call_int(call, 0));
    bool had = memory != NULL;
    free(memory);
    return mproc_call_return(call, mproc_int(had));
}

static int task_nice(mproc_call *call)
{
    return mproc_call_return(call, mproc_int(getpriority(PRIO_PROCESS, (id_t)mproc__tid())));
}

enum { LIMIT_BYTES = SUPPORT_SANITIZED ? 0 : 64 << 20 }; /* none: the sanitizer's shadow is beyond any */

START_TEST(workers_are_held_to_their_limits)
{
    mproc_pool *pool = NULL;
    int nice = getpriority(PRIO_PROCESS, 0);
    ck_assert_int_eq(mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 1,
                                                  .limits.memory_bytes = LIMIT_BYTES, .limits.nice = 3),
                                       &pool),
                     0);
    ck_assert_int_eq(result_int(submit(pool, task_hoard, MPROC_ARGS(1 << 20))), 1);
    ck_assert_int_eq(result_int(submit(pool, task_hoard, MPROC_ARGS(256 << 20))), LIMIT_BYTES == 0);
    ck_assert_int_eq(result_int(submit(pool, task_nice, MPROC_NONE)), nice + 3);
    pool_end(&pool);
}
END_TEST

START_TEST(threads_have_only_the_limits_that_are_a_threads)
{
    mproc_pool *pool = NULL;
    int nice = getpriority(PRIO_PROCESS, 0);
    ck_assert_int_eq(mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = MPROC_START_THREAD,
                                                  .workers = 1, .limits.memory_bytes = 64 << 20),
                                       &pool),
                     -EINVAL);
    ck_assert_int_eq(mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = MPROC_START_THREAD,
                                                  .workers = 1, .limits.nice = 3),
                                       &pool),
                     0);
    ck_assert_int_eq(result_int(submit(pool, task_nice, MPROC_NONE)), nice + 3);
    ck_assert_int_eq(getpriority(PRIO_PROCESS, 0), nice);
    pool_end(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, every_end_is_counted, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, each_worker_is_told_of, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_workers_name_shows_in_ps, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_child_may_have_a_pool_and_a_worker_none, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, workers_are_held_to_their_limits, METHODS_FIRST, METHODS_OF_PROCESSES);
    tcase_add_test(all, threads_have_only_the_limits_that_are_a_threads);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "stats", add);
}
