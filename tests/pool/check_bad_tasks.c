/* SPDX-License-Identifier: BSD-2-Clause */
/* Tasks that do what no task should: each costs itself and no other, and the pool is at its full size again. */
#include "platform/base.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/pool_common.h"

enum { WORKERS = 2, BLOCK_BYTES = 5000, MEMORY_MIB = 64 };

/* Two at a time, so that both workers do some. */
static void serves(mproc_pool *pool)
{
    enum { TASKS = 20 };
    mproc_future *futures[TASKS];
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_square, MPROC_ARGS(i));
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(result_int(futures[i]), i * i);
    size_t size = 0;
    mproc_variant value;
    mproc_future *large = submit(pool, task_large, MPROC_ARGS(BLOCK_BYTES));
    int rc = mproc_future_result(large, mproc_after_ms(support_ms(10000)), &value);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    ck_assert_ptr_nonnull(mproc_variant_get_bytes(value, &size));
    ck_assert_uint_eq(size, BLOCK_BYTES);
    mproc_future_close(&large);
}

static int64_t pid_of_worker(mproc_pool *pool)
{
    return result_int(submit(pool, task_pid, MPROC_NONE));
}

/* ---- what ends the process ---- */

static int task_exec(mproc_call *call)
{
    (void)call;
    execl("/bin/sleep", "sleep", "1000", (char *)NULL);
    return -errno;
}

static int task_thread_exit(mproc_call *call)
{
    (void)call;
    pthread_exit(NULL);
}

static int task_quick_exit(mproc_call *call)
{
    (void)call;
    _exit(0);
}

/* Its child returns in its place, an orphan in a session of its own. */
static int task_daemonize(mproc_call *call)
{
    pid_t child = fork();
    if (child < 0)
        return -errno;
    if (child > 0)
        _exit(0);
    setsid();
    return mproc_call_return(call, mproc_int(7));
}

static int task_segv(mproc_call *call)
{
    (void)call;
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    return 0;
}

static int task_term(mproc_call *call)
{
    (void)call;
    kill(getpid(), SIGTERM);
    pause();
    return 0;
}

/* shows: DEATH-6 */
START_TEST(whatever_ends_the_worker_fails_its_task_alone)
{
    static mproc_fn *const ends[] = {task_exec, task_thread_exit, task_quick_exit, task_daemonize,
                                     task_segv, task_term,        task_abort};
    mproc_pool *pool = pool_make(METHOD, WORKERS);
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        mproc_future *future = submit(pool, ends[i], MPROC_NONE);
        int code = result_code(future);
        ck_assert_msg(code == MPROC_EDIED, "end %zu: %s", i, mproc_errname(code));
        mproc_future_close(&future);
        serves(pool);
    }
    pool_end(&pool);
}
END_TEST

static bool all_live(void *context)
{
    mproc_pool *pool = context;
    mproc_future *guests[WORKERS];
    bool two = true;
    for (int i = 0; i < WORKERS; i++)
        guests[i] = submit(pool, task_until_stopped, MPROC_NONE);
    for (int i = 0; i < WORKERS; i++)
        two &= support_until(is_running, guests[i], 500);
    for (int i = 0; i < WORKERS; i++) {
        ck_assert_int_eq(mproc_future_cancel(guests[i], true), 0);
        ck_assert_int_eq(result_code(guests[i]), -ECANCELED);
        mproc_future_close(&guests[i]);
    }
    return two;
}

/* A process that is no worker any more, but has not ended. */
START_TEST(a_task_that_becomes_another_program_does_not_keep_its_place)
{
    mproc_pool *pool = pool_make(METHOD, WORKERS);
    mproc_future *future = submit(pool, task_exec, MPROC_NONE);
    ck_assert_int_eq(result_code(future), MPROC_EDIED);
    mproc_future_close(&future);
    ck_assert(support_until(all_live, pool, 5000));
    pool_end(&pool);
}
END_TEST

/* ---- what lives on ---- */

/* Its child returns from the function as it does. */
static int task_fork_and_return(mproc_call *call)
{
    pid_t child = fork();
    if (child < 0)
        return -errno;
    return mproc_call_return(call, mproc_int(child == 0 ? -1 : 7));
}

