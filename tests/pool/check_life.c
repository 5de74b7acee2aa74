/* SPDX-License-Identifier: BSD-2-Clause */
/* A pool's life where something goes wrong at an awkward moment. */
#include "platform/base.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "platform/platform.h"
#include "pool/death.h"
#include "pool/payload.h"
#include "pool/pool.h"
#include "pool/pool_common.h"

enum { WORKERS = 5, FIRST_LIMIT = 8, LAST_LIMIT = 64 };

/* Descriptors run out at the first, the second, ... step of making a pool; in the supervisor each worker takes one. What a
 * failure left behind, the teardown finds. */
/* shows: POOL-27 */
START_TEST(a_worker_that_cannot_be_started_undoes_the_others)
{
    struct rlimit all, few;
    bool in_midst = false;
    int rc = -EMFILE;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
    few = all;
    for (few.rlim_cur = FIRST_LIMIT; rc != 0 && few.rlim_cur < LAST_LIMIT; few.rlim_cur++) {
        mproc_pool *pool = NULL;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
        rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = WORKERS), &pool);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &all), 0);
        in_midst |= rc < 0 && strstr(mproc_error_text(mproc_last_error()), "cannot start worker 3");
        ck_assert(rc == 0 || !pool);
        mproc_pool_close(&pool);
    }
    ck_assert_int_eq(rc, 0);
    ck_assert(in_midst);
}
END_TEST

/* shows: EXEC-09 */
START_TEST(many_tasks_make_no_more_workers)
{
    enum { TASKS = 45, FEW = 3 };
    mproc_future *futures[TASKS];
    mproc_pool *pool = pool_make(METHOD, FEW);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_until_stopped, MPROC_NONE);
    for (int i = 0; i < FEW; i++)
        ck_assert(support_until(is_running, futures[i], 5000));
    ck_assert_int_eq(stat_of(pool, "alive"), FEW);
    ck_assert_int_eq(stat_of(pool, "running"), FEW);
    ck_assert_int_eq(stat_of(pool, "queued"), TASKS - FEW);
    ck_assert_int_eq(mproc_pool_stop(pool, false, mproc_after_ms(support_ms(5000)), NULL), 0);
    for (int i = 0; i < TASKS; i++)
        mproc_future_close(&futures[i]);
    mproc_pool_close(&pool);
}
END_TEST

/* ---- a stop that is asked for while tasks wait at a gate: a file, which goes away when they may go on ---- */

static const char *gate_shut(void)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/gate", support_directory());
    int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(file, 0);
    close(file);
    return path;
}

static void gate_await(mproc_call *call, int index)
{
    const char *path = mproc_call_text(call, index);
    while (access(path, F_OK) == 0)
        usleep(500);
}

static int task_square_later(mproc_call *call)
{
    gate_await(call, 1);
    return task_square(call);
}

static int task_crash_later(mproc_call *call)
{
    gate_await(call, 0);
    raise(SIGKILL);
    return 0;
}

static void *drain(void *pool)
{
    return (void *)(intptr_t)mproc_pool_stop(pool, true, mproc_after_ms(support_ms(10000)), NULL);
}

static bool is_refusing(void *of)
{
    mproc__pool_core *core = ((mproc_pool *)of)->core;
    pthread_mutex_lock(&core->lock);
    bool refusing = core->refusing;
    pthread_mutex_unlock(&core->lock);
    return refusing;
}

static void drain_and_open(mproc_pool *pool, const char *gate)
{
    pthread_t stopper;
    void *rc;
    ck_assert_int_eq(pthread_create(&stopper, NULL, drain, pool), 0);
    ck_assert(support_until(is_refusing, pool, 5000));
    ck_assert_int_eq(unlink(gate), 0);
    ck_assert_int_eq(pthread_join(stopper, &rc), 0);
    ck_assert_int_eq((int)(intptr_t)rc, 0);
}

/* shows: EXEC-15 */
START_TEST(a_full_queue_whose_last_task_was_cancelled_does_not_hold_up_the_end)
{
    mproc_pool *pool = NULL;
    mproc_future *futures[3];
    const char *gate = gate_shut();
    ck_assert_int_eq(
        mproc_pool_create(
            MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = 1, .max_queued_tasks = 3), &pool),
        0);
    for (int i = 0; i < 3; i++)
        futures[i] = submit(pool, task_square_later, MPROC_ARGS(i, gate));
    ck_assert_int_eq(mproc_future_cancel(futures[2], false), 0);
    drain_and_open(pool, gate);
    ck_assert_int_eq(result_int(futures[0]), 0);
    ck_assert_int_eq(result_int(futures[1]), 1);
    ck_assert_int_eq(result_code(futures[2]), -ECANCELED);
    mproc_future_close(&futures[2]);
    mproc_pool_close(&pool);
}
END_TEST

/* shows: EXEC-26 */
START_TEST(what_fails_after_the_end_was_asked_for_is_told)
{
    mproc_future *crash, *after, *none = NULL;
    const char *gate = gate_shut();
    mproc_pool *pool = pool_make(METHOD, 1);
    crash = submit(pool, task_crash_later, MPROC_ARGS(gate));
    after = submit(pool, task_square, MPROC_ARGS(8));
    ck_assert_int_eq(mproc_pool_submit(pool, task_echo, MPROC_ARGS(mproc_handle(pool)), NULL, &none),
                     MPROC_ECANNOTCROSS);
    drain_and_open(pool, gate);
    ck_assert_int_eq(result_code(crash), MPROC_EDIED);
    ck_assert_int_eq(result_int(after), 64);
    mproc_future_close(&crash);
    mproc_pool_close(&pool);
}
END_TEST

