/* SPDX-License-Identifier: BSD-2-Clause */
/* Pools in programs that ignore SIGCHLD or reap whatever ends: tests/process/hosts.h. Loops are over host and method. */
#include "platform/base.h"

#include "pool/pool_common.h"
#include "process/hosts.h"

/* Work, a worker's death, and the end: a worker's death is the supervisor's to see, and it has its certificate. */
/* shows: START-C */
START_TEST(a_pool_works_and_tells_its_workers_deaths_in_a_program_that_takes_every_status)
{
    int kind = _i / METHODS_OF_PROCESSES;
    host_begin(kind);
    mproc_pool *pool = pool_make(pool_methods[_i % METHODS_OF_PROCESSES], 2);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(i))), i * i);
    mproc_future *doomed = submit(pool, task_abort, MPROC_NONE);
    ck_assert_int_eq(result_code(doomed), MPROC_EDIED);
    mproc_future_close(&doomed);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(result_int(submit(pool, task_square, MPROC_ARGS(i))), i * i);
    pool_end(&pool);
    host_end();
    if (kind < HOST_REAPS_IN_A_HANDLER)
        ck_assert_uint_eq(atomic_load(&host.reaped), 0);
}
END_TEST

static void add(TCase *hosts)
{
    if (METHODS_FIRST == 0)
        tcase_add_loop_test(hosts,
                            a_pool_works_and_tells_its_workers_deaths_in_a_program_that_takes_every_status, 0,
                            HOSTS * METHODS_OF_PROCESSES);
}

int main(int argc, char **argv)
{
    return pool_tests_main(argc, argv, "pool_hosts", add);
}