START_TEST(a_tasks_child_that_returns_is_no_second_worker)
{
    mproc_pool *pool = pool_make(METHOD, WORKERS);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(result_int(submit(pool, task_fork_and_return, MPROC_NONE)), 7);
    serves(pool);
    ck_assert_int_eq(stat_of(pool, "died"), 0);
    pool_end(&pool);
    while (waitpid(-1, NULL, 0) > 0) /* of threads they are this process's */
        ;
}
END_TEST

static int item_forks(mproc_call *call, const void *in, void *out)
{
    (void)call;
    memcpy(out, in, 1);
    return fork() < 0 ? -errno : 0;
}

START_TEST(an_items_child_that_returns_is_no_second_worker)
{
    enum { ITEMS = 10 };
    const char in[ITEMS + 1] = "0123456789";
    char out[ITEMS];
    mproc_pool *pool = pool_make(METHOD, WORKERS);
    ck_assert_int_eq(mproc_pool_map(pool, item_forks, in, 1, out, 1, ITEMS, NULL), 0);
    ck_assert_mem_eq(in, out, ITEMS);
    serves(pool);
    pool_end(&pool);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}
END_TEST

static int task_close_all(mproc_call *call)
{
    for (int fd = 0; fd < 256; fd++)
        close(fd);
    /* What the program opens next has the numbers. */
    for (int i = 0; i < 16; i++)
        if (open("/dev/null", O_RDWR | O_CLOEXEC) < 0)
            return -errno;
    return mproc_call_return(call, mproc_int(getpid()));
}

START_TEST(a_task_that_closes_all_descriptors_keeps_a_worker)
{
    mproc_pool *pool = pool_make(METHOD, WORKERS);
    for (int i = 0; i < 4; i++) {
        mproc_future *future = submit(pool, task_close_all, MPROC_NONE);
        int code = result_code(future);
        ck_assert_msg(code == 0 || code == MPROC_EDIED, "%s", mproc_errname(code));
        mproc_future_close(&future);
        serves(pool);
    }
    pool_end(&pool);
}
END_TEST

static int task_change_directory(mproc_call *call)
{
    return chdir("/") < 0 ? -errno : mproc_call_return(call, mproc_int(7));
}

START_TEST(a_task_may_change_directory)
{
    char before[512], after[512];
    ck_assert_ptr_nonnull(getcwd(before, sizeof(before)));
    mproc_pool *pool = pool_make(METHOD, WORKERS);
    ck_assert_int_eq(result_int(submit(pool, task_change_directory, MPROC_NONE)), 7);
    serves(pool);
    pool_end(&pool);
    ck_assert_ptr_nonnull(getcwd(after, sizeof(after)));
    if (METHOD != MPROC_START_THREAD) /* threads share one directory */
        ck_assert_str_eq(before, after);
    ck_assert_int_eq(chdir(before), 0);
}
END_TEST

static int task_block_signals(mproc_call *call)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    signal(SIGTERM, SIG_IGN);
    return mproc_call_bool(call, 0) ? task_hang(call) : mproc_call_return(call, mproc_int(7));
}

/* shows: WORK-1 */
START_TEST(a_task_that_blocks_all_signals_is_ended_all_the_same)
{
    mproc_pool *pool = pool_make(METHOD, WORKERS);
    ck_assert_int_eq(result_int(submit(pool, task_block_signals, MPROC_ARGS(false))), 7);
    serves(pool);
    if (METHOD != MPROC_START_THREAD) {
        mproc_future *future = NULL;
        ck_assert_int_eq(
            mproc_pool_submit(pool, task_block_signals, MPROC_ARGS(true),
                              MPROC_WITH(mproc_task_options, .time_limit_ms = 20, .grace_ms = 20), &future),
            0);
        ck_assert_int_eq(result_code(future), -ETIME);
        mproc_future_close(&future);
    }
    serves(pool);
    pool_end(&pool);
}
END_TEST

static int task_stop_itself(mproc_call *call)
{
    raise(SIGSTOP);
    return mproc_call_return(call, mproc_int(7));
}

