/* SPDX-License-Identifier: BSD-2-Clause */
/* A crowd of workers, with the descriptors that a process has by default. */
#include "platform/base.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/pool_common.h"

enum { CROWD = 200, ITEMS = 1000, DESCRIPTORS = 1024, START_MS = 60000 };

static mproc_pool *crowd_make(mproc_start start)
{
    struct rlimit files;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = DESCRIPTORS;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    return pool_make(start, CROWD);
}

/* What goes to stderr goes here from now on. */
static int stderr_caught(int *ret_before)
{
    int to = memfd_create("stderr", MFD_CLOEXEC);
    fflush(stderr);
    *ret_before = dup(STDERR_FILENO);
    ck_assert(to >= 0 && *ret_before >= 0);
    ck_assert_int_eq(dup2(to, STDERR_FILENO), STDERR_FILENO);
    return to;
}

static off_t stderr_size(int caught, int before)
{
    struct stat status;
    fflush(stderr);
    ck_assert_int_eq(dup2(before, STDERR_FILENO), STDERR_FILENO);
    ck_assert_int_eq(fstat(caught, &status), 0);
    close(caught);
    close(before);
    return status.st_size;
}

static int square(mproc_call *call, const void *in, void *out)
{
    int number = *(const int *)in;
    (void)call;
    *(int *)out = number * number;
    return 0;
}

/* shows: POOL-28 */
START_TEST(two_hundred_workers_square_a_thousand_numbers_in_silence)
{
    static int in[ITEMS], out[ITEMS];
    int64_t sum = 0;
    int before, caught = stderr_caught(&before);
    mproc_pool *pool = crowd_make(METHOD);
    for (int i = 0; i < ITEMS; i++)
        in[i] = i;
    ck_assert_int_eq(mproc_pool_map(pool, square, in, sizeof *in, out, sizeof *out, ITEMS, NULL), 0);
    for (int i = 0; i < ITEMS; i++)
        sum += out[i];
    ck_assert_int_eq(stat_of(pool, "alive"), CROWD);
    pool_end(&pool);
    ck_assert_int_eq(stderr_size(caught, before), 0);
    ck_assert_int_eq(sum, 332833500);
}
END_TEST

static bool is_full_again(void *pool)
{
    return stat_of(pool, "restarted") == 1 && stat_of(pool, "alive") == CROWD;
}

/* No sleeper watches all the others. */
/* shows: DEATH-6 */
START_TEST(one_of_two_hundred_that_dies_is_told_and_replaced)
{
    mproc_pool *pool = crowd_make(METHOD);
    mproc_future *victim = submit(pool, task_abort, MPROC_NONE), *others[CROWD];
    for (int i = 0; i < CROWD; i++)
        others[i] = submit(pool, task_square, MPROC_ARGS(i));
    ck_assert_int_eq(result_code(victim), MPROC_EDIED);
    for (int i = 0; i < CROWD; i++)
        ck_assert_int_eq(result_int(others[i]), i * i);
    ck_assert(support_until(is_full_again, pool, 10000));
    mproc_future_close(&victim);
    pool_end(&pool);
}
END_TEST

static int task_lock(mproc_call *call)
{
    mproc_lock *lock = mproc_call_self(call);
    int rc = mproc_lock_acquire(lock, MPROC_FOREVER);
    return rc < 0 ? rc : mproc_lock_release(lock);
}

static int lock_keep(mproc_call *call)
{
    mproc_lock *lock = mproc_call_lock(call, 0);
    int rc = mproc_lock_acquire(lock, MPROC_FOREVER);
    if (rc == 0)
        rc = mproc_lock_release(lock);
    mproc_call_set_self(call, lock);
    return rc;
}

START_TEST(all_of_a_crowd_have_a_place_in_an_object_that_they_share)
{
    enum { TASKS = 400 };
    static mproc_future *futures[TASKS];
    mproc_lock *lock = NULL;
    mproc_pool *pool = NULL;
    ck_assert_int_eq(mproc_lock_create(NULL, NULL, &lock), 0);
    int rc = mproc_pool_create(MPROC_WITH(mproc_pool_options, .start = METHOD, .workers = CROWD,
                                          .initializer = lock_keep,
                                          .initializer_args = MPROC_ARGS(mproc_handle(lock))),
                               &pool);
    ck_assert_msg(rc == 0, "%s", mproc_error_text(mproc_last_error()));
    for (int i = 0; i < TASKS; i++)
        futures[i] = submit(pool, task_lock, MPROC_NONE);
    for (int i = 0; i < TASKS; i++) {
        ck_assert_int_eq(result_code(futures[i]), 0);
        mproc_future_close(&futures[i]);
    }
    mproc_lock_close(&lock);
    pool_end(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_set_timeout(all, support_ms(START_MS) / 1000.0);
    tcase_add_loop_test(all, two_hundred_workers_square_a_thousand_numbers_in_silence, METHODS_FIRST,
                        METHODS);
    if (METHODS_FIRST ==
        0) { /* by fork: how they came to be makes no difference here, and 200 take their time */
        tcase_add_loop_test(all, one_of_two_hundred_that_dies_is_told_and_replaced, 0, 1);
        tcase_add_loop_test(all, all_of_a_crowd_have_a_place_in_an_object_that_they_share, 0, 1);
    }
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "crowd", add);
}