static int task_size_or_crash(mproc_call *call)
{
    size_t size = 0;
    (void)mproc_variant_get_bytes(mproc_call_arg(call, 1), &size);
    if (mproc_call_int(call, 0) == 2)
        raise(SIGKILL);
    return mproc_call_return(call, mproc_int((int64_t)size));
}

/* shows: EXEC-27 */
START_TEST(a_crash_among_large_arguments_blocks_nobody)
{
    enum { LARGE = 1 << 20, TASKS = 10, MORE = 100 };
    static mproc_future *futures[TASKS + MORE];
    mproc_pool *pool = pool_make(METHOD, 2);
    char *bytes = calloc(1, LARGE);
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_size_or_crash, MPROC_ARGS(i, mproc_bytes(bytes, LARGE)));
    for (int i = TASKS; i < TASKS + MORE; i++)
        futures[i] = submit(pool, task_square, MPROC_ARGS(i));
    free(bytes);
    for (int i = 0; i < TASKS + MORE; i++) {
        if (i == 2) {
            ck_assert_int_eq(result_code(futures[i]), MPROC_EDIED);
            mproc_future_close(&futures[i]);
            continue;
        }
        ck_assert_int_eq(result_int(futures[i]), i < TASKS ? LARGE : i * i);
    }
    pool_end(&pool);
}
END_TEST

/* Its row is another worker's at once, whose blocks are not the dead one's. */
START_TEST(burying_one_that_left_takes_no_block_from_its_rows_next_owner)
{
    uint32_t block;
    mproc__block_state state;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc__pool_view *view = &pool->core->view;
    mproc__worker_word left = {.state = MPROC__WORKER_LEAVING, .life = 7, .pid = mproc__pid()};
    left.row = (unsigned)mproc__segment_join(view->segment) + 1;
    ck_assert_int_eq(mproc__payload_block(view, 0, 100000, &block), 0);
    mproc__pool_bury(view, MPROC__POOL_WORKERS - 1, left);
    ck_assert(mproc__arena_get(&view->arena, block, &state));
    ck_assert_int_eq(state.state, 0);
    mproc__arena_free(&view->arena, block);
    pool_end(&pool);
}
END_TEST

/* As a worker leaves it that is killed while it hands over a large result. */
START_TEST(a_batch_does_not_free_what_a_dead_worker_left_in_its_slot)
{
    uint32_t block;
    mproc__block_state state;
    mproc_results *results;
    mproc_result result;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc__pool_view *view = &pool->core->view;
    mproc_variant items[] = {mproc_int(0), mproc_int(1), mproc_int(2), mproc_int(3)};
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(7))), 49);
    ck_assert_int_eq(mproc__payload_block(view, 0, 100000, &block), 0);
    view->slots[0].result.block = block + 1;
    ck_assert_int_eq(mproc_pool_map_variants(pool, task_square, items, 4, NULL, &results), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(mproc_results_next(results, mproc_after_ms(support_ms(10000)), &result), 0);
    mproc_results_close(&results);
    ck_assert(mproc__arena_get(&view->arena, block, &state));
    mproc__arena_free(&view->arena, block);
    pool_end(&pool);
}
END_TEST

static bool has_restarted(void *pool)
{
    return stat_of(pool, "restarted") == 1;
}

/* As if the worker were about to tell why the pool is broken. */
START_TEST(the_reason_of_a_broken_pool_is_told_whole_though_a_teller_died)
{
    const mproc__breakage_shared reason = {.code = -ENODEV, .text = "a reason"};
    mproc_future *none = NULL;
    mproc_pool *pool = pool_make(METHOD, 1);
    mproc__pool_view *view = &pool->core->view;
    mproc__worker_word teller = mproc__worker_load(&view->shared->workers[0]);
    atomic_store(&view->shared->breakage.taken, (uint64_t)teller.pid << 32 | teller.row);
    mproc__pool_break(view, &reason); /* left to the living one */
    ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(7))), 49);
    ck_assert_int_eq(kill((pid_t)teller.pid, SIGKILL), 0);
    ck_assert(support_until(has_restarted, pool, 5000));
    mproc__pool_break(view, &reason);
    ck_assert_int_eq(mproc_pool_submit(pool, task_square, MPROC_ARGS(7), NULL, &none), -ENODEV);
    ck_assert_str_eq(mproc_error_text(mproc_last_error()), "ENODEV: a reason");
    mproc_pool_close(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_worker_that_cannot_be_started_undoes_the_others, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, many_tasks_make_no_more_workers, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_full_queue_whose_last_task_was_cancelled_does_not_hold_up_the_end,
                        METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, what_fails_after_the_end_was_asked_for_is_told, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_crash_among_large_arguments_blocks_nobody, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_batch_does_not_free_what_a_dead_worker_left_in_its_slot, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, the_reason_of_a_broken_pool_is_told_whole_though_a_teller_died, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, burying_one_that_left_takes_no_block_from_its_rows_next_owner, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "life", add);
}