/* shows: WORK-1 */
START_TEST(a_stopped_task_is_not_dead_and_can_be_cancelled)
{
    mproc_pool *pool = pool_make(METHOD, WORKERS);
    mproc_future *future = NULL;
    ck_assert_int_eq(mproc_pool_submit(pool, task_stop_itself, MPROC_NONE,
                                       MPROC_WITH(mproc_task_options, .grace_ms = 20), &future),
                     0);
    ck_assert(support_until(is_running, future, 5000));
    serves(pool);
    ck_assert_int_eq(mproc_future_wait(future, mproc_after_ms(20)), -ETIMEDOUT);
    ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_RUNNING);
    ck_assert_int_eq(mproc_future_cancel(future, true), 0);
    ck_assert_int_eq(result_code(future), -ECANCELED);
    mproc_future_close(&future);
    serves(pool);
    pool_end(&pool);
}
END_TEST

static int task_allocate(mproc_call *call)
{
    enum { STEP = 1 << 20 };
    (void)call;
    for (char *bytes; (bytes = malloc(STEP)) != NULL;)
        memset(bytes, 1, STEP);
    return -ENOMEM;
}

/* Where the worker is held to a limit: by its own code, or by its death. */
START_TEST(a_task_that_allocates_without_end_costs_itself)
{
    mproc_pool *pool = NULL;
    int rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = WORKERS,
                                          .limits.memory_bytes = (size_t)MEMORY_MIB << 20),
                               &pool);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    mproc_future *future = submit(pool, task_allocate, MPROC_NONE);
    int code = result_code(future);
    ck_assert_msg(code == -ENOMEM || code == MPROC_EDIED, "%s", mproc_errname(code));
    mproc_future_close(&future);
    mproc_pool_close(&pool);
}
END_TEST

static int task_kill_supervisor(mproc_call *call)
{
    (void)call;
    kill(getppid(), SIGKILL);
    pause();
    return 0;
}

START_TEST(a_task_that_kills_the_supervisor_costs_what_ran)
{
    mproc_pool *pool = pool_make(METHOD, WORKERS);
    mproc_future *future = submit(pool, task_kill_supervisor, MPROC_NONE);
    ck_assert_int_eq(result_code(future), MPROC_EDIED);
    mproc_future_close(&future);
    serves(pool);
    ck_assert_int_gt(pid_of_worker(pool), 0);
    pool_end(&pool);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}
END_TEST

/* ---- calls of a pool that is no more ---- */

START_TEST(a_stopped_pool_refuses_and_a_closed_one_is_none)
{
    mproc_future *future = NULL;
    mproc_pool *pool = pool_make(METHOD, WORKERS);
    ck_assert_int_eq(mproc_pool_stop(pool, false, mproc_after_ms(support_ms(5000)), NULL), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mproc_pool_submit(pool, task_square, MPROC_ARGS(1), NULL, &future), MPROC_ECLOSED);
    mproc_pool_close(&pool);
    ck_assert_int_lt(mproc_pool_submit(pool, task_square, MPROC_ARGS(1), NULL, &future), 0);
    ck_assert_ptr_null(future);
    mproc_pool_close(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, whatever_ends_the_worker_fails_its_task_alone, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_task_that_becomes_another_program_does_not_keep_its_place, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_tasks_child_that_returns_is_no_second_worker, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, an_items_child_that_returns_is_no_second_worker, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_task_that_closes_all_descriptors_keeps_a_worker, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_task_may_change_directory, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_task_that_blocks_all_signals_is_ended_all_the_same, METHODS_FIRST, METHODS);
    tcase_add_loop_test(all, a_stopped_task_is_not_dead_and_can_be_cancelled, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_task_that_kills_the_supervisor_costs_what_ran, METHODS_FIRST,
                        METHODS_OF_PROCESSES);
    if (!SUPPORT_SANITIZED) /* its shadow is beyond any limit of addresses */
        tcase_add_loop_test(all, a_task_that_allocates_without_end_costs_itself, METHODS_FIRST,
                            METHODS_OF_PROCESSES);
    tcase_add_loop_test(all, a_stopped_pool_refuses_and_a_closed_one_is_none, METHODS_FIRST, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "bad_tasks", add);
}
