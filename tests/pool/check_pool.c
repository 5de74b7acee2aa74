/* SPDX-License-Identifier: BSD-2-Clause */
/* Pools: made, used, ended, over all start methods. */
#include "platform/base.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/pool_common.h"

static mproc_future *submit(mproc_pool *pool, mproc_fn *fn, mproc_variant args)
{
    mproc_future *future = NULL;
    int rc = mproc_pool_submit(pool, fn, args, NULL, &future);
    ck_assert_msg(rc == 0, "%s: %s", mproc_errname(rc), mproc_error_text(mproc_last_error()));
    return future;
}

static int64_t result_int(mproc_future *future)
{
    mproc_variant value;
    int64_t number = -1;
    int rc = mproc_future_result(future, mproc_after_ms(support_ms(10000)), &value);
    ck_assert_msg(rc == 0, "%s: %s", mproc_errname(rc), mproc_error_text(mproc_last_error()));
    ck_assert_int_eq(mproc_variant_get_int(value, &number), 0);
    return number;
}

/* shows: POOL-02 POOL-34 EXEC-01 START-D */
START_TEST(a_task_gives_its_result_by_every_start_method)
{
    mproc_pool *pool = pool_make(METHOD, 2);
    mproc_future *future = submit(pool, task_square, MPROC_ARGS(7));
    ck_assert_int_eq(result_int(future), 49);
    ck_assert_int_eq(mproc_future_get_state(future), MPROC_FUTURE_DONE);
    mproc_future_close(&future);
    pool_end(&pool);
}
END_TEST

static void add(TCase *all)
{
    tcase_add_loop_test(all, a_task_gives_its_result_by_every_start_method, 0, METHODS);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "pool", add);
}
